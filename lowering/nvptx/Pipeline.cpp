//===- Pipeline.cpp - outlined kernels to device code ---------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Pipeline.h"

#include "lowering/Passes.h"
#include "lowering/nvptx/Generator.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace nestc {
#define GEN_PASS_DEF_CONVERTKERNELTONVPTX
#include "lowering/Passes.h.inc"

static constexpr const char *deviceName = "device";
static constexpr const char *kernelsName = "device.kernels";

namespace {
struct ConvertKernelToNvptx
    : impl::ConvertKernelToNvptxBase<ConvertKernelToNvptx> {
  using Base::Base;

  void runOnOperation() override {
    mlir::ModuleOp module = getOperation();
    auto builder = mlir::OpBuilder::atBlockEnd(module.getBody());
    auto device = mlir::ModuleOp::create(builder, module.getLoc(), deviceName);
    nvptx::Generator generator(module, device, sharedBytes);
    if (failed(generator.run()))
      return signalPassFailure();
    llvm::SmallVector<llvm::StringRef> names(generator.kernels.begin(),
                                             generator.kernels.end());
    device->setAttr(kernelsName, builder.getStrArrayAttr(names));
    // What names the weights was for the package; code has their order only.
    for (auto weight :
         llvm::make_early_inc_range(module.getOps<nest::WeightOp>()))
      weight.erase();
  }
};
} // namespace

void buildNvptxPipeline(mlir::OpPassManager &passes,
                        const NvptxTarget &target) {
  passes.addPass(createConvertKernelToNvptx({target.sharedBytes}));
  auto lower = [](mlir::OpPassManager &module) {
    mlir::OpPassManager &functions = module.nest<mlir::LLVM::LLVMFuncOp>();
    functions.addPass(mlir::createCanonicalizerPass());
    functions.addPass(mlir::createCSEPass());
    functions.addPass(mlir::createSCFToControlFlowPass());
    functions.addPass(mlir::createConvertVectorToLLVMPass());
    functions.addPass(mlir::createConvertMathToLLVMPass());
    functions.addPass(mlir::createArithToLLVMConversionPass());
    module.addPass(mlir::createConvertControlFlowToLLVMPass());
    module.addPass(mlir::createReconcileUnrealizedCastsPass());
  };
  lower(passes.nest<mlir::ModuleOp>());
  lower(passes);
}

mlir::OwningOpRef<mlir::ModuleOp> takeDeviceModule(mlir::ModuleOp module) {
  for (auto inner :
       llvm::make_early_inc_range(module.getOps<mlir::ModuleOp>())) {
    if (inner.getName() != llvm::StringRef(deviceName))
      continue;
    inner->remove();
    return inner;
  }
  return {};
}

std::vector<std::string> kernelNames(mlir::ModuleOp device) {
  std::vector<std::string> names;
  if (auto list = device->getAttrOfType<mlir::ArrayAttr>(kernelsName))
    for (auto name : list.getAsRange<mlir::StringAttr>())
      names.push_back(name.str());
  return names;
}
} // namespace nestc
