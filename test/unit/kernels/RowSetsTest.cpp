//===- RowSetsTest.cpp - families of row sets against plain loops -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatedGpu.h"
#include "Fixture.h"

#include "dialect/Nest.h"

#include <algorithm>
#include <limits>
#include <numeric>

using namespace nestc::test;
using std::string;
using std::to_string;
using std::vector;

namespace {
class CpuRowSets : public Cpu {};

/// An outer set: of every sequence every third row is in set 1 of two, and all
/// rows of the last sequence.
Family outerFamily(int64_t batch, int64_t tokens, vector<int64_t> &rows) {
  vector<vector<int>> sets(batch);
  rows.assign(batch, 0);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < tokens; ++t) {
      sets[b].push_back((t % 3 == 0) != (b == 1) || b == 2);
      rows[b] += sets[b].back();
    }
  return {batch, tokens, 2, sets};
}

/// 0 to count - 1, those of larger scores first; of equal ones the lowest.
vector<int64_t> rankingOf(const float *scores, int64_t count) {
  vector<int64_t> ranked(count);
  std::iota(ranked.begin(), ranked.end(), 0);
  std::sort(ranked.begin(), ranked.end(), [&](int64_t i, int64_t j) {
    float x = scores[i], y = scores[j];
    if (std::isnan(x) || std::isnan(y) || x == y)
      return std::isnan(x) == std::isnan(y) ? i < j : std::isnan(y);
    return x > y;
  });
  return ranked;
}

vector<float> scoresFor(int64_t count, int kind) {
  const float inf = std::numeric_limits<float>::infinity();
  const float some[] = {0.0f, -0.0f, NAN, inf, -inf, 1e-42f, -1e-42f, 1, -1};
  Random random(count + kind);
  vector<float> scores = random.many(count);
  for (int64_t i = 0; i < count; ++i) {
    if (kind == 1)
      scores[i] = some[static_cast<int>((scores[i] + 1) * 4.5f) % 9];
    if (kind == 2)
      scores[i] = 0.5f;
    if (kind == 3)
      scores[i] = std::copysign(NAN, scores[i]);
  }
  return scores;
}
} // namespace

TEST_P(CpuRowSets, Select) {
  struct Case {
    string how;
    int64_t numerator, denominator;
    nestc::nest::Rounding rounding = nestc::nest::Rounding::floor;
    int64_t minimum = 0;
  };
  using nestc::nest::Rounding;
  mlir::MLIRContext context;
  context.loadDialect<nestc::nest::NestDialect>();
  vector<Case> cases{
      {"top <1/8>", 1, 8},
      {"top <1/8, ceil, min 2>", 1, 8, Rounding::ceil, 2},
      {"top <1/2, nearest_even>", 1, 2, Rounding::nearest_even},
      {"top <3/10, double_floor>", 3, 10, Rounding::double_floor},
      {"top <0>", 0, 0},
      {"top <1/1>", 1, 1},
      {"top <5>", 5, 0},
      {"above 0.0", 0, 0},
  };
  const string scores = "memref<?x?x1xf32>";
  for (const Case &c : cases)
    for (bool within : {false, true}) {
      SCOPED_TRACE(c.how + (within ? " within" : ""));
      vector<string> arguments{scores};
      string text = "kernel.select ins(%a0 : " + scores + ") ";
      if (within) {
        arguments.insert(arguments.end(), {offsetsOf(2), table2, table1});
        text += "within(%a1, %a2, %a3 : " + offsetsOf(2) + ", " + table2 +
                ", " + table1 + ") sets [1, 2] ";
      }
      size_t out = arguments.size();
      arguments.insert(arguments.end(), {table2, offsetsOf(1), table2, table1});
      text += c.how + " outs(";
      for (size_t i = 0; i < 4; ++i)
        text += (i ? ", %a" : "%a") + to_string(out + i);
      text += " : " + table2 + ", " + offsetsOf(1) + ", " + table2 + ", " +
              table1 + ")";
      auto code = compile(arguments, text);
      if (!code->error.empty())
        return;
      auto capacity = nestc::nest::CapacityAttr::get(
          &context, c.numerator, c.denominator, c.rounding, c.minimum);
      for (auto [batch, tokens] : vector<std::pair<int64_t, int64_t>>{
               {1, 1}, {1, 7}, {1, 16}, {3, 1}, {3, 5}, {3, 45}, {1, 300}})
        for (int kind = 0; kind < 4; ++kind) {
          SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) +
                       " of kind " + to_string(kind));
          vector<int64_t> rows(batch, tokens);
          Family outer;
          if (within)
            outer = outerFamily(batch, tokens, rows);
          vector<float> values = scoresFor(batch * tokens, kind);
          vector<vector<int>> chosen(batch);
          int64_t first = 0;
          for (int64_t b = 0; b < batch; ++b) {
            vector<int64_t> ranked = rankingOf(&values[first], rows[b]);
            chosen[b].assign(rows[b], -1);
            int64_t count = capacity.of(rows[b]);
            for (int64_t i = 0; i < rows[b]; ++i)
              if (c.how == "above 0.0" ? values[first + ranked[i]] > 0
                                       : i < count)
                chosen[b][ranked[i]] = 0;
            first += rows[b];
          }
          Family got(batch, tokens, 1);
          vector<void *> buffers{values.data()};
          if (within)
            buffers.insert(buffers.end(),
                           {outer.offsets.data(), outer.order.data(),
                            outer.counts.data()});
          buffers.insert(buffers.end(), {got.indices.data(), got.offsets.data(),
                                         got.order.data(), got.counts.data()});
          code->run(buffers, batch, tokens);
          Family(batch, tokens, 1, chosen).expect(got);
        }
    }
}

