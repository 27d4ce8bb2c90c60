//===- Model.cpp - from a path to a specialised module -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Model.h"
#include "tools/nestc/Slices.h"

#include "dialect/Nest.h"
#include "lowering/Dialects.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Json.h"
#include "passes/Passes.h"
#include "passes/Submodel.h"
#include "tools/import/Import.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

#include <atomic>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir;
using namespace nestc;

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

static constexpr std::pair<Phase, const char *> kPhases[] = {
    {Phase::Nest, "nest"},     {Phase::Specialized, "specialized"},
    {Phase::Linalg, "linalg"}, {Phase::Kernels, "kernels"},
    {Phase::Llvm, "llvm"},     {Phase::Ptx, "ptx"},
    {Phase::Cubin, "cubin"},   {Phase::Package, "package"}};

const char *nestc::phaseName(Phase phase) {
  for (auto [value, name] : kPhases)
    if (value == phase)
      return name;
  return "";
}

std::optional<Phase> nestc::parsePhase(const std::string &name,
                                       const Reporter &reporter, int &code) {
  std::string names;
  for (auto [phase, known] : kPhases) {
    if (name == known)
      return phase;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  code = reporter.fail(ExitUsage, {"--emit", "unknown phase '" + name + "'",
                                   "phases are " + names});
  return std::nullopt;
}

bool nestc::isPackagePath(const std::string &path) {
  return rt::isDirectory(path) &&
         rt::fileExists(rt::joinPath(path, "manifest.json"));
}

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

Model::Model(const Reporter &reporter)
    : reporter(reporter), ctx(MLIRContext::Threading::DISABLED) {
  DialectRegistry registry;
  registerCompilerDialects(registry);
  ctx.appendDialectRegistry(registry);
  ctx.loadDialect<nest::NestDialect, func::FuncDialect, arith::ArithDialect>();
  ctx.printOpOnDiagnostic(false);
  ctx.getDiagEngine().registerHandler(
      [this](Diagnostic &diagnostic) { handle(diagnostic); });
}

Model::~Model() = default;

int Model::fail(ExitCode code, const rt::Error &error) {
  return reporter.fail(code, error);
}

/// FILE:LINE:COLUMN, or the name that the importer gave.
static std::string describe(Location loc) {
  if (auto file = loc->findInstanceOf<FileLineColLoc>())
    return (file.getFilename().strref() + ":" + Twine(file.getLine()) + ":" +
            Twine(file.getColumn()))
        .str();
  if (auto name = loc->findInstanceOf<NameLoc>())
    return name.getName().str();
  return "module";
}

void Model::handle(Diagnostic &diagnostic) {
  // "what is wrong; what is legal" in one text is split where it is one.
  std::string text = diagnostic.str();
  auto [message, legal] = StringRef(text).split("; ");
  rt::Error error(describe(diagnostic.getLocation()), message.str(),
                  legal.str());
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    // One line first; what follows from it is said with -v only.
    if (diagnosed) {
      reporter.note("note: " + error.str());
      break;
    }
    if (fromFile)
      reporter.error(error);
    diagnosed = std::move(error);
    break;
  case DiagnosticSeverity::Warning:
    reporter.warning(error);
    break;
  default:
    reporter.note("note: " + error.str());
  }
}

static bool isSameFile(const std::string &a, const std::string &b) {
  struct stat infoA, infoB;
  return ::stat(a.c_str(), &infoA) == 0 && ::stat(b.c_str(), &infoB) == 0 &&
         infoA.st_dev == infoB.st_dev && infoA.st_ino == infoB.st_ino;
}

/// Whether `inner`, which exists, is or lies below the directory `outer`.
static bool isBelow(const std::string &inner, const std::string &outer) {
  SmallString<256> a, b;
  if (llvm::sys::fs::real_path(inner, a) || llvm::sys::fs::real_path(outer, b))
    return false;
  StringRef rest = a;
  return rest.consume_front(b) && (rest.empty() || rest.front() == '/');
}

