//===- Config.h - config.json, typed ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_CONFIG_H
#define NESTC_TOOLS_IMPORT_CONFIG_H

#include "dialect/Nest.h"
#include "lowering/runtime/Json.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nestc {

/// Sizes in a config are at most this, so that products of two fit.
constexpr int64_t kMaxConfigSize = INT32_MAX;

/// The config.json of a checkpoint. Keys nobody asks for are ignored; a key
/// that is null counts as absent. Every getter's error names file, key, what
/// was found and what is legal.
class Config {
public:
  /// Reads `directory`/config.json.
  static rt::Expected<Config> read(const std::string &directory);
  /// Of a text, `place` being its path in errors.
  static rt::Expected<Config> parse(std::string_view text,
                                    const std::string &place);

  /// The object under a key as a config of its own, as a multi-modal model has
  /// one for its text part.
  rt::Expected<Config> part(std::string_view key) const;

  rt::JsonReader root() const { return {*json, path}; }
  bool has(std::string_view key) const { return root().hasValue(key); }
  /// Whether the key is there and null.
  bool isNull(std::string_view key) const {
    return root().has(key) && !root().hasValue(key);
  }
  /// An error about one key.
  rt::Error error(std::string_view key, std::string message,
                  std::string legal = {}) const;

  /// A size: an integer of at least 1. Without `otherwise` it is required.
  rt::Expected<int64_t> size(std::string_view key) const;
  rt::Expected<int64_t> sizeOr(std::string_view key, int64_t otherwise) const;
  /// A size for each layer: a list with one for each, or one for all.
  rt::Expected<std::vector<int64_t>> sizesPerLayer(std::string_view key,
                                                   int64_t numLayers) const;
  rt::Expected<bool> flag(std::string_view key, bool otherwise) const {
    return root().getBoolOr(key, otherwise);
  }
  /// A number that is positive and finite as an f32.
  rt::Expected<double> positive(std::string_view key, double otherwise) const;
  /// The activation of a name that transformers knows.
  rt::Expected<nest::Activation> activation(std::string_view key,
                                            const char *otherwise) const;
  /// Token ids: one, a list, or null for none; `otherwise` when the key is
  /// absent. An id outside the vocabulary is dropped and reported in `dropped`.
  rt::Expected<std::vector<int64_t>>
  tokenIds(std::string_view key, std::optional<int64_t> otherwise,
           int64_t vocabSize, std::vector<int64_t> &dropped) const;

private:
  std::unique_ptr<rt::Json> json;
  std::string path;
};

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_CONFIG_H
