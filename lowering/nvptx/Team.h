//===- Team.h - threads that share a row or a part of it --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels that work row by row cut rows into items of so many columns, each of
// which a team of threads takes: part of a warp, a warp, or a block. A thread
// has vectors of up to 16 bytes, the team's vectors side by side.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_TEAM_H
#define NESTC_LOWERING_NVPTX_TEAM_H

#include "lowering/nvptx/Generator.h"

namespace nestc::nvptx {

/// The shape of teams, known when code is made.
struct Team {
  int64_t columns; ///< of an item
  int64_t width;   ///< of a vector, in columns
  int64_t size;    ///< threads: a power of two up to a warp, or warps
  int64_t vectors; ///< of a thread
  int64_t threads; ///< of a block
  /// Whether a thread can hold all its values in registers.
  bool inRegisters;

  /// `streams` is how many values of a column are held at once. Vectors begin
  /// at multiples of their width, which divides `aligned`.
  static Team of(int64_t columns, int64_t aligned, int64_t streams);

  int64_t perBlock() const { return threads / size; }
  /// Columns from a vector of a thread to its next.
  int64_t step() const { return size * width; }
  /// Bytes of shared memory that a value of each team's warps needs.
  int64_t sharedOf(int64_t values) const;
};

/// The same inside a stage.
class Columns {
public:
  Columns(Device &code, const Team &team);

  /// The first column of the thread's vectors, an i32.
  Value first() const { return start; }
  /// The item of the team, an i32, of those that the grid counts.
  Value item() const { return place; }

  using Visit = llvm::function_ref<void(unsigned vector, Value valid)>;
  /// The thread's vectors, one after the other in the code; `valid` is null, or
  /// whether the vector's columns are below `limit`, which counts from the
  /// item's first column and is the same or less than its columns.
  void unrolled(Visit visit, Value limit = {}) const;

  /// Combines values of the team's threads, f32, the same in all of them.
  /// `combine` is called for a value and its place among them.
  using Combine = llvm::function_ref<Value(Value, Value)>;
  llvm::SmallVector<Value> reduce(llvm::ArrayRef<Value> values,
                                  Combine combine);

private:
  Device &code;
  const Team &team;
  Value start, place;
  int64_t sharedUsed = 0;
};

/// The rows of a kernel on sets, as i32 of a stage.
struct Rows {
  Value low;   ///< the first packed row, null without sets
  Value count; ///< rows to work on
};
Rows rows32(Kernel::Inside &in, Value offsets, Sets sets, Value stream);
/// Entry `index`, an i32, of a table of i32.
Value entry32(Device &code, const Buffer &table, Value index);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_TEAM_H
