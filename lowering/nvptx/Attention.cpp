//===- Attention.cpp - attention kernels ----------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Attention.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

/// With so many rows or fewer in a sequence, tiles are narrow.
static constexpr int64_t narrowRows = 32;

/// The first key that a row which is none sees; its last one is below.
static constexpr int32_t never = std::numeric_limits<int32_t>::max();

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

HeadShape::HeadShape(kernel::AttentionOp op) {
  auto k = cast<MemRefType>(op.getK().getType());
  stored = k.getElementType();
  kvHeads = k.getDimSize(1);
  headDim = k.getDimSize(3);
  heads = cast<MemRefType>(op.getQ().getType()).getShape().back() / headDim;
  group = heads / kvHeads;
  scale = static_cast<float>(
      static_cast<double>(op.getScale().convertToFloat()) * M_LOG2E);
  alibi = op.getMask().getAlibiF32();
}

Value RowTile::blocks(Code &host, const HeadShape &shape, const Buffer &q,
                      int64_t rows) {
  Value tiles = host.ceilDiv(host.mul(q.sizes[1], shape.group), rows);
  return host.mul(host.mul(q.sizes[0], shape.kvHeads), tiles);
}

RowTile::RowTile(Kernel::Inside &in, kernel::AttentionOp op, int64_t rows,
                 int64_t shared, function_ref<void(RowTile &)> body)
    : rows(rows), in(in), op(op), shape(op), code(in.code),
      places(code.shared(shared)), lows(code.shared(shared + 8 * rows)),
      highs(code.shared(shared + 12 * rows)),
      doubts(code.shared(shared + 16 * rows)) {
  if (shape.alibi != 0) {
    slopes = code.shared(shared + 20 * rows);
    selves = code.shared(shared + 24 * rows);
  }
  const Buffer &q = in[op.getQ()], &k = in[op.getK()];
  // Late tiles see the most keys: they come first. A grid's numbers fit in 32
  // bits, where division is much shorter.
  auto divide = [&](Value a, Value b) {
    return Value(arith::DivUIOp::create(code, a, b));
  };
  Value heads = code.narrow(code.mul(q.sizes[0], shape.kvHeads));
  Value tiles =
      code.narrow(code.ceilDiv(code.mul(q.sizes[1], shape.group), rows));
  Value block = NVVM::BlockIdXOp::create(code, code.getI32Type());
  Value tile = divide(block, heads);
  Value item = code.sub(block, code.mul(tile, heads));
  tile = code.sub(code.sub(tiles, code.i32(1)), tile);
  firstRow = code.mul(code.widen(tile), rows);
  Value sequence32 = divide(item, code.i32(shape.kvHeads));
  sequence = code.widen(sequence32);
  kvHead =
      code.widen(code.sub(item, code.mul(sequence32, code.i32(shape.kvHeads))));
  head = code.mul(code.mul(code.widen(item), k.sizes[2]), shape.headDim);
  length =
      op.getLengths() ? in[op.getLengths()].entry(code, sequence) : code.i64(0);
  Value queries =
      op.getOffsets() ? in[op.getCounts()].entry(code, sequence) : q.sizes[1];
  // Sequences may have fewer queries than there are tiles for.
  code.when(code.less(firstRow, code.mul(queries, shape.group)), [&] {
    code.when(code.less(code.thread(), rows),
              [&] { fill(code.thread(), queries); });
    code.barrier();
    findRange();
    body(*this);
  });
}

Value RowTile::place(Value r) {
  return code.load(code.i64Type(), code.atShared(places, code.i64Type(), r));
}
Value RowTile::low(Value r) {
  Type i32 = code.getI32Type();
  return code.load(i32, code.atShared(lows, i32, r));
}
Value RowTile::high(Value r) {
  Type i32 = code.getI32Type();
  return code.load(i32, code.atShared(highs, i32, r));
}

// The j-th query of the sequence as a packed row of the family.
Value RowTile::packedRow(Value j) {
  const Buffer &order = in[op.getOrder()];
  return order.entry(code, code.add(code.mul(sequence, order.sizes[1]), j));
}

// The cache's row of the j-th query.
Value RowTile::cacheRow(Value j) {
  if (op.getOffsets() && !op.getCompact()) {
    Value row = in[op.getIndices()].entry(code, packedRow(j));
    j = code.sub(row, code.mul(sequence, in[op.getQ()].sizes[1]));
  }
  return code.add(length, j);
}

