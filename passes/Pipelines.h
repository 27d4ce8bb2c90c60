//===- Pipelines.h - passes in the order they run ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_PASSES_PIPELINES_H
#define NESTC_PASSES_PIPELINES_H

#include "mlir/Pass/PassManager.h"

namespace nestc {

struct KernelPipelineOptions {
  /// Runs nest-choose-tokens, for devices whose memory is not the host's.
  bool chooseTokens = false;
  /// Runs kernel-absorb-gathers and kernel-fuse-projections, for generators
  /// that have what they form.
  bool fuseProjections = false;
  /// Runs kernel-narrow-streams, for generators that take such streams.
  bool narrowStreams = false;
  /// Runs kernel-round-attention, which changes the function.
  bool roundAttention = false;
  /// Runs kernel-split, for generators whose blocks share the work of a tile.
  bool split = false;
  /// Runs kernel-bound-rows, for generators that choose by numbers of rows.
  bool boundRows = false;
  /// Weights stay where they are stored, see kernel-share-weights.
  bool linkWeights = false;
  /// Runs kernel-fold-norms, for generators that take parts of norms.
  bool foldNorms = false;
};

/// From graph operations without axes and layers (behind nest-drop-axes) to
/// kernel definitions, and entries that launch them on buffers of one arena.
/// Runs on a module; also the pass pipeline `nest-to-kernels`.
void buildKernelPipeline(mlir::OpPassManager &manager,
                         const KernelPipelineOptions &options = {});

/// Makes `nest-to-kernels` known to command lines.
void registerNestPipelines();

} // namespace nestc

#endif // NESTC_PASSES_PIPELINES_H
