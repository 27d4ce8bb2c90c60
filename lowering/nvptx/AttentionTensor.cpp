//===- AttentionTensor.cpp - attention on tensor cores --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/AttentionTensor.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// A global address of cp.async has an immediate of 12 bits, with a sign.
static constexpr int64_t copyReach = 2048;

TensorSizes::TensorSizes(const HeadShape &shape, bool narrow, int64_t parts,
                         int64_t warps, int64_t keys)
    : narrow(narrow), parts(parts), warps(warps), threads(warps * warpSize),
      keys(keys) {
  steps = llvm::divideCeil(shape.headDim, 16);
  rowBytes = rowBytesOf(shape);
  columnWarps = shape.headDim > 128 ? 2 : 1;
  rowWarps = narrow ? 1 : warps / columnWarps;
  keyWarps = narrow ? warps / columnWarps : 1;
  groupWarps = rowWarps * columnWarps;
  // Whole chunks of 128 bytes: their swizzle is that of the row's start.
  pairs =
      columnWarps == 1
          ? steps
          : static_cast<int64_t>(llvm::alignTo(llvm::divideCeil(steps, 2), 4));
  tiles = columnWarps == 1 ? shape.headDim / 8 : 2 * pairs;
  rows = 16 * rowWarps;
  queryAt = RowTile::bytes(shape, rows);
  stageAt =
      llvm::alignTo(queryAt + rowWarps * steps * parts * fragmentBytes, 128);
  stageBytes = 2 * keys * rowBytes;
  shared = stageAt + keyWarps * 2 * stageBytes;
  // Behind a row its maximum and its sum. Four rows lie in different banks.
  mergeStride = shape.headDim + 2;
  while (mergeStride % 16 != 8)
    ++mergeStride;
  assert((narrow ? 4 * 16 * mergeStride : 2 * rows * rowBytes) <=
             2 * stageBytes &&
         "outputs lie where the stages were");
}

int64_t TensorSizes::rowBytesOf(const HeadShape &shape) {
  return std::max<int64_t>(
      128, llvm::PowerOf2Ceil(static_cast<uint64_t>(2 * shape.headDim)));
}

TensorAttention::TensorAttention(Kernel::Inside &in, kernel::AttentionOp op,
                                 RowTile &tile, const TensorSizes &sizes)
    : in(in), op(op), tile(tile), code(in.code), shape(op), sizes(sizes) {
  findThread(code.thread32());
  shared = code.opaque(code.sharedAddress());
  stages = code.add(shared, code.add(mul(keyWarp, 2 * sizes.stageBytes),
                                     code.i32(sizes.stageAt)));
  first = code.narrow(tile.firstKey);
  end = code.narrow(tile.endKey);
  first = code.add(first, mul(keyWarp, sizes.keys));
}

void TensorAttention::findThread(Value thread) {
  lane = bits(thread, 31);
  warp = code.shiftRight(thread, 5);
  group = code.shiftRight(lane, 2);
  quad = bits(lane, 3);
  Value zero = code.i32(0);
  columnWarp = sizes.columnWarps == 1 ? zero : bits(warp, 1);
  Value other = sizes.columnWarps == 1 ? warp : code.shiftRight(warp, 1);
  rowWarp = sizes.narrow ? zero : other;
  keyWarp = sizes.narrow ? other : zero;
  groupWarp = sizes.narrow ? columnWarp : warp;
}

//===----------------------------------------------------------------------===//
// Copies of keys and values
//===----------------------------------------------------------------------===//

void TensorAttention::sync() {
  if (sizes.groupWarps == 1)
    code.syncWarp();
  else if (sizes.groupWarps == sizes.warps)
    code.barrier();
  else
    code.barrierOf(code.add(keyWarp, code.i32(1)), sizes.groupWarps * warpSize);
}

