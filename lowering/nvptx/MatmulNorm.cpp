//===- MatmulNorm.cpp - RMS norms inside of products ----------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The kernel that makes a stream sums its squares over slices of columns, each
// by lanes of one warp, so that a slice has one writer and one order. Every
// block of a kernel that multiplies the stream adds the slices of its rows up
// once, ahead of its products; the epilogue multiplies rows by what comes of
// it.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

// Lanes that add up the slices of a row.
static constexpr int64_t lanesOfRow = 8;
// Loads of a lane that are in a line; more are a loop.
static constexpr int64_t loadsInLine = 8;

int64_t nvptx::factorBytes(const Matmul &matmul, const Tile &tile) {
  return matmul.normed ? tile.rows * 4 : 0;
}

void nvptx::writeFactors(Kernel::Inside &in, const Matmul &matmul,
                         const Tile &tile, const Place &place, bool wide) {
  Device &code = in.code;
  if (!matmul.normed)
    return;
  int64_t slices = kernel::numNormSlices(matmul.depth);
  int64_t width = wide && slices % 4 == 0 ? 4 : 1;
  int64_t step = lanesOfRow * width;
  Value thread = code.opaque(code.thread32());
  Value lane = code.rem(thread, code.i32(lanesOfRow));
  Value first = code.div(thread, code.i32(lanesOfRow));
  Value slice = code.mul(lane, code.i32(width));
  Value last = code.sub(place.rows, code.i32(1));
  Value base = code.global(in[matmul.normed].pointer);
  Type f32 = code.getF32Type();
  for (int64_t r = 0; r < tile.rows; r += tile.threads / lanesOfRow) {
    Value row = code.add(first, code.i32(r));
    // Rows behind the last are copies of it.
    Value from =
        streamRow(in, matmul, place, code.add(place.row, code.min(row, last)),
                  matmul.gathers);
    from = code.add(code.mul(from, slices), code.widen(slice));
    Value pointer = code.byteAt(base, code.mul(from, 4));
    auto load = [&](Value pointer) {
      return code.loadWide(f32, pointer, width);
    };
    Value sums = code.splat(0, width);
    int64_t whole = slices / step, inLoop = 0;
    if (whole > loadsInLine) {
      inLoop = whole;
      sums = code.loop(
          code.i64(0), code.i64(whole), 1, sums,
          [&](Value index, ValueRange carried) {
            Value at = code.byteAt(pointer, code.mul(index, step * 4));
            return SmallVector<Value>{code.fadd(carried[0], load(at))};
          })[0];
    }
    for (int64_t i = inLoop; i * step < slices; ++i) {
      Value at = code.byteAt(pointer, i * step * 4);
      sums = code.fadd(
          sums, i < whole
                    ? load(at)
                    : code.valueIf(
                          code.less(slice, code.i32(slices - i * step)),
                          [&] { return load(at); }, code.splat(0, width)));
    }
    Value sum = code.sum(sums);
    for (int64_t mask = lanesOfRow / 2; mask; mask /= 2)
      sum = code.fadd(sum, code.shuffleXor(sum, mask));
    Value mean = code.fmul(code.broadcast(sum, 1),
                           code.splat(1.0f / float(matmul.depth), 1));
    Value factor = code.rsqrt(code.fadd(mean, code.splat(matmul.epsilon, 1)));
    Value isMine = arith::AndIOp::create(code, code.less(lane, code.i32(1)),
                                         code.less(row, code.i32(tile.rows)));
    code.when(isMine, [&] {
      Value to = code.add(code.sharedAddress(place.factors),
                          code.mul(row, code.i32(4)));
      code.storeWide(f32, factor, code.sharedAt(to, Value(), 0));
    });
  }
}

Value nvptx::factorOf(Device &code, const Place &place, Value row) {
  Value from =
      code.add(code.sharedAddress(place.factors), code.mul(row, code.i32(4)));
  return code.load(code.getF32Type(), code.sharedAt(from, Value(), 0));
}

NormedRows::NormedRows(Kernel::Inside &in, const Matmul &matmul,
                       const Place &place, Value column, int64_t width)
    : in(in), matmul(matmul), place(place), column(column), width(width) {
  Device &code = in.code;
  kernel::MatmulOp op = matmul.op;
  Type f32 = code.getF32Type();
  squaresTo = code.global(in[op.getSquares()].pointer);
  for (auto [i, scaled] : llvm::enumerate(op.getScaled())) {
    scaledTo.push_back(code.global(in[scaled].pointer));
    OperandRange operands = op.getGainsOf(i);
    Value gain;
    if (!operands.empty()) {
      Value from = operands.size() == 1
                       ? code.global(in[operands.front()].pointer)
                       : pointerOf(in, place, operands);
      gain = code.loadWide(f32, code.byteAt(from, code.mul(column, 4)), width);
    }
    gains.push_back(gain);
  }
}

Value NormedRows::write(Value index, Value value) {
  Device &code = in.code;
  kernel::MatmulOp op = matmul.op;
  for (auto [scaled, base, gain] :
       llvm::zip_equal(op.getScaled(), scaledTo, gains)) {
    Type type = in[scaled].element();
    Value to = code.byteAt(base, code.mul(index, matmul.bytesOf(type)));
    code.storeWide(type, gain ? code.fmul(value, gain) : value, to);
  }
  return code.sum(code.fmul(value, value));
}

void NormedRows::writeSquares(Value row, Value sum, Value valid) {
  Device &code = in.code;
  int64_t lanes = kernel::normSlice / width;
  for (int64_t mask = lanes / 2; mask; mask /= 2)
    sum = code.fadd(sum, code.shuffleXor(sum, mask));
  Value isFirst =
      code.less(code.rem(code.thread32(), code.i32(lanes)), code.i32(1));
  if (valid)
    isFirst = arith::AndIOp::create(code, isFirst, valid);
  code.when(isFirst, [&] {
    kernel::MatmulOp op = matmul.op;
    int64_t slices = kernel::numNormSlices(matmul.columns);
    Value to = streamRow(in, matmul, place, code.add(place.row, row),
                         op.getScatters());
    Value index =
        code.add(code.mul(to, slices), code.div(column, kernel::normSlice));
    code.store(sum, code.byteAt(squaresTo, code.mul(index, 4)));
  });
}
