//===- Mbarrier.cpp - barriers in shared memory ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.13.15: mbarrier. The eight bytes in shared memory say only that
// an mbarrier is there; its counts are in Block::mbarriers. A phase that
// completes hands on what those who arrived knew, and makes the copies that it
// counted visible to those who wait for it: for all others they are still under
// way.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Async.h"
#include "tools/ptx-emulator/MemoryAccess.h"

#include <algorithm>

using namespace nestc::ptx;

static constexpr unsigned objectBytes = 8;
/// Largest count of arrivals, and of bytes.
static constexpr int64_t most = (1 << 20) - 1;

/// What mbarrier.arrive returns: the phase above the arrivals that it lacked.
static constexpr unsigned phaseShift = 20;

namespace {
enum Change : uint8_t {
  Drop = 1,        ///< one arrival less in the phases to come
  Expect = 2,      ///< s[1] is of bytes; one arrival
  NoComplete = 4,  ///< the phase must not complete
  Relaxed = 8,     ///< orders nothing
  Parity = 16,     ///< waits for the phase of this parity
  MayTimeOut = 32, ///< try_wait
  NoIncrement = 64 ///< of the arrival for cp.async
};
} // namespace

//===----------------------------------------------------------------------===//
// State
//===----------------------------------------------------------------------===//

/// Finds the objects' bytes, whether or not there are mbarriers.
static bool locateObjects(Warp &warp, const Op &op, uint32_t lanes, Space space,
                          const uint64_t *address, Touch touch, Pointers &p) {
  if (!locate(warp, op, lanes, space, address, objectBytes, objectBytes, touch,
              p))
    return false;
  if (uint32_t bad = lanes & ~p.sharedLanes) {
    warp.fail(op, __builtin_ctz(bad), "an mbarrier lies in shared memory");
    return false;
  }
  return true;
}

bool nestc::ptx::mbarriersAt(Warp &warp, const Op &op, uint32_t lanes,
                             Space space, const uint64_t *address, bool reads,
                             Mbarrier *(&mbarrier)[laneCount],
                             uint32_t (&offset)[laneCount]) {
  Pointers p;
  Touch touch = reads ? Touch::StrongRead : Touch::Atomic;
  if (!locateObjects(warp, op, lanes, space, address, touch, p))
    return false;
  auto &all = warp.block.mbarriers;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    auto it = all.find(p.sharedAddress[lane]);
    if (it == all.end()) {
      warp.fail(op, lane,
                "no mbarrier has been initialised at shared address " +
                    std::to_string(p.sharedAddress[lane]));
      return false;
    }
    mbarrier[lane] = &it->second;
    offset[lane] = p.sharedAddress[lane];
  }
  // Its initialisation has to be known.
  return checkRaces(warp, op, objectBytes, touch, p);
}

/// Whether an arrival or a wait orders memory: a relaxed one does so if there
/// are fences about it.
static bool orders(const Warp &warp, uint8_t how) {
  return !(how & Relaxed) || warp.program.hasFences;
}

static void completePhase(Block &block, Mbarrier &m) {
  if (m.pending || m.bytes)
    return;
  ++m.phase;
  m.pending = m.expected;
  m.completed.add(m.arriving);
  m.arriving.clear();
  block.timeOuts = 0;
}

static bool changeBytes(Warp &warp, const Op &op, unsigned lane, Mbarrier &m,
                        int64_t by) {
  m.bytes += by;
  if (m.bytes >= -most && m.bytes <= most)
    return true;
  warp.fail(op, lane,
            "the bytes that the mbarrier expects, " + std::to_string(m.bytes) +
                ", are beyond 1048575 either way");
  return false;
}

bool nestc::ptx::expectBytes(Warp &warp, const Op &op, unsigned lane,
                             Mbarrier &m, int64_t bytes) {
  if (!changeBytes(warp, op, lane, m, bytes))
    return false;
  completePhase(warp.block, m);
  return true;
}

bool nestc::ptx::completeBytes(Warp &warp, const Op &op, unsigned lane,
                               Mbarrier &m, int64_t bytes, Landing landing) {
  warp.block.races.release(m.arriving, warp.id, 1u << lane);
  if (landing.bytes) {
    landing.phase = m.phase;
    m.landings.push_back(std::move(landing));
  }
  return changeBytes(warp, op, lane, m, -bytes) &&
         (completePhase(warp.block, m), true);
}

