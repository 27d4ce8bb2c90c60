//===- Passes.h - lowering passes --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_PASSES_H
#define NESTC_LOWERING_PASSES_H

#include "mlir/Pass/Pass.h"

namespace nestc {

#define GEN_PASS_DECL
#include "lowering/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "lowering/Passes.h.inc"

} // namespace nestc

#endif // NESTC_LOWERING_PASSES_H
