//===- Rows.cpp - rows moved from one place to another --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Generator.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// Threads of a block that moves a row.
static constexpr int64_t rowThreads = 128;

static LogicalResult checkFloat(Operation *op, Value operand) {
  auto type = cast<MemRefType>(operand.getType());
  if (!isFloatType(type.getElementType()))
    return op->emitOpError("has a buffer of ")
           << type.getElementType() << "; it must be f32, bf16 or f16";
  if (type.getRank() < 2 || ShapedType::isDynamic(type.getShape().back()))
    return op->emitOpError("has rows of dynamic width: ") << type;
  return success();
}

/// to[column] = from[column] * scale, converting: the block's share.
static void copyRow(Device &code, Type fromType, Value from, Type toType,
                    Value to, Value width, float scale = 1) {
  code.share(width, [&](Value column) {
    Value v = code.loadVector(fromType, code.at(from, fromType, column), 1);
    if (scale != 1)
      v = code.fmul(v, code.splat(scale, 1));
    code.storeVector(toType, v, code.at(to, toType, column));
  });
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::EmbedOp op) {
  if (failed(checkFloat(op, op.getTable())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getIds()})))
    return failure();
  float scale = op.getScale().convertToFloat();
  unsigned place = kernel.indexOf(op.getOut());
  kernel.stageOver(
      rowThreads, 0, 1,
      [place](Code &host, ArrayRef<Buffer> buffers) {
        return buffers[place].rows(host);
      },
      [&](Kernel::Inside &in, Value row) {
        Device &code = in.code;
        const Buffer &table = in[op.getTable()], &out = in[op.getOut()];
        Value id = in[op.getIds()].entry(code, row);
        // The runtime refuses such tokens; never read outside all the same.
        id = code.max(code.min(id, code.sub(table.sizes[0], 1)), 0);
        copyRow(code, table.element(), table.row(code, id), out.element(),
                out.row(code, row), out.columns(), scale);
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::LastRowsOp op) {
  if (failed(checkFloat(op, op.getX())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getOrder()})))
    return failure();
  if (cast<MemRefType>(op.getX().getType()).getRank() != 3)
    return op.emitOpError("takes rows of rank 3, not ") << op.getX().getType();
  unsigned place = kernel.indexOf(op.getOut());
  kernel.stageOver(
      rowThreads, 0, 1,
      [place](Code &, ArrayRef<Buffer> buffers) {
        return buffers[place].sizes[0];
      },
      [&](Kernel::Inside &in, Value row) {
        Device &code = in.code;
        const Buffer &x = in[op.getX()], &out = in[op.getOut()];
        Value last = code.sub(code.mul(code.add(row, 1), x.sizes[1]), 1);
        if (op.getOrder()) {
          last = in[op.getOrder()].entry(code, last);
          // No row of a family that does not cover: never read outside.
          last = code.max(code.min(last, code.sub(x.rows(code), 1)), 0);
        }
        copyRow(code, x.element(), x.row(code, last), out.element(),
                out.row(code, row), out.columns());
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::CacheAppendOp op) {
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
  unsigned place = kernel.indexOf(op.getRows());
  kernel.stageOver(
      rowThreads, 0, 1,
      [place](Code &host, ArrayRef<Buffer> buffers) {
        const Buffer &rows = buffers[place];
        return host.mul(rows.sizes[0], rows.sizes[1]);
      },
      [&](Kernel::Inside &in, Value item) {
        Device &code = in.code;
        const Buffer &rows = in[op.getRows()], &cache = in[op.getOut()];
        Value sequence = code.div(item, rows.sizes[1]);
        Value token = code.rem(item, rows.sizes[1]);
        Value place =
            code.add(token, in[op.getLengths()].entry(code, sequence));
        auto append = [&](Value row) {
          if (isPositions) {
            Value index = code.add(code.mul(sequence, cache.sizes[1]), place);
            code.when(code.equal(code.thread(), 0), [&] {
              cache.setEntry(code, index, rows.entry(code, row));
            });
            return;
          }
          // Column c of the row is column c % D of head c / D.
          Value heads = cache.sizes[1], width = cache.columns();
          Value from = rows.row(code, row);
          code.share(code.mul(heads, width), [&](Value column) {
            Value head = code.div(column, width);
            Value index =
                code.add(code.mul(code.add(code.mul(sequence, heads), head),
                                  cache.sizes[2]),
                         place);
            Value to = code.at(cache.row(code, index), cache.element(),
                               code.rem(column, width));
            Value v = code.loadVector(rows.element(),
                                      code.at(from, rows.element(), column), 1);
            code.storeVector(cache.element(), v, to);
          });
        };
        // The runtime refuses to run past the end; never write there anyway.
        Value room = cache.sizes[isPositions ? 1 : 2];
        code.when(code.inside(place, room), [&] {
          if (!op.getOffsets())
            return append(item);
          RowRange range =
              rowsOf(in, op.getOffsets(), op.getSets(), op.getRows());
          Value count = in[op.getCounts()].entry(code, sequence);
          code.when(code.less(token, count), [&] {
            Value row =
                code.sub(in[op.getOrder()].entry(code, item), range.low);
            code.when(code.inside(row, range.count), [&] { append(row); });
          });
        });
      });
  return success();
}
