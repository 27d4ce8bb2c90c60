//===- RowSets.cpp - families of row sets -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sources of row sets, and what works on their rows one number at a time.
// Sources run on the calling thread: all that they do is a few passes over one
// number a row, and sets are packed one after the other.
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

namespace {
// The set of another family whose rows a source takes, if there is one.
struct Outer {
  Value offsets, order, counts;
  Sets sets;
};

template <typename SourceOp>
Outer outerOf(SourceOp op) {
  return {op.getOuterOffsets(), op.getOuterOrder(), op.getOuterCounts(),
          op.getOuterSets()};
}

// The tables that a source writes.
struct Tables {
  template <typename SourceOp>
  Tables(Kernel &kernel, SourceOp op)
      : indices(kernel[op.getIndices()]), offsets(kernel[op.getOffsets()]),
        order(kernel[op.getOrder()]), counts(kernel[op.getCounts()]) {}
  const Buffer &indices, &offsets, &order, &counts;
};
} // namespace

template <typename SourceOp>
static LogicalResult checkSource(SourceOp op) {
  if constexpr (!std::is_same_v<SourceOp, kernel::PartitionOp>) {
    if (!cast<MemRefType>(op.getScores().getType()).getElementType().isF32())
      return op.emitOpError("takes scores of ") << op.getScores().getType();
  }
  return checkI32(
      op, {op.getIndices(), op.getOffsets(), op.getOrder(), op.getCounts()});
}

