#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains a small Mixture-of-Depths model and its dense twin of equal cost.

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

CAPACITY = 8  # one row in so many passes
BALANCE = 0.02  # of the auxiliary loss
MOD = common.llamaConfig(intermediate_size=432)
DENSE = common.llamaConfig(intermediate_size=320, num_hidden_layers=4)
ROUTED = (MOD["num_hidden_layers"]) // 2


class Routed(nn.Module):
    """x + r (B(x) - x) on the rows that pass, B a block that sees these alone.
    mode "topk": the largest eighth of the router's logits; "threshold": those
    above 0."""

    def __init__(self, c, drop, weight):
        super().__init__()
        self.block = common.Block(c, drop)
        self.router = nn.Module()
        self.router.weight_predictor = common.linear(c["hidden_size"], 1, bias=True)
        self.weight, self.mode = weight, "topk"

    def forward(self, x, positions):
        router = self.router.weight_predictor
        with torch.autocast("cpu", enabled=False):  # ranked in float32
            logits = F.linear(x.float(), router.weight, router.bias)[..., 0]
        weights = (logits if self.weight == "logit" else logits.sigmoid())[..., None]
        count = max(1, logits.shape[1] // CAPACITY)
        rows = logits.detach().topk(count, -1).indices.sort(-1).values
        self.chosen = torch.zeros_like(logits).scatter(1, rows, 1.0)
        self.logits = logits
        if self.mode == "threshold":
            return self.masked(x, positions, weights, logits > 0)
        index = rows[..., None].expand(-1, -1, x.shape[-1])
        part = x.gather(1, index)
        change = self.block(part, positions[rows]) - part
        return x.scatter_add(1, index, weights.gather(1, rows[..., None]) * change)

    def masked(self, x, positions, weights, passed):
        """The same on any set of rows: all are computed, the others masked."""
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        mask = (causal & passed[:, None, :]) | torch.eye(length, dtype=torch.bool)
        change = self.block(x, positions, mask[:, None]) - x
        return torch.where(passed[..., None], x + weights * change, x)

    def auxiliaryLoss(self):
        """Teaches the logit to be above 0 on the chosen rows and on no other."""
        return F.binary_cross_entropy_with_logits(self.logits, self.chosen)


def makeMod(dropout, weight):
    def makeLayer(c, index, drop):
        return Routed(c, drop, weight) if index % 2 else common.Block(c, drop)

    return common.Llama(MOD, makeLayer, dropout)


def routedLayers(model):
    return {i: l for i, l in enumerate(model.model.layers) if isinstance(l, Routed)}


@torch.no_grad()
def routing(model, held):
    """Of each routed layer under the threshold rule: the share of rows that
    passes, and the share of rows on which the top-k of the same logits decides
    alike."""
    passed, alike = {}, {}
    for part in held.split(16):
        model(part)
        for index, layer in routedLayers(model).items():
            rule = layer.logits > 0
            passed[index] = passed.get(index, 0) + rule.sum().item()
            alike[index] = alike.get(index, 0) + (rule == (layer.chosen > 0)).sum().item()
    return [
        {str(i): round(n / held.numel(), 5) for i, n in share.items()} for share in (passed, alike)
    ]


def setMode(model, mode):
    for layer in routedLayers(model).values():
        layer.mode = mode


def checkModes(model, rows):
    """Gathered and masked rows are the same function."""
    layer = routedLayers(model)[1]
    x = model.model.embed_tokens(rows)
    positions = torch.arange(rows.shape[1])
    with torch.no_grad():
        gathered = layer(x, positions)
        weights = (layer.logits if layer.weight == "logit" else layer.logits.sigmoid())[..., None]
        masked = layer.masked(x, positions, weights, layer.chosen > 0)
    torch.testing.assert_close(gathered, masked, rtol=1e-4, atol=1e-5)


def trainMod(options, rows, held, out):
    model = makeMod(options.dropout, options.weight)

    def lossOf():
        batch = rows.take(options.batch)
        loss = common.nextTokenLosses(model(batch), batch).mean()
        auxiliary = [layer.auxiliaryLoss() for layer in routedLayers(model).values()]
        return loss + options.auxiliary * sum(auxiliary)

    common.fit(model, lossOf, options)
    common.roundToBfloat16(model)
    checkModes(model, held[:2])
    topk = common.heldoutLoss(model, held)
    setMode(model, "threshold")
    threshold = common.heldoutLoss(model, held)
    passed, alike = routing(model, held)
    route = {
        "scope": "block",
        "select": "topk",
        "capacity": f"1/{CAPACITY}",
        "rounding": "floor",
        "min": 1,
        "rank_on": "logit",
        "weight": options.weight,
        "gate": "delta",
        "position": "original",
        "kv": "selected",
        "decode": "threshold:0",
    }
    common.publish(model, out, MOD, {"format": 1, "family": "mod", "routes": {"layers.odd": route}})
    return {
        "loss": {"topk": round(topk, 5), "threshold": round(threshold, 5)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs_per_token": common.macsPerToken(MOD, MOD["num_hidden_layers"], 1 / CAPACITY, ROUTED),
        "passed_at_threshold": passed,
        "threshold_agrees_with_topk": alike,
    }


def trainDense(options, rows, held, out):
    model = common.Llama(DENSE, lambda c, index, drop: common.Block(c, drop), options.dropout)

    def lossOf():
        batch = rows.take(options.batch)
        return common.nextTokenLosses(model(batch), batch).mean()

    common.fit(model, lossOf, options)
    common.roundToBfloat16(model)
    loss = common.heldoutLoss(model, held)
    common.publish(model, out, DENSE, {"format": 1, "family": "llama"})
    return {
        "loss": {"dense": round(loss, 5)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs_per_token": common.macsPerToken(DENSE, DENSE["num_hidden_layers"]),
    }


def main():
    parser = common.makeParser(__doc__, steps=1800, auxiliary=BALANCE)
    parser.add_argument("--weight", choices=("logit", "sigmoid"), default="logit")
    parser.add_argument("--text", default=common.TEXT)
    parser.add_argument("--only", choices=("mod", "mod-dense"))
    common.run(parser, {"mod": trainMod, "mod-dense": trainDense},
               lambda options: common.matlmText(options.text))


if __name__ == "__main__":
    main()
