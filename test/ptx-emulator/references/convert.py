# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
from fractions import Fraction

import exact
import numpy as np
from exact import BF16, E4M3, E5M2, F16, F32, F64, NAN, TF32, decode, encode, floats, flush, signed, unsigned
from harness import integers, table

COUNT = 250
INTEGERS = {name: (int(name[1:]), name[0] == "s") for name in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")}


def to_integer(form, name, mode, ftz=False):
    width, is_signed = INTEGERS[name]
    # NaN: zero, or where f64 or 64 bits take part the top bit.
    odd = 1 << width - 1 if form is F64 or width == 64 else 0
    if is_signed:
        odd = signed(odd, width)

    def run(*bits):
        x = decode(bits[0], form)
        if form is F64 and width < 32 and x.kind == NAN:
            return lambda got: True
        return exact.to_integer(flush(x, form) if ftz else x, width, is_signed, mode, odd)

    return run


def all_integers(form, names=tuple(INTEGERS)):
    return {f"{mode}.{name}": to_integer(form, name, mode) for name in names for mode in ("rni", "rzi", "rmi", "rpi")}


def from_integer(form, name, mode, sat=False):
    width, is_signed = INTEGERS[name]

    def run(x):
        x = exact.number((signed if is_signed else unsigned)(x, width))
        return encode(exact.saturated(x) if sat else x, form, mode)

    return run


def all_sources(form):
    return {
        f"{mode}.{name}": from_integer(form, name, mode)
        for mode in ("rn", "rz", "rm", "rp")
        for name in ("s16", "u16", "s32", "u32", "s64", "u64")
    }


def integer_to_integer(to, source, sat=False):
    width, is_signed = INTEGERS[to]
    from_width, from_signed = INTEGERS[source]

    def run(x):
        x = (signed if from_signed else unsigned)(x, from_width)
        if sat:
            low, high = (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)
            x = min(max(x, low), high)
        return (signed if is_signed else unsigned)(x, width)

    return run


def clamp(x, width, is_signed):
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if is_signed else (0, (1 << width) - 1)
    return min(max(x, low), high)


INTEGER_FROM_INTEGER = {
    **{
        f"{to}.{source}": integer_to_integer(to, source)
        for to, source in (
            ("s32", "s8"), ("u32", "u8"), ("s32", "s16"), ("u32", "u16"), ("s64", "s32"), ("u64", "u32"),
            ("u64", "s32"), ("s64", "u16"), ("u32", "u64"), ("s8", "s64"), ("u8", "u32"), ("s16", "s8"),
        )
    },
    **{
        f"sat.{to}.{source}": integer_to_integer(to, source, True)
        for to, source in (
            ("s8", "s32"), ("u8", "s32"), ("u8", "u32"), ("s16", "s64"), ("u16", "s16"), ("s32", "s64"),
            ("u32", "s64"), ("s32", "u64"), ("u64", "s64"), ("s64", "u64"),
        )
    },
    "pack.s16": lambda x: unsigned(clamp(signed(x, 32), 16, True), 16) << 16
    | unsigned(clamp(signed(x >> 32, 32), 16, True), 16),
    "pack.u8": lambda x: 0x1234 << 16 | clamp(signed(x, 32), 8, False) << 8 | clamp(signed(x >> 32, 32), 8, False),
}


def cvt(to, source, mode="rn", operand=0, ftz=False, sat=False, relu=False, integral=False, finite=False):
    """From one of the operands' bits.  NaN: its bits are open where the result is f32
    or f64, the canonical one in the narrow formats."""

    def run(*bits):
        x = decode(bits[operand], source)
        if ftz and source is F32:
            x = flush(x, source)
        if integral:
            x = exact.round_to_integral(x, mode)
        if sat:
            x = exact.saturated(x)
        if relu:
            x = exact.relu(x)
        if x.kind == NAN and to in (F32, F64):
            return exact.is_nan(to)
        result = encode(x, to, mode, saturate=finite)
        return exact.flushed(result, F32) if ftz and to is F32 else result

    return run


def tf32(mode, relu=False):
    """The bits of f32, whose low 13 are open (the kernel clears them)."""
    f = cvt(TF32, F32, mode, relu=relu)

    def run(x, *_):
        result = f(x)
        return exact.is_nan(F32) if result == TF32.nan else result << 13

    return lambda *bits: run(bits[0])


F32_FROM_FLOAT = {
    **{f"{mode}.f64": cvt(F32, F64, mode, 1) for mode in ("rn", "rz", "rm", "rp")},
    "rn.ftz.f64": cvt(F32, F64, "rn", 1, ftz=True),
    "rn.sat.f64": cvt(F32, F64, "rn", 1, sat=True),
    "f16": cvt(F32, F16, operand=2),
    "ftz.f16": cvt(F32, F16, operand=2, ftz=True),
    "sat.f16": cvt(F32, F16, operand=2, sat=True),
    "bf16": cvt(F32, BF16, operand=2),
    "rmi.ftz.f32": cvt(F32, F32, "rmi", ftz=True, integral=True),
    "ftz.f32": cvt(F32, F32, ftz=True),
    "rna.tf32": tf32("rna"),
}
F64_FROM_FLOAT = {
    "f32": cvt(F64, F32),
    "ftz.f32": cvt(F64, F32, ftz=True),
    "sat.f32": cvt(F64, F32, sat=True),
    "f16": cvt(F64, F16, operand=1),
}
F16_FROM_FLOAT = {
    **{f"{mode}.f16.f32": cvt(F16, F32, mode) for mode in ("rn", "rz", "rm", "rp")},
    "rn.relu.f16.f32": cvt(F16, F32, relu=True),
    "rn.sat.f16.f32": cvt(F16, F32, sat=True),
    "rn.f16.f64": cvt(F16, F64, operand=1),
    "rp.f16.f64": cvt(F16, F64, "rp", 1),
    "rni.f16.f16": cvt(F16, F16, "rni", 2, integral=True),
    "rpi.f16.f16": cvt(F16, F16, "rpi", 2, integral=True),
    "rn.bf16.f32": cvt(BF16, F32),
    "rz.bf16.f32": cvt(BF16, F32, "rz"),
    "rn.relu.bf16.f32": cvt(BF16, F32, relu=True),
    "rz.relu.bf16.f32": cvt(BF16, F32, "rz", relu=True),
}


def packed(to, **rest):
    """The first operand goes to the upper half."""
    upper, lower = cvt(to, F32, operand=0, **rest), cvt(to, F32, operand=1, **rest)
    return lambda x, y: upper(x, y) << to.width | lower(x, y)


PAIR_FROM_FLOAT = {
    "rn.f16x2": packed(F16),
    "rz.f16x2": packed(F16, mode="rz"),
    "rn.relu.f16x2": packed(F16, relu=True),
    "rn.bf16x2": packed(BF16),
    "rz.bf16x2": packed(BF16, mode="rz"),
    "rn.relu.bf16x2": packed(BF16, relu=True),
}
BF16_FROM = {
    "rn.s32": lambda x, h: from_integer(BF16, "s32", "rn")(x),
    "rz.u32": lambda x, h: from_integer(BF16, "u32", "rz")(x),
    "rm.s64": lambda x, h: from_integer(BF16, "s64", "rm")(x),
    "rp.u64": lambda x, h: from_integer(BF16, "u64", "rp")(x),
    "rn.s16": lambda x, h: from_integer(BF16, "s16", "rn")(x),
    "rn.f16": cvt(BF16, F16, operand=1),
    "rzi.bf16": cvt(BF16, BF16, "rzi", 1, integral=True),
    "rni.bf16": cvt(BF16, BF16, "rni", 1, integral=True),
}
TF32_FROM = {
    "rn": tf32("rn"),
    "rz": tf32("rz"),
    "rn.relu": tf32("rn", True),
    "rz.relu": tf32("rz", True),
}
FP8_FROM = {
    "e4m3x2": packed(E4M3, finite=True),
    "e5m2x2": packed(E5M2, finite=True),
    "relu.e4m3x2": packed(E4M3, finite=True, relu=True),
    "relu.e5m2x2": packed(E5M2, finite=True, relu=True),
}


def halves(to, source, **rest):
    f = cvt(to, source, **rest)
    low = (1 << source.width) - 1
    return lambda x: f(x & low) | f(x >> source.width & low) << to.width


FP8_F16 = {
    "f16x2.e4m3x2": lambda x, y: halves(F16, E4M3)(x),
    "f16x2.e5m2x2": lambda x, y: halves(F16, E5M2)(x),
    "relu.f16x2.e5m2x2": lambda x, y: halves(F16, E5M2, relu=True)(x),
    "e4m3x2.f16x2": lambda x, y: halves(E4M3, F16, finite=True)(x | y << 16),
    "relu.e5m2x2.f16x2": lambda x, y: halves(E5M2, F16, finite=True, relu=True)(x | y << 16),
}


def for_integers(seed, form):
    """Numbers near halves, and near where integer types end."""
    bits = floats(seed, form, COUNT, near=10)
    special = [0.5, 1.5, 2.5, -0.5, -1.5, 127.5, 128, -128.5, 255.5, 32767.5, 65535.5]
    special += [2**31 - 0.5, 2**31, -(2**31) - 0.5, 2**32 - 0.5, 2**63, -(2**63), 2**64, 0.499999]
    bits[: len(special)] = [encode(exact.number(Fraction(v)), form) for v in special]
    return bits


def cases():
    def floating(kernel, operations, forms, dtype, seed, ptx=(), swap=False):
        x = [floats(seed + k, form, COUNT) for k, form in enumerate(forms)]
        kinds = {F32: np.float32, F64: np.float64}
        inputs = [v.view(kinds.get(form, v.dtype)) for v, form in zip(x, forms)]
        return table(kernel, operations, inputs, dtype, operands=[v.tolist() for v in x], ptx=ptx)

    f32_extra = {
        "rni.ftz.s32": to_integer(F32, "s32", "rni", True),
        "rpi.ftz.u64": to_integer(F32, "u64", "rpi", True),
        "to int": to_integer(F32, "s32", "rzi"),
        "to u64": to_integer(F32, "u64", "rzi"),
    }
    new = ("convert-sm90.ptx",)
    for kernel, form, kind, extra, ptx in (
        ("f32", F32, np.float32, f32_extra, ()),
        ("f64", F64, np.float64, {}, ()),
        ("f16", F16, np.uint16, {}, ()),
        ("bf16", BF16, np.uint16, {}, new),
    ):
        names = tuple(INTEGERS)[2:] if form is BF16 else tuple(INTEGERS)
        bits = for_integers(1, form)
        operations = all_integers(form, names) | extra
        operands = [bits.tolist()]
        yield table(f"integer_from_{kernel}", operations, [bits.view(kind)], np.int64, operands=operands, ptx=ptx)
    x = integers(2, np.int64, COUNT)
    small = {
        "rn.s8": from_integer(F32, "s8", "rn"),
        "rn.u8": from_integer(F32, "u8", "rn"),
        "rn.sat.s32": from_integer(F32, "s32", "rn", True),
    }
    yield table("f32_from_integer", all_sources(F32) | small, [x], np.float32)
    yield table("f64_from_integer", all_sources(F64), [x], np.float64)
    yield table("f16_from_integer", all_sources(F16), [x], np.uint16)
    yield table("integer_from_integer", INTEGER_FROM_INTEGER, [x], np.int64)
    narrow = floats(3, F16, COUNT)
    f32, f64 = floats(4, F32, COUNT, near=20), floats(5, F64, COUNT, near=20)
    operands = [f32.tolist(), f64.tolist(), narrow.tolist()]
    inputs = [f32.view(np.float32), f64.view(np.float64), narrow]
    yield table("f32_from_float", F32_FROM_FLOAT, inputs, np.uint32, operands=operands)
    yield table("f16_from_float", F16_FROM_FLOAT, inputs, np.uint16, operands=operands)
    yield floating("f64_from_float", F64_FROM_FLOAT, (F32, F16), np.float64, 6)
    yield floating("pair_from_float", PAIR_FROM_FLOAT, (F32, F32), np.uint32, 7)
    yield floating("tf32_from", TF32_FROM, (F32,), np.uint32, 8, new)
    yield floating("fp8_from", FP8_FROM, (F32, F32), np.uint16, 9, new)
    h = floats(10, F16, COUNT, near=9)
    yield table("fp8_f16", FP8_F16, [h], np.uint32, operands=[h.tolist(), h[::-1].tolist()], ptx=new)
    h = [floats(11, F16, COUNT)]
    h[0][::2] = floats(12, BF16, COUNT)[::2]
    yield table("bf16_from", BF16_FROM, [x, *h], np.uint16, ptx=new)
