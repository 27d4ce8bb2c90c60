//===- Project.cpp - the epilogue of projections --------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A block's tile is of one segment. With its sums in shared memory, a first
// pass finds what rows need once: where they go to in a cache, and of every
// head the factor of its norm. Then threads take some columns each: those they
// are turned with are read beside them.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"
#include "lowering/nvptx/Team.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

static bool hasCache(kernel::ProjectOp op) {
  return static_cast<bool>(op.getLengths());
}

// Of a row in a cache: its sequence and its place there.
static constexpr int64_t placeBytes = 8;

int64_t Tile::epilogueBytes(const Matmul &matmul) const {
  if (!matmul.project)
    return 0;
  kernel::ProjectOp op = matmul.project;
  int64_t bytes = hasCache(op) ? rows * placeBytes : 0;
  if (!op.getNormed().empty())
    bytes += rows * (columns / static_cast<int64_t>(op.getHeadDim())) * 4;
  return bytes;
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::ProjectOp op) {
  Matmul matmul;
  matmul.project = op;
  matmul.a = matmul.rows = op.getA();
  matmul.offsets = op.getOffsets();
  matmul.indices = op.getIndices();
  matmul.sets = op.getSets();
  matmul.gathers = op.getGathers();
  matmul.products = 1;
  matmul.groups = static_cast<int64_t>(op.getGroups());
  int64_t head = op.getHeadDim(), rotary = 0;
  if (op.getTable())
    rotary = cast<MemRefType>(op.getTable().getType()).getShape().back();
  for (unsigned s = 0; s < op.getOut().size(); ++s) {
    Segment segment{SmallVector<Value>(op.getWeightsOf(s)), 0};
    segment.isNormed = !op.getNormsOf(s).empty();
    segment.rotary = op.isTurned(s) ? rotary : 0;
    segment.headDim = segment.isNormed || segment.rotary ? head : 0;
    if (segment.headDim &&
        !kernel::ProjectOp::fitsTiles(head, segment.rotary, segment.isNormed))
      return op.emitOpError("turns or normalises heads of ")
             << head << " columns, which no tile holds; leave the kernels of "
             << "segment " << s << " apart";
    matmul.segments.push_back(std::move(segment));
  }
  if (failed(checkProducts(op, matmul)) ||
      failed(checkI32(op, {op.getLengths(), op.getOrder(), op.getCounts()})))
    return failure();
  matmul.wideColumns = matmul.stored.isF32() ? 4 : 8;
  matmul.normed = op.getSquares();
  if (matmul.normed)
    matmul.epsilon = op.getRowEpsilon()->convertToFloat();
  for (auto [s, segment] : llvm::enumerate(matmul.segments)) {
    int64_t unit = matmul.wideColumns;
    bool fits = segment.columns % unit == 0 && segment.rotary / 2 % unit == 0;
    if (segment.headDim || op.isCache(s))
      fits &= head % unit == 0;
    segment.grain = fits ? unit : 1;
  }
  return addStages(kernel, matmul);
}

namespace {
class Epilogue {
public:
  Epilogue(Kernel::Inside &in, const Matmul &matmul, const Tile &tile,
           const Place &place, const Sums &sums, bool wide)
      : in(in), code(in.code), matmul(matmul), op(matmul.project), tile(tile),
        place(place), sums(sums), head(op.getHeadDim()), wide(wide),
        placesByte(sums.bytes),
        factorsByte(sums.bytes + (hasCache(op) ? tile.rows * placeBytes : 0)) {}

  void run();

private:
  void findPlaces();
  Value cacheRow(Value sequence, Value token, Value packed);
  void findFactors(unsigned s);
  void store(unsigned s);
  Value sharedWord(Type type, int64_t byte, Value index) {
    return code.load(type, wordAt(byte, index));
  }
  Value wordAt(int64_t byte, Value index) {
    return code.sharedAt(code.sharedAddress(), code.mul(index, code.i32(4)),
                         byte);
  }
  /// `count` numbers of a vector from `column` on.
  Value vectorAt(OperandRange vectors, Value column, int64_t count) {
    Value pointer = pointerOf(in, place, vectors);
    return code.loadWide(code.getF32Type(),
                         code.byteAt(pointer, code.mul(code.widen(column), 4)),
                         count);
  }

