//===- KernelToCpu.cpp - the pass and its pipeline -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Generator.h"
#include "lowering/cpu/Pipeline.h"

#include "lowering/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace nestc {
#define GEN_PASS_DEF_CONVERTKERNELTOCPU
#include "lowering/Passes.h.inc"

namespace {
struct ConvertKernelToCpu : impl::ConvertKernelToCpuBase<ConvertKernelToCpu> {
  using ConvertKernelToCpuBase::ConvertKernelToCpuBase;
  void runOnOperation() override {
    if (vectorBits != 128 && vectorBits != 256 && vectorBits != 512) {
      getOperation().emitError("vector-bits must be 128, 256 or 512, not ")
          << vectorBits;
      return signalPassFailure();
    }
    if (failed(cpu::Generator(getOperation(), vectorBits / 32).run()))
      return signalPassFailure();
    // What names the weights was for the package; code has their order only.
    for (auto weight :
         llvm::make_early_inc_range(getOperation().getOps<nest::WeightOp>()))
      weight.erase();
  }
};
} // namespace

void buildCpuPipeline(mlir::OpPassManager &passes, int64_t vectorBits) {
  ConvertKernelToCpuOptions options;
  options.vectorBits = vectorBits;
  passes.addPass(createConvertKernelToCpu(options));
  // Function by function, so that functions go through in parallel.
  mlir::OpPassManager &functions = passes.nest<mlir::LLVM::LLVMFuncOp>();
  functions.addPass(mlir::createCanonicalizerPass());
  functions.addPass(mlir::createCSEPass());
  functions.addPass(mlir::createSCFToControlFlowPass());
  functions.addPass(mlir::createConvertVectorToLLVMPass());
  functions.addPass(mlir::createConvertMathToLLVMPass());
  functions.addPass(mlir::createArithToLLVMConversionPass());
  passes.addPass(mlir::createConvertControlFlowToLLVMPass());
  passes.addPass(mlir::createReconcileUnrealizedCastsPass());
}
} // namespace nestc
