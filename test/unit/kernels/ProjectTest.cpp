//===- ProjectTest.cpp - projections against plain loops ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// kernel.project is for GPUs only: queries go to a stream, keys and values to
// caches, by every tile of products.
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
enum Rows { dense, covered, single, some };

struct Problem {
  string tile = ""; ///< empty: the generator's choice
  string a = "bf16", weights = "bf16", q = "f32", cache = "";
  int64_t k = 72, heads = 2, keyHeads = 1, head = 16;
  int64_t rotary = 16; ///< 0: nothing is turned
  bool biased = false, normed = false;
  /// Of packed rows: all of them in three sets, some of one set, or some of
  /// three sets.
  Rows rows = dense;
  bool perSet = false, gathers = false;
  bool queriesAlone = false, tableGathers = false;
  int64_t stride = 0;
  bool ofNorm = false; ///< a is
  int64_t splits = 0;  ///< that the workspace has room for; 0: no workspace

  int64_t sets() const { return rows == dense ? 0 : rows == single ? 1 : 3; }
  bool hasIndices() const { return !queriesAlone || gathers || tableGathers; }
  int64_t groups() const { return perSet ? sets() : 1; }
  /// Tiles of 128 columns, of whole heads, for three segments.
  int64_t tiles() const {
    if (!splits)
      return 0;
    int64_t whole = 128 / head * head;
    return (heads * head + whole - 1) / whole +
           2 * ((keyHeads * head + whole - 1) / whole);
  }
  int64_t tickets() const { return tiles() * std::min<int64_t>(groups(), 16); }
  string cacheType() const { return cache.empty() ? weights : cache; }
  string str() const {
    return tile + " " + a + "*" + weights + "->" + q + "," + cacheType() +
           " k " + to_string(k) + " heads " + to_string(heads) + "," +
           to_string(keyHeads) + " x " + to_string(head) + " rotary " +
           to_string(rotary) + (biased ? " biased" : "") +
           (normed ? " normed" : "") + " rows " + to_string(rows) +
           (perSet ? " groups" : "") + (gathers ? " gathers" : "") +
           (tableGathers ? " table_gathers" : "") +
           (ofNorm ? " of a norm" : "") +
           (splits ? " splits " + to_string(splits) : "");
  }
};

constexpr int64_t room = 24;
constexpr float epsilon = 1e-5f;

class GpuProject : public testing::Test {
protected:
  static std::unique_ptr<Compiled> compile(const Problem &p) {
    auto stream = [](int64_t columns, const string &type) {
      return "memref<?x?x" + to_string(columns) + "x" + type + ">";
    };
    vector<string> types;
    auto add = [&](const vector<string> &more) {
      return addOperands(types, more);
    };
    vector<string> weights, biases, norms, outs;
    string cache = "memref<?x" + to_string(p.keyHeads) + "x" + to_string(room) +
                   "x" + to_string(p.head) + "x" + p.cacheType() + ">";
    int64_t segments = p.queriesAlone ? 1 : 3;
    for (int64_t s = 0; s < segments; ++s) {
      int64_t columns = columnsOf(p, s);
      for (int64_t g = 0; g < p.groups(); ++g) {
        weights.push_back(
            "memref<" + to_string(columns) + "x" + to_string(p.k) + "x" +
            p.weights +
            (p.stride ? ", strided<[" + to_string(p.stride) + ", 1]>>" : ">"));
        biases.push_back("memref<" + to_string(columns) + "xf32>");
        if (s < 2)
          norms.push_back("memref<" + to_string(p.head) + "xf32>");
      }
      outs.push_back(s ? cache : stream(columns, p.q));
    }
    string two = segments == 1 ? "[0]" : "[0, 1]";
    string all = segments == 1 ? "[0]" : "[0, 1, 2]";
    string text = "kernel.project ins(" + add({stream(p.k, p.a)}) + ") ";
    if (p.ofNorm)
      text +=
          "normed(" + add({stream(slicesOf(p), "f32")}) + ") epsilon 2.5e-1 ";
    text += "weights(" + add(weights) + ") ";
    if (p.biased)
      text += "bias(" + add(biases) + ") of " + all + " ";
    if (p.normed)
      text += "norm(" + add(norms) + ") of " + two + " epsilon 1.0e-5 ";
    if (p.rotary)
      text += "rope(" + add({stream(p.rotary, "f32")}) + ") of " + two + " ";
    text += "head_dim " + to_string(p.head) + " ";
    if (!p.queriesAlone)
      text += "lengths(" + add({table1}) + ") ";
    if (p.rows != dense) {
      string offsets = "%a" + to_string(types.size());
      add({offsetsOf(p.sets())});
      text += "rows(" + offsets;
      if (p.hasIndices())
        text += ", " + add({table2});
      text += " : " + offsetsOf(p.sets()) + ") sets [0, " +
              to_string(p.sets()) + "] ";
      if (!p.queriesAlone)
        text += "order(" + add({table2, table1}) + ") ";
      if (p.gathers)
        text += "gathers ";
      if (p.tableGathers)
        text += "table_gathers ";
    }
    if (p.splits)
      text += "workspace(" +
              add({"memref<" + to_string(p.splits) + "x16x" +
                       to_string(128 * p.tiles()) + "xf32>",
                   "memref<" + to_string(p.tickets()) + "xi32>"}) +
              ") ";
    text += "outs(" + add(outs) + ") {groups = " + to_string(p.groups()) +
            " : i64" +
            (p.tile.empty() ? "" : ", kernel.tile = \"" + p.tile + "\"") + "}";
    auto code = std::make_unique<Compiled>(oneKernel(types, text), "sm_80");
    EXPECT_EQ(code->error, "") << p.str();
    return code;
  }

