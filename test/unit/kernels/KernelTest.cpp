//===- CpuTest.cpp - every kernel class against plain loops -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Fixture.h"

#include <cmath>
#include <limits>

using namespace nestc::test;
using std::string;
using std::to_string;
using std::vector;

//===----------------------------------------------------------------------===//
// Matmul
//===----------------------------------------------------------------------===//

namespace {
struct MatmulCase {
  string type;
  int64_t n, k, stride;
  // plain, bias, residual, glu
  string epilogue;
};

class CpuMatmul : public Cpu {
protected:
  void check(const MatmulCase &c) {
    SCOPED_TRACE(c.type + " " + to_string(c.n) + "x" + to_string(c.k) + " " +
                 c.epilogue);
    bool glu = c.epilogue == "glu", bias = c.epilogue == "bias";
    string w = "memref<" + to_string(c.n) + "x" + to_string(c.k) + "x" + c.type;
    w += c.stride == c.k ? ">" : ", strided<[" + to_string(c.stride) + ", 1]>>";
    string a = "memref<?x?x" + to_string(c.k) + "xf32>";
    string out = "memref<?x?x" + to_string(c.n) + "xf32>";
    string b = "memref<" + to_string(c.n) + "xf32>";
    vector<string> arguments{a, w};
    if (glu)
      arguments.push_back(w);
    if (bias)
      arguments.push_back(b);
    arguments.push_back(out);
    string last = "%a" + to_string(arguments.size() - 1);
    string body =
        "kernel.matmul ins(%a0 : " + a + ") weights(%a1" +
        (glu ? ", %a2 : " + w + ", " + w : " : " + w) + ")" +
        (bias ? " epilogue(%a2 : " + b + ") by [affine_map<(m, n) -> (n)>]"
              : " by []") +
        " outs(" + last + " : " + out + ") {\n";
    if (glu)
      body += "^bb0(%g: f32, %u: f32, %o: f32):\n"
              "%one = arith.constant 1.0 : f32\n%n = arith.negf %g : f32\n"
              "%e = math.exp %n : f32\n%d = arith.addf %e, %one : f32\n"
              "%s = arith.divf %g, %d : f32\n%r = arith.mulf %s, %u : f32\n";
    else if (bias)
      body +=
          "^bb0(%x: f32, %b: f32, %o: f32):\n%r = arith.addf %x, %b : f32\n";
    else if (c.epilogue == "residual")
      body += "^bb0(%x: f32, %o: f32):\n%r = arith.addf %o, %x : f32\n";
    else
      body += "^bb0(%r: f32, %o: f32):\n";
    body += "kernel.yield %r : f32\n}";
    auto code = compile(arguments, body);
    if (!code->error.empty())
      return;

    Random random(c.n * 131 + c.k);
    Stored weight(random.many(c.n * c.stride), c.type);
    Stored second(random.many(c.n * c.stride), c.type);
    vector<float> biases = random.many(c.n);
    for (auto [batch, tokens] : vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                    {2, 1},
                                                                    {3, 1},
                                                                    {1, 5},
                                                                    {1, 8},
                                                                    {1, 12},
                                                                    {1, 13},
                                                                    {1, 17},
                                                                    {3, 43},
                                                                    {1, 283}}) {
      SCOPED_TRACE(to_string(batch * tokens) + " rows");
      int64_t m = batch * tokens;
      vector<float> x = random.many(m * c.k), y = random.many(m * c.n);
      vector<double> expected(m * c.n);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < c.n; ++j) {
          double sum = 0, sum2 = 0;
          for (int64_t l = 0; l < c.k; ++l) {
            double left = roundTo(x[i * c.k + l], c.type);
            sum += left * weight.values[j * c.stride + l];
            if (glu)
              sum2 += left * second.values[j * c.stride + l];
          }
          double &e = expected[i * c.n + j];
          e = glu                        ? sum / (1 + std::exp(-sum)) * sum2
              : bias                     ? sum + biases[j]
              : c.epilogue == "residual" ? sum + y[i * c.n + j]
                                         : sum;
        }
      vector<void *> buffers{x.data(), weight.data()};
      if (glu)
        buffers.push_back(second.data());
      if (bias)
        buffers.push_back(biases.data());
      y.push_back(1234.5f);
      buffers.push_back(y.data());
      code->run(buffers, batch, tokens);
      EXPECT_EQ(y.back(), 1234.5f) << "written past the end";
      y.pop_back();
      EXPECT_LT(worst(y, expected), 4e-6 * std::sqrt(c.k));
    }
  }
};
} // namespace

