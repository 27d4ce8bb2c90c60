//===- KernelToCpu.cpp - stub -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace nestc {
#define GEN_PASS_DEF_CONVERTKERNELTOCPU
#include "lowering/Passes.h.inc"

namespace {
struct ConvertKernelToCpu : impl::ConvertKernelToCpuBase<ConvertKernelToCpu> {
  using ConvertKernelToCpuBase::ConvertKernelToCpuBase;
  void runOnOperation() override {}
};
} // namespace
} // namespace nestc
