# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of bf16 matrices by warpgroups: of small integers exactly, of any numbers within
the bound of tensor.py, a unit of the largest partial sum for each term."""

import numpy as np
from exact import BF16
from harness import Case, In, Out, Tensor, i32
from matmul import within
from tensor import bits_of, values_of


def matrix(shape, integral, draw):
    """Bits and values."""
    numbers = draw.integers(-4, 5, shape).astype(float) if integral else draw.normal(0, 1, shape)
    bits = bits_of(numbers, BF16).astype(np.uint16)
    return bits, values_of(bits, BF16)


def swizzled(bits):
    """64 x 64 elements at a time."""
    return Tensor(bits, "bf16", (64, 64), swizzle="128B")


def sums(a, b, c=0, integral=True):
    """C + A B^T, to be compared."""
    bound = 0 if integral else (a.shape[1] + 1) * 2.0**-23 * (np.abs(a) @ np.abs(b).T + np.abs(c))
    return within(a @ b.T + c, bound)


def cases():
    for seed, integral in enumerate((True, False)):
        draw = np.random.default_rng(seed)
        name = "integers" if integral else "any numbers"
        (a_bits, a), (b_bits, b), (c_bits, c) = (matrix((64, 64), integral, draw) for _ in range(3))
        before = c.astype(np.float32)
        maps = [swizzled(a_bits), swizzled(b_bits)]

        def case(kernel, arguments, expected, shape=(64, 64), start=None, block=128):
            start = np.zeros(shape, np.float32) if start is None else start
            return Case(kernel, [*arguments[:3], Out(start, expected), *arguments[3:]], block=(block,), name=name)

        yield case("one_by_one", maps, sums(a, b, c, integral), start=before)
        yield case("one_group", maps, sums(a, b, 0, integral))
        both = np.concatenate([b, c])
        yield case("two_groups", [maps[0], swizzled(np.concatenate([b_bits, c_bits]))], sums(a, both, 0, integral), (64, 128))
        for steps in (1, 2, 5):
            (left_bits, left), (right_bits, right) = (matrix((64, 64 * steps), integral, draw) for _ in range(2))
            expected = Out(np.zeros((64, 64), np.float32), sums(left, right, 0, integral))
            arguments = [swizzled(left_bits), swizzled(right_bits), expected, i32(steps)]
            yield Case("pipelined", arguments, block=(128,), name=f"{name}, {steps} steps")
        (left_bits, left), (right_bits, right) = matrix((128, 16), integral, draw), matrix((64, 16), integral, draw)
        yield case("plain_stores", [In(left_bits), In(right_bits)], sums(left, right, 0, integral), (128, 64), block=256)
        yield case("transposed", maps, sums(a.T, b.T, 0, integral))
    # Sums of the first product that bf16 holds.
    draw = np.random.default_rng(9)
    signs = draw.integers(-1, 2, (3, 64, 64)).astype(float)
    maps = [swizzled(bits_of(x, BF16).astype(np.uint16)) for x in signs]
    wanted = (signs[0] @ signs[1].T @ signs[2]).astype(np.float32)
    yield Case("chained", [*maps, Out(np.zeros_like(wanted), wanted)], block=(128,))
