//===- Machine.h - warps and blocks -----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A warp executes its lanes in groups that stand at the same operation. The
// group at the lowest position runs, so that lanes meet again behind a branch;
// a group that reaches an operation which needs other lanes waits for them. A
// block runs its warps in turn; which, and how long, is the schedule's choice.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_MACHINE_H
#define NESTC_TOOLS_PTX_EMULATOR_MACHINE_H

#include "tools/ptx-emulator/Device.h"
#include "tools/ptx-emulator/GlobalRaces.h"
#include "tools/ptx-emulator/Launch.h"
#include "tools/ptx-emulator/Program.h"
#include "tools/ptx-emulator/Races.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace ptx {

class Block;

constexpr unsigned laneCount = 32;

/// State of a byte of shared or local memory.
enum ByteState : uint8_t {
  Defined = 0,
  Undefined = 1,
  Pending = 2, ///< an asynchronous copy is under way to it
  Object = 3   ///< of an mbarrier
};

/// Calls `f(lane)` for each lane of a mask, in ascending order.
template <typename F>
inline __attribute__((always_inline)) void forLanes(uint32_t lanes, F f) {
  for (; lanes; lanes &= lanes - 1)
    f(static_cast<unsigned>(__builtin_ctz(lanes)));
}

/// Copies that lanes of a warp have begun with one cp.async: their bytes land
/// when they are waited for.
struct AsyncCopies {
  uint32_t lanes;
  uint32_t group; ///< number of the lanes' group
  uint32_t line;
  uint8_t bytes;
  uint64_t number;             ///< in the order of the warp
  uint32_t recorded;           ///< lanes whose store is in Block::races already
  uint32_t address[laneCount]; ///< in shared memory
  uint8_t data[laneCount][16];
  uint16_t undefined[laneCount]; ///< bits of bytes
};

/// A bulk copy out of shared memory that has not been waited for: until then
/// its source must stay as it is.
struct BulkRead {
  unsigned lane;
  uint32_t group; ///< number of the lane's bulk group
  uint32_t line;
  uint32_t address; ///< in shared memory
  std::vector<uint8_t> data;
};

/// Global memory that a bulk copy writes and that has not been waited for.
struct BulkWrite {
  unsigned warp, lane;
  uint32_t group; ///< number of the lane's bulk group
  uint32_t line;
  bool reduces;
  uint64_t first = ~uint64_t(0), last = 0;           ///< all of it lies between
  std::vector<std::pair<uint64_t, uint32_t>> ranges; ///< addresses and bytes
};

/// A copy that an mbarrier counts. Its bytes become visible to those who wait
/// for the phase in which it completed: either those of a bulk copy, or all
/// that a lane has begun with cp.async before.
struct Landing {
  uint64_t phase;
  uint32_t line = 0;
  uint32_t address = 0, bytes = 0;
  std::vector<uint32_t> undefined; ///< offsets of undefined bytes
  Warp *warp = nullptr;
  unsigned lane = 0;
  uint64_t before = 0; ///< AsyncCopies::number
};

/// PTX ISA 9.7.13.15: an mbarrier object.
struct Mbarrier {
  uint32_t expected = 0; ///< arrivals of a phase
  uint32_t pending = 0;  ///< that the open phase lacks
  int64_t bytes = 0;     ///< the tx-count: expected of copies and not come yet
  uint64_t phase = 0;    ///< the open one
  Knowledge arriving, completed; ///< of the open phase; of those before
  std::vector<Landing> landings;
};

struct Group {
  enum class State : uint8_t {
    Ready,
    Sync,    ///< waits for lanes of this warp
    Barrier, ///< waits at a barrier of the block
    Poll     ///< an effect said Blocked; it is asked again
  };
  uint32_t pc = 0;
  uint32_t lanes = 0;
  State state = State::Ready;
  uint8_t barrier = 0;
  bool mayTimeOut =
      false; ///< of Poll: the wait ends when nothing else can go on
  bool timedOut = false;
  /// What volatile loads and atomics have shown it since it last jumped back,
  /// and in the turn of the loop before; 0: nothing.
  uint64_t seen = 0, seenBefore = 0;
  uint32_t watches = 0; ///< the operation that showed it something last
  /// When it was found to poll: turn after turn it sees the same. 0: it is not.
  uint64_t polls = 0;
};

struct Barrier;
struct WarpGroup;

class Warp {
public:
  Warp(Block &block, unsigned id);

  /// Prepares for a new block.
  void start(uint32_t lanes);
  /// Executes up to `budget` operations; stops early when all groups wait or
  /// poll, on a fault and at the end. Returns how many were executed.
  uint64_t run(uint64_t budget);
  /// Whether the last run ended because all groups that could go on poll.
  bool polls() const { return polling; }

