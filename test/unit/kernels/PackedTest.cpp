//===- PackedTest.cpp - kernels on sets of rows against plain loops -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fixture.h"

#include <limits>

using namespace nestc::test;
using std::string;
using std::to_string;
using std::vector;

namespace {
class CpuPacked : public Cpu {};

/// How rows fall into sets: at random, all into the last set, one row into
/// set 0 and the rest into set 1, every second one into none, all into none.
enum Kind { mixed, allLast, oneFirst, half, none, kinds };

Family familyOf(int64_t batch, int64_t tokens, int64_t sets, int kind) {
  Random random(batch * 1000 + tokens * 10 + kind);
  vector<vector<int>> setOf(batch);
  for (int64_t r = 0; r < batch * tokens; ++r) {
    int any = static_cast<int>((random.next() + 1) / 2 * sets) % sets;
    int set = kind == allLast    ? sets - 1
              : kind == oneFirst ? (r == batch * tokens / 2 ? 0 : 1)
              : kind == half     ? (r % 2 ? any : -1)
              : kind == none     ? -1
                                 : any;
    setOf[r / tokens].push_back(set);
  }
  return {batch, tokens, sets, setOf};
}

string streamOf(int64_t columns) {
  return "memref<?x?x" + to_string(columns) + "xf32>";
}

/// Arguments of a kernel: types, and the names of some as text.
struct Arguments {
  vector<string> types;
  /// Adds arguments and returns "%a3, %a4 : type, type".
  string add(const vector<string> &more) {
    string names, list;
    for (const string &type : more) {
      string comma = names.empty() ? "" : ", ";
      names += comma + "%a" + to_string(types.size());
      list += comma + type;
      types.push_back(type);
    }
    return names + " : " + list;
  }
};
} // namespace

//===----------------------------------------------------------------------===//
// Matmul and rowwise
//===----------------------------------------------------------------------===//

namespace {
struct PackedMatmul {
  string type;
  int64_t n, k, first, last;
  bool perSet, gathers, scatters;
  int64_t products = 1;
};
} // namespace

