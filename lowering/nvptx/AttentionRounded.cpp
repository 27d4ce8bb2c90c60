//===- AttentionRounded.cpp - attention in the type of its caches ---------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Queries and weights are rounded to the type of the caches: one product each.
// Queries stay in registers. Pieces of keys that all rows of the block see come
// in pairs, one for each stage of shared memory, whose loop has no mask; pieces
// of which some row sees a part are before it, if there is a window, and behind
// it. Sums of weights are a product by ones, of what multiplies the values.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/AttentionTensor.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

namespace {
class RoundedAttention : TensorAttention {
public:
  RoundedAttention(Kernel::Inside &in, kernel::AttentionOp op, RowTile &tile,
                   const TensorSizes &sizes)
      : TensorAttention(in, op, tile, sizes) {}
  void run();

private:
  // The lane's part of what has been computed: of two rows minus the maximum,
  // the sum of the weights as an mma has it, the output. Behind it sources.
  static constexpr size_t sumsAt = 2, outsAt = 6;
  using State = SmallVector<Value>;

  void loadQueries();
  State masked(Value from, Value to, ArrayRef<Value> state);
  State unmasked(Value from, Value to, ArrayRef<Value> state);
  void piece(Stage stage, State &state,
             function_ref<void(MutableArrayRef<Value>)> mask);
  void softmax(MutableArrayRef<Value> scores, State &state);
  void weighRows(Value pieceNumber, MutableArrayRef<Value> scores);
  void advance(State &state);

  SmallVector<SmallVector<Value>> queries; // of each step
};
} // namespace

// Through the second stage, 16 bytes of memory a lane. Rows that are none are
// 0.
void RoundedAttention::loadQueries() {
  const Buffer &q = in[op.getQ()];
  Type type = q.element();
  int64_t bytes = type.getIntOrFloatBitWidth() / 8, width = 16 / bytes;
  int64_t rowLanes = sizes.rowBytes / 2 / width;
  int64_t used = shape.headDim / width;
  int64_t rows = 16 / sizes.columnWarps;
  Value firstRow = code.add(mul(rowWarp, 16), mul(columnWarp, rows));
  struct Move {
    Value words, to, isUsed;
  };
  SmallVector<Move> moves;
  for (int64_t i = 0; i < rows * rowLanes / warpSize; ++i) {
    Value index = code.add(lane, code.i32(i * warpSize));
    Value row =
        code.add(firstRow, code.shiftRight(index, llvm::Log2_64(rowLanes)));
    Value column = bits(index, rowLanes - 1);
    Value place = tile.place(code.widen(row));
    Value from = code.global(code.at(q.pointer, type, code.max(place, 0)));
    Value source = code.min(column, code.i32(used - 1));
    Value words = LLVM::LoadOp::create(
        code, code.i32Vector(4), code.byteAt(from, code.widen(mul(source, 16))),
        16);
    words = code.select(code.less(place, 0), code.splatI32(0, 4), words);
    if (type.isF32()) {
      auto at = [&](int64_t e) {
        return code.asFloat(vector::ExtractOp::create(code, words, e));
      };
      Value pairs = code.splatI32(0, 2);
      for (int64_t e = 0; e < 2; ++e)
        pairs = vector::InsertOp::create(
            code, code.packPair(shape.stored, at(2 * e), at(2 * e + 1)), pairs,
            e);
      words = pairs;
    }
    Value byte = mul(column, 2 * width);
    byte = code.bitXor(byte, code.shiftLeft(bits(row, 7), 4));
    moves.push_back(
        {words, code.add(mul(row, sizes.rowBytes), byte),
         used == rowLanes ? Value() : code.less(column, code.i32(used))});
  }
  for (const Move &move : moves) {
    auto store = [&] {
      LLVM::StoreOp::create(code, move.words,
                            code.sharedAt(stages, move.to, sizes.stageBytes),
                            2 * width);
    };
    if (move.isUsed)
      code.when(move.isUsed, store);
    else
      store();
  }
  sync();
  Value row = code.add(mul(rowWarp, 16), bits(lane, 15));
  Value chunk = code.shiftRight(lane, 4);
  for (int64_t step = 0; step < sizes.steps; ++step)
    queries.push_back(
        code.loadMatrices(code.sharedAt(matrixAt(row, chunk, step % 4), Value(),
                                        sizes.stageBytes + step / 4 * 128)));
}

