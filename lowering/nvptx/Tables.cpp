//===- Tables.cpp - tables kernels ----------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Generator.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

LogicalResult nvptx::generate(Kernel &, kernel::GatherOp op) {
  return op.emitOpError("has no GPU code yet");
}

LogicalResult nvptx::generate(Kernel &, kernel::ChosenOp op) {
  return op.emitOpError("has no GPU code yet");
}

LogicalResult nvptx::generate(Kernel &, kernel::AdvanceOp op) {
  return op.emitOpError("has no GPU code yet");
}

LogicalResult nvptx::generate(Kernel &, kernel::RankOp op) {
  return op.emitOpError("has no GPU code yet");
}
