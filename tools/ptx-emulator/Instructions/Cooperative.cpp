//===- Cooperative.cpp - instructions of a warp and barriers --------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9.6 (shfl), 9.7.13 (barriers, vote, match, redux, elect).
//
// Lanes of one instruction may have different member masks; each mask is a
// cooperation of its own.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Lanes.h"

using namespace nestc::ptx;

/// Calls `f(members)` for the lanes of each distinct member mask.
template <typename F>
static void forMembers(Warp &warp, const Op &op, uint32_t lanes, F f) {
  const uint32_t *masks = warp.at<uint32_t>(op.s[3]);
  while (lanes) {
    uint32_t mask = masks[__builtin_ctz(lanes)], members = 0;
    forLanes(lanes, [&](unsigned lane) {
      members |= uint32_t(masks[lane] == mask) << lane;
    });
    lanes &= ~members;
    f(members);
  }
}

/// An operation whose lanes wait for those of their member mask, op.s[3].
static Op startExchange(Decoder &d, OpClass opClass) {
  d.makeMeeting();
  return d.start(OpKind::Sync, opClass);
}

static void setPredicate(Warp &warp, Slot slot, uint32_t lanes,
                         uint32_t value) {
  if (!slot.index)
    return;
  uint32_t &p = warp.predicate(slot);
  p = (p & ~lanes) | (value & lanes);
  warp.define(slot, lanes);
}

//===----------------------------------------------------------------------===//
// Barriers of the block
//===----------------------------------------------------------------------===//

namespace {
enum BarrierKind : uint8_t {
  BarrierSync,
  BarrierArrive,
  BarrierPopc,
  BarrierAnd,
  BarrierOr
};
} // namespace

/// A value that all lanes have to agree on.
static bool uniform(Warp &warp, const Op &op, Slot slot, uint32_t lanes,
                    const char *role, uint32_t &value) {
  if (!warp.demand(op, slot, lanes, role))
    return false;
  const uint32_t *values = warp.at<uint32_t>(slot);
  value = values[__builtin_ctz(lanes)];
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    if (unsigned lane = __builtin_ctz(rest); values[lane] != value) {
      warp.fail(op, lane, std::string(role) + " differs between lanes");
      return false;
    }
  return true;
}

static Step barrier(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t id = 0, count = 0;
  if (!uniform(warp, op, op.s[0], lanes, "the barrier's number", id) ||
      (op.flag &&
       !uniform(warp, op, op.s[1], lanes, "the count of threads", count)))
    return Step::Fault;
  unsigned lane = __builtin_ctz(lanes);
  if (id > 15)
    return warp.fail(op, lane,
                     "there is no barrier " + std::to_string(id) +
                         "; they are 0 to 15");
  // No threads are all of the block.
  bool none = !count && op.variant == BarrierArrive;
  if (none || count % laneCount || count > 1024)
    return warp.fail(op, lane,
                     "a count of " + std::to_string(count) +
                         " threads is no multiple of 32 up to 1024");
  Barrier &b = warp.block.barriers[id];
  uint8_t reduction = op.variant >= BarrierPopc ? op.variant : 0;
  if (b.used && b.reduction != reduction)
    return warp.fail(
        op, lane,
        "barrier " + std::to_string(id) +
            " is waited for by another kind of instruction (line " +
            std::to_string(b.line) + ")");
  b.reduction = reduction;
  if (reduction) {
    if (!warp.demand(op, op.s[2], lanes, "the predicate"))
      return Step::Fault;
    uint32_t votes = warp.predicate(op.s[2]);
    b.reductionPop += __builtin_popcount(votes & lanes);
    b.reductionOr |= (votes & lanes) != 0;
    b.reductionAnd &= (votes & lanes) == lanes;
  }
  return warp.block.barrier(warp, op, lanes, id, count,
                            op.variant != BarrierArrive);
}

void Warp::takeReduction(const Op &op, uint32_t lanes, const Barrier &b) {
  if (op.effect != barrier || op.variant < BarrierPopc)
    return;
  if (op.variant == BarrierPopc)
    forLanes(lanes,
             [&](unsigned lane) { at<uint32_t>(op.d)[lane] = b.reductionPop; });
  else
    setPredicate(
        *this, op.d, lanes,
        (op.variant == BarrierAnd ? b.reductionAnd : b.reductionOr) ? ~0u : 0);
  define(op.d, lanes);
}