void RoundedAttention::run() {
  prepareCopies();
  SmallVector<Value> sources = sourcesAt(first);
  copyAt(first, sources, {});
  loadQueries();
  prepareMatrices();
  State state(outsAt + 4 * sizes.tiles, code.f32(0));
  state[0] = state[1] = code.f32(1e30f);
  state.append(sources);
  advance(state);

  // Pieces of the warp: all; up to the end of the last one that all rows see,
  // of which the next one is whole. An even number is done without masks.
  int64_t step = sizes.keys * sizes.keyWarps;
  auto piecesOf = [&](Value keys) {
    return code.shiftRight(code.max(keys, code.i32(0)), llvm::Log2_64(step));
  };
  Value all = piecesOf(code.add(code.sub(end, first), code.i32(step - 1)));
  auto wholeUpTo = [&](Value limit) {
    return piecesOf(
        code.add(code.sub(limit, first), code.i32(step - sizes.keys)));
  };
  Value start = code.i32(0);
  if (op.getMask().getWindow()) {
    start = piecesOf(
        code.add(code.sub(tile.firstCommon, first), code.i32(step - 1)));
    start = code.min(bits(code.add(start, code.i32(1)), -2), all);
    state = masked(code.i32(0), start, state);
  }
  Value stop = code.min(wholeUpTo(tile.endCommon),
                        code.sub(wholeUpTo(end), code.i32(1)));
  stop =
      code.add(start, bits(code.max(code.sub(stop, start), code.i32(0)), -2));
  state = unmasked(start, stop, state);
  state = masked(stop, all, state);
  finish({{LLVM::FNegOp::create(code, state[0]),
           LLVM::FNegOp::create(code, state[1])},
          {state[sumsAt], state[sumsAt + 2]},
          ArrayRef(state).slice(outsAt, 4 * sizes.tiles)});
}

// To the sources of the piece after the next: one after the other, which keeps
// one pointer alive.
void RoundedAttention::advance(State &state) {
  int64_t bytes = sizes.keys * sizes.keyWarps * 2 * shape.headDim;
  for (Value &source : MutableArrayRef(state).take_back(2))
    source = code.opaquePointer(code.byteAt(source, bytes));
}

// Pieces `from` to `to`, two at a time.
RoundedAttention::State RoundedAttention::unmasked(Value from, Value to,
                                                   ArrayRef<Value> state) {
  auto loop = scf::ForOp::create(code, from, to, code.i32(2), state);
  OpBuilder::InsertionGuard guard(code);
  code.setInsertionPointToStart(loop.getBody());
  State next(loop.getRegionIterArgs());
  for (int64_t stage : {0, 1}) {
    // The piece is there, and nobody reads the one before any more.
    code.waitCopies(0);
    sync();
    copy(ArrayRef(next).take_back(2), {{}, (1 - stage) * sizes.stageBytes}, {});
    code.commitCopies();
    advance(next);
    auto weighed = [&](MutableArrayRef<Value> scores) {
      weighRows(code.add(loop.getInductionVar(), code.i32(stage)), scores);
    };
    piece({{}, stage * sizes.stageBytes}, next,
          shape.alibi == 0
              ? function_ref<void(MutableArrayRef<Value>)>()
              : function_ref<void(MutableArrayRef<Value>)>(weighed));
  }
  scf::YieldOp::create(code, next);
  code.keepRolled(loop.getResult(0));
  return State(loop.getResults());
}

RoundedAttention::State RoundedAttention::masked(Value from, Value to,
                                                 ArrayRef<Value> state) {
  State initial(state);
  initial.push_back(code.i32(0));
  auto loop = scf::ForOp::create(code, from, to, code.i32(1), initial);
  OpBuilder::InsertionGuard guard(code);
  code.setInsertionPointToStart(loop.getBody());
  State next(loop.getRegionIterArgs());
  Value stage = next.pop_back_val();
  Value other = code.sub(code.i32(sizes.stageBytes), stage);
  int64_t step = sizes.keys * sizes.keyWarps;
  Value key = code.add(first, mul(loop.getInductionVar(), step));
  code.waitCopies(0);
  sync();
  copyAt(code.add(key, code.i32(step)), ArrayRef(next).take_back(2), {other});
  advance(next);
  SmallVector<Value> lows, highs;
  Value seen;
  for (int64_t h = 0; h < 2; ++h) {
    highs.push_back(tile.high(rowOf(h)));
    Value some = code.less(key, highs[h]);
    if (op.getMask().getWindow()) {
      lows.push_back(tile.low(rowOf(h)));
      some = arith::AndIOp::create(
          code, some, code.less(lows[h], code.add(key, code.i32(sizes.keys))));
    }
    seen = seen ? arith::OrIOp::create(code, seen, some) : some;
  }
  next = code.choose(code.anyLane(seen), next, [&] {
    State result(next);
    piece({stage}, result, [&](MutableArrayRef<Value> scores) {
      if (shape.alibi != 0)
        weighRows(loop.getInductionVar(), scores);
      hide(key, lows, highs, scores);
    });
    return result;
  });
  next.push_back(other);
  scf::YieldOp::create(code, next);
  code.keepRolled(loop.getResult(0));
  return State(loop.getResults().drop_back());
}

