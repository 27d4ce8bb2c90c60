#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the golden Gemma 3n text decoders beside this file, and cases.json,
which lists every comparison as that of ../goldens does (greedy runs are of float32, also
where the checkpoint is bfloat16).

Every case is a tiny random checkpoint, run by Hugging Face transformers (eager
attention, float32).  A submodel is a model of its own: its config, and the
tensors with gate and up rows and down columns really cut, skipped layers taken
out, and the per-layer inputs' table and projection gathered.  Nothing of nestc is
used.  For each case the script prints by how much the logits move without each
feature of the family, and refuses a case that does not exercise one.

Needs torch, transformers, safetensors and numpy."""

import argparse
import copy
import json
import pathlib
import re
import shutil
import sys

import numpy as np
import torch
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "goldens"))
from make_goldens import HALVES, NEW_TOKENS, TOKENS, difference, generate  # noqa: E402
from make_goldens import logitsOf, roundedLogits, saveShards, writeJson  # noqa: E402

LAYERS = 10
FULL, SLIDING = "full_attention", "sliding_attention"
MULTIMODAL = "model.language_model."

# name -> (spec, width of every source layer in 1/8 of its full width, skipped
# layers).  Written down by hand: nothing here parses a spec.
SUBMODELS = {
    "half": ("layers.all.ffn=1/2", [4] * LAYERS, []),
    "mix": (
        "layers.all.ffn=1/4,layers.0.ffn=1/2,layers.2+7.ffn=full,layers.3.ffn={3/8},"
        "layers.5.ffn=1/8,layers.9.ffn=1/2",
        [4, 2, 8, 3, 2, 1, 2, 8, 2, 4],
        [],
    ),
    "skip": (
        "layers.all.ffn=1/2,layers.odd.ffn=1/4,layers.0+5.ffn=full,skip=1+7",
        [8, 2, 4, 2, 4, 8, 4, 2, 4, 2],
        [1, 7],
    ),
}

SHAPE = {
    "hidden_size": 32,
    "hidden_size_per_layer_input": 8,
    "num_hidden_layers": LAYERS,
    "num_kv_shared_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 8,
    "rms_norm_eps": 1e-6,
    "final_logit_softcapping": 30.0,
    "altup_num_inputs": 4,
    "altup_active_idx": 0,
    "altup_coef_clip": 120.0,
    "altup_correct_scale": True,
    "laurel_rank": 8,
    "max_position_embeddings": 64,
    "vocab_size": 132,
    "vocab_size_per_layer_input": 112,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": None,
    "use_cache": True,
}


def ropes(full, sliding):
    return {FULL: {"rope_type": "default", "rope_theta": full},
            SLIDING: {"rope_type": "default", "rope_theta": sliding}}


def case(batch=1, shards=1, dtype="float32", greedy=(), eos=False, multimodal=False,
         rounded=False, zeros=False, skipped=(1, 7), seed=0, **config):
    return dict(batch=batch, shards=shards, dtype=dtype, greedy=greedy, eos=eos,
                multimodal=multimodal, rounded=rounded, zeros=zeros, skipped=list(skipped),
                seed=seed, config=config)


CASES = {
    # As transformers 5 saves Gemma3nForCausalLM; every layer has a width of its own.
    "base": case(
        batch=3, greedy=("", "mix"), vocab_size=92, vocab_size_per_layer_input=72,
        intermediate_size=[64, 40, 24, 16, 32, 24, 40, 8, 16, 24], num_key_value_heads=1,
        activation_sparsity_pattern=[0.95, 0.5] + [0.0] * 8,
        layer_types=([SLIDING] * 4 + [FULL]) * 2,
        rope_parameters=ropes(1000000.0, 10000.0),
    ),
    # As the published files are: inside a multimodal checkpoint, the keys of
    # transformers 4, and keys and values that no layer reads.
    "legacy": case(
        dtype="bfloat16", shards=3, multimodal=True, greedy=("", "skip"), eos=True,
        num_key_value_heads=1, head_dim=16, intermediate_size=40,
        activation_sparsity_pattern=[0.95, 0.95] + [0.0] * 8,
        layer_types=([SLIDING] * 4 + [FULL]) * 2,
        rope_theta=50000.0, rope_local_base_freq=500.0, rope_scaling=None,
        query_pre_attn_scalar=256, altup_lr_multiplier=1.0,
    ),
    # Layers 0 and 3 are the donors of six; no sparsity by default, no soft cap.
    "shared": case(
        vocab_size=104, vocab_size_per_layer_input=64, num_kv_shared_layers=6,
        intermediate_size=16, hidden_size_per_layer_input=12, altup_correct_scale=False,
        final_logit_softcapping=None, sliding_window=5, greedy=("skip",),
        layer_types=[FULL, SLIDING, SLIDING, SLIDING, SLIDING, FULL, SLIDING, SLIDING,
                     FULL, SLIDING],
        rope_parameters=ropes(10000.0, 100.0),
    ),
    # Rows of embeddings and projections of streams that are zero or nearly so.
    "zero": case(
        batch=3, dtype="bfloat16", zeros=True, skipped=(0, 6),
        vocab_size=92, vocab_size_per_layer_input=72,
        intermediate_size=32, activation_sparsity_pattern=[0.8, 0.5] + [0.0] * 8,
        rope_parameters=ropes(1000000.0, 10000.0),
    ),
    "bf16": case(
        batch=3, dtype="bfloat16", rounded=True,
        hidden_size=40, head_dim=12, intermediate_size=48, vocab_size=92,
        vocab_size_per_layer_input=72,
        num_key_value_heads=1,
        activation_sparsity_pattern=[0.5, 0.8] + [0.0] * 8,
        rope_parameters=ropes(1000000.0, 10000.0),
    ),
}


def specsOf(what):
    """SUBMODELS as the case has them: its count of 3/8, its skipped layers."""
    widths = widthsOf(what["config"])
    specs = {}
    for name, (spec, eighths, skipped) in SUBMODELS.items():
        spec = spec.replace("{3/8}", str(3 * widths[3] // 8))
        spec = spec.replace("skip=1+7", "skip=" + "+".join(map(str, what["skipped"])))
        cut = [w * e // 8 for w, e in zip(widths, eighths)]
        specs[name] = spec, cut, what["skipped"] if skipped else []
    return specs


def widthsOf(config):
    widths = config["intermediate_size"]
    return widths if isinstance(widths, list) else [widths] * LAYERS


# --- Weights ------------------------------------------------------------------

# Scales under which no part drowns another: a matrix's noise, or what is added to
# a vector's ones (a vector without ones has two numbers: mean and noise).
SCALES = [
    (r"embed_tokens\.weight", 0.6),
    (r"embed_tokens_per_layer", 0.35),
    (r"modality_router", 3.0),
    (r"prediction_coefs", 0.1),
    (r"correction_coefs", 0.2),
    (r"correct_output_scale", (0.8, 0.5)),
    (r"(q|k)_norm", (0.8, 0.15)),
    (r"model\.norm", (1.2, 0.2)),
    (r"post_(attention|feedforward|laurel|per_layer)", (0.5, 0.1)),
    (r"norm", (1.0, 0.2)),
    (r"", 0.2),
]


def randomWeights(model, generator):
    state = {}
    for name, value in sorted(model.named_parameters()):
        noise = torch.randn(value.shape, generator=generator)
        scale = next(s for pattern, s in SCALES if re.search(pattern, name))
        mean, scale = scale if isinstance(scale, tuple) else (0.0, scale)
        state[name] = mean + scale * noise
    return state


def zeroSome(state):
    """Tokens without an embedding, of the model or of its layers; one stream that
    starts at zero and one below the floor of 1e-5; the same at the end."""
    state["model.embed_tokens.weight"][::5] = 0
    state["model.embed_tokens_per_layer.weight"][::7] = 0
    state["model.altup_projections.1.weight"][:] = 0
    state["model.altup_projections.2.weight"] *= 1e-3
    state["model.altup_unembed_projections.0.weight"] *= 3e-4
    state["model.altup_unembed_projections.2.weight"][:] = 0


def textConfig(keys):
    """transformers 5 declares the soft cap a number; its model takes None."""
    keys = copy.deepcopy(keys)
    capless = keys.get("final_logit_softcapping", 30.0) is None
    if capless:
        del keys["final_logit_softcapping"]
    config = Gemma3nTextConfig(**keys)
    if capless:
        vars(config)["final_logit_softcapping"] = None
    return config


def build(config, state):
    """The model of a config and of all its tensors; the head is tied."""
    config = textConfig(config)
    config._attn_implementation = "eager"
    model = Gemma3nForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.float().eval()


def cutSubmodel(config, state, widths, skipped):
    """A submodel's config and tensors, cut from the full ones."""
    kept = [i for i in range(LAYERS) if i not in skipped]
    first = LAYERS - config["num_kv_shared_layers"]
    full = textConfig(config)  # for what the config leaves to a default
    config = dict(
        config, num_hidden_layers=len(kept), intermediate_size=[widths[i] for i in kept],
        layer_types=[full.layer_types[i] for i in kept],
        activation_sparsity_pattern=[full.activation_sparsity_pattern[i] for i in kept],
        num_kv_shared_layers=sum(i >= first for i in kept),
    )
    # The donors are the full model's.
    donors = [i for i, mode in enumerate(full.kv_sharing_modes) if mode == "store"]
    modes = textConfig(config).kv_sharing_modes
    assert donors == [kept[i] for i, mode in enumerate(modes) if mode == "store"]

    size, cut = full.hidden_size_per_layer_input, {}
    for name, value in state.items():
        layer = re.match(r"model\.layers\.(\d+)\.(.*)", name)
        if layer:
            old, rest = int(layer[1]), layer[2]
            if old in skipped:
                continue
            if re.match(r"mlp\.(gate|up)_proj", rest):
                value = value[: widths[old]]
            elif rest.startswith("mlp.down_proj"):
                value = value[:, : widths[old]]
            name = f"model.layers.{kept.index(old)}.{rest}"
        elif "embed_tokens_per_layer" in name:  # [vocabulary, layers x P]
            value = value.unflatten(1, (LAYERS, size))[:, kept].flatten(1)
        elif "per_layer_model_projection" in name:  # [layers x P, D]
            value = value.unflatten(0, (LAYERS, size))[kept].flatten(0, 1)
        cut[name] = value.clone()
    return config, cut


