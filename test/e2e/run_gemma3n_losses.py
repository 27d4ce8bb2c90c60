#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_gemma3n_losses.py WORKDIR: held-out losses of slices of the trained Gemma 3n
model, in nats per token, as nestc's packages compute them.

Prints a table and checks it: within 1e-4 of what PyTorch computed of each slice
(losses.json has five decimals), all below a bigram model of the same text."""

import json
import pathlib
import sys

import numpy as np
from run_case import nestc
from run_losses import tokenLosses

MODELS = pathlib.Path(__file__).parent.parent / "models"
MODEL = MODELS / "matgemma"


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    expected = json.loads((MODEL / "losses.json").read_text())
    bigram = json.loads((MODELS / "matlm" / "losses.json").read_text())["bigram"]
    tokens = np.load(MODELS / "matlm" / "heldout.npy")
    slices = {**expected["nested"], **expected["mixed"], **expected["skipped"]}
    slices["layers.all.ffn=full"] = slices.pop("full")
    failed = False
    for spec, loss in slices.items():
        nestc("compile", MODEL, "--submodel", spec, "--dtype", "f32", "-q", "-o", work / "package")
        parameters = json.loads(nestc("info", work / "package", "--json"))["parameters"]
        total = 0.0
        for part in np.array_split(tokens, 4):  # a quarter of the logits at a time
            np.save(work / "tokens.npy", part)
            nestc("run", work / "package", "--tokens", work / "tokens.npy", "--logits", work / "logits.npy")
            total += float(tokenLosses(np.load(work / "logits.npy"), part).mean()) * len(part)
        found = total / len(tokens)
        good = abs(found - loss) <= 1e-4 and found < bigram
        failed |= not good
        print(f"{spec:60} {parameters['total']:9} {parameters['effective']:9} {found:.5f}", "" if good else f"not {loss:.5f}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
