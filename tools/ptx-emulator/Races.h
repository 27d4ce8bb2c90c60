//===- Races.h - data races in shared memory --------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Happens-before race detection for the shared memory of one block. Two
// accesses of different threads to a granule race when one of them writes, they
// are not both atomic, and no chain of barriers, warp synchronisations,
// releases and acquires orders them (PTX ISA, chapter 8).
//
// A warp has one clock. An access is known to a thread by the clock of the warp
// that made it: as a rule the lanes of a warp know the same, which is kept once
// (Warp::base); what single lanes know beyond it is kept apart.
//
// Lenient on purpose:
//  - A plain store of the bytes that are there already is no race, nor are
//  lanes
//    of one store that write equal bytes; who stored the value may read it.
//  - Lanes and warps that have exited take part in all that the others do.
//  - A clock stops after 4 million synchronisations without a barrier of the
//    whole block; races may be missed from there on.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_RACES_H
#define NESTC_TOOLS_PTX_EMULATOR_RACES_H

#include "tools/ptx-emulator/Knowledge.h"

#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace ptx {

/// Two accesses that nothing orders: that of the call and an earlier one.
struct Race {
  uint32_t byte = 0; ///< offset in shared memory of the granule
  uint8_t otherWarp = 0, otherLane = 0;
  bool otherWrote = false, thisWrites = false;
  uint8_t lane = 0; ///< of the call
  /// The tag of the earlier access; of several reads, of the last.
  uint32_t otherTag = 0;
};

/// The bytes of a store: element e of a lane lies at element[e] + lane *
/// stride.
struct StoredValues {
  const void *element[4] = {};
  unsigned bytes = 0; ///< of an element, a power of two; 0: nothing is known
  unsigned stride = 0;
};

/// Accesses and synchronisation of one block's threads. `lanes` are those that
/// take part, `address` has 32 byte offsets, aligned to `size`, the bytes of a
/// lane, which is a power of two up to 16 and at least the granule.
class Races {
public:
  /// Clocks begin again at the first barrier of the whole block at which one is
  /// beyond `oldClock`.
  explicit Races(uint32_t oldClock = lastClock / 2) : oldClock(oldClock) {}

  /// Starts a block. `granule` is a power of two up to 16, no more than the
  /// smallest access; `threads` is at most 1024.
  void reset(uint32_t bytes, unsigned granule, unsigned threads);

  /// Names the accesses that follow, as the line they stand in.
  void setTag(uint32_t tag) { currentTag = tag; }

  /// Plain accesses; true if there is a race.
  bool read(unsigned warp, uint32_t lanes, const uint32_t *address,
            unsigned size, Race &race);
  /// `memory` is the shared memory before this store.
  bool write(unsigned warp, uint32_t lanes, const uint32_t *address,
             unsigned size, const StoredValues &values, const uint8_t *memory,
             Race &race);
  /// What is at each lane's address is read by all live lanes (ldmatrix).
  bool readAll(unsigned warp, uint32_t lanes, const uint32_t *address,
               unsigned size, Race &race);
  /// One lane reads `size` bytes at each of these addresses; with `remember`
  /// false it is only looked whether it may.
  bool readMany(unsigned warp, unsigned lane, const uint32_t *address,
                size_t count, unsigned size, bool remember, Race &race);
  /// Strong accesses, which do not race with each other: read-modify-write and
  /// stores, and loads.
  bool atomic(unsigned warp, uint32_t lanes, const uint32_t *address,
              unsigned size, Race &race);
  bool atomicRead(unsigned warp, uint32_t lanes, const uint32_t *address,
                  unsigned size, Race &race);
  /// The destination of an asynchronous copy, a store of the time when it
  /// lands. In between nobody may touch it, which the caller sees to.
  bool writeAsync(unsigned warp, uint32_t lanes, const uint32_t *address,
                  unsigned size, Race &race);
  void landAsync(unsigned warp, unsigned lane, uint32_t address, unsigned size);

  /// bar.warp.sync, once its lanes have all come.
  void warpSync(unsigned warp, uint32_t lanes);
  /// A barrier that completes: lanes[w] are those of warp w that wait at it.
  /// Takes what those who only arrived left. `ofBlock`: no thread that is left
  /// is missing; those that have exited take part.
  void sync(unsigned barrier, const uint32_t *lanes, bool ofBlock);
  /// bar.arrive.
  void arrive(unsigned barrier, unsigned warp, uint32_t lanes) {
    release(barriers[barrier], warp, lanes);
  }
  /// Each of the lanes gives what it knows and has done, or takes it.
  void release(Knowledge &to, unsigned warp, uint32_t lanes);
  void acquire(const Knowledge &from, unsigned warp, uint32_t lanes);

  /// The last plain store of a byte there is one that those whose fences are in
  /// `fenced` did not know, and not of an asynchronous copy.
  bool unfenced(const Knowledge &fenced, uint32_t address, unsigned size,
                Race &race) const;
  /// The same of a store at a clock of recordOf().
  bool isFenced(const Knowledge &fenced, uint64_t rec) const;
  /// Set in the tag of a store that an asynchronous copy makes.
  static constexpr uint32_t copyTag = 1u << 31;

