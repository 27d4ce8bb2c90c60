//===- LowerSets.cpp - row sets and packed streams, in linalg -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A source decides the set of every row, by counting and without a sort; then
// one piece of code packs the rows of all sources.
//
//===----------------------------------------------------------------------===//

#include "lowering/linalg/Lower.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <limits>

using namespace mlir;
using namespace nestc::nest;
using namespace nestc::linalg_lowering;

using State = SmallVector<Value>;

Value nestc::linalg_lowering::entry(ImplicitLocOpBuilder &b, Value tensor,
                                    ValueRange at) {
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    tensor::ExtractOp::create(b, tensor, at));
}

namespace {

Type elementOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getElementType();
}

Value toI32(ImplicitLocOpBuilder &b, Value index) {
  return arith::IndexCastOp::create(b, b.getI32Type(), index);
}
Value i32(ImplicitLocOpBuilder &b, int32_t value) {
  return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
}
Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddIOp::create(b, x, y);
}
Value less(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, y);
}
Value equal(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
}
Value select(ImplicitLocOpBuilder &b, Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, condition, x, y);
}

/// `tensor` with an index as the i32 at `at`.
Value put(Emitter &e, Value tensor, Value at, Value index) {
  return tensor::InsertOp::create(e.b, toI32(e.b, index), tensor, at);
}
Value put(Emitter &e, Value tensor, Value sequence, Value at, Value index) {
  return tensor::InsertOp::create(e.b, toI32(e.b, index), tensor,
                                  ValueRange{sequence, at});
}

/// i32 [B * T] and [B], 0.
Value zerosLikeRows(Emitter &e, const Rows &rows) {
  return e.zeros(e.sizes(rows.places), e.b.getI32Type());
}
Value zerosLikeCounts(Emitter &e, const Rows &rows) {
  return e.zeros(e.sizes(rows.counts), e.b.getI32Type());
}

/// How many rows are packed.
Value totalOf(Emitter &e, const Rows &rows) {
  return entry(e.b, rows.offsets, e.index(rows.sets));
}

/// All rows of `like`, [B, T, ..], as they are.
Rows allRows(Emitter &e, Value like) {
  Emitter::Sizes sizes = e.sizes(like);
  sizes.resize(2);
  Type type = e.b.getI32Type();
  Value rows = e.index(sizes[1]);
  AffineMap all = e.b.getMultiDimIdentityMap(2);
  Rows result;
  result.order = e.generic(
      {}, e.empty(sizes, type), all, [&](ScalarBuilder &b, ValueRange) {
        Value first =
            arith::MulIOp::create(b, linalg::IndexOp::create(b, 0), rows);
        return toI32(b, add(b, first, linalg::IndexOp::create(b, 1)));
      });
  result.indices = e.joinRows(result.order);
  result.places = e.joinRows(e.generic(
      {}, e.empty(sizes, type), all, [&](ScalarBuilder &b, ValueRange) {
        return toI32(b, linalg::IndexOp::create(b, 1));
      }));
  result.counts =
      e.generic({}, e.empty(sizes[0], type), e.b.getMultiDimIdentityMap(1),
                [&](ScalarBuilder &b, ValueRange) { return toI32(b, rows); });
  return result;
}

/// Calls `body(sequence, j, row, state)` for the rows of all sequences.
State forRows(Emitter &e, const Rows &rows, ValueRange state,
              llvm::function_ref<State(Value, Value, Value, ValueRange)> body) {
  Value zero = e.index(0), sequences = e.index(e.sizes(rows.counts)[0]);
  return e.loop(zero, sequences, state, [&](Value sequence, ValueRange outer) {
    return e.loop(zero, entry(e.b, rows.counts, sequence), outer,
                  [&](Value j, ValueRange inner) {
                    Value row = entry(e.b, rows.order, {sequence, j});
                    return body(sequence, j, row, inner);
                  });
  });
}

/// The order and the counts of the rows of `outer` for which `packed(row)`
/// gives a packed row; no row where the first of its results is false.
void keepOrder(Emitter &e, const Rows &outer, Rows &rows,
               llvm::function_ref<std::pair<Value, Value>(Value)> packed) {
  State state = forRows(
      e, outer,
      {e.zeros(e.sizes(outer.order), e.b.getI32Type()),
       zerosLikeCounts(e, outer)},
      [&](Value sequence, Value, Value row, ValueRange state) {
        std::pair<Value, Value> found = packed(row);
        return e.when(found.first, state, [&]() -> State {
          Value count = entry(e.b, state[1], sequence);
          return {put(e, state[0], sequence, count, found.second),
                  put(e, state[1], sequence, add(e.b, count, e.index(1)))};
        });
      });
  rows.order = state[0];
  rows.counts = state[1];
}

