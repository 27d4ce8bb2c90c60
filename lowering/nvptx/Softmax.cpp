//===- Softmax.cpp - softmax over columns, or over rows of sequences ------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// Threads of a block that works on columns of a sequence, and of its rows how
/// many each of them holds: the first ones, which are read once.
static constexpr int64_t blockThreads = 128, heldRows = 16;

static Value lowest(Device &code, int64_t width) {
  return code.splat(-std::numeric_limits<float>::infinity(), width);
}

/// A row's vectors from the thread's first one on.
static Value vectorOf(Device &code, Value pointer, Value column,
                      int64_t width) {
  return code.loadWide(code.getF32Type(),
                       code.atByte(pointer, code.mul(column, code.i32(4))),
                       width);
}

namespace {
/// e^(x - maximum) / sum, once both are known.
struct Scale {
  Value maximum, inverse;

  Value power(Device &code, Value x, int64_t width) const {
    return code.exp(code.fsub(x, code.broadcast(maximum, width)));
  }
  void setSum(Device &code, Value sum) {
    Value one = code.divide(code.splat(1, 1), code.broadcast(sum, 1));
    inverse = vector::ExtractOp::create(code, one, 0);
  }
};
} // namespace

/// One row of `team.columns` columns.
static void softmaxOfRow(Device &code, const Team &team, Columns &columns,
                         Value from, Value to) {
  Scale scale;
  int64_t width = team.width;
  auto add = [&](Value a, Value b) { return code.fadd(a, b); };
  auto larger = [&](Value a, Value b) { return code.maxNumber(a, b); };
  auto store = [&](Value e, Value column) {
    code.storeWide(code.getF32Type(),
                   code.fmul(e, code.broadcast(scale.inverse, width)),
                   code.atByte(to, code.mul(column, code.i32(4))));
  };
  // The thread's vectors one by one: each reads, and loads nothing twice if
  // registers hold them all.
  SmallVector<Value> values, valids;
  auto each = [&](Value start,
                  function_ref<Value(Value x, Value, Value)> body) {
    if (team.inRegisters) {
      for (auto [j, x] : llvm::enumerate(values))
        start = body(x, code.i32(j * team.step()), start);
      return start;
    }
    Value count = code.widen(code.sub(code.i32(team.columns), columns.first()));
    return code.loop(code.i64(0), count, team.step(), start,
                     [&](Value column, ValueRange carried) {
                       column = code.narrow(column);
                       Value x = vectorOf(code, from, column, width);
                       return SmallVector<Value>{body(x, column, carried[0])};
                     })[0];
  };
  if (team.inRegisters)
    columns.unrolled([&](unsigned j, Value valid) {
      Value column = code.i32(j * team.step());
      auto load = [&] { return vectorOf(code, from, column, width); };
      valids.push_back(valid);
      // Beyond the end: nothing to the maximum, 0 to the sum.
      values.push_back(
          valid ? code.choose(valid, lowest(code, width),
                              [&] { return SmallVector<Value>{load()}; })[0]
                : load());
    });
  Value top = each(lowest(code, width),
                   [&](Value x, Value, Value old) { return larger(x, old); });
  scale.maximum = columns.reduce(code.maximum(top), larger)[0];
  Value sum = each(code.splat(0, width), [&](Value x, Value, Value old) {
    return add(old, scale.power(code, x, width));
  });
  scale.setSum(code, columns.reduce(code.sum(sum), add)[0]);
  if (!team.inRegisters) {
    each(code.splat(0, width), [&](Value x, Value column, Value carried) {
      store(scale.power(code, x, width), column);
      return carried;
    });
    return;
  }
  for (auto [j, x] : llvm::enumerate(values)) {
    auto put = [&, x = x, j = j] {
      store(scale.power(code, x, width), code.i32(j * team.step()));
    };
    if (valids[j])
      code.when(valids[j], put);
    else
      put();
  }
}

static LogicalResult softmaxOverColumns(Kernel &kernel, kernel::SoftmaxOp op) {
  auto type = cast<MemRefType>(op.getX().getType());
  Team team = Team::of(type.getShape().back(), type.getShape().back(), 1);
  unsigned place = kernel.indexOf(op.getX());
  kernel.stageOver(
      team.threads, team.sharedOf(2), team.perBlock(),
      [place](Code &host, ArrayRef<Buffer> buffers) {
        return buffers[place].rows(host);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        Columns columns(code, team);
        Rows rows = rows32(in, op.getOffsets(), op.getSets(), op.getX());
        // Teams leave as a whole.
        code.when(code.less(columns.item(), rows.count), [&] {
          auto row = [&](Value stream) {
            return code.atByte(code.atRow(in[stream].pointer, columns.item(),
                                          4 * team.columns),
                               code.mul(columns.first(), code.i32(4)));
          };
          softmaxOfRow(code, team, columns, row(op.getX()), row(op.getOut()));
        });
      });
  return success();
}