  Kernel::Inside &in;
  Device &code;
  const Matmul &matmul;
  kernel::ProjectOp op;
  const Tile &tile;
  const Place &place;
  const Sums &sums;
  const int64_t head;
  const bool wide;
  const int64_t placesByte, factorsByte;
};
} // namespace

// The row of the cache, an i32, counted from the sequence's first, that packed
// row `packed` of the family has; `token` is its place in the source's input.
Value Epilogue::cacheRow(Value sequence, Value token, Value packed) {
  if (!op.getOffsets())
    return token;
  // order[sequence, j] is `packed` for one j. Rows of a family that covers are
  // all there, and those of a single set lie one behind the other; a search
  // finds the others.
  const Buffer &order = in[op.getOrder()], &indices = in[op.getIndices()];
  Value count = entry32(code, in[op.getCounts()], sequence);
  Value first = code.mul(sequence, code.narrow(order.sizes[1]));
  Value last = code.sub(count, code.i32(1));
  auto at = [&](Value j) { return entry32(code, order, code.add(first, j)); };
  auto isHere = [&](Value j) {
    return code.compare(arith::CmpIPredicate::eq, at(j), packed);
  };
  Value zero = code.i32(0), one = code.i32(1);
  Value covered = code.min(token, last);
  Value alone = code.max(code.min(code.sub(packed, at(zero)), last), zero);
  Value isCovered = isHere(covered), isAlone = isHere(alone);
  Value guess = code.select(isCovered, covered, alone);
  Value isKnown = arith::OrIOp::create(code, isCovered, isAlone);
  Value low = code.select(isKnown, guess, zero);
  Value candidates = code.select(isKnown, one, count);
  // Rows of a sequence are in the order of the source's input.
  Value mine = entry32(code, indices, packed);
  Value steps = code.add(code.highestBit(code.sub(candidates, one)), one);
  SmallVector<Value> found = code.loop(
      code.i64(0), code.widen(steps), 1, {low, code.add(low, candidates)},
      [&](Value, ValueRange bounds) {
        Value middle = code.div(code.add(bounds[0], bounds[1]), code.i32(2));
        Value theirs = entry32(code, indices, at(middle));
        Value isBehind = code.less(mine, theirs);
        return SmallVector<Value>{code.select(isBehind, bounds[0], middle),
                                  code.select(isBehind, middle, bounds[1])};
      });
  return found[0];
}

void Epilogue::findPlaces() {
  Value tokens = code.narrow(in[op.getA()].sizes[1]);
  overRows(code, code.thread32(), place.rows, tile.threads, 1,
           [&](ArrayRef<Value> rows) {
             Value packed = code.add(place.row, rows[0]), row = packed;
             if (op.getOffsets()) {
               packed = code.add(packed, code.narrow(place.low));
               row = entry32(code, in[op.getIndices()], packed);
             }
             Value sequence = code.div(row, tokens);
             Value token = code.sub(row, code.mul(sequence, tokens));
             Value length = entry32(code, in[op.getLengths()], sequence);
             Value to = code.add(length, cacheRow(sequence, token, packed));
             Value index = code.mul(rows[0], code.i32(2));
             code.store(sequence, wordAt(placesByte, index));
             code.store(to, wordAt(placesByte + 4, index));
           });
}

