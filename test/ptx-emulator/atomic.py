#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""atomic.py WORKDIR [--check]: atom and red of every operation, type, vector and space.

What ptxas takes is run by 32 threads on one place, and every old value and the last
one are compared; of the rest, a sample must be refused.  --check gives all to ptxas."""

import itertools
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import exact
import harness
import numpy as np
from exact import BF16, F16, F32, F64, decode, encode
from harness import Case, In, Out

OPERATIONS = ("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")
FORMATS = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64}
# Register and bytes of each type.
TYPES = {
    **dict.fromkeys(("b8", "u8", "s8"), ("h", 1)),
    **dict.fromkeys(("b16", "u16", "s16", "f16", "bf16"), ("h", 2)),
    **dict.fromkeys(("b32", "u32", "s32", "f16x2", "bf16x2", "u16x2"), ("x", 4)),
    **dict.fromkeys(("b64", "u64", "s64", "f32x2"), ("a", 8)),
    "f32": ("f", 4),
    "f64": ("d", 8),
    "b128": ("w", 16),
}
# The same as the table in Atomic.cpp, by operation.
SCALARS = {
    "add": "u32 s32 u64 f32 f64 f16 f16x2 bf16 bf16x2",
    **dict.fromkeys(("min", "max"), "u32 s32 u64 s64"),
    **dict.fromkeys(("and", "or", "xor"), "b32 b64"),
    "exch": "b32 b64 b128",
    "cas": "b16 b32 b64 b128",
    **dict.fromkeys(("inc", "dec"), "u32"),
}
HEAD = """.version 9.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 start, .param .u64 b, .param .u64 c, .param .u64 old, .param .u64 last)
{
  .reg .pred %p;
  .reg .b16 %h<32>;
  .reg .b32 %x<32>, %t, %s;
  .reg .b64 %a<32>, %cell, %from, %to, %o;
  .reg .b128 %w<32>;
  .reg .f32 %f<32>;
  .reg .f64 %d<32>;
  .shared .align 16 .b8 shared[32];
"""


def is_half(kind):
    return "f16" in kind


def legal(operation, kind, count, space):
    if count == 1:
        return kind in SCALARS[operation].split()
    if space == "shared" or operation not in ("add", "min", "max"):
        return False
    return kind == "f32" and operation == "add" and count < 8 or is_half(kind) and count * TYPES[kind][1] <= 16


def combinations():
    """(atom or red, operation, type, elements, space, whether .noftz is there)."""
    spaces = ("", "global", "shared")
    for row in itertools.product(("atom", "red"), OPERATIONS, TYPES, (1, 2, 4, 8), spaces, (False, True)):
        if row[5] and not is_half(row[2]) and row[2] not in ("f32", "b32"):
            continue
        yield row


def is_legal(opcode, operation, kind, count, space, noftz):
    return legal(operation, kind, count, space) and noftz == is_half(kind) and not (opcode == "red" and operation in ("exch", "cas"))


def spell(opcode, operation, kind, count, space, noftz):
    """The instruction: results 0.., operands 8.., 16.. ."""
    register = TYPES[kind][0]

    def vector(first):
        names = [f"%{register}{first + i}" for i in range(count)]
        return names[0] if count == 1 else "{" + ", ".join(names) + "}"

    name = ".".join(filter(None, (opcode, space, operation, "noftz" if noftz else "", f"v{count}" if count > 1 else "", kind)))
    operands = [vector(0)] if opcode == "atom" else []
    operands += ["[%s]" if space == "shared" else "[%cell]", vector(8)]
    operands += [vector(16)] if operation == "cas" else []
    return f"  {name} {', '.join(operands)};"


def kernel(row):
    """Thread 0 sets the cell in its space; all act; thread 0 copies it out."""
    opcode, operation, kind, count, space, _ = row
    register, size = TYPES[kind]
    bytes_ = size * count
    lines = [HEAD, "  mov.u32 %t, %tid.x;", "  setp.eq.u32 %p, %t, 0;", "  mov.u32 %s, shared;"]
    lines += [f"  ld.param.u64 %{r}, [{p}];" for r, p in (("cell", "start"), ("to", "last"))]
    load = lambda to, i, at: f"  ld{at[0]}.b{8 * size} %{register}{to}, [{at[1]}+{i * size}];"
    store = lambda frm, i, at: f"  st{at[0]}.b{8 * size} [{at[1]}+{i * size}], %{register}{frm};"
    shared = (".shared", "%s")
    if space == "shared":
        for i in range(count):
            lines += [f"  @%p {load(24, i, ('.global', '%cell')).strip()}", f"  @%p {store(24, i, shared).strip()}"]
        lines.append("  bar.sync 0;")
    for name, first in (("b", 8), ("c", 16)):
        lines += [f"  ld.param.u64 %from, [{name}];", f"  mul.wide.u32 %o, %t, {bytes_};", "  add.s64 %from, %from, %o;"]
        lines += [load(first + i, i, (".global", "%from")) for i in range(count)]
    lines.append(spell(*row))
    lines += ["  ld.param.u64 %from, [old];", "  add.s64 %from, %from, %o;"]
    if opcode == "atom":
        lines += [store(i, i, (".global", "%from")) for i in range(count)]
    lines.append("  bar.sync 0;")
    for i in range(count):
        where = shared if space == "shared" else (".global", "%cell")
        lines += [f"  @%p {load(24, i, where).strip()}", f"  @%p {store(24, i, ('.global', '%to')).strip()}"]
    return "\n".join(lines) + "\n  ret;\n}\n"


def draw_element(draw, kind, near):
    """Bits of an operand. near: integers that compare and count near each other."""
    form = FORMATS.get(kind)
    width = 8 * TYPES[kind][1]
    if kind in ("f16x2", "bf16x2"):
        return draw_element(draw, kind[:-2], near) << 16 | draw_element(draw, kind[:-2], near)
    if form:
        keep = ~(((1 << form.exponent) - 1) << form.fraction)
        return draw.getrandbits(form.width) & keep | form.bias + draw.randint(-3, 3) << form.fraction
    return draw.randrange(4) if near else draw.getrandbits(width)


def update(operation, kind, old, b, c):
    """Bits of the new value."""
    width = 8 * TYPES[kind][1]
    if kind in ("f16x2", "bf16x2"):
        halves = [update(operation, kind[:-2], old >> s & 0xFFFF, b >> s & 0xFFFF, 0) for s in (0, 16)]
        return halves[1] << 16 | halves[0]
    if kind in FORMATS:
        form = FORMATS[kind]
        how = {"add": exact.add, "min": exact.smaller, "max": exact.larger}[operation]
        return encode(how(decode(old, form), decode(b, form)), form)
    value = (lambda x: exact.signed(x, width)) if kind[0] == "s" else int
    one, other = value(old), value(b)
    return {
        "add": one + other,
        "min": min(one, other),
        "max": max(one, other),
        "and": old & b,
        "or": old | b,
        "xor": old ^ b,
        "exch": b,
        "cas": c if old == b else old,
        "inc": 0 if old >= b else old + 1,
        "dec": b if old == 0 or old > b else old - 1,
    }[operation] & (1 << width) - 1


def case(row):
    opcode, operation, kind, count, _, _ = row
    size = TYPES[kind][1]
    draw = random.Random("".join(map(str, row)))
    near = operation in ("cas", "inc", "dec")
    cells = [draw_element(draw, kind, near) for _ in range(count)]
    b, c = ([[draw_element(draw, kind, near) for _ in range(count)] for _ in range(32)] for _ in "bc")
    pack = lambda rows: np.frombuffer(b"".join(x.to_bytes(size, "little") for x in rows), np.uint8)
    flat = lambda rows: [x for each in rows for x in each]
    start, old = pack(cells), []
    for lane in range(32):
        old.append(list(cells))
        cells = [update(operation, kind, *each) for each in zip(cells, b[lane], c[lane])]
    blank = np.zeros(32 * size * count, np.uint8)
    wanted = pack(flat(old)) if opcode == "atom" else blank
    arguments = [In(start), In(pack(flat(b))), In(pack(flat(c))), Out(blank, wanted), Out(blank[: size * count], pack(cells))]
    return Case("k", arguments, name=spell(*row).strip())


def refuse(work, row):
    """What is wrong about a run of a text that is not PTX, or None."""
    path = work / "refused.ptx"
    path.write_text(HEAD + spell(*row) + "\n  ret;\n}\n")
    done = subprocess.run(["ptx-emulator", path, "--check"], capture_output=True, text=True)
    line = HEAD.count("\n") + 1
    return None if done.returncode == 1 and f":{line}: " in done.stderr else f"exit {done.returncode}: {done.stderr.strip()!r}"


def ask_ptxas(rows):
    """The rows that it does not take: one text, of which it names all wrong lines."""
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "in.ptx"
        path.write_text(HEAD + "\n".join(spell(*row) for row in rows) + "\n  ret;\n}\n")
        done = subprocess.run(["ptxas", "-arch", "sm_90", "-o", path.with_suffix(".cubin"), path], capture_output=True, text=True)
    first = HEAD.count("\n") + 1
    wrong = {int(line) - first for line in re.findall(r", line (\d+); error", done.stdout + done.stderr)}
    return [row for number, row in enumerate(rows) if number in wrong]


def main():
    check = "--check" in sys.argv
    rows = list(combinations())
    taken = [row for row in rows if is_legal(*row)]
    others = [row for row in rows if not is_legal(*row)]
    failed = []
    if check:
        failed += [f"{spell(*row)} is refused" for row in ask_ptxas(taken)]
        refused = set(ask_ptxas(others))
        failed += [f"{spell(*row)} is taken" for row in others if row not in refused]
    else:
        work = pathlib.Path(sys.argv[1])
        work.mkdir(parents=True, exist_ok=True)
        for row in taken:
            (work / "k.ptx").write_text(kernel(row))
            failed += map(str, harness.check(case(row), work / "k.ptx", work / "run", ("round-robin",)))
        others = random.Random(1).sample(others, 600)
        failed += [f"{spell(*row)}: {what}" for row in others if (what := refuse(work, row))]
    for each in failed:
        print(each)
    print(f"atomic: {len(taken)} legal, {len(others)} illegal, {len(failed)} failed")
    return 1 if failed or not taken or not others else 0


if __name__ == "__main__":
    sys.exit(main())