# --- What the logits owe to each feature ----------------------------------------

# Changes that may move the logits by less than 1e-2.
WEAK = {"deviation of n - 1": 1e-3}


def zeroed(pattern, value=0.0):
    def change(state):
        names = [name for name in state if re.search(pattern, name)]
        assert names, pattern
        for name in names:
            state[name] = torch.full_like(state[name], value)

    return change


def earlierDonor(model):
    """Sliding consumers read the sliding layer before their donor."""
    layers = [l.self_attn for l in model.model.layers]
    sliding = [a for a in layers if a.layer_type == SLIDING and not a.is_kv_shared_layer]
    assert sliding[-1].store_full_length_kv
    sliding[-1].store_full_length_kv, sliding[-2].store_full_length_kv = False, True


def unnormedValues(model):
    for layer in model.model.layers:
        if not layer.self_attn.is_kv_shared_layer:
            layer.self_attn.v_norm = torch.nn.Identity()


def scaledScores(model):
    for layer in model.model.layers:
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5


def sampleDeviation(model):
    """The deviation of n - 1 in the sparse layers."""
    for layer in model.model.layers:
        mlp = layer.mlp
        if mlp.activation_sparsity > 0:
            n = mlp.gate_proj.out_features
            point = torch.distributions.Normal(0, 1).icdf(torch.tensor(mlp.activation_sparsity))
            factor = point * (n / (n - 1)) ** 0.5
            mlp._gaussian_topk = lambda x, f=factor: torch.relu(
                x - (x.mean(-1, keepdim=True) + f * x.std(-1, keepdim=True, unbiased=False)))


