//===- RoundAttention.cpp - attention in the precision of its caches ------===//
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
#define GEN_PASS_DEF_KERNELROUNDATTENTION
#include "passes/Passes.h.inc"

namespace {
struct KernelRoundAttention
    : impl::KernelRoundAttentionBase<KernelRoundAttention> {
  using KernelRoundAttentionBase::KernelRoundAttentionBase;

  void runOnOperation() override {
    getOperation().walk([](kernel::AttentionOp op) {
      Type cached = getElementTypeOrSelf(op.getK().getType());
      if (cached.isBF16() || cached.isF16())
        op.setRounds(true);
    });
  }
};
} // namespace
} // namespace nestc