/// The family of the rows of `outer`: row r is in set setOf[r], i32 [B * T],
/// and in none where that is -1.
Rows packRows(Emitter &e, const Rows &outer, Value setOf, int64_t sets) {
  Rows rows;
  rows.sets = sets;
  Value one = e.index(1);
  Value none = zerosLikeRows(e, outer);
  // indices, places, offsets, the packed row of each row, how many there are.
  State state = e.loop(
      e.index(0), e.index(sets),
      {none, none,
       e.zeros({OpFoldResult(e.b.getIndexAttr(sets + 1))}, e.b.getI32Type()),
       none, e.index(0)},
      [&](Value set, ValueRange state) -> State {
        State next = forRows(
            e, outer, {state[0], state[1], state[3], state[4]},
            [&](Value, Value, Value row, ValueRange state) {
              Value inside = equal(e.b, entry(e.b, setOf, row), set);
              return e.when(inside, state, [&]() -> State {
                Value at = state[3];
                return {put(e, state[0], at, row),
                        put(e, state[1], at, entry(e.b, outer.places, row)),
                        put(e, state[2], row, at), add(e.b, at, one)};
              });
            });
        Value offsets = put(e, state[2], add(e.b, set, one), next[3]);
        return {next[0], next[1], offsets, next[2], next[3]};
      });
  rows.indices = state[0];
  rows.places = state[1];
  rows.offsets = state[2];
  keepOrder(e, outer, rows, [&](Value row) {
    Value set = entry(e.b, setOf, row);
    Value inside =
        arith::CmpIOp::create(e.b, arith::CmpIPredicate::sge, set, e.index(0));
    return std::pair<Value, Value>(inside, entry(e.b, state[3], row));
  });
  return rows;
}

/// The rows that a source chooses from.
Rows candidates(Emitter &e, Value input, Value within) {
  return within ? e.rows(within) : allRows(e, input);
}

/// Whether the score x of candidate j comes before the score y of candidate i:
/// it is larger, or equal and of a lower candidate. -0 equals 0, and a NaN is
/// below everything and equals a NaN.
Value comesBefore(Emitter &e, Value x, Value j, Value y, Value i) {
  using Predicate = arith::CmpFPredicate;
  auto compare = [&](Predicate predicate, Value x, Value y) -> Value {
    return arith::CmpFOp::create(e.b, predicate, x, y);
  };
  Value yNan = compare(Predicate::UNO, y, y),
        xNan = compare(Predicate::UNO, x, x);
  Value larger = select(e.b, yNan, compare(Predicate::ORD, x, x),
                        compare(Predicate::OGT, x, y));
  Value same = select(e.b, yNan, xNan, compare(Predicate::OEQ, x, y));
  Value lower = arith::AndIOp::create(e.b, same, less(e.b, j, i));
  return arith::OrIOp::create(e.b, larger, lower);
}

/// How many of `count` scores come before score i.
Value rankOf(Emitter &e, Value count, Value i,
             llvm::function_ref<Value(Value)> score) {
  Value own = score(i), one = e.index(1), zero = e.index(0);
  return e.loop(zero, count, zero, [&](Value j, ValueRange state) -> State {
    Value before = comesBefore(e, score(j), j, own, i);
    return {add(e.b, state[0], select(e.b, before, one, zero))};
  })[0];
}

/// CapacityAttr::of, of a number of rows that the program computes.
Value capacityOf(Emitter &e, CapacityAttr capacity, Value rows) {
  int64_t numerator = capacity.getNumerator();
  int64_t denominator = capacity.getDenominator();
  Type i64 = e.b.getI64Type();
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(e.b, e.b.getI64IntegerAttr(value));
  };
  rows = arith::IndexCastOp::create(e.b, i64, rows);
  Value count = constant(numerator);
  if (!capacity.isCount() && capacity.getRounding() == Rounding::double_floor) {
    Value part = arith::ConstantOp::create(
        e.b, e.b.getF64FloatAttr(static_cast<double>(numerator) /
                                 static_cast<double>(denominator)));
    Value all = arith::SIToFPOp::create(e.b, e.b.getF64Type(), rows);
    count = arith::FPToSIOp::create(e.b, i64,
                                    arith::MulFOp::create(e.b, part, all));
  } else if (!capacity.isCount()) {
    Value product = arith::MulIOp::create(e.b, rows, count);
    Value by = constant(denominator);
    count = arith::DivUIOp::create(e.b, product, by);
    Value rest = arith::RemUIOp::create(e.b, product, by);
    Value up;
    if (capacity.getRounding() == Rounding::ceil) {
      up = less(e.b, constant(0), rest);
    } else if (capacity.getRounding() == Rounding::nearest_even) {
      // A half rounds up from an odd count.
      Value odd = arith::RemUIOp::create(e.b, count, constant(2));
      up = less(e.b, by, add(e.b, add(e.b, rest, rest), odd));
    }
    if (up)
      count = add(e.b, count, select(e.b, up, constant(1), constant(0)));
  }
  count = arith::MaxSIOp::create(e.b, count, constant(capacity.getMinimum()));
  count = arith::MinSIOp::create(e.b, count, rows);
  return arith::IndexCastOp::create(e.b, e.b.getIndexType(), count);
}

} // namespace

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

