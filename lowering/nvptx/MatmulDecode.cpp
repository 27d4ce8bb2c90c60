//===- MatmulDecode.cpp - products for few rows ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With 16 rows or less, a matmul is as fast as its weights are read. They go
// from global memory to the registers that an mma takes, 16 bytes a load: the
// order of k in an mma is free if both operands have the same, so lane (g, t) =
// (lane / 4, lane % 4) takes elements 8t to 8t + 7 of each 32 of a row, whose
// words 2h, 2h + 1 are the operand of mma h = 0, 1. Four lanes read 64 bytes of
// a row, all that a sector of 32 holds.
//
// The warps of a block split k: every one takes its part of each 1024 (at the
// batch of 4), and the sums of all warps are added in their order: results do
// not depend on schedules. Nobody else reads the elements of `a` that a lane
// needs, so that these come straight from memory as well.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

static constexpr int64_t warps = 8;
// Elements of k of a step, and of those the ones of a lane.
static constexpr int64_t stepDepth = 32, laneDepth = 8;
// Rows of weights whose chunks a warp loads at once, a group of lanes each.
static constexpr int64_t slots = 8;
// Blocks that fill a device: two for each of the 108 multiprocessors of sm_80.
static constexpr int64_t enoughBlocks = 216;

DecodeTile DecodeTile::of(const Matmul &matmul) {
  DecodeTile tile{{16, 0, warps * warpSize}, 0, 0};
  // Wide tiles read `a` less often; four accumulators are enough.
  tile.perSlot = 4 / matmul.products;
  // A slice of squares is one block's.
  kernel::MatmulOp op = matmul.op;
  while (tile.perSlot > 1 && !(op && op.getSquares()) &&
         matmul.columns / (slots * tile.perSlot) < enoughBlocks)
    tile.perSlot /= 2;
  tile.columns = slots * tile.perSlot;
  while (tile.perSlot < 4 && !tile.canTake(matmul)) {
    tile.perSlot *= 2;
    tile.columns = slots * tile.perSlot;
  }
  // A batch of all warps should not be longer than the sum.
  tile.batch = 4;
  while (tile.batch > 1 && tile.batch * warps * stepDepth > matmul.depth)
    tile.batch /= 2;
  return tile;
}

/// Lanes store 8 or 16 bytes, four lanes a row: a pitch that puts the rows of
/// one access side by side.
static Sums sumsOf(const Matmul &matmul, const DecodeTile &tile) {
  Sums sums(matmul, tile, /*wide=*/true, tile.perSlot == 4 ? 4 : 8, /*gap=*/0);
  if (sums.split || tile.perSlot == 2)
    return Sums(matmul, tile, /*wide=*/true, tile.perSlot == 1 ? 8 : 16, 0);
  return sums;
}

int64_t DecodeTile::sharedBytes(const Matmul &matmul) const {
  int64_t bytes = sumsOf(matmul, *this).bytes;
  return std::max(warps * bytes, bytes + epilogueBytes(matmul));
}

namespace {

class DecodeKernel {
public:
  DecodeKernel(Kernel::Inside &in, const Matmul &matmul, const DecodeTile &tile,
               const Place &place)
      : in(in), code(in.code), matmul(matmul), tile(tile), place(place),
        isNarrow(matmul.streamed == matmul.stored) {}
  void run();

private:
  void findSources();
  SmallVector<Value> load(ArrayRef<Value> pointers, int64_t batches,
                          int64_t step, Value isInside);
  void multiply(ArrayRef<Value> step, SmallVectorImpl<Value> &sums);
  void storeSums(const Sums &area, ArrayRef<Value> sums);
  void addWarps(const Sums &area);

  /// Values of a step: the words of weights, then of rows.
  int64_t weightWords() const { return matmul.products * tile.perSlot * 4; }
  int64_t rowWords() const { return 2 * (isNarrow ? 4 : 8); }

  Kernel::Inside &in;
  Device &code;
  const Matmul &matmul;
  const DecodeTile &tile;
  const Place &place;
  const bool isNarrow;
  Value warp, group, inGroup;
  SmallVector<Value> sources; ///< of weights, then of the rows g and g + 8
};
} // namespace

void DecodeKernel::findSources() {
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  warp = code.div(code.thread32(), code.i32(warpSize));
  group = code.div(lane, code.i32(4));
  inGroup = code.rem(lane, code.i32(4));
  Value k =
      code.widen(code.add(code.mul(warp, code.i32(tile.batch * stepDepth)),
                          code.mul(inGroup, code.i32(laneDepth))));
  int64_t bytes = matmul.bytesOf(matmul.stored);
  Value first = code.mul(group, code.i32(tile.perSlot));
  for (int64_t p = 0; p < matmul.products; ++p) {
    Matrix matrix = matrixOf(in, matmul, place, p);
    for (int64_t j = 0; j < tile.perSlot; ++j) {
      Value row = matrixRow(code, matmul, place, code.add(first, code.i32(j)));
      Value index = code.add(code.mul(code.widen(row), matrix.stride), k);
      sources.push_back(code.byteAt(matrix.pointer, code.mul(index, bytes)));
    }
  }
  bytes = matmul.bytesOf(matmul.streamed);
  Value base = code.global(in[matmul.a].pointer);
  Value last = code.sub(place.rows, code.i32(1));
  for (int64_t half = 0; half < 2; ++half) {
    Value row = code.add(group, code.i32(8 * half));
    // Rows behind the last are copies of it, whose sums nobody reads.
    row = code.add(place.row, code.min(row, last));
    Value index = streamRow(in, matmul, place, row, matmul.gathers);
    index = code.add(code.mul(index, matmul.depth), k);
    sources.push_back(code.byteAt(base, code.mul(index, bytes)));
  }
}

