//===- NumbersTest.cpp - the arithmetic of PTX ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ptx-emulator/Numbers.h"

#include "NumbersReference.h"

#include "gtest/gtest.h"

#include <cmath>
#include <random>
#include <vector>

using namespace nestc;
using namespace nestc::ptx;

namespace {

constexpr Round kRounds[] = {Round::NearestEven, Round::Zero, Round::Down,
                             Round::Up};
constexpr Modifiers kPlain{};
constexpr Modifiers kFtz{true, false, false, false};
constexpr Modifiers kSat{false, true, false, false};
constexpr Modifiers kRelu{false, false, true, false};
constexpr Modifiers kFinite{false, false, false, true};

/// Counts what is compared; the first few differences are printed.
class Numbers : public testing::Test {
protected:
  void TearDown() override {
    RecordProperty("compared", std::to_string(compared));
    EXPECT_EQ(different, 0u) << "of " << compared << " compared";
    EXPECT_GT(compared, 0u);
  }

  template <typename Bits, typename... Operands>
  void expect(Bits actual, Bits expected, const char *what,
              Operands... operands) {
    ++compared;
    if (actual == expected)
      return;
    if (++different > 5)
      return;
    std::string text;
    ((text += " 0x" + hex(operands)), ...);
    ADD_FAILURE() << what << text << " is 0x" << hex(actual) << ", not 0x"
                  << hex(expected);
  }

private:
  template <typename T>
  static std::string hex(T value) {
    char text[32];
    unsigned long long bits;
    if constexpr (isFloatType<T>)
      bits = toBits(value);
    else
      bits = static_cast<unsigned long long>(value);
    std::snprintf(text, sizeof(text), "%llx", bits);
    return text;
  }

  uint64_t compared = 0;
  uint64_t different = 0;
};

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

/// Numbers where rounding is hard: the ends of exponents, significands of few
/// or all bits, and random ones; with both signs, zeros, infinities and NaNs.
template <typename T>
std::vector<T> hardNumbers(size_t count, unsigned seed) {
  using Bits = BitsOf<T>;
  constexpr int fractionBits = __builtin_ctzll(Layout<T>::infinity);
  constexpr Bits one = Bits(1) << fractionBits;
  constexpr Bits fraction = one - 1;
  constexpr int exponents = Layout<T>::infinity >> fractionBits;
  constexpr int bias = exponents / 2;
  std::vector<T> result;
  auto push = [&](Bits bits) {
    result.push_back(fromBits<T>(bits));
    result.push_back(fromBits<T>(bits ^ Layout<T>::sign));
  };
  push(0);
  push(Layout<T>::infinity);
  push(Layout<T>::infinity | 1);                              // signaling
  push(Layout<T>::infinity | static_cast<Bits>(one / 2) | 5); // quiet
  push(Layout<T>::one);
  push(1);
  push(fraction);
  push(one);
  push(Layout<T>::infinity - 1);
  std::mt19937_64 random(seed);
  const int offsets[] = {0,
                         1,
                         -1,
                         2,
                         fractionBits,
                         fractionBits + 1,
                         -fractionBits,
                         -fractionBits - 1,
                         2 * fractionBits + 2};
  while (result.size() < count) {
    int exponent;
    switch (random() % 4) {
    case 0:
      exponent = static_cast<int>(random() % 4);
      break;
    case 1:
      exponent = exponents - 1 - static_cast<int>(random() % 3);
      break;
    case 2:
      exponent = bias + offsets[random() % 9];
      break;
    default:
      exponent = static_cast<int>(random() % exponents);
    }
    exponent = std::max(0, std::min(exponents - 1, exponent));
    Bits bits;
    switch (random() % 6) {
    case 0:
      bits = 0;
      break;
    case 1:
      bits = fraction - static_cast<Bits>(random() % 2);
      break;
    case 2:
      bits = one / 2 + static_cast<Bits>(random() % 3) - 1;
      break;
    case 3:
      bits = static_cast<Bits>(one >> (1 + random() % fractionBits)) +
             static_cast<Bits>(random() % 2);
      break;
    default:
      bits = static_cast<Bits>(random());
    }
    push(static_cast<Bits>((bits & fraction) | static_cast<Bits>(exponent)
                                                   << fractionBits));
  }
  return result;
}

template <typename T>
constexpr reference::Small kSmall =
    std::is_same_v<T, Half> ? reference::kHalf : reference::kBf16;

/// A narrow float by its fields.
template <typename T>
double exactValue(T value) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bf16>) {
    double magnitude = magnitudeBits(value) == Layout<T>::infinity
                           ? HUGE_VAL
                           : kSmall<T>.value(magnitudeBits(value));
    return value.bits & 0x8000 ? -magnitude : magnitude;
  } else {
    return value;
  }
}

template <typename T>
bool isFinite(T value) {
  return magnitudeBits(value) < Layout<T>::infinity;
}

/// A modified result, from the definitions, for a type and its exact value.
template <typename T>
T modified(T value, Modifiers modifiers) {
  auto number = [](T value) { return exactValue(value); };
  bool nan = isNaN(value);
  if (nan && modifiers.sat)
    return fromBits<T>(0);
  if (nan) {
    if constexpr (std::is_same_v<T, double>)
      return fromBits<T>(toBits(value) | 1ull << 51);
    else
      return fromBits<T>(sizeof(T) == 4 ? 0x7fffffff : 0x7fff);
  }
  BitsOf<T> sign = toBits(value) & Layout<T>::sign;
  constexpr BitsOf<T> lowestNormal =
      Layout<T>::infinity & static_cast<BitsOf<T>>(-Layout<T>::infinity);
  if (modifiers.ftz &&
      std::fabs(number(value)) < number(fromBits<T>(lowestNormal)))
    value = fromBits<T>(sign);
  if (modifiers.satfinite && std::isinf(number(value)))
    value = fromBits<T>(sign | (Layout<T>::infinity - 1));
  if (modifiers.relu && !(number(value) > 0))
    value = fromBits<T>(0);
  if (modifiers.sat)
    value = number(value) > 0
                ? (number(value) < 1 ? value : fromBits<T>(Layout<T>::one))
                : fromBits<T>(0);
  return value;
}

/// What a narrow format makes of an exact number.
template <typename T>
T searched(Round round, const reference::Fixed &exact, bool negativeZero,
           Modifiers modifiers = {}) {
  uint32_t bits = kSmall<T>.round(round, exact, negativeZero);
  return modified(T{static_cast<uint16_t>(bits)}, modifiers);
}

//===----------------------------------------------------------------------===//
// Conversions between floats
//===----------------------------------------------------------------------===//

TEST_F(Numbers, WideningIsExactForAllPatterns) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Half half{static_cast<uint16_t>(bits)};
    Bf16 bf16{static_cast<uint16_t>(bits)};
    float fromHalf = isNaN(half) ? fromBits<float>(0x7fffffff)
                                 : static_cast<float>(exactValue(half));
    float fromBf16 = isNaN(bf16) ? fromBits<float>(0x7fffffff)
                                 : static_cast<float>(exactValue(bf16));
    expect(toBits(convert<float>(half)), toBits(fromHalf), "f32.f16", half);
    expect(toBits(convert<float>(bf16)), toBits(fromBf16), "f32.bf16", bf16);
    expect(toBits(convert<double>(half)), toBits(double(fromHalf)), "f64.f16",
           half);
    expect(toBits(convert<double>(bf16)), toBits(double(fromBf16)), "f64.bf16",
           bf16);
    // And back, in all modes.
    for (Round round : kRounds) {
      expect(convert<Half>(round, fromHalf).bits, modified(half, kPlain).bits,
             "f16.f32", half);
      expect(convert<Bf16>(round, fromBf16).bits, modified(bf16, kPlain).bits,
             "bf16.f32", bf16);
      expect(convert<Half>(round, double(fromHalf)).bits,
             modified(half, kPlain).bits, "f16.f64", half);
      expect(convert<Bf16>(round, double(fromBf16)).bits,
             modified(bf16, kPlain).bits, "bf16.f64", bf16);
    }
  }
}

/// A double as an exact number that rounds the same way in narrow formats.
reference::Fixed clampedExact(double value) {
  double magnitude = std::fabs(value);
  if (magnitude != 0)
    magnitude = std::max(0x1p-260, std::min(0x1p200, magnitude));
  // Bits below 2^-320 can only be a tail, which one bit stands for.
  if (magnitude != 0 && magnitude < 0x1p-200)
    magnitude = 0x1p-260;
  return reference::Fixed(std::copysign(magnitude, value));
}

