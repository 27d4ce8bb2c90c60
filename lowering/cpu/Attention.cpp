//===- Attention.cpp - attention over a cache -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A task owns one KV head of one sequence and a few query tokens: the rows of
// all query heads that share the KV head. It walks over the keys in blocks,
// with the softmax's maximum and sum carried along, and skips blocks that the
// mask hides from all of its rows. Scores and values go through the same
// register tiles as weights do. Packed queries are found by their number in the
// sequence.
//
// Tiles multiply hidden values by 0, which makes no number of a NaN or an
// infinity: rows whose output is not a number are computed again, from the keys
// that they see alone.
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Tiles.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

namespace {
// Keys of a block.
constexpr int64_t blockKeys = 128;
// Rows of a task, unless one token alone has more.
constexpr int64_t wantedRows = 112;

struct Shape {
  Shape(kernel::AttentionOp op, int64_t lanes) : tiling(lanes) {
    auto k = cast<MemRefType>(op.getK().getType());
    kvHeads = k.getDimSize(1);
    headDim = k.getDimSize(3);
    heads = cast<MemRefType>(op.getQ().getType()).getShape().back() / headDim;
    group = heads / kvHeads;
    tokens = std::max<int64_t>(wantedRows / group, 1);
    rows = tokens * group;
    keyPanels = blockKeys / tiling.columns;
    valuePanels = llvm::divideCeil(headDim, tiling.columns);
    outStride = valuePanels * tiling.columns;
    int64_t line = lineFloats;
    // Two rows more than there are, since tiles have an even number of rows.
    left = 0;
    keys = left + llvm::alignTo((rows + 2) * Tiling::stride, line);
    values = keys + keyPanels * headDim * tiling.columns;
    scores = values + valuePanels * blockKeys * tiling.columns;
    outs = scores + (tiling.rows + 2) * Tiling::stride;
    maxima = outs + (rows + 2) * outStride;
    sums = maxima + llvm::alignTo(rows, line);
    lows = sums + llvm::alignTo(rows, line);
    total = lows + (op.getPositions() ? llvm::alignTo(tokens, line) : 0);
  }
  Tiling tiling;
  int64_t kvHeads, headDim, heads, group;
  // Query tokens and rows of a task.
  int64_t tokens, rows;
  int64_t keyPanels, valuePanels, outStride;
  // Scratch, in f32: queries, packed keys, packed values, scores of a tile,
  // outputs, of each row the maximum and the sum so far, and with positions of
  // each token the first visible key.
  int64_t left, keys, values, scores, outs, maxima, sums, lows, total;
};
} // namespace

// (values, keys, panel's count of columns, to): a block of rows of V widened
// into panels [block key][columns].
static void packValues(Generator &generator, Code &outer, Type stored,
                       const Shape &shape, Value from, Value count, Value to) {
  std::string name;
  llvm::raw_string_ostream(name)
      << "nest_values_" << shape.headDim << "_" << stored;
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  LLVMFuncOp routine = generator.routine(
      name, {pointer, integer, pointer}, [&](Code &code, ValueRange args) {
        int64_t width = shape.tiling.columns;
        code.loop(args[1], [&](Value key) {
          Value row = code.at(args[0], stored, code.mul(key, shape.headDim));
          for (int64_t p = 0; p < shape.valuePanels; ++p) {
            int64_t columns = std::min(width, shape.headDim - p * width);
            Value target = code.atF32(
                args[2], code.add(code.mul(key, width), p * blockKeys * width));
            code.columns(code.i64(columns), [&](Value j, int64_t lanes) {
              Value v = code.loadVector(
                  stored, code.at(row, stored, code.add(j, p * width)), lanes);
              code.store(v, code.atF32(target, j));
            });
          }
        });
      });
  LLVM::CallOp::create(outer, routine, ValueRange{from, count, to});
}

namespace {
// A task's work, as pieces of one function.
class Attention {
public:
  Attention(Kernel &kernel, kernel::AttentionOp op, Kernel::Piece &piece)
      : generator(kernel.generator), kernel(kernel), op(op), piece(piece),
        shape(op, piece.code.lanes), code(piece.code), scratch(piece.scratch),
        q(piece.buffers[kernel.indexOf(op.getQ())]),
        k(piece.buffers[kernel.indexOf(op.getK())]),
        v(piece.buffers[kernel.indexOf(op.getV())]),
        out(piece.buffers[kernel.indexOf(op.getOut())]) {}