  /// The running group looked at `bytes` of memory that others may change, and
  /// changed nothing.
  void observe(uint64_t address, const void *data, unsigned bytes);
  /// It changed memory that others see: those that poll look again.
  void changed();

  bool done() const { return !groupCount; }
  /// Some group could run if asked.
  bool runnable() const;

  /// Values of a slot, one per lane.
  template <typename T>
  T *at(Slot slot) const {
    return reinterpret_cast<T *>(file + slot.offset);
  }
  /// The mask of a predicate.
  uint32_t &predicate(Slot slot) const { return *at<uint32_t>(slot); }
  /// Lanes of a slot with undefined bits.
  uint32_t &undefined(Slot slot) const { return undef[slot.index]; }
  /// Undefined bits of one lane of a register of `bytes`.
  uint64_t shadow(Slot slot, unsigned lane, unsigned bytes) const {
    if (!(undef[slot.index] >> lane & 1))
      return 0;
    uint64_t bits = 0;
    std::memcpy(&bits, shadows + slot.offset + lane * bytes,
                std::min(bytes, 8u));
    return bits;
  }
  /// Sets them.
  void setShadow(Slot slot, unsigned lane, unsigned bytes,
                 uint64_t bits) const {
    if (!slot.index)
      return;
    if (!bits) {
      undef[slot.index] &= ~(1u << lane);
      return;
    }
    undef[slot.index] |= 1u << lane;
    std::memset(shadows + slot.offset + lane * bytes, 0xff, bytes);
    std::memcpy(shadows + slot.offset + lane * bytes, &bits,
                std::min(bytes, 8u));
  }
  /// Defines `lanes` of a slot, wholly.
  void define(Slot slot, uint32_t lanes) const { undef[slot.index] &= ~lanes; }
  /// Makes `lanes` of a register of `bytes` wholly undefined.
  void undefine(Slot slot, unsigned bytes, uint32_t lanes) const {
    if (!slot.index)
      return;
    undef[slot.index] |= lanes;
    forLanes(lanes, [&](unsigned lane) {
      std::memset(shadows + slot.offset + lane * bytes, 0xff, bytes);
    });
  }

  /// Records the fault of a lane; Step::Fault.
  Step fail(const Op &op, unsigned lane, std::string what);
  /// A fault when a lane of the slot is undefined; `role`: "the address".
  bool demand(const Op &op, Slot slot, uint32_t lanes, const char *role);

  /// Sets groups that wait at a barrier free; they go on behind it, with the
  /// result of bar.red.
  void release(unsigned barrier, const Barrier &b);
  /// Lets waits end whose time is limited; true if there are any.
  bool timeOut();
  /// Why a warp that cannot run is stuck. False when it can run.
  bool explain();
  /// The same of one that polls, when nobody will change what it looks at.
  bool explainPolling();
  /// Of all that decides what the warp does next, but memory that others see.
  uint64_t stateHash() const;

  Block &block;
  const Program &program;
  const unsigned id;    ///< in the block
  uint32_t live = 0;    ///< lanes that have not exited
  uint32_t present = 0; ///< lanes that the block has
  uint64_t clock = 0;   ///< operations executed
  Group groups[laneCount];
  unsigned groupCount = 0;
  unsigned current = 0;            ///< index of the group that runs
  std::vector<AsyncCopies> copies; ///< in the order they were begun
  uint64_t copyNumber = 0;
  uint32_t openGroup[laneCount] = {}; ///< groups that the lane has committed
  std::vector<BulkRead> bulkReads;    ///< in the order they were begun
  uint32_t openBulkGroup[laneCount] = {};
  std::vector<uint8_t> local, localState; ///< [lane][program.localBytes]

private:
  /// Writes the result of bar.red, if `op` is one (Cooperative.cpp).
  void takeReduction(const Op &op, uint32_t lanes, const Barrier &b);
  /// What a wait at an mbarrier lacks; empty for other operations
  /// (Mbarrier.cpp).
  std::string missingAt(const Op &op, unsigned lane) const;
  bool pick();
  void merge();
  bool foundPolling(Group &group);
  bool arrived(const Op &op, Group &group, uint32_t exec, bool &fault);
  bool agree(const uint32_t *masks, uint32_t exec, unsigned lane) const;
  bool settle();
  bool meet();
  bool meetWith(const Group &first, uint32_t mask);
  void copySlot(Slot from, Slot to, unsigned bytes, uint32_t lanes);
  void taint(const Op &op, uint32_t lanes, uint32_t undefinedLanes);
  void fillSpecials();

  uint8_t *file = nullptr;
  uint8_t *shadows = nullptr;
  uint32_t *undef = nullptr;
  std::vector<uint64_t> storage;
  unsigned rotation = 0; ///< operations since lanes parted, or all had turns
  uint32_t lastRank = 0;
  bool polling = false;
  uint64_t pollStamp = 0;
};

