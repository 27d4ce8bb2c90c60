//===- axes.cpp - a program on the installed libraries --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Reads a module, specialises it to a submodel, and prints the axes that it had
// and the module that is left.
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"
#include "passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

int main(int argc, char **argv) {
  MLIRContext context;
  context.loadDialect<nestc::nest::NestDialect, func::FuncDialect>();
  OwningOpRef<ModuleOp> module =
      parseSourceFile<ModuleOp>(argc > 1 ? argv[1] : "-", &context);
  if (!module)
    return 1;
  module->walk([](nestc::nest::AxisOp axis) {
    llvm::outs() << axis.getSymName() << ": " << axis.getSize() << "\n";
  });
  PassManager passes(&context);
  nestc::NestSpecializeOptions options;
  options.submodel = "layers.all.ffn=1/4";
  passes.addPass(nestc::createNestSpecialize(options));
  if (failed(passes.run(*module)))
    return 1;
  module->print(llvm::outs());
  return 0;
}
