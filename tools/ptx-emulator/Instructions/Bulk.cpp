//===- Bulk.cpp - bulk and tensor copies ----------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// PTX ISA 9.7.9.25.4 to 9.7.9.27: cp.async.bulk, cp.reduce.async.bulk and their
// tensor forms, of single threads. Memory is read and changed when the copy
// begins, and then:
//  - What comes to shared memory is pending until a wait at the mbarrier.
//  - What leaves it is looked at again when its bulk group is waited for: that
//    is where the thread's reading ends for the race detector, and the bytes
//    must still be the same.
//  - What goes to global memory is there at once, and nobody of the block may
//    touch it until the bulk group is waited for without .read.
// Copies touch shared memory through the asynchronous proxy: stores have to be
// fenced (fence.proxy.async) before.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Instructions/Async.h"
#include "tools/ptx-emulator/Instructions/Atomic.h"
#include "tools/ptx-emulator/MemoryAccess.h"
#include "tools/ptx-emulator/TensorMap.h"

#include <algorithm>

using namespace nestc::ptx;

namespace {
enum BulkKind : uint8_t { GlobalToShared, SharedToShared, SharedToGlobal };

/// Op::list: the addresses in this order, then the coordinates of a tensor.
enum Address : uint8_t { To, From, Arrival, Coordinates };

/// Op::variant is the kind; Op::flag says that it reduces, Op::target how.
/// Op::s[1]: the size of a plain copy; s[2]: the blocks of a multicast, or of a
/// plain copy to global memory the bytes of every 16 that are copied.
/// Op::access.count: the rank of a tensor, 0 for none; Op::resultBytes: the
/// type of a plain reduction.
} // namespace

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

/// Appends an address operand: its register, its offset, its width.
static void addAddress(Decoder &d, Op &op, const Operand &operand,
                       Space space) {
  Op one;
  d.address(operand, one, space);
  op.imm |= int64_t(one.access.wideAddress) << op.list.size();
  op.list.push_back(one.s[0]);
  op.list2.push_back(d.constant(static_cast<uint64_t>(one.imm), 8));
}

static uint64_t addressAt(const Warp &warp, const Op &op, Address which,
                          unsigned lane) {
  uint64_t offset = warp.at<uint64_t>(op.list2[which])[lane];
  if (op.imm >> which & 1)
    return warp.at<uint64_t>(op.list[which])[lane] + offset;
  return static_cast<uint32_t>(warp.at<uint32_t>(op.list[which])[lane] +
                               offset);
}

/// Finds a range of one lane.
static bool find(Warp &warp, const Op &op, unsigned lane, Space space,
                 uint64_t at, uint32_t bytes, unsigned align, Touch touch,
                 Pointers &p) {
  uint64_t address[laneCount];
  address[lane] = at;
  return locate(warp, op, 1u << lane, space, address, bytes, align, touch, p);
}

/// Looks for races over a range in shared memory that is a multiple of 16.
static bool checkRange(Warp &warp, const Op &op, unsigned lane, uint32_t at,
                       uint32_t bytes, Touch touch) {
  Pointers p;
  p.sharedLanes = 1u << lane;
  for (uint32_t i = 0; i < bytes; i += 16) {
    p.sharedAddress[lane] = at + i;
    if (!checkRaces(warp, op, 16, touch, p))
      return false;
  }
  return true;
}

/// The same in global memory, with the bytes that are stored, if any.
static bool checkGlobalRange(Warp &warp, const Op &op, unsigned lane,
                             uint64_t at, uint32_t bytes, Touch touch,
                             const uint8_t *stored) {
  bool races = warp.block.globalRaces;
  Pointers p;
  uint64_t address[laneCount];
  for (uint32_t i = 0; races && i < bytes;) {
    address[lane] = at + i;
    // Single bytes up to an aligned address, and for the rest.
    unsigned step = (at + i) % 16 || bytes - i < 16 ? 1 : 16;
    StoredValues values;
    if (stored) {
      values.element[0] = stored + i;
      values.bytes = step;
    }
    if (!checkGlobalRaces(warp, op, 1u << lane, Space::Global, address, step,
                          touch, p, values))
      return false;
    i += step;
  }
  return checkFencedGlobal(warp, op, lane, at, bytes);
}

