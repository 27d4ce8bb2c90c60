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

std::optional<Tile::Share> Tile::shareOf(const Segment &segment) const {
  int64_t head = segment.headDim;
  if (head <= columns)
    return Share{head ? columns / head * head : columns, false};
  if (segment.isNormed)
    return std::nullopt;
  // A head's turned columns, and then the others, are whole tiles.
  for (int64_t half = columns / 2; half >= 1; --half)
    if (half % segment.grain == 0 && segment.rotary / 2 % half == 0 &&
        (head - segment.rotary) % (2 * half) == 0)
      return Share{2 * half, true};
  return std::nullopt;
}

Value nvptx::ofSegment(Device &code, const Matmul &matmul, const Place &place,
                       function_ref<Value(unsigned)> of) {
  Value result = of(0);
  for (size_t s = 1; s < matmul.segments.size(); ++s)
    result = code.select(
        code.equal(code.widen(place.segment), static_cast<int64_t>(s)), of(s),
        result);
  return result;
}

/// Sets what `place` says of columns, of column tile `across`, an i32.
static void findColumns(Device &code, const Matmul &matmul, const Tile &tile,
                        Value across, Place &place) {
  place.tile = across;
  SmallVector<int64_t> starts;
  int64_t tiles = 0;
  bool isPaired = false;
  for (const Segment &segment : matmul.segments) {
    if (tiles) {
      Value isBehind = arith::CmpIOp::create(code, arith::CmpIPredicate::sge,
                                             across, code.i32(tiles));
      Value one = code.count(isBehind);
      place.segment = place.segment ? code.add(place.segment, one) : one;
    }
    starts.push_back(tiles);
    tiles += tile.columnTiles(segment);
    isPaired |= tile.shareOf(segment)->paired;
  }
  // Of a paired tile: the head's one of `columns` that it is.
  auto inHead = [&](unsigned s) {
    int64_t perHead =
        matmul.segments[s].headDim / tile.shareOf(matmul.segments[s])->columns;
    Value number = code.sub(across, code.i32(starts[s]));
    return std::pair{code.div(number, code.i32(perHead)),
                     code.rem(number, code.i32(perHead))};
  };
  auto isTurned = [&](unsigned s, Value number) {
    const Segment &segment = matmul.segments[s];
    return code.less(number,
                     code.i32(segment.rotary / tile.shareOf(segment)->columns));
  };
  place.column = ofSegment(code, matmul, place, [&](unsigned s) {
    Tile::Share share = *tile.shareOf(matmul.segments[s]);
    if (!share.paired)
      return code.mul(code.sub(across, code.i32(starts[s])),
                      code.i32(share.columns));
    auto [head, number] = inHead(s);
    Value width = code.select(isTurned(s, number), code.i32(share.columns / 2),
                              code.i32(share.columns));
    return code.add(code.mul(head, code.i32(matmul.segments[s].headDim)),
                    code.mul(number, width));
  });
  if (!isPaired)
    return;
  place.half = ofSegment(code, matmul, place, [&](unsigned s) {
    return code.i32(tile.shareOf(matmul.segments[s])->columns / 2);
  });
  place.jump = ofSegment(code, matmul, place, [&](unsigned s) {
    const Segment &segment = matmul.segments[s];
    Tile::Share share = *tile.shareOf(segment);
    if (!share.paired)
      return code.i32(0);
    return code.select(isTurned(s, inHead(s).second),
                       code.i32(segment.rotary / 2 - share.columns / 2),
                       code.i32(0));
  });
}

