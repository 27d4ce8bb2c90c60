//===- NarrowStreams.cpp - streams stored as products take them -----------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A matrix product rounds its stream to the type of the weights. Where nothing
// else reads a stream, it can be stored in that type: the same values, half the
// bytes, and tiles that are copied as they are.
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

/// The type in which `use` takes a stream, if it is a product's operand.
template <typename ProductOp>
Type typeOfProduct(ProductOp product, OpOperand &use) {
  if (use.getOperandNumber() != product.getAMutable().getOperandNumber())
    return {};
  return getElementTypeOrSelf(product.getWeights().front().getType());
}

/// The type in which all users of a stream take it; null if they do not agree,
/// or see more than a product's operand.
Type typeOfProducts(Value stream) {
  Type type;
  for (OpOperand &use : stream.getUses()) {
    Type element = llvm::TypeSwitch<Operation *, Type>(use.getOwner())
                       .Case<MatmulOp, ProjectOp>([&](auto product) {
                         return typeOfProduct(product, use);
                       })
                       .Default(Type());
    if (!element)
      return {};
    if (type && type != element)
      return {};
    type = element;
  }
  return type && !type.isF32() ? type : Type();
}

/// Whether a kernel can store a stream in another type than f32.
bool storesNarrow(Operation *op, unsigned result) {
  // What scatters leaves other rows as they were.
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([](MatmulOp op) { return !op.readsOutput() && !op.getScaled(); })
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
    Type type = stream ? typeOfProducts(result) : Type();
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