/// Calls `f(mbarrier, lanes)` for those that stand at the same mbarrier.
template <typename F>
static void forEachMbarrier(uint32_t lanes, Mbarrier *const *m, F f) {
  while (lanes) {
    Mbarrier *first = m[__builtin_ctz(lanes)];
    uint32_t same = 0;
    forLanes(lanes, [&](unsigned lane) {
      same |= uint32_t(m[lane] == first) << lane;
    });
    lanes &= ~same;
    f(*first, same);
  }
}

/// What the lanes know goes to the phases in which they arrive: all at once if
/// one phase takes them all, or (false) each lane by itself.
static bool releaseTogether(Warp &warp, const Op &op, uint32_t lanes,
                            Mbarrier *const *m) {
  bool together = true;
  forEachMbarrier(lanes, m, [&](const Mbarrier &each, uint32_t same) {
    uint64_t count = 0;
    forLanes(same, [&](unsigned lane) {
      count += op.variant & Expect ? 1 : warp.at<uint32_t>(op.s[1])[lane];
    });
    together &= count <= each.pending;
  });
  if (together && orders(warp, op.variant))
    forEachMbarrier(lanes, m, [&](Mbarrier &each, uint32_t same) {
      warp.block.races.release(each.arriving, warp.id, same);
    });
  return together;
}

/// Arrives `count` times. `released`: what the lane knows is there already.
/// False after a fault.
static bool arriveAt(Warp &warp, const Op &op, unsigned lane, Mbarrier &m,
                     uint32_t count, uint8_t how, bool released) {
  if (!count || count > most) {
    warp.fail(op, lane,
              "a count of " + std::to_string(count) +
                  " arrivals: it is 1 to 1048575");
    return false;
  }
  if (count > m.pending) {
    warp.fail(op, lane,
              std::to_string(count) +
                  " arrivals at an mbarrier whose phase lacks " +
                  std::to_string(m.pending));
    return false;
  }
  if (how & NoComplete && count == m.pending) {
    warp.fail(op, lane,
              "the arrival completes the phase, which .noComplete "
              "says it does not");
    return false;
  }
  if (orders(warp, how) && !released)
    warp.block.races.release(m.arriving, warp.id, 1u << lane);
  m.pending -= count;
  if (how & Drop)
    m.expected -= count;
  completePhase(warp.block, m);
  return true;
}

/// Makes the copies of completed phases visible.
static void land(Block &block, Mbarrier &m) {
  for (const Landing &landing : m.landings) {
    if (landing.phase >= m.phase)
      continue;
    if (landing.warp) {
      landCopiesUpTo(*landing.warp, landing.lane, landing.before);
      continue;
    }
    uint8_t *state = block.sharedState.data() + landing.address;
    std::memset(state, Defined, landing.bytes);
    for (uint32_t offset : landing.undefined)
      state[offset] = Undefined;
  }
  m.landings.erase(std::remove_if(m.landings.begin(), m.landings.end(),
                                  [&](const Landing &landing) {
                                    return landing.phase < m.phase;
                                  }),
                   m.landings.end());
}

//===----------------------------------------------------------------------===//
// Execution. op.s[0], op.imm: the address; s[1]: a count, a state, a parity
//===----------------------------------------------------------------------===//

static Step init(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Pointers p;
  if (!warp.demand(op, op.s[1], lanes, "the count") ||
      !addressesOf(warp, op, lanes, address) ||
      !locateObjects(warp, op, lanes, op.access.space, address, Touch::Write,
                     p) ||
      !checkRaces(warp, op, objectBytes, Touch::Write, p))
    return Step::Fault;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (std::find(p.state[lane], p.state[lane] + objectBytes, Object) !=
        p.state[lane] + objectBytes)
      return warp.fail(op, lane,
                       "an mbarrier is there already; mbarrier.inval first");
    if (!checkState(warp, op, 1u << lane, objectBytes, false, p))
      return Step::Fault;
    uint32_t count = warp.at<uint32_t>(op.s[1])[lane];
    if (!count || count > most)
      return warp.fail(op, lane,
                       "a count of " + std::to_string(count) +
                           " arrivals: it is 1 to 1048575");
    Mbarrier &m = warp.block.mbarriers[p.sharedAddress[lane]];
    m = Mbarrier();
    m.expected = m.pending = count;
    std::memset(p.state[lane], Object, objectBytes);
  }
  return Step::Done;
}