/// What a checkpoint consists of; nothing else of its directory is read.
static bool isCheckpointFile(StringRef name) {
  return name.ends_with(".safetensors") || name == "config.json" ||
         name == "nest.json" || name == "tokenizer.json" ||
         name == "model.safetensors.index.json";
}

/// Whether to write `output` would lose a part of `input`.
static bool isInput(const std::string &input, const std::string &output) {
  if (isSameFile(input, output) ||
      (rt::isDirectory(output) && isBelow(input, output)))
    return true;
  if (!rt::isDirectory(input) || !rt::fileExists(output))
    return false;
  rt::Expected<std::vector<std::string>> names = rt::listDirectory(input);
  return names && llvm::any_of(*names, [&](const std::string &name) {
           return isCheckpointFile(name) &&
                  isSameFile(rt::joinPath(input, name), output);
         });
}

int Model::refuseInput(const std::string &input, const std::string &output) {
  return fail(ExitInput, {output, "is part of the input " + input,
                          "give another path with -o"});
}

int Model::checkOutput(const std::string &input, const std::string &output,
                       bool package) {
  if (isInput(input, output))
    return refuseInput(input, output);
  if (package)
    return checkDirectory(output, {});
  // Made and dropped again: what stands in the way is said now.
  rt::Expected<rt::AtomicFile> made = rt::AtomicFile::create(output);
  return made ? ExitDone : fail(ExitInput, made.error());
}

int Model::checkDirectory(const std::string &output,
                          rt::Replaceable replaceable) {
  rt::Expected<rt::AtomicDirectory> made =
      rt::AtomicDirectory::create(output, replaceable);
  return made ? ExitDone : fail(ExitInput, made.error());
}

int Model::checkOutputOutside(const std::string &input,
                              const std::string &output,
                              rt::Replaceable replaceable) {
  StringRef parent = StringRef(output).rtrim('/');
  parent = parent.take_front(parent.rfind('/') + 1);
  if (isInput(input, output) || isBelow(output, input) ||
      isBelow(parent.empty() ? "." : parent.str(), input))
    return refuseInput(input, output);
  return checkDirectory(output, replaceable);
}

int Model::import(const std::string &directory) {
  path = directory;
  if (isPackagePath(path))
    return fail(ExitInput, {path, "is a package, which is compiled already",
                            "give the checkpoint that it was made of"});
  op = importCheckpoint(ctx, path,
                        [&](ImportSeverity severity, const rt::Error &error) {
                          if (severity == ImportSeverity::Error)
                            reporter.error(error);
                          else
                            reporter.warning(error);
                        });
  if (!op)
    return ExitInput;
  if (failed(verify(*op)))
    return failLowering("the imported module is not valid", print());
  return ExitDone;
}

/// Whether brackets (or signs) nest deeper than any model needs and the parser,
/// which recurses, has stack for.
static bool isNestedTooDeeply(StringRef text) {
  constexpr int kMost = 512;
  int depth = 0, signs = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c != ' ')
      signs = c == '-' ? signs + 1 : 0;
    if (signs > kMost)
      return true;
    if (inString) {
      i += c == '\\';
      inString = c != '"' && c != '\n';
    } else if (c == '"') {
      inString = true;
    } else if (text.substr(i).starts_with("//")) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.substr(i).starts_with("->")) {
      ++i;
    } else if (StringRef("([{<").contains(c)) {
      if (++depth > kMost)
        return true;
    } else if (StringRef(")]}>").contains(c)) {
      depth -= depth > 0;
    }
  }
  return false;
}

int Model::load(const std::string &file) {
  if (rt::isDirectory(file))
    return import(file);
  path = file;
  fromFile = true;
  if (!rt::fileExists(path))
    return fail(ExitInput, {path, "there is no such file or directory",
                            "give a checkpoint directory or a .mlir file"});
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(path, &message);
  if (!buffer)
    return fail(ExitInput, {path, message, "a file that can be read"});
  StringRef text = buffer->getBuffer();
  if (!isBytecode(*buffer) && isNestedTooDeeply(text))
    return fail(ExitInput, {path, "is nested too deeply",
                            "at most 512 brackets inside each other"});
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(std::move(buffer), SMLoc());
  op = parseSourceFile<ModuleOp>(sources, ParserConfig(&ctx));
  if (op)
    return checkDepth();
  if (!diagnosed)
    return fail(ExitInput, {path, "cannot be parsed as MLIR",
                            "give text or bytecode of the nest dialect"});
  return ExitInput;
}

