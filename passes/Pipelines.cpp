//===- Pipelines.cpp - passes in the order they run --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Pipelines.h"

#include "passes/Passes.h"

#include "mlir/Pass/PassRegistry.h"

using namespace mlir;

// No canonicalisation and no cse in between: every pass leaves nothing to clean
// up, and merged empty tensors would have to be taken apart again.
void nestc::buildKernelPipeline(OpPassManager &manager,
                                const KernelPipelineOptions &options) {
  if (options.chooseTokens)
    manager.addPass(createNestChooseTokens());
  manager.addPass(createNestKeepLast());
  manager.addPass(createNestExpandRows());
  manager.addPass(createNestKeepGrouped());
  manager.addPass(createNestFuseRows());
  manager.addPass(createConvertNestToKernel());
  if (options.roundAttention)
    manager.addPass(createKernelRoundAttention());
  if (options.fuseProjections) {
    manager.addPass(createKernelAbsorbGathers());
    manager.addPass(createKernelFuseProjections());
  }
  if (options.foldNorms)
    manager.addPass(createKernelFoldNorms());
  if (options.narrowStreams)
    manager.addPass(createKernelNarrowStreams());
  if (options.boundRows)
    manager.addPass(createKernelBoundRows());
  manager.addPass(createKernelBufferize());
  KernelShareWeightsOptions share;
  share.linked = options.linkWeights;
  manager.addPass(createKernelShareWeights(share));
  if (options.split)
    manager.addPass(createKernelSplit());
  manager.addPass(createKernelPlanMemory());
  manager.addPass(createKernelOutline());
}

void nestc::registerNestPipelines() {
  static PassPipelineRegistration<> kernels(
      "nest-to-kernels",
      "From graph operations without axes to kernels on one arena",
      [](OpPassManager &manager) { buildKernelPipeline(manager); });
}