static Step invalidate(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Mbarrier *m[laneCount];
  uint32_t offset[laneCount];
  Pointers p;
  if (!addressesOf(warp, op, lanes, address) ||
      !mbarriersAt(warp, op, lanes, op.access.space, address, false, m,
                   offset) ||
      !locateObjects(warp, op, lanes, op.access.space, address, Touch::Write,
                     p) ||
      !checkRaces(warp, op, objectBytes, Touch::Write, p))
    return Step::Fault;
  forLanes(lanes, [&](unsigned lane) {
    warp.block.mbarriers.erase(offset[lane]);
    std::memset(p.state[lane], Undefined, objectBytes);
  });
  return Step::Done;
}

static Step arrive(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Mbarrier *m[laneCount];
  uint32_t offset[laneCount];
  if (!warp.demand(op, op.s[1], lanes, "the count") ||
      !addressesOf(warp, op, lanes, address) ||
      !mbarriersAt(warp, op, lanes, op.access.space, address, false, m, offset))
    return Step::Fault;
  bool released = releaseTogether(warp, op, lanes, m);
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t value = warp.at<uint32_t>(op.s[1])[lane], count = value;
    if (op.d.index)
      warp.at<uint64_t>(op.d)[lane] =
          m[lane]->phase << phaseShift | m[lane]->pending;
    if (op.variant & Expect) {
      // The bytes are expected before the arrival, which may complete the
      // phase.
      if (!changeBytes(warp, op, lane, *m[lane], value))
        return Step::Fault;
      count = 1;
    }
    if (!arriveAt(warp, op, lane, *m[lane], count, op.variant, released))
      return Step::Fault;
  }
  warp.define(op.d, lanes);
  return Step::Done;
}

/// mbarrier.expect_tx; complete_tx if op.flag.
static Step count(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Mbarrier *m[laneCount];
  uint32_t offset[laneCount];
  if (!warp.demand(op, op.s[1], lanes, "the count of bytes") ||
      !addressesOf(warp, op, lanes, address) ||
      !mbarriersAt(warp, op, lanes, op.access.space, address, false, m, offset))
    return Step::Fault;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    int64_t bytes = warp.at<uint32_t>(op.s[1])[lane];
    if (!expectBytes(warp, op, lane, *m[lane], op.flag ? -bytes : bytes))
      return Step::Fault;
  }
  return Step::Done;
}

/// Lanes whose phase has completed; false after a fault.
static bool completedLanes(Warp &warp, const Op &op, uint32_t lanes,
                           Mbarrier *const *m, uint32_t &completed) {
  completed = 0;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint64_t phase = m[lane]->phase;
    if (op.variant & Parity) {
      uint32_t parity = warp.at<uint32_t>(op.s[1])[lane];
      if (parity > 1) {
        warp.fail(op, lane,
                  "the parity is " + std::to_string(parity) + ", not 0 or 1");
        return false;
      }
      completed |= uint32_t((phase & 1) != parity) << lane;
      continue;
    }
    uint64_t wanted = warp.at<uint64_t>(op.s[1])[lane] >> phaseShift;
    if (wanted > phase || phase - wanted > 1) {
      warp.fail(op, lane,
                "the state is of phase " + std::to_string(wanted) +
                    " and phase " + std::to_string(phase) +
                    " is open: only that and the one before can be waited for");
      return false;
    }
    completed |= uint32_t(wanted < phase) << lane;
  }
  return true;
}

static Step wait(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Mbarrier *m[laneCount];
  uint32_t offset[laneCount], completed;
  if (!warp.demand(op, op.s[1], lanes,
                   op.variant & Parity ? "the parity" : "the state") ||
      !addressesOf(warp, op, lanes, address) ||
      !mbarriersAt(warp, op, lanes, op.access.space, address, true, m,
                   offset) ||
      !completedLanes(warp, op, lanes, m, completed))
    return Step::Fault;
  Group &group = warp.groups[warp.current];
  if (op.variant & MayTimeOut && !completed && !group.timedOut) {
    group.mayTimeOut = true;
    return Step::Blocked;
  }
  group.mayTimeOut = group.timedOut = false;
  forLanes(lanes & ~completed, [&](unsigned lane) {
    warp.observe(address[lane], &m[lane]->phase, sizeof m[lane]->phase);
  });
  forEachMbarrier(completed, m, [&](Mbarrier &each, uint32_t same) {
    land(warp.block, each);
    if (orders(warp, op.variant))
      warp.block.races.acquire(each.completed, warp.id, same);
  });
  uint32_t &p = warp.predicate(op.d);
  p = (p & ~lanes) | completed;
  warp.define(op.d, lanes);
  return Step::Done;
}

