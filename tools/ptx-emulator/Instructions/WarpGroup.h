//===- WarpGroup.h - products of a warpgroup --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_WARPGROUP_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_WARPGROUP_H

#include "tools/ptx-emulator/Machine.h"

namespace nestc {
namespace ptx {

/// What the decoder adds behind an instruction that writes a register of
/// wgmma, Program::groupRegisters[op.target].
Step noteGroupWrite(Warp &warp, const Op &op, uint32_t lanes);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_WARPGROUP_H