  static int64_t slicesOf(const Problem &p) { return (p.k + 31) / 32; }
  static int64_t columnsOf(const Problem &p, int64_t segment) {
    return (segment ? p.keyHeads : p.heads) * p.head;
  }

  static Family familyOf(const Problem &p, int64_t batch, int64_t tokens) {
    Random random(batch * 31 + tokens);
    vector<vector<int>> setOf(batch);
    for (int64_t r = 0; r < batch * tokens; ++r) {
      int any = static_cast<int>((random.next() + 1) / 2 * 3) % 3;
      bool isIn = p.rows == covered || random.next() < 0.2f;
      setOf[r / tokens].push_back(!isIn ? -1 : p.rows == single ? 0 : any);
    }
    return {batch, tokens, p.sets(), setOf};
  }

  static void run(Compiled &code, const Problem &p, int64_t batch,
                  int64_t tokens) {
    SCOPED_TRACE(p.str() + ", rows " + to_string(batch) + "x" +
                 to_string(tokens));
    Random random(p.head + 3 * p.k + batch * tokens);
    int64_t m = batch * tokens, segments = p.queriesAlone ? 1 : 3;
    int64_t groups = p.groups(), stride = p.stride ? p.stride : p.k;
    Family family;
    if (p.rows != dense)
      family = familyOf(p, batch, tokens);
    Stored x(random.many(m * p.k), p.a);
    vector<float> sums = random.many(p.ofNorm ? m * slicesOf(p) : 0, 9);
    for (float &sum : sums)
      sum = std::fabs(sum);
    vector<Stored> weights, outs;
    vector<vector<float>> biases, norms;
    for (int64_t s = 0; s < segments; ++s) {
      int64_t columns = columnsOf(p, s);
      for (int64_t g = 0; g < groups; ++g) {
        weights.emplace_back(random.many(columns * stride), p.weights);
        biases.push_back(random.many(columns));
        if (s < 2)
          norms.push_back(random.many(p.head));
      }
      outs.emplace_back(random.many(s ? batch * columns * room : m * columns),
                        s ? p.cacheType() : p.q);
    }
    // Rows of an angle each.
    vector<float> table;
    for (int64_t r = 0; r < m; ++r)
      for (double (*f)(double) : {+[](double x) { return std::cos(x); },
                                  +[](double x) { return std::sin(x); }})
        for (int64_t i = 0; i < p.rotary / 2; ++i)
          table.push_back(static_cast<float>(f(r * 0.7 + i * 0.3)));
    // The last sequence's cache is nearly full.
    vector<int32_t> lengths;
    for (int64_t b = 0; b < batch; ++b)
      lengths.push_back(b + 1 == batch ? room - 2 : 3 + b);

    vector<vector<double>> expected;
    for (const Stored &out : outs)
      expected.emplace_back(out.values.begin(), out.values.end());
    int64_t rows = p.rows == dense ? m : family.offsets[p.sets()];
    for (int64_t packed = 0, set = 0; packed < rows; ++packed) {
      while (p.rows != dense && packed >= family.offsets[set + 1])
        ++set;
      int64_t g = p.perSet ? set : 0;
      int64_t row = p.rows == dense ? packed : family.indices[packed];
      const float *from = &x.values[(p.gathers ? row : packed) * p.k];
      double rowFactor = 1;
      if (p.ofNorm) {
        double sum = 0;
        for (int64_t i = 0; i < slicesOf(p); ++i)
          sum += sums[(p.gathers ? row : packed) * slicesOf(p) + i];
        rowFactor = 1 / std::sqrt(sum / double(p.k) + 0.25);
      }
      int64_t b = row / tokens, place = lengths[b];
      if (p.rows == dense)
        place += row % tokens;
      else
        for (int64_t j = 0; j < family.counts[b]; ++j)
          if (family.order[b * tokens + j] == packed)
            place += j;
      for (int64_t s = 0; s < segments; ++s) {
        int64_t columns = columnsOf(p, s);
        vector<double> y(columns);
        for (int64_t j = 0; j < columns; ++j) {
          for (int64_t l = 0; l < p.k; ++l)
            y[j] += double(roundTo(from[l], p.weights)) *
                    weights[s * groups + g].values[j * stride + l];
          y[j] *= rowFactor;
          if (p.biased)
            y[j] += biases[s * groups + g][j];
        }
        for (int64_t h = 0; h < columns / p.head; ++h) {
          double *head = &y[h * p.head];
          if (p.normed && s < 2) {
            double squares = 0;
            for (int64_t i = 0; i < p.head; ++i)
              squares += head[i] * head[i];
            double factor = 1 / std::sqrt(squares / p.head + epsilon);
            for (int64_t i = 0; i < p.head; ++i)
              head[i] *= factor * norms[s * groups + g][i];
          }
          int64_t n = s < 2 ? p.rotary / 2 : 0;
          for (int64_t i = 0; i < n; ++i) {
            int64_t at = p.tableGathers ? row : packed;
            double c = table[at * 2 * n + i];
            double w = table[at * 2 * n + n + i];
            double left = head[i], right = head[n + i];
            head[i] = left * c - right * w;
            head[n + i] = right * c + left * w;
          }
          for (int64_t i = 0; i < p.head; ++i) {
            if (s == 0)
              expected[s][packed * columns + h * p.head + i] = head[i];
            else if (place < room)
              expected[s][((b * p.keyHeads + h) * room + place) * p.head + i] =
                  head[i];
          }
        }
      }
    }
    vector<void *> buffers{x.data()};
    if (p.ofNorm)
      buffers.push_back(sums.data());
    for (Stored &weight : weights)
      buffers.push_back(weight.data());
    if (p.biased)
      for (vector<float> &bias : biases)
        buffers.push_back(bias.data());
    if (p.normed)
      for (vector<float> &norm : norms)
        buffers.push_back(norm.data());
    if (p.rotary)
      buffers.push_back(table.data());
    if (!p.queriesAlone)
      buffers.push_back(lengths.data());
    if (p.rows != dense) {
      buffers.push_back(family.offsets.data());
      if (p.hasIndices())
        buffers.push_back(family.indices.data());
      if (!p.queriesAlone)
        buffers.insert(buffers.end(),
                       {family.order.data(), family.counts.data()});
    }
    // The workspace holds nothing that counts.
    vector<float> workspace(p.splits * 16 * 128 * p.tiles(), NAN);
    vector<int32_t> tickets(p.splits ? p.tickets() : 0);
    if (p.splits)
      buffers.insert(buffers.end(), {workspace.data(), tickets.data()});
    for (Stored &out : outs)
      buffers.push_back(out.data());
    // In reverse order, or in two random ones.
    code.run(buffers, batch, tokens, static_cast<int>(m % 3));
    EXPECT_EQ(std::count(tickets.begin(), tickets.end(), 0),
              static_cast<int64_t>(tickets.size()));
    for (int64_t s = 0; s < segments; ++s) {
      SCOPED_TRACE("segment " + to_string(s));
      string type = s ? p.cacheType() : p.q;
      // The last rounding, to the output's type.
      double rounding = type == "bf16" ? 1.0 / 256 : type == "f16" ? 5e-4 : 0;
      EXPECT_LT(worst(widen(outs[s].bytes, type), expected[s]),
                rounding + 4e-6 * std::sqrt(p.k));
    }
  }

