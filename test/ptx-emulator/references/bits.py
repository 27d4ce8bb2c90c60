# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import signed, unsigned
from harness import integers, table

COUNT = 250


def shl(width):
    return lambda x, s: unsigned(x << s, width) if s < width else 0


def shr(width, is_signed=False):
    take = signed if is_signed else unsigned
    return lambda x, s: unsigned(take(x, width) >> min(s, width), width)


def funnel(left, clamp):
    def run(x, s):
        s = min(s, 32) if clamp else s & 31
        return x << s >> 32 if left else x >> s

    return lambda x, s: unsigned(run(x, s), 32)


SHIFTS = {
    "shl.b16": shl(16),
    "shr.u16": shr(16),
    "shr.s16": shr(16, True),
    "shl.b32": shl(32),
    "shr.u32": shr(32),
    "shr.b32": shr(32),
    "shr.s32": shr(32, True),
    "shl.b64": shl(64),
    "shr.u64": shr(64),
    "shr.s64": shr(64, True),
    "shf.l.wrap": funnel(True, False),
    "shf.r.wrap": funnel(False, False),
    "shf.l.clamp": funnel(True, True),
    "shf.r.clamp": funnel(False, True),
}


def extract(width, is_signed):
    def run(x, y, p, l):
        p, l = p & 255, l & 255
        x = unsigned(x, width)
        if not l:
            return 0
        bits = x >> p & (1 << l) - 1
        if is_signed:
            # The sign is the field's top bit, or the number's when the field goes past it.
            sign = x >> min(p + l - 1, width - 1) & 1
            have = max(min(l, width - p), 0)
            if sign:
                bits |= -1 << have
        return unsigned(bits, width)

    return run


def insert(width):
    def run(x, y, p, l):
        p, l = p & 255, l & 255
        mask = unsigned(((1 << l) - 1) << p, width)
        return unsigned(x << p, width) & mask | unsigned(y, width) & ~mask

    return run


def mask(clamp):
    def run(x, y, a, b):
        if not clamp:
            a, b = a & 31, b & 31
        a, b = min(a, 32), min(b, 32)
        return unsigned(((1 << b) - 1) << a, 32)

    return run


def extend(clamp, is_signed):
    def run(x, y, p, l):
        if not clamp:
            l &= 31
        x = unsigned(x, 32)
        if l >= 32:
            return x
        if not l:
            return 0
        return unsigned((signed if is_signed else unsigned)(x, l), 32)

    return run


FIELDS = {
    "bfe.u32": extract(32, False),
    "bfe.s32": extract(32, True),
    "bfe.u64": extract(64, False),
    "bfe.s64": extract(64, True),
    "bfi.b32": insert(32),
    "bfi.b64": insert(64),
    "bmsk.clamp": mask(True),
    "bmsk.wrap": mask(False),
    "szext.clamp.s32": extend(True, True),
    "szext.clamp.u32": extend(True, False),
    "szext.wrap.s32": extend(False, True),
}


def find(width, is_signed, amount):
    def run(x):
        x = signed(x, width) if is_signed else unsigned(x, width)
        top = (~x if x < 0 else x).bit_length() - 1
        return unsigned(-1, 32) if top < 0 else width - 1 - top if amount else top

    return run


def third_from_3(x):
    """__fns(x, 3, 2): the second set bit from bit 3 upwards."""
    bits = [i for i in range(3, 32) if x >> i & 1]
    return bits[1] if len(bits) > 1 else unsigned(-1, 32)


def reverse(width):
    return lambda x: int(f"{unsigned(x, width):0{width}b}"[::-1], 2)


COUNTS = {
    "popc": lambda x: bin(unsigned(x, 32)).count("1"),
    "popcll": lambda x: bin(x).count("1"),
    "clz": lambda x: 32 - unsigned(x, 32).bit_length(),
    "clzll": lambda x: 64 - x.bit_length(),
    "brev": reverse(32),
    "brevll": reverse(64),
    "ffs": lambda x: (unsigned(x, 32) & -unsigned(x, 32)).bit_length(),
    "ffsll": lambda x: (x & -x).bit_length(),
    "bfind.u32": find(32, False, False),
    "bfind.s32": find(32, True, False),
    "bfind.shiftamt.u32": find(32, False, True),
    "bfind.shiftamt.s32": find(32, True, True),
    "bfind.u64": find(64, False, False),
    "bfind.s64": find(64, True, False),
    "bfind.shiftamt.u64": find(64, False, True),
    "fns": third_from_3,
}


