#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""bodies.py [hopper-]faults|legal|refused|accepted [WORKDIR] [--check] [--only TEXT]

Small kernels of Inputs/ (hopper-: of sm_90a), each under every schedule: faults must be reported where they
are marked, refused text before it runs, and the others must run and give what they say.
With --check they are given to ptxas instead: it must take all but the refused."""

import argparse
import pathlib
import re
import sys

import harness
import numpy as np
from compile import assemble

INPUTS = harness.HERE / "Inputs"
OPTION = r" (?:block|grid|shared|buffers|steps) \d+| global| undefined| target \w+| version [\d.]+| module"
FAULT = re.compile(r"error: k:(\d+): (block \(\d+,\d+,\d+\) thread \(\d+,\d+,\d+\): .*)\n")


def cases(kind):
    """Yields (name, options, text)."""
    prologue = (INPUTS / ("hopper-prologue.ptx" if kind.startswith("hopper") else "prologue.ptx")).read_text()
    for part in re.split(r"^//- ", (INPUTS / f"{kind}.ptx").read_text(), flags=re.M)[1:]:
        head, body = part.split("\n", 1)
        name, options = re.match(rf"(.*?)((?:{OPTION})*)$", head).groups()
        options = dict(f"{option} ".split(" ")[1:3] for option in re.findall(OPTION, options))
        text = body if "module" in options else prologue + body
        text = text.replace(".target sm_80", f".target {options.get('target', 'sm_80')}")
        text = text.replace(".version 8.0", f".version {options.get('version', '8.0')}")
        yield name, options, text


def marks(text, word):
    """Numbers of the marked lines, with what stands after the mark."""
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        match = re.search(rf"// {word}:? ?(.*)$", line)
        if match:
            found[number] = match[1].strip()
    return found


def run(text, options, work, schedule, maps):
    """maps: tensor maps of both buffers, rows of 16 words in boxes of 4 rows, are parameters too."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "k.ptx").write_text(text)
    words = int(options.get("buffers", 256))
    outs = harness.Out(np.zeros(words, np.uint32), None)
    first = harness.In(np.arange(words, dtype=np.uint32))
    rows = np.zeros((16, 16), np.uint32)
    tensors = [harness.Tensor(rows, "u32", (16, 4), of=number) for number in range(2) if maps]
    case = harness.Case(
        "k",
        [harness.Scalar("undefined", 4 * words) if "undefined" in options else first, outs, *tensors],
        grid=(int(options.get("grid", 1)),),
        block=(int(options.get("block", 64)),),
        shared=int(options.get("shared", 0)),
    )
    description = harness.launch(case, work)
    (work / "1.out.npy").unlink(missing_ok=True)
    flags = ["--check-global-races"] if "global" in options else []
    flags += ["--max-steps", options["steps"]] if "steps" in options else []
    return harness.emulate(work / "k.ptx", description, work, "--schedule", schedule, *flags)


def complain_fault(text, status, error, _):
    wanted = marks(text, "error")
    match = FAULT.fullmatch(error)
    if status != 1 or not match:
        return f"exit {status}, no fault in one line: {error.strip()!r}"
    line, what = int(match[1]), match[2]
    if line not in wanted:
        return f"line {line} is not marked: {what}"
    kind = wanted[line].replace("outside", "(outside|beyond|before|null)")
    return None if re.search(kind, what, re.I) else f"{what!r} does not say {wanted[line]!r}"


def complain_refused(text, status, error, _):
    wanted = marks(text, "refused")
    match = re.match(r"error: .*?:(\d+): ", error)
    if status != 1 or error.count("\n") != 1 or "thread (" in error:
        return f"exit {status}: {error.strip()!r}"
    if wanted and (not match or int(match[1]) not in wanted):
        return f"names another line than {list(wanted)}: {error.strip()}"
    return None


def complain_run(text, status, error, out):
    if status or error:
        return f"exit {status}: {error.strip()}"
    got = np.load(out)
    for where in marks(text, "out").values():
        place, value = (int(x, 0) for x in where.split("="))
        if got[place] != value:
            return f"out[{place}] is {got[place]:#x}, should be {value:#x}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("faults", "legal", "refused", "accepted")
    parser.add_argument("kind", choices=(*kinds, *(f"hopper-{kind}" for kind in kinds[:3])))
    parser.add_argument("work", nargs="?", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    kind, failed, count = arguments.kind.removeprefix("hopper-"), 0, 0
    maps = kind != arguments.kind
    complain = {"faults": complain_fault, "refused": complain_refused}.get(kind, complain_run)
    for name, options, text in cases(arguments.kind):
        if arguments.only not in name:
            continue
        count += 1
        if arguments.check:
            said = assemble(text)
            if bool(said) != (kind == "refused"):
                print(f"{name}: {said or 'ptxas takes it'}")
                failed += 1
            elif said:
                lines = {int(n) for n in re.findall(r", line (\d+);", said)}
                if marks(text, "refused") and lines and not lines & set(marks(text, "refused")):
                    print(f"{name}: ptxas names {lines}, marked {set(marks(text, 'refused'))}: {said.splitlines()[0]}")
            continue
        for schedule in harness.SCHEDULES[: 1 if kind == "refused" else None]:
            status, _, error = run(text, options, arguments.work, schedule, maps)
            complaint = complain(text, status, error, arguments.work / "1.out.npy")
            if complaint:
                print(f"{name}, {schedule}: {complaint}")
                failed += 1
                break
    print(f"{arguments.kind}: {count} cases, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
