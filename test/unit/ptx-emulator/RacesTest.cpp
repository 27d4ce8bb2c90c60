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
#include "tools/ptx-emulator/GlobalRaces.h"

#include "gtest/gtest.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

using namespace nestc::ptx;

namespace {

constexpr unsigned warpCount = 3, threadCount = 96, memoryBytes = 576;

class Oracle {
public:
  enum Kind { Read, StrongRead, Atomic, Write };
  using Clock = std::array<uint32_t, threadCount>;

  struct Access {
    unsigned thread;
    uint32_t clock;
    Kind kind;
    uint32_t tag;
  };
  /// Two accesses to a granule that nothing orders.
  struct Pair {
    uint32_t granule;
    unsigned thread;
    Kind kind;
    Access other;
  };

  /// With `values`, stores of equal bytes are none: who made one may do as if
  /// it had been the store that it meets; what lies behind a store is settled.
  explicit Oracle(bool values) : values(values), clocks(threadCount) {
    for (unsigned t = 0; t < threadCount; ++t) {
      clocks[t].fill(0);
      clocks[t][t] = 1;
    }
  }

  /// Adds to `pairs` what the access races with.
  void access(unsigned thread, uint32_t granule, Kind kind, uint32_t tag,
              std::vector<Pair> &pairs) {
    Granule &g = granules[granule];
    bool mayStay = isIn(g.coWriters, thread);
    for (const Access &each : g.accesses) {
      bool conflicts = std::max(kind, each.kind) == Write ||
                       (kind == Atomic && each.kind == Read) ||
                       (kind == Read && each.kind == Atomic);
      if (conflicts && each.thread != thread &&
          clocks[thread][each.thread] < each.clock &&
          !(mayStay && each.kind == Write))
        pairs.push_back({granule, thread, kind, each});
    }
    add(thread, granule, kind, tag);
  }
  /// A store that no one can meet: a copy lands.
  void land(unsigned thread, uint32_t granule, uint32_t tag) {
    add(thread, granule, Write, tag);
  }
  bool wasStored(uint32_t granule) const { return granules[granule].stored; }
  void storeEqual(unsigned thread, uint32_t granule) {
    remember(granule);
    granules[granule].coWriters.push_back(thread);
  }

  /// Accesses since `keep` never were.
  void keep() { log.clear(); }
  void undo() {
    for (; !log.empty(); log.pop_back()) {
      Change &last = log.back();
      Granule &g = granules[last.granule];
      if (last.isWhole) {
        g = std::move(last.before);
        continue;
      }
      g.accesses.resize(last.accesses);
      g.coWriters.resize(last.coWriters);
      g.stored = last.before.stored;
    }
  }

  /// Threads learn of each other, and of what was left.
  void sync(const std::vector<unsigned> &threads, const Clock &left = {}) {
    Clock joined = left;
    for (unsigned t : threads)
      raise(joined, clocks[t]);
    for (unsigned t : threads) {
      raise(clocks[t], joined);
      ++clocks[t][t];
    }
  }
  void release(Clock &to, const std::vector<unsigned> &threads) {
    for (unsigned t : threads) {
      raise(to, clocks[t]);
      ++clocks[t][t];
    }
  }
  void acquire(const Clock &from, const std::vector<unsigned> &threads) {
    for (unsigned t : threads)
      raise(clocks[t], from);
  }

private:
  struct Granule {
    std::vector<Access> accesses;
    std::vector<unsigned> coWriters;
    bool stored = false;
  };
  /// How a granule was before: as long, or all of it.
  struct Change {
    uint32_t granule = 0;
    size_t accesses = 0, coWriters = 0;
    bool isWhole = false;
    Granule before;
  };

