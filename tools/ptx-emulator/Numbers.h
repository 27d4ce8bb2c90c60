//===- Numbers.h - the arithmetic of PTX ------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Single elements, as PTX ISA 9.0 computes them. Round-to-nearest operations,
// minimum and maximum and the integer helpers are inline and free of branches,
// so that a loop over the 32 lanes of a warp vectorises; directed rounding is
// exact integer arithmetic in Numbers.cpp. Nothing here changes the floating
// point environment, and all of it expects the default one (nearest even,
// subnormals kept).
//
// Where the manual leaves a choice:
// - A NaN result is 0x7fffffff (f32), 0x7fff (f16, bf16), also of a conversion
//   between them. f64 keeps the payload of the first NaN operand, quiet; an
//   invalid operation gives 0xfff8000000000000.
// - .ftz looks at the rounded result: what rounds up to the smallest normal
//   number stays.
// - .sat and .relu turn -0 into +0.
// - .approx functions are computed in double and rounded once to nearest,
//   far inside the errors of the manual.
// - min and max of f64 with two NaNs keep the payload of the first.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTXEMULATOR_NUMBERS_H
#define NESTC_TOOLS_PTXEMULATOR_NUMBERS_H

#include <cstdint>
#include <limits>
#include <type_traits>

/// A function that is part of its caller, and so is compiled for the caller's
/// instruction set.
#define NEST_PTX_INLINE static inline __attribute__((always_inline))

