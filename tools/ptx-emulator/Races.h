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
// releases and acquires orders them. Warps have a scalar clock; what a thread
// knows of the others is kept per warp as long as the lanes of a warp know the
// same, and per thread where they do not, so that the verdict is that of full
// vector clocks over all threads.
//
// Deliberately lenient:
//  - A plain store of the bytes that are there already does not race with the
//    plain stores that put them there, nor do lanes of one store that write
//    equal bytes. The threads that stored the value may read it unordered.
//    What was before such a value is forgotten: a store of equal bytes is not
//    compared with reads and atomics that the first store was ordered after.
//  - A lane that has exited takes part in all that the live lanes of its warp
//    do together, and an exited warp in every barrier of the whole block.
//  - A clock that reaches 2^21 - 2 without a barrier of the whole block stops;
//    accesses may then look older than they are, and races be missed.
// After a race was found, further answers mean nothing until reset().
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_RACES_H
#define NESTC_TOOLS_PTX_EMULATOR_RACES_H

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace nestc {
namespace ptx {

/// Two accesses that nothing orders: that of the call and an earlier one.
struct Race {
  bool found = false;
  /// Offset in shared memory of the first byte of the granule.
  uint32_t byte = 0;
  /// The thread of the earlier access.
  uint8_t otherWarp = 0, otherLane = 0;
  bool otherWrote = false, thisWrites = false;
  /// The earlier access is an asynchronous copy that has not landed. Its issuer
  /// may be the thread itself.
  bool otherPending = false;
  /// The lane of the call's access.
  uint8_t lane = 0;
  /// The tag of the earlier access where tags are kept, else 0. Of several
  /// reads by a warp it is that of the last one which was new to the granule.
  uint32_t otherTag = 0;
};

/// For every thread of a block, the time up to which its accesses happened
/// before whoever holds this: what an mbarrier phase, a flag or a lock carries
/// from those who release into it to those who acquire it.
class Knowledge {
public:
  void clear() {
    all.fill(0);
    rowMask = 0;
    rows.clear();
  }

private:
  friend class Races;
  using Row = std::array<uint32_t, 32>;

  uint32_t of(unsigned warp, unsigned lane) const {
    uint32_t time = all[warp];
    if (rowMask >> warp & 1) {
      uint32_t more = row(warp)[lane];
      time = time < more ? more : time;
    }
    return time;
  }
  const Row &row(unsigned warp) const {
    return rows[__builtin_popcount(rowMask & ((1u << warp) - 1))];
  }
  Row &makeRow(unsigned warp);
  void raise(unsigned warp, unsigned lane, uint32_t time);
  void join(const Knowledge &other);
  void prune();

  /// By warp: known of all its lanes.
  std::array<uint32_t, 32> all{};
  /// Warps of which more is known for some lanes, and their rows in order.
  uint32_t rowMask = 0;
  std::vector<Row> rows;
  /// Clocks restart now and then; what was known before says nothing new.
  uint32_t era = 0;
};

/// The bytes of a store: element e of a lane lies at element[e] + lane *
/// stride. With `bytes` = 0 nothing is known of them and no store is excused.
struct StoredValues {
  const void *element[4] = {};
  /// Of an element.
  unsigned bytes = 0;
  unsigned stride = 0;
};

/// The accesses and the synchronisation of one block's threads. Calls are by
/// warp: `lanes` is the mask of the lanes that take part, `address` has 32 byte
/// offsets, of which those of other lanes are ignored. Addresses lie inside and
/// are aligned to `size`, the bytes of a lane: a power of two up to 16 and at
/// least the granule.
class Races {
public:
  /// With `keepTags` a race names the tag of the earlier access.
  explicit Races(bool keepTags = false);

  /// Starts a block; cheap unless the memory has to grow. `granule` is 1, 2 or
  /// 4, no more than the smallest access; `threads` is at most 1024.
  void reset(uint32_t bytes, unsigned granule, unsigned threads);

  /// Names the accesses that follow, for instance by line.
  void setTag(uint32_t tag) { currentTag = tag; }

  /// Plain accesses; true if there is a race.
  bool read(unsigned warp, uint32_t lanes, const uint32_t *address,
            unsigned size, Race &race);
  /// `memory` is the shared memory before this store, or null: then no store is
  /// excused for what it finds there.
  bool write(unsigned warp, uint32_t lanes, const uint32_t *address,
             unsigned size, const StoredValues &values, const uint8_t *memory,
             Race &race);
  /// What is at each lane's address is read by all live lanes (ldmatrix).
  bool readAll(unsigned warp, uint32_t lanes, const uint32_t *address,
               unsigned size, Race &race);

  /// Strong accesses, among which there are no races: read-modify-write and
  /// stores, and loads.
  bool atomic(unsigned warp, uint32_t lanes, const uint32_t *address,
              unsigned size, Race &race);
  bool atomicRead(unsigned warp, uint32_t lanes, const uint32_t *address,
                  unsigned size, Race &race);

  /// An asynchronous copy: from here until landAsync() every access is a race,
  /// also by the issuer; afterwards it counts as a store of that time.
  bool writeAsync(unsigned warp, uint32_t lanes, const uint32_t *address,
                  unsigned size, Race &race);
  void landAsync(unsigned warp, unsigned lane, uint32_t address, unsigned size);

  /// bar.warp.sync, once its lanes have all come.
  void warpSync(unsigned warp, uint32_t lanes);

  /// A barrier that completes: lanes[w] are those of warp w that wait at it.
  void blockBarrier(const uint32_t *lanes) { complete(lanes, nullptr); }
  /// The same for one of the 16 barriers with those who only arrived there.
  void sync(unsigned barrier, const uint32_t *lanes) {
    complete(lanes, &barriers[barrier]);
  }
  /// bar.arrive.
  void arrive(unsigned barrier, unsigned warp, uint32_t lanes) {
    release(barriers[barrier], warp, lanes);
  }

  /// Each of the lanes gives what it knows and has done, or takes it.
  void release(Knowledge &to, unsigned warp, uint32_t lanes);
  void acquire(const Knowledge &from, unsigned warp, uint32_t lanes);

  void exitLanes(unsigned warp, uint32_t lanes) { warps[warp].live &= ~lanes; }

private:
  struct Kernels;

  // A time is clock << 10; a record adds the thread (warp << 5 | lane), a limit
  // adds 1023: a record is known if it is at most the limit for its warp. All
  // are positive as int32_t.
  static constexpr uint32_t Tick = 1 << 10;
  static constexpr uint32_t Anyone = Tick - 1;
  static constexpr uint32_t Pending = 0x7FFFFC00;
  static constexpr uint32_t LastTime = Pending - Tick;
  static constexpr uint32_t RestartTime = 1 << 30;

  /// Lanes of a warp that know more than all of it does, and the same.
  struct Group {
    uint32_t lanes = 0;
    Knowledge more;
  };
  struct Warp {
    uint32_t now = Tick;
    uint32_t live = 0;
    /// The least of base.all.
    uint32_t floor = Anyone;
    /// Known to all lanes. For the warp itself: its last synchronisation.
    Knowledge base;
    std::vector<Group> groups;
  };

  /// Accesses of one kind of which there may be many unordered, since the last
  /// plain store. A cell is {time, lanes}, {time | 1, lanes} if `older` has
  /// accesses of the warp that are earlier and not known to the later ones.
  struct LaneSets {
    /// [warp][granule].
    std::vector<uint64_t> cells;
    /// [granule]: {latest time, warps}. Void if not after the block's floor.
    std::vector<uint64_t> summary;
    /// By granule << 5 | warp: records.
    std::unordered_map<uint32_t, std::vector<uint32_t>> older;
  };

  template <typename Visit>
  static void forEachRecord(const LaneSets &set, uint32_t granules,
                            unsigned warp, uint32_t granule, Visit visit);

  static uint32_t timeOf(uint64_t cell) {
    return static_cast<uint32_t>(cell >> 32);
  }
  /// The lanes with those that exited, if all live ones are there.
  static uint32_t withExited(const Warp &warp, uint32_t lanes) {
    return (lanes & warp.live) == warp.live ? ~0u : lanes;
  }
  void tick(Warp &warp) {
    if (warp.now < LastTime)
      warp.now += Tick;
  }
  void lift(Warp &warp);
  bool known(const Warp &warp, unsigned lane, uint32_t record) const;
  bool before(unsigned warp, unsigned lane, uint32_t record) const;
  void orderAll();
  void restart();
  void setEra(Knowledge &knowledge) const;
  void giveTo(Knowledge &to, unsigned warp, uint32_t lanes) const;
  void complete(const uint32_t *lanes, Knowledge *arrived);

  void add(LaneSets &set, unsigned warp, uint32_t granule, uint32_t lanes);
  template <typename Excuse>
  uint32_t findUnordered(const LaneSets &set, unsigned warp, unsigned lane,
                         uint32_t granule, Excuse excuse) const;
  bool special(uint32_t granule) const {
    return anySpecial && marks[granule] > blockFloor;
  }
  void mark(uint32_t granule, unsigned warp) {
    anySpecial = true;
    marks[granule] = std::max(marks[granule], warps[warp].now);
  }
  bool wrote(unsigned thread, uint32_t granule) const;
  bool readGranule(unsigned warp, uint32_t granule, uint32_t lanes, Race &race);
  bool report(Race &race, uint32_t granule, unsigned lane, uint32_t other,
              bool otherWrote, bool thisWrites, const LaneSets *set) const;
  template <typename Equal>
  bool checkWrite(unsigned warp, unsigned lane, uint32_t granule, Equal equal,
                  bool &excused, Race &race) const;
  bool writeSlowly(unsigned warp, uint32_t lanes, const uint32_t *address,
                   unsigned size, const StoredValues *values,
                   const uint8_t *memory, bool async, Race &race);
  bool mergeEqual(unsigned warp, uint32_t lanes, const uint32_t *address,
                  unsigned size, const StoredValues *values, Race &race);
  void tagReads(unsigned warp, uint32_t lanes, const uint32_t *address,
                unsigned size);
  void tagWrites(uint32_t lanes, const uint32_t *address, unsigned size);

  unsigned shift = 2;
  unsigned warpCount = 0;
  uint32_t granules = 0;
  bool keepTags;
  uint32_t currentTag = 0;

  /// Limit: everything up to here is before everything to come.
  uint32_t blockFloor = Anyone;
  uint32_t era = 0;
  /// Granules of copies under way.
  uint64_t pending = 0;
  std::array<Warp, 32> warps;
  std::array<Knowledge, 16> barriers;

  /// [granule]: the last plain store.
  std::vector<uint32_t> writes;
  LaneSets reads;
  /// Since the last barrier of the block some granule had more than plain
  /// stores by one thread and plain reads: those with a mark above blockFloor.
  bool anySpecial = false;
  std::vector<uint32_t> marks;
  LaneSets atomics, atomicReads;
  /// Others that stored the value of `writes`, by granule.
  std::unordered_map<uint32_t, std::vector<uint32_t>> coWriters;

  /// [granule], [warp][granule]; empty without keepTags.
  std::vector<uint32_t> writeTags, readTags;
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_RACES_H
