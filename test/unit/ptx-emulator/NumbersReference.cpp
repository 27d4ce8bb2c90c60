//===- NumbersReference.cpp - results by other means ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compiled with -frounding-math: the rounding mode changes here.
//
//===----------------------------------------------------------------------===//

#include "NumbersReference.h"

#include <cfenv>
#include <cmath>
#include <cstdlib>

using namespace nestc::ptx;
using namespace nestc::ptx::reference;

void Fixed::addAt(uint64_t value, int bit) {
  unsigned __int128 carry = static_cast<unsigned __int128>(value) << (bit & 63);
  for (size_t word = static_cast<size_t>(bit) / 64;
       word < words.size() && carry; ++word) {
    carry += words[word];
    words[word] = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
}

Fixed::Fixed(double value) {
  int exponent;
  double fraction = std::frexp(std::fabs(value), &exponent);
  uint64_t whole = static_cast<uint64_t>(std::ldexp(fraction, 53));
  int bit = exponent - 53 + 320;
  while (whole && bit < 0) {
    if (whole & 1)
      std::abort(); // not a multiple of the unit
    whole >>= 1;
    ++bit;
  }
  if (whole && bit + 53 > 639)
    std::abort();
  if (whole)
    addAt(whole, bit);
  if (std::signbit(value))
    *this = -*this;
}

Fixed::Fixed(bool negative, uint64_t magnitude) {
  addAt(magnitude, 320);
  if (negative)
    *this = -*this;
}

Fixed Fixed::operator+(const Fixed &other) const {
  Fixed result = *this;
  unsigned __int128 carry = 0;
  for (size_t word = 0; word < words.size(); ++word) {
    carry += static_cast<unsigned __int128>(words[word]) + other.words[word];
    result.words[word] = static_cast<uint64_t>(carry);
    carry >>= 64;
  }
  return result;
}

Fixed Fixed::operator-() const {
  Fixed result;
  for (size_t word = 0; word < words.size(); ++word)
    result.words[word] = ~words[word];
  result.addAt(1, 0);
  return result;
}

int Fixed::sign() const {
  if (words.back() >> 63)
    return -1;
  for (uint64_t word : words)
    if (word)
      return 1;
  return 0;
}

int Fixed::compare(const Fixed &other) const { return (*this + -other).sign(); }

double Small::value(uint32_t magnitude) const {
  int exponent = static_cast<int>(magnitude >> fractionBits);
  uint32_t fraction = magnitude & ((1u << fractionBits) - 1);
  if (exponent == 0)
    return std::ldexp(fraction, 1 - bias - fractionBits);
  return std::ldexp((1u << fractionBits) + fraction,
                    exponent - bias - fractionBits);
}

uint32_t Small::round(Round round, const Fixed &exact,
                      bool negativeZero) const {
  int sign = exact.sign();
  if (sign == 0)
    return negativeZero ? signBit() : 0;
  Fixed magnitude = sign < 0 ? -exact : exact;
  uint32_t low = 0, high = largest + 1;
  while (high - low > 1) {
    uint32_t middle = (low + high) / 2;
    if (Fixed(value(middle)).compare(magnitude) <= 0)
      low = middle;
    else
      high = middle;
  }
  uint32_t result = low;
  Fixed below(value(low));
  if (below.compare(magnitude) != 0) {
    // The number after the largest one is where the exponent goes on.
    int side = magnitude.compare(Fixed((value(low) + value(low + 1)) / 2));
    bool up = false;
    switch (round) {
    case Round::NearestEven:
      up = side > 0 || (side == 0 && (low & 1));
      break;
    case Round::NearestAway:
      up = side >= 0;
      break;
    case Round::Zero:
      break;
    case Round::Down:
      up = sign < 0;
      break;
    case Round::Up:
      up = sign > 0;
      break;
    }
    result += up;
  }
  return result | (sign < 0 ? signBit() : 0);
}

namespace {
class Mode {
public:
  explicit Mode(Round round) : old(std::fegetround()) {
    switch (round) {
    case Round::Zero:
      std::fesetround(FE_TOWARDZERO);
      break;
    case Round::Down:
      std::fesetround(FE_DOWNWARD);
      break;
    case Round::Up:
      std::fesetround(FE_UPWARD);
      break;
    default:
      std::fesetround(FE_TONEAREST);
    }
  }
  ~Mode() { std::fesetround(old); }
  Mode(const Mode &) = delete;
  Mode &operator=(const Mode &) = delete;

private:
  int old;
};
} // namespace

// volatile keeps each operation between the changes of the mode.
#define NEST_IN_MODE(type, expression)                                         \
  Mode mode(round);                                                            \
  volatile type result = expression;                                           \
  return result

template <typename T>
static T opaque(T value) {
  volatile T copy = value;
  return copy;
}

float reference::add(Round round, float a, float b) {
  NEST_IN_MODE(float, opaque(a) + opaque(b));
}
float reference::mul(Round round, float a, float b) {
  NEST_IN_MODE(float, opaque(a) * opaque(b));
}
float reference::div(Round round, float a, float b) {
  NEST_IN_MODE(float, opaque(a) / opaque(b));
}
float reference::fma(Round round, float a, float b, float c) {
  NEST_IN_MODE(float, std::fma(opaque(a), opaque(b), opaque(c)));
}
float reference::sqrt(Round round, float a) {
  NEST_IN_MODE(float, std::sqrt(opaque(a)));
}
double reference::add(Round round, double a, double b) {
  NEST_IN_MODE(double, opaque(a) + opaque(b));
}
double reference::mul(Round round, double a, double b) {
  NEST_IN_MODE(double, opaque(a) * opaque(b));
}
double reference::div(Round round, double a, double b) {
  NEST_IN_MODE(double, opaque(a) / opaque(b));
}
double reference::fma(Round round, double a, double b, double c) {
  NEST_IN_MODE(double, std::fma(opaque(a), opaque(b), opaque(c)));
}
double reference::sqrt(Round round, double a) {
  NEST_IN_MODE(double, std::sqrt(opaque(a)));
}
float reference::toFloat(Round round, double value) {
  NEST_IN_MODE(float, static_cast<float>(opaque(value)));
}
float reference::toFloat(Round round, long double value) {
  NEST_IN_MODE(float, static_cast<float>(opaque(value)));
}
double reference::toDouble(Round round, long double value) {
  NEST_IN_MODE(double, static_cast<double>(opaque(value)));
}
