# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import BF16
from harness import Case, In, Out, i32
from tensor import bits_of, values_of

PTX = ("matmul.ptx", "matmul-clang.ptx")


def within(wanted, bound):
    """A comparison with a bound for each element."""

    def compare(got):
        error = np.abs(got - wanted)
        if (error <= bound).all():
            return None
        at = tuple(map(int, np.argwhere(~(error <= bound))[0]))
        return f"element {at}: {got[at]}, should be {wanted[at]} within {np.broadcast_to(bound, wanted.shape)[at]}"

    return compare


def f32(m, n, k, seed, integral):
    draw = np.random.default_rng(seed)
    if integral:
        a, b = (draw.integers(-9, 10, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    else:
        a, b = (draw.normal(0, 1, shape).astype(np.float32) for shape in ((m, k), (k, n)))
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    # One rounding of half a unit for each of k steps.
    bound = 0 if integral else k * 2.0**-24 * (np.abs(a64) @ np.abs(b64))
    out = Out(np.zeros((m, n), np.float32), within(a64 @ b64, bound))
    grid = (n // 128, m // 128)
    name = "integers" if integral else "any numbers"
    return Case("matmul_f32", [In(a), In(b), out, i32(m), i32(n), i32(k)], grid=grid, block=(256,), ptx=PTX, name=name)


def bf16(m, n, k, seed, integral):
    draw = np.random.default_rng(seed)
    if integral:
        a, b = (draw.integers(-4, 5, shape).astype(float) for shape in ((m, k), (n, k)))
    else:
        a, b = (draw.normal(0, 1, shape) for shape in ((m, k), (n, k)))
    a_bits, b_bits = bits_of(a, BF16), bits_of(b, BF16)
    a, b = values_of(a_bits, BF16), values_of(b_bits, BF16)
    # As in tensor.py: a unit of the largest partial sum for each term.
    bound = 0 if integral else (k + k // 16) * 2.0**-23 * (np.abs(a) @ np.abs(b).T)
    out = Out(np.zeros((m, n), np.float32), within(a @ b.T, bound))
    grid = (-(-n // 64), -(-m // 64))
    arguments = [In(a_bits.astype(np.uint16)), In(b_bits.astype(np.uint16)), out, i32(m), i32(n), i32(k)]
    name = f"{m}x{n}x{k}" + " integers" * integral
    return Case("matmul_bf16", arguments, grid=grid, block=(128,), shared=24576, ptx=PTX, name=name)


def cases():
    yield f32(128, 128, 40, 1, True)
    yield f32(256, 128, 24, 2, False)
    yield bf16(64, 64, 64, 3, True)
    yield bf16(70, 90, 104, 4, True)
    yield bf16(100, 33, 136, 5, False)
    yield bf16(17, 65, 8, 6, True)
