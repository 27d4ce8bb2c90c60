//===- Warp.cpp - a warp executes its lanes -------------------------------===//
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

/// While lanes are parted, the group of the lowest rank runs. Lanes that spin
/// until others of their warp act would spin for ever: after so many operations
/// all groups get their turns for a while.
static constexpr unsigned patience = 8192;
static constexpr unsigned fairness = 1024;

Warp::Warp(Block &block, unsigned id)
    : block(block), program(block.program), id(id) {
  size_t words =
      (2 * size_t(program.fileBytes) + 4 * size_t(program.slots) + 64 + 7) / 8;
  storage.resize(words + 8);
  file = reinterpret_cast<uint8_t *>(storage.data());
  file += -reinterpret_cast<uintptr_t>(file) % 64; // vectors like it aligned
  shadows = file + program.fileBytes;
  undef = reinterpret_cast<uint32_t *>(shadows + program.fileBytes);
  local.resize(size_t(program.localBytes) * laneCount);
  localState.resize(local.size());
}

void Warp::start(uint32_t lanes) {
  std::memset(file, 0, program.fileBytes);
  std::memset(shadows, 0xff, program.fileBytes);
  std::memset(undef, 0xff, size_t(program.slots) * 4);
  std::memcpy(file, program.constants.data(), program.constants.size());
  for (auto [first, last] : program.definedSlots)
    std::memset(undef + first, 0, size_t(last - first) * 4);
  undef[0] = 0;
  std::fill(localState.begin(), localState.end(), Undefined);
  copies.clear();
  copyNumber = 0;
  std::memset(openGroup, 0, sizeof openGroup);
  bulkReads.clear();
  std::memset(openBulkGroup, 0, sizeof openBulkGroup);
  live = present = lanes;
  clock = 0;
  groupCount = 1;
  groups[0] = {0, lanes, Group::State::Ready, 0};
  current = 0;
  rotation = lastRank = 0;
  pollStamp = 0;
  fillSpecials();
}

void Warp::fillSpecials() {
  const LaunchConfig &config = block.config;
  for (const Program::SpecialPlace &place : program.specials) {
    if (place.special == Special::Unknown32 ||
        place.special == Special::Unknown64)
      continue;
    undef[place.slot.index] = 0;
    uint64_t values[laneCount];
    for (unsigned lane = 0; lane < laneCount; ++lane) {
      uint64_t thread = uint64_t(id) * laneCount + lane;
      uint64_t plane = uint64_t(config.block[0]) * config.block[1];
      uint64_t value = 0;
      switch (place.special) {
      case Special::TidX:
        value = thread % config.block[0];
        break;
      case Special::TidY:
        value = thread / config.block[0] % config.block[1];
        break;
      case Special::TidZ:
        value = thread / plane;
        break;
      case Special::NTidX:
      case Special::NTidY:
      case Special::NTidZ:
        value =
            config.block[unsigned(place.special) - unsigned(Special::NTidX)];
        break;
      case Special::CtaIdX:
      case Special::CtaIdY:
      case Special::CtaIdZ:
        value =
            block.position[unsigned(place.special) - unsigned(Special::CtaIdX)];
        break;
      case Special::NCtaIdX:
      case Special::NCtaIdY:
      case Special::NCtaIdZ:
        value =
            config.grid[unsigned(place.special) - unsigned(Special::NCtaIdX)];
        break;
      // Without a cluster in the launch every block is a cluster of its own.
      case Special::ClusterIdX:
      case Special::ClusterIdY:
      case Special::ClusterIdZ:
        value = block.position[unsigned(place.special) -
                               unsigned(Special::ClusterIdX)];
        break;
      case Special::NClusterIdX:
      case Special::NClusterIdY:
      case Special::NClusterIdZ:
        value =
            config
                .grid[unsigned(place.special) - unsigned(Special::NClusterIdX)];
        break;
      case Special::ClusterNCtaIdX:
      case Special::ClusterNCtaIdY:
      case Special::ClusterNCtaIdZ:
      case Special::ClusterNCtaRank:
        value = 1;
        break;
      case Special::LaneId:
        value = lane;
        break;
      case Special::WarpId:
        value = id;
        break;
      case Special::NWarpId:
        value = block.warps.size();
        break;
      case Special::SmId:
        value = block.index % 108;
        break;
      case Special::NSmId:
        value = 108;
        break;
      case Special::LaneMaskEq:
        value = 1u << lane;
        break;
      case Special::LaneMaskLt:
        value = (1u << lane) - 1;
        break;
      case Special::LaneMaskLe:
        value = (2u << lane) - 1;
        break;
      case Special::LaneMaskGt:
        value = uint32_t(~((2u << lane) - 1));
        break;
      case Special::LaneMaskGe:
        value = uint32_t(~((1u << lane) - 1));
        break;
      case Special::WarpSize:
        value = laneCount;
        break;
      case Special::DynamicSmemSize:
        value = config.dynamicShared;
        break;
      case Special::TotalSmemSize:
        value = block.sharedSize;
        break;
      default:
        break;
      }
      values[lane] = value;
    }
    if (place.bytes == 0) { // a predicate
      *at<uint32_t>(place.slot) = values[0] ? ~0u : 0;
      continue;
    }
    for (unsigned lane = 0; lane < laneCount; ++lane)
      std::memcpy(at<uint8_t>(place.slot) + lane * place.bytes, &values[lane],
                  place.bytes);
  }
}

