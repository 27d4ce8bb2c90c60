# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import exact
import numpy as np
from exact import F32, INFINITE, NAN, decode, encode, flush, floats
from harness import table

COUNT = 300


def op(f, mode="rn", ftz=False, sat=False):
    """f of numbers, rounded once."""

    def run(*bits):
        x = [decode(b, F32) for b in bits]
        if ftz:
            x = [flush(v, F32) for v in x]
        y = f(*x)
        if sat:
            y = exact.saturated(y)
        result = encode(y, F32, mode)
        return exact.flushed(result, F32) if ftz else result

    return run


def any_nan(f):
    """The bits of a NaN are open."""

    def run(*bits):
        result = f(*bits)
        return exact.is_nan(F32) if decode(result, F32).kind == NAN else result

    return run


def modes(name, f):
    return {f"{name}.{mode}": op(f(mode), mode) for mode in ("rn", "rz", "rm", "rp")}


def pair(f):
    return lambda x, y, z: f(x, y)


def first(f):
    return lambda x, y, z: f(x)


ADD = lambda mode: lambda x, y, z: exact.add(x, y, mode)
SUB = lambda mode: lambda x, y, z: exact.subtract(x, y, mode)
FMA = lambda mode: lambda x, y, z: exact.fma(x, y, z, mode)
MUL = lambda x, y, z: exact.multiply(x, y)
DIV = lambda x, y, z: exact.quotient(x, y)
SQRT = lambda x, y, z: exact.root(x)
RCP = lambda x, y, z: exact.quotient(exact.number(1), x)
ABS = lambda x, y, z: x.negated() if x.sign else x
NEG = lambda x, y, z: x.negated()
MIN = lambda x, y, z: exact.smaller(x, y)
MAX = lambda x, y, z: exact.larger(x, y)

ROUNDING = {
    **modes("add", ADD),
    **modes("sub", SUB),
    **modes("mul", lambda mode: MUL),
    **modes("fma", FMA),
    **modes("div", lambda mode: DIV),
    **modes("sqrt", lambda mode: SQRT),
    **modes("rcp", lambda mode: RCP),
}


def integral(mode):
    return any_nan(op(lambda x, y, z: exact.round_to_integral(x, mode)))


def copysign(x, y, z):
    """copysign.f32 d, a, b: the sign of a on b."""
    return x & 0x80000000 | y & 0x7FFFFFFF


MODIFIED = {
    "add.ftz": op(ADD("rn"), ftz=True),
    "add.sat": op(ADD("rn"), sat=True),
    "add.rz.ftz.sat": op(ADD("rz"), "rz", ftz=True, sat=True),
    "sub.ftz": op(SUB("rn"), ftz=True),
    "mul.ftz": op(MUL, ftz=True),
    "mul.sat": op(MUL, sat=True),
    "fma.ftz": op(FMA("rn"), ftz=True),
    "fma.sat": op(FMA("rn"), sat=True),
    "div.ftz": op(DIV, ftz=True),
    "sqrt.ftz": op(SQRT, ftz=True),
    "rcp.ftz": op(RCP, ftz=True),
    "abs": any_nan(op(ABS)),
    "abs.ftz": any_nan(op(ABS, ftz=True)),
    "neg": any_nan(op(NEG)),
    "neg.ftz": any_nan(op(NEG, ftz=True)),
    "min": op(MIN),
    "max": op(MAX),
    "min.ftz": op(MIN, ftz=True),
    "max.ftz": op(MAX, ftz=True),
    "min.NaN": op(lambda x, y, z: exact.smaller(x, y, True)),
    "max.NaN": op(lambda x, y, z: exact.larger(x, y, True)),
    "copysign": copysign,
    **{f"cvt.{mode}": integral(mode) for mode in ("rni", "rzi", "rmi", "rpi")},
    "cvt.sat": op(lambda x, y, z: x, sat=True),
    "slct.s32": lambda x, y, z: y if z >> 31 else x,
    "slct.f32": lambda x, y, z: x if (lambda v: v.kind != NAN and (v.zero or not v.sign))(decode(z, F32)) else y,
}


