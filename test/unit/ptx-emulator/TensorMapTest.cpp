//===- TensorMapTest.cpp - what a tensor copy moves -----------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/TensorMap.h"

#include <cstring>
#include <functional>
#include <gtest/gtest.h>

using namespace nestc;
using namespace nestc::ptx;

static TensorMap plain() {
  TensorMap map;
  map.element = TensorMap::Element::BF16;
  map.rank = 3;
  map.address = 0x700000001000;
  const uint64_t extent[] = {300, 7, uint64_t(1) << 32};
  const uint64_t stride[] = {0, 608, 4256};
  const uint32_t box[] = {64, 8, 256};
  const uint32_t step[] = {1, 3, 8};
  std::copy(extent, extent + 3, map.extent);
  std::copy(stride, stride + 3, map.stride);
  std::copy(box, box + 3, map.box);
  std::copy(step, step + 3, map.step);
  map.swizzle = 3;
  map.fillNaN = true;
  return map;
}

TEST(TensorMap, KeepsAllThatItIsGiven) {
  TensorMap map = plain();
  ASSERT_FALSE(map.check().failed());
  uint8_t bytes[TensorMap::bytes];
  map.encode(bytes);
  std::optional<TensorMap> back = TensorMap::decode(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->element, map.element);
  EXPECT_EQ(back->rank, map.rank);
  EXPECT_EQ(back->address, map.address);
  EXPECT_EQ(back->swizzle, map.swizzle);
  EXPECT_EQ(back->fillNaN, map.fillNaN);
  for (unsigned i = 0; i < map.rank; ++i) {
    EXPECT_EQ(back->extent[i], map.extent[i]);
    EXPECT_EQ(back->stride[i], map.stride[i]);
    EXPECT_EQ(back->box[i], map.box[i]);
    EXPECT_EQ(back->step[i], map.step[i]);
  }
  // 64 bf16 in a row; every third of 8 and every eighth of 256 rows.
  EXPECT_EQ(map.rowBytes(), 128u);
  EXPECT_EQ(map.boxBytes(), 128u * 3 * 32);
}

TEST(TensorMap, RefusesWhatTheDriverRefuses) {
  using Change = std::function<void(TensorMap &)>;
  const std::pair<const char *, Change> cases[] = {
      {"rank 0", [](TensorMap &m) { m.rank = 0; }},
      {"rank 6", [](TensorMap &m) { m.rank = 6; }},
      {"multiple of 16", [](TensorMap &m) { m.address += 8; }},
      {"extent 0", [](TensorMap &m) { m.extent[1] = 0; }},
      {"extent 4294967297", [](TensorMap &m) { ++m.extent[2]; }},
      {"box 0", [](TensorMap &m) { m.box[2] = 0; }},
      {"box 257", [](TensorMap &m) { m.box[2] = 257; }},
      {"element stride 0", [](TensorMap &m) { m.step[1] = 0; }},
      {"element stride 9", [](TensorMap &m) { m.step[1] = 9; }},
      {"stride 600", [](TensorMap &m) { m.stride[1] = 600; }},
      {"stride 1099511627776",
       [](TensorMap &m) { m.stride[2] = uint64_t(1) << 40; }},
      {"18 bytes",
       [](TensorMap &m) {
         m.box[0] = 9;
         m.swizzle = 0;
       }},
      {"more than the swizzle of 64", [](TensorMap &m) { m.swizzle = 2; }},
      {"fewer than the swizzle of 128", [](TensorMap &m) { m.box[0] = 32; }},
      {"unknown swizzle", [](TensorMap &m) { m.swizzle = 4; }},
      {"the box has", [](TensorMap &m) { m.step[1] = m.step[2] = 1; }},
      {"NaN", [](TensorMap &m) { m.element = TensorMap::Element::U16; }},
  };
  for (const auto &[words, change] : cases) {
    TensorMap map = plain();
    change(map);
    rt::Status status = map.check();
    ASSERT_TRUE(status.failed()) << words;
    EXPECT_NE(status.takeError().str().find(words), std::string::npos) << words;
  }
}

TEST(TensorMap, IsNotReadFromOtherBytes) {
  uint8_t bytes[TensorMap::bytes] = {};
  EXPECT_FALSE(TensorMap::decode(bytes));
  TensorMap map = plain();
  // Any byte changed gives a map that is legal, or none; never another read
  // beyond its fields.
  for (unsigned i = 0; i < TensorMap::bytes; ++i)
    for (unsigned value : {0u, 0x80u, 0xffu}) {
      map.encode(bytes);
      bytes[i] = static_cast<uint8_t>(value);
      if (std::optional<TensorMap> back = TensorMap::decode(bytes))
        EXPECT_FALSE(back->check().failed()) << i;
    }
}

TEST(TensorMap, ChunksChangePlaces) {
  // CUDA C++ Programming Guide, "The swizzle patterns": row r of 128 bytes has
  // its chunk c at c ^ r.
  for (uint32_t row = 0; row < 16; ++row)
    for (uint32_t chunk = 0; chunk < 8; ++chunk) {
      uint32_t at = row * 128 + chunk * 16 + 5;
      EXPECT_EQ(swizzled(at, 0), at);
      EXPECT_EQ(swizzled(at, 1), row * 128 + (chunk ^ (row & 1)) * 16 + 5);
      EXPECT_EQ(swizzled(at, 2), row * 128 + (chunk ^ (row & 3)) * 16 + 5);
      EXPECT_EQ(swizzled(at, 3), row * 128 + (chunk ^ (row & 7)) * 16 + 5);
      EXPECT_EQ(swizzled(at, 3, 2),
                row * 128 + (chunk ^ ((row - 2) & 7)) * 16 + 5);
    }
}
