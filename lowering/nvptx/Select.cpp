//===- Select.cpp - the rows of largest scores ----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Sources.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

using Predicate = arith::CmpIPredicate;

// The sum of counts[0] to counts[b - 1]. One room.
static Value countsBefore(Device &code, const Buffer &counts, Value b,
                          int64_t room) {
  Value sum =
      code.loop(code.thread(), b, code.threads, code.i32(0),
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

// keyOf of a number that is known.
static uint32_t keyOfThreshold(float score) {
  uint32_t bits = llvm::bit_cast<uint32_t>(0.0f - score);
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

// What one of two branches makes.
static SmallVector<Value> either(Device &code, Value condition, TypeRange types,
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
  // As vectors: of single numbers LLVM would load the last one once more.
  SmallVector<Value> halves = either(
      code, isWide, SmallVector<Type>(2, code.f32Vector(4)),
      [&] {
        return SmallVector<Value>{code.loadWide(f32, from, 4),
                                  code.loadWide(f32, code.atF32(from, 4), 4)};
      },
      [&] {
        SmallVector<Value> loaded;
        Value none = code.f32(std::numeric_limits<float>::quiet_NaN());
        for (int64_t half = 0; half < each; half += 4) {
          Value vector = code.splat(0, 4);
          for (int64_t i = 0; i < 4; ++i) {
            Value place = code.add(index, half + i);
            Value score = code.valueIf(
                code.less(place, rows),
                [&] { return code.load(f32, code.atF32(scores, place)); },
                none);
            vector = vector::InsertOp::create(code, score, vector, i);
          }
          loaded.push_back(vector);
        }
        return loaded;
      });
  SmallVector<Value> values;
  for (Value half : halves)
    for (int64_t i = 0; i < 4; ++i)
      values.push_back(vector::ExtractOp::create(code, half, i));
  for (Value &value : values)
    value = keyOf(code, value);
  return values;
}

//===----------------------------------------------------------------------===//
// select
//===----------------------------------------------------------------------===//

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
  Value zeros = code.splat(0, 4);
  auto clear = [&] {
    Value at = code.atShared(code.shared(), zeros.getType(), code.thread());
    code.storeWide(code.getF32Type(), zeros, at);
  };
  if (code.threads == binBytes * 4 / 16)
    clear();
  else
    code.when(code.less(code.thread(), binBytes * 4 / 16), clear);
  // All threads write it: cheaper than to choose one.
  code.store(code.i32(0), code.shared(outAt));
}

// Finds the bin of a histogram, which every warp reads by itself, that has the
// key of rank `rest` (from 0 on). Returns the bin, and the key's rank in it.
static std::pair<Value, Value> findBin(Device &code, int64_t byte, Value rest) {
  auto add = [&](Value a, Value b) { return code.add(a, b); };
  Value lane = code.narrow(code.lane());
  Value from = code.atShared(code.shared(byte), code.i32Vector(8), code.lane());
  SmallVector<Value> bins;
  for (int64_t i = 0; i < 2; ++i) {
    Value loaded =
        code.loadWide(code.getF32Type(), code.byteAt(from, 16 * i), 4);
    for (int64_t j = 0; j < 4; ++j)
      bins.push_back(code.asInt(vector::ExtractOp::create(code, loaded, j)));
  }
  Value pairs[4];
  for (int64_t i = 0; i < 4; ++i)
    pairs[i] = add(bins[2 * i], bins[2 * i + 1]);
  Value low = add(pairs[0], pairs[1]), high = add(pairs[2], pairs[3]);
  Value sum = add(low, high);
  rest = add(code.sub(rest, code.scanLanes(sum)), sum);
  // The last lane that begins at the rank or below.
  Value owner = code.highestBit(
      code.ballot(code.compare(Predicate::sge, rest, code.i32(0))));
  // Its bin, by halves.
  Value bin = code.shiftLeft(lane, 3);
  Value above = code.compare(Predicate::sge, rest, low);
  rest = code.subIf(above, rest, low);
  bin = code.select(above, code.bitOr(bin, code.i32(4)), bin);
  Value pair = code.select(above, pairs[2], pairs[0]);
  Value first = code.select(above, bins[4], bins[0]);
  Value second = code.select(above, bins[6], bins[2]);
  above = code.compare(Predicate::sge, rest, pair);
  rest = code.subIf(above, rest, pair);
  bin = code.addIf(above, bin, code.i32(2));
  first = code.select(above, second, first);
  above = code.compare(Predicate::sge, rest, first);
  rest = code.subIf(above, rest, first);
  bin = code.addIf(above, bin, code.i32(1));
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
  Value base = code.sharedAddress();
  Value prefix = code.i32(0), rest = code.sub(wanted, code.i32(1));
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
          key = code.minUnsigned(key, code.i32(256));
        code.countShared(base, key, byte);
      }
    });
    code.barrier();
    auto [bin, inBin] = findBin(code, byte, rest);
    prefix = code.add(prefix, code.shiftLeft(bin, shift));
    rest = inBin;
  }
  return {prefix, code.add(rest, code.i32(1))};
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
  Value count = code.i32(0);
  for (Value key : keys) {
    count = code.addIf(code.compare(Predicate::ult, key, bound.key), count,
                       code.i32(1));
    if (bound.equals)
      count = code.addIf(code.compare(Predicate::eq, key, bound.key), count,
                         code.i32(1 << 16));
  }
  Value room = code.shared(roomAt);
  Value scanned = code.scanLanes(count);
  writeOfWarp(code, room, scanned);
  code.barrier();
  Value start = code.add(code.sub(scanned, count), sumBefore(code, room));
  Value belowStart = code.bitAnd(start, code.i32(0xffff));
  Value limit = code.sub(bound.key, code.i32(1));
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
                             code.compare(Predicate::sgt, left, code.i32(0)));
    chosen = code.choose(some, keys, [&] {
      SmallVector<Value> changed;
      Value rest = left;
      for (Value key : keys) {
        Value isEqual = code.compare(Predicate::eq, key, bound.key);
        Value taken = code.bitAnd(
            isEqual, code.compare(Predicate::sgt, rest, code.i32(0)));
        changed.push_back(code.select(taken, code.i32(0), key));
        rest = code.sub(rest, code.count(isEqual));
      }
      return changed;
    });
  }
  Type word = code.getI32Type();
  Value address = LLVM::PtrToIntOp::create(
      code, code.i64Type(), code.global(code.at(to, word, code.widen(place))));
  for (Value key : chosen) {
    Value isChosen = code.compare(Predicate::ule, key, limit);
    code.storeIf(isChosen, row, address);
    address = code.addIf(isChosen, address, code.i64(4));
    row = code.add(row, code.i32(1));
  }
  if (last)
    return {};
  Value all = sumOfWarps(code, room);
  code.barrier();
  Progress after{code.bitAnd(all, code.i32(0xffff)), {}};
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