def shiftNorms(state):
    """Norms as in the Gemmas before: 1 + weight."""
    for name in state:
        if re.search(r"norm\.weight|layernorm\.weight", name):
            state[name] = state[name] + 1


def scaled(name, factor):
    def change(state):
        state[name] = state[name] * factor

    return change


def firstRow(state):
    """Row 0 of the table stands in for what is not in the table."""
    state["model.embed_tokens_per_layer.weight"][0] += 1


def featuresOf(config):
    """name -> (config keys, change of the tensors, change of the model)."""
    full = textConfig(config)
    thetas = [full.rope_parameters[t]["rope_theta"] for t in (FULL, SLIDING)]
    plain = {k: v for k, v in config.items() if not k.startswith("rope_")}

    def oneTheta(i):
        return {**plain, "rope_parameters": ropes(thetas[i], thetas[i])}

    consumers = "|".join(str(i) for i in range(LAYERS - full.num_kv_shared_layers, LAYERS))
    layer = r"layers\.\d+\."
    features = {
        "window": ({"sliding_window": full.max_position_embeddings}, None, None),
        "window one less": ({"sliding_window": full.sliding_window - 1}, None, None),
        "one theta (full)": (oneTheta(0), None, None),
        "one theta (sliding)": (oneTheta(1), None, None),
        "q_norm, k_norm": ({}, zeroed(r"(q|k)_norm", 1.0), None),
        "v_norm": ({}, None, unnormedValues),
        "scale of scores": ({}, None, scaledScores),
        "donor": ({}, None, earlierDonor),
        "attention of consumers": ({}, zeroed(rf"layers\.({consumers})\.self_attn.o_proj"), None),
        "laurel": ({}, zeroed(layer + r"laurel\.linear_right"), None),
        "prediction": ({}, zeroed("prediction_coefs"), None),
        "correction": ({}, zeroed("correction_coefs"), None),
        "router_norm": ({}, zeroed("router_norm", 1.0), None),
        "altup_projections": ({}, zeroed("altup_projections"), None),
        "altup_unembed_projections": ({}, zeroed("altup_unembed_projections"), None),
        "per-layer table": ({}, zeroed("embed_tokens_per_layer"), None),
        "row 0 of the table": ({}, firstRow, None),
        "per-layer projection": ({}, zeroed("per_layer_model_projection"), None),
        "per_layer_projection_norm": ({}, zeroed("per_layer_projection_norm", 1.0), None),
        "per-layer injection": ({}, zeroed("post_per_layer_input_norm"), None),
        "norms 1 + w": ({}, shiftNorms, None),
        "epsilon": ({"rms_norm_eps": 1e-2}, None, None),
    }
    if full.altup_correct_scale:
        features["correct_output_scale"] = ({"altup_correct_scale": False}, None, None)
    else:
        features["no correct_output_scale"] = ({"altup_correct_scale": True}, None, None)
    if full.final_logit_softcapping is not None:
        features["soft cap"] = ({"final_logit_softcapping": None}, None, None)
    else:
        features["no soft cap"] = ({"final_logit_softcapping": 30.0}, None, None)
    if any(full.activation_sparsity_pattern):
        features["sparsity"] = ({"activation_sparsity_pattern": [0.0] * LAYERS}, None, None)
        features["deviation of n - 1"] = ({}, None, sampleDeviation)
    return features


