# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the training scripts beside this file share: the Jargon File as tokens,
the parts of a Llama in plain PyTorch, the training loop, the files.

Modules are named as Hugging Face names a Llama's tensors, so that a state
dictionary is a checkpoint."""

import argparse
import collections
import gzip
import json
import math
import os
import pathlib
import random
import re
import tempfile
import time

import numpy as np
import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

SEED = 20240607
VOCAB = 2048
ROW = 256  # tokens in a row, of training as of the held-out array
END = "<|endoftext|>"  # id 0: ends every document, and starts the stream
TEXT = "/usr/share/doc/jargon-text/jargon.txt.gz"
EPS = 1e-5
THETA = 10000.0
UNIT = "nats per token, mean over the 255 predictions of each row of heldout.npy"

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


class TextRows:
    """Rows of the training stream: epochs in random order, each at a random phase."""

    def __init__(self, stream, chooser):
        self.stream, self.chooser, self.starts = stream, chooser, []

    def take(self, count):
        while len(self.starts) < count:
            phase = self.chooser.randrange(ROW)
            epoch = list(range(phase, len(self.stream) - ROW, ROW))
            self.chooser.shuffle(epoch)
            self.starts += epoch
        starts = [self.starts.pop() for _ in range(count)]
        return torch.stack([self.stream[s : s + ROW] for s in starts])


def matlmText(path):
    """(training rows, held-out rows) of the Jargon File as MatLM's tokenizer and
    its held-out array have them."""
    matlm = pathlib.Path(__file__).parent / "matlm"
    tokenizer = tokenizers.Tokenizer.from_file(str(matlm / "tokenizer.json"))
    documents, _ = splitDocuments(readDocuments(path))
    stream = torch.from_numpy(encode(tokenizer, documents)).long()
    held = torch.from_numpy(np.load(matlm / "heldout.npy")).long()
    return TextRows(stream, random.Random(SEED)), held


# --- Parts of a Llama ---------------------------------------------------------


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * self.weight


def linear(inputs, outputs, bias=False):
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=0.03)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def rotate(x, positions):
    """RoPE on [B, H, T, D], halves rotated; positions [T] or [B, T]."""
    half = x.shape[-1] // 2
    frequencies = THETA ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions.float()[..., None] * frequencies
    if positions.ndim == 2:
        angles = angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    a, b = x.float().split(half, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attend(q, k, v, positions, mask=None):
    """Attention of [B, T, H, D] with RoPE; causal, or under a mask of booleans."""
    q, k = rotate(q.transpose(1, 2), positions), rotate(k.transpose(1, 2), positions)
    v = v.transpose(1, 2).float()
    with torch.autocast("cpu", enabled=False):  # PyTorch's is faster in float32
        out = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=mask is None, enable_gqa=True
        )
    return out.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, self.size = c["hidden_size"], c["head_dim"]
        self.q_proj = linear(d, c["num_attention_heads"] * self.size)
        self.k_proj = linear(d, c["num_key_value_heads"] * self.size)
        self.v_proj = linear(d, c["num_key_value_heads"] * self.size)
        self.o_proj = linear(c["num_attention_heads"] * self.size, d)

    def forward(self, x, positions, mask):
        projections = self.q_proj, self.k_proj, self.v_proj
        q, k, v = (p(x).unflatten(-1, (-1, self.size)) for p in projections)
        return self.o_proj(attend(q, k, v, positions, mask))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, width = c["hidden_size"], c["intermediate_size"]
        self.gate_proj, self.up_proj = linear(d, width), linear(d, width)
        self.down_proj = linear(width, d)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """A layer with both its residuals; `drop` holds nothing."""

    def __init__(self, c, drop, mlp=MLP):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"])
        self.mlp = mlp(c)
        self.drop = drop

    def forward(self, x, positions, mask=None):
        x = x + self.drop(self.self_attn(self.input_layernorm(x), positions, mask))
        return x + self.drop(self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    """Tied embeddings; makeLayer(config, index, dropout) gives one layer."""

    def __init__(self, c, makeLayer, dropout):
        super().__init__()
        torch.manual_seed(SEED)
        self.config, self.drop = c, nn.Dropout(dropout)
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        nn.init.normal_(self.model.embed_tokens.weight, std=0.03)
        layers = range(c["num_hidden_layers"])
        self.model.layers = nn.ModuleList(makeLayer(c, i, self.drop) for i in layers)
        self.model.norm = RMSNorm(c["hidden_size"])
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                with torch.no_grad():
                    parameter /= math.sqrt(2 * len(layers))

    def forward(self, rows):
        x = self.drop(self.model.embed_tokens(rows))
        positions = torch.arange(rows.shape[1])
        for layer in self.model.layers:
            x = layer(x, positions)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


def llamaConfig(**keys):
    """A Llama's config.json: MatLM's but for `keys`."""
    matlm = pathlib.Path(__file__).parent / "matlm" / "config.json"
    return {**json.loads(matlm.read_text()), "dtype": "bfloat16", **keys}


# --- Training and evaluation --------------------------------------------------


def makeOptimizer(model, rate, decay):
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.95),
    )


def setRate(optimizer, rate, step, steps):
    warm = min(1.0, (step + 1) / 100)
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = rate * warm * (0.01 + 0.99 * cosine)


def update(model, optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def fit(model, lossOf, options):
    """options.steps steps of AdamW on lossOf(), which draws its own rows."""
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    optimizer, began = makeOptimizer(model, options.rate, options.decay), time.time()
    model.train()
    for step in range(options.steps):
        setRate(optimizer, options.rate, step, options.steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = lossOf()
        update(model, optimizer, loss)
        if step % 20 == 0:
            print(f"{step} {loss.item():.3f} {time.time() - began:.0f}s", flush=True)
    model.eval()


def nextTokenLosses(logits, rows):
    """[B, T - 1]: what each row but the last loses on the token after it."""
    # Sliced after the losses: a slice of the logits would be copied.
    targets = F.pad(rows[:, 1:], (0, 1)).flatten()
    losses = F.cross_entropy(logits.float().flatten(0, 1), targets, reduction="none")
    return losses.view(rows.shape)[:, :-1]


@torch.no_grad()
def heldoutLoss(model, held):
    """Nats per token in float32, the sum in float64."""
    losses = [nextTokenLosses(model(part), part).double().sum() for part in held.split(16)]
    return (sum(losses) / (held.shape[0] * (held.shape[1] - 1))).item()


def macsPerToken(config, layers, capacity=1.0, routed=0):
    """Multiply-adds a token of a forward pass over ROW rows, of a Llama with
    `layers` layers, `routed` of which see `capacity` of the rows: every matrix,
    the output's included, and the causal half of the attention scores."""
    d, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    shared = config["num_key_value_heads"] * config["head_dim"]
    matrices = 2 * d * (heads + shared) + 3 * d * config["intermediate_size"]

    def layer(share):
        return share * (matrices + 2 * heads * (share * ROW + 1) / 2)
    return round(
        d * config["vocab_size"] + (layers - routed) * layer(1.0) + routed * (layer(capacity) + d)
    )


