# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The bounds are those of the PTX manual, and for the library those of the CUDA guide."""
import math

import exact
import numpy as np
from exact import BF16, F16, F32, F64, FINITE, INFINITE, NAN, Number, decode, encode, floats, flush
from fractions import Fraction
from harness import table

COUNT = 300


def near(value, form, relative=0, absolute=0, ulp=0, ftz=False):
    """What a result near value (a Number) may be."""

    def accepts(bits):
        got = decode(bits, form)
        if value.kind == NAN:
            return got.kind == NAN
        if got.kind == NAN:
            return False
        top = exact.number(decode(form.largest, form).magnitude)
        if value.kind == INFINITE:
            return got.kind == INFINITE and got.sign == value.sign
        if got.kind == INFINITE:
            return got.sign == value.sign and value.magnitude >= top.magnitude * Fraction(999, 1000)
        if value.zero:
            return got.zero and got.sign == value.sign
        normal = Fraction(2) ** (1 - form.bias)
        if ftz and got.zero and value.magnitude < normal * Fraction(1001, 1000):
            return True
        exponent = math.floor(math.log2(value.magnitude)) if value.magnitude > 1e-300 else -1000
        unit = Fraction(2) ** max(exponent - form.fraction, form.lowest)
        # A subnormal result is near to a unit of its last place.
        bound = Fraction(relative) * value.magnitude + Fraction(absolute) + ulp * unit
        if value.magnitude < normal:
            bound += unit
        return abs(got.value - value.value) <= bound + unit / 2

    return accepts


def real(x):
    return math.copysign(math.inf if x.kind == INFINITE else float(x.magnitude), -1 if x.sign else 1)


def from_real(y, sign=False):
    if math.isnan(y):
        return Number(NAN)
    if math.isinf(y):
        return Number(INFINITE, y < 0)
    return Number(FINITE, math.copysign(1, y) < 0, abs(Fraction(y)))


def op(f, form, ftz=False, **bounds):
    """f of Numbers, to within bounds."""

    def run(*bits):
        x = [decode(b, form) for b in bits]
        if ftz:
            x = [flush(v, form) for v in x]
        return near(f(*x), form, ftz=ftz, **bounds)

    return run


def ex2(x, *_):
    if x.kind == NAN:
        return exact.NOT
    if x.kind == INFINITE:
        return Number(FINITE) if x.sign else x
    if abs(x.value) > 5000:
        return Number(FINITE, False, Fraction(1, 1 << 5000) if x.sign else Fraction(1 << 5000))
    whole = math.floor(x.value)
    return Number(FINITE, False, Fraction(2.0 ** float(x.value - whole)) * Fraction(2) ** whole)


def lg2(x, *_):
    if x.kind == NAN or (x.sign and not x.zero):
        return exact.NOT
    if x.zero:
        return Number(INFINITE, True)
    return x if x.kind == INFINITE else from_real(math.log2(x.magnitude))


def circular(f):
    def run(x, *_):
        if x.kind != FINITE:
            return exact.NOT
        if x.zero:
            return Number(FINITE, x.sign) if f is math.sin else exact.number(1)
        return from_real(f(real(x)))

    return run


def tanh(x, *_):
    if x.kind == NAN:
        return exact.NOT
    if x.zero:
        return x
    return from_real(math.tanh(real(x)))


def rcp(x, *_):
    return exact.quotient(exact.number(1), x)


def rsqrt(x, *_):
    """rsqrt(-0) is -inf."""
    return Number(INFINITE, x.sign) if x.zero else rcp(exact.root(x))


def sqrt(x, *_):
    return exact.root(x)


def div(x, y):
    return exact.quotient(x, y)


def in_pi(f):
    """The bound of sin and cos holds within -pi..pi (1e-5 beyond it is our choice for
    small arguments; larger ones are only in -1..1)."""

    def run(x, *_):
        value = decode(x, F32)
        if value.kind == FINITE and value.magnitude > 3.1415927:
            return lambda bits: decode(bits, F32).kind == FINITE and decode(bits, F32).magnitude <= 1
        return f(x)

    return run


