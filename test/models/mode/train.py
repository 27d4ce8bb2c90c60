#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains a small integrated MoDE: experts and a no-op behind one router.

Needs torch, tokenizers, safetensors and numpy; the tests do not run it, its
outputs are checked in.  README.md beside this file says more."""

import pathlib
import sys

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import common  # noqa: E402

BALANCE = 0.01  # of the load balancing loss
MODE = common.llamaConfig(
    architectures=["ModeForCausalLM"],
    model_type="mode",
    intermediate_size=192,
    num_experts=3,
    num_experts_per_tok=1,
    noop_experts=1,
    noop="weighted_identity",
    moe_layers=[1, 3, 5],
)


class Experts(nn.Module):
    """The one slot of the largest probability p: p E(h), or p h for the no-op,
    which is the last slot.  h is normalised; the router reads it as well."""

    def __init__(self, c):
        super().__init__()
        self.router = common.linear(c["hidden_size"], c["num_experts"] + c["noop_experts"])
        self.experts = nn.ModuleList(common.MLP(c) for _ in range(c["num_experts"]))

    def forward(self, x):
        h = x.flatten(0, 1)
        with torch.autocast("cpu", enabled=False):
            chances = F.linear(h.float(), self.router.weight).softmax(-1)
        best, self.slots = chances.max(-1)
        slots = F.one_hot(self.slots, chances.shape[-1]).float()
        self.balance = chances.shape[-1] * (slots.mean(0) * chances.mean(0)).sum()
        out = h.float()
        for slot, expert in enumerate(self.experts):
            rows = (self.slots == slot).nonzero()[:, 0]
            out = out.index_copy(0, rows, expert(h[rows]).float())
        return (best[:, None] * out).view_as(x)


def makeModel(dropout):
    def makeLayer(c, index, drop):
        return common.Block(c, drop, Experts if index in c["moe_layers"] else common.MLP)

    return common.Llama(MODE, makeLayer, dropout)


def routedLayers(model):
    return {i: model.model.layers[i].mlp for i in MODE["moe_layers"]}


@torch.no_grad()
def slotShares(model, held):
    """Of each routed layer, the share of rows that each slot takes."""
    counts = {index: torch.zeros(MODE["num_experts"] + 1) for index in routedLayers(model)}
    for part in held.split(16):
        model(part)
        for index, layer in routedLayers(model).items():
            counts[index] += layer.slots.bincount(minlength=len(counts[index]))
    return {str(i): [round(x, 5) for x in (c / c.sum()).tolist()] for i, c in counts.items()}


def activeMacs(shares):
    """Multiply-adds a token: of the routed layers, one expert on the rows that
    do not take the no-op, and the router."""
    d, layers = MODE["hidden_size"], MODE["num_hidden_layers"]
    ffn = 3 * d * MODE["intermediate_size"]
    saved = sum(share[-1] * ffn - d * len(share) for share in shares.values())
    return round(common.macsPerToken(MODE, layers) - saved)


def train(options, rows, held, out):
    model = makeModel(options.dropout)

    def lossOf():
        batch = rows.take(options.batch)
        loss = common.nextTokenLosses(model(batch), batch).mean()
        return loss + options.auxiliary * sum(l.balance for l in routedLayers(model).values())

    common.fit(model, lossOf, options)
    common.roundToBfloat16(model)
    loss = common.heldoutLoss(model, held)
    shares = slotShares(model, held)
    common.publish(model, out, MODE, {"format": 1, "family": "mode"})
    return {
        "loss": {"mode": round(loss, 5)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs_per_token": activeMacs(shares),
        "slots": shares,
        "noop": {index: share[-1] for index, share in shares.items()},
    }


def main():
    parser = common.makeParser(__doc__, steps=600, auxiliary=BALANCE)
    parser.add_argument("--text", default=common.TEXT)
    common.run(parser, {"mode": train}, lambda options: common.matlmText(options.text))


if __name__ == "__main__":
    main()