Step Warp::fail(const Op &op, unsigned lane, std::string what) {
  block.setFault(op, *this, lane, std::move(what));
  return Step::Fault;
}

bool Warp::demand(const Op &op, Slot slot, uint32_t lanes, const char *role) {
  uint32_t bad = undef[slot.index] & lanes;
  if (!bad)
    return true;
  fail(op, __builtin_ctz(bad), std::string(role) + " is undefined");
  return false;
}

bool Warp::runnable() const {
  for (unsigned i = 0; i < groupCount; ++i)
    if (groups[i].state == Group::State::Ready ||
        groups[i].state == Group::State::Poll)
      return true;
  return false;
}

/// Groups at the same position, both ready or waiting for lanes, are one.
void Warp::merge() {
  for (unsigned i = 0; i < groupCount; ++i)
    for (unsigned j = i + 1; j < groupCount;) {
      bool canMerge = groups[i].pc == groups[j].pc &&
                      groups[i].state <= Group::State::Sync &&
                      groups[j].state <= Group::State::Sync;
      if (!canMerge) {
        ++j;
        continue;
      }
      groups[i] = {groups[i].pc, groups[i].lanes | groups[j].lanes,
                   Group::State::Ready, 0};
      groups[j] = groups[--groupCount];
    }
}

void Warp::observe(uint64_t address, const void *data, unsigned bytes) {
  groups[current].watches = groups[current].pc;
  uint64_t &seen = groups[current].seen;
  seen = (seen ^ address) * 0x9e3779b97f4a7c15;
  for (unsigned at = 0; at < bytes; at += 8) {
    uint64_t value = 0;
    std::memcpy(&value, static_cast<const uint8_t *>(data) + at,
                std::min(bytes - at, 8u));
    seen = ((seen ^ seen >> 29 ^ value) * 0xbf58476d1ce4e5b9) | 1;
  }
}

void Warp::changed() {
  ++block.changes;
  groups[current].seen = groups[current].seenBefore = 0;
  for (unsigned i = 0; i < groupCount; ++i)
    groups[i].polls = 0;
}

/// The group jumps back. True when it polls, and has to give others its turn.
bool Warp::foundPolling(Group &group) {
  bool same = group.seen == group.seenBefore;
  group.seenBefore = group.seen;
  group.seen = 0;
  if (same)
    group.polls = ++pollStamp;
  return same;
}

/// Chooses the ready group of the lowest rank that does not poll, or the one
/// that has polled longest; when it is time to be fair, the next one above the
/// last. False when no group is ready.
bool Warp::pick() {
  const uint32_t *rank = program.rank.data();
  if (rotation > patience + fairness || groupCount < 2)
    rotation = 0;
  bool fair = rotation > patience;
  int best = -1;
  auto isBefore = [&](const Group &a, const Group &b) {
    return !fair && a.polls != b.polls ? a.polls < b.polls
                                       : rank[a.pc] < rank[b.pc];
  };
  for (int round = fair ? 0 : 1; round < 2 && best < 0; ++round)
    for (unsigned i = 0; i < groupCount; ++i)
      if (groups[i].state == Group::State::Ready &&
          (round == 1 || rank[groups[i].pc] > lastRank) &&
          (best < 0 || isBefore(groups[i], groups[best])))
        best = i;
  if (best < 0)
    return false;
  current = best;
  lastRank = rank[groups[best].pc];
  return true;
}