// Of a row of the cache, as an i64. The runtime refuses to run past the end;
// never read there anyway.
Value RowTile::positionOf(Value row) {
  const Buffer &positions = in[op.getPositions()];
  row = code.max(code.min(row, code.sub(positions.sizes[1], 1)), 0);
  return positions.entry(code,
                         code.add(code.mul(sequence, positions.sizes[1]), row));
}

RowTile::Weighing RowTile::weighing(Value r) {
  Type f32 = code.getF32Type(), i32 = code.getI32Type();
  return {code.load(f32, code.atShared(slopes, f32, r)),
          code.load(i32, code.atShared(selves, i32, r))};
}

Value RowTile::weigh(Value score, const Weighing &weighing, Value key) {
  if (shape.alibi == 0)
    return score;
  if (op.getPositions())
    key = code.narrow(positionOf(code.widen(key)));
  Value distance = code.sub(weighing.self, key);
  // Keys behind the query are hidden under a causal mask.
  if (!op.getMask().getCausal())
    distance = code.max(distance, code.sub(code.i32(0), distance));
  distance = arith::SIToFPOp::create(code, code.getF32Type(), distance);
  return code.fma(weighing.slope, distance, score);
}

// Of row r, the j-th query's head `head`.
void RowTile::fillWeighing(Value r, Value j, Value head) {
  Value number =
      arith::SIToFPOp::create(code, code.getF32Type(), code.add(head, 1));
  Value slope = code.exp2(code.fmul(number, code.f32(-shape.alibi)));
  slope = code.fmul(slope, code.f32(static_cast<float>(-M_LOG2E)));
  Value self = cacheRow(j);
  if (op.getPositions())
    self = positionOf(self);
  code.store(slope, code.atShared(slopes, code.getF32Type(), r));
  code.store(code.narrow(self), code.atShared(selves, code.getI32Type(), r));
}

// The first key in the window of the j-th query, by positions, which ascend
// along the cache.
Value RowTile::findLow(Value j) {
  int64_t window = op.getMask().getWindow();
  Value own = code.max(
      code.min(cacheRow(j), code.sub(in[op.getPositions()].sizes[1], 1)), 0);
  Value limit = code.sub(positionOf(own), window);
  Value low = code.max(code.sub(code.add(own, 1), window), 0);
  // Positions are no closer than rows: no more than `window` candidates.
  int64_t candidates = std::min<int64_t>(
      window, cast<MemRefType>(op.getK().getType()).getDimSize(2));
  Value steps = code.i64(llvm::Log2_64_Ceil(candidates));
  return code.loop(code.i64(0), steps, 1, ValueRange{low, own},
                   [&](Value, ValueRange range) {
                     Value middle = code.div(code.add(range[0], range[1]), 2);
                     Value seen = code.less(limit, positionOf(middle));
                     return SmallVector<Value>{
                         code.select(seen, range[0], code.add(middle, 1)),
                         code.select(seen, middle, range[1])};
                   })[0];
}

// The tables' entries of row r.
void RowTile::fill(Value r, Value queries) {
  const Buffer &q = in[op.getQ()];
  Type i32 = code.getI32Type(), i64 = code.i64Type();
  auto set = [&](Value place, Value low, Value high) {
    code.store(place, code.atShared(places, i64, r));
    code.store(code.narrow(low), code.atShared(lows, i32, r));
    code.store(code.narrow(high), code.atShared(highs, i32, r));
  };
  set(code.i64(-1), code.i64(never), code.i64(0));
  code.store(code.i32(0), code.atShared(doubts, i32, r));
  if (shape.alibi != 0) {
    code.store(code.f32(0), code.atShared(slopes, code.getF32Type(), r));
    code.store(code.i32(0), code.atShared(selves, i32, r));
  }
  Value item = code.add(firstRow, r);
  Value j = code.div(item, shape.group);
  code.when(code.less(j, queries), [&] {
    auto write = [&](Value row) {
      Value head =
          code.add(code.mul(kvHead, shape.group), code.rem(item, shape.group));
      Value column = code.mul(head, shape.headDim);
      Value place = code.add(code.mul(row, q.rowStride(code)), column);
      Value high;
      if (op.getMask().getCausal())
        high = code.add(cacheRow(j), 1);
      else
        high = code.add(length, op.getCompact() ? queries : q.sizes[1]);
      high = code.min(high, in[op.getK()].sizes[2]);
      Value low = code.i64(0);
      if (op.getPositions() && op.getMask().getWindow())
        low = findLow(j);
      else if (int64_t window = op.getMask().getWindow())
        low = code.max(code.sub(code.add(cacheRow(j), 1), window), 0);
      set(place, low, high);
      if (shape.alibi != 0)
        fillWeighing(r, j, head);
    };
    if (!op.getOffsets())
      return write(code.add(code.mul(sequence, q.sizes[1]), j));
    RowRange range = rowsOf(in, op.getOffsets(), op.getSets(), op.getQ());
    Value row = code.sub(packedRow(j), range.low);
    // Rows of other sets of the family are none.
    code.when(code.inside(row, range.count), [&] { write(row); });
  });
}

