#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks of the references themselves: vectors worked out by hand, equivalences
that hold whatever the weights are, Hugging Face's logits where nothing is routed,
and that the goldens are what the references compute.  Prints a line a test."""

import json
import pathlib
import re

import numpy as np

import files
import model
import routing
from routing import Route, capacity, topk

HERE = pathlib.Path(__file__).resolve().parent
ROUTED, GOLDENS = HERE.parent / "routed", HERE.parent / "goldens"
NAN, INF = float("nan"), float("inf")


def difference(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((np.abs(a - b).max(-1) / np.abs(b).max(-1)).max())


def same(a, b, limit=1e-12):
    assert difference(a, b) <= limit, difference(a, b)


def differ(a, b):
    assert difference(a, b) > 1e-3, difference(a, b)


def load(case, submodel="", routes=None, config=None, modalities=None):
    """A golden's model with some keys of every route, of the config, of modalities changed."""
    directory = ROUTED / case
    said = config_, nest = model.readSaid(directory)
    config_.update(config or {})
    nest.get("modalities", {}).update(modalities or {})
    for route in nest.get("routes", {}).values():
        route.update(routes or {})
    return model.load(directory, submodel, said=said)


def logits(reference, case, mode="prefill select", modality=None):
    return reference.batch(np.load(ROUTED / case / "tokens.npy"), mode, modality)[0]


def unrouted(case):
    """The model without its routers: every layer is an ordinary one."""
    reference = load(case)
    for n in reference.routes:
        router = reference.routerNames(n)[0]
        for end in (".weight", ".bias"):
            reference.weights.pop(router + end, None)
    reference.routes = {}
    return reference


# --- Selection -------------------------------------------------------------------


def testTies():
    for scores, k, rows in (
        ([1, 3, 2, 3, 0, 3, 1, 2], 3, [1, 3, 5]),
        ([1, 3, 2, 3, 0, 3, 1, 2], 2, [1, 3]),
        ([5] * 8, 2, [0, 1]),
        ([0, -1, 4, 4, 4, 7, -2, 4], 3, [2, 3, 5]),
        ([-0.0, 0.0, -0.0, 0.0], 2, [0, 1]),
        ([-0.0, 0.0, -1.0], 1, [0]),
        ([-INF] * 4, 2, [0, 1]),
        ([NAN, -INF, NAN, 1], 2, [1, 3]),
        ([NAN, -NAN, -INF], 2, [0, 2]),  # one other candidate, then the lowest NaN
        ([INF, NAN, 3e38], 1, [0]),
        ([1, 1 + 1e-9, 2], 2, [0, 2]),  # equal in f32
        ([1], 0, []),
        ([], 0, []),
    ):
        assert topk(scores, k).tolist() == rows, (scores, k, topk(scores, k))


