# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import functools
import operator

import numpy as np
from exact import BF16, F16, encode, number
from harness import Case, In, Out, i32, integers

BLOCKS, THREADS = 3, 96
N = BLOCKS * THREADS


def fold(cells, a, only=6):
    """What six atomic operations leave."""
    a = [int(x) for x in a]
    results = [
        cells[0] + sum(a),
        min(cells[1], *a),
        max(cells[2], *a),
        functools.reduce(operator.and_, [x | 0x0F for x in a], cells[3]),
        functools.reduce(operator.or_, [x & 0xF0F0 for x in a], cells[4]),
        functools.reduce(operator.xor, a, cells[5]),
    ]
    return [*results[:only], *cells[only:6]]


def integer(name, dtype, only=6):
    dtype = np.dtype(dtype)
    mask = (1 << 8 * dtype.itemsize) - 1
    wrap = lambda values: np.array([int(v) & mask for v in values], f"u{dtype.itemsize}").view(dtype)
    a = integers(1, dtype, N)
    start = integers(2, dtype, 14)
    cells = [int(x) for x in start]
    after = wrap([*cells[:8], *fold(cells[8:], a, only)])
    back = wrap(sum((fold(cells[:6], a[b * THREADS : (b + 1) * THREADS], only) for b in range(BLOCKS)), []))
    arguments = [In(a), Out(start, after), Out(np.zeros(6 * BLOCKS, dtype), back)]
    return Case(f"integers_{name}", arguments, grid=(BLOCKS,), block=(THREADS,))


def same_multiset(*rows):
    """Each row of the result in any order."""

    def compare(got):
        for row, (have, want) in enumerate(zip(got.reshape(len(rows), -1).tolist(), rows)):
            if sorted(have) != sorted(want):
                return f"row {row}: {sorted(have)[:8]}..., should be {sorted(want)[:8]}..."
        return None

    return compare


def counting(step, start, count):
    """Values that a counter passes."""
    values = []
    for _ in range(count):
        values.append(start)
        start = step(start)
    return values, start


def counters():
    up = lambda limit: lambda x: 0 if x >= limit else x + 1
    down = lambda limit: lambda x: limit if x == 0 or x > limit else x - 1
    start = [5, 3, 100, 7]
    steps = [lambda x: x + 1, up(9), down(6), lambda x: x - 2 & 0xFFFFFFFF]
    passed = [counting(step, x, N) for step, x in zip(steps, start)]
    shared = [counting(up(1000), 0, THREADS)[0] * BLOCKS, counting(down(7), 5, THREADS)[0] * BLOCKS]
    after = np.array([last for _, last in passed], np.uint32)
    old = same_multiset(*(values for values, _ in passed), *shared)
    arguments = [Out(np.array(start, np.uint32), after), Out(np.zeros(6 * N, np.uint32), old, free=True), i32(N)]
    return Case("counters", arguments, grid=(BLOCKS,), block=(THREADS,))


def exchanges():
    top = max(i * 37 % 101 for i in range(N))

    def cells(got):
        last, winner, highest, shorts = got.tolist()
        if highest != top or shorts != (3 * N & 0xFFFF) << 16:
            return f"maximum {highest}, should be {top}; halves {shorts:#x}"
        return None if 1 <= last <= N and 1 <= winner <= N else f"{last}, {winner}: no such thread"

    def wide(got):
        last, winner = got.tolist()
        good = last % 2**32 == 0 and 1 <= last >> 32 <= N and winner % 2**33 == 0 and 1 <= winner >> 33 <= N
        return None if good else f"{last:#x}, {winner:#x}"

    def chain(shift):
        # Each value but the last comes back once, and the first one too.
        def compare(got):
            values = set(x >> shift for x in got.tolist())
            good = len(values) == N and 0 in values and max(values) <= N
            return None if good else f"{len(values)} values came back, should be {N}"

        return compare

    arguments = [
        Out(np.zeros(4, np.uint32), cells, free=True),
        Out(np.zeros(2, np.uint64), wide, free=True),
        Out(np.zeros(N, np.uint32), chain(0), free=True),
        Out(np.zeros(N, np.uint64), chain(32), free=True),
    ]
    return Case("exchanges", arguments, grid=(BLOCKS,), block=(THREADS,))


