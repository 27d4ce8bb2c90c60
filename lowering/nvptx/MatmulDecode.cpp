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
// Warps of a block have columns of their own and share rows of `a`, which lie
// in shared memory as mmas take them: of each 32 of k two quads for each lane.
//
// With a workspace, blocks split k. Each leaves its sums there and takes a
// ticket; the one with the last ticket adds them in the order of k, so that
// results do not depend on schedules.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

// Elements of k of a step, and of those the ones of a lane.
static constexpr int64_t stepDepth = 32, laneDepth = 8;
// Steps whose weights a warp loads at once: a batch.
static constexpr int64_t batchSteps = fewRowsDepth / stepDepth;
// Batches whose rows of `a` are in shared memory at once.
static constexpr int64_t chunkBatches = 8;
// Rows of weights whose chunks a warp loads at once, a group of lanes each.
static constexpr int64_t slots = 8;
// Bytes of a quad of all lanes, and of a step: two of them.
static constexpr int64_t quadBytes = warpSize * 16, stepBytes = 2 * quadBytes;
// Steps of `a` that a warp loads before it stores them.
static constexpr int64_t stagedAtOnce = 4;

DecodeTile DecodeTile::of(const Matmul &matmul) {
  int64_t warps = 4;
  DecodeTile tile{{fewRows, 0, 0}, 4 / matmul.products, 1, 0};
  int64_t warpColumns = slots * tile.perSlot;
  while (warps > 1 && warps / 2 * warpColumns >= matmul.columns)
    warps /= 2;
  tile.columns = warps * warpColumns;
  tile.threads = warps * warpSize;
  tile.batches = matmul.depth / fewRowsDepth;
  if (matmul.workspace && tile.batches > 1) {
    auto room = cast<MemRefType>(matmul.workspace.getType());
    int64_t all = tile.batches;
    tile.batches = llvm::divideCeil(all, std::min(all, room.getDimSize(0)));
    tile.splits = llvm::divideCeil(all, tile.batches);
  }
  return tile;
}

int64_t DecodeTile::tickets(const Matmul &matmul) const {
  return columnTiles(matmul) * std::min(matmul.groups, fewRows);
}

/// Lanes store 16 bytes, four lanes a row: a pitch, and a distance of halves,
/// that put what eight lanes store side by side.
static Sums sumsOf(const Matmul &matmul, const DecodeTile &tile) {
  bool isPair = tile.perSlot == 2;
  int64_t gap = isPair ? (8 + 16 - tile.columns / 2 % 16) % 16 : 0;
  Sums sums(matmul, tile, /*wide=*/true, /*residue=*/isPair ? 16 : 4, gap);
  return sums.split ? Sums(matmul, tile, /*wide=*/true, /*residue=*/16, gap)
                    : sums;
}

/// Steps of `a` that there is room for.
static int64_t stagedSteps(const DecodeTile &tile) {
  int64_t batches = std::clamp<int64_t>(tile.batches, 1, chunkBatches);
  return llvm::alignTo(batches * batchSteps,
                       stagedAtOnce * tile.threads / warpSize);
}

int64_t DecodeTile::sharedBytes(const Matmul &matmul) const {
  return std::max(stagedSteps(*this) * stepBytes,
                  sumsOf(matmul, *this).bytes + epilogueBytes(matmul));
}

namespace {

class DecodeKernel {
public:
  DecodeKernel(Kernel::Inside &in, const Matmul &matmul, const DecodeTile &tile,
               const Place &place)
      : in(in), code(in.code), matmul(matmul), tile(tile), place(place),
        isNarrow(matmul.streamed == matmul.stored) {}
  void run(function_ref<void(const Sums &)> finish);

private:
  /// Of a product, rows that lanes load in a slot: `stride` bytes apart.
  struct Weight {
    Value from;
    Value stride; ///< i64; null if it is `constant`
    int64_t constant = 0;
  };
  /// Four sums of a lane side by side: of a product, row g + 8 * half, and
  /// columns from the lane's first one + `column` on.
  struct Quad {
    int64_t product, half, column;
  };

