//===- MemoryAccess.cpp - addresses of a warp and what lies there ---------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/MemoryAccess.h"
#include "tools/ptx-emulator/Lanes.h"

#include <algorithm>
#include <cassert>

using namespace nestc::ptx;

bool nestc::ptx::addressesOf(Warp &warp, const Op &op, uint32_t lanes,
                             uint64_t *address) {
  if (!warp.demand(op, op.s[0], lanes, "the address"))
    return false;
  if (op.access.wideAddress) {
    const uint64_t *base = warp.at<uint64_t>(op.s[0]);
    for (unsigned i = 0; i < laneCount; ++i)
      address[i] = base[i] + static_cast<uint64_t>(op.imm);
  } else {
    const uint32_t *base = warp.at<uint32_t>(op.s[0]);
    for (unsigned i = 0; i < laneCount; ++i)
      address[i] =
          static_cast<uint32_t>(base[i] + static_cast<uint32_t>(op.imm));
  }
  return true;
}

static std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

static const char *touchName(Touch touch) {
  switch (touch) {
  case Touch::Read:
  case Touch::StrongRead:
  case Touch::CollectiveRead:
    return "load";
  case Touch::Atomic:
    return "atomic";
  default:
    return "store";
  }
}

static bool outside(Warp &warp, const Op &op, unsigned lane, uint64_t address,
                    unsigned bytes, Touch touch, const char *space,
                    const std::string &where) {
  warp.fail(op, lane,
            std::string(touchName(touch)) + " of " + std::to_string(bytes) +
                " bytes at " + space + " address " + hex(address) + " is " +
                where);
  return false;
}

/// The window of a generic address; Global when it is in none.
static Space windowOf(uint64_t address) {
  if (address - sharedWindow < windowBytes)
    return Space::Shared;
  if (address - localWindow < windowBytes)
    return Space::Local;
  if (address - paramWindow < windowBytes)
    return Space::Param;
  return Space::Global;
}

/// A fault if a bulk copy that was not waited for writes there.
static bool checkBulkWrites(Warp &warp, const Op &op, unsigned lane,
                            uint64_t address, unsigned bytes, Touch touch) {
  for (const BulkWrite &write : warp.block.bulkWrites) {
    if (address >= write.last || address + bytes <= write.first ||
        (touch == Touch::Atomic && write.reduces))
      continue;
    for (auto [first, size] : write.ranges)
      if (address < first + size && first < address + bytes) {
        warp.fail(op, lane,
                  std::string(touchName(touch)) + " at global address " +
                      hex(address) +
                      ", which the asynchronous bulk copy of line " +
                      std::to_string(write.line) +
                      " may still write: it was not waited for "
                      "(cp.async.bulk.wait_group without .read)");
        return false;
      }
  }
  return true;
}

namespace {

/// Memory in one piece: `bytes` at an address, and on the host.
struct Piece {
  uint64_t address = 0, bytes = 0;
  uint8_t *data = nullptr, *state = nullptr;
};

} // namespace

/// Where the lanes are in the piece, if they all are.
NEST_PTX_INLINE bool placeLanes(uint32_t lanes, const uint64_t *address,
                                uint64_t bytes, const Piece &piece,
                                Pointers &p) {
  if (piece.bytes < bytes)
    return false;
  uint64_t offset[laneCount], last = piece.bytes - bytes, beyond = 0;
  for (unsigned i = 0; i < laneCount; ++i) {
    offset[i] = lanes >> i & 1 ? address[i] - piece.address : 0;
    beyond |= uint64_t(offset[i] > last);
  }
  if (beyond)
    return false;
  for (unsigned i = 0; i < laneCount; ++i) {
    p.data[i] = piece.data + offset[i];
    p.state[i] = piece.state ? piece.state + offset[i] : nullptr;
    p.sharedAddress[i] = static_cast<uint32_t>(offset[i]);
  }
  return true;
}
NEST_PTX_FAST static bool placeLanesFast(uint32_t lanes,
                                         const uint64_t *address,
                                         uint64_t bytes, const Piece &piece,
                                         Pointers &p) {
  return placeLanes(lanes, address, bytes, piece, p);
}