// 1 / sqrt(mean of squares + epsilon), for each row and head of the tile: a
// warp does a row.
void Epilogue::findFactors(unsigned s) {
  int64_t heads = tile.columns / head;
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  Value warp = code.div(code.thread32(), code.i32(warpSize));
  OperandRange biases = op.getBiasesOf(s);
  overRows(
      code, warp, place.rows, tile.threads / warpSize, 1,
      [&](ArrayRef<Value> rows) {
        for (int64_t h = 0; h < heads; ++h) {
          Value squares = code.f32(0);
          for (int64_t c = 0; c < head; c += warpSize) {
            Value inHead = code.add(lane, code.i32(c));
            Value column = code.add(inHead, code.i32(h * head));
            auto square = [&] {
              Value at = code.add(code.mul(rows[0], code.i32(sums.pitch)),
                                  sums.offset(code, column));
              Value value = sharedWord(code.getF32Type(), 0, at);
              if (matmul.normed)
                value = code.fmul(value, factorOf(code, place, rows[0]));
              if (!biases.empty()) {
                // Tiles may end behind the last head.
                Value index =
                    code.min(code.add(place.column, column),
                             code.i32(matmul.segments[s].columns - 1));
                value = code.fadd(
                    value, vector::ExtractOp::create(
                               code, vectorAt(biases, index, 1), int64_t(0)));
              }
              return value;
            };
            Value value = c + warpSize <= head
                              ? square()
                              : code.valueIf(code.less(inHead, code.i32(head)),
                                             square, code.f32(0));
            squares = code.fma(value, value, squares);
          }
          squares = code.reduceWarp(
              squares, [&](Value a, Value b) { return code.fadd(a, b); });
          Value mean = code.divide(code.broadcast(squares, 1),
                                   code.splat(static_cast<float>(head), 1));
          float epsilon = op.getEpsilon()->convertToFloat();
          Value factor = code.rsqrt(code.fadd(mean, code.splat(epsilon, 1)));
          code.when(code.less(lane, code.i32(1)), [&] {
            Value index =
                code.add(code.mul(rows[0], code.i32(heads)), code.i32(h));
            code.store(vector::ExtractOp::create(code, factor, int64_t(0)),
                       wordAt(factorsByte, index));
          });
        }
      });
}

