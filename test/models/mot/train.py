#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains a small Mixture-of-Transformers on digits as text, images and speech,
and its dense twin, which does as much work for a token.

Needs torch, scikit-learn, safetensors, numpy and espeak-ng; the tests do not
run it, its outputs are checked in.  README.md beside this file says more."""

import functools
import pathlib
import random
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import common  # noqa: E402
import digits  # noqa: E402

HELD_ROWS = 64
MODALITIES = ["text", "image", "speech"]
CONFIG = {
    "architectures": ["MotForCausalLM"],
    "model_type": "mot",
    "dtype": "bfloat16",
    "dim": 128,
    "n_layers": 4,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 32,
    "hidden_dim": 256,
    "vocab_size": digits.VOCAB,
    "norm_eps": common.EPS,
    "rope_theta": common.THETA,
    "qk_normalization": True,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


class Towers(nn.ModuleList):
    """One layer a tower; rows are sorted by tower, sizes counts them."""

    def forward(self, x, sizes):
        return torch.cat([tower(part) for tower, part in zip(self, x.split(sizes))])


class Attention(nn.Module):
    def __init__(self, c, makeTowers):
        super().__init__()
        d, self.size = c["dim"], c["head_dim"]
        heads, shared = c["n_heads"] * self.size, c["n_kv_heads"] * self.size
        self.local_experts_wq = makeTowers(common.linear, d, heads)
        self.local_experts_wk = makeTowers(common.linear, d, shared)
        self.local_experts_wv = makeTowers(common.linear, d, shared)
        self.local_experts_wo = makeTowers(common.linear, heads, d)
        self.local_experts_q_normalization = makeTowers(common.RMSNorm, self.size)
        self.local_experts_k_normalization = makeTowers(common.RMSNorm, self.size)
        self.local_experts_attention_norm = makeTowers(common.RMSNorm, d)

    def forward(self, x, layout):
        sizes = layout.sizes
        q = self.local_experts_wq(x, sizes).unflatten(-1, (-1, self.size))
        k = self.local_experts_wk(x, sizes).unflatten(-1, (-1, self.size))
        v = self.local_experts_wv(x, sizes).unflatten(-1, (-1, self.size))
        q = self.local_experts_q_normalization(q, sizes)
        k = self.local_experts_k_normalization(k, sizes)
        out = common.attend(*(layout.inSequence(y) for y in (q, k, v)), layout.positions)
        return self.local_experts_wo(layout.byTower(out), sizes)


class SwiGLU(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.w1, self.w3 = common.linear(d, hidden), common.linear(d, hidden)
        self.w2 = common.linear(hidden, d)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class FeedForward(nn.Module):
    def __init__(self, c, makeTowers):
        super().__init__()
        self.local_experts = makeTowers(SwiGLU, c["dim"], c["hidden_dim"])
        self.local_experts_ffn_norm = makeTowers(common.RMSNorm, c["dim"])


class Layer(nn.Module):
    def __init__(self, c, makeTowers):
        super().__init__()
        self.attention = Attention(c, makeTowers)
        self.feed_forward = FeedForward(c, makeTowers)


class Layout:
    """Where rows stand in their sequences, and where when sorted by tower."""

    def __init__(self, towers, count):
        self.shape = towers.shape
        self.positions = torch.arange(towers.shape[1])
        self.order = towers.flatten().argsort(stable=True)
        self.inverse = self.order.argsort()
        self.sizes = towers.flatten().bincount(minlength=count).tolist()

    def inSequence(self, x):
        return x[self.inverse].unflatten(0, self.shape)

    def byTower(self, x):
        return x.flatten(0, 1)[self.order]


class Mot(nn.Module):
    """Everything but the embeddings and the output once a tower; with one
    tower it is the dense twin."""

    def __init__(self, c, towers, norm, dropout):
        super().__init__()
        torch.manual_seed(common.SEED)

        def makeTowers(make, *sizes):
            return Towers(make(*sizes) for _ in range(towers))

        self.towers, self.norm_place, self.drop = towers, norm, nn.Dropout(dropout)
        self.tok_embeddings = nn.Embedding(c["vocab_size"], c["dim"])
        nn.init.normal_(self.tok_embeddings.weight, std=0.03)
        self.layers = nn.ModuleList(Layer(c, makeTowers) for _ in range(c["n_layers"]))
        self.norm = makeTowers(common.RMSNorm, c["dim"])
        self.output = common.linear(c["dim"], c["vocab_size"])

    def residual(self, x, norm, sizes, part):
        if self.norm_place == "pre":
            return x + self.drop(part(norm(x, sizes)))
        return x + self.drop(norm(part(x), sizes))

    def forward(self, rows):
        modality = torch.from_numpy(digits.modalityOf(rows.numpy())).long()
        layout = Layout(modality if self.towers > 1 else modality * 0, self.towers)
        x = layout.byTower(self.drop(self.tok_embeddings(rows)))
        for layer in self.layers:
            attention, ffn = layer.attention, layer.feed_forward
            x = self.residual(x, attention.local_experts_attention_norm, layout.sizes,
                              lambda x: attention(x, layout))
            x = self.residual(x, ffn.local_experts_ffn_norm, layout.sizes,
                              lambda x: ffn.local_experts(x, layout.sizes))
        return self.output(layout.inSequence(self.norm(x, layout.sizes)))


@functools.cache
def readData():
    return digits.Data()


@torch.no_grad()
def modalityLosses(model, held):
    """Nats per token by the modality of the token predicted, and over all."""
    parts = [common.nextTokenLosses(model(part), part) for part in held.split(16)]
    losses = torch.cat(parts).double()
    modality = torch.from_numpy(digits.modalityOf(held.numpy()))[:, 1:]
    means = {name: losses[modality == m].mean().item() for m, name in enumerate(MODALITIES)}
    return {name: round(mean, 5) for name, mean in {**means, "all": losses.mean().item()}.items()}


@torch.no_grad()
def drawDigits(model, codebook):
    """Greedy images after <s><text>name<image>, as text, for the log."""
    pictures = []
    for name in digits.NAMES:
        row = [0, 1, *(digits.TEXT.index(c) for c in name), digits.IMAGE]
        for _ in range(16):
            row.append(model(torch.tensor([row]))[0, -1].argmax().item())
        codes = np.clip(np.array(row[-16:]) - digits.IMAGE - 1, 0, digits.IMAGE_CODES - 1)
        image = np.clip(digits.imageFromCodes(codes, codebook), 0, 1)
        pictures.append(["".join(" .:+#"[int(x * 4.99)] for x in line) for line in image])
    return "\n".join("  ".join(lines) for lines in zip(*pictures))


def macsPerToken():
    c = CONFIG
    heads, shared = c["n_heads"] * c["head_dim"], c["n_kv_heads"] * c["head_dim"]
    layer = 2 * c["dim"] * (heads + shared) + 3 * c["dim"] * c["hidden_dim"]
    scores = 2 * heads * (common.ROW + 1) / 2
    return round(c["n_layers"] * (layer + scores) + c["dim"] * c["vocab_size"])


def fitTowers(options, rows, held, towers):
    data = readData()
    model = Mot(CONFIG, towers, options.norm, options.dropout)

    def lossOf():
        batch = data.rows(data.train, rows, options.batch, common.ROW)
        batch = torch.from_numpy(batch).long()
        return common.nextTokenLosses(model(batch), batch).mean()

    common.fit(model, lossOf, options)
    common.roundToBfloat16(model)
    print(drawDigits(model, data.imageCodebook), flush=True)
    losses = {
        "loss": modalityLosses(model, held),
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs_per_token": macsPerToken(),
    }
    return model, losses


def trainMot(options, rows, held, out):
    model, losses = fitTowers(options, rows, held, len(MODALITIES))
    nest = {
        "format": 1,
        "family": "mot",
        "modalities": {
            "names": MODALITIES,
            "tower": {name: m for m, name in enumerate(MODALITIES)},
            "untied": ["norms", "qkv", "qk_norm", "o", "ffn", "final_norm"],
            "norm": options.norm,
        },
    }
    common.publish(model, out, CONFIG, nest)
    data, tokens = readData(), held.numpy().astype(np.int32)
    arrays = {
        "heldout": tokens,
        "heldout-modality": digits.modalityOf(tokens),
        "codebook-image": data.imageCodebook,
        "codebook-speech": data.speechCodebook,
    }
    for name, array in arrays.items():
        common.saveArray(out / f"{name}.npy", array)
    common.writeJson(out / "vocabulary.json", {
        "text": digits.TEXT,
        "image": {"open": digits.IMAGE, "first": digits.IMAGE + 1, "codes": digits.IMAGE_CODES},
        "speech": {"open": digits.SPEECH, "first": digits.SPEECH + 1, "codes": digits.SPEECH_CODES},
    })
    return losses


# With one tower, norms before the sub-layers and norms of q and k, the equations
# are Qwen3's.
DENSE_NAMES = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.0.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "attention.local_experts_attention_norm.0": "input_layernorm",
    "attention.local_experts_wq.0": "self_attn.q_proj",
    "attention.local_experts_wk.0": "self_attn.k_proj",
    "attention.local_experts_wv.0": "self_attn.v_proj",
    "attention.local_experts_wo.0": "self_attn.o_proj",
    "attention.local_experts_q_normalization.0": "self_attn.q_norm",
    "attention.local_experts_k_normalization.0": "self_attn.k_norm",
    "feed_forward.local_experts_ffn_norm.0": "post_attention_layernorm",
    "feed_forward.local_experts.0.w1": "mlp.gate_proj",
    "feed_forward.local_experts.0.w2": "mlp.down_proj",
    "feed_forward.local_experts.0.w3": "mlp.up_proj",
}
DENSE = common.llamaConfig(
    architectures=["Qwen3ForCausalLM"],
    model_type="qwen3",
    hidden_size=CONFIG["dim"],
    num_hidden_layers=CONFIG["n_layers"],
    num_attention_heads=CONFIG["n_heads"],
    num_key_value_heads=CONFIG["n_kv_heads"],
    head_dim=CONFIG["head_dim"],
    intermediate_size=CONFIG["hidden_dim"],
    vocab_size=CONFIG["vocab_size"],
    tie_word_embeddings=False,
)


def denseName(name):
    if not name.startswith("layers."):
        return DENSE_NAMES[name]
    layer, part = name.removesuffix(".weight").split(".", 2)[1:]
    return f"model.layers.{layer}.{DENSE_NAMES[part]}.weight"


def trainDense(options, rows, held, out):
    if options.norm != "pre":
        raise SystemExit("mot-dense is a Qwen3: --norm pre only")
    model, losses = fitTowers(options, rows, held, 1)
    common.publish(model, out, DENSE, {"format": 1, "family": "llama"}, denseName)
    return losses


def main():
    parser = common.makeParser(__doc__, steps=450)
    parser.add_argument("--norm", choices=("pre", "post"), default="pre")
    parser.add_argument("--only", choices=("mot", "mot-dense"))
    common.run(parser, {"mot": trainMot, "mot-dense": trainDense}, lambda _: (
        random.Random(common.SEED + 1),
        torch.from_numpy(readData().heldRows(HELD_ROWS, common.ROW)).long(),
    ))


if __name__ == "__main__":
    main()