// By every warp for itself.
void RowTile::findRange() {
  Value first, end, lowest, highest;
  for (int64_t r = 0; r < rows; r += warpSize) {
    Value row = code.add(code.lane(), r);
    // Of fewer rows than lanes some look at the same.
    if (rows < warpSize)
      row = code.rem(row, rows);
    Value low = this->low(row), high = this->high(row);
    first = first ? code.min(first, low) : low;
    end = end ? code.max(end, high) : high;
    Value isRow = code.less(low, high);
    low = code.select(isRow, low, code.i32(0));
    high = code.select(isRow, high, code.i32(never));
    lowest = lowest ? code.max(lowest, low) : low;
    highest = highest ? code.min(highest, high) : high;
  }
  firstKey = code.widen(
      code.reduceWarp(first, [&](Value a, Value b) { return code.min(a, b); }));
  endKey = code.widen(
      code.reduceWarp(end, [&](Value a, Value b) { return code.max(a, b); }));
  firstCommon =
      code.reduceWarp(lowest, [&](Value a, Value b) { return code.max(a, b); });
  endCommon = code.reduceWarp(highest,
                              [&](Value a, Value b) { return code.min(a, b); });
}

//===----------------------------------------------------------------------===//
// Parts of the keys
//===----------------------------------------------------------------------===//

void RowTile::split(int64_t keys, function_ref<void()> body) {
  Value first = code.narrow(firstKey), end = code.narrow(endKey);
  Value all = code.sub(end, first), most = code.grid32(1);
  auto divideUp = [&](Value a, Value b) {
    return Value(
        arith::DivUIOp::create(code, code.add(a, code.sub(b, code.i32(1))), b));
  };
  Value each = code.max(divideUp(all, most), code.i32(leastKeys));
  each = code.mul(divideUp(each, code.i32(keys)), code.i32(keys));
  part = code.block32(1);
  parts = divideUp(all, each);
  first = code.add(first, code.mul(part, each));
  firstKey = code.widen(first);
  endKey = code.widen(code.min(end, code.add(first, each)));
  code.when(code.less(part, parts), body);
}

Value RowTile::workspaceAt(Value part, Value r) {
  const Buffer &room = in[op.getWorkspace()];
  Value slot = code.add(code.mul(code.block32(), code.grid32(1)), part);
  Value row = code.add(code.mul(code.widen(slot), room.type.getDimSize(1)), r);
  return code.byteAt(code.global(room.pointer),
                     code.mul(row, 4 * room.type.getDimSize(2)));
}

Value RowTile::isLastPart() {
  Value tickets = code.global(in[op.getTickets()].pointer);
  return code.isLastBlock(code.atRow(tickets, code.block32(), 4),
                          code.sub(parts, code.i32(1)));
}

//===----------------------------------------------------------------------===//
// Rows in doubt
//===----------------------------------------------------------------------===//

void RowTile::doubt(Value r, Value y) {
  Value isNan = arith::CmpFOp::create(code, arith::CmpFPredicate::UNO, y, y);
  code.when(isNan, [&] {
    code.store(code.i32(1), code.atShared(doubts, code.getI32Type(), r));
  });
}