namespace nestc {
namespace ptx {

enum class Round { NearestEven, NearestAway, Zero, Down, Up };

/// An .f16 and a .bf16.
struct Half {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};

/// What may follow the type of an instruction. An operation ignores what PTX
/// does not define for it, but flushes and clamps wherever it is told to.
struct Modifiers {
  bool ftz = false;       ///< subnormal operands and results are zeros
  bool sat = false;       ///< clamped to [0, 1], NaN is 0
  bool relu = false;      ///< negative results are 0
  bool satfinite = false; ///< infinite results are the largest finite number
};

//===----------------------------------------------------------------------===//
// Bits
//===----------------------------------------------------------------------===//

/// The layout of a type: the bits of infinity, of one, and what a NaN is.
template <typename T>
struct Layout;
template <>
struct Layout<float> {
  using Bits = uint32_t;
  static constexpr Bits sign = 0x80000000, infinity = 0x7f800000,
                        one = 0x3f800000, nan = 0x7fffffff;
};
template <>
struct Layout<double> {
  using Bits = uint64_t;
  static constexpr Bits sign = 0x8000000000000000,
                        infinity = 0x7ff0000000000000, one = 0x3ff0000000000000,
                        nan = 0xfff8000000000000;
};
template <>
struct Layout<Half> {
  using Bits = uint16_t;
  static constexpr Bits sign = 0x8000, infinity = 0x7c00, one = 0x3c00,
                        nan = 0x7fff;
};
template <>
struct Layout<Bf16> {
  using Bits = uint16_t;
  static constexpr Bits sign = 0x8000, infinity = 0x7f80, one = 0x3f80,
                        nan = 0x7fff;
};
template <typename T>
using BitsOf = typename Layout<T>::Bits;

template <typename T>
inline constexpr bool isFloatType =
    std::is_same_v<T, float> || std::is_same_v<T, double> ||
    std::is_same_v<T, Half> || std::is_same_v<T, Bf16>;

template <typename T>
NEST_PTX_INLINE BitsOf<T> toBits(T value) {
  return __builtin_bit_cast(BitsOf<T>, value);
}
template <typename T>
NEST_PTX_INLINE T fromBits(BitsOf<T> bits) {
  return __builtin_bit_cast(T, bits);
}

template <typename T>
NEST_PTX_INLINE BitsOf<T> magnitudeBits(T value) {
  return toBits(value) & static_cast<BitsOf<T>>(~Layout<T>::sign);
}

template <typename T>
NEST_PTX_INLINE bool isNaN(T value) {
  return magnitudeBits(value) > Layout<T>::infinity;
}

/// A NaN as the operation it comes out of gives it: canonical; quiet with its
/// payload if f64.
template <typename T>
NEST_PTX_INLINE T canonical(T value) {
  if constexpr (std::is_same_v<T, double>)
    return isNaN(value) ? fromBits<double>(toBits(value) | 0x8000000000000)
                        : value;
  else
    return isNaN(value) ? fromBits<T>(Layout<T>::nan) : value;
}

/// Subnormal numbers become zeros of their sign.
template <typename T>
NEST_PTX_INLINE T flush(T value) {
  using Bits = BitsOf<T>;
  Bits bits = toBits(value);
  Bits zero = bits & Layout<T>::sign;
  return fromBits<T>((bits & Layout<T>::infinity) ? bits : zero);
}

/// Clamped to [0, 1]; NaN and -0 give 0.
template <typename T>
NEST_PTX_INLINE T saturate(T value) {
  using Bits = BitsOf<T>;
  Bits bits = toBits(value);
  bool keep = bits <= Layout<T>::infinity; // neither NaN nor signed
  Bits clamped = bits < Layout<T>::one ? bits : Layout<T>::one;
  return fromBits<T>(keep ? clamped : Bits(0));
}

/// Negative numbers and -0 give 0; NaN is canonical.
template <typename T>
NEST_PTX_INLINE T relu(T value) {
  using Bits = BitsOf<T>;
  Bits bits = toBits(canonical(value));
  bool zero = !isNaN(value) && (bits & Layout<T>::sign);
  return fromBits<T>(zero ? Bits(0) : bits);
}

/// Infinity becomes the largest finite number of its sign.
template <typename T>
NEST_PTX_INLINE T clampToFinite(T value) {
  using Bits = BitsOf<T>;
  Bits bits = toBits(value);
  bool infinite = magnitudeBits(value) == Layout<T>::infinity;
  return fromBits<T>(infinite ? Bits(bits - 1) : bits);
}

/// What the modifiers make of a rounded result.
template <typename T>
NEST_PTX_INLINE T finish(T value, Modifiers modifiers) {
  value = canonical(value);
  value = modifiers.ftz ? flush(value) : value;
  value = modifiers.satfinite ? clampToFinite(value) : value;
  value = modifiers.relu ? relu(value) : value;
  value = modifiers.sat ? saturate(value) : value;
  return value;
}

template <typename T>
NEST_PTX_INLINE T operand(T value, Modifiers modifiers) {
  return modifiers.ftz ? flush(value) : value;
}

//===----------------------------------------------------------------------===//
// Conversions between floats, to nearest even
//===----------------------------------------------------------------------===//

namespace detail {

/// The float next to a double, where what is cut off is kept in an odd last
/// bit: rounding it again to at most 22 bits gives what rounding once gives.
NEST_PTX_INLINE float roundToOdd(double value) {
  float nearest = static_cast<float>(value);
  double back = nearest;
  uint32_t bits = toBits(nearest);
  uint32_t step = __builtin_fabs(back) > __builtin_fabs(value) ? ~0u : 1u;
  bool move = (back < value || back > value) && !(bits & 1);
  return fromBits<float>(bits + (move ? step : 0));
}

NEST_PTX_INLINE float widen(Half value) {
  uint32_t magnitude = value.bits & 0x7fff;
  uint32_t sign = (value.bits & 0x8000u) << 16;
  // 2^112 is what the exponents differ by; infinity gets the largest exponent.
  uint32_t normal = (magnitude << 13) + (112u << 23);
  uint32_t special = (magnitude << 13) | 0x7f800000;
  uint32_t subnormal =
      toBits(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  uint32_t bits = magnitude < 0x400 ? subnormal : normal;
  bits = magnitude >= 0x7c00 ? special : bits;
  bits |= sign;
  return fromBits<float>(magnitude > 0x7c00 ? Layout<float>::nan : bits);
}

NEST_PTX_INLINE float widen(Bf16 value) {
  return canonical(fromBits<float>(static_cast<uint32_t>(value.bits) << 16));
}

NEST_PTX_INLINE Half toHalf(float value) {
  uint32_t magnitude = magnitudeBits(value);
  uint32_t sign = (toBits(value) >> 16) & 0x8000;
  uint32_t normal =
      (magnitude - (112u << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // The sum has the spacing of subnormals, and so the hardware rounds to it.
  uint32_t subnormal = toBits(fromBits<float>(magnitude) + 0.5f) - toBits(0.5f);
  uint32_t bits = magnitude < 0x38800000 ? subnormal : normal;
  bits = magnitude >= 0x477ff000 ? 0x7c00 : bits;
  bits |= sign;
  bits = magnitude > 0x7f800000 ? 0x7fff : bits;
  return Half{static_cast<uint16_t>(bits)};
}

NEST_PTX_INLINE Bf16 toBf16(float value) {
  uint32_t bits = toBits(value);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  bool nan = magnitudeBits(value) > 0x7f800000;
  return Bf16{static_cast<uint16_t>(nan ? 0x7fff : rounded)};
}

/// A magnitude as a double that is exact, or odd in its last bit.
NEST_PTX_INLINE double oddDouble(uint64_t magnitude) {
  uint64_t high = (magnitude >> 11) | ((magnitude & 0x7ff) != 0);
  bool wide = magnitude >> 53;
  double result =
      static_cast<double>(static_cast<int64_t>(wide ? high : magnitude));
  return wide ? result * 0x1p11 : result;
}

} // namespace detail

/// Exact: f16 and bf16 as f32.
NEST_PTX_INLINE float toFloat(Half value) { return detail::widen(value); }
NEST_PTX_INLINE float toFloat(Bf16 value) { return detail::widen(value); }

/// Exact: any float type as f64; NaN keeps its payload if it was f32 or f64.
NEST_PTX_INLINE double toDouble(double value) { return canonical(value); }
NEST_PTX_INLINE double toDouble(float value) { return value; }
NEST_PTX_INLINE double toDouble(Half value) { return detail::widen(value); }
NEST_PTX_INLINE double toDouble(Bf16 value) { return detail::widen(value); }

/// cvt.rn between float types, or from an integer. .ftz holds for f32 only.
template <typename To, typename From>
NEST_PTX_INLINE To convert(From value, Modifiers modifiers = {}) {
  if constexpr (std::is_integral_v<From>) {
    if constexpr (std::is_same_v<To, Half>) {
      // Where float rounds, f16 is infinite.
      return finish(detail::toHalf(static_cast<float>(value)), modifiers);
    } else if constexpr (std::is_same_v<To, Bf16>) {
      double exact;
      if constexpr (sizeof(From) <= 4) {
        exact = static_cast<double>(value);
      } else {
        bool negative = value < 0;
        uint64_t bits = static_cast<uint64_t>(value);
        exact = detail::oddDouble(negative ? -bits : bits);
        exact = negative ? -exact : exact;
      }
      return finish(detail::toBf16(detail::roundToOdd(exact)), modifiers);
    } else {
      return finish(static_cast<To>(value), modifiers);
    }
  } else {
    if constexpr (std::is_same_v<From, float>)
      value = operand(value, modifiers);
    To result;
    if constexpr (std::is_same_v<To, From>) {
      result = value;
    } else if constexpr (std::is_same_v<To, double>) {
      result = toDouble(value);
    } else if constexpr (std::is_same_v<To, float>) {
      if constexpr (std::is_same_v<From, double>)
        result = static_cast<float>(value);
      else
        result = detail::widen(value);
    } else {
      float narrow;
      if constexpr (std::is_same_v<From, double>)
        narrow = detail::roundToOdd(value);
      else
        narrow = toDouble(value);
      if constexpr (std::is_same_v<To, Half>)
        result = detail::toHalf(narrow);
      else
        result = detail::toBf16(narrow);
    }
    modifiers.ftz = modifiers.ftz && std::is_same_v<To, float>;
    return finish(result, modifiers);
  }
}

/// cvt.{rn,rna,rz}.tf32.f32: 11 bits of significand, the low 13 bits are zero
/// except in NaN.
NEST_PTX_INLINE float toTf32(Round round, float value,
                             Modifiers modifiers = {}) {
  uint32_t bits = toBits(value);
  uint32_t add = round == Round::Zero          ? 0
                 : round == Round::NearestAway ? 0x1000
                                               : 0xfff + ((bits >> 13) & 1);
  float result = fromBits<float>((bits + add) & 0xffffe000);
  result = isNaN(value) ? value : result;
  modifiers.ftz = modifiers.sat = false;
  result = canonical(result);
  bool infinite = magnitudeBits(result) == 0x7f800000;
  bool clamp = modifiers.satfinite && infinite;
  result = clamp ? fromBits<float>((toBits(result) & 0x80000000) | 0x7f7fe000)
                 : result;
  return modifiers.relu ? relu(result) : result;
}

//===----------------------------------------------------------------------===//
// Conversions with any rounding
//===----------------------------------------------------------------------===//

namespace detail {
/// Rounds a finite number to a type, as a double.
float roundToFloat(Round round, double value);
Half roundToHalf(Round round, double value);
Bf16 roundToBf16(Round round, double value);
/// The same of a whole number, where f64 may round too.
double roundIntegerToDouble(Round round, bool negative, uint64_t magnitude);
float roundIntegerToFloat(Round round, bool negative, uint64_t magnitude);
Half roundIntegerToHalf(Round round, bool negative, uint64_t magnitude);
Bf16 roundIntegerToBf16(Round round, bool negative, uint64_t magnitude);
} // namespace detail

/// cvt with a rounding mode between float types, or from an integer.
template <typename To, typename From>
To convert(Round round, From value, Modifiers modifiers = {}) {
  if (round == Round::NearestEven)
    return convert<To>(value, modifiers);
  To result;
  if constexpr (std::is_integral_v<From>) {
    bool negative = value < 0;
    uint64_t bits = static_cast<uint64_t>(value);
    uint64_t magnitude = negative ? -bits : bits;
    if constexpr (std::is_same_v<To, double>)
      result = detail::roundIntegerToDouble(round, negative, magnitude);
    else if constexpr (std::is_same_v<To, float>)
      result = detail::roundIntegerToFloat(round, negative, magnitude);
    else if constexpr (std::is_same_v<To, Half>)
      result = detail::roundIntegerToHalf(round, negative, magnitude);
    else
      result = detail::roundIntegerToBf16(round, negative, magnitude);
  } else {
    if constexpr (std::is_same_v<From, float>)
      value = operand(value, modifiers);
    if constexpr (std::is_same_v<To, double> || std::is_same_v<To, From>)
      return convert<To>(value, modifiers);
    else if constexpr (std::is_same_v<To, float>)
      result = detail::roundToFloat(round, toDouble(value));
    else if constexpr (std::is_same_v<To, Half>)
      result = detail::roundToHalf(round, toDouble(value));
    else
      result = detail::roundToBf16(round, toDouble(value));
    modifiers.ftz = modifiers.ftz && std::is_same_v<To, float>;
  }
  return finish(result, modifiers);
}

/// cvt.rn.satfinite to an 8-bit float, NaN is 0x7f.
uint8_t toE4m3(float value, Modifiers modifiers = {});
uint8_t toE5m2(float value, Modifiers modifiers = {});
/// Exact.
Half e4m3ToHalf(uint8_t bits, Modifiers modifiers = {});
Half e5m2ToHalf(uint8_t bits, Modifiers modifiers = {});

//===----------------------------------------------------------------------===//
// Floats to integers
//===----------------------------------------------------------------------===//

namespace detail {
template <typename T>
NEST_PTX_INLINE T nearestInteger(Round round, T value) {
#if defined(__clang__)
  switch (round) {
  case Round::Zero:
    return __builtin_elementwise_trunc(value);
  case Round::Down:
    return __builtin_elementwise_floor(value);
  case Round::Up:
    return __builtin_elementwise_ceil(value);
  default:
    return __builtin_elementwise_rint(value);
  }
#else
  switch (round) {
  case Round::Zero:
    return __builtin_trunc(value);
  case Round::Down:
    return __builtin_floor(value);
  case Round::Up:
    return __builtin_ceil(value);
  default:
    return __builtin_rint(value);
  }
#endif
}
} // namespace detail

/// cvt.{rni,rzi,rmi,rpi} to an integer, clamped to its range. NaN gives 0, or
/// only the top bit if the source is f64 or the destination has 64 bits.
template <typename To, typename From>
NEST_PTX_INLINE To toInteger(Round round, From value,
                             Modifiers modifiers = {}) {
  if constexpr (std::is_same_v<From, Half> || std::is_same_v<From, Bf16>) {
    return toInteger<To>(round, toFloat(value));
  } else {
    if constexpr (std::is_same_v<From, float>)
      value = operand(value, modifiers);
    using Limits = std::numeric_limits<To>;
    constexpr From low = static_cast<From>(Limits::min());
    // One more than the largest: a power of two.
    constexpr From high =
        static_cast<From>((static_cast<uint64_t>(Limits::max()) >> 1) + 1) * 2;
    constexpr bool topBit = std::is_same_v<From, double> || sizeof(To) == 8;
    constexpr To nan =
        topBit ? static_cast<To>(uint64_t(1) << (sizeof(To) * 8 - 1)) : To(0);
    // A narrow result is converted as an int: x86 has no other.
    using Wide = std::conditional_t<(sizeof(To) < 4), int32_t, To>;
    // The conversion itself rounds towards zero.
    From whole =
        round == Round::Zero ? value : detail::nearestInteger(round, value);
    bool above = whole >= high;
    From inside = whole > low ? whole : low;
    inside = above ? From(0) : inside;
    To result = static_cast<To>(static_cast<Wide>(inside));
    result = above ? Limits::max() : result;
    return isNaN(value) ? nan : result;
  }
}

/// cvt.{rni,rzi,rmi,rpi} between equal float types.
template <typename T>
NEST_PTX_INLINE T roundToInteger(Round round, T value,
                                 Modifiers modifiers = {}) {
  if constexpr (std::is_same_v<T, Half>) {
    return finish(
        detail::toHalf(detail::nearestInteger(round, detail::widen(value))),
        modifiers);
  } else if constexpr (std::is_same_v<T, Bf16>) {
    return finish(
        detail::toBf16(detail::nearestInteger(round, detail::widen(value))),
        modifiers);
  } else {
    return finish(detail::nearestInteger(round, operand(value, modifiers)),
                  modifiers);
  }
}

/// cvt.sat between integers.
template <typename To, typename From>
NEST_PTX_INLINE To clampInteger(From value) {
  using Limits = std::numeric_limits<To>;
  constexpr bool fromSigned = std::is_signed_v<From>;
  constexpr bool toSigned = std::is_signed_v<To>;
  if constexpr (fromSigned) {
    int64_t wide = value;
    constexpr int64_t low = toSigned ? static_cast<int64_t>(Limits::min()) : 0;
    wide = wide < low ? low : wide;
    if constexpr (sizeof(To) < 8) {
      constexpr int64_t high = static_cast<int64_t>(Limits::max());
      wide = wide > high ? high : wide;
    }
    return static_cast<To>(wide);
  } else {
    uint64_t wide = value;
    constexpr uint64_t high = static_cast<uint64_t>(Limits::max());
    return static_cast<To>(wide > high ? high : wide);
  }
}

//===----------------------------------------------------------------------===//
// Arithmetic, to nearest even
//===----------------------------------------------------------------------===//

namespace detail {

/// The NaN of an f64 operation is that of the first NaN operand.
NEST_PTX_INLINE double pickNaN(double result, double a, double b) {
  uint64_t payload = isNaN(a)   ? toBits(a)
                     : isNaN(b) ? toBits(b)
                                : Layout<double>::nan;
  return isNaN(result) ? fromBits<double>(payload | 0x8000000000000) : result;
}
NEST_PTX_INLINE double pickNaN(double result, double a, double b, double c) {
  uint64_t payload = isNaN(a)   ? toBits(a)
                     : isNaN(b) ? toBits(b)
                     : isNaN(c) ? toBits(c)
                                : Layout<double>::nan;
  return isNaN(result) ? fromBits<double>(payload | 0x8000000000000) : result;
}

template <typename T>
NEST_PTX_INLINE T hardwareFma(T a, T b, T c) {
#if defined(__clang__)
  return __builtin_elementwise_fma(a, b, c);
#else
  if constexpr (std::is_same_v<T, float>)
    return __builtin_fmaf(a, b, c);
  else
    return __builtin_fma(a, b, c);
#endif
}

template <typename T>
NEST_PTX_INLINE T hardwareRoot(T value) {
#if defined(__clang__)
  return __builtin_elementwise_sqrt(value);
#else
  if constexpr (std::is_same_v<T, float>)
    return __builtin_sqrtf(value);
  else
    return __builtin_sqrt(value);
#endif
}

/// a + b, where what is cut off is kept in an odd last bit. No overflow.
template <typename T>
NEST_PTX_INLINE T addToOdd(T a, T b) {
  T sum = a + b;
  T part = sum - a;
  T error = (a - (sum - part)) + (b - part);
  BitsOf<T> bits = toBits(sum);
  bool away = (error < 0) == (sum < 0); // the exact sum has a larger magnitude
  bool move = (error < 0 || error > 0) && !(bits & 1);
  BitsOf<T> step = away ? BitsOf<T>(1) : static_cast<BitsOf<T>>(~BitsOf<T>(0));
  return fromBits<T>(bits + (move ? step : 0));
}

} // namespace detail

NEST_PTX_INLINE float add(float a, float b, Modifiers modifiers = {}) {
  return finish(operand(a, modifiers) + operand(b, modifiers), modifiers);
}
NEST_PTX_INLINE float sub(float a, float b, Modifiers modifiers = {}) {
  return finish(operand(a, modifiers) - operand(b, modifiers), modifiers);
}
NEST_PTX_INLINE float mul(float a, float b, Modifiers modifiers = {}) {
  return finish(operand(a, modifiers) * operand(b, modifiers), modifiers);
}
NEST_PTX_INLINE float fusedMulAdd(float a, float b, float c,
                                  Modifiers modifiers = {}) {
  return finish(detail::hardwareFma(operand(a, modifiers),
                                    operand(b, modifiers),
                                    operand(c, modifiers)),
                modifiers);
}
NEST_PTX_INLINE float div(float a, float b, Modifiers modifiers = {}) {
  return finish(operand(a, modifiers) / operand(b, modifiers), modifiers);
}
NEST_PTX_INLINE float rcp(float a, Modifiers modifiers = {}) {
  return finish(1.0f / operand(a, modifiers), modifiers);
}
NEST_PTX_INLINE float squareRoot(float a, Modifiers modifiers = {}) {
  return finish(detail::hardwareRoot(operand(a, modifiers)), modifiers);
}

NEST_PTX_INLINE double add(double a, double b) {
  return detail::pickNaN(a + b, a, b);
}
NEST_PTX_INLINE double sub(double a, double b) {
  return detail::pickNaN(a - b, a, b);
}
NEST_PTX_INLINE double mul(double a, double b) {
  return detail::pickNaN(a * b, a, b);
}
NEST_PTX_INLINE double fusedMulAdd(double a, double b, double c) {
  return detail::pickNaN(detail::hardwareFma(a, b, c), a, b, c);
}
NEST_PTX_INLINE double div(double a, double b) {
  return detail::pickNaN(a / b, a, b);
}
NEST_PTX_INLINE double rcp(double a) { return detail::pickNaN(1.0 / a, a, a); }
NEST_PTX_INLINE double squareRoot(double a) {
  return detail::pickNaN(detail::hardwareRoot(a), a, a);
}

// f32 has more than twice the bits of f16 and bf16, and so sums and products
// may be rounded in it first; a fused sum has to be odd where it is cut.
NEST_PTX_INLINE Half add(Half a, Half b, Modifiers modifiers = {}) {
  float sum = detail::widen(operand(a, modifiers)) +
              detail::widen(operand(b, modifiers));
  return finish(detail::toHalf(sum), modifiers);
}
NEST_PTX_INLINE Half sub(Half a, Half b, Modifiers modifiers = {}) {
  float difference = detail::widen(operand(a, modifiers)) -
                     detail::widen(operand(b, modifiers));
  return finish(detail::toHalf(difference), modifiers);
}
NEST_PTX_INLINE Half mul(Half a, Half b, Modifiers modifiers = {}) {
  float product = detail::widen(operand(a, modifiers)) *
                  detail::widen(operand(b, modifiers));
  return finish(detail::toHalf(product), modifiers);
}
NEST_PTX_INLINE Half fusedMulAdd(Half a, Half b, Half c,
                                 Modifiers modifiers = {}) {
  float product = detail::widen(operand(a, modifiers)) *
                  detail::widen(operand(b, modifiers)); // exact
  float sum = detail::addToOdd(product, detail::widen(operand(c, modifiers)));
  return finish(detail::toHalf(sum), modifiers);
}

NEST_PTX_INLINE Bf16 add(Bf16 a, Bf16 b, Modifiers modifiers = {}) {
  float sum = detail::widen(operand(a, modifiers)) +
              detail::widen(operand(b, modifiers));
  return finish(detail::toBf16(sum), modifiers);
}
NEST_PTX_INLINE Bf16 sub(Bf16 a, Bf16 b, Modifiers modifiers = {}) {
  float difference = detail::widen(operand(a, modifiers)) -
                     detail::widen(operand(b, modifiers));
  return finish(detail::toBf16(difference), modifiers);
}
NEST_PTX_INLINE Bf16 mul(Bf16 a, Bf16 b, Modifiers modifiers = {}) {
  float product = detail::widen(operand(a, modifiers)) *
                  detail::widen(operand(b, modifiers));
  return finish(detail::toBf16(product), modifiers);
}
NEST_PTX_INLINE Bf16 fusedMulAdd(Bf16 a, Bf16 b, Bf16 c,
                                 Modifiers modifiers = {}) {
  // f32 has no exponents for the product.
  double product = toDouble(operand(a, modifiers)) *
                   toDouble(operand(b, modifiers)); // exact
  double sum = detail::addToOdd(product, toDouble(operand(c, modifiers)));
  return finish(detail::toBf16(detail::roundToOdd(sum)), modifiers);
}

/// atom.add.f32 and red.add.f32 on global memory, which flush subnormals; on
/// shared memory they are `add`.
NEST_PTX_INLINE float addAtomicGlobal(float a, float b) {
  Modifiers ftz;
  ftz.ftz = true;
  return add(a, b, ftz);
}

//===----------------------------------------------------------------------===//
// Arithmetic with any rounding
//===----------------------------------------------------------------------===//

float add(Round round, float a, float b, Modifiers modifiers = {});
float sub(Round round, float a, float b, Modifiers modifiers = {});
float mul(Round round, float a, float b, Modifiers modifiers = {});
float fusedMulAdd(Round round, float a, float b, float c,
                  Modifiers modifiers = {});
float div(Round round, float a, float b, Modifiers modifiers = {});
float rcp(Round round, float a, Modifiers modifiers = {});
float squareRoot(Round round, float a, Modifiers modifiers = {});
double add(Round round, double a, double b);
double sub(Round round, double a, double b);
double mul(Round round, double a, double b);
double fusedMulAdd(Round round, double a, double b, double c);
double div(Round round, double a, double b);
double rcp(Round round, double a);
double squareRoot(Round round, double a);

//===----------------------------------------------------------------------===//
// Approximate functions
//===----------------------------------------------------------------------===//

float ex2Approx(float a, Modifiers modifiers = {});
float lg2Approx(float a, Modifiers modifiers = {});
float sinApprox(float a, Modifiers modifiers = {});
float cosApprox(float a, Modifiers modifiers = {});
float tanhApprox(float a);
Half ex2Approx(Half a, Modifiers modifiers = {});
Bf16 ex2Approx(Bf16 a, Modifiers modifiers = {});
Half tanhApprox(Half a);
Bf16 tanhApprox(Bf16 a);
float rsqrtApprox(float a, Modifiers modifiers = {});
double rsqrtApprox(double a);
/// The f64 forms with .ftz look at the upper word and fill the upper word.
double rcpApproxFtz(double a);
double rsqrtApproxFtz(double a);

NEST_PTX_INLINE float rcpApprox(float a, Modifiers modifiers = {}) {
  return rcp(a, modifiers);
}
NEST_PTX_INLINE float sqrtApprox(float a, Modifiers modifiers = {}) {
  return squareRoot(a, modifiers);
}
NEST_PTX_INLINE float divFull(float a, float b, Modifiers modifiers = {}) {
  return div(a, b, modifiers);
}
/// a * (1 / b): above 2^126 the reciprocal is taken for 0.
NEST_PTX_INLINE float divApprox(float a, float b, Modifiers modifiers = {}) {
  uint32_t magnitude = magnitudeBits(b);
  bool large = magnitude > 0x7e800000 && magnitude < 0x7f800000;
  uint32_t sign = toBits(b) & 0x80000000;
  float quotient = div(a, b, modifiers);
  float product = mul(operand(a, modifiers), fromBits<float>(sign), modifiers);
  return large ? product : quotient;
}

//===----------------------------------------------------------------------===//
// Minimum and maximum
//===----------------------------------------------------------------------===//

/// What may follow min and max.
struct MinMax {
  bool max = false;
  bool ftz = false;
  bool nan = false;     ///< NaN if any operand is; otherwise NaN is dropped
  bool abs = false;     ///< of the magnitudes
  bool xorsign = false; ///< with the exclusive or of the signs
};

namespace detail {
/// An integer that orders numbers as they are ordered, -0 below +0.
template <typename T>
NEST_PTX_INLINE std::make_signed_t<BitsOf<T>> orderKey(T value) {
  using Key = std::make_signed_t<BitsOf<T>>;
  Key bits = static_cast<Key>(toBits(value));
  Key flip = static_cast<Key>(bits < 0 ? std::numeric_limits<Key>::max() : 0);
  return bits ^ flip;
}

template <typename T>
NEST_PTX_INLINE T minMaxOrdered(T a, T b, MinMax how) {
  bool below = orderKey(a) < orderKey(b);
  BitsOf<T> bits = below == how.max ? toBits(b) : toBits(a);
  bool nanA = isNaN(a), nanB = isNaN(b);
  bits = nanB ? toBits(a) : bits;
  bits = nanA ? toBits(b) : bits;
  BitsOf<T> nan = Layout<T>::nan;
  if constexpr (std::is_same_v<T, double>)
    nan = (nanA ? toBits(a) : toBits(b)) | 0x8000000000000;
  bool isResultNaN = how.nan ? nanA | nanB : nanA & nanB;
  return fromBits<T>(isResultNaN ? nan : bits);
}

template <typename T>
NEST_PTX_INLINE T minMaxOperand(T value, MinMax how) {
  value = how.ftz ? flush(value) : value;
  return how.abs ? fromBits<T>(magnitudeBits(value)) : value;
}
} // namespace detail

/// min and max of two numbers.
template <typename T>
NEST_PTX_INLINE T minMax(T a, T b, MinMax how) {
  T result = detail::minMaxOrdered(detail::minMaxOperand(a, how),
                                   detail::minMaxOperand(b, how), how);
  using Bits = BitsOf<T>;
  Bits sign = (toBits(a) ^ toBits(b)) & Layout<T>::sign;
  Bits bits = magnitudeBits(result) | sign;
  return how.xorsign && !isNaN(result) ? fromBits<T>(bits) : result;
}

/// min and max of three numbers; no .xorsign.
template <typename T>
NEST_PTX_INLINE T minMax(T a, T b, T c, MinMax how) {
  T first = detail::minMaxOrdered(detail::minMaxOperand(a, how),
                                  detail::minMaxOperand(b, how), how);
  return detail::minMaxOrdered(first, detail::minMaxOperand(c, how), how);
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

/// mul.hi.
template <typename T>
NEST_PTX_INLINE T mulHi(T a, T b) {
  constexpr int bits = sizeof(T) * 8;
  if constexpr (bits == 64) {
    using Wide =
        std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((static_cast<Wide>(a) * b) >> bits);
  } else {
    using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >>
                          bits);
  }
}

/// shl: nothing is left from the width on.
template <typename T>
NEST_PTX_INLINE T shl(T value, uint32_t amount) {
  using Bits = std::make_unsigned_t<T>;
  constexpr uint32_t bits = sizeof(T) * 8;
  Bits shifted =
      static_cast<Bits>(static_cast<std::common_type_t<Bits, unsigned>>(value)
                        << (amount & (bits - 1)));
  return static_cast<T>(amount < bits ? shifted : Bits(0));
}

/// shr: only the sign is left from the width on.
template <typename T>
NEST_PTX_INLINE T shr(T value, uint32_t amount) {
  constexpr uint32_t bits = sizeof(T) * 8;
  if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(value >> (amount < bits ? amount : bits - 1));
  } else {
    T shifted = static_cast<T>(value >> (amount & (bits - 1)));
    return amount < bits ? shifted : T(0);
  }
}

/// shf.l and shf.r on {high, low}.
NEST_PTX_INLINE uint32_t shfLeft(uint32_t low, uint32_t high, uint32_t amount,
                                 bool clamp) {
  uint32_t limited = amount < 32 ? amount : 32;
  uint32_t n = clamp ? limited : amount & 31;
  uint64_t pair = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<uint32_t>((pair << n) >> 32);
}
NEST_PTX_INLINE uint32_t shfRight(uint32_t low, uint32_t high, uint32_t amount,
                                  bool clamp) {
  uint32_t limited = amount < 32 ? amount : 32;
  uint32_t n = clamp ? limited : amount & 31;
  uint64_t pair = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<uint32_t>(pair >> n);
}

/// bfe: a field that reaches past the top bit is filled with the sign.
template <typename T>
NEST_PTX_INLINE T bfe(T value, uint32_t start, uint32_t length) {
  constexpr uint32_t bits = sizeof(T) * 8;
  using Signed = std::make_signed_t<T>;
  start &= 255;
  length &= 255;
  T field = shr(value, start);
  // The field moves to the top and back, which extends it.
  uint32_t unused = length < bits ? bits - length : 0;
  uint32_t shift = unused & (bits - 1);
  T top = static_cast<T>(static_cast<std::make_unsigned_t<T>>(field) << shift);
  T extended;
  if constexpr (std::is_signed_v<T>)
    extended = static_cast<Signed>(top) >> shift;
  else
    extended = top >> shift;
  return length == 0 ? T(0) : extended;
}

/// bfi.
template <typename T>
NEST_PTX_INLINE T bfi(T field, T base, uint32_t start, uint32_t length) {
  static_assert(std::is_unsigned_v<T>);
  start &= 255;
  length &= 255;
  T ones = static_cast<T>(~shl(static_cast<T>(~T(0)), length));
  T mask = shl(ones, start);
  return (shl(field, start) & mask) | (base & ~mask);
}

NEST_PTX_INLINE uint32_t popc(uint32_t value) {
  return static_cast<uint32_t>(__builtin_popcount(value));
}
NEST_PTX_INLINE uint32_t popc(uint64_t value) {
  return static_cast<uint32_t>(__builtin_popcountll(value));
}

NEST_PTX_INLINE uint32_t clz(uint32_t value) {
  return value ? static_cast<uint32_t>(__builtin_clz(value)) : 32;
}
NEST_PTX_INLINE uint32_t clz(uint64_t value) {
  return value ? static_cast<uint32_t>(__builtin_clzll(value)) : 64;
}

NEST_PTX_INLINE uint32_t brev(uint32_t value) {
  value = (value & 0x55555555) << 1 | ((value >> 1) & 0x55555555);
  value = (value & 0x33333333) << 2 | ((value >> 2) & 0x33333333);
  value = (value & 0x0f0f0f0f) << 4 | ((value >> 4) & 0x0f0f0f0f);
  return __builtin_bswap32(value);
}
NEST_PTX_INLINE uint64_t brev(uint64_t value) {
  uint64_t low = brev(static_cast<uint32_t>(value));
  return low << 32 | brev(static_cast<uint32_t>(value >> 32));
}

/// bfind: the highest bit that is not the sign, ~0 if there is none.
template <typename T>
NEST_PTX_INLINE uint32_t bfind(T value, bool shiftAmount) {
  using Bits = std::make_unsigned_t<T>;
  constexpr uint32_t top = sizeof(T) * 8 - 1;
  Bits bits = static_cast<Bits>(value);
  if constexpr (std::is_signed_v<T>)
    bits = value < 0 ? ~bits : bits;
  uint32_t zeros = clz(bits);
  uint32_t position = shiftAmount ? zeros : top - zeros;
  return bits ? position : ~0u;
}

enum class PermuteMode { Index, F4e, B4e, Rc8, Ecl, Ecr, Rc16 };

/// The selector of the generic prmt that does what a mode does.
NEST_PTX_INLINE uint32_t permuteSelector(PermuteMode mode, uint32_t control) {
  constexpr uint16_t selectors[6][4] = {
      {0x3210, 0x4321, 0x5432, 0x6543}, // f4e
      {0x5670, 0x6701, 0x7012, 0x0123}, // b4e
      {0x0000, 0x1111, 0x2222, 0x3333}, // rc8
      {0x3210, 0x3211, 0x3222, 0x3333}, // ecl
      {0x0000, 0x1110, 0x2210, 0x3210}, // ecr
      {0x1010, 0x3232, 0x1010, 0x3232}, // rc16
  };
  return mode == PermuteMode::Index
             ? control
             : selectors[static_cast<int>(mode) - 1][control & 3];
}

/// prmt: each byte of the result is any of the 8 bytes of {b, a}, or its sign.
NEST_PTX_INLINE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t pair = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int byte = 0; byte < 4; ++byte) {
    uint32_t select = (selector >> (4 * byte)) & 15;
    uint32_t picked = static_cast<uint32_t>(pair >> (8 * (select & 7))) & 0xff;
    uint32_t sign = picked & 0x80 ? 0xff : 0;
    result |= (select & 8 ? sign : picked) << (8 * byte);
  }
  return result;
}

/// lop3: the table has a bit for each of the 8 combinations of a, b and c.
NEST_PTX_INLINE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c,
                              uint32_t table) {
  uint32_t result = 0;
  for (uint32_t index = 0; index < 8; ++index) {
    uint32_t all =
        (index & 4 ? a : ~a) & (index & 2 ? b : ~b) & (index & 1 ? c : ~c);
    result |= table >> index & 1 ? all : 0;
  }
  return result;
}

/// szext: the low `width` bits, extended.
NEST_PTX_INLINE uint32_t szext(uint32_t value, uint32_t width, bool clamp,
                               bool isSigned) {
  uint32_t n = width & 31;
  bool all = clamp && width >= 32;
  uint32_t shift = (32 - n) & 31;
  uint32_t top = value << shift;
  uint32_t extended =
      isSigned ? static_cast<uint32_t>(static_cast<int32_t>(top) >> shift)
               : top >> shift;
  uint32_t result = n ? extended : 0;
  return all ? value : result;
}

/// bmsk: `width` ones from bit `start` on.
NEST_PTX_INLINE uint32_t bmsk(uint32_t start, uint32_t width, bool clamp) {
  uint32_t position = clamp ? start : start & 31;
  uint32_t length = clamp ? width : width & 31;
  uint32_t ones = ~shl(~0u, length);
  return shl(ones, position);
}

/// sad: c + |a - b|.
template <typename T>
NEST_PTX_INLINE T sad(T a, T b, T c) {
  using Bits = std::make_unsigned_t<T>;
  Bits x = static_cast<Bits>(a), y = static_cast<Bits>(b);
  Bits distance = static_cast<Bits>(a < b ? y - x : x - y);
  return static_cast<T>(static_cast<Bits>(static_cast<Bits>(c) + distance));
}

namespace detail {
NEST_PTX_INLINE uint32_t field(uint32_t value, int index, int bits,
                               bool isSigned) {
  uint32_t top = value << (32 - bits - index * bits);
  return isSigned
             ? static_cast<uint32_t>(static_cast<int32_t>(top) >> (32 - bits))
             : top >> (32 - bits);
}
} // namespace detail

/// dp4a: four products of bytes, added to c modulo 2^32.
NEST_PTX_INLINE uint32_t dp4a(uint32_t a, uint32_t b, uint32_t c, bool signedA,
                              bool signedB) {
  for (int i = 0; i < 4; ++i)
    c += detail::field(a, i, 8, signedA) * detail::field(b, i, 8, signedB);
  return c;
}

/// dp2a: two products of a's halves with the lower or upper bytes of b.
NEST_PTX_INLINE uint32_t dp2a(uint32_t a, uint32_t b, uint32_t c, bool signedA,
                              bool signedB, bool high) {
  for (int i = 0; i < 2; ++i)
    c += detail::field(a, i, 16, signedA) *
         detail::field(high ? b >> 16 : b, i, 8, signedB);
  return c;
}

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTXEMULATOR_NUMBERS_H
