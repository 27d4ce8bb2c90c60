//===- GlobalRacesTest.cpp - data races in global memory ------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/GlobalRaces.h"

#include "gtest/gtest.h"

#include <cstring>

using namespace nestc::ptx;

namespace {

using Kind = GlobalRaces::Kind;

constexpr uint64_t data = 0x1000, flag = 0x2000, other = 0x3000;

/// Blocks of one thread each; what a thread does is done at once.
class PtxGlobalRaces : public ::testing::Test {
protected:
  PtxGlobalRaces() { block.reset(16, 4, 32); }

  bool access(uint64_t number, uint64_t address, Kind kind, uint32_t value,
              bool isOfBlock = false) {
    uint8_t bytes[16] = {};
    std::memcpy(bytes, &value, 4);
    return races.access(block, number, 0, 0, address, 4, kind, bytes, 1,
                        isOfBlock) != nullptr;
  }
  /// Plain accesses; true if they race.
  bool load(uint64_t number, uint64_t address) {
    return access(number, address, Kind::Read, 0);
  }
  bool store(uint64_t number, uint64_t address, uint32_t value = 1) {
    return access(number, address, Kind::Write, value);
  }
  bool strongLoad(uint64_t number, uint64_t address, bool acquires) {
    races.strongRead(number, address, acquires);
    return access(number, address, Kind::StrongRead, 0);
  }
  bool strongStore(uint64_t number, uint64_t address, bool releases) {
    bool race = access(number, address, Kind::Atomic, 0);
    races.strongWrite(number, address, releases);
    return race;
  }
  bool atomic(uint64_t number, uint64_t address, bool acquires = false,
              bool releases = false) {
    races.strongRead(number, address, acquires);
    return strongStore(number, address, releases);
  }

  Races block;
  GlobalRaces races{4};
};

} // namespace

TEST_F(PtxGlobalRaces, BlocksAreNotOrdered) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(load(0, data));
  EXPECT_TRUE(load(1, data));
  EXPECT_FALSE(load(0, other));
  EXPECT_TRUE(store(1, other));
}

TEST_F(PtxGlobalRaces, EqualStoresAreNone) {
  EXPECT_FALSE(store(0, data, 7));
  EXPECT_FALSE(store(1, data, 7));
  EXPECT_TRUE(store(2, data, 8));
}

TEST_F(PtxGlobalRaces, RelaxedAtomicsOrderNothing) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(atomic(0, flag));
  EXPECT_FALSE(atomic(1, flag));
  EXPECT_TRUE(load(1, data));
}

TEST_F(PtxGlobalRaces, ReleaseAndAcquire) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(strongStore(0, flag, true));
  EXPECT_FALSE(strongLoad(1, flag, true));
  EXPECT_FALSE(load(1, data));
  EXPECT_FALSE(store(1, data, 2));
  // What comes after the release is not released.
  EXPECT_FALSE(store(0, other));
  EXPECT_FALSE(strongLoad(1, flag, true));
  EXPECT_TRUE(load(1, other));
}

TEST_F(PtxGlobalRaces, OneSideAlone) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(strongStore(0, flag, false));
  EXPECT_FALSE(strongLoad(1, flag, true));
  EXPECT_TRUE(load(1, data));
  EXPECT_FALSE(store(0, other));
  EXPECT_FALSE(strongStore(0, flag, true));
  EXPECT_FALSE(strongLoad(2, flag, false));
  EXPECT_TRUE(load(2, other));
}

TEST_F(PtxGlobalRaces, AnotherFlag) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(strongStore(0, flag, true));
  EXPECT_FALSE(strongLoad(1, other, true));
  EXPECT_TRUE(load(1, data));
}

TEST_F(PtxGlobalRaces, ByWayOfAThirdBlock) {
  EXPECT_FALSE(store(0, data));
  EXPECT_FALSE(atomic(0, flag, true, true));
  EXPECT_FALSE(atomic(1, flag, true, true));
  EXPECT_FALSE(strongStore(1, other, true));
  EXPECT_FALSE(strongLoad(2, other, true));
  EXPECT_FALSE(load(2, data));
  // A relaxed atomic in between carries a release on.
  EXPECT_FALSE(atomic(3, other));
  EXPECT_FALSE(strongLoad(4, other, true));
  EXPECT_FALSE(load(4, data));
  EXPECT_TRUE(load(3, data));
}

TEST_F(PtxGlobalRaces, FencesOnBothSides) {
  EXPECT_FALSE(store(0, data));
  races.fence(0);
  EXPECT_FALSE(store(0, other)); // after the fence: not released
  EXPECT_FALSE(atomic(0, flag));
  EXPECT_FALSE(strongLoad(1, flag, false));
  races.fence(1);
  EXPECT_FALSE(load(1, data));
  EXPECT_TRUE(load(1, other));
}

TEST_F(PtxGlobalRaces, FencesOnOneSide) {
  EXPECT_FALSE(store(0, data));
  races.fence(0);
  EXPECT_FALSE(atomic(0, flag));
  races.fence(1); // before the flag was looked at
  EXPECT_FALSE(strongLoad(1, flag, false));
  EXPECT_TRUE(load(1, data));
  // A fence and an acquire go together.
  EXPECT_FALSE(strongLoad(2, flag, true));
  EXPECT_FALSE(load(2, data));
  EXPECT_FALSE(store(3, other));
  EXPECT_FALSE(atomic(3, flag));
  races.fence(3); // too late
  EXPECT_FALSE(strongLoad(4, flag, true));
  EXPECT_TRUE(load(4, other));
}

TEST_F(PtxGlobalRaces, ScopeOfABlock) {
  EXPECT_FALSE(access(0, flag, Kind::Atomic, 0, true));
  EXPECT_FALSE(access(0, flag, Kind::Atomic, 0, true));
  EXPECT_TRUE(access(1, flag, Kind::Atomic, 0, true));
  EXPECT_FALSE(access(0, other, Kind::Atomic, 0));
  EXPECT_FALSE(access(1, other, Kind::Atomic, 0));
  EXPECT_TRUE(access(2, other, Kind::Atomic, 0, true));
}

TEST_F(PtxGlobalRaces, AtomicsAndPlainAccesses) {
  EXPECT_FALSE(atomic(0, flag));
  EXPECT_FALSE(load(1, flag)); // as before a loop over cas
  EXPECT_TRUE(store(1, flag));
  EXPECT_FALSE(store(0, data));
  EXPECT_TRUE(atomic(1, data));
}

TEST_F(PtxGlobalRaces, WhoHasSeenAStoreComesAfterIt) {
  EXPECT_FALSE(strongStore(0, flag, false));
  EXPECT_FALSE(strongLoad(1, flag, false));
  EXPECT_FALSE(store(1, flag, 0)); // sets the flag back
}
