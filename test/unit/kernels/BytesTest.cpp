//===- BytesTest.cpp - what kernels do to a GPU's memory ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every class of kernels on whole tiles, in the emulator: bytes of global
// memory, as sectors of 32 that a warp's request touches, against the least
// that the tiles need; bank conflicts; sectors that are touched for a part
// only. What they compute is tested elsewhere.
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
/// Buffers of a kernel, one after the other.
struct Operand {
  string type;
  vector<char> bytes;
};

Operand zeros(const string &type, size_t bytes) {
  return {type, vector<char>(bytes)};
}
Operand table(const string &type, const vector<int32_t> &values) {
  Operand operand{type, vector<char>(values.size() * 4)};
  std::memcpy(operand.bytes.data(), values.data(), operand.bytes.size());
  return operand;
}
Operand floats(const string &type, int64_t count) {
  vector<float> values = Random(count).many(count);
  Operand operand{type, vector<char>(values.size() * 4)};
  std::memcpy(operand.bytes.data(), values.data(), operand.bytes.size());
  return operand;
}
string stream(int64_t columns, const string &type = "f32") {
  return "memref<?x?x" + to_string(columns) + "x" + type + ">";
}
/// 0, 1, 2, ...
vector<int32_t> ascending(int64_t count) {
  vector<int32_t> values(count);
  for (int64_t i = 0; i < count; ++i)
    values[i] = static_cast<int32_t>(i);
  return values;
}

struct Case {
  string name;
  vector<Operand> operands;
  string body; ///< on %a0, %a1, ...
  int64_t tokens;
  uint64_t read, written; ///< the least bytes
  /// How many times that is allowed, and how many bank conflicts: to be made
  /// smaller, never larger.
  double mostRead = 1.05, mostWritten = 1.05;
  uint64_t conflicts = 0;

  // NOLINTNEXTLINE(readability-identifier-naming): GoogleTest looks for it.
  friend void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }
  Case &allow(double ofRead, double ofWritten, uint64_t ofConflicts = 0) {
    mostRead = ofRead;
    mostWritten = ofWritten;
    conflicts = ofConflicts;
    return *this;
  }
};

class GpuBytes : public testing::TestWithParam<Case> {};

