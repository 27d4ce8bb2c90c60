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
  newestWrite.fill(0);
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
    // Nobody needs an excuse for what all know.
    coWriters.clear();
    for (AccessSet *set : {&reads, &atomics, &strongReads})
      set->earlier.clear();
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
  auto takesPart = [&](unsigned w) {
    return lanes[w] || (ofBlock && !warps[w].live);
  };
  for (unsigned w = 0; w < warpCount; ++w)
    if (takesPart(w))
      give(joined, w, lanes[w]);
  for (unsigned w = 0; w < warpCount; ++w) {
    if (!takesPart(w))
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
