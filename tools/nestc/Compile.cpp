//===- Compile.cpp - nestc compile --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/Passes.h"
#include "lowering/cpu/CodeGen.h"
#include "lowering/cpu/Pipeline.h"
#include "lowering/nvptx/Pipeline.h"
#include "lowering/nvptx/Ptxas.h"
#include "lowering/package/PackageWriter.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Tokenizer.h"
#include "passes/CostModel.h"
#include "passes/Passes.h"
#include "passes/Pipelines.h"
#include "passes/SharedWeights.h"
#include "tools/nestc/Commands.h"
#include "tools/nestc/Model.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <sys/stat.h>

using namespace mlir;
using namespace nestc;

static const CommandSpec kSpec = {
    "compile",
    "CKPT|model.mlir",
    "compile a submodel to a package with native code",
    {{"-o", "OUT", "the package (or file, with --emit)"},
     {"--submodel", "[NAME:]SPEC",
      "what to keep: layers.all.ffn=1/4,skip=3, "
      "a name of nest.json, or a .json file",
      /*repeated=*/true},
     {"--target", "TARGET",
      "cpu (default), or a GPU: sm_80, sm_90a, sm_120, ..."},
     {"--cpu", "LEVEL", "native (default), x86-64-v3 or x86-64-v4"},
     {"--dtype", "TYPE", "f32, bf16 or f16: what matrices are multiplied in"},
     {"--exact-attention", "",
      "on a GPU, do not round queries and softmax weights to TYPE"},
     {"--max-length", "N", "rows of the KV cache (default: the config's)"},
     {"--weights", "copy|link",
      "in the package, or where the checkpoint has them"},
     {"--emit", "PHASE",
      "stop after: nest, specialized, linalg, kernels, "
      "llvm, ptx, cubin, package"},
     {"--dump-phases", "DIR", "write the module after every phase"},
     {"--slices", "FILE.csv",
      "a slicing table; --submodel preset=NAME is its row NAME"}}};

namespace {

/// One run of the command.
class Compilation {
public:
  Compilation(const Arguments &arguments, const Reporter &reporter)
      : arguments(arguments), reporter(reporter), model(reporter) {}
  int run();

private:
  int readOptions();
  /// Specialises the module to every --submodel, and merges them.
  int specialize();
  /// Refuses to link matrices that have to be converted.
  int checkLinks();
  /// Refuses caches that are not those of the submodels before.
  int checkCaches(ModuleOp merged);
  /// Ends a phase: dumps it, and says whether it was the last one.
  int endPhase(Phase phase, bool &stop);
  int lowerAndPackage();
  /// PTX and, if there is a ptxas, cubin of the device module, which is taken
  /// out.
  int generateDevice(PackagedDevice &device, bool &stop);
  /// Ends a phase whose result is text or bytes.
  int endPhase(Phase phase, const std::string &result, bool &stop);

