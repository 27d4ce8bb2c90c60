//===- Rope.cpp - tables of rotations, and their application
//-----------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"

#include <cmath>
#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// Threads of a block.
static constexpr int64_t blockThreads = 128;

namespace {
// Sine and cosine of an angle, as vectors of one.
struct Rotation {
  Value cosine, sine;
};
} // namespace

// The angle is reduced in f64, which is enough for every position times a
// frequency; series in f32 are then off by a rounding.
static Rotation rotation(Device &code, Value angle) {
  auto f64 = VectorType::get({1}, code.getF64Type());
  auto splat = [&](double value) {
    return Value(
        arith::ConstantOp::create(code, DenseElementsAttr::get(f64, value)));
  };
  Value x = arith::ExtFOp::create(code, f64, angle);
  // Quarter turns, by adding 1.5 * 2^52: the sum's low bits count them.
  Value magic = splat(6755399441055744.0);
  Value biased = code.fma(x, splat(0.63661977236758134308), magic);
  Value n = code.fsub(magic, biased);
  // pi / 2 in two parts.
  Value reduced = code.fma(n, splat(1.57079632679489655800), x);
  reduced = code.fma(n, splat(6.12323399573676603587e-17), reduced);
  Value r = arith::TruncFOp::create(code, code.f32Vector(1), reduced);
  Value square = code.fmul(r, r);
  // Taylor series on |r| <= pi / 4; the first terms left out are below 2e-9.
  Value sine = code.polynomial(
      square, {-1.0f / 6, 1.0f / 120, -1.0f / 5040, 1.0f / 362880});
  sine = code.fma(code.fmul(square, r), sine, r);
  Value cosine = code.polynomial(square, {-1.0f / 2, 1.0f / 24, -1.0f / 720,
                                          1.0f / 40320, -1.0f / 3628800});
  cosine = code.fma(square, cosine, code.splat(1, 1));
  Value turns = arith::TruncIOp::create(
      code, code.i32Vector(1),
      arith::BitcastOp::create(code, VectorType::get({1}, code.getI64Type()),
                               biased));
  auto bit = [&](Value value, int32_t mask) {
    return Value(arith::CmpIOp::create(
        code, arith::CmpIPredicate::ne,
        arith::AndIOp::create(code, value, code.splatI32(mask, 1)),
        code.splatI32(0, 1)));
  };
  auto signedBy = [&](Value negative, Value value) {
    return Value(arith::SelectOp::create(
        code, negative, arith::NegFOp::create(code, value), value));
  };
  Value odd = bit(turns, 1);
  Value next = arith::AddIOp::create(code, turns, code.splatI32(1, 1));
  return {
      signedBy(bit(next, 2), arith::SelectOp::create(code, odd, sine, cosine)),
      signedBy(bit(turns, 2),
               arith::SelectOp::create(code, odd, cosine, sine))};
}

/// A constant array in global memory: lanes read different elements.
static Value constant(Kernel::Inside &in, StringRef name,
                      DenseElementsAttr data) {
  Device &code = in.code;
  OpBuilder builder =
      OpBuilder::atBlockBegin(in.kernel.generator.device.getBody());
  auto type = LLVM::LLVMArrayType::get(data.getElementType(), data.size());
  LLVM::GlobalOp::create(builder, code.getLoc(), type, /*isConstant=*/true,
                         LLVM::Linkage::Internal, name, data,
                         /*alignment=*/64, globalSpace);
  auto pointer = LLVM::LLVMPointerType::get(code.getContext(), globalSpace);
  return LLVM::AddrSpaceCastOp::create(
      code, code.ptrType(), LLVM::AddressOfOp::create(code, pointer, name));
}

