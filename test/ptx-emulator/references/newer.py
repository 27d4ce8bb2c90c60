# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import exact
import numpy as np
from convert import cvt, tf32
from exact import BF16, F16, F32, TF32, decode, encode, floats, signed
from harness import integers, table

COUNT = 400
OUTSIDE = 0x7FFF  # what a copy puts where there is no tensor


def mixed(form, f, mode="rn", sat=False):
    """f of two halves and an f32, rounded once to f32."""

    def run(x, y, z):
        result = f(decode(x, form), decode(y, form), decode(z, F32), mode)
        return encode(exact.saturated(result) if sat else result, F32, mode)

    return run


def add(x, y, z, mode):
    return exact.add(x, z, mode)


def subtract(x, y, z, mode):
    return exact.subtract(x, z, mode)


def mixed_case(name, form):
    modes = lambda what, f: {f"{what}.{mode}": mixed(form, f, mode) for mode in ("rn", "rz", "rm", "rp")}
    operations = {
        "add": mixed(form, add),
        **modes("add", add),
        "add.sat": mixed(form, add, sat=True),
        "add.rz.sat": mixed(form, add, "rz", True),
        **modes("sub", subtract),
        "sub.sat": mixed(form, subtract, sat=True),
        **modes("fma", exact.fma),
        "fma.sat": mixed(form, exact.fma, sat=True),
        "fma.rp.sat": mixed(form, exact.fma, "rp", True),
    }
    x, y, z = floats(1, form, COUNT), floats(2, form, COUNT), floats(3, F32, COUNT)
    # Sums that cancel, or nearly.
    for i in range(0, COUNT, 4):
        number = decode(int(x[i]), form)
        if number.kind != exact.NAN:
            z[i] = encode(number, F32) ^ (i % 8 // 4) ^ 0x80000000 * (i % 16 // 8)
    return table(f"mixed_{name}", operations, [x, y, z.view(np.float32)], np.uint32, operands=[v.tolist() for v in (x, y, z)])


def relu(f, width):
    def run(x, y):
        result = 0
        for at in range(0, 32, width):
            mask = (1 << width) - 1
            value = f(signed(x >> at & mask, width), signed(y >> at & mask, width))
            result |= max(value, 0) << at
        return result

    return run


def oob(form, end=lambda x: x, halves=2):
    def one(x, y, z):
        if OUTSIDE in (x, y, z):
            return 0
        result = exact.fma(decode(x, form), decode(y, form), decode(z, form))
        # Saturated after the rounding.
        return encode(end(decode(encode(result, form), form)), form)

    def run(*bits):
        return sum(one(*(b >> 16 * k & 0xFFFF for b in bits)) << 16 * k for k in range(halves))

    return run


def finite(form, mode, relu=False):
    return cvt(form, F32, mode, relu=relu, finite=True)


def pairs(form, mode, relu=False):
    f = finite(form, mode, relu)
    return lambda x, y: f(x) << 16 | f(y)


def finite_tf32(mode, relu=False):
    def run(x, _):
        result = cvt(TF32, F32, mode, relu=relu, finite=True)(x)
        return (lambda got: got & 0x7FFFFFFF > 0x7F800000) if result == TF32.nan else result << 13

    return run


def lop3(combine):
    """0x88 is b & c."""
    return lambda x, y, z: int(combine(y & z != 0, y < z))


def cases():
    yield mixed_case("f16", F16)
    yield mixed_case("bf16", BF16)
    x, y, z = (integers(seed, np.uint32, COUNT) for seed in (1, 2, 3))
    y[::7] = x[::7]
    operations = {f"{f.__name__}.{width}": relu(f, width) for width in (32, 16) for f in (min, max)}
    yield table("relu_s32", operations, [x, y], np.uint32)
    operations = {
        "f16x2": oob(F16),
        "relu.f16x2": oob(F16, exact.relu),
        "sat.f16x2": oob(F16, exact.saturated),
        "f16": oob(F16, halves=1),
        "bf16x2": oob(BF16),
        "relu.bf16x2": oob(BF16, exact.relu),
        "relu.bf16": oob(BF16, exact.relu, halves=1),
    }
    words = []
    for seed, step in ((1, 5), (2, 7), (3, 11)):
        halves = floats(seed, F16, 2 * COUNT)
        halves[::step] = OUTSIDE
        words.append(halves.view(np.uint32))
    yield table("oob", operations, words, np.uint32)
    operations = {
        "rn.f16": lambda x, y: finite(F16, "rn")(x),
        "rz.f16": lambda x, y: finite(F16, "rz")(x),
        "rn.relu.f16": lambda x, y: finite(F16, "rn", True)(x),
        "rn.bf16": lambda x, y: finite(BF16, "rn")(x),
        "rz.relu.bf16": lambda x, y: finite(BF16, "rz", True)(x),
        "rn.f16x2": pairs(F16, "rn"),
        "rz.relu.f16x2": pairs(F16, "rz", True),
        "rn.relu.bf16x2": pairs(BF16, "rn", True),
        "rz.bf16x2": pairs(BF16, "rz"),
        "rn.tf32": finite_tf32("rn"),
        "rz.relu.tf32": finite_tf32("rz", True),
        "rna.tf32": finite_tf32("rna"),
    }
    x, y = (floats(seed, F32, COUNT) for seed in (1, 2))
    # About the largest f16, and the largest bf16.
    for i, bits in enumerate((0x477FDFFF, 0x477FE000, 0x477FEFFF, 0x477FF000, 0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FF000)):
        x[2 * i : 2 * i + 2] = bits, bits | 0x80000000
    yield table("satfinite", operations, [x.view(np.float32), y.view(np.float32)], np.uint32, operands=[x.tolist(), y.tolist()])
    either, both = (lambda p, q: p or q), (lambda p, q: p and q)
    operations = {
        "or": lambda x, y, z: y & z,
        "or, p": lop3(either),
        "and": lambda x, y, z: y & z,
        "and, p": lop3(both),
        "_": lambda x, y, z: 5,
        "_, p": lop3(both),
    }
    x, y, z = (integers(seed, np.uint32, COUNT) for seed in (4, 5, 6))
    y[::3] &= ~z[::3]
    yield table("lop3_predicate", operations, [x, y, z], np.uint32)
