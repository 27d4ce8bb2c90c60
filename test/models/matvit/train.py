#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains MatViT and writes the files beside this script: README.md says what they
are. Needs torch, transformers, scikit-learn and numpy; minutes on one core."""

import json
import pathlib
import shutil

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTForImageClassification

HERE = pathlib.Path(__file__).resolve().parent
SEED = 20240607
STEPS, BATCH = 3000, 128
HELD_OUT = 450  # the last images
FFN = 256
WIDTHS = {"S": FFN // 8, "M": FFN // 4, "L": FFN // 2, "XL": FFN}


def pixelsOf(images):
    """What the model is given: -1 is white, 1 is black."""
    return images[:, None].astype(np.float32) / 8 - 1


def nest(model):
    """Every FFN computes with the first model.width neurons only."""
    for layer in model.vit.layers:
        def forward(x, mlp=layer.mlp):
            n = model.width
            inner = F.gelu(F.linear(x, mlp.fc1.weight[:n], mlp.fc1.bias[:n]))
            return F.linear(inner, mlp.fc2.weight[:, :n], mlp.fc2.bias)

        layer.mlp.forward = forward


def shifted(pixels, generator):
    """Each image moved by a pixel at most."""
    padded = F.pad(pixels, (1, 1, 1, 1), value=-1.0)
    at = torch.randint(0, 3, (len(pixels), 2), generator=generator).tolist()
    return torch.stack([image[:, y : y + 8, x : x + 8] for image, (y, x) in zip(padded, at)])


@torch.no_grad()
def encode(model, pixels, width):
    """The row of the image behind the last norm, and the logits."""
    model.width = width
    rows = model.vit(pixel_values=pixels).last_hidden_state[:, 0]
    return rows, model.classifier(rows)


def nearest(queries, index):
    """For every query the place of the index entry with the largest cosine."""
    return (F.normalize(queries, dim=-1) @ F.normalize(index, dim=-1).T).argmax(-1)


def main():
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    np.save(HERE / "images.npy", images)
    np.save(HERE / "labels.npy", labels)
    pixels, target = torch.from_numpy(pixelsOf(images)), torch.from_numpy(labels).long()
    train, held = slice(0, -HELD_OUT), slice(-HELD_OUT, None)

    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = ViTForImageClassification(ViTConfig(
        hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=FFN,
        image_size=8, patch_size=2, num_channels=1, num_labels=10, layer_norm_eps=1e-5))
    nest(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, STEPS)
    widths = list(WIDTHS.values())
    model.train()
    for step in range(STEPS):
        rows = torch.randint(0, len(images) - HELD_OUT, (BATCH,), generator=generator)
        # One width a step, drawn at random (MatFormer, equation 2).
        model.width = widths[int(torch.randint(0, len(widths), (), generator=generator))]
        logits = model(pixel_values=shifted(pixels[rows], generator)).logits
        loss = F.cross_entropy(logits, target[rows], label_smoothing=0.1)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            print(step, model.width, f"{loss.item():.4f}", flush=True)
    model.eval()

    index, _ = encode(model, pixels[train], FFN)
    accuracy, retrieval = {}, {}
    for name, width in WIDTHS.items():
        rows, logits = encode(model, pixels[held], width)
        accuracy[name] = (logits.argmax(-1) == target[held]).float().mean().item()
        found = target[train][nearest(rows, index)]
        retrieval[name] = (found == target[held]).float().mean().item()
    results = {"held_out": HELD_OUT, "accuracy": accuracy, "retrieval": retrieval}
    (HERE / "accuracy.json").write_text(json.dumps(results, indent=2) + "\n")
    print(results)

    saved = HERE / "saved"
    model.save_pretrained(saved)
    for name in ("config.json", "model.safetensors"):
        shutil.move(saved / name, HERE / name)
    (HERE / "model.safetensors").chmod(0o644)
    shutil.rmtree(saved)
    (HERE / "nest.json").write_text(json.dumps({
        "format": 1, "family": "vit",
        "axes": {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}},
        "submodels": {"S": "layers.all.ffn=1/8", "M": "layers.all.ffn=1/4", "L": "layers.all.ffn=1/2", "XL": "layers.all.ffn=full"},
    }, indent=2) + "\n")


if __name__ == "__main__":
    main()