def div_approx(ftz):
    """2 ulp for a divisor of 2^-126..2^126; beyond 2^126 the result may be 0, or NaN for
    an infinite dividend; a subnormal divisor may count as zero."""

    def run(a, b):
        x, y = decode(a, F32), decode(b, F32)
        inside = op(div, F32, ftz=ftz, ulp=2)(a, b)
        if y.kind != FINITE or y.zero or (y.magnitude <= 2**126 and not flush(y, F32).zero):
            return inside
        if y.magnitude > 2**126:
            return lambda bits: inside(bits) or (
                decode(bits, F32).kind == NAN if x.kind == INFINITE else decode(bits, F32).zero
            )
        return lambda bits: inside(bits) or decode(bits, F32).kind in (INFINITE, NAN)

    return run


def div_full(ftz):
    """2 ulp in the full range."""
    return op(div, F32, ftz=ftz, ulp=2)


APPROX_F32 = {
    "ex2": op(ex2, F32, relative=2**-22.5),
    "ex2.ftz": op(ex2, F32, True, relative=2**-22.5),
    "lg2": op(lg2, F32, relative=2**-22, absolute=2**-22),
    "lg2.ftz": op(lg2, F32, True, relative=2**-22, absolute=2**-22),
    "sin": in_pi(op(circular(math.sin), F32, absolute=2**-20.5)),
    "cos": in_pi(op(circular(math.cos), F32, absolute=2**-20.5)),
    "sin.ftz": in_pi(op(circular(math.sin), F32, True, absolute=2**-20.5)),
    "tanh": op(tanh, F32, relative=2**-11),
    "rcp": op(rcp, F32, ulp=1),
    "rcp.ftz": op(rcp, F32, True, ulp=1),
    "rsqrt": op(rsqrt, F32, relative=2**-22.9),
    "rsqrt.ftz": op(rsqrt, F32, True, relative=2**-22.9),
    "sqrt": op(sqrt, F32, relative=2**-23),
    "sqrt.ftz": op(sqrt, F32, True, relative=2**-23),
    "div.approx": div_approx(False),
    "div.approx.ftz": div_approx(True),
    "div.full": div_full(False),
    "div.full.ftz": div_full(True),
}

APPROX_F64 = {
    # The upper 32 bits of the operand are read, those of the result computed.
    "rcp": op(rcp, F64, True, relative=2**-19),
    "rsqrt": op(rsqrt, F64, relative=2**-19),
}


def halves(form, ftz, ex2_bound, tanh_bound):
    low = op(ex2, form, ftz, **ex2_bound)
    hyperbolic = op(tanh, form, **tanh_bound)
    return low, hyperbolic


EX2_F16, TANH_F16 = halves(F16, False, {"relative": 2**-9.9}, {"absolute": 2**-10.987})
EX2_BF16, TANH_BF16 = halves(BF16, True, {"relative": 2**-7}, {"relative": 2**-8})

APPROX_F16 = {
    "ex2": lambda x, y: EX2_F16(x),
    "tanh": lambda x, y: TANH_F16(x),
    "ex2.f16x2, low": lambda x, y: EX2_F16(x),
    "tanh.f16x2, high": lambda x, y: TANH_F16(y),
}
APPROX_BF16 = {
    "ex2": lambda x, y: EX2_BF16(x),
    "tanh": lambda x, y: TANH_BF16(x),
    "ex2.bf16x2, high": lambda x, y: EX2_BF16(y),
    "tanh.bf16x2, low": lambda x, y: TANH_BF16(x),
}


def function(f, form=F32, **bounds):
    """f of a float64, for finite arguments."""

    def run(x):
        try:
            y = f(real(decode(x, form)))
        except (OverflowError, ZeroDivisionError):
            y = math.inf
        except ValueError:
            y = -math.inf
        return near(from_real(y), form, **bounds)

    return run