  void findSources();
  void stage(Value first, Value steps, bool isRest);
  void load(ValueRange pointers, int64_t step, Value isInside,
            SmallVectorImpl<Value> &words);
  void multiply(Value rows, int64_t step, ArrayRef<Value> words,
                SmallVectorImpl<Value> &sums);
  void addBatches(SmallVectorImpl<Value> &sums);
  void addRest(SmallVectorImpl<Value> &sums);

  SmallVector<Quad> quads() const;
  Value quadOf(const Quad &quad, ArrayRef<Value> sums);
  Value workspaceAt(const Quad &quad, Value split);
  void leaveSums(ArrayRef<Value> sums);
  Value takeTicket();
  void addSplits(SmallVectorImpl<Value> &sums);
  void storeSums(const Sums &area, ArrayRef<Value> sums);

  int64_t warps() const { return tile.threads / warpSize; }
  int64_t stepWords() const { return matmul.products * tile.perSlot * 4; }
  /// The value of all splits but the last, and of the last.
  Value ofSplit(int64_t others, int64_t last) {
    if (tile.splits == 1 || others == last)
      return code.i32(last);
    return code.select(isLast, code.i32(last), code.i32(others));
  }

  Kernel::Inside &in;
  Device &code;
  const Matmul &matmul;
  const DecodeTile &tile;
  const Place &place;
  const bool isNarrow;
  Value warp, group, inGroup;
  Value split, isLast; ///< null with one split
  SmallVector<Weight> weights;
  Value rows[2]; ///< of `a`: g and g + 8, from the split's first k on
};
} // namespace

/// Elements from row to row of all matrices, where it is known to be one
/// number.
static std::optional<int64_t> strideOf(const Matmul &matmul) {
  std::optional<int64_t> result;
  for (const Segment &segment : matmul.segments)
    for (Value weight : segment.weights) {
      SmallVector<int64_t> strides;
      int64_t offset;
      if (failed(cast<MemRefType>(weight.getType())
                     .getStridesAndOffset(strides, offset)) ||
          ShapedType::isDynamic(strides[0]) ||
          (result && *result != strides[0]))
        return std::nullopt;
      result = strides[0];
    }
  return result;
}

void DecodeKernel::findSources() {
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  warp = code.div(code.thread32(), code.i32(warpSize));
  group = code.div(lane, code.i32(4));
  inGroup = code.rem(lane, code.i32(4));
  Value k = code.mul(inGroup, code.i32(laneDepth));
  if (tile.splits > 1) {
    split = code.block32(1);
    isLast = code.equal(code.widen(split), tile.splits - 1);
    k = code.add(k, code.mul(split, code.i32(tile.batches * fewRowsDepth)));
  }
  k = code.widen(k);
  // Slots are whole: columns, and what a tile has side by side, are multiples
  // of 4.
  Value first = code.mul(code.add(code.mul(warp, code.i32(slots)), group),
                         code.i32(tile.perSlot));
  Value row = matrixRow(code, matmul, place, first, tile.perSlot);
  int64_t bytes = matmul.bytesOf(matmul.stored);
  for (int64_t p = 0; p < matmul.products; ++p) {
    Matrix matrix = matrixOf(in, matmul, place, p);
    Value index = code.add(code.mul(code.widen(row), matrix.stride), k);
    Weight weight{code.byteAt(matrix.pointer, code.mul(index, bytes)),
                  code.mul(matrix.stride, bytes)};
    // An immediate of a load has 24 bits.
    if (std::optional<int64_t> stride = strideOf(matmul);
        stride && *stride * bytes * tile.perSlot < (1 << 22))
      weight = {weight.from, Value(), *stride * bytes};
    weights.push_back(weight);
  }
  bytes = matmul.bytesOf(matmul.streamed);
  Value base = code.global(in[matmul.a].pointer);
  Value last = code.sub(place.rows, code.i32(1));
  for (int64_t half = 0; half < 2; ++half) {
    Value row = code.min(code.add(group, code.i32(8 * half)), last);
    Value index =
        streamRow(in, matmul, place, code.add(place.row, row), matmul.gathers);
    index = code.add(code.mul(index, matmul.depth), k);
    rows[half] = code.byteAt(base, code.mul(index, bytes));
  }
}