/// Row and column tile of the block.
static std::pair<Value, Value> tileOf(Device &code, const Matmul &matmul,
                                      const Tile &tile, Value rows,
                                      bool again) {
  Value block = code.block32();
  if (again)
    block = code.unlike(block);
  int64_t across = tile.columnTiles(matmul);
  if (across == 1)
    return {block, code.i32(0)};
  Value down = code.narrow(tile.rowTiles(code, matmul, rows));
  Value band = code.div(block, code.i32(tilesOfBand * across));
  Value inBand = code.rem(block, code.i32(tilesOfBand * across));
  Value first = code.mul(band, code.i32(tilesOfBand));
  Value height = code.min(code.sub(down, first), code.i32(tilesOfBand));
  if (matmul.capacity)
    height = code.max(height, code.i32(1));
  Value row = code.add(first, code.rem(inBand, height));
  Value column = code.div(inBand, height);
  // There may be blocks for rows that could be and are not.
  if (matmul.capacity) {
    Value isThere = code.less(column, code.i32(across));
    row = code.select(isThere, row, down);
    column = code.select(isThere, column, code.i32(0));
  }
  return {row, column};
}

/// A number that a call binds, as i32.
static Value boundOf(Kernel::Inside &in, Value bound) {
  return in.code.narrow(in[bound].entry(in.code, in.code.i64(0)));
}

Value nvptx::depthOf(Kernel::Inside &in, const Matmul &matmul) {
  Value all = in.code.i32(matmul.depth);
  return matmul.depthBound ? in.code.min(boundOf(in, matmul.depthBound), all)
                           : all;
}

static Place findPlaceOfRows(Kernel::Inside &in, const Matmul &matmul,
                             const Tile &tile, bool again);

Place nvptx::findPlace(Kernel::Inside &in, const Matmul &matmul,
                       const Tile &tile, bool again) {
  Place place = findPlaceOfRows(in, matmul, tile, again);
  // Columns behind the bound are nobody's.
  if (matmul.columnBound)
    place.rows = in.code.select(
        in.code.less(place.column, boundOf(in, matmul.columnBound)), place.rows,
        in.code.i32(0));
  return place;
}

static Place findPlaceOfRows(Kernel::Inside &in, const Matmul &matmul,
                             const Tile &tile, bool again) {
  Device &code = in.code;
  // Of the rows that are there, where the host counted fewer than the stream
  // has.
  Value bound = matmul.capacity
                    ? rowsOf(in, matmul.offsets, matmul.sets, matmul.rows).count
                    : in[matmul.rows].rows(code);
  auto [down, across] = tileOf(code, matmul, tile, bound, again);
  Place place;
  findColumns(code, matmul, tile, across, place);
  auto height = [&](Value rows) {
    return code.max(code.min(rows, code.i32(tile.rows)), code.i32(0));
  };
  Value step = code.i32(tile.rows);
  if (matmul.groups == 1) {
    RowRange range = rowsOf(in, matmul.offsets, matmul.sets, matmul.rows);
    place.low = range.low;
    place.row = code.mul(down, step);
    place.rows = height(code.sub(code.narrow(range.count), place.row));
    return place;
  }
  // Lanes count the tiles of a set each; the block's tile is in the set where
  // the running count passes it.
  const Buffer &offsets = in[matmul.offsets];
  int64_t firstSet = (*matmul.sets)[0];
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
  return in[matmul.indices].entry(code, code.add(place.low, packed));
}

/// Of `values`, one for each set, that of the block's.
static Value ofSet(Device &code, const Place &place,
                   SmallVector<Value> values) {
  // Halves the choice by one bit of the set after the other.
  for (int64_t bit = 0; values.size() > 1; ++bit) {
    Value isOdd = code.equal(
        code.rem(code.div(code.widen(place.set), int64_t(1) << bit), 2), 1);
    SmallVector<Value> half;
    for (size_t i = 0; i < values.size(); i += 2)
      half.push_back(i + 1 < values.size()
                         ? code.select(isOdd, values[i + 1], values[i])
                         : values[i]);
    values = std::move(half);
  }
  return values.front();
}

Value nvptx::pointerOf(Kernel::Inside &in, const Place &place,
                       ValueRange operands) {
  SmallVector<Value> pointers;
  for (Value operand : operands)
    pointers.push_back(in[operand].pointer);
  return in.code.global(ofSet(in.code, place, pointers));
}