@torch.no_grad()
def maskedLogits(config, state, widths, tokens):
    """A submodel without its skips as a mask on gate x up: other statistics in the
    sparse layers than a slice has."""
    model = build(config, state)
    for layer, width in zip(model.model.layers, widths):
        down = layer.mlp.down_proj.weight
        down[:, width:] = 0
    return logitsOf(model, tokens)


# Above the floor a projection's magnitude would not matter.
FLOORS = {
    "floor at the start": ({}, scaled("model.altup_projections.2.weight", 1e3), None),
    "floor at the end": ({}, scaled("model.altup_unembed_projections.0.weight", 1e3), None),
}


def effectsOf(config, state, tokens, reference, more):
    effects = {}
    for name, (keys, onState, onModel) in {**featuresOf(config), **more}.items():
        base = keys if "rope_parameters" in keys else {**config, **keys}
        changed = {n: v.clone() for n, v in state.items()}
        if onState:
            onState(changed)
        model = build(base, changed)
        if onModel:
            onModel(model)
        effects[name] = difference(logitsOf(model, tokens), reference)
    return effects


# --- Files --------------------------------------------------------------------


def configOf(what):
    """(config.json, the text decoder's keys)."""
    text = {"model_type": "gemma3n_text", **SHAPE, **what["config"]}
    key = "dtype" if "rope_parameters" in text else "torch_dtype"
    if not what["multimodal"]:
        return {"architectures": ["Gemma3nForCausalLM"], **text,
                "tie_word_embeddings": True, key: what["dtype"]}, text
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        del text[name]
    text[key] = what["dtype"]
    config = {
        "architectures": ["Gemma3nForConditionalGeneration"],
        "model_type": "gemma3n",
        "text_config": text,
        "vision_config": {"model_type": "gemma3n_vision", "architecture": "mobilenetv5_300m_enc",
                          "hidden_size": 2048, "vocab_size": 8, "vocab_offset": 112},
        "audio_config": {"model_type": "gemma3n_audio", "hidden_size": 16, "vocab_size": 8,
                         "vocab_offset": 120, "conf_num_hidden_layers": 1},
        "image_token_id": 119, "boi_token_id": 118, "eoi_token_id": 117,
        "audio_token_id": 127, "boa_token_id": 126, "eoa_token_id": 125,
        "vision_soft_tokens_per_image": 4, "audio_soft_tokens_per_image": 4,
        "eos_token_id": None, "initializer_range": 0.02, key: what["dtype"],
    }
    return config, text


