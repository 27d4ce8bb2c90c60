//===- RacesAccess.cpp - accesses to shared memory ------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each access is checked lane by lane and granule by granule, in that order. In
// front of it is a check of four granules in a row at a time, which takes what
// is common and clean and leaves all else to the first.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Races.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

using namespace nestc::ptx;

//===----------------------------------------------------------------------===//
// Four granules in a row
//===----------------------------------------------------------------------===//

namespace {

using Quad = uint32_t __attribute__((vector_size(16)));
/// What a comparison gives: each all ones or zero.
using Test = int32_t __attribute__((vector_size(16)));

} // namespace

/// Four granules in a row that an access touches.
struct Races::Four {
  uint32_t first;
  uint32_t offset; ///< of the first in the bytes of the request, lane by lane
  Quad lanes;      ///< that touch each
  Quad threads;    ///< the same as a thread; ~0 if they are several lanes
};

static inline Quad quadAt(const uint32_t *from) {
  Quad quad;
  std::memcpy(&quad, from, sizeof quad);
  return quad;
}
static inline void save(uint32_t *to, Quad quad) {
  std::memcpy(to, &quad, sizeof quad);
}
static inline bool any(Test test) {
  uint64_t halves[2];
  std::memcpy(halves, &test, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}
/// Clocks have no top bit: the comparison that every processor has will do.
static inline Test isAbove(Quad clocks, uint32_t clock) {
  return reinterpret_cast<Test>(clocks) > static_cast<int32_t>(clock);
}

//===----------------------------------------------------------------------===//
// Records of accesses
//===----------------------------------------------------------------------===//

/// A warp's lists of a set without any earlier accesses.
struct Races::Cells {
  uint32_t *clocks, *lanes, *warps, *tags;
  uint32_t warp, known, clock, tag;

  /// All that the list has is known.
  bool isOver(uint32_t granule) const {
    return !(warps[granule] & warp) || clocks[granule] <= known;
  }
  /// Adds lanes, unless something has to be kept for it.
  bool add(uint32_t granule, uint32_t who) const {
    if (isOver(granule)) {
      warps[granule] |= warp;
      clocks[granule] = clock;
      lanes[granule] = who;
    } else if (clocks[granule] == clock) {
      lanes[granule] |= who;
    } else {
      return false;
    }
    tags[granule] = tag;
    return true;
  }
  bool add(const Four &four) const {
    uint32_t at = four.first;
    Quad users = quadAt(warps + at), before = quadAt(clocks + at);
    Test isOver = (users & warp) == 0;
    isOver |= ~isAbove(before, known);
    if (any(~isOver & (before != clock)))
      return false;
    Quad kept = quadAt(lanes + at) & ~reinterpret_cast<Quad>(isOver);
    save(lanes + at, kept | four.lanes);
    save(clocks + at, Quad{} + clock);
    save(warps + at, users | warp);
    save(tags + at, Quad{} + tag);
    return true;
  }
};

inline Races::Cells Races::cellsOf(AccessSet &set, unsigned w) const {
  size_t first = size_t(w) * granules;
  return {set.clocks.data() + first,
          set.lanes.data() + first,
          set.warps.data(),
          set.tags.data(),
          1u << w,
          warps[w].base.all[w],
          warps[w].clock,
          currentTag};
}

/// Whether the access of a record happened before what `lane` does now. The
/// callers have looked at base.all already.
bool Races::known(const Warp &warp, unsigned self, unsigned lane,
                  uint32_t rec) const {
  uint32_t clock = rec >> 10;
  unsigned other = rec >> 5 & 31, otherLane = rec & 31;
  if ((rec & 1023) == (self << 5 | lane) || clock <= warp.base.all[other])
    return true;
  if (!warp.base.some.empty() && warp.base.of(other, otherLane) >= clock)
    return true;
  return warp.extraLanes >> lane & 1 &&
         (*warp.extra)[lane].of(other, otherLane) >= clock;
}

bool Races::isCoWriter(uint32_t granule, uint32_t thread) const {
  auto it = coWriters.find(granule);
  return it != coWriters.end() &&
         std::find(it->second.begin(), it->second.end(), thread) !=
             it->second.end();
}

bool Races::report(Race &race, uint32_t granule, unsigned lane, uint32_t other,
                   uint32_t tag, bool otherWrote, bool thisWrites) const {
  race.byte = granule << shift;
  race.lane = lane;
  race.otherWarp = other >> 5 & 31;
  race.otherLane = other & 31;
  race.otherTag = tag & ~copyTag;
  race.otherWrote = otherWrote;
  race.thisWrites = thisWrites;
  return true;
}

void Races::need(AccessSet &set) {
  if (set.used)
    return;
  set.used = true;
  set.clocks.resize(size_t(warpCount) * granules);
  set.lanes.resize(size_t(warpCount) * granules);
  set.warps.assign(granules, 0);
  set.tags.resize(granules);
  set.newest.fill(0);
}

/// Adds lanes to a set. Earlier accesses that `lane`, one of them, knows are
/// forgotten: whoever knows of the new one knows of them.
void Races::add(AccessSet &set, unsigned w, uint32_t granule, uint32_t lanes,
                unsigned lane) {
  const Cells cells = cellsOf(set, w);
  size_t index = size_t(w) * granules + granule;
  if (cells.isOver(granule))
    set.earlier.erase(index);
  else if (cells.clocks[granule] != cells.clock || !set.earlier.empty())
    keepEarlier(set, index, w, lanes, lane);
  cells.add(granule, lanes);
}

/// Brings a list to the clock of now. What else of before is not known to
/// `lane` is kept, except of these lanes, which access again.
void Races::keepEarlier(AccessSet &set, size_t index, unsigned w,
                        uint32_t lanes, unsigned lane) {
  const Warp &warp = warps[w];
  auto isOver = [&](const Earlier &each) {
    return lanes >> each.lane & 1 ||
           known(warp, w, lane, each.clock << 10 | w << 5 | each.lane);
  };
  std::vector<Earlier> &kept = set.earlier[index];
  kept.erase(std::remove_if(kept.begin(), kept.end(), isOver), kept.end());
  uint32_t &clock = set.clocks[index];
  if (clock != warp.clock) {
    for (uint32_t rest = set.lanes[index]; rest; rest &= rest - 1) {
      Earlier each = {clock, static_cast<uint32_t>(__builtin_ctz(rest))};
      if (!isOver(each))
        kept.push_back(each);
    }
    clock = warp.clock;
    set.lanes[index] = 0;
  }
  if (kept.empty())
    set.earlier.erase(index);
}

bool Races::conflict(const AccessSet &set, unsigned w, unsigned lane,
                     uint32_t granule, Race &race) const {
  const Warp &warp = warps[w];
  for (uint32_t rest = set.warps[granule]; rest; rest &= rest - 1) {
    unsigned other = __builtin_ctz(rest);
    size_t index = size_t(other) * granules + granule;
    if (set.clocks[index] <= warp.base.all[other])
      continue;
    auto races = [&](uint32_t clock, uint32_t otherLane) {
      uint32_t rec = clock << 10 | other << 5 | otherLane;
      return !known(warp, w, lane, rec) &&
             report(race, granule, lane, rec, set.tags[granule], false, true);
    };
    for (uint32_t lanes = set.lanes[index]; lanes; lanes &= lanes - 1)
      if (races(set.clocks[index], __builtin_ctz(lanes)))
        return true;
    if (__builtin_expect(set.earlier.empty(), 1))
      continue;
    if (auto it = set.earlier.find(index); it != set.earlier.end())
      for (const Earlier &each : it->second)
        if (races(each.clock, each.lane))
          return true;
  }
  return false;
}

/// A load of `lane` meets an atomic.
bool Races::behindAtomics(unsigned w, unsigned lane, uint32_t granule,
                          Race &race) const {
  if (!conflict(atomics, w, lane, granule, race))
    return false;
  race.otherWrote = true;
  race.thisWrites = false;
  return true;
}

/// The access is not ordered behind the last plain store.
bool Races::behindWrite(unsigned w, unsigned lane, uint32_t granule,
                        Race &race) const {
  uint32_t rec = writes[granule];
  if (known(warps[w], w, lane, rec) || isCoWriter(granule, w << 5 | lane))
    return false;
  return report(race, granule, lane, rec, writeTags[granule], true, false);
}

//===----------------------------------------------------------------------===//
// Requests
//===----------------------------------------------------------------------===//

/// Takes a request apart: into granules in a row for `four`, or granules of
/// some lanes for `one`. Where these say false, as they do where anything is
/// unusual, `each` checks the lanes from their beginning, one after the other.
/// `merge`: lanes at one address may go together.
template <bool merge, typename CheckFour, typename CheckOne, typename CheckEach>
inline bool Races::visit(unsigned w, uint32_t lanes, const uint32_t *address,
                         unsigned size, CheckFour four, CheckOne one,
                         CheckEach each) const {
  uint32_t count = size >> shift;
  // Where threads make a square, both halves of a warp read the same.
  bool twice = merge && lanes == ~0u && !std::memcmp(address, address + 16, 64);
  uint32_t mates = twice ? 0x10001 : 1;
  // Lanes in a group may make a row together.
  auto inGroups = [&](auto group) {
    uint32_t scattered = 0;
    for (uint32_t rest = twice ? 0xffff : lanes; rest;) {
      unsigned lane = __builtin_ctz(rest);
      uint32_t first = address[lane] >> shift;
      uint32_t run = ((1u << group) - 1) << lane;
      bool isRow = group > 1 && lane + group <= 32 && !(run & ~rest);
      for (unsigned l = 1; isRow && l < group; ++l)
        isRow = address[lane + l] == address[lane] + l * size;
      if (!merge && group > 1 && !isRow) {
        scattered |= 1u << lane;
        rest &= rest - 1;
        continue;
      }
      if (scattered && each(scattered))
        return true;
      scattered = 0;
      bool isClean = true;
      if (isRow) {
        rest &= ~run;
        Quad bits = group == 4 ? Quad{1, 2, 4, 8} : Quad{1, 1, 2, 2};
        Quad steps = group == 4 ? Quad{0, 1, 2, 3} : Quad{0, 0, 1, 1};
        Quad threads = steps + (w << 5 | lane);
        isClean = four({first, lane * size, bits * (mates << lane),
                        twice ? Quad{} + ~0u : threads});
      } else {
        run = 1u << lane;
        rest &= rest - 1;
        while (merge && rest && address[__builtin_ctz(rest)] == address[lane]) {
          run |= rest & -rest;
          rest &= rest - 1;
        }
        run *= mates;
        uint32_t thread = run & (run - 1) ? ~0u : w << 5 | lane;
        if (group > 1)
          for (uint32_t at = 0; at < 4 / group && isClean; ++at)
            isClean = one(first + at, run);
        else
          for (uint32_t at = 0; at < count && isClean; at += 4)
            isClean = four({first + at, lane * size + (at << shift),
                            Quad{} + run, Quad{} + thread});
      }
      if (isClean)
        continue;
      if (twice)
        return each(lanes);
      if (each(run))
        return true;
    }
    return scattered && each(scattered);
  };
  if (count == 1)
    return inGroups(std::integral_constant<unsigned, 4>());
  if (count == 2)
    return inGroups(std::integral_constant<unsigned, 2>());
  return inGroups(std::integral_constant<unsigned, 1>());
}

/// Warps of which something in such a list, as a rule none, is not known to all
/// of `warp`.
uint32_t Races::unknown(const Latest &latest, const Warp &warp) const {
  Test some{};
  for (unsigned w = 0; w < latest.size(); w += 4)
    some |= reinterpret_cast<Test>(quadAt(&latest[w])) >
            reinterpret_cast<Test>(quadAt(&warp.base.all[w]));
  uint32_t mask = 0;
  if (any(some))
    for (unsigned w = 0; w < latest.size(); ++w)
      mask |= uint32_t(latest[w] > warp.base.all[w]) << w;
  return mask;
}

/// The last stores are known, or the thread's own. Where several warps made
/// them, this is false.
inline bool Races::isBehindWrites(const Warp &warp, const Four &four) const {
  Quad rec = quadAt(&writes[four.first]);
  Test apart = ((rec ^ rec[0]) & 31u << 5) != 0;
  Test late = isAbove(rec >> 10, warp.base.all[rec[0] >> 5 & 31]);
  return !any(apart | (late & ((rec & 1023u) != four.threads)));
}

/// The accesses of a set are known, or the thread's own. `suspects` are the
/// warps with any others.
inline bool Races::isBehind(const AccessSet &set, uint32_t suspects, unsigned w,
                            const Four &four) const {
  if (!suspects)
    return true;
  if (!set.earlier.empty())
    return false;
  Quad users = quadAt(&set.warps[four.first]);
  uint32_t rest = (users[0] | users[1] | users[2] | users[3]) & suspects;
  for (; rest; rest &= rest - 1) {
    unsigned other = __builtin_ctz(rest);
    size_t index = size_t(other) * granules + four.first;
    Test late = (users & 1u << other) != 0;
    late &= isAbove(quadAt(&set.clocks[index]), warps[w].base.all[other]);
    if (other == w)
      late &= (quadAt(&set.lanes[index]) != four.lanes) | (four.threads == ~0u);
    if (any(late))
      return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Loads
//===----------------------------------------------------------------------===//

bool Races::read(unsigned w, uint32_t lanes, const uint32_t *address,
                 unsigned size, Race &race) {
  need(reads);
  const Warp &warp = warps[w];
  const uint32_t *all = warp.base.all.data();
  reads.newest[w] = warp.clock;
  bool fresh = unknown(newestWrite, warp) != 0;
  uint32_t suspects = atomics.used ? unknown(atomics.newest, warp) : 0;
  const Cells cells = cellsOf(reads, w);
  bool isSimple = reads.earlier.empty();
  auto isKnown = [&](uint32_t granule) {
    uint32_t rec = writes[granule];
    return (rec >> 10) <= all[rec >> 5 & 31];
  };
  auto four = [&](const Four &f) {
    return (!fresh || isBehindWrites(warp, f)) &&
           isBehind(atomics, suspects, w, f) && isSimple && cells.add(f);
  };
  auto one = [&](uint32_t granule, uint32_t run) {
    return (!fresh || isKnown(granule)) && !suspects && isSimple &&
           cells.add(granule, run);
  };
  auto each = [&](uint32_t run) {
    uint32_t count = size >> shift;
    for (; run; run &= run - 1) {
      unsigned lane = __builtin_ctz(run);
      uint32_t first = address[lane] >> shift;
      for (uint32_t granule = first; granule < first + count; ++granule) {
        if ((!isKnown(granule) && behindWrite(w, lane, granule, race)) ||
            (suspects && behindAtomics(w, lane, granule, race)))
          return true;
        add(reads, w, granule, 1u << lane, lane);
      }
    }
    return false;
  };
  return visit<true>(w, lanes, address, size, four, one, each);
}

bool Races::readAll(unsigned w, uint32_t lanes, const uint32_t *address,
                    unsigned size, Race &race) {
  need(reads);
  const Warp &warp = warps[w];
  const uint32_t *all = warp.base.all.data();
  reads.newest[w] = warp.clock;
  bool fresh = unknown(newestWrite, warp) != 0;
  uint32_t suspects = atomics.used ? unknown(atomics.newest, warp) : 0;
  const Cells cells = cellsOf(reads, w);
  bool isSimple = reads.earlier.empty();
  uint32_t count = size >> shift, live = warp.live;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    for (uint32_t granule = first; granule < first + count; ++granule) {
      uint32_t rec = writes[granule];
      bool isNew = fresh && (rec >> 10) > all[rec >> 5 & 31];
      if (__builtin_expect(isNew || suspects, 0))
        for (uint32_t readers = live; readers; readers &= readers - 1) {
          unsigned reader = __builtin_ctz(readers);
          if (behindWrite(w, reader, granule, race) ||
              (suspects && behindAtomics(w, reader, granule, race)))
            return true;
        }
      if (!isSimple || !cells.add(granule, live))
        add(reads, w, granule, live, lane);
    }
  }
  return false;
}

bool Races::readMany(unsigned w, unsigned lane, const uint32_t *address,
                     size_t count, unsigned size, bool remember, Race &race) {
  need(reads);
  const Warp &warp = warps[w];
  if (remember)
    reads.newest[w] = warp.clock;
  bool fresh = unknown(newestWrite, warp) != 0;
  bool suspects = atomics.used && unknown(atomics.newest, warp);
  for (const uint32_t *at = address; at != address + count; ++at) {
    uint32_t first = *at >> shift;
    for (uint32_t granule = first; granule < first + (size >> shift);
         ++granule) {
      if ((fresh && behindWrite(w, lane, granule, race)) ||
          (suspects && behindAtomics(w, lane, granule, race)))
        return true;
      if (remember)
        add(reads, w, granule, 1u << lane, lane);
    }
  }
  return false;
}

bool Races::atomicRead(unsigned w, uint32_t lanes, const uint32_t *address,
                       unsigned size, Race &race) {
  need(strongReads);
  strongReads.newest[w] = warps[w].clock;
  uint32_t count = size >> shift;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    for (uint32_t granule = first; granule < first + count; ++granule) {
      if (behindWrite(w, lane, granule, race))
        return true;
      add(strongReads, w, granule, 1u << lane, lane);
    }
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Stores
//===----------------------------------------------------------------------===//

template <unsigned bytes>
static void copyElements(const StoredValues &values, unsigned size,
                         uint8_t *to) {
  for (unsigned e = 0; e * bytes < size; ++e) {
    const auto *from = static_cast<const uint8_t *>(values.element[e]);
    for (unsigned l = 0; l < 32; ++l)
      std::memcpy(to + l * size + e * bytes, from + l * values.stride, bytes);
  }
}

/// The bytes that are stored, those of a lane together; in `buffer` if they are
/// not already.
static const uint8_t *bytesOf(const StoredValues &values, unsigned size,
                              uint8_t *buffer) {
  if (values.bytes == size && values.stride == size)
    return static_cast<const uint8_t *>(values.element[0]);
  switch (values.bytes) {
  case 1:
    copyElements<1>(values, size, buffer);
    break;
  case 2:
    copyElements<2>(values, size, buffer);
    break;
  case 4:
    copyElements<4>(values, size, buffer);
    break;
  default:
    copyElements<8>(values, size, buffer);
  }
  return buffer;
}

/// Which of `count` granules are the same.
template <unsigned bytes, unsigned count>
static inline unsigned equalOf(const uint8_t *a, const uint8_t *b) {
  unsigned equal = 0;
  for (unsigned i = 0; i < count; ++i)
    equal |= unsigned(!std::memcmp(a + i * bytes, b + i * bytes, bytes)) << i;
  return equal;
}
template <unsigned count>
static inline unsigned equalOf(unsigned shift, const uint8_t *a,
                               const uint8_t *b) {
  switch (shift) {
  case 0:
    return equalOf<1, count>(a, b);
  case 1:
    return equalOf<2, count>(a, b);
  case 2:
    return equalOf<4, count>(a, b);
  case 3:
    return equalOf<8, count>(a, b);
  default:
    return equalOf<16, count>(a, b);
  }
}

/// A plain store. `isSilent(lane, granule)` says whether an earlier store of
/// the same bytes is what it meets; equal(four) which of four have them.
template <typename Silent, typename Equal>
bool Races::store(unsigned w, uint32_t lanes, const uint32_t *address,
                  unsigned size, Silent isSilent, Equal equal, Race &race) {
  const Warp &warp = warps[w];
  const uint32_t *all = warp.base.all.data();
  AccessSet *sets[3];
  uint32_t suspects[3];
  unsigned setCount = 0;
  for (AccessSet *set : {&reads, &atomics, &strongReads})
    if (set->used) {
      suspects[setCount] = unknown(set->newest, warp);
      sets[setCount++] = set;
    }
  newestWrite[w] = warp.clock;
  auto four = [&](const Four &f) {
    if (!coWriters.empty())
      return false;
    Quad rec = quadAt(&writes[f.first]);
    if (any(rec != 0))
      if (unsigned same = equal(f))
        return same == 15 &&
               !any((rec == 0) | (((rec ^ f.threads) & 1023u) != 0));
    if (!isBehindWrites(warp, f))
      return false;
    for (unsigned s = 0; s < setCount; ++s)
      if (!isBehind(*sets[s], suspects[s], w, f))
        return false;
    for (unsigned s = 0; s < setCount; ++s)
      save(&sets[s]->warps[f.first], Quad{});
    save(&writes[f.first], warp.clock << 10 | f.threads);
    save(&writeTags[f.first], Quad{} + currentTag);
    return true;
  };
  auto one = [](uint32_t, uint32_t) { return false; };
  auto each = [&](uint32_t run) {
    uint32_t *const last = writes.data(), *const tags = writeTags.data();
    const uint32_t tag = currentTag, count = size >> shift;
    for (; run; run &= run - 1) {
      unsigned lane = __builtin_ctz(run);
      uint32_t first = address[lane] >> shift, mine = record(w, lane);
      for (uint32_t granule = first; granule < first + count; ++granule) {
        uint32_t rec = last[granule];
        // What changes nothing is no store to anybody; who made it may read it.
        if (rec && isSilent(lane, granule)) {
          if ((rec & 1023) != (w << 5 | lane))
            coWriters[granule].push_back(w << 5 | lane);
          continue;
        }
        if (__builtin_expect((rec >> 10) > all[rec >> 5 & 31], 0) &&
            behindWrite(w, lane, granule, race)) {
          race.thisWrites = true;
          return true;
        }
        if (__builtin_expect(!coWriters.empty(), 0))
          coWriters.erase(granule);
        for (unsigned s = 0; s < setCount; ++s) {
          uint32_t &users = sets[s]->warps[granule];
          if (users & suspects[s] &&
              conflict(*sets[s], w, lane, granule, race)) {
            race.otherWrote = sets[s] == &atomics;
            return true;
          }
          users = 0;
        }
        last[granule] = mine;
        tags[granule] = tag;
      }
    }
    return false;
  };
  return visit<false>(w, lanes, address, size, four, one, each);
}

bool Races::write(unsigned w, uint32_t lanes, const uint32_t *address,
                  unsigned size, const StoredValues &values,
                  const uint8_t *memory, Race &race) {
  uint8_t buffer[32 * 16];
  const uint8_t *bytes = values.bytes ? bytesOf(values, size, buffer) : nullptr;
  auto isSilent = [&](unsigned lane, uint32_t granule) {
    uint32_t first = granule << shift;
    auto bytesAt = [&](unsigned lane) {
      return bytes + lane * size + (first - address[lane]);
    };
    // A lane of this very store may have been there; memory is older than that.
    uint32_t rec = writes[granule];
    unsigned other = rec & 31;
    bool before = rec >> 5 == record(w, 0) >> 5 && other < lane &&
                  lanes >> other & 1 && first - address[other] < size;
    return bytes && equalOf<1>(shift, bytesAt(lane),
                               before ? bytesAt(other) : memory + first) != 0;
  };
  auto equal = [&](const Four &f) {
    return bytes ? equalOf<4>(shift, bytes + f.offset,
                              memory + (f.first << shift))
                 : 0;
  };
  return store(w, lanes, address, size, isSilent, equal, race);
}

bool Races::writeAsync(unsigned w, uint32_t lanes, const uint32_t *address,
                       unsigned size, Race &race) {
  return store(
      w, lanes, address, size, [](unsigned, uint32_t) { return false; },
      [](const Four &) { return 0u; }, race);
}

void Races::landAsync(unsigned w, unsigned lane, uint32_t address,
                      unsigned size) {
  uint32_t first = address >> shift;
  newestWrite[w] = warps[w].clock;
  for (uint32_t granule = first; granule < first + (size >> shift); ++granule) {
    writes[granule] = record(w, lane);
    writeTags[granule] = currentTag;
  }
}

bool Races::atomic(unsigned w, uint32_t lanes, const uint32_t *address,
                   unsigned size, Race &race) {
  need(atomics);
  atomics.newest[w] = warps[w].clock;
  uint32_t count = size >> shift;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    for (uint32_t granule = first; granule < first + count; ++granule) {
      if (behindWrite(w, lane, granule, race)) {
        race.thisWrites = true;
        return true;
      }
      if (reads.used && conflict(reads, w, lane, granule, race))
        return true;
      add(atomics, w, granule, 1u << lane, lane);
    }
  }
  return false;
}

//===----------------------------------------------------------------------===//
// The asynchronous proxy
//===----------------------------------------------------------------------===//

bool Races::unfenced(const Knowledge &fenced, uint32_t address, unsigned size,
                     Race &race) const {
  // Accesses of an earlier epoch were before a barrier of the whole block; of
  // those it is not known any more whether they were fenced.
  static const Knowledge nothing;
  const Knowledge &known = fenced.epoch == epoch ? fenced : nothing;
  uint32_t first = address >> shift;
  for (uint32_t granule = first; granule < first + (size >> shift); ++granule) {
    uint32_t rec = writes[granule];
    if (!(writeTags[granule] & copyTag) &&
        known.of(rec >> 5 & 31, rec & 31) < rec >> 10)
      return report(race, granule, 0, rec, writeTags[granule], true, false);
    if (!atomics.used)
      continue;
    for (uint32_t rest = atomics.warps[granule]; rest; rest &= rest - 1) {
      unsigned other = __builtin_ctz(rest);
      size_t index = size_t(other) * granules + granule;
      uint32_t clock = atomics.clocks[index];
      for (uint32_t lanes = atomics.lanes[index]; lanes; lanes &= lanes - 1) {
        uint32_t lane = __builtin_ctz(lanes);
        if (known.of(other, lane) < clock)
          return report(race, granule, 0, other << 5 | lane,
                        atomics.tags[granule], true, false);
      }
    }
  }
  return false;
}

bool Races::isFenced(const Knowledge &fenced, uint64_t rec) const {
  if (rec >> 32 != epoch)
    return true;
  uint32_t low = static_cast<uint32_t>(rec);
  return fenced.epoch == epoch &&
         fenced.of(low >> 5 & 31, low & 31) >= low >> 10;
}
