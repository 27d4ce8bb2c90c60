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
// kernel.project is the same with another epilogue: column tiles of its
// segments stand one behind the other.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_MATMUL_H
#define NESTC_LOWERING_NVPTX_MATMUL_H

#include "lowering/nvptx/Generator.h"
#include "passes/SplitKernels.h"

namespace nestc::nvptx {

/// Columns that come from one matrix for each product and set.
struct Segment {
  llvm::SmallVector<Value> weights; ///< operands, product after product
  int64_t columns;
  /// Of heads that a tile has to hold: columns, or 0; those that are turned, in
  /// pairs of halves; whether a sum is over the head.
  int64_t headDim = 0, rotary = 0;
  bool isNormed = false;
  /// Accesses of so many columns start at multiples of them.
  int64_t grain = 1;
};

/// A kernel.matmul or kernel.project that was checked.
struct Matmul {
  kernel::MatmulOp op;       ///< or null, and
  kernel::ProjectOp project; ///< this
  Value a;
  Value rows; ///< a stream of as many rows as there are in all sets
  Value offsets, indices;
  Sets sets;
  bool gathers;
  llvm::SmallVector<Segment> segments;
  llvm::SmallVector<RegionInput> inputs; ///< of a region
  Type stored;                           ///< of weights
  Type streamed;                         ///< of a: f32, or `stored`
  int64_t columns;                       ///< of all segments
  int64_t depth;                         ///< of the sums
  int64_t products;                      ///< 1 or 2
  int64_t groups;
  int64_t wideColumns;      ///< that the epilogue takes at once, in wide tiles
  Value workspace, tickets; ///< for few rows, or null
  Value columnBound, depthBound; ///< i32 [1] that a call binds, or null
  nest::CapacityAttr capacity;   ///< of the rows of a sequence, or null
  Value normed;                  ///< sums of squares of rows of a, or null
  float epsilon = 0;             ///< that is added to their mean

  int64_t bytesOf(Type type) const { return type.getIntOrFloatBitWidth() / 8; }
  /// At most how many packed rows there are, in code of the host.
  Value mostRows(Code &host, const Buffer &stream) const;
};
/// Checks what all products have: weights, rows and tables. `op` is for errors.
mlir::LogicalResult checkProducts(mlir::Operation *op, Matmul &matmul);
/// Adds the stages.
mlir::LogicalResult addStages(Kernel &kernel, const Matmul &matmul);

/// What a block computes, and by how many threads.
struct Tile {
  int64_t rows;
  int64_t columns; ///< of the output
  int64_t threads;