// Of a piece of the warp. Scores here have yet to be multiplied by the scale.
void RoundedAttention::weighRows(Value pieceNumber,
                                 MutableArrayRef<Value> scores) {
  Value key = code.add(first, mul(pieceNumber, sizes.keys * sizes.keyWarps));
  SmallVector<RowTile::Weighing> weighings;
  for (int64_t h = 0; h < 2; ++h) {
    weighings.push_back(tile.weighing(rowOf(h)));
    weighings[h].slope =
        code.fmul(weighings[h].slope, code.f32(1 / shape.scale));
  }
  weigh(key, weighings, scores);
}

void RoundedAttention::piece(Stage stage, State &state,
                             function_ref<void(MutableArrayRef<Value>)> mask) {
  int64_t blocks = sizes.keys / 16;
  SmallVector<Value> scores(8 * blocks, code.f32(0));
  for (int64_t step = 0; step < sizes.steps; ++step)
    for (int64_t n = 0; n < blocks; ++n) {
      SmallVector<Value> keys = keyMatrices(stage, n, step);
      for (int64_t half = 0; half < 2; ++half)
        multiply(queries[step], ArrayRef(keys).slice(2 * half, 2),
                 MutableArrayRef(scores).slice(4 * (2 * n + half), 4));
    }
  if (mask)
    mask(scores);
  softmax(scores, state);
  Value one = code.i32(shape.stored.isBF16() ? 0x3f803f80 : 0x3c003c00);
  auto sums = MutableArrayRef(state).slice(sumsAt, 4);
  auto outs = MutableArrayRef(state).slice(outsAt, 4 * sizes.tiles);
  for (int64_t n = 0; n < blocks; ++n) {
    // What a lane has of scores is what it has of the next product's rows.
    SmallVector<Value> weights;
    for (int64_t i = 0; i < 4; ++i)
      weights.push_back(code.packPair(shape.stored, scores[8 * n + 2 * i],
                                      scores[8 * n + 2 * i + 1]));
    multiply(weights, {one, one}, sums);
    for (int64_t pair = 0; pair < sizes.pairs; ++pair) {
      SmallVector<Value> values = valueMatrices(stage, n, pair);
      for (int64_t i = 2 * pair; i < std::min(2 * pair + 2, sizes.tiles); ++i)
        multiply(weights, ArrayRef(values).slice(i % 2 * 2, 2),
                 outs.slice(4 * i, 4));
    }
  }
}

// Scores become weights. A row keeps its maximum, and with it sum and output,
// until a score exceeds it by more than 8: weights are up to 2^8 then.
void RoundedAttention::softmax(MutableArrayRef<Value> scores, State &state) {
  Value scale = code.f32(shape.scale);
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
    Value exceeds =
        arith::CmpFOp::create(code, arith::CmpFPredicate::OGT,
                              code.fma(top, scale, state[h]), code.f32(8));
    far = far ? Value(arith::OrIOp::create(code, far, exceeds)) : exceeds;
  }
  state = code.choose(code.anyLane(far), state, [&] {
    State next(state);
    for (int64_t h = 0; h < 2; ++h) {
      next[h] =
          code.minNumber(state[h], code.fmul(tops[h], code.f32(-shape.scale)));
      Value factor = code.exp2(code.fsub(next[h], state[h]));
      // Columns of the sum are equal: only the first is looked at.
      Value &sum = next[sumsAt + 2 * h];
      sum = code.fmul(sum, factor);
      for (int64_t i = 0; i < sizes.tiles; ++i)
        for (int64_t e = 0; e < 2; ++e) {
          Value &out = next[outsAt + 4 * i + 2 * h + e];
          out = code.fmul(out, factor);
        }
    }
    return next;
  });
  for (int64_t h = 0; h < 2; ++h)
    for (size_t n = 0; n < scores.size() / 4; ++n)
      for (int64_t e = 0; e < 2; ++e) {
        Value &score = scores[4 * n + 2 * h + e];
        score = code.exp2(code.fma(score, scale, state[h]));
      }
}

StageShape nvptx::roundedStage(kernel::AttentionOp op, bool narrow) {
  HeadShape shape(op);
  int64_t rowBytes = TensorSizes::rowBytesOf(shape);
  TensorSizes sizes(shape, narrow, /*parts=*/0, /*warps=*/narrow ? 4 : 8,
                    narrow ? std::max<int64_t>(16, 32 * 128 / rowBytes)
                           : std::min<int64_t>(64, 64 * 256 / rowBytes));
  return StageShape{sizes.threads, sizes.shared, sizes.rows, sizes.partKeys(),
                    [=](Kernel::Inside &in, RowTile &tile) {
                      RoundedAttention(in, op, tile, sizes).run();
                    }};
}