TEST_P(CpuPacked, Matmul) {
  const vector<PackedMatmul> cases{
      {"f32", 72, 20, 0, 3, true, true, true},
      {"f32", 33, 530, 1, 3, true, true, false},
      {"f32", 40, 24, 0, 3, true, false, true, 2},
      {"f32", 40, 24, 0, 2, false, false, false},
      {"bf16", 64, 40, 0, 3, true, true, false, 2},
      {"bf16", 33, 545, 0, 1, false, true, true},
      {"f16", 40, 24, 1, 3, false, false, true},
  };
  for (const PackedMatmul &c : cases) {
    SCOPED_TRACE(c.type + " " + to_string(c.n) + "x" + to_string(c.k) +
                 " of sets " + to_string(c.first) + " to " + to_string(c.last));
    int64_t groups = c.perSet ? c.last - c.first : 1;
    bool indexed = c.gathers || c.scatters;
    Arguments a;
    string w =
        "memref<" + to_string(c.n) + "x" + to_string(c.k) + "x" + c.type + ">";
    string b = "memref<" + to_string(c.n) + "xf32>";
    string text = "kernel.matmul ins(" + a.add({streamOf(c.k)}) + ") weights(" +
                  a.add(vector<string>(c.products * groups, w)) + ") epilogue(";
    vector<string> epilogue(groups, b);
    epilogue.insert(epilogue.end(), {streamOf(1), streamOf(c.n)});
    text += a.add(epilogue) + ") by [affine_map<" +
            (c.perSet ? "(m, n, s) -> (s, n)" : "(m, n) -> (n)") +
            ">, affine_map<(m, n) -> (m, 0)>, affine_map<(m, n) -> (m, n)>] "
            "rows(";
    size_t offsets = a.types.size();
    a.add({offsetsOf(3)});
    if (indexed)
      a.add({table2});
    text +=
        "%a" + to_string(offsets) +
        (indexed ? ", %a" + to_string(offsets + 1) + " : " + table2 : "") +
        " : " + offsetsOf(3) + ") sets [" + to_string(c.first) + ", " +
        to_string(c.last) + "] " + (c.gathers ? "gathers " : "") +
        (c.scatters ? "scatters " : "") + "outs(" + a.add({streamOf(c.n)}) +
        ")" +
        (c.perSet ? " attributes {groups = " + to_string(groups) + "}" : "") +
        " {\n^bb0(%x: f32, " + (c.products > 1 ? "%z: f32, " : "") +
        "%b: f32, %w: f32, %s: f32, %o: f32):\n" +
        (c.products > 1 ? "%y = arith.mulf %x, %z : f32\n"
                        : "%y = arith.addf %x, %x : f32\n") +
        "%p = arith.addf %y, %b : f32\n%q = arith.mulf %p, %w : f32\n"
        "%t = arith.addf %q, %s : f32\n%r = arith.addf %t, %o : f32\n"
        "kernel.yield %r : f32\n}";
    auto code = compile(a.types, text);
    if (!code->error.empty())
      return;
    Random random(c.n + c.k);
    vector<Stored> weights;
    for (int64_t i = 0; i < c.products * groups; ++i)
      weights.emplace_back(random.many(c.n * c.k), c.type);
    vector<vector<float>> biases;
    for (int64_t i = 0; i < groups; ++i)
      biases.push_back(random.many(c.n));
    for (auto [batch, tokens] : vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {1, 12}, {1, 13}, {3, 12}, {3, 110}})
      for (int kind = 0; kind < kinds; ++kind) {
        SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) + " of kind " +
                     to_string(kind));
        Family family = familyOf(batch, tokens, 3, kind);
        int64_t m = batch * tokens, low = family.offsets[c.first];
        vector<float> x = random.many(m * c.k), scale = random.many(m);
        vector<float> more = random.many(m * c.n), y = random.many(m * c.n);
        vector<double> expected(y.begin(), y.end());
        for (int64_t s = c.first; s < c.last; ++s)
          for (int64_t p = family.offsets[s]; p < family.offsets[s + 1]; ++p) {
            int64_t row = family.indices[p], packed = p - low;
            int64_t g = c.perSet ? s - c.first : 0;
            const float *from = &x[(c.gathers ? row : packed) * c.k];
            double *to = &expected[(c.scatters ? row : packed) * c.n];
            for (int64_t j = 0; j < c.n; ++j) {
              double sums[2] = {0, 0};
              for (int64_t i = 0; i < c.products; ++i)
                for (int64_t l = 0; l < c.k; ++l)
                  sums[i] += double(roundTo(from[l], c.type)) *
                             weights[i * groups + g].values[j * c.k + l];
              double sum = c.products > 1 ? sums[0] * sums[1] : 2 * sums[0];
              to[j] +=
                  (sum + biases[g][j]) * scale[packed] + more[packed * c.n + j];
            }
          }
        vector<void *> buffers{x.data()};
        for (Stored &weight : weights)
          buffers.push_back(weight.data());
        for (vector<float> &bias : biases)
          buffers.push_back(bias.data());
        buffers.insert(buffers.end(),
                       {scale.data(), more.data(), family.offsets.data()});
        if (indexed)
          buffers.push_back(family.indices.data());
        y.push_back(1234.5f);
        buffers.push_back(y.data());
        code->run(buffers, batch, tokens);
        EXPECT_EQ(y.back(), 1234.5f) << "written past the end";
        y.pop_back();
        EXPECT_LT(worst(y, expected), 4e-6 * std::sqrt(c.k));
      }
  }
}

