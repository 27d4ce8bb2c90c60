# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from harness import Case, In, Out, i32, integers

LOW = 0xFFFFFFFF


def sizes(a):
    rows = a.reshape(64, 4)
    order = np.arange(64)
    return np.concatenate([rows[:, ::-1], rows[::-1], rows[order ^ 1 ^ 5]])


def filled(words, sizes):
    """Rows of words, of which only the first bytes are kept."""
    data = np.ascontiguousarray(words).view(np.uint8).reshape(64, -1).copy()
    data[np.arange(data.shape[1])[None] >= np.array(sizes)[:, None]] = 0
    return data.view(np.uint32)


def zero_fill(a):
    t = np.arange(64)
    first = filled(a.reshape(64, 4), t % 17)
    second = np.concatenate(
        [
            filled(a[:64], np.where(t > 40, 0, 4)),
            filled(a[:64], t % 5),
            filled(a[:128].reshape(64, 2), t % 9),
        ],
        axis=1,
    )
    return np.concatenate([first, second])


def groups(a):
    x = a.reshape(4, 64).astype(np.uint64)
    back = 63 - np.arange(64)
    return ((x[0][back] * 27 + x[1][back] * 9 + x[2][np.arange(64) ^ 1] * 3 + x[3][back]) & LOW).astype(np.uint32)


def uneven(a):
    out = np.zeros((4, 32), np.uint32)
    for k in range(4):
        for t in range(32):
            out[k, 31 - t] = a[32 * k + t] if k <= t % 4 else 1000 + k
    return out


def pipeline(a, n):
    t = np.arange(32)
    sum = np.zeros(32, np.uint64)
    for k, row in enumerate(a.reshape(n, 128).astype(np.uint64)):
        for j in range(4):
            sum = sum * np.uint64(5) + row[(4 * t + j * 33 + k) % 128] & np.uint64(LOW)
    return sum.astype(np.uint32)


def cases():
    def case(kernel, a, expected, block, *rest, name=""):
        return Case(kernel, [In(a), Out(np.zeros_like(expected), expected), *rest], block=(block,), name=name)

    a = integers(1, np.uint32, 256)
    yield case("sizes", a, sizes(a), 64)
    yield case("zero_fill", a, zero_fill(a), 64, i32(0))
    yield case("groups", a, groups(a), 64)
    yield case("uneven", a[:128], uneven(a), 32)
    for stages, n in ((2, 1), (2, 6), (3, 7), (5, 2), (5, 9)):
        a = integers(stages, np.uint32, 128 * n)
        yield case(f"pipeline_{stages}", a, pipeline(a, n), 32, i32(n), name=f"of {n}")
