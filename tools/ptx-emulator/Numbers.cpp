//===- Numbers.cpp - directed rounding and functions ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A result is first an exact number, or one whose last bit says that something
// was cut off far below; then it is rounded, once, to its format.
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Numbers.h"

#include <cmath>
#include <utility>

using namespace nestc;
using namespace nestc::ptx;

namespace {

using Wide = unsigned __int128;

/// A binary format: bits of significand, exponents of the smallest and largest
/// normal number.
struct Format {
  int precision;
  int minExponent;
  int maxExponent;
};
constexpr Format kDouble{53, -1022, 1023};
constexpr Format kFloat{24, -126, 127};
constexpr Format kHalf{11, -14, 15};
constexpr Format kBf16{8, -126, 127};
// What is above 448 and 57344 is clamped afterwards.
constexpr Format kE4m3{4, -6, 9};
constexpr Format kE5m2{3, -14, 16};

/// (negative ? -1 : 1) * significand * 2^exponent. The lowest bit of a
/// significand of more than 100 bits may stand for all bits below.
struct Exact {
  bool negative;
  Wide significand;
  int exponent;
};

} // namespace

static int bitLength(Wide value) {
  uint64_t high = static_cast<uint64_t>(value >> 64);
  uint64_t low = static_cast<uint64_t>(value);
  return high ? 128 - static_cast<int>(clz(high))
              : 64 - static_cast<int>(clz(low));
}

/// The significand with its top bit at 2^126; a zero stays.
static Exact normalize(Exact value) {
  if (value.significand) {
    int shift = 127 - bitLength(value.significand);
    value.significand <<= shift;
    value.exponent -= shift;
  }
  return value;
}

/// A finite number.
static Exact unpack(double value) {
  uint64_t bits = toBits(value);
  uint64_t fraction = bits & 0xfffffffffffff;
  int exponent = static_cast<int>(bits >> 52 & 0x7ff);
  if (exponent)
    fraction |= uint64_t(1) << 52;
  return {bits >> 63 != 0, fraction, (exponent ? exponent : 1) - 1075};
}

static double withSign(bool negative, double magnitude) {
  return negative ? -magnitude : magnitude;
}

static double roundTo(const Format &format, Round round, const Exact &value) {
  if (!value.significand)
    return withSign(value.negative, 0);
  int top = bitLength(value.significand) - 1 + value.exponent;
  int lowest = (top < format.minExponent ? format.minExponent : top) -
               format.precision + 1;
  int shift = lowest - value.exponent;
  if (shift < 0)
    shift = 0;
  Wide kept = 0, cut = 1, half = 2; // if all is far below the lowest bit
  if (shift < 128) {
    kept = value.significand >> shift;
    cut = value.significand - (kept << shift);
    half = shift ? Wide(1) << (shift - 1) : 0;
  }
  bool up = false;
  switch (round) {
  case Round::NearestEven:
    up = cut > half || (cut == half && cut && (kept & 1));
    break;
  case Round::NearestAway:
    up = cut && cut >= half;
    break;
  case Round::Zero:
    break;
  case Round::Down:
    up = cut && value.negative;
    break;
  case Round::Up:
    up = cut && !value.negative;
    break;
  }
  int exponent = shift ? lowest : value.exponent;
  double result = std::ldexp(
      static_cast<double>(static_cast<uint64_t>(kept + up)), exponent);
  double limit = std::ldexp(1.0, format.maxExponent);
  if (result / 2 >= limit) { // beyond the largest number
    bool stays = round == Round::Zero ||
                 round == (value.negative ? Round::Up : Round::Down);
    result =
        stays ? limit * (2 - std::ldexp(1.0, 1 - format.precision)) : HUGE_VAL;
  }
  return withSign(value.negative, result);
}

/// The zero that an exact sum of opposite signs gives.
static Exact zeroSum(Round round) { return {round == Round::Down, 0, 0}; }

static Exact exactSum(Round round, Exact a, Exact b) {
  if (!a.significand && !b.significand)
    return a.negative == b.negative ? a : zeroSum(round);
  if (!a.significand)
    return b;
  if (!b.significand)
    return a;
  a = normalize(a);
  b = normalize(b);
  if (a.exponent < b.exponent ||
      (a.exponent == b.exponent && a.significand < b.significand))
    std::swap(a, b);
  // Neither operand has bits near the bottom, so that what is lost of b is
  // lost where it can only be a tail.
  int distance = a.exponent - b.exponent;
  Wide aligned = distance < 128 ? b.significand >> distance : 0;
  if (distance >= 128 || (aligned << distance) != b.significand)
    aligned |= 1;
  Wide sum = a.negative == b.negative ? a.significand + aligned
                                      : a.significand - aligned;
  if (!sum)
    return zeroSum(round);
  return {a.negative, sum, a.exponent};
}

static Exact exactProduct(const Exact &a, const Exact &b) {
  return {a.negative != b.negative, a.significand * b.significand,
          a.exponent + b.exponent};
}

