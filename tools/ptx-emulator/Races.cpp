//===- Races.cpp - data races in shared memory ----------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Races.h"

#include <algorithm>
#include <cstring>

using namespace nestc::ptx;

//===----------------------------------------------------------------------===//
// Knowledge
//===----------------------------------------------------------------------===//

uint32_t Knowledge::of(unsigned warp, unsigned lane) const {
  uint16_t thread = warp << 5 | lane;
  auto it = std::lower_bound(some.begin(), some.end(),
                             std::make_pair(thread, uint32_t(0)));
  uint32_t clock = all[warp];
  return it != some.end() && it->first == thread ? std::max(clock, it->second)
                                                 : clock;
}

void Knowledge::raise(unsigned warp, unsigned lane, uint32_t clock) {
  if (clock <= all[warp])
    return;
  uint16_t thread = warp << 5 | lane;
  auto it = std::lower_bound(some.begin(), some.end(),
                             std::make_pair(thread, uint32_t(0)));
  if (it != some.end() && it->first == thread)
    it->second = std::max(it->second, clock);
  else
    some.insert(it, {thread, clock});
}

void Knowledge::join(const Knowledge &other) {
  for (unsigned w = 0; w < all.size(); ++w)
    all[w] = std::max(all[w], other.all[w]);
  for (auto [thread, clock] : other.some)
    raise(thread >> 5, thread & 31, clock);
  some.erase(std::remove_if(some.begin(), some.end(),
                            [&](const std::pair<uint16_t, uint32_t> &each) {
                              return each.second <= all[each.first >> 5];
                            }),
             some.end());
}

//===----------------------------------------------------------------------===//
// Blocks and synchronisation
//===----------------------------------------------------------------------===//

void Races::reset(uint32_t bytes, unsigned granule, unsigned threads) {
  shift = __builtin_ctz(granule);
  granules = bytes >> shift;
  warpCount = (threads + 31) / 32;
  for (unsigned w = 0; w < warpCount; ++w) {
    unsigned rest = threads - w * 32;
    warps[w].live = rest >= 32 ? ~0u : (1u << rest) - 1;
  }
  writes.resize(granules);
  writeTags.resize(granules);
  std::fill(writes.begin(), writes.end(), 0);
  forget();
}

/// A barrier of the whole block at which clocks begin again. That something was
/// stored is kept: a store of the same bytes remains none.
void Races::restart() {
  for (uint32_t &rec : writes)
    rec = rec ? past : 0;
  forget();
}

/// Begins an epoch in which nothing has been accessed yet.
void Races::forget() {
  ++epoch;
  for (unsigned w = 0; w < warpCount; ++w) {
    warps[w].clock = 1;
    warps[w].base.clear();
    warps[w].extraLanes = 0;
  }
  for (Knowledge &barrier : barriers)
    barrier.clear();
  for (AccessSet *set : {&reads, &atomics, &strongReads}) {
    if (set->used)
      std::fill(set->warps.begin(), set->warps.end(), 0);
    set->earlier.clear();
    set->used = false;
  }
  coWriters.clear();
}

Knowledge &Races::extraOf(Warp &warp, unsigned lane) {
  if (!warp.extra)
    warp.extra = std::make_unique<std::array<Knowledge, 32>>();
  Knowledge &extra = (*warp.extra)[lane];
  if (!(warp.extraLanes >> lane & 1))
    extra.clear();
  warp.extraLanes |= 1u << lane;
  return extra;
}

/// What these lanes know and have done; with the last of a warp also those that
/// have exited.
void Races::give(Knowledge &to, unsigned w, uint32_t lanes) const {
  const Warp &warp = warps[w];
  to.join(warp.base);
  uint32_t givers = whole(warp, lanes) ? ~0u : lanes;
  for (uint32_t rest = warp.extraLanes & givers; rest; rest &= rest - 1)
    to.join((*warp.extra)[__builtin_ctz(rest)]);
  if (whole(warp, lanes))
    to.all[w] = std::max(to.all[w], warp.clock);
  else
    for (uint32_t rest = lanes; rest; rest &= rest - 1)
      to.raise(w, __builtin_ctz(rest), warp.clock);
}

void Races::release(Knowledge &to, unsigned w, uint32_t lanes) {
  if (to.epoch != epoch)
    to.clear();
  to.epoch = epoch;
  give(to, w, lanes);
  tick(warps[w]);
}

void Races::acquire(const Knowledge &from, unsigned w, uint32_t lanes) {
  // What was released in an earlier epoch happened before all of this one.
  if (from.epoch == epoch)
    take(from, w, lanes);
}

void Races::take(const Knowledge &from, unsigned w, uint32_t lanes) {
  Warp &warp = warps[w];
  if (whole(warp, lanes)) {
    warp.base.join(from);
    return;
  }
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    extraOf(warp, __builtin_ctz(rest)).join(from);
}

