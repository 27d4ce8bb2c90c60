//===- LowerAttention.cpp - caches and attention, in linalg -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/linalg/Lower.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace nestc::nest;
using nestc::linalg_lowering::Emitter;
using nestc::linalg_lowering::ScalarBuilder;

// A loop over sequences around insert_slice: bufferises in place.
Value nestc::linalg_lowering::lower(CacheAppendOp op, Emitter &e) {
  Value cache = op.getCache();
  Type type = cast<RankedTensorType>(cache.getType()).getElementType();
  Emitter::Sizes cacheSizes = e.sizes(cache);
  OpFoldResult heads = cacheSizes[1], head = cacheSizes[3];

  // [B, T, H * D] -> [B, H, T, D] in the cache's type.
  Value rows = e.splitLast(op.getRows(), {heads, head});
  Emitter::Sizes sizes = e.sizes(rows);
  OpFoldResult count = sizes[1];
  std::swap(sizes[1], sizes[2]);
  Value turned = e.generic(rows, e.empty(sizes, type),
                           {e.map(4, {0, 2, 1, 3}), e.map(4, {0, 1, 2, 3})},
                           [&](ScalarBuilder &b, ValueRange args) {
                             return convertFloat(b, args[0], type);
                           });

  OpFoldResult zero = e.b.getIndexAttr(0), one = e.b.getIndexAttr(1);
  auto loop = scf::ForOp::create(
      e.b, e.index(0), e.index(cacheSizes[0]), e.index(1), ValueRange{cache},
      [&](OpBuilder &builder, Location loc, Value sequence, ValueRange state) {
        ImplicitLocOpBuilder b(loc, builder);
        Emitter::Sizes strides(4, one), box{one, heads, count, head};
        Value piece = tensor::ExtractSliceOp::create(
            b, turned, Emitter::Sizes{sequence, zero, zero, zero}, box,
            strides);
        Value length = arith::IndexCastOp::create(
            b, b.getIndexType(),
            tensor::ExtractOp::create(b, op.getLengths(), sequence));
        Value next = tensor::InsertSliceOp::create(
            b, piece, state[0], Emitter::Sizes{sequence, zero, length, zero},
            box, strides);
        scf::YieldOp::create(b, next);
      });
  return loop.getResult(0);
}