// A block has some columns of a sequence: threads lie side by side along the
// columns, and the rest of the block takes every so manieth row.
static LogicalResult softmaxOverRows(Kernel &kernel, kernel::SoftmaxOp op) {
  auto type = cast<MemRefType>(op.getX().getType());
  if (type.getRank() != 3)
    return op.emitOpError("takes the rows of each sequence of ")
           << op.getX().getType() << "; legal is [B, T, D]";
  int64_t columns = type.getShape().back();
  int64_t across = std::min<int64_t>(llvm::PowerOf2Ceil(columns), warpSize);
  int64_t down = blockThreads / across, warps = blockThreads / warpSize;
  int64_t chunks = llvm::divideCeil(columns, across);
  unsigned place = kernel.indexOf(op.getX());
  // Of each warp a value of each of its columns, for maximum and sum.
  kernel.stageOver(
      blockThreads, 2 * warps * across * 4, 1,
      [place, chunks](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(buffers[place].sizes[0], chunks);
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        const Buffer &x = in[op.getX()], &out = in[op.getOut()];
        Value thread = code.thread32(), block = code.block32();
        Value sequence = code.div(block, code.i32(chunks));
        Value inChunk = code.rem(thread, code.i32(across));
        Value column = code.add(
            code.mul(code.rem(block, code.i32(chunks)), code.i32(across)),
            inChunk);
        Value start = code.div(thread, code.i32(across));
        Value tokens = code.narrow(x.sizes[1]);
        Value first = code.mul(sequence, tokens);
        Rows rows = rows32(in, op.getOffsets(), op.getSets(), op.getX());
        if (op.getOffsets())
          tokens = entry32(code, in[op.getCounts()], sequence);
        // Threads beyond the last column have no rows.
        tokens = code.select(code.less(column, code.i32(columns)), tokens,
                             code.i32(0));
        auto at = [&](const Buffer &buffer, Value row) {
          return code.atRow(code.atRow(buffer.pointer, row, 4 * columns),
                            column, 4);
        };
        auto load = [&](Value row) {
          return code.loadWide(code.getF32Type(), at(x, row), 1);
        };
        struct Held {
          Value row, isThere, value;
        };
        SmallVector<Held> held;
        for (int64_t i = 0; i < heldRows; ++i) {
          Value j = code.add(start, code.i32(i * down));
          Held one{code.add(first, j), code.less(j, tokens), {}};
          if (op.getOffsets()) {
            // A row of other sets of the family is none.
            one.row = code.valueIf(
                one.isThere,
                [&] {
                  return code.sub(entry32(code, in[op.getOrder()], one.row),
                                  rows.low);
                },
                code.i32(-1));
            one.isThere = code.inside(one.row, rows.count);
          }
          one.value = code.choose(one.isThere, lowest(code, 1), [&] {
            return SmallVector<Value>{load(one.row)};
          })[0];
          held.push_back(one);
        }
        // Carries a value through the thread's other rows.
        Value others = code.add(start, code.i32(heldRows * down));
        auto overRows = [&](Value initial,
                            function_ref<Value(Value row, Value)> body) {
          return code.loop(
              code.widen(others), code.widen(tokens), down, initial,
              [&](Value j, ValueRange carried) {
                Value row = code.add(first, code.narrow(j));
                if (!op.getOffsets())
                  return SmallVector<Value>{body(row, carried[0])};
                row = code.sub(entry32(code, in[op.getOrder()], row), rows.low);
                // A row of other sets of the family changes nothing.
                return code.choose(code.inside(row, rows.count), carried, [&] {
                  return SmallVector<Value>{body(row, carried[0])};
                });
              })[0];
        };
        // Combined over the threads of a column.
        int64_t area = 0;
        auto reduce = [&](Value vector, Columns::Combine combine) {
          Value value = vector::ExtractOp::create(code, vector, 0);
          for (int64_t mask = warpSize / 2; mask >= across; mask /= 2)
            value = combine(value, code.shuffleXor(value, mask));
          Type f32 = code.getF32Type();
          Value shared =
              code.atShared(code.shared(area), f32, code.widen(inChunk));
          area += warps * across * 4;
          Value lane = code.rem(thread, code.i32(warpSize));
          code.when(code.less(lane, code.i32(across)), [&] {
            Value warp = code.div(thread, code.i32(warpSize));
            code.store(
                value,
                code.atShared(shared, f32,
                              code.widen(code.mul(warp, code.i32(across)))));
          });
          code.barrier();
          value = code.load(f32, shared);
          for (int64_t w = 1; w < warps; ++w)
            value = combine(
                value, code.load(f32, code.atShared(shared, f32,
                                                    code.i64(w * across))));
          return value;
        };
        Scale scale;
        auto larger = [&](Value a, Value b) { return code.maxNumber(a, b); };
        Value top = lowest(code, 1);
        for (const Held &one : held)
          top = larger(one.value, top);
        scale.maximum = reduce(overRows(top,
                                        [&](Value row, Value carried) {
                                          return larger(load(row), carried);
                                        }),
                               larger);
        auto add = [&](Value a, Value b) { return code.fadd(a, b); };
        Value sum = code.splat(0, 1);
        for (const Held &one : held)
          sum = add(sum, scale.power(code, one.value, 1));
        scale.setSum(
            code, reduce(overRows(sum,
                                  [&](Value row, Value carried) {
                                    return add(carried,
                                               scale.power(code, load(row), 1));
                                  }),
                         add));
        auto store = [&](Value row, Value value) {
          Value e = scale.power(code, value, 1);
          code.storeWide(code.getF32Type(),
                         code.fmul(e, code.broadcast(scale.inverse, 1)),
                         at(out, row));
        };
        for (const Held &one : held)
          code.when(one.isThere, [&] { store(one.row, one.value); });
        overRows(code.splat(0, 1), [&](Value row, Value carried) {
          store(row, load(row));
          return carried;
        });
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::SoftmaxOp op) {
  if (failed(checkI32(op, {op.getOffsets(), op.getOrder(), op.getCounts()})))
    return failure();
  for (Value stream : {op.getX(), op.getOut()}) {
    auto type = cast<MemRefType>(stream.getType());
    if (!type.getElementType().isF32() ||
        ShapedType::isDynamic(type.getShape().back()))
      return op.emitOpError("works on f32 with a known number of columns, "
                            "not on ")
             << type;
  }
  return op.getOverRows() ? softmaxOverRows(kernel, op)
                          : softmaxOverColumns(kernel, op);
}
