//===- MatmulTest.cpp - every way to multiply on a GPU --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// KernelTest.cpp and PackedTest.cpp let the generator choose tiles. Here tests
// ask for each tile by the attribute kernel.tile, with narrow streams too, and
// look at what a kernel does to memory.
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
  string tile = ""; ///< empty: the generator's choice
  string a = "bf16", weights = "bf16", out = "f32";
  int64_t n = 128, k = 256, stride = 0;
  int64_t products = 1;
  bool residual = false;
  int64_t sets = 0; ///< 0: no row sets
  bool perSet = false, gathers = false, scatters = false;
  int64_t splits = 0;   ///< that the workspace has room for; 0: no workspace
  bool normed = false;  ///< a is of a norm
  string scaled = "";   ///< not empty: writes this type for norms
  int64_t norms = 1;    ///< then so many
  bool indexed = false; ///< the scale of a row
  string capacity = ""; ///< of the rows of a sequence, if not empty

  string str() const {
    return tile + " " + a + "*" + weights + "->" + out + " n " + to_string(n) +
           " k " + to_string(k) + (products > 1 ? " glu" : "") +
           (residual ? " residual" : "") +
           (sets ? " sets " + to_string(sets) : "") +
           (perSet ? " groups" : "") + (gathers ? " gathers" : "") +
           (scatters ? " scatters" : "") + (indexed ? " indexed" : "") +
           (normed ? " normed" : "") +
           (scaled.empty() ? "" : " scaled " + scaled) +
           (norms > 1 ? " norms " + to_string(norms) : "") +
           (splits ? " splits " + to_string(splits) : "");
  }
  /// Whole tiles of 128, and a ticket for each, in each of 16 sets.
  int64_t workspaceColumns() const { return (n * products + 127) / 128 * 128; }
  int64_t tickets() const {
    return workspaceColumns() / 128 *
           (perSet ? std::min<int64_t>(sets, 16) : 1);
  }
};