void Epilogue::store(unsigned s) {
  const Segment &segment = matmul.segments[s];
  Tile::Share share = *tile.shareOf(segment);
  const Buffer &out = in[op.getOut()[s]];
  int64_t n = segment.rotary / 2, half = share.columns / 2;
  int64_t bytes = matmul.bytesOf(out.element());
  // Columns that a thread takes at once: 16 bytes.
  int64_t width = !wide ? 1 : out.element().isF32() ? 4 : matmul.wideColumns;
  OperandRange biases = op.getBiasesOf(s), norms = op.getNormsOf(s);
  // A thread stays in its columns and goes down the rows.
  int64_t chunks = share.columns / width;
  int64_t step = std::max<int64_t>(1, tile.threads / chunks);
  Value thread = code.opaque(code.thread32());
  Value inTile = code.mul(code.rem(thread, code.i32(chunks)), code.i32(width));
  Value first = code.div(thread, code.i32(chunks));
  auto columnOf = [&](Value inTile) {
    Value column = code.add(place.column, inTile);
    if (share.paired)
      column = code.select(code.less(inTile, place.half), column,
                           code.add(column, place.jump));
    return column;
  };
  Value column = columnOf(inTile);
  Value isThere = code.less(column, code.i32(segment.columns));
  if (tile.threads % chunks != 0)
    isThere =
        arith::AndIOp::create(code, isThere, code.less(first, code.i32(step)));
  code.when(isThere, [&] {
    Value inHead = code.rem(column, code.i32(head));
    // The column that it is turned with, and whether it is the left one.
    Value isLeft, isTurned, partner;
    if (n) {
      isLeft = code.less(inHead, code.i32(n));
      isTurned = code.less(inHead, code.i32(2 * n));
      int64_t apart = share.paired ? half : n;
      partner = code.select(isLeft, code.add(inTile, code.i32(apart)),
                            code.sub(inTile, code.i32(apart)));
      partner = code.select(isTurned, partner, inTile);
    }
    Value sign = n ? code.select(isLeft, code.f32(-1), code.f32(1)) : Value();
    /// Of the own columns and their partners: what is the same in all rows.
    struct Columns {
      Value inTile, bias, norm, head;
    };
    auto columnsAt = [&](Value inTile) {
      Columns columns{inTile, {}, {}, {}};
      Value column = columnOf(inTile);
      if (!biases.empty())
        columns.bias = vectorAt(biases, column, width);
      if (!norms.empty()) {
        columns.norm = vectorAt(norms, code.rem(column, code.i32(head)), width);
        columns.head = code.div(inTile, code.i32(head));
      }
      return columns;
    };
    SmallVector<Columns> sources{columnsAt(inTile)};
    if (n)
      sources.push_back(columnsAt(partner));
    auto valueOf = [&](const Columns &columns, Value row) {
      Value value = loadSums(code, sums, row, columns.inTile, width);
      if (matmul.normed)
        value =
            code.fmul(value, code.broadcast(factorOf(code, place, row), width));
      if (columns.bias)
        value = code.fadd(value, columns.bias);
      if (columns.norm) {
        Value index = code.add(code.mul(row, code.i32(tile.columns / head)),
                               columns.head);
        Value factor = sharedWord(code.getF32Type(), factorsByte, index);
        value = code.fmul(code.fmul(value, code.broadcast(factor, width)),
                          columns.norm);
      }
      return value;
    };
    struct Row {
      Value value, partner, cosine, sine;
    };
    auto load = [&](Value row) {
      Row result{valueOf(sources[0], row), {}, {}, {}};
      if (!n)
        return result;
      result.partner = valueOf(sources[1], row);
      Value i = code.rem(inHead, code.i32(n));
      Value turn = streamRow(in, matmul, place, code.add(place.row, row),
                             op.getTableGathers());
      Value table = code.byteAt(code.global(in[op.getTable()].pointer),
                                code.mul(turn, 8 * n));
      table = code.atByte(table, code.mul(i, code.i32(4)));
      result.cosine = code.loadWide(code.getF32Type(), table, width);
      result.sine =
          code.loadWide(code.getF32Type(), code.byteAt(table, 4 * n), width);
      return result;
    };
    auto put = [&](const Row &row, Value index) {
      Value value = row.value;
      if (n) {
        Value side = code.fmul(code.fmul(row.partner, row.sine),
                               code.broadcast(sign, width));
        value = code.fma(row.value, row.cosine, side);
        if (2 * n < head)
          value = code.select(isTurned, value, row.value);
      }
      code.storeWide(
          out.element(), value,
          code.byteAt(code.global(out.pointer), code.mul(index, bytes)));
    };
    overRows(
        code, first, place.rows, step, n ? 2 : 1, [&](ArrayRef<Value> rows) {
          SmallVector<Row> loaded;
          for (Value row : rows)
            loaded.push_back(load(row));
          for (auto [at, row] : llvm::zip(rows, loaded)) {
            if (!op.isCache(s)) {
              Value packed = code.widen(code.add(place.row, at));
              put(row, code.add(code.mul(packed, segment.columns),
                                code.widen(column)));
              continue;
            }
            Value index = code.mul(at, code.i32(2));
            Type i32 = code.getI32Type();
            Value sequence = sharedWord(i32, placesByte, index);
            Value to = sharedWord(i32, placesByte + 4, index);
            int64_t heads = segment.columns / head;
            int64_t room = out.type.getDimSize(2);
            Value ofHead = code.add(code.mul(sequence, code.i32(heads)),
                                    code.div(column, code.i32(head)));
            Value element = code.add(
                code.mul(code.widen(ofHead), room * head),
                code.widen(code.add(code.mul(to, code.i32(head)), inHead)));
            // The runtime refuses to run past the end; never write there
            // anyway.
            code.when(code.inside(to, code.i32(room)),
                      [&, row = row] { put(row, element); });
          }
        });
  });
}

void Epilogue::run() {
  if (hasCache(op))
    findPlaces();
  for (unsigned s = 0; s < matmul.segments.size(); ++s) {
    auto finish = [&] {
      if (matmul.segments[s].isNormed)
        findFactors(s);
      code.barrier();
      store(s);
    };
    if (place.segment)
      code.when(code.equal(code.widen(place.segment), s), finish);
    else
      finish();
  }
}

void nvptx::projectEpilogue(Kernel::Inside &in, const Matmul &matmul,
                            const Tile &tile, const Place &place,
                            const Sums &sums, bool wide) {
  Epilogue(in, matmul, tile, place, sums, wide).run();
}