/// Whether the lanes that `op` needs stand at it. Lanes that have exited are
/// not needed.
bool Warp::arrived(const Op &op, Group &group, uint32_t exec, bool &fault) {
  fault = false;
  if (op.aligned)
    return exec == live;
  Slot mask = op.s[3];
  if (!demand(op, mask, exec, "the member mask")) {
    fault = true;
    return false;
  }
  const uint32_t *masks = at<uint32_t>(mask);
  bool all = true, uniform = true;
  uint32_t first = masks[__builtin_ctz(exec)];
  forLanes(exec, [&](unsigned lane) { uniform &= masks[lane] == first; });
  forLanes(exec, [&](unsigned lane) {
    uint32_t m = masks[lane];
    if (fault)
      return;
    if (!(m >> lane & 1)) {
      char text[96];
      std::snprintf(text, sizeof text,
                    "the lane is not in its own member mask 0x%08x", m);
      fail(op, lane, text);
      fault = true;
    }
    all &= !(m & live & ~exec);
    all &= uniform || agree(masks, exec, lane);
  });
  return all && !fault;
}

/// Whether all lanes of a lane's member mask that are here have that mask.
bool Warp::agree(const uint32_t *masks, uint32_t exec, unsigned lane) const {
  bool same = true;
  forLanes(masks[lane] & exec,
           [&](unsigned other) { same &= masks[other] == masks[lane]; });
  return same;
}

/// No group is ready. Lanes that have all they need go on without the rest of
/// their group; true when there are such.
bool Warp::settle() {
  for (unsigned i = 0; i < groupCount; ++i) {
    Group &group = groups[i];
    if (group.state != Group::State::Sync)
      continue;
    const Op &op = program.ops[group.pc];
    if (op.aligned)
      continue;
    const uint32_t *masks = at<uint32_t>(op.s[3]);
    uint32_t exec = group.lanes, complete = 0;
    forLanes(exec, [&](unsigned lane) {
      if (!(masks[lane] & live & ~exec) && agree(masks, exec, lane))
        complete |= 1u << lane;
    });
    if (!complete || complete == exec)
      continue;
    group.lanes = exec & ~complete;
    groups[groupCount++] = {group.pc, complete, Group::State::Ready, 0};
    current = groupCount - 1;
    return true;
  }
  return meet();
}

/// Copies lanes of a slot with what is undefined of them; `bytes` 0: a
/// predicate.
void Warp::copySlot(Slot from, Slot to, unsigned bytes, uint32_t lanes) {
  if (!to.index)
    return;
  if (!bytes) {
    uint32_t &p = predicate(to);
    p = (p & ~lanes) | (predicate(from) & lanes);
    undefined(to) = (undefined(to) & ~lanes) | (undefined(from) & lanes);
    return;
  }
  forLanes(lanes, [&](unsigned lane) {
    std::memcpy(at<uint8_t>(to) + lane * bytes,
                at<uint8_t>(from) + lane * bytes, bytes);
    setShadow(to, lane, bytes, shadow(from, lane, bytes));
  });
}

/// From sm_70 on, lanes of one member mask need not stand at the same
/// instruction: the same opcode with the same modifiers will do. True when such
/// lanes went on.
bool Warp::meet() {
  if (!program.meeting.used)
    return false;
  for (unsigned i = 0; i < groupCount; ++i) {
    const Op &op = program.ops[groups[i].pc];
    if (groups[i].state != Group::State::Sync || op.aligned)
      continue;
    const uint32_t *masks = at<uint32_t>(op.s[3]);
    for (uint32_t rest = groups[i].lanes; rest; rest &= rest - 1) {
      uint32_t mask = masks[__builtin_ctz(rest)];
      forLanes(rest, [&](unsigned lane) {
        if (masks[lane] == mask && lane != unsigned(__builtin_ctz(rest)))
          rest &= ~(1u << lane);
      });
      if (meetWith(groups[i], mask) || block.faulted)
        return !block.faulted;
    }
  }
  return false;
}

