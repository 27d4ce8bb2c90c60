#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_submodels.py WORKDIR [CASE]... [--target sm_80]: several submodels in one package.

Each gives the logits of a package of its own, bit for bit (the same kernels, whose
weights' rows lie further apart), prefilled and row by row; `info` says of each what it
says of its own package; weights are stored once: no more than their union, each tensor
as wide as its widest submodel, under the checkpoint's names.
"""

import json
import pathlib
import sys

import numpy as np
from run_case import arguments, modality_of, nestc

sys.path.insert(0, str(pathlib.Path(__file__).parent / "reference"))
from files import readTensors

HERE = pathlib.Path(__file__).parent
# Checkpoint, submodels (the first one is not always the widest), and which of them
# take modalities.
CASES = [
    ("goldens/llama-gqa", {"quarter": "quarter", "big": "big:layers.all.ffn=full", "odd": "odd:layers.all.ffn=11,layers.2.ffn=1/2,skip=1"}, set()),
    ("goldens/qwen3-bf16", {"narrow-first": "narrow-first:layers.0.ffn=1/8,skip=3", "wide_1": "wide_1:layers.1-2.ffn=1/2,layers.0+3.ffn=1/4"}, set()),
    ("goldens/llama-bias", {"a": "a:layers.all.ffn=1/2", "b": "b:layers.even.ffn=1/4"}, set()),
    ("gemma3n/base", {"half": "half:layers.all.ffn=1/2", "short": "short:layers.2-9.ffn=1/4,skip=1+7"}, set()),
    ("routed/mod-widths", {"own": "own:layers.all.ffn=1/2", "dense": "dense:routes.all=dense", "few": "few:routes.all.capacity=1"}, set()),
    ("routed/mot-three", {"all": "all:layers.all.ffn=1/2", "one": "one:modalities=text,layers.1.ffn=1/4"}, {"all"}),
]


def stored(package):
    return {name: value.shape for path in sorted(package.glob("*.safetensors")) for name, value in readTensors(path).items()}


def main():
    work, chosen, target, emulate = arguments()
    for source, submodels, takes in CASES:
        if chosen and source not in chosen:
            continue
        directory = HERE / source
        together, alone = work / "together", work / "alone"
        texts = [word for text in submodels.values() for word in ("--submodel", text)]
        nestc("compile", directory, "-q", *texts, *target, "-o", together)
        tokens = np.load(directory / "tokens.npy")
        widest = {}

        def logits(package, name, *options):
            more = modality_of(directory) if name in takes else []
            np.save(work / "tokens.npy", tokens)
            nestc("run", package, "--submodel", name, "--tokens", work / "tokens.npy", *more, *emulate, *options, "--logits", work / "logits.npy")
            return np.load(work / "logits.npy")

        results = {}
        for name, text in submodels.items():
            nestc("compile", directory, "-q", "--submodel", text, *target, "-o", alone)
            for options in ([], ["--stepwise=3"]):
                if not np.array_equal(logits(together, name, *options), logits(alone, name, *options)):
                    sys.exit(f"{source}: {name} {options} has other logits than alone")
            results[name] = logits(alone, name)
            figures = [json.loads(nestc("info", package, "--submodel", name, "--json")) for package in (together, alone)]
            for key in ("submodel", "parameters", "weight_bytes", "macs_per_token", "model", "entries"):
                values = [json.dumps(f[key]).replace(f'"{name}:', '"') for f in figures]
                if values[0] != values[1]:
                    sys.exit(f"{source}: info of {name} has {key} {values[0]}, alone {values[1]}")
            for tensor, shape in stored(alone).items():
                widest[tensor] = tuple(map(max, widest.get(tensor, shape), shape))
        if stored(together) != widest:
            sys.exit(f"{source}: the package does not hold the union")
        first = next(iter(submodels))
        nestc("run", together, "--tokens", work / "tokens.npy", *(modality_of(directory) if first in takes else []), *emulate, "--logits", work / "first.npy")
        if not np.array_equal(np.load(work / "first.npy"), results[first]):
            sys.exit(f"{source}: the first is not the default")
        apart = min(np.abs(results[a] - results[b]).max() for a in results for b in results if a < b)
        print(source, *submodels, f"{len(widest)} tensors, logits apart by {apart:.2f}", flush=True)
        if apart < 1e-2:
            sys.exit("submodels are alike")


if __name__ == "__main__":
    main()
