#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_retrieval.py WORKDIR: adaptive retrieval with the trained MatViT (MatFormer,
arXiv 2310.07707, section 4.2): one package holds its submodels S, M, L and XL over
one set of weights; XL encodes the index, the training images, once, and each of
them encodes the queries, the held-out images.

Prints for each its multiply-adds an image, the accuracy of its own classifier and
that of the nearest entry of the index, and checks them: the multiply-adds are those
of the shapes; accuracies are those that PyTorch found when the model was trained
(accuracy.json), two images aside, whose first two may lie within rounding; and the
queries of S come within 2 % of those of XL."""

import json
import pathlib
import sys

import numpy as np
from run_case import nestc

MATVIT = pathlib.Path(__file__).parent.parent / "models/matvit"
NAMES = ["S", "M", "L", "XL"]


def macs(config, width):
    """Of products with weights: patches, layers of all rows, the classifier."""
    d, side = config["hidden_size"], config["image_size"] // config["patch_size"]
    patches, pixels = side * side, config["num_channels"] * config["patch_size"] ** 2
    layer = 4 * d * d + 2 * d * width
    return patches * pixels * d + (patches + 1) * config["num_hidden_layers"] * layer + 10 * d


def main():
    work = pathlib.Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    expected = json.loads((MATVIT / "accuracy.json").read_text())
    config = json.loads((MATVIT / "config.json").read_text())
    images, labels = np.load(MATVIT / "images.npy"), np.load(MATVIT / "labels.npy")
    pixels = images[:, None].astype(np.float32) / 8 - 1
    held = expected["held_out"]

    words = [word for name in NAMES for word in ("--submodel", name)]
    nestc("compile", MATVIT, *words, "-q", "-o", work / "package")

    def encode(name, pixels):
        """Unit vectors of the images, and their logits."""
        np.save(work / "pixels.npy", pixels)
        nestc("run", work / "package", "--submodel", name, "--entry", "encode", "--in", f"pixel_values={work / 'pixels.npy'}",
              "--out", f"last_hidden_state={work / 'hidden.npy'}", "--out", f"logits={work / 'logits.npy'}")
        rows = np.load(work / "hidden.npy")[:, 0]
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.load(work / "logits.npy")

    index, _ = encode("XL", pixels[:-held])
    truth, known = labels[-held:], labels[:-held]
    failed, found = False, {}
    print("queries   multiply-adds  classifier  1-NN over XL's index")
    for part, name in zip((8, 4, 2, 1), NAMES):
        info = json.loads(nestc("info", MATVIT, "--submodel", name, "--json"))
        queries, logits = encode(name, pixels[-held:])
        accuracy = np.mean(logits.argmax(-1) == truth)
        found[name] = np.mean(known[(queries @ index.T).argmax(-1)] == truth)
        print(f"{name:8}  {info['macs_per_token']:13,}  {accuracy:10.4f}  {found[name]:20.4f}")
        failed |= info["macs_per_token"] != macs(config, config["intermediate_size"] // part)
        failed |= abs(accuracy - expected["accuracy"][name]) > 2.5 / held
        failed |= abs(found[name] - expected["retrieval"][name]) > 2.5 / held
    failed |= found["S"] < found["XL"] - 0.02
    sys.exit("other than expected" if failed else 0)


if __name__ == "__main__":
    main()