TEST_F(Numbers, NarrowingIsASearch) {
  std::vector<float> floats = hardNumbers<float>(6000, 1);
  // Around every midpoint of f16 and bf16.
  for (uint32_t bits = 0; bits < 0x8000; bits += 7) {
    for (int step = -1; step <= 1; ++step) {
      if (bits < 0x7c00) {
        double low = reference::kHalf.value(bits);
        double middle = (low + reference::kHalf.value(bits + 1)) / 2;
        floats.push_back(fromBits<float>(toBits(float(middle)) + step));
      }
      floats.push_back(fromBits<float>((bits << 16 | 0x8000) + step));
    }
  }
  std::vector<double> doubles = hardNumbers<double>(6000, 2);
  for (float value : floats)
    for (double factor : {1.0, 1 + 0x1p-52, 1 - 0x1p-53})
      doubles.push_back(value * factor);
  auto check = [&](auto value, Round round, Modifiers modifiers) {
    using From = decltype(value);
    auto flushed = value;
    if (modifiers.ftz && std::is_same_v<From, float>)
      flushed = modified(value, kFtz);
    Modifiers rest = modifiers;
    rest.ftz = false; // f16 and bf16 results are not flushed
    Half half{0x7fff};
    Bf16 bf16{0x7fff};
    if (std::isinf(flushed)) {
      half.bits = std::signbit(flushed) ? 0xfc00 : 0x7c00;
      bf16.bits = std::signbit(flushed) ? 0xff80 : 0x7f80;
    } else if (!std::isnan(flushed)) {
      bool sign = std::signbit(flushed);
      reference::Fixed exact = clampedExact(flushed);
      half.bits = reference::kHalf.round(round, exact, sign);
      bf16.bits = reference::kBf16.round(round, exact, sign);
    }
    expect(convert<Half>(round, value, modifiers).bits,
           modified(half, rest).bits, "cvt.f16", value, int(round));
    expect(convert<Bf16>(round, value, modifiers).bits,
           modified(bf16, rest).bits, "cvt.bf16", value, int(round));
  };
  for (float value : floats) {
    for (Round round : kRounds)
      check(value, round, kPlain);
    for (Modifiers modifiers : {kFtz, kSat, kRelu, kFinite})
      check(value, Round::NearestEven, modifiers);
    check(value, Round::Zero, kRelu);
  }
  for (double value : doubles)
    for (Round round : kRounds)
      check(value, round, kPlain);
  // Between the narrow formats.
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Half half{static_cast<uint16_t>(bits)};
    Bf16 bf16{static_cast<uint16_t>(bits)};
    for (Round round : kRounds) {
      bool sign = bits & 0x8000;
      Bf16 toBf16{0x7fff};
      if (!isNaN(half))
        toBf16.bits = isFinite(half)
                          ? reference::kBf16.round(
                                round, clampedExact(exactValue(half)), sign)
                          : (sign ? 0xff80 : 0x7f80);
      Half toHalf{0x7fff};
      if (!isNaN(bf16))
        toHalf.bits = isFinite(bf16)
                          ? reference::kHalf.round(
                                round, clampedExact(exactValue(bf16)), sign)
                          : (sign ? 0xfc00 : 0x7c00);
      expect(convert<Bf16>(round, half).bits, toBf16.bits, "bf16.f16", half);
      expect(convert<Half>(round, bf16).bits, toHalf.bits, "f16.bf16", bf16);
    }
  }
}

TEST_F(Numbers, DoubleToFloat) {
  std::vector<double> doubles = hardNumbers<double>(20000, 3);
  for (float value : hardNumbers<float>(20000, 4))
    for (double factor :
         {1.0, 1 + 0x1p-52, 1 - 0x1p-53, 1 + 0x1p-24, 1 + 0x1p-25, 1 - 0x1p-25})
      doubles.push_back(value * factor);
  for (double value : doubles) {
    for (Round round : kRounds)
      for (Modifiers modifiers : {kPlain, kFtz, kSat}) {
        float expected = modified(reference::toFloat(round, value), modifiers);
        expect(toBits(convert<float>(round, value, modifiers)),
               toBits(expected), "cvt.f32.f64", value, int(round));
      }
  }
  for (float value : hardNumbers<float>(20000, 5)) {
    for (Modifiers modifiers : {kPlain, kSat}) {
      double expected = modified(double(value), modifiers);
      expect(toBits(convert<double>(value, modifiers)), toBits(expected),
             "cvt.f64.f32", value);
      expect(toBits(convert<float>(value, modifiers)),
             toBits(modified(value, modifiers)), "cvt.f32.f32", value);
    }
    double flushed = modified(value, kFtz);
    if (!std::isnan(value))
      expect(toBits(convert<double>(value, kFtz)), toBits(flushed),
             "cvt.ftz.f64.f32", value);
  }
}

TEST_F(Numbers, Tf32) {
  std::vector<float> floats = hardNumbers<float>(20000, 6);
  for (uint32_t bits = 0; bits < 0x40000; bits += 5)
    for (int step = -1; step <= 1; ++step)
      floats.push_back(fromBits<float>((bits << 13 | 0x1000) + step));
  for (float value : floats) {
    for (Round round : {Round::NearestEven, Round::NearestAway, Round::Zero})
      for (Modifiers modifiers : {kPlain, kRelu, kFinite}) {
        uint32_t expected = 0x7fffffff;
        if (std::isfinite(value))
          expected = reference::kTf32.round(round, clampedExact(value),
                                            std::signbit(value))
                     << 13;
        else if (std::isinf(value))
          expected = toBits(value);
        if (modifiers.satfinite && (expected & 0x7fffffff) == 0x7f800000)
          expected = (expected & 0x80000000) | 0x7f7fe000;
        if (modifiers.relu && expected >> 31)
          expected = 0;
        expect(toBits(toTf32(round, value, modifiers)), expected, "cvt.tf32",
               value, int(round));
      }
  }
}

TEST_F(Numbers, Bytes) {
  std::vector<float> floats = hardNumbers<float>(20000, 7);
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    floats.push_back(toFloat(Half{static_cast<uint16_t>(bits)}));
    floats.push_back(toFloat(Bf16{static_cast<uint16_t>(bits)}));
  }
  for (uint32_t bits = 0; bits < 0x7f; ++bits)
    for (const reference::Small &small : {reference::kE4m3, reference::kE5m2})
      for (int step = -1; step <= 1; ++step) {
        float middle =
            static_cast<float>((small.value(bits) + small.value(bits + 1)) / 2);
        floats.push_back(fromBits<float>(toBits(middle) + step));
      }
  auto expected = [](const reference::Small &small, float value, bool relu) {
    if (std::isnan(value))
      return 0x7fu;
    uint32_t sign = std::signbit(value) ? 0x80 : 0;
    uint32_t bits = small.largest | sign;
    if (std::isfinite(value))
      bits = small.round(Round::NearestEven, clampedExact(value), sign);
    if ((bits & 0x7f) > small.largest)
      bits = small.largest | sign;
    return relu && sign ? 0 : bits;
  };
  for (float value : floats) {
    for (Modifiers modifiers : {kPlain, kRelu}) {
      expect<uint32_t>(toE4m3(value, modifiers),
                       expected(reference::kE4m3, value, modifiers.relu),
                       "cvt.e4m3", value);
      expect<uint32_t>(toE5m2(value, modifiers),
                       expected(reference::kE5m2, value, modifiers.relu),
                       "cvt.e5m2", value);
    }
  }
  for (uint32_t bits = 0; bits < 0x100; ++bits) {
    uint8_t byte = static_cast<uint8_t>(bits);
    auto half = [&](const reference::Small &small, uint32_t infinity) {
      uint32_t magnitude = bits & 0x7f;
      double sign = bits & 0x80 ? -1 : 1;
      if (magnitude > small.largest && magnitude != infinity)
        return 0x7fffu;
      if (magnitude == infinity)
        return sign < 0 ? 0xfc00u : 0x7c00u;
      return reference::kHalf.round(
          Round::Zero, clampedExact(sign * small.value(magnitude)), sign < 0);
    };
    uint32_t fromE4m3 = half(reference::kE4m3, ~0u);
    uint32_t fromE5m2 = half(reference::kE5m2, 0x7c);
    expect<uint32_t>(e4m3ToHalf(byte).bits, fromE4m3, "f16.e4m3", bits);
    expect<uint32_t>(e5m2ToHalf(byte).bits, fromE5m2, "f16.e5m2", bits);
    expect<uint32_t>(e4m3ToHalf(byte, kRelu).bits,
                     fromE4m3 & 0x8000 ? 0 : fromE4m3, "relu", bits);
    expect<uint32_t>(e5m2ToHalf(byte, kRelu).bits,
                     fromE5m2 & 0x8000 ? 0 : fromE5m2, "relu", bits);
  }
}

//===----------------------------------------------------------------------===//
// Integers and floats
//===----------------------------------------------------------------------===//

