//===- Rows.cpp - rows moved from one place to another -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

static LogicalResult checkFloat(Operation *op, Value operand) {
  auto type = cast<MemRefType>(operand.getType());
  if (!isFloatType(type.getElementType()))
    return op->emitOpError("has a buffer of ")
           << type.getElementType() << "; it must be f32, bf16 or f16";
  if (type.getRank() < 2 || ShapedType::isDynamic(type.getShape().back()))
    return op->emitOpError("has rows of dynamic width: ") << type;
  return success();
}

// to[0 .. width-1] = from[0 .. width-1] * scale, converting.
static void copyRow(Code &code, Type fromType, Value from, Type toType,
                    Value to, Value width, float scale = 1) {
  code.columns(width, [&](Value column, int64_t lanes) {
    Value v = code.loadVector(fromType, code.at(from, fromType, column), lanes);
    if (scale != 1)
      v = code.fmul(v, code.splat(scale, lanes));
    code.storeVector(toType, v, code.at(to, toType, column));
  });
}

LogicalResult cpu::generate(Kernel &kernel, kernel::EmbedOp op) {
  if (failed(checkFloat(op, op.getTable())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getIds()})))
    return failure();
  Code &outer = kernel.code;
  const Buffer &out = kernel[op.getOut()];
  float scale = op.getScale().convertToFloat();
  kernel.parallel(
      out.rows(outer), grainFor(outer, out.columns()), {},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &ids = piece.buffers[kernel.indexOf(op.getIds())];
        const Buffer &table = piece.buffers[kernel.indexOf(op.getTable())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        Value id =
            code.loadI32(code.at(ids.pointer, ids.element(), piece.item));
        // The runtime refuses such tokens; never read outside all the same.
        if (IntegerAttr unknown = op.getUnknownAttr())
          id = code.select(code.inside(id, table.sizes[0]), id,
                           code.i64(unknown.getInt()));
        else
          id = code.max(code.min(id, code.sub(table.sizes[0], 1)), 0);
        copyRow(code, table.element(), table.row(code, id), out.element(),
                out.row(code, piece.item), out.columns(), scale);
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::LastRowsOp op) {
  if (cast<MemRefType>(op.getX().getType()).getElementType().isInteger(32)) {
    if (failed(checkI32(op, {op.getX(), op.getOut()})))
      return failure();
    Code &code = kernel.code;
    const Buffer &ids = kernel[op.getX()], &out = kernel[op.getOut()];
    code.loop(out.sizes[0], [&](Value b) {
      Value last = code.sub(code.mul(code.add(b, 1), ids.sizes[1]), 1);
      out.setEntry(code, b, ids.entry(code, last));
    });
    return success();
  }
  if (failed(checkFloat(op, op.getX())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getOrder()})))
    return failure();
  if (cast<MemRefType>(op.getX().getType()).getRank() != 3)
    return op.emitOpError("takes rows of rank 3, not ") << op.getX().getType();
  Code &outer = kernel.code;
  const Buffer &out = kernel[op.getOut()];
  kernel.parallel(
      out.sizes[0], grainFor(outer, out.columns()), {},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &x = piece.buffers[kernel.indexOf(op.getX())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        Value last = code.sub(code.mul(code.add(piece.item, 1), x.sizes[1]), 1);
        if (op.getOrder()) {
          last = piece.buffers[kernel.indexOf(op.getOrder())].entry(code, last);
          // No row of a family that does not cover: never read outside.
          last = code.max(code.min(last, code.sub(x.rows(code), 1)), 0);
        }
        copyRow(code, x.element(), x.row(code, last), out.element(),
                out.row(code, piece.item), out.columns());
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::ArgmaxOp op) {
  if (failed(checkI32(op, {op.getOut()})))
    return failure();
  Code &outer = kernel.code;
  const Buffer &x = kernel[op.getX()];
  kernel.parallel(
      x.rows(outer), grainFor(outer, x.columns()), {},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &x = piece.buffers[kernel.indexOf(op.getX())];
        Value from = x.row(code, piece.item);
        // Above NaN, with which it starts, is every number.
        Value start = code.f32(std::numeric_limits<float>::quiet_NaN());
        Value best = code.loop(
            code.i64(0), x.columns(), 1, {start, code.i64(0)},
            [&](Value column, ValueRange carried) {
              Value number =
                  code.load(code.getF32Type(), code.atF32(from, column));
              auto compare = [&](arith::CmpFPredicate predicate, Value other) {
                return arith::CmpFOp::create(code, predicate, number, other);
              };
              Value isAbove = arith::AndIOp::create(
                  code, compare(arith::CmpFPredicate::UGT, carried[0]),
                  compare(arith::CmpFPredicate::ORD, number));
              return SmallVector<Value>{
                  code.select(isAbove, number, carried[0]),
                  code.select(isAbove, column, carried[1])};
            })[1];
        piece.buffers[kernel.indexOf(op.getOut())].setEntry(code, piece.item,
                                                            best);
      });
  return success();
}

