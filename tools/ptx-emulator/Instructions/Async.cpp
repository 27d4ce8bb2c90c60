//===- Async.cpp - asynchronous copies ------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9.25: cp.async, its groups and waits. The source is read when the
// copy begins; the destination changes when the thread waits for it, so that a
// read that comes too early is seen. Until then its bytes are pending.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Instructions/Async.h"
#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"
#include "tools/ptx-emulator/MemoryAccess.h"

#include <algorithm>

using namespace nestc::ptx;

/// op.s[0]: the destination; s[1]: the source; s[2]: bytes to read (the rest is
/// zero) if there is such an operand, or the predicate "read nothing".
static Step copyAsync(Warp &warp, const Op &op, uint32_t lanes) {
  Block &block = warp.block;
  unsigned bytes = op.access.bytes;
  uint64_t to[laneCount], from[laneCount];
  Pointers p, q;
  if (!warp.demand(op, op.s[1], lanes, "the address of the source") ||
      !warp.demand(op, op.s[2], lanes, "the size of the source") ||
      !addressesOf(warp, op, lanes, to) ||
      !locate(warp, op, lanes, Space::Shared, to, bytes, bytes,
              Touch::AsyncWrite, p))
    return Step::Fault;
  uint8_t size[laneCount];
  uint32_t reading = 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t wanted = bytes;
    if (op.variant == 1)
      wanted = warp.at<uint32_t>(op.s[2])[lane];
    else if (op.variant == 2 && warp.predicate(op.s[2]) >> lane & 1)
      wanted = 0;
    if (wanted > bytes)
      return warp.fail(op, lane,
                       "the size of the source, " + std::to_string(wanted) +
                           ", is above that of the copy");
    size[lane] = static_cast<uint8_t>(wanted);
    reading |= uint32_t(wanted != 0) << lane;
    from[lane] = warp.at<uint64_t>(op.s[1])[lane] +
                 static_cast<int32_t>(op.access.constantBase);
  }
  // Nothing is read where the size is 0: the address may be anything.
  uint32_t whole = 0;
  forLanes(reading, [&](unsigned lane) {
    whole |= uint32_t(size[lane] == bytes) << lane;
  });
  Space source = static_cast<Space>(op.target);
  if (whole &&
      !locate(warp, op, whole, source, from, bytes, bytes, Touch::Read, q))
    return Step::Fault;
  for (uint32_t rest = reading & ~whole; rest; rest &= rest - 1) {
    Pointers one;
    unsigned lane = __builtin_ctz(rest);
    if (from[lane] % bytes)
      return warp.fail(op, lane,
                       "the address of the source is misaligned: it "
                       "has to be a multiple of " +
                           std::to_string(bytes));
    if (!locate(warp, op, 1u << lane, source, from, size[lane], 1, Touch::Read,
                one))
      return Step::Fault;
    q.data[lane] = one.data[lane];
    q.state[lane] = one.state[lane];
  }
  q.sharedLanes = 0;
  for (uint32_t rest = reading; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (block.globalRaces &&
        !checkGlobalRaces(warp, op, 1u << lane, source, from, size[lane],
                          Touch::Read, q))
      return Step::Fault;
  }
  // What is still being copied must not be copied over.
  if (!checkState(warp, op, lanes, bytes, false, p) ||
      !checkRaces(warp, op, bytes, Touch::AsyncWrite, p))
    return Step::Fault;
  uint32_t rest = lanes;
  while (rest) {
    // Lanes whose groups have the same number, which is all of them as a rule.
    AsyncCopies &copies = warp.copies.emplace_back();
    copies.group = warp.openGroup[__builtin_ctz(rest)];
    copies.lanes = copies.recorded = 0;
    copies.number = ++warp.copyNumber;
    copies.line = op.line;
    copies.bytes = bytes;
    forLanes(rest, [&](unsigned lane) {
      if (warp.openGroup[lane] != copies.group)
        return;
      copies.lanes |= 1u << lane;
      copies.address[lane] = p.sharedAddress[lane];
      copies.undefined[lane] = 0;
      std::memset(copies.data[lane], 0, 16);
      if (reading >> lane & 1) {
        std::memcpy(copies.data[lane], q.data[lane], size[lane]);
        if (q.state[lane])
          for (unsigned b = 0; b < size[lane]; ++b)
            copies.undefined[lane] |= uint16_t(q.state[lane][b] != 0) << b;
      }
      std::memset(p.state[lane], Pending, bytes);
    });
    rest &= ~copies.lanes;
  }
  block.counters.asyncBytes += uint64_t(bytes) * __builtin_popcount(lanes);
  for (uint32_t rest = reading; rest;) {
    // Lanes that read as many bytes are one request.
    unsigned wanted = size[__builtin_ctz(rest)];
    uint32_t same = 0;
    forLanes(rest, [&](unsigned lane) {
      same |= uint32_t(size[lane] == wanted) << lane;
    });
    countAccess(warp, same, Space::Global, false, from, q, wanted);
    rest &= ~same;
  }
  countAccess(warp, lanes, Space::Shared, true, to, p, bytes);
  return Step::Done;
}

/// Makes the copies of these lanes visible.
static void land(Warp &warp, AsyncCopies &copies, uint32_t lanes) {
  Block &block = warp.block;
  forLanes(lanes, [&](unsigned lane) {
    uint32_t at = copies.address[lane];
    std::memcpy(block.shared.data() + at, copies.data[lane], copies.bytes);
    uint8_t *state = block.sharedState.data() + at;
    for (unsigned b = 0; b < copies.bytes; ++b)
      state[b] = copies.undefined[lane] >> b & 1 ? Undefined : Defined;
  });
  recordCopies(warp, copies, lanes);
  copies.lanes &= ~lanes;
}

