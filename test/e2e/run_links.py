#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_links.py WORKDIR [--target sm_80]: matrices that stay in the checkpoint.

A package of `--weights link` gives bit for bit the logits of one that holds its weights,
and holds little itself: at most norms and biases. It is refused once the checkpoint is
gone or another, and when a matrix would have to be converted.
"""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
from run_case import arguments, modality_of, nestc

HERE = pathlib.Path(__file__).parent
CASES = [
    ("goldens/llama-gqa", "layers.all.ffn=1/4"),
    ("goldens/llama-bias", "skip=1"),
    ("goldens/qwen3-bf16", "layers.0-1.ffn=1/2"),
    ("goldens/vit-classify", "layers.all.ffn=1/2"),
    ("routed/mot-three", "layers.0.ffn=1/4"),
    ("olmo/swiglu", "layers.all.ffn=1/2"),
    ("gemma3n/base", "layers.all.ffn=1/2,skip=1+7"),
]


def fails(text, *words):
    done = subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 1 or text not in done.stderr:
        sys.exit(f"{words}: exit {done.returncode}, {done.stderr}, and not {text}")


def main():
    work, chosen, target, emulate = arguments()
    for source, spec in CASES:
        if chosen and source not in chosen:
            continue
        directory = HERE / source
        outputs = []
        for weights in ("copy", "link"):
            package, logits = work / weights, work / f"{weights}.npy"
            nestc("compile", directory, "-q", "--submodel", spec, "--weights", weights, *target, "-o", package)
            if (directory / "pixels.npy").exists():
                nestc("run", package, "--entry", "encode", "--in", f"pixel_values={directory / 'pixels.npy'}", *emulate, "--out", f"logits={logits}")
            else:
                modality = modality_of(directory)
                nestc("run", package, "--tokens", directory / "tokens.npy", *modality, *emulate, "--logits", logits)
            outputs.append(np.load(logits))
        if not np.array_equal(*outputs):
            sys.exit(f"{source}: linked weights give other logits")
        copied, linked = ((work / name / "weights.safetensors").stat().st_size for name in ("copy", "link"))
        if linked * 4 > copied:
            sys.exit(f"{source}: {linked} bytes of weights in the package, {copied} of one that holds them all")
        print(f"{source}: same bits, {linked} bytes of weights for {copied}")

    checkpoint, package = work / "checkpoint", work / "moved"
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.copytree(HERE / "goldens/llama-bias", checkpoint)
    fails("is stored in another type than it is multiplied in", "compile", checkpoint, "--dtype", "bf16", "--weights", "link", *target, "-o", package)
    nestc("compile", checkpoint, "-q", "--weights", "link", *target, "-o", package)
    run = ("run", package, "--tokens", "1,2", "--generate", "1", *emulate)
    nestc(*run)
    model = checkpoint / "model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[:-4])
    fails("model.safetensors", *run)
    model.write_bytes(whole.replace(b'"model.norm', b'"model.morn', 1))
    fails("model.safetensors", *run)
    model.unlink()
    fails("model.safetensors", *run)
    model.write_bytes(whole)
    nestc(*run)


main()
