//===- Sources.cpp - sets of rows by their values -------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Sources.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

using Predicate = arith::CmpIPredicate;

void nvptx::useAllRegisters(Device &code) {
  code.getInsertionBlock()->getParentOp()->setAttr(
      NVVM::NVVMDialect::getMinctasmAttrName(), code.getI32IntegerAttr(1));
}

//===----------------------------------------------------------------------===//
// Numbers of a block
//===----------------------------------------------------------------------===//

Value nvptx::wordAt(Device &code, Value pointer, Value index) {
  return code.atShared(pointer, code.getI32Type(), index);
}

// What a warp has written to `room` before the last barrier, in the lane of its
// number; `otherwise` in lanes without a warp.
static Value ofWarps(Device &code, Value room, int64_t otherwise) {
  Value lane = code.lane();
  Value mine = code.load(code.getI32Type(), wordAt(code, room, lane));
  return code.select(code.less(lane, code.threads / warpSize), mine,
                     code.i32(otherwise));
}

void nvptx::writeOfWarp(Device &code, Value room, Value number) {
  code.when(code.equal(code.lane(), warpSize - 1),
            [&] { code.store(number, wordAt(code, room, code.warp())); });
}

Value nvptx::sumBefore(Device &code, Value room) {
  Value lane = code.lane();
  Value mine = code.load(code.getI32Type(), wordAt(code, room, lane));
  return code.sumLanes(
      code.select(code.less(lane, code.warp()), mine, code.i32(0)));
}

Value nvptx::sumOfWarps(Device &code, Value room) {
  return code.sumLanes(ofWarps(code, room, 0));
}

Candidates nvptx::candidatesOf(Kernel::Inside &in, const Outer &outer,
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
      {code.i32(-1), code.i32(0)}, [&](Value j, ValueRange carried) {
        Value row =
            code.load(code.getI32Type(), code.at(order.pointer, order.element(),
                                                 code.add(line, j)));
        row = code.sub(row, low);
        Value inside = code.inside(row, size);
        row = code.select(inside, row, code.i32(-1));
        return SmallVector<Value>{code.minUnsigned(carried[0], row),
                                  code.add(carried[1], code.count(inside))};
      });
  Value firsts = code.shared(room), counts = code.shared(room + roomBytes);
  writeOfWarp(code, firsts, code.minLanes(found[0]));
  writeOfWarp(code, counts, code.sumLanes(found[1]));
  code.barrier();
  Value first = code.minLanes(ofWarps(code, firsts, -1));
  Value rows = sumOfWarps(code, counts);
  first = code.select(code.compare(Predicate::eq, rows, code.i32(0)),
                      code.i32(0), first);
  return {code.widen(first), code.widen(rows)};
}

Value nvptx::keyOf(Device &code, Value score) {
  // A difference is never -0, and of NaN it is the one NaN 0x7fffffff.
  Value bits = code.asInt(code.fsub(code.f32(0), score));
  Value sign = arith::ShRSIOp::create(code, bits, code.i32(31));
  constexpr int32_t top = std::numeric_limits<int32_t>::min();
  return code.bitXor(bits, code.bitOr(sign, code.i32(top)));
}

//===----------------------------------------------------------------------===//
// partition and assign
//===----------------------------------------------------------------------===//

// Ids of a partition whose sets are compared; more are looked up.
static constexpr int64_t mostInLine = 16;
// Sets that the block that sorts counts at a time.
static constexpr int64_t mostBins = 256;

// How many sets that is, and the shared memory: a count for each warp of a
// block of manyThreads and each of these sets, and two rooms.
template <typename SourceOp>
static int64_t binsOf(SourceOp op) {
  int64_t sets =
      cast<MemRefType>(op.getOffsets().getType()).getNumElements() - 1;
  return std::min<int64_t>(mostBins, llvm::PowerOf2Ceil(sets));
}
template <typename SourceOp>
static int64_t sortBytes(SourceOp op) {
  return manyThreads / warpSize * binsOf(op) * 4 + 2 * roomBytes;
}