static void countGlobal(Warp &warp, bool isStore, uint64_t at, uint32_t bytes) {
  Counters &c = warp.block.counters;
  auto space = static_cast<unsigned>(Space::Global);
  c.bytes[space][isStore] += bytes;
  if (bytes)
    c.sectors[space][isStore] += (at + bytes - 1) / 32 - at / 32 + 1;
}

static void countShared(Warp &warp, bool isStore, uint32_t bytes) {
  auto space = static_cast<unsigned>(Space::Shared);
  warp.block.counters.bytes[space][isStore] += bytes;
}

//===----------------------------------------------------------------------===//
// The side in shared memory
//===----------------------------------------------------------------------===//

/// Checks that a copy may write there, and marks the bytes as pending.
static bool beginArrival(Warp &warp, const Op &op, unsigned lane, uint32_t at,
                         uint32_t bytes) {
  Pointers p;
  if (!find(warp, op, lane, Space::Shared, at, bytes, 16, Touch::AsyncWrite,
            p) ||
      !checkState(warp, op, 1u << lane, bytes, false, p) ||
      !checkFenced(warp, op, lane, at, bytes) ||
      !checkRange(warp, op, lane, at, bytes, Touch::AsyncWrite))
    return false;
  std::memset(p.state[lane], Pending, bytes);
  Races &races = warp.block.races;
  races.setTag(op.line | Races::copyTag);
  races.landAsync(warp.id, lane, at, bytes);
  countShared(warp, true, bytes);
  return true;
}

/// Checks that a copy may read there; `needed(i)`: byte i is copied.
template <typename Needed>
static bool beginDeparture(Warp &warp, const Op &op, unsigned lane, uint32_t at,
                           uint32_t bytes, Needed needed) {
  Pointers p;
  if (!find(warp, op, lane, Space::Shared, at, bytes, 16, Touch::Read, p) ||
      !checkState(warp, op, 1u << lane, bytes, false, p) ||
      !checkRange(warp, op, lane, at, bytes, Touch::Read) ||
      !checkFenced(warp, op, lane, at, bytes))
    return false;
  for (uint32_t i = 0; i < bytes; ++i)
    if (p.state[lane][i] && needed(i)) {
      warp.fail(op, lane,
                "byte " + std::to_string(at + i) +
                    " of shared memory is copied and was never written");
      return false;
    }
  countShared(warp, false, bytes);
  return true;
}

bool nestc::ptx::checkFenced(Warp &warp, const Op &op, unsigned lane,
                             uint32_t at, uint32_t bytes) {
  Block &block = warp.block;
  Race race;
  if (!block.races.unfenced(block.fenced, at, bytes, race))
    return true;
  warp.fail(op, lane,
            "byte " + std::to_string(race.byte) +
                " of shared memory was stored in line " +
                std::to_string(race.otherTag) +
                " with no fence.proxy.async before the asynchronous proxy "
                "touches it");
  return false;
}

/// Keeps in mind that the lane's open bulk group reads a range.
static void keepReading(Warp &warp, const Op &op, unsigned lane, uint32_t at,
                        uint32_t bytes) {
  const uint8_t *data = warp.block.shared.data() + at;
  warp.bulkReads.push_back({lane, warp.openBulkGroup[lane], op.line, at,
                            std::vector<uint8_t>(data, data + bytes)});
}

/// And that it writes global memory.
static BulkWrite writingOf(const Warp &warp, const Op &op, unsigned lane) {
  BulkWrite write;
  write.warp = warp.id;
  write.lane = lane;
  write.group = warp.openBulkGroup[lane];
  write.line = op.line;
  write.reduces = op.flag;
  return write;
}
static void addRange(BulkWrite &write, uint64_t at, uint32_t bytes) {
  write.first = std::min(write.first, at);
  write.last = std::max(write.last, at + bytes);
  write.ranges.emplace_back(at, bytes);
}

//===----------------------------------------------------------------------===//
// Copies of a range
//===----------------------------------------------------------------------===//