struct Barrier {
  unsigned expected = 0; ///< threads; 0 for "all of the block"
  unsigned arrived = 0;
  bool used = false;
  bool hasCount = false;
  uint32_t arrivedLanes[32] = {}; ///< of each warp
  uint32_t waitingLanes[32] = {};
  uint8_t reduction = 0; ///< which, of those of bar.red; 0: sync and arrive
  bool reductionOr = false, reductionAnd = true;
  uint32_t reductionPop = 0;
  uint32_t line = 0;
};

/// The barrier of a cluster of one block.
struct ClusterBarrier {
  uint32_t arrived[32] = {};   ///< in the phase that is open
  uint32_t completed[32] = {}; ///< in the one before, and not waited for yet
  uint32_t owing[32] = {};     ///< have arrived and not waited
  Knowledge knowledge;
};

/// What a launch counts, of one worker.
struct Counters {
  struct PerOp {
    uint64_t warps = 0;
    uint64_t lanes = 0;
  };
  std::vector<PerOp> ops;
  uint64_t bytes[6][2] = {};   ///< [space][load, store]
  uint64_t sectors[6][2] = {}; ///< of 32 bytes, of global and local memory
  uint64_t sharedPasses = 0;   ///< wavefronts of shared memory
  uint64_t sharedIdeal = 0;    ///< as many as there would be without conflicts
  uint64_t barriers = 0;       ///< warps that waited at one
  uint64_t mmaFlops = 0;
  uint64_t asyncBytes = 0;

  void add(const Counters &other);
};

class Block {
public:
  Block(Device &device, const Program &program, const LaunchConfig &config,
        Counters &counters);
  ~Block();

  void start(uint64_t index);

  /// Stuck: all warps wait or poll, and do so for ever unless another block
  /// changes what they look at.
  enum class State : uint8_t { Running, Done, Fault, Stuck };
  /// Executes up to `budget` operations of warps, and takes them off it. What
  /// is left of it when the state is Running: all warps poll.
  State run(uint64_t &budget);
  /// Records the fault of a block that is stuck.
  void explain();

  /// Arrives at barrier `id` with the lanes of a group. `count` 0: all threads.
  /// Done: the barrier completed or the lanes only arrive; Blocked: they wait.
  Step barrier(Warp &warp, const Op &op, uint32_t lanes, unsigned id,
               unsigned count, bool waits);
  /// Lanes of a warp have exited.
  void exited(Warp &warp, const Op &op, uint32_t lanes);

  void setFault(const Op &op, const Warp &warp, unsigned lane,
                std::string what);

  Device &device;
  const Program &program;
  const LaunchConfig &config;
  Counters &counters;
  uint64_t index = 0;
  uint32_t position[3] = {}; ///< ctaid
  unsigned threads = 0;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<uint8_t> shared, sharedState;
  uint32_t sharedSize = 0;
  Races races;
  GlobalRaces *globalRaces = nullptr; ///< of the launch, if it looks for them
  Barrier barriers[16];
  ClusterBarrier cluster;
  std::vector<BulkWrite> bulkWrites;
  std::map<uint32_t, Mbarrier> mbarriers; ///< by offset in shared memory
  /// Times that waits have ended unfulfilled since a phase was completed.
  unsigned timeOuts = 0;
  uint64_t changes = 0; ///< of memory that others see
  /// What wgmma has under way, of four warps each; made when first needed
  /// (WarpGroup.cpp).
  std::vector<std::shared_ptr<WarpGroup>> warpGroups;
  /// What fences have shown to the asynchronous proxy: stores that wgmma and
  /// bulk copies may read.
  Knowledge fenced;
  /// The same of global memory, and who stored there, by words of four bytes:
  /// of those of several threads in one word the last. Kept where the program
  /// has bulk copies.
  Knowledge fencedGlobal;
  struct GlobalStore {
    uint64_t record = 0; ///< Races::recordOf
    uint32_t line = 0;
    uint8_t bytes = 0; ///< bits: which of the four
  };
  std::unordered_map<uint64_t, GlobalStore> globalStores;
  /// What those who released at an address knew, by generic address.
  std::unordered_map<uint64_t, Knowledge> flags;
  Fault fault;
  bool faulted = false;

private:
  void complete(unsigned id);
  void recheck();
  bool endWaits();
  bool cameBack();

  uint64_t random = 0;
  unsigned nextWarp = 0;
  /// How often all warps polled; what the state was at a power of two of that,
  /// and the warps that have looked again since.
  uint64_t rounds = 0, roundOfState = 0, state = 0;
  uint32_t asked = 0;
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_MACHINE_H
