//===- AttentionExact.cpp - attention of f32 on tensor cores --------------===//
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
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/AttentionTensor.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

namespace {
class ExactAttention : TensorAttention {
public:
  ExactAttention(Kernel::Inside &in, kernel::AttentionOp op, RowTile &tile,
                 const TensorSizes &sizes)
      : TensorAttention(in, op, tile, sizes) {}

  void run() {
    queries = code.add(shared, code.add(mul(rowWarp, sizes.steps * sizes.parts *
                                                         fragmentBytes),
                                        code.i32(sizes.queryAt)));
    queries = code.opaque(code.add(queries, mul(lane, 16)));
    prepareCopies();
    copyAt(first, sourcesAt(first), {code.i32(0)});
    for (int64_t h = 0; h < 2; ++h) {
      Value row = rowOf(h);
      places[h] = tile.place(row);
      Value none = code.less(places[h], 0);
      lows[h] = code.select(none, code.i32(0), tile.low(row));
      highs[h] = code.select(
          none, code.i32(std::numeric_limits<int32_t>::max()), tile.high(row));
    }
    loadQueries();
    for (int64_t h = 0; shape.alibi != 0 && h < 2; ++h) {
      weighings[h] = tile.weighing(rowOf(h));
      // As the row's queries are.
      if (inverses[h])
        weighings[h].slope =
            code.fmul(weighings[h].slope, code.fdiv(code.f32(1), inverses[h]));
    }
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
      Value nextKey = code.add(key, code.i32(step));
      copyAt(nextKey, sourcesAt(nextKey), {other});
      piece(key, stage, next);
      next.push_back(other);
      scf::YieldOp::create(code, next);
    }
    SmallVector<Value> result(loop.getResults().drop_back());
    finish({{result[0], result[1]},
            {sumOf(result[2]), sumOf(result[3])},
            ArrayRef(result).drop_front(4)});
  }

private:
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
    // Of no use below 2^-63; distances are multiplied by it too.
    exponent = code.max(code.min(exponent, code.i32(254)), code.i32(64));
    auto power = [&](Value biased) {
      return code.asFloat(code.shiftLeft(biased, 23));
    };
    return {power(code.sub(code.i32(268), exponent)),
            power(code.sub(exponent, code.i32(14)))};
  }

  // Rows of queries become fragments in shared memory; rows that are none 0.
  void loadQueries() {
    const Buffer &q = in[op.getQ()];
    Type type = q.element();
    int64_t bytes = type.getIntOrFloatBitWidth() / 8;
    Value scale = code.splat(shape.scale, 2);
    // [row group or group + 8][chunk of 8 columns][2]
    SmallVector<std::array<Value, 2>> x[2];
    for (int64_t h = 0; h < 2; ++h) {
      Value none = code.less(places[h], 0);
      Value from =
          code.global(code.at(q.pointer, type, code.max(places[h], 0)));
      from = code.byteAt(from, code.widen(mul(quad, 2 * bytes)));
      Value largest = code.f32(0);
      for (int64_t chunk = 0; chunk < 2 * sizes.steps; ++chunk) {
        if (8 * chunk >= shape.headDim) {
          x[h].push_back({code.f32(0), code.f32(0)});
          continue;
        }
        Value pair =
            code.loadWide(type, code.byteAt(from, 8 * bytes * chunk), 2);
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
      code.when(equal(warp, 0), write);
    else if (sizes.columnWarps > 1)
      code.when(equal(columnWarp, 0), write);
    else
      write();
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
        keys.push_back(keyMatrices({stage}, n, step));
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
    if (shape.alibi != 0)
      weigh(key, weighings, scores);
    Value inner = arith::AndIOp::create(
        code,
        arith::CmpIOp::create(code, arith::CmpIPredicate::sge, key, lowest),
        arith::CmpIOp::create(code, arith::CmpIPredicate::sle,
                              code.add(key, code.i32(sizes.keys)), highest));
    Value outer = arith::XOrIOp::create(
        code, inner, arith::ConstantOp::create(code, code.getBoolAttr(true)));
    scores = code.choose(outer, scores, [&] {
      SmallVector<Value> result(scores);
      hide(key, lows, highs, result);
      return result;
    });
    softmax(scores, state);
    MutableArrayRef<Value> outs = MutableArrayRef(state).drop_front(4);
    for (int64_t n = 0; n < blocks; ++n) {
      SmallVector<SmallVector<Value>> a(sizes.parts);
      for (int64_t i = 0; i < 4; ++i)
        for (auto [part, word] : llvm::enumerate(
                 split(scores[8 * n + 2 * i], scores[8 * n + 2 * i + 1])))
          a[part].push_back(word);
      for (int64_t pair = 0; pair < sizes.pairs; ++pair) {
        SmallVector<Value> values = valueMatrices({stage}, n, pair);
        for (int64_t part = sizes.parts; part-- > 0;)
          for (int64_t i = 2 * pair; i < std::min(2 * pair + 2, sizes.tiles);
               ++i)
            multiply(a[part], ArrayRef(values).slice(i % 2 * 2, 2),
                     outs.slice(4 * i, 4));
      }
    }
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

  Value sumOf(Value sum) {
    for (int64_t mask : {1, 2})
      sum = code.fadd(sum, code.shuffleXor(sum, mask));
    return sum;
  }

  Value queries; // an address
  Value lowest, highest;
  // Of rows group and group + 8. With f16, what a score is multiplied by.
  Value places[2], lows[2], highs[2], inverses[2];
  RowTile::Weighing weighings[2]; // with alibi
};
} // namespace

StageShape nvptx::exactStage(kernel::AttentionOp op, bool narrow) {
  HeadShape shape(op);
  int64_t rowBytes = TensorSizes::rowBytesOf(shape);
  TensorSizes sizes(shape, narrow, /*parts=*/shape.stored.isF16() ? 2 : 3,
                    /*warps=*/4,
                    std::max<int64_t>(16, (narrow ? 32 : 64) * 128 / rowBytes));
  return StageShape{sizes.threads, sizes.shared, sizes.rows, sizes.partKeys(),
                    [=](Kernel::Inside &in, RowTile &tile) {
                      ExactAttention(in, op, tile, sizes).run();
                    }};
}
