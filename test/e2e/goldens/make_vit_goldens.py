#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the golden vision transformers beside this file, and vit.json, which
lists every comparison.

Tiny random checkpoints, saved and run by Hugging Face transformers (eager
attention, float32). A submodel's outputs come from the same model after rows of
fc1 and columns of fc2 have really been cut and its skipped layers taken out:
nothing of nestc is used. Needs torch, transformers and numpy."""

import copy
import json
import pathlib
import shutil

import numpy as np
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTModel

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 3
LAYERS = 3

# name -> (spec, width of every layer in 1/8 of the full one, skipped layers)
SUBMODELS = {
    "": ("", [8, 8, 8], []),
    "quarter": ("layers.all.ffn=1/4", [2, 2, 2], []),
    "mix": ("layers.0.ffn=1/8,layers.1.ffn=full,layers.2.ffn=1/2", [1, 8, 4], []),
    "skip": ("layers.all.ffn=1/2,skip=1", [4, 4, 4], [1]),
}

SHAPE = {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": 64}

# Class, type of the weights, config. Images that are not square, patches that
# leave a border over, no bias of queries, another activation.
CASES = {
    "vit-classify": (ViTForImageClassification, torch.float32, {
        **SHAPE, "image_size": [12, 20], "patch_size": 4, "num_channels": 3, "num_labels": 7}),
    "vit-model": (ViTModel, torch.float32, {
        **SHAPE, "image_size": 10, "patch_size": 3, "num_channels": 2, "num_attention_heads": 2,
        "qkv_bias": False, "hidden_act": "gelu_pytorch_tanh"}),
    "vit-bf16": (ViTForImageClassification, torch.bfloat16, {
        **SHAPE, "image_size": 16, "patch_size": 4, "num_channels": 1, "num_labels": 10, "hidden_size": 48}),
}


def randomise(model, generator):
    """Weights wide enough that every cut shows in the outputs."""
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if "layernorm" in name and name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.2 * noise)


def cutLinear(linear, rows=None, columns=None):
    cut = torch.nn.Linear(1, 1)
    cut.weight = torch.nn.Parameter(linear.weight.detach()[:rows, :columns].clone())
    cut.bias = torch.nn.Parameter(linear.bias.detach()[:rows].clone())
    return cut


def specialise(model, widths, skipped):
    model = copy.deepcopy(model)
    body = getattr(model, "vit", model)
    for layer, width in zip(body.layers, widths):
        layer.mlp.fc1 = cutLinear(layer.mlp.fc1, rows=width)
        layer.mlp.fc2 = cutLinear(layer.mlp.fc2, columns=width)
    body.layers = torch.nn.ModuleList([l for i, l in enumerate(body.layers) if i not in skipped])
    return model


@torch.no_grad()
def outputsOf(model, pixels):
    hidden = model(pixel_values=pixels, output_hidden_states=True)
    if isinstance(model, ViTModel):
        return {"last_hidden_state": hidden.last_hidden_state, "pooler_output": hidden.pooler_output}
    # What the classifier sees is behind the last norm.
    last = model.vit(pixel_values=pixels).last_hidden_state
    return {"last_hidden_state": last, "logits": hidden.logits}


def difference(a, b):
    return ((a - b).abs().amax(-1) / b.abs().amax(-1)).max().item()


def main():
    entries = []
    for number, (name, (kind, dtype, config)) in enumerate(CASES.items()):
        directory = HERE / name
        shutil.rmtree(directory, ignore_errors=True)
        generator = torch.Generator().manual_seed(1000 + number)
        model = kind(ViTConfig(**config))
        randomise(model, generator)
        model.to(dtype).save_pretrained(directory)
        (directory / "model.safetensors").chmod(0o644)
        levels = {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}}
        (directory / "nest.json").write_text(json.dumps(
            {"format": 1, "family": "vit", "axes": levels,
             "submodels": {n: spec for n, (spec, _, _) in SUBMODELS.items() if n}}, indent=2) + "\n")

        # The oracle is what transformers makes of the files.
        model = kind.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
        height, width = model.config.image_size if isinstance(model.config.image_size, (list, tuple)) else (model.config.image_size,) * 2
        pixels = torch.randn(BATCH, config["num_channels"], height, width, generator=generator)
        np.save(directory / "pixels.npy", pixels.numpy())
        seen = []
        for sub, (spec, eighths, skipped) in SUBMODELS.items():
            widths = [config["intermediate_size"] * e // 8 for e in eighths]
            outputs = outputsOf(specialise(model, widths, skipped), pixels)
            for output, value in outputs.items():
                np.save(directory / f"{output}{'.' if sub else ''}{sub}.npy", value.numpy())
            last = list(outputs.values())[0]
            assert all(difference(last, other) > 1e-2 for other in seen), (name, sub)
            seen.append(last)
            entries.append({"case": name, "submodel": sub, "spec": spec, "outputs": list(outputs), "dtype": "f32", "tolerance": 1e-4})
            if dtype is torch.bfloat16:
                entries.append({**entries[-1], "dtype": "bf16", "tolerance": 3e-2})
    (HERE / "vit.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
