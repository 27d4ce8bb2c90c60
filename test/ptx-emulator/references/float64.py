# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import exact
import numpy as np
from exact import F64, NAN, decode, encode, floats
from float32 import ABS, ADD, DIV, FMA, MAX, MIN, MUL, NEG, RCP, SQRT, SUB, order
from harness import table

COUNT = 200


def op(f, mode="rn"):
    def run(*bits):
        y = f(*(decode(b, F64) for b in bits))
        return exact.is_nan(F64) if y.kind == NAN else encode(y, F64, mode)

    return run


def modes(name, f, which=("rn", "rz", "rm", "rp")):
    return {f"{name}.{mode}": op(f(mode), mode) for mode in which}


def branches(x, y, z):
    value = {-1: 1, 0: 2, 1: 3, None: 4}[order(decode(x, F64), decode(y, F64))]
    return encode(exact.number(value), F64)


LOW = (1 << 32) - 1

ROUNDING = {
    **modes("add", ADD),
    **modes("sub", SUB, ("rn", "rz")),
    **modes("mul", lambda mode: MUL),
    **modes("fma", FMA),
    **modes("div", lambda mode: DIV),
    **modes("sqrt", lambda mode: SQRT),
    **modes("rcp", lambda mode: RCP, ("rn", "rp")),
    "abs": op(ABS),
    "neg": op(NEG),
    "min": op(MIN),
    "max": op(MAX),
    "copysign": lambda x, y, z: x >> 63 << 63 | y & (1 << 63) - 1,
    **{f"cvt.{mode}": op(lambda x, y, z, mode=mode: exact.round_to_integral(x, mode))
       for mode in ("rni", "rzi", "rmi", "rpi")},
    "branches": branches,
    "halves": lambda x, y, z: (x & LOW) << 32 | y >> 32,
}


def cases():
    inputs = [floats(seed, F64, COUNT).view(np.float64) for seed in (1, 2, 3)]
    bits = [x.view(np.uint64).tolist() for x in inputs]
    yield table("rounding_f64", ROUNDING, inputs, np.float64, operands=bits)