def testChains():
    """Ascending, k of them, none twice; one more row keeps the others; a
    permutation of rows without ties permutes the set."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        scores = rng.integers(-3, 4, 17).astype(float)
        scores[rng.random(17) < 0.2] = NAN
        sets = [topk(scores, k) for k in range(18)]
        for k, rows in enumerate(sets):
            assert len(rows) == k and (np.diff(rows) > 0).all()
            assert k == 0 or set(sets[k - 1]) < set(rows)
        scores, order = rng.standard_normal(17), rng.permutation(17)
        assert set(order[topk(scores[order], 5)]) == set(topk(scores, 5))


def testCapacity():
    table = {1: (0, 1, 0), 7: (0, 1, 1), 12: (1, 2, 2), 20: (2, 3, 2), 28: (3, 4, 4), 2047: (255, 256, 256)}
    for rows, expected in table.items():
        for rounding, k in zip(("floor", "ceil", "nearest_even"), expected):
            assert capacity("1/8", rows, rounding, 0) == k, (rows, rounding)
        assert capacity("1/8", rows) == max(1, expected[0])
    for rows, exact, double in ((90, 63, 62), (170, 119, 118), (180, 126, 125), (20, 14, 14), (2049, 1434, 1434)):
        assert capacity("7/10", rows) == exact and capacity("7/10", rows, "double_floor") == double
    assert capacity(3, 20) == 3 and capacity(30, 20) == 20 and capacity("1", 20) == 20
    assert capacity("1/8", 20, "floor", 4) == 4 and capacity("1/8", 3, "floor", 8) == 3


def testRules():
    def rows(logits, rule="decode", predicted=None, **keys):
        route = Route(**{"decode": "threshold:0", **keys})
        return routing.pick(route, rule, np.array(logits, float), predicted)[0].tolist()

    assert rows([1, 0, -1, NAN, INF]) == [0, 4]  # greater, not equal
    assert rows([1, 0, -1], decode="always") == [0, 1, 2] and rows([1, 2], decode="never") == []
    assert rows([1, 0], decode="topk") == [0, 1] and rows([1, 0], decode="topk", min=0) == []
    assert rows([1, 0], decode="topk", min=0, rounding="ceil") == [0, 1]
    assert rows([0, 1], decode="threshold:0.5", rank_on="weight", weight="sigmoid") == [1]
    assert rows([0, 0], "select", np.array([0.5, 0.6]), select="predictor", decode="predictor") == [1]
    assert rows([9, 9, 9], "select", rank_on="weight", weight="one", capacity=2) == [0, 1]
    assert rows([1, 2, 3], "select", capacity="1", dense=False) == [0, 1, 2]
    for bad in ({}, {"decode": "threshold:0", "kv": "all", "position": "compact"},
                {"select": "threshold", "decode": "always"},
                {"decode": "always", "weight": "softmax_selected", "rank_on": "weight"},
                {"decode": "always", "gate": "ffn_gated", "scope": "ffn"}):
        try:
            Route(**bad)
        except ValueError:
            continue
        assert False, bad


def testGates():
    x, attn, ffn, r = (np.array([[v]]) for v in (3.0, 5.0, 7.0, 0.5))
    for name, value in (("delta", 9), ("double_residual", 10.5), ("additive", 18), ("replace", 7.5),
                        ("ffn_gated_double", 14.5), ("ffn_gated", 11.5), ("hard", 15)):
        assert routing.gate(name, x, attn, ffn, r[0])[0, 0] == value, name


def testWeights():
    scores = np.array([2.0, -1.0, 1.0, 0.0])
    of = lambda weight, rule: routing.pick(Route(capacity=2, weight=weight, decode="always"), rule, scores)[1]
    assert of("logit", "select").tolist() == [2, 1] and of("one", "select").tolist() == [1, 1]
    np.testing.assert_allclose(of("sigmoid", "select"), 1 / (1 + np.exp([-2, -1])))
    np.testing.assert_allclose(of("softmax_selected", "select"), np.exp([2, 1]) / np.exp([2, 1]).sum())
    assert of("softmax_selected", "decode").tolist() == [1] * 4


# --- Mixture-of-Depths -----------------------------------------------------------


def testFullCapacity():
    """Every row with weight one is the dense block, up to the outer residual."""
    for case in ("mod-kv", "gpt-bias", "mode-staged"):
        dense = logits(unrouted(case), case)
        for gate in ("delta", "replace", "ffn_gated", "hard"):
            keys = {"gate": gate, "weight": "one", "decode": "always"}
            same(logits(load(case, routes={**keys, "capacity": "1"}), case), dense)
            same(logits(load(case, routes=keys), case, "stepwise"), dense)
            same(logits(load(case, "routes.all=dense" if case != "gpt-bias" else "routes.0=dense", keys), case), dense)
        differ(logits(load(case, routes={**keys, "capacity": "1", "gate": "additive"}), case), dense)


def testEmptySet():
    """No row is the identity: the model without the layer."""
    none = {"capacity": "1/99", "min": 0, "gate": "double_residual"}
    same(logits(load("mod-kv", routes=none), "mod-kv"), logits(load("mod-kv", "skip=all"), "mod-kv"))
    same(logits(load("gpt-plain", routes=none), "gpt-plain"), logits(load("gpt-plain", "skip=even"), "gpt-plain"))
    never = {"decode": "never"}
    same(logits(load("mod-kv", routes=never), "mod-kv", "stepwise"), logits(load("mod-kv", "skip=all"), "mod-kv"))


def testCausal():
    """Under a causal rule one prefill, calls of any length and single rows agree,
    and no row depends on a later one; under topk they do not."""
    for case in ("mod-kv", "mod-threshold", "mod-predictor", "mod-mistral", "gpt-bias", "mode-staged-noop"):
        reference = load(case)
        together = logits(reference, case, "prefill decode")
        same(together, logits(reference, case, "stepwise"))
        tokens = np.load(ROUTED / case / "tokens.npy")
        changed = tokens.copy()
        changed[:, -1] = (changed[:, -1] + 1) % 64
        same(reference.batch(changed, "prefill decode")[0][:, :-1], together[:, :-1])
    weights = {"weight": "logit"}  # softmax_selected looks at a whole call
    reference = load("mod-threshold", routes=weights)
    for mode in ("stepwise", "stepwise=5"):
        same(logits(reference, "mod-threshold"), logits(reference, "mod-threshold", mode))
    differ(logits(load("mod-kv"), "mod-kv"), logits(load("mod-kv"), "mod-kv", "stepwise"))


def testPositions():
    """Where all rows pass, compact and original, selected and all are one."""
    case, every = "mod-kv", {"capacity": "1", "decode": "always"}
    variants = [load(case, routes={**every, "kv": "selected", "position": "original", **keys})
                for keys in ({}, {"kv": "all"}, {"position": "compact"})]
    for mode in ("prefill select", "stepwise", "stepwise=5"):
        for other in variants[1:]:
            same(logits(other, case, mode), logits(variants[0], case, mode))


def slowBlock(w, name, x, rows, keyed, position, theta, eps, heads, kvHeads, width):
    """What attention and FFN add to rows of x, one scalar loop after the other."""
    norm = lambda v, g: v / np.sqrt(np.dot(v, v) / len(v) + eps) * g

    def turn(v, at):
        out = v.copy()
        for i in range(width // 2):
            c, s = np.cos(at * theta ** (-2 * i / width)), np.sin(at * theta ** (-2 * i / width))
            out[i], out[i + width // 2] = v[i] * c - v[i + width // 2] * s, v[i + width // 2] * c + v[i] * s
        return out

    def part(t, letter, head):
        h = norm(x[t], w[name + "input_layernorm.weight"])
        return w[name + f"self_attn.{letter}_proj.weight"][head * width : (head + 1) * width] @ h

    attn, ffn = np.zeros((len(rows), x.shape[1])), np.zeros((len(rows), x.shape[1]))
    for i, t in enumerate(rows):
        out = []
        for head in range(heads):
            shared = head // (heads // kvHeads)
            q = turn(part(t, "q", head), position[t])
            seen = [j for j in keyed if j <= t]
            e = np.array([np.exp(q @ turn(part(j, "k", shared), position[j]) / np.sqrt(width)) for j in seen])
            out.append(sum(p * part(j, "v", shared) for p, j in zip(e / e.sum(), seen)))
        attn[i] = w[name + "self_attn.o_proj.weight"] @ np.concatenate(out)
        h = norm(x[t] + attn[i], w[name + "post_attention_layernorm.weight"])
        g = w[name + "mlp.gate_proj.weight"] @ h
        ffn[i] = w[name + "mlp.down_proj.weight"] @ (g / (1 + np.exp(-g)) * (w[name + "mlp.up_proj.weight"] @ h))
    return attn, ffn


def testScalarOracle():
    """Equation 1 in loops: one routed layer, every way to keep K, V and positions."""
    for layer, keys in ((0, {}), (1, {"kv": "all"}), (2, {"position": "compact"})):
        reference = load("mod-kv", f"skip={'+'.join(str(n) for n in range(4) if n != layer)}")
        c, w = reference.config, reference.weights
        tokens = np.load(ROUTED / "mod-kv" / "tokens.npy")[0]
        x = w["model.embed_tokens.weight"][tokens]
        router = f"model.layers.{layer}.router.weight_predictor"
        r = np.array([v @ w[router + ".weight"][0] + w[router + ".bias"][0] for v in x])
        rows = sorted(sorted(range(len(x)), key=lambda t: (-r[t], t))[: len(x) // 2])
        keyed = range(len(x)) if keys.get("kv") == "all" else rows
        position = {t: rows.index(t) if keys.get("position") and t in rows else t for t in range(len(x))}
        attn, ffn = slowBlock(w, f"model.layers.{layer}.block.", x, rows, keyed, position, c["rope_theta"],
                              c["rms_norm_eps"], c["num_attention_heads"], c["num_key_value_heads"],
                              c["hidden_size"] // c["num_attention_heads"])
        y = x.copy()
        for i, t in enumerate(rows):
            y[t] = r[t] * (attn[i] + ffn[i]) + x[t]
        same(reference.sequence(tokens)[0], reference.head(y, None))


def testTieCases():
    """The cases that are about ties do have them at the cut-off."""
    for case, k in (("mod-ties", 8), ("mod-ties-exact", 3)):
        reference, tied = load(case), 0
        for row in np.load(ROUTED / case / "tokens.npy"):
            reference.sequence(row)
            falling = np.sort(reference.seen[0])[::-1]
            tied += falling[k - 1] == falling[k]
        assert tied >= 2, (case, tied)


# --- Experts ---------------------------------------------------------------------


def testNoOp():
    """A no-op that is always chosen: nothing is added, or p h."""
    case = "mode-zero-top1"
    reference, bypass = load(case), load(case)
    for n in range(2):
        for e in range(4):
            bypass.weights[f"model.layers.{n}.mlp.experts.{e}.down_proj.weight"] *= 0
    forced = lambda logits: np.append(logits[:, :4], np.full((len(logits), 1), 50.0), 1)
    scores = reference.scores
    reference.scores = lambda x, name: forced(scores(x, name)) if name.endswith("mlp.router") else scores(x, name)
    same(logits(reference, case), logits(bypass, case))
    reference.config["noop"] = "weighted_identity"
    bypass.feed = lambda n, x, *more: bypass.normed(n, x, "post_attention_layernorm")
    same(logits(reference, case), logits(bypass, case))


def testExperts():
    """The lowest of equal slots; all slots of one expert add up to it."""
    slots, p, _ = routing.experts(np.array([0.0, 2.0, 2.0, 0.0, 2.0]), 2)
    assert slots.tolist() == [1, 2]
    np.testing.assert_allclose(p, np.exp(2) / (2 + 3 * np.exp(2)))
    case = "mode-plain"
    every, one = load(case, config={"num_experts_per_tok": 4}), load(case)
    for reference in (every, one):
        for n in range(2):
            for e in range(1, 4):
                for part in ("gate_proj", "up_proj", "down_proj"):
                    name = f"model.layers.{n}.mlp.experts."
                    reference.weights[f"{name}{e}.{part}.weight"] = reference.weights[f"{name}0.{part}.weight"]
    one.experts = lambda n, h, state, at: one.swiglu(h, f"model.layers.{n}.mlp.experts.0", None)
    same(logits(every, case), logits(one, case))


# --- Mixture-of-Transformers -----------------------------------------------------


TOWER = re.compile(r"(local_experts\w*|^norm)\.(\d+)\.")  # a tensor of a tower


def testTowers():
    for case in ("mot-post", "mot-pre", "mot-three"):
        modality = np.load(ROUTED / case / "modality.npy")
        plain = load(case)
        towers = max(plain.tower) + 1
        for m in range(towers):
            # One modality is its tower: the same as a model that has this tower alone.
            alone = load(case)
            for name in alone.weights:
                if TOWER.search(name):
                    alone.weights[name] = plain.weights[TOWER.sub(rf"\g<1>.{m}.", name)]
            single = logits(plain, case, modality=np.full_like(modality, m))
            same(logits(alone, case, modality=np.full_like(modality, m)), single)
            # Copied towers are a dense model, whatever the modalities are.
            same(logits(alone, case, modality=modality), single)
            # So is a model whose parts are tied.
            tied = load(case, modalities={"untied": []})
            for name, value in alone.weights.items():
                name = TOWER.sub(r"\1.", name).replace("local_experts_", "").replace("local_experts.", "")
                tied.weights[name] = value
            same(logits(tied, case, modality=modality), single)
        differ(logits(plain, case, modality=modality), single)


def testFlow():
    """An image token changes later text and nothing before it."""
    case = "mot-post"
    reference, tokens = load(case), np.load(ROUTED / case / "tokens.npy")
    modality = np.load(ROUTED / case / "modality.npy")
    before = reference.batch(tokens, "prefill select", modality)[0]
    changed = tokens.copy()
    changed[:, 6] = (changed[:, 6] + 1) % 64
    after = reference.batch(changed, "prefill select", modality)[0]
    same(after[:, :6], before[:, :6])
    differ(after[:, 7:], before[:, 7:])
    # Without images nothing depends on their tower.
    text = np.zeros_like(modality)
    before = reference.batch(tokens, "prefill select", text)[0]
    for name in reference.weights:
        if TOWER.search(name) and TOWER.search(name)[2] == "1":
            reference.weights[name] = np.full_like(reference.weights[name], NAN)
    same(reference.batch(tokens, "prefill select", text)[0], before)


def testModalities():
    """A submodel of fewer modalities computes the same, and refuses the others."""
    case = "mot-three"
    tokens, modality = np.load(ROUTED / case / "tokens.1.npy"), np.load(ROUTED / case / "modality.1.npy")
    full = load(case).batch(tokens, "prefill select", modality)[0]
    same(load(case, "modalities=text+image").batch(tokens, "prefill select", modality)[0], full)
    try:
        load(case, "modalities=text").batch(tokens, "prefill select", modality)
    except AssertionError:
        return
    assert False, "a removed modality"


# --- The rest --------------------------------------------------------------------


def testHuggingFace():
    """Where nothing is routed the layers are transformers' Llama and Mistral."""
    checked = 0
    for entry in json.loads((GOLDENS / "cases.json").read_text())["logits"]:
        case = entry["case"]
        if case not in ("llama-tied", "llama-bf16", "mistral", "mistral-full") or entry["dtype"] != "f32":
            continue
        reference = model.load(GOLDENS / case, entry["spec"])
        stored = np.load(GOLDENS / entry["logits"]).astype(np.float64)
        computed = reference.batch(np.load(GOLDENS / entry["tokens"]))[0]
        same(computed.reshape(stored.shape), stored, 1e-5)
        checked += 1
    assert checked == 16, checked