/// A whole number near a value, by a long double, which has 64 bits.
long double wholeNumber(Round round, long double value) {
  long double down = std::floor(value);
  if (round == Round::Down || down == value)
    return down;
  if (round == Round::Up)
    return down + 1;
  if (round == Round::Zero)
    return value < 0 ? down + 1 : down;
  long double distance = value - down;
  if (distance == 0.5L)
    return std::fmod(down, 2.0L) == 0 ? down : down + 1;
  return distance < 0.5L ? down : down + 1;
}

template <typename Int, typename Float>
Int wantedInteger(Round round, Float value) {
  using Limits = std::numeric_limits<Int>;
  if (isNaN(value)) {
    if (!std::is_same_v<Float, double> && sizeof(Int) < 8)
      return 0;
    return static_cast<Int>(uint64_t(1) << (sizeof(Int) * 8 - 1));
  }
  long double whole = exactValue(value);
  if (!std::isinf(whole))
    whole = wholeNumber(round, whole);
  if (whole <= static_cast<long double>(Limits::min()))
    return Limits::min();
  if (whole >= static_cast<long double>(Limits::max()))
    return Limits::max();
  return static_cast<Int>(whole);
}

template <typename Function>
void forEachInteger(Function function) {
  function(int8_t());
  function(uint8_t());
  function(int16_t());
  function(uint16_t());
  function(int32_t());
  function(uint32_t());
  function(int64_t());
  function(uint64_t());
}

/// Numbers around halves and around the limits of integers.
template <typename T>
std::vector<T> nearIntegers(unsigned seed) {
  std::vector<T> result = hardNumbers<T>(2000, seed);
  auto push = [&](T value) {
    for (int step = -2; step <= 2; ++step) {
      BitsOf<T> bits = toBits(value) + static_cast<BitsOf<T>>(step);
      result.push_back(fromBits<T>(bits));
      result.push_back(fromBits<T>(bits ^ Layout<T>::sign));
    }
  };
  for (int half = 0; half < 600; ++half)
    push(static_cast<T>(half * 0.5));
  for (int bit = 6; bit <= 65; ++bit) {
    T power = static_cast<T>(std::ldexp(1.0, bit));
    for (T offset : {T(-1), T(-0.5), T(0), T(0.5), T(1)})
      push(power + offset);
  }
  return result;
}

TEST_F(Numbers, FloatToInteger) {
  std::vector<float> floats = nearIntegers<float>(8);
  std::vector<double> doubles = nearIntegers<double>(9);
  for (Round round : kRounds) {
    forEachInteger([&](auto zero) {
      using Int = decltype(zero);
      int kind = sizeof(Int) * 2 + std::is_signed_v<Int>;
      for (float value : floats) {
        expect(toInteger<Int>(round, value), wantedInteger<Int>(round, value),
               "cvt.int.f32", value, int(round), kind);
        float flushed = modified(value, kFtz);
        expect(toInteger<Int>(round, value, kFtz),
               wantedInteger<Int>(round, flushed), "cvt.ftz.int.f32", value,
               int(round), kind);
      }
      for (double value : doubles)
        expect(toInteger<Int>(round, value), wantedInteger<Int>(round, value),
               "cvt.int.f64", value, int(round), kind);
      for (uint32_t bits = 0; bits < 0x10000; bits += 3) {
        Half half{static_cast<uint16_t>(bits)};
        Bf16 bf16{static_cast<uint16_t>(bits)};
        expect(toInteger<Int>(round, half), wantedInteger<Int>(round, half),
               "cvt.int.f16", half, int(round), kind);
        expect(toInteger<Int>(round, bf16), wantedInteger<Int>(round, bf16),
               "cvt.int.bf16", bf16, int(round), kind);
      }
    });
  }
}

TEST_F(Numbers, FloatToWholeFloat) {
  auto check = [&](auto value, Round round) {
    using T = decltype(value);
    T expected = modified(value, kPlain);
    if (isFinite(value)) {
      double exact = exactValue(value);
      double whole =
          std::copysign(static_cast<double>(wholeNumber(round, exact)), exact);
      if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>)
        expected = static_cast<T>(whole);
      else // whole numbers of a format are in it
        expected = searched<T>(Round::Zero, reference::Fixed(whole),
                               std::signbit(whole));
    }
    expect(toBits(roundToInteger(round, value)), toBits(expected), "cvt.whole",
           value, int(round));
    expect(toBits(roundToInteger(round, value, kSat)),
           toBits(modified(expected, kSat)), "cvt.whole.sat", value,
           int(round));
    if constexpr (std::is_same_v<T, float>) {
      float flushed = modified(value, kFtz);
      expect(toBits(roundToInteger(round, value, kFtz)),
             toBits(roundToInteger(round, flushed)), "cvt.whole.ftz", value,
             int(round));
    }
  };
  for (Round round : kRounds) {
    for (float value : nearIntegers<float>(10))
      check(value, round);
    for (double value : nearIntegers<double>(11))
      check(value, round);
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      check(Half{static_cast<uint16_t>(bits)}, round);
      check(Bf16{static_cast<uint16_t>(bits)}, round);
    }
  }
}

TEST_F(Numbers, IntegerToFloat) {
  std::mt19937_64 random(12);
  std::vector<uint64_t> patterns;
  for (int bit = 0; bit < 64; ++bit) {
    for (int other = 0; other <= bit; ++other)
      for (int step = -1; step <= 1; ++step) {
        uint64_t low = (1ull << other) + static_cast<uint64_t>(step);
        patterns.push_back((1ull << bit) + low);
        patterns.push_back((1ull << bit) - low);
      }
    for (int i = 0; i < 50; ++i)
      patterns.push_back(random() >> bit);
  }
  forEachInteger([&](auto zero) {
    using Int = decltype(zero);
    int kind = sizeof(Int) * 2 + std::is_signed_v<Int>;
    for (uint64_t pattern : patterns) {
      Int value = static_cast<Int>(pattern);
      bool negative = value < 0;
      uint64_t bits = static_cast<uint64_t>(value);
      reference::Fixed exact(negative, negative ? -bits : bits);
      for (Round round : kRounds) {
        long double wide = value;
        expect(toBits(convert<float>(round, value)),
               toBits(reference::toFloat(round, wide)), "cvt.f32.int", value,
               int(round), kind);
        expect(toBits(convert<double>(round, value)),
               toBits(reference::toDouble(round, wide)), "cvt.f64.int", value,
               int(round), kind);
        expect(convert<Half>(round, value).bits,
               searched<Half>(round, exact, false).bits, "cvt.f16.int", value,
               int(round), kind);
        expect(convert<Bf16>(round, value).bits,
               searched<Bf16>(round, exact, false).bits, "cvt.bf16.int", value,
               int(round), kind);
      }
      expect(toBits(convert<float>(value, kSat)),
             toBits(value <= 0 ? 0.0f : 1.0f), "cvt.sat.f32.int", value, kind);
    }
  });
}

