//===- RacesTest.cpp - data races in shared memory ------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The oracle is the definition itself: a vector clock per thread, with an entry
// for every thread, and per granule all accesses that were ever made.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Races.h"

#include "gtest/gtest.h"

#include <cstring>
#include <map>
#include <random>

using namespace nestc::ptx;

namespace {

constexpr unsigned warpCount = 3, threadCount = 96, memoryBytes = 64;

class Oracle {
public:
  Oracle() : clocks(threadCount, std::vector<uint32_t>(threadCount, 0)) {
    for (unsigned t = 0; t < threadCount; ++t)
      clocks[t][t] = 1;
  }

  enum Kind { Read, Write, Atomic };

  /// Whether the access races with an earlier one.
  bool access(unsigned thread, uint32_t granule, Kind kind) {
    bool race = false;
    for (const Access &each : accesses[granule]) {
      bool conflicts = kind != Read || each.kind != Read;
      bool bothAtomic = kind == Atomic && each.kind == Atomic;
      if (conflicts && !bothAtomic && each.thread != thread)
        race |= clocks[thread][each.thread] < each.clock;
    }
    accesses[granule].push_back({thread, clocks[thread][thread], kind});
    return race;
  }

  /// Threads learn of each other.
  void sync(const std::vector<unsigned> &threads) {
    std::vector<uint32_t> joined(threadCount, 0);
    for (unsigned t : threads)
      for (unsigned o = 0; o < threadCount; ++o)
        joined[o] = std::max(joined[o], clocks[t][o]);
    for (unsigned t : threads) {
      clocks[t] = joined;
      ++clocks[t][t];
    }
  }

  using Clock = std::vector<uint32_t>;
  void release(Clock &to, unsigned thread) {
    to.resize(threadCount);
    for (unsigned o = 0; o < threadCount; ++o)
      to[o] = std::max(to[o], clocks[thread][o]);
    ++clocks[thread][thread];
  }
  void acquire(const Clock &from, unsigned thread) {
    for (unsigned o = 0; o < from.size(); ++o)
      clocks[thread][o] = std::max(clocks[thread][o], from[o]);
  }

private:
  struct Access {
    unsigned thread;
    uint32_t clock;
    Kind kind;
  };
  std::vector<Clock> clocks;
  std::map<uint32_t, std::vector<Access>> accesses;
};

std::vector<unsigned> threadsOf(unsigned warp, uint32_t lanes) {
  std::vector<unsigned> threads;
  for (unsigned l = 0; l < 32; ++l)
    if (lanes >> l & 1)
      threads.push_back(warp * 32 + l);
  return threads;
}

/// A random program, run in both until the first race. Lanes come alone, in
/// halves or as whole warps.
class Trial {
public:
  Trial(uint32_t seed, bool partialSyncs)
      : random(seed), partial(partialSyncs) {
    races.reset(memoryBytes, 4, threadCount);
  }

  /// Steps until a race; whether the two agree, and whether there was one.
  bool run(bool &raced) {
    for (unsigned step = 0; step < 60; ++step) {
      bool mine = false, theirs = false;
      doStep(mine, theirs);
      EXPECT_EQ(mine, theirs) << "step " << step << ": " << what;
      if (mine != theirs)
        return false;
      if (mine) {
        raced = true;
        return true;
      }
    }
    return true;
  }

private:
  unsigned below(unsigned n) { return random() % n; }
  uint32_t someLanes() {
    switch (below(4)) {
    case 0:
      return ~0u;
    case 1:
      return below(2) ? 0xffffu : 0xffff0000u;
    default:
      return 1u << below(32);
    }
  }

