//===- Commands.h - the commands of nestc --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_COMMANDS_H
#define NESTC_TOOLS_NESTC_COMMANDS_H

#include "tools/nestc/CommandLine.h"

namespace nestc {

/// A command: its words for --help and the parser, and what runs it. Returns
/// the exit code.
struct Command {
  const CommandSpec &spec;
  int (*run)(const Arguments &arguments, const Reporter &reporter);
};

extern const Command importCommand, infoCommand, planCommand, compileCommand,
    runCommand, exportCommand, benchCommand;

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_COMMANDS_H