LogicalResult cpu::generate(Kernel &kernel, kernel::CacheAppendOp op) {
  auto cacheType = cast<MemRefType>(op.getOut().getType());
  auto rowsType = cast<MemRefType>(op.getRows().getType());
  bool isPositions = cacheType.getElementType().isInteger(32);
  if (failed(checkI32(op, {op.getLengths(), op.getOffsets(), op.getOrder(),
                           op.getCounts()})))
    return failure();
  if (isPositions) {
    if (failed(checkI32(op, {op.getRows()})))
      return failure();
  } else if (failed(checkFloat(op, op.getRows())) ||
             failed(checkFloat(op, op.getOut()))) {
    return failure();
  }
  if (cacheType.getRank() != (isPositions ? 2 : 4) ||
      rowsType.getRank() != (isPositions ? 2 : 3) ||
      (!isPositions && ShapedType::isDynamic(cacheType.getDimSize(1))))
    return op.emitOpError("appends ")
           << rowsType << " to " << cacheType
           << "; rows are [B, T, heads * D], caches [B, heads, C, D]; of "
              "positions they are [B, T] and [B, C]";
  Code &outer = kernel.code;
  const Buffer &rows = kernel[op.getRows()];
  Value all = outer.mul(rows.sizes[0], rows.sizes[1]);
  RowRange range = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getRows());
  SmallVector<Value> extras;
  if (op.getOffsets())
    extras = {range.low, range.count};
  Value work = isPositions ? outer.i64(4) : rows.columns();
  kernel.parallel(
      all, grainFor(outer, work), extras, [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &rows = piece.buffers[kernel.indexOf(op.getRows())];
        const Buffer &lengths = piece.buffers[kernel.indexOf(op.getLengths())];
        const Buffer &cache = piece.buffers[kernel.indexOf(op.getOut())];
        Value tokens = code.max(rows.sizes[1], 1);
        Value sequence = code.div(piece.item, tokens);
        Value token = code.rem(piece.item, tokens);
        Value place = code.add(token, lengths.entry(code, sequence));
        auto append = [&](Value row) {
          if (isPositions) {
            Value index = code.add(code.mul(sequence, cache.sizes[1]), place);
            cache.setEntry(code, index, rows.entry(code, row));
            return;
          }
          Value heads = cache.sizes[1], room = cache.sizes[2];
          code.loop(heads, [&](Value head) {
            Value from = code.at(rows.row(code, row), rows.element(),
                                 code.mul(head, cache.columns()));
            Value index = code.add(
                code.mul(code.add(code.mul(sequence, heads), head), room),
                place);
            copyRow(code, rows.element(), from, cache.element(),
                    cache.row(code, index), cache.columns());
          });
        };
        // The runtime refuses to run past the end; never write there anyway.
        Value room = cache.sizes[isPositions ? 1 : 2];
        code.when(code.inside(place, room), [&] {
          if (!op.getOffsets())
            return append(piece.item);
          const Buffer &counts = piece.buffers[kernel.indexOf(op.getCounts())];
          code.when(code.less(token, counts.entry(code, sequence)), [&] {
            const Buffer &order = piece.buffers[kernel.indexOf(op.getOrder())];
            Value row =
                code.sub(order.entry(code, piece.item), piece.extras[0]);
            code.when(code.inside(row, piece.extras[1]), [&] { append(row); });
          });
        });
      });
  return success();
}