  static bool isIn(const std::vector<unsigned> &list, unsigned each) {
    return std::find(list.begin(), list.end(), each) != list.end();
  }
  static void raise(Clock &to, const Clock &from) {
    for (unsigned t = 0; t < threadCount; ++t)
      to[t] = std::max(to[t], from[t]);
  }
  void remember(uint32_t granule) {
    const Granule &g = granules[granule];
    Change &change = log.emplace_back();
    change.granule = granule;
    change.accesses = g.accesses.size();
    change.coWriters = g.coWriters.size();
    change.before.stored = g.stored;
  }
  void add(unsigned thread, uint32_t granule, Kind kind, uint32_t tag) {
    Granule &g = granules[granule];
    remember(granule);
    if (kind == Write) {
      if (values) {
        log.back().isWhole = true;
        log.back().before = std::move(g);
        g = Granule();
      }
      g.stored = true;
    }
    g.accesses.push_back({thread, clocks[thread][thread], kind, tag});
  }

  bool values;
  std::vector<Clock> clocks;
  std::array<Granule, memoryBytes> granules;
  std::vector<Change> log;
};

/// A random program, run in both until the first race. Lanes come alone, in
/// halves or as whole warps, and some of them often.
class Trial {
public:
  explicit Trial(uint32_t seed)
      : random(seed), partial(seed & 1), values(seed & 2),
        granule(1 << below(5)),
        threads(below(2) ? threadCount : threadCount - 11),
        races(below(2) ? 1 + below(6) : ~0u), oracle(values) {
    races.reset(memoryBytes, granule, threads);
    for (unsigned w = 0; w < warpCount; ++w)
      live[w] = present(w);
    for (unsigned &lane : favourites)
      lane = below(32);
  }

  /// Steps until a race; whether the two agree, and whether there was one.
  bool run(bool &raced) {
    for (step = 1; step <= 60; ++step) {
      race = Race();
      pairs.clear();
      found = false;
      races.setTag(step);
      doStep();
      bool agree = found == !pairs.empty() && (!found || isReported());
      EXPECT_TRUE(agree) << "step " << step << ": " << what << ", expected "
                         << pairs.size() << " races, found " << found
                         << " at byte " << race.byte;
      if (!agree)
        return false;
      raced = found;
      if (found)
        return true;
    }
    return true;
  }

private:
  using Threads = std::vector<unsigned>;

  unsigned below(unsigned n) { return random() % n; }
  uint32_t present(unsigned warp) const {
    unsigned rest = threads - warp * 32;
    return rest >= 32 ? ~0u : (1u << rest) - 1;
  }
  uint32_t oneLane() {
    return 1u << (below(4) ? favourites[below(3)] : below(32));
  }
  uint32_t someLanes() {
    switch (below(4)) {
    case 0:
      return ~0u;
    case 1:
      return below(2) ? 0xffffu : 0xffff0000u;
    default:
      return oneLane();
    }
  }
  static void addThreads(Threads &list, unsigned warp, uint32_t lanes) {
    for (unsigned l = 0; l < 32; ++l)
      if (lanes >> l & 1)
        list.push_back(warp * 32 + l);
  }
  /// Those that take part when these lanes do: with all that are left, those
  /// that have exited.
  void addParticipants(Threads &list, unsigned warp, uint32_t lanes) const {
    bool whole = (lanes & live[warp]) == live[warp];
    addThreads(list, warp, whole ? present(warp) : lanes);
  }
  Threads participants(unsigned warp, uint32_t lanes) const {
    Threads list;
    addParticipants(list, warp, lanes);
    return list;
  }

  void doStep() {
    unsigned warp = below(warpCount);
    uint32_t lanes = someLanes() & live[warp];
    if (!lanes)
      return;
    unsigned flag = below(2);
    switch (below(22)) {
    case 0:
    case 1: { // some of a warp may only arrive
      what = "barrier";
      uint32_t waiting[32] = {};
      std::copy(live, live + warpCount, waiting);
      if (!below(4)) {
        waiting[warp] &= ~lanes;
        races.arrive(0, warp, lanes);
        oracle.release(left[0], participants(warp, lanes));
      }
      barrier(0, waiting, true);
      return;
    }
    case 2: {
      what = "named barrier";
      uint32_t waiting[32] = {};
      for (unsigned w = 0; w < warpCount; ++w)
        if (w != warp)
          waiting[w] = live[w] & (partial ? someLanes() : ~0u);
      if (below(2)) {
        races.arrive(1, warp, lanes);
        oracle.release(left[1], participants(warp, lanes));
      }
      barrier(1, waiting, false);
      return;
    }
    case 3:
    case 4: {
      what = "warp sync";
      if (!partial)
        lanes = live[warp];
      races.warpSync(warp, lanes);
      oracle.sync(participants(warp, lanes));
      return;
    }
    case 5:
    case 6:
      what = "release";
      races.release(flags[flag], warp, lanes);
      oracle.release(clocks[flag], participants(warp, lanes));
      return;
    case 7:
    case 8:
      what = "acquire";
      races.acquire(flags[flag], warp, lanes);
      oracle.acquire(clocks[flag], participants(warp, lanes));
      return;
    case 9:
      what = "exit";
      if (below(4))
        return;
      races.exitLanes(warp, lanes);
      live[warp] &= ~lanes;
      return;
    case 10:
      return startCopy(warp);
    case 11:
      return land();
    default:
      access(warp);
    }
  }