/// Calls `f(first, bytes)` for the parts of a range that a mask of the bytes of
/// every 16 leaves; false when one of them does.
template <typename Fn>
static bool eachPart(uint32_t bytes, uint16_t mask, Fn f) {
  auto taken = [&](uint32_t i) { return mask >> (i % 16) & 1; };
  if (mask == 0xffff)
    return f(0u, bytes);
  for (uint32_t first = 0, last; first < bytes; first = last) {
    for (last = first; last < bytes && taken(last);)
      ++last;
    if (last > first && !f(first, last - first))
      return false;
    last += last == first;
  }
  return true;
}

static Step copyRange(Warp &warp, const Op &op, unsigned lane,
                      Mbarrier *mbarrier) {
  Block &block = warp.block;
  uint64_t to = addressAt(warp, op, To, lane);
  uint64_t from = addressAt(warp, op, From, lane);
  uint32_t bytes = warp.at<uint32_t>(op.s[1])[lane];
  if (bytes % 16)
    return warp.fail(op, lane,
                     "a copy of " + std::to_string(bytes) +
                         " bytes, which are no multiple of 16");
  bool toShared = op.variant != SharedToGlobal;
  bool fromShared = op.variant != GlobalToShared;
  uint16_t mask = !toShared && op.s[2].index ? warp.at<uint16_t>(op.s[2])[lane]
                                             : uint16_t(0xffff);
  Space toSpace = toShared ? Space::Shared : Space::Global;
  Space fromSpace = fromShared ? Space::Shared : Space::Global;
  Touch touch = op.flag     ? Touch::Atomic
                : !toShared ? Touch::Write
                            : Touch::AsyncWrite;
  Pointers p, q;
  if (!find(warp, op, lane, toSpace, to, bytes, 16, touch, p) ||
      !find(warp, op, lane, fromSpace, from, bytes, 16, Touch::Read, q))
    return Step::Fault;
  if (!bytes)
    return Step::Done;
  std::vector<uint8_t> data(q.data[lane], q.data[lane] + bytes);
  Landing landing;
  if (fromShared) {
    if (!beginDeparture(warp, op, lane, from, bytes,
                        [&](uint32_t i) { return mask >> (i % 16) & 1; }))
      return Step::Fault;
  } else {
    if (!checkGlobalRange(warp, op, lane, from, bytes, Touch::Read, nullptr))
      return Step::Fault;
    for (uint32_t i = 0; q.state[lane] && i < bytes; ++i)
      if (q.state[lane][i])
        landing.undefined.push_back(i);
    countGlobal(warp, false, from, bytes);
  }
  if (op.flag) { // a reduction
    auto type = static_cast<Type>(op.resultBytes);
    if (!checkState(warp, op, 1u << lane, bytes, true, p))
      return Step::Fault;
    // Reductions into shared memory are atomic there.
    if (toShared ? !checkRange(warp, op, lane, to, bytes, Touch::Atomic)
                 : !checkGlobalRange(warp, op, lane, to, bytes, Touch::Atomic,
                                     nullptr))
      return Step::Fault;
    reduction(type)(p.data[lane], data.data(), bytes / typeBytes(type),
                    static_cast<AtomicKind>(op.target), !toShared);
    if (!toShared)
      countGlobal(warp, false, to, bytes);
  } else if (toShared) {
    if (!beginArrival(warp, op, lane, to, bytes))
      return Step::Fault;
    std::memcpy(p.data[lane], data.data(), bytes);
    landing.line = op.line;
    landing.address = to;
    landing.bytes = bytes;
  } else if (!eachPart(bytes, mask, [&](uint32_t first, uint32_t size) {
               const uint8_t *part = data.data() + first;
               if (!checkGlobalRange(warp, op, lane, to + first, size,
                                     Touch::Write, part))
                 return false;
               std::memcpy(p.data[lane] + first, part, size);
               if (p.state[lane])
                 std::memset(p.state[lane] + first, Defined, size);
               return true;
             })) {
    return Step::Fault;
  }
  block.counters.asyncBytes += bytes;
  if (!toShared) {
    BulkWrite write = writingOf(warp, op, lane);
    eachPart(bytes, mask, [&](uint32_t first, uint32_t size) {
      countGlobal(warp, true, to + first, size);
      addRange(write, to + first, size);
      return true;
    });
    keepReading(warp, op, lane, from, bytes);
    block.bulkWrites.push_back(std::move(write));
    return Step::Done;
  }
  return completeBytes(warp, op, lane, *mbarrier, bytes, std::move(landing))
             ? Step::Done
             : Step::Fault;
}

