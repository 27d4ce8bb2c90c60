#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_widths.py WORKDIR [CASE]... [--target sm_80]: widths that a call binds.

One package with open widths gives, for every binding, the logits of the package of
these widths, to 1e-5 of a row's largest (f32: other edges of tiles, another order of
summation; bf16: 1e-2, where the operand that is rounded can fall on the other side):
levels, odd counts, other widths in every layer, prefilled, row by row, several
sequences. What no binding asked for is the largest. Widths out of range and widths that
are not open are refused.
"""

import pathlib
import subprocess
import sys

import numpy as np
from run_case import arguments, modality_of, nestc, relative

HERE = pathlib.Path(__file__).parent
# Checkpoint, what is open, and bindings.
CASES = [
    ("goldens/llama-gqa", "layers.all.ffn=1/8..1/1", ["layers.all.ffn=1/4", "layers.0-2.ffn=full,layers.3.ffn=1/2", "layers.all.ffn=9,layers.1.ffn=37,layers.3.ffn=71", ""]),
    ("goldens/llama-bias", "layers.all.ffn=1..1/2,skip=2", ["layers.all.ffn=1", "layers.odd.ffn=17", ""]),
    ("goldens/qwen3-bf16", "layers.0-1.ffn=1/8..1/2,layers.2.ffn=1/4", ["layers.0.ffn=1/8,layers.1.ffn=33", "layers.0-1.ffn=1/4", ""]),
    ("goldens/olmo2", "layers.all.ffn=5..1/1", ["layers.all.ffn=5", "layers.all.ffn=1/2,layers.0.ffn=full"]),
    ("gemma3n/base", "layers.2-9.ffn=1/4..1/1,layers.0.ffn=1/2", ["layers.2-9.ffn=1/4", "layers.4.ffn=9"]),
    ("routed/mod-widths", "layers.all.ffn=1/4..1/1", ["layers.all.ffn=1/4", "layers.all.ffn=1/2,layers.1.ffn=11"]),
    ("routed/mot-three", "layers.all.ffn=1/4..1/1", ["layers.all.ffn=1/4", "layers.0.ffn=7"]),
    ("routed/mode-plain", "layers.all.ffn=1/4..1/1", ["layers.all.ffn=1/2", "layers.0.ffn=5"]),
]


def fails(words, text):
    done = subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 1 or text not in done.stderr:
        sys.exit(f"{words}: exit {done.returncode}, {done.stderr}, and not {text}")


def main():
    work, chosen, target, emulate = arguments()
    for source, spec, bindings in CASES:
        if chosen and source not in chosen:
            continue
        directory = HERE / source
        nestc("compile", directory, "-q", "--submodel", spec, *target, "-o", work / "open")
        modality = modality_of(directory)
        same = 1e-2 if "bf16" in source else 1e-5

        def logits(package, *options):
            nestc("run", package, "--tokens", directory / "tokens.npy", *modality, *emulate, *options, "--logits", work / "logits.npy")
            return np.load(work / "logits.npy")

        worst, seen = 0.0, []
        for binding in bindings:
            # The fixed twin: the range's largest, then what the binding says.
            fixed = ",".join(part.split("=")[0] + "=" + part.split("..")[-1] if ".." in part else part for part in spec.split(","))
            nestc("compile", directory, "-q", "--submodel", ",".join(part for part in (fixed, binding) if part), *target, "-o", work / "fixed")
            bind = ["--bind", binding] if binding else []
            for options in ([], ["--stepwise=3"]):
                reference = logits(work / "fixed", *options)
                error = relative(logits(work / "open", *bind, *options), reference)
                worst = max(worst, error)
                if not error <= same:
                    sys.exit(f"{source} {spec} {binding} {options}: {error:.1e}")
            if binding:
                seen.append(reference)
        apart = min(np.abs(a - b).max() for i, a in enumerate(seen) for b in seen[:i])
        print(source, spec, f"{len(bindings)} bindings, {worst:.1e}, apart by {apart:.2f}", flush=True)
        if apart < 1e-3:
            sys.exit("bindings are alike")
    if not chosen:
        run = ("run", work / "open", "--tokens", "1,2", "--bind")
        fails((*run, "layers.0.ffn=1"), "cannot be bound to 1; legal are ")
        fails((*run, "layers.9.ffn=1"), "there is no layer 9")
        fails(("run", work / "fixed", "--tokens", "1,2", "--bind", "layers.0.ffn=3"), "all widths were fixed when it was compiled")


if __name__ == "__main__":
    main()