string list(const vector<Operand> &operands, size_t first, size_t count) {
  string names, types;
  for (size_t i = first; i < first + count; ++i) {
    names += (i > first ? ", %a" : "%a") + to_string(i);
    types += (i > first ? ", " : "") + operands[i].type;
  }
  return names + " : " + types;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

struct Product {
  string tile;
  int64_t m, n, k;
  int64_t tileRows, tileColumns; ///< of all products together
  int64_t products = 1;
  string out = "f32", form = "plain"; ///< or residual, gather
};

/// Rows for each tile of columns, weights for each tile of rows; `tileColumns`
/// are all where rows should be read once.
Case matmul(const Product &p) {
  Case c{p.tile + " " + p.form + (p.products > 1 ? " glu" : ""),
         {},
         "",
         p.m,
         0,
         0};
  uint64_t outBytes = p.m * p.n * (p.out == "f32" ? 4 : 2);
  c.read = p.products * p.n / p.tileColumns * p.m * p.k * 2 +
           p.m / p.tileRows * p.products * p.n * p.k * 2;
  c.written = outBytes;
  c.operands.push_back(zeros(stream(p.k, "bf16"), p.m * p.k * 2));
  for (int64_t i = 0; i < p.products; ++i)
    c.operands.push_back(
        zeros("memref<" + to_string(p.n) + "x" + to_string(p.k) + "xbf16>",
              p.n * p.k * 2));
  bool gather = p.form == "gather";
  string rows, values = "%x: f32, ", result = "%x";
  if (p.products > 1) {
    values += "%z: f32, ";
    result = "%y";
  }
  if (gather) {
    c.operands.push_back(floats(stream(1), p.m));
    c.operands.push_back(table(offsetsOf(1), {0, static_cast<int32_t>(p.m)}));
    c.operands.push_back(table(table2, ascending(p.m)));
    rows = "rows(%a3, %a4 : " + table2 + " : " + offsetsOf(1) +
           ") sets [0, 1] gathers scatters ";
    values += "%s: f32, ";
  }
  if (p.form != "plain") {
    result = "%y";
    c.read += outBytes;
  }
  c.body = "kernel.matmul ins(" + list(c.operands, 0, 1) + ") weights(" +
           list(c.operands, 1, p.products) + ") " +
           (gather ? "epilogue(" + list(c.operands, 2, 1) + ") " : "") +
           "by [" + (gather ? "affine_map<(m, n) -> (m, 0)>" : "") + "] " +
           rows;
  c.operands.push_back(zeros(stream(p.n, p.out), outBytes));
  c.body += "outs(" + list(c.operands, c.operands.size() - 1, 1) +
            ") attributes {kernel.tile = \"" + p.tile + "\"} {\n^bb0(" +
            values + "%o: f32):\n" +
            (p.products > 1      ? "%y = arith.mulf %x, %z : f32\n"
             : gather            ? "%w = arith.mulf %x, %s : f32\n"
                                   "%y = arith.addf %w, %o : f32\n"
             : p.form != "plain" ? "%y = arith.addf %x, %o : f32\n"
                                 : "") +
            "kernel.yield " + result + " : f32\n}";
  return c;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Four heads over one KV head. Keys and values once for each tile of `rows`
/// queries of all heads, as far as the last of them sees. If it `rounds`,
/// queries are stored so.
Case attention(int64_t headDim, int64_t tokens, int64_t room, int64_t rows,
               bool rounds = false) {
  const int64_t heads = 4, length = room - tokens;
  Case c{"attention " + to_string(headDim) + " of " + to_string(tokens) +
             (rounds ? " rounded" : ""),
         {},
         "",
         tokens,
         0,
         0};
  string cache =
      "memref<?x1x" + to_string(room) + "x" + to_string(headDim) + "xbf16>";
  int64_t queries = tokens * heads * headDim;
  int64_t queryBytes = rounds ? 2 : 4;
  c.operands = {zeros(stream(heads * headDim, rounds ? "bf16" : "f32"),
                      queries * queryBytes),
                zeros(cache, room * headDim * 2),
                zeros(cache, room * headDim * 2),
                table(table1, {static_cast<int32_t>(length)}),
                zeros(stream(heads * headDim, "bf16"), queries * 2)};
  uint64_t keys = 0;
  for (int64_t last = 0; last < tokens;) {
    last = std::min(tokens, last + std::max<int64_t>(1, rows / heads));
    keys += length + last;
  }
  c.read = keys * headDim * 2 * 2 + queries * queryBytes;
  c.written = queries * 2;
  c.body = "kernel.attention ins(" + list(c.operands, 0, 4) +
           (rounds ? ") rounds" : ")") + " scale 0.125 <causal> outs(" +
           list(c.operands, 4, 1) + ")";
  return c;
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// Its rows once, and its weights once a row.
Case norm(const string &out) {
  const int64_t columns = 2048, rows = 4;
  Case c{"rms norm to " + out, {}, "", rows, 0, 0};
  uint64_t size = rows * columns;
  c.operands = {floats(stream(columns), size),
                floats("memref<2048xf32>", columns),
                zeros(stream(columns, out), size * (out == "f32" ? 4 : 2))};
  c.read = 2 * size * 4;
  c.written = c.operands[2].bytes.size();
  c.body =
      "kernel.rowwise ins(" + list(c.operands, 0, 2) +
      " by [affine_map<(r, c, g) -> (r, c)>, affine_map<(r, c, g) -> (c)>]) "
      "group 2048 outs(" +
      list(c.operands, 2, 1) +
      ") {\n^bb0(%x: f32, %w: f32):\n%p = arith.mulf %x, %x : f32\n"
      "kernel.yield %p : f32\n}, {\n"
      "^bb0(%x: f32, %w: f32, %s: f32, %o: f32):\n"
      "%q = math.rsqrt %s : f32\n%y = arith.mulf %x, %q : f32\n"
      "%z = arith.mulf %y, %w : f32\nkernel.yield %z : f32\n}";
  return c;
}

/// A kernel of `count` operands, the last `outs` of which it writes.
Case simple(const string &name, vector<Operand> operands, size_t outs,
            const string &options, int64_t tokens, uint64_t read,
            uint64_t written, const string &rows = "", size_t tables = 0) {
  Case c{name, std::move(operands), "", tokens, read, written};
  size_t ins = c.operands.size() - outs - tables;
  c.body = "kernel." + name.substr(0, name.find(' ')) + " ins(" +
           list(c.operands, 0, ins) + ") " +
           (tables ? rows + "(" + list(c.operands, ins, tables) + ") " : "") +
           options + " outs(" +
           list(c.operands, c.operands.size() - outs, outs) + ")";
  return c;
}

vector<Case> cases() {
  vector<Case> all{
      matmul({"tensor128", 256, 256, 512, 128, 128}),
      matmul({"tensor128", 128, 128, 512, 128, 128, 2, "bf16"}),
      matmul({"tensor128", 128, 256, 512, 128, 128, 1, "f32", "residual"}),
      matmul({"tensor128", 128, 256, 512, 128, 128, 1, "f32", "gather"}),
      matmul({"tensor64", 128, 128, 512, 64, 64}),
      matmul({"tensor16", 16, 256, 512, 16, 128}),
      // Rows come from the GPU's cache, for each tile of columns.
      matmul({"decode", 16, 64, 2048, 16, 64}).allow(2.4, 1),
      matmul({"decode", 1, 64, 2048, 1, 64}).allow(1.24, 1),
      matmul({"decode", 16, 64, 2048, 16, 128, 2, "bf16"}).allow(1.78, 2, 64),
      attention(64, 128, 512, 64),
      attention(128, 128, 512, 64),
      attention(256, 64, 512, 32),
      attention(64, 1, 4096, 4),
      attention(128, 1, 4096, 4),
      attention(64, 128, 512, 128, /*rounds=*/true),
      attention(128, 128, 512, 128, /*rounds=*/true),
      attention(256, 64, 512, 64, /*rounds=*/true),
      attention(64, 1, 4096, 4, /*rounds=*/true),
      attention(128, 1, 4096, 4, /*rounds=*/true),
      norm("f32"),
      norm("bf16"),
  };
  const int64_t t = 128;
  // Four heads share what is read of the table.
  all.push_back(simple(
      "rope", {floats(stream(128), 4 * 128), floats(stream(4096), 4 * 4096)}, 1,
      "head_dim 128", 4, 4 * (4096 + 128) * 4, 4 * 4096 * 4));
  all.push_back(simple("embed",
                       {table(table2, {1, 3, 0, 2}),
                        zeros("memref<4x2048xbf16>", 4 * 2048 * 2),
                        zeros(stream(2048), 4 * 2048 * 4)},
                       1, "scale 2.0", 4, 4 * 2048 * 2, 4 * 2048 * 4));
  all.push_back(simple("cache_append",
                       {floats(stream(1024), 4 * 1024), table(table1, {2}),
                        zeros("memref<?x8x16x128xbf16>", 16 * 1024 * 2)},
                       1, "", 4, 4 * 1024 * 4, 4 * 1024 * 2));
  all.push_back(simple(
      "last_rows",
      {floats(stream(2048), 4 * 2048), zeros("memref<?x1x2048xf32>", 2048 * 4)},
      1, "", 4, 2048 * 4, 2048 * 4));
  // The partial results of 8 blocks besides.
  all.push_back(simple("argmax",
                       {floats(stream(32768), 32768),
                        zeros("memref<8x16x2xf32>", 8 * 16 * 2 * 4),
                        zeros("memref<16xi32>", 16 * 4), zeros(table2, 4)},
                       1, "", 1, 32768 * 4, 8 * 8 + 4, "workspace", 2)
                    .allow(1.05, 9));
  const string heads = "by affine_map<(b, h, t, c) -> (b, t, h * 32 + c)>";
  all.push_back(simple("remap",
                       {floats("memref<?x32x64xf32>", 32 * 64),
                        zeros("memref<?x2x32x32xbf16>", 32 * 64 * 2)},
                       1, heads, 1, 32 * 64 * 4, 32 * 64 * 2));
  all.push_back(simple(
      "softmax", {floats(stream(64), t * 64), zeros(stream(64), t * 64 * 4)}, 1,
      "", t, t * 64 * 4, t * 64 * 4));
  all.push_back(simple("softmax over rows",
                       {floats(stream(1), 2048), zeros(stream(1), 2048 * 4)}, 1,
                       "over_rows", 2048, 2048 * 4, 2048 * 4));
  auto source = [](int64_t rows, int64_t sets) {
    return vector<Operand>{zeros(table2, rows * 4),
                           zeros(offsetsOf(sets), sets * 4 + 4),
                           zeros(table2, rows * 4), zeros(table1, 4)};
  };
  auto with = [](Operand first, const vector<Operand> &rest) {
    vector<Operand> result{std::move(first)};
    result.insert(result.end(), rest.begin(), rest.end());
    return result;
  };
  // Of sources, tables are written 4 bytes at a time, and scores read by
  // threads that each have 32 bytes in a row, in two halves.
  all.push_back(simple("select top",
                       with(floats(stream(1), 2048), source(2048, 1)), 4,
                       "top <1/4>", 2048, 2048 * 4, 2 * 512 * 4)
                    .allow(2, 3.5, 308));
  all.push_back(simple("select above",
                       with(floats(stream(1), 2048), source(2048, 1)), 4,
                       "above 0.0", 2048, 2048 * 4, 2 * 1024 * 4)
                    .allow(2, 3.7));
  vector<int32_t> kinds(2048);
  for (size_t i = 0; i < kinds.size(); ++i)
    kinds[i] = static_cast<int32_t>(i * 7 % 3);
  all.push_back(simple("partition", with(table(table2, kinds), source(2048, 3)),
                       4, "sets [0, 1, 2]", 2048, 2048 * 4, 2 * 2048 * 4)
                    .allow(2, 1.3)); // its rows are counted first
  all.push_back(simple("assign",
                       with(floats(stream(64), 2048 * 64), source(2048, 64)), 4,
                       "choice 0", 2048, 2048 * 64 * 4, 2 * 2048 * 4)
                    .allow(1.05, 8, 256));
  all.push_back(
      simple("gather",
             {table(table2, ascending(2048)), table(offsetsOf(1), {0, 512}),
              table(table2, ascending(2048)), zeros(table2, 2048 * 4)},
             1, "sets [0, 1]", 2048, 2 * 512 * 4, 512 * 4, "rows", 2)
          .allow(2, 1));
  all.push_back(simple("rank", {table(table1, {5}), zeros(table2, 2048 * 4)}, 1,
                       "", 2048, 32, 2048 * 4)
                    .allow(64, 1)); // every warp looks for its row's sequence
  all.push_back(simple("advance",
                       {table(table2, ascending(512)), table(table1, {5})}, 1,
                       "", 512, 32, 32));
  return all;
}
} // namespace

TEST_P(GpuBytes, AreFew) {
  Case c = GetParam();
  vector<string> types;
  vector<void *> buffers;
  for (Operand &operand : c.operands) {
    types.push_back(operand.type);
    buffers.push_back(operand.bytes.data());
  }
  Compiled code(oneKernel(types, c.body), "sm_80");
  ASSERT_EQ(code.error, "");
  code.device()->profile = true;
  code.run(buffers, 1, c.tokens);
  uint64_t sectors[2] = {}, conflicts = 0, local = 0;
  for (auto &[name, profile] : code.device()->profiles) {
    for (int way = 0; way < 2; ++way) {
      sectors[way] += profile.globalSectors[way] * 32;
      local += profile.localBytes[way];
    }
    conflicts += profile.bankConflicts;
  }
  RecordProperty("read", to_string(double(sectors[0]) / c.read));
  RecordProperty("written", to_string(double(sectors[1]) / c.written));
  RecordProperty("conflicts", to_string(conflicts));
  EXPECT_EQ(local, 0u);
  EXPECT_LE(conflicts, c.conflicts);
  EXPECT_LE(sectors[0], c.mostRead * c.read);
  EXPECT_LE(sectors[1], c.mostWritten * c.written);
}

INSTANTIATE_TEST_SUITE_P(Kernels, GpuBytes, testing::ValuesIn(cases()),
                         [](auto &info) {
                           string name = info.param.name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name + "_" + to_string(info.index);
                         });