bool Warp::meetWith(const Group &first, uint32_t mask) {
  const Op &op = program.ops[first.pc];
  uint32_t here[laneCount] = {}, all = 0; // the mask's lanes of each group
  for (unsigned i = 0; i < groupCount; ++i) {
    const Op &other = program.ops[groups[i].pc];
    if (groups[i].state != Group::State::Sync || other.opcode != op.opcode)
      continue;
    const uint32_t *masks = at<uint32_t>(other.s[3]);
    forLanes(groups[i].lanes, [&](unsigned lane) {
      here[i] |= uint32_t(masks[lane] == mask) << lane;
    });
    all |= here[i];
  }
  if (mask & live & ~all)
    return false;
  const Meeting &m = program.meeting;
  Op joint = op;
  unsigned results = op.hasResultPredicate ? 0 : 4;
  joint.s[0] = op.sourceBytes ? m.s[0] : m.votes;
  joint.d = results ? m.d : m.verdict;
  joint.e = m.e;
  for (unsigned s = 1; s < 4; ++s)
    joint.s[s] = m.s[s];
  unsigned count = groupCount;
  for (unsigned i = 0; i < count; ++i) {
    const Op &from = program.ops[groups[i].pc];
    copySlot(from.s[0], joint.s[0], op.sourceBytes, here[i]);
    for (unsigned s = 1; s < 4; ++s)
      copySlot(from.s[s], joint.s[s], 4, here[i]);
  }
  if (op.effect(*this, joint, all) == Step::Fault)
    return false;
  for (unsigned i = 0; i < count; ++i) {
    if (!here[i])
      continue;
    Group &group = groups[i];
    const Op &to = program.ops[group.pc];
    copySlot(joint.d, to.d, results, here[i]);
    copySlot(joint.e, to.e, 0, here[i]);
    Counters::PerOp &counts = block.counters.ops[group.pc];
    ++counts.warps;
    counts.lanes += __builtin_popcount(here[i]);
    ++clock;
    if (here[i] != group.lanes) {
      group.lanes &= ~here[i];
      groups[groupCount++] = {group.pc + 1, here[i], Group::State::Ready, 0};
      current = groupCount - 1;
      continue;
    }
    group.state = Group::State::Ready;
    ++group.pc;
    current = i;
  }
  return true;
}

void Warp::release(unsigned barrier, const Barrier &b) {
  for (unsigned i = 0; i < groupCount; ++i)
    if (groups[i].state == Group::State::Barrier &&
        groups[i].barrier == barrier) {
      takeReduction(program.ops[groups[i].pc], groups[i].lanes, b);
      groups[i].state = Group::State::Ready;
      ++groups[i].pc;
    }
}

bool Warp::timeOut() {
  bool any = false;
  for (unsigned i = 0; i < groupCount; ++i)
    if (groups[i].state == Group::State::Poll && groups[i].mayTimeOut)
      any = groups[i].timedOut = true;
  return any;
}

bool Warp::explain() {
  for (unsigned i = 0; i < groupCount; ++i) {
    Group &group = groups[i];
    const Op &op = program.ops[group.pc];
    unsigned lane = __builtin_ctz(group.lanes);
    char text[160];
    if (group.state == Group::State::Sync) {
      const char *opcode = program.opcodes[op.opcode].c_str();
      if (op.aligned)
        std::snprintf(text, sizeof text,
                      "divergence: lanes 0x%08x of 0x%08x wait at the aligned "
                      "%s that the others never reach",
                      group.lanes, live, opcode);
      else
        std::snprintf(text, sizeof text,
                      "divergence: lanes 0x%08x wait at %s for lanes of their "
                      "member mask 0x%08x that never reach it",
                      group.lanes, opcode, at<uint32_t>(op.s[3])[lane]);
      fail(op, lane, text);
      return true;
    }
  }
  for (unsigned i = 0; i < groupCount; ++i) {
    Group &group = groups[i];
    const Op &op = program.ops[group.pc];
    unsigned lane = __builtin_ctz(group.lanes);
    char text[160];
    if (group.state == Group::State::Barrier) {
      const Barrier &b = block.barriers[group.barrier];
      if (b.hasCount)
        std::snprintf(text, sizeof text,
                      "deadlock: barrier %u waits for %u threads and %u have "
                      "arrived",
                      group.barrier, b.expected, b.arrived);
      else
        std::snprintf(text, sizeof text,
                      "deadlock: barrier %u waits for all threads of the block "
                      "and some wait elsewhere",
                      group.barrier);
      fail(op, lane, text);
      return true;
    }
    if (group.state == Group::State::Poll) {
      fail(op, lane,
           "deadlock: " + program.opcodes[op.opcode] +
               " waits for what no thread of the block will do" +
               missingAt(op, lane));
      return true;
    }
  }
  return false;
}

