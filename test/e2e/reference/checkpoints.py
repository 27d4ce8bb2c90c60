# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The cases of make_goldens.py: configs, routes, random tensors and inputs."""

import copy

import numpy as np

import files

ALL = ("prefill select", "prefill decode", "stepwise", "stepwise=5")
BOTH = ("prefill select", "stepwise")
SELECT = ("prefill select",)

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000.0,
    "tie_word_embeddings": False,
}
GPT = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": 64,
    "n_positions": 48,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}
MODE = {
    **LLAMA,
    "architectures": ["ModeForCausalLM"],
    "model_type": "mode",
    "num_experts": 4,
    "num_experts_per_tok": 1,
    "noop_experts": 1,
    "noop": "zero",
    "moe_layers": [0, 1],
}
MOT = {
    "model_type": "mot",
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 8,
    "hidden_dim": 16,
    "vocab_size": 64,
    "norm_eps": 1e-5,
    "rope_theta": 1000.0,
    "qk_normalization": True,
}
CONFIGS = {"mod": LLAMA, "mod-gpt": GPT, "mode": MODE, "mot": MOT}

TWO = {"names": ["text", "image"], "tower": {"text": 0, "image": 1}}
THREE = {"names": ["text", "image", "speech"], "tower": {"text": 0, "image": 1, "speech": 2}}
PARTS = ["norms", "qkv", "qk_norm", "o", "ffn", "final_norm"]
QUARTERS = {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}}


def case(family, routes=None, rows=(12,), batch=1, runs=(("", ALL, 0),), without=(), bf16=False, biases=False,
         predictors=(), fixed=(), towers=None, allowed=None, arrange=None, submodels=None, named=True, special=None,
         **config):
    """rows: lengths of the inputs; runs: (submodel, modes, number of the input);
    without: keys of config, routes or modalities under which the logits have to
    differ; predictors, fixed: layers that have a predictor, whose router is not
    scaled; allowed: the modalities of each sequence of an input; arrange: a function
    of (tokens, rng); special: a function of (config, tensors, rng)."""
    return dict(family=family, routes=routes or {}, rows=rows, batch=batch, runs=runs, without=without, bf16=bf16,
                biases=biases, predictors=predictors, fixed=fixed, towers=towers, allowed=allowed or {},
                arrange=arrange, submodels=submodels or {}, named=named, special=special, config=config)


def half(**keys):
    return {"capacity": "1/2", "decode": "threshold:0", **keys}


def layerwise(*routes):
    return {f"layers.{n}": route for n, route in enumerate(routes)}


def alone(count, modes=BOTH, number=0):
    """A run for each layer by itself."""
    runs = []
    for n in range(count):
        others = [str(i) for i in range(count) if i != n]
        runs.append(("skip=" + "+".join(others), modes, number))
    return tuple(runs)


WEIGHTS = ("logit", "sigmoid", "softmax_selected", "one")


def gateCase(gate):
    return case("mod", layerwise(*(half(gate=gate, weight=weight) for weight in WEIGHTS)), num_hidden_layers=4,
                runs=(("", ALL, 0),) + alone(4), without=({"gate": "hard"},))


def repeated(tokens, rng):
    """Four tokens over and over: ties at a router that sees no position."""
    return rng.choice(tokens[0, :4], tokens.shape)


VECTORS = ([1, 3, 2, 3, 0, 3, 1, 2], [5] * 8, [0, -1, 4, 4, 4, 7, -2, 4])


def vectors(tokens, rng):
    """Different tokens with the scores of VECTORS, under scoredTokens."""
    return np.array([[score + 2 + 10 * (t % 6) for t, score in enumerate(row)] for row in VECTORS])


def scoredTokens(config, tensors, rng):
    """The score of token i in layer 0 is i % 10 - 2, whatever the order of summation."""
    tensors["model.embed_tokens.weight"][:, 0] = np.arange(config["vocab_size"]) % 10 - 2
    tensors["model.layers.0.router.weight_predictor.weight"][:] = 0
    tensors["model.layers.0.router.weight_predictor.weight"][0, 0] = 1


def equalSlots(config, tensors, rng):
    """Slots 1, 3 and the no-op always have the logit 0."""
    for n in config["moe_layers"]:
        tensors[f"model.layers.{n}.mlp.router.weight"][[1, 3, 4]] = 0


def decided(config, tensors, rng):
    """Scores of slots that bf16 leaves in their order."""
    for n in config["moe_layers"]:
        tensors[f"model.layers.{n}.mlp.router.weight"] *= 3