Rows nestc::linalg_lowering::lowerRows(SelectOp op, Emitter &e) {
  Rows outer = candidates(e, op.getScores(), op.getWithin());
  Value scores = e.joinRows(op.getScores()), zero = e.index(0);
  auto scoreOf = [&](Value row) -> Value {
    return tensor::ExtractOp::create(e.b, scores, ValueRange{row, zero});
  };
  State setOf = forRows(
      e, outer, zerosLikeRows(e, outer),
      [&](Value sequence, Value j, Value row, ValueRange state) -> State {
        Value selected;
        if (std::optional<CapacityAttr> capacity = op.getCapacity()) {
          Value count = entry(e.b, outer.counts, sequence);
          Value rank = rankOf(e, count, j, [&](Value other) {
            return scoreOf(entry(e.b, outer.order, {sequence, other}));
          });
          selected = less(e.b, rank, capacityOf(e, *capacity, count));
        } else {
          selected = arith::CmpFOp::create(
              e.b, arith::CmpFPredicate::OGT, scoreOf(row),
              e.f32(op.getThreshold()->convertToFloat()));
        }
        Value set = select(e.b, selected, i32(e.b, 0), i32(e.b, -1));
        return {tensor::InsertOp::create(e.b, set, state[0], row)};
      });
  return packRows(e, outer, setOf[0], 1);
}

Rows nestc::linalg_lowering::lowerRows(PartitionOp op, Emitter &e) {
  auto sets = llvm::to_vector_of<int32_t>(op.getSets());
  auto count = static_cast<int64_t>(sets.size());
  Value table = arith::ConstantOp::create(
      e.b,
      DenseElementsAttr::get(RankedTensorType::get({count}, e.b.getI32Type()),
                             ArrayRef<int32_t>(sets)));
  // A value that stands for nothing is in no set.
  Value ids = e.joinRows(op.getIds());
  Value setOf = e.elementwise(
      ids, e.b.getI32Type(), [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult,
                                             args[0], i32(b, count));
        Value id = select(b, inside, args[0], i32(b, 0));
        id = arith::IndexCastOp::create(b, b.getIndexType(), id);
        return select(b, inside, tensor::ExtractOp::create(b, table, id),
                      i32(b, -1));
      });
  return packRows(e, allRows(e, op.getIds()), setOf,
                  op.getRows().getType().getSets());
}

Rows nestc::linalg_lowering::lowerRows(AssignOp op, Emitter &e) {
  Rows outer = candidates(e, op.getScores(), op.getWithin());
  Value scores = e.joinRows(op.getScores());
  int64_t slots = op.getRows().getType().getSets();
  State setOf = forRows(
      e, outer, zerosLikeRows(e, outer),
      [&](Value, Value, Value row, ValueRange state) -> State {
        Value set = e.loop(
            e.index(0), e.index(slots), e.index(0),
            [&](Value slot, ValueRange found) -> State {
              Value rank = rankOf(e, e.index(slots), slot, [&](Value other) {
                return tensor::ExtractOp::create(e.b, scores,
                                                 ValueRange{row, other});
              });
              Value chosen = equal(e.b, rank, e.index(op.getChoice()));
              return {select(e.b, chosen, slot, found[0])};
            })[0];
        return {put(e, state[0], row, set)};
      });
  return packRows(e, outer, setOf[0], slots);
}