  void run(Value item, Value tiles) {
    // Late tiles see the most keys: they come first.
    Value heads = code.mul(q.sizes[0], shape.kvHeads);
    Value tile = code.sub(code.sub(tiles, 1), code.div(item, heads));
    Value head = code.rem(item, heads);
    sequence = code.div(head, shape.kvHeads);
    kvHead = code.rem(head, shape.kvHeads);
    token = code.mul(tile, shape.tokens);
    Value queries = op.getOffsets()
                        ? table(op.getCounts()).entry(code, sequence)
                        : q.sizes[1];
    tokens = code.min(code.sub(queries, token), shape.tokens);
    rows = code.mul(tokens, shape.group);
    length = op.getLengths() ? table(op.getLengths()).entry(code, sequence)
                             : code.i64(0);
    if (!op.getOffsets())
      return walk(queries);
    // Sequences have fewer queries than the tiles are made for.
    code.when(code.less(code.i64(0), tokens), [&] { walk(queries); });
  }

private:
  void walk(Value queries) {
    start();
    // Keys that any row sees.
    Value first = code.i64(0);
    if (op.getPositions() && op.getMask().getWindow())
      first = lowOf(code.i64(0));
    else if (int64_t window = op.getMask().getWindow())
      first = code.max(code.sub(code.add(cacheRow(token), 1), window), 0);
    Value end;
    if (!op.getMask().getCausal())
      end = code.add(length, op.getCompact() ? queries : q.sizes[1]);
    else if (op.getOffsets())
      end = code.add(cacheRow(code.sub(code.add(token, tokens), 1)), 1);
    else
      end = code.add(length, code.add(token, tokens));
    end = code.min(end, k.sizes[2]);
    code.loop(first, end, blockKeys, [&](Value key) {
      block(key, code.min(code.sub(end, key), blockKeys));
    });
    finish(end);
  }

  const Buffer &table(Value operand) {
    return piece.buffers[kernel.indexOf(operand)];
  }

  // The j-th query of the sequence as a packed row of the family.
  Value packedRow(Value j) {
    const Buffer &order = table(op.getOrder());
    return order.entry(code, code.add(code.mul(sequence, order.sizes[1]), j));
  }

  // The cache's row of the j-th query.
  Value cacheRow(Value j) {
    if (op.getOffsets() && !op.getCompact()) {
      Value row = table(op.getIndices()).entry(code, packedRow(j));
      j = code.sub(row, code.mul(sequence, q.sizes[1]));
    }
    return code.add(length, j);
  }

  // The first key in the window of the j-th query, by positions, which ascend
  // along the cache.
  Value findLow(Value j) {
    int64_t window = op.getMask().getWindow();
    const Buffer &positions = table(op.getPositions());
    Value line = code.mul(sequence, positions.sizes[1]);
    auto positionOf = [&](Value row) {
      return positions.entry(code, code.add(line, row));
    };
    // The runtime refuses to run past the end; never read there anyway.
    Value own =
        code.max(code.min(cacheRow(j), code.sub(positions.sizes[1], 1)), 0);
    Value limit = code.sub(positionOf(own), window);
    Value low = code.max(code.sub(code.add(own, 1), window), 0), high = own;
    // Positions are no closer than rows: no more than `window` candidates.
    int64_t candidates = std::min<int64_t>(
        window, cast<MemRefType>(op.getK().getType()).getDimSize(2));
    Value steps = code.i64(llvm::Log2_64_Ceil(candidates));
    return code.loop(code.i64(0), steps, 1, ValueRange{low, high},
                     [&](Value, ValueRange range) {
                       Value middle = code.div(code.add(range[0], range[1]), 2);
                       Value seen = code.less(limit, positionOf(middle));
                       return SmallVector<Value>{
                           code.select(seen, range[0], code.add(middle, 1)),
                           code.select(seen, middle, range[1])};
                     })[0];
  }

  // findLow of a token of the task, as start() left it.
  Value lowOf(Value t) {
    return code.loadI32(code.atF32(code.atF32(scratch, shape.lows), t));
  }

  // The row of q and out that row r of the task is.
  Value rowOf(Value r) {
    Value j = code.add(token, code.div(r, shape.group));
    if (op.getOffsets())
      return code.sub(packedRow(j), piece.extras[1]);
    return code.add(code.mul(sequence, q.sizes[1]), j);
  }

