//===- MemoryAccess.h - addresses of a warp and what lies there --*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Loads, stores, atomics and copies share this: the addresses of the lanes, the
// checks (inside, aligned, defined, no race) and the host memory behind them.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_MEMORYACCESS_H
#define NESTC_TOOLS_PTX_EMULATOR_MEMORYACCESS_H

#include "tools/ptx-emulator/Machine.h"

namespace nestc {
namespace ptx {

/// How an instruction touches memory.
enum class Touch : uint8_t {
  Read,
  Write,
  Atomic,        ///< read-modify-write, or a strong store
  StrongRead,    ///< volatile, relaxed or acquire
  AsyncWrite,    ///< the destination of a copy
  CollectiveRead ///< read by all lanes (ldmatrix)
};

struct Pointers {
  uint8_t *data[laneCount];
  /// ByteState of each byte; null where all is defined.
  uint8_t *state[laneCount];
  /// Lanes whose address is in shared memory, and the offsets there.
  uint32_t sharedLanes = 0;
  uint32_t sharedAddress[laneCount];
};

/// Adds op.imm to the base register of each lane. False after a fault: an
/// undefined address.
bool addressesOf(Warp &warp, const Op &op, uint32_t lanes, uint64_t *address);

/// Finds `bytes` at each address in `space` and checks alignment to `align` and
/// bounds, not state and races. False after a fault.
bool locate(Warp &warp, const Op &op, uint32_t lanes, Space space,
            const uint64_t *address, unsigned bytes, unsigned align,
            Touch touch, Pointers &pointers);

/// Looks for races in shared memory. For stores, `values` are the new bytes.
bool checkRaces(Warp &warp, const Op &op, unsigned bytes, Touch touch,
                const Pointers &pointers, const StoredValues &values = {});

/// The fault for a race in shared memory.
void failRace(Warp &warp, const Op &op, const Race &race);

/// The same in global memory, when the launch asks for it.
bool checkGlobalRaces(Warp &warp, const Op &op, uint32_t lanes, Space space,
                      const uint64_t *address, unsigned bytes, Touch touch,
                      const Pointers &pointers,
                      const StoredValues &values = {});

/// A fault if a byte of global memory was stored through the generic proxy by
/// the block, and not fenced before a bulk copy touches it.
bool checkFencedGlobal(Warp &warp, const Op &op, unsigned lane,
                       uint64_t address, uint32_t bytes);

/// Any byte that is not Defined. `bytes` is a power of two up to 32.
bool anyUndefined(uint32_t lanes, unsigned bytes, const Pointers &pointers);

/// A fault if any byte is a copy that has not landed, or (with `definedOnly`)
/// undefined.
bool checkState(Warp &warp, const Op &op, uint32_t lanes, unsigned bytes,
                bool definedOnly, const Pointers &pointers);

/// An access with acquire or release semantics, lane by lane: what those who
/// released at the same address knew is taken, or what the lane knows is left.
void synchronize(Warp &warp, uint32_t lanes, const uint64_t *address,
                 const Pointers &pointers, Space space, bool acquires,
                 bool releases);

/// Adds a request of the warp to the counters.
void countAccess(Warp &warp, uint32_t lanes, Space space, bool isStore,
                 const uint64_t *address, const Pointers &pointers,
                 unsigned bytes);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_MEMORYACCESS_H
