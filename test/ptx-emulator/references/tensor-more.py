# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import BF16
from harness import Case, In, Out
from tensor import GROUP, MEMBER, bits_of, pack, unpack


def integer(kernel, first, second, saturate=False):
    draw = np.random.default_rng(1)
    low = lambda kind: (-128, 128) if kind == "i1" else (0, 256)
    a, b = draw.integers(*low(first), (16, 32)), draw.integers(*low(second), (32, 8))
    c = draw.integers(-1000, 1000, (16, 8))
    if saturate:
        c[::3], c[1::3] = 2**31 - 100, -(2**31) + 100
    wanted = a @ b + c
    wanted = np.clip(wanted, -(2**31), 2**31 - 1) if saturate else wanted

    def compare(got):
        result = unpack(got, (16, 8), 1).view(np.int32)
        return None if (result == wanted).all() else f"{result}, should be {wanted}"

    words = [pack(a & 255, "a", 4, 4), pack(b & 255, "b", 4, 2), pack(c & 0xFFFFFFFF, "c", 1, 4)]
    return Case(kernel, [*map(In, words), Out(np.zeros((4, 32), np.uint32), compare)])


def f64():
    draw = np.random.default_rng(2)
    a, b, c = (draw.integers(-100, 100, shape).astype(float) for shape in ((8, 4), (4, 8), (8, 8)))
    d = a @ b + c
    fragment = lambda m: np.array([m[GROUP, 2 * MEMBER], m[GROUP, 2 * MEMBER + 1]])
    arguments = [In(a[GROUP, MEMBER]), In(b[MEMBER, GROUP]), In(fragment(c)), Out(np.zeros((2, 32)), fragment(d))]
    return Case("mma_f64", arguments)


def wmma():
    draw = np.random.default_rng(3)
    a, b = draw.integers(-4, 5, (16, 24)).astype(np.float16), draw.integers(-4, 5, (16, 16)).astype(np.float16)
    c = draw.integers(-4, 5, (16, 16)).astype(np.float32)
    d = 2 * (a[:, :16].astype(np.float32) @ b.T.astype(np.float32) + c)
    yield Case("wmma_f16", [In(a), In(b), In(c), Out(np.zeros_like(d), d)])
    a, b = draw.integers(-4, 5, (16, 32)).astype(float), draw.integers(-4, 5, (16, 8)).astype(float)
    d = (a.T @ b + 1).astype(np.float32)
    bits = [bits_of(m, BF16).astype(np.uint16) for m in (a, b)]
    yield Case("wmma_bf16", [*map(In, bits), Out(np.zeros((8, 32), np.float32), d.T.copy())])


def cases():
    yield integer("mma_s8", "i1", "i1")
    yield integer("mma_u8s8", "u1", "i1")
    yield integer("mma_s8_saturated", "i1", "i1", True)
    yield f64()
    yield from wmma()
