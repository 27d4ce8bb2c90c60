//===- Parser.h - PTX text to syntax tree -----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_PARSER_H
#define NESTC_TOOLS_PTX_EMULATOR_PARSER_H

#include "lowering/runtime/Error.h"
#include "tools/ptx-emulator/Syntax.h"

namespace nestc {
namespace ptx {

/// Parses a module (PTX ISA 9.0, chapters 4 and 5). `name` stands in messages
/// ("FILE.ptx:12: ..."). Opcodes are not looked at; the decoder does that for
/// the kernel that is run.
rt::Expected<std::unique_ptr<Module>> parse(std::string text, std::string name);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_PARSER_H
