#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What routing costs beside the work that it saves: prefill times of a
Mixture-of-Depths model and of a Mixture-of-Transformers model over those of
their dense twins, in turn, in one run.

Random float32 weights, d 1024, 8 layers, 16 heads, 4 KV heads, FFN 4096; MoD
routes 12.5 % of the rows through every other block; MoT has two towers, all
parts of its own, modalities at random positions.  FLOPs are those of products
with weights and of attention scores over the keys that a row sees.  Writes about
2 GB below DIR.  Needs NumPy, and nestc in the PATH; no test runs it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e" / "reference"))
from files import writeTensors  # noqa: E402

D, LAYERS, HEADS, KV, WIDTH, FFN, VOCAB = 1024, 8, 16, 4, 64, 4096, 8192
SHAPES = {
    "self_attn.q_proj": (HEADS * WIDTH, D), "self_attn.k_proj": (KV * WIDTH, D),
    "self_attn.v_proj": (KV * WIDTH, D), "self_attn.o_proj": (D, HEADS * WIDTH),
    "mlp.gate_proj": (FFN, D), "mlp.up_proj": (FFN, D), "mlp.down_proj": (D, FFN),
}
LLAMA = {
    "model_type": "llama", "vocab_size": VOCAB, "hidden_size": D, "intermediate_size": FFN,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    "head_dim": WIDTH, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
ROUTE = {"capacity": "1/8", "weight": "sigmoid", "decode": "threshold:0"}


def matrix(random, shape):
    return random.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[1]))


def writeLlama(path, routed):
    random = np.random.default_rng(1)
    tensors = {"model.embed_tokens.weight": matrix(random, (VOCAB, D)), "model.norm.weight": np.ones(D)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        if routed and layer % 2:
            tensors[prefix + "router.weight_predictor.weight"] = matrix(random, (1, D))
            tensors[prefix + "router.weight_predictor.bias"] = np.zeros(1)
            prefix += "block."
        for name, shape in SHAPES.items():
            tensors[prefix + name + ".weight"] = matrix(random, shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[prefix + name + ".weight"] = np.ones(D)
    path.mkdir(parents=True)
    writeTensors(path / "model.safetensors", tensors)
    (path / "config.json").write_text(json.dumps(LLAMA))
    if routed:
        (path / "nest.json").write_text(json.dumps({"format": 1, "family": "mod", "routes": {"layers.odd": ROUTE}}))


def writeMot(path, towers):
    random = np.random.default_rng(1)
    tensors = {"tok_embeddings.weight": matrix(random, (VOCAB, D)), "output.weight": matrix(random, (VOCAB, D))}
    shapes = {"wq": (HEADS * WIDTH, D), "wk": (KV * WIDTH, D), "wv": (KV * WIDTH, D), "wo": (D, HEADS * WIDTH)}
    for m in range(towers):
        tensors[f"norm.{m}.weight"] = np.ones(D)
    for layer in range(LAYERS):
        prefix = f"layers.{layer}."
        for m in range(towers):
            for name, shape in shapes.items():
                tensors[f"{prefix}attention.local_experts_{name}.{m}.weight"] = matrix(random, shape)
            tensors[f"{prefix}attention.local_experts_attention_norm.{m}.weight"] = np.ones(D)
            for name, shape in (("w1", (FFN, D)), ("w2", (D, FFN)), ("w3", (FFN, D))):
                tensors[f"{prefix}feed_forward.local_experts.{m}.{name}.weight"] = matrix(random, shape)
            tensors[f"{prefix}feed_forward.local_experts_ffn_norm.{m}.weight"] = np.ones(D)
    path.mkdir(parents=True)
    writeTensors(path / "model.safetensors", tensors)
    (path / "config.json").write_text(json.dumps({
        "model_type": "mot", "dim": D, "n_layers": LAYERS, "n_heads": HEADS, "n_kv_heads": KV, "head_dim": WIDTH,
        "hidden_dim": FFN, "vocab_size": VOCAB, "norm_eps": 1e-5, "rope_theta": 10000.0, "qk_normalization": False}))
    names = ["text", "image"][:towers]
    (path / "nest.json").write_text(json.dumps({"format": 1, "family": "mot", "modalities": {
        "names": names, "tower": {name: i for i, name in enumerate(names)},
        "untied": ["norms", "qkv", "o", "ffn", "final_norm"], "norm": "pre"}}))


def flops(rows, layers):
    """Of products and scores: `layers` are the rows that each layer runs on."""
    weights = sum(a * b for a, b in SHAPES.values())
    total = 2 * D * VOCAB
    for count in layers:
        total += 2 * count * weights + 4 * HEADS * WIDTH * count * (count + 1) / 2
        if count != rows:
            total += 2 * rows * D  # the router
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    models = {
        "dense": lambda path: writeLlama(path, False), "mod": lambda path: writeLlama(path, True),
        "tower": lambda path: writeMot(path, 1), "mot": lambda path: writeMot(path, 2),
    }
    times = {name: [] for name in models}
    for name, write in models.items():
        if not (options.dir / name).exists():
            write(options.dir / name)
        subprocess.run(["nestc", "compile", options.dir / name, "-q", "-o", options.dir / f"{name}.pkg"], check=True)
    for _ in range(options.rounds):
        for name in models:
            done = subprocess.run(["nestc", "bench", options.dir / f"{name}.pkg", "--prefill", str(options.rows), "--decode", "0",
                                   "--threads", "2", "--json"], check=True, capture_output=True, text=True)
            times[name].append(json.loads(done.stdout)["prefill_seconds"])
    median = {name: statistics.median(values) for name, values in times.items()}
    rows = options.rows
    share = flops(rows, [rows if layer % 2 == 0 else rows // 8 for layer in range(LAYERS)]) / flops(rows, [rows] * LAYERS)
    print(json.dumps({
        "rows": rows, "seconds": median, "times": times,
        "mod": {"flop_ratio": share, "time_ratio": median["mod"] / median["dense"],
                "time_over_flops": median["mod"] / median["dense"] / share},
        "mot": {"time_ratio": median["mot"] / median["tower"], "over_dense": median["mot"] / median["dense"]},
    }, indent=1))


if __name__ == "__main__":
    main()