namespace {
/// select of a capacity, without another family.
struct Select {
  static string text(const string &how) {
    return "kernel.select ins(%a0 : memref<?x?x1xf32>) " + how +
           " outs(%a1, %a2, %a3, %a4 : " + table2 + ", " + offsetsOf(1) + ", " +
           table2 + ", " + table1 + ")";
  }
  static vector<string> arguments() {
    return {"memref<?x?x1xf32>", table2, offsetsOf(1), table2, table1};
  }
  /// Runs it on `values` and compares.
  static void check(Compiled &code, vector<float> &values, int64_t batch,
                    int64_t tokens, int64_t count, int threads = 0) {
    vector<vector<int>> chosen(batch, vector<int>(tokens, -1));
    for (int64_t b = 0; b < batch; ++b) {
      vector<int64_t> ranked = rankingOf(&values[b * tokens], tokens);
      for (int64_t i = 0; i < count; ++i)
        chosen[b][ranked[i]] = 0;
    }
    Family got(batch, tokens, 1);
    code.run({values.data(), got.indices.data(), got.offsets.data(),
              got.order.data(), got.counts.data()},
             batch, tokens, threads);
    Family(batch, tokens, 1, chosen).expect(got);
  }
};
} // namespace

TEST_P(CpuRowSets, SelectOfLongSequences) {
  auto code = compile(Select::arguments(), Select::text("top <1/8, ceil>"));
  if (!code->error.empty())
    return;
  // What a block of a GPU holds at once ends at 2048 and at 8192 rows.
  int seed = 0;
  for (auto [batch, tokens] : vector<std::pair<int64_t, int64_t>>{
           {2, 2047}, {1, 2048}, {3, 2049}, {1, 8192}, {2, 8193}, {1, 20000}})
    for (int kind = 0; kind < 3; ++kind) {
      SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) + " of kind " +
                   to_string(kind));
      vector<float> values = scoresFor(batch * tokens, kind);
      Select::check(*code, values, batch, tokens, (tokens + 7) / 8, seed++);
    }
}

