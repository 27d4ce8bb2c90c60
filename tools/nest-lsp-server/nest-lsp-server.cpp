//===- nest-lsp-server.cpp - MLIR with nestc's dialects in editors --------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/Everything.h"

#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  nestc::registerEveryDialect(registry);
  return failed(mlir::MlirLspServerMain(argc, argv, registry));
}