bool Warp::explainPolling() {
  for (unsigned i = 0; i < groupCount; ++i) {
    const Group &group = groups[i];
    if (group.state != Group::State::Ready || !group.polls)
      continue;
    const Op &op = program.ops[group.watches];
    unsigned lane = __builtin_ctz(group.lanes);
    fail(op, lane,
         "deadlock: a loop looks with " + program.opcodes[op.opcode] +
             " for what no thread will do" + missingAt(op, lane));
    return true;
  }
  return false;
}

uint64_t Warp::stateHash() const {
  uint64_t hash = copyNumber;
  auto add = [&](const void *data, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
      uint64_t value = 0;
      std::memcpy(&value, static_cast<const uint8_t *>(data) + at,
                  std::min<size_t>(bytes - at, 8));
      hash = (hash ^ hash >> 29 ^ value) * 0xbf58476d1ce4e5b9 + 1;
    }
  };
  for (unsigned i = 0; i < groupCount; ++i) {
    uint64_t where[] = {groups[i].pc, groups[i].lanes,
                        static_cast<uint64_t>(groups[i].state)};
    add(where, sizeof where);
  }
  add(openGroup, sizeof openGroup);
  add(openBulkGroup, sizeof openBulkGroup);
  add(file, program.fileBytes);
  add(local.data(), local.size());
  return hash;
}

/// Undefined sources: the operation says what becomes of them, or the result is
/// wholly undefined.
void Warp::taint(const Op &op, uint32_t lanes, uint32_t undefinedLanes) {
  if (op.taint) {
    op.taint(*this, op, lanes);
    return;
  }
  uint32_t bad = undefinedLanes & lanes;
  define(op.d, lanes & ~bad);
  define(op.e, lanes & ~bad);
  if (op.hasResultPredicate)
    undef[op.d.index] |= op.d.index ? bad : 0;
  else
    undefine(op.d, op.resultBytes, bad);
  undef[op.e.index] |= op.e.index ? bad : 0;
}

