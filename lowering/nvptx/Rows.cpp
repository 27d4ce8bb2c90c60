//===- Rows.cpp - rows moved from one place to another --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"

#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// Threads of a block that moves numbers one by one.
static constexpr int64_t blockThreads = 128;

static LogicalResult checkFloat(Operation *op, Value operand) {
  auto type = cast<MemRefType>(operand.getType());
  if (!isFloatType(type.getElementType()))
    return op->emitOpError("has a buffer of ")
           << type.getElementType() << "; it must be f32, bf16 or f16";
  if (type.getRank() < 2 || ShapedType::isDynamic(type.getShape().back()))
    return op->emitOpError("has rows of dynamic width: ") << type;
  return success();
}

/// The most columns that vectors may have: rows of the type begin at multiples
/// of it.
static int64_t alignedColumns(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (type.getRank() < 2 || failed(type.getStridesAndOffset(strides, offset)))
    return 1;
  int64_t stride = strides[strides.size() - 2];
  return ShapedType::isDynamic(stride)
             ? 1
             : std::gcd(stride, type.getShape().back());
}

namespace {
/// Rows moved from one place to another, converting.
struct Move {
  Value from, to;  ///< operands
  int64_t aligned; ///< vectors begin at multiples of what divides this
  float scale = 1;
};

/// What a row of a move is, in code: addresses of its vectors.
struct Ends {
  Value from; ///< of the row
  /// Where the vector at a column, an i32, goes to.
  std::function<Value(Value column)> to;
};
} // namespace

/// A stage that moves rows, `count` of the host. `find` gets a row, an i32, and
/// calls `move` where there is something to do.
static void moveRows(Kernel &kernel, const Move &move,
                     std::function<Value(Code &, ArrayRef<Buffer>)> count,
                     function_ref<void(Kernel::Inside &, Value row,
                                       function_ref<void(const Ends &)> move)>
                         find) {
  auto fromType = cast<MemRefType>(move.from.getType());
  Type stored = fromType.getElementType();
  Type wanted = cast<MemRefType>(move.to.getType()).getElementType();
  Cut cut(fromType.getShape().back());
  Team team = Team::of(cut.piece, std::gcd(move.aligned, cut.piece), 1);
  kernel.stageOver(
      team.threads, 0, team.perBlock(),
      [count, perRow = cut.perRow](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(count(host, buffers), perRow);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        Columns columns(code, team);
        Part part = cut.partOf(code, columns);
        auto body = [&](const Ends &ends) {
          auto column = [&](unsigned j) {
            return code.add(part.column, code.i32(j * team.step()));
          };
          SmallVector<Value> vectors, valids;
          columns.unrolled(
              [&](unsigned j, Value valid) {
                auto load = [&] {
                  Value index = code.mul(
                      column(j), code.i32(stored.getIntOrFloatBitWidth() / 8));
                  return code.loadWide(stored, code.atByte(ends.from, index),
                                       team.width);
                };
                valids.push_back(valid);
                vectors.push_back(
                    valid ? code.choose(
                                valid, code.splat(0, team.width),
                                [&] { return SmallVector<Value>{load()}; })[0]
                          : load());
              },
              part.limit);
          for (auto [j, vector] : llvm::enumerate(vectors)) {
            auto store = [&, j = j, vector = vector] {
              Value scaled = vector;
              if (move.scale != 1)
                scaled = code.fmul(vector, code.splat(move.scale, team.width));
              code.storeWide(wanted, scaled, ends.to(column(j)));
            };
            if (valids[j])
              code.when(valids[j], store);
            else
              store();
          }
        };
        auto all = [&] { find(in, part.row, body); };
        if (team.perBlock() == 1)
          return all();
        // The last block has fewer rows.
        Value end = code.narrow(count(code, in.buffers));
        if (cut.perRow > 1)
          end = code.mul(end, code.i32(cut.perRow));
        code.when(code.less(columns.item(), end), all);
      });
}