def makeParser(description, steps, **defaults):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true",
                        help="a few steps into a temporary directory: a smoke check")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=steps)
    for name, value in {"batch": 8, "rate": 2e-3, "dropout": 0.1, "decay": 0.1, **defaults}.items():
        parser.add_argument("--" + name, type=type(value), default=value)
    return parser


# --- Files --------------------------------------------------------------------


def replaceFile(path, write):
    """Calls write(temporary path), then moves the file into place."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)
    path.chmod(0o644)


def writeJson(path, value):
    text = json.dumps(value, indent=2) + "\n"
    replaceFile(path, lambda p: p.write_text(text, encoding="utf-8"))


def saveWeights(path, weights):
    replaceFile(path, lambda p: save_file(weights, str(p), metadata={"format": "pt"}))


def saveArray(path, array):
    def write(temporary):
        with open(temporary, "wb") as file:  # np.save adds .npy to a name
            np.save(file, array)

    replaceFile(path, write)


def roundToBfloat16(model):
    """Rounds the weights to what is stored, so that the losses are the file's."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16().float())


def publish(model, directory, config, nest, rename=lambda name: name):
    directory.mkdir(parents=True, exist_ok=True)
    weights = {rename(n): p.detach().bfloat16().contiguous() for n, p in model.named_parameters()}
    saveWeights(directory / "model.safetensors", weights)
    writeJson(directory / "config.json", dict(sorted(config.items())))
    writeJson(directory / "nest.json", nest)


def run(parser, models, readData):
    """Trains each model on its own copy of the data; writes its losses.json."""
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = options.out
    if options.quick:
        options.steps, out = min(options.steps, 3), pathlib.Path(tempfile.mkdtemp())
    for name, train in models.items():
        if getattr(options, "only", None) not in (None, name):
            continue
        rows, held = readData(options)
        if options.quick:
            held = held[:4]
        losses = {"unit": UNIT, **train(options, rows, held, out / name)}
        print(json.dumps(losses, indent=1), flush=True)
        writeJson(out / name / "losses.json", losses)