def storedTensors(what, text, state, generator):
    """What the files have: the published names, with keys and values that no layer
    reads and other modalities' tensors beside the text's, where the case is so."""
    if not what["multimodal"]:
        return dict(state)
    d, size = text["hidden_size"], text["head_dim"]
    shared = text["num_key_value_heads"] * size
    shapes = {}
    for i in range(LAYERS - text["num_kv_shared_layers"], LAYERS):
        attention = f"{MULTIMODAL}layers.{i}.self_attn"
        shapes |= {f"{attention}.k_proj.weight": [shared, d],
                   f"{attention}.v_proj.weight": [shared, d],
                   f"{attention}.k_norm.weight": [size]}
    shapes |= {
        "model.vision_tower.timm_model.conv_stem.conv.weight": [4, 3, 3, 3],
        "model.vision_tower.timm_model.conv_stem.bn.weight": [4],
        "model.audio_tower.conformer.0.attention.attn.q_proj.weight": [16, 16],
        "model.audio_tower.conformer.0.norm.weight": [16],
        "model.audio_tower.subsample_conv_projection.input_proj_linear.weight": [16, 8],
        "model.embed_vision.embedding.weight": [8, 16],
        "model.embed_vision.embedding_projection.weight": [d, 16],
        "model.embed_audio.embedding.weight": [8, 16],
        "model.embed_audio.hard_embedding_norm.weight": [16],
    }
    stored = {name.replace("model.", MULTIMODAL, 1): value for name, value in state.items()}
    for name, shape in shapes.items():
        stored[name] = torch.randn(shape, generator=generator)
    return stored