static void forgetLanded(Warp &warp) {
  warp.copies.erase(
      std::remove_if(warp.copies.begin(), warp.copies.end(),
                     [](const AsyncCopies &copies) { return !copies.lanes; }),
      warp.copies.end());
}

void nestc::ptx::recordCopies(Warp &warp, AsyncCopies &copies, uint32_t lanes) {
  Races &races = warp.block.races;
  races.setTag(copies.line | Races::copyTag);
  forLanes(lanes & ~copies.recorded, [&](unsigned lane) {
    races.landAsync(warp.id, lane, copies.address[lane], copies.bytes);
  });
  copies.recorded |= lanes;
}

/// Lands the copies of these lanes that are in no group among their last
/// `pending` committed ones; with `open` also those not committed.
static void landCopies(Warp &warp, uint32_t lanes, uint32_t pending,
                       bool open) {
  for (AsyncCopies &copies : warp.copies) {
    uint32_t done = 0;
    forLanes(copies.lanes & lanes, [&](unsigned lane) {
      // All but the last `pending` committed groups; open ones on wait_all.
      uint32_t committed = warp.openGroup[lane];
      done |= uint32_t(open || copies.group + uint64_t(pending) < committed)
              << lane;
    });
    land(warp, copies, done);
  }
  forgetLanded(warp);
}

void nestc::ptx::landCopiesUpTo(Warp &warp, unsigned lane, uint64_t number) {
  for (AsyncCopies &copies : warp.copies)
    if (copies.number <= number)
      land(warp, copies, copies.lanes & 1u << lane);
  forgetLanded(warp);
}

static Step commit(Warp &warp, const Op &, uint32_t lanes) {
  forLanes(lanes, [&](unsigned lane) { ++warp.openGroup[lane]; });
  return Step::Done;
}

static Step wait(Warp &warp, const Op &op, uint32_t lanes) {
  landCopies(warp, lanes, static_cast<uint32_t>(op.imm), op.flag);
  return Step::Done;
}

static void decodeCopy(Decoder &d) {
  Op op = d.start(OpKind::Effect, OpClass::AsyncCopy);
  if (d.has("bulk"))
    return decodeBulkCopy(d);
  d.needNext({"async"});
  d.require(70, 80);
  if (d.take("mbarrier"))
    return decodeCopyArrival(d);
  if (d.take("commit_group")) {
    d.finish(0);
    op.effect = commit;
    return d.emit(std::move(op));
  }
  if (d.take("wait_all")) {
    d.finish(0);
    op.flag = true;
    op.effect = wait;
    return d.emit(std::move(op));
  }
  if (d.take("wait_group")) {
    d.finish(1);
    std::optional<int64_t> pending = d.immediate(0);
    if (!pending || *pending < 0 || *pending > UINT32_MAX)
      return d.error("the number of groups is not a constant");
    op.imm = *pending;
    op.effect = wait;
    return d.emit(std::move(op));
  }
  bool global = d.needOneOf({"ca", "cg"}) == 1;
  // The destination is named before the source.
  if (d.takeOneOf({"shared", "shared::cta", "global"}) == 2 ||
      !d.take("global"))
    d.error("the spaces are missing", ".shared.global");
  bool hint = d.take("L2::cache_hint");
  if (d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"}) >= 0 || hint)
    d.require(74, 80);
  unsigned least = hint ? 4 : 3;
  d.finish(least, least + 1);
  std::optional<int64_t> bytes = d.immediate(2);
  if (!bytes || !(*bytes == 16 || (!global && (*bytes == 4 || *bytes == 8))))
    return d.error("the size of the copy is not legal",
                   global ? "16" : "4, 8 or 16");
  // The source first: the destination leaves its address in the operation.
  Op source;
  d.address(d.operand(1), source, Space::Global);
  d.address(d.operand(0), op, Space::Shared);
  if (!d.failed() && !source.s[0].index) { // a variable: its address is known
    source.s[0] = d.constant(static_cast<uint64_t>(source.imm), 8);
    source.imm = 0;
  }
  if (source.imm != static_cast<int32_t>(source.imm))
    return d.error("the offset does not fit");
  op.s[1] = source.s[0];
  op.access.constantBase = static_cast<uint32_t>(source.imm);
  op.target = static_cast<uint32_t>(Space::Global);
  op.access.bytes = static_cast<uint8_t>(*bytes);
  d.noteSharedAccess(op.access.bytes);
  if (d.operandCount() > least) {
    const Operand &size = d.operand(3);
    bool isPredicate = size.kind == Operand::Kind::Register &&
                       d.registerBytes(size, Type::B32) == 0;
    op.variant = isPredicate ? 2 : 1;
    if (isPredicate)
      d.require(75, 80);
    if (std::optional<int64_t> known = d.immediate(3);
        known && (*known < 0 || *known > *bytes))
      d.error("the size of the source is not legal",
              "0 to " + std::to_string(*bytes));
    op.s[2] = isPredicate ? d.predicate(size) : d.source(size, Type::U32);
  }
  if (hint)
    d.source(d.operandCount() - 1, Type::B64);
  op.effect = copyAsync;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::asyncTable() {
  static constexpr OpcodeRow rows[] = {{"cp", decodeCopy}};
  return {rows, std::size(rows)};
}
