//===- Session.h - sequences, caches, generation ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_SESSION_H
#define NESTC_LOWERING_RUNTIME_SESSION_H

#include "lowering/runtime/Error.h"
#include "lowering/runtime/Executor.h"
#include "lowering/runtime/Package.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace rt {

/// xoshiro256**, seeded by splitmix64: small, and the same everywhere.
class Random {
public:
  explicit Random(uint64_t seed);
  uint64_t next();
  /// In [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
  uint64_t state[4];
};

/// The largest logit, the lowest token on ties. NaN is never the largest.
int32_t argmax(const float *logits, int64_t count);

/// A token with the probabilities of softmax(logits / temperature).
int32_t sample(const float *logits, int64_t count, double temperature,
               Random &random);

/// A batch of sequences of one package. Errors carry a nest_status and leave
/// the session as it was.
class Session {
public:
  /// 0 for a default: one sequence, the package's length, OpenMP's threads.
  /// `causal`: rows of a prefill are chosen by the rule of a decode, where the
  /// package has entry points that do so. `submodel`: a name of the package's,
  /// or empty for the first.
  static Expected<std::unique_ptr<Session>>
  create(const Package &package, int64_t batch, int64_t maxLength, int threads,
         bool causal = false, const std::string &submodel = {});

  int64_t batch() const { return sequences; }
  int64_t maxLength() const { return limit; }
  int64_t length(int64_t sequence) const {
    return lengths[static_cast<size_t>(sequence)];
  }
  void reset();

  /// Binds a width that the submodel leaves open, from the next call on; the
  /// largest is bound at first. Caches keep what is in them.
  Status bind(const std::string &axis, int64_t width);

  /// The modalities [batch, count] of the next call's rows, which forgets them
  /// when it succeeds. A count of 0 forgets them now.
  Status setModality(const int32_t *values, int64_t count);

  /// Runs the entry point `name` on tokens [batch, count] and appends them.
  /// `logits` may be null; it is [batch, count, V] with allRows, else
  /// [batch, 1, V]. `chosen`, null with allRows, gets the most likely token of
  /// each sequence: from the entry point, where it gives one, so that logits
  /// that are null stay where they are.
  Status run(const char *name, bool allRows, const int32_t *tokens,
             int64_t count, float *logits, int32_t *chosen = nullptr);
  /// The same of a decode, or of a prefill where there are no rows before or
  /// more than one is appended.
  Status next(const int32_t *tokens, int64_t count, int32_t *chosen);

  struct GenerateOptions {
    int64_t count = 0;
    double temperature = 0;
    uint64_t seed = 0;
    bool ignoreEos = false;
    /// Of the new tokens; else that of each prompt's last row.
    std::optional<int32_t> modality;
  };
  /// `callback(sequence, token)` returns whether to go on.
  Status generate(const int32_t *tokens, int64_t count,
                  const GenerateOptions &options,
                  const std::function<bool(int64_t, int32_t)> &callback);

private:
  Session(const Package &package, std::unique_ptr<Executor> executor)
      : package(package), executor(std::move(executor)) {}

  /// What an entry point wants, found out at its first call.
  struct Plan {
    enum Role { Tokens, Positions, Lengths, Modality, Cache, Width };
    size_t entry = 0;
    std::vector<Role> roles;    // by input
    std::vector<void *> caches; // by input, Residents; null where it is none
    std::vector<size_t> widths; // by input, of what is bound; else 0
    bool choosesToken = false;  // by a second output
  };
  Expected<const Plan *> plan(const char *name, bool allRows);
  /// What a call of `count` rows takes as its modality: what was given, or the
  /// only one that is accepted.
  Expected<int32_t *> modalityOf(const Plan &plan, int64_t count);
  /// Calls the code; what counts rows is as before when it fails.
  Status call(const Plan &plan, const std::vector<Argument> &inputs,
              const std::vector<Argument> &outputs,
              const std::vector<int64_t> &dims);

  const Package &package;
  std::unique_ptr<Executor> executor;
  int64_t sequences = 1, limit = 0;
  bool causal = false;
  size_t submodel = 0;
  std::vector<int32_t> bound;   // widths, in the order of the manifest
  std::vector<int32_t> lengths; // rows in the caches, by sequence
  std::unordered_map<std::string, Resident> caches;
  // Caches [B], which count the rows that a layer holds, lie in one block: it
  // is what a call that fails has to leave as it was.
  Resident counters, savedCounters;
  uint64_t counterBytes = 0;
  std::vector<int32_t> modality; // of the next call; empty when not given
  std::vector<int32_t> onlyModality;
  std::unordered_map<std::string, Plan> plans;
  std::vector<int32_t> positions;
  std::vector<float> ownLogits;
};

/// A named buffer of a call without a session.
struct NamedBuffer {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
};

/// Calls an entry point on named inputs (not changed; caches that are not given
/// are zero). `wanted` names outputs or caches; `place` gives each a buffer of
/// that type and shape, into which the result is written.
Status callEntry(
    const Package &package, const std::string &entry, int threads,
    const std::vector<NamedBuffer> &inputs,
    const std::vector<std::string> &wanted,
    const std::function<Expected<void *>(
        size_t index, DType dtype, const std::vector<int64_t> &shape)> &place);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_SESSION_H
