//===- Elements.h - elements of matrices ------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ELEMENTS_H
#define NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ELEMENTS_H

#include "tools/ptx-emulator/Lanes.h"

namespace nestc {
namespace ptx {

/// Calls `f(fn)`, where `fn(bits)` makes a number of an element's bits.
template <typename T, typename F>
void byElement(Type type, F f) {
  if constexpr (std::is_same_v<T, double>) {
    f([](uint64_t bits) { return fromBits<double>(bits); });
  } else if constexpr (std::is_same_v<T, int32_t>) {
    auto extended = [](unsigned shift) {
      return [shift](uint64_t bits) {
        return static_cast<int32_t>(static_cast<uint32_t>(bits) << shift) >>
               shift;
      };
    };
    switch (type) {
    case Type::S8:
      return f(extended(24));
    case Type::S4:
      return f(extended(28));
    default:
      return f([](uint64_t bits) { return static_cast<int32_t>(bits); });
    }
  } else {
    switch (type) {
    case Type::F16:
      return f([](uint64_t bits) {
        return toFloat(Half{static_cast<uint16_t>(bits)});
      });
    case Type::BF16:
      return f([](uint64_t bits) {
        return toFloat(Bf16{static_cast<uint16_t>(bits)});
      });
    case Type::E4M3:
      return f([](uint64_t bits) {
        return toFloat(e4m3ToHalf(static_cast<uint8_t>(bits)));
      });
    case Type::E5M2:
      return f([](uint64_t bits) {
        return toFloat(e5m2ToHalf(static_cast<uint8_t>(bits)));
      });
    case Type::TF32:
      return f([](uint64_t bits) {
        return fromBits<float>(static_cast<uint32_t>(bits) & 0xffffe000);
      });
    default:
      return f([](uint64_t bits) {
        return fromBits<float>(static_cast<uint32_t>(bits));
      });
    }
  }
}

/// Bits that an element takes in a register.
inline unsigned elementBits(Type type) {
  return type == Type::TF32 || type == Type::B1 ? 32 : typeBits(type);
}

// Vectors of the compiler: operations on them fit any instruction set.
using Floats = float __attribute__((vector_size(32)));
using FourFloats = float __attribute__((vector_size(16)));
using Halves = uint16_t __attribute__((vector_size(16)));
using Words = uint32_t __attribute__((vector_size(16)));
using Longs = uint64_t __attribute__((vector_size(16)));
using WideWords = uint32_t __attribute__((vector_size(32)));

template <typename To, typename From>
NEST_PTX_INLINE To as(const From &from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/// Eight f16 or bf16 as floats.
template <bool fast, bool isHalf>
NEST_PTX_INLINE void widen(const void *from, float *to) {
  if constexpr (!isHalf) {
    Halves bits;
    std::memcpy(&bits, from, sizeof bits);
    WideWords wide = __builtin_convertvector(bits, WideWords) << 16;
    std::memcpy(to, &wide, sizeof wide);
#if defined(__x86_64__)
  } else if constexpr (fast) {
    _Float16 __attribute__((vector_size(16))) halves;
    std::memcpy(&halves, from, sizeof halves);
    Floats wide = __builtin_convertvector(halves, Floats);
    std::memcpy(to, &wide, sizeof wide);
#endif
  } else {
    uint16_t bits[8];
    std::memcpy(bits, from, sizeof bits);
    for (unsigned i = 0; i < 8; ++i)
      to[i] = toFloat(Half{bits[i]});
  }
}

/// 8 x 8 elements of 16 bits, transposed.
NEST_PTX_INLINE void transpose(const uint32_t *from, Halves *to) {
  Halves v[8];
  std::memcpy(v, from, sizeof v);
  Words w[8];
  for (unsigned i = 0; i < 4; ++i) {
    Halves x = v[2 * i], y = v[2 * i + 1];
    w[i] = as<Words>(__builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11));
    w[i + 4] =
        as<Words>(__builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15));
  }
  // w[i]: elements 0 to 3 of rows 2 i and the next; w[i + 4]: 4 to 7.
  for (unsigned half = 0; half < 2; ++half) {
    const Words *q = w + 4 * half;
    Longs low01 = as<Longs>(__builtin_shufflevector(q[0], q[1], 0, 4, 1, 5));
    Longs high01 = as<Longs>(__builtin_shufflevector(q[0], q[1], 2, 6, 3, 7));
    Longs low23 = as<Longs>(__builtin_shufflevector(q[2], q[3], 0, 4, 1, 5));
    Longs high23 = as<Longs>(__builtin_shufflevector(q[2], q[3], 2, 6, 3, 7));
    Halves *out = to + 4 * half;
    out[0] = as<Halves>(__builtin_shufflevector(low01, low23, 0, 2));
    out[1] = as<Halves>(__builtin_shufflevector(low01, low23, 1, 3));
    out[2] = as<Halves>(__builtin_shufflevector(high01, high23, 0, 2));
    out[3] = as<Halves>(__builtin_shufflevector(high01, high23, 1, 3));
  }
}

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ELEMENTS_H