TEST_P(CpuPacked, Rowwise) {
  // Rows times their weights, summed over groups of 20 of 40 columns.
  for (auto [gathers, scatters] : vector<std::pair<bool, bool>>{
           {false, false}, {true, false}, {false, true}, {true, true}})
    for (bool perSet : {false, true}) {
      SCOPED_TRACE(string(gathers ? "gathers " : "") +
                   (scatters ? "scatters " : "") + (perSet ? "groups" : ""));
      bool indexed = gathers || scatters;
      int64_t groups = perSet ? 3 : 1;
      Arguments a;
      vector<string> inputs{streamOf(40), streamOf(1)};
      inputs.insert(inputs.end(), groups, "memref<40xf32>");
      inputs.insert(inputs.end(), groups, "memref<20xf32>");
      string text =
          "kernel.rowwise ins(" + a.add(inputs) +
          " by [affine_map<(r, c, g) -> (r, c)>, affine_map<(r, c, g) -> (r, "
          "0)>, affine_map<" +
          (perSet ? "(r, c, g, s) -> (s, c)" : "(r, c, g) -> (c)") +
          ">, affine_map<" +
          (perSet ? "(r, c, g, s) -> (s, g)" : "(r, c, g) -> (g)") +
          ">]) group 20 rows(";
      size_t offsets = a.types.size();
      a.add({offsetsOf(4)});
      if (indexed)
        a.add({table2});
      text +=
          "%a" + to_string(offsets) +
          (indexed ? ", %a" + to_string(offsets + 1) + " : " + table2 : "") +
          " : " + offsetsOf(4) + ") sets [1, 4] " +
          (gathers ? "gathers " : "") + (scatters ? "scatters " : "") +
          "outs(" + a.add({streamOf(40)}) + ")" +
          (perSet ? " attributes {groups = 3}" : "") +
          " {\n^bb0(%x: f32, %w: f32, %v: f32, %u: f32):\n"
          "%p = arith.mulf %x, %w : f32\nkernel.yield %p : f32\n}, {\n"
          "^bb0(%x: f32, %w: f32, %v: f32, %u: f32, %s: f32, %o: f32):\n"
          "%p = arith.mulf %x, %s : f32\n%q = arith.addf %p, %v : f32\n"
          "%t = arith.mulf %o, %u : f32\n%r = arith.addf %q, %t : f32\n"
          "kernel.yield %r : f32\n}";
      auto code = compile(a.types, text);
      if (!code->error.empty())
        return;
      Random random(9);
      vector<vector<float>> v, u;
      for (int64_t g = 0; g < groups; ++g) {
        v.push_back(random.many(40));
        u.push_back(random.many(20));
      }
      for (auto [batch, tokens] :
           vector<std::pair<int64_t, int64_t>>{{1, 1}, {1, 13}, {3, 90}})
        for (int kind = 0; kind < kinds; ++kind) {
          SCOPED_TRACE(to_string(batch) + "x" + to_string(tokens) +
                       " of kind " + to_string(kind));
          Family family = familyOf(batch, tokens, 4, kind);
          int64_t m = batch * tokens, low = family.offsets[1];
          vector<float> x = random.many(m * 40), w = random.many(m);
          vector<float> y = random.many(m * 40);
          vector<double> expected(y.begin(), y.end());
          for (int64_t s = 1; s < 4; ++s)
            for (int64_t p = family.offsets[s]; p < family.offsets[s + 1];
                 ++p) {
              int64_t from = gathers ? family.indices[p] : p - low;
              int64_t into = scatters ? family.indices[p] : p - low;
              int64_t g = perSet ? s - 1 : 0;
              for (int64_t j = 0; j < 40; ++j) {
                double sum = 0;
                for (int64_t l = j / 20 * 20; l < j / 20 * 20 + 20; ++l)
                  sum += double(x[from * 40 + l]) * w[from];
                double &e = expected[into * 40 + j];
                e = x[from * 40 + j] * sum + v[g][j] + e * u[g][j % 20];
              }
            }
          vector<void *> buffers{x.data(), w.data()};
          for (vector<float> &values : v)
            buffers.push_back(values.data());
          for (vector<float> &values : u)
            buffers.push_back(values.data());
          buffers.push_back(family.offsets.data());
          if (indexed)
            buffers.push_back(family.indices.data());
          buffers.push_back(y.data());
          code->run(buffers, batch, tokens);
          EXPECT_LT(worst(y, expected), 2e-6);
        }
    }
}

//===----------------------------------------------------------------------===//
// Attention and caches
//===----------------------------------------------------------------------===//

namespace {
struct PackedAttention {
  string type;
  int64_t heads, kvHeads, headDim, room, window;
  vector<int32_t> lengths;
  int64_t tokens, sets, first, last;
  bool rows, compact, positions;
  int kind = mixed;
  bool causal = true;
};
} // namespace