class GpuMatmul : public testing::Test {
protected:
  /// With `shift`, `a` is not a buffer but stands in the arena, `shift` bytes
  /// from its start.
  std::unique_ptr<Compiled> compile(const Problem &p, int64_t shift = 0) {
    auto stream = [](int64_t columns, const string &type) {
      return "memref<?x?x" + to_string(columns) + "x" + type + ">";
    };
    vector<string> types;
    string text =
        "kernel.matmul ins(" + addOperands(types, {stream(p.k, p.a)}) + ") ";
    if (p.normed)
      text += "normed(" + addOperands(types, {stream(slicesOf(p.k), "f32")}) +
              ") epsilon " + to_string(epsilon) + " ";
    text += "weights(";
    string w =
        "memref<" + to_string(p.n) + "x" + to_string(p.k) + "x" + p.weights +
        (p.stride ? ", strided<[" + to_string(p.stride) + ", 1]>>" : ">");
    int64_t groups = p.perSet ? p.sets : 1;
    text += addOperands(types, vector<string>(p.products * groups, w)) +
            ") epilogue(";
    vector<string> biases(groups, "memref<" + to_string(p.n) + "xf32>");
    biases.push_back(stream(1, "f32"));
    text += addOperands(types, biases) + ") by [affine_map<" +
            (p.perSet ? "(m, n, s) -> (s, n)" : "(m, n) -> (n)") +
            ">, affine_map<(m, n) -> (m, 0)>] ";
    bool indexed = p.gathers || p.scatters || p.indexed;
    if (p.sets) {
      string offsets = offsetsOf(p.sets);
      size_t first = types.size();
      types.push_back(offsets);
      if (indexed)
        types.push_back(table2);
      text += "rows(%a" + to_string(first) +
              (indexed ? ", %a" + to_string(first + 1) + " : " + table2 : "") +
              " : " + offsets + ") sets [0, " + to_string(p.sets) + "] " +
              (p.gathers ? "gathers " : "") + (p.scatters ? "scatters " : "") +
              (p.indexed ? "indexed [1] " : "");
    }
    if (p.splits)
      text +=
          "workspace(" +
          addOperands(types, {"memref<" + to_string(p.splits) + "x16x" +
                                  to_string(p.workspaceColumns()) + "xf32>",
                              "memref<" + to_string(p.tickets()) + "xi32>"}) +
          ") ";
    bool isScaled = !p.scaled.empty();
    if (isScaled)
      text += "gains(" +
              addOperands(
                  types, vector<string>(p.norms * groups,
                                        "memref<" + to_string(p.n) + "xf32>")) +
              ") ";
    text += "outs(" + addOperands(types, {stream(p.n, p.out)}) + ") ";
    if (isScaled)
      text +=
          "scaled(" +
          addOperands(types, vector<string>(p.norms, stream(p.n, p.scaled))) +
          ") squares(" + addOperands(types, {stream(slicesOf(p.n), "f32")}) +
          ") ";
    text +=
        string("attributes {") +
        (p.perSet ? "groups = " + to_string(groups) + " : i64" : "") +
        (p.perSet && !p.tile.empty() ? ", " : "") +
        (p.capacity.empty() ? ""
                            : "kernel.capacity = #nest.capacity<" + p.capacity +
                                  ">" + (p.tile.empty() ? "" : ", ")) +
        (p.tile.empty() ? "" : "kernel.tile = \"" + p.tile + "\"") +
        "} {\n^bb0(%x: f32, " + (p.products > 1 ? "%z: f32, " : "") +
        "%b: f32, %s: f32, %o: f32):\n" +
        (p.products > 1 ? "%y = arith.mulf %x, %z : f32\n"
                        : "%y = arith.addf %x, %x : f32\n") +
        "%q = arith.addf %y, %b : f32\n%t = arith.mulf %q, %s : f32\n" +
        (p.residual ? "%r = arith.addf %t, %o : f32\n"
                    : "%r = arith.negf %t : f32\n") +
        "kernel.yield %r : f32\n}";
    string module = oneKernel(types, text);
    if (shift) {
      string list, names, all;
      for (size_t i = 0; i < types.size(); ++i) {
        string comma = i ? ", " : "";
        if (i)
          list += "%a" + to_string(i) + ": " + types[i] + ", ";
        names += comma + "%a" + to_string(i);
        all += comma + types[i];
      }
      const string &out = types.back();
      string last = "%a" + to_string(types.size() - 1);
      module =
          module.substr(0, module.find("func.func")) + "func.func @e(" + list +
          "%arena: memref<?xi8> {kernel.arena}) attributes {nest.entry = "
          "\"e\"} {\n%c0 = arith.constant 0 : index\n%c1 = "
          "arith.constant 1 : index\n%at = arith.constant " +
          to_string(shift) + " : index\n%b = memref.dim " + last +
          ", %c0 : " + out + "\n%t = memref.dim " + last + ", %c1 : " + out +
          "\n%a0 = memref.view %arena[%at][%b, %t] : memref<?xi8> "
          "to " +
          types[0] + "\nkernel.launch @k(" + names + ") : " + all +
          "\nreturn\n}\n";
    }
    auto code = std::make_unique<Compiled>(module, gpuLevel());
    EXPECT_EQ(code->error, "");
    return code;
  }

