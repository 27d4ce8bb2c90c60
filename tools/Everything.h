//===- Everything.h - what tools for MLIR register --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_EVERYTHING_H
#define NESTC_TOOLS_EVERYTHING_H

#include "dialect/Kernel.h"
#include "dialect/Nest.h"
#include "lowering/Passes.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"

namespace nestc {

/// All dialects of MLIR and of nestc, with what extends them.
inline void registerEveryDialect(mlir::DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<nest::NestDialect, kernel::KernelDialect>();
  kernel::registerBufferizationModels(registry);
}

/// All passes and pipelines of MLIR and of nestc. Once in a process.
inline void registerEveryPass() {
  mlir::registerAllPasses();
  registerNestPasses();
  registerNestPipelines();
  registerLoweringPasses();
}

} // namespace nestc

#endif // NESTC_TOOLS_EVERYTHING_H
