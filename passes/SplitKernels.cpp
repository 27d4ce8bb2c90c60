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

#include "llvm/ADT/TypeSwitch.h"
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

template <typename KernelOp>
void giveWorkspace(KernelOp op, ArrayRef<int64_t> shape, int64_t count) {
  OpBuilder b(op);
  op.getWorkspaceMutable().assign(memref::AllocOp::create(
      b, op.getLoc(), MemRefType::get(shape, b.getF32Type())));
  auto tickets = memref::AllocOp::create(
      b, op.getLoc(), MemRefType::get({count}, b.getI32Type()));
  tickets->setAttr(kernel::kTicketsAttr, b.getUnitAttr());
  op.getTicketsMutable().assign(tickets);
}

void split(kernel::MatmulOp op) {
  // Parts are of a depth that is known.
  if (op.getDepthBound())
    return;
  auto weight = cast<MemRefType>(op.getWeights().front().getType());
  // What is loaded by 16 bytes is a multiple of them.
  if (weight.getElementType().isF32() || op.getWorkspace() ||
      weight.getDimSize(0) % 8 || weight.getDimSize(1) % 8)
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
  giveWorkspace(op, {splits, fewRows, tiles * fewRowsColumns}, tiles * sets);
}

void split(kernel::ProjectOp op) {
  auto first = cast<MemRefType>(op.getWeights().front().getType());
  auto a = cast<MemRefType>(op.getA().getType());
  int64_t rows = 1, depth = first.getDimSize(1), tiles = 0;
  int64_t head = op.getHeadDim();
  for (int64_t extent : a.getShape().drop_back())
    if (!ShapedType::isDynamic(extent))
      rows *= extent;
  for (unsigned s = 0; s < op.getOut().size(); ++s) {
    // A tile has whole heads where it needs them. Wider ones are cut into
    // pairs, in ways that are the generator's.
    bool isWhole = op.isTurned(s) || !op.getNormsOf(s).empty();
    if (isWhole && head > fewRowsColumns)
      return;
    int64_t columns =
        cast<MemRefType>(op.getWeightsOf(s).front().getType()).getDimSize(0);
    if (columns % 8)
      return;
    tiles += llvm::divideCeil(columns, isWhole ? fewRowsColumns / head * head
                                               : fewRowsColumns);
  }
  int64_t splits = splitsOf(tiles, depth);
  if (first.getElementType().isF32() || op.getWorkspace() || depth % 8 ||
      splits == 1 || rows > fewRows)
    return;
  int64_t sets = std::min<int64_t>(op.getGroups(), fewRows);
  giveWorkspace(op, {splits, fewRows, tiles * fewRowsColumns}, tiles * sets);
}

/// Decoding with long caches: heads of few sequences are few blocks. How many
/// blocks share the keys of a head is decided when they are launched, by the
/// batch, and in the blocks, by how many keys there are.
void split(kernel::AttentionOp op) {
  auto cache = cast<MemRefType>(op.getK().getType());
  auto q = cast<MemRefType>(op.getQ().getType());
  int64_t heads = cache.getDimSize(1), headDim = cache.getDimSize(3);
  int64_t group = q.getDimSize(2) / headDim / heads;
  int64_t blocks = heads * std::max<int64_t>(cache.getDimSize(0), 1);
  bool isMany = !q.isDynamicDim(1) && q.getDimSize(1) * group > 2 * fewRows;
  // On tensor cores only.
  if (cache.getElementType().isF32() || headDim % 8 || headDim > 256 ||
      op.getWorkspace() || isMany || cache.getDimSize(2) < 2 * leastKeys ||
      2 * blocks > enoughBlocks)
    return;
  // Of a row also the maximum and the sum, and whole sectors.
  giveWorkspace(op, {enoughBlocks, fewRows, headDim + 8}, enoughBlocks);
}

/// One row of many columns, the logits, is read by many blocks.
void split(kernel::ArgmaxOp op) {
  int64_t columns = cast<MemRefType>(op.getX().getType()).getShape().back();
  int64_t parts =
      std::min<int64_t>(llvm::divideCeil(columns, argmaxColumns), enoughBlocks);
  if (op.getWorkspace() || parts == 1)
    return;
  // The largest number, and its column.
  giveWorkspace(op, {parts, fewRows, 2}, fewRows);
}

struct KernelSplit : nestc::impl::KernelSplitBase<KernelSplit> {
  using KernelSplitBase::KernelSplitBase;

  void runOnOperation() override {
    WalkResult result = getOperation().walk([](Operation *op) {
      // An outlined kernel has the operands that it has.
      if (!isa<kernel::MatmulOp, kernel::ProjectOp, kernel::AttentionOp,
               kernel::ArgmaxOp>(op) ||
          isa<kernel::DefOp>(op->getParentOp()))
        return WalkResult::advance();
      if (cast<DestinationStyleOpInterface>(op).hasPureTensorSemantics()) {
        op->emitOpError("works on tensors; run kernel-bufferize first");
        return WalkResult::interrupt();
      }
      llvm::TypeSwitch<Operation *>(op)
          .Case<kernel::MatmulOp, kernel::ProjectOp, kernel::AttentionOp,
                kernel::ArgmaxOp>([](auto op) { split(op); });
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
