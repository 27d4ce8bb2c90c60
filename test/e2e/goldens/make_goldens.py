#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the golden checkpoints and logits beside this file.

Every case is a tiny random checkpoint of one family member, run by Hugging Face
transformers (eager attention, float32).  A submodel's logits come from the same
model after its gate and up rows and its down columns have really been cut and
its skipped layers taken out of the list: nothing of nestc is used.

Needs torch, transformers, tokenizers, safetensors and numpy.  The tests read
what is checked in and never run this.  cases.json lists every comparison.
"""

import argparse
import copy
import json
import pathlib
import random
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent
LAYERS = 4
TOKENS = 24
NEW_TOKENS = 16

# name -> (spec, width of every source layer in 1/8 of the full width, skipped
# layers).  Written down by hand: nothing here parses a spec.
SUBMODELS = {
    "quarter": ("layers.all.ffn=1/4", [2, 2, 2, 2], []),
    "mix": (
        "layers.0.ffn=1/2,layers.1.ffn=1/8,layers.2.ffn=full,layers.3.ffn={3/8}",
        [4, 1, 8, 3],
        [],
    ),
    "skip": (
        "layers.all.ffn=1/2,layers.odd.ffn=1/8,layers.0+3.ffn=1/4,skip=1",
        [2, 1, 4, 2],
        [1],
    ),
}

SHAPE = {
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "vocab_size": 101,
    "use_cache": True,
    "bos_token_id": 1,
    "eos_token_id": None,
    "attention_dropout": 0.0,
}


def case(kind, batch=1, shards=1, dtype="float32", scale=0.2, greedy=(),
         without=None, eos=False, **config):
    """One checkpoint.  `without`: config values under which the logits have to
    be different ones, so that the case is known to exercise what it is for."""
    return dict(kind=kind, batch=batch, shards=shards, dtype=dtype, scale=scale,
                greedy=greedy, without=without, eos=eos, config=config)


# Half of the cases have their config as transformers 4 wrote it (rope_theta,
# rope_scaling, torch_dtype), half as transformers 5 does (rope_parameters, dtype).
CASES = {
    "llama-gqa": case(
        "llama", batch=3, shards=3, greedy=("", "mix"),
        without={"rope_theta": 100.0},
        rope_theta=10000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
    ),
    "llama-mha-llama3": case(
        "llama", vocab_size=128, hidden_size=32, num_attention_heads=4,
        num_key_value_heads=4,
        without={"rope_scaling": None},
        rope_theta=500.0,
        rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 16, "rope_type": "llama3"},
    ),
    "llama-linear": case(
        "llama", num_key_value_heads=1,
        without={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
    ),
    "llama-bias": case(
        "llama", head_dim=12, hidden_size=40, num_attention_heads=4,
        intermediate_size=88, attention_bias=True, mlp_bias=True,
        without={"rope_theta": 100.0},
        rope_theta=20000.0,
    ),
    "llama-tied": case(
        "llama", tie_word_embeddings=True, head_dim=16, hidden_size=32,
        num_attention_heads=4, intermediate_size=64, vocab_size=117,
        greedy=("", "quarter"), eos=True,
        without={"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    ),
    "llama-bf16": case(
        "llama", batch=3, dtype="bfloat16", scale=0.12, intermediate_size=104,
        without={"rope_theta": 100.0},
        rope_theta=10000.0, head_dim=8,
    ),
    "llama-f16": case(
        "llama", batch=3, dtype="float16", scale=0.12, intermediate_size=88,
        without={"rope_theta": 100.0},
        rope_theta=10000.0, head_dim=8,
    ),
    "qwen2": case(
        "qwen2", batch=3, hidden_size=36, rms_norm_eps=1e-6,
        without={"rope_theta": 100.0},
        rope_theta=1000000.0, sliding_window=5, use_sliding_window=False,
        max_window_layers=2,
    ),
    "qwen2-window": case(
        "qwen2", rms_norm_eps=1e-6, vocab_size=96, shards=2,
        without={"use_sliding_window": False},
        rope_theta=10000.0, sliding_window=7, use_sliding_window=True,
        max_window_layers=2,
    ),
    "qwen2-yarn": case(
        "qwen2", rms_norm_eps=1e-6, tie_word_embeddings=True,
        num_attention_heads=4,
        without={"rope_scaling": None},
        rope_theta=10000.0, use_sliding_window=False, sliding_window=None,
        max_window_layers=4,
        rope_scaling={"factor": 4.0, "original_max_position_embeddings": 16,
                      "type": "yarn"},
    ),
    "qwen2-f16": case(
        "qwen2", dtype="float16", scale=0.12, rms_norm_eps=1e-6,
        tie_word_embeddings=True, num_attention_heads=4,
        without={"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        sliding_window=None, use_sliding_window=False, max_window_layers=4,
        layer_types=["full_attention"] * 4,
    ),
    "qwen3": case(
        "qwen3", batch=3, rms_norm_eps=1e-6, head_dim=16, hidden_size=40,
        num_attention_heads=4, intermediate_size=104, greedy=("skip",),
        without={"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        attention_bias=False, use_sliding_window=False, sliding_window=None,
        max_window_layers=4, layer_types=["full_attention"] * 4,
    ),
    "qwen3-window-yarn": case(
        "qwen3", rms_norm_eps=1e-6, head_dim=16, hidden_size=48,
        num_attention_heads=4, vocab_size=97, attention_bias=True,
        max_position_embeddings=60,
        without={"layer_types": ["sliding_attention"] + ["full_attention"] * 3},
        rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.5,
                         "original_max_position_embeddings": 24, "beta_fast": 4.0,
                         "beta_slow": 0.5, "attention_factor": 1.25},
        use_sliding_window=True, sliding_window=5, max_window_layers=0,
        layer_types=["full_attention", "sliding_attention", "full_attention",
                     "sliding_attention"],
    ),
    "qwen3-bf16": case(
        "qwen3", dtype="bfloat16", scale=0.12, rms_norm_eps=1e-6, head_dim=16,
        hidden_size=48, num_attention_heads=4, tie_word_embeddings=True,
        without={"rope_theta": 100.0},
        rope_theta=10000.0, use_sliding_window=False, sliding_window=None,
        max_window_layers=4, attention_bias=False,
    ),
    "mistral": case(
        "mistral", batch=3, head_dim=8, intermediate_size=80, greedy=("",),
        without={"sliding_window": None},
        rope_theta=10000.0, sliding_window=6,
    ),
    "mistral-full": case(
        "mistral", head_dim=10, num_attention_heads=4, hidden_size=32, vocab_size=111,
        without={"sliding_window": 6},
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        sliding_window=None,
    ),
    "olmo2": case(
        "olmo2", batch=3, rms_norm_eps=1e-6, intermediate_size=80,
        without={"rope_theta": 100.0},
        rope_theta=500000.0, rope_scaling=None, attention_bias=False,
    ),
    "olmo2-mha": case(
        "olmo2", hidden_size=32, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=103, tie_word_embeddings=True, attention_bias=True,
        without={"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    ),
}

# What is stored in half the bytes is also multiplied in that type: its name and
# tolerance. A significand of f16 has three bits more than one of bf16.
HALVES = {torch.bfloat16: ("bf16", 3e-2), torch.float16: ("f16", 4e-3)}

ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "mistral": "MistralForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
}


def writeJson(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def configOf(what):
    config = {"architectures": [ARCHITECTURES[what["kind"]]],
              "model_type": what["kind"], **SHAPE, **what["config"]}
    key = "dtype" if "rope_parameters" in config else "torch_dtype"
    config[key] = what["dtype"]
    return config


def randomise(model, generator, scale):
    """Weights wide enough that every cut shows in the logits."""
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator)
            if value.ndim == 2:
                value.copy_(scale * noise)
            elif name.endswith("bias"):
                value.copy_(0.3 * noise)
            else:
                value.copy_(1 + 0.2 * noise)


def saveShards(directory, state, count):
    metadata = {"format": "pt"}
    if count == 1:
        save_file(state, str(directory / "model.safetensors"), metadata=metadata)
        (directory / "model.safetensors").chmod(0o644)
        return
    weightMap, total = {}, 0
    names = sorted(state)
    for i in range(count):
        # Every count-th name: a layer's tensors are spread over all the shards.
        part = {name: state[name] for name in names[i::count]}
        file = f"model-{i + 1:05}-of-{count:05}.safetensors"
        save_file(part, str(directory / file), metadata=metadata)
        (directory / file).chmod(0o644)
        weightMap.update({name: file for name in part})
        total += sum(value.nbytes for value in part.values())
    writeJson(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": total},
         "weight_map": dict(sorted(weightMap.items()))},
    )


def cutLinear(linear, rows=None, columns=None):
    weight = linear.weight.detach()[:rows, :columns].clone()
    bias = None if linear.bias is None else linear.bias.detach()[:rows].clone()
    cut = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None,
                          dtype=weight.dtype)
    cut.weight = torch.nn.Parameter(weight)
    if bias is not None:
        cut.bias = torch.nn.Parameter(bias)
    return cut


def specialise(model, widths, skipped):
    model = copy.deepcopy(model)
    for layer, width in zip(model.model.layers, widths):
        layer.mlp.gate_proj = cutLinear(layer.mlp.gate_proj, rows=width)
        layer.mlp.up_proj = cutLinear(layer.mlp.up_proj, rows=width)
        layer.mlp.down_proj = cutLinear(layer.mlp.down_proj, columns=width)
    kept = [i for i in range(LAYERS) if i not in skipped]
    model.model.layers = torch.nn.ModuleList([model.model.layers[i] for i in kept])
    for i, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = i
    config = model.config
    types = getattr(config, "layer_types", None)
    if types is not None:  # a kept layer keeps its own window
        config.layer_types = [types[i] for i in kept]
    config.num_hidden_layers = len(kept)
    return model


@torch.no_grad()
def logitsOf(model, tokens):
    return model(input_ids=tokens, use_cache=False).logits.float()


@torch.no_grad()
def generate(model, prompt):
    """Greedy; the smallest relative margin says how safe the choice is."""
    ids, margin = list(prompt), 1.0
    for _ in range(NEW_TOKENS):
        row = logitsOf(model, torch.tensor([ids]))[0, -1]
        top = row.topk(2)
        gap = (top.values[0] - top.values[1]) / row.abs().max()
        margin = min(margin, gap.item())
        ids.append(int(top.indices[0]))
    return ids[len(prompt):], margin


def difference(a, b):
    return ((a - b).abs().amax(-1) / b.abs().amax(-1)).max().item()


@torch.no_grad()
def roundedLogits(model, tokens, dtype):
    """What products in `dtype` with everything else in f32 make of the model:
    the inputs of every matrix are rounded.  For information."""
    hooks = [
        module.register_forward_pre_hook(lambda _m, args: (args[0].to(dtype).float(),))
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    logits = logitsOf(model, tokens)
    for hook in hooks:
        hook.remove()
    return logits


def makeCase(name, what, entries):
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config = configOf(what)
    writeJson(directory / "config.json", config)
    full = config["intermediate_size"]
    specs = {n: (spec.replace("{3/8}", str(3 * full // 8)), [full // 8 * w for w in ws], s)
             for n, (spec, ws, s) in SUBMODELS.items()}
    writeJson(
        directory / "nest.json",
        {"format": 1, "family": "llama",
         "axes": {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}},
         "submodels": {n: spec for n, (spec, _, _) in specs.items()}},
    )

    # A seed of the name: a new case leaves the others as they are.
    seed = sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**31
    generator = torch.Generator().manual_seed(seed)
    hfConfig = AutoConfig.from_pretrained(directory)
    model = AutoModelForCausalLM.from_config(
        hfConfig, dtype=torch.float32, attn_implementation="eager").eval()
    randomise(model, generator, what["scale"])
    dtype = getattr(torch, what["dtype"])
    state = {n: p.detach().to(dtype).contiguous().clone()
             for n, p in model.named_parameters()}  # a tied head is not listed
    assert ("lm_head.weight" in state) != config["tie_word_embeddings"]
    saveShards(directory, state, what["shards"])

    # The oracle is what transformers makes of the files, not what was in memory.
    def load(dtype=torch.float32, **overrides):
        return AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, attn_implementation="eager", **overrides).eval()

    model = load()
    tokens = torch.randint(0, config["vocab_size"], (what["batch"], TOKENS),
                           generator=generator)
    np.save(directory / "tokens.npy", tokens.numpy().astype(np.int32))
    models = {"": model}
    logits = {"": logitsOf(model, tokens)}
    for sub, (_, widths, skipped) in specs.items():
        models[sub] = specialise(model, widths, skipped)
        logits[sub] = logitsOf(models[sub], tokens)

    changed = copy.deepcopy(config)
    changed.update(what["without"])
    writeJson(directory / "config.json", changed)
    effect = difference(logitsOf(load(), tokens), logits[""])
    writeJson(directory / "config.json", config)
    apart = min(difference(a, b) for m, a in logits.items() for n, b in logits.items() if m != n)
    assert effect > 1e-2 and apart > 1e-2, (name, effect, apart)

    short, tolerance = HALVES.get(dtype, (None, None))
    notes = f"{name}: effect {effect:.2f}, submodels apart {apart:.2f}"
    for sub, value in logits.items():
        file = f"logits.{sub}.npy" if sub else "logits.npy"
        np.save(directory / file, value.numpy())
        common = {"case": name, "model_type": what["kind"], "submodel": sub,
                  "spec": specs[sub][0] if sub else "",
                  "tokens": f"{name}/tokens.npy", "logits": f"{name}/{file}"}
        entries.append({**common, "dtype": "f32", "tolerance": 1e-4})
        if dtype in HALVES:
            entries.append({**common, "dtype": short, "tolerance": tolerance})
            rounded = difference(roundedLogits(models[sub], tokens, dtype), value)
            notes += f", rounding {rounded:.4f}"
    if dtype in HALVES:
        hf = logitsOf(load(dtype=dtype), tokens)
        notes += f", transformers in {short} {difference(hf, logits['']):.4f}"

    generated = []
    for sub in what["greedy"]:
        prompt = tokens[0, :8].tolist()
        ids, margin = generate(models[sub], prompt)
        assert margin > 1e-3, (name, sub, margin)
        generated.append({"case": name, "spec": specs[sub][0] if sub else "",
                          "prompt": prompt, "ids": ids})
        notes += f", greedy margin {margin:.4f}"
    if what["eos"]:
        # An end token that the full model does come to write: its run stops there.
        ids = generated[0]["ids"]
        stop = next(i for i in range(4, NEW_TOKENS) if ids[i] not in ids[:i])
        unused = next(i for i in range(config["vocab_size"])
                      if all(i not in g["ids"] for g in generated))
        config["eos_token_id"] = [unused, ids[stop]]
        writeJson(directory / "config.json", config)
        for entry in generated:
            if ids[stop] in entry["ids"]:
                entry["ids"] = entry["ids"][: entry["ids"].index(ids[stop])]
                entry["stopped"] = True
    print(notes, flush=True)
    return generated


# --- The tokenizer ------------------------------------------------------------

PIECES = [
    "hello", "World", "the", "hacker", "don't", "we'll", "I'm", "they've", "it's",
    "he'd", "you're", "'S", "'LL", "''", "foo-bar", "snake_case", "x86", "3.14159",
    "2024", "1000000", "0", "①", "½", "é", "e\u0301", "naïve", "Straße", "İstanbul",
    "日本語", "한국어", "العربية", "हिन्दी", "ελληνικά", "русский", "🙂", "👩‍👩‍👧", "🇩🇪", "\U0001f9d1\U0001f3fd",
    "\u200b", "\u00a0", "\u3000", "\u2028", "\ufeff", "\x00", "\x7f", "\x85", "“quoted”", "‘q’",
    "—", "…", "{}", "()", "[]", "<|", "|>", "::", "!!!", "?", "#include", "&&", "\\n",
    " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", ".", ",", ":hacker:", "/foo/",
]


def makeTokenizerCases():
    import tokenizers  # only here: the rest works without

    model = HERE / "../../models/matlm"
    tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
    chooser = random.Random(7)
    texts = ["", " ", "\n", "a", " a", "a ", "\n\n\n", "          ", "<|endoftext|>",
             "a<|endoftext|>b", "<|endoftext|><|endoftext|>", "<|endoftext",
             " <|endoftext|> ", "'s't're've'm'll'd", "'S'T'RE", "can't\n\n  stop",
             "a" * 300, "0123456789" * 5, "!" * 64, "The quick brown fox. "]
    texts += PIECES
    while len(texts) < 200:
        joint = chooser.choice(["", " ", "", "  ", "\n"])
        texts.append(joint.join(chooser.choices(PIECES, k=chooser.randint(2, 12))))
    while len(texts) < 260:  # any code points but surrogates
        ranges = [(0, 0x80), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000),
                  (0x10000, 0x110000)]
        texts.append("".join(chr(chooser.randrange(*chooser.choice(ranges)))
                             for _ in range(chooser.randint(1, 16))))
    held = np.load(model / "heldout.npy")
    while len(texts) < 300:  # the language the vocabulary was made for
        row = held[chooser.randrange(len(held))]
        start = chooser.randrange(200)
        # The end token would vanish in decoding; half a character must not occur.
        text = tokenizer.decode(row[start : start + 40].tolist())
        texts.append(text.strip("\ufffd"))
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        special = 0 in ids
        if not special:
            assert tokenizer.decode(ids) == text, text
        cases.append({"text": text, "ids": ids,
                      "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    (HERE / "tokenizer").mkdir(exist_ok=True)
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    (HERE / "tokenizer" / "cases.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"tokenizer: {len(cases)} cases")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", action="store_true",
                        help="only the tokenizer's cases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    makeTokenizerCases()
    if options.tokenizer:
        return
    entries, generated = [], []
    for name, what in CASES.items():
        generated += makeCase(name, what, entries)
    writeJson(HERE / "cases.json", {"logits": entries, "greedy": generated})


if __name__ == "__main__":
    main()
