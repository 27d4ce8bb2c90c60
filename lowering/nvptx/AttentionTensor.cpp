//===- AttentionTensor.cpp - attention on tensor cores --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Caches of bf16 and f16 are multiplied by mma as they are. Queries and weights
// are f32, and stay so: they are cut into parts of the caches' type, one
// product each. Three parts of bf16 are an f32 exactly; two of f16 are one to
// 2^-24 of it, after a row's queries are scaled by a power of two into the
// upper end of f16, and weights by 2^7.
//
// A warp owns 16 rows. In wide tiles warps have rows of their own and share the
// keys of the block; in narrow ones, for decoding, all have the same rows, each
// its pieces of the keys, and are merged at the end in their order. Outputs of
// more than 128 columns do not fit in the registers of one warp: two share rows
// and keys, compute the same scores, and each has half of the columns.

//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Attention.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

namespace {
constexpr int64_t warps = 4, threads = warps * warpSize;
///
/// Bytes of a fragment of 16 x 16 elements of two bytes.
constexpr int64_t fragmentBytes = 512;

struct Sizes {
  Sizes(const HeadShape &shape, bool narrow) : narrow(narrow) {
    parts = shape.stored.isF16() ? 2 : 3;
    steps = llvm::divideCeil(shape.headDim, 16);
    rowBytes = std::max<int64_t>(
        128, llvm::PowerOf2Ceil(static_cast<uint64_t>(2 * shape.headDim)));
    keys = std::max<int64_t>(16, (narrow ? 32 : 64) * 128 / rowBytes);
    columnWarps = shape.headDim > 128 ? 2 : 1;
    rowWarps = narrow ? 1 : warps / columnWarps;
    keyWarps = narrow ? warps / columnWarps : 1;
    groupWarps = rowWarps * columnWarps;
    // Whole chunks of 128 bytes: their swizzle is that of the row's start.
    pairs = columnWarps == 1 ? steps
                             : static_cast<int64_t>(llvm::alignTo(
                                   llvm::divideCeil(steps, 2), 4));
    tiles = columnWarps == 1 ? shape.headDim / 8 : 2 * pairs;
    rows = 16 * rowWarps;
    queryAt = RowTile::bytes(rows);
    stageAt =
        llvm::alignTo(queryAt + rowWarps * steps * parts * fragmentBytes, 128);
    stageBytes = 2 * keys * rowBytes;
    shared = stageAt + keyWarps * 2 * stageBytes;
    // Behind a row its maximum and its sum. Four rows lie in different banks.
    mergeStride = shape.headDim + 2;
    while (mergeStride % 16 != 8)
      ++mergeStride;
    assert((!narrow || 4 * 16 * mergeStride <= 2 * stageBytes) &&
           "the sums of a warp lie where its stages were");
  }
  bool narrow;
  int64_t parts;    ///< of an f32
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
public:
  TensorAttention(Kernel::Inside &in, kernel::AttentionOp op, RowTile &tile,
                  const Sizes &sizes)
      : in(in), op(op), tile(tile), code(in.code), shape(op), sizes(sizes) {}