static const char *const kReproducer = "nestc-reproducer.mlir";
static std::atomic<const std::string *> running{nullptr};

void nestc::writeCrashReproducer() {
  const std::string *text = running;
  if (!text)
    return;
  int fd = ::open(kReproducer, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return;
  (void)!::write(fd, text->data(), text->size());
  ::close(fd);
}

int Model::run(const std::function<void(OpPassManager &)> &build) {
  PassManager manager(&ctx, ModuleOp::getOperationName());
  build(manager);
  std::string reproducer;
  llvm::raw_string_ostream stream(reproducer);
  stream << "// nest-opt --pass-pipeline='";
  manager.printAsTextualPipeline(stream);
  stream << "'\n" << print();
  running = &reproducer;
  bool done = succeeded(manager.run(*op));
  running = nullptr;
  return done ? ExitDone : failLowering("a pass failed", reproducer);
}

int Model::failLowering(const std::string &what,
                        const std::string &reproducer) {
  if (fromFile)
    return diagnosed ? ExitInput : fail(ExitInput, {path, what, ""});
  bool written = rt::writeFile(kReproducer, reproducer).ok();
  return fail(
      ExitDefect,
      {"nestc", what + (diagnosed ? ": " + diagnosed->str() : std::string()),
       written ? std::string("a defect of nestc: please report it with ") +
                     kReproducer
               : "a defect of nestc: please report it"});
}

int Model::configure(const std::string &type, int64_t maxLength) {
  if (type.empty() && maxLength == 0)
    return ExitDone;
  auto facts = module()->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  auto own = facts ? facts.getAs<IntegerAttr>("max_length") : IntegerAttr();
  if (maxLength && facts && facts.contains("num_layers") && !own)
    return fail(ExitInput, {"--max-length",
                            "the model has no cache, whose "
                            "length it would be",
                            "leave it out"});
  if (own && maxLength > own.getInt())
    reporter.warning({path,
                      "is made for " + std::to_string(own.getInt()) +
                          " rows, fewer than --max-length",
                      "longer texts are outside of what was trained"});
  return run([&](OpPassManager &manager) {
    NestConfigureOptions options;
    options.type = type;
    options.maxLength = maxLength;
    manager.addPass(createNestConfigure(options));
  });
}

int Model::checkDepth() {
  constexpr int64_t kMost = 1 << 16;
  auto model = module()->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  auto layers = model ? model.getAs<IntegerAttr>("num_layers") : IntegerAttr();
  bool fits = !layers || (layers.getType().isSignlessInteger(64) &&
                          layers.getInt() >= 0 && layers.getInt() <= kMost);
  module().walk([&](nest::LayerOp layer) {
    fits &= static_cast<uint64_t>(layer.getIndex()) < kMost;
  });
  if (fits)
    return ExitDone;
  return fail(ExitInput, {path, "a number of layers is out of range",
                          "at most " + std::to_string(kMost) + " layers"});
}

int Model::checkModel(bool complete) {
  auto refuse = [&](const Twine &message, const Twine &legal) {
    return fail(ExitInput, {path, message.str(), legal.str()});
  };
  auto entries = module().getOps<func::FuncOp>();
  if (llvm::none_of(entries, [](func::FuncOp function) {
        return function->hasAttr(nest::kEntryAttr);
      }))
    return refuse("the module has no entry point",
                  "functions with the attribute nest.entry, as nestc import "
                  "makes them");
  for (func::FuncOp function : entries)
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (function.getArgAttr(i, nest::kWeightAttr))
        return refuse("the module is lowered already",
                      "a module of the phases nest and specialized");
  if (!complete)
    return ExitDone;
  for (func::FuncOp function : entries)
    if (auto name = function->getAttrOfType<StringAttr>(nest::kEntryAttr);
        name && name.getValue().contains(':'))
      return refuse("holds the entry " + name.getValue() +
                        " of another submodel",
                    "give the universal module, and every --submodel");
  if (checkpoint().empty())
    return refuse("the module names no checkpoint",
                  "the attribute nest.source, a directory with weights");
  auto model = module()->getAttrOfType<DictionaryAttr>(nest::kModelAttr);
  auto number = [&](StringRef key) -> int64_t {
    auto attr = model ? model.getAs<IntegerAttr>(key) : IntegerAttr();
    return attr && attr.getType().isSignlessInteger(64) ? attr.getInt() : 0;
  };
  // Both are of tokens and the caches that their rows stand in.
  bool takesTokens = llvm::any_of(entries, [](func::FuncOp function) {
    return llvm::any_of(
        llvm::seq(function.getNumArguments()), [&](unsigned index) {
          auto name =
              function.getArgAttrOfType<StringAttr>(index, nest::kNameAttr);
          return function.getArgAttr(index, nest::kCacheAttr) ||
                 (name && name.getValue() == "tokens");
        });
  });
  for (const char *key : {"vocab_size", "max_length"})
    if ((takesTokens || (model && model.contains(key))) &&
        (number(key) < 1 || number(key) > INT32_MAX))
      return refuse(Twine("nest.model has no ") + key,
                    Twine("an i64 from 1 to ") + Twine(INT32_MAX));
  auto dtype = model ? model.getAs<StringAttr>("dtype") : StringAttr();
  if (!dtype || !llvm::is_contained({"f32", "bf16", "f16"}, dtype.getValue()))
    return refuse("nest.model has no dtype", "f32, bf16 or f16");
  // Tokens are checked against vocab_size, and index this table.
  int64_t vocabulary = number("vocab_size");
  bool covered = true;
  module().walk([&](nest::EmbedOp embed) {
    auto table = cast<ShapedType>(embed.getTable().getType());
    covered &= nest::isOfPositions(embed) || embed.getUnknown() ||
               table.getDimSize(0) >= vocabulary;
  });
  if (!covered)
    return refuse("an embedding has fewer rows than the vocab_size " +
                      Twine(vocabulary) + " of nest.model",
                  "a row for every token");
  return ExitDone;
}

/// The inline text of a submodel file: {"submodel": TEXT} or
/// {"widths": [...], "skip": [...]}, one width for each of `numLayers`.
static rt::Expected<std::string> readSubmodelFile(const std::string &path,
                                                  int64_t numLayers) {
  NEST_RT_ASSIGN(rt::Json json, rt::readJsonFile(path));
  rt::JsonReader reader(json, path);
  NEST_RT_TRY(reader.expectObject());
  NEST_RT_TRY(reader.expectKeys({"submodel", "widths", "skip"}));
  if (reader.has("submodel")) {
    if (reader.has("widths") || reader.has("skip"))
      return reader.error("has both a text and widths",
                          "give \"submodel\", or \"widths\" and \"skip\"");
    NEST_RT_ASSIGN(rt::JsonReader text, reader.get("submodel"));
    return text.asString();
  }
  std::string text;
  NEST_RT_ASSIGN(rt::JsonReader widths, reader.get("widths"));
  NEST_RT_TRY(widths.expectArray());
  if (static_cast<int64_t>(widths.size()) != numLayers)
    return widths.error("has " + std::to_string(widths.size()) + " widths",
                        "give one for each of the " +
                            std::to_string(numLayers) + " layers");
  for (size_t layer = 0; layer < widths.size(); ++layer) {
    NEST_RT_ASSIGN(int64_t width, widths.at(layer).asInt(1));
    text += (text.empty() ? "" : ",") + std::string("layers.") +
            std::to_string(layer) + ".ffn=" + std::to_string(width);
  }
  std::string skip;
  if (reader.has("skip")) {
    NEST_RT_ASSIGN(rt::JsonReader layers, reader.get("skip"));
    NEST_RT_TRY(layers.expectArray());
    for (size_t i = 0; i < layers.size(); ++i) {
      NEST_RT_ASSIGN(int64_t layer, layers.at(i).asInt(0));
      skip += (skip.empty() ? "" : "+") + std::to_string(layer);
    }
  }
  if (!skip.empty())
    text += ",skip=" + skip;
  return text;
}

/// What a module was specialised to already, the same in all its entries.
static std::optional<StringRef> specializedTo(ModuleOp module) {
  std::optional<StringRef> text;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function->hasAttr(nest::kEntryAttr))
      continue;
    auto spec = function->getAttrOfType<StringAttr>(nest::kSpecializedAttr);
    if (!spec || (text && *text != spec.getValue()))
      return std::nullopt;
    text = spec.getValue();
  }
  return text;
}