  static void check(const Problem &p, const vector<int64_t> &rows) {
    SCOPED_TRACE(p.str());
    auto code = compile(p);
    if (!code->error.empty())
      return;
    for (int64_t m : rows)
      run(*code, p, m % 3 == 0 ? 3 : 1, m % 3 == 0 ? m / 3 : m);
  }
};
} // namespace

TEST_F(GpuProject, OfNorms) {
  // The factor of a row comes before bias, head norm and rotation.
  for (string tile : {"decode", "tensor16", "tensor64", "tensor128", "plain64"})
    for (bool normed : {true, false})
      check({.tile = tile,
             .heads = 3,
             .biased = true,
             .normed = normed,
             .ofNorm = true},
            {7, 15});
  check({.a = "f32", .weights = "f32", .biased = true, .ofNorm = true}, {15});
  for (bool gathers : {true, false})
    check({.normed = true,
           .rows = some,
           .perSet = true,
           .gathers = gathers,
           .ofNorm = true},
          {12, 40});
}

TEST_F(GpuProject, Splits) {
  // Blocks share the depth of a tile; the last one goes on to bias, head norm,
  // rotation and caches. Heads of 48 leave a part of their tiles empty.
  for (int64_t head : {16, 48, 128})
    check({.k = 712,
           .heads = 4,
           .keyHeads = 2,
           .head = head,
           .rotary = 16,
           .biased = true,
           .normed = true,
           .splits = 3},
          {1, 7, 15, 40});
  check({.a = "f32", .weights = "f16", .k = 512, .heads = 9, .splits = 4},
        {12});
  check({.k = 512, .heads = 10, .ofNorm = true, .splits = 2}, {3, 15});
  for (Rows rows : {covered, some})
    check({.k = 640,
           .heads = 6,
           .normed = true,
           .rows = rows,
           .perSet = true,
           .gathers = true,
           .ofNorm = true,
           .splits = 2},
          {12, 15});
}

