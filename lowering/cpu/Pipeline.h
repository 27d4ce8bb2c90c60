//===- Pipeline.h - outlined kernels to the LLVM dialect -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CPU_PIPELINE_H
#define NESTC_LOWERING_CPU_PIPELINE_H

#include <cstdint>

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace nestc {

/// Adds the passes from a module of kernel.def and entry functions to the LLVM
/// dialect, for vector registers of `vectorBits` (128, 256 or 512). Entry
/// functions become `nest_entry_NAME` with the attribute `kernel.scratch`: the
/// bytes of scratch that each worker needs.
void buildCpuPipeline(mlir::OpPassManager &passes, int64_t vectorBits = 512);

} // namespace nestc

#endif // NESTC_LOWERING_CPU_PIPELINE_H