  // Row r of the task, row `row` of q and out: its place there.
  Value place(const Buffer &buffer, Value row, Value r) {
    Value column = code.mul(
        code.add(code.mul(kvHead, shape.group), code.rem(r, shape.group)),
        shape.headDim);
    return code.atF32(buffer.row(code, row), column);
  }

  void start() {
    float scale = op.getScale().convertToFloat();
    if (op.getPositions() && op.getMask().getWindow())
      code.loop(tokens, [&](Value t) {
        code.storeI32(findLow(code.add(token, t)),
                      code.atF32(code.atF32(scratch, shape.lows), t));
      });
    code.loop(rows, [&](Value r) {
      Value row = rowOf(r);
      // Rows of other sets of the family are computed, and dropped at the end.
      if (op.getOffsets())
        row = code.max(code.min(row, code.sub(piece.extras[2], 1)), 0);
      Value from = place(q, row, r);
      Value left = code.atF32(code.atF32(scratch, shape.left),
                              code.mul(r, Tiling::stride));
      code.columns(code.i64(shape.headDim), [&](Value j, int64_t lanes) {
        Value x = code.load(code.f32Vector(lanes), code.atF32(from, j));
        code.store(code.fmul(x, code.splat(scale, lanes)), code.atF32(left, j));
      });
      Value outs = outRow(r);
      code.columns(code.i64(shape.outStride), [&](Value j, int64_t lanes) {
        code.store(code.splat(0, lanes), code.atF32(outs, j));
      });
      code.store(code.f32(-1e30f),
                 code.atF32(code.atF32(scratch, shape.maxima), r));
      code.store(code.f32(0), code.atF32(code.atF32(scratch, shape.sums), r));
    });
  }

  Value outRow(Value r) {
    return code.atF32(code.atF32(scratch, shape.outs),
                      code.mul(r, shape.outStride));
  }

  void block(Value key, Value count) {
    Value headRow = code.mul(
        code.add(code.mul(sequence, shape.kvHeads), kvHead), k.sizes[2]);
    Value row = code.add(headRow, key);
    Value keys = code.atF32(scratch, shape.keys);
    Value values = code.atF32(scratch, shape.values);
    Value panels = code.ceilDiv(count, shape.tiling.columns);
    int64_t keyPanel = shape.headDim * shape.tiling.columns;
    code.loop(panels, [&](Value p) {
      Value n = code.mul(p, shape.tiling.columns);
      packPanel(generator, code, k.element(), k.row(code, code.add(row, n)),
                code.i64(shape.headDim),
                code.min(code.sub(count, n), shape.tiling.columns),
                code.i64(shape.headDim),
                code.atF32(keys, code.mul(p, keyPanel)));
    });
    packValues(generator, code, v.element(), shape, v.row(code, row), count,
               values);
    code.loop(code.i64(0), rows, shape.tiling.rows, [&](Value first) {
      Value height = code.min(code.sub(rows, first), shape.tiling.rows);
      Value left = code.atF32(code.atF32(scratch, shape.left),
                              code.mul(first, Tiling::stride));
      Value scores = code.atF32(scratch, shape.scores);
      Value no = arith::ConstantOp::create(code, code.getBoolAttr(false));
      Value yes = arith::ConstantOp::create(code, code.getBoolAttr(true));
      code.loop(panels, [&](Value p) {
        multiplyTile(generator, code, height, left,
                     code.atF32(keys, code.mul(p, keyPanel)),
                     code.atF32(scores, code.mul(p, shape.tiling.columns)),
                     code.i64(Tiling::stride), code.i64(shape.headDim), no);
      });
      code.loop(height, [&](Value r) {
        softmax(code.atF32(scores, code.mul(r, Tiling::stride)),
                code.add(first, r), key, count);
      });
      for (int64_t p = 0; p < shape.valuePanels; ++p)
        multiplyTile(generator, code, height, scores,
                     code.atF32(values, p * blockKeys * shape.tiling.columns),
                     code.atF32(outRow(first), p * shape.tiling.columns),
                     code.i64(shape.outStride), count, yes);
    });
  }