/// locate() for lanes that lie in shared memory or in one allocation, as they
/// do as a rule. Says nothing about faults.
static bool locateInOne(Block &block, uint32_t lanes, Space space,
                        const uint64_t *address, unsigned bytes, bool writes,
                        Pointers &p) {
  static const auto place = hasFastLanes() ? placeLanesFast : placeLanes;
  uint64_t first = address[__builtin_ctz(lanes)];
  Piece piece;
  if (space == Space::Shared ||
      (space == Space::Generic && windowOf(first) == Space::Shared)) {
    piece = {space == Space::Shared ? 0 : sharedWindow, block.sharedSize,
             block.shared.data(), block.sharedState.data()};
    p.sharedLanes = lanes;
  } else if (space == Space::Local || space == Space::Param ||
             windowOf(first) != Space::Global) {
    return false;
  } else {
    Allocation *allocation = block.device.find(first);
    if (!allocation || (writes && allocation->isConstant) ||
        !block.bulkWrites.empty())
      return false;
    piece = {allocation->address, allocation->bytes, allocation->data,
             allocation->undefined.get()};
    p.sharedLanes = 0;
  }
  return place(lanes, address, bytes, piece, p);
}

bool nestc::ptx::locate(Warp &warp, const Op &op, uint32_t lanes, Space space,
                        const uint64_t *address, unsigned bytes, unsigned align,
                        Touch touch, Pointers &p) {
  Block &block = warp.block;
  bool writes = touch == Touch::Write || touch == Touch::Atomic ||
                touch == Touch::AsyncWrite;
  uint64_t bad = 0;
  if (lanes == ~0u)
    for (unsigned lane = 0; lane < laneCount; ++lane)
      bad |= address[lane];
  else
    forLanes(lanes, [&](unsigned lane) { bad |= address[lane]; });
  if (bad & (align - 1)) {
    for (unsigned lane = 0; lane < laneCount; ++lane)
      if (lanes >> lane & 1 && address[lane] & (align - 1)) {
        warp.fail(op, lane,
                  std::string(touchName(touch)) + " at address " +
                      hex(address[lane]) +
                      " is misaligned: it has to be a "
                      "multiple of " +
                      std::to_string(align));
        return false;
      }
  }
  if (lanes && locateInOne(block, lanes, space, address, bytes, writes, p))
    return true;
  p.sharedLanes = 0;
  Allocation *last = nullptr;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    uint64_t at = address[lane];
    Space where = space;
    if (space == Space::Generic) {
      where = windowOf(at);
      if (where == Space::Shared)
        at -= sharedWindow;
      else if (where == Space::Local)
        at -= localWindow;
      else if (where == Space::Param)
        at -= paramWindow;
    }
    switch (where) {
    case Space::Shared:
      if (at > block.sharedSize || block.sharedSize - at < bytes)
        return outside(warp, op, lane, at, bytes, touch, "shared",
                       "outside the block's " +
                           std::to_string(block.sharedSize) + " bytes");
      p.data[lane] = block.shared.data() + at;
      p.state[lane] = block.sharedState.data() + at;
      p.sharedLanes |= 1u << lane;
      p.sharedAddress[lane] = at;
      break;
    case Space::Local: {
      uint32_t size = warp.program.localBytes;
      if (at > size || size - at < bytes)
        return outside(warp, op, lane, at, bytes, touch, "local",
                       "outside the thread's " + std::to_string(size) +
                           " bytes");
      size_t offset = size_t(lane) * size + at;
      p.data[lane] = warp.local.data() + offset;
      p.state[lane] = warp.localState.data() + offset;
      break;
    }
    case Space::Param: {
      uint64_t size = block.config.params.size();
      if (writes) {
        warp.fail(op, lane, "a store to the parameters of the kernel");
        return false;
      }
      if (at > size || size - at < bytes)
        return outside(warp, op, lane, at, bytes, touch, "param",
                       "outside the kernel's " + std::to_string(size) +
                           " bytes of parameters");
      p.data[lane] = const_cast<uint8_t *>(block.config.params.data()) + at;
      p.state[lane] = nullptr;
      break;
    }
    default: {
      if (!last || at - last->address >= last->bytes) {
        last = block.device.find(at);
        if (!last) {
          const Allocation *near = block.device.below(at);
          return outside(
              warp, op, lane, at, bytes, touch, "global",
              at == 0 ? std::string("a null pointer")
              : near && at - near->address - near->bytes < (1 << 20)
                  ? std::to_string(at - near->address - near->bytes) +
                        " bytes beyond " + near->name + " of " +
                        std::to_string(near->bytes) + " bytes"
                  : "outside every allocation");
        }
      }
      if (!block.bulkWrites.empty() &&
          !checkBulkWrites(warp, op, lane, at, bytes, touch))
        return false;
      uint64_t offset = at - last->address;
      if (last->bytes - offset < bytes)
        return outside(warp, op, lane, at, bytes, touch, "global",
                       std::to_string(offset + bytes - last->bytes) +
                           " bytes beyond the end of " + last->name + " of " +
                           std::to_string(last->bytes) + " bytes");
      if (writes && last->isConstant) {
        warp.fail(op, lane, "a store to " + last->name + ", which is constant");
        return false;
      }
      p.data[lane] = last->data + offset;
      p.state[lane] =
          last->undefined ? last->undefined.get() + offset : nullptr;
    }
    }
  }
  return true;
}

