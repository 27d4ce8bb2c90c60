//===- Emitter.cpp - builds structured operations ---------*- C++ -*-===//
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
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include <limits>

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

Value Emitter::zeros(ArrayRef<OpFoldResult> sizes, Type element) {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(element));
  return linalg::FillOp::create(b, zero, empty(sizes, element)).getResult(0);
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

/// Reassociation of `rank` dimensions where the first two belong together.
static SmallVector<ReassociationIndices> rowsTogether(int64_t rank) {
  SmallVector<ReassociationIndices> groups{{0, 1}};
  for (int64_t dim = 2; dim < rank; ++dim)
    groups.push_back({dim});
  return groups;
}

Value Emitter::joinRows(Value tensor) {
  int64_t rank = cast<RankedTensorType>(tensor.getType()).getRank();
  return tensor::CollapseShapeOp::create(b, tensor, rowsTogether(rank));
}

// A copy: tensor.expand_shape to two unknown sizes has no stock lowering.
Value Emitter::splitRows(Value tensor, Value like) {
  Sizes all = sizes(tensor), result = sizes(like);
  result.resize(2);
  result.append(all.begin() + 1, all.end());
  unsigned rank = result.size();
  Value rows = index(result[1]);
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  return generic({}, empty(result, element), b.getMultiDimIdentityMap(rank),
                 [&](ScalarBuilder &b, ValueRange) -> Value {
                   SmallVector<Value> at;
                   for (unsigned dim = 0; dim < rank; ++dim)
                     at.push_back(linalg::IndexOp::create(b, dim));
                   Value first = arith::MulIOp::create(b, at[0], rows);
                   at[1] = arith::AddIOp::create(b, first, at[1]);
                   return tensor::ExtractOp::create(b, tensor,
                                                    ArrayRef(at).drop_front());
                 });
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

SmallVector<Value> Emitter::loop(Value from, Value to, ValueRange state,
                                 Step body) {
  auto loop = scf::ForOp::create(b, from, to, index(1), state);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  scf::YieldOp::create(b,
                       body(loop.getInductionVar(), loop.getRegionIterArgs()));
  return llvm::to_vector_of<Value>(loop.getResults());
}

SmallVector<Value>
Emitter::when(Value condition, ValueRange state,
              llvm::function_ref<SmallVector<Value>()> body) {
  auto branch = scf::IfOp::create(b, state.getTypes(), condition,
                                  /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, body());
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, state);
  return llvm::to_vector_of<Value>(branch.getResults());
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

Value nestc::linalg_lowering::softmaxLast(Emitter &e, Value x) {
  Emitter::Sizes sizes = e.sizes(x);
  unsigned rank = sizes.size();
  Emitter::Sizes rows(sizes.begin(), sizes.end() - 1);
  Type f32 = e.b.getF32Type();
  AffineMap all = e.b.getMultiDimIdentityMap(rank);
  AffineMap row =
      e.map(rank, llvm::to_vector(llvm::seq<unsigned>(0, rank - 1)));
  float infinity = std::numeric_limits<float>::infinity();
  Value maximum =
      e.generic(x, e.filled(rows, -infinity), {all, row},
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  return arith::MaximumFOp::create(b, args[1], args[0]);
                });
  Value powers = e.generic({x, maximum}, e.empty(sizes, f32), {all, row, all},
                           [&](ScalarBuilder &b, ValueRange args) -> Value {
                             return math::ExpOp::create(
                                 b, arith::SubFOp::create(b, args[0], args[1]));
                           });
  Value sum = e.generic(powers, e.filled(rows, 0.0f), {all, row},
                        [&](ScalarBuilder &b, ValueRange args) -> Value {
                          return arith::AddFOp::create(b, args[1], args[0]);
                        });
  return e.generic({powers, sum}, e.empty(sizes, f32), {all, row, all},
                   [&](ScalarBuilder &b, ValueRange args) -> Value {
                     return arith::DivFOp::create(b, args[0], args[1]);
                   });
}
