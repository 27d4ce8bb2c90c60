//===- Grid.cpp - running a kernel over a grid ----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Launch.h"
#include "tools/ptx-emulator/Machine.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

using namespace nestc;
using namespace nestc::ptx;
using rt::Error;

std::optional<Schedule> nestc::ptx::scheduleFromText(std::string_view text) {
  if (text == "round-robin")
    return Schedule{Schedule::Kind::RoundRobin, 0};
  if (text == "reverse")
    return Schedule{Schedule::Kind::Reverse, 0};
  if (text.substr(0, 7) != "random:" || text.size() == 7 || text.size() > 26)
    return std::nullopt;
  uint64_t seed = 0;
  for (char c : text.substr(7)) {
    if (c < '0' || c > '9')
      return std::nullopt;
    seed = seed * 10 + (c - '0');
  }
  return Schedule{Schedule::Kind::Random, seed};
}

std::string Fault::str() const {
  auto triple = [](const uint32_t *v) {
    return "(" + std::to_string(v[0]) + "," + std::to_string(v[1]) + "," +
           std::to_string(v[2]) + ")";
  };
  return kernel + ":" + std::to_string(line) + ": block " + triple(block) +
         " thread " + triple(thread) + ": " + what;
}

const char *nestc::ptx::className(OpClass c) {
  static const char *const names[] = {
      "integer", "float",   "half",    "double",  "convert", "move",
      "compare", "special", "load",    "store",   "atomic",  "async_copy",
      "matrix",  "shuffle", "barrier", "control", "other"};
  return names[static_cast<unsigned>(c)];
}

void Counters::add(const Counters &other) {
  for (size_t i = 0; i < ops.size(); ++i) {
    ops[i].warps += other.ops[i].warps;
    ops[i].lanes += other.ops[i].lanes;
  }
  for (unsigned space = 0; space < 6; ++space)
    for (unsigned way = 0; way < 2; ++way) {
      bytes[space][way] += other.bytes[space][way];
      sectors[space][way] += other.sectors[space][way];
    }
  sharedPasses += other.sharedPasses;
  sharedIdeal += other.sharedIdeal;
  barriers += other.barriers;
  mmaFlops += other.mmaFlops;
  asyncBytes += other.asyncBytes;
}

static Profile summarize(const Program &program, const Counters &c) {
  Profile p;
  for (size_t i = 0; i < program.ops.size(); ++i) {
    const Op &op = program.ops[i];
    if (!c.ops[i].warps || op.hidden)
      continue;
    auto &row = p.opcodes[program.opcodes[op.opcode]];
    row.opClass = op.opClass;
    row.warps += c.ops[i].warps;
    row.threads += c.ops[i].lanes;
    p.warpInstructions += c.ops[i].warps;
    p.threadInstructions += c.ops[i].lanes;
  }
  auto at = [](Space space) { return static_cast<unsigned>(space); };
  for (unsigned way = 0; way < 2; ++way) {
    p.globalBytes[way] = c.bytes[at(Space::Global)][way];
    p.globalSectors[way] = c.sectors[at(Space::Global)][way];
    p.localBytes[way] = c.bytes[at(Space::Local)][way];
    p.localSectors[way] = c.sectors[at(Space::Local)][way];
    p.sharedBytes[way] = c.bytes[at(Space::Shared)][way];
  }
  p.sharedPasses = c.sharedPasses;
  p.bankConflicts = c.sharedPasses - c.sharedIdeal;
  p.mmaFlops = c.mmaFlops;
  p.barriers = c.barriers;
  return p;
}

uint64_t nestc::ptx::maxSharedBytes(unsigned sm) {
  uint64_t kibibytes = sm < 70                ? 48
                       : sm < 75              ? 96
                       : sm < 80              ? 64
                       : sm == 80 || sm == 87 ? 163
                       : sm < 90              ? 99
                       : sm < 120             ? 227
                                              : 99;
  return kibibytes * 1024;
}