def pick(x, y, selectors, signs=True):
    """prmt: four selectors, lowest byte first."""
    pool = x | y << 32
    result = 0
    for k, s in enumerate(selectors):
        byte = pool >> 8 * (s & 7) & 255
        if signs and s & 8:
            byte = 255 * (byte >> 7)
        result |= byte << 8 * k
    return result


MODES = {
    "f4e": lambda s: [s, s + 1, s + 2, s + 3],
    "b4e": lambda s: [s, s - 1 & 7, s - 2 & 7, s - 3 & 7],
    "rc8": lambda s: [s, s, s, s],
    "ecl": lambda s: [max(s, k) for k in range(4)],
    "ecr": lambda s: [min(s, k) for k in range(4)],
    "rc16": lambda s: [2 * (s & 1), 2 * (s & 1) + 1] * 2,
}


def mode(name):
    return lambda x, y, z: pick(x, y, MODES[name](z & 3), signs=False)


def lop3(code):
    def run(x, y, z):
        return sum((code >> ((x >> i & 1) << 2 | (y >> i & 1) << 1 | z >> i & 1) & 1) << i for i in range(32))

    return run


def dot(a_signed, b_signed, width, shift=0):
    def run(x, y, z):
        total = z
        for k in range(4 if width == 8 else 2):
            a = x >> width * k
            b = y >> 8 * k + shift
            a = signed(a, width) if a_signed else unsigned(a, width)
            total += a * (signed(b, 8) if b_signed else unsigned(b, 8))
        return total

    return run


def lanes(x, y, width, f):
    parts = range(0, 32, width)
    return sum(unsigned(f(unsigned(x >> p, width), unsigned(y >> p, width)), width) << p for p in parts)


PERMUTES = {
    "byte_perm": lambda x, y, z: pick(x, y, [z >> 4 * k & 7 for k in range(4)]),
    "prmt": lambda x, y, z: pick(x, y, [z >> 4 * k & 15 for k in range(4)]),
    **{name: mode(name) for name in MODES},
    **{f"lop3 {code:#x}": lop3(code) for code in (0x00, 0xFF, 0xE8, 0x96, 0xCA, 0x1B)},
    "select": lop3(0xCA),
    "dp4a": dot(True, True, 8),
    "udp4a": dot(False, False, 8),
    "dp4a.u32.s32": dot(False, True, 8),
    "dp2a.lo": dot(True, True, 16),
    "dp2a.hi": dot(True, True, 16, 16),
    "udp2a.lo": dot(False, False, 16),
    "udp2a.hi": dot(False, False, 16, 16),
    "vadd4": lambda x, y, z: lanes(x, y, 8, lambda a, b: a + b),
    "vcmpgtu2": lambda x, y, z: lanes(x, y, 16, lambda a, b: -(a > b)),
    "vmaxs2": lambda x, y, z: lanes(x, y, 16, lambda a, b: max(signed(a, 16), signed(b, 16))),
}


def cases():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 70, COUNT).astype(np.uint32)
    counts[:8] = [0, 16, 31, 32, 33, 63, 64, 0xFFFFFFFF]
    yield table("shifts", SHIFTS, [integers(2, np.uint64, COUNT), counts], np.uint64)
    position = rng.integers(0, 40, COUNT).astype(np.uint32)
    length = rng.integers(0, 40, COUNT).astype(np.uint32)
    position[:6] = [0, 255, 256, 31, 63, 64]
    length[:6] = [255, 255, 5, 1, 2, 32]
    x, y = integers(3, np.uint64, COUNT), integers(4, np.uint64, COUNT)
    yield table("fields", FIELDS, [x, y, position, length], np.uint64)
    yield table("counts", COUNTS, [x], np.uint64)
    yield table("permutes", PERMUTES, [integers(5 + k, np.uint32, COUNT) for k in range(3)], np.uint32)
