//===- CodeGen.h - LLVM dialect to shared object -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CPU_CODEGEN_H
#define NESTC_LOWERING_CPU_CODEGEN_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace nestc {

/// What code is generated for.
struct CpuTarget {
  /// "native", "x86-64-v3" or "x86-64-v4", as the user said.
  std::string level;
  /// LLVM's names: instruction set, scheduling model.
  std::string cpu, tune;
  std::string features;
  std::string triple;
  /// Width of a vector register: 256 or 512.
  int64_t vectorBits = 256;
  /// What a host must have to run the code, by names as in
  /// __builtin_cpu_supports: "avx2", "fma", "avx512f" ...
  std::vector<std::string> required;

  /// The target of a level. "native" is the highest level that this host has,
  /// tuned for this host.
  static llvm::Expected<CpuTarget> get(llvm::StringRef level);
};

/// Translates a module of the LLVM dialect to LLVM IR, as text.
llvm::Expected<std::string> emitLlvmIr(mlir::ModuleOp module,
                                       const CpuTarget &target);

/// Compiles a module of the LLVM dialect to a relocatable object.
llvm::Expected<llvm::SmallVector<char, 0>> emitObject(mlir::ModuleOp module,
                                                      const CpuTarget &target);

/// Links an object to the shared object `path`, which exports nest_entry_*
/// only. Writes `path` and, for a while, `path`.o and `path`.map.
llvm::Error linkSharedObject(llvm::ArrayRef<char> object, llvm::StringRef path);

} // namespace nestc

#endif // NESTC_LOWERING_CPU_CODEGEN_H
