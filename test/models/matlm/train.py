#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains MatLM, the small nested language model of the tests, on the Jargon File.

Needs torch, transformers, tokenizers, safetensors and numpy; the tests do not
run it, its outputs are checked in.  README.md beside this file says more.
"""

import argparse
import json
import math
import pathlib
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import common  # noqa: E402
from common import ROW, SEED, VOCAB, replaceFile, writeJson  # noqa: E402

LAYERS = 6
WIDTHS = {"S": 96, "M": 192, "L": 384, "XL": 768}
# As in the second row of the MatFormer paper's table 6: the largest gets the
# most steps, because it has the most to learn.
CHANCES = {"S": 0.18, "M": 0.20, "L": 0.22, "XL": 0.40}
MIXES = {
    "layers.0-2.ffn=1/4,layers.3-5.ffn=1/2": [192] * 3 + [384] * 3,
    "layers.0-3.ffn=1/2,layers.4+5.ffn=full": [384] * 4 + [768] * 2,
    "layers.all.ffn=1/8,layers.even.ffn=1/2": [384, 96] * 3,
}


# --- The model ----------------------------------------------------------------


def makeModel(dropout):
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=192,
        intermediate_size=WIDTHS["XL"],
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=True,
        initializer_range=0.03,
    )
    model = LlamaForCausalLM(config)
    drop = torch.nn.Dropout(dropout)
    model.add_module("drop", drop)  # follows train() and eval(), holds nothing
    for layer in model.model.layers:
        for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
            with torch.no_grad():
                part.weight /= math.sqrt(2 * LAYERS)
        mlp = layer.mlp
        mlp.active = WIDTHS["XL"]

        def forward(x, mlp=mlp):
            m = mlp.active
            gate = F.linear(x, mlp.gate_proj.weight[:m])
            up = F.linear(x, mlp.up_proj.weight[:m])
            return drop(F.linear(F.silu(gate) * up, mlp.down_proj.weight[:, :m]))

        mlp.forward = forward
        layer.self_attn.o_proj.register_forward_hook(lambda _m, _i, out: drop(out))
    model.model.embed_tokens.register_forward_hook(lambda _m, _i, out: drop(out))
    return model


def setWidths(model, widths):
    for layer, width in zip(model.model.layers, widths):
        layer.mlp.active = width


def lossOf(model, rows):
    """Mean loss over the rows' own next tokens: ROW - 1 predictions a row."""
    logits = model(input_ids=rows, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.reshape(-1, VOCAB), rows[:, 1:].reshape(-1))


@torch.no_grad()
def heldoutLoss(model, held, widths):
    model.eval()
    setWidths(model, widths)
    total = sum(lossOf(model, part).item() * len(part) for part in held.split(16))
    model.train()
    return total / len(held)


@torch.no_grad()
def sample(model, tokenizer, prompt, count):
    model.eval()
    ids = tokenizer.common.encode(prompt).ids
    while count and len(ids) < 500:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
        count -= 1
        if ids[-1] == 0:
            break
    model.train()
    return tokenizer.decode(ids)


# --- Files --------------------------------------------------------------------


def saveModel(model, directory):
    # lm_head.weight is embed_tokens.weight and is not stored twice.
    weights = {
        name: value.detach().float().contiguous().clone()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    common.saveWeights(directory / "model.safetensors", weights)
    generic = set(PreTrainedConfig().to_dict()) - {"architectures", "model_type"}
    config = {
        key: value
        for key, value in model.config.to_dict().items()
        if key not in generic or "token_id" in key
    }
    config["tie_word_embeddings"] = True
    config["architectures"] = ["LlamaForCausalLM"]
    config["dtype"] = "float32"
    writeJson(
        directory / "config.json",
        {key: value for key, value in sorted(config.items()) if value is not None},
    )
    writeJson(
        directory / "nest.json",
        {
            "format": 1,
            "family": "llama",
            "axes": {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}},
            "submodels": {
                "small": "layers.all.ffn=1/8",
                "medium": "layers.all.ffn=1/4",
                "large": "layers.all.ffn=1/2",
            },
        },
    )