/// Any byte at the pointers that is not Defined.
template <unsigned bytes>
static bool anyUndefined(uint32_t lanes, uint8_t *const *state) {
  uint64_t any = 0;
  forLanes(lanes, [&](unsigned lane) {
    if (!state[lane])
      return;
    uint64_t words[(bytes + 7) / 8] = {};
    std::memcpy(words, state[lane], bytes);
    for (uint64_t word : words)
      any |= word;
  });
  return any != 0;
}

bool nestc::ptx::anyUndefined(uint32_t lanes, unsigned bytes,
                              const Pointers &p) {
  switch (bytes) {
  case 1:
    return ::anyUndefined<1>(lanes, p.state);
  case 2:
    return ::anyUndefined<2>(lanes, p.state);
  case 4:
    return ::anyUndefined<4>(lanes, p.state);
  case 8:
    return ::anyUndefined<8>(lanes, p.state);
  case 16:
    return ::anyUndefined<16>(lanes, p.state);
  default:
    return ::anyUndefined<32>(lanes, p.state);
  }
}

bool nestc::ptx::checkState(Warp &warp, const Op &op, uint32_t lanes,
                            unsigned bytes, bool definedOnly,
                            const Pointers &p) {
  if (!anyUndefined(lanes, bytes, p))
    return true;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    if (!p.state[lane])
      continue;
    for (unsigned i = 0; i < bytes; ++i) {
      uint8_t state = p.state[lane][i];
      if (state == Defined)
        continue;
      if (state == Pending) {
        warp.fail(op, lane,
                  "the destination of an asynchronous copy is used before the "
                  "copy was waited for");
        return false;
      }
      if (state == Object) {
        warp.fail(op, lane,
                  "an mbarrier is used as memory: only mbarrier instructions "
                  "touch it before mbarrier.inval");
        return false;
      }
      if (definedOnly) {
        warp.fail(op, lane, "memory is read that was never written");
        return false;
      }
    }
  }
  return true;
}

bool nestc::ptx::checkRaces(Warp &warp, const Op &op, unsigned bytes,
                            Touch touch, const Pointers &p,
                            const StoredValues &values) {
  if (!p.sharedLanes)
    return true;
  Block &block = warp.block;
  Races &races = block.races;
  assert(bytes >= warp.program.sharedGranule && "Decoder::noteSharedAccess");
  Race race;
  bool found = false;
  races.setTag(op.line);
  switch (touch) {
  case Touch::Read:
    found = races.read(warp.id, p.sharedLanes, p.sharedAddress, bytes, race);
    break;
  case Touch::CollectiveRead:
    found = races.readAll(warp.id, p.sharedLanes, p.sharedAddress, bytes, race);
    break;
  case Touch::Write:
    found = races.write(warp.id, p.sharedLanes, p.sharedAddress, bytes, values,
                        block.shared.data(), race);
    break;
  case Touch::Atomic:
    found = races.atomic(warp.id, p.sharedLanes, p.sharedAddress, bytes, race);
    break;
  case Touch::StrongRead:
    found =
        races.atomicRead(warp.id, p.sharedLanes, p.sharedAddress, bytes, race);
    break;
  case Touch::AsyncWrite:
    found =
        races.writeAsync(warp.id, p.sharedLanes, p.sharedAddress, bytes, race);
    break;
  }
  if (found)
    failRace(warp, op, race);
  return !found;
}