static Step warpSync(Warp &warp, const Op &op, uint32_t lanes) {
  forMembers(warp, op, lanes, [&](uint32_t members) {
    warp.block.races.warpSync(warp.id, members);
  });
  return Step::Done;
}

/// Arrival at, or waiting for, the barrier of the cluster, which is this block.
static Step clusterArrive(Warp &warp, const Op &op, uint32_t lanes) {
  ClusterBarrier &b = warp.block.cluster;
  if (b.arrived[warp.id] & lanes)
    return warp.fail(
        op, __builtin_ctz(b.arrived[warp.id] & lanes),
        "a second arrival at the cluster's barrier without a wait");
  b.arrived[warp.id] |= lanes;
  b.owing[warp.id] |= lanes;
  if (op.flag)
    warp.block.races.release(b.knowledge, warp.id, lanes);
  return Step::Done;
}

static Step clusterWait(Warp &warp, const Op &op, uint32_t lanes) {
  Block &block = warp.block;
  ClusterBarrier &b = block.cluster;
  if (uint32_t bad = lanes & ~b.owing[warp.id])
    return warp.fail(op, __builtin_ctz(bad),
                     "a wait at the cluster's barrier without an arrival");
  // Who still owes a wait from the completed phase is let through.
  if (!(b.completed[warp.id] & lanes)) {
    for (auto &each : block.warps)
      if ((b.arrived[each->id] & each->live) != each->live)
        return Step::Blocked;
    for (auto &each : block.warps) {
      b.completed[each->id] |= b.arrived[each->id];
      b.arrived[each->id] = 0;
    }
  }
  b.completed[warp.id] &= ~lanes;
  b.owing[warp.id] &= ~lanes;
  block.races.acquire(b.knowledge, warp.id, lanes);
  return Step::Done;
}

static void decodeCluster(Decoder &d) {
  d.require(78, 90);
  bool arrive = d.needNext({"arrive", "wait"}) == 0;
  int semantics =
      arrive ? d.takeOneOf({"release", "relaxed"}) : d.takeOneOf({"acquire"});
  bool aligned = d.take("aligned");
  d.finish(0);
  Op op = d.start(aligned ? OpKind::Sync : OpKind::Effect, OpClass::Barrier);
  op.aligned = aligned;
  op.flag = semantics != 1;
  op.effect = arrive ? clusterArrive : clusterWait;
  d.emit(std::move(op));
}

static void decodeBarrier(Decoder &d) {
  bool isBar = d.instruction().opcode == "bar";
  if (!isBar && d.takeNext({"cluster"}) == 0)
    return decodeCluster(d);
  d.takeNext({"cta"});
  if (isBar && d.takeNext({"warp"}) == 0) {
    d.needOneOf({"sync"});
    d.require(60, 30);
    d.finish(1);
    Op op = startExchange(d, OpClass::Barrier);
    op.s[3] = d.source(0, Type::U32);
    op.effect = warpSync;
    return d.emit(std::move(op));
  }
  int kind = 1 + d.takeNext({"arrive", "red"});
  if (!kind)
    d.needOneOf({"sync"});
  bool aligned = isBar || d.take("aligned");
  if (!isBar)
    d.require(60, 30);
  Op op = d.start(aligned ? OpKind::Sync : OpKind::Effect, OpClass::Barrier);
  op.aligned = aligned;
  op.effect = barrier;
  unsigned at = 0, least = kind == 0 ? 1 : kind == 1 ? 2 : 3;
  if (kind == 2) {
    int reduction = d.needOneOf({"popc", "and", "or"});
    op.variant = BarrierPopc + reduction;
    Type type = reduction == 0 ? d.type({Type::U32}) : d.type({Type::Pred});
    op.d = d.result(0, type);
    at = 1;
  } else {
    op.variant = kind == 1 ? BarrierArrive : BarrierSync;
  }
  d.finish(least, kind == 0 ? 2 : kind == 1 ? 2 : 4);
  unsigned count = d.operandCount();
  op.s[0] = d.source(at, Type::U32);
  if (std::optional<int64_t> id = d.immediate(at); id && (*id < 0 || *id > 15))
    d.error("there is no such barrier", "0 to 15");
  op.flag = kind == 2 ? count == 4 : count == 2;
  if (op.flag) {
    op.s[1] = d.source(at + 1, Type::U32);
    if (std::optional<int64_t> n = d.immediate(at + 1);
        n && (*n % laneCount || (kind == 1 && !*n)))
      d.error("the count of threads is no multiple of 32");
  }
  if (kind == 2)
    op.s[2] = d.predicate(d.operand(count - 1));
  d.emit(std::move(op));
}

