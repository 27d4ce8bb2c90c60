#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_losses.py WORKDIR: held-out losses of the trained MatLM's submodels.

Prints a table (nats per token) and checks it: within 1e-4 of what PyTorch
computed when the model was trained (losses.json has five decimals), S > M > L >
XL, all below the bigram model."""

import json
import pathlib
import sys

import numpy as np
from run_case import nestc

MODEL = pathlib.Path(__file__).parent.parent / "models" / "matlm"
NAMES = {"S": "layers.all.ffn=1/8", "M": "layers.all.ffn=1/4", "L": "layers.all.ffn=1/2", "XL": "layers.all.ffn=1/1"}


def tokenLosses(logits, tokens):
    """What each token but a row's first costs: row t predicts token t + 1."""
    logits = logits[:, :-1].astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, tokens[:, 1:, None].astype(np.int64), -1)[..., 0]
    return log_sum - picked


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    expected = json.loads((MODEL / "losses.json").read_text())
    tokens = np.load(MODEL / "heldout.npy")
    table = {}
    for name, spec in [*NAMES.items(), *((spec, spec) for spec in expected["mixed"])]:
        nestc("compile", MODEL, "--submodel", spec, "-q", "-o", work / "package")
        parameters = json.loads(nestc("info", work / "package", "--json"))["parameters"]["total"]
        total = 0.0
        parts = np.array_split(tokens, 4)  # a quarter of the logits at a time
        for part in parts:
            np.save(work / "tokens.npy", part)
            nestc("run", work / "package", "--tokens", work / "tokens.npy", "--logits", work / "logits.npy")
            total += float(tokenLosses(np.load(work / "logits.npy"), part).mean()) * len(part)
        table[name] = total / len(tokens)
        print(f"{name:45} {parameters:9} {table[name]:.5f}")
        reference = expected["nested"].get(name, expected["mixed"].get(name))
        if abs(table[name] - reference) > 1e-4:
            sys.exit(f"{name}: {table[name]:.5f}, not {reference:.5f}")
    if not expected["bigram"] > table["S"] > table["M"] > table["L"] > table["XL"]:
        sys.exit("the order is not bigram > S > M > L > XL")
    if max(table.values()) >= expected["bigram"]:
        sys.exit("a mixture is above the bigram model")


if __name__ == "__main__":
    main()