Matrix nvptx::matrixOf(Kernel::Inside &in, const Matmul &matmul,
                       const Place &place, int64_t product) {
  auto operands = [&](unsigned segment) {
    return ValueRange(matmul.segments[segment].weights)
        .slice(product * matmul.groups, matmul.groups);
  };
  Matrix matrix;
  matrix.pointer = ofSegment(in.code, matmul, place, [&](unsigned segment) {
    return pointerOf(in, place, operands(segment));
  });
  matrix.stride = ofSegment(in.code, matmul, place, [&](unsigned segment) {
    SmallVector<Value> strides;
    for (Value operand : operands(segment))
      strides.push_back(in[operand].rowStride(in.code));
    // Towers of several submodels may lie in boxes of several widths.
    bool same =
        llvm::all_equal(llvm::map_range(operands(segment), [](Value operand) {
          return cast<MemRefType>(operand.getType());
        }));
    return same ? strides.front() : ofSet(in.code, place, strides);
  });
  return matrix;
}

Value nvptx::matrixRow(Device &code, const Matmul &matmul, const Place &place,
                       Value column, int64_t count) {
  Value row = code.add(place.column, column);
  if (place.jump)
    row = code.select(code.less(column, place.half), row,
                      code.add(row, place.jump));
  Value last = ofSegment(code, matmul, place, [&](unsigned segment) {
    return code.i32(matmul.segments[segment].columns - count);
  });
  return code.min(row, last);
}

//===----------------------------------------------------------------------===//
// The epilogue
//===----------------------------------------------------------------------===//

