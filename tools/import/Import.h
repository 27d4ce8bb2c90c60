//===- Import.h - a checkpoint becomes a universal module -------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_IMPORT_H
#define NESTC_TOOLS_IMPORT_IMPORT_H

#include "lowering/runtime/Error.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace nestc {

enum class ImportSeverity { Error, Warning };

/// Takes what the import has to say: at most one error, any number of
/// warnings. Each has a place, what is wrong there, and what is legal.
using ImportSink = llvm::function_ref<void(ImportSeverity, const rt::Error &)>;

/// Builds the universal module of the checkpoint in `directory`: axes, weights
/// and the entries `prefill`, `decode` and `verify` (docs/Import.md lists
/// further ones), in the nest dialect.
///
/// Reads config.json, nest.json and the headers of the safetensors files; the
/// bytes of weights are not read. (One exception: where a config ties the head
/// to the embedding and the checkpoint stores both, the two are compared.)
///
/// All files are untrusted: anything wrong with them goes to `sink` as an
/// error, and the result is null. The module is not verified: that it is
/// invalid would be a defect, which is for the caller to report.
mlir::OwningOpRef<mlir::ModuleOp> importCheckpoint(mlir::MLIRContext &context,
                                                   llvm::StringRef directory,
                                                   ImportSink sink);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_IMPORT_H
