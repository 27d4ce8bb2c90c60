//===- KernelDialect.cpp - the kernel dialect -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"

using namespace mlir;
using namespace nestc::kernel;

#include "dialect/KernelDialect.cpp.inc"

void KernelDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialect/KernelOps.cpp.inc"
      >();
}
