//===- Lanes.h - functions over the lanes of a warp -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// `laneFn<F, D, S...>()` makes a LaneFn of a scalar function: F::apply takes
// the operands' lanes and the operation and gives the result's. It exists
// twice, for any x86-64 (or other) processor and for AVX2 with FMA; the one
// that fits the machine is chosen once. F::apply is NEST_PTX_INLINE, so that it
// is compiled for both. All 32 lanes are computed; those of the mask are
// stored.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_LANES_H
#define NESTC_TOOLS_PTX_EMULATOR_LANES_H

#include "tools/ptx-emulator/Machine.h"
#include "tools/ptx-emulator/Numbers.h"

#include <cstring>

#if defined(__x86_64__)
#define NEST_PTX_FAST                                                          \
  __attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")))
#else
#define NEST_PTX_FAST
#endif

namespace nestc {
namespace ptx {

/// Whether this machine runs what NEST_PTX_FAST marks.
bool hasFastLanes();

/// A predicate as result of a lane function.
struct Bit {
  bool value;
};
/// A predicate as operand.
struct BitOperand {};

/// Stores the lanes of a mask; all of them at once when it is full.
template <typename D>
NEST_PTX_INLINE void store(D *__restrict to, const D *__restrict from,
                           uint32_t lanes) {
  if (lanes == ~0u) {
    std::memcpy(to, from, sizeof(D) * laneCount);
    return;
  }
  for (unsigned i = 0; i < laneCount; ++i)
    to[i] = lanes >> i & 1 ? from[i] : to[i];
}

template <typename S>
struct LaneSource {
  const S *from;
  NEST_PTX_INLINE LaneSource make(Warp &warp, Slot slot) {
    return {warp.at<S>(slot)};
  }
  inline __attribute__((always_inline)) S operator[](unsigned i) const {
    return from[i];
  }
};
template <>
struct LaneSource<BitOperand> {
  uint32_t mask;
  NEST_PTX_INLINE LaneSource make(Warp &warp, Slot slot) {
    return {warp.predicate(slot)};
  }
  inline __attribute__((always_inline)) bool operator[](unsigned i) const {
    return mask >> i & 1;
  }
};

template <typename F, typename D, typename... S, size_t... I>
NEST_PTX_INLINE void applyLanes(Warp &warp, const Op &op, uint32_t lanes,
                                std::index_sequence<I...>) {
  if constexpr (std::is_same_v<D, Bit>) {
    uint32_t mask = 0;
    [&](LaneSource<S>... sources) __attribute__((always_inline)) {
      for (unsigned i = 0; i < laneCount; ++i)
        mask |= uint32_t(F::apply(op, sources[i]...)) << i;
    }(LaneSource<S>::make(warp, op.s[I])...);
    uint32_t &d = warp.predicate(op.d);
    d = (d & ~lanes) | (mask & lanes);
  } else {
    D result[laneCount];
    [&](LaneSource<S>... sources) __attribute__((always_inline)) {
      for (unsigned i = 0; i < laneCount; ++i)
        result[i] = F::apply(op, sources[i]...);
    }(LaneSource<S>::make(warp, op.s[I])...);
    store(warp.at<D>(op.d), result, lanes);
  }
}

template <typename F, typename D, typename... S>
NEST_PTX_FAST void runLanesFast(Warp &warp, const Op &op, uint32_t lanes) {
  applyLanes<F, D, S...>(warp, op, lanes, std::index_sequence_for<S...>());
}
template <typename F, typename D, typename... S>
void runLanes(Warp &warp, const Op &op, uint32_t lanes) {
  applyLanes<F, D, S...>(warp, op, lanes, std::index_sequence_for<S...>());
}

template <typename F, typename D, typename... S>
LaneFn laneFn() {
  return hasFastLanes() ? &runLanesFast<F, D, S...> : &runLanes<F, D, S...>;
}

/// Sets the function and the size of the result.
template <typename F, typename D, typename... S>
void setLane(Op &op) {
  op.lane = laneFn<F, D, S...>();
  if constexpr (std::is_same_v<D, Bit>)
    op.hasResultPredicate = true;
  else
    op.resultBytes = sizeof(D);
}

/// Calls `f(T())` with the unsigned C++ type of a register of so many bytes.
template <typename Fn>
void byWidth(unsigned bytes, Fn f) {
  switch (bytes) {
  case 2:
    return f(uint16_t());
  case 8:
    return f(uint64_t());
  default:
    return f(uint32_t());
  }
}
/// With the C++ type of a PTX integer type of 16, 32 or 64 bits.
template <typename Fn>
void byInteger(Type type, Fn f) {
  switch (type) {
  case Type::S16:
    return f(int16_t());
  case Type::S32:
    return f(int32_t());
  case Type::S64:
    return f(int64_t());
  default:
    return byWidth(typeBytes(type), f);
  }
}

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_LANES_H
