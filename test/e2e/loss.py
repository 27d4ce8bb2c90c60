#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""loss.py LOGITS.npy TOKENS.npy [--expect LOSS] [--tolerance X]

Prints the mean loss per token, in nats: row t of the logits predicts token
t + 1 of the same sequence.  With --expect, exit 1 when it is further than X
(default 1e-3) from LOSS.
"""

import argparse
import sys

import numpy as np


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("logits")
    parser.add_argument("tokens")
    parser.add_argument("--expect", type=float)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    options = parser.parse_args()
    logits = np.load(options.logits, mmap_mode="r")
    tokens = np.atleast_2d(np.load(options.tokens))
    if logits.ndim == 2:
        logits = logits[None]
    if logits.shape[:2] != tokens.shape:
        sys.exit(f"logits {logits.shape} do not belong to tokens {tokens.shape}")

    total = 0.0
    for rows, row in zip(logits, tokens):  # one sequence at a time: V is large
        x = rows[:-1].astype(np.float64)
        largest = x.max(-1)
        normaliser = largest + np.log(np.exp(x - largest[:, None]).sum(-1))
        total += (normaliser - x[np.arange(len(x)), row[1:]]).sum()
    loss = total / (tokens.shape[0] * (tokens.shape[1] - 1))
    print(f"{loss:.5f}")
    if options.expect is not None and not abs(loss - options.expect) <= options.tolerance:
        sys.exit(f"expected {options.expect:.5f} within {options.tolerance:g}")


if __name__ == "__main__":
    main()
