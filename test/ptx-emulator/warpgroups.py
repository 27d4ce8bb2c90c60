#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""warpgroups.py WORKDIR [TEXT] [--check]: every product of matrices that wgmma has, but
sparse ones; with TEXT those whose name has it.

Matrices lie in shared memory as the manual has it for a descriptor: rows of K or of M and
N, in all swizzles, with other bytes between.  Small integers come out exactly; numbers of
all kinds in the order of sums that docs/PtxEmulator.md states, bit for bit.  --check gives
the kernels to ptxas."""

import pathlib
import random
import re
import subprocess
import sys

import exact
import harness
import numpy as np
from compile import assemble
from exact import decode, encode, fma
from harness import Case, In, Out
from products import FORMATS, bits, draw_elements, value

sys.path.insert(0, str(harness.HERE / "references"))
from tensor import GROUP, MEMBER, places

HEAD = """.version 9.0
.target sm_90a
.address_size 64
"""
ROWS = 64
SWIZZLES = {"none": 0, "128B": 1, "64B": 2, "32B": 3}
CHUNKS = {"none": 1, "32B": 2, "64B": 4, "128B": 8}
FLOATS = [("f16", "f16", "f32"), ("f16", "f16", "f16"), ("bf16", "bf16", "f32"), ("tf32", "tf32", "f32")]
FLOATS += [(a, b, d) for a in ("e4m3", "e5m2") for b in ("e4m3", "e5m2") for d in ("f32", "f16")]
WHOLE = [(a, b, "s32") for a in ("s8", "u8") for b in ("s8", "u8")]


def columns(kind):
    """The N of a type."""
    if kind in ("s8", "u8"):
        return [8, 16, 24, *range(32, 257, 16)]
    return list(range(8, 257, 8))


def depth(kind):
    """K: 32 bytes."""
    return 256 // bits(kind)


class Place:
    """Where a matrix of `extent` rows of M or N and 32 bytes of K is: byte offsets of its
    elements, and its descriptor."""

    def __init__(self, kind, extent, major, swizzle, draw):
        size, chunks = bits(kind) // 8, CHUNKS[swizzle]
        mn, k = np.arange(extent)[:, None], np.arange(depth(kind))[None, :]
        atom = 128 * chunks
        self.swizzle = swizzle
        # The matrix begins at a slice of 32 bytes of K.
        slice = 0
        if major == "k":
            groups = extent // 8
            byte = k * size
            if swizzle == "none":
                apart = 16 * draw.randint(0, 2)
                leading, stride = draw.choice(((128 * groups + apart, 128), (128, 256 + apart)))
                offset = mn % 8 * 16 + mn // 8 * stride + byte // 16 * leading + byte % 16
            else:
                leading, stride = 16, atom * draw.choice((1, 2) if extent <= 64 else (1,))
                slice = 32 * draw.randrange(chunks // 2)
                offset = mn % 8 * 16 * chunks + mn // 8 * stride + byte + slice
        else:
            byte = mn * size
            if swizzle == "none":
                leading, stride = draw.choice(((128, 256), (128 * (extent // 8), 128), (144 * (extent // 8), 144)))
                offset = byte % 16 + byte // 16 * stride + k % 8 * 16 + k // 8 * leading
            else:
                wide = -(-extent * size // (16 * chunks))
                leading, stride = draw.choice(((2 * atom, atom), (atom, atom * wide)))
                offset = byte % (16 * chunks) + byte // (16 * chunks) * leading + k % 8 * 16 * chunks + k // 8 * stride
        self.start = slice
        self.offset = offset ^ (offset >> 7 & chunks - 1) << 4
        self.size = -(-(int(self.offset.max()) + size) // 2048) * 2048
        self.constant = (leading >> 4) << 16 | (stride >> 4) << 32 | SWIZZLES[swizzle] << 62

    def image(self, elements, kind, draw):
        """Bytes of shared memory; what is not of the matrix is anything."""
        width = bits(kind) // 8
        memory = np.frombuffer(draw.randbytes(self.size), np.uint8).copy()
        assert len(np.unique(self.offset)) == self.offset.size
        for byte in range(width):
            memory[self.offset + byte] = (elements >> (8 * byte) & 255).astype(np.uint8)
        return memory.view(np.uint32)


def sums_places(n, per):
    """(row, column) of every part of the accumulators: arrays [register, thread, part]."""
    r, part = np.arange(n // 2 // per)[:, None, None], np.arange(per)[None, None, :]
    thread = np.arange(128)[None, :, None]
    group, member = thread % 32 // 4, thread % 4
    row = 16 * (thread // 32) + group + 8 * (r // (2 // per) % 2)
    column = 8 * (r // (4 // per)) + 2 * member + (r % 2 if per == 1 else part)
    return np.broadcast_arrays(row, column, part)[:2]


def pack(matrix, row, column):
    parts = matrix[row, column]
    width = 32 // parts.shape[-1]
    return sum(parts[..., i] << (width * i) for i in range(parts.shape[-1])).astype(np.uint32)


def left_words(a, kind):
    """A in four registers of each thread."""
    row, column = places("a", 32 // bits(kind), 4)
    return np.concatenate([pack(a[16 * warp : 16 * warp + 16], row, column) for warp in range(4)], axis=1)


def small(kind, shape, draw):
    """Bits of small integers, and the integers."""
    low = 0 if kind == "u8" else -4
    numbers = np.array([[draw.randint(low, 4) for _ in range(shape[1])] for _ in range(shape[0])])
    if kind not in FORMATS:
        return (numbers & (1 << bits(kind)) - 1).astype(object), numbers
    form, shift = FORMATS[kind], 13 if kind == "tf32" else 0
    table = {x: encode(exact.number(int(x)), form) << shift for x in np.unique(numbers)}
    return np.vectorize(table.get, otypes=[object])(numbers), numbers


def exactly(a, b, c, kinds, scales):
    """Bits of the sums, in order."""
    first, second, sums = kinds
    left = [[value(first, x) for x in row] for row in a]
    right = [[value(second, x) for x in row] for row in b]
    out = np.zeros(c.shape, object)
    negative = scales[0] * scales[1] < 0
    for i, j in np.ndindex(*c.shape):
        total = value(sums, c[i, j])
        for x, y in zip(left[i], right[j]):
            x = x.negated() if negative else x
            total = decode(encode(fma(x, y, total), FORMATS["f32"]), FORMATS["f32"])
        out[i, j] = encode(total, FORMATS[sums])
    return out


def of_integers(numbers, sums, saturate):
    if sums == "s32":
        numbers = np.clip(numbers, -(2**31), 2**31 - 1) if saturate else numbers
        return (numbers & 0xFFFFFFFF).astype(object)
    table = {x: encode(exact.number(int(x)), FORMATS[sums]) for x in np.unique(numbers)}
    return np.vectorize(table.get, otypes=[object])(numbers)


def copy(name, to, words):
    return f"""
  ld.param.u64 %p, [{name}];
  mul.wide.u32 %q, %t, 16;
  add.u64 %p, %p, %q;
  mad.lo.u32 %i, %t, 16, %{to};
  add.u32 %end, %{to}, {4 * words};