Sums::Sums(const Matmul &matmul, const Tile &tile, bool wide, int64_t residue,
           int64_t gap)
    : split(wide && matmul.wideColumns == 8) {
  // Segments of f32 read single quads: then those of the second half go to the
  // other 16 banks, and 4 rows of the first one beside each other.
  if (matmul.project && tile.columns >= 64) {
    gap = 16;
    residue = 4;
  }
  half = split ? tile.columns / 2 + gap : 0;
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

Value nvptx::loadSums(Device &code, const Sums &sums, Value row, Value column,
                      int64_t width, int64_t byte) {
  Value at =
      code.add(code.mul(row, code.i32(sums.pitch)), sums.offset(code, column));
  at = code.add(code.sharedAddress(), code.mul(at, code.i32(4)));
  auto load = [&](int64_t byte, int64_t width) {
    return code.loadWide(code.getF32Type(), code.sharedAt(at, Value(), byte),
                         width);
  };
  if (!sums.split || width <= 4)
    return load(byte, width);
  return vector::ShuffleOp::create(code, load(byte, 4),
                                   load(byte + sums.half * 4, 4),
                                   ArrayRef<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
}

void nvptx::overRows(Device &code, Value first, Value count, int64_t step,
                     int64_t batch, function_ref<void(ArrayRef<Value>)> visit) {
  Value steps = code.div(code.add(code.max(code.sub(count, first), code.i32(0)),
                                  code.i32(step - 1)),
                         code.i32(step));
  Value whole = code.mul(code.div(steps, code.i32(batch)), code.i32(batch));
  auto rows = [&](Value low, Value high, int64_t many) {
    code.loop(code.widen(low), code.widen(high), many, [&](Value index) {
      SmallVector<Value> rows;
      for (int64_t i = 0; i < many; ++i) {
        Value at = code.add(code.narrow(index), code.i32(i));
        rows.push_back(code.add(first, code.mul(at, code.i32(step))));
      }
      visit(rows);
    });
  };
  rows(code.i32(0), whole, batch);
  if (batch > 1)
    rows(whole, steps, 1);
}

/// `vector`, of `width` columns from `column` on, with zeros from `bound` on.
static Value clearFrom(Device &code, Value vector, Value column, Value bound,
                       int64_t width) {
  for (int64_t e = 0; e < width; ++e) {
    Value kept =
        code.select(code.less(code.add(column, code.i32(e)), bound),
                    vector::ExtractOp::create(code, vector, e), code.f32(0));
    vector = vector::InsertOp::create(code, kept, vector, e);
  }
  return vector;
}

void nvptx::epilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
                     const Place &place, const Sums &sums, bool wide) {
  if (matmul.project)
    return projectEpilogue(in, matmul, tile, place, sums, wide);
  Device &code = in.code;
  kernel::MatmulOp op = matmul.op;
  int64_t width = wide ? std::min(matmul.wideColumns, tile.columns) : 1;
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
    struct Row {
      SmallVector<Value> arguments;
      Value index, to;
    };
    auto load = [&](Value row) {
      SmallVector<Value> arguments;
      for (int64_t p = 0; p < matmul.products; ++p)
        arguments.push_back(loadSums(code, sums, row, inTile, width,
                                     p * tile.rows * sums.pitch * 4));
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
        Value index =
            streamRow(in, matmul, place, packed,
                      llvm::is_contained(op.getIndexed(), int64_t(i)));
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
      // Whoever reads a last part of 16 bytes multiplies by zeros.
      if (matmul.columnBound)
        result[0] = clearFrom(code, result[0], code.add(place.column, inTile),
                              boundOf(in, matmul.columnBound), width);
      code.storeWide(outType, result[0], row.to);
      return normed ? normed->write(row.index, result[0]) : Value();
    };
    // Rows are loaded some at a time if they come from global memory.
    bool isFar = op.readsOutput() ||
                 llvm::any_of(matmul.inputs, [](const RegionInput &input) {
                   return input.map.getNumResults() == 2;
                 });
    int64_t batch = !isFar ? 1 : width == 8 ? 2 : 4;
    auto compute = [&](ArrayRef<Value> rows) {
      SmallVector<Row> loaded;
      for (Value row : rows)
        loaded.push_back(load(row));
      SmallVector<Value> squares;
      for (const Row &row : loaded)
        squares.push_back(finish(row));
      return squares;
    };
    if (!normed) {
      overRows(code, first, place.rows, step, batch, compute);
      return;
    }
    // Of whole warps, where `isRow` (null: everywhere) holds.
    auto computeNormed = [&](ArrayRef<Value> rows, Value isRow) {
      Value valid = isWhole ? Value() : hasColumns;
      if (isRow)
        valid =
            valid ? Value(arith::AndIOp::create(code, valid, isRow)) : isRow;
      SmallVector<Value> zeros(rows.size(), code.f32(0));
      SmallVector<Value> squares =
          valid ? code.choose(valid, zeros, [&] { return compute(rows); })
                : compute(rows);
      for (auto [row, sum] : llvm::zip(rows, squares))
        normed->writeSquares(row, sum, valid);
    };
    // A warp has so many rows side by side, and stays together: at last some
    // lanes may have none.
    int64_t inWarp = std::max<int64_t>(1, warpSize / chunks);
    Value inside = code.rem(first, code.i32(inWarp));
    Value end = code.sub(code.add(place.rows, inside), code.i32(inWarp - 1));
    overRows(code, first, end, step, batch,
             [&](ArrayRef<Value> rows) { computeNormed(rows, Value()); });
    if (inWarp == 1)
      return;
    Value done = code.div(code.add(code.max(code.sub(end, first), code.i32(0)),
                                   code.i32(step - 1)),
                          code.i32(step));
    Value row = code.add(first, code.mul(done, code.i32(step)));
    code.when(code.less(code.sub(row, inside), place.rows),
              [&] { computeNormed(row, code.less(row, place.rows)); });
  };
  if (isNormed)
    atColumns(inTile);
  else
    code.when(hasColumns, [&] { atColumns(inTile); });
}
