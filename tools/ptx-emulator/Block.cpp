//===- Block.cpp - a block runs its warps and barriers --------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Machine.h"

#include <algorithm>

using namespace nestc;
using namespace nestc::ptx;

/// Operations that a warp runs before the next one gets a turn.
static constexpr uint64_t quantum = 64;
/// The same in reverse order, where each warp runs until it waits.
static constexpr uint64_t turnOfReverse = 1 << 20;

static constexpr unsigned mostTimeOuts = 64;

/// splitmix64: the same on every machine.
static uint64_t nextRandom(uint64_t &state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Block::Block(Device &device, const Program &program, const LaunchConfig &config,
             Counters &counters)
    : device(device), program(program), config(config), counters(counters) {
  threads = config.block[0] * config.block[1] * config.block[2];
  sharedSize = config.dynamicShared
                   ? program.dynamicOffset + config.dynamicShared
                   : program.sharedBytes;
  // Room for the widest access, so that a check may come after an address is
  // made.
  shared.resize(sharedSize + 64);
  sharedState.resize(sharedSize + 64);
  unsigned count = (threads + laneCount - 1) / laneCount;
  for (unsigned w = 0; w < count; ++w)
    warps.push_back(std::make_unique<Warp>(*this, w));
}

Block::~Block() = default;

void Block::start(uint64_t blockIndex) {
  index = blockIndex;
  position[0] = index % config.grid[0];
  position[1] = index / config.grid[0] % config.grid[1];
  position[2] = index / (uint64_t(config.grid[0]) * config.grid[1]);
  std::fill(sharedState.begin(), sharedState.end(), Undefined);
  races.reset((sharedSize + 15) & ~15u, program.sharedGranule, threads);
  for (Barrier &b : barriers)
    b = Barrier();
  cluster = ClusterBarrier();
  flags.clear();
  mbarriers.clear();
  bulkWrites.clear();
  timeOuts = 0;
  fenced.clear();
  fencedGlobal.clear();
  globalStores.clear();
  rounds = roundOfState = state = asked = 0;
  warpGroups.clear();
  for (auto &warp : warps) {
    unsigned rest = threads - warp->id * laneCount;
    warp->start(rest >= laneCount ? ~0u : (1u << rest) - 1);
  }
  random = config.schedule.seed ^ (index * 0x9e3779b97f4a7c15);
  nextWarp =
      config.schedule.kind == Schedule::Kind::Reverse ? warps.size() - 1 : 0;
  faulted = false;
}

Block::State Block::run(uint64_t &budget) {
  unsigned count = warps.size(), idle = 0, polling = 0;
  while (budget) {
    unsigned w = nextWarp;
    uint64_t most = quantum;
    switch (config.schedule.kind) {
    case Schedule::Kind::RoundRobin:
      nextWarp = w + 1 == count ? 0 : w + 1;
      break;
    case Schedule::Kind::Reverse:
      nextWarp = w ? w - 1 : count - 1;
      most = turnOfReverse;
      break;
    case Schedule::Kind::Random:
      // In turn when nothing went on, so that a deadlock is found.
      w = idle ? (w + 1) % count : nextRandom(random) % count;
      nextWarp = w;
      most = 1 + nextRandom(random) % 128;
      break;
    }
    Warp &warp = *warps[w];
    uint64_t ran = warp.done() ? 0 : warp.run(std::min(most, budget));
    if (faulted)
      return State::Fault;
    budget -= ran;
    bool waits = !ran || warp.polls();
    asked |= uint32_t(waits) << w;
    polling = waits ? polling + 1 : 0;
    if (ran) {
      idle = 0;
      if (polling <= count)
        continue;
      // Nobody here has anything to do but to wait for another block, or for a
      // wait that is limited.
      if (!cameBack())
        break;
      if (!endWaits())
        return State::Stuck;
      continue;
    }
    if (++idle < count + 1)
      continue;
    // Every warp was asked in vain.
    bool over = true;
    for (auto &each : warps)
      over &= each->done();
    if (over)
      return State::Done;
    if (endWaits()) {
      idle = 0;
      continue;
    }
    for (auto &each : warps)
      if (!each->done() && each->explain())
        return State::Fault;
    idle = 0;
  }
  return State::Running;
}

/// Waits with a limit of time end before anybody is stuck, and begin again as a
/// rule: when that has happened often enough, it is a deadlock. False if none
/// ended.
bool Block::endWaits() {
  bool ended = false;
  if (timeOuts < mostTimeOuts)
    for (auto &each : warps)
      ended |= each->timeOut();
  timeOuts += ended;
  return ended;
}

/// All warps poll. Whether the block is again as it was, with every warp having
/// looked in between: then nothing will ever change by itself.
bool Block::cameBack() {
  ++rounds;
  uint64_t since = rounds - roundOfState;
  auto isPower = [](uint64_t n) { return !(n & (n - 1)); };
  bool keeps = isPower(rounds);
  if (rounds < 32 || !(keeps || since <= 8 || isPower(since)))
    return false;
  uint64_t hash = changes, live = 0;
  auto add = [&](uint64_t value) {
    hash = (hash ^ hash >> 31 ^ value) * 0x94d049bb133111eb + 1;
  };
  for (auto &each : warps) {
    add(each->stateHash());
    live |= uint64_t(!each->done()) << each->id;
  }
  for (const auto &[offset, mbarrier] : mbarriers)
    for (uint64_t part : {uint64_t(offset), uint64_t(mbarrier.pending),
                          uint64_t(mbarrier.bytes), mbarrier.phase})
      add(part);
  bool same = roundOfState && hash == state && (live & ~asked) == 0;
  if (keeps || same) {
    roundOfState = rounds;
    state = hash;
    asked = 0;
  }
  return same;
}

void Block::explain() {
  for (auto &each : warps)
    if (each->explainPolling())
      return;
  for (auto &each : warps)
    if (!each->done() && each->explain())
      return;
}

void Block::setFault(const Op &op, const Warp &warp, unsigned lane,
                     std::string what) {
  if (faulted)
    return;
  faulted = true;
  uint64_t thread = uint64_t(warp.id) * laneCount + lane;
  fault.kernel = program.name;
  fault.line = op.line;
  std::copy(position, position + 3, fault.block);
  fault.thread[0] = thread % config.block[0];
  fault.thread[1] = thread / config.block[0] % config.block[1];
  fault.thread[2] = thread / (uint64_t(config.block[0]) * config.block[1]);
  fault.what = std::move(what);
}

//===----------------------------------------------------------------------===//
// Barriers
//===----------------------------------------------------------------------===//

Step Block::barrier(Warp &warp, const Op &op, uint32_t lanes, unsigned id,
                    unsigned count, bool waits) {
  Barrier &b = barriers[id];
  unsigned lane = __builtin_ctz(lanes);
  if (b.used && (b.hasCount != (count != 0) || (count && b.expected != count)))
    return warp.fail(op, lane,
                     "barrier " + std::to_string(id) +
                         " is waited for with different counts (line " +
                         std::to_string(b.line) + ")");
  b.used = true;
  b.hasCount = count != 0;
  b.expected = count;
  b.line = op.line;
  ++counters.barriers;
  uint32_t before = b.arrivedLanes[warp.id];
  if (waits && (b.waitingLanes[warp.id] & lanes))
    return warp.fail(op, lane, "the thread waits at the barrier already");
  b.arrivedLanes[warp.id] |= lanes;
  b.arrived += __builtin_popcount(lanes);
  // A barrier counts warps as whole: lanes that the block does not have or that
  // have exited arrive with the last of the others.
  bool whole = (b.arrivedLanes[warp.id] & warp.live) == warp.live;
  bool wasWhole = (before & warp.live) == warp.live;
  if (whole && !wasWhole)
    b.arrived += laneCount - __builtin_popcount(warp.live);
  if (waits) {
    b.waitingLanes[warp.id] |= lanes;
    Group &group = warp.groups[warp.current];
    group.state = Group::State::Barrier;
    group.barrier = id;
  } else {
    races.arrive(id, warp.id, lanes);
  }
  if (b.hasCount && b.arrived > b.expected)
    return warp.fail(op, lane,
                     std::to_string(b.arrived) + " threads arrive at barrier " +
                         std::to_string(id) + " of " +
                         std::to_string(b.expected));
  bool full = b.hasCount ? b.arrived == b.expected : false;
  if (!b.hasCount) {
    full = true;
    for (auto &each : warps)
      full &= (b.arrivedLanes[each->id] & each->live) == each->live;
  }
  if (!full)
    return waits ? Step::Blocked : Step::Done;
  complete(id); // this warp goes on at once
  return Step::Done;
}

void Block::complete(unsigned id) {
  Barrier &b = barriers[id];
  races.sync(id, b.waitingLanes, !b.hasCount);
  uint32_t waiting[laneCount];
  std::copy(b.waitingLanes, b.waitingLanes + laneCount, waiting);
  for (auto &each : warps)
    if (waiting[each->id])
      each->release(id, b);
  b = Barrier();
}

void Block::exited(Warp &warp, const Op &op, uint32_t lanes) {
  races.exitLanes(warp.id, lanes);
  bool over = true;
  for (auto &each : warps)
    over &= !each->live;
  for (auto it = mbarriers.begin(); over && it != mbarriers.end(); ++it)
    for (const Landing &landing : it->second.landings)
      if (landing.bytes)
        setFault(op, warp, __builtin_ctz(lanes),
                 "the block ends and nobody has waited for the bulk copy of "
                 "line " +
                     std::to_string(landing.line) + " to its shared memory");
  recheck();
}

/// Barriers of the whole block may be complete without those that exited.
void Block::recheck() {
  for (unsigned id = 0; id < 16; ++id) {
    Barrier &b = barriers[id];
    if (!b.used || b.hasCount)
      continue;
    bool full = true, any = false;
    for (auto &each : warps) {
      full &= (b.arrivedLanes[each->id] & each->live) == each->live;
      any |= b.waitingLanes[each->id] != 0;
    }
    if (full && any)
      complete(id);
  }
}