//===----------------------------------------------------------------------===//
// Copies of a box
//===----------------------------------------------------------------------===//

static Type typeOf(TensorMap::Element element) {
  static constexpr Type types[] = {Type::U8,  Type::U16,  Type::U32, Type::S32,
                                   Type::U64, Type::S64,  Type::F16, Type::F32,
                                   Type::F64, Type::BF16, Type::F32, Type::F32,
                                   Type::F32};
  return types[static_cast<unsigned>(element)];
}

/// Fills with what lies outside a tensor.
static void fill(const TensorMap &map, uint8_t *to, uint32_t bytes) {
  std::memset(to, 0, bytes);
  if (!map.fillNaN)
    return;
  static constexpr uint64_t doubleNaN = 0x7fffffffffffffff;
  static constexpr uint32_t floatNaN = 0x7fffffff;
  static constexpr uint16_t halfNaN = 0x7fff;
  unsigned size = map.elementBytes();
  const void *pattern = size == 8   ? static_cast<const void *>(&doubleNaN)
                        : size == 4 ? static_cast<const void *>(&floatNaN)
                                    : &halfNaN;
  for (uint32_t i = 0; i < bytes; i += size)
    std::memcpy(to + i, pattern, size);
}

/// Subnormals become zero where the element's type says so.
static void flushElements(const TensorMap &map, uint8_t *data, uint32_t bytes) {
  if (map.element != TensorMap::Element::F32Ftz &&
      map.element != TensorMap::Element::TF32Ftz)
    return;
  for (uint32_t i = 0; i < bytes; i += 4) {
    uint32_t bits;
    std::memcpy(&bits, data + i, 4);
    if (!(bits & 0x7f800000))
      bits &= 0x80000000;
    std::memcpy(data + i, &bits, 4);
  }
}

namespace {
/// A row of a box: where its part within the tensor lies, and in the box.
struct Row {
  uint64_t address;
  uint32_t offset; ///< in the box, of the row's first byte
  uint32_t skip;   ///< bytes of it before the tensor begins
  uint32_t bytes;  ///< within the tensor
};
} // namespace

/// The rows of the box at these coordinates, in the order of shared memory.
static std::vector<Row> rowsOf(const TensorMap &map, const int32_t *at) {
  std::vector<Row> rows;
  unsigned size = map.elementBytes();
  auto clamp = [](int64_t value, int64_t most) {
    return std::min(std::max<int64_t>(value, 0), most);
  };
  // The first dimension is dense: its part inside is the same in all rows.
  int64_t first = clamp(-int64_t(at[0]), map.box[0]);
  int64_t last = clamp(static_cast<int64_t>(map.extent[0]) - at[0], map.box[0]);
  uint32_t index[TensorMap::mostRank] = {};
  uint32_t count = map.boxBytes() / map.rowBytes();
  for (uint32_t row = 0; row < count; ++row) {
    bool inside = first < last;
    uint64_t address = map.address + uint64_t((at[0] + first) * int64_t(size));
    for (unsigned i = 1; i < map.rank; ++i) {
      int64_t x = at[i] + int64_t(index[i]) * map.step[i];
      inside &= x >= 0 && x < static_cast<int64_t>(map.extent[i]);
      address += static_cast<uint64_t>(x) * map.stride[i];
    }
    uint32_t offset = row * map.rowBytes();
    if (inside)
      rows.push_back({address, offset, uint32_t(first * size),
                      uint32_t((last - first) * size)});
    for (unsigned i = 1; i < map.rank && ++index[i] == map.copied(i); ++i)
      index[i] = 0;
  }
  return rows;
}