  void run() {
    Value thread = code.thread32();
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

    Value base = code.opaque(code.sharedAddress());
    stages = code.add(base, code.add(mul(keyWarp, 2 * sizes.stageBytes),
                                     code.i32(sizes.stageAt)));
    queries = code.add(
        base, code.add(mul(rowWarp, sizes.steps * sizes.parts * fragmentBytes),
                       code.i32(sizes.queryAt)));
    queries = code.opaque(code.add(queries, mul(lane, 16)));
    first = code.narrow(tile.firstKey);
    end = code.narrow(tile.endKey);
    first = code.add(first, mul(keyWarp, sizes.keys));
    prepareCopies();
    copy(first, code.i32(0));
    for (int64_t h = 0; h < 2; ++h) {
      Value row = rowOf(h);
      places[h] = tile.place(row);
      Value none = code.less(places[h], 0);
      lows[h] = code.select(none, code.i32(0), tile.low(row));
      highs[h] = code.select(
          none, code.i32(std::numeric_limits<int32_t>::max()), tile.high(row));
    }
    loadQueries();
    prepareMatrices();
    // Keys from lowest to highest need no mask.
    lowest = code.reduceWarp(code.max(lows[0], lows[1]),
                             [&](Value a, Value b) { return code.max(a, b); });
    highest = code.reduceWarp(code.min(highs[0], highs[1]),
                              [&](Value a, Value b) { return code.min(a, b); });
    // Other warps may have written the queries.
    if (sizes.narrow || sizes.columnWarps > 1)
      code.barrier();

    SmallVector<Value> state{code.f32(-1e30f), code.f32(-1e30f), code.f32(0),
                             code.f32(0)};
    state.append(4 * sizes.tiles, code.f32(0));
    state.push_back(code.i32(0));
    int64_t step = sizes.keys * sizes.keyWarps;
    auto loop = scf::ForOp::create(code, first, end, code.i32(step), state);
    {
      OpBuilder::InsertionGuard guard(code);
      code.setInsertionPointToStart(loop.getBody());
      Value key = loop.getInductionVar();
      SmallVector<Value> next(loop.getRegionIterArgs());
      Value stage = next.pop_back_val();
      Value other = code.sub(code.i32(sizes.stageBytes), stage);
      // The piece is there, and nobody reads the one before any more.
      code.waitCopies(0);
      sync();
      copy(code.add(key, code.i32(step)), other);
      piece(key, stage, next);
      next.push_back(other);
      scf::YieldOp::create(code, next);
    }
    SmallVector<Value> result(loop.getResults());
    result.pop_back();
    code.waitCopies(0);
    if (sizes.narrow)
      merge(result);
    else
      finish(result);
  }

private:
  //===--------------------------------------------------------------------===//
  // i32
  //===--------------------------------------------------------------------===//

  Value mul(Value a, int64_t b) { return code.mul(a, code.i32(b)); }
  Value bits(Value a, int64_t which) { return code.bitAnd(a, code.i32(which)); }
  /// Among the warps that share a stage.
  void sync() {
    if (sizes.groupWarps == 1)
      code.syncWarp();
    else if (sizes.groupWarps == warps)
      code.barrier();
    else
      code.barrierOf(code.add(keyWarp, code.i32(1)),
                     sizes.groupWarps * warpSize);
  }

  //===--------------------------------------------------------------------===//
  // Copies of keys and values
  //===--------------------------------------------------------------------===//

  // A row lies in shared memory with its 16-byte chunks c at c ^ (row & 7), so
  // that eight rows of one chunk lie in different banks. A warp copies rows
  // that follow each other, one chunk a lane.
  void prepareCopies() {
    int64_t chunks = sizes.rowBytes / 16;
    Value chunk = bits(lane, chunks - 1);
    Value laneRow = code.shiftRight(lane, llvm::Log2_64(chunks));
    Value warpRow = mul(groupWarp, sizes.keys / sizes.groupWarps);
    copyRow = code.add(warpRow, laneRow);
    rowsPerCopy = warpSize / chunks;
    copies = sizes.keys / sizes.groupWarps / rowsPerCopy;
    Value to =
        code.add(mul(copyRow, sizes.rowBytes),
                 code.shiftLeft(code.bitXor(chunk, bits(copyRow, 7)), 4));
    // Rows further on have other low bits.
    for (int64_t i = 0; i < 8 / rowsPerCopy && i < copies; ++i)
      copyTo.push_back(code.opaque(code.add(
          stages, code.bitXor(to, code.i32((i * rowsPerCopy % 8) << 4)))));
    Value byte = code.add(mul(copyRow, 2 * shape.headDim), mul(chunk, 16));
    for (Value cache : {op.getK(), op.getV()}) {
      Value pointer = code.at(in[cache].pointer, shape.stored, tile.head);
      copyFrom.push_back(code.byteAt(code.global(pointer), code.widen(byte)));
    }
    if (shape.headDim != sizes.rowBytes / 2)
      hasChunk = arith::CmpIOp::create(code, arith::CmpIPredicate::slt, chunk,
                                       code.i32(shape.headDim / 8));
    if (shape.headDim % 16 == 0)
      return;
    // The last product takes 8 elements more than a key has: they are 0.
    Value pad = arith::CmpIOp::create(code, arith::CmpIPredicate::eq, chunk,
                                      code.i32(shape.headDim / 8));
    code.when(pad, [&] {
      for (int64_t stage = 0; stage < 2; ++stage)
        for (int64_t i = 0; i < copies; ++i)
          LLVM::StoreOp::create(code, code.splatI32(0, 4),
                                code.sharedAt(copyTo[i % copyTo.size()],
                                              Value(),
                                              i * rowsPerCopy * sizes.rowBytes +
                                                  stage * sizes.stageBytes),
                                16);
    });
  }