void RowTile::settle() {
  code.barrier();
  Value warps = code.i64(code.threads / warpSize);
  code.loop(
      code.i64(0), code.i64(llvm::divideCeil(rows, code.threads / warpSize)), 1,
      [&](Value turn) {
        Value r = code.add(code.mul(turn, warps), code.warp());
        if (rows % (code.threads / warpSize))
          r = code.min(r, rows - 1);
        Value doubt = code.load(code.getI32Type(),
                                code.atShared(doubts, code.getI32Type(), r));
        Value isRow = code.less(code.i64(-1), place(r));
        code.when(arith::AndIOp::create(code, isRow,
                                        code.compare(arith::CmpIPredicate::ne,
                                                     doubt, code.i32(0))),
                  [&] { compute(r); });
      });
}

// Row r by a warp, key by key; a lane has every 32nd column.
void RowTile::compute(Value r) {
  const Buffer &out = in[op.getOut()];
  int64_t count = llvm::divideCeil(shape.headDim, warpSize);
  Value start = place(r);
  auto columnOf = [&](int64_t i) {
    return code.add(code.lane(), warpSize * i);
  };
  auto columns = [&](Type stored, Value row) {
    SmallVector<Value> values;
    for (int64_t i = 0; i < count; ++i) {
      Value column = code.min(columnOf(i), shape.headDim - 1);
      values.push_back(vector::ExtractOp::create(
          code, code.loadVector(stored, code.at(row, stored, column), 1), 0));
    }
    return values;
  };
  const Buffer &queries = in[op.getQ()];
  SmallVector<Value> q = columns(
      queries.element(), code.at(queries.pointer, queries.element(), start));
  for (auto [i, x] : llvm::enumerate(q))
    x = code.select(code.less(columnOf(i), shape.headDim),
                    code.fmul(x, code.f32(shape.scale)), code.f32(0));
  SmallVector<Value> state{code.f32(-1e30f), code.f32(0)};
  state.append(count, code.f32(0));
  Weighing own = shape.alibi != 0 ? weighing(r) : Weighing();
  state = code.loop(
      code.widen(low(r)), code.widen(high(r)), 1, state,
      [&](Value key, ValueRange old) {
        Value from = code.add(head, code.mul(key, shape.headDim));
        auto rowOf = [&](Value cache) {
          return columns(shape.stored,
                         code.at(in[cache].pointer, shape.stored, from));
        };
        Value score = code.f32(0);
        for (auto [x, k] : llvm::zip(q, rowOf(op.getK())))
          score = code.fma(x, k, score);
        score = code.reduceWarp(
            score, [&](Value a, Value b) { return code.fadd(a, b); });
        score = weigh(score, own, code.narrow(key));
        Value top = code.maxNumber(old[0], score);
        Value factor = code.exp2(code.fsub(old[0], top));
        Value weight = code.exp2(code.fsub(score, top));
        SmallVector<Value> next{top, code.fma(old[1], factor, weight)};
        for (auto [y, v] : llvm::zip(old.drop_front(2), rowOf(op.getV())))
          next.push_back(code.fma(weight, v, code.fmul(y, factor)));
        return next;
      });
  Value to = code.at(out.pointer, out.element(), start);
  for (int64_t i = 0; i < count; ++i)
    code.when(code.less(columnOf(i), shape.headDim), [&] {
      Value y = code.fdiv(state[2 + i], state[1]);
      code.storeVector(out.element(), code.broadcast(y, 1),
                       code.at(to, out.element(), columnOf(i)));
    });
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

void nvptx::addStages(Kernel &kernel, kernel::AttentionOp op,
                      function_ref<StageShape(bool narrow)> shapeOf) {
  HeadShape shape(op);
  unsigned place = kernel.indexOf(op.getQ());
  // The number of rows decides, which the host has.
  int64_t tokens = cast<MemRefType>(op.getQ().getType()).getDimSize(1);
  for (bool narrow : {false, true}) {
    if (!ShapedType::isDynamic(tokens) &&
        narrow != (tokens * shape.group <= narrowRows))
      continue;
    StageShape stage = shapeOf(narrow);
    // Parts of all blocks that the workspace has room for, and of the caches.
    int64_t slots = 0, most = 1;
    if (stage.keys && op.getWorkspace()) {
      auto room = cast<MemRefType>(op.getWorkspace().getType());
      auto tickets = cast<MemRefType>(op.getTickets().getType());
      if (room.getDimSize(1) >= stage.rows && room.getDimSize(2) % 4 == 0 &&
          room.getDimSize(2) >= shape.headDim + 4)
        slots = std::min(room.getDimSize(0), tickets.getDimSize(0));
      most = llvm::divideCeil(
          cast<MemRefType>(op.getK().getType()).getDimSize(2), leastKeys);
    }
    assert(stage.shared <= 99 * 1024 && "more than a block of sm_120 may have");
    auto grid = [shape, place, narrow, slots, most,
                 rows = stage.rows](Code &host, ArrayRef<Buffer> buffers) {
      const Buffer &q = buffers[place];
      Value blocks = RowTile::blocks(host, shape, q, rows);
      Value isNarrow =
          host.less(host.mul(q.sizes[1], shape.group), narrowRows + 1);
      Value none = host.i64(0), parts;
      if (slots)
        parts = host.max(
            host.min(host.div(host.i64(slots), host.max(blocks, 1)), most), 1);
      return Grid{narrow ? host.select(isNarrow, blocks, none)
                         : host.select(isNarrow, none, blocks),
                  parts,
                  {}};
    };
    kernel.stage(stage.threads, stage.shared, grid, [&](Kernel::Inside &in) {
      // The assembler would rather spill than fit fewer blocks.
      in.code.getInsertionBlock()->getParentOp()->setAttr(
          NVVM::NVVMDialect::getMinctasmAttrName(),
          in.code.getI32IntegerAttr(1));
      RowTile(in, op, stage.rows, 0, [&](RowTile &tile) {
        // Tiles of other sets' rows have nothing to do.
        in.code.when(in.code.less(in.code.i64(0), tile.endKey), [&] {
          auto compute = [&] {
            stage.body(in, tile);
            tile.settle();
          };
          if (slots)
            tile.split(stage.keys, compute);
          else
            compute();
        });
      });
    });
  }
}

//===----------------------------------------------------------------------===//
// Products of single numbers
//===----------------------------------------------------------------------===//

namespace {
/// The scalar kernel. Queries, a block of keys and their values lie in shared
/// memory, in f32. 16 threads share a few rows: for scores each takes every
/// 16th key of the block, for outputs every 16th group of four columns.
class ScalarAttention {
public:
  struct Sizes {
    Sizes(const HeadShape &shape, bool narrow) {
      chunks = llvm::divideCeil(shape.headDim, 4);
      // Rows an odd number of 16 bytes apart lie in different banks.
      stride = 4 * (chunks | 1);
      bool wideHead = shape.headDim > 128;
      threads = wideHead ? 128 : 256;
      rowsEach = narrow ? 1 : shape.headDim <= 256 ? 4 : 2;
      keysEach = wideHead ? 1 : narrow ? 4 : 2;
      rows = threads / 16 * rowsEach;
      keys = 16 * keysEach;
      weightStride = keys + 4;
      queryAt = RowTile::bytes(shape, rows);
      keyAt = queryAt + 4 * rows * stride;
      valueAt = keyAt + 4 * keys * stride;
      weightAt = valueAt + 4 * keys * stride;
      shared = weightAt + 4 * rows * weightStride;
    }
    int64_t chunks, stride; ///< groups of four columns; f32 from row to row
    int64_t threads, rowsEach, keysEach, rows, keys, weightStride;
    int64_t queryAt, keyAt, valueAt, weightAt, shared; ///< bytes
  };

  ScalarAttention(Kernel::Inside &in, kernel::AttentionOp op, RowTile &tile,
                  const Sizes &sizes)
      : in(in), op(op), tile(tile), code(in.code), shape(op), sizes(sizes) {}

  void run() {
    Value thread = code.thread();
    column = code.rem(thread, 16);
    row = code.mul(code.div(thread, 16), sizes.rowsEach);
    slots = llvm::divideCeil(sizes.chunks, 16);
    loadQueries();
    SmallVector<Value> state;
    for (int64_t i = 0; i < sizes.rowsEach; ++i) {
      lows.push_back(tile.low(code.add(row, i)));
      highs.push_back(tile.high(code.add(row, i)));
      weighings.push_back(shape.alibi != 0 ? tile.weighing(code.add(row, i))
                                           : RowTile::Weighing());
    }
    state.append(sizes.rowsEach, code.f32(-1e30f));
    state.append(sizes.rowsEach, code.f32(0));
    state.append(sizes.rowsEach * slots, code.splat(0, 4));
    state = code.loop(
        tile.firstKey, tile.endKey, sizes.keys, state,
        [&](Value key, ValueRange carried) { return block(key, carried); });
    finish(state);
  }

private:
  Value sharedRow(int64_t byte, Value row, int64_t stride) {
    return code.atShared(code.shared(byte), code.getF32Type(),
                         code.mul(row, stride));
  }
  Value chunkOf(Value row, Value chunk) {
    return code.loadWide(
        code.getF32Type(),
        code.atShared(row, code.getF32Type(), code.mul(chunk, 4)), 4);
  }

  // Four elements of a row of D; 0 behind its end.
  Value loadChunk(Type stored, Value pointer, Value chunk) {
    Value first = code.mul(chunk, 4);
    if (shape.headDim % 4 == 0) {
      return code.loadWide(stored, code.at(pointer, stored, first), 4);
    }
    Value result = code.splat(0, 4);
    for (int64_t e = 0; e < 4; ++e) {
      Value at = code.add(first, e);
      Value inside = code.less(at, shape.headDim);
      at = code.min(at, shape.headDim - 1);
      Value x = vector::ExtractOp::create(
          code, code.loadVector(stored, code.at(pointer, stored, at), 1), 0);
      x = code.select(inside, x, code.f32(0));
      result = vector::InsertOp::create(code, x, result, e);
    }
    return result;
  }

  void storeChunk(Value chunk, Value row, Value index) {
    code.storeWide(code.getF32Type(), chunk,
                   code.atShared(row, code.getF32Type(), code.mul(index, 4)));
  }

  // Rows that are none become 0.
  void loadQueries() {
    const Buffer &q = in[op.getQ()];
    code.share(code.i64(sizes.rows * sizes.chunks), [&](Value index) {
      Value r = code.div(index, sizes.chunks);
      Value chunk = code.rem(index, sizes.chunks);
      Value to = sharedRow(sizes.queryAt, r, sizes.stride);
      storeChunk(code.splat(0, 4), to, chunk);
      Value place = tile.place(r);
      code.when(code.less(code.i64(-1), place), [&] {
        Value x = loadChunk(q.element(), code.at(q.pointer, q.element(), place),
                            chunk);
        storeChunk(code.fmul(x, code.splat(shape.scale, 4)), to, chunk);
      });
    });
  }

  // All loads of a thread are under way before the first is stored.
  void loadPiece(Value key) {
    int64_t total = sizes.keys * sizes.chunks;
    struct Move {
      Value data, to, chunk;
    };
    SmallVector<Move> moves;
    for (auto [operand, byte] :
         {std::pair<Value, int64_t>{op.getK(), sizes.keyAt},
          std::pair<Value, int64_t>{op.getV(), sizes.valueAt}}) {
      Value base =
          code.global(code.at(in[operand].pointer, shape.stored, tile.head));
      for (int64_t i = 0; i < total; i += sizes.threads) {
        Value index = code.add(code.thread(), i);
        // The last ones may do the same.
        if (i + sizes.threads > total)
          index = code.min(index, total - 1);
        Value n = code.div(index, sizes.chunks);
        Value chunk = code.rem(index, sizes.chunks);
        // Behind the last key that is seen, memory may hold anything, NaN too.
        Value from = code.min(code.add(key, n), code.sub(tile.endKey, 1));
        int64_t bytes =
            shape.headDim * shape.stored.getIntOrFloatBitWidth() / 8;
        Value row = code.byteAt(base, code.mul(from, bytes));
        moves.push_back({loadChunk(shape.stored, row, chunk),
                         sharedRow(byte, n, sizes.stride), chunk});
      }
    }
    for (const Move &move : moves)
      storeChunk(move.data, move.to, move.chunk);
  }

  SmallVector<Value> block(Value key, ValueRange state) {
    loadPiece(key);
    code.barrier();
    SmallVector<Value> scores = multiplyKeys();
    SmallVector<Value> next(state);
    for (int64_t i = 0; i < sizes.rowsEach; ++i)
      softmax(i, key, scores, next);
    code.syncWarp();
    multiplyValues(next);
    code.barrier();
    return next;
  }

  SmallVector<Value> multiplyKeys() {
    Value queries = sharedRow(sizes.queryAt, row, sizes.stride);
    Value keys = sharedRow(sizes.keyAt, column, sizes.stride);
    SmallVector<Value> zeros(sizes.rowsEach * sizes.keysEach, code.f32(0));
    auto rowAt = [&](Value base, int64_t r) {
      return code.atShared(base, code.getF32Type(), code.i64(r * sizes.stride));
    };
    return code.loop(code.i64(0), code.i64(sizes.chunks), 1, zeros,
                     [&](Value chunk, ValueRange sums) {
                       SmallVector<Value> next(sums);
                       SmallVector<Value> k;
                       for (int64_t n = 0; n < sizes.keysEach; ++n)
                         k.push_back(chunkOf(rowAt(keys, 16 * n), chunk));
                       for (int64_t i = 0; i < sizes.rowsEach; ++i) {
                         Value q = chunkOf(rowAt(queries, i), chunk);
                         for (int64_t n = 0; n < sizes.keysEach; ++n)
                           for (int64_t e = 0; e < 4; ++e) {
                             Value &sum = next[i * sizes.keysEach + n];
                             sum =
                                 code.fma(element(q, e), element(k[n], e), sum);
                           }
                       }
                       return next;
                     });
  }

  Value element(Value vector, int64_t i) {
    return vector::ExtractOp::create(code, vector, i);
  }

  // Of row i: scores become weights in shared memory, state is rescaled.
  void softmax(int64_t i, Value key, ValueRange scores,
               MutableArrayRef<Value> state) {
    Value hidden = code.f32(-std::numeric_limits<float>::infinity());
    SmallVector<Value> x;
    Value &maximum = state[i], &sum = state[sizes.rowsEach + i];
    Value top = maximum;
    for (int64_t n = 0; n < sizes.keysEach; ++n) {
      Value at = code.narrow(code.add(code.add(key, column), 16 * n));
      Value seen = arith::AndIOp::create(
          code, code.less(at, highs[i]),
          arith::CmpIOp::create(code, arith::CmpIPredicate::sge, at, lows[i]));
      Value score =
          tile.weigh(scores[i * sizes.keysEach + n], weighings[i], at);
      x.push_back(code.select(seen, score, hidden));
      top = code.maxNumber(top, x.back());
    }
    for (int64_t mask = 8; mask; mask /= 2)
      top = code.maxNumber(top, code.shuffleXor(top, mask));
    Value factor = code.exp2(code.fsub(maximum, top));
    sum = code.fmul(sum, factor);
    Value weights =
        sharedRow(sizes.weightAt, code.add(row, i), sizes.weightStride);
    for (int64_t n = 0; n < sizes.keysEach; ++n) {
      Value p = code.exp2(code.fsub(x[n], top));
      sum = code.fadd(sum, p);
      code.store(p, code.atShared(weights, code.getF32Type(),
                                  code.add(column, 16 * n)));
    }
    for (int64_t j = 0; j < slots; ++j) {
      Value &out = state[2 * sizes.rowsEach + i * slots + j];
      out = code.fmul(out, code.broadcast(factor, 4));
    }
    maximum = top;
  }

  // The group of four columns in slot j; threads without one repeat the last.
  Value chunkAt(int64_t j) {
    return code.min(code.add(column, 16 * j), sizes.chunks - 1);
  }

  void multiplyValues(MutableArrayRef<Value> state) {
    Value weights = sharedRow(sizes.weightAt, row, sizes.weightStride);
    MutableArrayRef<Value> outs = state.drop_front(2 * sizes.rowsEach);
    SmallVector<Value> results = code.loop(
        code.i64(0), code.i64(sizes.keys), 4, outs,
        [&](Value key, ValueRange sums) {
          SmallVector<Value> next(sums), p;
          for (int64_t i = 0; i < sizes.rowsEach; ++i)
            p.push_back(code.loadWide(
                code.getF32Type(),
                code.atShared(weights, code.getF32Type(),
                              code.add(key, i * sizes.weightStride)),
                4));
          for (int64_t e = 0; e < 4; ++e)
            for (int64_t j = 0; j < slots; ++j) {
              Value v = chunkOf(
                  sharedRow(sizes.valueAt, code.add(key, e), sizes.stride),
                  chunkAt(j));
              for (int64_t i = 0; i < sizes.rowsEach; ++i) {
                Value &sum = next[i * slots + j];
                sum = code.fma(code.broadcast(element(p[i], e), 4), v, sum);
              }
            }
          return next;
        });
    llvm::copy(results, outs.begin());
  }

  void finish(ArrayRef<Value> state) {
    const Buffer &out = in[op.getOut()];
    for (int64_t i = 0; i < sizes.rowsEach; ++i) {
      Value sum = state[sizes.rowsEach + i];
      for (int64_t mask = 8; mask; mask /= 2)
        sum = code.fadd(sum, code.shuffleXor(sum, mask));
      Value factor = code.fdiv(code.f32(1), sum);
      Value place = tile.place(code.add(row, i));
      code.when(code.less(code.i64(-1), place), [&] {
        Type type = out.element();
        Value to = code.at(out.pointer, type, place);
        for (int64_t j = 0; j < slots; ++j) {
          Value y = code.fmul(state[2 * sizes.rowsEach + i * slots + j],
                              code.broadcast(factor, 4));
          tile.doubt(code.add(row, i), code.sum(y));
          Value chunk = code.add(column, 16 * j);
          code.when(code.less(chunk, sizes.chunks), [&] {
            Value first = code.mul(chunk, 4);
            if (shape.headDim % 4 == 0)
              return code.storeWide(type, y, code.at(to, type, first));
            for (int64_t e = 0; e < 4; ++e) {
              Value at = code.add(first, e);
              code.when(code.less(at, shape.headDim), [&] {
                code.storeVector(type, code.broadcast(element(y, e), 1),
                                 code.at(to, type, at));
              });
            }
          });
        }
      });
    }
  }

  Kernel::Inside &in;
  kernel::AttentionOp op;
  RowTile &tile;
  Device &code;
  HeadShape shape;
  const Sizes &sizes;
  int64_t slots; // groups of four columns of a thread
  // Of the thread: its first row, and its place among the 16 of these rows.
  Value row, column;
  SmallVector<Value> lows, highs;
  SmallVector<RowTile::Weighing> weighings;
};
} // namespace

void nvptx::addScalarStages(Kernel &kernel, kernel::AttentionOp op) {
  HeadShape shape(op);
  addStages(kernel, op, [&](bool narrow) {
    ScalarAttention::Sizes sizes(shape, narrow);
    return StageShape{sizes.threads, sizes.shared, sizes.rows, /*keys=*/0,
                      [=](Kernel::Inside &in, RowTile &tile) {
                        ScalarAttention(in, op, tile, sizes).run();
                      }};
  });
}

//===----------------------------------------------------------------------===//
// The class
//===----------------------------------------------------------------------===//

/// Widest head: what fits in the shared memory of every GPU.
static constexpr int64_t maxHeadDim = 512;

LogicalResult nvptx::generate(Kernel &kernel, kernel::AttentionOp op) {
  auto q = cast<MemRefType>(op.getQ().getType());
  auto k = cast<MemRefType>(op.getK().getType());
  auto v = cast<MemRefType>(op.getV().getType());
  auto out = cast<MemRefType>(op.getOut().getType());
  if (k.getRank() != 4 || v != k || ShapedType::isDynamic(k.getDimSize(1)) ||
      ShapedType::isDynamic(k.getDimSize(3)) ||
      !isFloatType(k.getElementType()))
    return op.emitOpError("reads the caches ")
           << k << " and " << v << "; they must be two equal [B, heads, C, D]";
  if (q.getRank() != 3 || out.getRank() != 3 ||
      !isFloatType(q.getElementType()) || !isFloatType(out.getElementType()) ||
      q.getDimSize(2) != out.getDimSize(2) ||
      ShapedType::isDynamic(q.getDimSize(2)))
    return op.emitOpError("takes ")
           << q << " to " << out
           << "; both must be [B, T, heads * D], of f32, bf16 or f16";
  if (failed(checkI32(op, {op.getLengths(), op.getPositions(), op.getOffsets(),
                           op.getIndices(), op.getOrder(), op.getCounts()})))
    return failure();
  int64_t headDim = k.getDimSize(3), kvHeads = k.getDimSize(1);
  if (headDim <= 0 || kvHeads <= 0 ||
      q.getDimSize(2) % (headDim * kvHeads) != 0)
    return op.emitOpError("shares ")
           << kvHeads << " KV heads of " << headDim << " among query rows of "
           << q.getDimSize(2);
  if (headDim > maxHeadDim)
    return op.emitOpError("has heads of ")
           << headDim << "; the GPU generator takes up to " << maxHeadDim;
  if (takesTensorCores(op))
    addTensorStages(kernel, op);
  else
    addScalarStages(kernel, op);
  return success();
}
