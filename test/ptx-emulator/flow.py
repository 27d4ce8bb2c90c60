#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""flow.py WORKDIR [COUNT [FIRST]] [--check]: random control flow.

Programs of blocks that branch on what their thread has computed: forwards, backwards,
into the middle of loops, by tables, through functions, out of the kernel. Threads go
their ways alone and meet at barriers in the end; every thread's result is compared with
a walk through the same blocks in Python. --check gives the programs to ptxas."""

import pathlib
import random
import sys

import harness
import numpy as np
from compile import assemble

THREADS = 96
LOW = 0xFFFFFFFF
HEAD = """.version 8.0
.target sm_80
.address_size 64
.func (.param .b32 result) twist(.param .b32 value)
{
  .reg .pred %p;
  .reg .b32 %x, %n;
  ld.param.b32 %x, [value];
  and.b32 %n, %x, 3;
Again:
  setp.eq.u32 %p, %n, 0;
  @%p bra Out;
  mad.lo.u32 %x, %x, 1664525, 1013904223;
  sub.u32 %n, %n, 1;
  bra Again;
Out:
  st.param.b32 [result], %x;
  ret;
}
.visible .entry k(.param .u64 in, .param .u64 out)
{
  .reg .pred %p, %q;
  .reg .b32 %t, %x, %y, %left, %s;
  .reg .b64 %a, %o;
  .shared .align 4 .b8 meet[512];
  mov.u32 %t, %tid.x;
  mul.wide.u32 %o, %t, 4;
  ld.param.u64 %a, [in];
  add.s64 %a, %a, %o;
  ld.global.u32 %x, [%a];
  ld.param.u64 %a, [out];
  add.s64 %a, %a, %o;
  mov.u32 %left, STEPS;
  mov.u32 %s, meet;
  shl.b32 %y, %t, 2;
  add.u32 %s, %s, %y;
"""
# All that are left meet, and read what the next thread left before.
TAIL = """End:
  st.global.u32 [%a], %x;
  bar.warp.sync 0xffffffff;
  st.shared.u32 [%s], %x;
  bar.sync 0;
  xor.b32 %s, %s, 4;
  ld.shared.u32 %y, [%s];
  add.u32 %x, %x, %y;
  st.global.u32 [%a+384], %x;
  ret;
}
"""


def twist(x):
    for _ in range(x & 3):
        x = (x * 1664525 + 1013904223) & LOW
    return x


def program(seed):
    """Blocks: (multiplier, addend, calls, terminator). Terminators: ("go", to),
    ("if", bit, negated, then, else), ("table", shift, targets), ("leave", value)."""
    draw = random.Random(seed)
    count = draw.randint(3, 14)
    blocks = []
    for number in range(count):
        kind = draw.random()
        target = lambda: draw.randrange(count)
        if kind < 0.15:
            end = ("go", target())
        elif kind < 0.7:
            # Often on to the next block, as compilers lay code out.
            other = number + 1 if number + 1 < count and draw.random() < 0.7 else target()
            end = ("if", draw.randrange(32), draw.random() < 0.5, target(), other)
        elif kind < 0.85:
            end = ("table", draw.randrange(28), [target() for _ in range(4)])
        else:
            end = ("go", number + 1 if number + 1 < count else target())
        calls = draw.random() < 0.15
        blocks.append((draw.getrandbits(32) | 1, draw.getrandbits(32), calls, end))
    # One block may send away, in pairs so that nobody reads what was never stored.
    leave = draw.randrange(count) if draw.random() < 0.3 else None
    return blocks, draw.randint(5, 60), leave, draw.randrange(THREADS // 2)


def text(blocks, steps, leave, pair):
    lines = [HEAD.replace("STEPS", str(steps))]
    for number, (multiplier, addend, calls, end) in enumerate(blocks):
        lines.append(f"B{number}:")
        lines.append(f"  mad.lo.u32 %x, %x, {multiplier}, {addend};")
        if number == leave:
            lines.append(f"  shr.u32 %y, %t, 1;\n  setp.eq.u32 %q, %y, {pair};\n  @%q exit;")
        if calls:
            lines.append(
                "  {\n  .param .b32 in_, back;\n  st.param.b32 [in_], %x;\n"
                "  call (back), twist, (in_);\n  ld.param.b32 %x, [back];\n  }"
            )
        lines.append("  sub.u32 %left, %left, 1;\n  setp.eq.u32 %p, %left, 0;\n  @%p bra End;")
        onward = lambda to: [] if to == number + 1 else [f"  bra B{to};"]
        if end[0] == "go":
            lines += onward(end[1])
        elif end[0] == "if":
            _, bit, negated, then, other = end
            lines.append(f"  and.b32 %y, %x, {1 << bit};\n  setp.ne.u32 %p, %y, 0;")
            lines.append(f"  @{'!' * negated}%p bra B{then};")
            lines += onward(other)
        else:
            targets = ", ".join(f"B{to}" for to in end[2])
            lines.append(f"  shr.u32 %y, %x, {end[1]};\n  and.b32 %y, %y, 3;")
            lines.append(f"T{number}: .branchtargets {targets};\n  brx.idx %y, T{number};")
    return "\n".join(lines) + "\n" + TAIL


def walk(x, thread, blocks, steps, leave, pair):
    """What a thread computes; None when it leaves."""
    at = 0
    while True:
        multiplier, addend, calls, end = blocks[at]
        x = (x * multiplier + addend) & LOW
        if at == leave and thread // 2 == pair:
            return None
        if calls:
            x = twist(x)
        steps -= 1
        if not steps:
            return x
        if end[0] == "go":
            at = end[1]
        elif end[0] == "if":
            at = end[3] if bool(x >> end[1] & 1) != end[2] else end[4]
        else:
            at = end[2][x >> end[1] & 3]


def main():
    check = "--check" in sys.argv
    arguments = [x for x in sys.argv[1:] if x != "--check"]
    work = pathlib.Path(arguments[0])
    work.mkdir(parents=True, exist_ok=True)
    count, first = (int(x) for x in [*arguments[1:], *["60", "0"][len(arguments) - 1 :]])
    failed = 0
    for seed in range(first, first + count):
        parts = program(seed)
        source = text(*parts)
        path = work / f"{seed}.ptx"
        path.write_text(source)
        if check:
            said = assemble(source)
            print(said, end="")
            failed += bool(said)
            continue
        a = harness.integers(seed, np.uint32, THREADS)
        alone = [walk(x, t, *parts) for t, x in enumerate(a.tolist())]
        # Who walks alone leaves nothing to read: both of a pair leave, or none.
        for t, x in enumerate(alone):
            if x is None and alone[t ^ 1] is not None:
                alone = None
                break
        if alone is None:
            continue
        both = [None if x is None else x + alone[t ^ 1] for t, x in enumerate(alone)]
        expected = np.array([0xABCDABCD if x is None else x & LOW for x in alone + both], np.uint32)
        out = harness.Out(np.full(2 * THREADS, 0xABCDABCD, np.uint32), expected)
        case = harness.Case("k", [harness.In(a), out], block=(THREADS,), name=f"seed {seed}")
        complaints = harness.check(case, path, work / "run")
        for complaint in complaints:
            print(complaint)
        failed += bool(complaints)
        if not complaints:
            path.unlink()
    print(f"flow: {count} programs, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
