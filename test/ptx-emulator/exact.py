# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exact arithmetic: integers of a width, and floating point as rational numbers that
are rounded once."""

import dataclasses
import math
import random
from fractions import Fraction

import numpy as np


def signed(value, width):
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def unsigned(value, width):
    return value & ((1 << width) - 1)


def divide(a, b):
    """The quotient, towards zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def remainder(a, b):
    return a - b * divide(a, b)


@dataclasses.dataclass(frozen=True)
class Format:
    """An IEEE-like format: exponent and fraction bits; nan: the canonical NaN."""

    exponent: int
    fraction: int
    nan: int
    infinity: bool = True

    @property
    def width(self):
        return 1 + self.exponent + self.fraction

    @property
    def bias(self):
        return (1 << (self.exponent - 1)) - 1

    @property
    def lowest(self):
        """The exponent of the unit in the last place of subnormals."""
        return 1 - self.bias - self.fraction

    @property
    def largest(self):
        """Bits of the largest finite number."""
        if self.infinity:
            return (((1 << self.exponent) - 1) << self.fraction) - 1
        return (1 << (self.width - 1)) - 2


F16 = Format(5, 10, 0x7FFF)
BF16 = Format(8, 7, 0x7FFF)
F32 = Format(8, 23, 0x7FFFFFFF)
F64 = Format(11, 52, 0x7FFFFFFFFFFFFFFF)
TF32 = Format(8, 10, 0x3FFFF)
E4M3 = Format(4, 3, 0x7F, infinity=False)
E5M2 = Format(5, 2, 0x7F)

NAN, INFINITE, FINITE = "nan", "infinite", "finite"


@dataclasses.dataclass(frozen=True)
class Number:
    """A decoded number: sign (True is negative) and, when finite, magnitude."""

    kind: str
    sign: bool = False
    magnitude: Fraction = Fraction(0)

    @property
    def value(self):
        return -self.magnitude if self.sign else self.magnitude

    @property
    def zero(self):
        return self.kind == FINITE and not self.magnitude

    def negated(self):
        return dataclasses.replace(self, sign=not self.sign)


NOT = Number(NAN)


def decode(bits, form):
    sign = bool(bits >> (form.width - 1) & 1)
    exponent = bits >> form.fraction & ((1 << form.exponent) - 1)
    fraction = bits & ((1 << form.fraction) - 1)
    if form.infinity and exponent == (1 << form.exponent) - 1:
        return Number(NAN, sign) if fraction else Number(INFINITE, sign)
    if not form.infinity and bits & ((1 << (form.width - 1)) - 1) == form.nan:
        return Number(NAN, sign)
    if exponent:
        fraction |= 1 << form.fraction
    return Number(FINITE, sign, fraction * Fraction(2) ** (form.lowest + max(exponent, 1) - 1))


def number(value, zero_sign=False):
    """A rational as a number; zero_sign is the sign of a zero."""
    value = Fraction(value)
    return Number(FINITE, value < 0 or (value == 0 and zero_sign), abs(value))


def whole(scaled, mode, sign):
    """A non-negative rational (or a pair of floor and a flag of inexactness with its
    comparison to a half) to an integer; mode is as in PTX, rna rounds halves away."""
    floor = scaled.numerator // scaled.denominator
    rest = scaled - floor
    if not rest:
        return floor
    mode = mode.rstrip("i")
    if mode == "rz" or mode == ("rp" if sign else "rm"):
        return floor
    if mode == ("rm" if sign else "rp"):
        return floor + 1
    if rest == Fraction(1, 2):
        return floor + (1 if mode == "rna" else floor & 1)
    return floor + (rest > Fraction(1, 2))


def encode(x, form, mode="rn", saturate=False, canonical=True):
    """The bits of a number, rounded once.  saturate: to the largest finite number, as
    .satfinite does."""
    sign = int(x.sign) << (form.width - 1)
    if x.kind == NAN:
        return form.nan
    infinite = sign | (((1 << form.exponent) - 1) << form.fraction)
    if x.kind == INFINITE:
        return sign | form.largest if saturate or not form.infinity else infinite
    if not x.magnitude:
        return sign
    exponent = x.magnitude.numerator.bit_length() - x.magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > x.magnitude:
        exponent -= 1
    unit = max(exponent - form.fraction, form.lowest)
    mantissa = whole(x.magnitude / Fraction(2) ** unit, mode, x.sign)
    bits = ((unit - form.lowest) << form.fraction) + mantissa
    if bits > form.largest:
        towards = mode in ("rz",) or mode == ("rp" if x.sign else "rm")
        return sign | form.largest if saturate or towards or not form.infinity else infinite
    return sign | bits


def flush(x, form):
    """.ftz: a subnormal becomes zero of its sign."""
    if x.kind == FINITE and x.magnitude < Fraction(2) ** (1 - form.bias):
        return Number(FINITE, x.sign)
    return x


