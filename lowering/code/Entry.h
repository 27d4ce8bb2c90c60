//===- Entry.h - entry points -----------------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CODE_ENTRY_H
#define NESTC_LOWERING_CODE_ENTRY_H

#include "dialect/Kernel.h"
#include "lowering/code/Buffer.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <functional>

namespace nestc::code {

using mlir::LLVM::LLVMFuncOp;

/// A private function that returns nothing.
LLVMFuncOp makeFunction(mlir::ModuleOp module, mlir::Location location,
                        llvm::StringRef name, llvm::ArrayRef<Type> arguments);

/// What the entry points of a module are made for.
struct EntryTarget {
  mlir::ModuleOp module;
  int64_t lanes; ///< of Code
  /// The definition of a name, or null.
  std::function<kernel::DefOp(llvm::StringRef)> definition;
  /// Emits a launch: `call` is the nest_call, `buffers` have the types of the
  /// definition's arguments.
  std::function<mlir::LogicalResult(Code &code, Value call, kernel::DefOp,
                                    llvm::ArrayRef<Buffer> buffers)>
      launch;
};

/// Makes nest_entry_NAME of an entry function, which stays.
mlir::FailureOr<LLVMFuncOp> makeEntry(mlir::func::FuncOp entry,
                                      const EntryTarget &target);

} // namespace nestc::code

#endif // NESTC_LOWERING_CODE_ENTRY_H
