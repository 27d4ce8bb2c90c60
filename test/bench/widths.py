#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a width costs beside the full one: prefill and decode of widths that were fixed
when compiling, of widths that a call binds in one package, and of submodels of one
package, in turn, in one run.

Random float32 weights of the dense model of routed.py (d 1024, 8 layers, FFN 4096).
Prints a line for each width: bytes of weights, prefill and decode over the fixed full
width's.  Writes about 2 GB below DIR.  Needs NumPy, and nestc in the PATH; no test
runs it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

from routed import writeLlama

WIDTHS = ["1/8", "1/4", "1001", "1/2", "1/1"]


def nestc(*words):
    return subprocess.run(["nestc", *map(str, words)], check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = options.dir / "dense"
    if not model.exists():
        writeLlama(model, False)

    def package(name, *words):
        nestc("compile", model, "-q", "--max-length", 1024, *words, "-o", options.dir / name)
        return options.dir / name

    runs = {}
    many = package("many", *(word for i, width in enumerate(WIDTHS) for word in ("--submodel", f"w{i}:layers.all.ffn={width}")))
    bound = package("bound", "--submodel", "layers.all.ffn=1/8..1/1")
    for i, width in enumerate(WIDTHS):
        runs["fixed", width] = [package(f"fixed-{i}", "--submodel", f"layers.all.ffn={width}")]
        runs["bound", width] = [bound, "--bind", f"layers.all.ffn={width}"]
        runs["submodel", width] = [many, "--submodel", f"w{i}"]
    times = {run: ([], []) for run in runs}
    for _ in range(options.rounds):
        for run, words in runs.items():
            result = json.loads(nestc("bench", *words, "--prefill", options.rows, "--decode", 16, "--threads", 2, "--json"))
            times[run][0].append(result["prefill_seconds"])
            times[run][1].append(result["decode_seconds_per_token"])
    medians = {run: [statistics.median(values) for values in pair] for run, pair in times.items()}
    full = medians["fixed", "1/1"]
    whole = json.loads(nestc("info", options.dir / f"fixed-{len(WIDTHS) - 1}", "--json"))["weight_bytes"]
    print(f"full width: prefill of {options.rows} {full[0]:.3f} s, decode {full[1] * 1e3:.2f} ms a token; the rest is over that")
    for i, width in enumerate(WIDTHS):
        part = json.loads(nestc("info", options.dir / f"fixed-{i}", "--json"))["weight_bytes"] / whole
        cells = " ".join(f"{kind} {medians[kind, width][0] / full[0]:.3f} {medians[kind, width][1] / full[1]:.3f}" for kind in ("fixed", "bound", "submodel"))
        print(f"{width:5} bytes {part:.3f} {cells}", flush=True)


if __name__ == "__main__":
    main()
