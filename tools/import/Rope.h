//===- Rope.h - rotary frequencies from a config ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_ROPE_H
#define NESTC_TOOLS_IMPORT_ROPE_H

#include "tools/import/Config.h"

#include <optional>
#include <string>
#include <vector>

namespace nestc {

/// A rotary embedding as a config describes it.
struct RopeConfig {
  enum class Type { Default, Linear, Llama3, Yarn };

  Type type = Type::Default;
  std::string place; ///< of the description, for errors
  double theta = 10000.0;
  /// The part of a head that is turned.
  double partial = 1.0;
  std::string partialPlace; ///< of the key that says so, for errors
  double factor = 1.0;
  double originalLength = 0; ///< llama3, yarn
  double lowFreqFactor = 0, highFreqFactor = 0;
  double betaFast = 32, betaSlow = 1;
  std::optional<double> attentionFactor;
  double mscale = 0, mscaleAllDim = 0; ///< 0: not given
  bool truncate = true;
};

/// Reads `rope_parameters`, or the older `rope_scaling` and `rope_theta`, as
/// transformers combines them. `maxLength` is max_position_embeddings, which
/// stands in for an original length that is not given.
rt::Expected<RopeConfig> readRope(const Config &config, int64_t maxLength);

/// Reads one description, an object; `theta` and `maxLength` stand in for what
/// it does not say.
rt::Expected<RopeConfig> readRope(const Config &config,
                                  const rt::JsonReader &description,
                                  double theta, int64_t maxLength);

/// Frequencies of the pairs of a head, and what sine and cosine are multiplied
/// by.
struct RopeTable {
  std::vector<float> frequencies;
  float magnitude = 1.0f;
};

/// Computes them in f32, in the order of operations of transformers, so that
/// angles at far positions agree.
rt::Expected<RopeTable> computeRope(const RopeConfig &rope, int64_t headDim);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_ROPE_H
