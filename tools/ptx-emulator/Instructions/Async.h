//===- Async.h - asynchronous copies ----------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H

#include "tools/ptx-emulator/Machine.h"

namespace nestc {
namespace ptx {

/// Lands the copies of these lanes that are in no group among their last
/// `pending` committed ones; with `open` also those not committed.
void landCopies(Warp &warp, uint32_t lanes, uint32_t pending, bool open);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ASYNC_H
