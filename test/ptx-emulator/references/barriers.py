# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from harness import Case, In, Out, i32, integers

PTX = ("barriers.ptx", "barriers-O0.ptx")
LOW = 0xFFFFFFFF
UNTOUCHED = 0xABCDABCD


def ring(a, threads):
    out = []
    for block in a.reshape(-1, threads).tolist():
        for phase in range(6):
            block = [block[t] * 3 + block[(t + 1 + phase) % threads] & LOW for t in range(threads)]
        out += block
    return out


def ring_single(a):
    x = a.tolist()
    for _ in range(4):
        x = [p + q & LOW for p, q in zip(x, x[::-1])]
    return x


def counted(a):
    columns = []
    for block in a.reshape(-1, 64).tolist():
        row = [sum(x & 1 for x in block), all(x < 4000000000 for x in block), 3 in block, sum(x > 7 for x in block)]
        columns += [[int(v) for v in row]] * 64
    return np.array(columns).T.reshape(-1)


def named_halves(a):
    x = a.tolist()
    for half in range(2):
        for _ in range(2 + half * 3):
            part = x[half * 64 : half * 64 + 64]
            x[half * 64 : half * 64 + 64] = [part[t] * 5 + part[(t + 33) % 64] & LOW for t in range(64)]
    return [x[(t + 64) % 128] + x[t] & LOW for t in range(128)]


def producers(a, n):
    out = [0] * 64
    for k, row in enumerate(a.reshape(n, 64).tolist()):
        out = [sum * 3 + row[63 - t] + k & LOW for t, sum in enumerate(out)]
    return out


def unaligned(a):
    x = a.tolist()
    return [x[t - 1] * 2 & LOW if t & 1 else x[t + 1] + 1 & LOW for t in range(64)]


def unaligned_counts(a):
    return [7 if t % 4 == 3 else int(a[t | 3]) for t in range(64)]


def reductions(a):
    x = (a % 3).tolist()
    count = sum(v != 0 for v in x)
    return [count] * 64 + [count == 64] * 64 + [count < 64] * 64


def leavers(a):
    x = a.tolist()
    out = [UNTOUCHED] * 96
    for t in range(96):
        if t // 32 == 1 or t % 32 > 20:
            continue
        out[t] = x[t + 64 if t < 32 else t - 64]
        if t < 64:
            out[t] = out[t] + x[20 - t] & LOW
    return out


def warp_exchange(a):
    x = a.tolist()
    for phase in range(3):
        x = [x[t] + x[t ^ 1 << phase] & LOW for t in range(64)]
    for base in (0, 32):
        low = [v * 2 & LOW for v in x[base : base + 16]][::-1]
        high = x[base + 16 : base + 32]
        for k in range(3):
            high = [high[t] + high[(t + 1) % 16] + k & LOW for t in range(16)]
        x[base : base + 32] = low + high
    return [x[t ^ 16] for t in range(64)]


def cases():
    def case(kernel, a, expected, block, grid=1, n=0):
        expected = np.array([int(x) for x in expected], np.uint32)
        out = Out(np.full_like(expected, UNTOUCHED), expected)
        return Case(kernel, [In(a), out, i32(n)], grid=(grid,), block=(block,), ptx=PTX)

    a = integers(1, np.uint32, 256)
    yield case("ring", a, ring(a, 128), 128, 2)
    yield case("ring", a[:192], ring(a[:192], 96), 96, 2)
    first = a[:128]
    yield case("ring_single", first, ring_single(first), 128)
    yield case("counted", first, counted(first), 64, 2, 128)
    yield case("named_halves", first, named_halves(first), 128)
    yield case("producers", a, producers(a, 4), 128, n=4)
    yield case("producers", a[:64], producers(a[:64], 1), 128, n=1)
    first = a[:64]
    yield case("unaligned", first, unaligned(first), 64)
    yield case("unaligned_counts", first, unaligned_counts(first), 64)
    yield case("reductions", first, reductions(first), 64, n=64)
    ones = np.ones(64, np.uint32)
    yield case("reductions", ones, reductions(ones), 64, n=64)
    yield case("leavers", a[:96], leavers(a[:96]), 96)
    yield case("warp_exchange", first, warp_exchange(first), 64)
    x = [int(v) * 2 & LOW for v in a[:32]]
    yield case("flags", a[:32], x[::-1], 64)
    x = [int(v) + 1 & LOW for v in a[:32]]
    yield case("volatile_flags", a[:32], x[::-1], 64)
    a = np.random.default_rng(2).normal(0, 1, (45, 70)).astype(np.float32)
    out = Out(np.zeros((70, 45), np.float32), a.T.copy())
    yield Case("transpose", [In(a), out, i32(45), i32(70)], grid=(3, 2), block=(32, 8), ptx=PTX)
