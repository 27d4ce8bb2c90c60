//===- SplitKernels.h - kernels that blocks of a GPU share -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What kernel-split and the generator for GPUs have to agree on.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_SPLITKERNELS_H
#define NESTC_PASSES_SPLITKERNELS_H

#include <cstdint>

namespace nestc {

/// Of products of few rows: at most how many rows, columns of all products in a
/// tile, and elements of the depth that are loaded at once.
inline constexpr int64_t fewRows = 16, fewRowsColumns = 128, fewRowsDepth = 128;

/// Of attention: keys of a part, at least.
inline constexpr int64_t leastKeys = 256;

/// Of argmax: columns that a block takes at a time.
inline constexpr int64_t argmaxColumns = 4096;

} // namespace nestc

#endif // NESTC_PASSES_SPLITKERNELS_H