static std::optional<TensorMap> mapAt(Warp &warp, const Op &op, unsigned lane,
                                      uint64_t address) {
  Pointers p;
  if (!find(warp, op, lane, Space::Generic, address, TensorMap::bytes,
            TensorMap::align, Touch::Read, p) ||
      !checkState(warp, op, 1u << lane, TensorMap::bytes, true, p))
    return std::nullopt;
  std::optional<TensorMap> map = TensorMap::decode(p.data[lane]);
  if (!map)
    warp.fail(op, lane, "there is no tensor map at the address");
  else if (map->rank != op.access.count)
    warp.fail(op, lane, "the tensor map has rank " + std::to_string(map->rank));
  else if (p.sharedLanes)
    warp.fail(op, lane, "a tensor map does not lie in shared memory");
  else
    return map;
  return std::nullopt;
}

static Step copyBox(Warp &warp, const Op &op, unsigned lane,
                    Mbarrier *mbarrier) {
  Block &block = warp.block;
  bool loads = op.variant == GlobalToShared;
  std::optional<TensorMap> map =
      mapAt(warp, op, lane, addressAt(warp, op, loads ? From : To, lane));
  if (!map)
    return Step::Fault;
  uint32_t shared = addressAt(warp, op, loads ? To : From, lane);
  uint32_t bytes = map->boxBytes();
  Pointers p;
  if (!find(warp, op, lane, Space::Shared,
            addressAt(warp, op, loads ? To : From, lane), bytes, 128,
            loads ? Touch::AsyncWrite : Touch::Read, p))
    return Step::Fault;
  int32_t at[TensorMap::mostRank];
  for (unsigned i = 0; i < map->rank; ++i)
    at[i] = warp.at<int32_t>(op.list[Coordinates + i])[lane];
  std::vector<Row> rows = rowsOf(*map, at);
  // Chunks of 16 bytes change places by their address.
  auto placed = [&](uint32_t offset) {
    return swizzled(shared + offset, map->swizzle) - shared;
  };
  std::vector<uint8_t> box(bytes);
  Landing landing;
  Touch touch = loads ? Touch::Read : op.flag ? Touch::Atomic : Touch::Write;
  if (loads) {
    fill(*map, box.data(), bytes);
  } else {
    std::vector<bool> needed(bytes);
    for (const Row &row : rows)
      for (uint32_t i = 0; i < row.bytes; ++i)
        needed[placed(row.offset + row.skip + i)] = true;
    if (!beginDeparture(warp, op, lane, shared, bytes,
                        [&](uint32_t i) { return needed[i]; }))
      return Step::Fault;
    for (uint32_t i = 0; i < bytes; i += 16)
      std::memcpy(box.data() + i, p.data[lane] + placed(i), 16);
  }
  Type type = typeOf(map->element);
  ReduceFn reduce = op.flag ? reduction(type) : nullptr;
  if (op.flag && (!reduce || (op.target >= AtomicAnd && isFloat(type))))
    return warp.fail(op, lane,
                     "there is no such reduction of the tensor's "
                     "elements");
  BulkWrite write = writingOf(warp, op, lane);
  for (const Row &row : rows) {
    uint8_t *part = box.data() + row.offset + row.skip;
    Pointers q;
    if (!find(warp, op, lane, Space::Global, row.address, row.bytes, 1, touch,
              q) ||
        !checkGlobalRange(warp, op, lane, row.address, row.bytes, touch,
                          touch == Touch::Write ? part : nullptr))
      return Step::Fault;
    countGlobal(warp, !loads, row.address, row.bytes);
    addRange(write, row.address, row.bytes);
    uint8_t *state = q.state[lane];
    if (loads) {
      std::memcpy(part, q.data[lane], row.bytes);
      for (uint32_t i = 0; state && i < row.bytes; ++i)
        if (state[i])
          landing.undefined.push_back(placed(row.offset + row.skip + i));
    } else if (reduce) {
      if (!checkState(warp, op, 1u << lane, row.bytes, true, q))
        return Step::Fault;
      countGlobal(warp, false, row.address, row.bytes);
      reduce(q.data[lane], part, row.bytes / typeBytes(type),
             static_cast<AtomicKind>(op.target), true);
    } else {
      std::memcpy(q.data[lane], part, row.bytes);
      if (state)
        std::memset(state, Defined, row.bytes);
    }
  }
  block.counters.asyncBytes += bytes;
  if (!loads) {
    keepReading(warp, op, lane, shared, bytes);
    block.bulkWrites.push_back(std::move(write));
    return Step::Done;
  }
  if (!beginArrival(warp, op, lane, shared, bytes))
    return Step::Fault;
  flushElements(*map, box.data(), bytes);
  for (uint32_t i = 0; i < bytes; i += 16)
    std::memcpy(p.data[lane] + placed(i), box.data() + i, 16);
  landing.line = op.line;
  landing.address = shared;
  landing.bytes = bytes;
  return completeBytes(warp, op, lane, *mbarrier, bytes, std::move(landing))
             ? Step::Done
             : Step::Fault;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

static Step copyBulk(Warp &warp, const Op &op, uint32_t lanes) {
  static const char *const roles[] = {"the address of the destination",
                                      "the address of the source",
                                      "the address of the mbarrier"};
  for (unsigned i = 0; i < op.list.size(); ++i)
    if (!warp.demand(op, op.list[i], lanes,
                     i < Coordinates ? roles[i] : "a coordinate"))
      return Step::Fault;
  if (!warp.demand(op, op.s[1], lanes, "the size") ||
      !warp.demand(op, op.s[2], lanes, "the mask"))
    return Step::Fault;
  Mbarrier *mbarrier[laneCount] = {};
  uint32_t offset[laneCount];
  if (op.variant != SharedToGlobal) {
    uint64_t address[laneCount];
    forLanes(lanes, [&](unsigned lane) {
      address[lane] = addressAt(warp, op, Arrival, lane);
    });
    if (!mbarriersAt(warp, op, lanes, Space::Shared, address, false, mbarrier,
                     offset))
      return Step::Fault;
  }
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (op.variant == GlobalToShared && op.s[2].index &&
        warp.at<uint16_t>(op.s[2])[lane] != 1)
      return warp.fail(op, lane,
                       "the mask names blocks that the cluster does not have");
    Step step = op.access.count ? copyBox(warp, op, lane, mbarrier[lane])
                                : copyRange(warp, op, lane, mbarrier[lane]);
    if (step != Step::Done)
      return step;
  }
  return Step::Done;
}