/// Of numbers that are not zero.
static Exact exactQuotient(const Exact &a, const Exact &b) {
  Exact high = normalize(a);
  Wide quotient = high.significand / b.significand;
  Wide rest = high.significand % b.significand;
  return {a.negative != b.negative, quotient << 1 | (rest != 0),
          high.exponent - b.exponent - 1};
}

/// Of a positive number.
static Exact exactRoot(const Exact &value) {
  Exact high = normalize(value);
  if (high.exponent & 1) {
    high.significand >>= 1; // a normalised f64 has zeros there
    ++high.exponent;
  }
  Wide root = 0, rest = high.significand;
  for (Wide bit = Wide(1) << 126; bit; bit >>= 2) {
    if (rest >= root + bit) {
      rest -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return {false, root << 1 | (rest != 0), high.exponent / 2 - 1};
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

static double roundDouble(const Format &format, Round round, double value) {
  return std::isfinite(value) ? roundTo(format, round, unpack(value)) : value;
}

// What was rounded to a format is exact in it.
float ptx::detail::roundToFloat(Round round, double value) {
  return static_cast<float>(roundDouble(kFloat, round, value));
}
Half ptx::detail::roundToHalf(Round round, double value) {
  return toHalf(static_cast<float>(roundDouble(kHalf, round, value)));
}
Bf16 ptx::detail::roundToBf16(Round round, double value) {
  return toBf16(static_cast<float>(roundDouble(kBf16, round, value)));
}

double ptx::detail::roundIntegerToDouble(Round round, bool negative,
                                         uint64_t magnitude) {
  return roundTo(kDouble, round, {negative, magnitude, 0});
}
float ptx::detail::roundIntegerToFloat(Round round, bool negative,
                                       uint64_t magnitude) {
  return static_cast<float>(roundTo(kFloat, round, {negative, magnitude, 0}));
}
Half ptx::detail::roundIntegerToHalf(Round round, bool negative,
                                     uint64_t magnitude) {
  return toHalf(
      static_cast<float>(roundTo(kHalf, round, {negative, magnitude, 0})));
}
Bf16 ptx::detail::roundIntegerToBf16(Round round, bool negative,
                                     uint64_t magnitude) {
  return toBf16(
      static_cast<float>(roundTo(kBf16, round, {negative, magnitude, 0})));
}

/// An 8-bit float with `fractionBits` bits of fraction.
static uint8_t toByte(const Format &format, uint8_t largest, float value,
                      Modifiers modifiers) {
  if (isNaN(value))
    return 0x7f;
  bool negative = std::signbit(value);
  int fractionBits = format.precision - 1;
  double magnitude = std::isinf(value)
                         ? HUGE_VAL
                         : std::fabs(roundTo(format, Round::NearestEven,
                                             unpack(toDouble(value))));
  // The smallest number as the unit, and the exponent counted from there.
  double units = std::ldexp(magnitude, fractionBits - format.minExponent);
  uint8_t bits = largest;
  if (units < std::ldexp(1.0, 40)) {
    uint64_t whole = static_cast<uint64_t>(units);
    int extra = bitLength(whole) - format.precision;
    uint64_t code =
        extra <= 0
            ? whole
            : (whole >> extra) + (static_cast<uint64_t>(extra) << fractionBits);
    bits = code < largest ? static_cast<uint8_t>(code) : largest;
  }
  if (!negative)
    return bits;
  return modifiers.relu ? 0 : bits | 0x80;
}

uint8_t ptx::toE4m3(float value, Modifiers modifiers) {
  return toByte(kE4m3, 0x7e, value, modifiers);
}
uint8_t ptx::toE5m2(float value, Modifiers modifiers) {
  return toByte(kE5m2, 0x7b, value, modifiers);
}

Half ptx::e4m3ToHalf(uint8_t bits, Modifiers modifiers) {
  // The same fields as f16 has, 2^8 too small.
  Half shifted{static_cast<uint16_t>((bits & 0x80) << 8 | (bits & 0x7f) << 7)};
  Half value = (bits & 0x7f) == 0x7f
                   ? Half{Layout<Half>::nan}
                   : detail::toHalf(toFloat(shifted) * 256.0f);
  return finish(value, modifiers);
}
Half ptx::e5m2ToHalf(uint8_t bits, Modifiers modifiers) {
  return finish(Half{static_cast<uint16_t>(bits << 8)}, modifiers);
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

// Where an operand is not finite nothing is rounded, and the operation to
// nearest gives the result. The same is true of division by zero and of the
// root of what is not positive.

static double sum(const Format &format, Round round, double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b))
    return add(a, b);
  return roundTo(format, round, exactSum(round, unpack(a), unpack(b)));
}

static double product(const Format &format, Round round, double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b))
    return mul(a, b);
  return roundTo(format, round, exactProduct(unpack(a), unpack(b)));
}

static double fusedSum(const Format &format, Round round, double a, double b,
                       double c) {
  if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c))
    return fusedMulAdd(a, b, c);
  Exact ab = exactProduct(unpack(a), unpack(b));
  return roundTo(format, round, exactSum(round, ab, unpack(c)));
}

