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
};

class GpuAttention : public testing::Test {
protected:
  std::unique_ptr<Compiled> compile(const Problem &p,
                                    const string &level = gpuLevel()) {
    string tokens = p.staticTokens ? to_string(p.tokens) : "?";
    string stream =
        "memref<?x" + tokens + "x" + to_string(p.heads * p.headDim) + "x";
    string q = stream + "f32>", out = stream + p.out + ">";
    string cache = "memref<?x" + to_string(p.kvHeads) + "x" +
                   to_string(p.room) + "x" + to_string(p.headDim) + "x" +
                   p.type + ">";
    auto code = std::make_unique<Compiled>(
        oneKernel({q, cache, cache, table1, out},
                  "kernel.attention ins(%a0, %a1, %a2, %a3 : " + q + ", " +
                      cache + ", " + cache + ", " + table1 +
                      ") scale 0.3 <causal> outs(%a4 : " + out + ")"),
        level);
    EXPECT_EQ(code->error, "");
    return code;
  }

  /// What the last run wrote.
  vector<char> output;

  /// Runs it in an order of warps and blocks, and gives the largest
  /// |x - y| / (1 + |y|), y in units of the values' size.
  double run(Compiled &code, const Problem &p, int seed = 0) {
    int64_t batch = p.lengths.size(), width = p.heads * p.headDim;
    Random random(p.headDim + p.tokens);
    vector<float> q = random.many(batch * p.tokens * width, p.queries);
    size_t size = batch * p.kvHeads * p.room * p.headDim;
    Stored k(random.many(size, p.keys), p.type);
    Stored v(random.many(size, p.values), p.type);
    Stored y(vector<float>(q.size(), -7), p.out);
    vector<double> expected(q.size());
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
          vector<double> weights;
          double top = -1e300, sum = 0;
          for (int64_t j = 0; j < end; ++j) {
            double s = 0;
            for (int64_t d = 0; d < p.headDim; ++d)
              s += double(q[at + d]) * keys[j * p.headDim + d];
            weights.push_back(s * 0.3f);
            top = std::max(top, weights.back());
          }
          for (double &weight : weights)
            sum += weight = std::exp(weight - top);
          for (int64_t j = 0; j < end; ++j)
            for (int64_t d = 0; d < p.headDim; ++d)
              expected[at + d] += weights[j] / sum * values[j * p.headDim + d];
        }
    }
    for (int64_t line = 0; p.lastIsNan && line < batch * p.kvHeads; ++line)
      for (Stored *cache : {&k, &v}) {
        size_t row = cache->bytes.size() / (batch * p.kvHeads * p.room);
        int64_t last = p.lengths[line / p.kvHeads] + p.tokens - 1;
        std::memset(&cache->bytes[(line * p.room + last) * row], 0xff, row);
      }
    vector<int32_t> lengths = p.lengths;
    code.run({q.data(), k.data(), v.data(), lengths.data(), y.data()}, batch,
             p.tokens, seed);
    output = y.bytes;
    vector<float> got = widen(y.bytes, p.out);
    for (size_t i = 0; p.lastIsNan && i < got.size(); ++i)
      if (i / width % p.tokens == size_t(p.tokens) - 1) {
        EXPECT_TRUE(std::isnan(got[i])) << i;
        got[i] = expected[i] = 0;
      }
    for (float &value : got)
      value /= p.values;
    for (double &value : expected)
      value /= p.values;
    return worst(got, expected);
  }
};
} // namespace

TEST_F(GpuAttention, NarrowOutput) {
  for (int64_t tokens : {3, 70})
    for (string type : {"bf16", "f16", "f32"})
      for (string out : {"bf16", "f16"}) {
        Problem p{type, 4, 2, 24, 150, {9, 64}, tokens, out};
        SCOPED_TRACE(type + " to " + out + ", " + to_string(tokens));
        auto code = compile(p);
        // Half a unit in the last place.
        EXPECT_LT(run(*code, p), out == "bf16" ? 0x1p-9 : 0x1p-11);
      }
  Problem odd{"f32", 2, 1, 7, 40, {9}, 30, "bf16"};
  EXPECT_LT(run(*compile(odd), odd), 0x1p-9);
}

