//===- AttentionTest.cpp - attention on a GPU -----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// KernelTest.cpp and PackedTest.cpp have the masks and families. Here are
// narrow outputs, numbers of every size, and what kernels do to memory.
//
//===----------------------------------------------------------------------===//

#include "EmulatedGpu.h"
#include "Fixture.h"

using namespace nestc;
using namespace nestc::test;
using std::string;
using std::to_string;
using std::vector;

namespace {
struct Problem {
  string type;
  int64_t heads, kvHeads, headDim, room;
  vector<int32_t> lengths;
  int64_t tokens;
  string out = "f32";
  float queries = 2, keys = 2, values = 1; ///< sizes
  bool staticTokens = false;
  bool lastIsNan = false; ///< the last token's key and value
  bool rounds = false;
  string q = "f32";
  int64_t window = 0;
  bool noisyQueries = false; ///< by what rounding takes off again
  int64_t slots = 0;         ///< of a workspace; 0: none
  float alibi = 0;
};

class GpuAttention : public testing::Test {
protected:
  std::unique_ptr<Compiled> compile(const Problem &p,
                                    const string &level = gpuLevel()) {
    string tokens = p.staticTokens ? to_string(p.tokens) : "?";
    string stream =
        "memref<?x" + tokens + "x" + to_string(p.heads * p.headDim) + "x";
    string q = stream + p.q + ">", out = stream + p.out + ">";
    string mask = p.window ? "<causal, window = " + to_string(p.window) + ">"
                           : "<causal>";
    if (p.alibi > 0)
      mask.insert(mask.size() - 1, ", alibi = " + to_string(p.alibi));
    string cache = "memref<?x" + to_string(p.kvHeads) + "x" +
                   to_string(p.room) + "x" + to_string(p.headDim) + "x" +
                   p.type + ">";
    vector<string> types{q, cache, cache, table1};
    string workspace;
    if (p.slots) {
      types.push_back("memref<" + to_string(p.slots) + "x16x" +
                      to_string(p.headDim + 8) + "xf32>");
      types.push_back("memref<" + to_string(p.slots) + "xi32>");
      workspace = "workspace(%a4, %a5 : " + types[4] + ", " + types[5] + ") ";
    }
    types.push_back(out);
    auto code = std::make_unique<Compiled>(
        oneKernel(types, "kernel.attention ins(%a0, %a1, %a2, %a3 : " + q +
                             ", " + cache + ", " + cache + ", " + table1 +
                             ") " + (p.rounds ? "rounds " : "") + workspace +
                             "scale 0.3 " + mask + " outs(%a" +
                             to_string(types.size() - 1) + " : " + out + ")"),
        level);
    EXPECT_EQ(code->error, "");
    return code;
  }

  /// What the last run wrote.
  vector<char> output;
  bool partsAreUsed = false;

