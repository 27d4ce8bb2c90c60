#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How long nestc takes to compile a model of 8, 16, 32 and 64 layers.

The checkpoints are Llamas of width 256 (FFN 1024, 8 heads, 2 KV heads, bf16),
whose weights are a hole in a file. Prints for each number of layers the smallest
processor time of some runs, from checkpoint to kernels and to package, and the
peak of memory. Behind a time stands what each layer more than in the line above
has cost: growth is linear where that stays the same.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

HIDDEN, FFN, HEADS, KV_HEADS, VOCABULARY = 256, 1024, 8, 2, 1024
HEAD = HIDDEN // HEADS


def checkpoint(directory, layers):
    """A directory of config.json and sparse weights."""
    config = {
        "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    }
    shapes = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN], "model.norm.weight": [HIDDEN]}
    for layer in range(layers):
        for name, shape in (
            ("input_layernorm", [HIDDEN]), ("post_attention_layernorm", [HIDDEN]),
            ("self_attn.q_proj", [HIDDEN, HIDDEN]), ("self_attn.k_proj", [KV_HEADS * HEAD, HIDDEN]),
            ("self_attn.v_proj", [KV_HEADS * HEAD, HIDDEN]), ("self_attn.o_proj", [HIDDEN, HIDDEN]),
            ("mlp.gate_proj", [FFN, HIDDEN]), ("mlp.up_proj", [FFN, HIDDEN]), ("mlp.down_proj", [HIDDEN, FFN]),
        ):
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    with open(directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def measure(nestc, *words):
    """Processor seconds and bytes of memory of one run."""
    process = subprocess.Popen([nestc, "compile", *map(str, words)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: nestc compile: ended with {status}; 0 is expected")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nestc", default="build/bin/nestc")
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("layers  kernels s  (+/layer ms)  package s  (+/layer ms)  memory MB")
    with tempfile.TemporaryDirectory() as place:
        place, last = pathlib.Path(place), None
        for layers in options.layers:
            source, package = place / f"{layers}", place / "package"
            checkpoint(source, layers)
            kernels = min(measure(options.nestc, source, "--emit", "kernels", "-o", place / "kernels.mlir")[0]
                          for _ in range(options.runs))
            seconds, memory = map(min, zip(*(measure(options.nestc, source, "-o", package) for _ in range(options.runs))))
            more = [f"({1e3 * (now - before) / (layers - last[0]):.1f})" for now, before in
                    zip((kernels, seconds), last[1:])] if last else ["", ""]
            print(f"{layers:6}  {kernels:9.2f}  {more[0]:>12}  {seconds:9.2f}  {more[1]:>12}  {memory / 1e6:9.0f}", flush=True)
            last = layers, kernels, seconds


main()