// Calls body(sequence, first row, rows, carried) for every sequence. Rows of a
// sequence lie one after the other, within a set as well.
static SmallVector<Value> forSequences(
    Kernel &kernel, const Tables &tables, const Outer &outer,
    ValueRange carried,
    function_ref<SmallVector<Value>(Value, Value, Value, ValueRange)> body) {
  Code &code = kernel.code;
  Value tokens = tables.order.sizes[1];
  SmallVector<Value> state{code.i64(0)};
  llvm::append_range(state, carried);
  state = code.loop(
      code.i64(0), tables.counts.sizes[0], 1, state,
      [&](Value b, ValueRange carried) {
        Value first = carried[0], rows = tokens;
        if (outer.offsets) {
          const Buffer &offsets = kernel[outer.offsets];
          Value low = offsets.entry(code, code.i64((*outer.sets)[0]));
          Value count =
              code.sub(offsets.entry(code, code.i64((*outer.sets)[1])), low);
          const Buffer &order = kernel[outer.order];
          Value line = code.at(order.pointer, order.element(),
                               code.mul(b, order.sizes[1]));
          Value all = kernel[outer.counts].entry(code, b);
          rows = code.countColumns(all, [&](Value j, int64_t width) {
            Value p = code.load(code.i32Vector(width),
                                code.at(line, order.element(), j));
            auto spread = [&](Value value) {
              return code.broadcast(
                  arith::TruncIOp::create(code, code.getI32Type(), value),
                  width);
            };
            p = arith::SubIOp::create(code, p, spread(low));
            return Value(arith::ExtUIOp::create(code, code.i32Vector(width),
                                                code.inside(p, spread(count))));
          });
        }
        SmallVector<Value> next{code.add(first, rows)};
        llvm::append_range(next, body(b, first, rows, carried.drop_front()));
        return next;
      });
  state.erase(state.begin());
  return state;
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

// Integers in the order of f32: -0 is 0, NaN the least.
static Value keysOf(Code &code, Value numbers, int64_t width) {
  constexpr int32_t least = std::numeric_limits<int32_t>::min();
  auto splat = [&](int32_t value) { return code.splatI32(value, width); };
  Value bits = arith::BitcastOp::create(code, code.i32Vector(width), numbers);
  Value isZero =
      arith::CmpIOp::create(code, arith::CmpIPredicate::eq, bits, splat(least));
  bits = arith::SelectOp::create(code, isZero, splat(0), bits);
  // Negative numbers count backwards.
  Value flip = arith::AndIOp::create(
      code, arith::ShRSIOp::create(code, bits, splat(31)), splat(~least));
  Value keys = arith::XOrIOp::create(code, bits, flip);
  Value isNan =
      arith::CmpFOp::create(code, arith::CmpFPredicate::UNO, numbers, numbers);
  return arith::SelectOp::create(code, isNan, splat(least), keys);
}

static Value keyAt(Code &code, Value scores, Value index, int64_t width) {
  return keysOf(
      code, code.load(code.f32Vector(width), code.atF32(scores, index)), width);
}

// How many of `rows` keys compare to an i32.
static Value countKeys(Code &code, Value scores, Value rows,
                       arith::CmpIPredicate predicate, Value bound) {
  return code.countColumns(rows, [&](Value i, int64_t width) {
    Value key = keyAt(code, scores, i, width);
    Value is = arith::CmpIOp::create(code, predicate, key,
                                     code.broadcast(bound, width));
    return Value(arith::ExtUIOp::create(code, code.i32Vector(width), is));
  });
}

// The `wanted`-th largest key, found bit by bit; the largest i32 for 0.
static Value largestKey(Code &code, Value scores, Value rows, Value wanted) {
  auto i32 = [&](int32_t value) {
    return Value(
        arith::ConstantOp::create(code, code.getI32IntegerAttr(value)));
  };
  Value top = i32(std::numeric_limits<int32_t>::min());
  // Bits of the key as an unsigned integer: its sign is the other way round.
  Value found = code.loop(
      code.i64(0), code.i64(32), 1, i32(0), [&](Value bit, ValueRange carried) {
        Value shift = arith::TruncIOp::create(code, code.getI32Type(), bit);
        Value more = arith::OrIOp::create(
            code, carried[0], arith::ShRUIOp::create(code, top, shift));
        Value count = countKeys(code, scores, rows, arith::CmpIPredicate::sge,
                                arith::XOrIOp::create(code, more, top));
        return SmallVector<Value>{
            code.select(code.less(count, wanted), carried[0], more)};
      })[0];
  return arith::XOrIOp::create(code, found, top);
}

//===----------------------------------------------------------------------===//
// select
//===----------------------------------------------------------------------===//

LogicalResult cpu::generate(Kernel &kernel, kernel::SelectOp op) {
  if (failed(checkSource(op)))
    return failure();
  Code &code = kernel.code;
  const Buffer &scores = kernel[op.getScores()];
  Tables tables(kernel, op);
  Value tokens = tables.order.sizes[1];
  Value total = forSequences(
      kernel, tables, outerOf(op), code.i64(0),
      [&](Value b, Value first, Value rows, ValueRange carried) {
        Value from = scores.row(code, first), packed = carried[0];
        Value line = code.mul(b, tokens);
        // Writes a row when it is chosen; how many are, so far.
        auto put = [&](Value chosen, Value row, Value count) {
          code.when(chosen, [&] {
            Value p = code.add(packed, count);
            tables.indices.setEntry(code, p, code.add(first, row));
            tables.order.setEntry(code, code.add(line, count), p);
          });
          return code.add(count,
                          arith::ExtUIOp::create(code, code.i64Type(), chosen));
        };
        Value count;
        if (op.getThreshold()) {
          Value threshold = code.f32(op.getThreshold()->convertToFloat());
          count = code.loop(
              code.i64(0), rows, 1, code.i64(0),
              [&](Value row, ValueRange counts) {
                Value score =
                    code.load(code.getF32Type(), code.atF32(from, row));
                Value chosen = arith::CmpFOp::create(
                    code, arith::CmpFPredicate::OGT, score, threshold);
                return SmallVector<Value>{put(chosen, row, counts[0])};
              })[0];
        } else {
          Value wanted = capacityOf(code, *op.getCapacity(), rows);
          Value bound = largestKey(code, from, rows, wanted);
          // Of the rows that equal the bound, the first ones.
          Value equals =
              code.sub(wanted, countKeys(code, from, rows,
                                         arith::CmpIPredicate::sgt, bound));
          count = code.loop(
              code.i64(0), rows, 1, ValueRange{code.i64(0), equals},
              [&](Value row, ValueRange counts) {
                Value key = vector::ExtractOp::create(
                    code, keyAt(code, from, row, 1), 0);
                Value greater = arith::CmpIOp::create(
                    code, arith::CmpIPredicate::sgt, key, bound);
                Value equal = arith::CmpIOp::create(
                    code, arith::CmpIPredicate::eq, key, bound);
                equal = arith::AndIOp::create(
                    code, equal, code.less(code.i64(0), counts[1]));
                Value left = code.sub(
                    counts[1],
                    arith::ExtUIOp::create(code, code.i64Type(), equal));
                Value chosen = arith::OrIOp::create(code, greater, equal);
                return SmallVector<Value>{put(chosen, row, counts[0]), left};
              })[0];
        }
        tables.counts.setEntry(code, b, count);
        return SmallVector<Value>{code.add(packed, count)};
      })[0];
  tables.offsets.setEntry(code, code.i64(0), code.i64(0));
  tables.offsets.setEntry(code, code.i64(1), total);
  return success();
}

//===----------------------------------------------------------------------===//
// partition and assign
//===----------------------------------------------------------------------===//

// A stable counting sort of rows by setOf(row); rows whose set is none of
// `sets` are left out. `order` holds the sets and `offsets` the counts on the
// way.
static void sortRows(Kernel &kernel, const Tables &tables, const Outer &outer,
                     function_ref<Value(Value row)> setOf) {
  Code &code = kernel.code;
  const Buffer &offsets = tables.offsets;
  Value tokens = tables.order.sizes[1];
  Value sets = code.sub(offsets.sizes[0], 1);
  code.loop(code.i64(0), offsets.sizes[0], 1,
            [&](Value s) { offsets.setEntry(code, s, code.i64(0)); });
  forSequences(kernel, tables, outer, {},
               [&](Value b, Value first, Value rows, ValueRange) {
                 Value line = code.mul(b, tokens);
                 code.loop(rows, [&](Value j) {
                   Value set = setOf(code.add(first, j));
                   tables.order.setEntry(code, code.add(line, j), set);
                   code.when(code.inside(set, sets), [&] {
                     offsets.setEntry(code, set,
                                      code.add(offsets.entry(code, set), 1));
                   });
                 });
                 return SmallVector<Value>();
               });
  // Where each set starts.
  code.loop(code.i64(0), offsets.sizes[0], 1, code.i64(0),
            [&](Value s, ValueRange carried) {
              Value count = offsets.entry(code, s);
              offsets.setEntry(code, s, carried[0]);
              return SmallVector<Value>{code.add(carried[0], count)};
            });
  forSequences(
      kernel, tables, outer, {},
      [&](Value b, Value first, Value rows, ValueRange) {
        Value line = code.mul(b, tokens);
        Value count = code.loop(
            code.i64(0), rows, 1, code.i64(0),
            [&](Value j, ValueRange carried) {
              Value set = tables.order.entry(code, code.add(line, j));
              Value known = code.inside(set, sets);
              code.when(known, [&] {
                Value p = offsets.entry(code, set);
                offsets.setEntry(code, set, code.add(p, 1));
                tables.indices.setEntry(code, p, code.add(first, j));
                tables.order.setEntry(code, code.add(line, carried[0]), p);
              });
              return SmallVector<Value>{code.add(
                  carried[0],
                  arith::ExtUIOp::create(code, code.i64Type(), known))};
            })[0];
        tables.counts.setEntry(code, b, count);
        return SmallVector<Value>();
      });
  // Every set now stands where the next one starts.
  code.loop(code.i64(0), sets, 1, code.i64(0),
            [&](Value s, ValueRange carried) {
              Value end = offsets.entry(code, s);
              offsets.setEntry(code, s, carried[0]);
              return SmallVector<Value>{end};
            });
}

LogicalResult cpu::generate(Kernel &kernel, kernel::PartitionOp op) {
  if (failed(checkSource(op)) || failed(checkI32(op, {op.getIds()})))
    return failure();
  Code &code = kernel.code;
  SmallVector<int32_t> sets(op.getSets().begin(), op.getSets().end());
  int64_t size = sets.size();
  auto type = RankedTensorType::get({size}, code.getI32Type());
  Value table = kernel.generator.constant(
      code, ("nest_sets_" + kernel.def.getSymName()).str(),
      DenseElementsAttr::get(type, ArrayRef(sets)));
  const Buffer &ids = kernel[op.getIds()];
  sortRows(kernel, Tables(kernel, op), {}, [&](Value row) {
    // The runtime refuses such ids; never read outside all the same.
    Value id = ids.entry(code, row);
    Value known = code.inside(id, code.i64(size));
    id = code.select(known, id, code.i64(0));
    Value set = code.loadI32(code.at(table, code.getI32Type(), id));
    return code.select(known, set, code.i64(-1));
  });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::AssignOp op) {
  if (failed(checkSource(op)))
    return failure();
  Code &code = kernel.code;
  const Buffer &scores = kernel[op.getScores()];
  Value slots = scores.columns();
  sortRows(kernel, Tables(kernel, op), outerOf(op), [&](Value row) {
    // A key above, the slots from the last one below: no two are equal. One
    // pass for each choice finds the largest below the choice before.
    Value from = scores.row(code, row);
    Value least = code.i64(std::numeric_limits<int64_t>::min());
    Value best = code.loop(
        code.i64(0), code.i64(op.getChoice() + 1), 1,
        code.i64(std::numeric_limits<int64_t>::max()),
        [&](Value, ValueRange bound) {
          return code.loop(
              code.i64(0), slots, 1, least, [&](Value slot, ValueRange best) {
                Value key = vector::ExtractOp::create(
                    code, keyAt(code, from, slot, 1), 0);
                key = arith::ExtSIOp::create(code, code.i64Type(), key);
                key = arith::ShLIOp::create(code, key, code.i64(32));
                key = code.add(key, code.sub(code.sub(slots, 1), slot));
                key = code.select(code.less(key, bound[0]), key, least);
                return SmallVector<Value>{code.max(best[0], key)};
              });
        })[0];
    Value behind = arith::AndIOp::create(code, best, code.i64(0xffffffff));
    return code.sub(code.sub(slots, 1), behind);
  });
  return success();
}

//===----------------------------------------------------------------------===//
// Numbers of packed rows
//===----------------------------------------------------------------------===//

// Rows that make a task worth its start.
static constexpr int64_t numbersOfTask = 4096;

LogicalResult cpu::generate(Kernel &kernel, kernel::GatherOp op) {
  if (failed(checkI32(
          op, {op.getX(), op.getOffsets(), op.getIndices(), op.getOut()})))
    return failure();
  Code &outer = kernel.code;
  RowRange rows = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getX());
  kernel.parallel(
      rows.count, outer.i64(numbersOfTask), {rows.low},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        Value row = piece.buffers[kernel.indexOf(op.getIndices())].entry(
            code, code.add(piece.extras[0], piece.item));
        piece.buffers[kernel.indexOf(op.getOut())].setEntry(
            code, piece.item,
            piece.buffers[kernel.indexOf(op.getX())].entry(code, row));
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::ChosenOp op) {
  if (failed(checkI32(op, {op.getOffsets(), op.getIndices()})))
    return failure();
  Code &outer = kernel.code;
  RowRange rows = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getOut());
  kernel.parallel(
      rows.count, outer.i64(numbersOfTask), {rows.low},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &scores = piece.buffers[kernel.indexOf(op.getScores())];
        const Buffer &offsets = piece.buffers[kernel.indexOf(op.getOffsets())];
        Value packed = code.add(piece.extras[0], piece.item);
        Value row =
            piece.buffers[kernel.indexOf(op.getIndices())].entry(code, packed);
        Value set = code.add(setOf(code, offsets, op.getSets(), packed),
                             op.getSets()[0]);
        Value score = code.load(code.getF32Type(),
                                code.atF32(scores.row(code, row), set));
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        code.store(score, out.row(code, piece.item));
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::AdvanceOp op) {
  if (failed(checkI32(op, {op.getIds(), op.getCounts(), op.getOut()})))
    return failure();
  Code &code = kernel.code;
  const Buffer &out = kernel[op.getOut()];
  code.loop(out.sizes[0], [&](Value b) {
    Value rows = op.getCounts() ? kernel[op.getCounts()].entry(code, b)
                                : kernel[op.getIds()].sizes[1];
    out.setEntry(code, b, code.add(out.entry(code, b), rows));
  });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::RankOp op) {
  if (failed(checkI32(op, {op.getLengths(), op.getOffsets(), op.getOrder(),
                           op.getCounts(), op.getOut()})))
    return failure();
  Code &code = kernel.code;
  const Buffer &out = kernel[op.getOut()];
  Value tokens = out.sizes[1];
  RowRange range = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getOut());
  code.loop(out.sizes[0], [&](Value b) {
    Value length = kernel[op.getLengths()].entry(code, b);
    Value count =
        op.getOffsets() ? kernel[op.getCounts()].entry(code, b) : tokens;
    code.loop(count, [&](Value j) {
      Value at = code.add(code.mul(b, tokens), j);
      Value rank = code.add(length, j);
      if (!op.getOffsets())
        return out.setEntry(code, at, rank);
      Value row = code.sub(kernel[op.getOrder()].entry(code, at), range.low);
      code.when(code.inside(row, range.count),
                [&] { out.setEntry(code, row, rank); });
    });
  });
  return success();
}