// Query heads of one KV head are neighbours: head h reads KV head h / group.
Value nestc::linalg_lowering::lower(AttentionOp op, Emitter &e) {
  MaskAttr mask = op.getMask();
  auto kType = cast<RankedTensorType>(op.getK().getType());
  auto qType = cast<RankedTensorType>(op.getQ().getType());
  int64_t kvHeads = kType.getDimSize(1), head = kType.getDimSize(3);
  int64_t width = qType.getDimSize(2);
  if (ShapedType::isDynamic(kvHeads) || ShapedType::isDynamic(head) ||
      ShapedType::isDynamic(width)) {
    op.emitOpError("cannot be lowered: the numbers of heads and their width "
                   "must be static; bind their axes with nest-specialize");
    return {};
  }
  Type f32 = e.b.getF32Type();
  // [B, T, Hq * D] -> [B, T, Hkv, group, D]
  Value q = e.splitLast(op.getQ(), {e.b.getIndexAttr(kvHeads),
                                    e.b.getIndexAttr(width / head / kvHeads),
                                    e.b.getIndexAttr(head)});
  Emitter::Sizes outSizes = e.sizes(q);
  Emitter::Sizes rowSizes(outSizes.begin(), outSizes.end() - 1);
  Emitter::Sizes scoreSizes(rowSizes);
  scoreSizes.push_back(e.sizes(op.getK())[2]);
  Value rows = e.index(rowSizes[1]);

  // Whether the query of dimension 1 sees the key of dimension `keyDim`.
  auto visible = [&](ScalarBuilder &b, Value length, unsigned keyDim) -> Value {
    Value key = linalg::IndexOp::create(b, keyDim);
    length = arith::IndexCastOp::create(b, b.getIndexType(), length);
    auto less = arith::CmpIPredicate::slt, most = arith::CmpIPredicate::sle;
    if (!mask.getCausal())
      return arith::CmpIOp::create(b, less, key,
                                   arith::AddIOp::create(b, length, rows));
    Value row = linalg::IndexOp::create(b, 1);
    Value self = arith::AddIOp::create(b, length, row);
    Value sees = arith::CmpIOp::create(b, most, key, self);
    if (!mask.getWindow())
      return sees;
    Value window = arith::ConstantIndexOp::create(b, mask.getWindow());
    Value near = arith::CmpIOp::create(b, less, self,
                                       arith::AddIOp::create(b, key, window));
    return arith::AndIOp::create(b, sees, near);
  };

  // Dimensions: b, t, KV head, group, key, element. The contraction extends
  // keys to f32.
  Value scoreInit = e.filled(scoreSizes, 0.0f);
  Value scores = linalg::ContractOp::create(
                     e.b, TypeRange{scoreInit.getType()},
                     ValueRange{q, op.getK()}, ValueRange{scoreInit},
                     e.b.getAffineMapArrayAttr({e.map(6, {0, 1, 2, 3, 5}),
                                                e.map(6, {0, 2, 4, 5}),
                                                e.map(6, {0, 1, 2, 3, 4})}))
                     .getResult(0);

  AffineMap all = e.b.getMultiDimIdentityMap(5);
  AffineMap row = e.map(5, {0, 1, 2, 3}), sequence = e.map(5, {0});
  float scale = op.getScale().convertToFloat();
  float infinity = std::numeric_limits<float>::infinity();
  scores = e.generic(
      {scores, op.getLengths()}, e.empty(scoreSizes, f32), {all, sequence, all},
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value factor = arith::ConstantOp::create(b, b.getF32FloatAttr(scale));
        Value score = arith::MulFOp::create(b, args[0], factor);
        Value none = arith::ConstantOp::create(b, b.getF32FloatAttr(-infinity));
        return arith::SelectOp::create(b, visible(b, args[1], 4), score, none);
      });

  // Softmax: e^(s - max), over their sum.
  Value maximum =
      e.generic(scores, e.filled(rowSizes, -infinity), {all, row},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  return arith::MaximumFOp::create(b, args[1], args[0]);
                });
  Value powers =
      e.generic({scores, maximum}, e.empty(scoreSizes, f32), {all, row, all},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  return math::ExpOp::create(
                      b, arith::SubFOp::create(b, args[0], args[1]));
                });
  Value sum = e.generic(powers, e.filled(rowSizes, 0.0f), {all, row},
                        [&](ScalarBuilder &b, ValueRange args) -> Value {
                          return arith::AddFOp::create(b, args[1], args[0]);
                        });
  Value weights =
      e.generic({powers, sum}, e.empty(scoreSizes, f32), {all, row, all},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  return arith::DivFOp::create(b, args[0], args[1]);
                });

  // Dimensions: b, t, KV head, group, element, key. Rows of the cache that the
  // query does not see may hold anything, NaN too, so that a weight of 0 is not
  // enough.
  Value y =
      e.generic({weights, op.getV(), op.getLengths()}, e.filled(outSizes, 0.0f),
                {e.map(6, {0, 1, 2, 3, 5}), e.map(6, {0, 2, 5, 4}),
                 e.map(6, {0}), e.map(6, {0, 1, 2, 3, 4})},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  Value product = arith::MulFOp::create(
                      b, args[0], convertFloat(b, args[1], f32));
                  Value next = arith::AddFOp::create(b, args[3], product);
                  return arith::SelectOp::create(b, visible(b, args[2], 5),
                                                 next, args[3]);
                });
  return e.joinLast(y, 3);
}
