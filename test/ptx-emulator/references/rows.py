# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
import numpy as np
from exact import BF16
from harness import Case, In, Out, f32, i32
from matmul import within
from tensor import bits_of, values_of

PTX = ("rows.ptx", "rows-fast.ptx")


def of_bits(wanted, relative, absolute=0):
    """bf16 results: half a unit of their own more."""

    def compare(got):
        return within(wanted, np.abs(wanted) * (relative + 2.0**-8) + absolute)(values_of(got, BF16))

    return compare


def exponentials(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax(rows, n, seed):
    a = np.random.default_rng(seed).normal(0, 3, (rows, n)).astype(np.float32)
    # ex2.approx of a product that was rounded (|x| up to 32: 2^5 units), a sum, a division.
    wanted = exponentials(a.astype(np.float64))
    out = Out(np.zeros_like(a), within(wanted, wanted * 2.0**-17))
    return Case("softmax", [In(a), out, i32(n)], grid=(rows,), block=(128,), ptx=PTX)


def softmax_bf16(rows, seed):
    bits = bits_of(np.random.default_rng(seed).normal(0, 3, (rows, 128)), BF16)
    wanted = exponentials(values_of(bits, BF16))
    out = Out(np.zeros((rows, 128), np.uint16), of_bits(wanted, 2.0**-17))
    arguments = [In(bits.astype(np.uint16)), out, i32(rows)]
    return Case("softmax_bf16", arguments, grid=(-(-rows // 4),), block=(128,), ptx=PTX)


def layernorm(rows, n, seed):
    draw = np.random.default_rng(seed)
    a, gain, bias = (draw.normal(1, 2, shape).astype(np.float32) for shape in ((rows, n), n, n))
    x = a.astype(np.float64)
    centred = x - x.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.float64(np.float32(1e-5)))
    wanted = centred * scale * gain + bias
    # The mean costs a few units of the largest, the rest a few of each factor.
    bound = 2.0**-20 * (np.abs(a).max() * scale + np.abs(centred * scale)) * np.abs(gain) + 2.0**-23 * np.abs(wanted)
    out = Out(np.zeros_like(a), within(wanted, bound))
    arguments = [In(a), In(gain), In(bias), out, i32(n), f32(1e-5)]
    return Case("layernorm", arguments, grid=(rows,), block=(96,), ptx=PTX)


def rmsnorm_bf16(rows, n, seed):
    draw = np.random.default_rng(seed)
    a, gain = bits_of(draw.normal(0, 2, (rows, n)), BF16), bits_of(draw.normal(1, 0.2, n), BF16)
    x = values_of(a, BF16)
    wanted = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + np.float64(np.float32(1e-5))) * values_of(gain, BF16)
    out = Out(np.zeros((rows, n), np.uint16), of_bits(wanted, 2.0**-19))
    arguments = [In(a.astype(np.uint16)), In(gain.astype(np.uint16)), out, i32(n), f32(1e-5)]
    return Case("rmsnorm_bf16", arguments, grid=(rows,), block=(64,), ptx=PTX)


def top_k(a, k, name):
    rows, n = a.shape
    order = np.argsort(-a, axis=1, kind="stable")[:, :k]
    expected = np.sort(order, axis=1).astype(np.uint32)
    arguments = [In(a), Out(np.zeros((rows, k), np.uint32), expected), i32(n), i32(k)]
    return Case("top_k", arguments, grid=(rows,), block=(128,), ptx=PTX, name=name)


def cases():
    yield softmax(3, 200, 1)
    yield softmax_bf16(6, 2)
    yield layernorm(2, 250, 3)
    yield rmsnorm_bf16(2, 256, 4)
    draw = np.random.default_rng(5)
    yield top_k(draw.normal(0, 1, (2, 300)).astype(np.float32), 37, "any")
    yield top_k(np.round(draw.normal(0, 1, (1, 300)), 1).astype(np.float32), 150, "ties")
    yield top_k(np.ones((1, 200), np.float32), 70, "all equal")
    signed = np.where(draw.integers(0, 2, (1, 130)), 0.0, -0.0).astype(np.float32)
    signed[0, 50:60] = 1
    yield top_k(signed, 20, "signed zeros")