  // Copies the piece that starts at `key`, if there is one. Behind the last key
  // that is seen memory may hold anything, NaN too: there is 0.
  void copy(Value key, Value stage) {
    Value rest = code.sub(code.sub(end, key), copyRow);
    auto all = [&] {
      Value byte = code.mul(code.widen(key), 2 * shape.headDim);
      for (int64_t i = 0; i < copies; ++i) {
        Value size =
            code.select(arith::CmpIOp::create(code, arith::CmpIPredicate::slt,
                                              code.i32(i * rowsPerCopy), rest),
                        code.i32(16), code.i32(0));
        for (int64_t which = 0; which < 2; ++which)
          code.copyAsync(code.sharedAt(copyTo[i % copyTo.size()], stage,
                                       i * rowsPerCopy * sizes.rowBytes +
                                           which * sizes.keys * sizes.rowBytes),
                         code.byteAt(code.byteAt(copyFrom[which], byte),
                                     i * rowsPerCopy * 2 * shape.headDim),
                         size);
      }
    };
    code.when(code.less(key, end), [&] {
      if (hasChunk)
        code.when(hasChunk, all);
      else
        all();
    });
    code.commitCopies();
  }

  //===--------------------------------------------------------------------===//
  // Fragments
  //===--------------------------------------------------------------------===//

  // Two f32 as pairs of the caches' type, the largest first.
  SmallVector<Value> split(Value low, Value high) {
    SmallVector<Value> result;
    for (int64_t part = 0; part < sizes.parts; ++part) {
      bool last = part + 1 == sizes.parts;
      if (shape.stored.isF16()) {
        Value pair = code.packPair(shape.stored, low, high);
        result.push_back(pair);
        if (last)
          break;
        Value halves = LLVM::BitcastOp::create(
            code, VectorType::get({2}, shape.stored), pair);
        auto rest = [&](Value x, int64_t i) {
          Value part = vector::ExtractOp::create(code, halves, i);
          return code.fsub(
              x, arith::ExtFOp::create(code, code.getF32Type(), part));
        };
        low = rest(low, 0);
        high = rest(high, 1);
        continue;
      }
      result.push_back(code.upperHalves(low, high));
      if (last)
        break;
      // Cut off, not rounded: what is left is exact, and nothing overflows.
      auto rest = [&](Value x) {
        return code.fsub(x, code.asFloat(bits(code.asInt(x), -65536)));
      };
      low = rest(low);
      high = rest(high);
    }
    return result;
  }

  // The power of two that brings the largest of a row's numbers to [2^14,
  // 2^15), as far as there is one, and its inverse.
  std::pair<Value, Value> scaleOf(Value largest) {
    Value exponent = code.shiftRight(code.asInt(largest), 23);
    exponent = code.max(code.min(exponent, code.i32(254)), code.i32(15));
    auto power = [&](Value biased) {
      return code.asFloat(code.shiftLeft(biased, 23));
    };
    return {power(code.sub(code.i32(268), exponent)),
            power(code.sub(exponent, code.i32(14)))};
  }