// Brings `steps` steps of `a`, from step `first` of the split on, to shared
// memory. What is no row, or behind the depth (which only the rest reaches), is
// zero.
void DecodeKernel::stage(Value first, Value steps, bool isRest) {
  int64_t bytes = matmul.bytesOf(matmul.streamed);
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  Value base = code.add(code.sharedAddress(),
                        code.add(code.mul(warp, code.i32(stepBytes)),
                                 code.mul(lane, code.i32(16))));
  Value isRow[2];
  for (int64_t half = 0; half < 2; ++half)
    isRow[half] = code.less(code.add(group, code.i32(8 * half)), place.rows);
  auto some = [&](Value done) {
    SmallVector<SmallVector<Value>> loaded; // of each step and half 4 words
    for (int64_t i = 0; i < stagedAtOnce; ++i) {
      Value step = code.add(code.add(done, warp), code.i32(i * warps()));
      Value isThere = code.less(step, steps);
      if (isRest)
        isThere = code.less(code.add(code.mul(step, code.i32(stepDepth)),
                                     code.mul(inGroup, code.i32(laneDepth))),
                            code.i32(matmul.depth % fewRowsDepth));
      Value byte = code.widen(
          code.mul(code.add(first, step), code.i32(stepDepth * bytes)));
      for (int64_t half = 0; half < 2; ++half) {
        Value from = code.byteAt(rows[half], byte);
        auto get = [&] {
          SmallVector<Value> words;
          Type word = isNarrow ? Type(code.getI32Type()) : code.getF32Type();
          auto type = VectorType::get({4}, word);
          for (int64_t at = 0; at < laneDepth * bytes; at += 16) {
            Value vector =
                LLVM::LoadOp::create(code, type, code.byteAt(from, at), 16);
            for (int64_t e = 0; e < 4; ++e)
              words.push_back(vector::ExtractOp::create(code, vector, e));
          }
          if (isNarrow)
            return words;
          SmallVector<Value> packed;
          for (size_t e = 0; e < words.size(); e += 2)
            packed.push_back(
                code.packPair(matmul.stored, words[e], words[e + 1]));
          return packed;
        };
        SmallVector<Value> zeros(4, code.i32(0));
        loaded.push_back(code.choose(
            arith::AndIOp::create(code, isThere, isRow[half]), zeros, get));
      }
    }
    Value to = code.add(base, code.mul(done, code.i32(stepBytes)));
    for (int64_t i = 0; i < stagedAtOnce; ++i)
      for (int64_t h = 0; h < 2; ++h) {
        Value quad = LLVM::PoisonOp::create(code, code.i32Vector(4));
        for (int64_t e = 0; e < 4; ++e)
          quad = vector::InsertOp::create(
              code, loaded[2 * i + e % 2][2 * h + e / 2], quad, e);
        LLVM::StoreOp::create(
            code, quad,
            code.sharedAt(to, Value(), i * warps() * stepBytes + h * quadBytes),
            16);
      }
  };
  int64_t atOnce = stagedAtOnce * warps();
  if (isRest || stagedSteps(tile) == atOnce) {
    some(code.i32(0));
    return;
  }
  code.loop(code.i64(0), code.widen(steps), atOnce,
            [&](Value done) { some(code.narrow(done)); });
}

// Appends the weights of a step of the batch at `pointers`; zeros where
// `isInside` (null: everywhere) does not hold.
void DecodeKernel::load(ValueRange pointers, int64_t step, Value isInside,
                        SmallVectorImpl<Value> &words) {
  auto type = code.i32Vector(4);
  for (auto [weight, pointer] : llvm::zip(weights, pointers))
    for (int64_t j = 0; j < tile.perSlot; ++j) {
      int64_t byte = step * stepDepth * matmul.bytesOf(matmul.stored);
      Value from =
          weight.stride
              ? code.byteAt(code.byteAt(pointer, code.mul(weight.stride, j)),
                            byte)
              : code.byteAt(pointer, j * weight.constant + byte);
      auto get = [&] {
        return Value(LLVM::LoadOp::create(code, type, from, 16));
      };
      Value vector =
          isInside ? code.valueIf(isInside, get, code.splatI32(0, 4)) : get();
      for (int64_t e = 0; e < 4; ++e)
        words.push_back(vector::ExtractOp::create(code, vector, e));
    }
}