TEST_P(CpuPacked, Attention) {
  vector<PackedAttention> cases{
      // Every token is in a set; queries are packed set by set.
      {"f32", 4, 2, 16, 400, 0, {0, 3, 17}, 45, 3, 0, 3, true, false, false},
      {"f32", 4, 2, 16, 400, 9, {0, 3, 17}, 45, 3, 0, 3, true, false, false},
      {"f32",
       2,
       1,
       8,
       400,
       0,
       {5, 0},
       45,
       3,
       0,
       3,
       true,
       false,
       false,
       mixed,
       false},
      // Queries of one of several sets.
      {"f32", 2, 2, 20, 400, 0, {7, 0, 90}, 70, 3, 1, 2, true, false, false},
      // One set, with caches of all rows, or of its own.
      {"bf16",
       8,
       2,
       40,
       600,
       0,
       {0, 100},
       290,
       1,
       0,
       1,
       true,
       false,
       false,
       half},
      {"f16",
       8,
       2,
       40,
       600,
       0,
       {0, 100},
       290,
       1,
       0,
       1,
       true,
       true,
       false,
       half},
      {"f32",
       2,
       1,
       8,
       400,
       0,
       {5, 0},
       45,
       1,
       0,
       1,
       true,
       true,
       false,
       half,
       false},
      {"f32",
       4,
       1,
       24,
       300,
       31,
       {2, 130, 0},
       90,
       1,
       0,
       1,
       true,
       true,
       true,
       half},
      {"f32", 4, 1, 24, 300, 31, {2, 130}, 1, 1, 0, 1, true, true, true},
      {"f32", 4, 1, 24, 300, 1, {2, 130}, 4, 1, 0, 1, true, true, true},
      {"f32", 4, 1, 24, 300, 50, {2, 130}, 130, 1, 0, 1, false, false, true},
      // No row at all, in one sequence or in all.
      {"f32",
       4,
       1,
       24,
       300,
       0,
       {2, 130},
       5,
       2,
       0,
       2,
       true,
       true,
       false,
       oneFirst},
      {"f32", 4, 1, 24, 300, 0, {2, 130}, 5, 1, 0, 1, true, true, false, none},
  };
  size_t exact = cases.size();
  for (size_t i = 0; i < exact; ++i)
    if (cases[i].type != "f32")
      cases.push_back(cases[i]);
  // Windows, tables and masks as they are, in types that round.
  for (size_t i = 0; i < exact; ++i)
    if (cases[i].type == "f32" && cases[i].headDim % 8 == 0) {
      cases.push_back(cases[i]);
      cases.back().type = i % 2 ? "f16" : "bf16";
    }
  for (const PackedAttention &c : cases) {
    bool rounds = &c - cases.data() >= int64_t(exact);
    int64_t batch = c.lengths.size(), width = c.heads * c.headDim;
    SCOPED_TRACE(c.type + " " + to_string(&c - cases.data()));
    Arguments a;
    string cache = "memref<?x" + to_string(c.kvHeads) + "x" +
                   to_string(c.room) + "x" + to_string(c.headDim) + "x" +
                   c.type + ">";
    string mask = c.causal ? "causal" : "";
    if (c.window)
      mask +=
          (mask.empty() ? "window = " : ", window = ") + to_string(c.window);
    // Every other case: by positions where there are some.
    bool alibi = (&c - cases.data()) % 2;
    if (alibi)
      mask += mask.empty() ? "alibi = 1.25" : ", alibi = 1.25";
    string text = "kernel.attention ins(" +
                  a.add({streamOf(width), cache, cache, table1}) + ") ";
    if (c.positions)
      text += "positions(" +
              a.add({"memref<?x" + to_string(c.room) + "xi32>"}) + ") ";
    if (c.rows)
      text += "rows(" + a.add({offsetsOf(c.sets), table2, table2, table1}) +
              ") sets [" + to_string(c.first) + ", " + to_string(c.last) +
              "] " + (c.compact ? "compact " : "");
    text += string(rounds ? "rounds " : "") + "scale 0.3 <" + mask + "> outs(" +
            a.add({streamOf(width)}) + ")";
    auto code = compile(a.types, text);
    if (!code->error.empty())
      return;

    Random random(c.headDim + c.tokens);
    Family family = familyOf(batch, c.tokens, c.sets, c.kind);
    vector<float> q = Stored(random.many(batch * c.tokens * width, 2),
                             rounds ? c.type : "f32")
                          .values;
    size_t size = batch * c.kvHeads * c.room * c.headDim;
    Stored k(random.many(size, 2), c.type), v(random.many(size), c.type);
    vector<int32_t> positions;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0, at = 3; i < c.room; ++i) {
        at += 1 + (random.next() > 0.3f ? 4 : 0);
        positions.push_back(at);
      }
    vector<float> y = random.many(q.size());
    vector<double> expected(y.begin(), y.end()), slack(y.size());
    int64_t low = c.rows ? family.offsets[c.first] : 0;
    int64_t high = c.rows ? family.offsets[c.last] : batch * c.tokens;
    for (int64_t b = 0; b < batch; ++b) {
      int64_t queries = c.rows ? family.counts[b] : c.tokens;
      for (int64_t j = 0; j < queries; ++j)
        for (int64_t h = 0; h < c.heads; ++h) {
          int64_t p =
              c.rows ? family.order[b * c.tokens + j] : b * c.tokens + j;
          if (p < low || p >= high)
            continue;
          int64_t t =
              c.rows && !c.compact ? family.indices[p] - b * c.tokens : j;
          int64_t self = c.lengths[b] + t;
          int64_t end = c.causal    ? self + 1
                        : c.compact ? c.lengths[b] + queries
                                    : c.lengths[b] + c.tokens;
          const int32_t *at = &positions[b * c.room];
          int64_t first = 0;
          if (c.window && c.positions)
            while (at[first] <= at[self] - c.window)
              ++first;
          else if (c.window)
            first = std::max<int64_t>(self - c.window + 1, 0);
          int64_t kv = h / (c.heads / c.kvHeads);
          int64_t line = (b * c.kvHeads + kv) * c.room * c.headDim;
          const float *keys = &k.values[line], *values = &v.values[line];
          int64_t row = (p - low) * width + h * c.headDim;
          auto takenOff = [&](int64_t key) {
            double distance = c.positions ? at[self] - at[key] : self - key;
            return alibi
                       ? std::exp2(-1.25 * double(h + 1)) * std::fabs(distance)
                       : 0;
          };
          attend(&q[row], keys, values, first, end, c.headDim, &expected[row],
                 rounds ? c.type : "", &slack[row], takenOff);
        }
    }
    vector<int32_t> length = c.lengths;
    vector<void *> buffers{q.data(), k.data(), v.data(), length.data()};
    if (c.positions)
      buffers.push_back(positions.data());
    if (c.rows)
      buffers.insert(buffers.end(),
                     {family.offsets.data(), family.indices.data(),
                      family.order.data(), family.counts.data()});
    buffers.push_back(y.data());
    code->run(buffers, batch, c.tokens);
    EXPECT_LT(worst(y, expected, slack), 5e-6);
  }
}

