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
// ordered by what they do with atomics and other strong accesses to the same
// address, each of which is taken to release all that its block has done and to
// acquire all that was released there: lenient, so that no legal pattern of
// fences and flags is reported. Plain loads and atomics do not race here: a
// loop over cas begins with such a load. Of the readers since the last store
// two are kept.
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
};

class GlobalRaces {
public:
  /// `granule` is 1, 2 or 4 bytes.
  explicit GlobalRaces(unsigned granule) : granule(granule) {}

  enum class Kind : uint8_t { Read, Write, Atomic, StrongRead };

  /// An access of a lane to `bytes` at an address; `value` are the bytes of a
  /// store. The earlier access if they race, else null.
  const GlobalAccess *access(const Races &races, uint64_t block, unsigned warp,
                             unsigned lane, uint64_t address, unsigned bytes,
                             Kind kind, const uint8_t *value, uint32_t line);

  /// A strong access of a block to an address.
  void synchronize(uint64_t block, uint64_t address);

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
    Known known;
  };

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