def sine_of_product(x):
    product = float(np.float32(x) * np.float32(1e6))
    return math.sin(product)


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def log(f):
    return lambda x: f(abs(x)) if x else -math.inf


LIBRARY = {
    "expf": function(math.exp, ulp=2),
    "exp2f": function(lambda x: 2.0**x, ulp=2),
    "logf": function(log(math.log), ulp=1),
    "log2f": function(log(math.log2), ulp=1),
    "sinf": function(math.sin, ulp=2),
    "cosf": function(math.cos, ulp=2),
    "tanhf": function(math.tanh, ulp=2),
    "sigmoid": function(sigmoid, ulp=4),
    "powf": function(lambda x: abs(x) ** 1.25, ulp=8),
    "rsqrtf": function(lambda x: abs(x) ** -0.5, ulp=2),
    "erff": function(math.erf, ulp=2),
    "sinf of a huge angle": function(sine_of_product, ulp=2),
    "log1pf": function(lambda x: math.log1p(abs(x)), ulp=1),
}
# ex2 of a product: its rounding counts |x| times; lg2 is absolute near 1.
FAST = {
    "expf": function(math.exp, relative=2**-17, ftz=True),
    "exp2f": function(lambda x: 2.0**x, relative=2**-21, ftz=True),
    "logf": function(log(math.log), relative=2**-21, absolute=2**-21.4),
    "log2f": function(log(math.log2), relative=2**-21, absolute=2**-21.4),
    "sinf": function(math.sin, absolute=2**-20),
    "cosf": function(math.cos, absolute=2**-20),
    "tanhf": function(math.tanh, relative=2**-10.9),
    "sigmoid": function(sigmoid, relative=2**-17, ftz=True),
    "powf": function(lambda x: abs(x) ** 1.25, relative=2**-15, ftz=True),
    "rsqrtf": function(lambda x: abs(x) ** -0.5, relative=2**-22),
}
LIBRARY_F64 = {
    "exp": function(math.exp, F64, ulp=1),
    "log": function(log(math.log), F64, ulp=1),
}


def cases():
    inputs = [floats(seed, F32, COUNT).view(np.float32) for seed in (1, 2)]
    bits = [x.view(np.uint32).tolist() for x in inputs]
    yield table("approx_f32", APPROX_F32, inputs, np.float32, operands=bits)
    wide = floats(3, F64, COUNT).view(np.float64)
    yield table("approx_f64", APPROX_F64, [wide], np.float64, operands=[wide.view(np.uint64).tolist()])
    for name, form, operations, ptx in (
        ("f16", F16, APPROX_F16, "approx.ptx"),
        ("bf16", BF16, APPROX_BF16, "approx-sm90.ptx"),
    ):
        x = floats(4, form, COUNT)
        both = [x.tolist(), x[::-1].tolist()]
        yield table(f"approx_{name}", operations, [x], np.uint16, operands=both, ptx=(ptx,))
    draw = np.random.default_rng(5)
    x = np.concatenate([draw.uniform(-3, 3, 100), draw.uniform(-80, 80, 100), draw.normal(0, 1e-3, 50)])
    x = np.concatenate([x, [0.0, -0.0, 1, -1, 0.5, 2, 3.14159274, 1.57079637]]).astype(np.float32)
    bits = [x.view(np.uint32).tolist()]
    yield table("library", LIBRARY, [x], np.float32, operands=bits)
    small = x[np.abs(x) <= 3.14159274]
    bits = [small.view(np.uint32).tolist()]
    yield table("library", FAST, [small], np.float32, operands=bits, ptx=("approx-fast.ptx",))
    x = np.concatenate([draw.uniform(-3, 3, 60), draw.uniform(-600, 600, 60), [0.0, 1, -1]])
    yield table("library_f64", LIBRARY_F64, [x], np.float64, operands=[x.view(np.uint64).tolist()])