  // Rows of queries become fragments in shared memory; rows that are none 0.
  void loadQueries() {
    const Buffer &q = in[op.getQ()];
    Value scale = code.splat(shape.scale, 2);
    // [row group or group + 8][chunk of 8 columns][2]
    SmallVector<std::array<Value, 2>> x[2];
    for (int64_t h = 0; h < 2; ++h) {
      Value none = code.less(places[h], 0);
      Value from = code.global(code.atF32(q.pointer, code.max(places[h], 0)));
      from = code.byteAt(from, code.widen(mul(quad, 8)));
      Value largest = code.f32(0);
      for (int64_t chunk = 0; chunk < 2 * sizes.steps; ++chunk) {
        if (8 * chunk >= shape.headDim) {
          x[h].push_back({code.f32(0), code.f32(0)});
          continue;
        }
        Value pair =
            code.loadWide(code.getF32Type(), code.byteAt(from, 32 * chunk), 2);
        pair = code.select(none, code.splat(0, 2), code.fmul(pair, scale));
        std::array<Value, 2> two;
        for (int64_t e = 0; e < 2; ++e) {
          two[e] = vector::ExtractOp::create(code, pair, e);
          Value size = code.asFloat(bits(code.asInt(two[e]), 0x7fffffff));
          largest = code.maxNumber(largest, size);
        }
        x[h].push_back(two);
      }
      if (!shape.stored.isF16())
        continue;
      for (int64_t mask : {1, 2})
        largest = code.maxNumber(largest, code.shuffleXor(largest, mask));
      auto [power, inverse] = scaleOf(largest);
      inverses[h] = inverse;
      for (auto &two : x[h])
        for (Value &value : two)
          value = code.fmul(value, power);
    }
    auto write = [&] {
      for (int64_t step = 0; step < sizes.steps; ++step) {
        SmallVector<Value> words[4];
        for (int64_t i = 0; i < 4; ++i) {
          auto &two = x[i % 2][2 * step + i / 2];
          words[i] = split(two[0], two[1]);
        }
        for (int64_t part = 0; part < sizes.parts; ++part) {
          Value four = code.splatI32(0, 4);
          for (int64_t i = 0; i < 4; ++i)
            four = vector::InsertOp::create(code, words[i][part], four, i);
          LLVM::StoreOp::create(code, four, queryAt(step, part), 16);
        }
      }
    };
    if (sizes.narrow)
      code.when(equal32(warp, 0), write);
    else if (sizes.columnWarps > 1)
      code.when(equal32(columnWarp, 0), write);
    else
      write();
  }

  Value equal32(Value a, int64_t b) {
    return arith::CmpIOp::create(code, arith::CmpIPredicate::eq, a,
                                 code.i32(b));
  }

  Value queryAt(int64_t step, int64_t part) {
    return code.sharedAt(queries, Value(),
                         (step * sizes.parts + part) * fragmentBytes);
  }

  SmallVector<Value> query(int64_t step, int64_t part) {
    Value four =
        LLVM::LoadOp::create(code, code.i32Vector(4), queryAt(step, part), 16);
    SmallVector<Value> words;
    for (int64_t i = 0; i < 4; ++i)
      words.push_back(vector::ExtractOp::create(code, four, i));
    return words;
  }

  // The lane's row and chunk of ldmatrix, of keys and of values; chunks further
  // on are an exclusive or away, up to the fourth pair an address of its own.
  void prepareMatrices() {
    Value low = bits(lane, 7);
    Value keyRow = code.add(code.shiftLeft(code.shiftRight(lane, 4), 3), low);
    Value keyChunk = bits(code.shiftRight(lane, 3), 1);
    Value valueRow = bits(lane, 15);
    Value valueChunk = code.shiftRight(lane, 4);
    Value half = mul(columnWarp, 32 * sizes.pairs);
    for (int64_t pair = 0; pair < std::min<int64_t>(4, sizes.steps); ++pair) {
      auto address = [&](Value row, Value chunk, Value more) {
        Value place = code.bitXor(code.add(chunk, code.i32(2 * pair)), low);
        place = code.add(more, code.shiftLeft(place, 4));
        return code.opaque(
            code.add(stages, code.add(mul(row, sizes.rowBytes), place)));
      };
      keyAt.push_back(address(keyRow, keyChunk, code.i32(0)));
      valueAt.push_back(address(valueRow, valueChunk, half));
    }
  }

  // Of keys 16 n to 16 n + 15 the elements of a step: two words for each eight.
  SmallVector<Value> keyMatrices(Value stage, int64_t n, int64_t step) {
    return code.loadMatrices(code.sharedAt(
        keyAt[step % 4], stage, 16 * n * sizes.rowBytes + step / 4 * 128));
  }
  SmallVector<Value> valueMatrices(Value stage, int64_t n, int64_t pair) {
    return code.loadMatricesTransposed(
        code.sharedAt(valueAt[pair % 4], stage,
                      (sizes.keys + 16 * n) * sizes.rowBytes + pair / 4 * 128));
  }