# --- Cases -------------------------------------------------------------------------

CASES = {}
for gate in ("delta", "double_residual", "replace", "ffn_gated_double", "ffn_gated"):
    CASES["mod-" + gate.replace("_", "-")] = gateCase(gate)

CASES |= {
    "mod-additive": case("mod", layerwise(half(gate="additive"), half(gate="additive", weight="sigmoid")),
                         without=({"gate": "hard"},)),
    "mod-hard": case("mod", layerwise(half(gate="hard"), half(gate="hard", weight="sigmoid")),
                     without=({"gate": "delta"},)),
    # The paper's setting; everything but the decode rule by default.
    "mod-every-other": case("mod", {"layers.odd": {"decode": "threshold:0"}}, rows=(40,), num_hidden_layers=4,
                            named=False, without=({"capacity": "1/4"},)),
    "mod-batch": case("mod", {"layers.odd": half(capacity="1/4", weight="softmax_selected")}, rows=(19,), batch=3,
                      num_hidden_layers=4, named=False, head_dim=12, without=({"capacity": "1/2"},),
                      runs=(("", ALL, 0), ("routes.odd=dense", ALL, 0), ("routes.odd.capacity=1", ALL, 0),
                            ("routes.odd.capacity=1/1", BOTH, 0), ("routes.odd.capacity=1/2,skip=3", SELECT, 0))),
    "mod-tied": case("mod", {"layers.even": half()}, tie_word_embeddings=True, attention_bias=True,
                     num_key_value_heads=1, num_hidden_layers=3, without=({"capacity": "1/4"},)),
    "mod-rank": case("mod", layerwise(half(rank_on="weight", weight="sigmoid", decode="threshold:0.6"),
                                      half(rank_on="logit", weight="sigmoid", decode="threshold:0.6"),
                                      half(rank_on="weight", weight="one", decode="threshold:0.5"),
                                      half(rank_on="weight", weight="logit", decode="threshold:-0.25")),
                     num_hidden_layers=4, runs=(("", ALL, 0),) + alone(4), without=({"rank_on": "logit"},)),
    # 15/22 of 22 is 15, in double 14; a quarter of 22 is 5.5, of 10 is 2.5.
    "mod-rounding": case("mod", layerwise(half(capacity="15/22", rounding="floor"),
                                          half(capacity="15/22", rounding="double_floor"),
                                          half(capacity="1/4", rounding="ceil"),
                                          half(capacity="1/4", rounding="nearest_even")),
                         rows=(22, 10), num_hidden_layers=4, runs=(("", ALL, 0), ("", ALL, 1)) + alone(4, SELECT)
                         + alone(4, SELECT, 1),
                         without=({"rounding": "floor"}, {"rounding": "ceil"}, {"rounding": "nearest_even"})),
    # Counts, all rows, none, one; calls of 20, 7 and 1 rows.
    "mod-capacity": case("mod", layerwise({"capacity": 3, "decode": "threshold:0"},
                                          {"capacity": "1/8", "min": 0, "decode": "topk"},
                                          {"capacity": "1/8", "min": 1, "decode": "topk"},
                                          {"capacity": "1/8", "min": 3, "decode": "threshold:0"},
                                          {"capacity": "1", "decode": "threshold:0"}),
                         rows=(20, 7, 1), num_hidden_layers=5, without=({"min": 0}, {"min": 1}, {"capacity": "1/8"}),
                         runs=tuple(("", ALL, n) for n in range(3)) + alone(5, SELECT) + alone(5, SELECT, 1)
                         + alone(5, ("prefill select", "prefill decode"), 2)
                         + (("routes.0.capacity=30,routes.3.capacity=1/1", SELECT, 1), ("routes.all=dense", BOTH, 1))),
    "mod-ties": case("mod", layerwise(half()), batch=3, rows=(16,), arrange=repeated, runs=(("", ALL, 0),),
                     without=({"capacity": "5/16"},)),
    "mod-ties-exact": case("mod", layerwise({"capacity": 3, "decode": "threshold:2"}), batch=3, rows=(8,), fixed=(0,),
                           arrange=vectors, special=scoredTokens, without=({"capacity": 2},),
                           runs=(("", ALL, 0), ("routes.0.capacity=2", SELECT, 0), ("routes.0.capacity=1", SELECT, 0))),
    "mod-attention": case("mod", layerwise(half(scope="attention"),
                                           half(scope="attention", gate="double_residual", kv="all"),
                                           half(scope="attention", gate="additive", position="compact"),
                                           half(scope="attention", gate="replace", weight="sigmoid", kv="all"),
                                           half(scope="attention", gate="hard")),
                          num_hidden_layers=5, runs=(("", ALL, 0),) + alone(5), without=({"scope": "block"},)),
    "mod-ffn": case("mod", layerwise(half(scope="ffn"), half(scope="ffn", gate="double_residual"),
                                     half(scope="ffn", gate="additive"),
                                     half(scope="ffn", gate="replace", weight="softmax_selected"),
                                     half(scope="ffn", gate="hard")),
                    num_hidden_layers=5, runs=(("", ALL, 0),) + alone(5), without=({"scope": "block"},)),
    "mod-kv": case("mod", layerwise(half(), half(kv="all"), half(position="compact"), half(kv="all", decode="always")),
                   num_hidden_layers=4, runs=(("", ALL, 0),) + alone(4),
                   without=({"kv": "selected"}, {"position": "original"})),
    "mod-decode": case("mod", layerwise(half(decode="always"), half(decode="never"), half(decode="threshold:0.5"),
                                        half(decode="predictor:0.4"), half(decode="topk"), half(decode="topk", min=0)),
                       num_hidden_layers=6, predictors=(3,), runs=(("", ALL, 0),) + alone(6),
                       without=({"decode": "threshold:0"},)),
    "mod-threshold": case("mod", layerwise({"select": "threshold", "decode": "threshold:0.3"},
                                           {"select": "threshold", "position": "compact", "weight": "softmax_selected"},
                                           {"select": "threshold", "rank_on": "weight", "weight": "sigmoid",
                                            "kv": "all", "decode": "threshold:0.5"}),
                          batch=3, num_hidden_layers=3, runs=(("", ALL, 0),) + alone(3, ("prefill select",
                                                                                         "prefill decode")),
                          without=({"decode": "threshold:0"}, {"weight": "logit"})),
    "mod-predictor": case("mod", layerwise({"select": "predictor", "decode": "predictor:0.4"}, {"select": "predictor"},
                                           {"select": "predictor", "decode": "predictor", "kv": "all",
                                            "gate": "double_residual", "weight": "sigmoid"}),
                          batch=3, num_hidden_layers=3, predictors=(0, 1, 2), runs=(("", ALL, 0),) + alone(3, SELECT),
                          without=({"decode": "predictor:0.5"},)),
    "mod-mistral": case("mod", layerwise(half(), half(kv="all"), half(position="compact")), rows=(24,),
                        architectures=["MistralForCausalLM"], model_type="mistral", sliding_window=5,
                        num_hidden_layers=3, runs=(("", ALL, 0),) + alone(3), without=({"sliding_window": None},)),
    "mod-widths": case("mod", {"layers.1-2": half()}, num_hidden_layers=3,
                       submodels={"small": "layers.all.ffn=1/4",
                                  "mixed": "layers.0.ffn=1/2,layers.1.ffn=1/8,routes.1.capacity=1/4",
                                  "dense": "layers.all.ffn=1/2,routes.1-2=dense"},
                       runs=(("", ALL, 0), ("small", ALL, 0), ("mixed", ALL, 0), ("dense", BOTH, 0),
                             ("layers.odd.ffn=5,skip=0", BOTH, 0))),
    "mod-bf16": case("mod", layerwise(half(), half(gate="double_residual", weight="sigmoid", kv="all")), bf16=True),
    # epfml's: even layers, no bias anywhere, tied head, a capacity that may be none.
    "gpt-plain": case("mod-gpt", {"layers.even": {"min": 0, "gate": "double_residual", "decode": "threshold:0"}},
                      rows=(20, 5), n_layer=3, n_inner=48, runs=(("", ALL, 0), ("", ALL, 1)),
                      without=({"gate": "delta"},)),
    "gpt-bias": case("mod-gpt", {"layers.even": {"capacity": "1/4", "weight": "softmax_selected", "kv": "all",
                                                 "decode": "predictor:0.5"}},
                     rows=(17,), batch=3, biases=True, predictors=(0,), tie_word_embeddings=False,
                     submodels={"small": "layers.all.ffn=1/4", "half": "layers.0.ffn=1/2,routes.even.capacity=1/2"},
                     runs=(("", ALL, 0), ("small", BOTH, 0), ("half", BOTH, 0)), without=({"kv": "selected"},)),
    "gpt-scopes": case("mod-gpt", layerwise(half(scope="attention", weight="sigmoid"), half(scope="ffn"),
                                            half(gate="ffn_gated_double")),
                       n_layer=3, n_inner=32, biases=True, runs=(("", ALL, 0),) + alone(3)),
    "gpt-bf16": case("mod-gpt", {"layers.even": half()}, n_inner=48, bf16=True, biases=True),
    # mode
    "mode-zero-top1": case("mode", batch=3, without=({"noop": "weighted_identity"},)),
    "mode-zero-top2": case("mode", batch=3, num_experts_per_tok=2, without=({"noop": "weighted_identity"},),
                           runs=(("", BOTH, 0), ("layers.all.ffn=1/4", BOTH, 0),
                                 ("layers.0.ffn=1/2,layers.1.ffn=1/8", SELECT, 0))),
    "mode-identity-top1": case("mode", noop="weighted_identity", moe_layers=[1], without=({"noop": "zero"},)),
    "mode-identity-top2": case("mode", noop="weighted_identity", num_experts_per_tok=2, num_experts=3,
                               without=({"noop": "zero"}, {"num_experts_per_tok": 1})),
    "mode-plain": case("mode", noop_experts=0, num_experts_per_tok=2, rows=(12, 1), runs=(("", BOTH, 0), ("", BOTH, 1)),
                       without=({"num_experts_per_tok": 1},)),
    "mode-ties": case("mode", num_experts_per_tok=2, noop="weighted_identity", special=equalSlots),
    "mode-staged": case("mode", {"layers.all": half()}, noop_experts=0, runs=(("", ALL, 0),) + alone(2)
                        + (("routes.all=dense", BOTH, 0), ("layers.all.ffn=1/2,routes.1.capacity=1/4", BOTH, 0)),
                        without=({"capacity": "1/4"},)),
    "mode-staged-noop": case("mode", {"layers.1": half(weight="sigmoid", kv="all")}, batch=3, num_experts_per_tok=2,
                             noop="weighted_identity", runs=(("", ALL, 0),), without=({"kv": "selected"},)),
    "mode-bf16": case("mode", num_experts_per_tok=2, moe_layers=[1], bf16=True, special=decided),
    # mot
    "mot-post": case("mot", towers={**TWO, "untied": PARTS, "norm": "post"}, batch=3, without=({"norm": "pre"},)),
    "mot-pre": case("mot", towers={**TWO, "untied": PARTS, "norm": "pre"}, batch=3, without=({"norm": "post"},)),
    "mot-mha": case("mot", towers={**TWO, "untied": [p for p in PARTS if p != "qk_norm"], "norm": "pre"},
                    n_kv_heads=4, head_dim=12, n_layers=1, qk_normalization=False, rows=(12, 1),
                    runs=(("", BOTH, 0), ("", BOTH, 1))),
    "mot-three": case("mot", towers={**THREE, "untied": PARTS, "norm": "post"}, batch=3, rows=(12, 12, 12),
                      allowed={1: [(0, 1)] * 3, 2: [(0,)] * 3},
                      runs=(("", ALL, 0), ("modalities=text+image", BOTH, 1), ("modalities=text", BOTH, 2),
                            ("modalities=text,layers.all.ffn=1/2", BOTH, 2))),
    "mot-shared": case("mot", towers={**THREE, "tower": {"text": 0, "image": 1, "speech": 1}, "untied": PARTS,
                                      "norm": "pre"},
                       rows=(12, 12), n_layers=1, allowed={1: [(1, 2)]},
                       runs=(("", BOTH, 0), ("modalities=image+speech", BOTH, 1)),
                       without=({"tower": {"text": 0, "image": 1, "speech": 0}},)),
    # No image, no text, all of both.
    "mot-empty": case("mot", towers={**TWO, "untied": PARTS, "norm": "post"}, batch=3, rows=(13,), n_layers=1,
                      allowed={0: [(0,), (1,), (0, 1)]}),
    "mot-single": case("mot", towers={"names": ["text"], "tower": {"text": 0}, "untied": PARTS, "norm": "pre"}),
    "mot-widths": case("mot", towers={**TWO, "untied": ["ffn", "norms"], "norm": "pre"}, n_layers=3,
                       submodels={"small": "layers.all.ffn=1/4", "mixed": "layers.0.ffn=1/2,layers.2.ffn=1/8,skip=1"},
                       runs=(("", BOTH, 0), ("small", BOTH, 0), ("mixed", BOTH, 0))),
    "mot-bf16": case("mot", towers={**TWO, "untied": PARTS, "norm": "pre"}, bf16=True),
}
for part in PARTS + ["none"]:
    norms = "post" if part in ("norms", "qkv") else "pre"
    CASES["mot-untied-" + part.replace("_", "-")] = case(
        "mot", towers={**TWO, "untied": [p for p in PARTS if p == part], "norm": norms}, n_layers=1)