static Step commitBulk(Warp &warp, const Op &, uint32_t lanes) {
  forLanes(lanes, [&](unsigned lane) { ++warp.openBulkGroup[lane]; });
  return Step::Done;
}

/// Waits until all but the last op.imm groups of each lane have read, and
/// unless op.flag, until they have written.
static Step waitBulk(Warp &warp, const Op &op, uint32_t lanes) {
  auto &reads = warp.bulkReads;
  auto ends = [&](const auto &copy) {
    return lanes >> copy.lane & 1 &&
           copy.group + static_cast<uint64_t>(op.imm) <
               warp.openBulkGroup[copy.lane];
  };
  for (const BulkRead &read : reads) {
    if (!ends(read))
      continue;
    if (!checkRange(warp, op, read.lane, read.address, read.data.size(),
                    Touch::Read))
      return Step::Fault;
    if (std::memcmp(read.data.data(), warp.block.shared.data() + read.address,
                    read.data.size()) != 0)
      return warp.fail(op, read.lane,
                       "the source of the bulk copy of line " +
                           std::to_string(read.line) +
                           " was changed before the copy was waited for");
  }
  reads.erase(std::remove_if(reads.begin(), reads.end(), ends), reads.end());
  auto &writes = warp.block.bulkWrites;
  if (!op.flag)
    writes.erase(std::remove_if(writes.begin(), writes.end(),
                                [&](const BulkWrite &write) {
                                  return write.warp == warp.id && ends(write);
                                }),
                 writes.end());
  return Step::Done;
}

static Step prefetch(Warp &, const Op &, uint32_t) { return Step::Done; }

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

namespace {
struct Side {
  std::string_view name;
  Space space() const {
    return name == "global" ? Space::Global : Space::Shared;
  }
};
} // namespace

