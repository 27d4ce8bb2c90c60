# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import divide, remainder, signed, unsigned
from harness import integers, table

COUNT = 250



ARITHMETIC = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": divide,
    "rem": remainder,
    "min": min,
    "max": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a, b: ~a,
    "neg": lambda a, b: -a,
    "shl": lambda a, b: a << (b & 7),
    "shr": lambda a, b: a >> (b & 7),
    "set": lambda a, b: (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b) + 16 * (a > b) + 32 * (a >= b),
    "mad": lambda a, b: a * b + a,
}


def s16(x):
    return signed(x, 16)


def u16(x):
    return unsigned(x, 16)


def s32(x):
    return signed(x, 32)


def u32(x):
    return unsigned(x, 32)


def s64(x):
    return signed(x, 64)


def saturate(x):
    return min(max(x, -(1 << 31)), (1 << 31) - 1)


def s24(x):
    return signed(x, 24)


def u24(x):
    return unsigned(x, 24)


SPECIAL_32 = {
    "mulhi": lambda x, y, z: s32(x) * s32(y) >> 32,
    "umulhi": lambda x, y, z: x * y >> 32,
    "mul24": lambda x, y, z: s24(x) * s24(y),
    "umul24": lambda x, y, z: u24(x) * u24(y),
    "mul24.hi.s32": lambda x, y, z: s24(x) * s24(y) >> 16,
    "mad24.lo.u32": lambda x, y, z: u32(u24(x) * u24(y)) + z,
    "mad.hi.s32": lambda x, y, z: (s32(x) * s32(y) >> 32) + z,
    "mad.hi.u32": lambda x, y, z: (x * y >> 32) + z,
    "mad.hi.sat.s32": lambda x, y, z: saturate((s32(x) * s32(y) >> 32) + s32(z)),
    "add.sat.s32": lambda x, y, z: saturate(s32(x) + s32(y)),
    "sub.sat.s32": lambda x, y, z: saturate(s32(x) - s32(y)),
    "sad": lambda x, y, z: abs(s32(x) - s32(y)) + z,
    "usad": lambda x, y, z: abs(x - y) + z,
    "abs": lambda x, y, z: abs(s32(x)),
    "hadd": lambda x, y, z: s32(x) + s32(y) >> 1,
    "rhadd": lambda x, y, z: s32(x) + s32(y) + 1 >> 1,
    "uhadd": lambda x, y, z: x + y >> 1,
    "urhadd": lambda x, y, z: x + y + 1 >> 1,
    "mul.wide.s16": lambda x, y, z: s16(x) * s16(y),
    "mul.wide.u16": lambda x, y, z: u16(x) * u16(y),
    "mad.wide.s16": lambda x, y, z: s16(x) * s16(y) + z,
    "mad.wide.u16": lambda x, y, z: u16(x) * u16(y) + z,
    "mul.hi.s16": lambda x, y, z: u16(s16(x) * s16(y) >> 16),
    "mul.hi.u16": lambda x, y, z: u16(x) * u16(y) >> 16,
    "mad.hi.u16": lambda x, y, z: u16((u16(x) * u16(y) >> 16) + z),
    "sad.s16": lambda x, y, z: u16(abs(s16(x) - s16(y)) + z),
    "cnot.b32": lambda x, y, z: x & y & z == 0,
    "slct.u32.s32": lambda x, y, z: x if s32(z) >= 0 else y,
    "by 7 and 10": lambda x, y, z: x // 7 + x % 10,
    "by 7 and -10": lambda x, y, z: divide(s32(x), 7) + remainder(s32(x), -10),
    "by 16": lambda x, y, z: divide(s32(x), 16),
}

SPECIAL_64 = {
    "mul64hi": lambda x, y, z: s64(x) * s64(y) >> 64,
    "umul64hi": lambda x, y, z: x * y >> 64,
    "mul.wide.s32": lambda x, y, z: s32(x) * s32(y),
    "mul.wide.u32": lambda x, y, z: u32(x) * u32(y),
    "mad.wide.s32": lambda x, y, z: s32(x) * s32(y) + z,
    "mad.wide.u32": lambda x, y, z: u32(x) * u32(y) + z,
    "mad.hi.s64": lambda x, y, z: (s64(x) * s64(y) >> 64) + z,
    "mad.lo.u64": lambda x, y, z: x * y + z,
    "sad.s64": lambda x, y, z: abs(s64(x) - s64(y)) + z,
    "sad.u64": lambda x, y, z: abs(x - y) + z,
    "llabs": lambda x, y, z: abs(s64(x)),
    "cnot.b64": lambda x, y, z: x & y & z == 0,
    "by a prime": lambda x, y, z: x // 1000000007,
}

CARRY = {
    "sum": lambda x, y, a, b: x + y,
    "sum, high": lambda x, y, a, b: x + y >> 64,
    "difference": lambda x, y, a, b: x - y,
    "difference, high": lambda x, y, a, b: x - y >> 64,
    "product": lambda x, y, a, b: x * y,
    "product, high": lambda x, y, a, b: x * y >> 64,
    "less": lambda x, y, a, b: x < y,
    "add.cc": lambda x, y, a, b: a + b,
    "carry": lambda x, y, a, b: a + b >> 64,
    "sub.cc": lambda x, y, a, b: a - b,
    "borrow": lambda x, y, a, b: u32(-(a < b)),
    "mad.cc": lambda x, y, a, b: a * b,
    "madc.hi": lambda x, y, a, b: a * b >> 64,
    "add.cc.u64": lambda x, y, a, b: a + b,
    "addc.u64": lambda x, y, a, b: a + b + (a + b >> 64),
}


def carry(a, b):
    """128 bits: an element and its neighbour."""
    first, second = a.tolist(), b.tolist()
    order = range(len(first))
    x = [first[i] << 64 | first[i ^ 1] for i in order]
    y = [second[i ^ 1] << 64 | second[i] for i in order]
    return table("carry", CARRY, [a, b], np.uint64, operands=[x, y, first, second])


def cases():
    for number, name in enumerate(("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")):
        dtype = np.dtype(name.replace("s", "i")[0] + str(int(name[1:]) // 8))
        a, b = integers(number, dtype, COUNT), integers(100 + number, dtype, COUNT)
        b[b == 0] = 5
        if dtype.kind == "i":
            # The smallest number by -1 overflows, which PTX leaves open.
            b[(a == np.iinfo(dtype).min) & (b == -1)] = 7
        small = ("integer-O0.ptx", "integer-clang.ptx") if name in ("s32", "u16", "s64") else ()
        yield table(f"arithmetic_{name}", ARITHMETIC, [a, b], dtype, ptx=("integer.ptx", *small))
    yield table("special_32", SPECIAL_32, [integers(20 + k, np.uint32, COUNT) for k in range(3)], np.uint32)
    yield table("special_64", SPECIAL_64, [integers(30 + k, np.uint64, COUNT) for k in range(3)], np.uint64)
    yield carry(integers(40, np.uint64, COUNT), integers(41, np.uint64, COUNT))
