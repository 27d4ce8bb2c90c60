//===- MatmulEpilogue.cpp - where tiles are, and what becomes of sums -----===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Value Tile::rowTiles(Code &code, const Matmul &matmul, Value count) const {
  if (matmul.groups == 1)
    return code.ceilDiv(count, rows);
  // Every set may end with a part of a tile, and has a row for it.
  Value most = code.div(code.add(count, matmul.groups * (rows - 1)), rows);
  return code.min(most, count);
}

// Row tiles that share columns of the weights stand together, so that blocks
// that run at the same time read few weights and few rows.
static constexpr int64_t tilesOfBand = 8;

/// Row and column tile of the block.
static std::pair<Value, Value> tileOf(Device &code, const Matmul &matmul,
                                      const Tile &tile, Value rows) {
  Value block = code.narrow(code.block());
  int64_t across = tile.columnTiles(matmul);
  if (across == 1)
    return {block, code.i32(0)};
  Value down = code.narrow(tile.rowTiles(code, matmul, rows));
  Value band = code.div(block, code.i32(tilesOfBand * across));
  Value inBand = code.rem(block, code.i32(tilesOfBand * across));
  Value first = code.mul(band, code.i32(tilesOfBand));
  Value height = code.min(code.sub(down, first), code.i32(tilesOfBand));
  return {code.add(first, code.rem(inBand, height)), code.div(inBand, height)};
}

Place nvptx::findPlace(Kernel::Inside &in, const Matmul &matmul,
                       const Tile &tile) {
  Device &code = in.code;
  kernel::MatmulOp op = matmul.op;
  Value bound = in[op.getOut()].rows(code);
  auto [down, across] = tileOf(code, matmul, tile, bound);
  Place place;
  place.column = code.mul(across, code.i32(tile.columns));
  auto height = [&](Value rows) {
    return code.max(code.min(rows, code.i32(tile.rows)), code.i32(0));
  };
  Value step = code.i32(tile.rows);
  if (matmul.groups == 1) {
    RowRange range = rowsOf(in, op.getOffsets(), op.getSets(), op.getOut());
    place.low = range.low;
    place.row = code.mul(down, step);
    place.rows = height(code.sub(code.narrow(range.count), place.row));
    return place;
  }
  // Lanes count the tiles of a set each; the block's tile is in the set where
  // the running count passes it.
  const Buffer &offsets = in[op.getOffsets()];
  int64_t firstSet = (*op.getSets())[0];
  place.low = offsets.entry(code, code.i64(firstSet));
  Value low = code.narrow(place.low);
  Value lane = code.narrow(code.lane());
  Value zero = code.i32(0), set = zero, start = zero, end = zero, left = down;
  for (int64_t done = 0; done < matmul.groups; done += warpSize) {
    Value mine = code.add(lane, code.i32(done));
    auto offset = [&](int64_t more) {
      Value index =
          code.min(code.add(mine, code.i32(more)), code.i32(matmul.groups));
      return code.narrow(
          offsets.entry(code, code.add(code.widen(index), firstSet)));
    };
    Value from = offset(0), to = offset(1);
    Value tiles =
        code.div(code.add(code.sub(to, from), code.i32(tile.rows - 1)), step);
    Value upTo = tiles;
    for (int64_t delta = 1; delta < warpSize; delta *= 2) {
      Value below = code.shuffleUp(upTo, delta);
      upTo = code.add(
          upTo, code.select(code.less(lane, code.i32(delta)), zero, below));
    }
    Value before = code.sub(upTo, tiles);
    Value isMine = arith::AndIOp::create(
        code, code.less(left, upTo),
        arith::CmpIOp::create(code, arith::CmpIPredicate::sle, before, left));
    Value vote = code.ballot(isMine);
    Value found =
        arith::CmpIOp::create(code, arith::CmpIPredicate::ne, vote, zero);
    Value owner = math::CountTrailingZerosOp::create(code, vote);
    owner = code.widen(code.min(owner, code.i32(warpSize - 1)));
    Value tileInSet = code.shuffleFrom(code.sub(left, before), owner);
    Value setStart = code.shuffleFrom(from, owner);
    Value setEnd = code.shuffleFrom(to, owner);
    Value row = code.add(setStart, code.mul(tileInSet, step));
    set = code.select(found, code.add(code.narrow(owner), code.i32(done)), set);
    start = code.select(found, row, start);
    end = code.select(found, setEnd, end);
    // No later chunk finds a tile below 0.
    Value total = code.shuffleFrom(upTo, code.i64(warpSize - 1));
    left = code.select(found, code.i32(-1), code.sub(left, total));
  }
  place.set = set;
  place.row = code.sub(start, low);
  place.rows = height(code.sub(end, start));
  return place;
}

