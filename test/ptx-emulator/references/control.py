# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import itertools

import numpy as np
from harness import Case, In, Out, i32, integers

PTX = ("control.ptx", "control-O0.ptx", "control-clang.ptx")
LOW = 0xFFFFFFFF
UNTOUCHED = 0xABCDABCD


def collatz(x):
    steps = 0
    while x != 1 and steps < 1000:
        x = (3 * x + 1) & LOW if x & 1 else x // 2
        steps += 1
    return steps


def dense_switch(x):
    kind = x % 12
    if kind == 0:
        return x * 3
    if kind == 1:
        return x ^ 0x55
    if kind in (2, 3):
        return x // 7
    if kind in (4, 5):
        return x << 3
    if kind == 6:
        return None
    if kind == 7:
        r = x - 1000
        for k in range(x % 5):
            r = r * 5 + k
        return r
    if kind == 8:
        return ~x
    if kind == 9:
        return x >> 5
    if kind == 10:
        return int(f"{x:032b}"[::-1], 2)
    return 42


def early_return(x):
    if x % 3 == 0:
        return None
    r = 0
    for k in range(20):
        r = (r + (x >> k)) & LOW
        if r & 15 == 3:
            return None
        if r & 31 == 5:
            break
    return r + 1


def nested(x):
    r = 0
    for p in range(x % 5):
        if x >> p & 1:
            for q in range(p, x % 7):
                if (q ^ x) & 2:
                    r = (r + p * q) & LOW
                    continue
                if r > 50:
                    break
                r = (r * 2 + 1) & LOW
        elif x >> p & 2:
            r = (r + 100) & LOW
        else:
            q = x
            while True:
                r ^= q
                q >>= 3
                if not q:
                    break
    return r


def gcd(x, y):
    if not y:
        return x + 1000000
    # Out of the loop at once when the divisor becomes 1.
    while y:
        x, y = y, x % y
        if x == 1:
            return 1
    return x + 1000000


def irreducible(x):
    r = 0
    middle = x & 1
    while True:
        if not middle:
            r += x
            x >>= 1
        middle = False
        r = (r * 3 + 1) & LOW
        x >>= 1
        if not x:
            return r


def warps(a):
    return a.reshape(-1, 32)



def half_warps(a):
    out = []
    for warp in warps(a).tolist():
        total = sum(warp[:16]) & LOW
        upper = warp[16:]
        for k in range(9):
            source = upper[k]
            upper = [(x * 7 + source) & LOW for x in upper]
        out += [total] * 16 + upper
    return out


def two_masks(a):
    sums, votes = [], []
    for half in a.reshape(-1, 16).tolist():
        sums += [sum(half) & LOW] * 16
    for number, half in enumerate(a.reshape(-1, 16).tolist()):
        votes += [sum((x & 1) << l for l, x in enumerate(half)) << 16 * (number % 2)] * 16
    return sums + sums + votes


def two_arrivals(a):
    out = []
    for warp in warps(a).tolist():
        for rounds, parity in ((3, 0), (7, 1)):
            for _ in range(rounds):
                old = list(warp)
                for lane in range(parity, 32, 2):
                    warp[lane] = (old[lane] * 3 + old[(lane + 2) % 32]) & LOW
        out += warp
    return out


def subset(a):
    out = []
    for warp in warps(a).tolist():
        count = sum(warp[l] >> 2 & 1 for l in range(0, 32, 3))
        for lane in range(32):
            out.append({0: warp[(lane + 3) % 33 % 32] + count, 1: 1, 2: 7}[lane % 3] & LOW)
    return out


def vote_loop(a):
    values, rounds = [], []
    for warp in warps(a).tolist():
        n = 0
        while any(x > 100 for x in warp):
            warp = [x - x // 4 for x in warp]
            n += 1
        values += warp
        rounds += [n] * 32
    return values + rounds


def leave(a, n):
    first, second = [], []
    for i in range(n):
        lane, base = i % 32, i & ~31
        if lane % 4 == 3:
            first.append(UNTOUCHED)
            second.append(UNTOUCHED)
            continue
        first.append((int(a[i]) + int(a[i & ~3])) & LOW)
        second.append(sum(1 << l for l in range(32) if l % 4 != 3 and base + l < n))
    return first + second


def three_dimensions(grid, block):
    out = []
    for bz, by, bx in itertools.product(*(range(k) for k in reversed(grid))):
        for thread, (tz, ty, tx) in enumerate(itertools.product(*(range(k) for k in reversed(block)))):
            lane = thread % 32
            position = bx | by << 4 | bz << 8 | tx << 12 | ty << 16 | tz << 20
            out += [position, lane | 1 << 16, (1 << lane) - 1, 32]
    return out


def cases():
    def case(kernel, inputs, expected, n, block=64, ptx=PTX):
        expected = np.array([UNTOUCHED if x is None else x & LOW for x in expected], np.uint32)
        out = Out(np.full_like(expected, UNTOUCHED), expected)
        grid = (-(-n // block),)
        return Case(kernel, [*map(In, inputs), out, i32(n)], grid=grid, block=(block,), ptx=ptx)

    a = integers(1, np.uint32, 100)
    small = np.arange(1, 101, dtype=np.uint32) * 37 % 997 + 1
    for f, x in (
        (collatz, small), (dense_switch, small), (dense_switch, a), (early_return, a), (nested, a), (irreducible, a)
    ):
        yield case(f.__name__, [x], [f(v) for v in x.tolist()], 100)
    b = integers(2, np.uint32, 100) % 1000
    yield case("gcd", [small, b], [gcd(x, y) for x, y in zip(small.tolist(), b.tolist())], 100)
    rows = integers(3, np.uint32, 8 * 50)
    order = [3 * k % 8 for k in range(8)]
    expected = np.sort(rows.reshape(50, 8), axis=1)[:, order].reshape(-1).tolist()
    yield case("insertion_sort", [rows], expected, 50)
    full = integers(4, np.uint32, 128)
    for f in (half_warps, two_masks, two_arrivals, subset):
        yield case(f.__name__, [full], f(full), 128)
    yield case("vote_loop", [full % 5000], vote_loop(full % 5000), 128)
    yield case("leave", [full[:107]], leave(full, 107), 107)
    yield case("bitonic", [full], np.sort(warps(full), axis=1).reshape(-1).tolist(), 128)
    for grid, block in (((2, 3, 2), (4, 3, 5)), ((3, 1, 1), (33, 1, 1))):
        expected = np.array(three_dimensions(grid, block), np.uint32)
        yield Case("three_dimensions", [Out(np.zeros_like(expected), expected)], grid=grid, block=block, ptx=PTX)