  /// Runs on `batch` x `tokens` rows and compares; gives the output. The rows
  /// of sets are at random; every seventh is in none. `seed`: as Compiled::run
  /// has it.
  vector<char> run(Compiled &code, const Problem &p, int64_t batch,
                   int64_t tokens, int64_t shift = 0, int seed = -1) {
    SCOPED_TRACE(p.str() + ", rows " + to_string(batch * tokens));
    Random random(p.n + 3 * p.k + batch * tokens);
    int64_t m = batch * tokens, groups = p.perSet ? p.sets : 1;
    int64_t stride = p.stride ? p.stride : p.k;
    Family family;
    if (p.sets) {
      vector<vector<int>> setOf(batch);
      for (int64_t r = 0; r < m; ++r) {
        int any = static_cast<int>((random.next() + 1) / 2 * p.sets);
        setOf[r / tokens].push_back(
            r % 7 == 3 ? -1 : any % static_cast<int>(p.sets));
      }
      family = Family(batch, tokens, p.sets, setOf);
    }
    Stored x(random.many(m * p.k), p.a), y(random.many(m * p.n), p.out);
    vector<Stored> weights;
    for (int64_t i = 0; i < p.products * groups; ++i)
      weights.emplace_back(random.many(p.n * stride), p.weights);
    vector<vector<float>> biases;
    for (int64_t i = 0; i < groups; ++i)
      biases.push_back(random.many(p.n));
    vector<float> scale = random.many(m);
    vector<vector<float>> gains;
    if (!p.scaled.empty())
      for (int64_t i = 0; i < p.norms * groups; ++i)
        gains.push_back(random.many(p.n));
    vector<float> normed = random.many(p.normed ? m * slicesOf(p.k) : 0, 9);
    for (float &sum : normed)
      sum = std::fabs(sum);
    vector<Stored> scaled;
    for (int64_t i = 0; !gains.empty() && i < p.norms; ++i)
      scaled.emplace_back(random.many(m * p.n), p.scaled);
    vector<float> squares(gains.empty() ? 0 : m * slicesOf(p.n), 3);
    vector<double> expected(y.values.begin(), y.values.end());
    vector<vector<double>> expectedScaled;
    for (Stored &one : scaled)
      expectedScaled.emplace_back(one.values.begin(), one.values.end());
    vector<double> expectedSquares(squares.begin(), squares.end());
    int64_t rows = p.sets ? family.offsets[p.sets] : m;
    for (int64_t packed = 0, set = 0; packed < rows; ++packed) {
      while (p.sets && packed >= family.offsets[set + 1])
        ++set;
      int64_t g = p.perSet ? set : 0;
      int64_t row = p.sets ? family.indices[packed] : packed;
      const float *from = &x.values[(p.gathers ? row : packed) * p.k];
      double *to = &expected[(p.scatters ? row : packed) * p.n];
      double factor = 1;
      if (p.normed) {
        double sum = 0;
        for (int64_t i = 0; i < slicesOf(p.k); ++i)
          sum += normed[(p.gathers ? row : packed) * slicesOf(p.k) + i];
        factor = 1 / std::sqrt(sum / double(p.k) + epsilon);
      }
      for (int64_t j = 0; j < p.n; ++j) {
        double sums[2] = {0, 0};
        for (int64_t i = 0; i < p.products; ++i) {
          const float *w = &weights[i * groups + g].values[j * stride];
          for (int64_t l = 0; l < p.k; ++l)
            sums[i] += double(roundTo(from[l], p.weights)) * w[l];
        }
        for (double &sum : sums)
          sum *= factor;
        double sum = p.products > 1 ? sums[0] * sums[1] : 2 * sums[0];
        double value = (sum + biases[g][j]) * scale[p.indexed ? row : packed];
        to[j] = p.residual ? to[j] + value : -value;
        if (gains.empty())
          continue;
        int64_t at = p.scatters ? row : packed;
        for (int64_t i = 0; i < p.norms; ++i)
          expectedScaled[i][at * p.n + j] = to[j] * gains[i * groups + g][j];
        double &slice = expectedSquares[at * slicesOf(p.n) + j / 32];
        slice = to[j] * to[j] + (j % 32 ? slice : 0);
      }
    }
    vector<void *> buffers;
    vector<char> arena(shift + x.bytes.size());
    std::copy(x.bytes.begin(), x.bytes.end(), arena.begin() + shift);
    if (!shift)
      buffers.push_back(x.data());
    if (p.normed)
      buffers.push_back(normed.data());
    for (Stored &weight : weights)
      buffers.push_back(weight.data());
    for (vector<float> &bias : biases)
      buffers.push_back(bias.data());
    buffers.push_back(scale.data());
    if (p.sets)
      buffers.push_back(family.offsets.data());
    if (p.gathers || p.scatters || p.indexed)
      buffers.push_back(family.indices.data());
    // The workspace holds nothing that counts.
    vector<float> workspace(p.splits * 16 * p.workspaceColumns(), NAN);
    vector<int32_t> tickets(p.splits ? p.tickets() : 0);
    if (p.splits) {
      buffers.push_back(workspace.data());
      buffers.push_back(tickets.data());
    }
    for (vector<float> &gain : gains)
      buffers.push_back(gain.data());
    buffers.push_back(y.data());
    if (!gains.empty()) {
      for (Stored &one : scaled)
        buffers.push_back(one.data());
      buffers.push_back(squares.data());
    }
    // In reverse order, or in two random ones.
    code.run(buffers, batch, tokens, seed < 0 ? static_cast<int>(m % 3) : seed,
             shift ? arena.data() : nullptr);
    EXPECT_EQ(std::count(tickets.begin(), tickets.end(), 0),
              static_cast<int64_t>(tickets.size()));
    // The last rounding, to the output's type.
    double rounding = p.out == "bf16" ? 1.0 / 256 : p.out == "f16" ? 5e-4 : 0;
    double bound = 4e-6 * std::sqrt(p.k);
    EXPECT_LT(worst(widen(y.bytes, p.out), expected), rounding + bound);
    if (gains.empty())
      return y.bytes;
    for (int64_t i = 0; i < p.norms; ++i)
      EXPECT_LT(worst(widen(scaled[i].bytes, p.scaled), expectedScaled[i]),
                (p.scaled == "bf16" ? 1.0 / 256 : 0) + bound);
    // An error e of each of 32 values makes 2 e of their sum, relative to it,
    // and where all are small that times the root of 32, relative to 1.
    EXPECT_LT(worst(squares, expectedSquares), 2 * std::sqrt(32) * bound);
    return y.bytes;
  }

