# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import signed
from harness import Case, In, Out, i32, integers

LOW = 0xFFFFFFFF
UNTOUCHED = 0xABCDABCD


def shuffle(mode, x, b, c):
    """shfl.sync of a full warp: values, and whether each source was in range."""
    values, within = [], []
    for lane in range(32):
        bits = b[lane] & 31
        segment, clamp = c >> 8 & 31, c & 31
        last = lane & segment | clamp & ~segment & 31
        first = lane & segment
        if mode == "up":
            source, good = lane - bits, lane - bits >= last
        elif mode == "down":
            source, good = lane + bits, lane + bits <= last
        elif mode == "bfly":
            source, good = lane ^ bits, (lane ^ bits) <= last
        else:
            source = first | bits & ~segment & 31
            good = source <= last
        values.append(x[source if good else lane])
        within.append(good)
    return values, within


def c_of(mode, width):
    return (32 - width) << 8 | (0 if mode == "up" else 31)


LANES = range(32)


def shuffles(x, base):
    def run(mode, b, width=32):
        return shuffle(mode, x, b if isinstance(b, list) else [b] * 32, c_of(mode, width))[0]

    wide = [v << 32 | base + lane for lane, v in enumerate(x)]
    floats = [int(np.float32(base + lane).view(np.uint32)) for lane in LANES]
    return [
        run("idx", 5),
        run("idx", [7 * l for l in LANES]),
        run("idx", [l + 1 for l in LANES], 8),
        run("idx", 100),
        run("up", 1),
        run("up", 3, 8),
        run("up", 40),
        run("up", [l // 2 for l in LANES]),
        run("down", 2),
        run("down", 5, 16),
        run("down", 31),
        run("down", [l // 3 for l in LANES], 4),
        run("bfly", 1),
        run("bfly", 31),
        run("bfly", 9, 8),
        run("bfly", [l ^ 13 for l in LANES]),
        [wide[l ^ 3] >> 16 & LOW for l in LANES],
        [floats[l + 4 if l < 28 else l] for l in LANES],
    ]


def shuffle_range(x, base):
    x = [v & 0x7FFFFFFF for v in x]

    def run(mode, b, c):
        values, within = shuffle(mode, x, b if isinstance(b, list) else [b] * 32, c)
        return [v ^ good << 31 for v, good in zip(values, within)]

    return [
        run("up", 2, 0),
        run("up", 1, 0x1000),
        run("down", 2, 0x1F),
        run("down", 3, 0x180F),
        run("bfly", 4, 0x1F),
        run("bfly", 8, 0x1C1F),
        run("idx", [l + 3 for l in LANES], 0x1F),
        run("idx", 6, 0x1C03),
        run("idx", 9, 0x0007),
    ]


def bits(flags):
    return sum(bool(f) << l for l, f in enumerate(flags))


def votes(x, base):
    same = lambda value: [int(value)] * 32
    second = bits(v & 2 for v in x) & 0xF0F0F0F0
    return [
        same(all(v < 1000 for v in x)),
        same(any(v < 3 for v in x)),
        same(bits(v & 1 for v in x)),
        same(len({v > 500 for v in x}) == 1),
        same(all(not v < 3 for v in x)),
        same(LOW),
        [second if l & 4 else UNTOUCHED for l in LANES],
    ]


def match(keys, lanes=LANES):
    return [sum(1 << l for l in lanes if keys[l] == keys[me]) if me in lanes else UNTOUCHED for me in LANES]


def matches(x, base):
    same = lambda value: [int(value)] * 32
    equal = len(set(x)) == 1
    return [
        match([v % 5 for v in x]),
        match([v % 3 for v in x]),
        same(LOW),
        same(1),
        same(LOW if equal else 0),
        same(equal),
        match([v % 2 for v in x], range(11)),
    ]


def reductions(x, base):
    s = [signed(v, 32) for v in x]
    both, either, odd = LOW, 0, 0
    for v in x:
        both &= v | 0x80
        either |= v & 0xFFFF
        odd ^= v
    results = [sum(x), sum(s), min(x), max(x), min(s), max(s), both, either, odd]
    return [[r & LOW] * 32 for r in results] + [[UNTOUCHED] * 24 + [max(x[24:])] * 8]


def groups(x, base):
    masks = match([v % 4 for v in x])
    lanes = [[l for l in LANES if mask >> l & 1] for mask in masks]
    return [
        [sum(base + l for l in group) for group in lanes],
        [base + group[0] for group in lanes],
        [group.index(l) for l, group in enumerate(lanes)],
    ]


def scans(a):
    sums = a.reshape(-1, 32).copy()
    for d in (1, 2, 4, 8, 16):
        sums[:, d:] = sums[:, d:] + sums[:, :-d].copy()
    highest = np.repeat(a.reshape(-1, 32).max(axis=1), 32)
    return np.concatenate([sums.reshape(-1), highest])


def elect(x, base):
    return [[2] * 32, [1] * 32, [1] * 32, [1] * 32]


def cases():
    n = 96

    def case(f, a, ptx=()):
        warps = [f(a[base : base + 32].tolist(), base) for base in range(0, n, 32)]
        rows = np.concatenate([np.array(w, np.uint64) for w in warps], axis=1)
        expected = (rows & LOW).astype(np.uint32)
        out = Out(np.full_like(expected, UNTOUCHED), expected)
        return Case(f.__name__, [In(a), out, i32(n)], block=(96,), ptx=ptx)

    a = integers(1, np.uint32, n)
    for f in (shuffles, shuffle_range, votes, matches, reductions, groups):
        yield case(f, a)
    small = np.arange(n, dtype=np.uint32) // 32 * 700 % 1400 + 4
    for f in (votes, matches):
        yield case(f, small)
    yield case(elect, a, ("warp-sm90.ptx",))
    a = np.random.default_rng(2).normal(0, 1, n).astype(np.float32)
    yield Case("scans", [In(a), Out(np.zeros(2 * n, np.float32), scans(a)), i32(n)], block=(96,))
