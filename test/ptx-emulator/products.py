#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""products.py WORKDIR [TEXT] [--check]: every product of matrices that mma.sync and
wmma have, but sparse ones; with TEXT those whose name has it.

Of mma.sync every bit is compared, numbers of all kinds among them: the manual leaves
the order of a sum open, and docs/PtxEmulator.md says which one the emulator takes.
Fragments of wmma are opaque: matrices of small integers go in and out by way of memory.
--check gives the kernels to ptxas."""

import pathlib
import random
import sys

import exact
import harness
import numpy as np
from compile import assemble
from exact import BF16, E4M3, E5M2, F16, F32, F64, TF32, decode, encode, fma
from harness import Case, In, Out

sys.path.insert(0, str(harness.HERE / "references"))
from tensor import places

FORMATS = {"f16": F16, "bf16": BF16, "tf32": TF32, "e4m3": E4M3, "e5m2": E5M2, "f64": F64, "f32": F32}
BITS = {"f64": 64, "f32": 32, "s32": 32, "tf32": 32, "s8": 8, "u8": 8, "e4m3": 8, "e5m2": 8, "s4": 4, "u4": 4, "b1": 1}
HEAD = """.version 9.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)
{
  .reg .b32 %a<32>, %b<32>, %c<32>, %d<32>, %t;
  .reg .b64 %A<32>, %B<32>, %C<32>, %D<32>, %p, %q, %o;
"""


def bits(kind):
    return BITS.get(kind, 16)


def products():
    """(shape, A, B, accumulators, modifiers)."""
    for k in (8, 16):
        yield from ((f"m16n8k{k}", kind, kind, sums, "") for kind, sums in (("f16", "f32"), ("f16", "f16"), ("bf16", "f32")))
    for k in (4, 8):
        yield f"m16n8k{k}", "tf32", "tf32", "f32", ""
    for shape in ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"):
        yield from ((shape, "f64", "f64", "f64", mode) for mode in ("", ".rn", ".rz", ".rm", ".rp"))
    for shape in ("m16n8k16", "m16n8k32"):
        for a, b in (("e4m3", "e4m3"), ("e4m3", "e5m2"), ("e5m2", "e4m3"), ("e5m2", "e5m2")):
            yield from ((shape, a, b, sums, "") for sums in ("f32", "f16"))
    for width, shapes in ((8, ("m8n8k16", "m16n8k16", "m16n8k32")), (4, ("m8n8k32", "m16n8k32", "m16n8k64"))):
        for shape in shapes:
            for a in "su":
                for b in "su":
                    yield from ((shape, f"{a}{width}", f"{b}{width}", "s32", mode) for mode in ("", ".satfinite"))
    for shape in ("m8n8k128", "m16n8k128", "m16n8k256"):
        yield from ((shape, "b1", "b1", "s32", mode) for mode in (".xor.popc", ".and.popc"))


def size(shape):
    return [int(x) for x in shape[1:].replace("n", " ").replace("k", " ").split()]


def draw_elements(kind, seed, shape):
    """Bits: mostly of middling size, so that sums round and few are infinite."""
    draw = random.Random(seed)
    form = FORMATS.get(kind)

    def one():
        anything = draw.getrandbits(form.width if form else bits(kind))
        if kind == "s32":
            return anything if draw.random() < 0.5 else draw.choice((2**31 - 1, 2**31)) ^ draw.getrandbits(9)
        if not form:
            return anything
        if draw.random() < 0.01:
            anything = draw.choice(exact.corners(form))
        else:
            keep = ~(((1 << form.exponent) - 1) << form.fraction)
            anything = anything & keep | form.bias + draw.randint(-4, 4) << form.fraction
        return anything << 13 if kind == "tf32" else anything

    return np.array([one() for _ in range(shape[0] * shape[1])], object).reshape(shape)


def fragment(elements, kind, letter, rows):
    """The words of a matrix: [register, lane]; rows: of A and of the sums."""
    if kind == "b1":
        # 32 bits at a time, the first one the lowest.
        flat = elements if letter == "a" else elements.T
        words = [[sum(int(x) << i for i, x in enumerate(row[at : at + 32])) for at in range(0, len(row), 32)] for row in flat]
        elements, kind = np.array(words, object), "s32"
        elements = elements if letter == "a" else elements.T
    width = 64 if kind == "f64" else 32
    per = max(1, width // bits(kind))
    registers = elements.size // (32 * per)
    r, part = np.arange(registers)[:, None, None], np.arange(per)[None, None, :]
    row, column = places(letter, per, 2 * registers)
    if rows == 8 and letter == "a":
        row, column = row[0::2], column[0::2] # one half of the rows
    row, column = row[:registers], column[:registers]
    parts = elements[row, column]
    step = width // per
    words = sum(parts[..., i] << (step * i) for i in range(per))
    return words.astype(f"u{width // 8}")


def value(kind, x):
    if kind in FORMATS:
        return decode(int(x) >> 13 if kind == "tf32" else int(x), FORMATS[kind])
    return exact.signed(int(x), bits(kind)) if kind[0] == "s" else int(x)


def reference(a, b, c, kinds, mode):
    """Bits of the results."""
    first, second, sums = kinds
    left = [[value(first, x) for x in row] for row in a]
    right = [[value(second, x) for x in row] for row in b.T]
    out = np.zeros(c.shape, object)
    for i, row in enumerate(left):
        for j, column in enumerate(right):
            if sums == "s32":
                products = (x & y if "and" in mode else x ^ y if "xor" in mode else x * y for x, y in zip(row, column))
                total = exact.signed(int(c[i, j]), 32) + sum(products)
                total = min(max(total, -(2**31)), 2**31 - 1) if "sat" in mode else total
                out[i, j] = total & 0xFFFFFFFF
                continue
            # f16 is summed in f32.
            form, rounding = FORMATS["f64" if sums == "f64" else "f32"], mode[1:] or "rn"
            total = value(sums, c[i, j])
            for x, y in zip(row, column):
                total = decode(encode(fma(x, y, total, rounding), form, rounding), form)
            out[i, j] = encode(total, FORMATS[sums])
    return out


def compare(wanted, kind):
    def check(got):
        for at, (g, w) in enumerate(zip(harness.raw(got).reshape(-1).tolist(), wanted.reshape(-1).tolist())):
            halves = ((g, w),) if kind != "f16" else ((g & 0xFFFF, w & 0xFFFF), (g >> 16, w >> 16))
            for x, y in halves:
                # The bits of a NaN of f64 are open.
                both = kind == "f64" and all(decode(v, F64).kind == exact.NAN for v in (x, y))
                if x != y and not both:
                    return f"register {at // 32} of lane {at % 32}: {g:#x}, should be {w:#x}"
        return None

    return check


def mma(shape, first, second, sums, mode):
    m, n, k = size(shape)
    kinds = (first, first, second, sums, sums)
    a, b, c = (draw_elements(kind, seed, shape) for seed, (kind, shape) in enumerate(((first, (m, k)), (second, (k, n)), (sums, (m, n)))))
    words = [fragment(x, kind, letter, m) for x, kind, letter in ((a, first, "a"), (b, second, "b"), (c, sums, "c"))]
    wanted = fragment(reference(a, b, c, (first, second, sums), mode), sums, "c", m)
    lines = [HEAD, "  mov.u32 %t, %tid.x;"]
    letter = lambda name, kind: name.upper() if kind == "f64" else name
    vector = lambda name, kind, count: "{" + ", ".join(f"%{letter(name, kind)}{i}" for i in range(count)) + "}"
    for name, kind, x in zip("abcd", (first, second, sums, sums), [*words, wanted]):
        lines.append(f"  ld.param.u64 %p, [{name}];\n  mul.wide.u32 %o, %t, {x.itemsize};\n  add.u64 %p, %p, %o;")
        if name == "d":
            lines.append("  add.u64 %q, %p, 0;")
            break
        for i in range(len(x)):
            lines.append(f"  ld.global.b{8 * x.itemsize} %{letter(name, kind)}{i}, [%p+{i * x[0].nbytes}];")
    operands = ", ".join(vector(name, kind, len(x)) for name, kind, x in zip("dabc", (sums, first, second, sums), [wanted, *words]))
    before, after = ("", mode) if "popc" in mode else (mode, "")
    lines.append(f"  mma.sync.aligned.{shape}.row.col{before}.{sums}.{first}.{second}.{sums}{after} {operands};")
    for i in range(len(wanted)):
        lines.append(f"  st.global.b{8 * wanted.itemsize} [%q+{i * wanted[0].nbytes}], %{letter('d', sums)}{i};")
    name = f"mma {shape}{mode}.{sums}.{first}.{second}"
    out = Out(np.zeros_like(wanted), compare(wanted, sums))
    return name, "\n".join(lines) + "\n  ret;\n}\n", Case("k", [*map(In, words), out], name=name)


def wmma_products():
    """(shape, A and B, C, D)."""
    for shape in ("m16n16k16", "m32n8k16", "m8n32k16"):
        yield from ((shape, "f16", c, d) for c in ("f16", "f32") for d in ("f16", "f32"))
        yield shape, "bf16", "f32", "f32"
        yield from ((shape, kind, "s32", "s32") for kind in ("s8", "u8"))
    yield "m16n16k8", "tf32", "f32", "f32"
    yield "m8n8k4", "f64", "f64", "f64"


def wmma(shape, kind, c_kind, d_kind, layouts, space):
    """layouts: row or col of A, B, C and D."""
    m, n, k = size(shape)
    draw = np.random.default_rng(len(shape) + len(kind))
    low = 0 if kind[0] == "u" else -4
    a, b, c = (draw.integers(low, 5, extent) for extent in ((m, k), (k, n), (m, n)))
    d = a @ b + c

    def stored(matrix, kind, layout):
        """In memory, with a stride of 16 elements more."""
        matrix = matrix if layout == "row" else matrix.T
        room = np.zeros((matrix.shape[0], matrix.shape[1] + 16), matrix.dtype)
        room[:, : matrix.shape[1]] = matrix
        if kind not in FORMATS:
            return room.astype(f"{'u' if kind[0] == 'u' else 'i'}{bits(kind) // 8}")
        form, shift = FORMATS[kind], 13 if kind == "tf32" else 0
        words = [encode(exact.number(int(x)), form) << shift for x in room.reshape(-1)]
        return np.array(words, f"u{bits(kind) // 8}").reshape(room.shape)

    kinds = (kind, kind, c_kind, d_kind)
    memory = [stored(x, *rest) for x, *rest in zip((a, b, c, d), kinds, layouts)]
    wide = lambda kind: kind == "f64"
    letter = lambda name, kind: name.upper() if wide(kind) else name

    def vector(name, kind):
        elements = {"a": m * k, "b": k * n}.get(name, m * n)
        count = 8 if name in "ab" and kind == "f16" else elements * bits(kind) // 32 // (64 if wide(kind) else 32)
        return "{" + ", ".join(f"%{letter(name, kind)}{i}" for i in range(count)) + "}"

    lines = [HEAD, "  .shared .align 32 .b8 room[8192];\n  mov.u32 %t, %tid.x;"]
    for name, of, layout, x in zip("abc", kinds, layouts, memory):
        where = "[%p]"
        lines.append(f"  ld.param.u64 %p, [{name}];")
        if space == "shared":
            # Each lane copies some words.
            lines.append("  bar.warp.sync 0xffffffff;")
            lines.append("  cvt.u64.u32 %o, %t;\n  mad.lo.u64 %q, %o, 4, %p;\n  mov.u64 %o, room;\n  mad.wide.u32 %o, %t, 4, %o;")
            words = x.nbytes // 4
            for at in range(0, words, 32):
                lines.append(f"  ld.global.b32 %d0, [%q+{4 * at}];\n  st.shared.b32 [%o+{4 * at}], %d0;")
            lines.append("  bar.warp.sync 0xffffffff;")
            where = "[room]"
        stride = x.shape[1]
        lines.append(f"  wmma.load.{name}.sync.aligned.{layout}.{shape}.{space}.{of} {vector(name, of)}, {where}, {stride};")
    types = f".{d_kind}.{c_kind}" if kind == "f16" else f".{d_kind}.{kind}.{kind}.{c_kind}"
    operands = ", ".join(vector(name, of) for name, of in zip("dabc", (d_kind, kind, kind, c_kind)))
    lines.append(f"  wmma.mma.sync.aligned.{layouts[0]}.{layouts[1]}.{shape}{types} {operands};")
    lines.append("  ld.param.u64 %p, [d];")
    lines.append(f"  wmma.store.d.sync.aligned.{layouts[3]}.{shape}.global.{d_kind} [%p], {vector('d', d_kind)}, {memory[3].shape[1]};")
    name = f"wmma {shape}{types} {' '.join(layouts)} {space}"
    out = Out(np.zeros_like(memory[3]), memory[3])
    return name, "\n".join(lines) + "\n  ret;\n}\n", Case("k", [*map(In, memory[:3]), out], name=name)


def cases():
    for row in products():
        yield mma(*row)
    for number, row in enumerate(wmma_products()):
        for turn in range(2):
            layouts = ["row" if (number + turn + i * (turn + 1)) % 3 else "col" for i in range(4)]
            yield wmma(*row, layouts, "global" if turn else "shared")


def main():
    check = "--check" in sys.argv
    arguments = [x for x in sys.argv[1:] if x != "--check"]
    work, only = pathlib.Path(arguments[0]), "".join(arguments[1:])
    work.mkdir(parents=True, exist_ok=True)
    count = failed = 0
    for name, text, case in cases():
        if only not in name:
            continue
        count += 1
        path = work / f"{count}.ptx"
        path.write_text(text)
        if check:
            said = assemble(text)
            if said:
                print(f"{name}: {said}")
            failed += bool(said)
            continue
        complaints = harness.check(case, path, work / "run", ("round-robin",))
        for complaint in complaints:
            print(complaint)
        failed += bool(complaints)
    print(f"products: {count} cases, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