  void check(const Problem &p, const vector<int64_t> &rows) {
    SCOPED_TRACE(p.str());
    auto code = compile(p);
    if (!code->error.empty())
      return;
    for (int64_t m : rows)
      run(*code, p, m % 3 == 0 ? 3 : 1, m % 3 == 0 ? m / 3 : m);
  }

  static int64_t slicesOf(int64_t columns) { return (columns + 31) / 32; }

private:
  static constexpr double epsilon = 0.25;
};
} // namespace

TEST_F(GpuMatmul, Tiles) {
  // Less than a step of k, whole passes of the pipeline, parts of steps.
  for (string tile : {"tensor16", "tensor64", "tensor128"})
    for (int64_t k : {8, 64, 200, 512, 584})
      for (string a : {"bf16", "f32"})
        check({.tile = tile, .a = a, .n = 136, .k = k}, {1, 131});
  for (string tile : {"tensor16", "tensor64", "tensor128"}) {
    check({.tile = tile, .out = "bf16", .n = 144, .k = 72, .products = 2},
          {70, 129});
    check({.tile = tile,
           .a = "f16",
           .weights = "f16",
           .out = "f16",
           .n = 40,
           .k = 136,
           .stride = 144,
           .residual = true},
          {70, 129});
  }
  check({.tile = "plain64", .out = "bf16", .n = 37, .k = 75}, {1, 66});
  check({.tile = "plain16", .n = 37, .k = 75, .residual = true}, {1, 16});
  for (string tile : {"fma16", "fma64"})
    check({.tile = tile,
           .a = "f32",
           .weights = "f32",
           .n = 76,
           .k = 52,
           .products = 2},
          {1, 18, 67});
}

TEST_F(GpuMatmul, Decode) {
  for (int64_t k : {8, 64, 264, 1024, 2080, 3072})
    for (string a : {"bf16", "f32"})
      check({.tile = "decode", .a = a, .n = 48, .k = k}, {1, 7, 16});
  // Few and many columns, and rows of more than a tile.
  check({.tile = "decode", .n = 1736, .k = 256, .residual = true}, {2, 9});
  check({.tile = "decode", .n = 3464, .k = 64, .products = 2}, {3});
  check({.tile = "decode",
         .a = "f16",
         .weights = "f16",
         .out = "f16",
         .n = 3464,
         .k = 72,
         .products = 2},
        {16, 18});
}

TEST_F(GpuMatmul, Splits) {
  // As many batches of 128 as splits, more, fewer; a rest; more than shared
  // memory holds rows of at once.
  for (auto [k, splits] : vector<std::pair<int64_t, int64_t>>{
           {256, 2}, {264, 2}, {1056, 3}, {640, 4}, {384, 5}, {2312, 2}})
    for (string a : {"bf16", "f32"})
      check({.a = a, .n = 136, .k = k, .splits = splits}, {1, 7, 16});
  // One batch or none is not split.
  for (int64_t k : {64, 136})
    check({.n = 40, .k = k, .splits = 3}, {5});
  check({.out = "bf16", .n = 144, .k = 392, .products = 2, .splits = 3},
        {3, 16});
  check({.a = "f16",
         .weights = "f16",
         .out = "f16",
         .n = 40,
         .k = 512,
         .stride = 528,
         .residual = true,
         .splits = 4},
        {1, 9});
  check({.n = 16, .k = 256, .products = 2, .residual = true, .splits = 2},
        {2, 12});
  for (bool perSet : {true, false})
    for (bool gathers : {true, false})
      check({.n = 136,
             .k = 328,
             .residual = !gathers,
             .sets = 3,
             .perSet = perSet,
             .gathers = gathers,
             .scatters = !gathers,
             .splits = 2},
            {1, 12, 16});
  // More sets than rows.
  check({.n = 16, .k = 256, .sets = 33, .perSet = true, .splits = 2}, {9, 16});
}

