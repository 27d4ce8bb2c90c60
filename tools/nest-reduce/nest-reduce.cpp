//===- nest-reduce.cpp - makes a module that shows a defect small ---------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Erases what a module can do without and still pass a test. (MLIR 22's own
// reducer crashes on most bodies of functions: it clones a variant that it has
// deleted before.)
//
//===----------------------------------------------------------------------===//

#include "tools/Everything.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

namespace {

/// Succeeds without a word.
LogicalResult verifyQuietly(ModuleOp module) {
  ScopedDiagnosticHandler quiet(module.getContext(),
                                [](Diagnostic &) { return success(); });
  return verify(module);
}

/// In the generic form where the module is not legal: printers of operations
/// count on verifiers.
void print(ModuleOp module, llvm::raw_ostream &stream) {
  OpPrintingFlags flags;
  if (succeeded(verifyQuietly(module)))
    flags.assumeVerified();
  else
    flags.printGenericOpForm();
  module->print(stream, flags);
}

/// Runs the user's test: a program that exits with 0 for what is interesting,
/// as those of llvm-reduce do.
class Test {
public:
  Test(std::string program, std::vector<std::string> arguments)
      : program(std::move(program)), arguments(std::move(arguments)) {}

  /// An error that says why the test cannot be run.
  llvm::Expected<bool> isInteresting(ModuleOp module) {
    int file;
    SmallString<128> path;
    if (std::error_code error = llvm::sys::fs::createTemporaryFile(
            "nest-reduce", "mlir", file, path))
      return llvm::createStringError(error, "cannot write a temporary file");
    llvm::FileRemover remover(path);
    {
      llvm::raw_fd_ostream stream(file, /*shouldClose=*/true);
      print(module, stream);
    }
    SmallVector<StringRef> line{program};
    llvm::append_range(line, arguments);
    line.push_back(path);
    std::string message;
    std::optional<StringRef> nowhere[] = {StringRef(), StringRef(),
                                          StringRef()};
    ++runs;
    int code = llvm::sys::ExecuteAndWait(program, line, std::nullopt, nowhere,
                                         0, 0, &message);
    if (code == -1)
      return llvm::createStringError("cannot run " + program + ": " + message);
    return code == 0;
  }

  unsigned runs = 0;

private:
  std::string program;
  std::vector<std::string> arguments;
};

/// All operations below the module, outer and earlier ones first.
SmallVector<Operation *> operationsOf(ModuleOp module) {
  SmallVector<Operation *> result;
  module->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op != module)
      result.push_back(op);
  });
  return result;
}

/// A value that can stand for `result`: of its type, and there before it.
Value substituteOf(OpResult result) {
  Operation *op = result.getOwner();
  for (Value operand : op->getOperands())
    if (operand.getType() == result.getType())
      return operand;
  for (Block *block = op->getBlock(); block;
       block = block->getParentOp() ? block->getParentOp()->getBlock()
                                    : nullptr)
    for (BlockArgument argument : block->getArguments())
      if (argument.getType() == result.getType())
        return argument;
  return {};
}

class Reducer {
public:
  Reducer(OwningOpRef<ModuleOp> module, Test &test)
      : module(std::move(module)), test(test),
        isLegal(succeeded(verifyQuietly(*this->module))) {}

  /// Makes the module small; an error if the test cannot be run or finds the
  /// module itself not interesting.
  llvm::Error run() {
    llvm::Expected<bool> isInteresting = test.isInteresting(*module);
    if (!isInteresting)
      return isInteresting.takeError();
    if (!*isInteresting)
      return llvm::createStringError("the test finds the module not "
                                     "interesting; it must exit with 0 for it");
    for (bool changed = true; changed && !failure;) {
      changed = eraseChunks();
      changed |= editEach([](Operation *op) { return replace(op); });
      changed |= editEach([](Operation *op) { return dropAttributes(op); });
    }
    return std::move(failure);
  }

  OwningOpRef<ModuleOp> module;

private:
  using Edit = llvm::function_ref<bool(Operation *)>;