  void doStep(bool &mine, bool &theirs) {
    unsigned warp = below(warpCount);
    switch (below(10)) {
    case 0: { // a barrier of the block
      what = "barrier";
      uint32_t all[32] = {~0u, ~0u, ~0u};
      races.sync(0, all, true);
      std::vector<unsigned> threads(threadCount);
      for (unsigned t = 0; t < threadCount; ++t)
        threads[t] = t;
      oracle.sync(threads);
      return;
    }
    case 1: { // a barrier of two warps
      what = "named barrier";
      uint32_t some[32] = {};
      std::vector<unsigned> threads;
      for (unsigned w = 0; w < warpCount; ++w)
        if (w != warp) {
          some[w] = ~0u;
          for (unsigned t : threadsOf(w, ~0u))
            threads.push_back(t);
        }
      races.sync(1, some, false);
      oracle.sync(threads);
      return;
    }
    case 2:
    case 3: {
      what = "warp sync";
      uint32_t lanes = partial ? someLanes() : ~0u;
      races.warpSync(warp, lanes);
      oracle.sync(threadsOf(warp, lanes));
      return;
    }
    case 4: {
      what = "release";
      uint32_t lanes = someLanes();
      unsigned flag = below(2);
      races.release(flags[flag], warp, lanes);
      for (unsigned t : threadsOf(warp, lanes))
        oracle.release(clocks[flag], t);
      return;
    }
    case 5: {
      what = "acquire";
      uint32_t lanes = someLanes();
      unsigned flag = below(2);
      races.acquire(flags[flag], warp, lanes);
      for (unsigned t : threadsOf(warp, lanes))
        oracle.acquire(clocks[flag], t);
      return;
    }
    default:
      access(warp, mine, theirs);
    }
  }

  void access(unsigned warp, bool &mine, bool &theirs) {
    // Few lanes and few words, so that there is something to race for.
    uint32_t lanes = 1u << below(32);
    if (below(2))
      lanes |= 1u << below(32);
    uint32_t address[32] = {};
    unsigned kind = below(5);
    bool several = (lanes & (lanes - 1)) != 0;
    uint32_t base = below(3);
    for (unsigned l = 0; l < 32; ++l)
      address[l] = 4 * (base + (several && kind >= 3 ? l % 8 : 0));
    if (kind >= 3 && several) // stores of different words
      lanes = (1u << below(8)) | (1u << (8 + below(8)));
    if (kind >= 3)
      for (unsigned l = 0; l < 32; ++l)
        address[l] = 4 * (base + (l >= 8));
    Race race;
    uint32_t values[32];
    for (unsigned l = 0; l < 32; ++l)
      values[l] = ++stored; // never the same twice
    StoredValues bytes;
    bytes.element[0] = values;
    bytes.bytes = bytes.stride = 4;
    Oracle::Kind how = kind < 2    ? Oracle::Read
                       : kind == 2 ? Oracle::Atomic
                                   : Oracle::Write;
    if (how == Oracle::Read) {
      what = "read";
      mine = races.read(warp, lanes, address, 4, race);
    } else if (how == Oracle::Atomic) {
      what = "atomic";
      mine = races.atomic(warp, lanes, address, 4, race);
    } else {
      what = "write";
      mine = races.write(warp, lanes, address, 4, bytes, memory, race);
      for (unsigned l = 0; l < 32; ++l)
        if (lanes >> l & 1)
          std::memcpy(memory + address[l], &values[l], 4);
    }
    for (unsigned t : threadsOf(warp, lanes))
      theirs |= oracle.access(t, address[t % 32] / 4, how);
  }

  std::mt19937 random;
  bool partial;
  Races races;
  Oracle oracle;
  Knowledge flags[2];
  Oracle::Clock clocks[2];
  uint8_t memory[memoryBytes] = {};
  uint32_t stored = 0;
  std::string what;
};

/// One word per lane.
struct Words {
  uint32_t address[32];
  explicit Words(uint32_t base = 0, uint32_t stride = 4) {
    for (unsigned l = 0; l < 32; ++l)
      address[l] = base + stride * l;
  }
};

} // namespace

TEST(PtxRaces, AgreesWithVectorClocks) {
  unsigned races = 0;
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    bool raced = false;
    ASSERT_TRUE(Trial(seed, seed & 1).run(raced)) << "seed " << seed;
    races += raced;
  }
  // Most programs race sooner or later, and some never do.
  EXPECT_GT(races, 5000u);
  EXPECT_LT(races, 20000u);
}

