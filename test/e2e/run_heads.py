#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_heads.py WORKDIR [CASE]... [--target sm_80]: nested heads, end to end.

A head whose columns of the output matrix are zero adds nothing, so a checkpoint
with such columns, at full width, is an oracle for the submodel without these
heads, whatever the layers' widths (not where a norm spans all heads: olmo2).
Logits agree to 1e-5 of a row's largest (f32, other tiles), prefilled and row by
row; weights and caches have what is left of the heads, and a checkpoint that is
exported at equal widths gives the same logits.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
from run_case import arguments, modality_of, nestc, relative

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))
from files import readTensors, writeTensors

HERE = pathlib.Path(__file__).parent
# Checkpoint, spec, query heads left in each layer, ends of the names of output
# matrices.
CASES = [
    ("goldens/llama-gqa", "layers.all.heads=1/2", [3, 3, 3, 3]),
    ("goldens/llama-mha-llama3", "layers.0.heads=1,layers.1-2.heads=3,layers.3.ffn=1/4", [1, 3, 3, 4]),
    ("goldens/qwen3", "layers.odd.heads=2", [4, 2, 4, 2]),
    ("goldens/qwen2-window", "layers.0-2.heads=1/2", [3, 3, 3, 6]),
    ("routed/mod-attention", "layers.all.heads=2", [2, 2, 2, 2, 2]),
    ("routed/mot-three", "layers.0.heads=1/2", [2, 4]),
]


def read(directory):
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= readTensors(path)
    return tensors


def without_heads(source, target, left):
    """The checkpoint with zeros in the columns of heads that are not left."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors*", "*.npy"))
    config = json.loads((source / "config.json").read_text())
    heads = config.get("num_attention_heads") or config["n_heads"]
    tensors = read(source)
    zeroed = 0
    for name, value in tensors.items():
        words = name.split(".")
        if "o_proj.weight" in name or "experts_wo." in name or name.endswith("attention.wo.weight"):
            layer = int(words[words.index("layers") + 1])
            kept = value.shape[1] // heads * left[layer]
            value[:, kept:] = 0
            zeroed += kept < value.shape[1]
    if not zeroed:
        sys.exit(f"{source}: nothing to zero")
    writeTensors(target / "model.safetensors", tensors)


def main():
    work, chosen, target, emulate = arguments()
    for source, spec, left in CASES:
        if chosen and source not in chosen:
            continue
        directory, masked = HERE / source, work / "masked"
        without_heads(directory, masked, left)
        modality = modality_of(directory)
        ffn = [part for part in spec.split(",") if ".ffn=" in part]

        def logits(checkpoint, submodel, *options):
            words = ["--submodel", submodel] if submodel else []
            nestc("compile", checkpoint, "-q", *words, *target, "-o", work / "package")
            nestc("run", work / "package", "--tokens", directory / "tokens.npy", *modality, *emulate, *options,
                  "--logits", work / "logits.npy")
            return np.load(work / "logits.npy"), read(work / "package")

        whole, weights = logits(masked, ",".join(ffn))
        taken, fewer = logits(directory, spec)
        rows, _ = logits(directory, spec, "--stepwise")
        causal, _ = logits(masked, ",".join(ffn), "--stepwise")
        full, _ = logits(directory, ",".join(ffn))
        results = {"prefill": relative(taken, whole), "stepwise": relative(rows, causal)}
        print(source, spec, *(f"{name} {value:.1e}" for name, value in results.items()),
              f"heads matter {relative(full, whole):.2f}",
              f"weights {sum(v.size for v in fewer.values())} of {sum(v.size for v in weights.values())}", flush=True)
        if max(results.values()) > 1e-5:
            sys.exit("above 1e-5")
        if relative(full, whole) < 1e-2:
            sys.exit("these heads do nothing")
        if not sum(v.size for v in fewer.values()) < sum(v.size for v in weights.values()):
            sys.exit("all weights are there")
        if len(set(left)) == 1:
            shutil.rmtree(work / "exported", ignore_errors=True)
            nestc("export", directory, "-q", "--submodel", spec, "-o", work / "exported")
            again, _ = logits(work / "exported", "")
            if not np.array_equal(again, taken):
                sys.exit("the exported checkpoint has other logits")


if __name__ == "__main__":
    main()