// The rows with the largest scores. Keys stay in registers when `isOnce`: a
// sequence has at most as many rows as the block's threads can hold.
static void selectTop(Kernel &kernel, kernel::SelectOp op, int64_t threads,
                      bool isOnce, int64_t least, int64_t most) {
  Outer outer = outerOf(op);
  kernel.stage(
      threads, selectBytes, perSequence(kernel, op, 0, least, most),
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        useAllRegisters(code);
        Tables tables(in, op);
        Value b = code.block();
        Candidates own =
            candidatesOf(in, outer, tables.tokens(), b, roomAt + roomBytes);
        Value wanted = capacityOf(code, *op.getCapacity(), own.rows);
        Value start = outer.offsets
                          ? countsBefore(code, tables.counts, b, roomAt)
                          : code.mul(b, wanted);
        writeTables(code, tables, b, start, wanted, /*all=*/!outer.offsets);
        Value to = code.at(tables.indices.pointer, code.getI32Type(), start);
        Value isPart = code.bitAnd(code.less(code.i64(0), wanted),
                                   code.less(wanted, own.rows));
        auto part = [&] {
          Value scores = in[op.getScores()].row(code, own.first);
          Value index = code.mul(code.thread(), each);
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
          code.loop(
              code.i64(0), own.rows, threads * each, {code.i32(0), code.i32(0)},
              [&](Value chunk, ValueRange carried) {
                SmallVector<Value> keys =
                    loadKeys(code, scores, code.add(chunk, index), own.rows);
                Progress after = writeChosen(
                    code, keys, bound, code.add(row, code.narrow(chunk)), to,
                    {carried[0], carried[1]}, /*last=*/false);
                return SmallVector<Value>{after.below, after.equals};
              });
        };
        code.when(isPart, part, [&] {
          // All of them, as in a step of a single row, or none.
          code.share(wanted, [&](Value j) {
            Value row = code.narrow(code.add(own.first, j));
            code.store(row, code.at(to, row.getType(), j));
          });
        });
      });
}

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
                code.thread(), own.rows, code.threads, code.i32(0),
                [&](Value row, ValueRange carried) {
                  Value score =
                      code.load(code.getF32Type(), code.atF32(scores, row));
                  return SmallVector<Value>{
                      code.add(carried[0], code.count(isChosen(code, score)))};
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
        uint32_t key = keyOfThreshold(op.getThreshold()->convertToFloat());
        Bound bound{code.i32(static_cast<int32_t>(key)), {}};
        Value count =
            code.loop(code.i64(0), own.rows, code.threads * each, code.i32(0),
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
