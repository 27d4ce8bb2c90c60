//===- Atomic.h - reading, changing and storing -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ATOMIC_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ATOMIC_H

#include "tools/ptx-emulator/Types.h"

#include <cstdint>

namespace nestc {
namespace ptx {

enum AtomicKind : uint8_t {
  AtomicAdd,
  AtomicMin,
  AtomicMax,
  AtomicAnd,
  AtomicOr,
  AtomicXor,
  AtomicExch,
  AtomicCas,
  AtomicInc,
  AtomicDec
};

/// Reduces `count` elements at `from` into those at `to`, each atomically.
using ReduceFn = void (*)(uint8_t *to, const uint8_t *from, uint32_t count,
                          AtomicKind kind, bool global);
/// The one for a type; null when there are no reductions of it. Kinds from
/// AtomicAnd on are for integers.
ReduceFn reduction(Type type);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ATOMIC_H
