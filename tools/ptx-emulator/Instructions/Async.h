//===- Async.h - asynchronous copies ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H

#include "tools/ptx-emulator/Decoder.h"
#include "tools/ptx-emulator/Machine.h"

namespace nestc {
namespace ptx {

/// Tells the race detector of the stores that these lanes' copies make. The
/// bytes stay pending.
void recordCopies(Warp &warp, AsyncCopies &copies, uint32_t lanes);

/// Lands the copies of a lane up to this AsyncCopies::number.
void landCopiesUpTo(Warp &warp, unsigned lane, uint64_t number);

/// Finds the mbarrier at each lane's address in `space`; `offset` is where it
/// lies in shared memory. `reads`: it stays as it is. False after a fault.
bool mbarriersAt(Warp &warp, const Op &op, uint32_t lanes, Space space,
                 const uint64_t *address, bool reads,
                 Mbarrier *(&mbarrier)[laneCount],
                 uint32_t (&offset)[laneCount]);

/// Adds to the bytes that the open phase expects. Completes the phase if all
/// has come.
bool expectBytes(Warp &warp, const Op &op, unsigned lane, Mbarrier &mbarrier,
                 int64_t bytes);
/// A copy of the lane has brought `bytes`; `landing` says where they are.
bool completeBytes(Warp &warp, const Op &op, unsigned lane, Mbarrier &mbarrier,
                   int64_t bytes, Landing landing);

/// A fault if the last stores of a range in shared memory, a multiple of 16,
/// are not fenced for the asynchronous proxy, which is to read it.
bool checkFenced(Warp &warp, const Op &op, unsigned lane, uint32_t at,
                 uint32_t bytes);

/// cp.async.bulk and cp.reduce.async.bulk (Bulk.cpp).
void decodeBulkCopy(Decoder &d);
/// cp.async.mbarrier.arrive (Mbarrier.cpp).
void decodeCopyArrival(Decoder &d);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H
