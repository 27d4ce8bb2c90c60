//===- parse.cpp - fuzzes reading and verifying -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A libFuzzer target: text or bytecode is read and verified; what is valid is
// printed and read again, in both syntaxes. Seeds are the files of
// test/dialect, cut at `// -----`. test/fuzz/README.md says how to run it.
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"
#include "dialect/Nest.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <cstdlib>

using namespace mlir;

/// Reads `text` once more, which came out of the printer.
static void readAgain(StringRef text, MLIRContext &context) {
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  if (module)
    return;
  llvm::errs() << "what was printed cannot be read:\n" << text;
  std::abort();
}

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static DialectRegistry registry = [] {
    DialectRegistry registry;
    registry
        .insert<nestc::nest::NestDialect, nestc::kernel::KernelDialect,
                arith::ArithDialect, func::FuncDialect, linalg::LinalgDialect,
                math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                tensor::TensorDialect>();
    return registry;
  }();
  // A context a run: attributes would pile up otherwise.
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  ScopedDiagnosticHandler quiet(&context,
                                [](Diagnostic &) { return success(); });
  // The lexer wants a NUL behind the text.
  std::string text(reinterpret_cast<const char *>(data), size);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
  if (!module)
    return 0;
  (void)nestc::nest::verifyAxisUses(*module);
  for (bool generic : {false, true}) {
    std::string printed;
    llvm::raw_string_ostream os(printed);
    OpPrintingFlags flags;
    module->print(os, generic ? flags.printGenericOpForm() : flags);
    readAgain(printed, context);
  }
  return 0;
}