/// .shared::cluster, .shared::cta or .global.
static Side takeSide(Decoder &d) {
  static constexpr std::string_view names[] = {"shared::cluster", "shared::cta",
                                               "global"};
  return {names[d.needOneOf({names[0], names[1], names[2]})]};
}

/// Which way a copy goes, if there is one.
static BulkKind wayOf(Decoder &d, Side to, Side from, bool isTensor,
                      bool isReduction) {
  bool toGlobal = to.name == "global", fromGlobal = from.name == "global";
  if (toGlobal && from.name == "shared::cta")
    return SharedToGlobal;
  if (!toGlobal && fromGlobal && !isReduction) {
    if (to.name == "shared::cta")
      d.require(86, 90);
    return GlobalToShared;
  }
  if (to.name == "shared::cluster" && from.name == "shared::cta" && !isTensor)
    return SharedToShared;
  d.error("there is no copy from ." + std::string(from.name) + " to ." +
          std::string(to.name));
  return SharedToGlobal;
}

/// The size of a copy of a range.
static Slot sizeOperand(Decoder &d, unsigned i) {
  if (std::optional<int64_t> bytes = d.immediate(i);
      bytes && (*bytes % 16 || *bytes < 0 || *bytes >= 1 << 20))
    d.error("the size is not legal", "a multiple of 16 below 2^20");
  return d.source(i, Type::U32);
}

static unsigned takeRank(Decoder &d) {
  return 1 + d.needOneOf({"1d", "2d", "3d", "4d", "5d"});
}

/// [map, {coordinates}]
static void tensorOperand(Decoder &d, Op &op, const Operand &operand,
                          unsigned rank, std::vector<Slot> &coordinates) {
  const auto &parts = operand.elements;
  if (operand.kind != Operand::Kind::Memory || parts.size() != 2 ||
      parts[1].kind != Operand::Kind::Vector ||
      parts[1].elements.size() != rank)
    return d.error("an operand is no tensor coordinate",
                   "[map, {" + std::to_string(rank) + " coordinates}]");
  if (operand.bits || parts[0].kind != Operand::Kind::Register)
    return d.error("the address of a tensor map is not a register");
  Operand base = operand;
  base.elements.resize(1);
  addAddress(d, op, base, Space::Generic);
  for (const Operand &each : parts[1].elements)
    coordinates.push_back(d.source(each, Type::S32));
}

static void decodePrefetch(Decoder &d) {
  d.needOneOf({"L2"});
  d.needOneOf({"global"});
  bool hint = d.take("L2::cache_hint");
  Op op = d.start(OpKind::Effect, OpClass::AsyncCopy);
  op.effect = prefetch;
  if (d.take("tensor")) {
    unsigned rank = takeRank(d);
    d.take("tile");
    d.finish(1 + hint);
    std::vector<Slot> coordinates;
    tensorOperand(d, op, d.operand(0), rank, coordinates);
  } else {
    d.finish(2 + hint);
    addAddress(d, op, d.operand(0), Space::Global);
    sizeOperand(d, 1);
  }
  if (hint)
    d.source(d.operandCount() - 1, Type::B64);
  d.emit(std::move(op));
}

/// The operation and type of a reduction.
static void decodeReduction(Decoder &d, Op &op, bool isTensor) {
  op.flag = true;
  op.target = d.needOneOf(
      {"add", "min", "max", "and", "or", "xor", "-", "-", "inc", "dec"});
  if (isTensor) {
    // The map has the type, which may be a float: sums depend on the order.
    d.program.communicates |= op.target <= AtomicMax;
    return;
  }
  auto kind = static_cast<AtomicKind>(op.target);
  bool toGlobal = op.variant == SharedToGlobal;
  bool noftz = d.take("noftz");
  Type type = Type::U32;
  if (kind == AtomicInc || kind == AtomicDec)
    type = d.type({Type::U32});
  else if (kind >= AtomicAnd)
    type = toGlobal ? d.type({Type::B32, Type::B64}) : d.type({Type::B32});
  else if (!toGlobal)
    type = kind == AtomicAdd ? d.type({Type::U32, Type::S32, Type::U64})
                             : d.type({Type::U32, Type::S32});
  else if (kind == AtomicAdd)
    type = d.type({Type::U32, Type::S32, Type::U64, Type::F16, Type::BF16,
                   Type::F32, Type::F64});
  else
    type = d.type(
        {Type::U32, Type::S32, Type::U64, Type::S64, Type::F16, Type::BF16});
  bool isHalf = type == Type::F16 || type == Type::BF16;
  if (noftz != (isHalf && kind == AtomicAdd))
    d.error(noftz ? ".noftz is for sums of halves" : ".noftz is missing");
  d.program.communicates |= toGlobal && (isHalf || isFloat(type));
  op.resultBytes = static_cast<uint8_t>(type);
}