Copy_{name}:
  ld.global.v4.b32 {{%x0, %x1, %x2, %x3}}, [%p];
  st.shared.v4.b32 [%i], {{%x0, %x1, %x2, %x3}};
  add.u64 %p, %p, 2048;
  add.u32 %i, %i, 2048;
  setp.lt.u32 %go, %i, %end;
  @%go bra Copy_{name};"""


def instruction(kinds, n, registers, majors, scales, mode=""):
    """wgmma with its operands."""
    first, second, sums = kinds
    count = n // 4 if sums == "f16" else n // 2
    d = ", ".join(f"%d{i}" for i in range(count))
    a = "{%a0, %a1, %a2, %a3}" if registers else "%left"
    more = ""
    if sums != "s32":
        more = f", {scales[0]}, {scales[1]}"
        if bits(first) == 16:
            more += f", {int(majors[0] != 'k')}" * (not registers) + f", {int(majors[1] != 'k')}"
    shape = f"m64n{n}k{depth(first)}"
    return f"wgmma.mma_async.sync.aligned.{shape}{mode}.{sums}.{first}.{second} {{{d}}}, {a}, %right, %p0{more};"


def product(kinds, n, registers=False, majors="kk", swizzles=("none", "none"), scales=(1, 1), keep=True, any=False, mode="", seed=0):
    """A case.  registers: A is in registers; keep: scale-d; any: numbers of all kinds."""
    first, second, sums = kinds
    draw = random.Random(f"{kinds} {n} {registers} {majors} {swizzles} {scales} {keep} {any} {mode} {seed}")
    k = depth(first)
    if any:
        a, b, c = (draw_elements(kind, draw.random(), s) for kind, s in zip(kinds, ((ROWS, k), (n, k), (ROWS, n))))
        if not keep:
            c = c * 0
        if sums == "s32":
            table = [np.array([[value(kind, x) for x in row] for row in m], object) for kind, m in zip(kinds, (a, b, c))]
            wanted = of_integers(table[0] @ table[1].T + table[2], sums, mode)
        else:
            wanted = exactly(a, b, c, kinds, scales)
    else:
        (a, left), (b, right), (c, start) = (small(kind, s, draw) for kind, s in zip(kinds, ((ROWS, k), (n, k), (ROWS, n))))
        wanted = of_integers(start * keep + scales[0] * scales[1] * (left @ right.T), sums, mode)
    places = [Place(kind, extent, major, swizzle, draw)
              for kind, extent, major, swizzle in zip(kinds, (ROWS, n), majors, swizzles)]  # fmt: skip
    inputs = [left_words(a, first) if registers else places[0].image(a, first, draw), places[1].image(b, second, draw)]
    row, column = sums_places(n, 2 if sums == "f16" else 1)
    result, before = pack(wanted, row, column), pack(c, row, column)
    count = len(result)
    room = 0 if registers else places[0].size
    lines = [HEAD + f"""
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)
  .reqntid 128
{{
  .reg .b32 %x<4>, %a<4>, %d<128>, %t, %i, %end, %ra, %rb;
  .reg .b64 %p, %q, %left, %right;
  .reg .pred %go, %p0;
  .shared .align 1024 .b8 room[{room + places[1].size}];
  mov.u32 %t, %tid.x;
  mov.u32 %ra, room;
  add.u32 %rb, %ra, {room};"""]  # fmt: skip
    if registers:
        lines.append("  ld.param.u64 %p, [a];\n  mul.wide.u32 %q, %t, 4;\n  add.u64 %p, %p, %q;")
        lines += [f"  ld.global.b32 %a{i}, [%p+{512 * i}];" for i in range(4)]
    else:
        lines.append(copy("a", "ra", len(inputs[0])))
    lines.append(copy("b", "rb", len(inputs[1])))
    if keep:
        lines.append("  ld.param.u64 %p, [c];\n  mul.wide.u32 %q, %t, 4;\n  add.u64 %p, %p, %q;")
        lines += [f"  ld.global.b32 %d{i}, [%p+{512 * i}];" for i in range(count)]
    for name, base, place in (("left", "ra", places[0]), ("right", "rb", places[1])):
        lines.append(f"  add.u32 %i, %{base}, {place.start};\n  shr.u32 %i, %i, 4;\n  cvt.u64.u32 %{name}, %i;")
        lines.append(f"  or.b64 %{name}, %{name}, {place.constant:#x};")
    # Two ways to say whether sums begin with what is there.
    lines.append(f"  setp.{'ge' if keep else 'lt'}.u32 %p0, %t, 0;")
    lines.append("  fence.proxy.async.shared::cta;\n  bar.sync 0;\n  wgmma.fence.sync.aligned;")
    lines.append("  " + instruction(kinds, n, registers, majors, scales, mode))
    lines.append("  wgmma.commit_group.sync.aligned;\n  wgmma.wait_group.sync.aligned 0;")
    lines.append("  ld.param.u64 %p, [d];\n  mul.wide.u32 %q, %t, 4;\n  add.u64 %p, %p, %q;")
    lines += [f"  st.global.b32 [%p+{512 * i}], %d{i};" for i in range(count)]
    where = "registers" if registers else f"{majors[0]} {swizzles[0]}"
    name = f"n{n}{mode}.{'.'.join(reversed(kinds))} {where}, {majors[1]} {swizzles[1]}" + ", any numbers" * any
    name += f", {scales}" * (scales != (1, 1)) + ", fresh" * (not keep)

    def compare(got):
        wrong = np.argwhere(got != result)
        if not len(wrong):
            return None
        r, thread = wrong[0]
        return f"{len(wrong)} differ, first register {r} of thread {thread}: {got[r, thread]:#x}, should be {result[r, thread]:#x}"

    out = Out(np.zeros_like(result), compare)
    case = Case("k", [*map(In, inputs), In(before), out], block=(128,), name=name)
    return name, "\n".join(lines) + "\n  ret;\n}\n", case


def all_shapes():
    """One text with each shape and type, which is only read."""
    lines = [HEAD]
    for number, kinds in enumerate(FLOATS + WHOLE):
        lines.append(f".visible .entry k{number}()\n  .reqntid 128\n{{")
        lines.append("  .reg .b32 %a<4>, %d<128>;\n  .reg .b64 %left, %right;\n  .reg .pred %p0;")
        for n in columns(kinds[0]):
            for registers in (False, True):
                modes = ("", ".satfinite") if kinds[2] == "s32" else ("",)
                lines += ["  " + instruction(kinds, n, registers, "kk", (1, -1), mode) for mode in modes]
        lines.append("  ret;\n}")
    return "\n".join(lines) + "\n"


def cases():
    for number, kinds in enumerate(FLOATS + WHOLE):
        whole = kinds[2] == "s32"
        wide = columns(kinds[0])
        # All swizzles, and A in registers.
        for turn, swizzle in enumerate(SWIZZLES):
            other = list(SWIZZLES)[(turn + number) % 4]
            yield product(kinds, wide[(5 * number + 7 * turn) % len(wide)], swizzles=(swizzle, other))
        yield product(kinds, wide[(11 * number) % len(wide)], True, swizzles=("none", list(SWIZZLES)[number % 4]))
        # Every type once at its widest, and with nothing to begin with.
        yield product(kinds, 256, number % 2 == 1, swizzles=("128B", "128B"))
        yield product(kinds, 16, number % 2 == 0, keep=False, swizzles=("32B", "64B"))
        # Sums that round, or wrap, or are infinite.
        yield product(kinds, 8, any=True)
        yield product(kinds, 16, True, any=True, scales=(1, 1) if whole else (-1, 1), mode=".satfinite" * whole)
        if not whole:
            for scales in ((-1, 1), (1, -1), (-1, -1)):
                yield product(kinds, 24, scales == (1, -1), scales=scales, swizzles=("64B", "32B"))
    # Every N.
    for n in columns("bf16"):
        yield product(("bf16", "bf16", "f32"), n, swizzles=("128B", list(SWIZZLES)[n // 8 % 4]), seed=1)
    for n in columns("s8"):
        yield product(("u8", "s8", "s32"), n, n % 32 == 0, swizzles=("128B", "128B"), seed=1)
    # Rows of M and N, for 16 bits.
    for number, majors in enumerate(("mk", "kn", "mn")):
        for turn, swizzle in enumerate(SWIZZLES):
            other = list(SWIZZLES)[(turn + number) % 4]
            for kinds in FLOATS[:3]:
                n = 8 * random.Random(f"{majors} {swizzle} {kinds}").randint(1, 32)
                yield product(kinds, n, majors=majors, swizzles=(swizzle, other), scales=(1, -1) if turn % 2 else (1, 1))
    for swizzle in SWIZZLES:
        yield product(("bf16", "bf16", "f32"), 136, True, "kn", ("none", swizzle))


def main():
    check = "--check" in sys.argv
    arguments = [x for x in sys.argv[1:] if x != "--check"]
    work, only = pathlib.Path(arguments[0]), "".join(arguments[1:])
    work.mkdir(parents=True, exist_ok=True)
    path = work / "all.ptx"
    path.write_text(all_shapes())
    said = assemble(all_shapes()) if check else subprocess.run(
        ["ptx-emulator", path, "--check"], capture_output=True, text=True
    ).stderr  # fmt: skip
    print(said, end="")
    count, failed = 1, int(bool(said))
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
    print(f"warpgroups: {count} cases, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
