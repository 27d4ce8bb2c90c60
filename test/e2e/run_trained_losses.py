#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_trained_losses.py WORKDIR: held-out losses of the trained routed models and
of their dense twins, in nats per token, as nestc's packages compute them.

Prints a table and checks it: within 1e-4 of what PyTorch computed when the models
were trained (losses.json has five decimals; a row whose score lies within rounding
of its cut-off may be routed otherwise, which moves the mean by less)."""

import json
import pathlib
import sys

import numpy as np
from run_case import nestc
from run_losses import tokenLosses

MODELS = pathlib.Path(__file__).parent.parent / "models"
# Model, held-out tokens, and what each loss of losses.json is computed with.
TEXT = "matlm/heldout.npy"
RUNS = [
    ("mod", TEXT, {"topk": [], "threshold": ["--prefill", "decode"]}),
    ("mod-dense", TEXT, {"dense": []}),
    ("mode", TEXT, {"mode": []}),
    ("mot", "mot/heldout.npy", {"all": []}),
    ("mot-dense", "mot/heldout.npy", {"all": []}),
]
MODALITIES = ["text", "image", "speech"]  # as in mot/nest.json


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    failed = False
    for model, heldout, runs in RUNS:
        expected = json.loads((MODELS / model / "losses.json").read_text())["loss"]
        nestc("compile", MODELS / model, "--dtype", "f32", "-q", "-o", work / "package")
        tokens = np.load(MODELS / heldout)
        modality = np.load(MODELS / "mot/heldout-modality.npy") if heldout.startswith("mot") else None
        for name, options in runs.items():
            parts = []
            for rows in np.array_split(np.arange(len(tokens)), 4):  # a quarter of the logits at a time
                np.save(work / "tokens.npy", tokens[rows])
                words = ["run", work / "package", "--tokens", work / "tokens.npy", "--logits", work / "logits.npy", *options]
                if model == "mot":
                    np.save(work / "modality.npy", modality[rows].astype(np.int32))
                    words += ["--in", f"modality={work / 'modality.npy'}"]
                nestc(*words)
                parts.append(tokenLosses(np.load(work / "logits.npy"), tokens[rows]))
            losses = np.concatenate(parts)
            table = {name: losses.mean()}
            if modality is not None:
                table.update({m: losses[modality[:, 1:] == i].mean() for i, m in enumerate(MODALITIES)})
            for key, value in table.items():
                good = abs(value - expected[key]) <= 1e-4
                failed |= not good
                print(f"{model:10} {key:10} {value:.5f}", "" if good else f"not {expected[key]:.5f}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