def order(x, y):
    """-1, 0, 1, or None for a NaN."""
    if NAN in (x.kind, y.kind):
        return None
    a, b = exact.compare_key(x), exact.compare_key(y)
    return (a > b) - (a < b)


def compare(orders, unordered=False, ftz=False):
    def run(x, y):
        x, y = decode(x, F32), decode(y, F32)
        result = order(flush(x, F32), flush(y, F32)) if ftz else order(x, y)
        return int(unordered if result is None else result in orders)

    return run


LT, GE = compare((-1,)), compare((0, 1))
ONE = F32.bias << F32.fraction


def above(x):
    return order(decode(x, F32), exact.number(1)) == 1


def two(x, y):
    """setp.and with both results: p, and q of the negated comparison."""
    less = LT(x, y) == 1
    return (less and above(x)) + 2 * (not less and above(x))


def three(x, y):
    equal = order(decode(x, F32), decode(y, F32)) == 0
    q = (not equal) != above(x)
    return (LT(x, y) == 1 or not above(x)) + 2 * (not q)


def kind(f):
    return lambda x, y: int(f(decode(x, F32)))


def subnormal(x):
    return x.kind == exact.FINITE and not x.zero and flush(x, F32).zero


COMPARE = {
    "eq": compare((0,)),
    "ne": compare((-1, 1)),
    "lt": LT,
    "le": compare((-1, 0)),
    "gt": compare((1,)),
    "ge": GE,
    "equ": compare((0,), True),
    "neu": compare((-1, 1), True),
    "ltu": compare((-1,), True),
    "leu": compare((-1, 0), True),
    "gtu": compare((1,), True),
    "geu": compare((0, 1), True),
    "num": compare((-1, 0, 1)),
    "nan": compare((), True),
    "lt.ftz": compare((-1,), ftz=True),
    "branches": lambda x, y: {-1: 10, 0: 20, 1: 30, None: 40}[order(decode(x, F32), decode(y, F32))],
    "neither": compare((), True),
    "set.lt.u32": lambda x, y: -LT(x, y),
    "set.geu.f32": lambda x, y: ONE * compare((0, 1), True)(x, y),
    "finite": kind(lambda x: x.kind == exact.FINITE),
    "infinite": kind(lambda x: x.kind == INFINITE),
    "number": kind(lambda x: x.kind != NAN),
    "notanumber": kind(lambda x: x.kind == NAN),
    "normal": kind(lambda x: x.kind == exact.FINITE and not x.zero and not subnormal(x)),
    "subnormal": kind(subnormal),
    "two results": two,
    "three predicates": three,
}

PLAIN = {
    "add": op(ADD("rn")),
    "sub": op(SUB("rn")),
    "mul": op(MUL),
    "div": op(DIV),
    "fma": op(FMA("rn")),
    "neg": any_nan(op(NEG)),
    "abs": any_nan(op(ABS)),
    "select": lambda x, y, z: x if LT(x, y) else z,
    "min": op(MIN),
    "sqrt": op(SQRT),
    "floor": integral("rmi"),
    "trunc": integral("rzi"),
}


def cases():
    inputs = [floats(seed, F32, COUNT).view(np.float32) for seed in (1, 2, 3)]
    same = floats(4, F32, COUNT).view(np.float32)
    same[::3] = inputs[0][::3]
    bits = [raw.view(np.uint32).tolist() for raw in (*inputs, same)]
    yield table("rounding_f32", ROUNDING, inputs, np.float32, operands=bits[:3])
    yield table("modified_f32", MODIFIED, inputs, np.float32, operands=bits[:3])
    yield table("plain_f32", PLAIN, inputs, np.float32, operands=bits[:3], ptx=("float32-clang.ptx",))
    both = ("float32.ptx", "float32-clang.ptx")
    yield table("compare_f32", COMPARE, [inputs[0], same], np.uint32, operands=[bits[0], bits[3]], ptx=both)