  void barrier(unsigned id, const uint32_t *waiting, bool ofBlock) {
    Threads list;
    for (unsigned w = 0; w < warpCount; ++w)
      if (waiting[w] || (ofBlock && !live[w]))
        addParticipants(list, w, waiting[w]);
    races.sync(id, waiting, ofBlock);
    oracle.sync(list, left[id]);
    left[id] = {};
  }

  /// Who touches how much, and where.
  struct Request {
    uint32_t lanes = 0;
    unsigned size = 0;
    uint32_t address[32] = {};
  };

  Request makeRequest(unsigned warp) {
    Request r;
    r.size = std::min(16u, granule << (below(4) ? below(3) : below(5)));
    uint32_t base = below(3);
    unsigned pattern = below(8);
    switch (pattern) { // few lanes and few words, so that they meet
    case 0:
    case 1:
    case 2:
      r.lanes = oneLane() | (below(2) ? oneLane() : 0);
      break;
    case 3:
      r.lanes = (1u << below(8)) | (1u << (8 + below(8)));
      break;
    default:
      r.lanes = below(2) ? ~0u : below(2) ? someLanes() : random();
    }
    r.lanes &= live[warp];
    for (unsigned l = 0; l < 32; ++l) {
      unsigned at = pattern <= 2   ? 0
                    : pattern == 3 ? l >= 8
                    : pattern == 4 ? l % 16
                    : pattern == 5 ? (l * 5 + 3) % 32
                    : pattern == 6 ? l / 8
                                   : l;
      r.address[l] = (base + at) * r.size;
    }
    return r;
  }
  bool meetsCopy(const Request &r) const {
    for (const Copy &copy : copies)
      for (unsigned l = 0; l < 32; ++l)
        for (unsigned o = 0; o < 32; ++o)
          if (r.lanes >> l & 1 && copy.lanes >> o & 1 &&
              r.address[l] < copy.address[o] + copy.size &&
              copy.address[o] < r.address[l] + r.size)
            return true;
    return false;
  }
  template <typename F>
  void forGranules(const Request &r, F f) {
    for (unsigned l = 0; l < 32; ++l)
      if (r.lanes >> l & 1)
        for (uint32_t at = r.address[l]; at < r.address[l] + r.size;
             at += granule)
          f(l, at);
  }
  /// Programs that go on for long are worth more than races.
  bool isRefused() {
    if (!pairs.empty() && below(8)) {
      oracle.undo();
      pairs.clear();
      return true;
    }
    return false;
  }