TEST_F(Numbers, IntegerClamp) {
  std::mt19937_64 random(13);
  std::vector<uint64_t> patterns = {0, 1, ~0ull};
  for (int bit = 6; bit < 64; ++bit)
    for (int step = -1; step <= 1; ++step)
      for (int sign : {-1, 1})
        patterns.push_back(static_cast<uint64_t>(sign) *
                           ((1ull << bit) + static_cast<uint64_t>(step)));
  forEachInteger([&](auto fromZero) {
    using From = decltype(fromZero);
    forEachInteger([&](auto toZero) {
      using To = decltype(toZero);
      for (uint64_t pattern : patterns) {
        From value = static_cast<From>(pattern);
        __int128 wide = value;
        wide = std::max<__int128>(wide, std::numeric_limits<To>::min());
        wide = std::min<__int128>(wide, std::numeric_limits<To>::max());
        expect(clampInteger<To>(value), static_cast<To>(wide), "cvt.sat",
               value);
      }
    });
  });
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

/// The NaN of an f64 operation.
double payload(double result, std::initializer_list<double> operands) {
  if (!std::isnan(result))
    return result;
  for (double operand : operands)
    if (std::isnan(operand))
      return fromBits<double>(toBits(operand) | 1ull << 51);
  return fromBits<double>(0xfff8000000000000);
}

TEST_F(Numbers, FloatArithmetic) {
  std::vector<float> values = hardNumbers<float>(320, 14);
  for (Round round : kRounds) {
    for (Modifiers modifiers : {kPlain, kFtz, kSat}) {
      auto in = [&](float value) {
        return modifiers.ftz && !std::isnan(value) ? modified(value, kFtz)
                                                   : value;
      };
      auto check = [&](float actual, float exact, const char *what, float a,
                       float b) {
        expect(toBits(actual), toBits(modified(exact, modifiers)), what, a, b,
               int(round));
      };
      for (float a : values) {
        for (float b : values) {
          float x = in(a), y = in(b);
          check(ptx::add(round, a, b, modifiers), reference::add(round, x, y),
                "add.f32", a, b);
          check(ptx::sub(round, a, b, modifiers), reference::add(round, x, -y),
                "sub.f32", a, b);
          check(ptx::mul(round, a, b, modifiers), reference::mul(round, x, y),
                "mul.f32", a, b);
          check(ptx::div(round, a, b, modifiers), reference::div(round, x, y),
                "div.f32", a, b);
          if (round != Round::NearestEven)
            continue;
          check(add(a, b, modifiers), reference::add(round, x, y), "add.f32", a,
                b);
          check(sub(a, b, modifiers), reference::add(round, x, -y), "sub.f32",
                a, b);
          check(mul(a, b, modifiers), reference::mul(round, x, y), "mul.f32", a,
                b);
          check(div(a, b, modifiers), reference::div(round, x, y), "div.f32", a,
                b);
          if (modifiers.ftz)
            check(addAtomicGlobal(a, b), reference::add(round, x, y),
                  "atom.global.add.f32", a, b);
        }
      }
      for (float a : hardNumbers<float>(20000, 15)) {
        float x = in(a);
        check(ptx::rcp(round, a, modifiers), reference::div(round, 1, x),
              "rcp.f32", a, 0);
        check(ptx::squareRoot(round, a, modifiers), reference::sqrt(round, x),
              "sqrt.f32", a, 0);
        if (round == Round::NearestEven) {
          check(rcp(a, modifiers), reference::div(round, 1, x), "rcp.f32", a,
                0);
          check(squareRoot(a, modifiers), reference::sqrt(round, x), "sqrt.f32",
                a, 0);
        }
      }
    }
  }
}

TEST_F(Numbers, FloatFusedMulAdd) {
  std::vector<float> values = hardNumbers<float>(64, 16);
  for (Round round : kRounds)
    for (Modifiers modifiers : {kPlain, kFtz, kSat})
      for (float a : values)
        for (float b : values)
          for (float c : values) {
            auto in = [&](float value) {
              return modifiers.ftz && !std::isnan(value) ? modified(value, kFtz)
                                                         : value;
            };
            float exact = reference::fma(round, in(a), in(b), in(c));
            float expected = modified(exact, modifiers);
            expect(toBits(ptx::fusedMulAdd(round, a, b, c, modifiers)),
                   toBits(expected), "fma.f32", a, b, c, int(round));
            if (round == Round::NearestEven)
              expect(toBits(fusedMulAdd(a, b, c, modifiers)), toBits(expected),
                     "fma.f32", a, b, c);
          }
}

TEST_F(Numbers, DoubleArithmetic) {
  std::vector<double> values = hardNumbers<double>(320, 17);
  for (Round round : kRounds) {
    auto check = [&](double actual, double exact, const char *what, double a,
                     double b) {
      expect(toBits(actual), toBits(payload(exact, {a, b})), what, a, b,
             int(round));
    };
    for (double a : values) {
      for (double b : values) {
        check(ptx::add(round, a, b), reference::add(round, a, b), "add.f64", a,
              b);
        check(ptx::sub(round, a, b), reference::add(round, a, -b), "sub.f64", a,
              b);
        check(ptx::mul(round, a, b), reference::mul(round, a, b), "mul.f64", a,
              b);
        check(ptx::div(round, a, b), reference::div(round, a, b), "div.f64", a,
              b);
        if (round != Round::NearestEven)
          continue;
        check(add(a, b), reference::add(round, a, b), "add.f64", a, b);
        check(sub(a, b), reference::add(round, a, -b), "sub.f64", a, b);
        check(mul(a, b), reference::mul(round, a, b), "mul.f64", a, b);
        check(div(a, b), reference::div(round, a, b), "div.f64", a, b);
      }
    }
    for (double a : hardNumbers<double>(20000, 18)) {
      check(ptx::rcp(round, a), reference::div(round, 1, a), "rcp.f64", a, 0);
      check(ptx::squareRoot(round, a), reference::sqrt(round, a), "sqrt.f64", a,
            0);
      if (round == Round::NearestEven) {
        check(rcp(a), reference::div(round, 1, a), "rcp.f64", a, 0);
        check(squareRoot(a), reference::sqrt(round, a), "sqrt.f64", a, 0);
      }
    }
  }
}

TEST_F(Numbers, DoubleFusedMulAdd) {
  std::vector<double> values = hardNumbers<double>(64, 19);
  std::vector<double> sums = values;
  // Sums that nearly cancel or that decide a tie.
  std::mt19937_64 random(20);
  for (Round round : kRounds) {
    auto check = [&](double a, double b, double c) {
      double expected = payload(reference::fma(round, a, b, c), {a, b, c});
      expect(toBits(ptx::fusedMulAdd(round, a, b, c)), toBits(expected),
             "fma.f64", a, b, c, int(round));
      if (round == Round::NearestEven)
        expect(toBits(fusedMulAdd(a, b, c)), toBits(expected), "fma.f64", a, b,
               c);
    };
    for (double a : values)
      for (double b : values) {
        for (double c : values)
          check(a, b, c);
        double product = a * b;
        if (std::isnan(product))
          continue;
        for (int step = -1; step <= 1; ++step) {
          double near =
              fromBits<double>(toBits(product) + static_cast<uint64_t>(step));
          check(a, b, -near);
        }
        check(a, b, std::ldexp(product, -54));
        check(a, b, -std::ldexp(product, 53));
        check(a, b, std::ldexp(product, -120));
        check(a, b, -std::ldexp(product, 120));
      }
  }
}

template <typename T>
reference::Fixed fixed(T value) {
  return reference::Fixed(exactValue(value));
}

/// IEEE special cases of a narrow fma, or a NaN if there is none.
template <typename T>
bool specialFma(T a, T b, T c, T &result) {
  if (isFinite(a) && isFinite(b) && isFinite(c))
    return false;
  double sum = exactValue(a) * exactValue(b) + exactValue(c);
  if (isNaN(a) || isNaN(b) || isNaN(c) || std::isnan(sum))
    result = T{0x7fff};
  else
    result = fromBits<T>(Layout<T>::infinity |
                         (std::signbit(sum) ? Layout<T>::sign : 0));
  return true;
}

/// The sign of a zero sum to nearest.
bool negativeZero(double x, double y) {
  return std::signbit(x) && std::signbit(y);
}

template <typename T, typename Expect>
void checkNarrow(Expect expect, unsigned seed,
                 const std::vector<Modifiers> &all) {
  constexpr bool half = std::is_same_v<T, Half>;
  for (Modifiers modifiers : all) {
    auto in = [&](T value) {
      return modifiers.ftz ? modified(value, kFtz) : value;
    };
    auto fused = [&](T a, T b, T c) {
      a = in(a), b = in(b), c = in(c);
      T result;
      if (specialFma(a, b, c, result))
        return modified(result, modifiers);
      double product = exactValue(a) * exactValue(b); // exact in a double
      reference::Fixed exact = reference::Fixed(product) + fixed(c);
      return searched<T>(Round::NearestEven, exact,
                         negativeZero(product, exactValue(c)), modifiers);
    };
    T one = fromBits<T>(Layout<T>::one);
    std::vector<T> values = hardNumbers<T>(320, seed);
    for (T a : values)
      for (T b : values) {
        T minusB = isNaN(b) ? b : fromBits<T>(b.bits ^ 0x8000);
        bool signs = (a.bits ^ b.bits) & 0x8000;
        T minusZero = fromBits<T>(signs ? 0x8000 : 0);
        expect(add(a, b, modifiers), fused(a, one, b),
               half ? "add.f16" : "add.bf16", a, b, T{});
        expect(sub(a, b, modifiers), fused(a, one, minusB),
               half ? "sub.f16" : "sub.bf16", a, b, T{});
        expect(mul(a, b, modifiers), fused(a, b, minusZero),
               half ? "mul.f16" : "mul.bf16", a, b, T{});
      }
    std::vector<T> triples = hardNumbers<T>(64, seed + 1);
    for (T a : triples)
      for (T b : triples)
        for (T c : triples)
          expect(fusedMulAdd(a, b, c, modifiers), fused(a, b, c),
                 half ? "fma.f16" : "fma.bf16", a, b, c);
    // Near ties: c is a number, and a * b close to half its last place.
    std::mt19937_64 random(seed + 2);
    for (int i = 0; i < 40000; ++i) {
      T c = fromBits<T>(static_cast<uint16_t>(random()));
      T a = fromBits<T>(static_cast<uint16_t>(random()));
      if (!isFinite(a) || !isFinite(c) || exactValue(a) == 0)
        continue;
      uint32_t magnitude = magnitudeBits(c);
      double place =
          kSmall<T>.value(magnitude + 1) - kSmall<T>.value(magnitude);
      double factor = place / 2 / exactValue(a);
      if (std::fabs(factor) >= kSmall<T>.value(kSmall<T>.largest))
        continue;
      uint32_t bits = kSmall<T>.round(Round::NearestEven,
                                      clampedExact(static_cast<float>(factor)),
                                      std::signbit(factor));
      for (int step = -1; step <= 1; ++step) {
        T b = fromBits<T>(static_cast<uint16_t>(bits + step));
        expect(fusedMulAdd(a, b, c, modifiers), fused(a, b, c),
               half ? "fma.f16" : "fma.bf16", a, b, c);
      }
    }
  }
}

TEST_F(Numbers, HalfArithmetic) {
  Modifiers ftzRelu{true, false, true, false};
  checkNarrow<Half>(
      [&](Half actual, Half expected, const char *what, Half a, Half b,
          Half c) { expect(actual.bits, expected.bits, what, a, b, c); },
      21, {kPlain, kFtz, kSat, kRelu, ftzRelu});
}

TEST_F(Numbers, Bf16Arithmetic) {
  checkNarrow<Bf16>(
      [&](Bf16 actual, Bf16 expected, const char *what, Bf16 a, Bf16 b,
          Bf16 c) { expect(actual.bits, expected.bits, what, a, b, c); },
      24, {kPlain, kRelu});
}

//===----------------------------------------------------------------------===//
// Approximate functions
//===----------------------------------------------------------------------===//

const float kInf = HUGE_VALF;
const float kNaN = fromBits<float>(0x7fffffff);

TEST_F(Numbers, ApproximateTables) {
  struct Row {
    float input, ex2, lg2, sin, cos, tanh, rcp, rsqrt, sqrt;
  };
  const Row rows[] = {
      {-kInf, 0, kNaN, kNaN, kNaN, -1, -0.0f, kNaN, kNaN},
      {-0.0f, 1, -kInf, -0.0f, 1, -0.0f, -kInf, -kInf, -0.0f},
      {0.0f, 1, -kInf, 0, 1, 0, kInf, kInf, 0},
      {kInf, kInf, kInf, kNaN, kNaN, 1, 0, 0, kInf},
      {kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN, kNaN},
      {-4, 0.0625f, kNaN, -std::sin(4.0f), std::cos(4.0f), -std::tanh(4.0f),
       -0.25f, kNaN, kNaN},
      {4, 16, 2, std::sin(4.0f), std::cos(4.0f), std::tanh(4.0f), 0.25f, 0.5f,
       2},
      {0x1p-140f, 1, -140, 0x1p-140f, 1, 0x1p-140f, kInf, 0x1p70f, 0x1p-70f},
  };
  for (const Row &row : rows) {
    float a = row.input;
    auto check = [&](float actual, float expected, const char *what) {
      if (std::isfinite(expected) && expected != 0)
        EXPECT_NEAR(actual / expected, 1, 1e-6) << what << " of " << a;
      expect(std::isnan(actual), std::isnan(expected), what, a);
      if (!std::isfinite(expected) || expected == 0)
        expect(toBits(actual), toBits(expected), what, a);
    };
    check(ex2Approx(a), row.ex2, "ex2");
    check(lg2Approx(a), row.lg2, "lg2");
    check(sinApprox(a), row.sin, "sin");
    check(cosApprox(a), row.cos, "cos");
    check(tanhApprox(a), row.tanh, "tanh");
    check(rcpApprox(a), row.rcp, "rcp");
    check(rsqrtApprox(a), row.rsqrt, "rsqrt");
    check(sqrtApprox(a), row.sqrt, "sqrt");
  }
  // Subnormals are zeros, and so are subnormal results.
  for (float sign : {-1.0f, 1.0f}) {
    float tiny = sign * 0x1p-140f, zero = sign * 0.0f;
    expect(toBits(ex2Approx(tiny, kFtz)), toBits(1.0f), "ex2.ftz", tiny);
    expect(toBits(lg2Approx(tiny, kFtz)), toBits(-kInf), "lg2.ftz", tiny);
    expect(toBits(sinApprox(tiny, kFtz)), toBits(zero), "sin.ftz", tiny);
    expect(toBits(cosApprox(tiny, kFtz)), toBits(1.0f), "cos.ftz", tiny);
    expect(toBits(rcpApprox(tiny, kFtz)), toBits(sign * kInf), "rcp.ftz", tiny);
    expect(toBits(rsqrtApprox(tiny, kFtz)), toBits(sign * kInf), "rsqrt.ftz",
           tiny);
    expect(toBits(sqrtApprox(tiny, kFtz)), toBits(zero), "sqrt.ftz", tiny);
    expect(toBits(rcpApprox(sign * 0x1p127f, kFtz)), toBits(zero), "rcp.ftz",
           sign);
  }
  expect(toBits(ex2Approx(-130.0f)), toBits(0x1p-130f), "ex2", -130.0f);
  expect(toBits(ex2Approx(-130.0f, kFtz)), toBits(0.0f), "ex2.ftz", -130.0f);
  expect(toBits(ex2Approx(128.0f)), toBits(kInf), "ex2", 128.0f);

  // div.approx, whose reciprocal is 0 above 2^126.
  struct Quotient {
    float a, b, approx, full;
  };
  const Quotient quotients[] = {
      {6, 3, 2, 2},
      {-6, 0x1p126f, -6 / 0x1p126f, -6 / 0x1p126f},
      {0x1p127f, 0x1.8p126f, 0, 2 / 1.5f},
      {0x1p127f, -0x1.8p126f, -0.0f, -2 / 1.5f},
      {-1, 0x1p127f, -0.0f, -0x1p-127f},
      {kInf, 0x1p127f, kNaN, kInf},
      {1, kInf, 0, 0},
      {kInf, kInf, kNaN, kNaN},
      {0, 0, kNaN, kNaN},
      {1, -0.0f, -kInf, -kInf},
      {kNaN, 0x1p127f, kNaN, kNaN},
      {1, kNaN, kNaN, kNaN},
  };
  for (const Quotient &q : quotients) {
    expect(toBits(divApprox(q.a, q.b)), toBits(q.approx), "div.approx", q.a,
           q.b);
    expect(toBits(divFull(q.a, q.b)), toBits(q.full), "div.full", q.a, q.b);
  }
  expect(toBits(divFull(1, 0x1p127f, kFtz)), toBits(0.0f), "div.full.ftz", 1);
  expect(toBits(divFull(1, 0x1p-140f, kFtz)), toBits(kInf), "div.full.ftz", 1);

  struct Wide {
    uint64_t input, rcp, rsqrt;
  };
  const uint64_t infinity = 0x7ff0000000000000, sign = 0x8000000000000000,
                 nan = 0x7fffffff00000000;
  const Wide wides[] = {
      {infinity, 0, 0},
      {infinity | sign, sign, nan},
      {0, infinity, infinity},
      {sign, infinity | sign, infinity | sign},
      {1, infinity, infinity},
      {sign | 0xfffffffffffff, infinity | sign, infinity | sign},
      {infinity | 12345, nan, nan},
      {0x4010000000000000, 0x3fd0000000000000, 0x3fe0000000000000}, // 4
      {0x40100000ffffffff, 0x3fd0000000000000, 0x3fe0000000000000},
      {0xc010000000000000, 0xbfd0000000000000, nan},
      {0x7fe0000000000000, 0, 0x1ff6a09e00000000}, // 2^1023: subnormal
  };
  for (const Wide &wide : wides) {
    double a = fromBits<double>(wide.input);
    expect(toBits(rcpApproxFtz(a)), wide.rcp, "rcp.approx.ftz.f64", a);
    expect(toBits(rsqrtApproxFtz(a)), wide.rsqrt, "rsqrt.approx.ftz.f64", a);
  }
  expect(toBits(rsqrtApprox(4.0)), toBits(0.5), "rsqrt.approx.f64", 4.0);
  expect(toBits(rsqrtApprox(-0.0)), infinity | sign, "rsqrt.approx.f64", -0.0);
}

/// The distance to a result in units of an error.
TEST_F(Numbers, ApproximateErrors) {
  std::mt19937_64 random(27);
  std::vector<float> values = hardNumbers<float>(20000, 28);
  for (int i = 0; i < 20000; ++i)
    values.push_back(static_cast<float>(
        std::ldexp(static_cast<double>(static_cast<int64_t>(random())), -56)));
  auto relative = [&](float actual, long double exact, double bound,
                      const char *what, float a) {
    // Half a last place is what the format itself loses.
    long double slack = std::max(fabsl(exact) * bound, 0x1p-150L);
    bool close = fabsl(actual - exact) <= slack ||
                 (std::isinf(actual) && fabsl(exact) >= 0x1.ffffffp127L);
    expect(close, true, what, a);
  };
  for (float a : values) {
    if (!std::isfinite(a))
      continue;
    long double x = a;
    relative(ex2Approx(a), exp2l(x), 0x1p-23, "ex2", a); // 2 ulp: 2^-22
    relative(tanhApprox(a), tanhl(x), 0x1p-11, "tanh", a);
    if (a != 0)
      relative(rcpApprox(a), 1 / x, 0x1p-23, "rcp", a); // 1 ulp
    if (a > 0) {
      relative(rsqrtApprox(a), 1 / sqrtl(x), 0x1.12p-23, "rsqrt", a); // 2^-22.9
      relative(sqrtApprox(a), sqrtl(x), 0x1p-23, "sqrt", a);
      long double log = log2l(x);
      if (a > 0.5f && a < 2)
        expect(fabsl(lg2Approx(a) - log) <= 0x1p-22L, true, "lg2", a);
      else
        relative(lg2Approx(a), log, 0x1p-22, "lg2", a);
    }
    long double bound = fabsf(a) <= 6.2831855f ? 0x1.6ap-21L : 0x1.3ap-15L;
    if (fabsf(a) <= 314) {
      expect(fabsl(sinApprox(a) - sinl(x)) <= bound, true, "sin", a);
      expect(fabsl(cosApprox(a) - cosl(x)) <= bound, true, "cos", a);
    }
  }
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    Half half{static_cast<uint16_t>(bits)};
    Bf16 bf16{static_cast<uint16_t>(bits)};
    // Rounded to nearest: not further than either neighbour.
    auto nearest = [&](auto a, auto actual, long double exact,
                       const char *what) {
      using T = decltype(a);
      uint32_t magnitude = magnitudeBits(actual);
      long double value =
          exactValue(fromBits<T>(static_cast<uint16_t>(magnitude)));
      exact = fabsl(exact);
      bool close;
      if (magnitude > kSmall<T>.largest) {
        close = exact >= (kSmall<T>.value(kSmall<T>.largest) +
                          kSmall<T>.value(kSmall<T>.largest + 1)) /
                             2;
      } else {
        long double above = kSmall<T>.value(magnitude + 1);
        long double below = magnitude ? kSmall<T>.value(magnitude - 1) : 0;
        close = exact <= (value + above) / 2 * (1 + 0x1p-50L) &&
                exact >= (value + below) / 2 * (1 - 0x1p-50L);
      }
      expect(close, true, what, a);
    };
    if (isFinite(half)) {
      nearest(half, ex2Approx(half), exp2l(exactValue(half)), "ex2.f16");
      nearest(half, tanhApprox(half), tanhl(exactValue(half)), "tanh.f16");
      expect<bool>(tanhApprox(half).bits & 0x8000, bits & 0x8000, "tanh", half);
    }
    if (isFinite(bf16)) {
      nearest(bf16, ex2Approx(bf16), exp2l(exactValue(bf16)), "ex2.bf16");
      nearest(bf16, tanhApprox(bf16), tanhl(exactValue(bf16)), "tanh.bf16");
      uint32_t flushed = modified(ex2Approx(bf16), kFtz).bits;
      if (bits & 0x7f80)
        expect<uint32_t>(ex2Approx(bf16, kFtz).bits, flushed, "ex2.ftz.bf16",
                         bf16);
      else
        expect<uint32_t>(ex2Approx(bf16, kFtz).bits, 0x3f80, "ex2.ftz.bf16",
                         bf16);
    }
  }
  expect<uint32_t>(ex2Approx(Half{0xfc00}).bits, 0, "ex2.f16", 0xfc00);
  expect<uint32_t>(ex2Approx(Half{0x7c00}).bits, 0x7c00, "ex2.f16", 0x7c00);
  expect<uint32_t>(ex2Approx(Half{0xfe00}).bits, 0x7fff, "ex2.f16", 0xfe00);
  expect<uint32_t>(tanhApprox(Half{0xfc00}).bits, 0xbc00, "tanh", 0xfc00);
  expect<uint32_t>(tanhApprox(Half{0x7c01}).bits, 0x7fff, "tanh", 0x7c01);
  expect<uint32_t>(tanhApprox(Bf16{0x7f80}).bits, 0x3f80, "tanh", 0x7f80);
  expect<uint32_t>(tanhApprox(Bf16{0xffff}).bits, 0x7fff, "tanh", 0xffff);
}