//===----------------------------------------------------------------------===//
// Exchange between lanes
//===----------------------------------------------------------------------===//

namespace {
enum ShuffleMode : uint8_t { ShuffleUp, ShuffleDown, ShuffleBfly, ShuffleIdx };
} // namespace

static Step shuffle(Warp &warp, const Op &op, uint32_t lanes) {
  const uint32_t *a = warp.at<uint32_t>(op.s[0]),
                 *b = warp.at<uint32_t>(op.s[1]);
  const uint32_t *c = warp.at<uint32_t>(op.s[2]);
  const uint32_t *masks = warp.at<uint32_t>(op.s[3]);
  uint32_t result[laneCount], inRange = 0, lost = 0;
  uint64_t shadow[laneCount];
  uint32_t unknown = warp.undefined(op.s[1]) | warp.undefined(op.s[2]);
  bool anyShadow = false;
  forLanes(lanes, [&](unsigned lane) {
    int32_t segment = c[lane] >> 8 & 31, clamp = c[lane] & 31;
    int32_t delta = b[lane] & 31, self = static_cast<int32_t>(lane);
    int32_t most = (self & segment) | (clamp & ~segment);
    int32_t from = self;
    bool in = true;
    switch (op.variant) {
    case ShuffleUp:
      from = self - delta;
      in = from >= most;
      break;
    case ShuffleDown:
      from = self + delta;
      in = from <= most;
      break;
    case ShuffleBfly:
      from = self ^ delta;
      in = from <= most;
      break;
    default:
      from = (self & segment) | (delta & ~segment);
      in = from <= most;
    }
    if (!in)
      from = self;
    result[lane] = a[from];
    inRange |= uint32_t(in) << lane;
    bool active = lanes >> from & 1 && masks[from] == masks[lane];
    lost |= uint32_t(!active) << lane;
    shadow[lane] = warp.shadow(op.s[0], from, 4);
    anyShadow |= shadow[lane] != 0;
  });
  store(warp.at<uint32_t>(op.d), result, lanes);
  lost |= unknown & lanes;
  if (!lost && !anyShadow)
    warp.define(op.d, lanes);
  else
    forLanes(lanes, [&](unsigned lane) {
      warp.setShadow(op.d, lane, 4, lost >> lane & 1 ? ~0u : shadow[lane]);
    });
  setPredicate(warp, op.e, lanes, inRange);
  if (op.e.index)
    warp.undefined(op.e) |= unknown & lanes;
  return Step::Done;
}

static void decodeShuffle(Decoder &d) {
  if (!d.take("sync"))
    return d.error("shfl without .sync is not there from sm_70 on",
                   "shfl.sync");
  d.require(60, 30);
  int mode = d.needOneOf({"up", "down", "bfly", "idx"});
  d.type({Type::B32});
  d.finish(5);
  Op op = startExchange(d, OpClass::Shuffle);
  const Operand &result = d.operand(0);
  if (result.kind == Operand::Kind::Pair) {
    op.d = d.result(result.elements[0], Type::B32, false, true);
    op.e = d.result(result.elements[1], Type::Pred, false, true);
  } else {
    op.d = d.result(result, Type::B32, false, true);
  }
  op.variant = mode;
  for (unsigned i = 0; i < 4; ++i)
    op.s[i] = d.source(i + 1, i == 3 ? Type::U32 : Type::B32);
  op.sourceBytes = 4;
  op.effect = shuffle;
  d.emit(std::move(op));
}

namespace {
enum VoteMode : uint8_t { VoteAll, VoteAny, VoteUni, VoteBallot };
} // namespace