TEST_F(GpuProject, Tiles) {
  // Whole heads in a tile, and more than one.
  for (string tile : {"decode", "tensor16", "tensor64", "tensor128"})
    for (bool biased : {false, true})
      check({.tile = tile, .heads = 6, .keyHeads = 2, .biased = biased},
            {1, 7, 15});
  for (string tile : {"tensor64", "tensor128"})
    check({.tile = tile,
           .a = "f32",
           .k = 200,
           .heads = 9,
           .keyHeads = 3,
           .biased = true},
          {66, 131});
  check({.a = "f16", .weights = "f16", .q = "f16", .biased = true}, {2, 18});
  check({.q = "bf16", .stride = 80}, {2, 18});
  for (string tile : {"fma16", "fma64"})
    check({.tile = tile,
           .a = "f32",
           .weights = "f32",
           .k = 20,
           .heads = 5,
           .keyHeads = 2,
           .biased = true},
          {1, 15, 67});
  check({.a = "f32", .weights = "f32", .cache = "bf16", .biased = true}, {15});
}

TEST_F(GpuProject, Unaligned) {
  // Odd widths: plain tiles.
  check({.k = 75,
         .heads = 3,
         .head = 10,
         .rotary = 6,
         .biased = true,
         .normed = true},
        {3, 20});
  check({.a = "f32",
         .weights = "f32",
         .k = 13,
         .heads = 3,
         .head = 10,
         .rotary = 10,
         .normed = true},
        {3, 20});
  check({.k = 75, .heads = 2, .head = 100, .rotary = 50, .normed = true},
        {3, 20});
}

TEST_F(GpuProject, Heads) {
  // Heads of more columns than a tile: pairs of parts that turn together.
  for (int64_t head : {32, 64, 80, 96, 128, 256})
    for (string tile : {"decode", "tensor16", "tensor64", "tensor128"})
      check({.tile = tile, .k = 40, .heads = 2, .head = head, .rotary = head},
            {3});
  // Some of the columns turn, or none.
  for (int64_t rotary : {0, 32, 64})
    for (string tile : {"decode", "tensor64", "tensor128"})
      check({.tile = tile, .k = 40, .heads = 3, .head = 128, .rotary = rotary},
            {3});
  for (int64_t head : {96, 128, 256})
    check({.a = "f32", .weights = "f32", .k = 12, .head = head, .rotary = head},
          {3, 20});
}