//===----------------------------------------------------------------------===//
// softmax
//===----------------------------------------------------------------------===//

static Value lowest(Code &code, int64_t width) {
  return code.splat(-std::numeric_limits<float>::infinity(), width);
}

static Value loadF32(Code &code, Value row, Value column, int64_t width) {
  return code.load(code.f32Vector(width), code.atF32(row, column));
}

// One row, over its columns.
static void softmaxOfColumns(Code &code, Value from, Value to, Value columns) {
  Value whole = code.mul(code.div(columns, code.lanes), code.lanes);
  auto maximumOf = [&](Value low, Value high, int64_t width) {
    Value vector = code.loop(low, high, width, lowest(code, width),
                             [&](Value j, ValueRange carried) {
                               return SmallVector<Value>{code.fmax(
                                   loadF32(code, from, j, width), carried[0])};
                             })[0];
    return code.maximum(vector);
  };
  Value maximum = code.fmax(maximumOf(code.i64(0), whole, code.lanes),
                            maximumOf(whole, columns, 1));
  Value sum = code.sumColumns(columns, 1, [&](Value j, int64_t width) {
    Value x = loadF32(code, from, j, width);
    x = code.exp(code.fsub(x, code.broadcast(maximum, width)));
    code.store(x, code.atF32(to, j));
    return SmallVector<Value>{x};
  })[0];
  code.columns(columns, [&](Value j, int64_t width) {
    Value x = loadF32(code, to, j, width);
    code.store(code.fdiv(x, code.broadcast(sum, width)), code.atF32(to, j));
  });
}