# --- Checkpoints -------------------------------------------------------------------


def matrix(rng, rows, columns, gain=1.0):
    return gain * rng.standard_normal((rows, columns)) / np.sqrt(columns)


def build(case, rng):
    """(config, nest, tensors)"""
    config = {**CONFIGS[case["family"]], **case["config"]}
    if case["bf16"]:
        config["torch_dtype"] = "bfloat16"
    nest = {}
    if case["routes"] or case["towers"] or case["submodels"]:
        nest = {"format": 1}
        if case["named"]:
            nest["family"] = case["family"]
        if case["submodels"]:
            nest["axes"] = QUARTERS
        for key, said in (("routes", "routes"), ("modalities", "towers"), ("submodels", "submodels")):
            if case[said]:
                nest[key] = case[said]
    tensors = {"mod": llama, "mode": llama, "mod-gpt": gpt, "mot": mot}[case["family"]](case, config, rng)
    if case["special"]:
        case["special"](config, tensors, rng)
    return config, nest, tensors


def routedLayers(case, count):
    layers = set()
    for selector in case["routes"]:
        layers |= files.layersOf(selector.removeprefix("layers."), count)
    return layers


def addRouter(case, tensors, n, d, router, predictor, rng, bias):
    tensors[router + ".weight"] = matrix(rng, 1, d)
    if bias:
        tensors[router + ".bias"] = np.zeros(1)
    if n in case["predictors"]:
        tensors[predictor + ".0.weight"] = matrix(rng, d // 2, d, 1.5)
        tensors[predictor + ".0.bias"] = 0.3 * rng.standard_normal(d // 2)
        tensors[predictor + ".2.weight"] = matrix(rng, 1, d // 2, 3.0)
        tensors[predictor + ".2.bias"] = np.array([0.1])


def norm(rng, width):
    return 1 + 0.2 * rng.standard_normal(width)


def llama(case, c, rng):
    d, f, count = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
    width = c.get("head_dim") or d // c["num_attention_heads"]
    q, kv = width * c["num_attention_heads"], width * c["num_key_value_heads"]
    routed, mode = routedLayers(case, count), case["family"] == "mode"
    t = {"model.embed_tokens.weight": rng.standard_normal((c["vocab_size"], d)), "model.norm.weight": norm(rng, d)}
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix(rng, c["vocab_size"], d, 2.0)
    for n in range(count):
        p = f"model.layers.{n}."
        if n in routed:
            router = p + ("router" if mode else "router.weight_predictor")
            addRouter(case, t, n, d, router, p + "router.predictor", rng, not mode)
            p += "" if mode else "block."
        t[p + "input_layernorm.weight"] = norm(rng, d)
        t[p + "post_attention_layernorm.weight"] = norm(rng, d)
        for part, rows in (("q", q), ("k", kv), ("v", kv)):
            t[p + f"self_attn.{part}_proj.weight"] = matrix(rng, rows, d, 1.3)
            if c.get("attention_bias"):
                t[p + f"self_attn.{part}_proj.bias"] = 0.3 * rng.standard_normal(rows)
        t[p + "self_attn.o_proj.weight"] = matrix(rng, d, q, 1.5)
        if c.get("attention_bias"):
            t[p + "self_attn.o_proj.bias"] = 0.3 * rng.standard_normal(d)
        ffns = [p + "mlp."]
        if mode and n in c["moe_layers"]:
            ffns = [p + f"mlp.experts.{e}." for e in range(c["num_experts"])]
            t[p + "mlp.router.weight"] = matrix(rng, c["num_experts"] + c["noop_experts"], d, 1.5)
        for ffn in ffns:
            t[ffn + "gate_proj.weight"] = matrix(rng, f, d, 1.5)
            t[ffn + "up_proj.weight"] = matrix(rng, f, d, 1.5)
            t[ffn + "down_proj.weight"] = matrix(rng, d, f, 1.5)
    return t


def gpt(case, c, rng):
    d, f = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]
    t = {"transformer.wte.weight": rng.standard_normal((c["vocab_size"], d)),
         "transformer.wpe.weight": 0.5 * rng.standard_normal((c["n_positions"], d))}

    def add(name, rows, columns, gain=1.3):
        t[name + ".weight"] = matrix(rng, rows, columns, gain) if columns else norm(rng, rows)
        if case["biases"]:
            t[name + ".bias"] = 0.3 * rng.standard_normal(rows)

    for n in range(c["n_layer"]):
        p = f"transformer.h.{n}."
        if n in routedLayers(case, c["n_layer"]):
            addRouter(case, t, n, d, p + "mod_router", p + "mod_predictor", rng, False)
            p += "block."
        add(p + "ln_1", d, 0)
        add(p + "attn.c_attn", 3 * d, d)
        add(p + "attn.c_proj", d, d)
        add(p + "ln_2", d, 0)
        add(p + "mlp.c_fc", f, d)
        add(p + "mlp.c_proj", d, f)
    add("transformer.ln_f", d, 0)
    if not c["tie_word_embeddings"]:
        t["lm_head.weight"] = matrix(rng, c["vocab_size"], d, 2.0)
    return t


def mot(case, c, rng):
    d, f = c["dim"], c["hidden_dim"]
    q, kv = c["n_heads"] * c["head_dim"], c["n_kv_heads"] * c["head_dim"]
    towers, untied = max(case["towers"]["tower"].values()) + 1, case["towers"]["untied"]
    t = {"tok_embeddings.weight": rng.standard_normal((c["vocab_size"], d)),
         "output.weight": matrix(rng, c["vocab_size"], d, 2.0)}

    def add(part, before, rest, make):
        """`before` + local_experts + M + rest, or without the towers' part."""
        if part not in untied:
            tied = rest.replace("local_experts_", "").replace("local_experts.M.", "").replace(".M", "")
            t[before + tied] = make()
            return
        for m in range(towers):
            t[before + rest.replace("M", str(m))] = make()

    for n in range(c["n_layers"]):
        a, b = f"layers.{n}.attention.", f"layers.{n}.feed_forward."
        for part, rows in (("wq", q), ("wk", kv), ("wv", kv)):
            add("qkv", a, f"local_experts_{part}.M.weight", lambda: matrix(rng, rows, d, 1.3))
        add("o", a, "local_experts_wo.M.weight", lambda: matrix(rng, d, q, 1.5))
        if c["qk_normalization"]:
            for part in "qk":
                add("qk_norm", a, f"local_experts_{part}_normalization.M.weight",
                    lambda: 1.3 * norm(rng, c["head_dim"]))
        add("norms", a, "local_experts_attention_norm.M.weight", lambda: norm(rng, d))
        for part, shape in (("w1", (f, d)), ("w3", (f, d)), ("w2", (d, f))):
            add("ffn", b, f"local_experts.M.{part}.weight", lambda: matrix(rng, *shape, 1.5))
        add("norms", b, "local_experts_ffn_norm.M.weight", lambda: norm(rng, d))
    add("final_norm", "", "norm.M.weight", lambda: norm(rng, d))
    return t


def inputs(case, config, rng):
    """[(tokens [B, T], modality [B, T] or None)]: no token twice in a sequence, so
    that no two scores are equal by chance."""
    result = []
    for number, rows in enumerate(case["rows"]):
        tokens = np.stack([rng.permutation(config["vocab_size"])[:rows] for _ in range(case["batch"])])
        if case["arrange"]:
            tokens = case["arrange"](tokens, rng)
        modality = None
        if case["towers"]:
            every = tuple(range(len(case["towers"]["names"])))
            modality = np.stack([segments(rng, rows, legal)
                                 for legal in case["allowed"].get(number, [every] * case["batch"])])
        result.append((tokens, modality))
    return result


def segments(rng, rows, legal):
    """Runs of one modality each; every legal one at least once where there is room."""
    while True:
        out = []
        while len(out) < rows:
            out += [int(rng.choice(legal))] * int(rng.integers(1, 5))
        if rows < 3 * len(legal) or len(set(out[:rows])) == len(legal):
            return np.array(out[:rows])


def changed(config, nest, change):
    """Both with the keys changed: in every route, in modalities or in the config."""
    config, nest = copy.deepcopy(config), copy.deepcopy(nest)
    for key, value in change.items():
        if key in ("norm", "tower", "untied"):
            nest["modalities"][key] = value
        elif key in config or not nest.get("routes"):
            config[key] = value
        else:
            for route in nest["routes"].values():
                route[key] = value
    return config, nest
