//===- OutlineKernels.cpp - stub -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

namespace nestc {
#define GEN_PASS_DEF_KERNELOUTLINE
#include "passes/Passes.h.inc"

namespace {
struct KernelOutline : impl::KernelOutlineBase<KernelOutline> {
  using KernelOutlineBase::KernelOutlineBase;
  void runOnOperation() override {}
};
} // namespace
} // namespace nestc