//===----------------------------------------------------------------------===//
// Minimum and maximum
//===----------------------------------------------------------------------===//

/// The procedure of the manual, on values.
template <typename T>
T wantedMinMax(T a, T b, MinMax how) {
  auto in = [&](T value) {
    if (how.ftz && !isNaN(value))
      value = modified(value, kFtz);
    return how.abs ? fromBits<T>(toBits(value) &
                                 static_cast<BitsOf<T>>(~Layout<T>::sign))
                   : value;
  };
  bool sign =
      bool(toBits(a) & Layout<T>::sign) != bool(toBits(b) & Layout<T>::sign);
  T x = in(a), y = in(b), result;
  if (isNaN(x) && (isNaN(y) || how.nan))
    return modified(x, kPlain);
  if (isNaN(y) && how.nan)
    return modified(y, kPlain);
  if (isNaN(x) || isNaN(y)) {
    result = isNaN(x) ? y : x;
  } else {
    auto less = [](T p, T q) {
      double u = exactValue(p), v = exactValue(q);
      return u < v || (u == v && std::signbit(u) && !std::signbit(v));
    };
    result = less(x, y) != how.max ? x : y;
  }
  if (how.xorsign)
    result = fromBits<T>(static_cast<BitsOf<T>>(
        (toBits(result) & ~Layout<T>::sign) | (sign ? Layout<T>::sign : 0)));
  return result;
}