TEST_F(GpuMatmul, SplitsInAnyOrder) {
  // The order of blocks does not change a bit.
  Problem p{.a = "f32", .n = 264, .k = 1160, .residual = true, .splits = 4};
  auto code = compile(p);
  if (!code->error.empty())
    return;
  vector<char> first = run(*code, p, 1, 11);
  for (int seed : {0, 1, 2, 3, 4, 5})
    EXPECT_EQ(run(*code, p, 1, 11, 0, seed), first) << seed;
}

TEST_F(GpuMatmul, Sets) {
  for (string tile : {"decode", "tensor16", "tensor64", "tensor128"})
    for (bool perSet : {true, false}) {
      check({.tile = tile,
             .n = 72,
             .k = 72,
             .sets = 3,
             .perSet = perSet,
             .gathers = true},
            {1, 12, 200});
      check({.tile = tile,
             .n = 72,
             .k = 72,
             .sets = 3,
             .perSet = perSet,
             .indexed = true},
            {12, 200});
      check({.tile = tile,
             .n = 72,
             .k = 72,
             .residual = true,
             .sets = 3,
             .perSet = perSet,
             .scatters = true},
            {12, 200});
    }
  // More sets than a warp has lanes.
  check({.tile = "tensor16",
         .n = 16,
         .k = 16,
         .sets = 67,
         .perSet = true,
         .gathers = true,
         .scatters = true},
        {5, 300});
  check({.n = 16, .k = 16, .products = 2, .sets = 33, .perSet = true},
        {9, 150});
}

TEST_F(GpuMatmul, Norms) {
  // Both halves: slices by 4 and one by one, whole columns of tiles and slices,
  // and parts.
  for (string tile : {"decode", "tensor16", "tensor64", "tensor128"})
    for (auto [n, k, scaled] :
         {std::tuple<int64_t, int64_t, string>{136, 200, "bf16"},
          {128, 512, "f32"}})
      check({.tile = tile,
             .n = n,
             .k = k,
             .residual = true,
             .normed = true,
             .scaled = scaled},
            tile == "decode" || tile == "tensor16" ? vector<int64_t>{1, 7, 16}
                                                   : vector<int64_t>{3, 131});
  for (string tile : {"fma16", "fma64", "plain16", "plain64"}) {
    bool plain = tile[0] == 'p';
    check({.tile = tile,
           .a = "f32",
           .weights = "f32",
           .n = plain ? 75 : 76,
           .k = 72,
           .normed = true,
           .scaled = "f32"},
          {1, 18});
    // So many slices that they are added in a loop.
    if (plain)
      check({.tile = tile,
             .n = 75,
             .k = 2328,
             .residual = true,
             .normed = true,
             .scaled = "bf16"},
            {13});
  }
  // Factors for two products, and of gathered rows; a gain for each set.
  check({.tile = "decode",
         .out = "bf16",
         .n = 72,
         .k = 2328,
         .products = 2,
         .normed = true},
        {9});
  for (string tile : {"decode", "tensor64", "tensor128"}) {
    check({.tile = tile,
           .out = "bf16",
           .n = 72,
           .k = 72,
           .products = 2,
           .normed = true},
          {70});
    for (bool perSet : {true, false}) {
      Problem p{.tile = tile,
                .n = 72,
                .k = 72,
                .sets = 3,
                .perSet = perSet,
                .gathers = true,
                .normed = true};
      check(p, {1, 200});
      p.gathers = false;
      p.residual = true;
      p.scaled = "bf16";
      check(p, {1, 200});
    }
  }
  // Scattered rows, of which others keep what they have; two norms.
  for (string tile : {"decode", "tensor16", "tensor64", "tensor128"})
    for (int64_t n : {72, 192})
      check({.tile = tile,
             .n = n,
             .k = 72,
             .residual = true,
             .sets = 1,
             .scatters = true,
             .scaled = "bf16",
             .norms = n == 72 ? 2 : 1},
            {1, 16, tile == "tensor16" ? 9 : 200});
  check({.tile = "tensor64",
         .n = 72,
         .k = 72,
         .sets = 3,
         .perSet = true,
         .scatters = true,
         .scaled = "f32",
         .norms = 2},
        {200});
  check({.n = 192, .k = 64, .residual = true, .scaled = "bf16", .norms = 2},
        {1, 300});
  // The generator's choice.
  check({.n = 192, .k = 192, .normed = true, .scaled = "bf16"}, {1, 17, 300});
}