  /// Runs it in an order of warps and blocks, and gives the largest
  /// |x - y| / (1 + |y|), y in units of the values' size, of what rounded
  /// weights do not account for.
  double run(Compiled &code, const Problem &p, int seed = 0) {
    int64_t batch = p.lengths.size(), width = p.heads * p.headDim;
    Random random(p.headDim + p.tokens);
    Stored q(Stored(random.many(batch * p.tokens * width, p.queries),
                    p.rounds ? p.type : "f32")
                 .values,
             p.q);
    size_t size = batch * p.kvHeads * p.room * p.headDim;
    Stored k(random.many(size, p.keys), p.type);
    Stored v(random.many(size, p.values), p.type);
    Stored y(vector<float>(q.values.size(), -7), p.out);
    vector<double> expected(q.values.size()), slack(q.values.size());
    for (int64_t b = 0; b < batch; ++b) {
      // What is behind the last key may be anything.
      for (int64_t h = 0; h < p.kvHeads; ++h)
        for (int64_t j = p.lengths[b] + p.tokens; j < p.room; ++j)
          for (Stored *cache : {&k, &v}) {
            size_t each = cache->bytes.size() / size;
            std::memset(cache->bytes.data() +
                            ((b * p.kvHeads + h) * p.room + j) * p.headDim *
                                each,
                        0xff, p.headDim * each);
          }
      for (int64_t t = 0; t < p.tokens; ++t)
        for (int64_t h = 0; h < p.heads; ++h) {
          int64_t kv = h / (p.heads / p.kvHeads), end = p.lengths[b] + t + 1;
          int64_t line = (b * p.kvHeads + kv) * p.room * p.headDim;
          const float *keys = &k.values[line], *values = &v.values[line];
          int64_t at = (b * p.tokens + t) * width + h * p.headDim;
          int64_t first = p.window ? std::max<int64_t>(end - p.window, 0) : 0;
          attend(&q.values[at], keys, values, first, end, p.headDim,
                 &expected[at], p.rounds ? p.type : "", &slack[at],
                 [&](int64_t j) {
                   return p.alibi > 0 ? std::exp2(-p.alibi * double(h + 1)) *
                                            double(end - 1 - j)
                                      : 0;
                 });
        }
    }
    for (int64_t line = 0; p.lastIsNan && line < batch * p.kvHeads; ++line)
      for (Stored *cache : {&k, &v}) {
        size_t row = cache->bytes.size() / (batch * p.kvHeads * p.room);
        int64_t last = p.lengths[line / p.kvHeads] + p.tokens - 1;
        std::memset(&cache->bytes[(line * p.room + last) * row], 0xff, row);
      }
    if (p.noisyQueries)
      for (size_t i = 0; i < q.values.size(); ++i)
        reinterpret_cast<float *>(q.bytes.data())[i] *=
            1 + (i % 2 ? 1 : -1) * (p.type == "bf16" ? 0x1p-10f : 0x1p-13f);
    vector<int32_t> lengths = p.lengths;
    vector<void *> buffers{q.data(), k.data(), v.data(), lengths.data()};
    // The workspace holds nothing that counts.
    vector<float> workspace(p.slots * 16 * (p.headDim + 8), NAN);
    vector<int32_t> tickets(p.slots);
    if (p.slots) {
      buffers.push_back(workspace.data());
      buffers.push_back(tickets.data());
    }
    buffers.push_back(y.data());
    code.run(buffers, batch, p.tokens, seed);
    EXPECT_EQ(std::count(tickets.begin(), tickets.end(), 0), p.slots);
    partsAreUsed = p.slots && !std::isnan(workspace[0]);
    output = y.bytes;
    vector<float> got = widen(y.bytes, p.out);
    for (size_t i = 0; p.lastIsNan && i < got.size(); ++i)
      if (i / width % p.tokens == size_t(p.tokens) - 1) {
        EXPECT_TRUE(std::isnan(got[i])) << i;
        got[i] = expected[i] = 0;
      }
    for (float &value : got)
      value /= p.values;
    for (vector<double> *all : {&expected, &slack})
      for (double &value : *all)
        value /= p.values;
    return worst(got, expected, slack);
  }
};

/// Types of caches, exact and rounded.
const vector<std::pair<string, bool>> types{{"bf16", false},
                                            {"bf16", true},
                                            {"f16", false},
                                            {"f16", true},
                                            {"f32", false}};

string name(const Problem &p) {
  return p.type + (p.rounds ? " rounds, " : ", ") + to_string(p.heads) + "/" +
         to_string(p.kvHeads) + " of " + to_string(p.headDim) + ", " +
         to_string(p.tokens) + " tokens";
}
} // namespace

TEST_F(GpuAttention, NarrowOutput) {
  for (int64_t tokens : {3, 70})
    for (auto [type, rounds] : types)
      for (string out : {"bf16", "f16"}) {
        Problem p{type, 4, 2, 24, 150, {9, 64}, tokens, out};
        p.rounds = rounds;
        SCOPED_TRACE(name(p) + " to " + out);
        auto code = compile(p);
        // Half a unit in the last place.
        EXPECT_LT(run(*code, p), out == "bf16" ? 0x1p-9 : 0x1p-11);
      }
  Problem odd{"f32", 2, 1, 7, 40, {9}, 30, "bf16"};
  EXPECT_LT(run(*compile(odd), odd), 0x1p-9);
}