TEST_F(GpuAttention, NumbersOfEverySize) {
  // Queries and weights are f32 although products are of bf16 and f16: sizes at
  // the ends of f16 must not be seen, nor rounding to either.
  for (string type : {"bf16", "f16"})
    for (int64_t tokens : {4, 40})
      for (float size : {1e-6f, 1e-3f, 1.f, 1e3f, 1e6f, 1e18f}) {
        SCOPED_TRACE(type + ", " + to_string(tokens) + ", " + to_string(size));
        // Scores stay as they are; in f16 keys and values keep their size.
        Problem p{type, 4, 2, 64, 150, {9, 64}, tokens};
        float keys = type == "bf16" ? 1 / size : std::clamp(size, 1e-3f, 1e4f);
        p.queries = 2 / keys;
        p.keys = 2 * keys;
        p.values = type == "bf16" ? size : keys;
        auto code = compile(p);
        EXPECT_LT(run(*code, p), 5e-6);
      }
}

TEST_F(GpuAttention, OrderOfWarpsDoesNotMatter) {
  for (string type : {"bf16", "f16", "f32"})
    for (int64_t headDim : {64, 256})
      for (int64_t tokens : {2, 50}) {
        SCOPED_TRACE(type + " " + to_string(headDim) + ", " +
                     to_string(tokens));
        Problem p{type, 2, 1, headDim, 200, {150, 3}, tokens};
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

TEST_F(GpuAttention, HiddenKeysHaveNoInfluence) {
  for (const string &level : levels())
    for (string type : {"bf16", "f16", "f32"})
      for (int64_t headDim : {24, 136, 264})
        for (int64_t tokens : {5, 70}) {
          SCOPED_TRACE(level + " " + type + " " + to_string(headDim) + ", " +
                       to_string(tokens));
          Problem p{type, 4, 2, headDim, 120, {33, 1}, tokens};
          p.queries = 8. / std::sqrt(headDim);
          p.lastIsNan = true;
          auto code = compile(p, level);
          EXPECT_LT(run(*code, p), 5e-6);
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
    for (int64_t headDim : {64, 128, 256})
      for (int64_t tokens : {1, 128}) {
        SCOPED_TRACE(type + " " + to_string(headDim) + ", " +
                     to_string(tokens));
        Problem p{type, 4, 1, headDim, 512, {512 - int32_t(tokens)}, tokens};
        // Scores of one size.
        p.queries = 16. / std::sqrt(headDim);
        auto code = compile(p);
        code->device()->profile = true;
        EXPECT_LT(run(*code, p), 5e-6);
        ASSERT_EQ(code->device()->profiles.size(), 1u);
        const ptx::Profile &profile = code->device()->profiles[0].second;
        EXPECT_EQ(profile.localBytes[0] + profile.localBytes[1], 0u);
        EXPECT_EQ(profile.bankConflicts, 0u);
        // Outputs are written once, in whole sectors.
        uint64_t outBytes = 4 * tokens * p.heads * headDim;
        EXPECT_EQ(profile.globalBytes[1], outBytes);
        EXPECT_EQ(profile.globalSectors[1] * 32, outBytes);
        // Keys and values once for each tile of rows, as far as one of them
        // sees; queries by each warp that has the row, and lengths by every
        // thread.
        uint64_t rows = headDim > 128 ? 32 : 64;
        uint64_t tiles = tokens == 1 ? 1 : tokens * p.heads / rows, keys = 0;
        for (uint64_t i = 0; i < tiles; ++i)
          keys += 512 - (tiles - 1 - i) * (rows / p.heads);
        uint64_t cacheBytes = keys * 2 * 2 * headDim;
        uint64_t queryBytes =
            4 * headDim *
            (tokens == 1 ? 4 * 16 : tokens * p.heads * (64 / rows));
        uint64_t lengthBytes = tiles * 128 * 4;
        EXPECT_LE(profile.globalBytes[0],
                  cacheBytes + queryBytes + 4 * lengthBytes);
        EXPECT_GE(profile.globalBytes[0], cacheBytes);
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