TEST_P(CpuRowSets, SelectWithinLongSequences) {
  const string scores = "memref<?x?x1xf32>";
  for (bool isTop : {false, true}) {
    auto code = compile({scores, offsetsOf(2), table2, table1, table2,
                         offsetsOf(1), table2, table1},
                        "kernel.select ins(%a0 : " + scores +
                            ") within(%a1, %a2, %a3 : " + offsetsOf(2) + ", " +
                            table2 + ", " + table1 + ") sets [1, 2] " +
                            (isTop ? "top <1/3>" : "above 0.25") +
                            " outs(%a4, %a5, %a6, %a7 : " + table2 + ", " +
                            offsetsOf(1) + ", " + table2 + ", " + table1 + ")");
    if (!code->error.empty())
      return;
    for (int64_t tokens : {3000, 9000})
      for (int kind = 0; kind < 2; ++kind) {
        SCOPED_TRACE(to_string(tokens) + " of kind " + to_string(kind));
        const int64_t batch = 3;
        vector<int64_t> rows;
        Family outer = outerFamily(batch, tokens, rows);
        vector<float> values = scoresFor(batch * tokens, kind);
        vector<vector<int>> chosen(batch);
        int64_t first = 0;
        for (int64_t b = 0; b < batch; ++b) {
          vector<int64_t> ranked = rankingOf(&values[first], rows[b]);
          chosen[b].assign(rows[b], -1);
          for (int64_t i = 0; i < rows[b]; ++i)
            if (isTop ? i < rows[b] / 3 : values[first + ranked[i]] > 0.25f)
              chosen[b][ranked[i]] = 0;
          first += rows[b];
        }
        Family got(batch, tokens, 1);
        code->run({values.data(), outer.offsets.data(), outer.order.data(),
                   outer.counts.data(), got.indices.data(), got.offsets.data(),
                   got.order.data(), got.counts.data()},
                  batch, tokens, kind);
        Family(batch, tokens, 1, chosen).expect(got);
      }
  }
}

// Top 256 of 2048 by 8 warps: what one executes, of the instructions of PTX,
// does not depend on the scores.
TEST_P(CpuRowSets, SelectCounts) {
  auto code = compile(Select::arguments(), Select::text("top <1/8>"));
  if (!code->error.empty() || !code->device())
    return;
  code->device()->profile = true;
  for (int kind = 0; kind < 3; ++kind) {
    SCOPED_TRACE(kind);
    auto &profiles = code->device()->profiles;
    profiles.clear();
    vector<float> values = scoresFor(2048, kind);
    Select::check(*code, values, 1, 2048, 256);
    ASSERT_EQ(profiles.size(), 1u);
    const nestc::ptx::Profile &profile = profiles[0].second;
    EXPECT_EQ(profile.barriers, 8u * 6);
    EXPECT_LE(profile.warpInstructions, 8u * 530);
    RecordProperty("instructions_a_warp_" + to_string(kind),
                   to_string(profile.warpInstructions / 8.0));
    // Scores are read once.
    EXPECT_EQ(profile.globalBytes[0], 2048u * 4);
  }
}

TEST_P(CpuRowSets, Partition) {
  auto code = compile({table2, table2, offsetsOf(4), table2, table1},
                      "kernel.partition ins(%a0 : " + table2 +
                          ") sets [2, 0, -1, 3, 1, 0] outs(%a1, %a2, %a3, %a4 "
                          ": " +
                          table2 + ", " + offsetsOf(4) + ", " + table2 + ", " +
                          table1 + ")");
  ASSERT_EQ(code->error, "");
  const int sets[] = {2, 0, -1, 3, 1, 0};
  for (auto [batch, tokens] :
       vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 9}, {3, 1}, {3, 40}})
    for (int kind = 0; kind < 4; ++kind) {
      SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) + " of kind " +
                   to_string(kind));
      Random random(tokens + kind);
      vector<int32_t> ids;
      vector<vector<int>> setOf(batch);
      for (int64_t r = 0; r < batch * tokens; ++r) {
        // All values; two sets; one set; and such as are refused.
        int32_t id = static_cast<int32_t>((random.next() + 1) * 3) % 6;
        id = kind == 1 ? 3 + id % 2 : kind == 2 ? 1 : id;
        if (id == 2 && kind != 3)
          id = 4;
        if (kind == 3 && r % 5 == 0)
          id = r % 2 ? -1 : 6;
        ids.push_back(id);
        setOf[r / tokens].push_back(id < 0 || id > 5 ? -1 : sets[id]);
      }
      Family got(batch, tokens, 4);
      code->run({ids.data(), got.indices.data(), got.offsets.data(),
                 got.order.data(), got.counts.data()},
                batch, tokens);
      Family(batch, tokens, 4, setOf).expect(got);
    }
}