  // The keys low to high that row r sees, of those below `end`.
  std::pair<Value, Value> visible(Value r, Value end) {
    Value t = code.div(r, shape.group), low = code.i64(0);
    Value position = cacheRow(code.add(token, t));
    if (op.getMask().getCausal())
      end = code.min(end, code.add(position, 1));
    if (op.getPositions() && op.getMask().getWindow())
      low = lowOf(t);
    else if (int64_t window = op.getMask().getWindow())
      low = code.max(code.sub(code.add(position, 1), window), 0);
    return {low, end};
  }

  // What alibi takes off the scores of row r, at `lanes` keys.
  Value takenOff(Value r, Value key, int64_t lanes) {
    Type f32 = code.f32Vector(lanes);
    auto toFloat = [&](Value integer) {
      return Value(arith::SIToFPOp::create(code, code.getF32Type(), integer));
    };
    Value head =
        code.add(code.mul(kvHead, shape.group), code.rem(r, shape.group));
    // 2^(-a (h + 1))
    Value slope = code.exp(code.broadcast(
        code.fmul(
            toFloat(code.add(head, 1)),
            code.f32(static_cast<float>(-op.getMask().getAlibiF32() * M_LN2))),
        1));
    Value self = cacheRow(code.add(token, code.div(r, shape.group)));
    Value distance;
    if (op.getPositions()) {
      const Buffer &positions = table(op.getPositions());
      Value line = code.mul(sequence, positions.sizes[1]);
      // The runtime refuses to run past the end; never read there anyway.
      self = code.max(code.min(self, code.sub(positions.sizes[1], 1)), 0);
      self = positions.entry(code, code.add(line, self));
      Value others = code.load(
          code.i32Vector(lanes),
          code.at(positions.pointer, code.getI32Type(), code.add(line, key)));
      Value own = arith::TruncIOp::create(code, code.getI32Type(), self);
      distance = arith::SIToFPOp::create(
          code, f32,
          arith::SubIOp::create(code, code.broadcast(own, lanes), others));
    } else {
      SmallVector<float> steps;
      for (int64_t i = 0; i < lanes; ++i)
        steps.push_back(static_cast<float>(i));
      Value iota = arith::ConstantOp::create(
          code, DenseElementsAttr::get(code.f32Vector(lanes), ArrayRef(steps)));
      distance =
          code.fsub(code.broadcast(toFloat(code.sub(self, key)), lanes), iota);
    }
    distance = math::AbsFOp::create(code, distance);
    slope = vector::ExtractOp::create(code, slope, 0);
    return code.fmul(code.broadcast(slope, lanes), distance);
  }