// A row lies in shared memory with its 16-byte chunks c at c ^ (row & 7), so
// that eight rows of one chunk lie in different banks. A warp copies rows
// that follow each other, one chunk a lane.
void TensorAttention::prepareCopies() {
  int64_t chunks = sizes.rowBytes / 16, bytes = 2 * shape.headDim;
  Value chunk = bits(lane, chunks - 1);
  Value laneRow = code.shiftRight(lane, llvm::Log2_64(chunks));
  Value warpRow = mul(groupWarp, sizes.keys / sizes.groupWarps);
  copyRow = code.add(warpRow, laneRow);
  rowsPerCopy = warpSize / chunks;
  copies = sizes.keys / sizes.groupWarps / rowsPerCopy;
  Value to = code.add(mul(copyRow, sizes.rowBytes),
                      code.shiftLeft(code.bitXor(chunk, bits(copyRow, 7)), 4));
  // Rows further on have other low bits.
  for (int64_t i = 0; i < 8 / rowsPerCopy && i < copies; ++i)
    copyTo.push_back(code.opaque(code.add(
        stages, code.bitXor(to, code.i32((i * rowsPerCopy % 8) << 4)))));
  copyOrigin = (copies - 1) * rowsPerCopy * bytes < copyReach ? 0 : copyReach;
  Value byte = code.add(mul(copyRow, bytes), mul(chunk, 16));
  for (Value cache : {op.getK(), op.getV()}) {
    Value pointer = code.at(in[cache].pointer, shape.stored, tile.head);
    copyFrom.push_back(code.byteAt(code.global(pointer), code.widen(byte)));
  }
  if (shape.headDim != sizes.rowBytes / 2)
    hasChunk = code.less(chunk, code.i32(shape.headDim / 8));
  if (shape.headDim % 16 == 0)
    return;
  // The last product takes 8 elements more than a key has: they are 0.
  code.when(equal(chunk, shape.headDim / 8), [&] {
    for (int64_t stage = 0; stage < 2; ++stage)
      for (int64_t i = 0; i < 2 * copies; ++i)
        LLVM::StoreOp::create(code, code.splatI32(0, 4),
                              code.sharedAt(copyTo[i % copyTo.size()], Value(),
                                            copyByte(i % copies, i / copies) +
                                                stage * sizes.stageBytes),
                              16);
  });
}

int64_t TensorAttention::copyByte(int64_t i, int64_t cache) {
  return (i * rowsPerCopy + cache * sizes.keys) * sizes.rowBytes;
}

SmallVector<Value> TensorAttention::sourcesAt(Value key) {
  SmallVector<Value> sources;
  for (Value from : copyFrom)
    sources.push_back(code.byteAt(
        code.byteAt(from, code.mul(code.widen(key), 2 * shape.headDim)),
        copyOrigin));
  return sources;
}

void TensorAttention::copy(ArrayRef<Value> sources, Stage stage, Value rest) {
  auto all = [&] {
    for (int64_t i = 0; i < copies; ++i) {
      Value size;
      if (rest)
        size = code.select(code.less(code.i32(i * rowsPerCopy), rest),
                           code.i32(16), code.i32(0));
      for (auto [which, source] : llvm::enumerate(sources))
        code.copyAsync(code.sharedAt(copyTo[i % copyTo.size()], stage.offset,
                                     copyByte(i, which) + stage.byte),
                       code.byteAt(source, i * rowsPerCopy * 2 * shape.headDim -
                                               copyOrigin),
                       size);
    }
  };
  if (hasChunk)
    code.when(hasChunk, all);
  else
    all();
}