TEST_P(CpuMatmul, F32) {
  check({"f32", 72, 20, 20, "plain"});
  check({"f32", 97, 64, 80, "plain"});
  check({"f32", 64, 530, 530, "residual"});
  check({"f32", 160, 1040, 1100, "bias"});
  check({"f32", 72, 48, 48, "glu"});
  check({"f32", 5, 3, 3, "plain"});
}
TEST_P(CpuMatmul, Bf16) {
  check({"bf16", 72, 20, 24, "bias"});
  check({"bf16", 128, 64, 64, "glu"});
  check({"bf16", 33, 545, 545, "residual"});
}
TEST_P(CpuMatmul, F16) {
  check({"f16", 72, 20, 24, "residual"});
  check({"f16", 96, 64, 64, "plain"});
}

//===----------------------------------------------------------------------===//
// Rowwise
//===----------------------------------------------------------------------===//

namespace {
// One elementwise function of one column.
string elementwise(const string &ops) {
  return "kernel.rowwise ins(%a0 : memref<?x?x40xf32> by "
         "[affine_map<(r, c, g) -> (r, c)>]) group 40 outs(%a1 : "
         "memref<?x?x40xf32>) {\n^bb0(%x: f32, %o: f32):\n" +
         ops + "\nkernel.yield %r : f32\n}";
}
} // namespace

TEST_P(Cpu, Functions) {
  struct Function {
    string ops;
    double (*exact)(double);
    double relative;
    double absolute = 3e-38; ///< results below the least normal f32 may be 0
  };
  vector<Function> functions{
      {"%r = math.exp %x : f32", [](double x) { return std::exp(x); }, 3e-7},
      {"%r = math.tanh %x : f32", [](double x) { return std::tanh(x); }, 3e-7},
      {"%r = math.erf %x : f32", [](double x) { return std::erf(x); }, 3e-7},
      {"%r = math.rsqrt %x : f32", [](double x) { return 1 / std::sqrt(x); },
       3e-7},
      {"%one = arith.constant 1.0 : f32\n%n = arith.negf %x : f32\n%e = "
       "math.exp "
       "%n : f32\n%d = arith.addf %e, %one : f32\n%r = arith.divf %x, %d : f32",
       [](double x) { return x / (1 + std::exp(-x)); }, 5e-7,
       // Below -88.73 exp overflows f32 and this formula is -0 in f32, in
       // every implementation; the exact value is 88.73 e^-88.73 at most.
       2.7e-37},
  };
  for (const Function &f : functions) {
    SCOPED_TRACE(f.ops);
    auto code = compile({"memref<?x?x40xf32>", "memref<?x?x40xf32>"},
                        elementwise(f.ops));
    if (!code->error.empty())
      continue;
    vector<float> x{0,     -0.0f,  1e-30f,   -1e-30f,   1e-5f,   0.3f,
                    -0.3f, 88,     88.7f,    89,        100,     1000,
                    1e30f, -88,    -87,      -100,      -103.9f, -104.1f,
                    -1000, -1e30f, INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 40000; ++i)
      x.push_back((i - 20000) * 0.0047f);
    x.resize((x.size() + 39) / 40 * 40);
    vector<float> y(x.size());
    code->run({x.data(), y.data()}, 1, x.size() / 40);
    for (size_t i = 0; i < x.size(); ++i) {
      double exact = f.exact(x[i]);
      if (std::isnan(exact)) {
        // silu(-inf) is NaN in the formula as in PyTorch.
        EXPECT_TRUE(std::isnan(y[i])) << x[i] << " gives " << y[i];
        continue;
      }
      float rounded = static_cast<float>(exact);
      if (std::isinf(rounded)) {
        EXPECT_EQ(y[i], rounded) << x[i];
        continue;
      }
      EXPECT_LE(std::fabs(y[i] - exact),
                f.relative * std::fabs(exact) + f.absolute)
          << x[i] << " gives " << y[i] << ", exact " << exact;
    }
  }
}