void nestc::ptx::failRace(Warp &warp, const Op &op, const Race &race) {
  const Block &block = warp.block;
  unsigned other = race.otherWarp * laneCount + race.otherLane;
  const uint32_t *extent = block.config.block;
  char text[256];
  std::snprintf(text, sizeof text,
                "race in shared memory: %s of byte %u, which thread "
                "(%u,%u,%u) %s in line %u with no synchronisation between",
                race.thisWrites ? "store" : "load", race.byte,
                other % extent[0], other / extent[0] % extent[1],
                other / (extent[0] * extent[1]),
                race.otherWrote ? "wrote" : "read", race.otherTag);
  warp.fail(op, race.lane, text);
}

/// Keeps in mind who stores to global memory.
static void noteGlobalStore(Warp &warp, const Op &op, uint32_t lanes,
                            Space space, const uint64_t *address,
                            unsigned bytes) {
  Block &block = warp.block;
  forLanes(lanes, [&](unsigned lane) {
    Space where = space == Space::Generic ? windowOf(address[lane]) : space;
    if (where != Space::Global)
      return;
    uint64_t record = block.races.recordOf(warp.id, lane);
    for (uint64_t at = address[lane], end = at + bytes; at < end;) {
      uint64_t next = std::min(end, (at | 3) + 1);
      uint8_t stored = ((1u << (next - at)) - 1) << (at & 3);
      Block::GlobalStore &store = block.globalStores[at / 4];
      bool same = store.record == record && store.line == op.line;
      store = {record, op.line,
               static_cast<uint8_t>(stored | (same ? store.bytes : 0))};
      at = next;
    }
  });
}

bool nestc::ptx::checkFencedGlobal(Warp &warp, const Op &op, unsigned lane,
                                   uint64_t address, uint32_t bytes) {
  Block &block = warp.block;
  uint64_t end = address + bytes;
  for (uint64_t at = address; at < end && !block.globalStores.empty();) {
    uint64_t next = std::min(end, (at | 3) + 1);
    uint8_t touched = ((1u << (next - at)) - 1) << (at & 3);
    auto found = block.globalStores.find(at / 4);
    if (found != block.globalStores.end() && found->second.bytes & touched &&
        !block.races.isFenced(block.fencedGlobal, found->second.record)) {
      warp.fail(op, lane,
                "global memory at " + hex(at) + " was stored in line " +
                    std::to_string(found->second.line) +
                    " with no fence.proxy.async before the asynchronous proxy "
                    "touches it");
      return false;
    }
    at = next;
  }
  return true;
}

bool nestc::ptx::checkGlobalRaces(Warp &warp, const Op &op, uint32_t lanes,
                                  Space space, const uint64_t *address,
                                  unsigned bytes, Touch touch,
                                  const Pointers &p,
                                  const StoredValues &values) {
  Block &block = warp.block;
  if (block.program.copiesGlobal && op.opClass != OpClass::AsyncCopy &&
      (touch == Touch::Write || touch == Touch::Atomic))
    noteGlobalStore(warp, op, lanes & ~p.sharedLanes, space, address, bytes);
  GlobalRaces *races = block.globalRaces;
  if (!races)
    return true;
  using Kind = GlobalRaces::Kind;
  Kind kind = touch == Touch::Write        ? Kind::Write
              : touch == Touch::Atomic     ? Kind::Atomic
              : touch == Touch::StrongRead ? Kind::StrongRead
                                           : Kind::Read;
  for (uint32_t rest = lanes & ~p.sharedLanes; rest; rest &= rest - 1) {
    unsigned lane = __builtin_ctz(rest);
    Space where = space == Space::Generic ? windowOf(address[lane]) : space;
    if (where != Space::Global)
      continue;
    bool strong = kind == Kind::Atomic || kind == Kind::StrongRead;
    bool wide = strong && !op.access.isOfBlock;
    bool reads = kind == Kind::StrongRead ||
                 (op.opClass == OpClass::Atomic && !op.list2.empty());
    if (wide && reads)
      races->strongRead(block.index, address[lane], op.access.acquires);
    uint8_t stored[16] = {};
    for (unsigned b = 0; values.bytes && b < bytes && b < 16; ++b)
      stored[b] = static_cast<const uint8_t *>(
          values.element[b / values.bytes])[lane * values.stride +
                                            b % values.bytes];
    const GlobalAccess *other =
        races->access(block.races, block.index, warp.id, lane, address[lane],
                      bytes, kind, stored, op.line, strong && !wide);
    if (wide && kind == Kind::Atomic)
      races->strongWrite(block.index, address[lane], op.access.releases);
    if (!other)
      continue;
    const LaunchConfig &config = block.config;
    unsigned thread = other->record & 1023;
    const uint32_t *extent = config.block, *grid = config.grid;
    char text[256];
    std::snprintf(
        text, sizeof text,
        "race in global memory: %s at %s, which block (%llu,%llu,%llu) thread "
        "(%u,%u,%u) touched in line %u with no synchronisation between",
        touchName(touch), hex(address[lane]).c_str(),
        static_cast<unsigned long long>(other->block % grid[0]),
        static_cast<unsigned long long>(other->block / grid[0] % grid[1]),
        static_cast<unsigned long long>(other->block /
                                        (uint64_t(grid[0]) * grid[1])),
        thread % extent[0], thread / extent[0] % extent[1],
        thread / (extent[0] * extent[1]), other->line);
    warp.fail(op, lane, text);
    return false;
  }
  return true;
}