int Model::specialize(const std::string &submodel, const std::string &slices) {
  submodelName = "default";
  submodelText.clear();
  binding = {};
  if (std::optional<StringRef> done = specializedTo(module())) {
    submodelText = done->str();
    if (submodel.empty())
      return ExitDone;
    return fail(ExitInput,
                {path, "is specialised already, to '" + submodelText + "'",
                 "leave --submodel out, or give the universal module"});
  }
  SubmodelError error;
  // What is wrong in a file or in nest.json is the input's fault, whatever it
  // is; what is wrong on the command line may be usage.
  std::string inFile;
  auto refuse = [&] {
    if (!inFile.empty())
      return fail(ExitInput,
                  {inFile + ": " + error.place, error.message, error.legal});
    return fail(error.kind == SubmodelError::Kind::Syntax ? ExitUsage
                                                          : ExitInput,
                {error.place, error.message, error.legal});
  };
  // NAME:SPEC. No key of a spec has a colon.
  StringRef text = submodel;
  size_t colon = text.find(':');
  auto isNameCharacter = [](char c) {
    return llvm::isAlnum(c) || c == '_' || c == '-';
  };
  bool named = colon != StringRef::npos && colon > 0 &&
               llvm::all_of(text.take_front(colon), isNameCharacter);
  if (named) {
    submodelName = text.take_front(colon).str();
    text = text.drop_front(colon + 1);
  }
  if (text.contains('=')) {
    submodelText = text.str();
  } else if (text.ends_with(".json")) {
    inFile = text.str();
    rt::Expected<std::string> read =
        readSubmodelFile(text.str(), AxisTable::get(module()).numLayers);
    if (!read)
      return fail(ExitInput, read.error());
    submodelText = *read;
  } else if (text.empty() && !submodel.empty()) {
    return fail(ExitUsage, {"--submodel", "is empty",
                            "give a name, a .json file or KEY=VALUE"});
  } else if (!text.empty()) {
    if (!named)
      submodelName = text.str();
    std::optional<std::string> found = lookUpSubmodel(module(), text, error);
    if (!found)
      return refuse();
    submodelText = *found;
    inFile = path + ": " + text.str();
  }

  rt::Expected<std::string> expanded =
      expandPreset(submodelText, slices, AxisTable::get(module()).numLayers);
  if (!expanded)
    return fail(ExitInput, expanded.error());
  if (*expanded != submodelText)
    inFile = slices;
  submodelText = *expanded;
  std::optional<SubmodelSpec> spec = SubmodelSpec::parse(submodelText, error);
  std::optional<Binding> resolved;
  if (spec)
    resolved = resolveSubmodel(*spec, AxisTable::get(module()), error);
  if (!resolved)
    return refuse();
  binding = std::move(*resolved);
  return run([&](OpPassManager &manager) {
    NestSpecializeOptions options;
    options.submodel = submodelText;
    manager.addPass(createNestSpecialize(options));
  });
}

std::string Model::checkpoint() {
  auto source = module()->getAttrOfType<StringAttr>(nest::kSourceAttr);
  return source ? source.str() : std::string();
}

std::string Model::print() {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module().print(stream);
  stream << '\n';
  return text;
}

int Model::write(const std::string &path) {
  rt::Status status = rt::writeFile(path, print());
  return status.ok() ? ExitDone : fail(ExitInput, status.error());
}