// Values of step `step` of the batch `batches` behind the pointers' one; zeros
// where `isInside` (null: everywhere) does not hold.
SmallVector<Value> DecodeKernel::load(ArrayRef<Value> pointers, int64_t batches,
                                      int64_t step, Value isInside) {
  SmallVector<Value> result;
  int64_t position = (batches * warps * tile.batch + step) * stepDepth;
  auto words = [&](Value pointer, Type word, int64_t bytes, Value condition) {
    auto type = VectorType::get({4}, word);
    Value zero = word.isF32() ? code.splat(0, 4) : code.splatI32(0, 4);
    auto get = [&] {
      return Value(
          LLVM::LoadOp::create(code, type, code.byteAt(pointer, bytes), 16));
    };
    Value vector = condition ? code.valueIf(condition, get, zero) : get();
    for (int64_t i = 0; i < 4; ++i)
      result.push_back(vector::ExtractOp::create(code, vector, i));
  };
  Type i32 = code.getI32Type(), f32 = code.getF32Type();
  int64_t weights = matmul.products * tile.perSlot;
  for (int64_t i = 0; i < weights; ++i)
    words(pointers[i], i32, position * matmul.bytesOf(matmul.stored), isInside);
  for (int64_t half = 0; half < 2; ++half) {
    Value from = pointers[weights + half];
    int64_t byte = position * matmul.bytesOf(matmul.streamed);
    words(from, isNarrow ? i32 : f32, byte, isInside);
    if (!isNarrow)
      words(from, f32, byte + 16, isInside);
  }
  return result;
}

void DecodeKernel::multiply(ArrayRef<Value> step,
                            SmallVectorImpl<Value> &sums) {
  ArrayRef<Value> weights = step.take_front(weightWords());
  ArrayRef<Value> rows = step.drop_front(weightWords());
  SmallVector<Value> packed;
  if (!isNarrow) {
    for (size_t i = 0; i < rows.size(); i += 2)
      packed.push_back(code.packPair(matmul.stored, rows[i], rows[i + 1]));
    rows = packed;
  }
  for (int64_t h = 0; h < 2; ++h) {
    Value a[4] = {rows[2 * h], rows[4 + 2 * h], rows[2 * h + 1],
                  rows[4 + 2 * h + 1]};
    for (int64_t i = 0; i < matmul.products * tile.perSlot; ++i) {
      MutableArrayRef<Value> sum = MutableArrayRef<Value>(sums).slice(4 * i, 4);
      SmallVector<Value> next =
          code.multiply(matmul.stored, a, weights.slice(4 * i + 2 * h, 2),
                        SmallVector<Value>(sum));
      llvm::copy(next, sum.begin());
    }
  }
}

// A lane has rows g and g + 8, of the slots 2t and 2t + 1.
void DecodeKernel::storeSums(const Sums &area, ArrayRef<Value> sums) {
  Value column = code.mul(inGroup, code.i32(2 * tile.perSlot));
  Value base =
      code.add(code.sharedAddress(),
               code.add(code.mul(warp, code.i32(area.bytes)),
                        code.mul(code.add(code.mul(group, code.i32(area.pitch)),
                                          area.offset(code, column)),
                                 code.i32(4))));
  base = code.opaque(base);
  int64_t width = std::min<int64_t>(2 * tile.perSlot, 4);
  for (int64_t p = 0; p < matmul.products; ++p)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t c = 0; c < 2 * tile.perSlot; c += width) {
        Value vector = code.splat(0, width);
        for (int64_t e = 0; e < width; ++e) {
          int64_t slot = (c + e) / tile.perSlot, j = (c + e) % tile.perSlot;
          vector = vector::InsertOp::create(
              code, sums[4 * (p * tile.perSlot + j) + 2 * half + slot], vector,
              e);
        }
        int64_t r = p * tile.rows + half * 8;
        code.storeWide(
            code.getF32Type(), vector,
            code.sharedAt(base, Value(),
                          (r * area.pitch + (area.split && c ? area.half : c)) *
                              4));
      }
}