TEST_P(Cpu, RmsNorm) {
  for (auto [columns, group] : vector<std::pair<int, int>>{
           {72, 72}, {20, 20}, {64, 16}, {60, 20}, {512, 512}}) {
    SCOPED_TRACE(columns);
    string s = "memref<?x?x" + to_string(columns) + "xf32>";
    string w = "memref<" + to_string(group) + "xf32>";
    string body =
        "kernel.rowwise ins(%a0, %a1 : " + s + ", " + w +
        " by [affine_map<(r, c, g) -> (r, c)>, affine_map<(r, c, g) -> (g)>]) "
        "group " +
        to_string(group) + " outs(%a2 : " + s +
        ") {\n"
        "^bb0(%x: f32, %w: f32):\n%p = arith.mulf %x, %x : f32\n"
        "kernel.yield %p : f32\n}, {\n"
        "^bb0(%x: f32, %w: f32, %s: f32, %o: f32):\n"
        "%n = arith.constant " +
        to_string(group) +
        ".0 : f32\n"
        "%e = arith.constant 1.0e-5 : f32\n%m = arith.divf %s, %n : f32\n"
        "%a = arith.addf %m, %e : f32\n%q = math.rsqrt %a : f32\n"
        "%y = arith.mulf %x, %q : f32\n%z = arith.mulf %y, %w : f32\n"
        "%r = arith.addf %z, %o : f32\nkernel.yield %r : f32\n}";
    auto code = compile({s, w, s}, body);
    if (!code->error.empty())
      continue;
    Random random(columns);
    int rows = 6;
    vector<float> x = random.many(rows * columns), weight = random.many(group);
    vector<float> y = random.many(rows * columns);
    vector<double> expected(y.begin(), y.end());
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j < columns; ++j) {
        double sum = 0;
        for (int l = j / group * group; l < j / group * group + group; ++l)
          sum += double(x[i * columns + l]) * x[i * columns + l];
        expected[i * columns + j] += x[i * columns + j] * weight[j % group] /
                                     std::sqrt(sum / group + 1e-5);
      }
    code->run({x.data(), weight.data(), y.data()}, 2, 3);
    EXPECT_LT(worst(y, expected), 2e-6);
  }
}

