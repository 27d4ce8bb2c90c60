//===- Matmul.h - pieces of matmul kernels ----------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A matmul kernel is several stages of which the host lets one run: it knows
// the bound of the rows and how buffers are aligned. A block computes one tile
// of the output: rows of one set, some columns of every product. Sums go
// through shared memory to the epilogue, which is one for all of them.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_MATMUL_H
#define NESTC_LOWERING_NVPTX_MATMUL_H

#include "lowering/nvptx/Generator.h"
#include "passes/SplitKernels.h"

namespace nestc::nvptx {

/// A kernel.matmul that was checked.
struct Matmul {
  kernel::MatmulOp op;
  llvm::SmallVector<RegionInput> inputs;
  Type stored;      ///< of weights
  Type streamed;    ///< of a: f32, or `stored`
  int64_t columns;  ///< of the output
  int64_t depth;    ///< of the sums
  int64_t products; ///< 1 or 2
  int64_t groups;

  int64_t bytesOf(Type type) const { return type.getIntOrFloatBitWidth() / 8; }
};

/// What a block computes, and by how many threads.
struct Tile {
  int64_t rows;
  int64_t columns; ///< of the output
  int64_t threads;

  int64_t columnTiles(const Matmul &matmul) const {
    return llvm::divideCeil(matmul.columns, columns);
  }
  /// At most how many tiles of rows there are, of `rows` rows in all sets.
  Value rowTiles(Code &code, const Matmul &matmul, Value rows) const;
};

/// Where a block's tile is. All i32 but `low`.
struct Place {
  Value low;    ///< i64: packed row 0 of the kernel, an index of `indices`
  Value row;    ///< first row, of packed streams
  Value rows;   ///< of the tile; 0 when the block has nothing to do
  Value set;    ///< counted from the first; null with one group
  Value column; ///< first column of the output
};
/// The tile of this block; `offsets` are read here.
Place findPlace(Kernel::Inside &in, const Matmul &matmul, const Tile &tile);
/// The row of `a` or of the output, as i64, of row `row` (i32) of packed
/// streams.
Value streamRow(Kernel::Inside &in, const Matmul &matmul, const Place &place,
                Value row, bool indexed);
/// One of the operands, for the set of the block, as a global pointer.
Value pointerOf(Kernel::Inside &in, const Place &place,
                mlir::OperandRange operands);

/// Sums of a tile in shared memory, f32: of product p, row r and column c at
/// (p * tile.rows + r) * pitch + offset(c). Where the epilogue takes 8 columns
/// at once, for an output of 2 bytes, these are two quads from two halves of
/// the row, so that neighbours read 16 bytes side by side.
struct Sums {
  /// The pitch is `residue` modulo the 32 banks; `gap` stands between halves.
  Sums(const Matmul &matmul, const Tile &tile, bool wide, int64_t residue = 8,
       int64_t gap = 4);

  bool split;
  int64_t half; ///< from the first half of a row to the second
  int64_t pitch, bytes;

  /// Of a column that is a multiple of 8.
  int64_t eight(int64_t column) const { return split ? column / 2 : column; }
  Value offset(Device &code, Value column) const;
};
/// Applies the region to the sums at the start of shared memory. `wide`: the
/// host found streams aligned to 16 bytes.
void epilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
              const Place &place, const Sums &sums, bool wide);
/// Whether wide accesses divide the rows of the output and of streams.
bool mayBeWide(const Matmul &matmul);

/// Products in f32 by fused multiply and add.
struct FmaTile : Tile {
  int64_t threadRows, threadColumns; ///< of all products
  bool wide;
  int64_t sharedBytes(const Matmul &matmul) const;
};
void multiplyByFma(Kernel::Inside &in, const Matmul &matmul,
                   const FmaTile &tile);

/// Products of bf16 or f16 by tensor cores.
struct TensorTile : Tile {
  int64_t warpsDown, warpsAcross; ///< how warps share the tile
  int64_t stages;                 ///< of the pipeline
  bool wide;                      ///< streams and weights by 16 bytes
  int64_t tileColumns(const Matmul &matmul) const {
    return columns * matmul.products;
  }
  int64_t sharedBytes(const Matmul &matmul) const;
};
void multiplyByTensorCores(Kernel::Inside &in, const Matmul &matmul,
                           const TensorTile &tile);

/// Products of bf16 or f16 for few rows: tiles of 16. Streams and weights must
/// be aligned to 16 bytes.
struct DecodeTile : Tile {
  int64_t perSlot; ///< weight rows of a product side by side in a slot
  int64_t splits;  ///< blocks, of the grid's y, that share the depth of a tile
  int64_t batches; ///< whole batches of k of a split; the last may have less
  /// As many splits as the workspace has room for, and as there are batches.
  static DecodeTile of(const Matmul &matmul);
  int64_t sharedBytes(const Matmul &matmul) const;
  /// How many are needed: one for each tile.
  int64_t tickets(const Matmul &matmul) const;
};
/// Makes the sums of a tile in shared memory; `finish` is code of the one block
/// that has them.
void sumForDecode(Kernel::Inside &in, const Matmul &matmul,
                  const DecodeTile &tile, const Place &place,
                  llvm::function_ref<void(const Sums &)> finish);
void multiplyForDecode(Kernel::Inside &in, const Matmul &matmul,
                       const DecodeTile &tile);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_MATMUL_H
