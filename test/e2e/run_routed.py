#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_routed.py FAMILY WORKDIR [CASE] [--target sm_80]: checkpoints of routed/, end to end.

For every entry of cases.json: compile the submodel, run the mode, and compare
with the float64 reference, row by row, relative to the row's largest logit
(1e-4 in f32, 3e-2 in bf16).  `compared` masks the rows that hang on a score too
close to its cut-off; at least 90 % of the rows are compared.  Where the rule of
the prefill is causal, `--prefill decode` and `--stepwise` agree with each other
(f32: 1e-5, the same products in another order of summation).  With a GPU as
target its code runs in the emulator.
Prints a line for each entry; exit 1 when one failed.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

ROUTED = pathlib.Path(__file__).parent / "routed"
MODES = {
    "prefill select": [],
    "prefill decode": ["--prefill", "decode"],
    "stepwise": ["--stepwise"],
}


def options(mode):
    return MODES.get(mode, ["--" + mode])


def nestc(*words):
    return subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("case", nargs="?")
    parser.add_argument("--target")
    arguments = parser.parse_args()
    family, work = arguments.family, arguments.work
    target = ["--target", arguments.target] if arguments.target else []
    emulate = ["--emulate"] if target else []
    work.mkdir(parents=True, exist_ok=True)
    entries = [e for e in json.loads((ROUTED / "cases.json").read_text())["logits"] if e["family"] == family]
    if arguments.case:
        entries = [e for e in entries if e["case"] == arguments.case]
    if not entries:
        sys.exit(f"cases.json lists nothing for {family}")
    failed, worst, compiled, causal = 0, {}, None, {}
    for entry in entries:
        name = f"{entry['case']} {entry['dtype']} {entry['submodel'] or 'full'} {entry['mode']}"
        key = entry["case"], entry["submodel"], entry["dtype"]
        package = work / "package"
        if key != compiled:
            spec = ["--submodel", entry["submodel"]] if entry["submodel"] else []
            done = nestc("compile", ROUTED / entry["case"], *spec, "--dtype", entry["dtype"], "-q", *target, "-o", package)
            if done.returncode:
                print(f"{name}: compile: exit {done.returncode} {done.stderr.strip()}")
                failed += 1
                continue
            compiled, causal = key, {}
        modality = ["--in", f"modality={ROUTED / entry['modality']}"] if entry["modality"] else []
        output = work / "logits.npy"
        done = nestc("run", package, "--tokens", ROUTED / entry["tokens"], *modality, "--logits", output, *emulate, *options(entry["mode"]))
        if done.returncode:
            print(f"{name}: run: exit {done.returncode} {done.stderr.strip()}")
            failed += 1
            continue
        actual = np.load(output).astype(np.float64)
        reference = np.load(ROUTED / entry["logits"]).astype(np.float64).reshape(actual.shape)
        compared = np.ones(actual.shape[:-1], bool)
        if entry["compared"]:
            compared = np.load(ROUTED / entry["compared"]).reshape(compared.shape)
        error = np.abs(actual - reference).max(-1) / np.abs(reference).max(-1)
        error = float(error[compared].max())
        good = error <= entry["tolerance"] and compared.mean() >= 0.9
        if entry["mode"] in ("prefill decode", "stepwise") and entry["dtype"] == "f32":
            inputs = entry["tokens"], entry["modality"]
            for other in causal.get(inputs, {}).values():
                same = np.abs(actual - other).max(-1) / np.abs(reference).max(-1)
                good &= float(same.max()) <= 1e-5
            causal.setdefault(inputs, {})[entry["mode"]] = actual
        worst[entry["dtype"]] = max(worst.get(entry["dtype"], 0), error)
        if not good:
            failed += 1
            print(f"{name}: {error:.2e}")
    print(f"{family}: {len(entries)} entries, {failed} failed, largest relative difference", worst)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
