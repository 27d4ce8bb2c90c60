//===- MatmulFma.cpp - products in f32 ------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tiles of both operands stand in shared memory transposed, [k][row], in two
// stages: a step's registers are loaded before the sums of the step before and
// stored after them. A thread sums threadRows x threadColumns.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

// Elements of k of a step, and of one load.
static constexpr int64_t stepDepth = 16, chunkDepth = 4;
// Rows of the transposed tiles are longer by this: 16-byte accesses stay
// aligned.
static constexpr int64_t pad = 4;

static int64_t stageFloats(const Matmul &matmul, const FmaTile &tile) {
  return stepDepth * (tile.rows + tile.columns * matmul.products + 2 * pad);
}

int64_t FmaTile::sharedBytes(const Matmul &matmul) const {
  return std::max(2 * 4 * stageFloats(matmul, *this),
                  Sums(matmul, *this, wide).bytes + epilogueBytes(matmul));
}

void nvptx::multiplyByFma(Kernel::Inside &in, const Matmul &matmul,
                          const FmaTile &tile) {
  Device &code = in.code;
  Place place = findPlace(in, matmul, tile);
  place.factors = tile.sharedBytes(matmul);
  int64_t tileColumns = tile.columns * matmul.products;
  int64_t pitchA = tile.rows + pad, pitchW = tileColumns + pad;
  constexpr int64_t chunks = stepDepth / chunkDepth;
  code.when(code.less(code.i32(0), place.rows), [&] {
    Value thread = code.thread32(), depth = depthOf(in, matmul);
    Value chunk = code.rem(thread, code.i32(chunks));
    Value copyRow = code.div(thread, code.i32(chunks));
    int64_t copyStep = tile.threads / chunks;
    Value base = code.sharedAddress();

    // Where this thread's chunks come from, at k 0, and go to.
    struct Copy {
      Value from;
      int64_t to; ///< bytes from the thread's first row
    };
    SmallVector<Copy> a, w;
    Value lastRow = code.sub(place.rows, code.i32(1));
    Value fromA = code.global(in[matmul.a].pointer);
    Value chunkByte = code.mul(code.widen(chunk), chunkDepth * 4);
    for (int64_t r = 0; r < tile.rows; r += copyStep) {
      Value row = code.min(code.add(copyRow, code.i32(r)), lastRow);
      row = streamRow(in, matmul, place, code.add(place.row, row),
                      matmul.gathers);
      Value byte = code.add(code.mul(row, matmul.depth * 4), chunkByte);
      a.push_back({code.byteAt(fromA, byte), r * 4});
    }
    for (int64_t p = 0; p < matmul.products; ++p) {
      Matrix matrix = matrixOf(in, matmul, place, p);
      for (int64_t r = 0; r < tile.columns; r += copyStep) {
        Value row = code.widen(
            matrixRow(code, matmul, place, code.add(copyRow, code.i32(r))));
        Value byte =
            code.add(code.mul(code.mul(row, matrix.stride), 4), chunkByte);
        w.push_back(
            {code.byteAt(matrix.pointer, byte), (p * tile.columns + r) * 4});
      }
    }
    // Tiles may have fewer rows than a pass of the threads: then some copy the
    // same ones, to places behind; see below.
    auto hasRow = [&](int64_t rows) {
      return code.less(copyRow, code.i32(rows));
    };
    auto load = [&](ArrayRef<Copy> copies, Value k) {
      SmallVector<Value> values;
      Value left =
          code.sub(depth, code.add(k, code.mul(chunk, code.i32(chunkDepth))));
      Value byte = code.mul(code.widen(k), 4);
      Type f32 = code.getF32Type();
      for (const Copy &copy : copies) {
        Value from = code.byteAt(copy.from, byte);
        if (tile.wide) {
          Value vector = code.valueIf(
              code.less(code.i32(0), left),
              [&] { return code.loadWide(f32, from, chunkDepth); },
              code.splat(0, chunkDepth));
          for (int64_t e = 0; e < chunkDepth; ++e)
            values.push_back(vector::ExtractOp::create(code, vector, e));
          continue;
        }
        for (int64_t e = 0; e < chunkDepth; ++e)
          values.push_back(code.valueIf(
              code.less(code.i32(e), left),
              [&] { return code.load(f32, code.byteAt(from, e * 4)); },
              code.f32(0)));
      }
      return values;
    };
    auto store = [&](ArrayRef<Copy> copies, ArrayRef<Value> values, Value stage,
                     int64_t tileByte, int64_t pitch, int64_t rows) {
      Value to = code.add(
          base, code.mul(code.add(code.mul(chunk, code.i32(chunkDepth * pitch)),
                                  copyRow),
                         code.i32(4)));
      auto all = [&] {
        for (auto [i, copy] : llvm::enumerate(copies))
          for (int64_t e = 0; e < chunkDepth; ++e)
            code.store(
                values[i * chunkDepth + e],
                code.sharedAt(to, stage, tileByte + e * pitch * 4 + copy.to));
      };
      if (rows < copyStep)
        code.when(hasRow(rows), all);
      else
        all();
    };
    int64_t stageBytes = 4 * stageFloats(matmul, tile);
    int64_t wByte = 4 * stepDepth * pitchA;
    auto storeAll = [&](ArrayRef<Value> left, ArrayRef<Value> right,
                        Value stage) {
      store(a, left, stage, 0, pitchA, tile.rows);
      store(w, right, stage, wByte, pitchW, tile.columns);
    };

    int64_t across = tileColumns / tile.threadColumns;
    Value row =
        code.mul(code.div(thread, code.i32(across)), code.i32(tile.threadRows));
    Value column = code.mul(code.rem(thread, code.i32(across)),
                            code.i32(tile.threadColumns));
    Value readA = code.add(base, code.mul(row, code.i32(4)));
    Value readW = code.add(base, code.mul(column, code.i32(4)));
    SmallVector<Value> zeros(tile.threadRows * tile.threadColumns, code.f32(0));
    Value steps = code.i64(llvm::divideCeil(matmul.depth, stepDepth));
    if (matmul.depthBound)
      steps = code.ceilDiv(code.widen(depth), stepDepth);
    storeAll(load(a, code.i32(0)), load(w, code.i32(0)), code.i32(0));
    writeFactors(in, matmul, tile, place, tile.wide);
    auto readVector = [&](Value address, Value stage, int64_t byte,
                          int64_t count) {
      SmallVector<Value> values;
      int64_t width = std::min<int64_t>(count, 4);
      for (int64_t i = 0; i < count; i += width) {
        Value vector =
            code.loadWide(code.getF32Type(),
                          code.sharedAt(address, stage, byte + i * 4), width);
        for (int64_t e = 0; e < width; ++e)
          values.push_back(vector::ExtractOp::create(code, vector, e));
      }
      return values;
    };
    SmallVector<Value> sums = code.loop(
        code.i64(0), steps, 1, zeros, [&](Value index, ValueRange carried) {
          Value step = code.narrow(index);
          Value odd = code.rem(step, code.i32(2));
          Value stage = code.mul(odd, code.i32(stageBytes));
          Value other = code.sub(code.i32(stageBytes), stage);
          code.barrier();
          Value next =
              code.mul(code.add(step, code.i32(1)), code.i32(stepDepth));
          SmallVector<Value> left = load(a, next), right = load(w, next);
          SmallVector<Value> sums(carried);
          for (int64_t k = 0; k < stepDepth; ++k) {
            SmallVector<Value> rows =
                readVector(readA, stage, k * pitchA * 4, tile.threadRows);
            SmallVector<Value> columns = readVector(
                readW, stage, wByte + k * pitchW * 4, tile.threadColumns);
            for (auto [i, x] : llvm::enumerate(rows))
              for (auto [j, y] : llvm::enumerate(columns)) {
                Value &sum = sums[i * tile.threadColumns + j];
                sum = code.fma(x, y, sum);
              }
          }
          storeAll(left, right, other);
          return sums;
        });
    code.keepRolled(sums.front());
    code.barrier();
    // A thread's columns are of one product.
    Sums area(matmul, tile, tile.wide);
    Value product = code.div(column, code.i32(tile.columns));
    Value inProduct = code.rem(column, code.i32(tile.columns));
    Value at =
        code.add(code.mul(code.add(code.mul(product, code.i32(tile.rows)), row),
                          code.i32(area.pitch)),
                 area.offset(code, inProduct));
    Value to = code.add(base, code.mul(at, code.i32(4)));
    for (int64_t i = 0; i < tile.threadRows; ++i) {
      Value quad = code.splat(0, tile.threadColumns);
      for (int64_t j = 0; j < tile.threadColumns; ++j)
        quad = vector::InsertOp::create(code, sums[i * tile.threadColumns + j],
                                        quad, j);
      code.storeWide(code.getF32Type(), quad,
                     code.sharedAt(to, Value(), i * area.pitch * 4));
    }
    code.barrier();
    if (!tile.wide) {
      // Found again: nothing of it stays in a register during the loop.
      int64_t factors = place.factors;
      place = findPlace(in, matmul, tile, /*again=*/true);
      place.factors = factors;
    }
    epilogue(in, matmul, tile, place, area, tile.wide);
  });
}