TEST_F(GpuAttention, NumbersOfEverySize) {
  // Queries and weights are f32 although products are of bf16 and f16, unless
  // they may be rounded: sizes at the ends of f16 must not be seen, nor
  // rounding to either.
  for (auto [type, rounds] : types)
    for (int64_t tokens : {4, 40})
      for (float size : {1e-6f, 1e-3f, 1.f, 1e3f, 1e6f, 1e18f}) {
        if (type == "f32")
          continue;
        // Scores stay as they are; in f16 keys and values keep their size.
        Problem p{type, 4, 2, 64, 150, {9, 64}, tokens};
        p.rounds = rounds;
        SCOPED_TRACE(name(p) + ", " + to_string(size));
        float keys = type == "bf16" ? 1 / size : std::clamp(size, 1e-3f, 1e4f);
        p.queries = 2 / keys;
        p.keys = 2 * keys;
        p.values = type == "bf16" ? size : keys;
        auto code = compile(p);
        EXPECT_LT(run(*code, p), 5e-6);
      }
}

TEST_F(GpuAttention, DistancesAlone) {
  // Queries that are nothing beside the distances, which f16 scales up.
  for (auto [type, rounds] : types)
    for (int64_t tokens : {4, 40})
      for (float size : {0.f, 1e-38f, 1e-20f}) {
        Problem p{type, 4, 2, 64, 150, {9, 64}, tokens};
        p.rounds = rounds;
        p.queries = size;
        p.alibi = 0.5;
        SCOPED_TRACE(name(p) + ", " + to_string(size));
        EXPECT_LT(run(*compile(p), p), 5e-6);
      }
}

TEST_F(GpuAttention, OrderOfWarpsDoesNotMatter) {
  for (auto [type, rounds] : types)
    for (int64_t headDim : {64, 256})
      for (int64_t tokens : {2, 50}) {
        Problem p{type, 2, 1, headDim, 200, {150, 3}, tokens};
        p.rounds = rounds;
        SCOPED_TRACE(name(p));
        p.queries = 16. / std::sqrt(headDim);
        auto code = compile(p);
        EXPECT_LT(run(*code, p), 5e-6);
        vector<char> first = output;
        for (int seed : {1, 2}) {
          EXPECT_LT(run(*code, p, seed), 5e-6);
          EXPECT_EQ(output, first) << "seed " << seed;
        }
      }
}

TEST_F(GpuAttention, Parts) {
  // Blocks share the keys of a head: as many as there is room for, none where
  // keys are few or heads many; in any order, bit for bit.
  for (auto [type, rounds] : types)
    for (int64_t headDim : {24, 128})
      for (int64_t window : {0, 600}) {
        if ((type == "f32" || window) && headDim == 24)
          continue;
        Problem p{type, 8, 2, headDim, 1300, {1290, 700, 3}, 2};
        p.rounds = rounds;
        p.window = window;
        p.queries = 8. / std::sqrt(headDim);
        p.slots = 6 * 7 + 3;
        SCOPED_TRACE(name(p) + ", window " + to_string(window));
        auto code = compile(p);
        EXPECT_LT(run(*code, p), 5e-6);
        EXPECT_EQ(partsAreUsed, type != "f32");
        vector<char> first = output;
        for (int seed : {1, 2}) {
          EXPECT_LT(run(*code, p, seed), 5e-6);
          EXPECT_EQ(output, first) << "seed " << seed;
        }
        // Two parts.
        p.lengths = {511};
        EXPECT_LT(run(*code, p), 5e-6);
        // Nothing to share.
        p.lengths = {200};
        EXPECT_LT(run(*code, p), 5e-6);
        EXPECT_FALSE(partsAreUsed);
        p.lengths = vector<int32_t>(12, 900);
        EXPECT_LT(run(*code, p), 5e-6);
        EXPECT_FALSE(partsAreUsed);
        // Many rows.
        p.lengths = {700};
        p.tokens = 40;
        EXPECT_LT(run(*code, p), 5e-6);
        EXPECT_FALSE(partsAreUsed);
      }
}