rt::Status nestc::ptx::checkLaunch(const Program &program,
                                   const LaunchConfig &config) {
  const Function &kernel = *program.kernel;
  uint64_t threads = 1;
  static constexpr uint32_t mostBlock[3] = {1024, 1024, 64};
  static constexpr uint32_t mostGrid[3] = {0x7fffffff, 65535, 65535};
  auto triple = [](const uint32_t *v) {
    return "[" + std::to_string(v[0]) + ", " + std::to_string(v[1]) + ", " +
           std::to_string(v[2]) + "]";
  };
  for (unsigned i = 0; i < 3; ++i) {
    if (!config.block[i] || config.block[i] > mostBlock[i])
      return Error(program.name, "block " + triple(config.block),
                   "each extent is 1 to 1024, the last to 64");
    if (!config.grid[i] || config.grid[i] > mostGrid[i])
      return Error(program.name, "grid " + triple(config.grid),
                   "extents are 1 to 2147483647, 65535, 65535");
    threads *= config.block[i];
  }
  if (threads > 1024)
    return Error(program.name,
                 "a block of " + std::to_string(threads) + " threads",
                 "at most 1024");
  if (kernel.required[0])
    for (unsigned i = 0; i < 3; ++i)
      if (kernel.required[i] != config.block[i])
        return Error(program.name, "block " + triple(config.block),
                     "the kernel has .reqntid " + triple(kernel.required));
  if (kernel.cluster[0] > 1 || kernel.cluster[1] > 1 || kernel.cluster[2] > 1)
    return Error(program.name,
                 "the kernel has .reqnctapercluster " + triple(kernel.cluster),
                 "clusters of more than one block are not supported");
  if (kernel.most[0] &&
      threads > uint64_t(kernel.most[0]) * kernel.most[1] * kernel.most[2])
    return Error(program.name,
                 "a block of " + std::to_string(threads) + " threads",
                 "the kernel has .maxntid " + triple(kernel.most));
  uint64_t shared = config.dynamicShared
                        ? uint64_t(program.dynamicOffset) + config.dynamicShared
                        : program.sharedBytes;
  unsigned sm = program.module->sm;
  if (shared > maxSharedBytes(sm))
    return Error(program.name,
                 std::to_string(shared) + " bytes of shared memory",
                 "a block on sm_" + std::to_string(sm) + " has at most " +
                     std::to_string(maxSharedBytes(sm)));
  if (config.params.size() != program.paramBytes)
    return Error(program.name,
                 std::to_string(config.params.size()) + " bytes of arguments",
                 "the parameters have " + std::to_string(program.paramBytes));
  return rt::Status::success();
}

namespace {

/// Blocks of a launch in the order of the schedule.
struct Order {
  const LaunchConfig &config;
  uint64_t count;

  uint64_t at(uint64_t turn) const {
    switch (config.schedule.kind) {
    case Schedule::Kind::RoundRobin:
      return turn;
    case Schedule::Kind::Reverse:
      return count - 1 - turn;
    case Schedule::Kind::Random:
      break;
    }
    // A permutation of 2^bits numbers by a few Feistel rounds, walked until it
    // falls below the count.
    unsigned bits = 2;
    while ((uint64_t(1) << bits) < count)
      bits += 2;
    unsigned half = bits / 2;
    uint64_t mask = (uint64_t(1) << half) - 1;
    do {
      uint64_t left = turn >> half, right = turn & mask;
      for (uint64_t round = 0; round < 4; ++round) {
        uint64_t z =
            (right + config.schedule.seed * 4 + round + 1) * 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 29)) * 0xbf58476d1ce4e5b9;
        uint64_t mixed = left ^ ((z >> 17) & mask);
        left = right;
        right = mixed;
      }
      turn = left << half | right;
    } while (turn >= count);
    return turn;
  }
};

} // namespace