void nestc::ptx::decodeBulkCopy(Decoder &d) {
  d.require(80, 90);
  bool isReduction = d.take("reduce");
  d.needOneOf({"async"});
  d.needOneOf({"bulk"});
  if (d.take("commit_group")) {
    d.finish(0);
    Op op = d.start(OpKind::Effect, OpClass::AsyncCopy);
    op.effect = commitBulk;
    return d.emit(std::move(op));
  }
  if (d.take("wait_group")) {
    bool reads = d.take("read");
    d.finish(1);
    std::optional<int64_t> pending = d.immediate(0);
    if (!pending || *pending < 0 || *pending > UINT32_MAX)
      return d.error("the number of groups is not a constant");
    Op op = d.start(OpKind::Effect, OpClass::AsyncCopy);
    op.flag = reads;
    op.imm = *pending;
    op.effect = waitBulk;
    return d.emit(std::move(op));
  }
  if (d.take("prefetch"))
    return decodePrefetch(d);
  bool isTensor = d.take("tensor");
  unsigned rank = isTensor ? takeRank(d) : 0;
  Side to = takeSide(d), from = takeSide(d);
  Op op = d.start(OpKind::Effect, OpClass::AsyncCopy);
  op.effect = copyBulk;
  op.variant = wayOf(d, to, from, isTensor, isReduction);
  d.program.copiesGlobal |= op.variant != SharedToShared;
  op.access.count = static_cast<uint8_t>(rank);
  bool loads = op.variant != SharedToGlobal;
  if (isTensor) {
    for (std::string_view mode :
         {"im2col", "im2col::w", "im2col::w::128", "tile::gather4",
          "tile::scatter4", "im2col_no_offs"})
      if (d.has(mode))
        return d.error("." + std::string(mode) + " is not supported", ".tile");
    d.take("tile");
  }
  d.needOneOf({loads ? "mbarrier::complete_tx::bytes" : "bulk_group"});
  bool multicast = op.variant == GlobalToShared &&
                   to.name == "shared::cluster" && d.take("multicast::cluster");
  bool hint = op.variant != SharedToShared && d.take("L2::cache_hint");
  bool masked = !loads && !isTensor && !isReduction && d.take("cp_mask");
  if (masked)
    d.require(86, 100);
  if (isReduction)
    decodeReduction(d, op, isTensor);
  unsigned least = (loads ? 3 : 2) + !isTensor;
  unsigned count = least + multicast + hint + masked;
  d.finish(count);
  std::vector<Slot> coordinates;
  if (isTensor && !loads)
    tensorOperand(d, op, d.operand(0), rank, coordinates);
  else
    addAddress(d, op, d.operand(0), to.space());
  if (isTensor && loads)
    tensorOperand(d, op, d.operand(1), rank, coordinates);
  else
    addAddress(d, op, d.operand(1), from.space());
  if (!isTensor) {
    op.s[1] = sizeOperand(d, 2);
  }
  if (loads)
    addAddress(d, op, d.operand(least - 1), Space::Shared);
  else
    op.list.push_back({});
  op.list.insert(op.list.end(), coordinates.begin(), coordinates.end());
  if (multicast)
    op.s[2] = d.source(least, Type::U16);
  if (hint)
    d.source(d.operandCount() - 1 - masked, Type::B64);
  if (masked)
    op.s[2] = d.source(d.operandCount() - 1, Type::B16);
  d.noteSharedAccess(8);
  d.noteAccess(isTensor ? 1 : 16);
  d.emit(std::move(op));
}