// Adds the products of a step with the step of `a` that is number `step` at
// `rows`.
void DecodeKernel::multiply(Value rows, int64_t step, ArrayRef<Value> words,
                            SmallVectorImpl<Value> &sums) {
  for (int64_t h = 0; h < 2; ++h) {
    Value quad = LLVM::LoadOp::create(
        code, code.i32Vector(4),
        code.sharedAt(rows, Value(), step * stepBytes + h * quadBytes), 16);
    SmallVector<Value> a;
    for (int64_t e = 0; e < 4; ++e)
      a.push_back(vector::ExtractOp::create(code, quad, e));
    for (int64_t i = 0; i < matmul.products * tile.perSlot; ++i) {
      MutableArrayRef<Value> sum = MutableArrayRef<Value>(sums).slice(4 * i, 4);
      SmallVector<Value> next =
          code.multiply(matmul.stored, a, words.slice(4 * i + 2 * h, 2),
                        SmallVector<Value>(sum));
      llvm::copy(next, sum.begin());
    }
  }
}

// The whole batches of the split. Each is loaded while the one before it is
// multiplied.
void DecodeKernel::addBatches(SmallVectorImpl<Value> &sums) {
  int64_t all = matmul.depth / fewRowsDepth;
  // Never a constant (with one split, the block's y is 0): ptxas moves the
  // loads of a loop whose passes it can count to its start, with copies at the
  // end.
  Value count =
      code.min(code.i32(tile.batches),
               code.sub(code.i32(all),
                        code.mul(code.block32(1), code.i32(tile.batches))));
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  Value start =
      code.opaque(code.add(code.sharedAddress(), code.mul(lane, code.i32(16))));
  SmallVector<Value> pointers;
  for (const Weight &weight : weights)
    pointers.push_back(weight.from);
  size_t places = pointers.size(), numSums = sums.size();
  SmallVector<Value> batch;
  for (int64_t s = 0; s < batchSteps; ++s)
    load(pointers, s, Value(), batch);

  // Carried: rows of `a`, pointers of the batch behind the loaded one, sums,
  // the loaded batch.
  SmallVector<Value> carried{start};
  for (Value pointer : pointers)
    carried.push_back(pointer);
  llvm::append_range(carried, sums);
  llvm::append_range(carried, batch);
  auto wordsOf = [&](ArrayRef<Value> batch, int64_t step) {
    return batch.slice(step * stepWords(), stepWords());
  };
  auto once = [&](Value, ValueRange values) {
    SmallVector<Value> all(values);
    Value rows = all[0];
    SmallVector<Value> next;
    for (Value pointer : ArrayRef(all).slice(1, places))
      next.push_back(
          code.byteAt(pointer, fewRowsDepth * matmul.bytesOf(matmul.stored)));
    SmallVector<Value> sums(ArrayRef(all).slice(1 + places, numSums));
    ArrayRef<Value> batch = ArrayRef(all).drop_front(1 + places + numSums);
    SmallVector<Value> loaded;
    for (int64_t s = 0; s < batchSteps; ++s) {
      multiply(rows, s, wordsOf(batch, s), sums);
      load(next, s, Value(), loaded);
    }
    SmallVector<Value> result{code.add(rows, code.i32(batchSteps * stepBytes))};
    llvm::append_range(result, next);
    llvm::append_range(result, sums);
    llvm::append_range(result, loaded);
    return result;
  };
  auto chunk = [&](Value first, SmallVector<Value> carried) {
    Value left = code.sub(count, first);
    Value here = tile.batches > chunkBatches
                     ? code.min(left, code.i32(chunkBatches))
                     : left;
    stage(code.mul(first, code.i32(batchSteps)),
          code.mul(here, code.i32(batchSteps)), /*isRest=*/false);
    code.barrier();
    carried[0] = start;
    // The last batch of all has none behind it.
    Value passes = code.min(here, code.sub(left, code.i32(1)));
    carried = code.loop(code.i64(0), code.widen(passes), 1, carried, once);
    code.keepRolled(carried.front());
    return carried;
  };
  if (tile.batches <= chunkBatches) {
    carried = chunk(code.i32(0), carried);
  } else {
    carried = code.loop(code.i64(0), code.widen(count), chunkBatches, carried,
                        [&](Value first, ValueRange values) {
                          code.barrier();
                          return chunk(code.narrow(first),
                                       SmallVector<Value>(values));
                        });
    code.keepRolled(carried.front());
  }
  sums.assign(carried.begin() + 1 + places,
              carried.begin() + 1 + places + numSums);
  batch.assign(carried.begin() + 1 + places + numSums, carried.end());
  for (int64_t s = 0; s < batchSteps; ++s)
    multiply(carried[0], s, wordsOf(batch, s), sums);
}

