//===- NarrowStreams.cpp - streams stored as products take them -----------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A matrix product rounds its stream to the type of the weights, attention that
// may its queries to that of the caches. Where nothing else reads a stream, it
// can be stored in that type: the same values, half the bytes, and tiles that
// are copied as they are.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "dialect/Kernel.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELNARROWSTREAMS
#include "passes/Passes.h.inc"

namespace {
using namespace kernel;

/// The type in which a product takes the stream of a use; null if it sees more
/// of it than a product's operand.
Type typeOfUse(OpOperand &use) {
  auto typeOf = [&](auto product) {
    if (&use != &product.getAMutable())
      return Type();
    return getElementTypeOrSelf(product.getWeights().front().getType());
  };
  return llvm::TypeSwitch<Operation *, Type>(use.getOwner())
      .Case([&](AttentionOp op) {
        return op.getRounds() && &use == &op.getQMutable()
                   ? getElementTypeOrSelf(op.getK().getType())
                   : Type();
      })
      .Case<MatmulOp, ProjectOp>(typeOf)
      .Default(Type());
}

/// The type in which all users of a stream take it; null if they do not agree.
Type typeOfUses(Value stream) {
  Type type;
  for (OpOperand &use : stream.getUses()) {
    Type element = typeOfUse(use);
    if (!element || (type && type != element))
      return {};
    type = element;
  }
  return type && !type.isF32() ? type : Type();
}

/// Whether a kernel can store a stream in another type than f32.
bool storesNarrow(Operation *op, unsigned result) {
  // What scatters leaves other rows as they were.
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([](MatmulOp op) { return !op.readsOutput() && !op.getSquares(); })
      .Case([](RowwiseOp op) { return !op.readsOutput(); })
      .Case([&](ProjectOp op) { return !op.isCache(result); })
      .Case([](AttentionOp) { return true; })
      .Default(false);
}

struct KernelNarrowStreams
    : impl::KernelNarrowStreamsBase<KernelNarrowStreams> {
  using KernelNarrowStreamsBase::KernelNarrowStreamsBase;

  void runOnOperation() override {
    getOperation().walk([&](DestinationStyleOpInterface op) {
      for (OpResult result : op->getResults())
        if (storesNarrow(op, result.getResultNumber()))
          narrow(result, op.getDpsInitsMutable()[result.getResultNumber()]);
    });
  }

private:
  static void narrow(OpResult result, OpOperand &out) {
    auto stream = dyn_cast<RankedTensorType>(result.getType());
    auto empty = out.get().getDefiningOp<tensor::EmptyOp>();
    Type type = stream ? typeOfUses(result) : Type();
    if (!type || !empty)
      return;
    OpBuilder builder(empty);
    out.set(tensor::EmptyOp::create(builder, empty.getLoc(), stream.getShape(),
                                    type, empty.getDynamicSizes()));
    result.setType(stream.clone(type));
    if (empty->use_empty())
      empty.erase();
  }
};
} // namespace
} // namespace nestc
