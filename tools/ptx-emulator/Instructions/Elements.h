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

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_EMULATOR_INSTRUCTIONS_ELEMENTS_H