TEST_F(GpuMatmul, Capacity) {
  // More rows could be there than are: of the last band of tiles some blocks
  // have none.
  for (string tile : {"decode", "tensor16", "tensor64", "plain64"})
    check({.tile = tile,
           .n = tile == "plain64" ? 137 : 392,
           .k = 16,
           .residual = true,
           .sets = 1,
           .scatters = true,
           .capacity = "1/1"},
          {1, 300, tile == "tensor64" ? 700 : 150});
  check({.n = 192, .k = 64, .sets = 1, .gathers = true, .capacity = "1/1"},
        {5, 300});
  // What has no rows has no capacity.
  EXPECT_NE(Compiled(oneKernel({"memref<?x?x8xbf16>", "memref<8x8xbf16>",
                                "memref<?x?x8xf32>"},
                               "kernel.matmul ins(%a0 : memref<?x?x8xbf16>) "
                               "weights(%a1 : memref<8x8xbf16>) by [] outs(%a2 "
                               ": memref<?x?x8xf32>) attributes "
                               "{kernel.capacity = #nest.capacity<1/8>} {\n"
                               "^bb0(%x: f32, %o: f32):\n"
                               "kernel.yield %x : f32\n}"),
                     "sm_80")
                .error.find("legal is a #nest.capacity of sets of rows"),
            string::npos);
}

TEST_F(GpuMatmul, Unaligned) {
  // Where a buffer does not begin at 16 bytes, the plain kernel runs.
  for (string type : {"bf16", "f32"})
    for (int64_t shift : {4, 16}) {
      Problem p{.a = type, .weights = type, .n = 64, .k = 64};
      auto code = compile(p, shift);
      if (!code->error.empty())
        return;
      code->device()->profile = true;
      for (int64_t m : {3, 40}) {
        code->device()->profiles.clear();
        run(*code, p, 1, m, shift);
        ASSERT_EQ(code->device()->profiles.size(), 1u);
        const ptx::Profile &profile = code->device()->profiles[0].second;
        uint64_t wide = 0;
        for (auto &[name, counts] : profile.opcodes)
          if (name.find("ld.global.v4") != string::npos ||
              name.find("ld.global.v2.b64") != string::npos ||
              name.find("cp.async.cg") != string::npos)
            wide += counts.warps;
        EXPECT_EQ(wide > 0, shift == 16);
      }
    }
}

TEST_F(GpuMatmul, Choice) {
  // Exactly one kernel runs, whatever the number of rows, and more rows never
  // take a kernel of smaller tiles.
  for (const Problem &p :
       {Problem{.n = 512, .k = 8}, Problem{.a = "f32", .n = 4096, .k = 8},
        Problem{.n = 40, .k = 8, .sets = 3, .perSet = true},
        Problem{.n = 20, .k = 9}}) {
    auto code = compile(p);
    if (!code->error.empty())
      return;
    code->device()->profile = true;
    std::string last;
    for (int64_t m : {1, 16, 17, 48, 130}) {
      code->device()->profiles.clear();
      run(*code, p, 1, m);
      ASSERT_EQ(code->device()->profiles.size(), 1u) << m;
      const std::string &name = code->device()->profiles[0].first;
      EXPECT_GE(name, last) << "stages are numbered by the size of their tiles";
      last = name;
    }
  }
}

TEST_F(GpuMatmul, Errors) {
  string text =
      "kernel.matmul ins(%a0 : memref<?x?x9xbf16>) weights(%a1 : "
      "memref<20x9xbf16>) by [] outs(%a2 : memref<?x?x20xf32>) attributes "
      "{kernel.tile = \"tensor128\"} {\n^bb0(%x: f32, %o: f32):\n"
      "kernel.yield %x : f32\n}";
  vector<string> types{"memref<?x?x9xbf16>", "memref<20x9xbf16>",
                       "memref<?x?x20xf32>"};
  EXPECT_NE(Compiled(oneKernel(types, text), "sm_80")
                .error.find("'kernel.matmul' op asks for the tile "
                            "\"tensor128\", which this kernel has not"),
            string::npos);
  text = "kernel.matmul ins(%a0 : memref<?x?x256xbf16>) weights(%a1 : "
         "memref<256x256xbf16>) by [] workspace(%a2, %a3 : "
         "memref<2x16x256xf32>, memref<1xi32>) outs(%a4 : memref<?x?x256xf32>) "
         "{\n^bb0(%x: f32, %o: f32):\nkernel.yield %x : f32\n}";
  types = {"memref<?x?x256xbf16>", "memref<256x256xbf16>",
           "memref<2x16x256xf32>", "memref<1xi32>", "memref<?x?x256xf32>"};
  EXPECT_NE(Compiled(oneKernel(types, text), "sm_80")
                .error.find("it needs rows and columns of 16 x 256, and 2 "
                            "tickets"),
            string::npos);
}