static Step vote(Warp &warp, const Op &op, uint32_t lanes) {
  uint32_t votes = warp.predicate(op.s[0]);
  uint32_t unknown = warp.undefined(op.s[0]);
  forMembers(warp, op, lanes, [&](uint32_t members) {
    uint32_t yes = votes & members, lost = unknown & members;
    if (op.variant == VoteBallot) {
      forLanes(members, [&](unsigned lane) {
        warp.at<uint32_t>(op.d)[lane] = yes;
        warp.setShadow(op.d, lane, 4, lost);
      });
      return;
    }
    bool value = op.variant == VoteAll   ? yes == members
                 : op.variant == VoteAny ? yes != 0
                                         : yes == members || !yes;
    setPredicate(warp, op.d, members, value ? ~0u : 0);
    // A defined vote may decide alone.
    bool decided = (op.variant == VoteAll && (members & ~votes & ~lost)) ||
                   (op.variant == VoteAny && (yes & ~lost));
    if (lost && !decided)
      warp.undefined(op.d) |= members;
  });
  return Step::Done;
}

static void decodeVote(Decoder &d) {
  if (!d.take("sync"))
    return d.error("vote without .sync is not there from sm_70 on",
                   "vote.sync");
  d.require(60, 30);
  int mode = d.needOneOf({"all", "any", "uni", "ballot"});
  Type type = d.type({mode == VoteBallot ? Type::B32 : Type::Pred});
  d.finish(3);
  Op op = startExchange(d, OpClass::Shuffle);
  op.variant = mode;
  op.d = d.result(0, type);
  op.hasResultPredicate = mode != VoteBallot;
  op.s[0] = d.predicate(d.operand(1));
  op.s[3] = d.source(2, Type::U32);
  op.effect = vote;
  d.emit(std::move(op));
}

template <typename T>
static Step match(Warp &warp, const Op &op, uint32_t lanes) {
  if (!warp.demand(op, op.s[0], lanes, "the value to match"))
    return Step::Fault;
  const T *a = warp.at<T>(op.s[0]);
  uint32_t *d = warp.at<uint32_t>(op.d);
  forMembers(warp, op, lanes, [&](uint32_t members) {
    if (op.flag) { // all
      T first = a[__builtin_ctz(members)];
      bool equal = true;
      forLanes(members, [&](unsigned lane) { equal &= a[lane] == first; });
      forLanes(members, [&](unsigned lane) { d[lane] = equal ? members : 0; });
      setPredicate(warp, op.e, members, equal ? ~0u : 0);
      return;
    }
    forLanes(members, [&](unsigned lane) {
      uint32_t same = 0;
      forLanes(members, [&](unsigned other) {
        same |= uint32_t(a[other] == a[lane]) << other;
      });
      d[lane] = same;
    });
  });
  warp.define(op.d, lanes);
  return Step::Done;
}

static void decodeMatch(Decoder &d) {
  bool all = d.needOneOf({"any", "all"}) == 1;
  d.needOneOf({"sync"});
  Type type = d.type({Type::B32, Type::B64});
  d.require(60, 70);
  d.finish(3);
  Op op = startExchange(d, OpClass::Shuffle);
  const Operand &result = d.operand(0);
  if (result.kind == Operand::Kind::Pair) {
    if (!all)
      return d.error("match.any has one result");
    op.d = d.result(result.elements[0], Type::B32, false, true);
    op.e = d.result(result.elements[1], Type::Pred, false, true);
  } else {
    op.d = d.result(result, Type::B32);
  }
  op.flag = all;
  op.sourceBytes = typeBytes(type);
  op.s[0] = d.source(1, type);
  op.s[3] = d.source(2, Type::U32);
  op.effect = type == Type::B32 ? match<uint32_t> : match<uint64_t>;
  d.emit(std::move(op));
}

namespace {
enum ReduceKind : uint8_t {
  ReduceAdd,
  ReduceMin,
  ReduceMax,
  ReduceAnd,
  ReduceOr,
  ReduceXor
};
} // namespace

