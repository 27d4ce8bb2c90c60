//===- Sources.cpp - sources of families of row sets ----------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Indices are packed over the sequences of a batch, so a block that writes
// those of a sequence has to know how many rows the sequences before it have.
//
// select: a block for each sequence. Of a capacity over all rows these numbers
// are all the same; else a stage counts the sequences but the last one, and a
// single sequence needs no such stage. The rows of largest scores are found by
// a radix select: four rounds of a histogram of eight bits of the keys.
//
// partition and assign are stable counting sorts over the whole batch. The sets
// of rows are made by as many blocks as there are rows (they wait in the table
// of orders); then one block sorts: a few instructions for every 32 rows, which
// are over before a second and third launch would begin. Nothing but counts
// goes through atomics: results do not depend on the order of threads.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Generator.h"

#include <limits>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

using Predicate = arith::CmpIPredicate;

namespace {
// The set of another family whose rows a source takes, if there is one.
struct Outer {
  Value offsets, order, counts;
  Sets sets;
};

template <typename SourceOp>
Outer outerOf(SourceOp op) {
  return {op.getOuterOffsets(), op.getOuterOrder(), op.getOuterCounts(),
          op.getOuterSets()};
}

// The tables that a source writes.
struct Tables {
  template <typename SourceOp>
  Tables(Kernel::Inside &in, SourceOp op)
      : indices(in[op.getIndices()]), offsets(in[op.getOffsets()]),
        order(in[op.getOrder()]), counts(in[op.getCounts()]) {}
  const Buffer &indices, &offsets, &order, &counts;

  Value tokens() const { return order.sizes[1]; }
  Value batch() const { return counts.sizes[0]; }
};

// The rows of a source's input that are a sequence's.
struct Candidates {
  Value first, rows;
};
} // namespace

template <typename SourceOp>
static LogicalResult checkSource(SourceOp op) {
  if constexpr (!std::is_same_v<SourceOp, kernel::PartitionOp>) {
    if (!cast<MemRefType>(op.getScores().getType()).getElementType().isF32())
      return op.emitOpError("takes scores of ") << op.getScores().getType();
  }
  return checkI32(
      op, {op.getIndices(), op.getOffsets(), op.getOrder(), op.getCounts()});
}

//===----------------------------------------------------------------------===//
// Numbers of a block
//===----------------------------------------------------------------------===//

// Room in shared memory for an i32 of each warp that a block may have, so that
// every lane can read the number of a warp.
static constexpr int64_t roomBytes = warpSize * 4;

static Value wordAt(Device &code, Value pointer, Value index) {
  return code.atShared(pointer, code.getI32Type(), index);
}

// What a warp has written to `room` before the last barrier, in the lane of its
// number; `otherwise` in lanes without a warp.
static Value ofWarps(Device &code, Value room, int64_t otherwise) {
  Value lane = code.lane();
  Value mine = code.load(code.getI32Type(), wordAt(code, room, lane));
  return code.select(code.less(lane, code.threads / warpSize), mine,
                     code.word(otherwise));
}

// Writes a number of the warp, which the last lane has.
static void writeOfWarp(Device &code, Value room, Value number) {
  code.when(code.equal(code.lane(), warpSize - 1),
            [&] { code.store(number, wordAt(code, room, code.warp())); });
}

// The sum of the numbers of the warps before the own one.
static Value sumBefore(Device &code, Value room) {
  Value lane = code.lane();
  Value mine = code.load(code.getI32Type(), wordAt(code, room, lane));
  return code.sumLanes(
      code.select(code.less(lane, code.warp()), mine, code.word(0)));
}

static Value sumOfWarps(Device &code, Value room) {
  return code.sumLanes(ofWarps(code, room, 0));
}

// The rows of sequence b. Within a set they lie one after the other as well.
// Two rooms.
static Candidates candidatesOf(Kernel::Inside &in, const Outer &outer,
                               Value tokens, Value b, int64_t room) {
  Device &code = in.code;
  if (!outer.offsets)
    return {code.mul(b, tokens), tokens};
  RowRange set = rowsOf(in, outer.offsets, outer.sets, outer.offsets);
  Value low = code.narrow(set.low), size = code.narrow(set.count);
  const Buffer &order = in[outer.order];
  Value line = code.mul(b, order.sizes[1]);
  SmallVector<Value> found = code.loop(
      code.thread(), in[outer.counts].entry(code, b), code.threads,
      {code.word(-1), code.word(0)}, [&](Value j, ValueRange carried) {
        Value row =
            code.load(code.getI32Type(), code.at(order.pointer, order.element(),
                                                 code.add(line, j)));
        row = code.sub(row, low);
        Value inside = code.inside(row, size);
        row = code.select(inside, row, code.word(-1));
        return SmallVector<Value>{code.minUnsigned(carried[0], row),
                                  code.add(carried[1], code.toWord(inside))};
      });
  Value firsts = code.shared(room), counts = code.shared(room + roomBytes);
  writeOfWarp(code, firsts, code.minLanes(found[0]));
  writeOfWarp(code, counts, code.sumLanes(found[1]));
  code.barrier();
  Value first = code.minLanes(ofWarps(code, firsts, -1));
  Value rows = sumOfWarps(code, counts);
  first = code.select(code.compare(Predicate::eq, rows, code.word(0)),
                      code.word(0), first);
  return {code.widen(first), code.widen(rows)};
}

