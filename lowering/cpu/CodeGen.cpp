//===- CodeGen.cpp - LLVM dialect to shared object -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/CodeGen.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

#include <mutex>

using namespace llvm;

//===----------------------------------------------------------------------===//
// Targets
//===----------------------------------------------------------------------===//

// What each level asks of a host, beyond what every x86-64 has. The levels'
// other members come with these on every CPU that exists.
static constexpr StringRef featuresOfV3[] = {"sse4.2", "popcnt", "avx",  "avx2",
                                             "bmi",    "bmi2",   "f16c", "fma"};
static constexpr StringRef featuresOfV4[] = {"avx512f", "avx512bw", "avx512cd",
                                             "avx512dq", "avx512vl"};

static Error fault(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

Expected<nestc::CpuTarget> nestc::CpuTarget::get(StringRef level) {
  CpuTarget target;
  target.level = level.str();
  target.triple = sys::getDefaultTargetTriple();
  if (!Triple(target.triple).isX86_64())
    return fault("the CPU generator makes code for x86-64; this host is " +
                 target.triple);
  bool wide = level == "x86-64-v4";
  target.tune = "generic";
  if (level == "native") {
    StringMap<bool> host = sys::getHostCPUFeatures();
    auto has = [&](ArrayRef<StringRef> names) {
      return all_of(names, [&](StringRef name) { return host.lookup(name); });
    };
    if (!has(featuresOfV3))
      return fault("this host's CPU has no AVX2 and FMA; use a level of "
                   "another machine: x86-64-v3, x86-64-v4");
    wide = has(featuresOfV4);
    target.tune = sys::getHostCPUName().str();
  } else if (level != "x86-64-v3" && !wide) {
    return fault("unknown CPU level '" + level +
                 "'; known are native, x86-64-v3, x86-64-v4");
  }
  target.cpu = wide ? "x86-64-v4" : "x86-64-v3";
  target.vectorBits = wide ? 512 : 256;
  for (StringRef name : featuresOfV3)
    target.required.push_back(name.str());
  if (wide)
    for (StringRef name : featuresOfV4)
      target.required.push_back(name.str());
  return target;
}

static Expected<std::unique_ptr<TargetMachine>>
makeMachine(const nestc::CpuTarget &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
  });
  std::string error;
  Triple triple(target.triple);
  const Target *found = TargetRegistry::lookupTarget(triple, error);
  if (!found)
    return fault(error);
  std::unique_ptr<TargetMachine> machine(found->createTargetMachine(
      triple, target.cpu, target.features, TargetOptions(), Reloc::PIC_,
      std::nullopt, CodeGenOptLevel::Default));
  if (!machine)
    return fault("LLVM has no code generator for " + target.triple);
  return machine;
}

//===----------------------------------------------------------------------===//
// LLVM IR
//===----------------------------------------------------------------------===//

static Expected<std::unique_ptr<Module>>
translate(mlir::ModuleOp module, LLVMContext &context,
          const nestc::CpuTarget &target, TargetMachine &machine) {
  mlir::registerBuiltinDialectTranslation(*module.getContext());
  mlir::registerLLVMDialectTranslation(*module.getContext());
  std::unique_ptr<Module> ir =
      mlir::translateModuleToLLVMIR(module, context, "nest");
  if (!ir)
    return fault("the module is not in the LLVM dialect");
  ir->setTargetTriple(machine.getTargetTriple());
  ir->setDataLayout(machine.createDataLayout());
  std::string width = std::to_string(target.vectorBits);
  for (Function &function : *ir) {
    function.addFnAttr(Attribute::NoUnwind);
    if (function.isDeclaration())
      continue;
    // No loop becomes a call of memset or memcpy: a package links no libc.
    function.addFnAttr("no-builtins");
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("tune-cpu", target.tune);
    if (!target.features.empty())
      function.addFnAttr("target-features", target.features);
    // Keeps 512-bit code on hosts whose own preference is 256.
    function.addFnAttr("prefer-vector-width", width);
    function.addFnAttr("min-legal-vector-width", width);
  }
  return ir;
}