  void access(unsigned warp) {
    Request r = makeRequest(warp);
    if (!r.lanes || meetsCopy(r))
      return;
    oracle.keep();
    switch (below(8)) {
    case 0:
    case 1:
    case 2:
      what = "read";
      see(warp, r, Oracle::Read);
      if (!isRefused())
        found = races.read(warp, r.lanes, r.address, r.size, race);
      return;
    case 3:
      what = "read of all lanes";
      forGranules(r, [&](unsigned, uint32_t at) {
        for (unsigned l = 0; l < 32; ++l)
          if (live[warp] >> l & 1)
            oracle.access(warp * 32 + l, at / granule, Oracle::Read, step,
                          pairs);
      });
      if (!isRefused())
        found = races.readAll(warp, r.lanes, r.address, r.size, race);
      return;
    case 4:
      what = "atomic";
      see(warp, r, Oracle::Atomic);
      if (isRefused())
        return;
      found = races.atomic(warp, r.lanes, r.address, r.size, race);
      for (unsigned l = 0; l < 32; ++l)
        if (r.lanes >> l & 1)
          memory[r.address[l]] = below(2);
      return;
    case 5:
      what = "strong read";
      see(warp, r, Oracle::StrongRead);
      if (!isRefused())
        found = races.atomicRead(warp, r.lanes, r.address, r.size, race);
      return;
    default:
      what = "write";
      write(warp, r);
    }
  }

  void see(unsigned warp, const Request &r, Oracle::Kind kind) {
    forGranules(r, [&](unsigned l, uint32_t at) {
      oracle.access(warp * 32 + l, at / granule, kind, step, pairs);
    });
  }

  void write(unsigned warp, const Request &r) {
    // Few values, in registers of four or eight bytes.
    uint64_t registers[4][32];
    unsigned element = std::min(r.size, below(2) ? 4u : 8u);
    unsigned stride = element == 8 || below(2) ? 8 : 4;
    constexpr unsigned registerBytes = sizeof registers;
    auto *bytes = reinterpret_cast<uint8_t *>(registers);
    unsigned kind = below(3), word = 1;
    for (unsigned b = 0; b < registerBytes; ++b) {
      if (kind == 1 && b % 4 == 0)
        word = below(2);
      bytes[b] = kind == 2 ? below(8) == 0 : word;
    }
    StoredValues stored;
    for (unsigned e = 0; e < r.size / element; ++e)
      stored.element[e] = registers[e];
    stored.stride = stride;
    stored.bytes = values ? element : 0;
    uint8_t after[memoryBytes];
    std::memcpy(after, memory, memoryBytes);
    forGranules(r, [&](unsigned l, uint32_t at) {
      unsigned thread = warp * 32 + l;
      uint8_t mine[16];
      for (unsigned b = 0; b < granule; ++b) {
        unsigned offset = at - r.address[l] + b;
        mine[b] = reinterpret_cast<uint8_t *>(
            registers[offset / element])[l * stride + offset % element];
      }
      if (values && oracle.wasStored(at / granule) &&
          !std::memcmp(mine, after + at, granule))
        oracle.storeEqual(thread, at / granule);
      else
        oracle.access(thread, at / granule, Oracle::Write, step, pairs);
      std::memcpy(after + at, mine, granule);
    });
    if (isRefused())
      return;
    found = races.write(warp, r.lanes, r.address, r.size, stored, memory, race);
    std::memcpy(memory, after, memoryBytes);
  }

  struct Copy : Request {
    unsigned warp;
  };
  void startCopy(unsigned warp) {
    what = "copy";
    Copy copy;
    static_cast<Request &>(copy) = makeRequest(warp);
    copy.warp = warp;
    if (!copy.lanes || meetsCopy(copy))
      return;
    oracle.keep();
    see(warp, copy, Oracle::Write);
    if (isRefused())
      return;
    found = races.writeAsync(warp, copy.lanes, copy.address, copy.size, race);
    copies.push_back(copy);
  }
  void land() {
    what = "landing";
    if (copies.empty())
      return;
    unsigned i = below(copies.size());
    const Copy &copy = copies[i];
    forGranules(copy, [&](unsigned l, uint32_t at) {
      oracle.land(copy.warp * 32 + l, at / granule, step);
      memory[at] = below(2);
    });
    for (unsigned l = 0; l < 32; ++l)
      if (copy.lanes >> l & 1)
        races.landAsync(copy.warp, l, copy.address[l], copy.size);
    copies.erase(copies.begin() + i);
  }

