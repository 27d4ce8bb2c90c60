# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Matrices to fragments and back, as the manual lays them out.

Small integers must come out exactly.  Of other numbers the manual says no more than
that products are exact and sums at least as precise as the accumulator, in any order
and any rounding: each of the k + 1 terms may cost a unit of the largest partial sum."""
from fractions import Fraction

import numpy as np
from exact import BF16, F16, F32, TF32, decode, encode, number
from harness import Case, In, Out

LANES = np.arange(32)
GROUP, MEMBER = LANES // 4, LANES % 4


def places(kind, per, registers):
    """(row, column) of every element of a fragment: arrays [register, lane, part].
    kind: "a", "b", "c"; per: elements of a register."""
    r = np.arange(registers)[:, None, None]
    part = np.arange(per)[None, None, :]
    group, member = GROUP[None, :, None], MEMBER[None, :, None]
    across = member * per + part
    if kind == "a":
        row, column = group + 8 * (r % 2), across + 4 * per * (r // 2)
    elif kind == "b":
        row, column = across + 4 * per * r, group
    elif per == 1:
        row, column = group + 8 * (r // 2), 2 * member + r % 2
    else:
        row, column = group + 8 * r, 2 * member + part
    return np.broadcast_arrays(row, column)


def pack(matrix, kind, per, registers):
    """Element bits to words."""
    row, column = places(kind, per, registers)
    parts = matrix[row, column].astype(np.uint32)
    width = 32 // per
    return sum(parts[..., k] << np.uint32(width * k) for k in range(per)).astype(np.uint32)


def unpack(words, shape, per):
    row, column = places("c", per, len(words))
    matrix = np.zeros(shape, np.uint32)
    for k in range(per):
        width = 32 // per
        matrix[row[..., k], column[..., k]] = words >> np.uint32(width * k) & np.uint32((1 << width) - 1)
    return matrix


def bits_of(matrix, form):
    shift = 13 if form is TF32 else 0
    values = [encode(number(Fraction(float(x))), form) << shift for x in matrix.reshape(-1)]
    return np.array(values, np.uint32).reshape(matrix.shape)


def values_of(bits, form):
    shift = 13 if form is TF32 else 0
    return np.array([float(decode(int(x) >> shift, form).value) for x in bits.reshape(-1)]).reshape(bits.shape)


def multiply(kernel, form, accumulator, k, per, integral, seed):
    """A case of mma: 16 x k by k x 8."""
    draw = np.random.default_rng(seed)
    shapes = ((16, k), (k, 8), (16, 8))
    if integral:
        a, b, c = (draw.integers(-4, 5, shape).astype(float) for shape in shapes)
    else:
        a, b, c = (draw.normal(0, 1, shape) * 2.0 ** draw.integers(-3, 4, shape) for shape in shapes)
    a_bits, b_bits, c_bits = bits_of(a, form), bits_of(b, form), bits_of(c, accumulator)
    a, b, c = values_of(a_bits, form), values_of(b_bits, form), values_of(c_bits, accumulator)
    wanted, size = a @ b + c, np.abs(a) @ np.abs(b) + np.abs(c)
    unit = 2.0 ** -accumulator.fraction
    wide = accumulator is F32
    c_per, registers = (1, 4) if wide else (2, 2)

    def compare(got):
        result = values_of(unpack(got.view(np.uint32), (16, 8), c_per), accumulator)
        error = np.abs(result - wanted)
        bound = 0 * size if integral else (k + 1) * unit * size
        if (error <= bound).all():
            return None
        at = tuple(map(int, np.argwhere(~(error <= bound))[0]))
        return f"element {at}: {result[at]}, should be {wanted[at]} within {bound[at]}"

    a_words = pack(a_bits, "a", per, 4 if k * 2 // per > 8 else 2)
    b_words = pack(b_bits, "b", per, 2 if k // per > 4 else 1)
    c_words = pack(c_bits, "c", c_per, registers)
    if wide:
        c_words = c_words.view(np.float32)
    name = "integers" if integral else "any numbers"
    return Case(kernel, [In(a_words), In(b_words), In(c_words), Out(np.zeros_like(c_words), compare)], name=name)


def matrices(words):
    """Eight rows of eight 16-bit elements."""
    return words.view(np.uint16).reshape(-1, 8)


def fragment(rows, transposed):
    """ldmatrix: eight rows of eight to the words of the lanes."""
    square = rows.T if transposed else rows
    low = square[GROUP, 2 * MEMBER].astype(np.uint32)
    high = square[GROUP, 2 * MEMBER + 1].astype(np.uint32)
    return low | high << np.uint32(16)


def ldmatrix(count, transposed, seed):
    draw = np.random.default_rng(seed)
    tile = draw.integers(0, 2**32, 256, np.uint32)
    # 64 rows of 16 bytes, in any order; lanes beyond 8 * count hold no address.
    rows = draw.permutation(64)[:32].astype(np.uint32) * 16
    rows[8 * count :] = 0x7FFFFFF1
    table = matrices(tile)
    expected = [fragment(table[rows[8 * k : 8 * k + 8] // 16], transposed) for k in range(count)]
    name = f"ldmatrix_x{count}" + "_trans" * transposed
    out = Out(np.zeros((count, 32), np.uint32), np.array(expected, np.uint32))
    return Case(name, [In(tile), In(rows), out])


def stmatrix(count, transposed, seed):
    draw = np.random.default_rng(seed)
    words = draw.integers(0, 2**32, (4, 32), np.uint32)
    rows = draw.permutation(64)[:32].astype(np.uint32) * 16
    rows[8 * count :] = 0x7FFFFFF1
    table = np.zeros((64, 8), np.uint16)
    for k in range(count):
        square = np.zeros((8, 8), np.uint16)
        square[GROUP, 2 * MEMBER] = words[k] & np.uint32(0xFFFF)
        square[GROUP, 2 * MEMBER + 1] = words[k] >> np.uint32(16)
        table[rows[8 * k : 8 * k + 8] // 16] = square.T if transposed else square
    name = f"stmatrix_x{count}" + "_trans" * transposed
    out = Out(np.zeros(256, np.uint32), table.reshape(-1).view(np.uint32))
    return Case(name, [In(words), In(rows), out], ptx=("tensor-sm90.ptx",))


def special():
    """Infinities and NaN stay in their rows and columns."""
    a = bits_of(np.ones((16, 16)), BF16)
    b, c = bits_of(np.ones((16, 8)), BF16), bits_of(np.zeros((16, 8)), F32)
    a[3, 5], a[9, 0], b[7, 2] = 0x7F80, 0x7FC0, 0xFF80

    def compare(got):
        result = unpack(got.view(np.uint32), (16, 8), 1).view(np.float32)
        wanted = np.full((16, 8), 16, np.float32)
        wanted[:, 2], wanted[3], wanted[3, 2], wanted[9] = -np.inf, np.inf, np.nan, np.nan
        if np.array_equal(result, wanted, equal_nan=True):
            return None
        return f"{result}"

    words = [pack(a, "a", 2, 4), pack(b, "b", 2, 2), pack(c, "c", 1, 4).view(np.float32)]
    return Case("mma_bf16_k16", [*map(In, words), Out(np.zeros_like(words[2]), compare)], name="infinities")


def cases():
    for count in (1, 2, 4):
        for transposed in (False, True):
            yield ldmatrix(count, transposed, count)
            if (count, transposed) != (2, True):
                yield stmatrix(count, transposed, count)
    a = np.random.default_rng(1).integers(0, 2**32, 32, np.uint32)
    square = np.zeros((8, 8), np.uint16)
    square[GROUP, 2 * MEMBER], square[GROUP, 2 * MEMBER + 1] = a & np.uint32(0xFFFF), a >> np.uint32(16)
    yield Case("movmatrix", [In(a), Out(np.zeros(32, np.uint32), fragment(square, True))])
    for integral in (True, False):
        for seed, (kernel, form, accumulator, k, per) in enumerate((
            ("mma_f16_k16", F16, F32, 16, 2), ("mma_bf16_k16", BF16, F32, 16, 2), ("mma_f16_k8", F16, F32, 8, 2),
            ("mma_bf16_k8", BF16, F32, 8, 2), ("mma_tf32_k8", TF32, F32, 8, 1), ("mma_tf32_k4", TF32, F32, 4, 1),
            ("mma_half_k16", F16, F16, 16, 2), ("mma_half_k8", F16, F16, 8, 2),
        )):
            yield multiply(kernel, form, accumulator, k, per, integral, seed)
    yield special()
