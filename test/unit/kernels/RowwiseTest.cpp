//===- RowwiseTest.cpp - rowwise kernels of every size --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "EmulatedGpu.h"
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

// What a product will read, in its type; over what was there, in that type.
TEST_P(CpuRowwise, NarrowOutputs) {
  for (string type : {"bf16", "f16"})
    for (int64_t columns : {5, 6, 40, 2048, 4100, 40000})
      for (bool sums : {false, true}) {
        SCOPED_TRACE(type + " " + to_string(columns) + (sums ? " sums" : ""));
        string s = "memref<?x?x" + to_string(columns) + "xf32>";
        string out = "memref<?x?x" + to_string(columns) + "x" + type + ">";
        auto code = compile(
            {s, out},
            "kernel.rowwise ins(%a0 : " + s +
                " by [affine_map<(r, c, g) -> (r, c)>]) group " +
                to_string(columns) + " outs(%a1 : " + out + ") {\n" +
                (sums ? "^bb0(%x: f32):\nkernel.yield %x : f32\n}, {\n"
                        "^bb0(%x: f32, %s: f32, %o: f32):\n"
                        "%y = arith.addf %x, %s : f32\n"
                      : "^bb0(%x: f32, %o: f32):\n"
                        "%y = arith.addf %x, %x : f32\n") +
                "%r = arith.addf %y, %o : f32\nkernel.yield %r : f32\n}");
        ASSERT_EQ(code->error, "");
        Random random(columns);
        // Sums of these are exact in f32, whatever their order.
        vector<float> x(3 * columns);
        for (float &value : x)
          value = std::floor(random.next() * 8) / 8;
        Stored y(random.many(x.size()), type);
        vector<double> expected;
        for (int64_t r = 0; r < 3; ++r) {
          float sum = 0;
          for (int64_t j = 0; j < columns; ++j)
            sum += x[r * columns + j];
          for (int64_t j = r * columns; j < (r + 1) * columns; ++j)
            expected.push_back(
                roundTo(x[j] + (sums ? sum : x[j]) + y.values[j], type));
        }
        code->run({x.data(), y.data()}, 3, 1);
        EXPECT_EQ(worst(widen(y.bytes, type), expected), 0);
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

//===----------------------------------------------------------------------===//
// Rows that are moved
//===----------------------------------------------------------------------===//

TEST_P(CpuRowwise, EmbedOfEverySize) {
  for (auto [columns, stride] :
       vector<std::pair<int64_t, int64_t>>{{1, 1},
                                           {7, 7},
                                           {10, 12},
                                           {12, 13},
                                           {2048, 2048},
                                           {4100, 4200},
                                           {10002, 10002},
                                           {20000, 20000}})
    for (string type : {"f32", "bf16", "f16"}) {
      SCOPED_TRACE(type + " " + to_string(columns));
      string ids = "memref<?x?xi32>";
      string table = "memref<5x" + to_string(columns) + "x" + type;
      table += stride == columns ? ">"
                                 : ", strided<[" + to_string(stride) + ", 1]>>";
      string out = "memref<?x?x" + to_string(columns) + "xf32>";
      auto code = compile({ids, table, out},
                          "kernel.embed ins(%a0, %a1 : " + ids + ", " + table +
                              ") scale 0.5 outs(%a2 : " + out + ")");
      ASSERT_EQ(code->error, "");
      Stored data(Random(columns).many(4 * stride + columns), type);
      vector<int32_t> tokens{3, 0, 4, 4, 1, 2};
      vector<float> y(tokens.size() * columns);
      vector<double> expected;
      for (int32_t token : tokens)
        for (int64_t j = 0; j < columns; ++j)
          expected.push_back(0.5 * data.values[token * stride + j]);
      code->run({tokens.data(), data.data(), y.data()}, 3, 2);
      EXPECT_EQ(worst(y, expected), 0);
    }
}

TEST_P(CpuRowwise, CacheAppendOfEverySize) {
  for (auto [heads, width] : vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 5}, {2, 6}, {8, 128}, {65, 80}})
    for (string type : {"f32", "bf16", "f16"}) {
      SCOPED_TRACE(type + " " + to_string(heads) + "x" + to_string(width));
      string rows = "memref<?x?x" + to_string(heads * width) + "xf32>";
      string lengths = "memref<?xi32>";
      string cache = "memref<?x" + to_string(heads) + "x6x" + to_string(width) +
                     "x" + type + ">";
      auto code = compile({rows, lengths, cache},
                          "kernel.cache_append ins(%a0, %a1 : " + rows + ", " +
                              lengths + ") outs(%a2 : " + cache + ")");
      ASSERT_EQ(code->error, "");
      Random random(heads);
      vector<float> x = random.many(2 * 3 * heads * width);
      Stored memory(random.many(2 * heads * 6 * width), type);
      vector<int32_t> length{0, 2};
      vector<double> expected(memory.values.begin(), memory.values.end());
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t t = 0; t < 3; ++t)
          for (int64_t c = 0; c < heads * width; ++c)
            expected[((b * heads + c / width) * 6 + length[b] + t) * width +
                     c % width] =
                roundTo(x[(b * 3 + t) * heads * width + c], type);
      code->run({x.data(), length.data(), memory.data()}, 2, 3);
      EXPECT_EQ(worst(widen(memory.bytes, type), expected), 0);
    }
}

//===----------------------------------------------------------------------===//
// What device code does
//===----------------------------------------------------------------------===//

