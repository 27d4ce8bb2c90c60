//===- Sources.h - sources of families of row sets --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Indices are packed over the sequences of a batch, so a block that writes
// those of a sequence has to know how many rows the sequences before it have.
//
// select: a block for each sequence. Of a capacity over all rows these numbers
// are all the same; else a stage counts the sequences but the last one, and a
// single sequence needs no such stage. The rows of largest scores are found by
// a radix select: four rounds of a histogram of eight bits of the keys.
//
// partition and assign are stable counting sorts over the whole batch. The sets
// of rows are made by as many blocks as there are rows (they wait in the table
// of orders); then one block sorts: about 300 instructions a warp for 4096
// rows, which are over before a second and third launch would begin.
//
// Nothing but counts goes through atomics: results do not depend on the order
// of threads.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_SOURCES_H
#define NESTC_LOWERING_NVPTX_SOURCES_H

#include "lowering/nvptx/Generator.h"

#include <limits>

namespace nestc::nvptx {

/// Threads of blocks, for short and for long sequences.
inline constexpr int64_t fewThreads = 256, manyThreads = 1024;

/// At the start of a stage: threads may have all the registers of a block. The
/// assembler would rather spill than fit fewer blocks to a multiprocessor.
void useAllRegisters(Device &code);

/// The set of another family whose rows a source takes, if there is one.
struct Outer {
  Value offsets, order, counts;
  Sets sets;
};

template <typename SourceOp>
Outer outerOf(SourceOp op) {
  return {op.getOuterOffsets(), op.getOuterOrder(), op.getOuterCounts(),
          op.getOuterSets()};
}

/// The tables that a source writes.
struct Tables {
  template <typename SourceOp>
  Tables(Kernel::Inside &in, SourceOp op)
      : indices(in[op.getIndices()]), offsets(in[op.getOffsets()]),
        order(in[op.getOrder()]), counts(in[op.getCounts()]) {}
  const Buffer &indices, &offsets, &order, &counts;

  Value tokens() const { return order.sizes[1]; }
  Value batch() const { return counts.sizes[0]; }
};

/// The rows of a source's input that are a sequence's.
struct Candidates {
  Value first, rows;
};

/// Fails with an error at the source when it has buffers of other types.
template <typename SourceOp>
mlir::LogicalResult checkSource(SourceOp op) {
  if constexpr (!std::is_same_v<SourceOp, kernel::PartitionOp>) {
    if (!mlir::cast<mlir::MemRefType>(op.getScores().getType())
             .getElementType()
             .isF32())
      return op.emitOpError("takes scores of ") << op.getScores().getType();
  }
  return checkI32(
      op, {op.getIndices(), op.getOffsets(), op.getOrder(), op.getCounts()});
}

/// The grid of a stage with a block for each sequence, of batches whose
/// sequences have `least` < T <= `most` rows. `skipped` sequences have no
/// block.
template <typename SourceOp>
std::function<Grid(Code &, llvm::ArrayRef<Buffer>)>
perSequence(Kernel &kernel, SourceOp op, int64_t skipped = 0,
            int64_t least = -1,
            int64_t most = std::numeric_limits<int64_t>::max()) {
  unsigned place = kernel.indexOf(op.getOrder());
  return [=](Code &host, llvm::ArrayRef<Buffer> buffers) {
    Value batch = host.max(host.sub(buffers[place].sizes[0], skipped), 0);
    Value tokens = buffers[place].sizes[1];
    batch = host.select(host.less(host.i64(least), tokens), batch, host.i64(0));
    batch = host.select(host.less(host.i64(most), tokens), host.i64(0), batch);
    return Grid{batch, {}, {}};
  };
}

//===----------------------------------------------------------------------===//
// Numbers of a block
//===----------------------------------------------------------------------===//

/// Room in shared memory for an i32 of each warp that a block may have, so that
/// every lane can read the number of a warp.
inline constexpr int64_t roomBytes = warpSize * 4;

/// &words[index] of i32 in shared memory.
Value wordAt(Device &code, Value pointer, Value index);
/// Writes a number of the warp, which the last lane has. Others read it after a
/// barrier.
void writeOfWarp(Device &code, Value room, Value number);
/// The sum of the numbers of all warps, and of those before the own one.
Value sumOfWarps(Device &code, Value room);
Value sumBefore(Device &code, Value room);
/// The rows of sequence b. Within a set they lie one after the other as well.
/// Uses two rooms at byte `room`, and a barrier.
Candidates candidatesOf(Kernel::Inside &in, const Outer &outer, Value tokens,
                        Value b, int64_t room);

/// i32 whose order without a sign is that of scores, the largest first: -0 is
/// 0, and NaN the last, ~0.
Value keyOf(Device &code, Value score);

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_SOURCES_H
