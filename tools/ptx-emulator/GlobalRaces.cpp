//===- GlobalRaces.cpp - data races in global memory ----------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/GlobalRaces.h"

#include <algorithm>
#include <cstring>

using namespace nestc::ptx;

bool GlobalRaces::ordered(const Races &races, uint64_t block, unsigned warp,
                          unsigned lane, const GlobalAccess &earlier) {
  if (!earlier.record)
    return true;
  if (earlier.block == block)
    return races.ordered(warp, lane, earlier.record);
  const Known &known = blocks[block].known;
  auto it = known.find(earlier.block);
  return it != known.end() && it->second >= earlier.sequence;
}

bool GlobalRaces::isCoWriter(uint64_t number, uint64_t block,
                             uint32_t thread) const {
  auto it = coWriters.find(number);
  return it != coWriters.end() &&
         std::find(it->second.begin(), it->second.end(),
                   std::make_pair(block, thread)) != it->second.end();
}

const GlobalAccess *GlobalRaces::access(const Races &races, uint64_t block,
                                        unsigned warp, unsigned lane,
                                        uint64_t address, unsigned bytes,
                                        Kind kind, const uint8_t *value,
                                        uint32_t line, bool isOfBlock) {
  GlobalAccess now;
  now.block = block;
  // Releases to come are numbered from 1.
  now.sequence = blocks[block].sequence + 1;
  now.record = races.recordOf(warp, lane);
  now.line = line;
  now.isAtomic = kind == Kind::Atomic;
  now.isOfBlock = isOfBlock;
  for (unsigned offset = 0; offset < bytes; offset += granule) {
    uint64_t number = (address + offset) / granule;
    Page &page = pages[number / pageCells];
    if (page.empty())
      page.resize(pageCells);
    Cell &cell = page[number % pageCells];
    if (value && kind == Kind::Write)
      std::memcpy(&now.value, value + offset, granule);
    bool strong = kind == Kind::Atomic || kind == Kind::StrongRead;
    bool tooNarrow = strong && (isOfBlock || cell.write.isOfBlock) &&
                     cell.write.block != block;
    // A loop over cas begins with a plain load as a rule: reads and atomics are
    // left alone.
    bool isExempt =
        (strong || kind == Kind::Read) && cell.write.isAtomic && !tooNarrow;
    // Who has read a strong store comes after it, though not after what was
    // before it.
    for (const GlobalAccess &reader : cell.reads)
      isExempt |= cell.write.isAtomic && reader.isAtomic && reader.record &&
                  reader.block == block && !reader.isOfBlock;
    if (!isExempt && !ordered(races, block, warp, lane, cell.write)) {
      bool sameValue = kind == Kind::Write && !cell.write.isAtomic &&
                       cell.write.value == now.value;
      if (!sameValue && !isCoWriter(number, block, now.record & 1023))
        return &cell.write;
      if (sameValue)
        coWriters[number].emplace_back(cell.write.block,
                                       cell.write.record & 1023);
    } else if (kind == Kind::Write && !coWriters.empty()) {
      coWriters.erase(number);
    }
    if (kind == Kind::Write || kind == Kind::Atomic) {
      for (GlobalAccess &reader : cell.reads)
        if (!strong && !ordered(races, block, warp, lane, reader) &&
            !(kind == Kind::Write && cell.write.value == now.value &&
              cell.write.record))
          return &reader;
      cell.write = now;
      cell.reads[0] = cell.reads[1] = GlobalAccess();
      continue;
    }
    now.isAtomic = kind == Kind::StrongRead;
    cell.reads[cell.reads[0].record && cell.reads[0].block != block] = now;
  }
  return nullptr;
}

void GlobalRaces::join(Known &to, const Known &from) {
  for (auto [other, sequence] : from) {
    uint32_t &mine = to[other];
    mine = std::max(mine, sequence);
  }
}

void GlobalRaces::strongRead(uint64_t block, uint64_t address, bool acquires) {
  auto flag = flags.find(address);
  if (flag == flags.end())
    return;
  BlockState &state = blocks[block];
  join(acquires ? state.known : state.seen, flag->second);
}

void GlobalRaces::strongWrite(uint64_t block, uint64_t address, bool releases) {
  BlockState &state = blocks[block];
  if (releases)
    ++state.sequence;
  else if (!state.fenced)
    return;
  Known &flag = flags[address];
  join(flag, state.known);
  uint32_t &mine = flag[block];
  mine = std::max(mine, releases ? state.sequence : state.fenced);
}

void GlobalRaces::fence(uint64_t block) {
  BlockState &state = blocks[block];
  state.fenced = ++state.sequence;
  join(state.known, state.seen);
  state.seen.clear();
}