TEST(PtxRaces, NeighboursShareNoWord) {
  Races races;
  Race race;
  races.reset(256, 1, 64);
  Words bytes(0, 1);
  uint8_t memory[256] = {};
  EXPECT_FALSE(races.write(0, ~0u, bytes.address, 1, {}, memory, race));
  Words next(32, 1);
  EXPECT_FALSE(races.write(1, ~0u, next.address, 1, {}, memory, race));
  Words shifted(31, 1);
  ASSERT_TRUE(races.write(1, ~0u, shifted.address, 1, {}, memory, race));
  EXPECT_EQ(race.byte, 31u);
  EXPECT_EQ(race.otherWarp, 0);
  EXPECT_EQ(race.otherLane, 31);
  EXPECT_TRUE(race.otherWrote && race.thisWrites);
}

TEST(PtxRaces, EqualValuesAreNoRace) {
  Races races;
  Race race;
  races.reset(64, 4, 64);
  Words same(0, 0);
  uint32_t values[32], memory[16] = {};
  std::fill(values, values + 32, 7u);
  StoredValues stored;
  stored.element[0] = values;
  stored.bytes = stored.stride = 4;
  auto *bytes = reinterpret_cast<uint8_t *>(memory);
  EXPECT_FALSE(races.write(0, ~0u, same.address, 4, stored, bytes, race));
  memory[0] = 7;
  EXPECT_FALSE(races.write(1, ~0u, same.address, 4, stored, bytes, race));
  // Who stored it may read it; the value of another is a race.
  EXPECT_FALSE(races.read(0, ~0u, same.address, 4, race));
  values[3] = 8;
  EXPECT_TRUE(races.write(1, 1u << 3, same.address, 4, stored, bytes, race));
}

TEST(PtxRaces, MatricesAreReadByAllLanes) {
  Races races;
  Race race;
  races.reset(1024, 4, 64);
  Words rows(0, 16);
  uint8_t memory[1024] = {};
  EXPECT_FALSE(races.write(0, ~0u, rows.address, 16, {}, memory, race));
  ASSERT_TRUE(races.readAll(0, ~0u, rows.address, 16, race));
  races.reset(1024, 4, 64);
  EXPECT_FALSE(races.write(0, ~0u, rows.address, 16, {}, memory, race));
  races.warpSync(0, ~0u);
  EXPECT_FALSE(races.readAll(0, ~0u, rows.address, 16, race));
  EXPECT_TRUE(races.readAll(1, ~0u, rows.address, 16, race));
}

TEST(PtxRaces, CopiesCountFromTheirWait) {
  Races races;
  Race race;
  races.reset(64, 4, 64);
  Words words(0, 0);
  EXPECT_FALSE(races.writeAsync(0, 1, words.address, 4, race));
  uint32_t all[32] = {~0u, ~0u};
  races.sync(0, all, true); // before the wait: orders nothing
  races.landAsync(0, 0, 0, 4);
  EXPECT_TRUE(races.read(1, 1, words.address, 4, race));
  races.reset(64, 4, 64);
  EXPECT_FALSE(races.writeAsync(0, 1, words.address, 4, race));
  races.landAsync(0, 0, 0, 4);
  races.sync(0, all, true);
  EXPECT_FALSE(races.read(1, 1, words.address, 4, race));
}

TEST(PtxRaces, ArrivalBeforeTheOthersOfTheWarp) {
  // Lane 0 arrives for its warp without having synchronised with it.
  Races races;
  Race race;
  races.reset(256, 4, 64);
  Words words;
  uint8_t memory[256] = {};
  Knowledge full;
  EXPECT_FALSE(races.write(0, ~0u, words.address, 4, {}, memory, race));
  races.release(full, 0, 1);
  races.acquire(full, 1, ~0u);
  EXPECT_FALSE(races.read(1, 1, words.address, 4, race));
  EXPECT_TRUE(races.read(1, 2, words.address, 4, race));
}
