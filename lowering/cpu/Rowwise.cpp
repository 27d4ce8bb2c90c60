//===- Rowwise.cpp - sums over groups of columns, then elementwise code -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

LogicalResult cpu::generate(Kernel &kernel, kernel::RowwiseOp op) {
  auto outType = cast<MemRefType>(op.getOut().getType());
  int64_t columns = outType.getShape().back();
  int64_t group = op.getGroup();
  if (ShapedType::isDynamic(columns))
    return op.emitOpError("writes rows of dynamic width: ") << outType;
  if (group <= 0 || columns % group != 0)
    return op.emitOpError("cuts ")
           << columns << " columns into groups of " << group;
  for (Value out : op.getDpsInits())
    if (Type element = cast<MemRefType>(out.getType()).getElementType();
        !isFloatType(element))
      return op.emitOpError("writes ") << element;
  auto inputs = regionInputs(op, op.getInputs(), op.getMaps(),
                             /*perSetDims=*/4, op.getGroups());
  if (failed(inputs) ||
      failed(checkI32(op, {op.getOffsets(), op.getIndices()})))
    return failure();
  for (Region &body : op.getBodies())
    if (failed(checkVectorizable(body.front())))
      return failure();

  Code &outer = kernel.code;
  RowRange rows = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getOut());
  // Beside the buffers: the first packed row, and the operands of every set.
  SmallVector<Value> extras;
  if (op.getOffsets())
    extras.push_back(rows.low);
  for (const RegionInput &input : *inputs) {
    if (!input.perSet)
      continue;
    Value table = outer.table(input.operands.size());
    for (auto [i, operand] : llvm::enumerate(input.operands))
      outer.setSlot(table, i, kernel[operand].pointer);
    extras.push_back(table);
  }
  // A guess at the work: a few operations a column in each round.
  Value grain = grainFor(outer, outer.i64(columns * 4 * op.getBodies().size()));
  kernel.parallel(rows.count, grain, extras, [&](Kernel::Piece &piece) {
    Code &code = piece.code;
    SmallVector<Buffer> outs{piece.buffers[kernel.indexOf(op.getOut())]};
    for (Value further : op.getFurther())
      outs.push_back(piece.buffers[kernel.indexOf(further)]);
    // Rows of inputs and output.
    Value from = piece.item, into = piece.item;
    Value packed;
    if (op.getOffsets())
      packed = code.add(piece.extras[0], piece.item);
    if (op.getIndices()) {
      Value row =
          piece.buffers[kernel.indexOf(op.getIndices())].entry(code, packed);
      from = op.getGathers() ? row : from;
      into = op.getScatters() ? row : into;
    }
    SmallVector<Buffer> buffers;
    for (const RegionInput &input : *inputs)
      buffers.push_back(piece.buffers[kernel.indexOf(input.operands.front())]);
    if (extras.size() > 1) {
      Value set = setOf(code, piece.buffers[kernel.indexOf(op.getOffsets())],
                        *op.getSets(), packed);
      unsigned table = 1;
      for (auto [buffer, input] : llvm::zip(buffers, *inputs))
        if (input.perSet)
          buffer.pointer =
              code.load(code.ptrType(),
                        code.at(piece.extras[table++], code.i64Type(), set));
    }
    // What is one number for all columns is read once: a store might change it
    // for all that the compiler knows.
    SmallVector<Value> scalars;
    for (auto [buffer, input] : llvm::zip(buffers, *inputs))
      scalars.push_back(
          isa<AffineConstantExpr>(input.map.getResults().back())
              ? loadOperand(code, buffer, input.map, {from, from, from}, 1)
              : Value());
    code.loop(code.i64(0), code.i64(columns), group, [&](Value first) {
      // Inputs at a column of the group.
      auto load = [&](Value inGroup, int64_t width) {
        SmallVector<Value> arguments;
        Value column = code.add(first, inGroup);
        for (auto [buffer, input, scalar] :
             llvm::zip(buffers, *inputs, scalars))
          arguments.push_back(
              scalar ? code.broadcast(
                           vector::ExtractOp::create(code, scalar, 0), width)
                     : loadOperand(code, buffer, input.map,
                                   {from, column, inGroup}, width));
        return arguments;
      };
      SmallVector<Value> sums;
      auto addSums = [&](SmallVectorImpl<Value> &arguments, int64_t width) {
        for (Value sum : sums)
          arguments.push_back(code.broadcast(sum, width));
      };
      for (Region &body : op.getBodies().drop_back()) {
        Block &block = body.front();
        unsigned count = block.getTerminator()->getNumOperands();
        SmallVector<Value> more = code.sumColumns(
            code.i64(group), count, [&](Value inGroup, int64_t width) {
              SmallVector<Value> arguments = load(inGroup, width);
              addSums(arguments, width);
              return cloneOnVectors(code, block, arguments, width);
            });
        llvm::append_range(sums, more);
      }
      code.columns(code.i64(group), [&](Value inGroup, int64_t width) {
        SmallVector<Value> arguments = load(inGroup, width);
        addSums(arguments, width);
        Value column = code.add(first, inGroup);
        auto at = [&](const Buffer &out) {
          return code.at(out.row(code, into), out.element(), column);
        };
        arguments.push_back(
            op.readsOutput()
                ? code.loadVector(outs[0].element(), at(outs[0]), width)
                : Value(code.splat(0, width)));
        SmallVector<Value> results = cloneOnVectors(
            code, op.getBodies().back().front(), arguments, width);
        for (auto [out, result] : llvm::zip(outs, results))
          code.storeVector(out.element(), result, at(out));
      });
    });
  });
  return success();
}