// What of the depth is behind the last whole batch.
void DecodeKernel::addRest(SmallVectorImpl<Value> &sums) {
  code.barrier();
  Value first = ofSplit(
      0, (matmul.depth / fewRowsDepth - (tile.splits - 1) * tile.batches) *
             batchSteps);
  stage(first, code.i32(batchSteps), /*isRest=*/true);
  code.barrier();
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  Value rows = code.add(code.sharedAddress(), code.mul(lane, code.i32(16)));
  SmallVector<Value> pointers;
  for (const Weight &weight : weights)
    pointers.push_back(code.byteAt(
        weight.from,
        code.widen(code.mul(
            first, code.i32(stepDepth * matmul.bytesOf(matmul.stored))))));
  SmallVector<SmallVector<Value>> steps(batchSteps);
  for (int64_t s = 0; s < batchSteps; ++s)
    load(pointers, s,
         code.less(code.mul(inGroup, code.i32(laneDepth)),
                   code.i32(matmul.depth % fewRowsDepth - s * stepDepth)),
         steps[s]);
  for (int64_t s = 0; s < batchSteps; ++s)
    multiply(rows, s, steps[s], sums);
}

//===----------------------------------------------------------------------===//
// Sums. A lane has rows g and g + 8, of the slots 2t and 2t + 1.
//===----------------------------------------------------------------------===//

SmallVector<DecodeKernel::Quad> DecodeKernel::quads() const {
  SmallVector<Quad> result;
  for (int64_t p = 0; p < matmul.products; ++p)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t c = 0; c < 2 * tile.perSlot; c += 4)
        result.push_back({p, half, c});
  return result;
}

/// Where the sum of an element of a quad is among those of the lane.
static int64_t sumOf(int64_t perSlot, int64_t product, int64_t half,
                     int64_t column) {
  return 4 * (product * perSlot + column % perSlot) + 2 * half +
         column / perSlot;
}

Value DecodeKernel::quadOf(const Quad &quad, ArrayRef<Value> sums) {
  Value vector = code.splat(0, 4);
  for (int64_t e = 0; e < 4; ++e)
    vector = vector::InsertOp::create(
        code,
        sums[sumOf(tile.perSlot, quad.product, quad.half, quad.column + e)],
        vector, e);
  return vector;
}

// A row of the workspace has the quads of warps, and of those a product or half
// of the columns after the other, so that four lanes write 64 bytes side by
// side. Rows behind the last are the last.
Value DecodeKernel::workspaceAt(const Quad &quad, Value split) {
  const Buffer &room = in[matmul.workspace];
  Value row = code.min(code.add(group, code.i32(8 * quad.half)),
                       code.sub(place.rows, code.i32(1)));
  row = code.add(code.mul(code.widen(split), room.type.getDimSize(1)),
                 code.widen(code.add(place.row, row)));
  Value tileStart = code.mul(place.tile, code.i32(fewRowsColumns));
  Value at = code.add(tileStart, code.add(code.mul(warp, code.i32(warpSize)),
                                          code.mul(inGroup, code.i32(4))));
  Value index =
      code.add(code.mul(row, room.type.getDimSize(2)), code.widen(at));
  return code.byteAt(code.byteAt(code.global(room.pointer), code.mul(index, 4)),
                     (quad.product + quad.column / 4) * warpSize / 2 * 4);
}

void DecodeKernel::leaveSums(ArrayRef<Value> sums) {
  for (const Quad &quad : quads()) {
    Value row = code.add(group, code.i32(8 * quad.half));
    code.when(code.less(row, place.rows), [&] {
      code.storeWide(code.getF32Type(), quadOf(quad, sums),
                     workspaceAt(quad, split));
    });
  }
}

// Whether this is the block that takes the last ticket of its tile.
Value DecodeKernel::takeTicket() {
  Value tickets = code.global(in[matmul.tickets].pointer);
  return code.isLastBlock(code.atRow(tickets, code.block32(), 4),
                          code.i32(tile.splits - 1));
}