// Behind the last key that is seen memory may hold anything, NaN too: there is
// 0.
void TensorAttention::copyAt(Value key, ArrayRef<Value> sources, Stage stage) {
  code.when(code.less(key, end), [&] {
    copy(sources, stage, code.sub(code.sub(end, key), copyRow));
  });
  code.commitCopies();
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

Value TensorAttention::matrixAt(Value row, Value chunk, int64_t pair) {
  Value place = code.bitXor(code.add(chunk, code.i32(2 * pair)), bits(lane, 7));
  return code.add(stages,
                  code.add(mul(row, sizes.rowBytes), code.shiftLeft(place, 4)));
}

// Chunks further on are an exclusive or away, up to the fourth pair an address
// of its own.
void TensorAttention::prepareMatrices() {
  Value low = bits(lane, 7);
  Value keyRow = code.add(code.shiftLeft(code.shiftRight(lane, 4), 3), low);
  Value keyChunk = bits(code.shiftRight(lane, 3), 1);
  Value valueRow = bits(lane, 15);
  Value valueChunk = code.shiftRight(lane, 4);
  Value half = mul(columnWarp, 32 * sizes.pairs);
  for (int64_t pair = 0; pair < std::min<int64_t>(4, sizes.steps); ++pair) {
    keyAt.push_back(code.opaque(matrixAt(keyRow, keyChunk, pair)));
    valueAt.push_back(
        code.opaque(code.add(half, matrixAt(valueRow, valueChunk, pair))));
  }
}

SmallVector<Value> TensorAttention::keyMatrices(Stage stage, int64_t n,
                                                int64_t step) {
  return code.loadMatrices(
      code.sharedAt(keyAt[step % 4], stage.offset,
                    stage.byte + 16 * n * sizes.rowBytes + step / 4 * 128));
}

SmallVector<Value> TensorAttention::valueMatrices(Stage stage, int64_t n,
                                                  int64_t pair) {
  return code.loadMatricesTransposed(code.sharedAt(
      valueAt[pair % 4], stage.offset,
      stage.byte + (sizes.keys + 16 * n) * sizes.rowBytes + pair / 4 * 128));
}

void TensorAttention::multiply(ArrayRef<Value> a, ArrayRef<Value> b,
                               MutableArrayRef<Value> sums) {
  llvm::copy(code.multiply(shape.stored, a, b, sums), sums.begin());
}

void TensorAttention::hide(Value key, ArrayRef<Value> lows,
                           ArrayRef<Value> highs,
                           MutableArrayRef<Value> scores) {
  Value hidden = code.f32(-std::numeric_limits<float>::infinity());
  Value own = code.add(key, mul(quad, 2));
  for (int64_t h = 0; h < 2; ++h) {
    Value from = lows.empty() ? own : code.sub(own, lows[h]);
    Value count = lows.empty() ? highs[h] : code.sub(highs[h], lows[h]);
    Value rest = code.sub(count, from);
    for (size_t n = 0; n < scores.size() / 4; ++n)
      for (int64_t e = 0; e < 2; ++e) {
        Value &score = scores[4 * n + 2 * h + e];
        Value key = code.i32(8 * n + e);
        Value seen = lows.empty() ? code.less(key, rest)
                                  : code.inside(code.add(from, key), count);
        score = code.select(seen, score, hidden);
      }
  }
}

void TensorAttention::weigh(Value key, ArrayRef<RowTile::Weighing> weighings,
                            MutableArrayRef<Value> scores) {
  Value own = code.add(key, mul(quad, 2));
  for (int64_t h = 0; h < 2; ++h)
    for (size_t n = 0; n < scores.size() / 4; ++n)
      for (int64_t e = 0; e < 2; ++e) {
        Value &score = scores[4 * n + 2 * h + e];
        score =
            tile.weigh(score, weighings[h], code.add(own, code.i32(8 * n + e)));
      }
}

//===----------------------------------------------------------------------===//
// The end
//===----------------------------------------------------------------------===//

Value TensorAttention::rowOf(int64_t h) {
  return code.widen(
      code.add(mul(rowWarp, 16), code.add(group, code.i32(8 * h))));
}

void TensorAttention::whereColumn(int64_t i, function_ref<void()> body) {
  int64_t last = (sizes.columnWarps - 1) * sizes.tiles + i;
  if (8 * last < shape.headDim)
    body();
  else if (8 * i < shape.headDim)
    code.when(equal(columnWarp, 0), body);
}

Value TensorAttention::pairOf(Value low, Value high) {
  Value pair = code.splat(0, 2);
  pair = vector::InsertOp::create(code, low, pair, 0);
  return vector::InsertOp::create(code, high, pair, 1);
}

void TensorAttention::finish(const Result &result) {
  // Nothing of the thread's place has to be kept over the loops.
  findThread(code.opaque(code.thread32()));
  shared = code.opaque(code.sharedAddress());
  code.waitCopies(0);
  code.barrier();
  if (sizes.narrow)
    merge(result);
  else
    store(result);
}

// Outputs go through shared memory where the stages were, in the type of the
// output, and from there in chunks of 16 bytes. Of bf16 and f16 chunk c of a
// row is at c ^ (row & 7) as the caches' are, of f32, of which a tile of eight
// columns has two, at c ^ 2 (row & 3).
void TensorAttention::store(const Result &result) {
  const Buffer &out = in[op.getOut()];
  Type type = out.element();
  int64_t bytes = type.getIntOrFloatBitWidth() / 8;
  int64_t rowBytes = sizes.rowBytes / 2 * bytes, rowChunks = rowBytes / 16;
  Value base = code.add(shared, code.i32(sizes.stageAt));
  auto swizzle = [&](Value row) {
    return bytes == 2 ? code.shiftLeft(bits(row, 7), 4)
                      : code.shiftLeft(bits(row, 3), 5);
  };
  for (int64_t h = 0; h < 2; ++h) {
    Value factor = code.fdiv(code.f32(1), result.sums[h]);
    Value all = code.f32(0);
    Value row = code.narrow(rowOf(h));
    Value at = code.bitXor(code.add(mul(quad, 2 * bytes),
                                    mul(columnWarp, 8 * bytes * sizes.tiles)),
                           swizzle(row));
    at = code.add(mul(row, rowBytes), at);
    for (int64_t i = 0; i < sizes.tiles; ++i) {
      Value low = code.fmul(result.outs[4 * i + 2 * h], factor);
      Value high = code.fmul(result.outs[4 * i + 2 * h + 1], factor);
      Value two = code.fadd(low, high);
      if (8 * ((sizes.columnWarps - 1) * sizes.tiles + i) >= shape.headDim)
        two = code.select(equal(columnWarp, 0), two, code.f32(0));
      all = code.fadd(all, two);
      whereColumn(i, [&] {
        Value to = code.bitXor(at, code.i32(8 * bytes * i));
        code.storeWide(type, pairOf(low, high),
                       code.sharedAt(code.add(base, to), Value(), 0));
      });
    }
    tile.doubt(rowOf(h), all);
  }
  code.barrier();
  Value thread = code.add(mul(warp, warpSize), lane);
  Value chunk = bits(thread, rowChunks - 1);
  Value firstRow = code.shiftRight(thread, llvm::Log2_64(rowChunks));
  int64_t rowsATurn = sizes.threads / rowChunks;
  auto move = [&] {
    for (int64_t r = 0; r < sizes.rows; r += rowsATurn) {
      Value row = code.add(firstRow, code.i32(r));
      Value from = code.bitXor(code.shiftLeft(chunk, 4), swizzle(row));
      from = code.add(base, code.add(mul(row, rowBytes), from));
      Value place = tile.place(code.widen(row));
      code.when(code.less(code.i64(-1), place), [&] {
        Value words = LLVM::LoadOp::create(code, code.i32Vector(4),
                                           code.sharedAt(from, Value(), 0), 16);
        Value to = code.global(code.at(out.pointer, type, place));
        LLVM::StoreOp::create(code, words,
                              code.byteAt(to, code.widen(mul(chunk, 16))), 16);
      });
    }
  };
  int64_t usedChunks = shape.headDim * bytes / 16;
  if (usedChunks == rowChunks)
    move();
  else
    code.when(code.less(chunk, code.i32(usedChunks)), move);
}

// What the warps have of the rows, maxima and sums behind their outputs, goes
// through shared memory where the stages were.
void TensorAttention::merge(const Result &result) {
  Type f32 = code.getF32Type();
  Value base = code.add(shared, code.i32(sizes.stageAt));
  int64_t warpBytes = 4 * 16 * sizes.mergeStride;
  for (int64_t h = 0; h < 2; ++h) {
    Value row = code.add(group, code.i32(8 * h));
    Value to = code.add(base, code.add(mul(keyWarp, warpBytes),
                                       mul(row, 4 * sizes.mergeStride)));
    code.when(equal(code.add(quad, columnWarp), 0), [&] {
      code.storeWide(f32, pairOf(result.maxima[h], result.sums[h]),
                     code.sharedAt(to, Value(), 4 * shape.headDim));
    });
    to =
        code.add(to, code.add(mul(quad, 8), mul(columnWarp, 32 * sizes.tiles)));
    for (int64_t i = 0; i < sizes.tiles; ++i)
      whereColumn(i, [&] {
        code.storeWide(
            f32,
            pairOf(result.outs[4 * i + 2 * h], result.outs[4 * i + 2 * h + 1]),
            code.sharedAt(to, Value(), 32 * i));
      });
  }
  code.barrier();
  // Four columns a thread.
  const Buffer &out = in[op.getOut()];
  int64_t chunks = shape.headDim / 4;
  auto share =
      [&](function_ref<void(Value row, Value chunk, Value place)> body) {
        code.share(code.i64(16 * chunks), [&](Value index) {
          Value row = code.div(index, chunks), chunk = code.rem(index, chunks);
          Value place = tile.place(row);
          code.when(code.less(code.i64(-1), place),
                    [&] { body(row, chunk, place); });
        });
      };
  auto put = [&](Value row, Value chunk, Value place, Value sum, Value y) {
    y = code.fmul(y, code.broadcast(code.fdiv(code.f32(1), sum), 4));
    Value to = code.at(out.pointer, out.element(),
                       code.add(place, code.mul(chunk, 4)));
    code.storeWide(out.element(), y, code.global(to));
    tile.doubt(row, code.sum(y));
  };
  Value isWhole = tile.parts ? equal(tile.parts, 1) : Value();
  share([&](Value row, Value chunk, Value place) {
    Value from = code.add(base, mul(code.narrow(row), 4 * sizes.mergeStride));
    SmallVector<Value> maxima, sums;
    Value top;
    for (int64_t w = 0; w < sizes.keyWarps; ++w) {
      Value pair = code.loadWide(
          f32, code.sharedAt(from, Value(), w * warpBytes + 4 * shape.headDim),
          2);
      maxima.push_back(vector::ExtractOp::create(code, pair, 0));
      sums.push_back(vector::ExtractOp::create(code, pair, 1));
      top = top ? code.maxNumber(top, maxima[w]) : maxima[w];
    }
    Value sum = code.f32(0), y = code.splat(0, 4);
    for (int64_t w = 0; w < sizes.keyWarps; ++w) {
      Value factor = code.exp2(code.fsub(maxima[w], top));
      sum = code.fma(factor, sums[w], sum);
      Value x = code.loadWide(
          f32, code.sharedAt(from, mul(code.narrow(chunk), 16), w * warpBytes),
          4);
      y = code.fma(code.broadcast(factor, 4), x, y);
    }
    if (!isWhole)
      return put(row, chunk, place, sum, y);
    code.when(
        isWhole, [&] { put(row, chunk, place, sum, y); },
        [&] {
          Value to = tile.workspaceAt(tile.part, row);
          code.storeWide(f32, y, code.byteAt(to, code.mul(chunk, 16)));
          code.when(code.equal(chunk, 0), [&] {
            code.storeWide(f32, pairOf(top, sum),
                           code.byteAt(to, 4 * shape.headDim));
          });
        });
  });
  if (!isWhole)
    return;
  // The last block has them all, and takes them in their order.
  code.when(code.less(code.i32(1), tile.parts), [&] {
    code.when(tile.isLastPart(), [&] {
      share([&](Value row, Value chunk, Value place) {
        SmallVector<Value> state{code.f32(-1e30f), code.f32(0),
                                 code.splat(0, 4)};
        state = code.loop(
            code.i64(0), code.widen(tile.parts), 1, state,
            [&](Value part, ValueRange old) {
              Value from = tile.workspaceAt(code.narrow(part), row);
              Value pair =
                  code.loadWide(f32, code.byteAt(from, 4 * shape.headDim), 2);
              Value x =
                  code.loadWide(f32, code.byteAt(from, code.mul(chunk, 16)), 4);
              Value maximum = vector::ExtractOp::create(code, pair, 0);
              Value top = code.maxNumber(old[0], maximum);
              Value before = code.exp2(code.fsub(old[0], top));
              Value factor = code.exp2(code.fsub(maximum, top));
              Value sum = code.fmul(old[1], before);
              Value y = code.fmul(old[2], code.broadcast(before, 4));
              return SmallVector<Value>{
                  top,
                  code.fma(factor, vector::ExtractOp::create(code, pair, 1),
                           sum),
                  code.fma(code.broadcast(factor, 4), x, y)};
            });
        put(row, chunk, place, state[1], state[2]);
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// The class
//===----------------------------------------------------------------------===//

bool nvptx::takesTensorCores(kernel::AttentionOp op) {
  HeadShape shape(op);
  return !shape.stored.isF32() && shape.headDim % 8 == 0 &&
         shape.headDim <= 256;
}

void nvptx::addTensorStages(Kernel &kernel, kernel::AttentionOp op) {
  // Scores are multiplied by the scale when they have their maximum.
  // With alibi distances are divided by it.
  HeadShape shape(op);
  bool rounds =
      op.getRounds() && shape.scale > (shape.alibi == 0 ? 0 : 0x1p-40f);
  addStages(kernel, op, [&](bool narrow) {
    return rounds ? roundedStage(op, narrow) : exactStage(op, narrow);
  });
}
