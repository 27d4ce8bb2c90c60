//===- Tables.cpp - tables kernels ----------------------------------------===//
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

/// Threads of a block, each of which takes one number.
static constexpr int64_t numberThreads = 256;

/// A stage with a thread for each row of `stream`, which is their bound.
static void numbersOf(Kernel &kernel, Value stream,
                      function_ref<void(Kernel::Inside &in, Value item)> body) {
  unsigned place = kernel.indexOf(stream);
  kernel.stageOver(
      numberThreads, 0, numberThreads,
      [place](Code &host, ArrayRef<Buffer> buffers) {
        const Buffer &buffer = buffers[place];
        bool isTable = buffer.element().isInteger(32);
        return isTable ? host.mul(buffer.rows(host), buffer.columns())
                       : buffer.rows(host);
      },
      [&](Kernel::Inside &in, Value first) {
        body(in, in.code.add(first, in.code.thread()));
      });
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::GatherOp op) {
  if (failed(checkI32(
          op, {op.getX(), op.getOffsets(), op.getIndices(), op.getOut()})))
    return failure();
  numbersOf(kernel, op.getOut(), [&](Kernel::Inside &in, Value item) {
    Device &code = in.code;
    RowRange rows = rowsOf(in, op.getOffsets(), op.getSets(), op.getOut());
    code.when(code.less(item, rows.count), [&] {
      Value row = in[op.getIndices()].entry(code, code.add(rows.low, item));
      in[op.getOut()].setEntry(code, item, in[op.getX()].entry(code, row));
    });
  });
  return success();
}

LogicalResult nvptx::generateLastIds(Kernel &kernel, kernel::LastRowsOp op) {
  if (failed(checkI32(op, {op.getX(), op.getOut()})))
    return failure();
  numbersOf(kernel, op.getOut(), [&](Kernel::Inside &in, Value b) {
    Device &code = in.code;
    const Buffer &ids = in[op.getX()], &out = in[op.getOut()];
    code.when(code.less(b, out.sizes[0]), [&] {
      Value last = code.sub(code.mul(code.add(b, 1), ids.sizes[1]), 1);
      out.setEntry(code, b, ids.entry(code, last));
    });
  });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::ChosenOp op) {
  if (failed(checkI32(op, {op.getOffsets(), op.getIndices()})))
    return failure();
  numbersOf(kernel, op.getOut(), [&](Kernel::Inside &in, Value item) {
    Device &code = in.code;
    RowRange rows = rowsOf(in, op.getOffsets(), op.getSets(), op.getOut());
    code.when(code.less(item, rows.count), [&] {
      const Buffer &scores = in[op.getScores()], &out = in[op.getOut()];
      Value packed = code.add(rows.low, item);
      Value row = in[op.getIndices()].entry(code, packed);
      Value set =
          code.add(setOf(code, in[op.getOffsets()], op.getSets(), packed),
                   op.getSets()[0]);
      Value score =
          code.load(code.getF32Type(), code.atF32(scores.row(code, row), set));
      code.store(score, out.row(code, item));
    });
  });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::AdvanceOp op) {
  if (failed(checkI32(op, {op.getIds(), op.getCounts(), op.getOut()})))
    return failure();
  numbersOf(kernel, op.getOut(), [&](Kernel::Inside &in, Value b) {
    Device &code = in.code;
    const Buffer &out = in[op.getOut()];
    code.when(code.less(b, out.sizes[0]), [&] {
      Value rows = op.getCounts() ? in[op.getCounts()].entry(code, b)
                                  : in[op.getIds()].sizes[1];
      out.setEntry(code, b, code.add(out.entry(code, b), rows));
    });
  });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::RankOp op) {
  if (failed(checkI32(op, {op.getLengths(), op.getOffsets(), op.getOrder(),
                           op.getCounts(), op.getOut()})))
    return failure();
  numbersOf(kernel, op.getOut(), [&](Kernel::Inside &in, Value item) {
    Device &code = in.code;
    const Buffer &out = in[op.getOut()];
    Value tokens = out.sizes[1];
    code.when(code.less(item, code.mul(out.sizes[0], tokens)), [&] {
      Value sequence = code.div(item, tokens), j = code.rem(item, tokens);
      Value rank = code.add(in[op.getLengths()].entry(code, sequence), j);
      if (!op.getOffsets())
        return out.setEntry(code, item, rank);
      Value count = in[op.getCounts()].entry(code, sequence);
      code.when(code.less(j, count), [&] {
        RowRange range = rowsOf(in, op.getOffsets(), op.getSets(), op.getOut());
        Value row = code.sub(in[op.getOrder()].entry(code, item), range.low);
        code.when(code.inside(row, range.count),
                  [&] { out.setEntry(code, row, rank); });
      });
    });
  });
  return success();
}
