//===- Ptxas.h - PTX to machine code ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_PTXAS_H
#define NESTC_LOWERING_NVPTX_PTXAS_H

#include "lowering/nvptx/Pipeline.h"

#include <optional>
#include <string>

namespace nestc {

/// Where findPtxas() looks, for messages.
extern const char *const ptxasPlaces;

/// The assembler of the CUDA toolkit: NEST_PTXAS, then CUDA_HOME, the PATH, and
/// the package nvidia-cuda-nvcc of the Python environment in VIRTUAL_ENV or of
/// the one that nestc was built with. Nothing when there is none.
std::optional<std::string> findPtxas();

/// Runs it on a text; returns the cubin. An error has ptxas' first line.
llvm::Expected<std::string> assemblePtx(const std::string &ptxas,
                                        const std::string &ptx,
                                        const NvptxTarget &target);

} // namespace nestc

#endif // NESTC_LOWERING_NVPTX_PTXAS_H