def floats():
    # Multiples of a quarter, whose sums are exact in any order.
    a = (np.random.default_rng(3).integers(-200, 200, N) / 4).astype(np.float32)
    sums = a.reshape(BLOCKS, THREADS).sum(axis=1, dtype=np.float64)
    before = np.arange(N, dtype=np.float32)
    total = np.concatenate([[a.sum(dtype=np.float64) + 1], a]).astype(np.float32)
    arguments = [
        In(a),
        Out(np.concatenate([[1], before]).astype(np.float32), total),
        Out(np.array([0.5]), np.array([0.5 + a.sum(dtype=np.float64)])),
        Out(np.zeros(BLOCKS + N, np.float32), np.concatenate([2 * sums, before]).astype(np.float32)),
    ]
    return Case("floats", arguments, grid=(BLOCKS,), block=(THREADS,))


def subnormals():
    tiny = np.array([0x00700000], np.uint32).view(np.float32)
    cells = np.array([0x00600000, 0x00600000, 0], np.uint32).view(np.float32)
    after = np.array([0, 0x00D00000, 0x00600000], np.uint32).view(np.float32)
    return Case("subnormals", [Out(cells, after), In(tiny)], block=(1,))


def halves(ptx):
    a = (np.random.default_rng(4).integers(-8, 9, 64)).astype(np.float16)
    total = int(a.sum(dtype=np.float64))
    f16 = lambda x: encode(number(x), F16)
    bf16 = lambda x: encode(number(x), BF16)
    start = lambda bits: np.array(bits, np.uint16)
    arguments = [
        In(a.view(np.uint16)),
        Out(start([f16(1), 77]), start([f16(total + 1), 77])),
        Out(start([0, 0]), start([f16(total), f16(-total)])),
        Out(start([bf16(2), 66]), start([bf16(total + 2), 66])),
        Out(start([0, 0]), start([bf16(total), bf16(64)])),
    ]
    return Case("halves", arguments, block=(64,), ptx=(ptx,))


def scopes():
    threads = 64
    order = range(threads)
    cells = np.array([3, 5, 1, 0, 0, 7, 9, 0, 0, 0, 0, 0, 0], np.uint32)
    flip = functools.reduce(operator.xor, order, 9)
    after = [3 + threads, threads - 1, 1 + 2 * threads, 2**32 - threads + 1, 2**32 - 1, 7 + 3 * threads]
    wide = [5 + (sum(order) << 30), 6 + sum(order)]
    shared = [5 * threads, 1 + threads // 2, 2 + sum(order), 2]
    after = np.array([*after, flip, threads // 2, threads, *shared], np.uint32)
    arguments = [
        Out(cells, after),
        Out(np.array([5, 6], np.uint64), np.array(wide, np.uint64)),
        Out(np.zeros(threads, np.uint32), same_multiset(range(3, 3 + threads)), free=True),
    ]
    return Case("scopes", arguments, block=(threads,))


def wide_reds():
    a = np.random.default_rng(5).integers(-9, 9, 64).astype(np.float32)
    total = a.sum()
    after = np.array([total, total + 64, 0, 0, total, 64, -total, 2 * total], np.float32)
    arguments = [In(a), Out(np.zeros(8, np.float32), after + np.float32(0))]
    return Case("wide_reds", arguments, block=(64,), ptx=("atomics-sm90.ptx",))


def cases():
    for name, dtype, only in (("s32", "i4", 6), ("u32", "u4", 6), ("u64", "u8", 6), ("s64", "i8", 3)):
        yield integer(name, dtype, only)
    yield counters()
    yield exchanges()
    yield floats()
    yield subnormals()
    yield halves("atomics.ptx")
    yield halves("atomics-sm90.ptx")
    yield scopes()
    yield wide_reds()
