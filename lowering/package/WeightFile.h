//===- WeightFile.h - boxes of stored tensors, streamed --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_PACKAGE_WEIGHTFILE_H
#define NESTC_LOWERING_PACKAGE_WEIGHTFILE_H

#include "lowering/runtime/DType.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Safetensors.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nestc {

/// Where the bytes of one weight come from: a `nest.weight`, taken down before
/// kernels are formed.
struct PackagedWeight {
  std::string name, key;
  rt::DType storedType, type;
  std::vector<int64_t> storedShape, offsets, sizes, shape;
  /// Of a matrix, instead of a box: parts (first, count) of dimension `cut`,
  /// one behind the other.
  std::vector<std::pair<int64_t, int64_t>> pieces;
  unsigned cut = 0;
  /// The weight whose tensor in the package this one is a prefix of, and the
  /// shape of that: `name` and `shape` where it has one to itself.
  bool linked = false; ///< read where it is stored; `room` is all of that
  std::string owner;
  std::vector<int64_t> room;
};

/// The stored tensor of `weight`; one of another type or shape than the weight
/// was made for is an error.
rt::Expected<const rt::TensorInfo *>
findStored(const rt::Checkpoint &checkpoint, const PackagedWeight &weight);

/// Declares `weight`, which must outlive the writing, as a tensor of `writer`:
/// its box of the stored tensor, converted to its type, in pieces. What was
/// read does not stay in memory. A stored tensor of another type or shape than
/// the weight was made for is an error.
rt::Status addWeight(rt::SafetensorsWriter &writer,
                     const rt::Checkpoint &checkpoint,
                     const PackagedWeight &weight);

/// Writes the tensors of `writer` to a file; `progress` gets the bytes written
/// so far.
rt::Status writeTensors(rt::SafetensorsWriter &writer, const std::string &path,
                        const std::function<void(uint64_t)> &progress);

/// Writes `text` to a file in an AtomicDirectory.
rt::Status writePlainFile(const std::string &path, std::string_view text);
rt::Status copyFile(const std::string &from, const std::string &to);

/// `error` with the path of an output instead of that of its temporary: users
/// know no other.
rt::Error inOutput(rt::Error error, const std::string &temporary,
                   const std::string &output);

} // namespace nestc

#endif // NESTC_LOWERING_PACKAGE_WEIGHTFILE_H