void nestc::ptx::synchronize(Warp &warp, uint32_t lanes,
                             const uint64_t *address, const Pointers &p,
                             Space space, bool acquires, bool releases) {
  if (!acquires && !releases)
    return;
  Block &block = warp.block;
  forLanes(lanes, [&](unsigned lane) {
    bool shared = p.sharedLanes >> lane & 1;
    uint64_t key =
        shared ? sharedWindow + p.sharedAddress[lane] : address[lane];
    Knowledge &flag = block.flags[key];
    if (acquires)
      block.races.acquire(flag, warp.id, 1u << lane);
    if (releases)
      block.races.release(flag, warp.id, 1u << lane);
  });
}

void nestc::ptx::countAccess(Warp &warp, uint32_t lanes, Space space,
                             bool isStore, const uint64_t *address,
                             const Pointers &p, unsigned bytes) {
  Counters &c = warp.block.counters;
  uint32_t shared = p.sharedLanes & lanes, others = lanes & ~shared;
  auto at = [](Space s) { return static_cast<unsigned>(s); };
  if (shared) {
    c.bytes[at(Space::Shared)][isStore] +=
        uint64_t(bytes) * __builtin_popcount(shared);
    if (!warp.block.config.profile)
      return;
    // 64- and 128-bit requests go in halves and quarters of a warp; a pass
    // serves one word of each of the 32 banks, or lanes that want the same.
    unsigned group = bytes >= 16 ? 8 : bytes == 8 ? 16 : 32;
    for (unsigned first = 0; first < laneCount; first += group) {
      uint32_t words[laneCount];
      unsigned count = 0;
      for (unsigned lane = first; lane < first + group; ++lane)
        if (shared >> lane & 1)
          for (unsigned b = 0; b < std::max(bytes, 4u); b += 4)
            words[count++ % laneCount] = (p.sharedAddress[lane] + b) / 4;
      if (!count)
        continue;
      std::sort(words, words + count);
      unsigned perBank[32] = {}, most = 0;
      for (unsigned i = 0; i < count; ++i)
        if (!i || words[i] != words[i - 1])
          most = std::max(most, ++perBank[words[i] % 32]);
      c.sharedPasses += most;
      c.sharedIdeal += 1;
    }
  }
  if (!others)
    return;
  Space where =
      space == Space::Generic || space == Space::Const ? Space::Global : space;
  if (space == Space::Generic) {
    unsigned lane = __builtin_ctz(others);
    where = windowOf(address[lane]);
  }
  c.bytes[at(where)][isStore] += uint64_t(bytes) * __builtin_popcount(others);
  if (!warp.block.config.profile || where == Space::Param)
    return;
  uint64_t sectors[laneCount * 2];
  unsigned count = 0;
  if (where == Space::Local) {
    // Local memory is laid out so that the same word of all lanes is together.
    c.sectors[at(where)][isStore] +=
        (uint64_t(bytes) * __builtin_popcount(others) + 31) / 32;
    return;
  }
  forLanes(others, [&](unsigned lane) {
    sectors[count++] = address[lane] / 32;
    if ((address[lane] + bytes - 1) / 32 != address[lane] / 32)
      sectors[count++] = (address[lane] + bytes - 1) / 32;
  });
  std::sort(sectors, sectors + count);
  c.sectors[at(where)][isStore] +=
      std::unique(sectors, sectors + count) - sectors;
}