template <typename T, typename Expect>
void checkMinMax(Expect expect, unsigned seed) {
  std::vector<T> values = hardNumbers<T>(320, seed);
  std::vector<T> triples = hardNumbers<T>(60, seed + 1);
  for (int mode = 0; mode < 32; ++mode) {
    MinMax how{(mode & 1) != 0, (mode & 2) != 0, (mode & 4) != 0,
               (mode & 8) != 0, (mode & 16) != 0};
    if (how.xorsign && !how.abs)
      continue;
    for (T a : values)
      for (T b : values)
        expect(minMax(a, b, how), wantedMinMax(a, b, how), a, b, mode);
    if (how.xorsign)
      continue;
    for (T a : triples)
      for (T b : triples)
        for (T c : triples) {
          T first = wantedMinMax(a, b, how);
          expect(minMax(a, b, c, how), wantedMinMax(first, c, how), a, b, mode);
        }
  }
}

TEST_F(Numbers, MinMax) {
  auto check = [&](auto actual, auto expected, auto a, auto b, int mode) {
    expect(toBits(actual), toBits(expected), "min/max", a, b, mode);
  };
  checkMinMax<float>(check, 30);
  checkMinMax<double>(check, 32);
  checkMinMax<Half>(check, 34);
  checkMinMax<Bf16>(check, 36);
}

//===----------------------------------------------------------------------===//
// Integers, by the loops of the manual
//===----------------------------------------------------------------------===//

template <typename T>
std::vector<T> integers(size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::vector<T> result = {0,
                           1,
                           T(-1),
                           T(-2),
                           std::numeric_limits<T>::max(),
                           std::numeric_limits<T>::min(),
                           T(std::numeric_limits<T>::max() - 1),
                           T(0x80),
                           T(0x7f)};
  while (result.size() < count)
    result.push_back(static_cast<T>(random() >> random() % 64));
  return result;
}

std::vector<uint32_t> amounts() {
  std::vector<uint32_t> result;
  for (uint32_t i = 0; i < 70; ++i)
    result.push_back(i);
  for (uint32_t i : {127u, 128u, 200u, 254u, 255u, 256u, 257u, 288u, 0x10001u,
                     0x7fffffffu, 0x80000000u, ~0u})
    result.push_back(i);
  return result;
}

template <typename T, typename Expect>
void checkShifts(Expect expect, unsigned seed) {
  constexpr uint32_t bits = sizeof(T) * 8;
  for (T a : integers<T>(100, seed))
    for (uint32_t n : amounts()) {
      __int128 wide = a;
      T left = n >= bits
                   ? T(0)
                   : static_cast<T>(static_cast<unsigned __int128>(wide) << n);
      T right = static_cast<T>(wide >> std::min(n, 127u));
      expect(shl(a, n), left, "shl", a, n);
      expect(shr(a, n), right, "shr", a, n);
    }
}

