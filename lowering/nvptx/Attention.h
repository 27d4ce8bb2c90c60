//===- Attention.h - what attention kernels share ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block owns one KV head of one sequence and a tile of its rows: the query
// heads that share the KV head, token by token. It walks over the keys that any
// of them sees.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_ATTENTION_H
#define NESTC_LOWERING_NVPTX_ATTENTION_H

#include "lowering/nvptx/Generator.h"
#include "passes/SplitKernels.h"

namespace nestc::nvptx {

/// What is known when code is made.
struct HeadShape {
  explicit HeadShape(kernel::AttentionOp op);
  mlir::Type stored; ///< elements of the caches
  int64_t kvHeads, headDim, heads;
  int64_t group; ///< query heads of a KV head
  float scale;   ///< of scores as exponents of two
  float alibi;   ///< of the mask; 0: none
};

/// The rows of a block, and the tables about them in its shared memory.
class RowTile {
public:
  /// Bytes of the tables.
  static int64_t bytes(const HeadShape &shape, int64_t rows) {
    return (shape.alibi == 0 ? 20 : 28) * rows;
  }
  /// The number of blocks for all rows of a launch.
  static Value blocks(Code &host, const HeadShape &shape, const Buffer &q,
                      int64_t rows);

  /// `rows` of a block, a power of two, no more than its threads; `shared`
  /// the byte where the tables start. Runs `body` in blocks that have rows,
  /// after a barrier.
  RowTile(Kernel::Inside &in, kernel::AttentionOp op, int64_t rows,
          int64_t shared, llvm::function_ref<void(RowTile &)> body);

  const int64_t rows;
  /// The keys that any row sees, as i64.
  Value firstKey, endKey;
  /// Those that all rows see, which may be none, as i32.
  Value firstCommon, endCommon;
  /// The first element of the KV head in k and v, as an i64.
  Value head;
  /// The block's part of the keys, one of `parts`, as i32; null if they are not
  /// split. The keys are then those of the part.
  Value part, parts;

  /// Of row r, an i64: the element of q and out where it starts, as an i64, or
  /// -1 if it is none; keys low to high that it sees, as i32.
  Value place(Value r);
  Value low(Value r);
  Value high(Value r);

  /// What alibi does to a score of a row, an exponent of two.
  struct Weighing {
    Value slope; ///< f32, below 0
    Value self;  ///< where the row counts from, i32
  };
  /// Of row r; with alibi only.
  Weighing weighing(Value r);
  /// The score with the key, an i32, weighed; unchanged without alibi.
  Value weigh(Value score, const Weighing &weighing, Value key);

  /// Products take hidden keys with a weight of 0, which makes no number of
  /// what is none: a NaN among the outputs `y` of row r, an f32, may be the
  /// row's own, or not.
  void doubt(Value r, Value y);
  /// Computes rows in doubt again, from the keys that they see alone. For the
  /// whole block, after all outputs are stored.
  void settle();

  /// Leaves the block a part of the keys, in multiples of `keys`. Runs `body`
  /// in blocks that have some.
  void split(int64_t keys, llvm::function_ref<void()> body);
  /// Where the block of part `part` leaves row r: outputs, their maximum and
  /// sum.
  Value workspaceAt(Value part, Value r);
  /// For the whole block: whether it is the last one of the parts.
  Value isLastPart();

private:
  Value cacheRow(Value j);
  Value packedRow(Value j);
  Value positionOf(Value row);
  Value findLow(Value j);
  void fillWeighing(Value r, Value j, Value head);
  void fill(Value r, Value queries);
  void findRange();
  void compute(Value r);

  Kernel::Inside &in;
  kernel::AttentionOp op;
  HeadShape shape;
  Device &code;
  Value sequence, kvHead, firstRow, length;
  Value places, lows, highs, doubts, slopes, selves;
};

/// A stage for tiles of a size.
struct StageShape {
  int64_t threads, shared; ///< as of Kernel::stage
  int64_t rows;            ///< of a tile
  /// Keys of which a block may take a multiple, where the kernel has a
  /// workspace; 0: it takes all.
  int64_t keys;
  std::function<void(Kernel::Inside &in, RowTile &tile)> body;
};
/// Adds a stage for many rows in a sequence, and a narrow one for few; a launch
/// runs one of them.
void addStages(Kernel &kernel, kernel::AttentionOp op,
               llvm::function_ref<StageShape(bool narrow)> shapeOf);

/// Adds stages for a kernel on which the class has been checked. With products
/// of single numbers, for every type and width of a head.
void addScalarStages(Kernel &kernel, kernel::AttentionOp op);
/// On tensor cores, for heads that take them.
void addTensorStages(Kernel &kernel, kernel::AttentionOp op);
bool takesTensorCores(kernel::AttentionOp op);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_ATTENTION_H
