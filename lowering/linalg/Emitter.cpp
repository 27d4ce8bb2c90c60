//===- Emitter.cpp - builds structured operations ---------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/linalg/Lower.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace nestc::linalg_lowering;

Emitter::Sizes Emitter::sizes(Value tensor) {
  return tensor::getMixedSizes(b, b.getLoc(), tensor);
}

Value Emitter::index(OpFoldResult size) {
  return getValueOrCreateConstantIndexOp(b, b.getLoc(), size);
}

Value Emitter::f32(float value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
}

Value Emitter::empty(ArrayRef<OpFoldResult> sizes, Type element) {
  return tensor::EmptyOp::create(b, sizes, element);
}

Value Emitter::filled(ArrayRef<OpFoldResult> sizes, float value) {
  Value init = empty(sizes, b.getF32Type());
  return linalg::FillOp::create(b, ValueRange{f32(value)}, ValueRange{init})
      .getResult(0);
}

AffineMap Emitter::map(unsigned dims, ArrayRef<unsigned> results) {
  return AffineMap::getMultiDimMapWithTargets(dims, results, b.getContext());
}

Value Emitter::generic(ValueRange inputs, Value init, ArrayRef<AffineMap> maps,
                       Body body) {
  AffineMap output = maps.back();
  SmallVector<utils::IteratorType> iterators;
  for (unsigned dim = 0; dim < output.getNumDims(); ++dim)
    iterators.push_back(output.isFunctionOfDim(dim)
                            ? utils::IteratorType::parallel
                            : utils::IteratorType::reduction);
  return linalg::GenericOp::create(
             b, init.getType(), inputs, init, maps, iterators,
             [&](OpBuilder &builder, Location loc, ValueRange args) {
               ImplicitLocOpBuilder inner(loc, builder);
               linalg::YieldOp::create(inner, body(inner, args));
             })
      .getResult(0);
}

Value Emitter::elementwise(ValueRange inputs, Type element, Body body) {
  unsigned rank = cast<RankedTensorType>(inputs[0].getType()).getRank();
  SmallVector<AffineMap> maps(inputs.size() + 1,
                              b.getMultiDimIdentityMap(rank));
  return generic(inputs, empty(sizes(inputs[0]), element), maps, body);
}

/// Reassociation of `rank` dimensions where the last `count` belong together.
static SmallVector<ReassociationIndices> lastTogether(unsigned rank,
                                                      unsigned count) {
  SmallVector<ReassociationIndices> groups;
  for (unsigned dim = 0; dim < rank - count; ++dim)
    groups.push_back({dim});
  groups.push_back(
      llvm::to_vector_of<int64_t, 4>(llvm::seq<int64_t>(rank - count, rank)));
  return groups;
}

Value Emitter::splitLast(Value tensor, ArrayRef<OpFoldResult> pieces) {
  Sizes result = sizes(tensor);
  result.pop_back();
  llvm::append_range(result, pieces);
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape;
  SmallVector<Value> unused;
  dispatchIndexOpFoldResults(result, unused, shape);
  return tensor::ExpandShapeOp::create(
      b, RankedTensorType::get(shape, type.getElementType()), tensor,
      lastTogether(result.size(), pieces.size()), result);
}

Value Emitter::joinLast(Value tensor, unsigned count) {
  unsigned rank = cast<RankedTensorType>(tensor.getType()).getRank();
  return tensor::CollapseShapeOp::create(b, tensor, lastTogether(rank, count));
}

Value Emitter::slice(Value tensor, unsigned dim, OpFoldResult offset,
                     OpFoldResult size) {
  Sizes box = sizes(tensor);
  Sizes offsets(box.size(), b.getIndexAttr(0));
  Sizes strides(box.size(), b.getIndexAttr(1));
  offsets[dim] = offset;
  box[dim] = size;
  return tensor::ExtractSliceOp::create(b, tensor, offsets, box, strides);
}

Value Emitter::insert(Value piece, Value into, unsigned dim,
                      OpFoldResult offset) {
  Sizes box = sizes(piece);
  Sizes offsets(box.size(), b.getIndexAttr(0));
  Sizes strides(box.size(), b.getIndexAttr(1));
  offsets[dim] = offset;
  return tensor::InsertSliceOp::create(b, piece, into, offsets, box, strides);
}

OpFoldResult Emitter::divide(OpFoldResult size, int64_t by) {
  if (std::optional<int64_t> constant = getConstantIntValue(size))
    return b.getIndexAttr(*constant / by);
  return arith::DivUIOp::create(b, index(size), index(by)).getResult();
}

Value Emitter::conform(Value tensor, Type type) {
  if (tensor.getType() == type)
    return tensor;
  return tensor::CastOp::create(b, type, tensor);
}

Value nestc::linalg_lowering::convertFloat(ImplicitLocOpBuilder &b, Value value,
                                           Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  unsigned to = type.getIntOrFloatBitWidth();
  if (from < to)
    return arith::ExtFOp::create(b, type, value);
  if (from > to)
    return arith::TruncFOp::create(b, type, value);
  return value;
}