template <typename T, typename Expect>
void checkFields(Expect expect, unsigned seed) {
  using Bits = std::make_unsigned_t<T>;
  constexpr uint32_t msb = sizeof(T) * 8 - 1;
  auto bit = [](Bits value, uint32_t index) {
    return static_cast<Bits>(value >> index & 1);
  };
  std::vector<T> values = integers<T>(20, seed);
  for (T a : values) {
    Bits bits = static_cast<Bits>(a);
    for (uint32_t b : amounts())
      for (uint32_t c : amounts()) {
        uint32_t pos = b & 255, len = c & 255;
        Bits sign = std::is_unsigned_v<T> || len == 0
                        ? Bits(0)
                        : bit(bits, std::min(pos + len - 1, msb));
        Bits wanted = 0;
        for (uint32_t i = 0; i <= msb; ++i)
          wanted |= (i < len && pos + i <= msb ? bit(bits, pos + i) : sign)
                    << i;
        expect(bfe(a, b, c), static_cast<T>(wanted), "bfe", a, b, c);
        if constexpr (std::is_unsigned_v<T>) {
          for (T base : {T(0), T(~T(0)), T(0x123456789abcdef5ull)}) {
            Bits inserted = base;
            for (uint32_t i = 0; i < len && pos + i <= msb; ++i)
              inserted = (inserted & ~(Bits(1) << (pos + i))) |
                         bit(bits, i) << (pos + i);
            expect(bfi(a, base, b, c), inserted, "bfi", a, b, c);
          }
        }
      }
  }
  for (T a : integers<T>(3000, seed + 1)) {
    Bits bits = static_cast<Bits>(a);
    if (std::is_signed_v<T> && bit(bits, msb))
      bits = ~bits;
    uint32_t found = ~0u;
    for (int i = static_cast<int>(msb); i >= 0 && found == ~0u; --i)
      if (bit(bits, static_cast<uint32_t>(i)))
        found = static_cast<uint32_t>(i);
    expect(bfind(a, false), found, "bfind", a);
    expect(bfind(a, true), found == ~0u ? found : msb - found, "bfind.shiftamt",
           a);
    if constexpr (std::is_unsigned_v<T>) {
      uint32_t ones = 0, zeros = 0;
      T reversed = 0;
      for (uint32_t i = 0; i <= msb; ++i) {
        ones += static_cast<uint32_t>(bit(a, i));
        reversed |= bit(a, i) << (msb - i);
      }
      while (zeros <= msb && !bit(a, msb - zeros))
        ++zeros;
      expect(popc(a), ones, "popc", a);
      expect(clz(a), zeros, "clz", a);
      expect(brev(a), reversed, "brev", a);
    }
  }
}

TEST_F(Numbers, ShiftsAndFields) {
  auto check = [&](auto actual, auto expected, auto... rest) {
    expect(actual, expected, rest...);
  };
  checkShifts<uint16_t>(check, 40);
  checkShifts<int16_t>(check, 41);
  checkShifts<uint32_t>(check, 42);
  checkShifts<int32_t>(check, 43);
  checkShifts<uint64_t>(check, 44);
  checkShifts<int64_t>(check, 45);
  checkFields<uint32_t>(check, 46);
  checkFields<int32_t>(check, 48);
  checkFields<uint64_t>(check, 50);
  checkFields<int64_t>(check, 52);
  for (uint32_t low : integers<uint32_t>(30, 54))
    for (uint32_t high : integers<uint32_t>(30, 55))
      for (uint32_t c : amounts())
        for (bool clamp : {false, true}) {
          uint32_t n = clamp ? std::min(c, 32u) : c & 31;
          auto shifted = [](uint32_t x, int by) {
            uint64_t wide = x;
            return static_cast<uint32_t>(by >= 0 ? wide << by : wide >> -by);
          };
          int by = static_cast<int>(n);
          expect(shfLeft(low, high, c, clamp),
                 shifted(high, by) | shifted(low, by - 32), "shf.l", low, high,
                 c);
          expect(shfRight(low, high, c, clamp),
                 shifted(high, 32 - by) | shifted(low, -by), "shf.r", low, high,
                 c);
        }
  for (uint32_t a : integers<uint32_t>(40, 56))
    for (uint32_t b : amounts())
      for (bool clamp : {false, true})
        for (bool isSigned : {false, true}) {
          uint32_t n = b & 31;
          bool large = b >= 32 && clamp;
          uint32_t mask = large ? 0 : ~0u << n;
          bool sign = isSigned && n && !large && (a >> ((n - 1) & 31) & 1);
          expect(szext(a, b, clamp, isSigned), (a & ~mask) | (sign ? mask : 0),
                 "szext", a, b);
        }
  for (uint32_t a : amounts())
    for (uint32_t b : amounts())
      for (bool clamp : {false, true}) {
        uint32_t a1 = a & 31, b1 = b & 31, sum = a1 + b1;
        uint32_t mask0 = clamp && a >= 32 ? 0 : ~0u << a1;
        uint32_t mask1 = sum < 32 ? ~0u << sum : 0;
        if (sum >= 32 || (clamp && (a >= 32 || b >= 32)))
          mask1 = 0;
        else if (b1 == 0)
          mask1 = ~0u;
        expect(bmsk(a, b, clamp), mask0 & ~mask1, "bmsk", a, b);
      }
}

TEST_F(Numbers, Permute) {
  auto byte = [](uint32_t a, uint32_t b, uint32_t index) {
    return (index < 4 ? a >> (8 * index) : b >> (8 * (index - 4))) & 255;
  };
  std::mt19937_64 random(60);
  for (uint32_t selector = 0; selector < 0x10000; ++selector) {
    uint32_t a = static_cast<uint32_t>(random());
    uint32_t b = static_cast<uint32_t>(random());
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      uint32_t select = selector >> (4 * i) & 15;
      uint32_t picked = byte(a, b, select & 7);
      if (select & 8)
        picked = picked & 128 ? 255 : 0;
      wanted |= picked << (8 * i);
    }
    expect(prmt(a, b, permuteSelector(PermuteMode::Index, selector)), wanted,
           "prmt", a, b, selector);
  }
  // The special modes, as they are meant.
  for (int i = 0; i < 1000; ++i) {
    uint32_t a = static_cast<uint32_t>(random());
    uint32_t b = static_cast<uint32_t>(random());
    uint32_t control = static_cast<uint32_t>(random());
    uint32_t c = control & 3;
    auto check = [&](PermuteMode mode, auto source) {
      uint32_t wanted = 0;
      for (uint32_t i = 0; i < 4; ++i)
        wanted |= byte(a, b, source(i) & 7) << (8 * i);
      expect(prmt(a, b, permuteSelector(mode, control)), wanted, "prmt.mode", a,
             b, static_cast<int>(mode), c);
    };
    check(PermuteMode::F4e, [&](uint32_t i) { return c + i; });
    check(PermuteMode::B4e, [&](uint32_t i) { return c - i; });
    check(PermuteMode::Rc8, [&](uint32_t) { return c; });
    check(PermuteMode::Ecl, [&](uint32_t i) { return std::max(c, i); });
    check(PermuteMode::Ecr, [&](uint32_t i) { return std::min(c, i); });
    check(PermuteMode::Rc16, [&](uint32_t i) { return (c & 1) * 2 + (i & 1); });
  }
}

template <typename T, typename Expect>
void checkProducts(Expect expect, unsigned seed) {
  using Wide = __int128;
  for (T a : integers<T>(150, seed))
    for (T b : integers<T>(150, seed + 1)) {
      Wide product;
      if constexpr (std::is_same_v<T, uint64_t>)
        product =
            static_cast<Wide>((static_cast<unsigned __int128>(a) * b) >> 64);
      else
        product = (static_cast<Wide>(a) * b) >> (sizeof(T) * 8);
      expect(mulHi(a, b), static_cast<T>(product), "mul.hi", a, b);
      Wide distance = static_cast<Wide>(a) - b;
      for (T c : {T(0), T(77), std::numeric_limits<T>::max()})
        expect(sad(a, b, c),
               static_cast<T>(static_cast<uint64_t>(
                   (distance < 0 ? -distance : distance) + c)),
               "sad", a, b, c);
    }
}