  // Turns a row of scores into e^(score - maximum), 0 where the mask hides the
  // key, and rescales the row's output and sum to the new maximum.
  void softmax(Value scores, Value r, Value key, Value count) {
    int64_t lanes = code.lanes;
    if (op.getMask().getAlibi())
      code.columns(count, [&](Value j, int64_t width) {
        Value at = code.atF32(scores, j);
        Value score = code.load(code.f32Vector(width), at);
        code.store(code.fsub(score, takenOff(r, code.add(key, j), width)), at);
      });
    // Visible keys of the block: low <= j < high.
    auto [first, end] = visible(r, code.add(key, count));
    Value low = code.sub(first, key), high = code.sub(end, key);
    auto narrow = [&](Value value) {
      // Within a block or beside it: clamped to what an i32 surely holds.
      value = code.max(code.min(value, blockKeys), -1);
      value = arith::TruncIOp::create(code, code.getI32Type(), value);
      return code.broadcast(value, lanes);
    };
    Value lowest = narrow(low), highest = narrow(high);
    SmallVector<int32_t> steps;
    for (int64_t i = 0; i < lanes; ++i)
      steps.push_back(i);
    Value iota = arith::ConstantOp::create(
        code, DenseElementsAttr::get(code.i32Vector(lanes), ArrayRef(steps)));
    auto masked = [&](Value j, Value value, float hidden) {
      Value index = code.broadcast(
          arith::TruncIOp::create(code, code.getI32Type(), j), lanes);
      index = arith::AddIOp::create(code, index, iota);
      Value seen = arith::CmpIOp::create(code, arith::CmpIPredicate::slt, index,
                                         highest);
      if (op.getMask().getWindow())
        seen = arith::AndIOp::create(
            code, seen,
            arith::CmpIOp::create(code, arith::CmpIPredicate::sge, index,
                                  lowest));
      return Value(arith::SelectOp::create(code, seen, value,
                                           code.splat(hidden, lanes)));
    };
    Value padded = code.roundUp(count, lanes);
    Value oldMaximum = code.load(
        code.getF32Type(), code.atF32(code.atF32(scratch, shape.maxima), r));
    // Hidden keys count as -1e30 here and as 0 below: no infinity appears.
    Value maximum = code.loop(
        code.i64(0), padded, lanes, ValueRange{code.splat(-1e30f, lanes)},
        [&](Value j, ValueRange carried) {
          Value s = code.load(code.f32Vector(lanes), code.atF32(scores, j));
          return SmallVector<Value>{
              code.fmax(masked(j, s, -1e30f), carried[0])};
        })[0];
    maximum = code.fmax(code.maximum(maximum), oldMaximum);
    Value sum =
        code.loop(code.i64(0), padded, lanes, ValueRange{code.splat(0, lanes)},
                  [&](Value j, ValueRange carried) {
                    Value at = code.atF32(scores, j);
                    Value s = code.load(code.f32Vector(lanes), at);
                    s = code.exp(code.fsub(s, code.broadcast(maximum, lanes)));
                    s = masked(j, s, 0);
                    code.store(s, at);
                    return SmallVector<Value>{code.fadd(carried[0], s)};
                  })[0];
    Value factor = code.exp(code.broadcast(code.fsub(oldMaximum, maximum), 1));
    Value sumAt = code.atF32(code.atF32(scratch, shape.sums), r);
    Value factor0 = vector::ExtractOp::create(code, factor, 0);
    Value oldSum = code.load(code.getF32Type(), sumAt);
    code.store(code.fadd(code.fmul(oldSum, factor0), code.sum(sum)), sumAt);
    code.store(maximum, code.atF32(code.atF32(scratch, shape.maxima), r));
    Value outs = outRow(r);
    Value changed = arith::CmpFOp::create(code, arith::CmpFPredicate::OGT,
                                          maximum, oldMaximum);
    code.when(changed, [&] {
      code.columns(code.i64(shape.outStride), [&](Value j, int64_t width) {
        Value at = code.atF32(outs, j);
        Value x = code.load(code.f32Vector(width), at);
        code.store(code.fmul(x, code.broadcast(factor0, width)), at);
      });
    });
  }

  // Computes the output and the sum of a row from the keys that it sees, one
  // after the other.
  void computeAlone(Value r, Value end) {
    auto [low, high] = visible(r, end);
    Value outs = outRow(r);
    Value left = code.atF32(code.atF32(scratch, shape.left),
                            code.mul(r, Tiling::stride));
    Value headRow = code.mul(
        code.add(code.mul(sequence, shape.kvHeads), kvHead), k.sizes[2]);
    Value width = code.i64(shape.headDim);
    code.columns(width, [&](Value j, int64_t lanes) {
      code.store(code.splat(0, lanes), code.atF32(outs, j));
    });
    auto sums = code.loop(
        low, high, 1, ValueRange{code.f32(-1e30f), code.f32(0)},
        [&](Value key, ValueRange carried) {
          Value row = code.add(headRow, key);
          Value score = code.sumColumns(width, 1, [&](Value j, int64_t lanes) {
            Value x = code.load(code.f32Vector(lanes), code.atF32(left, j));
            Value y = code.loadVector(
                k.element(), code.at(k.row(code, row), k.element(), j), lanes);
            return SmallVector<Value>{code.fmul(x, y)};
          })[0];
          if (op.getMask().getAlibi())
            score = code.fsub(
                score, vector::ExtractOp::create(code, takenOff(r, key, 1), 0));
          Value maximum = code.fmax(score, carried[0]);
          auto weight = [&](Value exponent) -> Value {
            Value e = code.exp(code.broadcast(code.fsub(exponent, maximum), 1));
            return vector::ExtractOp::create(code, e, 0);
          };
          Value factor = weight(carried[0]), mine = weight(score);
          code.columns(width, [&](Value j, int64_t lanes) {
            Value at = code.atF32(outs, j);
            Value y = code.loadVector(
                v.element(), code.at(v.row(code, row), v.element(), j), lanes);
            Value x = code.load(code.f32Vector(lanes), at);
            x = code.fmul(x, code.broadcast(factor, lanes));
            code.store(code.fma(y, code.broadcast(mine, lanes), x), at);
          });
          return SmallVector<Value>{
              maximum, code.fadd(code.fmul(carried[1], factor), mine)};
        });
    code.store(sums[1], code.atF32(code.atF32(scratch, shape.sums), r));
  }