void Races::warpSync(unsigned w, uint32_t lanes) {
  Warp &warp = warps[w];
  if (whole(warp, lanes)) {
    for (uint32_t rest = warp.extraLanes; rest; rest &= rest - 1)
      warp.base.join((*warp.extra)[__builtin_ctz(rest)]);
    warp.extraLanes = 0;
    warp.base.all[w] = warp.clock;
    tick(warp);
    return;
  }
  Knowledge shared;
  give(shared, w, lanes);
  for (uint32_t rest = lanes; rest; rest &= rest - 1)
    extraOf(warp, __builtin_ctz(rest)).join(shared);
  tick(warp);
}

void Races::sync(unsigned barrier, const uint32_t *lanes, bool ofBlock) {
  bool everybody = true, old = false;
  for (unsigned w = 0; w < warpCount; ++w) {
    everybody &= whole(warps[w], lanes[w]) && (lanes[w] || ofBlock);
    old |= warps[w].clock > oldClock;
  }
  if (everybody) {
    barriers[barrier].clear();
    if (old)
      return restart(); // nothing before can race any more
    std::array<uint32_t, 32> now{};
    for (unsigned w = 0; w < warpCount; ++w)
      now[w] = warps[w].clock;
    for (unsigned w = 0; w < warpCount; ++w) {
      warps[w].base.all = now;
      warps[w].base.some.clear();
      warps[w].extraLanes = 0;
      tick(warps[w]);
    }
    return;
  }
  Knowledge joined = barriers[barrier];
  barriers[barrier].clear();
  for (unsigned w = 0; w < warpCount; ++w)
    if (lanes[w] || (ofBlock && !warps[w].live))
      give(joined, w, lanes[w]);
  for (unsigned w = 0; w < warpCount; ++w) {
    if (!lanes[w])
      continue;
    Warp &warp = warps[w];
    if (whole(warp, lanes[w])) {
      warp.base.join(joined);
      warp.extraLanes = 0;
    } else {
      take(joined, w, lanes[w]);
    }
    tick(warp);
  }
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

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
  race.otherTag = tag;
  race.otherWrote = otherWrote;
  race.thisWrites = thisWrites;
  return true;
}

void Races::need(AccessSet &set) {
  if (set.used)
    return;
  set.used = true;
  set.cells.resize(size_t(warpCount) * granules);
  set.warps.assign(granules, 0);
  set.tags.resize(granules);
}

/// Adds lanes to a set. Earlier accesses that `lane`, one of them, knows are
/// forgotten: whoever knows of the new one knows of them.
inline void Races::add(AccessSet &set, unsigned w, uint32_t granule,
                       uint32_t lanes, unsigned lane) {
  size_t index = size_t(w) * granules + granule;
  Cell &cell = set.cells[index];
  Warp &warp = warps[w];
  uint32_t &users = set.warps[granule];
  set.tags[granule] = currentTag;
  if (!(users >> w & 1) || cell.clock <= warp.base.all[w]) {
    users |= 1u << w;
    cell = {warp.clock, lanes};
    if (__builtin_expect(!set.earlier.empty(), 0))
      set.earlier.erase(index);
    return;
  }
  if (__builtin_expect(cell.clock != warp.clock, 0)) {
    keepEarlier(set, index, w, lanes, lane);
    cell = {warp.clock, 0};
  }
  cell.lanes |= lanes;
}

