//===- Slices.h - published slicing tables ----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_SLICES_H
#define NESTC_TOOLS_NESTC_SLICES_H

#include "lowering/runtime/Error.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nestc {

/// A submodel of a table.
struct Slice {
  std::string name;
  std::string place;            ///< FILE: line N
  std::vector<int64_t> widths;  ///< of the layers that are left, in their order
  std::vector<int64_t> skipped; ///< ascending
};

/// A table of submodels as they are published for Gemma 3n: CSV with the
/// columns `name`, `FFN Hidden Dims` (a list, "[2_048 * 4, 2_048 * 8]", one
/// width for each layer that is left) and `Layers Skipped` (a list, or
/// nothing). Other columns are free.
class SlicingTable {
public:
  static rt::Expected<SlicingTable> read(const std::string &path);
  static rt::Expected<SlicingTable> parse(std::string_view text,
                                          const std::string &path);

  const std::vector<Slice> &slices() const { return rows; }
  /// The row of a name; an error names the nearest one.
  rt::Expected<const Slice *> find(const std::string &name) const;

private:
  std::string path;
  std::vector<Slice> rows;
};

/// The width of each of the model's layers, 0 for those that are skipped. An
/// error where the row is of a model of another depth.
rt::Expected<std::vector<int64_t>> widthsOf(const Slice &slice,
                                            int64_t numLayers);

/// `text`, as --submodel takes it, with the row that `preset=NAME` names in its
/// place; NAME is all that stands behind it. Without a preset it is `text`;
/// with one, no table (an empty `path`) is an error.
rt::Expected<std::string> expandPreset(const std::string &text,
                                       const std::string &path,
                                       int64_t numLayers);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_SLICES_H