  /// The clock of a thread now, with the thread in the low 10 bits, and whether
  /// what it did at such a clock happened before what `lane` does now.
  uint64_t recordOf(unsigned warp, unsigned lane) const {
    return uint64_t(epoch) << 32 | record(warp, lane);
  }
  bool ordered(unsigned warp, unsigned lane, uint64_t rec) const {
    return rec >> 32 != epoch ||
           known(warps[warp], warp, lane, static_cast<uint32_t>(rec));
  }

  void exitLanes(unsigned warp, uint32_t lanes) { warps[warp].live &= ~lanes; }

private:
  static constexpr uint32_t lastClock = (1u << 22) - 2;
  static constexpr uint32_t past = 1;

  struct Warp {
    uint32_t clock = 1;
    uint32_t live = 0;
    Knowledge base; ///< of all lanes; of itself: its last synchronisation
    uint32_t extraLanes = 0;
    std::unique_ptr<std::array<Knowledge, 32>> extra; ///< of single lanes
  };

  /// By warp, a clock: after it the warp did nothing of a kind.
  using Latest = std::array<uint32_t, 32>;

  struct Earlier {
    uint32_t clock;
    uint32_t lane;
  };
  /// Who has accessed each granule in one way since its last plain store: by
  /// warp, the latest clock and the lanes that accessed it then.
  struct AccessSet {
    std::vector<uint32_t> clocks, lanes; ///< [warp][granule]
    /// By index in these: accesses of other lanes at earlier clocks, which not
    /// all of the warp know of.
    std::unordered_map<size_t, std::vector<Earlier>> earlier;
    std::vector<uint32_t> warps; ///< [granule]: warps that are in the lists
    std::vector<uint32_t> tags;  ///< [granule]: of the last access
    Latest newest{};
    bool used = false; ///< the lists are there
  };

  uint32_t record(unsigned warp, unsigned lane) const {
    return warps[warp].clock << 10 | warp << 5 | lane;
  }
  bool known(const Warp &warp, unsigned self, unsigned lane,
             uint32_t rec) const;
  bool isCoWriter(uint32_t granule, uint32_t thread) const;
  void tick(Warp &warp) { warp.clock += warp.clock < lastClock; }
  bool whole(const Warp &warp, uint32_t lanes) const {
    return (lanes & warp.live) == warp.live;
  }
  Knowledge &extraOf(Warp &warp, unsigned lane);
  void give(Knowledge &to, unsigned warp, uint32_t lanes) const;
  void take(const Knowledge &from, unsigned warp, uint32_t lanes);
  void restart();
  void forget();

  void need(AccessSet &set);
  void add(AccessSet &set, unsigned warp, uint32_t granule, uint32_t lanes,
           unsigned lane);
  void keepEarlier(AccessSet &set, size_t index, unsigned warp, uint32_t lanes,
                   unsigned lane);
  /// A racing access of the set, if any.
  bool conflict(const AccessSet &set, unsigned warp, unsigned lane,
                uint32_t granule, Race &race) const;
  bool behindWrite(unsigned warp, unsigned lane, uint32_t granule,
                   Race &race) const;
  bool behindAtomics(unsigned warp, unsigned lane, uint32_t granule,
                     Race &race) const;
  template <typename Silent, typename Equal>
  bool store(unsigned warp, uint32_t lanes, const uint32_t *address,
             unsigned size, Silent isSilent, Equal equal, Race &race);
  bool report(Race &race, uint32_t granule, unsigned lane, uint32_t other,
              uint32_t tag, bool otherWrote, bool thisWrites) const;

  struct Four;
  template <bool merge, typename CheckFour, typename CheckOne,
            typename CheckEach>
  bool visit(unsigned warp, uint32_t lanes, const uint32_t *address,
             unsigned size, CheckFour four, CheckOne one, CheckEach each) const;
  uint32_t unknown(const Latest &latest, const Warp &warp) const;
  bool isBehindWrites(const Warp &warp, const Four &four) const;
  bool isBehind(const AccessSet &set, uint32_t suspects, unsigned warp,
                const Four &four) const;
  struct Cells;
  Cells cellsOf(AccessSet &set, unsigned warp) const;

  unsigned shift = 2; ///< of a byte offset to its granule
  unsigned warpCount = 0;
  uint32_t granules = 0;
  uint32_t currentTag = 0;
  uint32_t oldClock;
  uint32_t epoch = 0;
  std::array<Warp, 32> warps;
  std::array<Knowledge, 16> barriers;
  /// [granule]: clock, warp and lane of the last plain store; 0 for none,
  /// `past` for one of an earlier epoch.
  std::vector<uint32_t> writes, writeTags;
  Latest newestWrite{};
  AccessSet reads, atomics, strongReads;
  /// Others that stored the same value, by granule: threads.
  std::unordered_map<uint32_t, std::vector<uint16_t>> coWriters;
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_RACES_H
