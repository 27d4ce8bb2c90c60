# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import BF16
from harness import Case, Out, Tensor, f32, i32
from matmul import within
from tensor import bits_of, values_of
from wgmma import matrix


def matmul(m, n, k, integral, seed):
    draw = np.random.default_rng(seed)
    (a_bits, a), (b_bits, b) = matrix((m, k), integral, draw), matrix((n, k), integral, draw)
    wanted, size = a @ b.T, np.abs(a) @ np.abs(b).T
    # The bound of wgmma.py, then half a unit of bf16.
    bound = (k + 1) * 2.0**-23 * size
    bound = bound + (np.abs(wanted) + bound) * 2.0**-8

    def near(got):
        error = np.abs(values_of(got, BF16) - wanted)
        if (error <= bound).all():
            return None
        at = tuple(map(int, np.argwhere(~(error <= bound))[0]))
        return f"element {at}: off by {error[at]} of {bound[at]}"

    expected = bits_of(wanted, BF16).astype(np.uint16) if integral else near
    maps = [
        Tensor(a_bits, "bf16", (64, 128), swizzle="128B"),
        Tensor(b_bits, "bf16", (64, 128), swizzle="128B"),
        Tensor(np.zeros((m, n), np.uint16), "bf16", (64, 64), expected, swizzle="128B"),
    ]
    grid = (-(-n // 128), -(-m // 128))
    name = f"{m}x{n}x{k}" + " integers" * integral
    return Case("matmul", [*maps, i32(k)], grid=grid, block=(384,), shared=4 * 32768 + 32768, name=name)


def persistent(m, n, steps, slices, blocks, seed):
    draw = np.random.default_rng(seed)
    k = 64 * steps * slices
    (a_bits, a), (b_bits, b) = matrix((m, k), True, draw), matrix((n, k), True, draw)
    before = draw.integers(-9, 10, (m, n)).astype(np.float32)
    maps = [
        Tensor(a_bits, "bf16", (64, 64), swizzle="128B"),
        Tensor(b_bits, "bf16", (64, 64), swizzle="128B"),
        Tensor(before, "f32", (32, 64), (before + a @ b.T).astype(np.float32), swizzle="128B"),
    ]
    across = -(-n // 64)
    arguments = [*maps, i32(across), i32(across * -(-m // 64)), i32(steps)]
    grid = (blocks, slices)
    name = f"{m}x{n}x{k} in {slices}"
    return Case("persistent", arguments, grid=grid, block=(256,), shared=32768 + 16384, name=name)


def attention(queries, keys, seed):
    """Weights are rounded to bf16, half a unit of 2^-8 each; the rest of the bound is for exp2
    and for scores, whose error is one of f32."""
    draw = np.random.default_rng(seed)
    (q_bits, q), (k_bits, k), (v_bits, v) = (matrix((n, 64), False, draw) for n in (queries, keys, keys))
    scores = q @ k.T / 8
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = within(weights @ v, 2.0**-8 * (weights @ np.abs(v)))
    maps = [Tensor(x, "bf16", (64, 64), swizzle="128B") for x in (q_bits, k_bits, v_bits)]
    out = Out(np.zeros((queries, 64), np.float32), expected)
    arguments = [*maps, out, i32(queries), i32(keys), f32(np.log2(np.e) / 8)]
    return Case("attention", arguments, grid=(-(-queries // 64),), block=(160,), name=f"{queries} of {keys}")


def cases():
    yield matmul(1, 8, 8, True, 4)
    yield matmul(128, 128, 64, True, 1)
    yield matmul(200, 136, 200, True, 2)
    yield matmul(65, 264, 456, False, 3)
    yield persistent(64, 64, 1, 1, 1, 5)
    yield persistent(130, 64, 2, 1, 3, 7)
    yield persistent(100, 132, 3, 2, 2, 6)
    yield attention(64, 64, 8)
    yield attention(100, 300, 9)