TEST_F(GpuMatmul, Profile) {
  // Whole tiles: every byte that a tile needs once and nothing else, in whole
  // sectors; no bank conflicts, and in shared memory 16 bytes a lane.
  struct Expectation {
    Problem problem;
    int64_t rows, columnsOfTile, rowsOfTile;
  };
  for (const Expectation &e : {
           Expectation{
               {.tile = "tensor128", .n = 256, .k = 512}, 256, 128, 128},
           {{.tile = "tensor128",
             .out = "bf16",
             .n = 128,
             .k = 512,
             .products = 2},
            128,
            64,
            128},
           {{.tile = "tensor64", .n = 128, .k = 256, .residual = true},
            128,
            64,
            64},
           {{.tile = "tensor16", .n = 256, .k = 512}, 16, 128, 16},
           {{.tile = "decode", .n = 64, .k = 2048}, 16, 64, 16},
           {{.tile = "decode", .n = 256, .k = 1024, .splits = 4}, 16, 128, 16},
           {{.tile = "tensor128",
             .n = 256,
             .k = 512,
             .residual = true,
             .normed = true,
             .scaled = "bf16"},
            128,
            128,
            128},
           {{.tile = "tensor64",
             .n = 128,
             .k = 256,
             .normed = true,
             .scaled = "bf16"},
            128,
            64,
            64},
           {{.tile = "decode",
             .n = 64,
             .k = 2048,
             .normed = true,
             .scaled = "bf16"},
            16,
            64,
            16},
       }) {
    SCOPED_TRACE(e.problem.str());
    const Problem &p = e.problem;
    auto code = compile(p);
    if (!code->error.empty())
      return;
    code->device()->profile = true;
    run(*code, p, 1, e.rows);
    ASSERT_EQ(code->device()->profiles.size(), 1u);
    const ptx::Profile &profile = code->device()->profiles[0].second;
    EXPECT_EQ(profile.bankConflicts, 0u);
    int64_t across = p.n / e.columnsOfTile, down = e.rows / e.rowsOfTile;
    // Rows of a for each column tile, weights for each row tile.
    int64_t tiles =
        across * e.rows * p.k * 2 + down * p.products * p.n * p.k * 2;
    int64_t outBytes = e.rows * p.n * (p.out == "f32" ? 4 : 2);
    // Of sums of squares a tile has a part of a sector in each row, at most.
    int64_t scaledBytes = p.scaled.empty() ? 0 : e.rows * p.n * 2;
    int64_t sums = p.scaled.empty() ? 0 : e.rows * slicesOf(p.n);
    int64_t sectors = p.scaled.empty() ? 0 : e.rows * across;
    // Sums of splits, once; and a ticket each of 4 bytes, a sector.
    int64_t partBytes = p.splits * e.rows * p.products * p.n * 4;
    int64_t tickets = p.splits * across * down;
    int64_t written = outBytes + scaledBytes + partBytes;
    EXPECT_EQ(profile.globalBytes[1],
              uint64_t(written + sums * 4 + 4 * tickets));
    EXPECT_GE(profile.globalSectors[1] * 32, profile.globalBytes[1]);
    EXPECT_LE(profile.globalSectors[1] * 32,
              uint64_t(written + (sectors + tickets) * 32));
    // Bias and scale come on top, by element or 16 bytes.
    int64_t rest =
        profile.globalBytes[0] - tiles - p.residual * outBytes - partBytes;
    EXPECT_GE(rest, 0);
    EXPECT_LE(rest, tiles / 8 + e.rows * p.n * 2);
    EXPECT_EQ(profile.mmaFlops, uint64_t(2 * e.rows * p.products * p.n * p.k));
  }
}
