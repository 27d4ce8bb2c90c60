//===- Dialects.h - what the compiler needs registered ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_DIALECTS_H
#define NESTC_LOWERING_DIALECTS_H

#include "mlir/IR/DialectRegistry.h"

namespace nestc {

/// Registers the dialects, bufferisation models and translations that the
/// pipelines of nestc use; no more, so that starting is quick.
void registerCompilerDialects(mlir::DialectRegistry &registry);

} // namespace nestc

#endif // NESTC_LOWERING_DIALECTS_H