/// Rows of `buffer` as the end of a move.
static std::function<Value(Value)> rowEnd(Device &code, const Buffer &buffer,
                                          Value row) {
  int64_t bytes = buffer.element().getIntOrFloatBitWidth() / 8;
  Value to =
      code.atRow(buffer.pointer, row, buffer.type.getShape().back() * bytes);
  return [&code, to, bytes](Value column) {
    return code.atByte(to, code.mul(column, code.i32(bytes)));
  };
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::EmbedOp op) {
  if (failed(checkFloat(op, op.getTable())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getIds()})))
    return failure();
  unsigned place = kernel.indexOf(op.getOut());
  moveRows(
      kernel,
      {op.getTable(), op.getOut(),
       alignedColumns(cast<MemRefType>(op.getTable().getType())),
       op.getScale().convertToFloat()},
      [place](Code &code, ArrayRef<Buffer> buffers) {
        return buffers[place].rows(code);
      },
      [&](Kernel::Inside &in, Value row,
          function_ref<void(const Ends &)> move) {
        Device &code = in.code;
        const Buffer &table = in[op.getTable()];
        Value id = entry32(code, in[op.getIds()], row);
        // The runtime refuses such tokens; never read outside all the same.
        if (IntegerAttr unknown = op.getUnknownAttr())
          id = code.select(code.inside(code.widen(id), table.sizes[0]), id,
                           code.i32(unknown.getInt()));
        else
          id = code.max(code.min(id, code.narrow(code.sub(table.sizes[0], 1))),
                        code.i32(0));
        // Its rows may lie apart.
        Value from = table.row(code, code.widen(id));
        move({from, rowEnd(code, in[op.getOut()], row)});
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::LastRowsOp op) {
  if (cast<MemRefType>(op.getX().getType()).getElementType().isInteger(32))
    return generateLastIds(kernel, op);
  if (failed(checkFloat(op, op.getX())) ||
      failed(checkFloat(op, op.getOut())) ||
      failed(checkI32(op, {op.getOrder()})))
    return failure();
  auto type = cast<MemRefType>(op.getX().getType());
  if (type.getRank() != 3)
    return op.emitOpError("takes rows of rank 3, not ") << type;
  unsigned place = kernel.indexOf(op.getOut());
  moveRows(
      kernel, {op.getX(), op.getOut(), alignedColumns(type)},
      [place](Code &, ArrayRef<Buffer> buffers) {
        return buffers[place].sizes[0];
      },
      [&](Kernel::Inside &in, Value row,
          function_ref<void(const Ends &)> move) {
        Device &code = in.code;
        const Buffer &x = in[op.getX()];
        Value tokens = code.narrow(x.sizes[1]);
        Value last =
            code.sub(code.mul(code.add(row, code.i32(1)), tokens), code.i32(1));
        if (op.getOrder()) {
          last = entry32(code, in[op.getOrder()], last);
          // No row of a family that does not cover: never read outside.
          Value end = code.narrow(code.sub(x.rows(code), 1));
          last = code.max(code.min(last, end), code.i32(0));
        }
        int64_t bytes = x.element().getIntOrFloatBitWidth() / 8;
        move({code.atRow(x.pointer, last, type.getShape().back() * bytes),
              rowEnd(code, in[op.getOut()], row)});
      });
  return success();
}

// A thread an element: neighbours write, and mostly read, neighbours.
LogicalResult nvptx::generate(Kernel &kernel, kernel::RemapOp op) {
  auto outType = cast<MemRefType>(op.getOut().getType());
  auto xType = cast<MemRefType>(op.getX().getType());
  auto bytesOf = [](Type type) -> int64_t {
    return type.getIntOrFloatBitWidth() / 8;
  };
  auto elementsOf = [](MemRefType type) {
    int64_t elements = 1;
    for (int64_t size : type.getShape().drop_front())
      elements *= size;
    return elements;
  };
  int64_t each = elementsOf(outType), from = elementsOf(xType);
  if (std::max(each, from) > (int64_t(1) << 31) / 4 - blockThreads)
    return op.emitOpError("moves more elements of a sequence than a GPU's code "
                          "counts: ")
           << xType << " to " << outType;
  int64_t blocks = (each + blockThreads - 1) / blockThreads;
  unsigned place = kernel.indexOf(op.getOut());
  kernel.stageOver(
      blockThreads, 0, blockThreads,
      [place, blocks](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(buffers[place].sizes[0], blocks * blockThreads);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        const Buffer &x = in[op.getX()], &out = in[op.getOut()];
        Value batch = code.div(code.block32(), code.i32(blocks));
        Value item =
            code.add(code.mul(code.rem(code.block32(), code.i32(blocks)),
                              code.i32(blockThreads)),
                     code.thread32());
        code.when(code.less(item, code.i32(each)), [&] {
          SmallVector<Value> dims(outType.getRank(), batch);
          Value rest = item;
          for (int64_t dim = outType.getRank() - 1; dim > 0; --dim) {
            Value size = code.i32(outType.getDimSize(dim));
            dims[dim] = dim == 1 ? rest : code.rem(rest, size);
            rest = dim == 1 ? rest : code.div(rest, size);
          }
          Value isThere, first, index = code.i32(0);
          for (auto [dim, expr] : llvm::enumerate(op.getMap().getResults())) {
            Value at = evaluate(code, expr, dims, [&](int64_t number) {
              return code.i32(number);
            });
            Value size =
                dim ? code.i32(xType.getDimSize(dim)) : code.narrow(x.sizes[0]);
            Value isInside = code.inside(at, size);
            isThere = isThere ? arith::AndIOp::create(code, isThere, isInside)
                              : isInside;
            if (dim == 0)
              first = at;
            else
              index = code.add(code.mul(index, size), at);
          }
          int64_t bytes = bytesOf(xType.getElementType());
          Value to = code.atByte(
              code.atRow(out.pointer, batch,
                         each * bytesOf(outType.getElementType())),
              code.mul(item, code.i32(bytesOf(outType.getElementType()))));
          auto load = [&] {
            Value start = code.atRow(x.pointer, first, from * bytes);
            Value place = code.atByte(start, code.mul(index, code.i32(bytes)));
            return code.loadWide(xType.getElementType(), place, 1);
          };
          if (op.getAdds())
            return code.when(isThere, [&] {
              Value old = code.loadWide(outType.getElementType(), to, 1);
              code.storeWide(outType.getElementType(), code.fadd(old, load()),
                             to);
            });
          Value element = code.choose(isThere, code.splat(0, 1), [&] {
            return SmallVector<Value>{load()};
          })[0];
          code.storeWide(outType.getElementType(), element, to);
        });
      });
  return success();
}

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

/// Calls `append` with the row that item (sequence, token) of [B, T] is and its
/// place in the cache, where there is one and it has room.
static void withAppended(Kernel::Inside &in, kernel::CacheAppendOp op,
                         Value item, Value sequence, int64_t room,
                         function_ref<void(Value row, Value place)> append) {
  Device &code = in.code;
  Value tokens = code.narrow(in[op.getRows()].sizes[1]);
  Value token = code.sub(item, code.mul(sequence, tokens));
  Value place = code.add(token, entry32(code, in[op.getLengths()], sequence));
  // The runtime refuses to run past the end; never write there anyway.
  Value isThere = code.inside(place, code.i32(room));
  if (!op.getOffsets())
    return code.when(isThere, [&] { append(item, place); });
  Value count = entry32(code, in[op.getCounts()], sequence);
  isThere = arith::AndIOp::create(code, isThere, code.less(token, count));
  code.when(isThere, [&] {
    Rows range = rows32(in, op.getOffsets(), op.getSets(), op.getRows());
    Value row = code.sub(entry32(code, in[op.getOrder()], item), range.low);
    code.when(code.inside(row, range.count), [&] { append(row, place); });
  });
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
      llvm::any_of(cacheType.getShape().drop_front(), ShapedType::isDynamic))
    return op.emitOpError("appends ")
           << rowsType << " to " << cacheType
           << "; rows are [B, T, heads * D], caches [B, heads, C, D]; of "
              "positions they are [B, T] and [B, C]; all but B and T is known";
  unsigned place = kernel.indexOf(op.getRows());
  auto count = [place](Code &code, ArrayRef<Buffer> buffers) {
    const Buffer &rows = buffers[place];
    return code.mul(rows.sizes[0], rows.sizes[1]);
  };
  auto sequenceOf = [&](Kernel::Inside &in, Value item) {
    Value tokens = in.code.narrow(in[op.getRows()].sizes[1]);
    return in.code.div(item, tokens);
  };
  if (isPositions) {
    int64_t room = cacheType.getDimSize(1);
    kernel.stageOver(
        blockThreads, 0, blockThreads, count, [&](Kernel::Inside &in, Value) {
          Device &code = in.code;
          Value item =
              code.add(code.mul(code.block32(), code.i32(blockThreads)),
                       code.thread32());
          code.when(code.less(item, code.narrow(count(code, in.buffers))), [&] {
            Value sequence = sequenceOf(in, item);
            withAppended(
                in, op, item, sequence, room, [&](Value row, Value place) {
                  Value to = code.atRow(
                      code.atRow(in[op.getOut()].pointer, sequence, 4 * room),
                      place, 4);
                  code.store(entry32(code, in[op.getRows()], row), to);
                });
          });
        });
    return success();
  }
  int64_t heads = cacheType.getDimSize(1), room = cacheType.getDimSize(2);
  int64_t width = cacheType.getDimSize(3);
  moveRows(
      kernel, {op.getRows(), op.getOut(), width}, count,
      [&](Kernel::Inside &in, Value item,
          function_ref<void(const Ends &)> move) {
        Device &code = in.code;
        const Buffer &rows = in[op.getRows()], &cache = in[op.getOut()];
        int64_t bytes = cache.element().getIntOrFloatBitWidth() / 8;
        Value sequence = sequenceOf(in, item);
        withAppended(in, op, item, sequence, room, [&](Value row, Value place) {
          // Column c of the row is column c % D of head c / D.
          auto to = [&](Value column) {
            Value head = code.div(column, code.i32(width));
            Value rest = code.rem(column, code.i32(width));
            Value all = code.add(code.mul(sequence, code.i32(heads)), head);
            Value start =
                code.atRow(code.atRow(cache.pointer, all, room * width * bytes),
                           place, width * bytes);
            return code.atByte(start, code.mul(rest, code.i32(bytes)));
          };
          int64_t rowBytes = rows.type.getShape().back() *
                             (rows.element().getIntOrFloatBitWidth() / 8);
          move({code.atRow(rows.pointer, row, rowBytes), to});
        });
      });
  return success();
}