Value nvptx::streamRow(Kernel::Inside &in, const Matmul &matmul,
                       const Place &place, Value row, bool indexed) {
  Device &code = in.code;
  Value packed = code.widen(row);
  if (!indexed)
    return packed;
  kernel::MatmulOp op = matmul.op;
  return in[op.getIndices()].entry(code, code.add(place.low, packed));
}

Value nvptx::pointerOf(Kernel::Inside &in, const Place &place,
                       OperandRange operands) {
  Device &code = in.code;
  SmallVector<Value> pointers;
  for (Value operand : operands)
    pointers.push_back(in[operand].pointer);
  // Halves the choice by one bit of the set after the other.
  for (int64_t bit = 0; pointers.size() > 1; ++bit) {
    Value isOdd = code.equal(
        code.rem(code.div(code.widen(place.set), int64_t(1) << bit), 2), 1);
    SmallVector<Value> half;
    for (size_t i = 0; i < pointers.size(); i += 2)
      half.push_back(i + 1 < pointers.size()
                         ? code.select(isOdd, pointers[i + 1], pointers[i])
                         : pointers[i]);
    pointers = std::move(half);
  }
  return code.global(pointers.front());
}

//===----------------------------------------------------------------------===//
// The epilogue
//===----------------------------------------------------------------------===//

/// Columns of one access of the output: 16 bytes.
static int64_t wideColumns(const Matmul &matmul) {
  kernel::MatmulOp op = matmul.op;
  Type out = cast<MemRefType>(op.getOut().getType()).getElementType();
  return out.isF32() ? 4 : 8;
}

bool nvptx::mayBeWide(const Matmul &matmul) {
  return matmul.columns % wideColumns(matmul) == 0;
}

Sums::Sums(const Matmul &matmul, const Tile &tile, bool wide, int64_t residue,
           int64_t gap)
    : split(wide && wideColumns(matmul) == 8),
      half(split ? tile.columns / 2 + gap : 0) {
  int64_t length = tile.columns + (split ? gap : 0);
  pitch = length + ((residue - length) % 32 + 32) % 32;
  bytes = matmul.products * tile.rows * pitch * 4;
}

Value Sums::offset(Device &code, Value column) const {
  if (!split)
    return column;
  Value quad = code.div(column, code.i32(4));
  Value place = code.add(code.mul(code.div(quad, code.i32(2)), code.i32(4)),
                         code.mul(code.rem(quad, code.i32(2)), code.i32(half)));
  return code.add(place, code.rem(column, code.i32(4)));
}

