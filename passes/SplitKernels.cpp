//===- SplitKernels.cpp - kernels that blocks of a GPU share ---*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A product of few rows reads its weights once, and is done when they are read:
// what counts is that all of the device reads. Columns alone make too few
// blocks, so that blocks split the depth too. The rule is
//
//   - about two blocks for each of the 108 multiprocessors of an A100,
//   - of 256 elements of the depth or more, for a block also reads rows and
//     writes its sums.
//
// How many rows there are is known at run time: kernels of many rows leave the
// workspace alone.
//
//===----------------------------------------------------------------------===//

#include "passes/SplitKernels.h"

#include "passes/Passes.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace nestc;
namespace kernel = nestc::kernel;

namespace nestc {
#define GEN_PASS_DEF_KERNELSPLIT
#include "passes/Passes.h.inc"
} // namespace nestc

namespace {

constexpr int64_t enoughBlocks = 2 * 108;
/// Of a split, at least.
constexpr int64_t leastBatches = 256 / fewRowsDepth;

/// How many blocks share a tile of `columns` columns of all tiles together.
int64_t splitsOf(int64_t tiles, int64_t depth) {
  int64_t batches = depth / fewRowsDepth;
  int64_t each = std::max(batches * tiles / enoughBlocks, leastBatches);
  return std::max<int64_t>(batches / each, 1);
}

void split(kernel::MatmulOp op) {
  auto weight = cast<MemRefType>(op.getWeights().front().getType());
  // An outlined kernel has the operands that it has. What is loaded by 16 bytes
  // is a multiple of them.
  if (op->getParentOfType<kernel::DefOp>() || weight.getElementType().isF32() ||
      op.getWorkspace() || weight.getDimSize(0) % 8 || weight.getDimSize(1) % 8)
    return;
  auto out = cast<MemRefType>(op.getOut().getType());
  int64_t rows = 1;
  for (int64_t extent : out.getShape().drop_back())
    if (!ShapedType::isDynamic(extent))
      rows *= extent;
  int64_t products = op.getNumProducts(), columns = weight.getDimSize(0);
  int64_t tiles = llvm::divideCeil(columns * products, fewRowsColumns);
  int64_t splits = splitsOf(tiles, weight.getDimSize(1));
  if (splits == 1 || rows > fewRows)
    return;
  // Each set that has rows has tiles of its own.
  int64_t sets = std::min<int64_t>(op.getGroups(), fewRows);
  OpBuilder b(op);
  auto room = MemRefType::get({splits, fewRows, tiles * fewRowsColumns},
                              b.getF32Type());
  op.getWorkspaceMutable().assign(
      memref::AllocOp::create(b, op.getLoc(), room));
  auto tickets = memref::AllocOp::create(
      b, op.getLoc(), MemRefType::get({tiles * sets}, b.getI32Type()));
  tickets->setAttr(kernel::kTicketsAttr, b.getUnitAttr());
  op.getTicketsMutable().assign(tickets);
}

struct KernelSplit : nestc::impl::KernelSplitBase<KernelSplit> {
  using KernelSplitBase::KernelSplitBase;

  void runOnOperation() override {
    WalkResult result = getOperation().walk([](kernel::MatmulOp op) {
      if (op.hasPureTensorSemantics()) {
        op.emitOpError("works on tensors; run kernel-bufferize first");
        return WalkResult::interrupt();
      }
      split(op);
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
