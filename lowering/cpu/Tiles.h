//===- Tiles.h - the inner loops that kernels share -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Products are computed by a few routines that every kernel of a module calls:
// each is generated once, so that a module of many kernels stays small and
// compiles fast. All work on f32 in scratch; weights of bf16 and f16 are
// widened while they are packed.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_CPU_TILES_H
#define NESTC_LOWERING_CPU_TILES_H

#include "lowering/cpu/Generator.h"

namespace nestc::cpu {

/// Sizes of the register tile and of what surrounds it, for a vector width.
struct Tiling {
  explicit Tiling(int64_t lanes)
      : lanes(lanes), rows(lanes == 16 ? 14 : 6), columns(2 * lanes) {}
  int64_t lanes;
  /// Rows of a tile; with two vectors a row this fills the registers.
  int64_t rows;
  /// Columns of a tile, and of a packed panel [depth][columns].
  int64_t columns;
  /// Depth of a product that stays in the caches: a panel has this many rows.
  static constexpr int64_t depth = 512;
  /// Row stride of the left operand in scratch. Not a power of two, so that
  /// the rows of a tile do not fight for the same cache sets.
  static constexpr int64_t stride = depth + lineFloats;

  int64_t leftFloats() const { return rows * stride; }
  int64_t panelFloats() const { return depth * columns; }
};

/// c[r, j] (+)= sum over k < depth of left[r, k] * panel[k, j], for `rows`
/// rows of left (row stride Tiling::stride) and one panel. Computes an even
/// number of rows: c must have room for one more. Row stride of c in elements.
void multiplyTile(Generator &generator, Code &code, Value rows, Value left,
                  Value panel, Value c, Value cStride, Value depth,
                  Value accumulate);

/// panel[k, j] = w[j, k] for k < depth, j < valid; other columns of the panel
/// hold copies. `stride` of w in elements of type `stored`.
void packPanel(Generator &generator, Code &code, Type stored, Value w,
               Value stride, Value valid, Value depth, Value panel);

/// to[r, k] = from[r, k] rounded to `stored`; both f32, strides in elements.
/// With `indices`, i32 of memory, from[indices[r], k].
void copyRows(Generator &generator, Code &code, Type stored, Value from,
              Value fromStride, Value rows, Value depth, Value to,
              Value toStride, Value indices = nullptr);

/// c[m, n] = sum over k of a[m, k] * w[n, k] for any number of rows of `a`, all
/// read where they are: for few rows, where packing would not pay.
/// Strides in elements.
void multiplyDots(Generator &generator, Code &code, Type stored, Value w,
                  Value wStride, Value columns, Value a, Value aStride,
                  Value rows, Value c, Value cStride, Value depth);

} // namespace nestc::cpu

#endif // NESTC_LOWERING_CPU_TILES_H
