#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the checkpoints of the family olmo beside this file, and their logits.

The reference is NumPy in float64, from the equations: OLMo's sequential block,
ALiBi (arXiv 2108.12409) with OLMo's slopes, and MatFormer's prefix of an FFN
(arXiv 2310.07707, section 3). It attends over all keys at once, without a cache,
and slices what it multiplies. Nothing of nestc is used but the helpers of
../reference/files.py, which write files.
"""

import math
import pathlib
import shutil
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
from files import roundBf16, writeJson, writeTensors  # noqa: E402

TOKENS, NEW_TOKENS = 24, 12

# name -> (spec, width of each layer in eighths of the full width)
FACTORS = {
    "": ("", [8, 8, 8]),
    "half": ("layers.all.ffn=1/2", [4, 4, 4]),
    "quarter": ("layers.all.ffn=1/4", [2, 2, 2]),
    "eighth": ("layers.all.ffn=1/8", [1, 1, 1]),
    "mix": ("layers.0.ffn=1/2,layers.1.ffn=1/8,layers.2.ffn=full", [4, 1, 8]),
}
BASE = dict(
    d_model=48, n_heads=6, n_layers=3, mlp_ratio=2, alibi=True, alibi_bias_max=8.0, rope=False,
    multi_query_attention=True, block_type="sequential", layer_norm_type="low_precision",
    include_bias=True, activation_type="gelu", attention_layer_norm=False, weight_tying=True,
    vocab_size=101, embedding_size=112, max_sequence_length=64, eos_token_id=100, pad_token_id=100,
    attention_dropout=0.1, init_std=0.02, flash_attention=False,
)
CASES = {
    "alibi": dict(batch=3, greedy=True),
    "alibi-bf16": dict(dtype="BF16", submodels=["", "mix"], n_heads=3),
    "rope": dict(alibi=False, rope=True, multi_query_attention=False, submodels=["", "mix"]),
    "no-bias": dict(include_bias=False, multi_query_attention=False, n_heads=4,
                    weight_tying=False, layer_norm_type="default", activation_type="relu",
                    submodels=["", "mix"]),
    "untied": dict(weight_tying=False, alibi_bias_max=16.0, embedding_size=None, batch=3,
                   attention_layer_norm=True, submodels=["", "quarter"]),
    "swiglu": dict(activation_type="swiglu", alibi=False, mlp_ratio=4, bias_for_layer_norm=False,
                   submodels=["", "mix"]),
    "rms": dict(layer_norm_type="rms", include_bias=False, rope=True, alibi=False,
                activation_type="silu", mlp_hidden_size=64, submodels=["", "eighth"]),
}


def tensorsOf(config, random, scale):
    d, heads = config["d_model"], config["n_heads"]
    kv = d // heads * (1 if config["multi_query_attention"] else heads)
    rows = config.get("embedding_size") or config["vocab_size"]
    inner = config.get("mlp_hidden_size") or config["mlp_ratio"] * d
    act = inner // 2 if config["activation_type"] == "swiglu" else inner
    bias = config["include_bias"]
    normBias = config.get("bias_for_layer_norm", bias)
    tensors = {}

    def linear(name, out, width):
        tensors[name + ".weight"] = scale * random.standard_normal((out, width))
        if bias:
            tensors[name + ".bias"] = 0.3 * random.standard_normal(out)

    def norm(name, width):
        tensors[name + ".weight"] = 1 + 0.2 * random.standard_normal(width)
        if normBias:
            tensors[name + ".bias"] = 0.3 * random.standard_normal(width)

    tensors["transformer.wte.weight"] = random.standard_normal((rows, d))
    if not config["alibi"] and not config["rope"]:
        tensors["transformer.wpe.weight"] = random.standard_normal((config["max_sequence_length"], d))
    for i in range(config["n_layers"]):
        p = f"transformer.blocks.{i}."
        norm(p + "attn_norm", d)
        norm(p + "ff_norm", d)
        linear(p + "att_proj", d + 2 * kv, d)
        if config["attention_layer_norm"]:
            norm(p + "q_norm", d)
            norm(p + "k_norm", kv)
        linear(p + "attn_out", d, d)
        linear(p + "ff_proj", inner, d)
        linear(p + "ff_out", d, act)
    norm("transformer.ln_f", d)
    if not config["weight_tying"]:
        linear("transformer.ff_out", rows, d)
    return tensors


erf = np.vectorize(math.erf)


def activate(kind, x):
    if kind == "gelu":
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return np.maximum(x, 0) if kind == "relu" else x / (1 + np.exp(-x))


def logitsOf(config, tensors, ids, eighths):
    """Logits of one sequence; `eighths` of the FFN of each layer."""
    d, heads, count = config["d_model"], config["n_heads"], len(ids)
    width = d // heads
    shared = config["multi_query_attention"]

    def linear(x, name, rows=slice(None), columns=slice(None)):
        y = x @ tensors[name + ".weight"][rows, columns].T
        bias = tensors.get(name + ".bias")
        return y if bias is None else y + bias[rows]

    def norm(x, name):
        if config["layer_norm_type"] != "rms":
            x = x - x.mean(-1, keepdims=True)
        y = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * tensors[name + ".weight"]
        return y + tensors.get(name + ".bias", 0)

    def turn(x):  # [head, t, width]
        angle = np.arange(count)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
        angle = np.concatenate([angle, angle], -1)
        half = np.concatenate([-x[..., width // 2 :], x[..., : width // 2]], -1)
        return x * np.cos(angle) + half * np.sin(angle)

    x = tensors["transformer.wte.weight"][ids]
    if "transformer.wpe.weight" in tensors:
        x = x + tensors["transformer.wpe.weight"][:count]
    i = np.arange(count)
    for layer in range(config["n_layers"]):
        p = f"transformer.blocks.{layer}."
        fused = linear(norm(x, p + "attn_norm"), p + "att_proj")
        kv = width if shared else d
        q, k, v = np.split(fused, [d, d + kv], -1)
        if config["attention_layer_norm"]:
            q, k = norm(q, p + "q_norm"), norm(k, p + "k_norm")
        q, k, v = (np.moveaxis(y.reshape(count, -1, width), 1, 0) for y in (q, k, v))
        if config["rope"]:
            q, k = turn(q), turn(k)
        scores = q @ np.swapaxes(k, 1, 2) / math.sqrt(width)
        if config["alibi"]:
            m = np.arange(1, heads + 1) * config["alibi_bias_max"] / heads
            scores = scores - np.abs(i[:, None] - i) * 2.0 ** -m[:, None, None]
        scores = np.where(i[:, None] >= i, scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        x = x + linear(np.moveaxis(weights @ v, 0, 1).reshape(count, d), p + "attn_out")
        normed = norm(x, p + "ff_norm")
        full = tensors[p + "ff_out.weight"].shape[1]
        n = full * eighths[layer] // 8
        if config["activation_type"] == "swiglu":
            # A chunk each, of which a prefix is taken.
            inner = activate("silu", linear(normed, p + "ff_proj", slice(full, full + n)))
            inner = inner * linear(normed, p + "ff_proj", slice(n))
        else:
            inner = activate(config["activation_type"], linear(normed, p + "ff_proj", slice(n)))
        x = x + linear(inner, p + "ff_out", columns=slice(n))
    head = "transformer.wte" if config["weight_tying"] else "transformer.ff_out"
    return linear(norm(x, "transformer.ln_f"), head)[:, : config["vocab_size"]]


def makeCase(name, what, entries, generated):
    what = dict(what)
    dtype, batch = what.pop("dtype", "F32"), what.pop("batch", 1)
    submodels, greedy = what.pop("submodels", list(FACTORS)), what.pop("greedy", False)
    config = {**BASE, **what}
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    writeJson(directory / "config.json", config)
    writeJson(directory / "nest.json", {
        "format": 1, "family": "olmo", "axes": {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}}})
    # A seed of the name: a new case leaves the others as they are.
    random = np.random.default_rng(list(name.encode()))
    tensors = tensorsOf(config, random, 0.12 if dtype == "BF16" else 0.2)
    writeTensors(directory / "model.safetensors", tensors, dtype)
    cast = roundBf16 if dtype == "BF16" else np.float32
    tensors = {n: np.asarray(cast(t), np.float64) for n, t in tensors.items()}
    tokens = random.integers(0, config["vocab_size"], (batch, TOKENS))
    np.save(directory / "tokens.npy", tokens.astype(np.int32))

    def run(ids, sub):
        return logitsOf(config, tensors, ids, FACTORS[sub][1])

    for sub in submodels:
        file = f"logits.{sub}.npy" if sub else "logits.npy"
        np.save(directory / file, np.stack([run(row, sub) for row in tokens]).astype(np.float32))
        common = {"case": name, "submodel": sub, "spec": FACTORS[sub][0],
                  "tokens": f"{name}/tokens.npy", "logits": f"{name}/{file}"}
        entries.append({**common, "dtype": "f32", "tolerance": 1e-4})
        if dtype == "BF16":
            entries.append({**common, "dtype": "bf16", "tolerance": 3e-2})
        if not greedy:
            continue
        ids, margin = tokens[0, :8].tolist(), 1.0
        for _ in range(NEW_TOKENS):
            row = run(ids, sub)[-1]
            second, first = np.sort(row)[-2:]
            margin = min(margin, (first - second) / np.abs(row).max())
            ids.append(int(row.argmax()))
        if margin > 1e-3 and config["eos_token_id"] not in ids[8:]:
            generated.append({"case": name, "spec": FACTORS[sub][0], "prompt": ids[:8], "ids": ids[8:]})


def main():
    entries, generated = [], []
    for name, what in CASES.items():
        makeCase(name, what, entries, generated)
    assert len(generated) >= 3
    writeJson(HERE / "cases.json", {"logits": entries, "greedy": generated})


if __name__ == "__main__":
    main()