def flushed(bits, form):
    exponent = bits >> form.fraction & ((1 << form.exponent) - 1)
    return bits if exponent else bits & (1 << (form.width - 1))


def add(a, b, mode="rn"):
    if NAN in (a.kind, b.kind):
        return NOT
    if a.kind == INFINITE:
        return NOT if b.kind == INFINITE and a.sign != b.sign else a
    if b.kind == INFINITE:
        return b
    total = a.value + b.value
    if total == 0 and a.zero and b.zero and a.sign == b.sign:
        return a
    return number(total, mode == "rm")


def subtract(a, b, mode="rn"):
    return add(a, b.negated(), mode)


def multiply(a, b):
    if NAN in (a.kind, b.kind):
        return NOT
    sign = a.sign != b.sign
    if INFINITE in (a.kind, b.kind):
        return NOT if a.zero or b.zero else Number(INFINITE, sign)
    return Number(FINITE, sign, a.magnitude * b.magnitude)


def fma(a, b, c, mode="rn"):
    return add(multiply(a, b), c, mode)


def quotient(a, b):
    if NAN in (a.kind, b.kind):
        return NOT
    sign = a.sign != b.sign
    if a.kind == INFINITE:
        return NOT if b.kind == INFINITE else Number(INFINITE, sign)
    if b.kind == INFINITE:
        return Number(FINITE, sign)
    if b.zero:
        return NOT if a.zero else Number(INFINITE, sign)
    return Number(FINITE, sign, a.magnitude / b.magnitude)


def root(a):
    """The square root, with a rational near enough to round as the true one does."""
    if a.kind == NAN or (a.sign and not a.zero):
        return NOT
    if a.kind == INFINITE or a.zero:
        return a
    scale = 1 << 2600
    scaled = a.magnitude * scale
    floor = math.isqrt(scaled.numerator // scaled.denominator)
    exact = Fraction(floor) ** 2 == scaled
    value = Fraction(floor) if exact else Fraction(2 * floor + 1, 2)
    return Number(FINITE, False, value / (1 << 1300))


def compare_key(x):
    return float("inf") * (-1 if x.sign else 1) if x.kind == INFINITE else x.value


def smaller(a, b, propagate=False):
    """min: a NaN is dropped unless propagate; -0 is below +0."""
    if NAN in (a.kind, b.kind):
        return NOT if propagate or a.kind == b.kind else (b if a.kind == NAN else a)
    if a.zero and b.zero:
        return a if a.sign else b
    return a if compare_key(a) <= compare_key(b) else b


def larger(a, b, propagate=False):
    if NAN in (a.kind, b.kind):
        return NOT if propagate or a.kind == b.kind else (b if a.kind == NAN else a)
    if a.zero and b.zero:
        return b if a.sign else a
    return a if compare_key(a) >= compare_key(b) else b


def relu(x):
    """.relu: below zero becomes +0, NaN the canonical one."""
    return x if x.kind == NAN or (not x.sign and not x.zero) else Number(FINITE)


def saturated(x):
    """.sat: to [0, 1], NaN to +0."""
    if x.kind == NAN or x.sign:
        return Number(FINITE)
    if x.kind == INFINITE or x.magnitude > 1:
        return number(1)
    return x


def to_integer(x, width, is_signed, mode="rzi", not_a_number=0):
    """cvt to an integer: saturates."""
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    if x.kind == NAN:
        return not_a_number
    if x.kind == INFINITE:
        return low if x.sign else high
    value = whole(x.magnitude, mode, x.sign)
    return min(max(-value if x.sign else value, low), high)


def round_to_integral(x, mode):
    if x.kind != FINITE:
        return x
    return Number(FINITE, x.sign, Fraction(whole(x.magnitude, mode, x.sign)))


def is_nan(form):
    """As a wanted result: the bits of a NaN are open."""
    return lambda bits: decode(bits, form).kind == NAN


def corners(form):
    """Bits around everything where a format changes its ways."""
    one = form.bias << form.fraction
    top = form.largest
    smallest = 1 << form.fraction
    half = (form.bias - 1) << form.fraction
    values = [0, 1, 2, 3, smallest - 1, smallest, smallest + 1, half - 1, half, half + 1, one - 1, one, one + 1]
    values += [one + (1 << form.fraction), one + (1 << (form.fraction - 1)), top - 1, top]
    if form.infinity:
        values += [top + 1, form.nan, top + 2]
    return [v | s << (form.width - 1) for v in values for s in (0, 1)]


def floats(seed, form, count, near=4):
    """A third corner cases, a third within 2^-near..2^near, a third random bits."""
    draw = random.Random(seed)
    special = corners(form)
    values = []
    for _ in range(count):
        kind = draw.randrange(3)
        bits = draw.choice(special) if kind == 0 else draw.getrandbits(form.width)
        if kind == 1:
            bits &= ~(((1 << form.exponent) - 1) << form.fraction)
            bits |= form.bias + draw.randint(-near, near) << form.fraction
        values.append(bits)
    return np.array(values, f"u{form.width // 8}")