TEST_P(Cpu, LayerNorm) {
  // Two rounds of sums; the second uses the first.
  string s = "memref<?x?x50xf32>", map = "affine_map<(r, c, g) -> (r, c)>";
  string body = "kernel.rowwise ins(%a0 : " + s + " by [" + map +
                "]) group 50 outs(%a1 : " + s +
                ") {\n^bb0(%x: f32):\nkernel.yield %x : f32\n}, {\n"
                "^bb0(%x: f32, %s: f32):\n%n = arith.constant 50.0 : f32\n"
                "%m = arith.divf %s, %n : f32\n%d = arith.subf %x, %m : f32\n"
                "%p = arith.mulf %d, %d : f32\nkernel.yield %p : f32\n}, {\n"
                "^bb0(%x: f32, %s: f32, %v: f32, %o: f32):\n"
                "%n = arith.constant 50.0 : f32\n%m = arith.divf %s, %n : f32\n"
                "%d = arith.subf %x, %m : f32\n%w = arith.divf %v, %n : f32\n"
                "%q = math.rsqrt %w : f32\n%r = arith.mulf %d, %q : f32\n"
                "kernel.yield %r : f32\n}";
  auto code = compile({s, s}, body);
  ASSERT_EQ(code->error, "");
  Random random(5);
  vector<float> x = random.many(4 * 50), y(x.size());
  for (float &value : x)
    value += 3;
  vector<double> expected;
  for (int i = 0; i < 4; ++i) {
    double mean = 0, variance = 0;
    for (int j = 0; j < 50; ++j)
      mean += x[i * 50 + j] / 50.0;
    for (int j = 0; j < 50; ++j)
      variance += std::pow(x[i * 50 + j] - mean, 2) / 50.0;
    for (int j = 0; j < 50; ++j)
      expected.push_back((x[i * 50 + j] - mean) / std::sqrt(variance));
  }
  code->run({x.data(), y.data()}, 4, 1);
  EXPECT_LT(worst(y, expected), 3e-6);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

TEST_P(Cpu, Embed) {
  for (string type : {"f32", "bf16", "f16"}) {
    string ids = "memref<?x?xi32>", table = "memref<11x20x" + type + ">";
    string out = "memref<?x?x20xf32>";
    auto code = compile({ids, table, out},
                        "kernel.embed ins(%a0, %a1 : " + ids + ", " + table +
                            ") scale 2.0 outs(%a2 : " + out + ")");
    if (!code->error.empty())
      continue;
    Random random(1);
    Stored data(random.many(11 * 20), type);
    vector<int32_t> tokens{3, 0, 10, 7, 3, 1};
    vector<float> y(6 * 20);
    vector<double> expected;
    for (int32_t token : tokens)
      for (int j = 0; j < 20; ++j)
        expected.push_back(2.0 * data.values[token * 20 + j]);
    code->run({tokens.data(), data.data(), y.data()}, 2, 3);
    EXPECT_EQ(worst(y, expected), 0);
    // Nothing outside the table is read for tokens that are none.
    tokens = {-1, 11, 1 << 30, 0, 0, 0};
    code->run({tokens.data(), data.data(), y.data()}, 2, 3);
  }
}

TEST_P(Cpu, LastRows) {
  string x = "memref<?x?x20xf32>", out = "memref<?x1x20xf32>";
  auto code = compile({x, out}, "kernel.last_rows ins(%a0 : " + x +
                                    ") outs(%a1 : " + out + ")");
  ASSERT_EQ(code->error, "");
  Random random(2);
  vector<float> from = random.many(3 * 5 * 20), y(3 * 20);
  vector<double> expected;
  for (int b = 0; b < 3; ++b)
    for (int j = 0; j < 20; ++j)
      expected.push_back(from[(b * 5 + 4) * 20 + j]);
  code->run({from.data(), y.data()}, 3, 5);
  EXPECT_EQ(worst(y, expected), 0);
}

/// The first of the largest numbers, 0 where there is none.
static int32_t argmaxOf(const float *x, int64_t count) {
  int32_t best = 0;
  for (int64_t i = 1; i < count; ++i)
    if (x[i] > x[best] || (std::isnan(x[best]) && !std::isnan(x[i])))
      best = static_cast<int32_t>(i);
  return best;
}

TEST_P(Cpu, Argmax) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  // Rows in part of a warp and in a block; several pieces, also of which the
  // last is short, shared by blocks where there is a workspace.
  struct Shape {
    int64_t columns, splits;
  };
  for (Shape s : {Shape{1, 0},
                  {7, 0},
                  {20, 0},
                  {1000, 0},
                  {9001, 0},
                  {9001, 3},
                  {12288, 2}}) {
    const int64_t batch = 2, tokens = s.columns < 100 ? 13 : 4;
    int64_t rows = batch * tokens, n = s.columns;
    vector<string> types{"memref<?x?x" + std::to_string(n) + "xf32>"};
    string text = "kernel.argmax ins(%a0 : " + types[0] + ") ";
    vector<float> x = Random(n).many(rows * n);
    vector<int32_t> y(rows), expected(rows), tickets(16);
    vector<float> workspace(std::max<int64_t>(s.splits, 1) * 16 * 2, nan);
    if (s.splits)
      text += "workspace(" +
              addOperands(types,
                          {"memref<" + std::to_string(s.splits) + "x16x2xf32>",
                           "memref<16xi32>"}) +
              ") ";
    text += "outs(" + addOperands(types, {"memref<?x?xi32>"}) + ")";
    // Equal ones, the first and the last of which are in other threads; zeros
    // of both signs; no number; nothing but -infinity, and NaN before it.
    auto row = [&](int64_t r) { return x.begin() + r * n; };
    for (int64_t at : {n / 7, n / 2, n - 1})
      row(1)[at] = 9;
    std::fill_n(row(2), n, -1.0f);
    row(2)[n / 3] = -0.0f;
    row(2)[n - 1] = 0.0f;
    std::fill_n(row(3), n, nan);
    std::fill_n(row(4), n, -infinity);
    row(4)[0] = n > 1 ? nan : -infinity;
    row(5)[0] = nan;
    row(6)[n - 1] = infinity;
    for (int64_t r = 0; r < rows; ++r)
      expected[r] = argmaxOf(&x[r * n], n);
    auto code = compile(types, text);
    ASSERT_EQ(code->error, "");
    vector<void *> buffers{x.data()};
    if (s.splits) {
      buffers.push_back(workspace.data());
      buffers.push_back(tickets.data());
    }
    buffers.push_back(y.data());
    code->run(buffers, batch, tokens);
    EXPECT_EQ(y, expected) << n;
    EXPECT_EQ(tickets, vector<int32_t>(16));
    // More rows than the workspace is for: a block takes a row.
    if (!s.splits)
      continue;
    x.resize(0);
    for (int64_t r = 0; r < 20; ++r) {
      vector<float> more = Random(r).many(n);
      x.insert(x.end(), more.begin(), more.end());
    }
    y.assign(20, -1);
    expected.resize(20);
    for (int64_t r = 0; r < 20; ++r)
      expected[r] = argmaxOf(&x[r * n], n);
    buffers.front() = x.data();
    buffers.back() = y.data();
    code->run(buffers, 20, 1);
    EXPECT_EQ(y, expected) << n;
  }
}