  /// The race that was found is one of the oracle's, in the first lane and
  /// granule that has any.
  bool isReported() const {
    auto isFound = [&](const Oracle::Pair &each) {
      return each.granule == pairs[0].granule &&
             each.thread == pairs[0].thread &&
             each.granule * granule == race.byte &&
             each.thread % 32 == race.lane &&
             each.other.thread == race.otherWarp * 32u + race.otherLane &&
             (each.other.kind >= Oracle::Atomic) == race.otherWrote &&
             (each.kind >= Oracle::Atomic) == race.thisWrites &&
             (each.other.kind != Oracle::Write ||
              each.other.tag == race.otherTag);
    };
    return std::any_of(pairs.begin(), pairs.end(), isFound);
  }

  std::mt19937 random;
  bool partial, values;
  unsigned granule, threads;
  Races races;
  Oracle oracle;
  uint32_t live[warpCount];
  unsigned favourites[3];
  Knowledge flags[2];
  Oracle::Clock clocks[2] = {}, left[2] = {};
  std::vector<Copy> copies;
  uint8_t memory[memoryBytes] = {};
  unsigned step = 0;
  std::string what;
  bool found = false;
  Race race;
  std::vector<Oracle::Pair> pairs;
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
    ASSERT_TRUE(Trial(seed).run(raced)) << "seed " << seed;
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

TEST(PtxRaces, NewValuesEndTheExcuse) {
  // Both warps store the same; then one of them something else.
  for (unsigned size : {4, 16}) {
    Races races;
    Race race;
    races.reset(64, 4, 64);
    Words same(0, 0);
    uint32_t values[4][32] = {}, memory[16] = {};
    auto *bytes = reinterpret_cast<uint8_t *>(memory);
    StoredValues stored;
    for (unsigned e = 0; e < 4; ++e)
      stored.element[e] = values[e];
    stored.bytes = stored.stride = 4;
    for (unsigned warp : {0, 1})
      EXPECT_FALSE(
          races.write(warp, 1, same.address, size, stored, bytes, race));
    EXPECT_FALSE(races.read(1, 1, same.address, size, race));
    races.reset(64, 4, 64);
    for (unsigned warp : {0, 1})
      EXPECT_FALSE(
          races.write(warp, 1, same.address, size, stored, bytes, race));
    for (auto &element : values)
      element[0] = 1;
    EXPECT_FALSE(races.write(0, 1, same.address, size, stored, bytes, race));
    EXPECT_TRUE(races.read(1, 1, same.address, size, race));
  }
}

TEST(PtxRaces, EqualInPart) {
  // Only the first of four bytes has never been stored.
  Races races;
  Race race;
  races.reset(64, 1, 64);
  Words words(0, 0), next(1, 0), last(2, 0);
  uint8_t memory[64] = {};
  uint32_t zeros[32] = {};
  StoredValues stored;
  stored.element[0] = zeros;
  stored.stride = 4;
  stored.bytes = 1;
  EXPECT_FALSE(races.write(0, 1, next.address, 1, stored, memory, race));
  stored.bytes = 2;
  EXPECT_FALSE(races.write(0, 1, last.address, 2, stored, memory, race));
  races.sync(0, std::array<uint32_t, 32>{~0u, ~0u}.data(), true);
  stored.bytes = 4;
  EXPECT_FALSE(races.write(0, 1, words.address, 4, stored, memory, race));
  EXPECT_FALSE(races.read(1, 1, next.address, 1, race));
  EXPECT_TRUE(races.read(1, 1, words.address, 1, race));
}

TEST(PtxRaces, EqualWordsOfAVector) {
  Races races;
  Race race;
  races.reset(64, 1, 64);
  Words same(0, 0);
  constexpr uint32_t ones = 0x01010101;
  uint32_t values[4][32] = {{0}, {ones}, {0}, {ones}};
  uint32_t memory[16] = {0, ones, 0, ones};
  auto *bytes = reinterpret_cast<uint8_t *>(memory);
  StoredValues stored;
  for (unsigned e = 0; e < 4; ++e)
    stored.element[e] = values[e];
  stored.bytes = stored.stride = 4;
  EXPECT_FALSE(races.write(0, 1, same.address, 16, stored, bytes, race));
  races.sync(0, std::array<uint32_t, 32>{~0u, ~0u}.data(), true);
  EXPECT_FALSE(races.write(0, 1, same.address, 16, stored, bytes, race));
  EXPECT_FALSE(races.read(1, 1, same.address, 16, race));
  races.sync(0, std::array<uint32_t, 32>{~0u, ~0u}.data(), true);
  values[2][0] = ones;
  EXPECT_FALSE(races.write(0, 1, same.address, 16, stored, bytes, race));
  for (unsigned word = 0; word < 4; ++word)
    EXPECT_EQ(races.read(1, 1, Words(4 * word, 0).address, 4, race), word == 2);
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

TEST(PtxRaces, MatricesAndAtomics) {
  // Lane 9 of warp 0 takes what the atomic's lane left; the others do not.
  for (uint32_t knowing : {1u << 9, ~0u}) {
    Races races;
    Race race;
    races.reset(1024, 4, 64);
    Words rows(0, 16);
    Knowledge flag;
    EXPECT_FALSE(races.atomic(1, 1, rows.address + 9, 4, race));
    races.release(flag, 1, 1);
    races.acquire(flag, 0, knowing);
    EXPECT_EQ(races.readAll(0, 1u << 9, rows.address, 16, race),
              knowing != ~0u);
    if (knowing != ~0u) {
      EXPECT_EQ(race.byte, 144u);
      EXPECT_TRUE(race.otherWrote && !race.thisWrites);
    }
  }
}

TEST(PtxRaces, LanesAtOneAddress) {
  // Two lanes that both made an atomic read it, each that of the other.
  for (unsigned size : {4, 16}) {
    Races races;
    Race race;
    races.reset(64, 4, 64);
    Words same(0, 0);
    EXPECT_FALSE(races.atomic(0, 3, same.address, size, race));
    ASSERT_TRUE(races.read(0, 3, same.address, size, race));
    EXPECT_EQ(race.lane, 0);
    EXPECT_EQ(race.otherLane, 1);
  }
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

TEST(PtxRaces, CopiesOfWarpsThatHaveExited) {
  // A barrier is before the landing, though some of warp 0 only arrive at it.
  Races races;
  Race race;
  races.reset(64, 4, 64);
  Words words(0, 0);
  uint32_t half[32] = {0xffffu};
  EXPECT_FALSE(races.writeAsync(1, 1, words.address, 4, race));
  races.exitLanes(1, ~0u);
  races.arrive(0, 0, 0xffff0000u);
  races.sync(0, half, true);
  races.landAsync(1, 0, 0, 4);
  EXPECT_TRUE(races.read(0, 1, words.address, 4, race));
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

TEST(PtxRaces, LanesThatReleaseOneAfterAnother) {
  // Two lanes touch some granules, each before a release of its own. Who
  // acquires both releases knows of both accesses; who acquires one, and the
  // second lane itself, does not know of the other.
  using Access =
      bool (Races::*)(unsigned, uint32_t, const uint32_t *, unsigned, Race &);
  enum Storer { KnowsBoth, KnowsSecond, KnowsFirst, IsSecond };
  auto check = [](unsigned size, Access access, Storer storer, bool apart) {
    Races races;
    Race race;
    Knowledge flags[2];
    Words same(0, 0);
    uint8_t memory[64] = {};
    races.reset(64, 4, 64);
    races.warpSync(0, ~0u);
    for (unsigned lane : {0, 1}) {
      EXPECT_FALSE((races.*access)(0, 1u << lane, same.address, size, race));
      if (apart)
        races.release(flags[lane], 0, 1u << lane);
    }
    for (unsigned lane : {0, 1})
      if (!apart)
        races.release(flags[lane], 0, 1u << lane);
    if (storer == KnowsBoth || storer == KnowsFirst)
      races.acquire(flags[0], 1, 1);
    if (storer == KnowsBoth || storer == KnowsSecond)
      races.acquire(flags[1], 1, 1);
    unsigned warp = storer != IsSecond;
    bool found =
        races.write(warp, warp ? 1 : 2, same.address, size, {}, memory, race);
    EXPECT_EQ(found, storer != KnowsBoth);
    if (found) {
      EXPECT_EQ(race.otherLane, storer == KnowsFirst);
    }
  };
  for (unsigned size : {4, 8, 16})
    for (Access access : {&Races::read, &Races::atomic, &Races::atomicRead})
      for (Storer storer : {KnowsBoth, KnowsSecond, KnowsFirst, IsSecond})
        for (bool apart : {false, true})
          check(size, access, storer, apart);
}

TEST(PtxRaces, ClocksThatRestart) {
  constexpr uint32_t old = 100;
  Races races(old);
  Race race;
  Knowledge early, late;
  Words same(0, 0);
  uint8_t memory[64] = {};
  uint32_t all[32] = {~0u, ~0u};
  races.reset(64, 4, 64);
  for (unsigned i = 0; i <= old; ++i)
    races.warpSync(0, ~0u);
  races.release(early, 0, ~0u);
  races.sync(0, all, true);
  // What was left before orders nothing of now ...
  EXPECT_FALSE(races.write(0, 1, same.address, 4, {}, memory, race));
  races.acquire(early, 1, ~0u);
  EXPECT_TRUE(races.read(1, 1, same.address, 4, race));
  // ... and may be added to.
  races.release(early, 0, 1);
  races.acquire(early, 1, 2);
  EXPECT_FALSE(races.read(1, 2, same.address, 4, race));
  EXPECT_TRUE(races.read(1, 1, same.address, 4, race));
  // The next block begins in an epoch of its own.
  races.release(late, 0, ~0u);
  races.reset(64, 4, 64);
  EXPECT_FALSE(races.write(0, 1, same.address, 4, {}, memory, race));
  races.acquire(late, 1, ~0u);
  EXPECT_TRUE(races.read(1, 1, same.address, 4, race));
}

TEST(PtxRaces, BytesStoredBeforeClocksRestart) {
  Races races(1);
  Race race;
  Words same(0, 0);
  uint32_t values[32] = {7}, memory[16] = {7};
  StoredValues stored;
  stored.element[0] = values;
  stored.bytes = stored.stride = 4;
  auto *bytes = reinterpret_cast<uint8_t *>(memory);
  uint32_t all[32] = {~0u, ~0u};
  races.reset(64, 4, 64);
  EXPECT_FALSE(races.write(0, 1, same.address, 4, stored, bytes, race));
  races.warpSync(0, ~0u);
  races.sync(0, all, true);
  // A store of what is there is no store, then as before.
  EXPECT_FALSE(races.read(1, 1, same.address, 4, race));
  EXPECT_FALSE(races.write(0, 1, same.address, 4, stored, bytes, race));
}

TEST(PtxRaces, GlobalAccessesBeforeClocksRestart) {
  Races races(100);
  GlobalRaces global(4);
  uint32_t value = 0, all[32] = {~0u, ~0u};
  auto *bytes = reinterpret_cast<uint8_t *>(&value);
  auto store = [&](unsigned warp) {
    ++value;
    return global.access(races, 0, warp, 0, 4096, 4, GlobalRaces::Kind::Write,
                         bytes, 1) != nullptr;
  };
  races.reset(64, 4, 64);
  for (unsigned i = 0; i <= 100; ++i)
    races.warpSync(0, ~0u);
  EXPECT_FALSE(store(0));
  races.sync(0, all, true);
  EXPECT_FALSE(store(1));
  EXPECT_TRUE(store(0));
}

TEST(PtxRaces, ExitedLanesGiveWhatTheyKnow) {
  // Lane 0 of warp 1 learns of the store, reads and exits; its warp arrives.
  Races races;
  Race race;
  Knowledge flag, done;
  Words same(0, 0);
  uint8_t memory[64] = {};
  races.reset(64, 4, 96);
  EXPECT_FALSE(races.write(0, 1, same.address, 4, {}, memory, race));
  races.release(flag, 0, 1);
  races.acquire(flag, 1, 1);
  EXPECT_FALSE(races.read(1, 1, same.address, 4, race));
  races.exitLanes(1, 1);
  races.release(done, 1, ~1u);
  races.acquire(done, 2, ~0u);
  EXPECT_FALSE(races.write(2, 1, same.address, 4, {}, memory, race));
}
