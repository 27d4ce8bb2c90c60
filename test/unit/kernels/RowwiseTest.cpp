//===- RowwiseTest.cpp - rowwise kernels of every size --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fixture.h"

using namespace nestc::test;
using std::string;
using std::to_string;
using std::vector;

namespace {
class CpuRowwise : public Cpu {};

struct Size {
  int64_t columns, group;
  bool sums = true;
};
} // namespace

// A norm of groups, scaled by row, column and column in the group, on top of
// what was there; or the same without the norm.
TEST_P(CpuRowwise, Sizes) {
  for (const Size &c : vector<Size>{
           {2048, 2048}, // what it takes divides well: no masks
           {2304, 2304},
           {1, 1},
           {3, 3},
           {33, 33},
           {96, 6},
           {96, 3},
           {512, 128},
           {600, 200},
           {1030, 1030}, // vectors of two
           {4100, 4100}, // a block with a ragged end
           {8192, 8192},
           {10001, 10001},      // single columns
           {20000, 20000},      // more than a block has registers for
           {8196, 8196, false}, // rows in pieces
           {8196, 12, false},   // and groups across them
           {5001, 3, false},
           {160, 20, false},
       }) {
    SCOPED_TRACE(to_string(c.columns) + " by " + to_string(c.group) +
                 (c.sums ? "" : " without sums"));
    string s = "memref<?x?x" + to_string(c.columns) + "xf32>";
    string one = "memref<?x?x1xf32>";
    string byColumn = "memref<" + to_string(c.columns) + "xf32>";
    string inGroup = "memref<" + to_string(c.group) + "xf32>";
    string arguments = "%x: f32, %r: f32, %c: f32, %g: f32";
    string body =
        "kernel.rowwise ins(%a0, %a1, %a2, %a3 : " + s + ", " + one + ", " +
        byColumn + ", " + inGroup +
        " by [affine_map<(r, c, g) -> (r, c)>, affine_map<(r, c, g) -> (r, "
        "0)>, affine_map<(r, c, g) -> (c)>, affine_map<(r, c, g) -> (g)>]) "
        "group " +
        to_string(c.group) + " outs(%a4 : " + s + ") {\n";
    if (c.sums)
      body += "^bb0(" + arguments +
              "):\n%p = arith.mulf %x, %x : f32\n"
              "kernel.yield %p, %x : f32, f32\n}, {\n^bb0(" +
              arguments +
              ", %q: f32, %t: f32, %o: f32):\n"
              "%n = arith.constant " +
              to_string(c.group) +
              ".0 : f32\n%m = arith.divf %t, %n : f32\n"
              "%v = arith.divf %q, %n : f32\n%e = arith.constant 0.1 : f32\n"
              "%w = arith.addf %v, %e : f32\n%i = math.rsqrt %w : f32\n"
              "%d = arith.subf %x, %m : f32\n%y = arith.mulf %d, %i : f32\n";
    else
      body +=
          "^bb0(" + arguments + ", %o: f32):\n%y = arith.addf %x, %x : f32\n";
    body += "%z = arith.mulf %y, %r : f32\n%a = arith.addf %z, %c : f32\n"
            "%b = arith.mulf %o, %g : f32\n%f = arith.addf %a, %b : f32\n"
            "kernel.yield %f : f32\n}";
    auto code = compile({s, one, byColumn, inGroup, s}, body);
    if (!code->error.empty())
      continue;
    for (auto [batch, tokens] :
         vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 3}}) {
      int64_t rows = batch * tokens;
      Random random(c.columns + rows);
      vector<float> x = random.many(rows * c.columns);
      vector<float> byRow = random.many(rows), y = random.many(x.size());
      vector<float> columns = random.many(c.columns);
      vector<float> groups = random.many(c.group);
      vector<double> expected(y.begin(), y.end());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t first = 0; first < c.columns; first += c.group) {
          const float *from = &x[r * c.columns + first];
          double mean = 0, squares = 0;
          for (int64_t g = 0; g < c.group; ++g) {
            mean += from[g] / double(c.group);
            squares += double(from[g]) * from[g] / double(c.group);
          }
          for (int64_t g = 0; g < c.group; ++g) {
            double v = c.sums ? (from[g] - mean) / std::sqrt(squares + 0.1f)
                              : 2.0 * from[g];
            double &e = expected[r * c.columns + first + g];
            e = v * byRow[r] + columns[first + g] + e * groups[g];
          }
        }
      y.push_back(1234.5f);
      code->run(
          {x.data(), byRow.data(), columns.data(), groups.data(), y.data()},
          batch, tokens);
      EXPECT_EQ(y.back(), 1234.5f) << "written past the end";
      y.pop_back();
      EXPECT_LT(worst(y, expected), 2e-6);
    }
  }
}

