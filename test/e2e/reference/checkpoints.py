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
NONE = ()

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 24,
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
    "intermediate_size": 16,
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
    "hidden_dim": 24,
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


def case(family, routes=None, rows=(16,), batch=1, runs=(("", ALL, 0),), without=(), bf16=False, biases=False,
         predictors=(), fixed=(), towers=None, segments=None, submodels=None, named=True, special=None, **config):
    """rows: lengths of the inputs; runs: (submodel, modes, number of the input);
    without: keys of config, routes or modalities under which the logits have to
    differ; predictors, fixed: layers that have a predictor, whose router is not
    scaled; special: a function of (config, tensors, inputs, rng)."""
    return dict(family=family, routes=routes or {}, rows=rows, batch=batch, runs=runs, without=without, bf16=bf16,
                biases=biases, predictors=predictors, fixed=fixed, towers=towers, segments=segments,
                submodels=submodels or {}, named=named, special=special, config=config)


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


# --- Cases -------------------------------------------------------------------------

CASES = {}
for gate in ("delta", "double_residual", "replace", "ffn_gated_double", "ffn_gated"):
    CASES["mod-" + gate.replace("_", "-")] = gateCase(gate)

CASES |= {
    # mod
    "mod-additive": case("mod", layerwise(half(gate="additive"), half(gate="additive", weight="sigmoid")),
                         without=({"gate": "hard"},)),
    "mod-hard": case("mod", layerwise(half(gate="hard"), half(gate="hard", weight="sigmoid")),
                     without=({"gate": "delta"},)),
    "mod-every-other": case("mod", {"layers.odd": {"decode": "threshold:0"}}, rows=(40,), num_hidden_layers=4,
                            named=False, without=({"capacity": "1/4"},)),
    "mod-batch": case("mod", {"layers.odd": half(capacity="1/4")}, rows=(19,), batch=3, num_hidden_layers=4,
                      named=False, head_dim=12, without=({"capacity": "1/2"},)),
    # mot
    "mot-post": case("mot", towers={**TWO, "untied": PARTS, "norm": "post"}, batch=3, without=({"norm": "pre"},)),
    "mot-pre": case("mot", towers={**TWO, "untied": PARTS, "norm": "pre"}, batch=3, without=({"norm": "post"},)),
}


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
                add("qk_norm", a, f"local_experts_{part}_normalization.M.weight", lambda: 1.3 * norm(rng, c["head_dim"]))
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
    for rows in case["rows"]:
        tokens = np.stack([rng.permutation(config["vocab_size"])[:rows] for _ in range(case["batch"])])
        modality = None
        if case["towers"]:
            modality = np.stack([segments(rng, rows, len(case["towers"]["names"])) for _ in range(case["batch"])])
        result.append((tokens, modality))
    return case["segments"](result) if case["segments"] else result


def segments(rng, rows, count):
    """Runs of one modality, every modality at least once where there is room."""
    while True:
        out = []
        while len(out) < rows:
            out += [int(rng.integers(count))] * int(rng.integers(1, 5))
        if rows < 3 * count or len(set(out[:rows])) == count:
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
