//===- Order.h - the order in which lanes run to meet again -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Lanes that have parted meet again if those at the earliest operation run
// first, in an order where a block comes after all that lead to it and a loop
// is together, before what follows it. Compilers do not always write blocks in
// such an order; this makes one: a weak topological order (F. Bourdoncle,
// "Efficient chaotic iteration strategies with widenings", 1993).
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_ORDER_H
#define NESTC_TOOLS_PTX_EMULATOR_ORDER_H

#include "tools/ptx-emulator/Program.h"

namespace nestc {
namespace ptx {

/// The rank of every operation; needs Op::leader and targets.
std::vector<uint32_t> rankOps(const Program &program);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_ORDER_H
