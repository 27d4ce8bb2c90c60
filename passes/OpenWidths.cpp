//===- OpenWidths.cpp - widths that a call binds ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/OpenWidths.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;

/// `type` with the last dimension's size.
static RankedTensorType withColumns(RankedTensorType type, int64_t columns) {
  SmallVector<int64_t> shape(type.getShape());
  shape.back() = columns;
  return RankedTensorType::get(shape, type.getElementType(),
                               type.getEncoding());
}

FailureOr<OpenWidths> nestc::closeWidths(func::FuncOp function) {
  OpenWidths widths;
  Block &block = function.getBody().front();
  SymbolTable symbols(function->getParentOfType<ModuleOp>());
  DenseMap<BlockArgument, int64_t> sizes;
  for (Operation &op : block) {
    if (auto get = dyn_cast<GetOp>(op)) {
      if (get.getExtents().empty())
        continue;
      auto weight = symbols.lookup<WeightOp>(get.getWeight());
      auto width = dyn_cast<BlockArgument>(get.getExtents().front());
      if (!weight || !llvm::all_equal(get.getExtents()) || !width ||
          !function.getArgAttr(width.getArgNumber(), kAxisAttr))
        return op.emitOpError("has a width that is not one index argument "
                              "{nest.axis}; only such a width can stay open");
      RankedTensorType whole = dropAxes(weight.getTensorType());
      for (auto [dim, size] : llvm::enumerate(get.getType().getShape()))
        if (ShapedType::isDynamic(size))
          sizes[width] = whole.getDimSize(dim);
      widths[get] = width;
      get.getResult().setType(whole);
      get.getExtentsMutable().clear();
      continue;
    }
    if (auto perSet = dyn_cast<PerSetOp>(op)) {
      Value first = perSet.getValues().front();
      perSet.getResult().setType(cast<RankedTensorType>(first.getType()));
      if (BlockArgument width = widths.lookup(first))
        widths[perSet] = width;
      continue;
    }
    // Columns of a stream are those of the weight or the operands it is of.
    for (OpResult result : op.getResults()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (!type || type.getRank() < 3 || !type.isDynamicDim(type.getRank() - 1))
        continue;
      BlockArgument width;
      if (auto linear = dyn_cast<LinearOp>(op))
        width = widths.lookup(linear.getW());
      else
        for (Value operand : op.getOperands())
          if (!width)
            width = widths.lookup(operand);
      if (!width)
        continue; // told as a dynamic dimension
      widths[result] = width;
      result.setType(withColumns(type, sizes[width]));
    }
  }

  // Weights become arguments, and what made them goes.
  for (Operation &op : block)
    if (isa<GetOp, PerSetOp>(op))
      widths.erase(op.getResult(0));

  Builder b(function.getContext());
  for (BlockArgument argument : block.getArguments()) {
    auto axis = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                      kAxisAttr);
    if (!axis)
      continue;
    if (!argument.use_empty()) {
      (*argument.user_begin())->emitOpError("computes with the width '")
          << axis.getValue() << "', which only nest.get may take";
      return failure();
    }
    argument.setType(RankedTensorType::get({1}, b.getI32Type()));
    function.removeArgAttr(argument.getArgNumber(), kAxisAttr);
    function.setArgAttr(argument.getArgNumber(), kNameAttr, axis);
  }
  function.setType(b.getFunctionType(block.getArgumentTypes(),
                                     block.getTerminator()->getOperandTypes()));
  return widths;
}