// The sum of counts[0] to counts[b - 1]. One room.
static Value countsBefore(Device &code, const Buffer &counts, Value b,
                          int64_t room) {
  Value sum =
      code.loop(code.thread(), b, code.threads, code.word(0),
                [&](Value i, ValueRange carried) {
                  Value count =
                      code.load(code.getI32Type(),
                                code.at(counts.pointer, counts.element(), i));
                  return SmallVector<Value>{code.add(carried[0], count)};
                })[0];
  Value sums = code.shared(room);
  writeOfWarp(code, sums, code.sumLanes(sum));
  code.barrier();
  return code.widen(sumOfWarps(code, sums));
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

// Scores that a thread holds at a time.
static constexpr int64_t each = 8;

// i32 whose order without a sign is that of scores, the largest first: -0 is 0,
// and NaN the last, ~0.
static Value keyOf(Device &code, Value score) {
  // A difference is never -0, and of NaN it is the one NaN 0x7fffffff.
  Value bits = code.asInt(code.fsub(code.f32(0), score));
  Value sign = arith::ShRSIOp::create(code, bits, code.word(31));
  constexpr int32_t top = std::numeric_limits<int32_t>::min();
  return code.bitXor(bits, code.bitOr(sign, code.word(top)));
}

static uint32_t keyOf(float score) {
  uint32_t bits = llvm::bit_cast<uint32_t>(0.0f - score);
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

// What an if makes of values.
static SmallVector<Value> choose(Device &code, Value condition, TypeRange types,
                                 function_ref<SmallVector<Value>()> then,
                                 function_ref<SmallVector<Value>()> otherwise) {
  auto branch = scf::IfOp::create(code, types, condition, /*else=*/true);
  OpBuilder::InsertionGuard guard(code);
  code.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(code, then());
  code.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(code, otherwise());
  return branch.getResults();
}

// The keys of scores[index] to scores[index + 7]; those at `rows` and behind
// are ~0.
static SmallVector<Value> loadKeys(Device &code, Value scores, Value index,
                                   Value rows) {
  Type f32 = code.getF32Type();
  Value from = code.atF32(scores, index);
  Value address = LLVM::PtrToIntOp::create(code, code.i64Type(), from);
  Value isWide =
      code.bitAnd(code.equal(code.bitAnd(address, code.i64(15)), 0),
                  code.compare(Predicate::sle, code.add(index, each), rows));
  SmallVector<Value> values = choose(
      code, isWide, SmallVector<Type>(each, f32),
      [&] {
        SmallVector<Value> loaded;
        for (int64_t i = 0; i < each; i += 4) {
          Value four = code.loadWide(code.f32Vector(4), code.atF32(from, i));
          for (int64_t j = 0; j < 4; ++j)
            loaded.push_back(vector::ExtractOp::create(code, four, j));
        }
        return loaded;
      },
      [&] {
        SmallVector<Value> loaded;
        for (int64_t i = 0; i < each; ++i)
          loaded.push_back(choose(
              code, code.less(code.add(index, i), rows), f32,
              [&] {
                return SmallVector<Value>{code.load(f32, code.atF32(from, i))};
              },
              [&] {
                return SmallVector<Value>{
                    code.f32(std::numeric_limits<float>::quiet_NaN())};
              })[0]);
        return loaded;
      });
  for (Value &value : values)
    value = keyOf(code, value);
  return values;
}

//===----------------------------------------------------------------------===//
// select
//===----------------------------------------------------------------------===//

// CapacityAttr::of, in code.
static Value capacityOf(Code &code, nest::CapacityAttr capacity, Value rows) {
  int64_t numerator = capacity.getNumerator();
  int64_t denominator = capacity.getDenominator();
  Value count = code.i64(numerator);
  if (!capacity.isCount() &&
      capacity.getRounding() == nest::Rounding::double_floor) {
    Value part = arith::ConstantOp::create(
        code, code.getF64FloatAttr(static_cast<double>(numerator) /
                                   static_cast<double>(denominator)));
    Value product =
        code.fmul(part, arith::SIToFPOp::create(code, code.getF64Type(), rows));
    count = arith::FPToSIOp::create(code, code.i64Type(), product);
  } else if (!capacity.isCount()) {
    Value product = code.mul(rows, numerator);
    count = code.div(product, denominator);
    Value twice = code.mul(code.rem(product, denominator), 2);
    auto bit = [&](Value condition) {
      return code.select(condition, code.i64(1), code.i64(0));
    };
    if (capacity.getRounding() == nest::Rounding::ceil) {
      count = code.add(count, bit(code.less(code.i64(0), twice)));
    } else if (capacity.getRounding() == nest::Rounding::nearest_even) {
      // A half rounds up from an odd count: its last bit decides.
      Value above = code.add(twice, code.rem(count, 2));
      count = code.add(count, bit(code.less(code.i64(denominator), above)));
    }
  }
  return code.min(code.max(count, capacity.getMinimum()), rows);
}

// Shared memory of a select: four histograms of 256 words, a word where keys
// are counted that are out, and rooms.
//
// Round r counts keys that are out as bin 256. In these places that is a bin
// which all warps have done with, since they have been at a barrier after the
// round that read it: of round 2 in that of round 0, of round 3 in that of
// round 1.
static constexpr int64_t binBytes = 256 * 4;
static constexpr int64_t histogramAt[] = {binBytes, 3 * binBytes, 0,
                                          2 * binBytes};
static constexpr int64_t outAt = 4 * binBytes;
static constexpr int64_t roomAt = outAt + 16;
static constexpr int64_t selectBytes = roomAt + 3 * roomBytes;

// Sets the histograms to 0.
static void clearHistograms(Device &code) {
  Value zeros = code.splatI32(0, 4);
  auto clear = [&] {
    Value at = code.atShared(code.shared(), zeros.getType(), code.thread());
    code.storeWide(zeros, at);
  };
  if (code.threads == binBytes * 4 / 16)
    clear();
  else
    code.when(code.less(code.thread(), binBytes * 4 / 16), clear);
  // All threads write it: cheaper than to choose one.
  code.store(code.word(0), code.shared(outAt));
}

// Finds the bin of a histogram, which every warp reads by itself, that has the
// key of rank `rest` (from 0 on). Returns the bin, and the key's rank in it.
static std::pair<Value, Value> findBin(Device &code, int64_t byte, Value rest) {
  auto add = [&](Value a, Value b) { return code.add(a, b); };
  Value lane = code.narrow(code.lane());
  auto four = code.i32Vector(4);
  Value from = code.atShared(code.shared(byte), code.i32Vector(8), code.lane());
  SmallVector<Value> bins;
  for (int64_t i = 0; i < 2; ++i) {
    Value loaded = code.loadWide(four, code.atShared(from, four, code.i64(i)));
    for (int64_t j = 0; j < 4; ++j)
      bins.push_back(vector::ExtractOp::create(code, loaded, j));
  }
  Value pairs[4];
  for (int64_t i = 0; i < 4; ++i)
    pairs[i] = add(bins[2 * i], bins[2 * i + 1]);
  Value low = add(pairs[0], pairs[1]), high = add(pairs[2], pairs[3]);
  Value sum = add(low, high);
  rest = add(code.sub(rest, code.scanLanes(sum)), sum);
  // The last lane that begins at the rank or below.
  Value owner = code.highestBit(
      code.ballot(code.compare(Predicate::sge, rest, code.word(0))));
  // Its bin, by halves.
  Value bin = code.shiftLeft(lane, 3);
  auto step = [&](Value half, int64_t bins) {
    Value isAbove = code.compare(Predicate::sge, rest, half);
    rest = code.select(isAbove, code.sub(rest, half), rest);
    bin = code.select(isAbove, code.bitOr(bin, code.word(bins)), bin);
    return isAbove;
  };
  Value above = step(low, 4);
  Value pair = code.select(above, pairs[2], pairs[0]);
  Value first = code.select(above, bins[4], bins[0]);
  Value second = code.select(above, bins[6], bins[2]);
  above = step(pair, 2);
  step(code.select(above, second, first), 1);
  owner = code.widen(owner);
  return {code.shuffleFrom(bin, owner), code.shuffleFrom(rest, owner)};
}

namespace {
// Which keys are chosen: those below `key`, and of those that equal it the
// first `equals`, if there are any of them.
struct Bound {
  Value key, equals;
};
} // namespace

// The bound of the `wanted` > 0 smallest keys. `forKeys` calls its body with
// the thread's keys, eight at a time.
static Bound
boundOf(Device &code, Value wanted,
        function_ref<void(function_ref<void(ValueRange keys)>)> forKeys) {
  Value base = code.sharedAddress(code.shared());
  Value prefix = code.word(0), rest = code.sub(wanted, code.word(1));
  for (int64_t round = 0; round < 4; ++round) {
    int64_t shift = 24 - 8 * round, byte = histogramAt[round];
    forKeys([&](ValueRange keys) {
      for (Value key : keys) {
        // Keys out of the prefix are 256 or more.
        if (round)
          key = code.sub(key, prefix);
        if (shift)
          key = code.shiftRight(key, shift);
        if (round)
          key = code.minUnsigned(key, code.word(256));
        code.countShared(base, key, byte);
      }
    });
    code.barrier();
    auto [bin, inBin] = findBin(code, byte, rest);
    prefix = code.add(prefix, code.shiftLeft(bin, shift));
    rest = inBin;
  }
  return {prefix, code.add(rest, code.word(1))};
}

namespace {
// Numbers before a chunk of keys.
struct Progress {
  Value below, equals;
};
} // namespace

// Writes the rows among `keys` that are chosen. `row` is that of the first key,
// `to` the place of the first index of the sequence. Returns the progress
// behind the chunk. Threads are at no barrier after they have read the room.
static Progress writeChosen(Device &code, ValueRange keys, const Bound &bound,
                            Value row, Value to, const Progress &before,
                            bool last) {
  // Two numbers in a word: a chunk has at most 8192 keys.
  Value count = code.word(0);
  for (Value key : keys) {
    Value one = code.word(0);
    if (bound.equals)
      one = code.select(code.compare(Predicate::eq, key, bound.key),
                        code.word(1 << 16), one);
    one = code.select(code.compare(Predicate::ult, key, bound.key),
                      code.word(1), one);
    count = code.add(count, one);
  }
  Value room = code.shared(roomAt);
  Value scanned = code.scanLanes(count);
  writeOfWarp(code, room, scanned);
  code.barrier();
  Value start = code.add(code.sub(scanned, count), sumBefore(code, room));
  Value belowStart = code.bitAnd(start, code.word(0xffff));
  Value limit = code.sub(bound.key, code.word(1));
  SmallVector<Value> chosen(keys);
  if (before.below)
    belowStart = code.add(belowStart, before.below);
  Value place = belowStart;
  if (bound.equals) {
    Value equalStart = code.shiftRight(start, 16);
    if (before.equals)
      equalStart = code.add(equalStart, before.equals);
    place = code.add(place, code.min(equalStart, bound.equals));
    // All equal keys of a thread are chosen or none; of one thread some.
    Value left = code.sub(bound.equals, equalStart);
    Value equals = code.shiftRight(count, 16);
    limit = code.select(code.compare(Predicate::sge, left, equals), bound.key,
                        limit);
    Value some = code.bitAnd(code.compare(Predicate::slt, left, equals),
                             code.compare(Predicate::sgt, left, code.word(0)));
    chosen = choose(
        code, some, keys.getTypes(),
        [&] {
          SmallVector<Value> changed;
          Value rest = left;
          for (Value key : keys) {
            Value isEqual = code.compare(Predicate::eq, key, bound.key);
            Value taken = code.bitAnd(
                isEqual, code.compare(Predicate::sgt, rest, code.word(0)));
            changed.push_back(code.select(taken, code.word(0), key));
            rest = code.sub(rest, code.toWord(isEqual));
          }
          return changed;
        },
        [&] { return SmallVector<Value>(keys); });
  }
  Type word = code.getI32Type();
  Value pointer = code.at(to, word, code.widen(place));
  for (Value key : chosen) {
    Value isChosen = code.compare(Predicate::ule, key, limit);
    code.storeIf(isChosen, row, pointer);
    pointer = code.select(isChosen, code.at(pointer, word, 1), pointer);
    row = code.add(row, code.word(1));
  }
  if (last)
    return {};
  Value all = sumOfWarps(code, room);
  code.barrier();
  Progress after{code.bitAnd(all, code.word(0xffff)), {}};
  if (before.below)
    after.below = code.add(after.below, before.below);
  if (bound.equals)
    after.equals = code.add(before.equals, code.shiftRight(all, 16));
  return after;
}

// Writes what a block knows of its sequence, whose rows are at `start` in the
// indices, and of the family if it is the last one's block. Every block writes
// its count when `all` do, else only the last one, since others read them.
static void writeTables(Device &code, const Tables &tables, Value b,
                        Value start, Value count, bool all) {
  Value isLast = code.compare(Predicate::eq, b, code.sub(tables.batch(), 1));
  code.when(code.equal(code.thread(), 0), [&] {
    if (all)
      tables.counts.setEntry(code, b, count);
    code.when(isLast, [&] {
      if (!all)
        tables.counts.setEntry(code, b, count);
      tables.offsets.setEntry(code, code.i64(0), code.i64(0));
      tables.offsets.setEntry(code, code.i64(1), code.add(start, count));
    });
  });
  Value line = code.mul(b, tables.tokens());
  code.share(count, [&](Value j) {
    tables.order.setEntry(code, code.add(line, j), code.add(start, j));
  });
}

// The grid of a stage with a block for each sequence, of batches whose
// sequences have `least` < T <= `most` rows. `skipped` sequences have no block.
template <typename SourceOp>
static std::function<Grid(Code &, ArrayRef<Buffer>)>
perSequence(Kernel &kernel, SourceOp op, int64_t skipped = 0,
            int64_t least = -1,
            int64_t most = std::numeric_limits<int64_t>::max()) {
  unsigned place = kernel.indexOf(op.getOrder());
  return [=](Code &host, ArrayRef<Buffer> buffers) {
    Value batch = host.max(host.sub(buffers[place].sizes[0], skipped), 0);
    Value tokens = buffers[place].sizes[1];
    batch = host.select(host.less(host.i64(least), tokens), batch, host.i64(0));
    batch = host.select(host.less(host.i64(most), tokens), host.i64(0), batch);
    return Grid{batch, {}, {}};
  };
}

// The rows with the largest scores. Keys stay in registers when `isOnce`: a
// sequence has at most as many rows as the block's threads can hold.
static void selectTop(Kernel &kernel, kernel::SelectOp op, int64_t threads,
                      bool isOnce, int64_t least, int64_t most) {
  Outer outer = outerOf(op);
  kernel.stage(
      threads, selectBytes, perSequence(kernel, op, 0, least, most),
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value b = code.block();
        Candidates own =
            candidatesOf(in, outer, tables.tokens(), b, roomAt + roomBytes);
        Value wanted = capacityOf(code, *op.getCapacity(), own.rows);
        Value start = outer.offsets
                          ? countsBefore(code, tables.counts, b, roomAt)
                          : code.mul(b, wanted);
        writeTables(code, tables, b, start, wanted, /*all=*/!outer.offsets);
        code.when(code.less(code.i64(0), wanted), [&] {
          Value scores = in[op.getScores()].row(code, own.first);
          Value index = code.mul(code.thread(), each);
          Value to = code.at(tables.indices.pointer, code.getI32Type(), start);
          SmallVector<Value> keys;
          clearHistograms(code);
          if (isOnce)
            keys = loadKeys(code, scores, index, own.rows);
          code.barrier();
          auto forKeys = [&](function_ref<void(ValueRange)> body) {
            if (isOnce)
              return body(keys);
            code.loop(code.i64(0), own.rows, threads * each, [&](Value chunk) {
              body(loadKeys(code, scores, code.add(chunk, index), own.rows));
            });
          };
          Bound bound = boundOf(code, code.narrow(wanted), forKeys);
          Value row = code.narrow(code.add(own.first, index));
          if (isOnce) {
            writeChosen(code, keys, bound, row, to, {}, /*last=*/true);
            return;
          }
          code.loop(code.i64(0), own.rows, threads * each,
                    {code.word(0), code.word(0)},
                    [&](Value chunk, ValueRange carried) {
                      SmallVector<Value> keys = loadKeys(
                          code, scores, code.add(chunk, index), own.rows);
                      Progress after = writeChosen(
                          code, keys, bound, code.add(row, code.narrow(chunk)),
                          to, {carried[0], carried[1]}, /*last=*/false);
                      return SmallVector<Value>{after.below, after.equals};
                    });
        });
      });
}

// Threads of blocks for short and for long sequences.
static constexpr int64_t fewThreads = 256, manyThreads = 1024;

LogicalResult nvptx::generate(Kernel &kernel, kernel::SelectOp op) {
  if (failed(checkSource(op)))
    return failure();
  Outer outer = outerOf(op);
  auto isChosen = [&](Device &code, Value score) {
    return arith::CmpFOp::create(code, arith::CmpFPredicate::OGT, score,
                                 code.f32(op.getThreshold()->convertToFloat()));
  };
  // How many rows each sequence has but the last one.
  if (op.getThreshold() || outer.offsets)
    kernel.stage(
        fewThreads, 3 * roomBytes, perSequence(kernel, op, /*skipped=*/1),
        [&](Kernel::Inside &in) {
          Device &code = in.code;
          Tables tables(in, op);
          Value b = code.block();
          Candidates own =
              candidatesOf(in, outer, tables.tokens(), b, roomBytes);
          Value count;
          if (op.getThreshold()) {
            Value scores = in[op.getScores()].row(code, own.first);
            count = code.loop(
                code.thread(), own.rows, code.threads, code.word(0),
                [&](Value row, ValueRange carried) {
                  Value score =
                      code.load(code.getF32Type(), code.atF32(scores, row));
                  return SmallVector<Value>{
                      code.add(carried[0], code.toWord(isChosen(code, score)))};
                })[0];
            Value room = code.shared();
            writeOfWarp(code, room, code.sumLanes(count));
            code.barrier();
            count = code.widen(sumOfWarps(code, room));
          } else {
            count = capacityOf(code, *op.getCapacity(), own.rows);
          }
          code.when(code.equal(code.thread(), 0),
                    [&] { tables.counts.setEntry(code, b, count); });
        });
  if (!op.getThreshold()) {
    int64_t few = fewThreads * each, many = manyThreads * each;
    selectTop(kernel, op, fewThreads, /*isOnce=*/true, -1, few);
    selectTop(kernel, op, manyThreads, /*isOnce=*/true, few, many);
    selectTop(kernel, op, manyThreads, /*isOnce=*/false, many,
              std::numeric_limits<int64_t>::max());
    return success();
  }
  kernel.stage(
      fewThreads, selectBytes, perSequence(kernel, op),
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value b = code.block();
        Candidates own =
            candidatesOf(in, outer, tables.tokens(), b, roomAt + roomBytes);
        Value start = countsBefore(code, tables.counts, b, roomAt);
        code.barrier();
        Value scores = in[op.getScores()].row(code, own.first);
        Value index = code.mul(code.thread(), each);
        Value row = code.narrow(code.add(own.first, index));
        Value to = code.at(tables.indices.pointer, code.getI32Type(), start);
        uint32_t key = keyOf(op.getThreshold()->convertToFloat());
        Bound bound{code.word(static_cast<int32_t>(key)), {}};
        Value count =
            code.loop(code.i64(0), own.rows, code.threads * each, code.word(0),
                      [&](Value chunk, ValueRange carried) {
                        SmallVector<Value> keys = loadKeys(
                            code, scores, code.add(chunk, index), own.rows);
                        return SmallVector<Value>{
                            writeChosen(code, keys, bound,
                                        code.add(row, code.narrow(chunk)), to,
                                        {carried[0], {}}, /*last=*/false)
                                .below};
                      })[0];
        writeTables(code, tables, b, start, code.widen(count), /*all=*/false);
      });
  return success();
}