TEST_F(GpuAttention, PartsThatAreHidden) {
  // A NaN of another row's keys, in a part of its own.
  for (auto [type, rounds] : types) {
    Problem p{type, 4, 2, 64, 1100, {1024}, 3};
    p.rounds = rounds;
    p.lastIsNan = true;
    p.slots = 64;
    SCOPED_TRACE(name(p));
    EXPECT_LT(run(*compile(p), p), 5e-6);
  }
}

TEST_F(GpuAttention, HiddenKeysHaveNoInfluence) {
  for (const string &level : levels())
    for (auto [type, rounds] : types)
      for (int64_t headDim : {24, 136, 264})
        for (int64_t tokens : {5, 70}) {
          Problem p{type, 4, 2, headDim, 120, {33, 1}, tokens};
          p.rounds = rounds;
          SCOPED_TRACE(level + " " + name(p));
          p.queries = 8. / std::sqrt(headDim);
          p.lastIsNan = true;
          auto code = compile(p, level);
          EXPECT_LT(run(*code, p), 5e-6);
        }
}

TEST_F(GpuAttention, Rounds) {
  // Pieces before, between and behind masks, in pairs and not: by the length,
  // of a token for each row of the tile or less.
  for (int64_t headDim : {40, 64, 128, 256})
    for (int64_t window : {0, 100, 333}) {
      Problem p{headDim == 64 ? "f16" : "bf16",
                window == 100 ? 4 : 1,
                1,
                headDim,
                600,
                {},
                150};
      p.rounds = true;
      p.window = window;
      p.queries = 8. / std::sqrt(headDim);
      auto code = compile(p);
      for (int32_t length : {0, 200, 449})
        for (int64_t tokens : {1, 150}) {
          p.lengths = {length};
          p.tokens = tokens;
          SCOPED_TRACE(name(p) + ", length " + to_string(length) + ", window " +
                       to_string(window));
          EXPECT_LT(run(*code, p), 5e-6);
        }
    }
}

TEST_F(GpuAttention, RoundedQueries) {
  // Stored in the type of the caches, or rounded to it: the same numbers.
  for (string type : {"bf16", "f16"})
    for (int64_t headDim : {24, 64, 128, 256, 264})
      for (int64_t tokens : {2, 70}) {
        Problem p{type, 2, 1, headDim, 200, {65, 3}, tokens};
        p.rounds = true;
        p.queries = 8. / std::sqrt(headDim);
        SCOPED_TRACE(name(p));
        EXPECT_LT(run(*compile(p), p), 5e-6);
        vector<char> plain = output;
        p.noisyQueries =
            headDim <= 256; // which the scalar kernel does not round
        EXPECT_LT(run(*compile(p), p), 5e-6);
        EXPECT_EQ(output, plain);
        p.noisyQueries = false;
        p.q = type;
        EXPECT_LT(run(*compile(p), p), 5e-6);
        EXPECT_EQ(output, plain);
      }
}

TEST_F(GpuAttention, OneStageWhereTheTokensAreKnown) {
  for (int64_t tokens : {1, 200}) {
    Problem p{"bf16", 4, 2, 64, 300, {9, 64}, tokens};
    for (bool known : {false, true}) {
      p.staticTokens = known;
      auto code = compile(p);
      code->device()->profile = true;
      EXPECT_LT(run(*code, p), 5e-6);
      // A stage for the other number of rows is not launched.
      ASSERT_EQ(code->device()->profiles.size(), 1u);
      EXPECT_EQ(code->device()->profiles[0].first,
                known || tokens == 200 ? "nest_k" : "nest_k_1");
    }
  }
}