TEST_P(CpuPacked, CacheAppend) {
  for (string type : {"f32", "bf16", "i32"})
    for (bool packed : {false, true}) {
      SCOPED_TRACE(type + (packed ? " packed" : ""));
      bool isPositions = type == "i32";
      if (type == "bf16" && !packed)
        continue;
      int64_t width = isPositions ? 1 : 40, room = 20;
      string cache =
          isPositions ? "memref<?x20xi32>" : "memref<?x2x20x20x" + type + ">";
      Arguments a;
      string text = "kernel.cache_append ins(" +
                    a.add({isPositions ? table2 : streamOf(40), table1}) + ") ";
      if (packed)
        text +=
            "rows(" + a.add({offsetsOf(3), table2, table1}) + ") sets [1, 3] ";
      auto code =
          compile((text += "outs(" + a.add({cache}) + ")", a.types), text);
      if (!code->error.empty())
        return;
      for (int64_t batch : {1, 3})
        for (int kind = 0; kind < kinds; ++kind) {
          SCOPED_TRACE(to_string(batch) + " of kind " + to_string(kind));
          int64_t tokens = 8;
          Family family = familyOf(batch, tokens, 3, kind);
          Random random(kind);
          vector<float> x = random.many(batch * tokens * width, 100);
          vector<int32_t> ids(x.begin(), x.end());
          vector<float> old = random.many(batch * room * width, 100);
          vector<int32_t> oldIds(old.begin(), old.end());
          Stored memory(old, isPositions ? "f32" : type);
          vector<int32_t> length{0, 5, 12};
          vector<double> expected(memory.values.begin(), memory.values.end());
          if (isPositions)
            expected.assign(oldIds.begin(), oldIds.end());
          int64_t low = packed ? family.offsets[1] : 0;
          int64_t high = packed ? family.offsets[3] : batch * tokens;
          for (int64_t b = 0; b < batch; ++b)
            for (int64_t j = 0; j < (packed ? family.counts[b] : tokens); ++j) {
              int64_t p = b * tokens + j;
              if (packed)
                p = family.order[p];
              if (p < low || p >= high)
                continue;
              p -= low;
              int64_t at = length[b] + j;
              if (isPositions)
                expected[b * room + at] = ids[p];
              else
                for (int64_t c = 0; c < width; ++c)
                  expected[((b * 2 + c / 20) * room + at) * 20 + c % 20] =
                      roundTo(x[p * width + c], type);
            }
          vector<void *> buffers{isPositions ? static_cast<void *>(ids.data())
                                             : x.data(),
                                 length.data()};
          if (packed)
            buffers.insert(buffers.end(),
                           {family.offsets.data(), family.order.data(),
                            family.counts.data()});
          buffers.push_back(isPositions ? static_cast<void *>(oldIds.data())
                                        : memory.data());
          code->run(buffers, batch, tokens);
          vector<float> got(oldIds.begin(), oldIds.end());
          if (!isPositions)
            got = widen(memory.bytes, type);
          EXPECT_EQ(worst(got, expected), 0);
        }
    }
}