rt::Expected<LaunchResult> nestc::ptx::launch(Device &device,
                                              const Program &program,
                                              const LaunchConfig &config) {
  if (rt::Status status = checkLaunch(program, config); status.failed())
    return status.takeError();
  uint64_t count = uint64_t(config.grid[0]) * config.grid[1] * config.grid[2];
  Order order{config, count};
  LaunchResult result;
  Counters total;
  total.ops.resize(program.ops.size());
  uint64_t limit = config.maxSteps ? config.maxSteps : ~uint64_t(0);

  if (program.communicates || config.globalRaces) {
    // Blocks may wait for each other: one core takes them in turns, so that the
    // order of their atomics is always the same. A block that runs long lets
    // another one begin.
    constexpr uint64_t turn = 1 << 16;
    std::vector<std::pair<std::unique_ptr<Block>, uint64_t>> active;
    std::vector<std::unique_ptr<Block>> spare;
    GlobalRaces globalRaces(program.granule);
    uint64_t started = 0;
    size_t next = 0;
    uint64_t stuck = 0; // turns of such blocks since memory was changed
    while (!result.fault && (started < count || !active.empty())) {
      // At most as many as a large device holds at once.
      if (started < count && next == active.size() && active.size() < 2048) {
        if (spare.empty())
          spare.push_back(
              std::make_unique<Block>(device, program, config, total));
        active.emplace_back(std::move(spare.back()), 0);
        spare.pop_back();
        if (config.globalRaces)
          active.back().first->globalRaces = &globalRaces;
        active.back().first->start(order.at(started));
        active.back().first->fault.order = started++;
      }
      if (next == active.size()) {
        next = 0;
        continue;
      }
      Block &block = *active[next].first;
      uint64_t &steps = active[next].second;
      uint64_t most = std::min(turn, limit - steps), left = most;
      uint64_t before = block.changes;
      Block::State state = block.run(left);
      steps += most - left;
      stuck = state != Block::State::Stuck ? 0
              : before != block.changes    ? 1
                                           : stuck + 1;
      // Each of those that have begun looked again, and no other may begin.
      bool full = started == count || active.size() == 2048;
      if (full && stuck > active.size()) {
        block.explain();
        state = Block::State::Fault;
      }
      if (state == Block::State::Fault) {
        result.fault = block.fault;
      } else if (state == Block::State::Done) {
        spare.push_back(std::move(active[next].first));
        active.erase(active.begin() + next);
      } else if (steps >= limit) {
        return Error(program.name,
                     "more than " + std::to_string(limit) +
                         " operations of a block's warps",
                     "raise the limit if that is what it needs");
      } else {
        ++next;
      }
    }
  } else {
    unsigned workers =
        config.threads ? config.threads : std::thread::hardware_concurrency();
    workers = std::max<uint64_t>(1, std::min<uint64_t>(workers, count));
    std::atomic<uint64_t> nextBlock{0};
    // Blocks before the first that fails are run to their end, so that always
    // the same fault is told.
    std::atomic<uint64_t> firstFault{~uint64_t(0)};
    std::atomic<bool> overrun{false};
    std::mutex mutex;
    auto work = [&] {
      Counters counters;
      counters.ops.resize(program.ops.size());
      Block block(device, program, config, counters);
      for (;;) {
        uint64_t turn = nextBlock.fetch_add(1);
        if (turn >= count || turn > firstFault.load() || overrun.load())
          break;
        block.start(order.at(turn));
        block.fault.order = turn;
        Block::State state = Block::State::Running;
        for (uint64_t left = limit; left && state == Block::State::Running;)
          state = block.run(left);
        if (state == Block::State::Stuck) {
          block.explain();
          state = Block::State::Fault;
        }
        if (state == Block::State::Running)
          overrun = true;
        if (state != Block::State::Fault)
          continue;
        std::lock_guard<std::mutex> lock(mutex);
        if (turn < firstFault.load()) {
          firstFault = turn;
          result.fault = block.fault;
        }
      }
      std::lock_guard<std::mutex> lock(mutex);
      total.add(counters);
    };
    std::vector<std::thread> others;
    for (unsigned i = 1; i < workers; ++i)
      others.emplace_back(work);
    work();
    for (std::thread &thread : others)
      thread.join();
    if (overrun && !result.fault)
      return Error(program.name,
                   "more than " + std::to_string(limit) +
                       " operations of a block's warps",
                   "raise the limit if that is what it needs");
  }
  result.profile = summarize(program, total);
  return result;
}
