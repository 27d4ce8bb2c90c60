//===- AttentionTensor.h - attention on tensor cores ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What kernels on tensor cores share. A warp owns 16 rows. In wide tiles warps
// have rows of their own and share the keys of the block; in narrow ones, for
// decoding, all have the same rows, each its pieces of the keys, and are merged
// at the end in their order. Outputs of more than 128 columns do not fit in the
// registers of one warp: two share rows and keys, compute the same scores, and
// each has half of the columns.
//
// Lane 4 g + q of a warp, group g and quad q, has of a product the columns 2 q
// and 2 q + 1 of every eight, of rows g and g + 8.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_ATTENTIONTENSOR_H
#define NESTC_LOWERING_NVPTX_ATTENTIONTENSOR_H

#include "lowering/nvptx/Attention.h"

namespace nestc::nvptx {

/// Of a tile on tensor cores.
struct TensorSizes {
  /// `parts` of 16 bits that a query is kept in, in shared memory; 0: in
  /// registers. `warps` of a block, `keys` of a piece.
  TensorSizes(const HeadShape &shape, bool narrow, int64_t parts, int64_t warps,
              int64_t keys);
  /// StageShape::keys: pieces of all warps, which wide tiles share.
  int64_t partKeys() const { return narrow ? keys * keyWarps : 0; }
  /// Of a row of a cache in shared memory.
  static int64_t rowBytesOf(const HeadShape &shape);
  /// Bytes of a fragment of 16 x 16 elements of two bytes.
  static constexpr int64_t fragmentBytes = 512;

  bool narrow;
  int64_t parts;
  int64_t warps, threads;
  int64_t steps;    ///< 16 elements of a head each
  int64_t rowBytes; ///< of a row of a cache in shared memory
  int64_t keys;     ///< of a piece
  /// Warps with rows, with keys, with columns of the output of their own; those
  /// that share a stage.
  int64_t rowWarps, keyWarps, columnWarps, groupWarps;
  /// 16 and 8 columns of the output each, of a warp.
  int64_t pairs, tiles;
  int64_t rows;
  /// Shared memory: queries, as fragments; of each of the `keyWarps` two stages
  /// of a piece of keys and their values.
  int64_t queryAt, stageAt, stageBytes, shared;
  int64_t mergeStride; ///< f32 from row to row of what is merged
};

class TensorAttention {
protected:
  static constexpr int64_t fragmentBytes = TensorSizes::fragmentBytes;

  /// Bytes from the first of the two stages: a value, which may be null, and a
  /// constant.
  struct Stage {
    Value offset;
    int64_t byte = 0;
  };
  /// What a lane has of its two rows when all keys are done.
  struct Result {
    Value maxima[2], sums[2];
    llvm::ArrayRef<Value> outs; ///< [tile][row][column]
  };

  TensorAttention(Kernel::Inside &in, kernel::AttentionOp op, RowTile &tile,
                  const TensorSizes &sizes);

  //===--------------------------------------------------------------------===//
  // i32
  //===--------------------------------------------------------------------===//

  Value mul(Value a, int64_t b) { return code.mul(a, code.i32(b)); }
  Value bits(Value a, int64_t which) { return code.bitAnd(a, code.i32(which)); }
  Value equal(Value a, int64_t b) {
    return code.compare(mlir::arith::CmpIPredicate::eq, a, code.i32(b));
  }

  //===--------------------------------------------------------------------===//
  // Copies of keys and values
  //===--------------------------------------------------------------------===//

  /// Among the warps that share a stage.
  void sync();
  /// Finds the lane's part of every copy.
  void prepareCopies();
  /// Where the lane's part of the piece starts in k and v whose first key is
  /// `key`, an i32.
  llvm::SmallVector<Value> sourcesAt(Value key);
  /// Copies a piece. `rest`: of how many keys from the lane's first on, an i32;
  /// behind them are zeros. Null: all are there.
  void copy(llvm::ArrayRef<Value> sources, Stage stage, Value rest);
  /// Copies and commits the piece that starts at `key` as far as it is seen, if
  /// at all.
  void copyAt(Value key, llvm::ArrayRef<Value> sources, Stage stage);

  //===--------------------------------------------------------------------===//
  // Fragments
  //===--------------------------------------------------------------------===//

  /// The address in the first stage of the chunks 2 pair + `chunk` of a row, of
  /// which the low three bits are those of the lane.
  Value matrixAt(Value row, Value chunk, int64_t pair);
  /// Finds the lane's rows and chunks of ldmatrix.
  void prepareMatrices();
  /// Of keys 16 n to 16 n + 15 the elements of a step: two words for each
  /// eight.
  llvm::SmallVector<Value> keyMatrices(Stage stage, int64_t n, int64_t step);
  llvm::SmallVector<Value> valueMatrices(Stage stage, int64_t n, int64_t pair);
  void multiply(llvm::ArrayRef<Value> a, llvm::ArrayRef<Value> b,
                llvm::MutableArrayRef<Value> sums);
  /// Scores of keys from `key` on: those that a row does not see become
  /// -infinity. `lows` and `highs` of the lane's rows; no lows: they are 0.
  void hide(Value key, llvm::ArrayRef<Value> lows, llvm::ArrayRef<Value> highs,
            llvm::MutableArrayRef<Value> scores);
  /// The same scores, weighed as `weighings` of the lane's rows say.
  void weigh(Value key, llvm::ArrayRef<RowTile::Weighing> weighings,
             llvm::MutableArrayRef<Value> scores);

  //===--------------------------------------------------------------------===//
  // The end
  //===--------------------------------------------------------------------===//

  /// Row group or group + 8 of the warp as one of the tile, an i64.
  Value rowOf(int64_t h);
  /// Where tile i of the warp is one of the head.
  void whereColumn(int64_t i, llvm::function_ref<void()> body);
  Value pairOf(Value low, Value high);
  /// Stores outputs, or what warps with keys of their own make together.
  void finish(const Result &result);

  Kernel::Inside &in;
  kernel::AttentionOp op;
  RowTile &tile;
  Device &code;
  HeadShape shape;
  const TensorSizes &sizes;
  // i32: where the thread is, group and quad within the warp; addresses.
  Value lane, warp, group, quad, rowWarp, keyWarp, columnWarp, groupWarp;
  Value shared, stages;
  // The warp's first key, and the end of all.
  Value first, end;

private:
  void findThread(Value thread);
  /// Of copy i of keys (0) or values (1), from the lane's first place on.
  int64_t copyByte(int64_t i, int64_t cache);
  void store(const Result &result);
  void merge(const Result &result);

  // Of copies: the first row, addresses, whether the lane copies.
  Value copyRow, hasChunk;
  int64_t rowsPerCopy, copies, copyOrigin;
  llvm::SmallVector<Value> copyTo, copyFrom, keyAt, valueAt;
};

/// The stage of a kernel whose queries and weights are f32, and of one that
/// `rounds`.
StageShape exactStage(kernel::AttentionOp op, bool narrow);
StageShape roundedStage(kernel::AttentionOp op, bool narrow);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_ATTENTIONTENSOR_H
