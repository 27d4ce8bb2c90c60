#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_losses.py WORKDIR: held-out losses of the trained MatLM's submodels, and how
consistent they are with the full model.

Prints a table and checks it. Loss (nats per token): within 1e-4 of what PyTorch
computed when the model was trained (losses.json has five decimals), S > M > L >
XL, all below the bigram model. Consistency (arXiv 2310.07707, 4.1.2): the share of
positions with the full model's most likely next token, and the divergence
KL(full || submodel) in nats; the wider of S, M, L is the closer by both, and each
agrees on more than half."""

import json
import pathlib
import sys

import numpy as np
from run_case import nestc

MODEL = pathlib.Path(__file__).parent.parent / "models" / "matlm"
NAMES = {"XL": "layers.all.ffn=1/1", "L": "layers.all.ffn=1/2", "M": "layers.all.ffn=1/4", "S": "layers.all.ffn=1/8"}


def tokenLosses(logits, tokens):
    """What each token but a row's first costs: row t predicts token t + 1."""
    logits = logits[:, :-1].astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits).sum(-1))
    picked = np.take_along_axis(logits, tokens[:, 1:, None].astype(np.int64), -1)[..., 0]
    return log_sum - picked


def divergence(full, logits):
    """KL(full || logits) of each row, from logits."""
    full, logits = (x - x.max(-1, keepdims=True) for x in (full, logits))
    p = np.exp(full)
    total = p.sum(-1)
    apart = (p * (full - logits)).sum(-1) / total
    return apart - np.log(total) + np.log(np.exp(logits).sum(-1))


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    expected = json.loads((MODEL / "losses.json").read_text())
    tokens = np.load(MODEL / "heldout.npy")
    table, equal, apart, full = {}, {}, {}, []
    for name, spec in [*NAMES.items(), *((spec, spec) for spec in expected["mixed"])]:
        nestc("compile", MODEL, "--submodel", spec, "-q", "-o", work / "package")
        parameters = json.loads(nestc("info", work / "package", "--json"))["parameters"]["total"]
        total, same, kl = 0.0, [], []
        parts = np.array_split(tokens, 4)  # a quarter of the logits at a time
        for index, part in enumerate(parts):
            np.save(work / "tokens.npy", part)
            nestc("run", work / "package", "--tokens", work / "tokens.npy", "--logits", work / "logits.npy")
            logits = np.load(work / "logits.npy")
            total += float(tokenLosses(logits, part).mean()) * len(part)
            if name == "XL":
                full.append(logits)
            same.append(logits.argmax(-1) == full[index].argmax(-1))
            kl.append(divergence(full[index], logits))
        table[name] = total / len(tokens)
        equal[name], apart[name] = np.concatenate(same).mean(), np.concatenate(kl).mean()
        print(f"{name:45} {parameters:9} {table[name]:.5f} {equal[name]:.1%} {apart[name]:.4f}", flush=True)
        reference = expected["nested"].get(name, expected["mixed"].get(name))
        if abs(table[name] - reference) > 1e-4:
            sys.exit(f"{name}: {table[name]:.5f}, not {reference:.5f}")
    if not expected["bigram"] > table["S"] > table["M"] > table["L"] > table["XL"]:
        sys.exit("the order is not bigram > S > M > L > XL")
    if not 0.5 < equal["S"] < equal["M"] < equal["L"] < equal["XL"] == 1:
        sys.exit("the share of equal next tokens does not grow with the width")
    if not apart["S"] > apart["M"] > apart["L"] > apart["XL"] == 0:
        sys.exit("the divergence does not shrink with the width")
    if max(table.values()) >= expected["bigram"]:
        sys.exit("a mixture is above the bigram model")


if __name__ == "__main__":
    main()