template <typename T>
static Step reduce(Warp &warp, const Op &op, uint32_t lanes) {
  const T *a = warp.at<T>(op.s[0]);
  forMembers(warp, op, lanes, [&](uint32_t members) {
    T sum = a[__builtin_ctz(members)];
    forLanes(members & (members - 1), [&](unsigned lane) {
      T value = a[lane];
      if constexpr (std::is_same_v<T, float>) {
        MinMax how;
        how.max = op.variant == ReduceMax;
        how.abs = op.flag;
        how.nan = op.imm != 0;
        sum = minMax(sum, value, how);
      } else {
        switch (op.variant) {
        case ReduceAdd:
          sum = static_cast<T>(static_cast<uint32_t>(sum) +
                               static_cast<uint32_t>(value));
          break;
        case ReduceMin:
          sum = value < sum ? value : sum;
          break;
        case ReduceMax:
          sum = value > sum ? value : sum;
          break;
        case ReduceAnd:
          sum &= value;
          break;
        case ReduceOr:
          sum |= value;
          break;
        default:
          sum ^= value;
        }
      }
    });
    forLanes(members, [&](unsigned lane) { warp.at<T>(op.d)[lane] = sum; });
    if (warp.undefined(op.s[0]) & members)
      warp.undefine(op.d, 4, members);
    else
      warp.define(op.d, members);
  });
  return Step::Done;
}

static void decodeRedux(Decoder &d) {
  d.needOneOf({"sync"});
  int kind = d.needOneOf({"add", "min", "max", "and", "or", "xor"});
  bool abs = d.take("abs"), nan = d.take("NaN");
  Type type = kind >= ReduceAnd   ? d.type({Type::B32})
              : kind == ReduceAdd ? d.type({Type::U32, Type::S32})
                                  : d.type({Type::U32, Type::S32, Type::F32});
  if (type == Type::F32)
    d.require(86, 100);
  else
    d.require(70, 80);
  if ((abs || nan) && type != Type::F32)
    d.error(".abs and .NaN are for .f32");
  d.finish(3);
  Op op = startExchange(d, OpClass::Shuffle);
  op.variant = kind;
  op.flag = abs;
  op.imm = nan;
  op.sourceBytes = 4;
  op.d = d.result(0, type);
  op.s[0] = d.source(1, type);
  op.s[3] = d.source(2, Type::U32);
  op.effect = type == Type::F32   ? reduce<float>
              : type == Type::S32 ? reduce<int32_t>
                                  : reduce<uint32_t>;
  d.emit(std::move(op));
}

static Step activeMask(Warp &warp, const Op &op, uint32_t lanes) {
  forLanes(lanes,
           [&](unsigned lane) { warp.at<uint32_t>(op.d)[lane] = lanes; });
  warp.define(op.d, lanes);
  return Step::Done;
}

static void decodeActiveMask(Decoder &d) {
  d.type({Type::B32});
  d.require(62, 30);
  d.finish(1);
  Op op = d.start(OpKind::Effect, OpClass::Shuffle);
  op.d = d.result(0, Type::B32);
  op.effect = activeMask;
  d.emit(std::move(op));
}

static Step elect(Warp &warp, const Op &op, uint32_t lanes) {
  forMembers(warp, op, lanes, [&](uint32_t members) {
    unsigned leader = __builtin_ctz(members);
    forLanes(members,
             [&](unsigned lane) { warp.at<uint32_t>(op.d)[lane] = leader; });
    setPredicate(warp, op.e, members, 1u << leader);
  });
  warp.define(op.d, lanes);
  return Step::Done;
}

static void decodeElect(Decoder &d) {
  d.needOneOf({"sync"});
  d.require(80, 90);
  d.finish(2);
  const Operand &result = d.operand(0);
  if (result.kind != Operand::Kind::Pair)
    return d.error("the result is d|p");
  Op op = startExchange(d, OpClass::Shuffle);
  op.d = d.result(result.elements[0], Type::B32, false, true);
  op.e = d.result(result.elements[1], Type::Pred, false, true);
  op.s[3] = d.source(1, Type::U32);
  op.effect = elect;
  d.emit(std::move(op));
}

OpcodeTable nestc::ptx::warpTable() {
  static constexpr OpcodeRow rows[] = {
      {"bar", decodeBarrier},  {"barrier", decodeBarrier},
      {"shfl", decodeShuffle}, {"vote", decodeVote},
      {"match", decodeMatch},  {"redux", decodeRedux},
      {"elect", decodeElect},  {"activemask", decodeActiveMask},
  };
  return {rows, std::size(rows)};
}