  /// Keeps what `edit` makes of a copy if it is still interesting. A legal
  /// module stays legal.
  bool attempt(llvm::function_ref<bool(ArrayRef<Operation *>)> edit) {
    if (failure)
      return false;
    OwningOpRef<ModuleOp> candidate(module->clone());
    if (!edit(operationsOf(*candidate)) ||
        (isLegal && failed(verifyQuietly(*candidate))))
      return false;
    llvm::Expected<bool> isInteresting = test.isInteresting(*candidate);
    if (!isInteresting) {
      failure = isInteresting.takeError();
      return false;
    }
    if (*isInteresting)
      module = std::move(candidate);
    return *isInteresting;
  }

  static bool erase(Operation *op) {
    if (!op->use_empty() || op->hasTrait<OpTrait::IsTerminator>())
      return false;
    op->erase();
    return true;
  }

  static bool replace(Operation *op) {
    if (op->use_empty())
      return false;
    for (OpResult result : op->getResults()) {
      Value other = substituteOf(result);
      if (!other && !result.use_empty())
        return false;
      if (other)
        result.replaceAllUsesWith(other);
    }
    return erase(op);
  }

  static bool dropAttributes(Operation *op) {
    auto function = dyn_cast<FunctionOpInterface>(op);
    bool hasMore =
        function && (function.getAllArgAttrs() || function.getAllResultAttrs());
    if (op->getDiscardableAttrDictionary().empty() && !hasMore)
      return false;
    op->setDiscardableAttrs(DictionaryAttr::get(op->getContext()));
    if (hasMore) {
      function.removeArgAttrsAttr();
      function.removeResAttrsAttr();
    }
    return true;
  }

  /// Erases chunks of operations, halved until they are single ones. Users
  /// come before what they use.
  bool eraseChunks() {
    bool changed = false;
    for (size_t size = operationsOf(*module).size(); size; size /= 2)
      for (size_t end = operationsOf(*module).size(); end;) {
        size_t first = end - std::min(end, size);
        changed |= attempt([&](ArrayRef<Operation *> all) {
          bool any = false;
          for (size_t i = end; i-- > first;)
            any |= erase(all[i]);
          return any;
        });
        end = std::min(first, operationsOf(*module).size());
      }
    return changed;
  }

  bool editEach(Edit edit) {
    bool changed = false;
    for (size_t i = operationsOf(*module).size(); i--;)
      changed |= attempt([&](ArrayRef<Operation *> all) {
        return i < all.size() && edit(all[i]);
      });
    return changed;
  }

  Test &test;
  bool isLegal;
  llvm::Error failure = llvm::Error::success();
};

} // namespace

int main(int argc, char **argv) {
  namespace cl = llvm::cl;
  llvm::InitLLVM init(argc, argv);
  cl::OptionCategory category("nest-reduce");
  cl::opt<std::string> input(cl::Positional, cl::desc("MODULE"), cl::Required,
                             cl::cat(category));
  cl::opt<std::string> program(
      "test", cl::Required, cl::cat(category),
      cl::desc("a program that takes a module and exits with 0 if it is "
               "interesting"));
  cl::list<std::string> arguments("test-arg", cl::cat(category),
                                  cl::desc("what it takes before the module"));
  cl::opt<std::string> output("o", cl::init("-"), cl::cat(category),
                              cl::desc("where the small module goes"));
  cl::HideUnrelatedOptions(category);
  cl::ParseCommandLineOptions(argc, argv,
                              "makes a module that shows a defect small\n");
  auto fail = [](const llvm::Twine &message) {
    llvm::errs() << "error: " << message << "\n";
    return 1;
  };

  DialectRegistry registry;
  nestc::registerEveryDialect(registry);
  MLIRContext context(registry);
  ParserConfig config(&context, /*verifyAfterParse=*/false);
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(input, config);
  if (!module)
    return 1;
  // As a path: programs without a slash are looked for along PATH.
  llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName(program);
  if (!found)
    return fail(program + ": " + found.getError().message());
  Test test(*found, arguments);
  Reducer reducer(std::move(module), test);
  if (llvm::Error error = reducer.run())
    return fail(llvm::toString(std::move(error)));
  std::string message;
  auto file = openOutputFile(output, &message);
  if (!file)
    return fail(message);
  print(*reducer.module, file->os());
  file->keep();
  llvm::errs() << "ran the test " << test.runs << " times\n";
  return 0;
}
