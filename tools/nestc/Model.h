//===- Model.h - from a path to a specialised module ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_MODEL_H
#define NESTC_TOOLS_NESTC_MODEL_H

#include "lowering/runtime/Files.h"
#include "passes/Submodel.h"
#include "tools/nestc/CommandLine.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"

#include <functional>
#include <memory>
#include <string>

namespace nestc {

/// The phases of a compilation, in order: what --emit and --dump-phases name.
enum class Phase {
  Nest,
  Specialized,
  Linalg,
  Kernels,
  Llvm,
  Ptx,   ///< of GPUs, like the next
  Cubin, ///< what ptxas makes of it
  Package
};

/// The phase of a name; reports and sets `code` when there is none or it is
/// not built yet.
std::optional<Phase> parsePhase(const std::string &name,
                                const Reporter &reporter, int &code);
const char *phaseName(Phase phase);

/// A module with its context; diagnostics of MLIR go to the reporter.
class Model {
public:
  explicit Model(const Reporter &reporter);
  ~Model();

  /// Refuses an output that cannot be written, before long work, or that is
  /// part of the input, which would be lost. `package`: it is a directory.
  int checkOutput(const std::string &input, const std::string &output,
                  bool package);
  /// The same of a directory that may not stand in the input either, and
  /// replaces what `replaceable` says.
  int checkOutputOutside(const std::string &input, const std::string &output,
                         rt::Replaceable replaceable);
  /// Imports a checkpoint directory or parses a .mlir or bytecode file.
  /// Returns the exit code.
  int load(const std::string &file);
  /// The same of a checkpoint only.
  int import(const std::string &directory);
  /// Applies --dtype and --max-length.
  int configure(const std::string &type, int64_t maxLength);
  /// Binds the axes to a submodel given as on the command line
  /// ([NAME:]text, name or file.json); `slices` is the file of a slicing table,
  /// or empty.
  int specialize(const std::string &submodel, const std::string &slices);
  /// Runs a pipeline on the module; see failLowering().
  int run(const std::function<void(mlir::OpPassManager &)> &build);
  /// What cannot be lowered is the input's fault when the module came from a
  /// file, else a defect, and `reproducer` is written for a report.
  int failLowering(const std::string &what, const std::string &reproducer);
  /// Refuses a module that is no model: without entries; with `complete` also
  /// one without what a package needs to know of it.
  int checkModel(bool complete);
  /// The module as text.
  std::string print();
  /// Writes the module as text, atomically.
  int write(const std::string &path);

  mlir::ModuleOp module() { return *op; }
  /// The module, which is no longer held; and another in its place.
  mlir::OwningOpRef<mlir::ModuleOp> take() { return std::move(op); }
  void replace(mlir::ModuleOp other) { op = other; }
  mlir::MLIRContext &context() { return ctx; }
  /// The checkpoint directory that holds the weights.
  std::string checkpoint();
  /// What --submodel said: the name in the package and the inline text.
  std::string submodelName = "default", submodelText;
  /// What it means for the universal module.
  Binding binding;

private:
  int refuseInput(const std::string &input, const std::string &output);
  int checkDirectory(const std::string &output, rt::Replaceable replaceable);
  /// Refuses a depth that would take all memory: passes count layers.
  int checkDepth();
  int fail(ExitCode code, const rt::Error &error);
  void handle(mlir::Diagnostic &diagnostic);

  const Reporter &reporter;
  mlir::MLIRContext ctx;
  mlir::OwningOpRef<mlir::ModuleOp> op;
  std::string path; ///< what was loaded
  bool fromFile = false;
  /// The first error that MLIR diagnosed. Of a file it is reported at once, of
  /// an imported module with the defect that it is.
  std::optional<rt::Error> diagnosed;
};

/// While a pipeline runs: the text that a crash leaves as reproducer. Calls
/// nothing that a signal handler may not call.
void writeCrashReproducer();

/// The exclusive choice of what a path is.
bool isPackagePath(const std::string &path);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_MODEL_H