TEST_F(GpuAttention, MemoryIsReadInWholeSectors) {
  for (string type : {"bf16", "f16"})
    for (string kind : {"exact", "rounds", "narrow q", "narrow q and out"})
      for (int64_t headDim : {64, 128, 256})
        for (int64_t tokens : {1, 128}) {
          Problem p{type, 4, 1, headDim, 512, {512 - int32_t(tokens)}, tokens};
          p.rounds = kind != "exact";
          if (kind.find("q") != string::npos)
            p.q = type;
          if (kind.find("out") != string::npos)
            p.out = type;
          SCOPED_TRACE(name(p) + ", " + kind);
          // Scores of one size.
          p.queries = 16. / std::sqrt(headDim);
          auto code = compile(p);
          code->device()->profile = true;
          EXPECT_LT(run(*code, p), p.out == "f32"    ? 5e-6
                                   : p.out == "bf16" ? 0x1p-9
                                                     : 0x1p-11);
          ASSERT_EQ(code->device()->profiles.size(), 1u);
          const ptx::Profile &profile = code->device()->profiles[0].second;
          EXPECT_EQ(profile.localBytes[0] + profile.localBytes[1], 0u);
          EXPECT_EQ(profile.bankConflicts, 0u);
          // Outputs are written once, in whole sectors.
          uint64_t outBytes =
              (p.out == "f32" ? 4 : 2) * tokens * p.heads * headDim;
          EXPECT_EQ(profile.globalBytes[1], outBytes);
          EXPECT_EQ(profile.globalSectors[1] * 32, outBytes);
          // Keys and values once for each tile of rows, as far as one of them
          // sees; queries by each warp that has the row, and lengths by every
          // thread.
          uint64_t rows = (headDim > 128 ? 32 : 64) * (p.rounds ? 2 : 1);
          uint64_t tiles = tokens == 1 ? 1 : tokens * p.heads / rows, keys = 0;
          for (uint64_t i = 0; i < tiles; ++i)
            keys += 512 - (tiles - 1 - i) * (rows / p.heads);
          uint64_t cacheBytes = keys * 2 * 2 * headDim;
          uint64_t warps = !p.rounds && headDim > 128 ? 2 : 1;
          uint64_t queryBytes =
              (p.q == "f32" ? 4 : 2) * headDim *
              (tokens == 1 ? 4 * 16 : tokens * p.heads * warps);
          uint64_t lengthBytes = tiles * (p.rounds ? 256 : 128) * 4;
          EXPECT_LE(profile.globalBytes[0],
                    cacheBytes + queryBytes + 4 * lengthBytes);
          EXPECT_GE(profile.globalBytes[0], cacheBytes);
        }
}

TEST_F(GpuAttention, InstructionsOfAPiece) {
  // What a warp executes for 64 more keys that all of its rows see, where no
  // maximum moves; in decoding, for the 64 keys that four warps share.
  struct Bound {
    int64_t headDim, tokens;
    double most;
  };
  for (const Bound &b :
       {Bound{64, 128, 290}, {128, 128, 360}, {64, 1, 200}, {128, 1, 200}}) {
    Problem p{"bf16", 1, 1, b.headDim, 1024, {0}, b.tokens, "bf16"};
    p.rounds = true;
    p.q = "bf16";
    p.queries = 0.1f;
    SCOPED_TRACE(name(p));
    auto code = compile(p);
    code->device()->profile = true;
    double executed = 0;
    for (int32_t length : {256, 512}) {
      p.lengths = {length};
      EXPECT_LT(run(*code, p), 0x1p-9);
      executed = -executed;
      for (auto &[opcode, counts] :
           code->device()->profiles.back().second.opcodes)
        executed += counts.warps;
    }
    double warps = b.tokens == 1 ? 4 : 8;
    constexpr double pieces = 256. / 64;
    EXPECT_LE(executed / warps / pieces, b.most);
    EXPECT_GE(executed, 1);
  }
}

TEST_F(GpuAttention, Errors) {
  EXPECT_NE(
      Compiled(oneKernel({"memref<?x?x1040xf32>", "memref<?x1x16x520xf32>",
                          "memref<?x1x16x520xf32>", "memref<?xi32>",
                          "memref<?x?x1040xf32>"},
                         "kernel.attention ins(%a0, %a1, %a2, %a3 : "
                         "memref<?x?x1040xf32>, memref<?x1x16x520xf32>, "
                         "memref<?x1x16x520xf32>, memref<?xi32>) scale "
                         "0.3 <causal> outs(%a4 : memref<?x?x1040xf32>)"),
               "sm_80")
          .error.find("has heads of 520; the GPU generator takes up to "
                      "512"),
      string::npos);
}