void DecodeKernel::addWarps(const Sums &area) {
  int64_t count = matmul.products * tile.rows * tile.columns;
  Value base = code.sharedAddress();
  code.share(code.i64(count), [&](Value index) {
    Value i = code.narrow(index);
    Value place = code.add(
        code.mul(code.div(i, code.i32(tile.columns)), code.i32(area.pitch)),
        code.rem(i, code.i32(tile.columns)));
    Value at = code.add(base, code.mul(place, code.i32(4)));
    Type f32 = code.getF32Type();
    Value sum = code.load(f32, code.sharedAt(at, Value(), 0));
    for (int64_t w = 1; w < warps; ++w)
      sum = code.fadd(
          sum, code.load(f32, code.sharedAt(at, Value(), w * area.bytes)));
    code.store(sum, code.sharedAt(at, Value(), 0));
  });
}

void DecodeKernel::run() {
  findSources();
  int64_t batchDepth = tile.batch * warps * stepDepth;
  int64_t whole = matmul.depth / batchDepth;
  int64_t batches = llvm::divideCeil(matmul.depth, batchDepth);
  SmallVector<Value> sums(matmul.products * tile.perSlot * 4, code.f32(0));
  // Whether the lane's chunk is there, of batch `batch`.
  auto isInside = [&](int64_t batch, int64_t step) {
    if (batch < whole)
      return Value();
    Value mine = code.add(code.mul(warp, code.i32(tile.batch * stepDepth)),
                          code.mul(inGroup, code.i32(laneDepth)));
    return code.less(
        mine, code.i32(matmul.depth - batch * batchDepth - step * stepDepth));
  };
  size_t words = weightWords() + rowWords();
  auto stepOf = [&](ArrayRef<Value> batch, int64_t step) {
    return batch.slice(step * words, words);
  };
  SmallVector<Value> batch;
  for (int64_t s = 0; s < tile.batch; ++s)
    llvm::append_range(batch, load(sources, 0, s, isInside(0, s)));
  // Multiplies a batch and loads the next one into the registers as they
  // become free.
  auto once = [&](ArrayRef<Value> pointers, SmallVectorImpl<Value> &batch,
                  SmallVectorImpl<Value> &sums, int64_t batches,
                  int64_t nextBatch) {
    SmallVector<Value> next;
    for (int64_t s = 0; s < tile.batch; ++s) {
      multiply(stepOf(batch, s), sums);
      llvm::append_range(next,
                         load(pointers, batches, s, isInside(nextBatch, s)));
    }
    batch.assign(next.begin(), next.end());
  };
  // Passes load whole batches only.
  int64_t passes = std::max<int64_t>(0, whole - 1);
  SmallVector<Value> pointers = sources;
  if (passes) {
    SmallVector<Value> carried = pointers;
    llvm::append_range(carried, sums);
    llvm::append_range(carried, batch);
    size_t counts[] = {pointers.size(), sums.size()};
    // A loop even of one pass: in a line, ptxas would sink the loads to where
    // their values are needed.
    Value bound = code.widen(code.opaque(code.i32(passes)));
    carried = code.loop(
        code.i64(0), bound, 1, carried, [&](Value, ValueRange values) {
          SmallVector<Value> at(values.take_front(counts[0]));
          SmallVector<Value> sums(values.slice(counts[0], counts[1]));
          SmallVector<Value> batch(values.drop_front(counts[0] + counts[1]));
          once(at, batch, sums, 1, 0);
          SmallVector<Value> result;
          for (auto [i, pointer] : llvm::enumerate(at)) {
            Type type = i + 2 < at.size() ? matmul.stored : matmul.streamed;
            result.push_back(
                code.byteAt(pointer, batchDepth * matmul.bytesOf(type)));
          }
          result.append(sums);
          result.append(batch);
          return result;
        });
    code.keepRolled(carried.front());
    ArrayRef<Value> all(carried);
    // See loopUnrolled() in MatmulTensor.cpp.
    pointers.clear();
    for (Value pointer : all.take_front(counts[0]))
      pointers.push_back(code.opaquePointer(pointer));
    sums.assign(all.begin() + counts[0], all.begin() + counts[0] + counts[1]);
    batch.assign(all.begin() + counts[0] + counts[1], all.end());
  }
  if (batches > passes + 1)
    once(pointers, batch, sums, 1, passes + 1);
  for (int64_t s = 0; s < tile.batch; ++s)
    multiply(stepOf(batch, s), sums);
  Sums area = sumsOf(matmul, tile);
  storeSums(area, sums);
  code.barrier();
  addWarps(area);
  code.barrier();
  epilogue(in, matmul, tile, place, area, /*wide=*/true);
}

void nvptx::multiplyForDecode(Kernel::Inside &in, const Matmul &matmul,
                              const DecodeTile &tile) {
  Device &code = in.code;
  Place place = findPlace(in, matmul, tile);
  place.factors = tile.sharedBytes(matmul);
  code.when(code.less(code.i32(0), place.rows), [&] {
    writeFactors(in, matmul, tile, place, /*wide=*/true);
    DecodeKernel(in, matmul, tile, place).run();
  });
}
