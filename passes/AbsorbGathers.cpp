//===- AbsorbGathers.cpp - gathered rows are read where they lie ----------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What several kernels read of selected rows was gathered by a kernel of its
// own. Products and row-wise kernels can read rows by indices themselves: a
// copy that only such kernels read is a launch and two passes over memory for
// nothing. The rows have to be what they were until the last reader has run.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELABSORBGATHERS
#include "passes/Passes.h.inc"

namespace {
using namespace kernel;

/// Whether `op` only copies rows that it gathers.
bool isCopy(RowwiseOp op) {
  if (!op.getGathers() || op.getScatters() || op.readsOutput() ||
      op->getNumResults() != 1 || op.getInputs().size() != 1 ||
      op.getBodies().size() != 1 ||
      cast<AffineMapAttr>(op.getMaps()[0]).getValue().getNumResults() != 2)
    return false;
  Block &body = op.getBodies()[0].front();
  return body.getTerminator()->getOperand(0) == body.getArgument(0);
}

/// Whether a kernel works on the packed rows of `copy`, and can have its
/// indices.
template <typename KernelOp>
bool canIndex(KernelOp op, RowwiseOp copy) {
  return op.getOffsets() == copy.getOffsets() &&
         op.getSetsAttr() == copy.getSetsAttr() &&
         (!op.getIndices() || op.getIndices() == copy.getIndices());
}

/// The number of the map through which operand `index` of the epilogue is read.
int64_t slotOf(MatmulOp matmul, unsigned index) {
  int64_t slot = 0;
  unsigned next = 0;
  for (AffineMap map : matmul.getMaps().getAsValueRange<AffineMapAttr>()) {
    next += map.getNumDims() == 3 ? matmul.getGroups() : 1;
    if (index < next)
      break;
    ++slot;
  }
  return slot;
}

/// How many inputs a kernel reads by row.
unsigned countStreams(RowwiseOp op) {
  return llvm::count_if(
      op.getMaps().getAsValueRange<AffineMapAttr>(), [](AffineMap map) {
        return map.getNumDims() == 3 && map.getNumResults() == 2;
      });
}

/// Whether `use` of what `copy` gives can be of what it copies.
bool canAbsorb(RowwiseOp copy, OpOperand &use) {
  unsigned number = use.getOperandNumber();
  if (auto matmul = dyn_cast<MatmulOp>(use.getOwner())) {
    if (!canIndex(matmul, copy))
      return false;
    if (number == matmul.getAMutable().getOperandNumber())
      return !matmul.getGathers();
    unsigned first = matmul.getEpilogue().getBeginOperandIndex();
    return number >= first && number < first + matmul.getEpilogue().size();
  }
  auto rowwise = dyn_cast<RowwiseOp>(use.getOwner());
  return rowwise && canIndex(rowwise, copy) && number == 0 &&
         !rowwise.getGathers() && !rowwise.getScatters() &&
         !rowwise.getInputs().empty() && countStreams(rowwise) == 1;
}

void absorb(RowwiseOp copy, OpOperand &use) {
  use.set(copy.getInputs()[0]);
  Operation *user = use.getOwner();
  if (auto rowwise = dyn_cast<RowwiseOp>(user)) {
    rowwise.getIndicesMutable().assign(copy.getIndices());
    rowwise.setGathers(true);
    return;
  }
  auto matmul = cast<MatmulOp>(user);
  bool isA = use.getOperandNumber() == matmul.getAMutable().getOperandNumber();
  unsigned operand =
      use.getOperandNumber() - matmul.getEpilogue().getBeginOperandIndex();
  matmul.getIndicesMutable().assign(copy.getIndices());
  if (isA) {
    matmul.setGathers(true);
    return;
  }
  SmallVector<int64_t> indexed(matmul.getIndexed());
  indexed.push_back(slotOf(matmul, operand));
  llvm::sort(indexed);
  matmul.setIndexed(indexed);
}

/// Whether nothing writes over the rows before all readers of the copy.
bool staysUntilRead(RowwiseOp copy) {
  for (OpOperand &use : copy.getInputs()[0].getUses()) {
    auto writer = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
    if (!writer || !writer.isDpsInit(&use))
      continue;
    for (Operation *reader : copy->getUsers())
      if (reader == writer || writer->isBeforeInBlock(reader))
        return false;
  }
  return true;
}

struct KernelAbsorbGathers
    : impl::KernelAbsorbGathersBase<KernelAbsorbGathers> {
  using KernelAbsorbGathersBase::KernelAbsorbGathersBase;

  void runOnOperation() override {
    SmallVector<RowwiseOp> copies;
    getOperation().walk([&](RowwiseOp op) {
      if (isCopy(op))
        copies.push_back(op);
    });
    for (RowwiseOp copy : copies) {
      Value rows = copy.getResult(0);
      if (!llvm::all_of(rows.getUses(),
                        [&](OpOperand &use) { return canAbsorb(copy, use); }) ||
          !staysUntilRead(copy))
        continue;
      // Operands move when a kernel gets indices.
      while (!rows.use_empty())
        absorb(copy, *rows.use_begin());
      auto empty = copy.getOut().getDefiningOp<tensor::EmptyOp>();
      copy.erase();
      if (empty && empty->use_empty())
        empty.erase();
    }
  }
};
} // namespace
} // namespace nestc
