//===- NumbersReference.h - results by other means --------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the arithmetic of PTX is compared with. f32 and f64 are those of the
// processor and of the C library with the rounding mode set. Narrower formats
// are searched: an exact number as a long fixed-point integer lies between two
// neighbours of the format, and their midpoint decides.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TEST_UNIT_PTXEMULATOR_NUMBERSREFERENCE_H
#define NESTC_TEST_UNIT_PTXEMULATOR_NUMBERSREFERENCE_H

#include "tools/ptx-emulator/Numbers.h"

#include <array>

namespace nestc {
namespace ptx {
namespace reference {

/// A multiple of 2^-320, below 2^318 in magnitude, in two's complement.
class Fixed {
public:
  Fixed() = default;
  /// Exact; the number has to be a multiple of 2^-320.
  explicit Fixed(double value);
  explicit Fixed(bool negative, uint64_t magnitude);
  Fixed operator+(const Fixed &other) const;
  Fixed operator-() const;
  /// -1, 0 or 1.
  int sign() const;
  int compare(const Fixed &other) const;

private:
  void addAt(uint64_t value, int bit);
  std::array<uint64_t, 10> words{};
};

/// A format of up to 19 bits, by its fields.
struct Small {
  int exponentBits, fractionBits, bias;
  /// The largest finite number; a number after it rounds as if there were one.
  uint32_t largest;

  uint32_t signBit() const { return 1u << (exponentBits + fractionBits); }
  /// The value of a pattern without a sign.
  double value(uint32_t magnitude) const;
  /// The pattern of an exact number; a zero has the sign that is given. What
  /// is beyond the largest number gives `largest + 1`, with its sign.
  uint32_t round(Round round, const Fixed &exact, bool negativeZero) const;
};
inline constexpr Small kHalf{5, 10, 15, 0x7bff};
inline constexpr Small kBf16{8, 7, 127, 0x7f7f};
inline constexpr Small kTf32{8, 10, 127, 0x3fbff};
inline constexpr Small kE4m3{4, 3, 7, 0x7e};
inline constexpr Small kE5m2{5, 2, 15, 0x7b};

/// The operations of the processor in a rounding mode (not NearestAway). NaN
/// is as it comes.
float add(Round round, float a, float b);
float mul(Round round, float a, float b);
float div(Round round, float a, float b);
float fma(Round round, float a, float b, float c);
float sqrt(Round round, float a);
double add(Round round, double a, double b);
double mul(Round round, double a, double b);
double div(Round round, double a, double b);
double fma(Round round, double a, double b, double c);
double sqrt(Round round, double a);
float toFloat(Round round, double value);
/// Of whole numbers, which a long double holds.
float toFloat(Round round, long double value);
double toDouble(Round round, long double value);

} // namespace reference
} // namespace ptx
} // namespace nestc

#endif // NESTC_TEST_UNIT_PTXEMULATOR_NUMBERSREFERENCE_H
