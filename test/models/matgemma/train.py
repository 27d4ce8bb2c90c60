#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains MatGemma, a small nested language model of Gemma 3n's shape, on the Jargon
File.

The model is written here in plain PyTorch, so that layers can be skipped and widths
changed from step to step; the losses are those of Hugging Face transformers, on
checkpoints that are really cut.  Needs torch, transformers, tokenizers, safetensors
and numpy; the tests do not run it, its outputs are checked in.  README.md beside
this file says more."""

import argparse
import math
import pathlib
import random
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parent.parent / "e2e" / "goldens"))
import common  # noqa: E402
from common import SEED, linear, writeJson  # noqa: E402

LAYERS = 10
FULL, SLIDING = "full_attention", "sliding_attention"
CONFIG = {
    "architectures": ["Gemma3nForCausalLM"],
    "model_type": "gemma3n_text",
    "dtype": "bfloat16",
    "vocab_size": common.VOCAB,
    "vocab_size_per_layer_input": common.VOCAB - 64,
    "hidden_size": 128,
    "hidden_size_per_layer_input": 16,
    "intermediate_size": [512] * LAYERS,
    "num_hidden_layers": LAYERS,
    "num_kv_shared_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 64,
    "layer_types": ([SLIDING] * 4 + [FULL]) * 2,
    "rope_parameters": {
        FULL: {"rope_type": "default", "rope_theta": 1000000.0},
        SLIDING: {"rope_type": "default", "rope_theta": 10000.0},
    },
    "rms_norm_eps": 1e-6,
    "final_logit_softcapping": 30.0,
    "altup_num_inputs": 4,
    "altup_active_idx": 0,
    "altup_coef_clip": 120.0,
    "altup_correct_scale": True,
    "laurel_rank": 16,
    "activation_sparsity_pattern": [0.95, 0.95] + [0.0] * (LAYERS - 2),
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "use_cache": True,
}

# What a step trains, with equal chances: name -> (spec, widths, skipped layers).
TRAINED = {
    "quarter": ("layers.all.ffn=1/4", [128] * LAYERS, ()),
    "half": ("layers.all.ffn=1/2", [256] * LAYERS, ()),
    "full": ("layers.all.ffn=full", [512] * LAYERS, ()),
    "short": ("layers.all.ffn=1/2,skip=1+7", [256] * LAYERS, (1, 7)),
}
MIXED = {
    "layers.all.ffn=1/2,layers.4+9.ffn=full": [256] * 4 + [512] + [256] * 4 + [512],
    "layers.all.ffn=1/4,layers.even.ffn=1/2,layers.0+5.ffn=full":
        [512, 128, 256, 128, 256, 512, 256, 128, 256, 128],
}
# Skips that no step trained.
SKIPPED = {"layers.all.ffn=full,skip=7": ([512] * LAYERS, (7,))}


# --- The model ----------------------------------------------------------------


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x.float(), x.shape[-1:], self.weight, 1e-6)


def rotation(theta, positions):
    half = CONFIG["head_dim"] // 2
    frequencies = theta ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions.float()[:, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(x, rope):
    cos, sin = rope
    a, b = x.split(x.shape[-1] // 2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Attention(nn.Module):
    def __init__(self, c, owner):
        super().__init__()
        d, self.size = c["hidden_size"], c["head_dim"]
        self.q_proj = linear(d, c["num_attention_heads"] * self.size)
        self.q_norm = RMSNorm(self.size)
        if owner:
            self.k_proj = linear(d, c["num_key_value_heads"] * self.size)
            self.v_proj = linear(d, c["num_key_value_heads"] * self.size)
            self.k_norm = RMSNorm(self.size)
        self.o_proj = linear(c["num_attention_heads"] * self.size, d)
        self.owner = owner

    def heads(self, projected):
        return projected.unflatten(-1, (-1, self.size)).transpose(1, 2).float()

    def forward(self, x, rope, mask, shared):
        q = rotate(self.q_norm(self.heads(self.q_proj(x))), rope)
        if self.owner:
            k = rotate(self.k_norm(self.heads(self.k_proj(x))), rope)
            v = self.heads(self.v_proj(x))
            shared = k, F.rms_norm(v, v.shape[-1:], None, 1e-6)
        with torch.autocast("cpu", enabled=False):  # PyTorch's is faster in float32
            out = F.scaled_dot_product_attention(
                q, *shared, mask, is_causal=mask is None, scale=1.0, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2)), shared


class MLP(nn.Module):
    def __init__(self, c, sparsity):
        super().__init__()
        d, self.width = c["hidden_size"], 512
        self.gate_proj, self.up_proj = linear(d, self.width), linear(d, self.width)
        self.down_proj = linear(self.width, d)
        self.point = None
        if sparsity > 0:
            self.point = torch.distributions.Normal(0, 1).icdf(torch.tensor(sparsity)).item()

    def forward(self, x):
        gate = F.linear(x, self.gate_proj.weight[: self.width])
        if self.point is not None:
            gate = gate.float()
            deviation, mean = torch.std_mean(gate, -1, unbiased=False, keepdim=True)
            gate = F.relu(gate - (mean + deviation * self.point))
        up = F.linear(x, self.up_proj.weight[: self.width])
        return F.linear(F.gelu(gate, approximate="tanh") * up, self.down_proj.weight[:, : self.width])


class AltUp(nn.Module):
    """Streams [B, T, n, D]; stream 0 is the active one."""

    def __init__(self, c):
        super().__init__()
        d, n = c["hidden_size"], c["altup_num_inputs"]
        self.correct_output_scale = nn.Parameter(torch.ones(d))
        self.correction_coefs, self.prediction_coefs = linear(n, n), linear(n, n * n)
        self.modality_router, self.router_norm = linear(d, n), RMSNorm(d)
        with torch.no_grad():  # of what is divided by d
            self.modality_router.weight *= math.sqrt(d)

    def route(self, x):
        return torch.tanh(self.modality_router(self.router_norm(x) / x.shape[-1]).float())

    def predict(self, streams):
        n = streams.shape[2]
        coefs = self.prediction_coefs(self.route(streams[:, :, 0])).float()
        with torch.autocast("cpu", enabled=False):
            return streams + coefs.unflatten(-1, (n, n)) @ streams

    def correct(self, predicted, active):
        coefs = self.correction_coefs(self.route(active)).float() + 1
        return predicted + coefs[..., None] * (active - predicted[:, :, 0])[:, :, None]


class Laurel(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, rank = c["hidden_size"], c["laurel_rank"]
        self.linear_left, self.linear_right = linear(d, rank), linear(rank, d)
        self.post_laurel_norm = RMSNorm(d)

    def forward(self, x):
        return x + self.post_laurel_norm(self.linear_right(self.linear_left(x)))


class Layer(nn.Module):
    def __init__(self, c, index, drop):
        super().__init__()
        d, p = c["hidden_size"], c["hidden_size_per_layer_input"]
        owner = index < c["num_hidden_layers"] - c["num_kv_shared_layers"]
        self.self_attn = Attention(c, owner)
        self.mlp = MLP(c, c["activation_sparsity_pattern"][index])
        for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                     "post_feedforward_layernorm", "post_per_layer_input_norm"):
            setattr(self, name, RMSNorm(d))
        self.altup, self.laurel = AltUp(c), Laurel(c)
        self.per_layer_input_gate, self.per_layer_projection = linear(d, p), linear(p, d)
        self.type, self.drop = c["layer_types"][index], drop

    def forward(self, streams, input, ropes, masks, shared):
        predicted = self.altup.predict(streams)
        active = predicted[:, :, 0]
        normed = self.input_layernorm(active)
        attended, shared[self.type] = self.self_attn(
            normed, ropes[self.type], masks[self.type], shared.get(self.type))
        x = active + self.drop(self.post_attention_layernorm(attended))
        x = (x + self.laurel(normed)) / math.sqrt(2)
        change = self.mlp(self.pre_feedforward_layernorm(x))
        x = x + self.drop(self.post_feedforward_layernorm(change))
        corrected = self.altup.correct(predicted, x)
        gate = self.per_layer_input_gate(corrected[:, :, 0] * self.altup.correct_output_scale)
        inject = self.per_layer_projection(F.gelu(gate.float(), approximate="tanh") * input)
        inject = self.drop(self.post_per_layer_input_norm(inject))
        return torch.cat((corrected[:, :, :1], corrected[:, :, 1:] + inject[:, :, None]), 2)


class Gemma3n(nn.Module):
    def __init__(self, c, dropout):
        super().__init__()
        torch.manual_seed(SEED)
        self.config, self.drop, self.skipped = c, nn.Dropout(dropout), ()
        d, p, n = c["hidden_size"], c["hidden_size_per_layer_input"], c["num_hidden_layers"]
        self.model = m = nn.Module()
        m.embed_tokens = nn.Embedding(c["vocab_size"], d)
        m.embed_tokens_per_layer = nn.Embedding(c["vocab_size_per_layer_input"], n * p)
        nn.init.normal_(m.embed_tokens.weight, std=0.05)
        nn.init.normal_(m.embed_tokens_per_layer.weight, std=0.1)
        m.per_layer_model_projection = linear(d, n * p)
        m.per_layer_projection_norm = RMSNorm(p)
        others = range(1, c["altup_num_inputs"])
        m.altup_projections = nn.ModuleList(linear(d, d) for _ in others)
        m.altup_unembed_projections = nn.ModuleList(linear(d, d) for _ in others)
        m.layers = nn.ModuleList(Layer(c, i, self.drop) for i in range(n))
        m.norm = RMSNorm(d)

    def select(self, widths, skipped=()):
        self.skipped = skipped
        for layer, width in zip(self.model.layers, widths):
            layer.mlp.width = width

    @staticmethod
    def asLargeAs(x, scale):
        return x * scale / x.square().mean(-1, keepdim=True).clamp(min=1e-5).sqrt()

    def forward(self, rows):
        c, m = self.config, self.model
        p = c["hidden_size_per_layer_input"]
        x = self.drop(m.embed_tokens(rows) * math.sqrt(c["hidden_size"]))
        known = torch.where(rows < c["vocab_size_per_layer_input"], rows, 0)
        inputs = m.embed_tokens_per_layer(known) * math.sqrt(p)
        projected = m.per_layer_model_projection(x).float() / math.sqrt(c["hidden_size"])
        projected = m.per_layer_projection_norm(projected.unflatten(-1, (-1, p)))
        inputs = (projected + inputs.unflatten(-1, (-1, p))) / math.sqrt(2)
        scale = x.square().mean(-1, keepdim=True).sqrt()
        others = [self.asLargeAs(y(x).float(), scale) for y in m.altup_projections]
        streams = torch.stack([x, *others], 2)

        positions = torch.arange(rows.shape[1])
        ropes = {t: rotation(v["rope_theta"], positions) for t, v in c["rope_parameters"].items()}
        apart = positions[:, None] - positions
        masks = {FULL: None, SLIDING: (apart >= 0) & (apart < c["sliding_window"])}
        shared = {}
        for i, layer in enumerate(m.layers):
            if i not in self.skipped:
                streams = layer(streams, inputs[:, :, i], ropes, masks, shared)

        x = streams[:, :, 0]
        scale = x.square().mean(-1, keepdim=True).sqrt()
        for i, y in enumerate(m.altup_unembed_projections):
            x = x + self.asLargeAs(y(streams[:, :, i + 1]).float(), scale)
        x = m.norm(x / c["altup_num_inputs"])
        cap = c["final_logit_softcapping"]
        return torch.tanh(F.linear(x, m.embed_tokens.weight).float() / cap) * cap


# --- Training -----------------------------------------------------------------


def nestedLosses(model, held):
    model.eval()
    losses = {}
    for name, (_, widths, skipped) in TRAINED.items():
        model.select(widths, skipped)
        losses[name] = common.heldoutLoss(model, held)
    model.train()
    return losses


def train(model, rows, held, options):
    optimizer = common.makeOptimizer(model, options.rate, options.decay)
    chooser, began = random.Random(SEED), time.time()
    model.train()
    for step in range(options.steps):
        common.setRate(optimizer, options.rate, step, options.steps)
        batch = rows.take(options.batch)
        name = chooser.choice(list(TRAINED))
        model.select(*TRAINED[name][1:])
        with torch.autocast("cpu", torch.bfloat16):
            loss = common.nextTokenLosses(model(batch), batch).mean()
        common.update(model, optimizer, loss)
        if step % 20 == 0:
            print(f"{step} {name} {loss.item():.3f} {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 300 == 0 or step + 1 == options.steps:
            losses = nestedLosses(model, held[:32])
            print(f"== {step + 1}", *(f"{n} {l:.4f}" for n, l in losses.items()), flush=True)
            weights = {n: p.detach().contiguous() for n, p in model.named_parameters()}
            common.saveWeights(options.checkpoints / "model.safetensors", weights)


# --- What transformers makes of it ----------------------------------------------


def heldoutLosses(model, held):
    """spec -> loss, of every submodel cut out of the stored weights; the model here
    gives the same."""
    from make_gemma3n_goldens import build, cutSubmodel

    state = {n: p.detach() for n, p in model.named_parameters()}
    every = {spec: (widths, skipped) for spec, widths, skipped in TRAINED.values()}
    every |= {spec: (widths, ()) for spec, widths in MIXED.items()} | SKIPPED
    losses = {}
    for name, (widths, skipped) in every.items():
        oracle = build(*cutSubmodel(CONFIG, state, widths, list(skipped)))

        def logits(rows, oracle=oracle):
            return oracle(input_ids=rows, use_cache=False).logits

        model.select(widths, skipped)
        with torch.no_grad():
            apart = (logits(held[:2]) - model(held[:2])).abs().max().item()
        assert apart < 1e-3, (name, apart)
        losses[name] = round(common.heldoutLoss(logits, held), 5)
        print(f"{name} {losses[name]:.5f}, implementations apart by {apart:.1e}", flush=True)
    return losses


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default=common.TEXT)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--checkpoints", type=pathlib.Path, required=True,
                        help="directory for the latest state")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8, help="rows a step")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.1)
    parser.add_argument("--finish", action="store_true",
                        help="no training: publish the latest state")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.checkpoints.mkdir(parents=True, exist_ok=True)

    rows, held = common.matlmText(options.text)
    model = Gemma3n(CONFIG, options.dropout)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    if not options.finish:
        train(model, rows, held, options)

    model.load_state_dict(load_file(options.checkpoints / "model.safetensors"))
    model.eval()
    common.roundToBfloat16(model)
    losses = heldoutLosses(model, held)
    common.publish(
        model, options.out, CONFIG,
        {"format": 1, "family": "gemma3n",
         "axes": {"layers.all.ffn": {"levels": ["1/4", "1/2", "1"]}},
         "submodels": {n: spec for n, (spec, _, _) in TRAINED.items() if n != "full"}},
    )
    writeJson(
        options.out / "losses.json",
        {"unit": common.UNIT,
         "nested": {name: losses[spec] for name, (spec, _, skip) in TRAINED.items() if not skip},
         "mixed": {spec: losses[spec] for spec in MIXED},
         "skipped": {spec: losses[spec] for spec in losses if "skip" in spec},
         "parameters": sum(p.numel() for p in model.parameters())},
    )


if __name__ == "__main__":
    main()
