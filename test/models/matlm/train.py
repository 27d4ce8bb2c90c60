#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains MatLM, the small nested language model of the tests, on the Jargon File.

Needs torch, transformers, tokenizers, safetensors and numpy; the tests do not
run it, its outputs are checked in.  README.md beside this file says more.
"""

import argparse
import collections
import gzip
import json
import math
import os
import pathlib
import random
import re
import time

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig

SEED = 20240607
VOCAB = 2048
ROW = 256  # tokens in a row, of training as of the held-out array
LAYERS = 6
END = "<|endoftext|>"  # id 0: ends every document, and starts the stream
WIDTHS = {"S": 96, "M": 192, "L": 384, "XL": 768}
# As in the second row of the MatFormer paper's table 6: the largest gets the
# most steps, because it has the most to learn.
CHANCES = {"S": 0.18, "M": 0.20, "L": 0.22, "XL": 0.40}
MIXES = {
    "layers.0-2.ffn=1/4,layers.3-5.ffn=1/2": [192] * 3 + [384] * 3,
    "layers.0-3.ffn=1/2,layers.4+5.ffn=full": [384] * 4 + [768] * 2,
    "layers.all.ffn=1/8,layers.even.ffn=1/2": [384, 96] * 3,
}


# --- The text -----------------------------------------------------------------


def readDocuments(path):
    """The file as a list of documents: one an entry of the lexicon, and the
    chapters before and after it, paragraph by paragraph unwrapped."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        text = file.read()
    # The table of contents repeats every headword; the text starts where its
    # title comes up for the second time.
    title = "Welcome to the Jargon File"
    text = text[text.index(title, text.index(title) + 1) :]
    documents = [[]]
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.rstrip() for line in paragraph.split("\n") if line.strip()]
        if not lines or set(lines[0].strip()) <= {"═", "─"}:
            continue
        stripped = [line.strip() for line in lines]
        # Lines with runs of blanks inside are tables or drawings: kept as they are.
        drawn = any("  " in line for line in stripped)
        if stripped[0].startswith(":") or len(documents[-1]) >= 40:
            documents.append([])
        documents[-1].append("\n".join(lines) if drawn else " ".join(stripped))
    return ["\n\n".join(paragraphs) + "\n" for paragraphs in documents if paragraphs]


def splitDocuments(documents):
    """Contiguous pieces of at least 16000 characters; piece i is held out when
    i mod 20 is 10.  Returns (training documents, held-out pieces)."""
    pieces, piece, size = [], [], 0
    for document in documents:
        piece.append(document)
        size += len(document)
        if size >= 16000:
            pieces.append(piece)
            piece, size = [], 0
    pieces.append(piece)
    held = [p for i, p in enumerate(pieces) if i % 20 == 10]
    train = [d for i, p in enumerate(pieces) if i % 20 != 10 for d in p]
    return train, held


def makeTokenizer(documents):
    """A byte-level BPE as GPT-2 has it, trained on the training text only."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(
        documents,
        tokenizers.trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=[END],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def encode(tokenizer, documents):
    ids = [0]
    for encoding in tokenizer.encode_batch(documents):
        ids += encoding.ids + [0]
    return np.array(ids, np.int32)


def bigramLoss(train, held):
    """Nats per token of the best bigram model: counts interpolated with the
    add-one unigram by k pseudo-counts, k the one that suits `held` best."""
    single = np.bincount(train, minlength=VOCAB) + 1.0
    single /= single.sum()
    pairs = collections.Counter(zip(train[:-1].tolist(), train[1:].tolist()))
    first = np.bincount(train[:-1], minlength=VOCAB)
    a, b = held[:, :-1].ravel(), held[:, 1:].ravel()
    both = np.array([pairs[pair] for pair in zip(a.tolist(), b.tolist())])
    losses = {
        k: -np.log((both + k * single[b]) / (first[a] + k)).mean()
        for k in (1, 2, 5, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 500)
    }
    best = min(losses, key=losses.get)
    return float(losses[best]), best


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
    ids = tokenizer.encode(prompt).ids
    while count and len(ids) < 500:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits[0, -1].argmax()))
        count -= 1
        if ids[-1] == 0:
            break
    model.train()
    return tokenizer.decode(ids)


# --- Files --------------------------------------------------------------------


def replaceFile(path, write):
    """Calls write(temporary path), then moves the file into place."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)


def writeJson(path, value):
    text = json.dumps(value, indent=2) + "\n"
    replaceFile(path, lambda p: p.write_text(text, encoding="utf-8"))


def saveModel(model, directory):
    # lm_head.weight is embed_tokens.weight and is not stored twice.
    weights = {
        name: value.detach().float().contiguous().clone()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    replaceFile(
        directory / "model.safetensors",
        lambda p: save_file(weights, str(p), metadata={"format": "pt"}),
    )
    (directory / "model.safetensors").chmod(0o644)
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
    parser.add_argument("--text", default="/usr/share/doc/jargon-text/jargon.txt.gz")
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

    documents, pieces = splitDocuments(readDocuments(options.text))
    tokenizer = makeTokenizer(documents)
    stream = encode(tokenizer, documents)
    rows = []
    for piece in pieces:  # a row never crosses from one piece into another
        ids = encode(tokenizer, piece)
        rows += [ids[i : i + ROW] for i in range(0, len(ids) - ROW + 1, ROW)]
    held = np.stack(rows)
    bigram, pseudo = bigramLoss(stream, held)
    print(f"{len(documents)} documents, {len(stream)} training tokens, held out "
          f"{held.shape}, bigram {bigram:.4f} (k={pseudo})", flush=True)
    model = makeModel(options.dropout)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)

    if not options.finish:
        replaceFile(options.out / "tokenizer.json", lambda p: tokenizer.save(str(p)))
        with open(options.out / "heldout.npy.tmp", "wb") as file:
            np.save(file, held)
        os.replace(options.out / "heldout.npy.tmp", options.out / "heldout.npy")
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
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": options.decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=options.rate,
        betas=(0.9, 0.95),
    )
    chooser = random.Random(SEED)
    names, chances = list(CHANCES), list(CHANCES.values())
    starts, best, began = [], math.inf, time.time()
    model.train()
    for step in range(options.steps):
        warm = min(1.0, (step + 1) / 100)
        cosine = 0.5 * (1 + math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = options.rate * warm * (0.01 + 0.99 * cosine)
        while len(starts) < options.batch:  # one epoch, at a random phase
            phase = chooser.randrange(ROW)
            epoch = list(range(phase, len(stream) - ROW, ROW))
            chooser.shuffle(epoch)
            starts += epoch
        rows = torch.stack(
            [stream[s : s + ROW] for s in (starts.pop() for _ in range(options.batch))]
        )
        name = chooser.choices(names, chances)[0]
        setWidths(model, [WIDTHS[name]] * LAYERS)
        with torch.autocast("cpu", torch.bfloat16):
            loss = lossOf(model, rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
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