uint64_t Warp::run(uint64_t budget) {
  uint64_t left = budget;
  polling = false;
  for (unsigned i = 0; i < groupCount; ++i)
    if (groups[i].state == Group::State::Poll)
      groups[i].state = Group::State::Ready;
  Counters::PerOp *counts = block.counters.ops.data();
  const Op *ops = program.ops.data();
  while (left && groupCount) {
    if (!pick()) {
      merge();
      if (!pick() && !settle())
        break;
    }
    Group *group = &groups[current];
    uint32_t pc = group->pc, lanes = group->lanes;
    bool fresh = true; // do not look for others at the first operation
    for (; left; --left, ++clock) {
      const Op &op = ops[pc];
      if (groupCount > 1) {
        ++rotation;
        if (op.leader && !fresh) {
          group->pc = pc;
          merge();
          ++left;
          --clock;
          goto next;
        }
      }
      fresh = false;
      {
        uint32_t exec = lanes;
        if (op.guarded) {
          uint32_t bad = undef[op.guard.index] & lanes;
          if (__builtin_expect(bad != 0, 0)) {
            fail(op, __builtin_ctz(bad),
                 op.kind == OpKind::Branch
                     ? "the predicate that the branch depends on is undefined"
                     : "the guard predicate is undefined");
            return budget - left;
          }
          uint32_t p = *at<uint32_t>(op.guard);
          exec &= op.guardNegated ? ~p : p;
        }
        counts[pc].warps += 1;
        counts[pc].lanes += __builtin_popcount(exec);
        switch (op.kind) {
        case OpKind::Lane:
          if (exec) {
            uint32_t bad = undef[op.s[0].index] | undef[op.s[1].index] |
                           undef[op.s[2].index] | undef[op.s[3].index];
            if (__builtin_expect((bad & exec) != 0, 0)) {
              taint(op, exec, bad);
            } else {
              undef[op.d.index] &= ~exec;
              undef[op.e.index] &= ~exec;
            }
            op.lane(*this, op, exec);
          }
          ++pc;
          continue;
        case OpKind::Sync:
          if (exec != lanes && exec) {
            // The lanes whose guard is false go on; the others wait here.
            groups[groupCount++] = {pc + 1, lanes & ~exec, Group::State::Ready,
                                    0};
            group->lanes = lanes = exec;
          }
          if (exec) {
            bool fault = false;
            if (!arrived(op, *group, exec, fault)) {
              if (fault)
                return budget - left;
              counts[pc].warps -= 1; // counted when it is executed
              counts[pc].lanes -= __builtin_popcount(exec);
              group->pc = pc;
              group->state = Group::State::Sync;
              goto next;
            }
          }
          [[fallthrough]];
        case OpKind::Effect:
          if (exec) {
            group->pc = pc; // effects may look at it, and leave it waiting
            Step step = op.effect(*this, op, exec);
            if (step == Step::Fault)
              return budget - left;
            if (step == Step::Blocked) {
              if (group->state == Group::State::Ready) {
                counts[pc].warps -= 1;
                counts[pc].lanes -= __builtin_popcount(exec);
                group->state = Group::State::Poll;
              }
              if (exec != lanes) {
                // Lanes whose guard is false do not wait.
                uint32_t others = lanes & ~exec;
                group->lanes = exec;
                groups[groupCount++] = {pc + 1, others, Group::State::Ready, 0};
              }
              goto next;
            }
          }
          ++pc;
          continue;
        case OpKind::Branch:
          if (exec == lanes) {
            bool back =
                group->seen && program.rank[op.target] <= program.rank[pc];
            pc = op.target;
            if (__builtin_expect(back, 0) && foundPolling(*group)) {
              group->pc = pc;
              --left;
              ++clock;
              polling = true;
              for (unsigned i = 0; i < groupCount; ++i)
                polling &=
                    groups[i].state != Group::State::Ready || groups[i].polls;
              if (polling)
                return budget - left;
              goto next;
            }
          } else if (!exec) {
            ++pc;
          } else {
            group->pc = pc + 1;
            group->lanes = lanes & ~exec;
            groups[groupCount++] = {op.target, exec, Group::State::Ready, 0};
            --left;
            ++clock;
            goto next;
          }
          continue;
        case OpKind::BranchTable: {
          if (!exec) {
            ++pc;
            continue;
          }
          if (!demand(op, op.s[0], exec, "the index of the branch"))
            return budget - left;
          const std::vector<uint32_t> &table = program.tables[op.target];
          const uint32_t *index = at<uint32_t>(op.s[0]);
          uint32_t rest = exec, stay = lanes & ~exec;
          groups[current] = groups[--groupCount];
          if (stay)
            groups[groupCount++] = {pc + 1, stay, Group::State::Ready, 0};
          while (rest) {
            unsigned lane = __builtin_ctz(rest);
            if (index[lane] >= table.size()) {
              fail(op, lane,
                   "branch index " + std::to_string(index[lane]) +
                       " is beyond the " + std::to_string(table.size()) +
                       " targets");
              return budget - left;
            }
            uint32_t same = 0;
            forLanes(rest, [&](unsigned l) {
              same |= uint32_t(index[l] == index[lane]) << l;
            });
            rest &= ~same;
            groups[groupCount++] = {table[index[lane]], same,
                                    Group::State::Ready, 0};
          }
          current = 0;
          merge();
          --left;
          ++clock;
          goto next;
        }
        case OpKind::Exit:
          for (const BulkRead &read : bulkReads)
            if (exec >> read.lane & 1) {
              group->pc = pc;
              fail(op, read.lane,
                   "the thread exits while its bulk copy of line " +
                       std::to_string(read.line) + " may still read");
              return budget - left;
            }
          live &= ~exec;
          lanes &= ~exec;
          if (exec) {
            for (unsigned i = 0; i < groupCount; ++i)
              if (groups[i].state == Group::State::Sync)
                groups[i].state = Group::State::Ready;
            group->lanes = lanes;
            group->pc = pc + 1;
            if (!lanes) {
              groups[current] = groups[--groupCount];
              current = 0;
            }
            block.exited(*this, op, exec);
            if (!lanes) {
              --left;
              ++clock;
              goto next;
            }
          }
          ++pc;
          continue;
        }
      }
    }
    group->pc = pc;
    break;
  next:;
  }
  return budget - left;
}