  void multiply(ArrayRef<Value> a, ArrayRef<Value> b,
                MutableArrayRef<Value> sums) {
    llvm::copy(code.multiply(shape.stored, a, b, sums), sums.begin());
  }

  //===--------------------------------------------------------------------===//
  // A piece of keys
  //===--------------------------------------------------------------------===//

  // The state: of two rows maximum and sum, and the output.
  void piece(Value key, Value stage, SmallVector<Value> &state) {
    int64_t blocks = sizes.keys / 16;
    // Rests have sums of their own: those of the large parts are rounded less
    // often.
    SmallVector<Value> scores(8 * blocks, code.f32(0)), rests(scores);
    for (int64_t step = 0; step < sizes.steps; ++step) {
      SmallVector<SmallVector<Value>> keys;
      for (int64_t n = 0; n < blocks; ++n)
        keys.push_back(keyMatrices(stage, n, step));
      for (int64_t part = sizes.parts; part-- > 0;) {
        SmallVector<Value> a = query(step, part);
        MutableArrayRef<Value> sums = part == 0 ? scores : rests;
        for (int64_t n = 0; n < 2 * blocks; ++n)
          multiply(a, ArrayRef(keys[n / 2]).slice(n % 2 * 2, 2),
                   sums.slice(4 * n, 4));
      }
    }
    for (auto [score, rest] : llvm::zip(scores, rests))
      score = code.fadd(score, rest);
    scores = mask(key, scores);
    softmax(scores, state);
    MutableArrayRef<Value> outs = MutableArrayRef(state).drop_front(4);
    for (int64_t n = 0; n < blocks; ++n) {
      SmallVector<SmallVector<Value>> a(sizes.parts);
      for (int64_t i = 0; i < 4; ++i)
        for (auto [part, word] : llvm::enumerate(
                 split(scores[8 * n + 2 * i], scores[8 * n + 2 * i + 1])))
          a[part].push_back(word);
      for (int64_t pair = 0; pair < sizes.pairs; ++pair) {
        SmallVector<Value> values = valueMatrices(stage, n, pair);
        for (int64_t part = sizes.parts; part-- > 0;)
          for (int64_t i = 2 * pair; i < std::min(2 * pair + 2, sizes.tiles);
               ++i)
            multiply(a[part], ArrayRef(values).slice(i % 2 * 2, 2),
                     outs.slice(4 * i, 4));
      }
    }
  }

  // Keys that a row does not see get -infinity.
  SmallVector<Value> mask(Value key, ArrayRef<Value> scores) {
    Value inner = arith::AndIOp::create(
        code,
        arith::CmpIOp::create(code, arith::CmpIPredicate::sge, key, lowest),
        arith::CmpIOp::create(code, arith::CmpIPredicate::sle,
                              code.add(key, code.i32(sizes.keys)), highest));
    Value outer = arith::XOrIOp::create(
        code, inner, arith::ConstantOp::create(code, code.getBoolAttr(true)));
    return code.choose(outer, scores, [&] {
      SmallVector<Value> result(scores);
      Value hidden = code.f32(-std::numeric_limits<float>::infinity());
      Value own = code.add(key, mul(quad, 2));
      for (int64_t h = 0; h < 2; ++h) {
        Value from = code.sub(own, lows[h]);
        Value count = code.sub(highs[h], lows[h]);
        for (size_t n = 0; n < scores.size() / 4; ++n)
          for (int64_t e = 0; e < 2; ++e) {
            Value &score = result[4 * n + 2 * h + e];
            Value seen =
                code.inside(code.add(from, code.i32(8 * n + e)), count);
            score = code.select(seen, score, hidden);
          }
      }
      return result;
    });
  }