void nvptx::epilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
                     const Place &place, const Sums &sums, bool wide) {
  Device &code = in.code;
  kernel::MatmulOp op = matmul.op;
  int64_t width = wide ? std::min(wideColumns(matmul), tile.columns) : 1;
  // A thread stays in its columns and goes down the rows.
  int64_t chunks = tile.columns / width;
  int64_t step = std::max<int64_t>(1, tile.threads / chunks);
  // Nothing of what loops before derived from it stays in a register.
  Value thread = code.opaque(code.thread32());
  Value inTile = code.mul(code.rem(thread, code.i32(chunks)), code.i32(width));
  Value first = code.div(thread, code.i32(chunks));
  const Buffer &out = in[op.getOut()];
  Type outType = out.element();

  // Tiles narrower than the block leave threads without columns only when
  // rows are fewer than threads; the loop over rows handles that.
  Value hasColumns =
      code.less(code.add(place.column, inTile), code.i32(matmul.columns));
  bool isNormed = static_cast<bool>(op.getSquares());
  bool isWhole = matmul.columns % tile.columns == 0;

  auto atColumns = [&](Value inTile) {
    Value column = code.widen(code.add(place.column, inTile));
    // Lanes add squares up together, those without columns as well.
    if (isNormed && !isWhole)
      column = code.min(column, matmul.columns - width);
    std::optional<NormedRows> normed;
    if (isNormed)
      normed.emplace(in, matmul, place, column, width);
    // Of vectors: the same for all rows.
    SmallVector<Value> operands;
    SmallVector<Value> pointers;
    for (const RegionInput &input : matmul.inputs) {
      Value pointer = pointerOf(in, place, input.operands);
      pointers.push_back(pointer);
      Type type = in[input.operands.front()].element();
      bool isVector = input.map.getNumResults() == 1;
      operands.push_back(
          isVector ? code.loadWide(
                         type,
                         code.byteAt(pointer,
                                     code.mul(column, matmul.bytesOf(type))),
                         width)
                   : Value());
    }
    Value outPointer = code.global(out.pointer);
    Value base = code.sharedAddress();
    struct Row {
      SmallVector<Value> arguments;
      Value index, to;
    };
    auto load = [&](Value row) {
      SmallVector<Value> arguments;
      Value at = code.add(code.mul(row, code.i32(sums.pitch)),
                          sums.offset(code, inTile));
      at = code.add(base, code.mul(at, code.i32(4)));
      for (int64_t p = 0; p < matmul.products; ++p) {
        int64_t byte = p * tile.rows * sums.pitch * 4;
        auto load = [&](int64_t byte, int64_t width) {
          return code.loadWide(code.getF32Type(),
                               code.sharedAt(at, Value(), byte), width);
        };
        if (!sums.split) {
          arguments.push_back(load(byte, width));
          continue;
        }
        Value quads[] = {load(byte, 4), load(byte + sums.half * 4, 4)};
        arguments.push_back(vector::ShuffleOp::create(
            code, quads[0], quads[1],
            ArrayRef<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
      }
      if (matmul.normed) {
        Value factor = factorOf(code, place, row);
        for (Value &sum : arguments)
          sum = code.fmul(sum, code.broadcast(factor, width));
      }
      Value packed = code.add(place.row, row);
      for (auto [i, input] : llvm::enumerate(matmul.inputs)) {
        if (operands[i]) {
          arguments.push_back(operands[i]);
          continue;
        }
        Type type = in[input.operands.front()].element();
        bool isColumn = isa<AffineConstantExpr>(input.map.getResult(1));
        Value index = code.widen(packed);
        if (!isColumn)
          index = code.add(code.mul(index, matmul.columns), column);
        Value from =
            code.byteAt(pointers[i], code.mul(index, matmul.bytesOf(type)));
        Value value = code.loadWide(type, from, isColumn ? 1 : width);
        if (isColumn && width > 1)
          value =
              code.broadcast(vector::ExtractOp::create(code, value, 0), width);
        arguments.push_back(value);
      }
      Value index = streamRow(in, matmul, place, packed, op.getScatters());
      index = code.add(code.mul(index, matmul.columns), column);
      Value to =
          code.byteAt(outPointer, code.mul(index, matmul.bytesOf(outType)));
      arguments.push_back(op.getOldValue().use_empty()
                              ? Value(code.splat(0, width))
                              : code.loadWide(outType, to, width));
      return Row{std::move(arguments), index, to};
    };
    // Returns the sum of the squares where it is wanted.
    auto finish = [&](const Row &row) {
      SmallVector<Value> result =
          cloneOnVectors(code, op.getRegion().front(), row.arguments, width);
      code.storeWide(outType, result[0], row.to);
      return normed ? normed->write(row.index, result[0]) : Value();
    };
    // Rows are loaded some at a time if they come from global memory.
    bool isFar = op.readsOutput() ||
                 llvm::any_of(matmul.inputs, [](const RegionInput &input) {
                   return input.map.getNumResults() == 2;
                 });
    int64_t batch = !isFar ? 1 : width == 8 ? 2 : 4;
    auto countFrom = [&](Value first) {
      return code.div(
          code.add(code.max(code.sub(place.rows, first), code.i32(0)),
                   code.i32(step - 1)),
          code.i32(step));
    };
    auto wholeOf = [&](Value count) {
      return code.mul(code.div(count, code.i32(batch)), code.i32(batch));
    };
    auto compute = [&](ArrayRef<Value> rows) {
      SmallVector<Row> loaded;
      for (Value row : rows)
        loaded.push_back(load(row));
      SmallVector<Value> squares;
      for (const Row &row : loaded)
        squares.push_back(finish(row));
      return squares;
    };
    auto rows = [&](Value low, Value high, int64_t many, bool mayEnd) {
      code.loop(code.widen(low), code.widen(high), many, [&](Value index) {
        SmallVector<Value> at;
        for (int64_t i = 0; i < many; ++i)
          at.push_back(code.add(
              first, code.mul(code.add(code.narrow(index), code.i32(i)),
                              code.i32(step))));
        if (!normed) {
          compute(at);
          return;
        }
        Value valid = isWhole ? Value() : hasColumns;
        if (mayEnd) {
          Value isRow = code.less(at[0], place.rows);
          valid =
              valid ? Value(arith::AndIOp::create(code, valid, isRow)) : isRow;
        }
        SmallVector<Value> zeros(many, code.f32(0));
        SmallVector<Value> squares =
            valid ? code.choose(valid, zeros, [&] { return compute(at); })
                  : compute(at);
        for (auto [row, sum] : llvm::zip(at, squares))
          normed->writeSquares(row, sum, valid);
      });
    };
    if (!normed) {
      Value count = countFrom(first), whole = wholeOf(count);
      rows(code.i32(0), whole, batch, false);
      if (batch > 1)
        rows(whole, count, 1, false);
      return;
    }
    // A warp stays together: to where its last row ends, then its first.
    int64_t inWarp = std::max<int64_t>(1, warpSize / chunks);
    Value low = code.mul(code.div(first, code.i32(inWarp)), code.i32(inWarp));
    Value whole = wholeOf(countFrom(code.add(low, code.i32(inWarp - 1))));
    rows(code.i32(0), whole, batch, false);
    rows(whole, countFrom(low), 1, true);
  };
  if (isNormed)
    atColumns(inTile);
  else
    code.when(hasColumns, [&] { atColumns(inTile); });
}
