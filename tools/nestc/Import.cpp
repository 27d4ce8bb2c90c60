//===- Import.cpp - nestc import ----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Commands.h"
#include "tools/nestc/Model.h"

using namespace nestc;

static const CommandSpec kSpec = {
    "import",
    "CKPT",
    "write a checkpoint's universal module",
    {{"-o", "FILE.mlir", "where to write the module"}}};

static int run(const Arguments &arguments, const Reporter &reporter) {
  if (int code = checkOnePositional(kSpec, arguments, reporter))
    return code;
  if (!arguments.has("-o"))
    return reporter.fail(ExitUsage, {"nestc import", "there is no output",
                                     "give it with -o model.mlir"});
  Model model(reporter);
  if (int code = model.checkOutput(arguments.positional[0], arguments.get("-o"),
                                   /*package=*/false))
    return code;
  if (int code = model.import(arguments.positional[0]))
    return code;
  return model.write(arguments.get("-o"));
}

const Command nestc::importCommand = {kSpec, run};
