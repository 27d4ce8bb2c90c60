#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_case.py CASE WORKDIR [--target sm_80]: one checkpoint of goldens/, end to end;
GROUP/CASE is one of GROUP/.

For every submodel of the case that cases.json lists: compile, then
- teacher-forced logits agree with the reference (the tolerance of cases.json:
  1e-4 of a row's largest logit in f32; 3e-2 in bf16, where rounding the operands
  of products alone costs about 1e-2, and an eighth of that in f16), and so does
  the largest one where the reference's first two are further apart,
- one prefill, row by row, and 5 rows and then row by row agree with each other,
  and every sequence of a batch with itself alone (f32: 1e-5, the same products
  in another order of summation; bf16: the operand that is rounded can fall on
  the other side, 1e-2; f16: eight times as often, and a row that it happened to
  has other roundings from there on, so only the reference's tolerance holds).
With a GPU as target its code runs in the emulator.
Prints one line for each submodel; exit 1 at the first failure.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np

GOLDENS = pathlib.Path(__file__).parent / "goldens"


def group_of(case):
    """The directory of goldens, and the name there."""
    group, _, name = case.rpartition("/")
    return (GOLDENS.parent / group if group else GOLDENS), name


def nestc(*words):
    done = subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"nestc {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def arguments():
    """Of WORKDIR [CASE...] [--target sm_80]: the directory, which is made, the cases
    that are chosen (none: all), and the options of a compile and of a run."""
    words = sys.argv[1:]
    target = words[words.index("--target") :] if "--target" in words else []
    work, *chosen = words[: len(words) - len(target)]
    pathlib.Path(work).mkdir(parents=True, exist_ok=True)
    return pathlib.Path(work), chosen, target, ["--emulate"] if target else []


def modality_of(directory):
    """The option of a run that gives the modality of a case's tokens, where it has one."""
    path = directory / "modality.npy"
    return ["--in", f"modality={path}"] if path.exists() else []


def relative(actual, reference):
    """The largest difference of a row over the row's largest absolute value."""
    if actual.shape != reference.shape:
        sys.exit(f"shape {actual.shape}, not {reference.shape}")
    error = np.abs(actual.astype(np.float64) - reference).max(-1)
    return float((error / np.abs(reference).max(-1)).max())


def other_argmax(actual, reference, tolerance):
    """How many rows have another largest entry, of those where it is clear."""
    second, first = np.moveaxis(np.sort(reference, -1)[..., -2:], -1, 0)
    clear = first - second > tolerance * np.abs(reference).max(-1)
    return int(((actual.argmax(-1) != reference.argmax(-1)) & clear).sum())


def main():
    goldens, case = group_of(sys.argv[1])
    work = pathlib.Path(sys.argv[2])
    target = sys.argv[3:]
    emulate = ["--emulate"] if target else []
    work.mkdir(parents=True, exist_ok=True)
    entries = [e for e in json.loads((goldens / "cases.json").read_text())["logits"] if e["case"] == case]
    if not entries:
        sys.exit(f"cases.json lists nothing for {case}")
    failed = False
    for entry in entries:
        package = work / "package"
        spec = ["--submodel", entry["spec"]] if entry["spec"] else []
        nestc("compile", goldens / case, *spec, "--dtype", entry["dtype"], "-q", *target, "-o", package)
        tokens = np.load(goldens / entry["tokens"])
        reference = np.load(goldens / entry["logits"])

        def logits(ids, *options):
            np.save(work / "tokens.npy", ids)
            nestc("run", package, "--tokens", work / "tokens.npy", "--logits", work / "logits.npy", *emulate, *options)
            return np.load(work / "logits.npy")

        same = {"f32": 1e-5, "bf16": 1e-2, "f16": entry["tolerance"]}[entry["dtype"]]
        full = logits(tokens)
        checks = {
            "argmax": (other_argmax(full, reference.reshape(full.shape), entry["tolerance"]), 0),
            "reference": (relative(full, reference.reshape(full.shape)), entry["tolerance"]),
            "stepwise": (relative(logits(tokens, "--stepwise"), full), same),
            "mixed": (relative(logits(tokens, "--stepwise=5"), full), same),
        }
        if tokens.ndim == 2 and tokens.shape[0] > 1:
            alone = np.stack([logits(row).reshape(full.shape[1:]) for row in tokens])
            checks["alone"] = (relative(alone, full), same)
        print(case, entry["dtype"], entry["submodel"] or "full", *(f"{name} {error:.2e}" for name, (error, _) in checks.items()))
        failed |= any(not error <= limit for error, limit in checks.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
