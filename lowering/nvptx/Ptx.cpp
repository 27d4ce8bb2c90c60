//===- Ptx.cpp - device code to PTX ---------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Pipeline.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace llvm;

static Error fault(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

static Expected<std::unique_ptr<TargetMachine>>
makeMachine(const nestc::NvptxTarget &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  std::string error;
  Triple triple("nvptx64-nvidia-cuda");
  const Target *found = TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return fault(error);
  TargetOptions options;
  // Sums and products are fused where the generator says so.
  options.AllowFPOpFusion = FPOpFusion::Strict;
  std::unique_ptr<TargetMachine> machine(found->createTargetMachine(
      triple, target.name, target.features, options, std::nullopt, std::nullopt,
      CodeGenOptLevel::Aggressive));
  if (!machine)
    return fault("LLVM has no code generator for " + target.name);
  return machine;
}

Expected<std::string> nestc::emitPtx(mlir::ModuleOp device,
                                     const NvptxTarget &target) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  mlir::registerBuiltinDialectTranslation(*device.getContext());
  mlir::registerLLVMDialectTranslation(*device.getContext());
  mlir::registerNVVMDialectTranslation(*device.getContext());
  // What scf.for carries, MLIR's lowering leaves beside the attribute that is
  // translated.
  device.walk([](mlir::LLVM::BrOp branch) {
    if (auto annotation = branch->getAttrOfType<mlir::LLVM::LoopAnnotationAttr>(
            "llvm.loop_annotation"))
      branch.setLoopAnnotationAttr(annotation);
  });
  LLVMContext context;
  std::unique_ptr<Module> ir =
      mlir::translateModuleToLLVMIR(device, context, "nest");
  if (!ir)
    return fault("the device module is not in the LLVM dialect");
  ir->setTargetTriple((*machine)->getTargetTriple());
  ir->setDataLayout((*machine)->createDataLayout());
  // Assembly may hold what the lanes of a warp do together: no pass may move it
  // to where fewer lanes come by.
  for (Function &function : *ir)
    for (Instruction &instruction : instructions(function))
      if (auto *call = dyn_cast<CallInst>(&instruction))
        if (call->isInlineAsm())
          call->setConvergent();

  PassBuilder builder(machine->get());
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O3)
      .run(*ir, modules);

  SmallString<0> text;
  raw_svector_ostream stream(text);
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr,
                                      CodeGenFileType::AssemblyFile))
    return fault("LLVM cannot write PTX for " + target.name);
  passes.run(*ir);
  return std::string(text.str());
}