//===----------------------------------------------------------------------===//
// partition and assign
//===----------------------------------------------------------------------===//

// Sets that the block that sorts counts at a time.
static constexpr int64_t mostBins = 256;

// Adds the stage that sorts all rows of the batch: `setOf` gives the set, as an
// i32, of the row at a place of the table of orders; -1 if it has none. Writes
// indices, offsets and of every place in the table of orders its packed row or
// -1. Rows of the input are numbered by places, or by those that have a set
// when `isRanked`.
template <typename SourceOp>
static void
sortRows(Kernel &kernel, SourceOp op, bool isRanked,
         function_ref<Value(Kernel::Inside &in, Value place)> setOf) {
  int64_t sets =
      cast<MemRefType>(op.getOffsets().getType()).getNumElements() - 1;
  int64_t bins = std::min<int64_t>(mostBins, llvm::PowerOf2Ceil(sets));
  constexpr int64_t warps = manyThreads / warpSize;
  int64_t room = warps * bins * 4;
  unsigned counts = kernel.indexOf(op.getCounts());
  kernel.stage(
      manyThreads, room + 2 * roomBytes,
      [counts](Code &host, ArrayRef<Buffer> buffers) {
        return Grid{host.min(buffers[counts].sizes[0], 1), {}, {}};
      },
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value thread = code.narrow(code.thread()), binCount = code.word(bins);
        Value lane = code.lane(), below = code.lanesBelow();
        Value places = code.mul(tables.batch(), tables.tokens());
        // Every warp has a part of the places, and a count of each set.
        Value part = code.roundUp(code.ceilDiv(places, warps), warpSize);
        Value low = code.mul(code.warp(), part);
        Value high = code.min(code.add(low, part), places);
        Value base = code.shared(),
              mine = wordAt(code, base, code.mul(code.warp(), bins));
        Value mineAddress = code.sharedAddress(mine);
        Value totals = code.shared(room);
        Value valids = code.shared(room + roomBytes);
        // A packed row waits as what is no set while sets are still read.
        auto encode = [&](Value row) {
          return sets > bins ? code.sub(code.word(-2), row) : row;
        };
        // Calls body(place, set, bin, whether the bin is one, carried) for the
        // places of the warp.
        auto forPlaces = [&](Value window, ValueRange carried,
                             function_ref<SmallVector<Value>(
                                 Value, Value, Value, Value, ValueRange)>
                                 body) {
          return code.loop(
              low, high, warpSize, carried,
              [&](Value first, ValueRange carried) {
                Value place = code.add(first, lane);
                Value set = choose(
                    code, code.less(place, high), code.getI32Type(),
                    [&] { return SmallVector<Value>{setOf(in, place)}; },
                    [&] { return SmallVector<Value>{code.word(-1)}; })[0];
                Value bin = code.sub(set, window);
                Value has =
                    code.bitAnd(code.compare(Predicate::sge, set, code.word(0)),
                                code.inside(bin, binCount));
                return body(place, set, bin, has, carried);
              });
        };
        Value total = code.loop(
            code.i64(0), code.i64(sets), bins, code.word(0),
            [&](Value firstSet, ValueRange packed) {
              Value window = code.narrow(firstSet);
              code.share(code.i64(warps * bins), [&](Value i) {
                code.store(code.word(0), wordAt(code, base, i));
              });
              code.barrier();
              SmallVector<Value> seen = forPlaces(
                  window, code.word(0),
                  [&](Value, Value set, Value bin, Value has, ValueRange seen) {
                    code.when(has,
                              [&] { code.countShared(mineAddress, bin, 0); });
                    Value known =
                        code.compare(Predicate::sge, set, code.word(0));
                    return SmallVector<Value>{
                        code.add(seen[0], code.toWord(known))};
                  });
              if (isRanked)
                writeOfWarp(code, valids, code.sumLanes(seen[0]));
              code.barrier();
              // A thread for each set: its rows of all warps.
              Value isBin = code.inside(thread, binCount);
              auto forWarps = [&](Value start, bool write) {
                return choose(
                    code, isBin, code.getI32Type(),
                    [&] {
                      return code.loop(
                          code.i64(0), code.i64(warps), 1, start,
                          [&](Value warp, ValueRange sum) {
                            Value at = wordAt(
                                code, base,
                                code.add(code.mul(warp, bins), code.thread()));
                            Value count = code.load(code.getI32Type(), at);
                            if (write)
                              code.store(sum[0], at);
                            return SmallVector<Value>{code.add(sum[0], count)};
                          });
                    },
                    [&] { return SmallVector<Value>{code.word(0)}; })[0];
              };
              Value count = forWarps(code.word(0), /*write=*/false);
              Value scanned = code.scanLanes(count);
              writeOfWarp(code, totals, scanned);
              code.barrier();
              Value start =
                  code.add(code.add(packed[0], sumBefore(code, totals)),
                           code.sub(scanned, count));
              Value after = code.add(packed[0], sumOfWarps(code, totals));
              forWarps(start, /*write=*/true);
              Value set = code.add(firstSet, code.thread());
              code.when(code.bitAnd(isBin, code.less(set, sets)), [&] {
                tables.offsets.setEntry(code, set, code.widen(start));
              });
              Value rank = isRanked ? sumBefore(code, valids) : code.word(0);
              code.barrier();
              forPlaces(
                  window, rank,
                  [&](Value place, Value set, Value bin, Value has,
                      ValueRange rank) {
                    Value peers =
                        code.matchLanes(code.select(has, bin, code.word(-1)));
                    Value before = code.bitAnd(peers, below);
                    Value known =
                        code.compare(Predicate::sge, set, code.word(0));
                    Value row = code.narrow(place), next = rank[0];
                    if (isRanked) {
                      Value all = code.ballot(known);
                      row = code.add(rank[0],
                                     code.countBits(code.bitAnd(all, below)));
                      next = code.add(rank[0], code.countBits(all));
                    }
                    Value at = wordAt(code, mine, code.widen(bin));
                    Value to = choose(
                        code, has, code.getI32Type(),
                        [&] {
                          return SmallVector<Value>{
                              code.load(code.getI32Type(), at)};
                        },
                        [&] { return SmallVector<Value>{code.word(0)}; })[0];
                    code.syncWarp();
                    Value isFirst = code.bitAnd(
                        has, code.compare(Predicate::eq, before, code.word(0)));
                    code.when(isFirst, [&] {
                      code.store(code.add(to, code.countBits(peers)), at);
                    });
                    code.syncWarp();
                    code.when(has, [&] {
                      Value p = code.add(to, code.countBits(before));
                      tables.indices.setEntry(code, code.widen(p),
                                              code.widen(row));
                      tables.order.setEntry(code, place, code.widen(encode(p)));
                    });
                    return SmallVector<Value>{next};
                  });
              code.barrier();
              return SmallVector<Value>{after};
            })[0];
        code.when(code.equal(code.thread(), 0), [&] {
          tables.offsets.setEntry(code, code.i64(sets), code.widen(total));
        });
        if (sets > bins)
          code.loop(code.add(low, lane), high, warpSize, [&](Value place) {
            Value row = tables.order.entry(code, place);
            code.when(code.less(row, -1), [&] {
              tables.order.setEntry(code, place, code.sub(code.i64(-2), row));
            });
          });
      });
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::PartitionOp op) {
  if (failed(checkSource(op)) || failed(checkI32(op, {op.getIds()})))
    return failure();
  SmallVector<int32_t> sets(op.getSets().begin(), op.getSets().end());
  int64_t size = sets.size();
  std::string name = ("nest_sets_" + kernel.def.getSymName()).str();
  OpBuilder builder =
      OpBuilder::atBlockBegin(kernel.generator.device.getBody());
  Type word = builder.getI32Type();
  LLVM::GlobalOp::create(
      builder, op.getLoc(), LLVM::LLVMArrayType::get(word, size),
      /*isConstant=*/true, LLVM::Linkage::Internal, name,
      DenseElementsAttr::get(RankedTensorType::get({size}, word),
                             ArrayRef(sets)),
      /*alignment=*/4, globalSpace);
  auto setOf = [&](Kernel::Inside &in, Value row) {
    Device &code = in.code;
    // The runtime refuses such ids; never read outside all the same.
    Value id = in[op.getIds()].entry(code, row);
    return choose(
        code, code.inside(id, code.i64(size)), word,
        [&] {
          auto pointer =
              LLVM::LLVMPointerType::get(code.getContext(), globalSpace);
          Value table = LLVM::AddressOfOp::create(code, pointer, name);
          return SmallVector<Value>{
              code.load(word, code.atShared(table, word, id))};
        },
        [&] { return SmallVector<Value>{code.word(-1)}; })[0];
  };
  sortRows(kernel, op, /*isRanked=*/false, setOf);
  // Closes the gaps of rows that have no set, and counts the others.
  kernel.stage(
      fewThreads, roomBytes, perSequence(kernel, op), [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value b = code.block(), tokens = tables.tokens();
        Value line = code.mul(b, tokens), room = code.shared();
        Value below = code.lanesBelow();
        Value count = code.loop(
            code.i64(0), tokens, code.threads, code.word(0),
            [&](Value chunk, ValueRange carried) {
              Value j = code.add(chunk, code.thread());
              Value place = code.add(line, j);
              SmallVector<Value> found = choose(
                  code, code.less(j, tokens), {word, word},
                  [&] {
                    return SmallVector<Value>{
                        setOf(in, place),
                        code.narrow(tables.order.entry(code, place))};
                  },
                  [&] {
                    return SmallVector<Value>{code.word(-1), code.word(-1)};
                  });
              Value has = code.compare(Predicate::sge, found[0], code.word(0));
              Value all = code.ballot(has);
              writeOfWarp(code, room, code.countBits(all));
              code.barrier();
              Value rank = code.add(code.add(carried[0], sumBefore(code, room)),
                                    code.countBits(code.bitAnd(all, below)));
              Value next = code.add(carried[0], sumOfWarps(code, room));
              code.when(has, [&] {
                tables.order.setEntry(code, code.add(line, code.widen(rank)),
                                      code.widen(found[1]));
              });
              code.barrier();
              return SmallVector<Value>{next};
            })[0];
        code.when(code.equal(code.thread(), 0),
                  [&] { tables.counts.setEntry(code, b, code.widen(count)); });
      });
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::AssignOp op) {
  if (failed(checkSource(op)))
    return failure();
  Outer outer = outerOf(op);
  // A warp takes a row at a time.
  constexpr int64_t warps = fewThreads / warpSize;
  int64_t perBlock = outer.offsets ? 8 * warps : warps;
  unsigned place = kernel.indexOf(op.getOrder());
  kernel.stage(
      fewThreads, 2 * roomBytes,
      [place, perBlock](Code &host, ArrayRef<Buffer> buffers) {
        const Buffer &order = buffers[place];
        return Grid{
            host.mul(order.sizes[0], host.ceilDiv(order.sizes[1], perBlock)),
            {},
            {}};
      },
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value tokens = tables.tokens();
        Value blocks = code.ceilDiv(tokens, perBlock);
        Value b = code.div(code.block(), blocks);
        Value piece = code.rem(code.block(), blocks);
        Candidates own = candidatesOf(in, outer, tokens, b, 0);
        code.when(
            code.bitAnd(code.equal(piece, 0), code.equal(code.thread(), 0)),
            [&] { tables.counts.setEntry(code, b, own.rows); });
        Value low = code.mul(piece, perBlock);
        Value high = code.min(code.add(low, perBlock), tokens);
        const Buffer &scores = in[op.getScores()];
        Value slots = scores.columns();
        code.loop(code.add(low, code.warp()), high, warps, [&](Value j) {
          // Key above, slot below: no two are equal. A pass for each choice
          // finds the smallest behind the choice before.
          Value from = scores.row(code, code.add(own.first, j));
          auto setOf = [&] {
            Value behind = code.loop(
                code.i64(0), code.i64(op.getChoice() + 1), 1, code.i64(0),
                [&](Value, ValueRange bound) {
                  Value best = code.loop(
                      code.lane(), slots, warpSize, code.i64(-1),
                      [&](Value slot, ValueRange best) {
                        Value score = code.load(code.getF32Type(),
                                                code.atF32(from, slot));
                        Value key = arith::ExtUIOp::create(code, code.i64Type(),
                                                           keyOf(code, score));
                        key = arith::ShLIOp::create(code, key, code.i64(32));
                        key = code.bitOr(key, slot);
                        Value isBehind =
                            code.compare(Predicate::uge, key, bound[0]);
                        key = code.select(isBehind, key, code.i64(-1));
                        return SmallVector<Value>{
                            code.minUnsigned(key, best[0])};
                      })[0];
                  Value high = code.narrow(
                      arith::ShRUIOp::create(code, best, code.i64(32)));
                  Value key = code.minLanes(high);
                  Value slot =
                      code.select(code.compare(Predicate::eq, high, key),
                                  code.narrow(best), code.word(-1));
                  slot = code.minLanes(slot);
                  Value found = arith::ShLIOp::create(
                      code, arith::ExtUIOp::create(code, code.i64Type(), key),
                      code.i64(32));
                  found = code.bitOr(found, arith::ExtUIOp::create(
                                                code, code.i64Type(), slot));
                  return SmallVector<Value>{code.add(found, 1)};
                })[0];
            return SmallVector<Value>{code.narrow(code.sub(behind, 1))};
          };
          Value set;
          if (outer.offsets)
            set = choose(code, code.less(j, own.rows), code.getI32Type(), setOf,
                         [&] { return SmallVector<Value>{code.word(-1)}; })[0];
          else
            set = setOf()[0];
          code.when(code.equal(code.lane(), 0), [&] {
            Value at = code.add(code.mul(b, tokens), j);
            tables.order.setEntry(code, at, code.widen(set));
          });
        });
      });
  // With another set, places behind a sequence's rows have no set.
  sortRows(kernel, op, /*isRanked=*/static_cast<bool>(outer.offsets),
           [&](Kernel::Inside &in, Value place) {
             const Buffer &order = in[op.getOrder()];
             return in.code.load(
                 in.code.getI32Type(),
                 in.code.at(order.pointer, order.element(), place));
           });
  return success();
}