  void finish(Value end) {
    code.loop(rows, [&](Value r) {
      Value row = rowOf(r);
      auto write = [&] {
        Value to = place(out, row, r), outs = outRow(r);
        // 0 of numbers alone.
        Value doubt = code.sumColumns(
            code.i64(shape.headDim), 1, [&](Value j, int64_t width) {
              Value x = code.load(code.f32Vector(width), code.atF32(outs, j));
              return SmallVector<Value>{code.fmul(x, code.splat(0, width))};
            })[0];
        Value isNone = arith::CmpFOp::create(code, arith::CmpFPredicate::UNO,
                                             doubt, doubt);
        code.when(isNone, [&] { computeAlone(r, end); });
        Value sum = code.load(code.getF32Type(),
                              code.atF32(code.atF32(scratch, shape.sums), r));
        code.columns(code.i64(shape.headDim), [&](Value j, int64_t width) {
          Value x = code.load(code.f32Vector(width), code.atF32(outs, j));
          code.store(code.fdiv(x, code.broadcast(sum, width)),
                     code.atF32(to, j));
        });
      };
      if (op.getOffsets())
        code.when(code.inside(row, piece.extras[2]), write);
      else
        write();
    });
  }

  Generator &generator;
  Kernel &kernel;
  kernel::AttentionOp op;
  Kernel::Piece &piece;
  Shape shape;
  Code &code;
  Value scratch;
  const Buffer &q, &k, &v, &out;
  Value sequence, kvHead, token, tokens, rows, length;
};
} // namespace

LogicalResult cpu::generate(Kernel &kernel, kernel::AttentionOp op) {
  auto q = cast<MemRefType>(op.getQ().getType());
  auto k = cast<MemRefType>(op.getK().getType());
  auto v = cast<MemRefType>(op.getV().getType());
  auto out = cast<MemRefType>(op.getOut().getType());
  if (k.getRank() != 4 || v != k || ShapedType::isDynamic(k.getDimSize(1)) ||
      ShapedType::isDynamic(k.getDimSize(3)) ||
      !isFloatType(k.getElementType()))
    return op.emitOpError("reads the caches ")
           << k << " and " << v << "; they must be two equal [B, heads, C, D]";
  if (q.getRank() != 3 || out.getRank() != 3 || !q.getElementType().isF32() ||
      !out.getElementType().isF32() || q.getDimSize(2) != out.getDimSize(2) ||
      ShapedType::isDynamic(q.getDimSize(2)))
    return op.emitOpError("takes ")
           << q << " to " << out << "; both must be f32 [B, T, heads * D]";
  if (failed(checkI32(op, {op.getLengths(), op.getPositions(), op.getOffsets(),
                           op.getIndices(), op.getOrder(), op.getCounts()})))
    return failure();
  int64_t headDim = k.getDimSize(3), kvHeads = k.getDimSize(1);
  if (headDim <= 0 || kvHeads <= 0 ||
      q.getDimSize(2) % (headDim * kvHeads) != 0)
    return op.emitOpError("shares ")
           << kvHeads << " KV heads of " << headDim << " among query rows of "
           << q.getDimSize(2);
  if (headDim > Tiling::depth)
    return op.emitOpError("has heads of ")
           << headDim << "; the CPU generator takes up to " << Tiling::depth;

  Shape shape(op, kernel.code.lanes);
  kernel.scratch = 4 * shape.total;
  Code &code = kernel.code;
  const Buffer &query = kernel[op.getQ()];
  Value tiles = code.ceilDiv(query.sizes[1], shape.tokens);
  Value count = code.mul(code.mul(query.sizes[0], shape.kvHeads), tiles);
  // The keys in use are not known here; the first sequence stands for all.
  Value keys = query.sizes[1];
  if (op.getLengths())
    keys = code.add(keys, code.loadI32(kernel[op.getLengths()].pointer));
  Value each =
      code.mul(code.mul(code.min(query.sizes[1], shape.tokens), shape.group),
               code.mul(keys, 2 * headDim));
  SmallVector<Value> extras{tiles};
  if (op.getOffsets()) {
    RowRange range = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getQ());
    extras.append({range.low, range.count});
  }
  kernel.parallel(
      count, grainFor(code, each), extras, [&](Kernel::Piece &piece) {
        Attention(kernel, op, piece).run(piece.item, piece.extras[0]);
      });
  return success();
}
