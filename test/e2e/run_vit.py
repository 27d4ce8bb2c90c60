#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_vit.py CASE WORKDIR [--target sm_80]: a vision transformer of goldens/, end
to end. For every submodel that vit.json lists, all outputs of the entry `encode`
agree with the reference (the tolerance of vit.json), and every image of the batch
with itself alone (f32: 1e-5, bf16: the tolerance). With a GPU as target its code
runs in the emulator. Prints one line for each; exit 1 when one fails."""

import json
import pathlib
import sys

import numpy as np
from run_case import GOLDENS, nestc, other_argmax, relative


def encode(package, pixels, outputs, work, *options):
    """The outputs of `encode` for images [B, C, H, W]."""
    np.save(work / "pixels.npy", pixels)
    words = [word for name in outputs for word in ("--out", f"{name}={work / name}.npy")]
    nestc("run", package, "--entry", "encode", "--in", f"pixel_values={work / 'pixels.npy'}", *words, *options)
    return {name: np.load(work / f"{name}.npy") for name in outputs}


def main():
    case, work, target = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    emulate = ["--emulate"] if target else []
    work.mkdir(parents=True, exist_ok=True)
    entries = [e for e in json.loads((GOLDENS / "vit.json").read_text()) if e["case"] == case]
    if not entries:
        sys.exit(f"vit.json lists nothing for {case}")
    failed = False
    pixels = np.load(GOLDENS / case / "pixels.npy")
    for entry in entries:
        package = work / "package"
        spec = ["--submodel", entry["spec"]] if entry["spec"] else []
        nestc("compile", GOLDENS / case, *spec, "--dtype", entry["dtype"], "-q", *target, "-o", package)
        full = encode(package, pixels, entry["outputs"], work, *emulate)
        alone = [encode(package, image[None], entry["outputs"], work, *emulate) for image in pixels]
        suffix = f".{entry['submodel']}" if entry["submodel"] else ""
        same = 1e-5 if entry["dtype"] == "f32" else entry["tolerance"]
        checks = {}
        for name in entry["outputs"]:
            reference = np.load(GOLDENS / case / f"{name}{suffix}.npy")
            checks[name] = (relative(full[name], reference), entry["tolerance"])
            checks[f"{name} alone"] = (relative(np.concatenate([one[name] for one in alone]), full[name]), same)
            if name == "logits":
                checks["argmax"] = (other_argmax(full[name], reference, entry["tolerance"]), 0)
        print(case, entry["dtype"], entry["submodel"] or "full", *(f"{name} {error:.2e}" for name, (error, _) in checks.items()))
        failed |= any(not error <= limit for error, limit in checks.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
