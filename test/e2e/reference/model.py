# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Float64 references of the routed families: mod, mod-gpt, mode and mot.

A model computes one sequence, call by call: a call brings rows (tokens), reads
and extends the K and V of every layer, and gives the logits of its rows.
Written from the papers' equations; nothing of nestc is used.

  Mixture-of-Depths (arXiv 2404.02258), eq. 1, and its MoDE of section 4.3
  Mixture-of-Transformers (arXiv 2411.04996), eq. 2 and 3
"""

import pathlib

import numpy as np

import files
import routing
from routing import sigmoid, softmax


# --- Pieces ----------------------------------------------------------------------


def rmsNorm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def layerNorm(x, weight, bias, eps):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight + bias


def silu(x):
    return x * sigmoid(x)


def geluTanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def rope(x, index, theta):
    """Rotates the two halves of every head; x [T, heads, width], index [T]."""
    half = x.shape[-1] // 2
    angle = np.asarray(index)[:, None] * theta ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(q, k, v, mask):
    """softmax(q k^T / sqrt(width)) v per head; K and V heads serve groups of q's."""
    group, width = q.shape[1] // k.shape[1], q.shape[1] * q.shape[2]
    if not len(q):
        return np.zeros((0, width))
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = np.einsum("ihw,jhw->hij", q, k) / np.sqrt(q.shape[-1])
    weights = softmax(np.where(mask, scores, -np.inf))
    return np.einsum("hij,jhw->ihw", weights, v).reshape(len(q), width)