/// Whether columns that follow each other are read where elements do.
static bool keepsColumns(AffineMap map) {
  unsigned column = map.getNumDims() - 1;
  AffineExpr last = map.getResults().back();
  AffineExpr start = last - getAffineDimExpr(column, map.getContext());
  return !simplifyAffineExpr(start, map.getNumDims(), 0)
              .isFunctionOfDim(column) &&
         llvm::none_of(map.getResults().drop_back(), [&](AffineExpr expr) {
           return expr.isFunctionOfDim(column);
         });
}

LogicalResult cpu::generate(Kernel &kernel, kernel::RemapOp op) {
  Code &outer = kernel.code;
  const Buffer &out = kernel[op.getOut()];
  AffineMap map = op.getMap();
  bool adds = op.getAdds();
  kernel.parallel(
      out.rows(outer), grainFor(outer, out.columns()), {},
      [&](Kernel::Piece &piece) {
        Code &code = piece.code;
        const Buffer &x = piece.buffers[kernel.indexOf(op.getX())];
        const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
        unsigned rank = out.sizes.size();
        Value to = out.row(code, piece.item), rest = piece.item;
        SmallVector<Value> dims(rank, code.i64(0));
        for (int64_t dim = static_cast<int64_t>(rank) - 2; dim >= 0; --dim) {
          dims[dim] = dim == 0 ? rest : code.rem(rest, out.sizes[dim]);
          rest = code.div(rest, out.sizes[dim]);
        }
        // Where the element of x for a column is, and whether it and the
        // `count` - 1 behind it are there.
        auto find = [&](Value column, Value count) {
          dims.back() = column;
          Value index = code.i64(0), isThere, last;
          for (auto [expr, size] : llvm::zip(map.getResults(), x.sizes)) {
            last = evaluate(code, expr, dims,
                            [&](int64_t number) { return code.i64(number); });
            Value isInside = code.inside(last, size);
            isThere = isThere ? arith::AndIOp::create(code, isThere, isInside)
                              : isInside;
            index = code.add(code.mul(index, size), last);
          }
          Value fits =
              code.less(code.sub(code.add(last, count), 1), x.columns());
          return std::pair(code.at(x.pointer, x.element(), index),
                           Value(arith::AndIOp::create(code, isThere, fits)));
        };
        auto move = [&](Value from, Value column, int64_t lanes) {
          Value v = code.loadVector(x.element(), from, lanes);
          Value place = code.at(to, out.element(), column);
          if (adds)
            v = code.fadd(code.loadVector(out.element(), place, lanes), v);
          code.storeVector(out.element(), v, place);
        };
        auto one = [&](Value column) {
          auto [from, isThere] = find(column, code.i64(1));
          code.when(
              isThere, [&, from = from] { move(from, column, 1); },
              [&] {
                if (!adds)
                  code.storeVector(out.element(), code.splat(0, 1),
                                   code.at(to, out.element(), column));
              });
        };
        if (!keepsColumns(map))
          return code.loop(out.columns(), one);
        auto [row, isWhole] = find(code.i64(0), out.columns());
        code.when(
            isWhole,
            [&, row = row] {
              code.columns(out.columns(), [&](Value column, int64_t lanes) {
                move(code.at(row, x.element(), column), column, lanes);
              });
            },
            [&] { code.loop(out.columns(), one); });
      });
  return success();
}