TEST_F(Numbers, Products) {
  auto check = [&](auto actual, auto expected, auto... rest) {
    expect(actual, expected, rest...);
  };
  checkProducts<uint16_t>(check, 70);
  checkProducts<int16_t>(check, 72);
  checkProducts<uint32_t>(check, 74);
  checkProducts<int32_t>(check, 76);
  checkProducts<uint64_t>(check, 78);
  checkProducts<int64_t>(check, 80);
  std::mt19937_64 random(82);
  std::vector<uint32_t> words = integers<uint32_t>(120, 83);
  for (uint32_t word : {0x80808080u, 0x7f7f7f7fu, 0x80007fffu, 0xff80017fu})
    words.push_back(word);
  auto part = [](uint32_t value, int index, int bits, bool isSigned) {
    int64_t field = value >> (index * bits) & ((1u << bits) - 1);
    return isSigned && field >> (bits - 1) ? field - (int64_t(1) << bits)
                                           : field;
  };
  for (uint32_t a : words)
    for (uint32_t b : words)
      for (int mode = 0; mode < 4; ++mode) {
        bool signedA = mode & 1, signedB = mode & 2;
        uint32_t c = static_cast<uint32_t>(random());
        int64_t four = c, low = c, high = c;
        for (int i = 0; i < 4; ++i)
          four += part(a, i, 8, signedA) * part(b, i, 8, signedB);
        for (int i = 0; i < 2; ++i) {
          low += part(a, i, 16, signedA) * part(b, i, 8, signedB);
          high += part(a, i, 16, signedA) * part(b, i + 2, 8, signedB);
        }
        expect(dp4a(a, b, c, signedA, signedB), static_cast<uint32_t>(four),
               "dp4a", a, b, c, mode);
        expect(dp2a(a, b, c, signedA, signedB, false),
               static_cast<uint32_t>(low), "dp2a.lo", a, b, c, mode);
        expect(dp2a(a, b, c, signedA, signedB, true),
               static_cast<uint32_t>(high), "dp2a.hi", a, b, c, mode);
      }
  for (uint32_t table = 0; table < 256; ++table)
    for (int i = 0; i < 20; ++i) {
      uint32_t a = static_cast<uint32_t>(random());
      uint32_t b = static_cast<uint32_t>(random());
      uint32_t c = static_cast<uint32_t>(random());
      uint32_t wanted = 0;
      for (int bit = 0; bit < 32; ++bit) {
        uint32_t index =
            (a >> bit & 1) * 4 + (b >> bit & 1) * 2 + (c >> bit & 1);
        wanted |= (table >> index & 1) << bit;
      }
      expect(lop3(a, b, c, table), wanted, "lop3", a, b, c, table);
    }
  // The tables that the manual's rule gives: a is 0xf0, b 0xcc, c 0xaa.
  expect(lop3(0x12345678, 0x9abcdef0, 0x0f1e2d3c, 0xf0 & 0xcc & 0xaa),
         0x12345678u & 0x9abcdef0u & 0x0f1e2d3cu, "lop3", 0x80);
}

//===----------------------------------------------------------------------===//
// Whole warps, for another instruction set
//===----------------------------------------------------------------------===//

#if defined(__x86_64__)
#define NEST_FAST __attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")))

/// An operation on 32 lanes, compiled for a newer processor and for any.
#define NEST_LANES(name, To, From, expression)                                 \
  NEST_FAST void name##Fast(To *to, const From *a, const From *b,              \
                            const From *c) {                                   \
    for (int i = 0; i < 32; ++i)                                               \
      to[i] = expression;                                                      \
  }                                                                            \
  void name##Any(To *to, const From *a, const From *b, const From *c) {        \
    for (int i = 0; i < 32; ++i)                                               \
      to[i] = expression;                                                      \
  }

NEST_LANES(addFloat, float, float, add(a[i], b[i], kFtz))
NEST_LANES(fmaFloat, float, float, fusedMulAdd(a[i], b[i], c[i], kSat))
NEST_LANES(divFloat, float, float, divApprox(a[i], b[i]))
NEST_LANES(fmaDouble, double, double, fusedMulAdd(a[i], b[i], c[i]))
NEST_LANES(addHalf, Half, Half, add(a[i], b[i], kFtz))
NEST_LANES(fmaHalf, Half, Half, fusedMulAdd(a[i], b[i], c[i], kRelu))
NEST_LANES(mulBf16, Bf16, Bf16, mul(a[i], b[i]))
NEST_LANES(fmaBf16, Bf16, Bf16, fusedMulAdd(a[i], b[i], c[i]))
NEST_LANES(halfToFloat, float, Half, convert<float>(a[i]))
NEST_LANES(floatToHalf, Half, float, convert<Half>(a[i]))
NEST_LANES(doubleToHalf, Half, double, convert<Half>(a[i]))
NEST_LANES(floatToBf16, Bf16, float, convert<Bf16>(a[i]))
NEST_LANES(doubleToBf16, Bf16, double, convert<Bf16>(a[i]))
NEST_LANES(doubleToFloat, float, double, convert<float>(a[i]))
NEST_LANES(toInt, int32_t, float, toInteger<int32_t>(Round::NearestEven, a[i]))
NEST_LANES(toUint, uint32_t, float, toInteger<uint32_t>(Round::Up, a[i]))
NEST_LANES(toByte, uint8_t, float, toInteger<uint8_t>(Round::Zero, a[i]))
NEST_LANES(toLong, uint64_t, double, toInteger<uint64_t>(Round::Zero, a[i]))
NEST_LANES(fromInt, float, int32_t, convert<float>(a[i]))
NEST_LANES(fromUint, float, uint32_t, convert<float>(a[i]))
NEST_LANES(fromUlong, float, uint64_t, convert<float>(a[i]))
NEST_LANES(intToBf16, Bf16, int32_t, convert<Bf16>(a[i]))
NEST_LANES(longToBf16, Bf16, int64_t, convert<Bf16>(a[i]))
NEST_LANES(minFloat, float, float, minMax(a[i], b[i], MinMax{}))
NEST_LANES(maxHalf, Half, Half,
           minMax(a[i], b[i], MinMax{true, true, true, true, true}))
NEST_LANES(tf32, float, float, toTf32(Round::NearestAway, a[i]))
NEST_LANES(whole, float, float, roundToInteger(Round::NearestEven, a[i]))
NEST_LANES(permute, uint32_t, uint32_t, prmt(a[i], b[i], c[i]))
NEST_LANES(field, int32_t, int32_t,
           bfe(a[i], static_cast<uint32_t>(b[i]), static_cast<uint32_t>(c[i])))
NEST_LANES(reverse, uint32_t, uint32_t, brev(a[i]))
NEST_LANES(zeros, uint32_t, uint32_t, clz(a[i]) + popc(b[i]))

template <typename T>
std::vector<T> operands(unsigned seed) {
  if constexpr (isFloatType<T>)
    return hardNumbers<T>(320, seed);
  else
    return integers<T>(320, seed);
}

template <typename To, typename From, typename Expect>
void checkLanes(void (*fast)(To *, const From *, const From *, const From *),
                void (*any)(To *, const From *, const From *, const From *),
                Expect expect, const char *what) {
  std::vector<From> values = operands<From>(90);
  std::mt19937_64 random(91);
  for (int round = 0; round < 2000; ++round) {
    From a[32], b[32], c[32];
    for (int i = 0; i < 32; ++i) {
      a[i] = values[random() % values.size()];
      b[i] = values[random() % values.size()];
      c[i] = values[random() % values.size()];
    }
    To x[32], y[32];
    fast(x, a, b, c);
    any(y, a, b, c);
    for (int i = 0; i < 32; ++i) {
      if constexpr (isFloatType<To>)
        expect(toBits(x[i]), toBits(y[i]), what, a[i], b[i], c[i]);
      else
        expect(x[i], y[i], what, a[i], b[i], c[i]);
    }
  }
}

TEST_F(Numbers, LanesOfNewerProcessors) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("f16c") || !__builtin_cpu_supports("bmi2") ||
      !__builtin_cpu_supports("lzcnt"))
    GTEST_SKIP() << "no AVX2";
  auto check = [&](auto actual, auto expected, auto... rest) {
    expect(actual, expected, rest...);
  };
#define NEST_CHECK(name) checkLanes(name##Fast, name##Any, check, #name)
  NEST_CHECK(addFloat);
  NEST_CHECK(fmaFloat);
  NEST_CHECK(divFloat);
  NEST_CHECK(fmaDouble);
  NEST_CHECK(addHalf);
  NEST_CHECK(fmaHalf);
  NEST_CHECK(mulBf16);
  NEST_CHECK(fmaBf16);
  NEST_CHECK(halfToFloat);
  NEST_CHECK(floatToHalf);
  NEST_CHECK(doubleToHalf);
  NEST_CHECK(floatToBf16);
  NEST_CHECK(doubleToBf16);
  NEST_CHECK(doubleToFloat);
  NEST_CHECK(toInt);
  NEST_CHECK(toUint);
  NEST_CHECK(toByte);
  NEST_CHECK(toLong);
  NEST_CHECK(fromInt);
  NEST_CHECK(fromUint);
  NEST_CHECK(fromUlong);
  NEST_CHECK(intToBf16);
  NEST_CHECK(longToBf16);
  NEST_CHECK(minFloat);
  NEST_CHECK(maxHalf);
  NEST_CHECK(tf32);
  NEST_CHECK(whole);
  NEST_CHECK(permute);
  NEST_CHECK(field);
  NEST_CHECK(reverse);
  NEST_CHECK(zeros);
}
#endif

} // namespace