def headed(x, width):
    return x.reshape(len(x), x.shape[-1] // width, width)


class Cache:
    """K and V of one layer and sequence, and where in the sequence they stand."""

    def __init__(self):
        self.k = self.v = None
        self.at = np.arange(0)

    def append(self, k, v, at):
        self.k = k if self.k is None else np.concatenate([self.k, k])
        self.v = v if self.v is None else np.concatenate([self.v, v])
        self.at = np.concatenate([self.at, at])


class State:
    """One sequence between calls."""

    def __init__(self):
        self.length = 0
        self.caches = {}
        self.margin = np.inf  # the smallest distance of any score from its cut-off
        self.certain = np.inf  # rows before this one depend on no score at its cut-off


# --- What all families share -----------------------------------------------------


class Model:
    """`near`: the relative distance within which a score counts as at its cut-off.
    `rounded`: what the operands of matrix products are rounded with (to see what
    that does to a golden; never what a golden is made with).
    `said`: config and nest other than those of the directory."""

    def __init__(self, directory, submodel="", near=1e-5, rounded=None, said=None):
        directory = pathlib.Path(directory)
        self.config, self.nest = said or readSaid(directory)
        self.weights = files.readTensors(directory / "model.safetensors")
        self.near, self.rounded = near, rounded
        self.seen = {}  # layer -> router logits of the last call
        self.passed = {}  # layer -> (rows that passed, rows) so far
        self.readConfig()
        count = self.layerCount
        self.layers = list(range(count))
        self.widths = {}
        said = {}
        for selector, values in self.nest.get("routes", {}).items():
            for n in files.layersOf(selector.removeprefix("layers."), count):
                said[n] = dict(values)
        for entry in filter(None, submodel.split(",")):
            key, value = entry.split("=")
            word, *path = key.split(".")
            layers = files.layersOf(path[0], count) if path else set()
            if word == "skip":
                self.layers = [n for n in self.layers if n not in files.layersOf(value, count)]
            elif word == "modalities":
                self.kept = set(value.split("+"))
            elif word == "layers" and path[1] == "ffn":
                self.widths.update({n: files.widthOf(value, self.ffnWidth) for n in layers})
            elif word == "routes":
                change = {"dense": True} if value == "dense" else {"capacity": files.rowsOf(value)}
                for n in layers:
                    said[n].update(change)
            else:
                raise ValueError(entry)
        self.routes = {n: routing.Route(**values) for n, values in said.items()}

    def linear(self, x, name, rows=None, columns=None):
        weight = self.weights[name + ".weight"][:rows, :columns]
        if self.rounded:
            x, weight = self.rounded(x).astype(np.float64), self.rounded(weight).astype(np.float64)
        y = x @ weight.T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias[:rows]

    def scores(self, x, name):
        """A router's logits, row by row in one order: equal rows, equal scores."""
        y = (x[:, None, :] * self.weights[name + ".weight"]).sum(-1)
        return y + self.weights.get(name + ".bias", 0.0)

    def predict(self, x, name):
        """sigmoid(W2 silu(W1 x + b1) + b2)"""
        return sigmoid(self.scores(silu(self.scores(x, name + ".0")), name + ".2"))[:, 0]

    # A sequence, a batch.

    def call(self, state, tokens, rule, towers=None):
        at = np.arange(state.length, state.length + len(tokens))
        x = self.embed(np.asarray(tokens), at)
        for n in self.layers:
            x = self.layer(n, x, at, state, rule, towers)
        state.length += len(tokens)
        return self.head(x, towers)

    def sequence(self, tokens, mode="prefill select", modality=None):
        """(logits [T, V], rows that may be compared [T], margin)"""
        state, parts = State(), []
        towers = None if modality is None else self.towersOf(modality)
        if mode.startswith("prefill"):
            calls = [(0, len(tokens), mode.split()[1])]
        else:
            first = int(mode.partition("=")[2] or 0)
            calls = [(0, first, "select")] if first else []
            calls += [(t, t + 1, "decode") for t in range(first, len(tokens))]
        for begin, end, rule in calls:
            part = None if towers is None else towers[begin:end]
            parts.append(self.call(state, tokens[begin:end], rule, part))
        return np.concatenate(parts), np.arange(len(tokens)) < state.certain, state.margin

    def batch(self, tokens, mode="prefill select", modality=None):
        modality = [None] * len(tokens) if modality is None else modality
        logits, certain, margin = zip(*(self.sequence(t, mode, m) for t, m in zip(tokens, modality)))
        return np.stack(logits), np.stack(certain), min(margin)

    # A layer.

    def note(self, state, margin, at, together):
        """What a score at its cut-off leaves uncertain: a choice among the rows of
        a call all of them, a choice by a row itself that row and those after it."""
        state.margin = min(state.margin, margin.min(initial=np.inf))
        near = np.flatnonzero(margin <= self.near)
        if len(near):
            state.certain = min(state.certain, at[0] if together else at[near[0]])

    def route(self, n, x, at, state, rule):
        """(rows of the call that enter the region of layer n, their weights)"""
        route, (router, predictor) = self.routes.get(n), self.routerNames(n)
        if route is None:
            assert router + ".weight" not in self.weights, f"layer {n} has a router and no route"
            return np.arange(len(x)), None
        logits = self.scores(x, router)[:, 0]
        self.seen[n] = logits
        predicted = self.predict(x, predictor) if predictor + ".0.weight" in self.weights else None
        rows, r, margin = routing.pick(route, rule, logits, predicted)
        together = rule == "select" and (route.select == "topk" or route.weight == "softmax_selected")
        self.note(state, margin, at, together)
        passed, of = self.passed.get(n, (0, 0))
        self.passed[n] = passed + len(rows), of + len(x)
        return rows, r

    def attend(self, n, x, rows, at, state, towers, route):
        """What attention adds to x[rows]; the rows that have K and V are appended."""
        cache = state.caches.setdefault(n, Cache())
        keyed = np.arange(len(x)) if route is None or route.kv == "all" else rows
        if route is not None and route.position == "compact":
            index = np.zeros(len(x), dtype=int)
            index[rows] = len(cache.at) + np.arange(len(rows))  # rows passed before
        else:
            index = at
        towersOf = lambda chosen: None if towers is None else towers[chosen]
        q = self.queries(n, x[rows], index[rows], towersOf(rows))
        k, v = self.keysValues(n, x[keyed], index[keyed], towersOf(keyed))
        cache.append(k, v, at[keyed])
        distance = at[rows][:, None] - cache.at[None, :]  # in the sequence, always
        mask = distance >= 0
        if self.window is not None:
            mask &= distance < self.window
        return self.project(n, attention(q, cache.k, cache.v, mask), towersOf(rows))

    def layer(self, n, x, at, state, rule, towers):
        everything = np.arange(len(x))
        route = self.routes.get(n)
        scope = route.scope if route else "block"
        attn = lambda x, rows, region: self.attend(n, x, rows, at, state, towers, region)
        ffn = lambda x, rows: self.feed(n, x, state, at[rows], None if towers is None else towers[rows])

        if scope == "ffn":  # attention is outside: every row, before the router reads
            x = x + attn(x, everything, None)
        rows, r = self.route(n, x, at, state, rule)
        inside, y = x[rows], x.copy()
        a = attn(x, rows, route) if scope != "ffn" else 0
        f = ffn(inside + a, rows) if scope != "attention" else 0
        y[rows] = inside + a + f if route is None else routing.gate(route.gate, inside, a, f, r)
        if scope == "attention":  # the FFN is outside: every row, with its residual
            y = y + ffn(y, everything)
        return y


# --- mod and mode: Llama's layers --------------------------------------------------


class Llama(Model):
    """`mod`: a routed layer's tensors lie in `.block.`.  `mode`: the FFN of a layer
    may be experts."""

    def readConfig(self):
        c = self.config
        self.layerCount, self.ffnWidth = c["num_hidden_layers"], c["intermediate_size"]
        self.eps = c["rms_norm_eps"]
        self.theta = c.get("rope_parameters", c).get("rope_theta", 10000.0)
        self.width = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
        self.window = c.get("sliding_window", 4096) if c["model_type"] == "mistral" else None
        self.tied = c.get("tie_word_embeddings", False)

    def embed(self, tokens, at):
        return self.weights["model.embed_tokens.weight"][tokens]

    def head(self, x, towers):
        x = rmsNorm(x, self.weights["model.norm.weight"], self.eps)
        return self.linear(x, "model.embed_tokens" if self.tied else "lm_head")

    def name(self, n, rest):
        block = f"model.layers.{n}.block."
        inside = block + "input_layernorm.weight" in self.weights
        return (block if inside else f"model.layers.{n}.") + rest

    def routerNames(self, n):
        if self.config["model_type"] == "mode":
            return f"model.layers.{n}.router", ""
        return f"model.layers.{n}.router.weight_predictor", f"model.layers.{n}.router.predictor"

    def normed(self, n, x, norm):
        return rmsNorm(x, self.weights[self.name(n, norm + ".weight")], self.eps)

    def heads(self, n, x, part):
        return headed(self.linear(x, self.name(n, f"self_attn.{part}_proj")), self.width)

    def queries(self, n, x, index, towers):
        return rope(self.heads(n, self.normed(n, x, "input_layernorm"), "q"), index, self.theta)

    def keysValues(self, n, x, index, towers):
        x = self.normed(n, x, "input_layernorm")
        return rope(self.heads(n, x, "k"), index, self.theta), self.heads(n, x, "v")

    def project(self, n, a, towers):
        return self.linear(a, self.name(n, "self_attn.o_proj"))

    def feed(self, n, x, state, at, towers):
        h = self.normed(n, x, "post_attention_layernorm")
        if self.name(n, "mlp.router.weight") in self.weights:
            return self.experts(n, h, state, at)
        return self.swiglu(h, self.name(n, "mlp"), self.widths.get(n))

    def swiglu(self, h, name, width):
        gated = silu(self.linear(h, name + ".gate_proj", width)) * self.linear(h, name + ".up_proj", width)
        return self.linear(gated, name + ".down_proj", columns=width)

    def experts(self, n, h, state, at):
        """Integrated MoDE: one router over the experts and the no-op, the last slot."""
        c, y = self.config, np.zeros_like(h)
        logits = self.scores(h, self.name(n, "mlp.router"))
        assert logits.shape[1] == c["num_experts"] + c["noop_experts"]
        for t in range(len(h)):
            slots, p, margin = routing.experts(logits[t], c["num_experts_per_tok"])
            self.note(state, np.array([margin]), at[t : t + 1], False)
            for slot, weight in zip(slots, p):
                if slot < c["num_experts"]:
                    expert = self.name(n, f"mlp.experts.{slot}")
                    y[t] += weight * self.swiglu(h[t : t + 1], expert, self.widths.get(n))[0]
                elif c["noop"] == "weighted_identity":
                    y[t] += weight * h[t]
        return y


# --- mod-gpt: GPT-2's layers ---------------------------------------------------------


class Gpt(Model):
    """Learned positions are added to the token embedding, once; a bias is there
    when its tensor is."""

    window = None

    def readConfig(self):
        c = self.config
        self.layerCount, self.eps = c["n_layer"], c.get("layer_norm_epsilon", 1e-5)
        self.ffnWidth = c.get("n_inner") or 4 * c["n_embd"]
        self.width = c["n_embd"] // c["n_head"]
        assert c.get("activation_function", "gelu_new") == "gelu_new"

    def embed(self, tokens, at):
        return self.weights["transformer.wte.weight"][tokens] + self.weights["transformer.wpe.weight"][at]

    def normed(self, x, name):
        return layerNorm(x, self.weights[name + ".weight"], self.weights.get(name + ".bias", 0.0), self.eps)

    def head(self, x, towers):
        tied = "lm_head.weight" not in self.weights
        return self.linear(self.normed(x, "transformer.ln_f"), "transformer.wte" if tied else "lm_head")

    def name(self, n, rest):
        block = f"transformer.h.{n}.block."
        return (block if block + "ln_1.weight" in self.weights else f"transformer.h.{n}.") + rest

    def routerNames(self, n):
        return f"transformer.h.{n}.mod_router", f"transformer.h.{n}.mod_predictor"

    def split(self, n, x):
        qkv = self.linear(self.normed(x, self.name(n, "ln_1")), self.name(n, "attn.c_attn"))
        return [headed(part, self.width) for part in np.split(qkv, 3, -1)]

    def queries(self, n, x, index, towers):
        return self.split(n, x)[0]

    def keysValues(self, n, x, index, towers):
        return self.split(n, x)[1:]

    def project(self, n, a, towers):
        return self.linear(a, self.name(n, "attn.c_proj"))

    def feed(self, n, x, state, at, towers):
        width = self.widths.get(n)
        h = geluTanh(self.linear(self.normed(x, self.name(n, "ln_2")), self.name(n, "mlp.c_fc"), width))
        return self.linear(h, self.name(n, "mlp.c_proj"), columns=width)


# --- mot: one tower of parameters for each modality ------------------------------------


class Mot(Model):
    window = None

    def readConfig(self):
        c, m = self.config, self.nest["modalities"]
        self.layerCount, self.ffnWidth = c["n_layers"], c["hidden_dim"]
        self.eps, self.theta, self.width = c["norm_eps"], c["rope_theta"], c["head_dim"]
        self.names, self.untied, self.post = m["names"], set(m["untied"]), m["norm"] == "post"
        self.tower = [m["tower"][name] for name in self.names]
        self.kept = set(self.names)

    def routerNames(self, n):
        return "", ""

    def towersOf(self, modality):
        assert all(self.names[m] in self.kept for m in modality), "a removed modality"
        return np.array(self.tower)[modality]

    def each(self, towers, x, apply):
        """apply(m, rows of tower m), the results back in the order of the rows."""
        y = None
        for m in np.unique(towers):
            part = apply(m, x[towers == m])
            y = np.zeros((len(x), part.shape[-1])) if y is None else y
            y[towers == m] = part
        return y

    def name(self, n, group, part, rest, m):
        """group `attention` or `feed_forward`, part a word of `untied`."""
        untied = part in self.untied
        if part == "ffn":
            return f"layers.{n}.{group}." + (f"local_experts.{m}.{rest}" if untied else rest)
        return f"layers.{n}.{group}." + (f"local_experts_{rest}.{m}" if untied else rest)

    def normed(self, x, name):
        return rmsNorm(x, self.weights[name + ".weight"], self.eps)

    def before(self, n, x, towers, group, norm, apply):
        """Pre-norm: apply(m, LN_m x)."""
        name = lambda m: self.name(n, group, "norms", norm, m)
        return self.each(towers, x, lambda m, x: apply(m, x if self.post else self.normed(x, name(m))))

    def after(self, n, x, towers, group, norm):
        """Post-norm, eq. 2: LN_m of the sub-layer's output, before the residual."""
        name = lambda m: self.name(n, group, "norms", norm, m)
        return self.each(towers, x, lambda m, x: self.normed(x, name(m)) if self.post else x)

    def embed(self, tokens, at):
        return self.weights["tok_embeddings.weight"][tokens]

    def head(self, x, towers):
        name = lambda m: f"norm.{m}" if "final_norm" in self.untied else "norm"
        return self.linear(self.each(towers, x, lambda m, x: self.normed(x, name(m))), "output")

    def heads(self, n, x, towers, part):
        name = lambda m: self.name(n, "attention", "qkv", "w" + part, m)
        y = self.before(n, x, towers, "attention", "attention_norm", lambda m, x: self.linear(x, name(m)))
        if part in "qk" and self.config["qk_normalization"]:
            name = lambda m: self.name(n, "attention", "qk_norm", part + "_normalization", m)
            perHead = lambda m, x: self.normed(headed(x, self.width), name(m)).reshape(x.shape)
            y = self.each(towers, y, perHead)
        return headed(y, self.width)

    def queries(self, n, x, index, towers):
        return rope(self.heads(n, x, towers, "q"), index, self.theta)

    def keysValues(self, n, x, index, towers):
        return rope(self.heads(n, x, towers, "k"), index, self.theta), self.heads(n, x, towers, "v")

    def project(self, n, a, towers):
        name = lambda m: self.name(n, "attention", "o", "wo", m)
        a = self.each(towers, a, lambda m, a: self.linear(a, name(m)))
        return self.after(n, a, towers, "attention", "attention_norm")

    def feed(self, n, x, state, at, towers):
        width = self.widths.get(n)

        def swiglu(m, h):
            w1, w2, w3 = (self.name(n, "feed_forward", "ffn", w, m) for w in ("w1", "w2", "w3"))
            return self.linear(silu(self.linear(h, w1, width)) * self.linear(h, w3, width), w2, columns=width)

        y = self.before(n, x, towers, "feed_forward", "ffn_norm", swiglu)
        return self.after(n, y, towers, "feed_forward", "ffn_norm")


def readSaid(directory):
    return files.readJson(directory / "config.json"), files.readJson(directory / "nest.json")


def load(directory, submodel="", **options):
    kind = files.readJson(pathlib.Path(directory) / "config.json")["model_type"]
    family = {"llama": Llama, "mistral": Llama, "mode": Llama, "gpt2": Gpt, "mot": Mot}[kind]
    return family(directory, submodel, **options)