TEST_P(CpuRowSets, Assign) {
  for (int64_t slots : {1, 5, 8})
    for (int64_t choice : {0, 1, 4})
      for (bool within : {false, true}) {
        if (choice >= slots)
          continue;
        SCOPED_TRACE(to_string(choice) + " of " + to_string(slots) +
                     (within ? " within" : ""));
        string scores = "memref<?x?x" + to_string(slots) + "xf32>";
        vector<string> arguments{scores};
        string text = "kernel.assign ins(%a0 : " + scores + ") ";
        if (within) {
          arguments.insert(arguments.end(), {offsetsOf(2), table2, table1});
          text += "within(%a1, %a2, %a3 : " + offsetsOf(2) + ", " + table2 +
                  ", " + table1 + ") sets [1, 2] ";
        }
        size_t out = arguments.size();
        arguments.insert(arguments.end(),
                         {table2, offsetsOf(slots), table2, table1});
        text += "choice " + to_string(choice) + " outs(";
        for (size_t i = 0; i < 4; ++i)
          text += (i ? ", %a" : "%a") + to_string(out + i);
        text += " : " + table2 + ", " + offsetsOf(slots) + ", " + table2 +
                ", " + table1 + ")";
        auto code = compile(arguments, text);
        if (!code->error.empty())
          return;
        for (auto [batch, tokens] : vector<std::pair<int64_t, int64_t>>{
                 {1, 1}, {1, 9}, {3, 1}, {3, 40}})
          for (int kind = 0; kind < 4; ++kind) {
            SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) +
                         " of kind " + to_string(kind));
            vector<int64_t> rows(batch, tokens);
            Family outer;
            if (within)
              outer = outerFamily(batch, tokens, rows);
            vector<float> values = scoresFor(batch * tokens * slots, kind);
            vector<vector<int>> setOf(batch);
            const float *row = values.data();
            for (int64_t b = 0; b < batch; ++b)
              for (int64_t j = 0; j < rows[b]; ++j, row += slots) {
                setOf[b].push_back(rankingOf(row, slots)[choice]);
              }
            Family got(batch, tokens, slots);
            vector<void *> buffers{values.data()};
            if (within)
              buffers.insert(buffers.end(),
                             {outer.offsets.data(), outer.order.data(),
                              outer.counts.data()});
            buffers.insert(buffers.end(),
                           {got.indices.data(), got.offsets.data(),
                            got.order.data(), got.counts.data()});
            code->run(buffers, batch, tokens);
            Family(batch, tokens, slots, setOf).expect(got);
          }
      }
}