std::string Warp::missingAt(const Op &op, unsigned lane) const {
  if (op.effect != wait)
    return {};
  uint64_t address = op.access.wideAddress ? at<uint64_t>(op.s[0])[lane]
                                           : at<uint32_t>(op.s[0])[lane];
  address += static_cast<uint64_t>(op.imm);
  if (address - sharedWindow < windowBytes)
    address -= sharedWindow;
  auto it = block.mbarriers.find(static_cast<uint32_t>(address));
  if (it == block.mbarriers.end())
    return {};
  const Mbarrier &m = it->second;
  return ": phase " + std::to_string(m.phase) + " lacks " +
         std::to_string(m.pending) + " arrivals and " +
         std::to_string(m.bytes) + " bytes";
}

static void pendingCount(Warp &warp, const Op &op, uint32_t lanes) {
  forLanes(lanes, [&](unsigned lane) {
    warp.at<uint32_t>(op.d)[lane] =
        warp.at<uint64_t>(op.s[0])[lane] & ((1 << phaseShift) - 1);
  });
}

/// cp.async.mbarrier.arrive: arrives when all that the lane has begun to copy
/// with cp.async is there. Without .noinc the phase waits for one more.
static Step arriveForCopies(Warp &warp, const Op &op, uint32_t lanes) {
  uint64_t address[laneCount];
  Mbarrier *m[laneCount];
  uint32_t offset[laneCount];
  if (!addressesOf(warp, op, lanes, address) ||
      !mbarriersAt(warp, op, lanes, op.access.space, address, false, m, offset))
    return Step::Fault;
  for (AsyncCopies &copies : warp.copies)
    recordCopies(warp, copies, copies.lanes & lanes);
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (!(op.variant & NoIncrement))
      ++m[lane]->pending;
    Landing landing;
    landing.phase = m[lane]->phase;
    landing.warp = &warp;
    landing.lane = lane;
    landing.before = warp.copyNumber;
    m[lane]->landings.push_back(std::move(landing));
    if (!arriveAt(warp, op, lane, *m[lane], 1, op.variant, false))
      return Step::Fault;
  }
  return Step::Done;
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

static Space takeOwnShared(Decoder &d) {
  return d.takeOneOf({"shared", "shared::cta"}) < 0 ? Space::Generic
                                                    : Space::Shared;
}

static Space takeShared(Decoder &d) {
  return d.takeOneOf({"shared", "shared::cta", "shared::cluster"}) < 0
             ? Space::Generic
             : Space::Shared;
}

/// .release.cta and the like; true for .relaxed.
static bool takeOrder(Decoder &d, std::string_view strong) {
  int order = d.takeOneOf({strong, "relaxed"});
  int scope = d.takeOneOf({"cta", "cluster"});
  if ((scope >= 0) != (order >= 0))
    d.error(scope < 0 ? "the scope is missing" : "a scope without semantics",
            "." + std::string(strong) + ".cta and the like");
  if (order >= 0)
    d.require(80, scope == 1 ? 90 : 80);
  if (order == 1)
    d.require(86, 90);
  return order == 1;
}