TEST_P(Cpu, CacheAppend) {
  for (string type : {"f32", "bf16", "f16"}) {
    string rows = "memref<?x?x40xf32>", lengths = "memref<?xi32>";
    string cache = "memref<?x2x9x20x" + type + ">";
    auto code = compile({rows, lengths, cache},
                        "kernel.cache_append ins(%a0, %a1 : " + rows + ", " +
                            lengths + ") outs(%a2 : " + cache + ")");
    if (!code->error.empty())
      continue;
    Random random(3);
    vector<float> x = random.many(3 * 4 * 40);
    Stored memory(random.many(3 * 2 * 9 * 20), type);
    vector<int32_t> length{0, 5, 2};
    vector<double> expected(memory.values.begin(), memory.values.end());
    for (int b = 0; b < 3; ++b)
      for (int t = 0; t < 4; ++t)
        for (int c = 0; c < 40; ++c)
          expected[((b * 2 + c / 20) * 9 + length[b] + t) * 20 + c % 20] =
              roundTo(x[(b * 4 + t) * 40 + c], type);
    code->run({x.data(), length.data(), memory.data()}, 3, 4);
    EXPECT_EQ(worst(widen(memory.bytes, type), expected), 0);
  }
}

TEST_P(Cpu, Rope) {
  string positions = "memref<?x?xi32>", table = "memref<?x?x20xf32>";
  string list;
  vector<float> frequencies;
  for (int i = 0; i < 10; ++i) {
    frequencies.push_back(std::pow(10000.0f, -i / 10.0f));
    char text[40];
    snprintf(text, sizeof text, "%.9e", frequencies.back());
    list += (i ? ", " : "") + string(text);
  }
  auto tables = compile({positions, table},
                        "kernel.rope_table ins(%a0 : " + positions +
                            ") <head_dim = 24, frequencies = [" + list +
                            "], magnitude = 1.25> outs(%a1 : " + table + ")");
  ASSERT_EQ(tables->error, "");
  vector<int32_t> at{0, 1, 2, 1000, 31, 131071};
  vector<float> t(6 * 20);
  vector<double> expected(6 * 20);
  for (int r = 0; r < 6; ++r)
    for (int i = 0; i < 10; ++i) {
      float angle = static_cast<float>(at[r]) * frequencies[i];
      expected[r * 20 + i] = 1.25 * std::cos(double(angle));
      expected[r * 20 + 10 + i] = 1.25 * std::sin(double(angle));
    }
  tables->run({at.data(), t.data()}, 2, 3);
  EXPECT_LT(worst(t, expected), 2e-7);

  string x = "memref<?x?x72xf32>";
  auto turn = compile({table, x}, "kernel.rope ins(%a0 : " + table +
                                      ") head_dim 24 outs(%a1 : " + x + ")");
  ASSERT_EQ(turn->error, "");
  Random random(4);
  vector<float> y = random.many(6 * 72);
  vector<double> turned(y.begin(), y.end());
  for (int r = 0; r < 6; ++r)
    for (int h = 0; h < 3; ++h)
      for (int i = 0; i < 10; ++i) {
        double a = y[r * 72 + h * 24 + i], b = y[r * 72 + h * 24 + 10 + i];
        double c = t[r * 20 + i], s = t[r * 20 + 10 + i];
        turned[r * 72 + h * 24 + i] = a * c - b * s;
        turned[r * 72 + h * 24 + 10 + i] = b * c + a * s;
      }
  turn->run({t.data(), y.data()}, 3, 2);
  EXPECT_LT(worst(y, turned), 3e-7);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

namespace {
struct AttentionCase {
  string type;
  int64_t heads, kvHeads, headDim, room, window;
  vector<int32_t> lengths;
  int64_t tokens;
  bool causal = true;
  float alibi = 0;
};
} // namespace

TEST_P(Cpu, Attention) {
  vector<AttentionCase> cases{
      {"f32", 2, 1, 4, 32, 0, {0}, 7},
      {"f32", 4, 4, 16, 40, 0, {0, 3, 17}, 5},
      {"f32", 8, 2, 64, 600, 0, {0, 100, 37}, 290},
      {"f32", 8, 2, 20, 600, 50, {3, 100}, 290},
      {"f32", 3, 1, 48, 300, 7, {250, 0, 1}, 1},
      {"f32", 6, 6, 80, 300, 0, {250, 0, 131}, 1},
      {"f32", 6, 2, 8, 300, 0, {5, 0}, 130, false},
      {"bf16", 4, 2, 64, 300, 0, {9, 130}, 33},
      {"f16", 4, 2, 40, 300, 100, {9, 130}, 150},
      {"f32", 256, 2, 16, 40, 0, {2}, 3},
      // Many keys for few rows, and wide heads.
      {"bf16", 8, 2, 128, 700, 0, {650, 0, 31, 64}, 1},
      {"f16", 4, 1, 128, 300, 20, {250, 17}, 7},
      {"f16", 8, 1, 64, 400, 0, {399, 130, 127}, 1},
      {"bf16", 6, 2, 72, 300, 0, {5, 200}, 4, false},
      {"bf16", 64, 1, 8, 70, 0, {65, 1}, 3},
      {"bf16", 2, 1, 128, 200, 33, {0, 77}, 100},
      {"f16", 3, 3, 120, 150, 0, {11}, 130},
      {"bf16", 2, 1, 136, 90, 0, {11}, 70},
      {"bf16", 8, 2, 256, 200, 40, {130, 0}, 2},
      {"f16", 4, 1, 256, 150, 0, {11, 60}, 37},
      {"bf16", 3, 3, 200, 90, 0, {70, 1}, 3},
      {"f16", 1, 1, 264, 60, 0, {11}, 40},
      {"f32", 2, 1, 264, 90, 0, {70}, 3},
      {"f32", 4, 1, 128, 300, 40, {260, 0}, 8},
      // Distances count.
      {"f32", 6, 1, 20, 300, 0, {3, 100}, 150, true, 1.5f},
      {"f32", 8, 2, 48, 300, 40, {250, 0, 1}, 1, true, 1},
      {"bf16", 6, 1, 64, 400, 0, {9, 130}, 150, true, 1.25f},
      {"f16", 8, 2, 40, 300, 100, {9, 130}, 150, true, 0.5f},
      {"bf16", 6, 2, 72, 300, 0, {5, 200}, 4, false, 1.5f},
      {"f16", 16, 1, 128, 400, 0, {380, 17}, 1, true, 0.5f},
      {"bf16", 2, 1, 200, 200, 0, {0, 77}, 60, false, 4},
      {"f32", 2, 1, 260, 90, 0, {30}, 5, true, 4},
  };
  size_t exact = cases.size();
  for (size_t i = 0; i < exact; ++i)
    if (cases[i].type != "f32")
      cases.push_back(cases[i]);
  for (const AttentionCase &c : cases) {
    bool rounds = &c - cases.data() >= int64_t(exact);
    int64_t batch = c.lengths.size(), width = c.heads * c.headDim;
    SCOPED_TRACE(c.type + " " + to_string(c.heads) + "/" +
                 to_string(c.kvHeads) + " of " + to_string(c.headDim) + ", " +
                 to_string(c.tokens) + (rounds ? ", rounds" : ""));
    string stream = "memref<?x?x" + to_string(width) + "xf32>";
    string cache = "memref<?x" + to_string(c.kvHeads) + "x" +
                   to_string(c.room) + "x" + to_string(c.headDim) + "x" +
                   c.type + ">";
    string lengths = "memref<?xi32>";
    string mask = c.causal ? "causal" : "";
    if (c.window)
      mask +=
          (mask.empty() ? "window = " : ", window = ") + to_string(c.window);
    if (c.alibi > 0)
      mask += (mask.empty() ? "alibi = " : ", alibi = ") + to_string(c.alibi);
    auto code = compile({stream, cache, cache, lengths, stream},
                        "kernel.attention ins(%a0, %a1, %a2, %a3 : " + stream +
                            ", " + cache + ", " + cache + ", " + lengths +
                            ") " + (rounds ? "rounds " : "") + "scale 0.3 <" +
                            mask + "> outs(%a4 : " + stream + ")");
    if (!code->error.empty())
      continue;
    Random random(c.headDim + c.tokens);
    // Rounded or not, queries are the same.
    vector<float> q = Stored(random.many(batch * c.tokens * width, 2),
                             rounds ? c.type : "f32")
                          .values;
    size_t size = batch * c.kvHeads * c.room * c.headDim;
    Stored k(random.many(size, 2), c.type), v(random.many(size), c.type);
    vector<float> y(q.size());
    vector<double> expected(q.size()), slack(q.size());
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t t = 0; t < c.tokens; ++t)
        for (int64_t h = 0; h < c.heads; ++h) {
          int64_t kv = h / (c.heads / c.kvHeads), self = c.lengths[b] + t;
          int64_t end = c.causal ? self + 1 : c.lengths[b] + c.tokens;
          int64_t first =
              c.window ? std::max<int64_t>(self - c.window + 1, 0) : 0;
          const float *keys =
              &k.values[(b * c.kvHeads + kv) * c.room * c.headDim];
          const float *values =
              &v.values[(b * c.kvHeads + kv) * c.room * c.headDim];
          int64_t at = (b * c.tokens + t) * width + h * c.headDim;
          auto takenOff = [&](int64_t j) {
            return c.alibi > 0 ? std::exp2(-c.alibi * double(h + 1)) *
                                     double(std::abs(self - j))
                               : 0;
          };
          attend(&q[at], keys, values, first, end, c.headDim, &expected[at],
                 rounds ? c.type : "", &slack[at], takenOff);
        }
    vector<int32_t> length = c.lengths;
    code->run({q.data(), k.data(), v.data(), length.data(), y.data()}, batch,
              c.tokens);
    EXPECT_LT(worst(y, expected, slack), 5e-6);
  }
}

