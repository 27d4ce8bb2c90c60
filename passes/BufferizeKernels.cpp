//===- BufferizeKernels.cpp - tensors to buffers, in place -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels are formed so that every destination can be written in place. In a
// function of one block that is easily checked: nothing behind a kernel uses
// the value that it overwrites. One-shot analysis would find the same, but
// compares all reads with all writes of a buffer, and the residual stream has
// some of each in every layer; so only its second half, the rewriting, is used.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELBUFFERIZE
#include "passes/Passes.h.inc"
} // namespace nestc

namespace {

using nestc::kernel::KernelDialect;
constexpr StringLiteral kWritable =
    bufferization::BufferizationDialect::kWritableAttrName;

bool isKernel(Operation &op) { return isa<KernelDialect>(op.getDialect()); }

/// Whether `op`, a kernel, may write over the value that `out` is.
LogicalResult checkInPlace(func::FuncOp function, Operation &op,
                           OpOperand &out) {
  Value value = out.get();
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto writable =
        function.getArgAttrOfType<BoolAttr>(argument.getArgNumber(), kWritable);
    if (writable && !writable.getValue())
      return op.emitOpError("writes over argument ")
             << argument.getArgNumber()
             << ", which is read-only; give it a destination of its own";
  } else {
    Operation *definition = value.getDefiningOp();
    if (!isKernel(*definition) && !isa<tensor::EmptyOp>(definition))
      return op.emitOpError("writes over the result of '")
             << definition->getName()
             << "'; a destination is an argument, a tensor.empty or the result "
                "of another kernel";
  }
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    if (&use == &out || (user != &op && user->isBeforeInBlock(&op)))
      continue;
    InFlightDiagnostic diag =
        op.emitOpError("writes over a value that is read ")
        << (user == &op ? "by its own operand " : "later");
    if (user == &op)
      diag << use.getOperandNumber();
    else
      diag.attachNote(user->getLoc()) << "read here";
    return diag << "; give it a destination of its own";
  }
  return success();
}

LogicalResult checkFunction(func::FuncOp function) {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitOpError("has control flow; a function of kernels is "
                                "one block");
  Block &block = function.getBody().front();
  for (Operation &op : block) {
    auto kernel = dyn_cast<DestinationStyleOpInterface>(op);
    if (!isKernel(op) || !kernel)
      continue;
    for (OpOperand &out : kernel.getDpsInitsMutable()) {
      if (!isa<TensorType>(out.get().getType()))
        continue;
      // Common subexpression elimination merges empty tensors: undo that.
      if (auto empty = out.get().getDefiningOp<tensor::EmptyOp>();
          empty && !empty->hasOneUse()) {
        OpBuilder b(empty);
        out.set(b.clone(*empty)->getResult(0));
      }
      if (failed(checkInPlace(function, op, out)))
        return failure();
    }
  }
  return success();
}

struct KernelBufferize : nestc::impl::KernelBufferizeBase<KernelBufferize> {
  using KernelBufferizeBase::KernelBufferizeBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    DenseSet<Operation *> functions;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isExternal() ||
          !(function->hasAttr(nestc::nest::kEntryAttr) ||
            llvm::any_of(function.getBody().front(), isKernel)))
        continue;
      if (failed(checkFunction(function)))
        return signalPassFailure();
      functions.insert(function);
    }
    // Other functions keep their tensors.
    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.setFunctionBoundaryTypeConversion(
        bufferization::LayoutMapOption::IdentityLayoutMap);
    options.opFilter.denyOperation([&](Operation *op) {
      auto function = dyn_cast<func::FuncOp>(op);
      if (!function)
        function = op->getParentOfType<func::FuncOp>();
      return !functions.contains(function);
    });
    bufferization::BufferizationState state;
    if (failed(bufferization::bufferizeModuleOp(module, options, state)))
      return signalPassFailure();
    for (Operation *function : functions) {
      auto func = cast<func::FuncOp>(function);
      SmallVector<DictionaryAttr> attrs;
      for (unsigned i = 0; i < func.getNumArguments(); ++i) {
        NamedAttrList list(func.getArgAttrDict(i));
        list.erase(kWritable);
        attrs.push_back(list.getDictionary(func.getContext()));
      }
      func.setAllArgAttrs(attrs);
    }
  }
};

} // namespace