def loadFiles(directory, text, dtype=torch.float32):
    """What transformers makes of the files."""
    config = textConfig(text)
    model, report = Gemma3nForCausalLM.from_pretrained(
        directory, config=config, dtype=dtype, attn_implementation="eager",
        output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"], report
    return model.eval()


def makeCase(name, what, entries):
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config, text = configOf(what)
    writeJson(directory / "config.json", config)
    specs = specsOf(what)
    writeJson(
        directory / "nest.json",
        {"format": 1, "family": "gemma3n",
         "axes": {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}},
         "submodels": {n: spec for n, (spec, _, _) in specs.items()}},
    )

    seed = sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**31 + what["seed"]
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, what["dtype"])
    state = randomWeights(Gemma3nForCausalLM(textConfig(text)), generator)
    if what["zeros"]:
        zeroSome(state)
    state = {n: v.to(dtype) for n, v in state.items()}
    stored = storedTensors(what, text, state, generator)
    stored = {n: v.to(dtype).contiguous() for n, v in stored.items()}
    saveShards(directory, stored, what["shards"])

    # The oracle is what transformers makes of the files, not what was in memory.
    state = {n: v.float() for n, v in state.items()}
    model = loadFiles(directory, text)
    size, known = (what["batch"], TOKENS), text["vocab_size_per_layer_input"]
    tokens = torch.randint(0, text["vocab_size"], size, generator=generator)
    # In every sequence: the last token of the per-layer table, and two behind it.
    tokens[:, 3], tokens[:, 6], tokens[:, 17] = known - 1, known, text["vocab_size"] - 1
    np.save(directory / "tokens.npy", tokens.numpy().astype(np.int32))
    models = {"": model}
    logits = {"": logitsOf(model, tokens)}
    assert difference(logitsOf(build(text, state), tokens), logits[""]) < 1e-6
    for sub, (_, widths, skipped) in specs.items():
        cutConfig, cut = cutSubmodel(text, state, widths, skipped)
        models[sub] = build(cutConfig, cut)
        logits[sub] = logitsOf(models[sub], tokens)
    assert all(value.isfinite().all() for value in logits.values())

    apart = min(difference(a, b) for m, a in logits.items() for n, b in logits.items() if m != n)
    print(f"{name}: largest logit {logits[''].abs().max():.1f}, submodels apart {apart:.2f}")
    assert apart > 1e-2, (name, apart)
    exact = logitsOf(copy.deepcopy(model).double(), tokens)
    print(f"  float32 against float64 {difference(logits[''], exact):.1e}")
    effects = effectsOf(text, state, tokens, logits[""], FLOORS if what["zeros"] else {})
    if any(textConfig(text).activation_sparsity_pattern):
        masked = maskedLogits(text, state, specs["half"][1], tokens)
        effects["mask for slice"] = difference(masked, logits["half"])
    print("  without", ", ".join(f"{n} {e:.3g}" for n, e in effects.items()), flush=True)
    weak = {n: e for n, e in effects.items() if not e > WEAK.get(n, 1e-2)}
    assert not weak, (name, weak)

    short, tolerance = HALVES.get(dtype, (None, None))
    for sub, value in logits.items():
        file = f"logits.{sub}.npy" if sub else "logits.npy"
        np.save(directory / file, value.numpy())
        common = {"case": name, "model_type": config["model_type"], "submodel": sub,
                  "spec": specs[sub][0] if sub else "",
                  "tokens": f"{name}/tokens.npy", "logits": f"{name}/{file}"}
        entries.append({**common, "dtype": "f32", "tolerance": 1e-4})
        if dtype in HALVES:
            if what["rounded"]:
                entries.append({**common, "dtype": short, "tolerance": tolerance})
            rounded = difference(roundedLogits(models[sub], tokens, dtype), value)
            whole = copy.deepcopy(models[sub]).to(dtype)
            print(f"  {sub or 'full'}: operands of products in {short} {rounded:.4f}, "
                  f"transformers in {short} {difference(logitsOf(whole, tokens), value):.4f}")

    generated = []
    for sub in what["greedy"]:
        prompt = tokens[0, :8].tolist()
        ids, margin = generate(models[sub], prompt)
        print(f"  {sub or 'full'}: greedy margin {margin:.4f}")
        assert margin > 2e-3, (name, sub, margin)
        generated.append({"case": name, "spec": specs[sub][0] if sub else "",
                          "dtype": "f32", "prompt": prompt, "ids": ids})
    if what["eos"]:
        # An end token that the full model does come to write: its run stops there.
        ids = generated[0]["ids"]
        stop = next(i for i in range(4, NEW_TOKENS) if ids[i] not in ids[:i])
        unused = next(i for i in range(text["vocab_size"])
                      if all(i not in g["ids"] for g in generated))
        config["eos_token_id"] = [unused, ids[stop]]
        writeJson(directory / "config.json", config)
        for entry in generated:
            if ids[stop] in entry["ids"]:
                entry["ids"] = entry["ids"][: entry["ids"].index(ids[stop])]
                entry["stopped"] = True
    return generated


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="only these, and not cases.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries, generated = [], []
    for name in options.cases or CASES:
        generated += makeCase(name, CASES[name], entries)
    if not options.cases:
        writeJson(HERE / "cases.json", {"logits": entries, "greedy": generated})


if __name__ == "__main__":
    main()