def testWriter():
    """bf16: to the nearest, ties to even."""
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.140625, 0.0], dtype=np.float32)
    rounded = [1.0, 1.0, 1 + 2**-6, 1 + 2**-7, -3.140625, 0.0]
    assert files.roundBf16(values).tolist() == rounded


def testGoldens():
    """What is checked in is what the references compute; 90 % of rows count."""
    entries = json.loads((ROUTED / "cases.json").read_text())["logits"]
    assert len(entries) > 300
    for entry in entries:
        nest = files.readJson(ROUTED / entry["case"] / "nest.json")
        spec = nest.get("submodels", {}).get(entry["submodel"], entry["submodel"])
        reference = model.load(ROUTED / entry["case"], spec, near=1e-5 if entry["dtype"] == "f32" else 3e-2)
        modality = entry["modality"] and np.load(ROUTED / entry["modality"])
        computed, compared, _ = reference.batch(np.load(ROUTED / entry["tokens"]), entry["mode"], modality)
        same(computed, np.load(ROUTED / entry["logits"]).astype(np.float64), 1e-6)
        stored = np.load(ROUTED / entry["compared"]) if entry["compared"] else np.ones_like(compared)
        assert (stored == compared).all() and compared.mean() >= 0.9, entry


def main():
    for name, test in sorted(globals().items()):
        if name.startswith("test"):
            test()
            print(f"{name}: passed")


if __name__ == "__main__":
    main()