TEST_P(CpuPacked, Rope) {
  const string rope = " <head_dim = 8, frequencies = [1.0, 0.25], magnitude = "
                      "1.0> ";
  Arguments t;
  string text = "kernel.rope_table ins(" + t.add({table2}) + ")" + rope +
                "rows(" + t.add({offsetsOf(3)}) + ") sets [1, 2] outs(" +
                t.add({streamOf(4)}) + ")";
  auto tables = compile(t.types, text);
  Arguments a;
  text = "kernel.rope ins(" + a.add({streamOf(4)}) + ") head_dim 8 rows(" +
         a.add({offsetsOf(3)}) + ") sets [1, 2] outs(" + a.add({streamOf(16)}) +
         ")";
  auto turn = compile(a.types, text);
  if (!tables->error.empty() || !turn->error.empty())
    return;
  for (int kind = 0; kind < kinds; ++kind) {
    SCOPED_TRACE(kind);
    Family family = familyOf(3, 7, 3, kind);
    int64_t rows = family.offsets[2] - family.offsets[1];
    Random random(kind);
    vector<int32_t> positions;
    for (int i = 0; i < 21; ++i)
      positions.push_back(i * 5);
    vector<float> table = random.many(21 * 4), y = random.many(21 * 16);
    vector<double> expected(table.begin(), table.end());
    vector<double> turned(y.begin(), y.end());
    for (int64_t p = 0; p < rows; ++p)
      for (int i = 0; i < 2; ++i) {
        double angle = positions[p] * (i ? 0.25 : 1);
        double c = expected[p * 4 + i] = std::cos(angle);
        double s = expected[p * 4 + 2 + i] = std::sin(angle);
        for (int64_t at = p * 16 + i; at < p * 16 + 16; at += 8) {
          turned[at] = y[at] * c - y[at + 2] * s;
          turned[at + 2] = y[at + 2] * c + y[at] * s;
        }
      }
    tables->run({positions.data(), family.offsets.data(), table.data()}, 3, 7);
    EXPECT_LT(worst(table, expected), 2e-7);
    turn->run({table.data(), family.offsets.data(), y.data()}, 3, 7);
    EXPECT_LT(worst(y, turned), 4e-7);
  }
}

//===----------------------------------------------------------------------===//
// One number or one row at a time
//===----------------------------------------------------------------------===//

