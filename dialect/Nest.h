//===- Nest.h - the nest dialect ---------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_DIALECT_NEST_H
#define NESTC_DIALECT_NEST_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace nestc::nest {
/// [C10]-[C13] for the types of `op`'s operands, results and block arguments.
/// What the operations' verifySymbolUses calls.
mlir::LogicalResult verifyAxesOf(mlir::Operation *op,
                                 mlir::SymbolTableCollection &symbols);
} // namespace nestc::nest

#include "dialect/NestDialect.h.inc"
#include "dialect/NestEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialect/NestAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialect/NestTypes.h.inc"
#define GET_OP_CLASSES
#include "dialect/NestOps.h.inc"

namespace nestc::nest {

/// Names of discardable attributes; docs/Spec.md, "Modules and entries".
inline constexpr llvm::StringLiteral kEntryAttr = "nest.entry";
inline constexpr llvm::StringLiteral kNameAttr = "nest.name";
inline constexpr llvm::StringLiteral kCacheAttr = "nest.cache";
inline constexpr llvm::StringLiteral kWeightAttr = "nest.weight";
inline constexpr llvm::StringLiteral kAxisAttr = "nest.axis";
/// Names of an entry's results: f32 [B, rows, vocabulary], and of the most
/// likely token i32 [B, 1].
inline constexpr llvm::StringLiteral kLogitsOutput = "logits",
                                     kTokenOutput = "token";
inline constexpr llvm::StringLiteral kOutputAttr = "nest.output";
inline constexpr llvm::StringLiteral kSpecializedAttr = "nest.specialized";
inline constexpr llvm::StringLiteral kGroupAttr = "nest.group";
inline constexpr llvm::StringLiteral kModelAttr = "nest.model";
inline constexpr llvm::StringLiteral kSourceAttr = "nest.source";
inline constexpr llvm::StringLiteral kSubmodelsAttr = "nest.submodels";

/// The encoding of a tensor type, or null when it lies on no axis. Its length
/// is the tensor's rank.
OnAttr getOn(mlir::Type type);

/// The axis of dimension `dim` of `type`; empty when it lies on none.
llvm::StringRef getAxis(mlir::Type type, unsigned dim);

/// Whether `embed` reads a table of learned positions: its ids are the input
/// "positions" of an entry.
bool isOfPositions(EmbedOp embed);

/// Whether `map` says of every element of `dims` dimensions which one of
/// `results` dimensions it is: pure, without symbols, and dividing only what is
/// not negative.
bool isRemap(mlir::AffineMap map, unsigned dims, unsigned results);

/// `type` without its encoding.
mlir::RankedTensorType dropAxes(mlir::RankedTensorType type);

/// Proves that everything under `root` (in its own symbol table only) uses axes
/// lawfully: they are declared and sizes fit ([C10]-[C12]), and only
/// white-listed operations touch values that lie on one ([C14], [C15]). Emits
/// the first error found. A module with a `nest.axis` is verified like this as
/// a whole; a pass that replaces types may ask again about what it was given.
mlir::LogicalResult verifyAxisUses(mlir::Operation *root);
mlir::LogicalResult verifyAxisUses(mlir::Operation *root,
                                   mlir::SymbolTableCollection &symbols);

} // namespace nestc::nest

#endif // NESTC_DIALECT_NEST_H