static void decodeArrive(Decoder &d, Op &op) {
  bool drop = d.has("arrive_drop");
  d.needOneOf({"arrive", "arrive_drop"});
  op.effect = arrive;
  bool expect = d.take("expect_tx"), noComplete = d.take("noComplete");
  bool wide = d.has("cluster"), relaxed = takeOrder(d, "release");
  bool isCluster = d.has("shared::cluster");
  if (noComplete && (relaxed || isCluster || wide))
    d.error(".noComplete is for .release.cta in shared memory of the block");
  Space space = takeShared(d);
  op.variant = (drop ? Drop : 0) | (expect ? Expect : 0) |
               (noComplete ? NoComplete : 0) | (relaxed ? Relaxed : 0);
  d.type({Type::B64});
  if (expect || isCluster)
    d.require(80, 90);
  bool hasCount = expect || noComplete;
  if (expect && noComplete)
    d.error(".noComplete does not expect bytes");
  d.finish(hasCount ? 3 : 2, 3);
  if (d.operand(0).kind == Operand::Kind::Sink) {
    if (!drop)
      d.require(71, 80);
  } else {
    if (isCluster)
      d.error("there is no state of an mbarrier in .shared::cluster", "_");
    op.d = d.result(0, Type::B64);
  }
  d.address(d.operand(1), op, space);
  if (d.operandCount() == 3) {
    if (!hasCount)
      d.require(78, 90);
    op.s[1] = d.source(2, Type::U32);
    if (std::optional<int64_t> n = d.immediate(2);
        n && !expect && (*n < 1 || *n > most))
      d.error("the count is not legal", "1 to 1048575");
  } else {
    op.s[1] = d.constant(1, 4);
  }
}

static void decodeWait(Decoder &d, Op &op) {
  bool tries = d.needOneOf({"test_wait", "try_wait"}) == 1;
  bool parity = d.take("parity");
  bool relaxed = takeOrder(d, "acquire");
  Space space = takeOwnShared(d);
  op.effect = wait;
  op.variant = (tries ? MayTimeOut : 0) | (parity ? Parity : 0) |
               (relaxed ? Relaxed : 0);
  d.type({Type::B64});
  if (parity)
    d.require(71, 80);
  if (tries)
    d.require(78, 90);
  d.finish(3, tries ? 4 : 3);
  op.d = d.result(0, Type::Pred);
  d.address(d.operand(1), op, space);
  op.s[1] = d.source(2, parity ? Type::U32 : Type::B64);
  if (std::optional<int64_t> n = d.immediate(2); n && parity && (*n & ~1))
    d.error("the parity is not legal", "0 or 1");
  if (d.operandCount() == 4)
    d.source(3, Type::U32); // a hint
}

static void decodeMbarrier(Decoder &d) {
  d.require(70, 80);
  if (d.take("pending_count")) {
    d.type({Type::B64});
    d.finish(2);
    Op op = d.start(OpKind::Lane, OpClass::Barrier);
    op.d = d.result(0, Type::U32);
    op.resultBytes = 4;
    op.s[0] = d.source(1, Type::B64);
    op.lane = pendingCount;
    return d.emit(std::move(op));
  }
  Op op = d.start(OpKind::Effect, OpClass::Barrier);
  if (d.has("arrive") || d.has("arrive_drop")) {
    decodeArrive(d, op);
  } else if (d.has("test_wait") || d.has("try_wait")) {
    decodeWait(d, op);
  } else if (d.take("inval")) {
    Space space = takeOwnShared(d);
    d.type({Type::B64});
    d.finish(1);
    d.address(d.operand(0), op, space);
    op.effect = invalidate;
  } else {
    int kind = d.needOneOf({"init", "expect_tx", "complete_tx"});
    if (kind) {
      if (d.take("relaxed"))
        d.needOneOf({"cta", "cluster"});
      d.require(80, 90);
    }
    Space space = kind ? takeShared(d) : takeOwnShared(d);
    d.type({Type::B64});
    d.finish(2);
    d.address(d.operand(0), op, space);
    op.s[1] = d.source(1, Type::U32);
    op.flag = kind == 2;
    op.effect = kind ? count : init;
  }
  d.noteSharedAccess(objectBytes);
  d.emit(std::move(op));
}

void nestc::ptx::decodeCopyArrival(Decoder &d) {
  d.needOneOf({"arrive"});
  Op op = d.start(OpKind::Effect, OpClass::Barrier);
  op.variant = d.take("noinc") ? NoIncrement : 0;
  Space space = takeOwnShared(d);
  d.type({Type::B64});
  d.finish(1);
  d.address(d.operand(0), op, space);
  d.noteSharedAccess(objectBytes);
  op.effect = arriveForCopies;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::mbarrierTable() {
  static constexpr OpcodeRow rows[] = {{"mbarrier", decodeMbarrier}};
  return {rows, std::size(rows)};
}
