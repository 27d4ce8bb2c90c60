//===- RemapTest.cpp - elements in other places, and attention without a cache
//===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fixture.h"

#include <functional>

using namespace nestc;
using namespace nestc::test;
using std::string;
using std::vector;

namespace {
class CpuRemap : public Cpu {};

struct Remapped {
  vector<int64_t> x, out; ///< sizes behind the batch
  string map;
  /// The element of a sequence's x for one of its outs, or -1.
  std::function<int64_t(int64_t)> from;
};

/// "memref<?x4x8xf32>".
string typeOf(const vector<int64_t> &sizes, const string &element) {
  string text = "memref<?x";
  for (int64_t size : sizes)
    text += std::to_string(size) + "x";
  return text + element + ">";
}

int64_t elementsOf(const vector<int64_t> &sizes) {
  int64_t elements = 1;
  for (int64_t size : sizes)
    elements *= size;
  return elements;
}

const Remapped kHeads = {
    {5, 24}, {3, 5, 8}, "(b, h, t, c) -> (b, t, h * 8 + c)", [](int64_t i) {
      int64_t h = i / 40, t = i / 8 % 5, c = i % 8;
      return t * 24 + h * 8 + c;
    }};
const Remapped kShifted = {
    {4, 37}, {6, 37}, "(b, t, c) -> (b, t - 1, c)", [](int64_t i) {
      int64_t t = i / 37 - 1;
      return t < 0 || t > 3 ? -1 : t * 37 + i % 37;
    }};
// Rows whose ends hang over.
const Remapped kHanging = {
    {3, 20}, {3, 20}, "(b, t, c) -> (b, t, c + 3)", [](int64_t i) {
      return i % 20 < 17 ? i + 3 : int64_t(-1);
    }};
const Remapped kPatches = {
    {2, 6, 9},
    {6, 18},
    "(b, n, k) -> (b, k floordiv 9, n floordiv 3 * 3 + k mod 9 floordiv 3, "
    "n mod 3 * 3 + k mod 3)",
    [](int64_t i) {
      int64_t n = i / 18, k = i % 18;
      return k / 9 * 54 + (n / 3 * 3 + k % 9 / 3) * 9 + n % 3 * 3 + k % 3;
    }};
} // namespace

TEST_P(CpuRemap, Places) {
  for (const Remapped *p : {&kHeads, &kShifted, &kHanging, &kPatches})
    for (string type : {"f32", "bf16", "f16"})
      for (bool adds : {false, true}) {
        if (adds && type != "f32")
          continue;
        string x = typeOf(p->x, "f32"), out = typeOf(p->out, type);
        auto code = compile({x, out}, "kernel.remap ins(%a0 : " + x +
                                          ") by affine_map<" + p->map + ">" +
                                          (adds ? " adds" : "") +
                                          " outs(%a1 : " + out + ")");
        const int64_t batch = 3;
        int64_t each = elementsOf(p->x), wanted = elementsOf(p->out);
        Random random(each);
        Stored from(random.many(batch * each), "f32");
        Stored to(random.many(batch * wanted), type);
        vector<float> values;
        for (int64_t i = 0; i < batch * wanted; ++i) {
          int64_t place = p->from(i % wanted);
          float value = place < 0 ? 0 : from.values[i / wanted * each + place];
          values.push_back(adds ? to.values[i] + value : value);
        }
        Stored rounded(values, type);
        code->run({from.data(), to.data()}, batch, 1);
        vector<double> expected(rounded.values.begin(), rounded.values.end());
        EXPECT_EQ(worst(widen(to.bytes, type), expected), 0)
            << p->map << " " << type;
      }
}

// A table is added to every sequence.
TEST_P(CpuRemap, Table) {
  string x = "memref<?x5x12xbf16>", out = "memref<?x5x12xf32>";
  auto code = compile({x, out}, "kernel.remap ins(%a0 : " + x +
                                    ") by affine_map<(b, t, c) -> (0, t, c)> "
                                    "adds outs(%a1 : " +
                                    out + ")");
  Random random(7);
  // Launched with the batch of the output: the table is as long.
  Stored table(random.many(3 * 5 * 12), "bf16");
  vector<float> y = random.many(3 * 5 * 12);
  vector<double> expected;
  for (size_t i = 0; i < y.size(); ++i)
    expected.push_back(y[i] + table.values[i % 60]);
  code->run({table.data(), y.data()}, 3, 1);
  EXPECT_EQ(worst(y, expected), 0);
}

TEST_P(CpuRemap, Attention) {
  for (string type : {"f32", "bf16", "f16"})
    for (int64_t rows : {1, 17, 50}) {
      const int64_t batch = 2, heads = 3, headDim = 16, width = 48;
      string q = typeOf({rows, width}, "f32");
      string k = typeOf({heads, rows, headDim}, type);
      auto code = compile(
          {q, k, k, q}, "kernel.attention ins(%a0, %a1, %a2 : " + q + ", " + k +
                            ", " + k + ") scale 0.3 <> outs(%a3 : " + q + ")");
      Random random(rows);
      vector<float> query = random.many(batch * rows * width), y(query.size());
      Stored keys(random.many(query.size()), type);
      Stored values(random.many(query.size()), type);
      vector<double> expected(query.size());
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t t = 0; t < rows; ++t) {
            int64_t line = (b * heads + h) * rows * headDim;
            int64_t at = (b * rows + t) * width + h * headDim;
            attend(&query[at], &keys.values[line], &values.values[line], 0,
                   rows, headDim, &expected[at]);
          }
      code->run({query.data(), keys.data(), values.data(), y.data()}, batch,
                rows);
      EXPECT_LE(worst(y, expected), 2e-6) << type << " " << rows;
    }
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuRemap, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuRemap);
