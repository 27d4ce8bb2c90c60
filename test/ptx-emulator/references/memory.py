# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import struct

import harness
import numpy as np
from harness import Case, In, Out, i32, integers

LOW = 0xFFFFFFFF
BOTH = ("memory.ptx", "memory-clang.ptx")
PRIMES = [2, 3, 5, 7, 11, 13, 17, 19]
HALVES = np.array([0.5, 1.5, -2.5, 1e-40], np.float32).view(np.uint32).tolist()
TABLE = [10**k for k in range(6)]
WIDE = 0x123456789ABCDEF0


def u32(rows):
    return np.array(rows, np.uint64).astype(np.uint32).reshape(-1)


def constants(n):
    rows = []
    for i in range(n):
        row = [PRIMES[i % 8], HALVES[i % 4], b"nestc"[i % 5], TABLE[i % 6], WIDE >> i % 32 & LOW]
        rows.append([*row, 0, PRIMES[3], PRIMES[3 + i % 4], TABLE[2], PRIMES[2] + TABLE[3]])
    return u32(np.array(rows, np.uint64).T)


def shared_memory(a):
    rows = []
    for block in range(0, len(a), 64):
        x = a[block : block + 64].tolist()
        for t in range(64):
            byte = lambda k: x[k] & 255
            short = lambda k: x[k] >> 8 & 0xFFFF
            signed = byte(t) - 256 * (byte(t) >> 7)
            four = sum(byte((t & ~3) + k) << 8 * k for k in range(4))
            eight = sum(short((t & ~3) + k) << 16 * k for k in range(4))
            row = [x[t ^ 33], x[63 - t] * 2, byte(63 - t) | signed << 8, short((t + 1) % 64), four, eight >> 24]
            rows.append([v & LOW for v in row])
    return u32(np.array(rows, np.uint64).T)


def generic(a):
    x, n = a.tolist(), len(a)
    values, kinds = [], []
    for i in range(n):
        base = i & ~31
        where = [x[base + 31 - i % 32] + 3, x[i] + 1 + (x[i] & 1), TABLE[x[i] % 6], x[n - 1 - i]]
        values.append(where[i % 4] & LOW)
        kinds.append([1, 2, 4, 4][i % 4])
    return u32([*values, *kinds, *[16] * n])


def vectors(name, dtype, width, ptx=("memory.ptx",)):
    floating = np.dtype(dtype).kind == "f"
    if floating:
        a = np.random.default_rng(width).normal(0, 1, (64, width)).astype(dtype)
    else:
        a = integers(width, dtype, 64 * width).reshape(64, width)
    expected = a.copy()
    expected[:, 0] += a[:, 1]
    if width == 4:
        expected[:, 2] -= a[:, 3]
    expected = expected[np.arange(64) ^ 1]
    return Case(f"vectors_{name}", [In(a), Out(np.zeros_like(a), expected)], block=(64,), ptx=ptx)


def staged():
    a = np.random.default_rng(3).normal(0, 1, (32, 4)).astype(np.float32)
    tile = a[np.arange(32) ^ 7]
    p, q = tile[:, 2:].copy(), tile[:, :2]
    p[:, 0] += q[:, 1]
    return Case("staged", [In(a), Out(np.zeros_like(a), np.concatenate([p, q], axis=1))])


def hints():
    a = integers(5, np.uint32, 96)
    b = np.random.default_rng(6).normal(0, 1, (96, 4)).astype(np.float32)
    x = a.astype(np.uint64)
    rows = [x + k for k in range(12)] + [x + x, x ^ x << np.uint64(1), x + 12]
    expected = (np.array(rows) & LOW).astype(np.uint32)
    vectors = b.copy()
    vectors[:, 0] += b[:, 3]
    out = Out(np.zeros_like(expected), expected)
    return Case("hints", [In(a), In(b), out, Out(np.zeros_like(b), vectors), i32(96)], grid=(3,))


def narrow():
    a = integers(7, np.uint8, 128)
    first = (a + np.uint8(1)).reshape(32, 4)[:, ::-1]
    second = (np.arange(64) * 257 + 1).astype(np.uint16).view(np.uint8)
    expected = np.concatenate([first.reshape(-1), second])
    return Case("narrow", [In(a), Out(np.zeros_like(expected), expected), i32(128)], block=(128,))


def parameters():
    options = struct.pack("<BxHIQff", 200, 60000, 0x01000193, 2**40 + 77, 1.5, -0.25)
    flag, small, factor, offset = 200, 60000, 0x01000193, 2**40 + 77
    scale = np.array([1.5, -0.25], np.float32).view(np.uint32).tolist()
    a = integers(8, np.uint32, 40)
    first = [x * factor + offset + small * flag & LOW for x in a.tolist()]
    second = [scale[i % 2] for i in range(40)]
    out = Out(np.zeros(80, np.uint32), u32([*first, *second]))
    yield Case("by_value", [harness.struct(options), In(a), out, i32(40)], block=(64,))
    first = [factor + (small if i & 1 else flag) for i in range(40)]
    out = Out(np.zeros(80, np.uint32), u32([*first, *second]))
    yield Case("grid_constant", [harness.struct(options), out, i32(40)], block=(64,))
    e, f = np.float32(1.25), np.float64(-1e-3)
    values = [250, -3, 65000, -30000, int(e.view(np.uint32)), f.view(np.int64), 1]
    given = zip("BbHhfd?", (250, -3, 65000, -30000, e, f, True))
    scalars = [harness.struct(struct.pack(f"<{kind}", v)) for kind, v in given]
    yield Case("scalars", [*scalars, Out(np.zeros(7, np.int64), np.array(values, np.int64))], block=(1,))


def cases():
    yield Case("constants", [Out(np.zeros(10 * 40, np.uint32), constants(40)), i32(40)], block=(64,))
    expected = u32([(i + 5) % 32 * 3 for i in range(64)])
    yield Case("variables", [Out(np.zeros_like(expected), expected), i32(64)], block=(64,))
    yield from parameters()
    a = integers(1, np.uint32, 128)
    out = Out(np.zeros(6 * 128, np.uint32), shared_memory(a))
    yield Case("shared_memory", [In(a), out, i32(128)], grid=(2,), block=(64,), shared=256, ptx=BOTH)
    a = integers(2, np.uint32, 96)
    yield Case("generic", [In(a), Out(np.zeros(288, np.uint32), generic(a)), i32(96)], grid=(3,), ptx=BOTH)
    for name, dtype, width in (
        ("ushort2", "u2", 2), ("ushort4", "u2", 4), ("uchar2", "u1", 2), ("uchar4", "u1", 4), ("float2", "f4", 2),
        ("double2", "f8", 2), ("ulonglong2", "u8", 2),
    ):
        yield vectors(name, dtype, width)
    for name, dtype, width in (("uint2", "u4", 2), ("uint4", "u4", 4), ("float4", "f4", 4)):
        yield vectors(name, dtype, width, BOTH)
    yield staged()
    yield hints()
    yield narrow()
