#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""faults.py barriers|waits|pointers|buffers|registers|proxies|phases|transactions|
          groups|warpgroups WORKDIR [KERNEL]

Takes the PTX of legal kernels, spoils it in one place, and demands that the emulator
says so: exit 1 and one line `error: KERNEL:LINE: block (x,y,z) thread (x,y,z): what`
of the kind that the place calls for.

barriers   removes each barrier of the block or of a warp: a race, or undefined values
waits      removes each wait for asynchronous copies, or lets one more group pend
pointers   moves each address by one byte, and by far
buffers    makes each buffer an element shorter
proxies    removes each fence between stores and the asynchronous proxy
phases     skips each wait for an mbarrier, or waits for the other phase; removes each
           arrival, and each barrier's initialisation, or counts one more or less
transactions   expects 16 bytes more or less, or none
groups     removes each wait for bulk copies, or lets one more group pend, or does not
           commit
warpgroups removes each fence, wait and commit of wgmma, or lets one more group pend
registers  removes instructions that define a register: an undefined value, or else
           results that are still right (what was removed did not matter)"""

import dataclasses
import importlib
import pathlib
import random
import re
import sys

import harness

sys.path.insert(0, str(harness.HERE / "references"))

FAULT = re.compile(r"error: (\w+):(\d+): block \(\d+,\d+,\d+\) thread \(\d+,\d+,\d+\): (.*)\n")
RACE = "race|undefined|never written|asynchronous|deadlock"
# Of mbarriers: nobody comes, or somebody too early.
EARLY = "deadlock|race|undefined|asynchronous copy|before the wait|divergence"
SPIN = "more than 1000000 operations"
BARRIER = r"\s*(?:@!?%\w+ )?(?:bar|barrier)\.(?:warp\.)?sync\b.*;"

THEMES = {
    "barriers": {"barriers": None, "blocks": None, "memory": None, "rows": None, "copies": None, "matmul": None,
                 "tensor": ("ldmatrix_x1", "ldmatrix_x4_trans"), "atomics": None},
    "waits": {"copies": None, "matmul": ("matmul_bf16",)},
    "pointers": {"memory": None, "barriers": ("ring", "transpose"), "atomics": ("integers_u32", "floats"),
                 "copies": ("sizes", "groups"), "rows": ("softmax", "rmsnorm_bf16"), "tensor": ("ldmatrix_x4",),
                 "control": ("insertion_sort",), "mbarrier": ("invalidated", "counts", "ring", "own_cluster"),
                 "bulk": ("rows", "stream", "round_trip", "within", "reduce_add_u32", "hints"), "hopper": ("persistent",)},
    "buffers": {"memory": None, "barriers": None, "copies": None, "matmul": None, "rows": None, "tensor": None,
                "blocks": ("reduce", "scan", "look_back", "last_block"), "control": None, "integer": None,
                "mbarrier": None, "bulk": ("load", "rows", "stream", "stored_before", "store", "groups", "within", "reduce_add_u64", "transpose", "move"),
                "wgmma": None, "hopper": None},
    "registers": {"control": ("nested", "half_warps", "insertion_sort", "dense_switch"),
                  "barriers": ("ring", "producers"), "blocks": ("reduce", "scan", "look_back"),
                  "memory": ("shared_memory", "generic"), "matmul": ("matmul_bf16", "matmul_f32"),
                  "rows": ("top_k", "layernorm"), "copies": ("zero_fill",),
                  "calls": ("structures",), "atomics": ("exchanges",), "tensor": ("mma_bf16_k16", "ldmatrix_x4")},
    "proxies": {"bulk": None, "wgmma": None, "hopper": None},
    "phases": {"mbarrier": ("invalidated", "crowd", "counts", "leaving", "ring", "ring_of_leaders", "copied", "fences"),
               "bulk": ("load", "rows", "stream", "round_trip", "within", "load_2d", "transpose", "move"),
               "wgmma": ("one_group", "pipelined"), "hopper": None},
    "transactions": {"mbarrier": ("own_cluster",), "bulk": ("load", "rows", "stream", "round_trip", "within", "load_3d", "transpose", "move"),
                     "wgmma": None, "hopper": None},
    "groups": {"bulk": ("store", "groups", "round_trip", "reduce_add_u32", "store_2d", "tensor_min", "transpose", "move", "hints"),
               "hopper": None},
    "warpgroups": {"wgmma": None, "hopper": None},
}

# (mode, kernel, number of the place in it): why the program is legal without it.
LEGAL = {
    ("barriers", "ring_single", 7): "the last one: nothing is stored after it",
    ("barriers", "named_halves", 10): "each half has just met, and stores where itself has read",
    ("barriers", "leavers", 1): "the words read after it were stored before the first one",
    ("barriers", "warp_exchange", 12): "the whole warp meets next",
    ("barriers", "reduce_tree", 11): "lane 0 reads what itself has stored",
    ("barriers", "scan_sweeps", 2): "the last step stores what its thread reads",
    ("barriers", "look_back", 2): "of two warps' sums the first, which is read, is stored again with its value",
    ("barriers", "spin_lock", 0): "only one lane of each warp touches memory",
    ("barriers", "softmax", 0): "the first reduction: its memory was not used before",
    ("barriers", "softmax", 2): "the first reduction of sums: its memory was not used before",
    ("barriers", "layernorm", 0): "the first reduction: its memory was not used before",
    ("barriers", "rmsnorm_bf16", 0): "the first reduction: its memory was not used before",
    ("groups", "groups", 10): "the last one: its source is not stored to again",
    ("groups", "groups", 11): "the last one: its source is not stored to again",
    ("groups", "groups", 15): "the group that is left is an empty one",
    **{("warpgroups", "one_by_one", n): "the sums go on in a product of the same shape" for n in range(1, 13)},
    ("phases", "invalidated", 1): "nobody waits for the first mbarrier",
    ("phases", "invalidated", 3): "nobody waits for the first mbarrier",
    ("phases", "copied", 4): "the arrival after the next copies stands for these too",
    ("buffers", "zero_fill", 0): "the last thread copies 12 of its 16 bytes",
    ("buffers", "load", 0): "no piece has the last byte",
    ("buffers", "leavers", 0): "the last thread leaves before it reads",
    ("buffers", "subset", 0): "the last lane belongs to none of the groups that read",
}

# Places left out: wrong, but by no fault that can be seen.
SILENT = {
    ("barriers", "volatile_flags", 0): "all accesses to the flag are volatile: no race, but it may be lost",
    ("transactions", "own_cluster", 3): "bytes that come after the last arrival count for the next phase",
    ("transactions", "own_cluster", 4): "bytes that come after the last arrival count for the next phase",
    ("phases", "invalidated", 7): "one thread may be late, and it is not the one that is waited for",
    ("phases", "attention", 8): "three of four warps that have waited for a product of all four",
    ("phases", "attention", 14): "three of four warps that have waited for a product of all four",
    ("phases", "persistent", 5): "one of 128 arrivals may be late, of threads that have waited together",
    ("phases", "persistent", 11): "one of 128 arrivals may be late, of threads that have waited together",
}


def body(lines, kernel):
    """Numbers of the lines of a kernel."""
    start = next(k for k, line in enumerate(lines) if re.search(rf"\.entry {kernel}\b", line))
    end = next(k for k in range(start, len(lines)) if lines[k].startswith("}"))
    return range(start, end)


def barriers(lines, where):
    for k in where:
        if re.fullmatch(BARRIER, lines[k]):
            yield k, "", RACE


def waits(lines, where):
    for k in where:
        match = re.fullmatch(r"(\s*cp\.async\.wait_group )(\d+);", lines[k])
        if match:
            yield k, f"{match[1]}{int(match[2]) + 1};", RACE
        if match or re.fullmatch(r"\s*cp\.async\.wait_all;", lines[k]):
            yield k, "", RACE


def proxies(lines, where):
    for k in where:
        if re.match(r"\s*fence\.proxy\.async", lines[k]):
            yield k, "", r"fence\.proxy\.async"


def phases(lines, where):
    for k in where:
        match = re.fullmatch(r"(\s*)(mbarrier\.t\w+_wait\S*) (%\w+), (\[.*\]), ([^,;]+)(.*);", lines[k])
        if match:
            indent, name, done, at, which, rest = match.groups()
            yield k, f"{indent}setp.eq.u32 {done}, 0, 0;", EARLY
            if ".parity" in name:
                other = f".reg .b32 %other; xor.b32 %other, {which}, 1; {name} {done}, {at}, %other{rest};"
                yield k, f"{indent}{{ {other} }}", EARLY
        elif re.match(r"\s*mbarrier\.(init|inval)", lines[k]):
            yield k, "", "no mbarrier|an mbarrier is used as memory"
            match = re.fullmatch(r"(\s*)(mbarrier\.init\S* \[.*\], )(%?\w+);", lines[k])
            for change in (1, -1) if match else ():
                other = f".reg .b32 %other; add.u32 %other, {match[3]}, {change}; {match[2]}%other;"
                yield k, f"{match[1]}{{ {other} }}", EARLY + "|a count of|arrivals at"
        elif re.match(r"\s*(mbarrier|cp\.async\.mbarrier)\.arrive", lines[k]):
            yield k, "", EARLY


def transactions(lines, where):
    for k in where:
        match = re.fullmatch(r"(\s*)(mbarrier\.\S*expect_tx\S* )((?:_|%\w+), )?(\[.*\]), (%?\w+);", lines[k])
        if match:
            indent, name, state, at, bytes = match.groups()
            for change in (16, -16):
                other = f".reg .b32 %other; add.u32 %other, {bytes}, {change}; {name}{state or ''}{at}, %other;"
                yield k, f"{indent}{{ {other} }}", EARLY
            if state:
                yield k, f"{indent}{name.replace('.expect_tx', '')}{state}{at};", EARLY


def groups(lines, where):
    for k in where:
        match = re.fullmatch(r"(\s*cp\.async\.bulk\.wait_group(?:\.read)? )(\d+);", lines[k])
        if match:
            yield k, f"{match[1]}{int(match[2]) + 1};", "before the copy was waited for|may still (read|write)"
        if match or re.match(r"\s*cp\.async\.bulk\.commit_group", lines[k]):
            yield k, "", "before the copy was waited for|may still (read|write)"


def warpgroups(lines, where):
    for k in where:
        match = re.fullmatch(r"(\s*wgmma\.wait_group\.sync\.aligned )(\d+);", lines[k])
        if match:
            yield k, f"{match[1]}{int(match[2]) + 1};", "before the wait|before the copy|undefined|never written|race"
        if match or re.match(r"\s*wgmma\.commit_group", lines[k]):
            yield k, "", "before the wait|before the copy|undefined|never written|race"
        if re.match(r"\s*wgmma\.fence", lines[k]):
            yield k, "", r"wgmma\.fence"


def size_of(line):
    """Bytes that one address of an access must be aligned to, or None."""
    if re.match(r"\s*mbarrier\.", line):
        return 8
    if re.match(r"\s*cp(\.reduce)?\.async\.bulk(?!\.prefetch)\S* ", line):
        return 16
    match = re.match(r"\s*(?:@!?%\w+ )?(ld|st|atom|red|cp\.async\.c[ag]|ldmatrix)\.(.*?)\s", line)
    if not match or ".param" in match[2]:
        return None
    if match[1] == "ldmatrix":
        return 16
    if match[1].startswith("cp"):
        return int(re.search(r"\], (\d+)", line)[1])
    bits = re.search(r"\.[busf](\d+)(?:x2)?$", match[2].rstrip())
    vector = re.search(r"\.v(\d)", match[2])
    return int(bits[1]) // 8 * int(vector[1] if vector else 1) if bits else None


def pointers(lines, where):
    for k in where:
        size = size_of(lines[k])
        if not size:
            continue
        for place in re.finditer(r"\[(%\w+)(\+-?\d+)?\]", lines[k]):
            offset = int(place[2] or 0)
            moves = [(1 << 28, "outside|beyond|null")] + ([(1, "align")] if size > 1 else [])
            for by, kind in moves:
                yield k, lines[k][: place.start()] + f"[{place[1]}+{offset + by}]" + lines[k][place.end() :], kind


def registers(lines, where):
    # Of registers with one definition: without one of several a loop may never end.
    defined = {}
    for k in where:
        match = re.match(r"\s+(?:@!?%\w+ )?(?!st|red|atom|bar|call|ret|bra|cp)[a-z][\w.:]+\s+\{?(%\w+)\b", lines[k])
        if match:
            defined.setdefault(match[1], []).append(k)
    found = [at[0] for at in defined.values() if len(at) == 1 and re.fullmatch(r"\s+[a-z].*;", lines[at[0]])]
    for k in sorted(random.Random(1).sample(found, min(len(found), 30))):
        yield k, "", "undefined"


def short(case):
    """The case with each buffer an element shorter."""
    for number, argument in enumerate(case.arguments):
        if isinstance(argument, harness.Tensor):
            # The map says what it said.
            arguments = list(case.arguments)
            shape = {"dims": argument.dims or argument.data.shape[::-1], "strides": argument.data.strides[::-1][1:]}
            expected = None if argument.expected is None else lambda got: None
            arguments[number] = dataclasses.replace(argument, data=argument.data.reshape(-1)[:-1], expected=expected, **shape)
            yield number, harness.Case(**{**vars(case), "arguments": arguments})
        elif not isinstance(argument, harness.Scalar):
            if isinstance(argument, harness.Out) and not callable(argument.expected):
                # The last element may be one that is never written.
                last, before = (harness.raw(x).reshape(-1)[-1] for x in (argument.expected, argument.data))
                if last == before:
                    continue
            arguments = list(case.arguments)
            flat = argument.data.reshape(-1)[:-1]
            is_in = isinstance(argument, harness.In)
            arguments[number] = harness.In(flat) if is_in else harness.Out(flat, lambda got: None)
            yield number, harness.Case(**{**vars(case), "arguments": arguments})


def judge(case, path, work, kind, may_be_right, schedule):
    """What is wrong with how the emulator takes a spoilt kernel, or None."""
    flags = ("--check-global-races", "--max-steps", "1000000")
    complaints = harness.check(case, path, work, (schedule,), *flags)
    if not complaints:
        return None if may_be_right else "nothing is reported, and the results are right"
    if complaints[0].status == 0:
        return f"nothing is reported, and the results are wrong: {complaints[0]}"
    if kind.startswith(EARLY) and re.search(SPIN, complaints[0].error):
        return None  # Threads that test an mbarrier in a loop do not count as waiting.
    match = FAULT.fullmatch(complaints[0].error)
    if complaints[0].status != 1 or not match:
        return f"no fault in one line: exit {complaints[0].status}: {complaints[0].error.strip()!r}"
    return None if re.search(kind, match[3], re.I) else f"another kind than {kind!r}: {match[0].strip()}"


def main():
    what, work = sys.argv[1], pathlib.Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    failed = count = 0
    for theme, chosen in THEMES[what].items():
        # Of several cases of a kernel the last, which does most.
        for case in {case.kernel: case for case in importlib.import_module(theme).cases()}.values():
            if chosen and case.kernel not in chosen or sys.argv[3:] and case.kernel not in sys.argv[3:]:
                continue
            path = harness.HERE / "kernels" / (case.ptx[0] if case.ptx else f"{theme}.ptx")
            lines = path.read_text().split("\n")
            if what == "buffers":
                spoilt = [(f"argument {n}", c, path, "outside|beyond") for n, c in short(case)]
            else:
                spoilt = []
                for number, (k, line, kind) in enumerate(globals()[what](lines, body(lines, case.kernel))):
                    to = work / f"{case.kernel}-{number}.ptx"
                    to.write_text("\n".join([*lines[:k], line, *lines[k + 1 :]]))
                    spoilt.append((f"{number}, line {k + 1} {lines[k].strip()!r} -> {line.strip()!r}", case, to, kind))
            for number, (where, changed, to, kind) in enumerate(spoilt):
                if (what, case.kernel, number) in SILENT:
                    continue
                count += 1
                for schedule in harness.SCHEDULES[: 1 if what in ("pointers", "buffers", "registers") else 4]:
                    complaint = judge(changed, to, work / "run", kind, what == "registers", schedule)
                    if (what, case.kernel, number) in LEGAL:
                        right = "nothing is reported, and the results are right"
                        complaint = None if complaint == right else complaint or "reported, but it is listed as legal"
                    if complaint:
                        break
                if complaint:
                    failed += 1
                    print(f"{path.name} {case.kernel} {case.name} {schedule}: {where}: {complaint}")
                elif what != "buffers":
                    to.unlink()
    print(f"{what}: {count} places, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