LogicalResult cpu::generate(Kernel &kernel, kernel::SoftmaxOp op) {
  if (failed(checkI32(op, {op.getOffsets(), op.getOrder(), op.getCounts()})))
    return failure();
  Code &outer = kernel.code;
  RowRange range = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getX());
  const Buffer &x = kernel[op.getX()];
  Value each = outer.mul(x.columns(), 32);
  if (!op.getOverRows()) {
    kernel.parallel(
        range.count, grainFor(outer, each), {}, [&](Kernel::Piece &piece) {
          const Buffer &x = piece.buffers[kernel.indexOf(op.getX())];
          const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
          softmaxOfColumns(piece.code, x.row(piece.code, piece.item),
                           out.row(piece.code, piece.item), x.columns());
        });
    return success();
  }
  if (cast<MemRefType>(op.getX().getType()).getRank() != 3)
    return op.emitOpError("takes the rows of each sequence of ")
           << op.getX().getType() << "; legal is [B, T, D]";
  SmallVector<Value> extras;
  if (op.getOffsets())
    extras = {range.low, range.count};
  kernel.parallel(
      x.sizes[0], grainFor(outer, outer.mul(each, x.sizes[1])), extras,
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &x = piece.buffers[kernel.indexOf(op.getX())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        Value tokens = x.sizes[1];
        if (op.getOffsets())
          tokens = piece.buffers[kernel.indexOf(op.getCounts())].entry(
              code, piece.item);
        Value first = code.mul(piece.item, x.sizes[1]);
        // Carries a vector through the rows of the sequence.
        auto overRows = [&](Value start,
                            function_ref<Value(Value row, Value)> body) {
          return code.loop(
              code.i64(0), tokens, 1, start, [&](Value j, ValueRange carried) {
                Value row = code.add(first, j);
                if (!op.getOffsets())
                  return SmallVector<Value>{body(row, carried[0])};
                const Buffer &order =
                    piece.buffers[kernel.indexOf(op.getOrder())];
                row = code.sub(order.entry(code, row), piece.extras[0]);
                // A row of other sets of the family changes nothing.
                auto branch = scf::IfOp::create(
                    code, start.getType(), code.inside(row, piece.extras[1]),
                    /*else=*/true);
                OpBuilder::InsertionGuard guard(code);
                code.setInsertionPointToStart(branch.thenBlock());
                scf::YieldOp::create(code, body(row, carried[0]));
                code.setInsertionPointToStart(branch.elseBlock());
                scf::YieldOp::create(code, carried[0]);
                return SmallVector<Value>{branch.getResult(0)};
              })[0];
        };
        code.columns(x.columns(), [&](Value column, int64_t width) {
          Value maximum =
              overRows(lowest(code, width), [&](Value row, Value carried) {
                return code.fmax(loadF32(code, x.row(code, row), column, width),
                                 carried);
              });
          Value sum =
              overRows(code.splat(0, width), [&](Value row, Value carried) {
                Value e = code.exp(code.fsub(
                    loadF32(code, x.row(code, row), column, width), maximum));
                code.store(e, code.atF32(out.row(code, row), column));
                return code.fadd(carried, e);
              });
          overRows(sum, [&](Value row, Value carried) {
            Value to = code.atF32(out.row(code, row), column);
            Value e = code.load(code.f32Vector(width), to);
            code.store(code.fdiv(e, carried), to);
            return carried;
          });
        });
      });
  return success();
}