  /// How many of its columns take those of a segment, from the first on. They
  /// are side by side there: whole heads, if it has such; or `paired`, the
  /// second half being the columns that the first ones are turned with.
  struct Share {
    int64_t columns;
    bool paired;
  };
  /// None if the tile cannot hold what has to be together.
  std::optional<Share> shareOf(const Segment &segment) const;
  bool canTake(const Matmul &matmul) const {
    return llvm::all_of(matmul.segments, [&](const Segment &segment) {
      return shareOf(segment).has_value();
    });
  }
  int64_t columnTiles(const Segment &segment) const {
    return llvm::divideCeil(segment.columns, shareOf(segment)->columns);
  }
  int64_t columnTiles(const Matmul &matmul) const {
    int64_t tiles = 0;
    for (const Segment &segment : matmul.segments)
      tiles += columnTiles(segment);
    return tiles;
  }
  /// Shared memory that the epilogue takes behind the sums.
  int64_t epilogueBytes(const Matmul &matmul) const;
  /// At most how many tiles of rows there are, of `rows` rows in all sets.
  Value rowTiles(Code &code, const Matmul &matmul, Value rows) const;
};

/// Where a block's tile is. All i32 but `low`.
struct Place {
  Value low;     ///< i64: packed row 0 of the kernel, an index of `indices`
  Value row;     ///< first row, of packed streams
  Value rows;    ///< of the tile; 0 when the block has nothing to do
  Value set;     ///< counted from the first; null with one group
  Value column;  ///< first column of the output, in its segment
  Value segment; ///< null with one
  Value tile;    ///< among the tiles of columns of all segments
  /// Columns from `half` on lie `jump` further on; null where no tile is
  /// paired.
  Value half, jump;
  int64_t factors = 0; ///< byte of shared memory where writeFactors() wrote
};
/// The tile of this block; `offsets` are read here. `again`: by code of its
/// own, so that what was found before is not kept until then.
Place findPlace(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
                bool again = false);
/// The depth of the call, as i32.
Value depthOf(Kernel::Inside &in, const Matmul &matmul);
/// The row of `a` or of the output, as i64, of row `row` (i32) of packed
/// streams.
Value streamRow(Kernel::Inside &in, const Matmul &matmul, const Place &place,
                Value row, bool indexed);
/// One of the operands, for the set of the block, as a global pointer.
Value pointerOf(Kernel::Inside &in, const Place &place, ValueRange operands);
/// What `of` gives for the block's segment.
Value ofSegment(Device &code, const Matmul &matmul, const Place &place,
                llvm::function_ref<Value(unsigned segment)> of);
/// The block's matrix of a product, and elements from row to row, an i64.
struct Matrix {
  Value pointer, stride;
};
Matrix matrixOf(Kernel::Inside &in, const Matmul &matmul, const Place &place,
                int64_t product);
/// The row of the matrix that column `column` (i32) of the tile is, the first
/// of `count`; of the last ones behind that.
Value matrixRow(Device &code, const Matmul &matmul, const Place &place,
                Value column, int64_t count = 1);

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
/// Of a product of a normed stream: what the sums of each row of the tile are
/// multiplied by goes to shared memory, at `place.factors`. There has to be a
/// barrier between it and the epilogue. `wide` as in epilogue().
void writeFactors(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
                  const Place &place, bool wide);
/// Bytes of shared memory that this takes, behind all others.
int64_t factorBytes(const Matmul &matmul, const Tile &tile);
/// The factor of row `row` (i32) of the tile.
Value factorOf(Device &code, const Place &place, Value row);

/// What the epilogue writes for the products of the output's norm, of `width`
/// columns from `column` (i64) on.
class NormedRows {
public:
  NormedRows(Kernel::Inside &in, const Matmul &matmul, const Place &place,
             Value column, int64_t width);
  /// Stores all `scaled` of the output's elements from `index` (i64) on.
  /// Returns the sum of their squares.
  Value write(Value index, Value value);
  /// Adds sums of the lanes that share a slice, and stores them for row `row`
  /// (i32) of the tile where `valid` (null: everywhere) holds. For whole warps.
  void writeSquares(Value row, Value sum, Value valid);

private:
  Kernel::Inside &in;
  const Matmul &matmul;
  const Place &place;
  Value column;
  int64_t width;
  Value squaresTo;
  /// Of each `scaled`; gains are null where there are none.
  llvm::SmallVector<Value> scaledTo, gains;
};

/// Visits rows first, first + step, ... below `count`, all i32, `batch` at a
/// time and then one at a time.
void overRows(Device &code, Value first, Value count, int64_t step,
              int64_t batch,
              llvm::function_ref<void(llvm::ArrayRef<Value> rows)> visit);
/// Eight columns or fewer of sums, at `column` of the tile (both i32).
Value loadSums(Device &code, const Sums &sums, Value row, Value column,
               int64_t width, int64_t byte = 0);
/// Applies the region to the sums at the start of shared memory, or does what
/// segments ask for. `wide`: the host found streams aligned to 16 bytes.
void epilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
              const Place &place, const Sums &sums,
              bool wide); /// The same for kernel.project.
void projectEpilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
                     const Place &place, const Sums &sums, bool wide);

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
