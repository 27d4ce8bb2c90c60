//===- GlobalRaces.h - data races in global memory --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On request: races between all threads of a grid, which one core runs then.
// Threads of a block are ordered as in shared memory (Races.h). Blocks are
// ordered by releases and acquires at the same address (PTX ISA, 8.8), or by
// strong accesses to it behind and before fences; relaxed accesses and what has
// the scope of a block order nothing.
//
// Lenient on purpose:
//  - Fences, releases and acquires of a thread are those of its block: threads
//    that meet at a barrier do not all have to fence.
//  - What was released at an address stays so, whatever is stored there.
//  - Plain loads and atomics do not race: a loop over cas begins with such a
//    load.
//  - Of the readers since the last store two are kept.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_GLOBALRACES_H
#define NESTC_TOOLS_PTX_EMULATOR_GLOBALRACES_H

#include "tools/ptx-emulator/Races.h"

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nestc {
namespace ptx {

/// One access and who made it.
struct GlobalAccess {
  uint64_t block = 0;
  uint64_t record = 0;   ///< Races::recordOf within the block; 0: none
  uint32_t sequence = 0; ///< of the block's releases
  uint32_t line = 0;
  uint32_t value = 0; ///< of a store
  bool isAtomic = false;
  bool isOfBlock = false; ///< its scope ends at the block
};

class GlobalRaces {
public:
  /// `granule` is 1, 2 or 4 bytes.
  explicit GlobalRaces(unsigned granule) : granule(granule) {}

  enum class Kind : uint8_t { Read, Write, Atomic, StrongRead };

  /// An access of a lane to `bytes` at an address; `value` are the bytes of a
  /// store, `isOfBlock`: a strong access with a scope that ends at the block.
  /// The earlier access if they race, else null.
  const GlobalAccess *access(const Races &races, uint64_t block, unsigned warp,
                             unsigned lane, uint64_t address, unsigned bytes,
                             Kind kind, const uint8_t *value, uint32_t line,
                             bool isOfBlock = false);

  /// A strong load or read-modify-write, before access(): what was released at
  /// the address is known, at once or (with no `acquires`) from the block's
  /// next fence on.
  void strongRead(uint64_t block, uint64_t address, bool acquires);
  /// A strong store or read-modify-write, after access(): what the block has
  /// done is released there, or (with no `releases`) what it had before its
  /// last fence.
  void strongWrite(uint64_t block, uint64_t address, bool releases);
  /// A fence with a scope beyond the block.
  void fence(uint64_t block);

private:
  struct Cell {
    GlobalAccess write, reads[2];
  };
  static constexpr uint64_t pageCells = 1024;
  using Page = std::vector<Cell>;
  /// Up to which release an access of each block is known.
  using Known = std::map<uint64_t, uint32_t>;
  struct BlockState {
    uint32_t sequence = 0;
    uint32_t fenced = 0; ///< the release of the last fence
    Known known;
    Known seen; ///< will be known from the next fence on
  };
  static void join(Known &to, const Known &from);

  bool ordered(const Races &races, uint64_t block, unsigned warp, unsigned lane,
               const GlobalAccess &earlier);

  bool isCoWriter(uint64_t number, uint64_t block, uint32_t thread) const;

  unsigned granule;
  std::unordered_map<uint64_t, Page> pages;
  /// Others that stored the same value, by granule: block and thread.
  std::unordered_map<uint64_t, std::vector<std::pair<uint64_t, uint32_t>>>
      coWriters;
  std::unordered_map<uint64_t, BlockState> blocks;
  std::unordered_map<uint64_t, Known> flags; ///< by address
};

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_GLOBALRACES_H
