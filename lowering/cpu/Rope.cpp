//===- Rope.cpp - tables of rotations, and their application -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

namespace {
// Sine and cosine of a vector of angles, computed in f64 and rounded once.
struct Rotation {
  Value cosine, sine;
};
} // namespace

static Rotation rotation(Code &code, Value angle, int64_t width) {
  auto f64 = VectorType::get({width}, code.getF64Type());
  auto i64 = VectorType::get({width}, code.getI64Type());
  auto splat = [&](double value) {
    return Value(
        arith::ConstantOp::create(code, DenseElementsAttr::get(f64, value)));
  };
  auto splatInt = [&](int64_t value) {
    return Value(
        arith::ConstantOp::create(code, DenseElementsAttr::get(i64, value)));
  };
  Value x = arith::ExtFOp::create(code, f64, angle);
  // Quarter turns, by adding 1.5 * 2^52: the sum's low bits count them.
  Value magic = splat(6755399441055744.0);
  Value biased = code.fma(x, splat(0.63661977236758134308), magic);
  Value n = code.fsub(biased, magic);
  // pi / 2 in two parts: enough for every position times a frequency.
  Value r = code.fma(n, splat(-1.57079632679489655800), x);
  r = code.fma(n, splat(-6.12323399573676603587e-17), r);
  Value square = code.fmul(r, r);
  // Taylor series on |r| <= pi / 4; the first term left out is below 1e-13.
  auto series = [&](int start) {
    double factor = 1;
    SmallVector<double> terms{1};
    for (int i = start; terms.size() < 8; i += 2) {
      factor /= -double(i) * (i + 1);
      terms.push_back(factor);
    }
    Value sum = splat(terms.back());
    for (double term : llvm::reverse(ArrayRef(terms).drop_back()))
      sum = code.fma(sum, square, splat(term));
    return sum;
  };
  Value sine = code.fmul(series(2), r), cosine = series(1);
  Value turns = arith::BitcastOp::create(code, i64, biased);
  auto bit = [&](Value value, int64_t mask) {
    return Value(arith::CmpIOp::create(
        code, arith::CmpIPredicate::ne,
        arith::AndIOp::create(code, value, splatInt(mask)), splatInt(0)));
  };
  auto signedBy = [&](Value negative, Value value) {
    return Value(arith::SelectOp::create(
        code, negative, arith::NegFOp::create(code, value), value));
  };
  Value odd = bit(turns, 1);
  Value s =
      signedBy(bit(turns, 2), arith::SelectOp::create(code, odd, cosine, sine));
  Value c = signedBy(bit(arith::AddIOp::create(code, turns, splatInt(1)), 2),
                     arith::SelectOp::create(code, odd, sine, cosine));
  auto narrow = [&](Value value) {
    return Value(arith::TruncFOp::create(code, code.f32Vector(width), value));
  };
  return {narrow(c), narrow(s)};
}

LogicalResult cpu::generate(Kernel &kernel, kernel::RopeTableOp op) {
  auto outType = cast<MemRefType>(op.getOut().getType());
  auto positionType = cast<MemRefType>(op.getPositions().getType());
  ArrayRef<float> frequencies = op.getRope().getFrequencies().asArrayRef();
  int64_t n = frequencies.size();
  if (!outType.getElementType().isF32() || outType.getShape().back() != 2 * n)
    return op.emitOpError("writes ")
           << outType << "; a table of " << n << " frequencies is f32 and "
           << 2 * n << " wide";
  if (!positionType.getElementType().isInteger(32))
    return op.emitOpError("takes positions of ") << positionType;
  float magnitude = op.getRope().getMagnitudeF32();
  Code &outer = kernel.code;
  std::string name = ("nest_frequencies_" + kernel.def.getSymName()).str();
  auto arrayType = RankedTensorType::get({n}, outer.getF32Type());
  Value data = kernel.generator.constant(
      outer, name, DenseElementsAttr::get(arrayType, frequencies));
  RowRange rows = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getOut());
  kernel.parallel(
      rows.count, grainFor(outer, outer.i64(8 * n)), {data},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &positions =
            piece.buffers[kernel.indexOf(op.getPositions())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        Value integer = code.load(
            positions.element(),
            code.at(positions.pointer, positions.element(), piece.item));
        Value position =
            arith::SIToFPOp::create(code, code.getF32Type(), integer);
        Value row = out.row(code, piece.item);
        code.columns(code.i64(n), [&](Value i, int64_t width) {
          Value frequency = code.loadVector(
              code.getF32Type(), code.atF32(piece.extras[0], i), width);
          // The angle is rounded to f32, as the models were trained with.
          Rotation turn = rotation(
              code, code.fmul(code.broadcast(position, width), frequency),
              width);
          Value scale = code.splat(magnitude, width);
          code.store(code.fmul(turn.cosine, scale), code.atF32(row, i));
          code.store(code.fmul(turn.sine, scale),
                     code.atF32(row, code.add(i, n)));
        });
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::RopeOp op) {
  auto outType = cast<MemRefType>(op.getOut().getType());
  auto tableType = cast<MemRefType>(op.getTable().getType());
  int64_t columns = outType.getShape().back();
  int64_t headDim = op.getHeadDim();
  int64_t twoN = tableType.getShape().back();
  if (!outType.getElementType().isF32() || !tableType.getElementType().isF32())
    return op.emitOpError("works on f32, not on ")
           << outType << " by " << tableType;
  if (ShapedType::isDynamic(columns) || ShapedType::isDynamic(twoN) ||
      headDim <= 0 || columns % headDim != 0 || twoN % 2 != 0 || twoN > headDim)
    return op.emitOpError("turns heads of ")
           << headDim << " in rows of " << outType << " by " << tableType;
  int64_t n = twoN / 2;
  Code &outer = kernel.code;
  RowRange rows = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getOut());
  kernel.parallel(
      rows.count, grainFor(outer, outer.i64(2 * columns)), {},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &table = piece.buffers[kernel.indexOf(op.getTable())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        Value cosines = table.row(code, piece.item);
        Value sines = code.atF32(cosines, n);
        Value row = out.row(code, piece.item);
        code.loop(code.i64(0), code.i64(columns), headDim, [&](Value head) {
          Value low = code.atF32(row, head), high = code.atF32(low, n);
          code.columns(code.i64(n), [&](Value i, int64_t width) {
            VectorType type = code.f32Vector(width);
            Value c = code.load(type, code.atF32(cosines, i));
            Value s = code.load(type, code.atF32(sines, i));
            Value a = code.load(type, code.atF32(low, i));
            Value b = code.load(type, code.atF32(high, i));
            code.store(code.fsub(code.fmul(a, c), code.fmul(b, s)),
                       code.atF32(low, i));
            code.store(code.fadd(code.fmul(b, c), code.fmul(a, s)),
                       code.atF32(high, i));
          });
        });
      });
  return success();
}