// More sets than a block of a GPU counts at a time, and more rows than it has
// threads; of a choice that is not the first, and within another family.
TEST_P(CpuRowSets, ManySets) {
  const int64_t slots = 300, batch = 3, tokens = 430;
  string scores = "memref<?x?x300xf32>";
  auto assignOf = [&](bool within) {
    vector<string> arguments{scores};
    string text = "kernel.assign ins(%a0 : " + scores + ") ";
    if (within) {
      arguments.insert(arguments.end(), {offsetsOf(2), table2, table1});
      text += "within(%a1, %a2, %a3 : " + offsetsOf(2) + ", " + table2 + ", " +
              table1 + ") sets [1, 2] ";
    }
    size_t out = arguments.size();
    arguments.insert(arguments.end(),
                     {table2, offsetsOf(slots), table2, table1});
    text += "choice 2 outs(";
    for (size_t i = 0; i < 4; ++i)
      text += (i ? ", %a" : "%a") + to_string(out + i);
    return compile(arguments, text + " : " + table2 + ", " + offsetsOf(slots) +
                                  ", " + table2 + ", " + table1 + ")");
  };
  for (bool within : {false, true}) {
    auto code = assignOf(within);
    if (!code->error.empty())
      return;
    for (int kind = 0; kind < 3; ++kind) {
      SCOPED_TRACE((within ? "within, of kind " : "of kind ") +
                   to_string(kind));
      vector<int64_t> rows(batch, tokens);
      Family outer;
      if (within)
        outer = outerFamily(batch, tokens, rows);
      vector<float> values = scoresFor(batch * tokens * slots, kind);
      vector<vector<int>> setOf(batch);
      const float *row = values.data();
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t j = 0; j < rows[b]; ++j, row += slots)
          setOf[b].push_back(rankingOf(row, slots)[2]);
      Family got(batch, tokens, slots);
      vector<void *> buffers{values.data()};
      if (within)
        buffers.insert(buffers.end(), {outer.offsets.data(), outer.order.data(),
                                       outer.counts.data()});
      buffers.insert(buffers.end(), {got.indices.data(), got.offsets.data(),
                                     got.order.data(), got.counts.data()});
      code->run(buffers, batch, tokens, kind);
      Family(batch, tokens, slots, setOf).expect(got);
    }
  }
  // 600 values, two for each set; the last one is not accepted.
  string list;
  vector<int> sets(600);
  for (int i = 0; i < 600; ++i) {
    sets[i] = i == 599 ? -1 : i * 7 % slots;
    list += (i ? ", " : "") + to_string(sets[i]);
  }
  auto code =
      compile({table2, table2, offsetsOf(slots), table2, table1},
              "kernel.partition ins(%a0 : " + table2 + ") sets [" + list +
                  "] outs(%a1, %a2, %a3, %a4 : " + table2 + ", " +
                  offsetsOf(slots) + ", " + table2 + ", " + table1 + ")");
  if (!code->error.empty())
    return;
  Random random(3);
  vector<int32_t> ids;
  vector<vector<int>> setOf(batch);
  for (int64_t r = 0; r < batch * tokens; ++r) {
    ids.push_back(r % 9 == 4 ? 599
                             : static_cast<int>((random.next() + 1) * 300));
    setOf[r / tokens].push_back(sets[ids.back()]);
  }
  for (int seed = 0; seed < 3; ++seed) {
    Family got(batch, tokens, slots);
    code->run({ids.data(), got.indices.data(), got.offsets.data(),
               got.order.data(), got.counts.data()},
              batch, tokens, seed);
    Family(batch, tokens, slots, setOf).expect(got);
  }
}

// Small batches take one launch, others two; scores are read once.
TEST_P(CpuRowSets, AssignCounts) {
  const int64_t slots = 64;
  const string scores = "memref<?x?x64xf32>";
  auto code =
      compile({scores, table2, offsetsOf(slots), table2, table1},
              "kernel.assign ins(%a0 : " + scores +
                  ") choice 0 outs(%a1, %a2, %a3, %a4 : " + table2 + ", " +
                  offsetsOf(slots) + ", " + table2 + ", " + table1 + ")");
  if (!code->error.empty() || !code->device())
    return;
  code->device()->profile = true;
  for (auto [batch, tokens] :
       vector<std::pair<int64_t, int64_t>>{{64, 1}, {1, 256}, {2, 2048}}) {
    SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens));
    auto &profiles = code->device()->profiles;
    profiles.clear();
    vector<float> values = scoresFor(batch * tokens * slots, 0);
    vector<vector<int>> setOf(batch);
    for (int64_t r = 0; r < batch * tokens; ++r)
      setOf[r / tokens].push_back(rankingOf(&values[r * slots], slots)[0]);
    Family got(batch, tokens, slots);
    code->run({values.data(), got.indices.data(), got.offsets.data(),
               got.order.data(), got.counts.data()},
              batch, tokens);
    Family(batch, tokens, slots, setOf).expect(got);
    size_t launches = batch * tokens <= 256 ? 1 : 2;
    ASSERT_EQ(profiles.size(), launches);
    // The sort reads the set of a row twice.
    uint64_t bytes = batch * tokens * (slots + 2) * 4;
    uint64_t read = 0;
    for (auto &[name, profile] : profiles)
      read += profile.globalBytes[0];
    EXPECT_EQ(read, bytes);
    // By 32 warps, for all of the batch.
    EXPECT_LE(profiles.back().second.warpInstructions, 32u * 550);
    EXPECT_LE(profiles.back().second.barriers, 32u * 6);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuRowSets, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuRowSets);