Rows nestc::linalg_lowering::lowerRows(PickOp op, Emitter &e) {
  const Rows &family = e.rows(op.getFamily());
  auto first = static_cast<int64_t>(op.getFirst());
  Rows rows;
  rows.sets = static_cast<int64_t>(op.getCount());
  rows.first = family.first + first;
  Value from = entry(e.b, family.offsets, e.index(first));
  Value to = entry(e.b, family.offsets, e.index(first + rows.sets));
  AffineMap all = e.b.getMultiDimIdentityMap(1);
  auto shifted = [&](Value table) {
    return e.generic(
        {}, e.empty(e.sizes(table), e.b.getI32Type()), all,
        [&](ScalarBuilder &b, ValueRange) -> Value {
          Value at = add(b, from, linalg::IndexOp::create(b, 0));
          Value inside = less(b, at, to);
          at = select(b, inside, at, arith::ConstantIndexOp::create(b, 0));
          return select(b, inside, tensor::ExtractOp::create(b, table, at),
                        i32(b, 0));
        });
  };
  rows.indices = shifted(family.indices);
  rows.places = shifted(family.places);
  Value offsets = e.slice(family.offsets, 0, e.b.getIndexAttr(first),
                          e.b.getIndexAttr(rows.sets + 1));
  rows.offsets =
      e.elementwise(offsets, e.b.getI32Type(),
                    [&](ScalarBuilder &b, ValueRange args) -> Value {
                      return arith::SubIOp::create(b, args[0], toI32(b, from));
                    });
  keepOrder(e, family, rows, [&](Value row) {
    Value at = arith::SubIOp::create(e.b, row, from);
    Value inside = arith::CmpIOp::create(e.b, arith::CmpIPredicate::ult, at,
                                         arith::SubIOp::create(e.b, to, from));
    return std::pair<Value, Value>(inside, at);
  });
  return rows;
}

//===----------------------------------------------------------------------===//
// Packed streams
//===----------------------------------------------------------------------===//

Value nestc::linalg_lowering::unpack(Emitter &e, Value x, const Rows &rows) {
  Emitter::Sizes sizes = e.sizes(x);
  unsigned rank = sizes.size();
  Value packed = e.joinRows(x);
  Type type = elementOf(x);
  return e.generic(
      {rows.order, rows.counts}, e.empty(sizes, type),
      {e.map(rank, {0, 1}), e.map(rank, {0}), e.b.getMultiDimIdentityMap(rank)},
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value inside =
            less(b, toI32(b, linalg::IndexOp::create(b, 1)), args[1]);
        State at{arith::IndexCastOp::create(b, b.getIndexType(), args[0])};
        for (unsigned dim = 2; dim < rank; ++dim)
          at.push_back(linalg::IndexOp::create(b, dim));
        return select(b, inside, tensor::ExtractOp::create(b, packed, at),
                      arith::ConstantOp::create(b, b.getZeroAttr(type)));
      });
}

Value nestc::linalg_lowering::pack(Emitter &e, Value x, const Rows &rows) {
  Value inOrder = e.joinRows(x), count = e.index(e.sizes(x)[1]);
  Value packed = forRows(
      e, rows, e.zeros(e.sizes(inOrder), elementOf(x)),
      [&](Value sequence, Value j, Value row, ValueRange state) -> State {
        Value from = add(e.b, arith::MulIOp::create(e.b, sequence, count), j);
        Value piece = e.slice(inOrder, 0, from, e.b.getIndexAttr(1));
        return {e.insert(piece, state[0], 0, row)};
      })[0];
  return e.splitRows(packed, x);
}

Value nestc::linalg_lowering::lower(GatherOp op, Emitter &e) {
  const Rows &rows = e.rows(op.getRows());
  Value x = e.joinRows(op.getX()), total = totalOf(e, rows);
  Emitter::Sizes sizes = e.sizes(x);
  unsigned rank = sizes.size();
  Type type = elementOf(x);
  Value packed = e.generic(
      rows.indices, e.empty(sizes, type),
      {e.map(rank, {0}), e.b.getMultiDimIdentityMap(rank)},
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value inside = less(b, linalg::IndexOp::create(b, 0), total);
        State at{arith::IndexCastOp::create(b, b.getIndexType(), args[0])};
        if (rank == 2)
          at.push_back(linalg::IndexOp::create(b, 1));
        return select(b, inside, tensor::ExtractOp::create(b, x, at),
                      arith::ConstantOp::create(b, b.getZeroAttr(type)));
      });
  return e.splitRows(packed, op.getX());
}

