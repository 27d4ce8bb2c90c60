//===- BoundRows.cpp - how many rows a set has at most --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "dialect/Kernel.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELBOUNDROWS
#include "passes/Passes.h.inc"

namespace {
struct KernelBoundRows : impl::KernelBoundRowsBase<KernelBoundRows> {
  using KernelBoundRowsBase::KernelBoundRowsBase;

  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      Value offsets;
      if (auto matmul = dyn_cast<kernel::MatmulOp>(op))
        offsets = matmul.getOffsets();
      else if (auto project = dyn_cast<kernel::ProjectOp>(op))
        offsets = project.getOffsets();
      auto select = offsets ? offsets.getDefiningOp<kernel::SelectOp>()
                            : kernel::SelectOp();
      // Within a set there are no more candidates than rows.
      if (select && select.getCapacity())
        op->setAttr(kernel::kCapacityAttr, *select.getCapacity());
    });
  }
};
} // namespace
} // namespace nestc