  // Scores become weights. A row keeps its maximum, and with it sum and output,
  // until a score exceeds it by more than 8: weights are up to 2^8 then.
  void softmax(MutableArrayRef<Value> scores, SmallVector<Value> &state) {
    Value tops[2], far;
    for (int64_t h = 0; h < 2; ++h) {
      Value &top = tops[h];
      for (size_t n = 0; n < scores.size() / 4; ++n)
        for (int64_t e = 0; e < 2; ++e) {
          Value score = scores[4 * n + 2 * h + e];
          top = top ? code.maxNumber(top, score) : score;
        }
      for (int64_t mask : {1, 2})
        top = code.maxNumber(top, code.shuffleXor(top, mask));
      if (inverses[h])
        top = code.fmul(top, inverses[h]);
      Value exceeds =
          arith::CmpFOp::create(code, arith::CmpFPredicate::OGT, top,
                                code.fadd(state[h], code.f32(8)));
      far = far ? Value(arith::OrIOp::create(code, far, exceeds)) : exceeds;
    }
    state = code.choose(code.anyLane(far), state, [&] {
      SmallVector<Value> next(state);
      for (int64_t h = 0; h < 2; ++h) {
        Value maximum = code.maxNumber(state[h], tops[h]);
        Value factor = code.exp2(code.fsub(state[h], maximum));
        next[h] = maximum;
        next[2 + h] = code.fmul(state[2 + h], factor);
        for (int64_t i = 0; i < sizes.tiles; ++i)
          for (int64_t e = 0; e < 2; ++e) {
            Value &out = next[4 + 4 * i + 2 * h + e];
            out = code.fmul(out, factor);
          }
      }
      return next;
    });
    for (int64_t h = 0; h < 2; ++h) {
      Value offset = LLVM::FNegOp::create(code, state[h]);
      if (inverses[h])
        offset = code.fsub(code.f32(7), state[h]);
      for (size_t n = 0; n < scores.size() / 4; ++n)
        for (int64_t e = 0; e < 2; ++e) {
          Value &score = scores[4 * n + 2 * h + e];
          score = code.exp2(inverses[h] ? code.fma(score, inverses[h], offset)
                                        : code.fadd(score, offset));
          state[2 + h] = code.fadd(state[2 + h], score);
        }
    }
  }

  //===--------------------------------------------------------------------===//
  // The end
  //===--------------------------------------------------------------------===//

  /// Row group or group + 8 of the warp as one of the tile, an i64.
  Value rowOf(int64_t h) {
    return code.widen(
        code.add(mul(rowWarp, 16), code.add(group, code.i32(8 * h))));
  }

  Value sumOf(Value sum) {
    for (int64_t mask : {1, 2})
      sum = code.fadd(sum, code.shuffleXor(sum, mask));
    return sum;
  }

  /// Where tile i of the warp is one of the head.
  void whereColumn(int64_t i, function_ref<void()> body) {
    int64_t last = (sizes.columnWarps - 1) * sizes.tiles + i;
    if (8 * last < shape.headDim)
      body();
    else if (8 * i < shape.headDim)
      code.when(equal32(columnWarp, 0), body);
  }

  Value pairOf(Value low, Value high) {
    Value pair = code.splat(0, 2);
    pair = vector::InsertOp::create(code, low, pair, 0);
    return vector::InsertOp::create(code, high, pair, 1);
  }

  void finish(ArrayRef<Value> state) {
    const Buffer &out = in[op.getOut()];
    for (int64_t h = 0; h < 2; ++h) {
      Value factor = code.fdiv(code.f32(1), sumOf(state[2 + h]));
      code.when(code.less(code.i64(-1), places[h]), [&] {
        Value all = code.f32(0);
        for (int64_t i = 0; i < sizes.tiles; ++i) {
          Value two =
              code.fadd(state[4 + 4 * i + 2 * h], state[4 + 4 * i + 2 * h + 1]);
          if (8 * ((sizes.columnWarps - 1) * sizes.tiles + i) >= shape.headDim)
            two = code.select(equal32(columnWarp, 0), two, code.f32(0));
          all = code.fadd(all, two);
        }
        tile.doubt(rowOf(h), code.fmul(all, factor));
        Type type = out.element();
        int64_t bytes = type.getIntOrFloatBitWidth() / 8;
        Value to = code.global(code.at(out.pointer, type, places[h]));
        Value column = code.add(mul(quad, 2), mul(columnWarp, 8 * sizes.tiles));
        to = code.byteAt(to, code.widen(mul(column, bytes)));
        for (int64_t i = 0; i < sizes.tiles; ++i) {
          Value pair =
              pairOf(state[4 + 4 * i + 2 * h], state[4 + 4 * i + 2 * h + 1]);
          whereColumn(i, [&] {
            code.storeWide(type, code.fmul(pair, code.broadcast(factor, 2)),
                           code.byteAt(to, 8 * bytes * i));
          });
        }
      });
    }
  }

