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
  if (!isFloatType(outType.getElementType()))
    return op.emitOpError("writes ") << outType.getElementType();
  SmallVector<AffineMap> maps(op.getMaps().getAsValueRange<AffineMapAttr>());
  if (maps.size() != op.getInputs().size())
    return op.emitOpError("has ")
           << op.getInputs().size() << " inputs and " << maps.size() << " maps";
  for (auto [input, map] : llvm::zip(op.getInputs(), maps))
    if (failed(checkOperandMap(op, cast<MemRefType>(input.getType()), map)))
      return failure();
  for (Region &body : op.getBodies())
    if (failed(checkVectorizable(body.front())))
      return failure();

  Code &outer = kernel.code;
  Value rows = kernel[op.getOut()].rows(outer);
  // A guess at the work: a few operations a column in each round.
  Value grain = grainFor(outer, outer.i64(columns * 4 * op.getBodies().size()));
  kernel.parallel(rows, grain, {}, [&](Kernel::Piece &piece) {
    Code &code = piece.code;
    Value row = piece.item;
    const Buffer &out = piece.buffers[kernel.indexOf(op.getOut())];
    code.loop(code.i64(0), code.i64(columns), group, [&](Value first) {
      // Inputs at a column of the group.
      auto inputs = [&](Value inGroup, int64_t width) {
        SmallVector<Value> arguments;
        Value column = code.add(first, inGroup);
        for (auto [input, map] : llvm::zip(op.getInputs(), maps))
          arguments.push_back(loadOperand(code,
                                          piece.buffers[kernel.indexOf(input)],
                                          map, {row, column, inGroup}, width));
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
              SmallVector<Value> arguments = inputs(inGroup, width);
              addSums(arguments, width);
              return cloneOnVectors(code, block, arguments, width);
            });
        llvm::append_range(sums, more);
      }
      code.columns(code.i64(group), [&](Value inGroup, int64_t width) {
        SmallVector<Value> arguments = inputs(inGroup, width);
        addSums(arguments, width);
        Value to = code.at(out.row(code, row), out.element(),
                           code.add(first, inGroup));
        arguments.push_back(op.readsOutput()
                                ? code.loadVector(out.element(), to, width)
                                : Value(code.splat(0, width)));
        SmallVector<Value> result = cloneOnVectors(
            code, op.getBodies().back().front(), arguments, width);
        code.storeVector(out.element(), result[0], to);
      });
    });
  });
  return success();
}
