//===- nest-opt.cpp - runs nestc's passes on a module ---------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/Everything.h"

#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"

int main(int argc, char **argv) {
  llvm::cl::AddExtraVersionPrinter([](llvm::raw_ostream &stream) {
    stream << "nestc " << NESTC_VERSION << "\n";
  });
  mlir::DialectRegistry registry;
  nestc::registerEveryDialect(registry);
  nestc::registerEveryPass();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "nestc pass driver\n", registry));
}