static double quotient(const Format &format, Round round, double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b) || a == 0 || b == 0)
    return div(a, b);
  return roundTo(format, round, exactQuotient(unpack(a), unpack(b)));
}

static double root(const Format &format, Round round, double a) {
  if (!std::isfinite(a) || a <= 0)
    return squareRoot(a);
  return roundTo(format, round, exactRoot(unpack(a)));
}

float ptx::add(Round round, float a, float b, Modifiers modifiers) {
  a = operand(a, modifiers);
  b = operand(b, modifiers);
  return finish(static_cast<float>(sum(kFloat, round, a, b)), modifiers);
}
float ptx::sub(Round round, float a, float b, Modifiers modifiers) {
  return add(round, a, -b, modifiers);
}
float ptx::mul(Round round, float a, float b, Modifiers modifiers) {
  a = operand(a, modifiers);
  b = operand(b, modifiers);
  return finish(static_cast<float>(product(kFloat, round, a, b)), modifiers);
}
float ptx::fusedMulAdd(Round round, float a, float b, float c,
                       Modifiers modifiers) {
  a = operand(a, modifiers);
  b = operand(b, modifiers);
  c = operand(c, modifiers);
  return finish(static_cast<float>(fusedSum(kFloat, round, a, b, c)),
                modifiers);
}
float ptx::div(Round round, float a, float b, Modifiers modifiers) {
  a = operand(a, modifiers);
  b = operand(b, modifiers);
  return finish(static_cast<float>(quotient(kFloat, round, a, b)), modifiers);
}
float ptx::rcp(Round round, float a, Modifiers modifiers) {
  return div(round, 1.0f, a, modifiers);
}
float ptx::squareRoot(Round round, float a, Modifiers modifiers) {
  a = operand(a, modifiers);
  return finish(static_cast<float>(root(kFloat, round, a)), modifiers);
}

double ptx::add(Round round, double a, double b) {
  return sum(kDouble, round, a, b);
}
double ptx::sub(Round round, double a, double b) {
  // Not the sum of -b, whose NaN would have the other sign.
  return isNaN(b) ? sub(a, b) : sum(kDouble, round, a, -b);
}
double ptx::mul(Round round, double a, double b) {
  return product(kDouble, round, a, b);
}
double ptx::fusedMulAdd(Round round, double a, double b, double c) {
  return fusedSum(kDouble, round, a, b, c);
}
double ptx::div(Round round, double a, double b) {
  return quotient(kDouble, round, a, b);
}
double ptx::rcp(Round round, double a) { return div(round, 1.0, a); }
double ptx::squareRoot(Round round, double a) {
  return root(kDouble, round, a);
}

//===----------------------------------------------------------------------===//
// Approximate functions
//===----------------------------------------------------------------------===//

/// A function of a double, rounded once.
template <typename T>
static T approximate(double (*function)(double), T a, Modifiers modifiers) {
  double exact = toDouble(operand(a, modifiers));
  T result = convert<T>(function(exact));
  return finish(result, modifiers);
}

static double reciprocalRoot(double a) { return 1 / std::sqrt(a); }

float ptx::ex2Approx(float a, Modifiers modifiers) {
  return approximate<float>(std::exp2, a, modifiers);
}
float ptx::lg2Approx(float a, Modifiers modifiers) {
  return approximate<float>(std::log2, a, modifiers);
}
float ptx::sinApprox(float a, Modifiers modifiers) {
  return approximate<float>(std::sin, a, modifiers);
}
float ptx::cosApprox(float a, Modifiers modifiers) {
  return approximate<float>(std::cos, a, modifiers);
}
float ptx::tanhApprox(float a) { return approximate<float>(std::tanh, a, {}); }
Half ptx::ex2Approx(Half a, Modifiers modifiers) {
  return approximate<Half>(std::exp2, a, modifiers);
}
Bf16 ptx::ex2Approx(Bf16 a, Modifiers modifiers) {
  return approximate<Bf16>(std::exp2, a, modifiers);
}
Half ptx::tanhApprox(Half a) { return approximate<Half>(std::tanh, a, {}); }
Bf16 ptx::tanhApprox(Bf16 a) { return approximate<Bf16>(std::tanh, a, {}); }
float ptx::rsqrtApprox(float a, Modifiers modifiers) {
  return approximate<float>(reciprocalRoot, a, modifiers);
}
double ptx::rsqrtApprox(double a) {
  return detail::pickNaN(reciprocalRoot(a), a, a);
}

/// The upper word of a function of the upper word, without subnormals.
static double upperWord(double (*function)(double), double a) {
  constexpr uint64_t upper = 0xffffffff00000000;
  if (isNaN(a))
    return fromBits<double>(0x7fffffff00000000);
  double result = function(flush(fromBits<double>(toBits(a) & upper)));
  if (isNaN(result))
    return fromBits<double>(0x7fffffff00000000);
  return flush(fromBits<double>(toBits(result) & upper));
}

double ptx::rcpApproxFtz(double a) {
  return upperWord([](double x) { return 1 / x; }, a);
}
double ptx::rsqrtApproxFtz(double a) { return upperWord(reciprocalRoot, a); }