//===----------------------------------------------------------------------===//
// Code as a whole
//===----------------------------------------------------------------------===//

TEST_P(Cpu, ViewsOfTheArena) {
  // x -> arena -> out, through a view that starts at 64 * B * T.
  string text = R"(
kernel.def @k(%a: memref<?x?x16xf32>, %b: memref<?x?x16xf32>) {
  kernel.rowwise ins(%a : memref<?x?x16xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 16
      outs(%b : memref<?x?x16xf32>) {
  ^bb0(%x: f32, %o: f32):
    %r = arith.addf %x, %x : f32
    kernel.yield %r : f32
  }
}
func.func @any(%x: memref<?x?x16xf32>, %y: memref<?x?x16xf32>, %arena: memref<?xi8> {kernel.arena})
    attributes {nest.entry = "e"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %b = memref.dim %x, %c0 : memref<?x?x16xf32>
  %t = memref.dim %x, %c1 : memref<?x?x16xf32>
  %n = arith.muli %b, %t : index
  %at = arith.muli %n, %c64 : index
  %v = memref.view %arena[%at][%b, %t] : memref<?xi8> to memref<?x?x16xf32>
  kernel.launch @k(%x, %v) : memref<?x?x16xf32>, memref<?x?x16xf32>
  kernel.launch @k(%v, %y) : memref<?x?x16xf32>, memref<?x?x16xf32>
  return
})";
  Compiled code(text, GetParam());
  ASSERT_EQ(code.error, "");
  Random random(6);
  vector<float> x = random.many(6 * 16), y(x.size()), arena(2 * x.size());
  vector<double> expected;
  for (float value : x)
    expected.push_back(4.0 * value);
  code.run({x.data(), y.data()}, 2, 3, 0, arena.data());
  EXPECT_EQ(worst(y, expected), 0);
}