def nestedLosses(model, held):
    return {n: heldoutLoss(model, held, [w] * LAYERS) for n, w in WIDTHS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default=common.TEXT)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--checkpoints", type=pathlib.Path, required=True,
                        help="directory for the best state so far")
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=8, help="rows a step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--untrained", action="store_true",
                        help="write the data and the initial weights only")
    parser.add_argument("--finish", action="store_true",
                        help="no training: publish the best state so far")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.checkpoints.mkdir(parents=True, exist_ok=True)

    documents, pieces = common.splitDocuments(common.readDocuments(options.text))
    tokenizer = common.makeTokenizer(documents)
    stream = common.encode(tokenizer, documents)
    rows = []
    for piece in pieces:  # a row never crosses from one piece into another
        ids = common.encode(tokenizer, piece)
        rows += [ids[i : i + ROW] for i in range(0, len(ids) - ROW + 1, ROW)]
    held = np.stack(rows)
    bigram, pseudo = common.bigramLoss(stream, held)
    print(f"{len(documents)} documents, {len(stream)} training tokens, held out "
          f"{held.shape}, bigram {bigram:.4f} (k={pseudo})", flush=True)
    model = makeModel(options.dropout)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)

    if not options.finish:
        replaceFile(options.out / "tokenizer.json", lambda p: tokenizer.save(str(p)))
        common.saveArray(options.out / "heldout.npy", held)
    if options.untrained:
        saveModel(model, options.out)
        return

    heldRows = torch.from_numpy(held).long()
    if not options.finish:
        train(model, torch.from_numpy(stream).long(), heldRows, tokenizer, options)

    best = load_file(options.checkpoints / "model.safetensors")
    model.load_state_dict(best, strict=False)
    nested = nestedLosses(model, heldRows)
    mixed = {spec: heldoutLoss(model, heldRows, w) for spec, w in MIXES.items()}
    saveModel(model, options.out)
    writeJson(
        options.out / "losses.json",
        {
            "unit": "nats per token, mean over heldout.npy",
            "bigram": round(bigram, 5),
            "nested": {name: round(loss, 5) for name, loss in nested.items()},
            "mixed": {spec: round(loss, 5) for spec, loss in mixed.items()},
        },
    )
    print(json.dumps([bigram, nested, mixed], indent=1))
    for name, width in WIDTHS.items():
        setWidths(model, [width] * LAYERS)
        print(f"--- {name}:", sample(model, tokenizer, ":hacker: n.", 120), flush=True)


def train(model, stream, held, tokenizer, options):
    optimizer = common.makeOptimizer(model, options.rate, options.decay)
    chooser = random.Random(SEED)
    names, chances = list(CHANCES), list(CHANCES.values())
    stream = common.TextRows(stream, chooser)
    best, began = math.inf, time.time()
    model.train()
    for step in range(options.steps):
        common.setRate(optimizer, options.rate, step, options.steps)
        rows = stream.take(options.batch)
        name = chooser.choices(names, chances)[0]
        setWidths(model, [WIDTHS[name]] * LAYERS)
        with torch.autocast("cpu", torch.bfloat16):
            loss = lossOf(model, rows)
        common.update(model, optimizer, loss)
        if step % 20 == 0:
            print(f"{step} {name} {loss.item():.3f} {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 400 == 0 or step + 1 == options.steps:
            nested = nestedLosses(model, held)
            mean = sum(nested.values()) / len(nested)
            print(f"== {step + 1}", " ".join(f"{n} {l:.4f}" for n, l in nested.items()),
                  flush=True)
            if mean < best and nested["S"] > nested["M"] > nested["L"] > nested["XL"]:
                best = mean
                saveModel(model, options.checkpoints)


if __name__ == "__main__":
    main()