  // What the warps have of the rows, maxima and sums behind their outputs, goes
  // through shared memory where the stages were.
  void merge(ArrayRef<Value> state) {
    Type f32 = code.getF32Type();
    Value base = code.add(code.sharedAddress(), code.i32(sizes.stageAt));
    int64_t warpBytes = 4 * 16 * sizes.mergeStride;
    code.barrier();
    for (int64_t h = 0; h < 2; ++h) {
      Value row = code.add(group, code.i32(8 * h));
      Value to = code.add(base, code.add(mul(keyWarp, warpBytes),
                                         mul(row, 4 * sizes.mergeStride)));
      Value sum = sumOf(state[2 + h]);
      code.when(equal32(code.add(quad, columnWarp), 0), [&] {
        code.storeWide(f32, pairOf(state[h], sum),
                       code.sharedAt(to, Value(), 4 * shape.headDim));
      });
      to = code.add(to,
                    code.add(mul(quad, 8), mul(columnWarp, 32 * sizes.tiles)));
      for (int64_t i = 0; i < sizes.tiles; ++i)
        whereColumn(i, [&] {
          code.storeWide(
              f32,
              pairOf(state[4 + 4 * i + 2 * h], state[4 + 4 * i + 2 * h + 1]),
              code.sharedAt(to, Value(), 32 * i));
        });
    }
    code.barrier();
    // Four columns a thread.
    const Buffer &out = in[op.getOut()];
    int64_t chunks = shape.headDim / 4;
    code.share(code.i64(16 * chunks), [&](Value index) {
      Value row = code.div(index, chunks), chunk = code.rem(index, chunks);
      Value place = tile.place(row);
      code.when(code.less(code.i64(-1), place), [&] {
        Value from =
            code.add(base, mul(code.narrow(row), 4 * sizes.mergeStride));
        SmallVector<Value> maxima, sums;
        Value top;
        for (int64_t w = 0; w < sizes.keyWarps; ++w) {
          Value pair = code.loadWide(
              f32,
              code.sharedAt(from, Value(), w * warpBytes + 4 * shape.headDim),
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
              f32,
              code.sharedAt(from, mul(code.narrow(chunk), 16), w * warpBytes),
              4);
          y = code.fma(code.broadcast(factor, 4), x, y);
        }
        y = code.fmul(y, code.broadcast(code.fdiv(code.f32(1), sum), 4));
        Value to = code.at(out.pointer, out.element(),
                           code.add(place, code.mul(chunk, 4)));
        code.storeWide(out.element(), y, code.global(to));
        tile.doubt(row, code.sum(y));
      });
    });
  }

  Kernel::Inside &in;
  kernel::AttentionOp op;
  RowTile &tile;
  Device &code;
  HeadShape shape;
  const Sizes &sizes;
  // i32: where the thread is, group and quad within the warp; addresses.
  Value lane, warp, group, quad, rowWarp, keyWarp, columnWarp, groupWarp;
  Value stages, queries;
  // The warp's first key, and the end of all.
  Value first, end, lowest, highest;
  // Of rows group and group + 8. With f16, what a score is multiplied by.
  Value places[2], lows[2], highs[2], inverses[2];
  // Of copies: the first row, addresses, whether the lane copies.
  Value copyRow, hasChunk;
  int64_t rowsPerCopy, copies;
  SmallVector<Value> copyTo, copyFrom, keyAt, valueAt;
};
} // namespace

bool nvptx::takesTensorCores(kernel::AttentionOp op) {
  HeadShape shape(op);
  return !shape.stored.isF32() && shape.headDim % 8 == 0 &&
         shape.headDim <= 256;
}

void nvptx::addTensorStages(Kernel &kernel, kernel::AttentionOp op) {
  HeadShape shape(op);
  addStages(kernel, op, [&](bool narrow) {
    Sizes sizes(shape, narrow);
    return StageShape{threads, sizes.shared, sizes.rows,
                      [=](Kernel::Inside &in, RowTile &tile) {
                        TensorAttention(in, op, tile, sizes).run();
                      }};
  });
}
