//===- Export.h - a submodel becomes a checkpoint of its own ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_IMPORT_EXPORT_H
#define NESTC_TOOLS_IMPORT_EXPORT_H

#include "lowering/package/WeightFile.h"
#include "lowering/runtime/Error.h"
#include "lowering/runtime/Files.h"
#include "passes/Submodel.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace nestc {

struct Family; // Family.h

/// A submodel of an imported checkpoint.
struct ExportRequest {
  std::string directory; ///< the checkpoint
  std::string output;    ///< the new one's directory
  const Family *family = nullptr;
  AxisTable table; ///< of the universal module
  Binding binding;
  /// The weights of the universal module and of the submodel's.
  std::vector<PackagedWeight> all, kept;
  std::string producer; ///< a mark in the files: "nestc 0.1.0"
  /// Bytes of tensors in a file, at most; a larger tensor has one of its own.
  uint64_t shardBytes = 5'000'000'000;
  /// Bytes written so far, of how many.
  std::function<void(uint64_t done, uint64_t total)> progress;
  std::function<void(const rt::Error &)> warn;
};

/// What an export may replace: what every output may, and an earlier export.
rt::Replaceable replaceableByExport();

/// Writes the checkpoint of the submodel: config.json, tensors in the types
/// that they are stored in, nest.json where something nested is left, and the
/// files of the tokenizer. The directory appears when it is complete. What no
/// checkpoint of the family can say is an error.
rt::Status exportCheckpoint(const ExportRequest &request);

} // namespace nestc

#endif // NESTC_TOOLS_IMPORT_EXPORT_H
