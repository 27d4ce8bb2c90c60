//===- TensorMap.cpp - what a tensor copy moves ---------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/TensorMap.h"

#include <cstring>
#include <string>

using namespace nestc;
using namespace nestc::ptx;
using rt::Error;
using rt::Status;

static constexpr uint64_t mostBoxBytes = 228 << 10;

const char *const nestc::ptx::elementNames[] = {
    "u8",  "u16", "u32",  "i32",    "u64",  "i64",    "f16",
    "f32", "f64", "bf16", "f32ftz", "tf32", "tf32ftz"};

unsigned TensorMap::elementBytes() const {
  static constexpr uint8_t bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return bytes[static_cast<unsigned>(element)];
}

uint32_t TensorMap::boxBytes() const {
  uint32_t bytes = rowBytes();
  for (unsigned i = 1; i < rank; ++i)
    bytes *= copied(i);
  return bytes;
}

Status TensorMap::check() const {
  auto bad = [](std::string what, std::string legal) {
    return Error("", "a tensor map: " + std::move(what), std::move(legal));
  };
  auto text = [](uint64_t value) { return std::to_string(value); };
  if (rank < 1 || rank > mostRank)
    return bad("of rank " + text(rank), "1 to 5");
  if (address % 16)
    return bad("the address is no multiple of 16", "");
  for (unsigned i = 0; i < rank; ++i) {
    std::string of = " of dimension " + text(i);
    if (!extent[i] || extent[i] > uint64_t(1) << 32)
      return bad("extent " + text(extent[i]) + of, "1 to 2^32");
    if (!box[i] || box[i] > 256)
      return bad("box " + text(box[i]) + of, "1 to 256");
    if (!step[i] || step[i] > 8)
      return bad("element stride " + text(step[i]) + of, "1 to 8");
    if (i && (stride[i] % 16 || stride[i] >= uint64_t(1) << 40))
      return bad("stride " + text(stride[i]) + of,
                 "a multiple of 16 below 2^40");
  }
  if (rowBytes() % 16)
    return bad("a row of the box has " + text(rowBytes()) + " bytes",
               "a multiple of 16");
  uint64_t all = rowBytes();
  for (unsigned i = 1; i < rank; ++i)
    all *= copied(i);
  if (all > mostBoxBytes)
    return bad("the box has " + text(all) + " bytes",
               "at most 228 KiB, which shared memory has");
  if (swizzle > 3)
    return bad("an unknown swizzle", "none, 32B, 64B or 128B");
  if (swizzle && rowBytes() > 16u << swizzle)
    return bad("a row of the box has " + text(rowBytes()) +
                   " bytes, which are more than the swizzle of " +
                   text(16u << swizzle),
               "");
  if (swizzle && rowBytes() < 16u << swizzle)
    return bad("a row of the box has " + text(rowBytes()) +
                   " bytes, which are fewer than the swizzle of " +
                   text(16u << swizzle),
               "rows of the swizzle's size; others are not supported");
  bool isInt = element < Element::F16;
  if (fillNaN && isInt)
    return bad("integers cannot be filled with NaN", "zero");
  return Status::success();
}

namespace {
/// The 128 bytes.
struct Encoded {
  char magic[8];
  uint64_t address;
  uint64_t stride[TensorMap::mostRank];
  uint32_t last[TensorMap::mostRank]; ///< extent - 1
  uint16_t box[TensorMap::mostRank];
  uint8_t step[TensorMap::mostRank];
  uint8_t element, rank, swizzle, fillNaN;
  uint8_t unused[33];
};
static_assert(sizeof(Encoded) <= TensorMap::bytes);
constexpr char magic[8] = {'n', 'e', 's', 't', 't', 'm', 'a', 'p'};
} // namespace

void TensorMap::encode(uint8_t *to) const {
  Encoded e = {};
  std::memcpy(e.magic, magic, sizeof magic);
  e.address = address;
  for (unsigned i = 0; i < mostRank; ++i) {
    e.stride[i] = stride[i];
    e.last[i] = static_cast<uint32_t>(extent[i] - 1);
    e.box[i] = static_cast<uint16_t>(box[i]);
    e.step[i] = static_cast<uint8_t>(step[i]);
  }
  e.element = static_cast<uint8_t>(element);
  e.rank = static_cast<uint8_t>(rank);
  e.swizzle = static_cast<uint8_t>(swizzle);
  e.fillNaN = fillNaN;
  std::memset(to, 0, bytes);
  std::memcpy(to, &e, sizeof e);
}

std::optional<TensorMap> TensorMap::decode(const uint8_t *from) {
  Encoded e;
  std::memcpy(&e, from, sizeof e);
  if (std::memcmp(e.magic, magic, sizeof magic) != 0 ||
      e.element >= static_cast<uint8_t>(Element::Count))
    return std::nullopt;
  TensorMap map;
  map.address = e.address;
  for (unsigned i = 0; i < mostRank; ++i) {
    map.stride[i] = e.stride[i];
    map.extent[i] = uint64_t(e.last[i]) + 1;
    map.box[i] = e.box[i];
    map.step[i] = e.step[i];
  }
  map.element = static_cast<Element>(e.element);
  map.rank = e.rank;
  map.swizzle = e.swizzle;
  map.fillNaN = e.fillNaN;
  // The bytes may be anybody's: a kernel can store to them.
  if (map.check().failed())
    return std::nullopt;
  return map;
}
