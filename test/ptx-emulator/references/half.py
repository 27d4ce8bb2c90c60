# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import exact
import numpy as np
from exact import F16, NAN, decode, encode, floats
from float32 import ABS, ADD, FMA, MAX, MIN, MUL, NEG, SUB, order
from harness import table

COUNT = 300


def operations(form):
    def op(f, end=lambda y: y, nan=False):
        """end: what is done after the rounding; nan: its bits are open."""

        def run(*bits):
            y = encode(f(*(decode(b, form) for b in bits)), form)
            y = end(decode(y, form))
            return exact.is_nan(form) if nan and y.kind == NAN else encode(y, form)

        return run

    def rounded(f):
        return lambda *x: decode(encode(f(*x), form), form)

    def when(orders, unordered=False):
        """Whether x and y compare so."""

        def run(x, y):
            result = order(decode(x, form), decode(y, form))
            return unordered if result is None else result in orders

        return run

    product_sum = op(lambda x, y, z: exact.add(rounded(MUL)(x, y, z), z))
    less, equal = when((-1,)), when((0,))
    not_less, differs = when((0, 1), True), when((-1, 1), True)
    one = form.bias << form.fraction
    single = {
        "add": op(ADD("rn")),
        "sub": op(SUB("rn")),
        "mul": op(MUL),
        "fma": op(FMA("rn")),
        "add.sat": op(ADD("rn"), exact.saturated),
        "mul.sat": op(MUL, exact.saturated),
        "fma.sat": op(FMA("rn"), exact.saturated),
        "fma.relu": op(FMA("rn"), exact.relu),
        "neg": op(NEG, nan=True),
        "abs": op(ABS, nan=True),
        "min": op(MIN),
        "max": op(MAX),
        "min.NaN": op(lambda x, y, z: exact.smaller(x, y, True)),
        "max.NaN": op(lambda x, y, z: exact.larger(x, y, True)),
        "mul and add": product_sum,
        "lt": lambda x, y, z: x if less(x, y) else z,
        "eq": lambda x, y, z: x if equal(x, y) else z,
        "geu": lambda x, y, z: x if not_less(x, y) else z,
        "neu": lambda x, y, z: x if differs(x, y) else z,
        "isnan": lambda x, y, z: y if decode(x, form).kind == NAN else z,
    }
    chosen = {name: single[name] for name in ("add", "sub", "mul", "fma", "fma.sat", "fma.relu", "add.sat")}
    chosen |= {name: single[name] for name in ("min", "max", "min.NaN", "max.NaN", "neg", "abs")}
    chosen["eq"] = lambda x, y, z: one * equal(x, y)
    chosen["ltu"] = lambda x, y, z: one * when((-1,), True)(x, y)
    chosen["ge"] = lambda x, y, z: one * when((0, 1))(x, y)
    pair = {}
    for name, f in chosen.items():
        pair[f"{name}, low"] = lambda x, y, z, f=f: f(x & 0xFFFF, y & 0xFFFF, z & 0xFFFF)
        pair[f"{name}, high"] = lambda x, y, z, f=f: f(x >> 16, y >> 16, z >> 16)

    def both(f):
        return lambda x, y: (f(x & 0xFFFF, y & 0xFFFF), f(x >> 16, y >> 16))

    def mask(f):
        return lambda x, y: sum(0xFFFF << 16 * k for k, hit in enumerate(both(f)(x, y)) if hit)

    masks = {
        "eq": mask(equal),
        "ne": mask(when((-1, 1))),
        "gtu": mask(when((1,), True)),
        "both eq": lambda x, y: all(both(equal)(x, y)),
        "both ltu": lambda x, y: all(both(when((-1,), True))(x, y)),
    }
    return single, pair, masks


def cases_of(name, form, ptx):
    single, pair, masks = operations(form)
    x, y, z = (floats(seed, form, 2 * COUNT) for seed in (1, 2, 3))
    y[::5] = x[::5]
    wide = [v.view(np.uint32) for v in (x, y, z)]
    yield table(f"single_{name}", single, [x, y, z], np.uint16, ptx=ptx)
    yield table(f"pair_{name}", pair, wide, np.uint16, ptx=ptx)
    yield table(f"masks_{name}", masks, wide[:2], np.uint32, ptx=ptx)


def cases():
    yield from cases_of("f16", F16, ("half.ptx", "half-sm90.ptx"))