Value nestc::linalg_lowering::lower(SpreadOp op, Emitter &e) {
  const Rows &rows = e.rows(op.getRows());
  Value x = e.joinRows(op.getX());
  Value base = op.getBase() ? e.joinRows(op.getBase())
                            : e.zeros(e.sizes(x), e.b.getF32Type());
  Value result = e.loop(e.index(0), totalOf(e, rows), base,
                        [&](Value p, ValueRange state) -> State {
                          Value row = entry(e.b, rows.indices, p);
                          Value piece = e.slice(x, 0, p, e.b.getIndexAttr(1));
                          return {e.insert(piece, state[0], 0, row)};
                        })[0];
  return e.splitRows(result, op.getX());
}

Value nestc::linalg_lowering::lower(ScaleOp op, Emitter &e) {
  Value x = op.getX();
  AffineMap all = e.b.getMultiDimIdentityMap(3);
  AffineMap row =
      AffineMap::get(3, 0,
                     {e.b.getAffineDimExpr(0), e.b.getAffineDimExpr(1),
                      e.b.getAffineConstantExpr(op.getColumn())},
                     e.b.getContext());
  return e.generic({x, op.getWeights()}, e.empty(e.sizes(x), e.b.getF32Type()),
                   {all, row, all},
                   [&](ScalarBuilder &b, ValueRange args) -> Value {
                     return arith::MulFOp::create(b, args[0], args[1]);
                   });
}

Value nestc::linalg_lowering::lower(ChosenOp op, Emitter &e) {
  const Rows &rows = e.rows(op.getRows());
  Value scores = e.joinRows(op.getScores()), zero = e.index(0);
  Value result =
      e.zeros({e.sizes(scores)[0], e.b.getIndexAttr(1)}, e.b.getF32Type());
  for (int64_t set = 0; set < rows.sets; ++set) {
    Value slot = e.index(rows.first + set);
    Value from = entry(e.b, rows.offsets, e.index(set));
    Value to = entry(e.b, rows.offsets, e.index(set + 1));
    result = e.loop(from, to, result, [&](Value p, ValueRange state) -> State {
      Value row = entry(e.b, rows.indices, p);
      Value score =
          tensor::ExtractOp::create(e.b, scores, ValueRange{row, slot});
      return {
          tensor::InsertOp::create(e.b, score, state[0], ValueRange{p, zero})};
    })[0];
  }
  return e.splitRows(result, op.getScores());
}

// Over rows: what is no row is -inf, and counts nothing.
Value nestc::linalg_lowering::lower(SoftmaxOp op, Emitter &e) {
  Value x = op.getX();
  if (!op.getOverRows())
    return softmaxLast(e, x);
  Rows rows = candidates(e, x, op.getRows());
  Value inOrder = unpack(e, x, rows);
  Emitter::Sizes sizes = e.sizes(x);
  std::swap(sizes[1], sizes[2]);
  float infinity = std::numeric_limits<float>::infinity();
  Value turned = e.generic(
      {inOrder, rows.counts}, e.empty(sizes, e.b.getF32Type()),
      {e.map(3, {0, 2, 1}), e.map(3, {0}), e.b.getMultiDimIdentityMap(3)},
      [&](ScalarBuilder &b, ValueRange args) -> Value {
        Value inside =
            less(b, toI32(b, linalg::IndexOp::create(b, 2)), args[1]);
        return select(
            b, inside, args[0],
            arith::ConstantOp::create(b, b.getF32FloatAttr(-infinity)));
      });
  Value y =
      e.generic(softmaxLast(e, turned), e.empty(e.sizes(x), e.b.getF32Type()),
                {e.map(3, {0, 2, 1}), e.b.getMultiDimIdentityMap(3)},
                [&](ScalarBuilder &, ValueRange args) { return args[0]; });
  return pack(e, y, rows);
}

//===----------------------------------------------------------------------===//
// Rows counted along a sequence
//===----------------------------------------------------------------------===//

Value nestc::linalg_lowering::lower(AdvanceOp op, Emitter &e) {
  Value counts = op.getRows() ? e.rows(op.getRows()).counts
                              : allRows(e, op.getIds()).counts;
  return e.elementwise({op.getLengths(), counts}, e.b.getI32Type(),
                       [&](ScalarBuilder &b, ValueRange args) {
                         return add(b, args[0], args[1]);
                       });
}

Value nestc::linalg_lowering::lower(RankOp op, Emitter &e) {
  Value numbers = e.generic(
      op.getLengths(), e.empty(e.sizes(op.getIds()), e.b.getI32Type()),
      {e.map(2, {0}), e.b.getMultiDimIdentityMap(2)},
      [&](ScalarBuilder &b, ValueRange args) {
        return add(b, args[0], toI32(b, linalg::IndexOp::create(b, 1)));
      });
  return op.getRows() ? pack(e, numbers, e.rows(op.getRows())) : numbers;
}
