//===- KernelBufferize.cpp - bufferisation of kernels -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// External models, so that stock one-shot-bufferize takes kernels too. All of
// them are destination style; they differ in whether the destination is read.
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"

#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace nestc::kernel;

namespace {

template <typename KernelOp>
struct KernelModel
    : DstBufferizableOpInterfaceExternalModel<KernelModel<KernelOp>, KernelOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &) const {
    auto kernel = cast<KernelOp>(op);
    return !kernel.isDpsInit(&operand) || kernel.readsOutput();
  }

  /// The same operation on buffers, without results.
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto kernel = cast<KernelOp>(op);
    // May be on memrefs already.
    if (kernel.hasPureBufferSemantics())
      return success();
    rewriter.setInsertionPoint(op);
    SmallVector<Value> buffers;
    SmallVector<Value> outputs;
    for (OpOperand &operand : op->getOpOperands()) {
      Value buffer = operand.get();
      if (isa<TensorType>(buffer.getType())) {
        FailureOr<Value> found = getBuffer(rewriter, buffer, options, state);
        if (failed(found))
          return failure();
        buffer = *found;
      }
      if (kernel.isDpsInit(&operand))
        outputs.push_back(buffer);
      buffers.push_back(buffer);
    }
    OperationState built(op->getLoc(), op->getName(), buffers,
                         /*types=*/TypeRange(), op->getAttrs());
    for (Region &region : op->getRegions())
      built.addRegion()->takeBody(region);
    rewriter.create(built);
    replaceOpWithBufferizedValues(rewriter, op, outputs);
    return success();
  }
};

template <typename... KernelOps>
void attach(MLIRContext *context) {
  (KernelOps::template attachInterface<KernelModel<KernelOps>>(*context), ...);
}

} // namespace

void nestc::kernel::registerBufferizationModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, KernelDialect *) {
    attach<EmbedOp, MatmulOp, ProjectOp, RowwiseOp, RopeTableOp, RopeOp,
           CacheAppendOp, AttentionOp, LastRowsOp, ArgmaxOp, RemapOp, SelectOp,
           PartitionOp, AssignOp, GatherOp, ChosenOp, SoftmaxOp, AdvanceOp,
           RankOp>(context);
  });
}