Expected<std::string> nestc::emitLlvmIr(mlir::ModuleOp module,
                                        const CpuTarget &target) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  LLVMContext context;
  Expected<std::unique_ptr<Module>> ir =
      translate(module, context, target, **machine);
  if (!ir)
    return ir.takeError();
  std::string text;
  raw_string_ostream(text) << **ir;
  return text;
}

Expected<SmallVector<char, 0>> nestc::emitObject(mlir::ModuleOp module,
                                                 const CpuTarget &target) {
  Expected<std::unique_ptr<TargetMachine>> machine = makeMachine(target);
  if (!machine)
    return machine.takeError();
  LLVMContext context;
  Expected<std::unique_ptr<Module>> ir =
      translate(module, context, target, **machine);
  if (!ir)
    return ir.takeError();

  // Loops come vectorised and unrolled as far as they should be.
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = false;
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false;
  PassBuilder builder(machine->get(), tuning);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O2)
      .run(**ir, modules);

  SmallVector<char, 0> object;
  raw_svector_ostream stream(object);
  legacy::PassManager passes;
  if ((*machine)->addPassesToEmitFile(passes, stream, nullptr,
                                      CodeGenFileType::ObjectFile))
    return fault("LLVM cannot write objects for " + target.triple);
  passes.run(**ir);
  return object;
}

//===----------------------------------------------------------------------===//
// Linking
//===----------------------------------------------------------------------===//

// The linker: beside the LLVM that nestc was built with, else from the PATH.
static Expected<std::string> findLinker() {
  SmallString<128> beside(NEST_LLVM_TOOLS_DIR);
  sys::path::append(beside, "ld.lld");
  if (sys::fs::can_execute(beside))
    return std::string(beside);
  for (StringRef name : {"ld.lld-22", "ld.lld", "ld"})
    if (ErrorOr<std::string> path = sys::findProgramByName(name))
      return *path;
  return fault("no linker: install lld-22 (ld.lld was neither in " +
               Twine(NEST_LLVM_TOOLS_DIR) + " nor in the PATH)");
}

static Error writeFile(StringRef path, StringRef data) {
  std::error_code code;
  raw_fd_ostream stream(path, code);
  if (code)
    return fault("cannot write " + path + ": " + code.message());
  stream << data;
  stream.close();
  if (stream.has_error()) {
    std::string message = stream.error().message();
    stream.clear_error();
    return fault("cannot write " + path + ": " + message);
  }
  return Error::success();
}

Error nestc::linkSharedObject(ArrayRef<char> object, StringRef path) {
  Expected<std::string> linker = findLinker();
  if (!linker)
    return linker.takeError();
  std::string objectPath = (path + ".o").str();
  std::string mapPath = (path + ".map").str();
  std::string logPath = (path + ".log").str();
  scope_exit cleanUp([&] {
    for (StringRef file : {objectPath, mapPath, logPath})
      (void)sys::fs::remove(file);
  });
  if (Error error =
          writeFile(objectPath, StringRef(object.data(), object.size())))
    return error;
  if (Error error =
          writeFile(mapPath, "{ global: nest_entry_*; local: *; };\n"))
    return error;
  std::string versionScript = "--version-script=" + mapPath;
  std::string output = path.str();
  // Nothing is left for the loader to find: the code calls no library.
  SmallVector<StringRef> arguments{
      *linker,         "-shared",     "-z",       "defs", "-z",  "noexecstack",
      "--gc-sections", versionScript, objectPath, "-o",   output};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(logPath),
                                          StringRef(logPath)};
  std::string message;
  int status =
      sys::ExecuteAndWait(*linker, arguments, std::nullopt, redirects,
                          /*SecondsToWait=*/0, /*MemoryLimit=*/0, &message);
  if (status != 0) {
    if (auto log = MemoryBuffer::getFile(logPath))
      if (message.empty())
        message = (*log)->getBuffer().trim().split('\n').first.str();
    (void)sys::fs::remove(path);
    return fault("linking " + path + " with " + *linker +
                 " failed: " + message);
  }
  return Error::success();
}