  const Arguments &arguments;
  const Reporter &reporter;
  Model model;
  Phase last = Phase::Package;
  int64_t maxLength = 0;
  std::string targetName, dtype, cpuLevel, weights, dumpDirectory, output;
  std::optional<NvptxTarget> gpu;
  rt::Manifest description; ///< of the model and its submodels
};

int Compilation::readOptions() {
  int code = ExitUsage;
  auto oneOf = [&](const std::string &option, const std::string &fallback,
                   std::vector<std::string> legal,
                   std::vector<std::string> later, std::string &value) -> bool {
    value = arguments.get(option, fallback);
    if (llvm::is_contained(legal, value) || value == fallback)
      return true;
    bool known = llvm::is_contained(later, value);
    code = reporter.fail(known ? ExitInput : ExitUsage,
                         {option,
                          known ? value + " is not supported yet"
                                : "unknown value '" + value + "'",
                          "legal are " + llvm::join(legal, ", ")});
    return false;
  };
  if (int failed = checkOnePositional(kSpec, arguments, reporter))
    return failed;
  if (!arguments.has("-o"))
    return reporter.fail(
        ExitUsage, {"nestc compile", "there is no output", "give it with -o"});
  output = arguments.get("-o");
  targetName = arguments.get("--target", "cpu");
  if (targetName != "cpu") {
    llvm::Expected<NvptxTarget> found = NvptxTarget::get(targetName);
    if (!found) {
      llvm::consumeError(found.takeError());
      return reporter.fail(
          ExitUsage,
          {"--target", "unknown target '" + targetName + "'",
           "legal are cpu, " + llvm::join(NvptxTarget::names(), ", ")});
    }
    gpu = *found;
  }
  if (!oneOf("--dtype", "", {"f32", "bf16", "f16"}, {}, dtype) ||
      !oneOf("--cpu", "native", {"native", "x86-64-v3", "x86-64-v4"}, {},
             cpuLevel) ||
      !oneOf("--weights", "copy", {"copy", "link"}, {"int8", "int4"}, weights))
    return code;
  if (arguments.has("--max-length")) {
    std::optional<int64_t> length =
        parseInteger("--max-length", arguments.get("--max-length"), 1,
                     int64_t(1) << 30, reporter, code);
    if (!length)
      return code;
    maxLength = *length;
  }
  if (arguments.has("--emit")) {
    std::optional<Phase> phase =
        parsePhase(arguments.get("--emit"), reporter, code);
    if (!phase)
      return code;
    last = *phase;
    if (!gpu && (last == Phase::Ptx || last == Phase::Cubin))
      return reporter.fail(ExitUsage,
                           {"--emit", arguments.get("--emit") + " is of GPUs",
                            "give one with --target"});
  }
  dumpDirectory = arguments.get("--dump-phases");
  return ExitDone;
}

int Compilation::endPhase(Phase phase, bool &stop) {
  reporter.note(std::string("phase ") + phaseName(phase) + " done");
  if (!dumpDirectory.empty()) {
    std::string name = std::to_string(static_cast<int>(phase) + 1) + "-" +
                       phaseName(phase) + ".mlir";
    if (int code = model.write(rt::joinPath(dumpDirectory, name)))
      return code;
  }
  stop = phase == last;
  return stop ? model.write(output) : ExitDone;
}

int Compilation::endPhase(Phase phase, const std::string &result, bool &stop) {
  reporter.note(std::string("phase ") + phaseName(phase) + " done");
  auto write = [&](const std::string &path) -> int {
    auto file = rt::OutputFile::create(path);
    rt::Status status = file ? file->write(result) : file.takeError();
    if (status.ok())
      status = file->close();
    return status.ok() ? int(ExitDone)
                       : reporter.fail(ExitInput, status.error());
  };
  if (!dumpDirectory.empty()) {
    std::string name = std::to_string(static_cast<int>(phase) + 1) + "-" +
                       phaseName(phase) + "." + phaseName(phase);
    if (int code = write(rt::joinPath(dumpDirectory, name)))
      return code;
  }
  stop = phase == last;
  return stop ? write(output) : ExitDone;
}

int Compilation::generateDevice(PackagedDevice &device, bool &stop) {
  OwningOpRef<ModuleOp> module = takeDeviceModule(model.module());
  device.kernels = kernelNames(*module);
  llvm::Expected<std::string> ptx = emitPtx(*module, *gpu);
  if (!ptx)
    return model.failLowering(llvm::toString(ptx.takeError()), model.print());
  device.ptx = std::move(*ptx);
  if (int code = endPhase(Phase::Ptx, device.ptx, stop); code || stop)
    return code;
  std::optional<std::string> ptxas = findPtxas();
  if (!ptxas) {
    if (last == Phase::Cubin)
      return reporter.fail(ExitInput,
                           {"--emit", "there is no ptxas", ptxasPlaces});
    reporter.note("no ptxas: the package holds PTX alone");
    return ExitDone;
  }
  llvm::Expected<std::string> cubin = assemblePtx(*ptxas, device.ptx, *gpu);
  if (!cubin)
    return model.failLowering(llvm::toString(cubin.takeError()), device.ptx);
  device.cubin = std::move(*cubin);
  return endPhase(Phase::Cubin, device.cubin, stop);
}

int Compilation::run() {
  if (int code = readOptions())
    return code;
  bool stop = false;
  if (int code = model.checkOutput(arguments.positional[0], output,
                                   last == Phase::Package))
    return code;
  if (int code = model.load(arguments.positional[0]))
    return code;
  if (last == Phase::Package)
    if (int code = model.checkModel(/*complete=*/true))
      return code;
  if (!dumpDirectory.empty() && !rt::isDirectory(dumpDirectory) &&
      ::mkdir(dumpDirectory.c_str(), 0777) != 0)
    return reporter.fail(ExitInput, {dumpDirectory, "cannot be made",
                                     "give a directory that can be written"});
  if (int code = model.configure(dtype, maxLength))
    return code;
  if (int code = endPhase(Phase::Nest, stop); code || stop)
    return code;
  if (int code = specialize())
    return code;
  if (int code = endPhase(Phase::Specialized, stop); code || stop)
    return code;
  if (last == Phase::Linalg) {
    // A branch of its own: where another compiler takes over.
    if (int code = model.run([](OpPassManager &manager) {
          manager.addPass(createNestDropAxes());
          manager.addPass(createNestExpandRows());
          manager.addPass(createConvertNestToLinalg());
        }))
      return code;
    return endPhase(Phase::Linalg, stop);
  }
  return lowerAndPackage();
}

/// Manifest and FurtherSubmodel have the same figures.
template <typename Figures>
static void setFigures(Figures &figures, const ModelCost &cost) {
  figures.totalParameters = cost.totalParameters;
  figures.effectiveParameters = cost.effectiveParameters;
  figures.weightBytes = cost.weightBytes;
  figures.macsPerToken = cost.macsPerToken;
}

int Compilation::specialize() {
  std::vector<std::string> texts = arguments.getAll("--submodel");
  if (texts.empty())
    texts.emplace_back();
  OwningOpRef<ModuleOp> universal, merged;
  AxisTable table = AxisTable::get(model.module());
  if (texts.size() > 1)
    universal = model.module().clone();
  for (const std::string &text : texts) {
    if (merged)
      model.replace(universal->clone());
    if (int code = model.specialize(text, arguments.get("--slices")))
      return code;
    for (const std::string &name : description.submodelNames())
      if (merged && name == model.submodelName)
        return reporter.fail(ExitUsage,
                             {"--submodel", "two submodels are named " + name,
                              "give each a name of its own: NAME:" + text});
    rt::Manifest own;
    describeModel(model.module(), own);
    ModelCost cost = computeCost(model.module());
    rt::Manifest::Submodel submodel = {
        model.submodelName, model.submodelText, {}};
    for (const auto &[axis, low] : model.binding.open)
      submodel.widths.push_back({axis, low, model.binding.widths.lookup(axis),
                                 table.axes[axis].size});
    llvm::sort(submodel.widths, [](const auto &a, const auto &b) {
      return StringRef(a.axis).compare_numeric(b.axis) < 0;
    });
    if (!merged) {
      description = std::move(own);
      description.submodel = submodel;
      setFigures(description, cost);
      merged = model.take();
      continue;
    }
    if (int code = checkCaches(*merged))
      return code;
    rt::Manifest::FurtherSubmodel &further = description.further.emplace_back();
    further.submodel = submodel;
    setFigures(further, cost);
    further.modalities = own.model.modalities;
    further.routes = own.model.routes;
    mergeSubmodel(*merged, model.module(), model.submodelName);
  }
  model.replace(merged.release());
  return ExitDone;
}

int Compilation::checkLinks() {
  for (auto weight : model.module().getOps<nest::WeightOp>()) {
    RankedTensorType type = weight.getTensorType(),
                     stored = weight.getStoredType();
    // What is multiplied exactly is small, and converted into the package.
    if (type.getRank() > 1 && !weight.getExact() &&
        type.getElementType() != stored.getElementType())
      return reporter.fail(
          ExitInput,
          {"--weights",
           "the matrix " + weight.getSymName().str() +
               " is stored in another type than it is multiplied in",
           "link what is multiplied in the type of the checkpoint: leave out "
           "--dtype, or --weights copy"});
  }
  return ExitDone;
}

int Compilation::checkCaches(ModuleOp merged) {
  llvm::StringMap<Type> types;
  auto visit = [&](ModuleOp module, auto &&each) {
    for (auto function : module.getOps<func::FuncOp>())
      for (BlockArgument argument : function.getArguments())
        if (auto cache = function.getArgAttrOfType<StringAttr>(
                argument.getArgNumber(), nest::kCacheAttr))
          each(cache.getValue(), argument.getType());
  };
  visit(merged, [&](StringRef name, Type type) { types[name] = type; });
  std::string other;
  visit(model.module(), [&](StringRef name, Type type) {
    Type known = types.lookup(name);
    if (known && known != type && other.empty())
      other = name.str();
  });
  if (other.empty())
    return ExitDone;
  return reporter.fail(
      ExitInput, {"--submodel",
                  "the submodel " + model.submodelName + " has another cache " +
                      other + " than those before",
                  "submodels of one package share their caches: give "
                  "them the same heads"});
}

int Compilation::lowerAndPackage() {
  bool stop = false;
  PackageRequest request;
  request.output = output;
  request.checkpoint = model.checkpoint();
  request.manifest = std::move(description);
  rt::Manifest &manifest = request.manifest;
  manifest.producer = std::string("nestc ") + NESTC_VERSION;
  manifest.target = targetName;
  manifest.abi = gpu ? 2 : 1;
  bool links = weights == "link";
  if (links)
    if (int code = checkLinks())
      return code;
  request.weights = collectWeights(model.module(), links);

  if (int code = model.run([this](OpPassManager &manager) {
        manager.addPass(createNestDropAxes());
        KernelPipelineOptions options;
        options.chooseTokens = options.fuseProjections = options.foldNorms =
            options.narrowStreams = options.boundRows = options.split =
                gpu.has_value();
        options.roundAttention =
            gpu.has_value() && !arguments.has("--exact-attention");
        options.linkWeights = weights == "link";
        buildKernelPipeline(manager, options);
      }))
    return code;
  if (int code = endPhase(Phase::Kernels, stop); code || stop)
    return code;
  if (rt::Status status =
          describeEntries(model.module(), request.weights, manifest);
      status.failed())
    return reporter.fail(ExitInput, status.error());
  if (rt::Status status = manifest.validateSizes(arguments.positional[0]);
      status.failed())
    return reporter.fail(ExitInput, status.error());

  llvm::Expected<CpuTarget> target = CpuTarget::get(cpuLevel);
  if (!target)
    return reporter.fail(ExitInput,
                         {"--cpu", llvm::toString(target.takeError()), ""});
  manifest.cpu = {target->level, target->required};
  std::string tokenizer = rt::joinPath(request.checkpoint, "tokenizer.json");
  if (rt::fileExists(tokenizer))
    if (auto read = rt::Tokenizer::open(tokenizer); !read) {
      rt::Error warning = read.takeError();
      warning.message += " (the package will take token ids only)";
      reporter.warning(warning);
    }
  if (int code = model.run([&](OpPassManager &manager) {
        if (gpu)
          buildNvptxPipeline(manager, *gpu);
        else
          buildCpuPipeline(manager, target->vectorBits);
      }))
    return code;
  if (int code = endPhase(Phase::Llvm, stop); code || stop)
    return code;
  if (gpu)
    if (int code = generateDevice(request.device.emplace(), stop); code || stop)
      return code;
  for (rt::Manifest::Entry &entry : manifest.entries)
    if (auto function =
            model.module().lookupSymbol<LLVM::LLVMFuncOp>(entry.symbol))
      if (auto scratch = function->getAttrOfType<IntegerAttr>("kernel.scratch"))
        entry.scratch = scratch.getInt();

  llvm::Expected<llvm::SmallVector<char, 0>> object =
      emitObject(model.module(), *target);
  if (!object)
    return model.failLowering(llvm::toString(object.takeError()),
                              model.print());

  Progress progress(reporter, "writing weights");
  request.progress = [&](uint64_t done, uint64_t total) {
    progress.update(done, total);
  };
  request.code = [&](const std::string &path) -> rt::Status {
    if (llvm::Error error = linkSharedObject(*object, path))
      return rt::Error(path, llvm::toString(std::move(error)),
                       "free space on the disk, and a linker that works");
    return rt::Status::success();
  };
  if (rt::Status status = writePackage(std::move(request)); status.failed())
    return reporter.fail(ExitInput, status.error());
  return ExitDone;
}

} // namespace

static int run(const Arguments &arguments, const Reporter &reporter) {
  return Compilation(arguments, reporter).run();
}

const Command nestc::compileCommand = {kSpec, run};