/// A cell is about to go on to the clock of now.
void Races::keepEarlier(AccessSet &set, size_t index, unsigned w,
                        uint32_t lanes, unsigned lane) {
  const Warp &warp = warps[w];
  auto isOver = [&](const Earlier &each) {
    return lanes >> each.lane & 1 ||
           known(warp, w, lane, each.clock << 10 | w << 5 | each.lane);
  };
  std::vector<Earlier> &kept = set.earlier[index];
  kept.erase(std::remove_if(kept.begin(), kept.end(), isOver), kept.end());
  Cell cell = set.cells[index];
  for (uint32_t rest = cell.lanes; rest; rest &= rest - 1) {
    Earlier each = {cell.clock, static_cast<uint32_t>(__builtin_ctz(rest))};
    if (!isOver(each))
      kept.push_back(each);
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
    const Cell &cell = set.cells[index];
    if (cell.clock <= warp.base.all[other])
      continue;
    auto races = [&](uint32_t clock, uint32_t otherLane) {
      uint32_t rec = clock << 10 | other << 5 | otherLane;
      return !known(warp, w, lane, rec) &&
             report(race, granule, lane, rec, set.tags[granule], false, true);
    };
    for (uint32_t lanes = cell.lanes; lanes; lanes &= lanes - 1)
      if (races(cell.clock, __builtin_ctz(lanes)))
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

bool Races::read(unsigned w, uint32_t lanes, const uint32_t *address,
                 unsigned size, Race &race) {
  need(reads);
  Warp &warp = warps[w];
  const uint32_t *all = warp.base.all.data();
  uint32_t count = size >> shift;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    for (uint32_t granule = first; granule < first + count; ++granule) {
      uint32_t rec = writes[granule];
      if (__builtin_expect((rec >> 10) > all[rec >> 5 & 31], 0) &&
          behindWrite(w, lane, granule, race))
        return true;
      if (__builtin_expect(atomics.used, 0) &&
          behindAtomics(w, lane, granule, race))
        return true;
      add(reads, w, granule, 1u << lane, lane);
    }
  }
  return false;
}

bool Races::readAll(unsigned w, uint32_t lanes, const uint32_t *address,
                    unsigned size, Race &race) {
  need(reads);
  Warp &warp = warps[w];
  const uint32_t *all = warp.base.all.data();
  uint32_t count = size >> shift;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    for (uint32_t granule = first; granule < first + count; ++granule) {
      uint32_t rec = writes[granule];
      bool isNew = (rec >> 10) > all[rec >> 5 & 31];
      if (__builtin_expect(isNew || atomics.used, 0))
        for (uint32_t readers = warp.live; readers; readers &= readers - 1) {
          unsigned reader = __builtin_ctz(readers);
          if (behindWrite(w, reader, granule, race) ||
              (atomics.used && behindAtomics(w, reader, granule, race)))
            return true;
        }
      add(reads, w, granule, warp.live, lane);
    }
  }
  return false;
}

/// A plain store. `isSilent(lane, granule)` says whether an earlier store of
/// the same bytes is what it meets.
template <typename Silent>
bool Races::store(unsigned w, uint32_t lanes, const uint32_t *address,
                  unsigned size, Silent isSilent, Race &race) {
  const uint32_t *all = warps[w].base.all.data();
  uint32_t count = size >> shift;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint32_t first = address[lane] >> shift;
    uint32_t mine = record(w, lane);
    for (uint32_t granule = first; granule < first + count; ++granule) {
      uint32_t rec = writes[granule];
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
      if (reads.used && reads.warps[granule]) {
        if (conflict(reads, w, lane, granule, race))
          return true;
        reads.warps[granule] = 0;
      }
      if (__builtin_expect(atomics.used, 0)) {
        if (conflict(atomics, w, lane, granule, race)) {
          race.otherWrote = true;
          return true;
        }
        atomics.warps[granule] = 0;
      }
      if (__builtin_expect(strongReads.used, 0)) {
        if (conflict(strongReads, w, lane, granule, race))
          return true;
        strongReads.warps[granule] = 0;
      }
      writes[granule] = mine;
      writeTags[granule] = currentTag;
    }
  }
  return false;
}

bool Races::write(unsigned w, uint32_t lanes, const uint32_t *address,
                  unsigned size, const StoredValues &values,
                  const uint8_t *memory, Race &race) {
  auto byteOf = [&](unsigned lane, uint32_t at) {
    uint32_t offset = at - address[lane];
    return static_cast<const uint8_t *>(
        values.element[offset / values.bytes])[lane * values.stride +
                                               offset % values.bytes];
  };
  auto isSilent = [&](unsigned lane, uint32_t granule) {
    if (!values.bytes)
      return false;
    uint32_t first = granule << shift, bytes = 1u << shift;
    // A lane of this very store may have been there; memory is older than that.
    uint32_t rec = writes[granule];
    unsigned other = rec & 31;
    bool before = rec >> 5 == record(w, 0) >> 5 && other < lane &&
                  lanes >> other & 1 && first - address[other] < size;
    for (uint32_t at = first; at < first + bytes; ++at)
      if ((before ? byteOf(other, at) : memory[at]) != byteOf(lane, at))
        return false;
    return true;
  };
  return store(w, lanes, address, size, isSilent, race);
}

bool Races::writeAsync(unsigned w, uint32_t lanes, const uint32_t *address,
                       unsigned size, Race &race) {
  return store(
      w, lanes, address, size, [](unsigned, uint32_t) { return false; }, race);
}

void Races::landAsync(unsigned w, unsigned lane, uint32_t address,
                      unsigned size) {
  uint32_t first = address >> shift;
  for (uint32_t granule = first; granule < first + (size >> shift); ++granule) {
    writes[granule] = record(w, lane);
    writeTags[granule] = currentTag;
  }
}

bool Races::atomic(unsigned w, uint32_t lanes, const uint32_t *address,
                   unsigned size, Race &race) {
  need(atomics);
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

bool Races::atomicRead(unsigned w, uint32_t lanes, const uint32_t *address,
                       unsigned size, Race &race) {
  need(strongReads);
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