TEST_P(CpuPacked, LastRows) {
  Arguments a;
  string text = "kernel.last_rows ins(" + a.add({streamOf(20)}) + ") order(" +
                a.add({table2}) + ") outs(" + a.add({"memref<?x1x20xf32>"}) +
                ")";
  auto code = compile(a.types, text);
  ASSERT_EQ(code->error, "");
  for (int kind : {mixed, allLast, oneFirst}) {
    Family family = familyOf(3, 5, 3, kind);
    Random random(kind);
    vector<float> x = random.many(3 * 5 * 20), y(3 * 20);
    vector<double> expected;
    for (int b = 0; b < 3; ++b)
      for (int j = 0; j < 20; ++j)
        expected.push_back(x[family.order[b * 5 + 4] * 20 + j]);
    code->run({x.data(), family.order.data(), y.data()}, 3, 5);
    EXPECT_EQ(worst(y, expected), 0);
  }
}

TEST_P(CpuPacked, GatherAndChosen) {
  Arguments g;
  string text = "kernel.gather ins(" + g.add({table2}) + ") rows(" +
                g.add({offsetsOf(5), table2}) + ") sets [1, 4] outs(" +
                g.add({table2}) + ")";
  auto gather = compile(g.types, text);
  Arguments c;
  text = "kernel.chosen ins(" + c.add({streamOf(5)}) + ") rows(" +
         c.add({offsetsOf(5), table2}) + ") sets [1, 4] outs(" +
         c.add({streamOf(1)}) + ")";
  auto chosen = compile(c.types, text);
  if (!gather->error.empty() || !chosen->error.empty())
    return;
  for (auto [batch, tokens] :
       vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 9}, {1, 10000}})
    for (int kind = 0; kind < kinds; ++kind) {
      SCOPED_TRACE(to_string(tokens) + " of kind " + to_string(kind));
      Family family = familyOf(batch, tokens, 5, kind);
      Random random(tokens);
      vector<float> scores = random.many(batch * tokens * 5);
      vector<int32_t> x, y(batch * tokens, unwritten);
      for (int64_t r = 0; r < batch * tokens; ++r)
        x.push_back(r * 7 - 3);
      vector<int32_t> expected = y;
      vector<float> weights(batch * tokens, 5);
      vector<double> expectedWeights(batch * tokens, 5);
      for (int64_t s = 1; s < 4; ++s)
        for (int64_t p = family.offsets[s]; p < family.offsets[s + 1]; ++p) {
          expected[p - family.offsets[1]] = x[family.indices[p]];
          expectedWeights[p - family.offsets[1]] =
              scores[family.indices[p] * 5 + s];
        }
      gather->run(
          {x.data(), family.offsets.data(), family.indices.data(), y.data()},
          batch, tokens);
      EXPECT_EQ(y, expected);
      chosen->run({scores.data(), family.offsets.data(), family.indices.data(),
                   weights.data()},
                  batch, tokens);
      EXPECT_EQ(worst(weights, expectedWeights), 0);
    }
}