void DecodeKernel::addSplits(SmallVectorImpl<Value> &sums) {
  SmallVector<Quad> all = quads();
  SmallVector<Value> added(all.size(), code.splat(0, 4));
  // Some splits at a time are on their way.
  constexpr int64_t atOnce = 4;
  auto some = [&](Value first, int64_t many, SmallVector<Value> added) {
    SmallVector<Value> loaded;
    for (int64_t i = 0; i < many; ++i)
      for (const Quad &quad : all)
        loaded.push_back(
            code.loadWide(code.getF32Type(),
                          workspaceAt(quad, code.add(first, code.i32(i))), 4));
    for (int64_t i = 0; i < many; ++i)
      for (size_t q = 0; q < all.size(); ++q)
        added[q] = code.fadd(added[q], loaded[i * all.size() + q]);
    return added;
  };
  int64_t whole = tile.splits / atOnce * atOnce;
  if (whole) {
    added = code.loop(code.i64(0), code.i64(whole), atOnce, added,
                      [&](Value first, ValueRange added) {
                        return some(code.narrow(first), atOnce,
                                    SmallVector<Value>(added));
                      });
    code.keepRolled(added.front());
  }
  if (whole < tile.splits)
    added = some(code.i32(whole), tile.splits - whole, added);
  for (auto [quad, vector] : llvm::zip(all, added))
    for (int64_t e = 0; e < 4; ++e)
      sums[sumOf(tile.perSlot, quad.product, quad.half, quad.column + e)] =
          vector::ExtractOp::create(code, vector, e);
}

void DecodeKernel::storeSums(const Sums &area, ArrayRef<Value> sums) {
  Value inTile = code.add(code.mul(warp, code.i32(slots * tile.perSlot)),
                          code.mul(inGroup, code.i32(2 * tile.perSlot)));
  Value base = code.opaque(
      code.add(code.sharedAddress(),
               code.mul(code.add(code.mul(group, code.i32(area.pitch)),
                                 area.offset(code, inTile)),
                        code.i32(4))));
  for (const Quad &quad : quads()) {
    int64_t row = quad.product * tile.rows + quad.half * 8;
    int64_t at = area.split && quad.column ? area.half : quad.column;
    code.storeWide(code.getF32Type(), quadOf(quad, sums),
                   code.sharedAt(base, Value(), (row * area.pitch + at) * 4));
  }
}

void DecodeKernel::run(function_ref<void(const Sums &)> finish) {
  findSources();
  SmallVector<Value> sums(matmul.products * tile.perSlot * 4, code.f32(0));
  if (tile.batches)
    addBatches(sums);
  if (matmul.depth % fewRowsDepth) {
    auto rest = [&] {
      SmallVector<Value> more(sums);
      addRest(more);
      return more;
    };
    sums = isLast ? code.choose(isLast, sums, rest) : rest();
  }
  Sums area = sumsOf(matmul, tile);
  auto end = [&] {
    storeSums(area, sums);
    code.barrier();
    finish(area);
  };
  if (!split) {
    code.barrier();
    end();
    return;
  }
  leaveSums(sums);
  code.when(takeTicket(), [&] {
    addSplits(sums);
    end();
  });
}

void nvptx::sumForDecode(Kernel::Inside &in, const Matmul &matmul,
                         const DecodeTile &tile, const Place &place,
                         function_ref<void(const Sums &)> finish) {
  DecodeKernel(in, matmul, tile, place).run(finish);
}

void nvptx::multiplyForDecode(Kernel::Inside &in, const Matmul &matmul,
                              const DecodeTile &tile) {
  Device &code = in.code;
  Place place = findPlace(in, matmul, tile);
  place.factors = tile.sharedBytes(matmul);
  code.when(code.less(code.i32(0), place.rows), [&] {
    // Of blocks that share a tile, one needs them.
    if (tile.splits == 1)
      writeFactors(in, matmul, tile, place, /*wide=*/true);
    sumForDecode(in, matmul, tile, place, [&](const Sums &area) {
      if (tile.splits > 1 && matmul.normed) {
        writeFactors(in, matmul, tile, place, /*wide=*/true);
        code.barrier();
      }
      epilogue(in, matmul, tile, place, area, /*wide=*/true);
    });
  });
}