namespace {
class GpuRowwise : public testing::Test {
protected:
  /// Compiles, runs with counters, and checks what every kernel promises: whole
  /// sectors, accesses of 16 bytes, no bank conflicts.
  nestc::ptx::Profile run(const vector<string> &arguments, const string &body,
                          const vector<void *> &buffers, int64_t rows) {
    if (levels().empty())
      return {};
    Compiled code(oneKernel(arguments, body), gpuLevel());
    EXPECT_EQ(code.error, "");
    if (!code.error.empty())
      return {};
    code.device()->profile = true;
    code.run(buffers, 1, rows);
    EXPECT_EQ(code.device()->profiles.size(), 1u);
    if (code.device()->profiles.empty())
      return {};
    nestc::ptx::Profile profile = code.device()->profiles[0].second;
    EXPECT_EQ(profile.bankConflicts, 0u);
    EXPECT_EQ(profile.localBytes[0] + profile.localBytes[1], 0u);
    // Lanes may read the same.
    EXPECT_GE(profile.globalBytes[0], profile.globalSectors[0] * 32);
    EXPECT_EQ(profile.globalBytes[1], profile.globalSectors[1] * 32);
    return profile;
  }

  static uint64_t threads(const nestc::ptx::Profile &profile,
                          const string &opcode) {
    uint64_t count = 0;
    for (const auto &[name, counts] : profile.opcodes) {
      // From sm_100 on LLVM takes four words as two pairs.
      string words = name;
      if (size_t at = words.find("v2.b64"); at != string::npos)
        words.replace(at, 6, "v4.b32");
      if (words.compare(0, opcode.size(), opcode) == 0)
        count += counts.threads;
    }
    return count;
  }
};
} // namespace

TEST_F(GpuRowwise, RmsNormReadsOnce) {
  string s = "memref<?x?x2048xf32>", w = "memref<2048xf32>";
  string body =
      "kernel.rowwise ins(%a0, %a1 : " + s + ", " + w +
      " by [affine_map<(r, c, g) -> (r, c)>, affine_map<(r, c, g) -> (c)>]) "
      "group 2048 outs(%a2 : " +
      s +
      ") {\n^bb0(%x: f32, %w: f32):\n%p = arith.mulf %x, %x : f32\n"
      "kernel.yield %p : f32\n}, {\n"
      "^bb0(%x: f32, %w: f32, %s: f32, %o: f32):\n"
      "%n = arith.constant 2048.0 : f32\n%e = arith.constant 1.0e-5 : f32\n"
      "%m = arith.divf %s, %n : f32\n%a = arith.addf %m, %e : f32\n"
      "%q = math.rsqrt %a : f32\n%y = arith.mulf %x, %q : f32\n"
      "%z = arith.mulf %y, %w : f32\nkernel.yield %z : f32\n}";
  vector<float> x = Random(1).many(5 * 2048), weight(2048, 1), y(x.size());
  auto profile = run({s, w, s}, body, {x.data(), weight.data(), y.data()}, 5);
  EXPECT_EQ(profile.globalBytes[0], 5 * 2 * 2048 * 4u);
  EXPECT_EQ(profile.globalBytes[1], 5 * 2048 * 4u);
  EXPECT_EQ(threads(profile, "ld.global.v4"), 5 * 2 * 512u);
  EXPECT_EQ(threads(profile, "st.global.v4"), 5 * 512u);
  EXPECT_EQ(profile.barriers, 5 * 4u);
}

TEST_F(GpuRowwise, RopeReadsOnce) {
  string table = "memref<?x?x128xf32>", x = "memref<?x?x4096xf32>";
  vector<float> t = Random(1).many(3 * 128), y = Random(2).many(3 * 4096);
  string body =
      "kernel.rope ins(%a0 : " + table + ") head_dim 128 outs(%a1 : " + x + ")";
  auto profile = run({table, x}, body, {t.data(), y.data()}, 3);
  // Eight heads share what is read of the table.
  EXPECT_EQ(profile.globalBytes[0], 3 * (4096 + 4 * 128) * 4u);
  EXPECT_EQ(profile.globalBytes[1], 3 * 4096 * 4u);
  EXPECT_EQ(threads(profile, "st.global.v4"), 3 * 1024u);
}

TEST_F(GpuRowwise, MovesInWideAccesses) {
  string ids = "memref<?x?xi32>", table = "memref<4x2048xbf16>";
  string x = "memref<?x?x2048xf32>";
  Stored data(Random(1).many(4 * 2048), "bf16");
  vector<int32_t> tokens{1, 3, 0};
  vector<float> y(3 * 2048);
  auto embed = run({ids, table, x},
                   "kernel.embed ins(%a0, %a1 : " + ids + ", " + table +
                       ") scale 2.0 outs(%a2 : " + x + ")",
                   {tokens.data(), data.data(), y.data()}, 3);
  EXPECT_EQ(threads(embed, "ld.global.v2"), 3 * 512u);
  EXPECT_EQ(threads(embed, "st.global.v4"), 3 * 512u);
  string lengths = "memref<?xi32>", cache = "memref<?x16x5x128xbf16>";
  Stored memory(vector<float>(16 * 5 * 128), "bf16");
  vector<int32_t> length{2};
  auto append = run({x, lengths, cache},
                    "kernel.cache_append ins(%a0, %a1 : " + x + ", " + lengths +
                        ") outs(%a2 : " + cache + ")",
                    {y.data(), length.data(), memory.data()}, 3);
  EXPECT_EQ(threads(append, "ld.global.v4"), 3 * 512u);
  EXPECT_EQ(threads(append, "st.global.v2"), 3 * 512u);
}

INSTANTIATE_TEST_SUITE_P(Levels, CpuRowwise, testing::ValuesIn(levels()),
                         [](auto &info) { return levelName(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CpuRowwise);
