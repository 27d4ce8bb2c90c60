# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import signed
from harness import Case, In, Out, i32, integers

PTX = ("calls.ptx", "calls-G.ptx", "calls-clang.ptx")
LOW = 0xFFFFFFFF
N = 96


def scaled(x, factor):
    return (x * factor + 1) & LOW


def values(x, i):
    low = signed(x, 8)
    high = x >> 8 & 0xFFFF
    narrow = (low - high if x & 1 else low + high) & 0xFFFF
    wide = (x & 0xFFF) * 0.5 + (x >> 20)
    v = [4 * (x & 15), x & 255, 2 * i, 1]
    return [
        scaled(x, 3),
        int(np.float32((x & 0xFFFF) * 2).view(np.uint32)),
        narrow,
        int(wide),
        v[0] + v[1] * 2 + v[2] * 4 + v[3] * 8,
    ]


def total(m, extra):
    a, b, c, d = m
    return a + 2 * b + c + d[0] + 3 * d[1] + d[2] + extra


def shift(m):
    a, b, c, d = m
    return (a + 1) & 255, (b + a) & 0xFFFF, c >> 3, (d[2], d[0], d[1])


def structures(x):
    m = (x & 255, x >> 4 & 0xFFFF, x << 20, (x, (x + 1) & LOW, x ^ 0xFF))
    moved = shift(shift(m))
    return [total(m, x >> 24), total(moved, 0), moved[3][1]]


def filled(count, seed):
    out = []
    for _ in range(count):
        seed = scaled(seed, 1664525)
        out.append(seed)
    return out


def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def divergent(x):
    r = fibonacci(x % 30) if x & 1 else scaled(x, 7) if x % 4 == 0 else 0
    for k in range(x % 5):
        r = scaled(r, k)
    return r


def cases():
    a = integers(1, np.uint32, N)
    x = a.tolist()

    def case(kernel, expected, dtype=np.uint32):
        expected = np.array(expected, dtype)
        return Case(kernel, [In(a), Out(np.zeros_like(expected), expected), i32(N)], grid=(3,), ptx=PTX)

    rows = [[scaled(v, 5), *values(v, i)] for i, v in enumerate(x)]
    yield case("values", np.array(rows).T.reshape(-1))
    yield case("structures", np.array([structures(v) for v in x], np.uint64).T.reshape(-1), np.uint64)
    head = [filled(6, v)[v % 6] for v in x], [filled(5, v + 1 & LOW)[v % 5] for v in x]
    yield case("pointers", [*head[0], *head[1], *sum((filled(4, v + 2 & LOW) for v in x), [])])
    yield case("divergent", [divergent(v) for v in x])