// Sorts all rows of the batch, by one block of manyThreads: `setOf` gives the
// set, as an i32, of the row at a place of the table of orders; -1 if it has
// none. Writes indices, offsets and of every place in the table of orders that
// has a set the packed row. Rows of the input are numbered by places, or by
// those that have a set when `isRanked`.
template <typename SourceOp>
static void sortRows(Kernel::Inside &in, SourceOp op, bool isRanked,
                     function_ref<Value(Value place)> setOf) {
  int64_t sets =
      cast<MemRefType>(op.getOffsets().getType()).getNumElements() - 1;
  int64_t bins = binsOf(op), room = sortBytes(op) - 2 * roomBytes;
  constexpr int64_t warps = manyThreads / warpSize;
  Device &code = in.code;
  useAllRegisters(code);
  Tables tables(in, op);
  Value thread = code.narrow(code.thread()), binCount = code.i32(bins);
  Value lane = code.lane(), below = code.lanesBelow();
  Value places = code.mul(tables.batch(), tables.tokens());
  // Every warp has a part of the places, and a count of each set.
  Value part = code.roundUp(code.ceilDiv(places, warps), warpSize);
  Value low = code.mul(code.warp(), part);
  Value high = code.min(code.add(low, part), places);
  Value base = code.shared(),
        mine = wordAt(code, base, code.mul(code.warp(), bins));
  Value mineAddress =
      code.narrow(LLVM::PtrToIntOp::create(code, code.i64Type(), mine));
  Value totals = code.shared(room);
  Value valids = code.shared(room + roomBytes);
  // A packed row waits as what is no set while sets are still read.
  auto encode = [&](Value row) {
    return sets > bins ? code.sub(code.i32(-2), row) : row;
  };
  // Calls body(place, set, bin, whether the bin is one, carried) for the
  // places of the warp.
  auto forPlaces = [&](Value window, ValueRange carried,
                       function_ref<SmallVector<Value>(Value, Value, Value,
                                                       Value, ValueRange)>
                           body) {
    return code.loop(
        low, high, warpSize, carried, [&](Value first, ValueRange carried) {
          Value place = code.add(first, lane);
          Value set = code.valueIf(
              code.less(place, high), [&] { return setOf(place); },
              code.i32(-1));
          Value bin = code.sub(set, window);
          Value has =
              code.bitAnd(code.compare(Predicate::sge, set, code.i32(0)),
                          code.inside(bin, binCount));
          return body(place, set, bin, has, carried);
        });
  };
  Value total = code.loop(
      code.i64(0), code.i64(sets), bins, code.i32(0),
      [&](Value firstSet, ValueRange packed) {
        Value window = code.narrow(firstSet);
        code.share(code.i64(warps * bins), [&](Value i) {
          code.store(code.i32(0), wordAt(code, base, i));
        });
        code.barrier();
        SmallVector<Value> seen = forPlaces(
            window, code.i32(0),
            [&](Value, Value set, Value bin, Value has, ValueRange seen) {
              code.when(has, [&] { code.countShared(mineAddress, bin, 0); });
              Value known = code.compare(Predicate::ne, set, code.i32(-1));
              return SmallVector<Value>{code.add(seen[0], code.count(known))};
            });
        if (isRanked)
          writeOfWarp(code, valids, code.sumLanes(seen[0]));
        code.barrier();
        // A thread for each set: its rows of all warps.
        Value isBin = code.inside(thread, binCount);
        auto forWarps = [&](Value start, bool write) {
          return code.valueIf(
              isBin,
              [&] {
                return code.loop(
                    code.i64(0), code.i64(warps), 1, start,
                    [&](Value warp, ValueRange sum) {
                      Value at =
                          wordAt(code, base,
                                 code.add(code.mul(warp, bins), code.thread()));
                      Value count = code.load(code.getI32Type(), at);
                      if (write)
                        code.store(sum[0], at);
                      return SmallVector<Value>{code.add(sum[0], count)};
                    })[0];
              },
              code.i32(0));
        };
        Value count = forWarps(code.i32(0), /*write=*/false);
        Value scanned = code.scanLanes(count);
        writeOfWarp(code, totals, scanned);
        code.barrier();
        Value start = code.add(code.add(packed[0], sumBefore(code, totals)),
                               code.sub(scanned, count));
        Value after = code.add(packed[0], sumOfWarps(code, totals));
        forWarps(start, /*write=*/true);
        Value set = code.add(firstSet, code.thread());
        code.when(code.bitAnd(isBin, code.less(set, sets)), [&] {
          tables.offsets.setEntry(code, set, code.widen(start));
        });
        Value rank = isRanked ? sumBefore(code, valids) : code.i32(0);
        code.barrier();
        forPlaces(
            window, rank,
            [&](Value place, Value set, Value bin, Value has, ValueRange rank) {
              Value peers =
                  code.matchLanes(code.select(has, bin, code.i32(-1)));
              Value before = code.bitAnd(peers, below);
              Value known = code.compare(Predicate::ne, set, code.i32(-1));
              Value row = code.narrow(place), next = rank[0];
              if (isRanked) {
                Value all = code.ballot(known);
                row =
                    code.add(rank[0], code.countBits(code.bitAnd(all, below)));
                next = code.add(rank[0], code.countBits(all));
              }
              Value at = wordAt(code, mine, code.widen(bin));
              Value to = code.valueIf(
                  has, [&] { return code.load(code.getI32Type(), at); },
                  code.i32(0));
              code.syncWarp();
              Value isFirst = code.bitAnd(
                  has, code.compare(Predicate::eq, before, code.i32(0)));
              code.when(isFirst, [&] {
                code.store(code.add(to, code.countBits(peers)), at);
              });
              code.syncWarp();
              code.when(has, [&] {
                Value p = code.add(to, code.countBits(before));
                tables.indices.setEntry(code, code.widen(p), code.widen(row));
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
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::PartitionOp op) {
  if (failed(checkSource(op)) || failed(checkI32(op, {op.getIds()})))
    return failure();
  SmallVector<int32_t> sets(op.getSets().begin(), op.getSets().end());
  int64_t size = sets.size();
  // If every id has a set, those that are none, which the runtime refuses, are
  // taken for the first: no place is left out then.
  bool covers = llvm::all_of(sets, [](int32_t set) { return set >= 0; });
  int32_t otherwise = covers ? sets.front() : -1;
  bool isTable = size > mostInLine;
  std::string name = ("nest_sets_" + kernel.def.getSymName()).str();
  OpBuilder builder =
      OpBuilder::atBlockBegin(kernel.generator.device.getBody());
  Type word = builder.getI32Type();
  if (isTable)
    LLVM::GlobalOp::create(
        builder, op.getLoc(), LLVM::LLVMArrayType::get(word, size),
        /*isConstant=*/true, LLVM::Linkage::Internal, name,
        DenseElementsAttr::get(RankedTensorType::get({size}, word),
                               ArrayRef(sets)),
        /*alignment=*/4, globalSpace);
  auto setOf = [&](Kernel::Inside &in, Value row) {
    Device &code = in.code;
    Value id = in[op.getIds()].entry(code, row);
    if (!isTable) {
      Value set = code.i32(otherwise);
      for (int64_t i = 0; i < size; ++i)
        set = code.select(code.equal(id, i), code.i32(sets[i]), set);
      return set;
    }
    return code.valueIf(
        code.inside(id, code.i64(size)),
        [&] {
          auto pointer =
              LLVM::LLVMPointerType::get(code.getContext(), globalSpace);
          Value table = LLVM::AddressOfOp::create(code, pointer, name);
          return code.load(word, code.atShared(table, word, id));
        },
        code.i32(otherwise));
  };
  kernel.stage(
      manyThreads, sortBytes(op),
      [](Code &, ArrayRef<Buffer>) { return Grid(); },
      [&](Kernel::Inside &in) {
        sortRows(in, op, /*isRanked=*/false,
                 [&](Value row) { return setOf(in, row); });
        if (!covers)
          return;
        Tables tables(in, op);
        in.code.share(tables.batch(), [&](Value b) {
          tables.counts.setEntry(in.code, b, tables.tokens());
        });
      });
  if (covers)
    return success();
  // Closes the gaps of rows that have no set, and counts the others.
  kernel.stage(
      fewThreads, roomBytes, perSequence(kernel, op), [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value b = code.block(), tokens = tables.tokens();
        Value line = code.mul(b, tokens), room = code.shared();
        Value below = code.lanesBelow();
        Value count = code.loop(
            code.i64(0), tokens, code.threads, code.i32(0),
            [&](Value chunk, ValueRange carried) {
              Value j = code.add(chunk, code.thread());
              Value place = code.add(line, j);
              SmallVector<Value> found = code.choose(
                  code.less(j, tokens), {code.i32(-1), code.i32(-1)}, [&] {
                    return SmallVector<Value>{
                        setOf(in, place),
                        code.narrow(tables.order.entry(code, place))};
                  });
              Value has = code.compare(Predicate::sge, found[0], code.i32(0));
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

// Writes the sets of rows `low` to `high` of sequence b to the table of orders,
// a warp a row; -1 at places behind the sequence's rows.
static void writeSets(Kernel::Inside &in, kernel::AssignOp op, Value b,
                      const Candidates &own, Value low, Value high) {
  Device &code = in.code;
  const Buffer &scores = in[op.getScores()], &order = in[op.getOrder()];
  Value slots = scores.columns();
  auto wide = [&](Value word) {
    return Value(arith::ExtUIOp::create(code, code.i64Type(), word));
  };
  auto pack = [&](Value key, Value slot) {
    key = arith::ShLIOp::create(code, wide(key), code.i64(32));
    return code.bitOr(key, slot);
  };
  int64_t warps = code.threads / warpSize;
  code.loop(code.add(low, code.warp()), high, warps, [&](Value j) {
    Value from = scores.row(code, code.add(own.first, j));
    auto setOf = [&] {
      // Key above, slot below: no two are equal. A pass for each choice finds
      // the smallest behind the choice before.
      Value behind = code.loop(
          code.i64(0), code.i64(op.getChoice() + 1), 1, code.i64(0),
          [&](Value, ValueRange bound) {
            Value best = code.loop(
                code.lane(), slots, warpSize, code.i64(-1),
                [&](Value slot, ValueRange best) {
                  Value score =
                      code.load(code.getF32Type(), code.atF32(from, slot));
                  Value key = pack(keyOf(code, score), slot);
                  Value isBehind = code.compare(Predicate::uge, key, bound[0]);
                  key = code.select(isBehind, key, code.i64(-1));
                  return SmallVector<Value>{code.minUnsigned(key, best[0])};
                })[0];
            Value high =
                code.narrow(arith::ShRUIOp::create(code, best, code.i64(32)));
            Value key = code.minLanes(high);
            Value slot = code.select(code.compare(Predicate::eq, high, key),
                                     code.narrow(best), code.i32(-1));
            slot = code.minLanes(slot);
            return SmallVector<Value>{code.add(pack(key, wide(slot)), 1)};
          })[0];
      return code.narrow(code.sub(behind, 1));
    };
    Value set = op.getOuterOffsets()
                    ? code.valueIf(code.less(j, own.rows), setOf, code.i32(-1))
                    : setOf();
    code.when(code.equal(code.lane(), 0), [&] {
      Value place = code.add(code.mul(b, order.sizes[1]), j);
      order.setEntry(code, place, code.widen(set));
    });
  });
}

// A batch of this many rows at most gets its sets by the block that sorts it:
// another launch would take longer. Within another set also this many
// sequences, since their rows are found one after the other.
static constexpr int64_t fewRows = 256, fewSequences = 4;

LogicalResult nvptx::generate(Kernel &kernel, kernel::AssignOp op) {
  if (failed(checkSource(op)))
    return failure();
  Outer outer = outerOf(op);
  // Within another set, places behind a sequence's rows have no set.
  bool isRanked = static_cast<bool>(outer.offsets);
  auto sort = [&](Kernel::Inside &in) {
    sortRows(in, op, isRanked, [&](Value place) {
      const Buffer &order = in[op.getOrder()];
      return in.code.load(in.code.getI32Type(),
                          in.code.at(order.pointer, order.element(), place));
    });
  };
  unsigned place = kernel.indexOf(op.getOrder());
  // `count` where the batch is small, or where it is not, else 0.
  auto ifSmall = [=](Code &host, ArrayRef<Buffer> buffers, bool small,
                     Value count) {
    Value batch = buffers[place].sizes[0], tokens = buffers[place].sizes[1];
    Value isLarge = host.less(host.i64(fewRows), host.mul(batch, tokens));
    if (isRanked)
      isLarge = arith::OrIOp::create(host, isLarge,
                                     host.less(host.i64(fewSequences), batch));
    Value zero = host.i64(0);
    return Grid{small ? host.select(isLarge, zero, count)
                      : host.select(isLarge, count, zero),
                {},
                {}};
  };
  kernel.stage(
      manyThreads, sortBytes(op),
      [=](Code &host, ArrayRef<Buffer> buffers) {
        return ifSmall(host, buffers, true, host.i64(1));
      },
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value batch = tables.batch(), tokens = tables.tokens();
        if (isRanked) {
          code.loop(batch, [&](Value b) {
            Candidates own = candidatesOf(in, outer, tokens, b, 0);
            writeSets(in, op, b, own, code.i64(0), tokens);
            code.when(code.equal(code.thread(), 0),
                      [&] { tables.counts.setEntry(code, b, own.rows); });
            code.barrier();
          });
        } else {
          Value zero = code.i64(0), rows = code.mul(batch, tokens);
          writeSets(in, op, zero, {zero, rows}, zero, rows);
          code.share(batch,
                     [&](Value b) { tables.counts.setEntry(code, b, tokens); });
        }
        code.barrier();
        sort(in);
      });
  int64_t perBlock = isRanked ? 64 : 8;
  kernel.stage(
      fewThreads, 2 * roomBytes,
      [=](Code &host, ArrayRef<Buffer> buffers) {
        const Buffer &order = buffers[place];
        Value pieces = host.ceilDiv(order.sizes[1], perBlock);
        return ifSmall(host, buffers, false, host.mul(order.sizes[0], pieces));
      },
      [&](Kernel::Inside &in) {
        Device &code = in.code;
        Tables tables(in, op);
        Value tokens = tables.tokens();
        Value blocks = code.ceilDiv(tokens, perBlock);
        Value b = code.div(code.block(), blocks);
        Value piece = code.rem(code.block(), blocks);
        Candidates own = candidatesOf(in, outer, tokens, b, 0);
        Value low = code.mul(piece, perBlock);
        writeSets(in, op, b, own, low,
                  code.min(code.add(low, perBlock), tokens));
        code.when(
            code.bitAnd(code.equal(piece, 0), code.equal(code.thread(), 0)),
            [&] { tables.counts.setEntry(code, b, own.rows); });
      });
  kernel.stage(
      manyThreads, sortBytes(op),
      [=](Code &host, ArrayRef<Buffer> buffers) {
        return ifSmall(host, buffers, false, host.i64(1));
      },
      sort);
  return success();
}
