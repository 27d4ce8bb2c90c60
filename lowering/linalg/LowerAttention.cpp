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

#include <limits>

using namespace mlir;
using namespace nestc::nest;
using nestc::linalg_lowering::Emitter;
using nestc::linalg_lowering::Rows;
using nestc::linalg_lowering::ScalarBuilder;

// A loop over sequences around insert_slice: bufferises in place.
Value nestc::linalg_lowering::lower(CacheAppendOp op, Emitter &e) {
  Value cache = op.getCache(), rows = op.getRows();
  Type type = cast<RankedTensorType>(cache.getType()).getElementType();
  if (op.getFamily())
    rows = unpack(e, rows, e.rows(op.getFamily()));
  OpFoldResult count = e.sizes(rows)[1];

  // Dimension `at` of the cache counts rows: positions are [B, C].
  unsigned at = 1;
  Emitter::Sizes cacheSizes = e.sizes(cache);
  if (!type.isInteger(32)) {
    // [B, T, H * D] -> [B, H, T, D] in the cache's type.
    at = 2;
    rows = e.splitLast(rows, {cacheSizes[1], cacheSizes[3]});
    Emitter::Sizes sizes = e.sizes(rows);
    std::swap(sizes[1], sizes[2]);
    rows = e.generic(rows, e.empty(sizes, type),
                     {e.map(4, {0, 2, 1, 3}), e.map(4, {0, 1, 2, 3})},
                     [&](ScalarBuilder &b, ValueRange args) {
                       return convertFloat(b, args[0], type);
                     });
  }

  return e.loop(
      e.index(0), e.index(cacheSizes[0]), cache,
      [&](Value sequence, ValueRange state) -> SmallVector<Value> {
        Emitter::Sizes from(cacheSizes.size(), e.b.getIndexAttr(0)),
            strides(cacheSizes.size(), e.b.getIndexAttr(1)), box(cacheSizes);
        from[0] = sequence;
        box[0] = e.b.getIndexAttr(1);
        box[at] = count;
        if (op.getFamily())
          box[at] = entry(e.b, e.rows(op.getFamily()).counts, sequence);
        Value piece =
            tensor::ExtractSliceOp::create(e.b, rows, from, box, strides);
        from[at] = entry(e.b, op.getLengths(), sequence);
        return {tensor::InsertSliceOp::create(e.b, piece, state[0], from, box,
                                              strides)};
      })[0];
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
  const Rows *family = op.getRows() ? &e.rows(op.getRows()) : nullptr;
  Value q = op.getQ();
  if (family)
    q = unpack(e, q, *family);
  q = e.splitLast(q, {e.b.getIndexAttr(kvHeads),
                      e.b.getIndexAttr(width / head / kvHeads),
                      e.b.getIndexAttr(head)});
  Emitter::Sizes outSizes = e.sizes(q);
  Emitter::Sizes rowSizes(outSizes.begin(), outSizes.end() - 1);
  Emitter::Sizes scoreSizes(rowSizes);
  scoreSizes.push_back(e.sizes(op.getK())[2]);
  Value rows = e.index(rowSizes[1]);

  // The cache index of the query of dimension 1. Where only rows of a family
  // are kept, they count.
  bool compact = op.getCompact();
  auto selfOf = [&](ScalarBuilder &b, Value length) -> Value {
    length = arith::IndexCastOp::create(b, b.getIndexType(), length);
    Value sequence = linalg::IndexOp::create(b, 0);
    Value row = linalg::IndexOp::create(b, 1);
    if (family && !compact)
      row = entry(b, family->places, entry(b, family->order, {sequence, row}));
    return arith::AddIOp::create(b, length, row);
  };
  // Cache indices of the query and of a key become what counts for a distance.
  auto place = [&](ScalarBuilder &b, Value &self, Value &key) {
    Value positions = op.getPositions();
    if (!positions)
      return;
    Value sequence = linalg::IndexOp::create(b, 0);
    // A query that is none may lie behind the end.
    Value end = arith::ConstantIndexOp::create(b, kType.getDimSize(2) - 1);
    key = entry(b, positions, {sequence, key});
    self =
        entry(b, positions, {sequence, arith::MinSIOp::create(b, self, end)});
  };

  // Whether the query sees the key of dimension `keyDim`.
  auto visible = [&](ScalarBuilder &b, Value length, unsigned keyDim) -> Value {
    Value key = linalg::IndexOp::create(b, keyDim);
    auto less = arith::CmpIPredicate::slt, most = arith::CmpIPredicate::sle;
    if (!mask.getCausal()) {
      Value sequence = linalg::IndexOp::create(b, 0);
      length = arith::IndexCastOp::create(b, b.getIndexType(), length);
      return arith::CmpIOp::create(
          b, less, key,
          arith::AddIOp::create(
              b, length, compact ? entry(b, family->counts, sequence) : rows));
    }
    Value self = selfOf(b, length);
    Value sees = arith::CmpIOp::create(b, most, key, self);
    if (!mask.getWindow())
      return sees;
    Value window = arith::ConstantIndexOp::create(b, mask.getWindow());
    place(b, self, key);
    Value near = arith::CmpIOp::create(b, less, self,
                                       arith::AddIOp::create(b, key, window));
    return arith::AndIOp::create(b, sees, near);
  };

  // The score with what the distance takes off, in dimensions b, t, KV head,
  // group, key.
  auto weigh = [&](ScalarBuilder &b, Value score, Value length) -> Value {
    Value self = selfOf(b, length), key = linalg::IndexOp::create(b, 4);
    place(b, self, key);
    auto toFloat = [&](Value index) -> Value {
      index = arith::IndexCastOp::create(b, b.getI64Type(), index);
      return arith::SIToFPOp::create(b, f32, index);
    };
    auto constant = [&](float value) -> Value {
      return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
    };
    Value distance =
        math::AbsFOp::create(b, toFloat(arith::SubIOp::create(b, self, key)));
    Value group = arith::ConstantIndexOp::create(b, width / head / kvHeads);
    Value number = arith::AddIOp::create(
        b, arith::MulIOp::create(b, linalg::IndexOp::create(b, 2), group),
        linalg::IndexOp::create(b, 3));
    number = arith::AddFOp::create(b, toFloat(number), constant(1));
    Value slope = math::Exp2Op::create(
        b, arith::MulFOp::create(b, number, constant(-mask.getAlibiF32())));
    return arith::SubFOp::create(b, score,
                                 arith::MulFOp::create(b, slope, distance));
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

  // Without lengths every query sees every key.
  Value lengths = op.getLengths();
  if (lengths && op.getLengths().getType().getRank() == 2)
    lengths = e.joinRows(lengths); // [B, 1]
  auto takeLengths = [&](SmallVector<Value> values, SmallVector<AffineMap> maps,
                         unsigned dims) {
    if (lengths) {
      values.push_back(lengths);
      maps.insert(maps.end() - 1, e.map(dims, {0}));
    }
    return std::pair(values, maps);
  };
  AffineMap all = e.b.getMultiDimIdentityMap(5);
  float scale = op.getScale().convertToFloat();
  float infinity = std::numeric_limits<float>::infinity();
  auto [scored, scoredBy] = takeLengths({scores}, {all, all}, 5);
  scores = e.generic(
      scored, e.empty(scoreSizes, f32), scoredBy,
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value factor = arith::ConstantOp::create(b, b.getF32FloatAttr(scale));
        Value score = arith::MulFOp::create(b, args[0], factor);
        if (!lengths)
          return score;
        if (mask.getAlibi())
          score = weigh(b, score, args[1]);
        Value none = arith::ConstantOp::create(b, b.getF32FloatAttr(-infinity));
        return arith::SelectOp::create(b, visible(b, args[1], 4), score, none);
      });

  Value weights = softmaxLast(e, scores);

  // Dimensions: b, t, KV head, group, element, key. Rows of the cache that the
  // query does not see may hold anything, NaN too, so that a weight of 0 is not
  // enough.
  auto [weighed, weighedBy] =
      takeLengths({weights, op.getV()},
                  {e.map(6, {0, 1, 2, 3, 5}), e.map(6, {0, 2, 5, 4}),
                   e.map(6, {0, 1, 2, 3, 4})},
                  6);
  Value y =
      e.generic(weighed, e.filled(outSizes, 0.0f), weighedBy,
                [&](ScalarBuilder &b, ValueRange args) -> Value {
                  Value product = arith::MulFOp::create(
                      b, args[0], convertFloat(b, args[1], f32));
                  Value next = arith::AddFOp::create(b, args.back(), product);
                  if (!lengths)
                    return next;
                  return arith::SelectOp::create(b, visible(b, args[2], 5),
                                                 next, args.back());
                });
  y = e.joinLast(y, 3);
  return family ? pack(e, y, *family) : y;
}