TEST_P(CpuPacked, Softmax) {
  for (int64_t columns : {1, 8, 37})
    for (bool packed : {false, true})
      for (bool overRows : {false, true}) {
        SCOPED_TRACE(to_string(columns) + (packed ? " packed" : "") +
                     (overRows ? " over rows" : ""));
        Arguments a;
        string text = "kernel.softmax ins(" + a.add({streamOf(columns)}) + ") ";
        size_t offsets = a.types.size();
        if (packed) {
          a.add({offsetsOf(3)});
          text += "rows(%a" + to_string(offsets);
          if (overRows)
            text += ", " + a.add({table2, table1});
          text += " : " + offsetsOf(3) + ") sets [1, 3] ";
        }
        text += overRows ? "over_rows " : "";
        text += "outs(" + a.add({streamOf(columns)}) + ")";
        auto code = compile(a.types, text);
        if (!code->error.empty())
          return;
        for (auto [batch, tokens] :
             vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 40}})
          for (int kind = 0; kind < kinds; ++kind) {
            SCOPED_TRACE(to_string(tokens) + " of kind " + to_string(kind));
            Family family = familyOf(batch, tokens, 3, kind);
            Random random(columns + kind);
            vector<float> x = random.many(batch * tokens * columns, 30);
            vector<float> y(x.size(), 5);
            vector<double> expected(x.size(), 5);
            int64_t low = packed ? family.offsets[1] : 0;
            int64_t high = packed ? family.offsets[3] : batch * tokens;
            // The elements of every softmax.
            vector<vector<int64_t>> parts;
            if (!overRows)
              for (int64_t r = 0; r < high - low; ++r) {
                parts.emplace_back();
                for (int64_t j = 0; j < columns; ++j)
                  parts.back().push_back(r * columns + j);
              }
            else
              for (int64_t b = 0; b < batch; ++b)
                for (int64_t c = 0; c < columns; ++c) {
                  parts.emplace_back();
                  for (int64_t j = 0; j < (packed ? family.counts[b] : tokens);
                       ++j) {
                    int64_t p =
                        packed ? family.order[b * tokens + j] : b * tokens + j;
                    if (p >= low && p < high)
                      parts.back().push_back((p - low) * columns + c);
                  }
                }
            for (const vector<int64_t> &part : parts) {
              double top = -1e300, sum = 0;
              for (int64_t at : part)
                top = std::max<double>(top, x[at]);
              for (int64_t at : part)
                sum += std::exp(x[at] - top);
              for (int64_t at : part)
                expected[at] = std::exp(x[at] - top) / sum;
            }
            vector<void *> buffers{x.data()};
            if (packed)
              buffers.push_back(family.offsets.data());
            if (packed && overRows)
              buffers.insert(buffers.end(),
                             {family.order.data(), family.counts.data()});
            buffers.push_back(y.data());
            code->run(buffers, batch, tokens);
            EXPECT_LT(worst(y, expected), 1e-6);
          }
      }
}

TEST_P(CpuPacked, AdvanceAndRank) {
  for (bool packed : {false, true}) {
    SCOPED_TRACE(packed);
    Arguments a;
    string text = "kernel.advance ins(" + a.add({table2}) + ") ";
    if (packed)
      text += "counts(" + a.add({table1}) + ") ";
    text += "outs(" + a.add({table1}) + ")";
    auto advance = compile(a.types, text);
    Arguments r;
    text = "kernel.rank ins(" + r.add({table1}) + ") ";
    if (packed)
      text +=
          "rows(" + r.add({offsetsOf(3), table2, table1}) + ") sets [1, 3] ";
    text += "outs(" + r.add({table2}) + ")";
    auto rank = compile(r.types, text);
    if (!advance->error.empty() || !rank->error.empty())
      return;
    for (int64_t batch : {1, 3})
      for (int kind = 0; kind < kinds; ++kind) {
        SCOPED_TRACE(to_string(batch) + " of kind " + to_string(kind));
        int64_t tokens = 9;
        Family family = familyOf(batch, tokens, 3, kind);
        vector<int32_t> ids(batch * tokens), lengths{4, 0, 900};
        vector<int32_t> longer = lengths, ranks(batch * tokens, unwritten);
        vector<int32_t> expected = ranks;
        for (int64_t b = 0; b < batch; ++b) {
          int32_t count = packed ? family.counts[b] : tokens;
          longer[b] += count;
          for (int32_t j = 0; j < count; ++j) {
            int64_t p = b * tokens + j;
            if (packed)
              p = family.order[p] - family.offsets[1];
            if (p >= 0 &&
                (!packed || p < family.offsets[3] - family.offsets[1]))
              expected[p] = lengths[b] + j;
          }
        }
        vector<void *> buffers{lengths.data()};
        if (packed)
          buffers.insert(buffers.end(),
                         {family.offsets.data(), family.order.data(),
                          family.counts.data()});
        buffers.push_back(ranks.data());
        rank->run(buffers, batch, tokens);
        EXPECT_EQ(ranks, expected);
        buffers = {ids.data()};
        if (packed)
          buffers.push_back(family.counts.data());
        buffers.push_back(lengths.data());
        advance->run(buffers, batch, tokens);
        EXPECT_EQ(lengths, longer);
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuPacked, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuPacked);