TEST_P(Cpu, Errors) {
  auto message = [&](const vector<string> &arguments, const string &body) {
    return Compiled(oneKernel(arguments, body), GetParam()).error;
  };
  EXPECT_NE(message({"memref<?x?x40xf32>", "memref<?x?x40xf32>"},
                    elementwise("%r = math.log %x : f32"))
                .find("'math.log' op has no code in the generator"),
            string::npos);
  EXPECT_NE(message({"memref<?x?x4xf64>", "memref<?x1x4xf64>"},
                    "kernel.last_rows ins(%a0 : memref<?x?x4xf64>) outs(%a1 : "
                    "memref<?x1x4xf64>)")
                .find("f64"),
            string::npos);
}

INSTANTIATE_TEST_SUITE_P(Levels, Cpu, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
INSTANTIATE_TEST_SUITE_P(Levels, CpuMatmul, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Cpu);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuMatmul);

TEST(CpuTarget, Levels) {
  auto unknown = nestc::CpuTarget::get("i486");
  ASSERT_FALSE(bool(unknown));
  EXPECT_EQ(llvm::toString(unknown.takeError()),
            "unknown CPU level 'i486'; known are native, x86-64-v3, x86-64-v4");
  auto v3 = nestc::CpuTarget::get("x86-64-v3");
  ASSERT_TRUE(bool(v3));
  EXPECT_EQ(v3->vectorBits, 256);
}
