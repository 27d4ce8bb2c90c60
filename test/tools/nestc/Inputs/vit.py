# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vit.py GOLDENS DIR: a package whose entry takes images, and what of the command
line is about tokens."""

import json
import sys
from pathlib import Path

import numpy as np
from cases import Cases, nestc

ckpt, cases = Path(sys.argv[1]) / "vit-classify", Cases(sys.argv[2])
root, expect = cases.root, cases.expect


def check(what, name):
    if not what:
        cases.failures.append(name)


expect(0, "", "compile", ckpt, "-q", "-o", "p")
info = json.loads(expect(0, "", "info", "p", "--json").stdout)
check(
    info["entries"]
    == [
        {
            "name": "encode",
            "inputs": [{"name": "pixel_values", "dtype": "f32", "shape": ["B", 3, 12, 20]}],
            "outputs": [{"name": "last_hidden_state", "dtype": "f32", "shape": ["B", 16, 32]}, {"name": "logits", "dtype": "f32", "shape": ["B", 7]}],
        }
    ],
    f"entries: {info['entries']}",
)
check("vocab_size" not in info["model"] and "max_length" not in info["model"], f"model: {info['model']}")
# Of an image: 15 patches of 48 numbers, 16 rows in 3 layers, the classifier.
layer = 4 * 32 * 32 + 2 * 32 * 64
check(info["macs_per_token"] == 15 * 48 * 32 + 16 * 3 * layer + 7 * 32, f"macs: {info['macs_per_token']}")
vectors = 32 + 32 + 16 * 32 + 32 + 32 + 3 * (4 * 32 + 4 * 32 + 64 + 32) + 7
check(info["parameters"]["total"] == 48 * 32 + 3 * layer + vectors + 7 * 32, f"parameters: {info['parameters']}")

# Entries.
for name, shape, dtype in (("good", (2, 3, 12, 20), "f4"), ("flat", (3, 12, 20), "f4"), ("tall", (2, 3, 20, 12), "f4"), ("grey", (2, 1, 12, 20), "f4"), ("double", (2, 3, 12, 20), "f8"), ("none", (0, 3, 12, 20), "f4")):
    np.save(root / f"{name}.npy", np.zeros(shape, dtype))
run = ("run", "p", "--entry", "encode", "--in")
expect(0, "", *run, "pixel_values=good.npy", "--out", "logits=l.npy", "--out", "last_hidden_state=h.npy")
check(np.load(root / "l.npy").shape == (2, 7) and np.load(root / "h.npy").shape == (2, 16, 32), "shapes of outputs")
for name in ("flat", "tall", "grey", "none", "double"):
    expect(1, "the input pixel_values is f64 " if name == "double" else "the input pixel_values is f32 [", *run, f"pixel_values={name}.npy", "--out", "logits=x.npy")
expect(1, "f32 [B, 3, 12, 20]", *run, "pixel_values=flat.npy", "--out", "logits=x.npy")
expect(1, 'has no output "logit"', *run, "pixel_values=good.npy", "--out", "logit=x.npy")
expect(1, "last_hidden_state, logits", *run, "pixel_values=good.npy", "--out", "pooler_output=x.npy")
expect(1, 'has no input "pixels"', *run, "pixels=good.npy", "--out", "logits=x.npy")
expect(1, "encode", "run", "p", "--entry", "prefill", "--in", "pixel_values=good.npy", "--out", "logits=x.npy")
expect(1, "the input pixel_values is missing", "run", "p", "--entry", "encode", "--out", "logits=x.npy")

# Tokens.
legal = "--entry encode --in pixel_values=FILE.npy --out last_hidden_state=FILE.npy --out logits=FILE.npy"
expect(1, "--tokens: the model takes no tokens; " + legal, "run", "p", "--tokens", "1,2", "--logits", "x.npy")
expect(1, "--prompt: the model takes no tokens; " + legal, "run", "p", "--prompt", "a cat")
expect(1, "takes no tokens", "bench", "p")
expect(1, "--max-length: the model has no cache", "compile", ckpt, "--max-length", "8", "-o", "x")
expect(1, "layers.9.ffn", "compile", ckpt, "--submodel", "layers.9.ffn=8", "-o", "x")
expect(1, "routes", "compile", ckpt, "--submodel", "routes.all=dense", "-o", "x")

# Several submodels; a width that a call binds.
expect(0, "", "compile", ckpt, "-q", "--submodel", "quarter", "--submodel", "skip", "-o", "two")
expect(0, "", "compile", ckpt, "-q", "--submodel", "layers.all.ffn=1/8..1/1", "-o", "open")
np.save(root / "image.npy", np.random.default_rng(0).standard_normal((2, 3, 12, 20)).astype(np.float32))
tail = ("--entry", "encode", "--in", "pixel_values=image.npy", "--out", "logits=y.npy")


def logits(*words):
    expect(0, "", "run", *words, *tail)
    return np.load(root / "y.npy")


full = logits("p")
for name, spec in (("quarter", "layers.all.ffn=1/4"), ("skip", "layers.all.ffn=1/2,skip=1")):
    expect(0, "", "compile", ckpt, "-q", "--submodel", spec, "-o", "one")
    alone = logits("one")
    check(np.abs(alone - full).max() > 1e-2, f"{name} is the full model")
    check(np.array_equal(alone, logits("two", "--submodel", name)), f"{name} in a package of two")
    if name == "quarter":
        bound = logits("open", "--bind", "layers.all.ffn=1/4")
        check(np.abs(alone - bound).max() <= 1e-5 * np.abs(alone).max(), f"{name} bound by the call: {np.abs(alone - bound).max()}")
check(np.abs(full - logits("open")).max() <= 1e-5 * np.abs(full).max(), "the full width, open")

# A submodel as a checkpoint.
expect(0, "", "export", ckpt, "--submodel", "layers.all.ffn=1/4,skip=0", "-q", "-o", "e")
config = json.loads((root / "e/config.json").read_text())
check(config["intermediate_size"] == 16 and config["num_hidden_layers"] == 2, f"exported: {config}")
expect(0, "", "compile", root / "e", "-q", "-o", "ep")
expect(0, "", "compile", ckpt, "-q", "--submodel", "layers.all.ffn=1/4,skip=0", "-o", "one")
check(np.array_equal(logits("ep"), logits("one")), "the exported submodel computes something else")
expect(0, "transformers does not", "export", ckpt, "--submodel", "mix", "-o", "e")
check(json.loads((root / "e/config.json").read_text())["intermediate_size"] == [8, 64, 32], "widths of layers")

# Without a prefix, without a head.
expect(0, "", "export", ckpt.parent / "vit-model", "--submodel", "skip", "-q", "-o", "e")
expect(0, "", "compile", root / "e", "-q", "-o", "ep")
check([o["name"] for o in json.loads(nestc("info", root / "ep", "--json").stdout)["entries"][0]["outputs"]] == ["last_hidden_state", "pooler_output"], "outputs of ViTModel")
cases.finish(30)