TEST_F(GpuProject, Norms) {
  for (int64_t head : {16, 32, 64, 96, 128})
    for (int64_t rotary : {head, int64_t(0)})
      check({.k = 40,
             .heads = 3,
             .head = head,
             .rotary = rotary,
             .biased = head == 64,
             .normed = true},
            {3, 20, 130});
  for (int64_t head : {32, 128})
    check({.a = "f32",
           .weights = "f32",
           .k = 12,
           .heads = 3,
           .head = head,
           .rotary = head / 2,
           .normed = true},
          {3, 20});
}

TEST_F(GpuProject, Sets) {
  for (Rows rows : {covered, single, some})
    for (bool perSet : {true, false})
      for (bool gathers : {true, false}) {
        Problem p{.k = 40,
                  .biased = true,
                  .normed = gathers,
                  .rows = rows,
                  .perSet = perSet,
                  .gathers = gathers};
        check(p, {1, 9, 18, 60});
        p.tableGathers = true;
        check(p, {18});
        p.queriesAlone = true;
        check(p, {18});
      }
  check({.a = "f32", .weights = "f32", .k = 12, .rows = some, .perSet = true},
        {18, 60});
}

TEST_F(GpuProject, Choice) {
  // Exactly one kernel runs, whatever the number of rows.
  for (const Problem &p :
       {Problem{}, Problem{.head = 128, .rotary = 128, .normed = true},
        Problem{.k = 9, .head = 6, .rotary = 6},
        Problem{.a = "f32", .weights = "f32", .k = 8}}) {
    auto code = compile(p);
    if (!code->error.empty())
      return;
    code->device()->profile = true;
    for (int64_t m : {1, 16, 17, 48, 130}) {
      code->device()->profiles.clear();
      run(*code, p, 1, m);
      EXPECT_EQ(code->device()->profiles.size(), 1u) << m;
    }
  }
}

TEST_F(GpuProject, Errors) {
  string text =
      "kernel.project ins(%a0 : memref<?x?x8xbf16>) weights(%a1 : "
      "memref<256x8xbf16>) norm(%a2 : memref<256xf32>) of [0] epsilon 1.0e-5 "
      "head_dim 256 outs(%a3 : memref<?x?x256xf32>)";
  string module = oneKernel({"memref<?x?x8xbf16>", "memref<256x8xbf16>",
                             "memref<256xf32>", "memref<?x?x256xf32>"},
                            text);
  EXPECT_NE(Compiled(module, "sm_80")
                .error.find("'kernel.project' op turns or normalises heads of "
                            "256 columns, which no tile holds"),
            string::npos);
  for (const string &level : levels())
    if (level.compare(0, 3, "sm_") != 0) {
      EXPECT_NE(Compiled(module, level)
                    .error.find("'kernel.project' op is for GPUs; leave out "
                                "kernel-fuse-projections, which forms it"),
                string::npos);
    }
}

TEST_F(GpuProject, Profile) {
  // Whole tiles: outputs are written once, in whole sectors.
  for (string tile : {"tensor128", "tensor64", "tensor16", "decode"}) {
    Problem p{.tile = tile,
              .k = 256,
              .heads = 4,
              .keyHeads = 2,
              .head = 64,
              .rotary = 64};
    SCOPED_TRACE(p.str());
    auto code = compile(p);
    if (!code->error.empty())
      return;
    code->device()->profile = true;
    int64_t rows = 16;
    run(*code, p, 1, rows);
    ASSERT_EQ(code->device()->profiles.size(), 1u);
    const ptx::Profile &profile = code->device()->profiles[0].second;
    // The sequence has room for two rows.
    int64_t bytes = rows * 256 * 4 + 2 * 2 * 128 * 2;
    EXPECT_EQ(profile.globalBytes[1], uint64_t(bytes));
    // A decode tile has 8 columns side by side, and shorter rows than 8 lanes
    // read at once.
    if (tile != "decode") {
      EXPECT_EQ(profile.globalSectors[1] * 32, uint64_t(bytes));
      EXPECT_EQ(profile.bankConflicts, 0u);
    }
  }
}