/// Thread `index` of the grid, an i32.
static Value threadOfGrid(Device &code) {
  return code.add(code.mul(code.block32(), code.i32(code.threads)),
                  code.thread32());
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::RopeTableOp op) {
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
  std::string name = ("nest_frequencies_" + kernel.def.getSymName()).str();
  unsigned place = kernel.indexOf(op.getOut());
  // A thread for each angle.
  kernel.stageOver(
      blockThreads, 0, blockThreads,
      [place, n](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(buffers[place].rows(host), n);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        auto type = RankedTensorType::get({n}, code.getF32Type());
        Value list =
            constant(in, name, DenseElementsAttr::get(type, frequencies));
        Value item = threadOfGrid(code);
        Rows rows = rows32(in, op.getOffsets(), op.getSets(), op.getOut());
        code.when(code.less(item, code.mul(rows.count, code.i32(n))), [&] {
          Value row = code.div(item, code.i32(n));
          Value i = code.rem(item, code.i32(n));
          Value position = arith::SIToFPOp::create(
              code, code.getF32Type(),
              entry32(code, in[op.getPositions()], row));
          Value frequency =
              code.loadWide(code.getF32Type(), code.atRow(list, i, 4), 1);
          // The angle is rounded to f32, as the models were trained with.
          Rotation turn =
              rotation(code, code.fmul(code.broadcast(position, 1), frequency));
          Value to =
              code.atRow(code.atRow(in[op.getOut()].pointer, row, 8 * n), i, 4);
          Value scale = code.splat(magnitude, 1);
          code.storeWide(code.getF32Type(), code.fmul(turn.cosine, scale), to);
          code.storeWide(code.getF32Type(), code.fmul(turn.sine, scale),
                         code.atF32(to, n));
        });
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::RopeOp op) {
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
  int64_t n = twoN / 2, heads = columns / headDim;
  if (n == 0)
    return success();
  // A thread has a vector of both halves of up to eight heads, which share
  // cosines and sines, and reads those of some heads at a time.
  int64_t width = std::gcd(std::gcd(n, headDim), int64_t(4));
  int64_t mine = std::gcd(heads, int64_t(8)),
          atOnce = std::min<int64_t>(mine, 4);
  int64_t vectors = n / width, perRow = vectors * heads / mine;
  unsigned place = kernel.indexOf(op.getOut());
  kernel.stageOver(
      blockThreads, 0, blockThreads,
      [place, perRow](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(buffers[place].rows(host), perRow);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        Value item = threadOfGrid(code);
        Rows rows = rows32(in, op.getOffsets(), op.getSets(), op.getOut());
        code.when(code.less(item, code.mul(rows.count, code.i32(perRow))), [&] {
          Type f32 = code.getF32Type();
          Value row = code.div(item, code.i32(perRow));
          Value slot = code.rem(item, code.i32(perRow));
          Value i = code.rem(slot, code.i32(vectors));
          Value head = code.div(slot, code.i32(vectors));
          Value cosines =
              code.atByte(code.atRow(in[op.getTable()].pointer, row, 8 * n),
                          code.mul(i, code.i32(4 * width)));
          Value c = code.loadWide(f32, cosines, width);
          Value s = code.loadWide(f32, code.atF32(cosines, n), width);
          Value low =
              code.atByte(code.atRow(in[op.getOut()].pointer, row, 4 * columns),
                          code.add(code.mul(head, code.i32(4 * mine * headDim)),
                                   code.mul(i, code.i32(4 * width))));
          for (int64_t first = 0; first < mine; first += atOnce) {
            SmallVector<std::pair<Value, Value>> halves;
            auto at = [&](int64_t h, int64_t column) {
              return code.atF32(low, (first + h) * headDim + column);
            };
            for (int64_t h = 0; h < atOnce; ++h)
              halves.emplace_back(code.loadWide(f32, at(h, 0), width),
                                  code.loadWide(f32, at(h, n), width));
            for (auto [h, half] : llvm::enumerate(halves)) {
              auto [a, b] = half;
              Value minus = arith::NegFOp::create(code, code.fmul(b, s));
              code.storeWide(f32, code.fma(a, c, minus), at(h, 0));
              code.storeWide(f32, code.fma(b, c, code.fmul(a, s)), at(h, n));
            }
          }
        });
      });
  return success();
}