// In place: what is read is written, by the same thread.
TEST_P(CpuRowwise, InPlace) {
  for (int64_t columns : {100, 4100, 20000}) {
    SCOPED_TRACE(columns);
    string s = "memref<?x?x" + to_string(columns) + "xf32>";
    string kernel = "kernel.rowwise ins(%a0 : " + s +
                    " by [affine_map<(r, c, g) -> (r, c)>]) group " +
                    to_string(columns) + " outs(%a1 : " + s +
                    ") {\n^bb0(%x: f32):\nkernel.yield %x : f32\n}, {\n"
                    "^bb0(%x: f32, %s: f32, %o: f32):\n"
                    "%y = arith.addf %x, %s : f32\nkernel.yield %y : f32\n}";
    string text = "kernel.def @k(%a0: " + s + ", %a1: " + s + ") {\n" + kernel +
                  "\n}\nfunc.func @e(%a0: " + s +
                  ") attributes {nest.entry = \"e\"} {\n  kernel.launch "
                  "@k(%a0, %a0) : " +
                  s + ", " + s + "\n  return\n}\n";
    Compiled code(text, GetParam());
    ASSERT_EQ(code.error, "");
    vector<float> x = Random(columns).many(4 * columns);
    vector<double> expected(x.begin(), x.end());
    for (int64_t r = 0; r < 4; ++r) {
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j)
        sum += x[r * columns + j];
      for (int64_t j = 0; j < columns; ++j)
        expected[r * columns + j] += sum;
    }
    code.run({x.data()}, 2, 2, 1);
    EXPECT_LT(worst(x, expected), 2e-7 * std::sqrt(columns));
  }
}

// Positions of long contexts, and beyond: angles of up to 2^31.
TEST_P(CpuRowwise, RopeTableFar) {
  string positions = "memref<?x?xi32>", table = "memref<?x?x6xf32>";
  auto code = compile({positions, table},
                      "kernel.rope_table ins(%a0 : " + positions +
                          ") <head_dim = 6, frequencies = [1.0, 0.3, 1.0e-4], "
                          "magnitude = 1.0> outs(%a1 : " +
                          table + ")");
  ASSERT_EQ(code->error, "");
  vector<int32_t> at{-5, 2147483647, 710, 355, 52174, 80143857};
  for (int i = 0; i < 3000; ++i)
    at.push_back(i * 347 + 11);
  float frequencies[] = {1.0f, 0.3f, 1.0e-4f};
  vector<float> t(at.size() * 6);
  vector<double> expected(t.size());
  for (size_t r = 0; r < at.size(); ++r)
    for (int i = 0; i < 3; ++i) {
      float angle = static_cast<float>(at[r]) * frequencies[i];
      expected[r * 6 + i] = std::cos(double(angle));
      expected[r * 6 + 3 + i] = std::sin(double(angle));
    }
  code->run({at.data(), t.data()}, 1, at.size());
  EXPECT_LT(worst(t, expected), 1e-7);
}

TEST_P(CpuRowwise, SoftmaxOfLongRows) {
  for (int64_t columns : {2048, 4100, 30001}) {
    SCOPED_TRACE(columns);
    string s = "memref<?x?x" + to_string(columns) + "xf32>";
    auto code = compile({s, s}, "kernel.softmax ins(%a0 : " + s +
                                    ") outs(%a1 : " + s + ")");
    ASSERT_EQ(code->error, "");
    vector<float> x = Random(columns).many(2 * columns, 20), y(x.size());
    vector<double> expected(x.size());
    for (int64_t r = 0; r < 2; ++r) {
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j)
        sum += std::exp(double(x[r * columns + j]));
      for (int64_t j = 0; j < columns; ++j)
        expected[r * columns + j] = std::exp(double(x[r * columns + j])) / sum;
    }
    code->run({x.data(), y.data()}, 2, 1);
    // Relative, since most are far below 1. The difference to the maximum, up
    // to 40, is rounded; sums of positive numbers lose a
    // rounding for every one that is added in turn.
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], (3e-6 + 1e-10 * columns) * expected[i])
          << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuRowwise, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuRowwise);
