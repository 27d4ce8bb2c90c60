#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_sparse.py DIR: the checkpoint google/gemma-3n-E4B-it at its full size, all
weights zero, as sparse files that take no room.

config.json, nest.json, and shards whose headers are those of the published files for
the text decoder (keys and values that no layer reads among them), with a few of the
other modalities' tensors.  Standard library only; README.md beside this file says
more.

make_sparse.py --tables: writes slices.csv and expected.json beside this file."""

import argparse
import csv
import io
import json
import math
import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
LAYERS, SHARED = 35, 15
D, P, FFN, HEAD = 2048, 256, 16384, 256
VOCAB, VOCAB_PER_LAYER = 262400, 262144
TEXT = "model.language_model."
SHARD = 5 * 10**9  # bytes at most

# --- The checkpoint -----------------------------------------------------------


def configOf():
    full, sliding = "full_attention", "sliding_attention"
    text = {
        "activation_sparsity_pattern": [0.95] * 10 + [0.0] * (LAYERS - 10),
        "altup_active_idx": 0,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_lr_multiplier": 1.0,
        "altup_num_inputs": 4,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "final_logit_softcapping": 30.0,
        "head_dim": HEAD,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": D,
        "hidden_size_per_layer_input": P,
        "initializer_range": 0.02,
        "intermediate_size": [FFN] * LAYERS,
        "laurel_rank": 64,
        "layer_types": [full if (i + 1) % 5 == 0 else sliding for i in range(LAYERS)],
        "max_position_embeddings": 32768,
        "model_type": "gemma3n_text",
        "num_attention_heads": 8,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 2,
        "num_kv_shared_layers": SHARED,
        "query_pre_attn_scalar": 256,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": VOCAB,
        "vocab_size_per_layer_input": VOCAB_PER_LAYER,
    }
    return {
        "architectures": ["Gemma3nForConditionalGeneration"],
        "audio_config": {
            "conf_num_attention_heads": 8, "conf_num_hidden_layers": 12, "hidden_size": 1536,
            "model_type": "gemma3n_audio", "vocab_offset": 262272, "vocab_size": 128,
        },
        "audio_soft_tokens_per_image": 188,
        "audio_token_id": 262273,
        "boa_token_id": 256000,
        "boi_token_id": 255999,
        "eoa_token_id": 262272,
        "eoi_token_id": 262144,
        "eos_token_id": [1, 106],
        "image_token_id": 262145,
        "initializer_range": 0.02,
        "model_type": "gemma3n",
        "text_config": text,
        "torch_dtype": "bfloat16",
        "vision_config": {
            "architecture": "mobilenetv5_300m_enc", "hidden_size": 2048,
            "model_type": "gemma3n_vision", "vocab_offset": 262144, "vocab_size": 128,
        },
        "vision_soft_tokens_per_image": 256,
    }


def layerShapes(width):
    """Of every layer alike, whether it has its own keys and values or not."""
    return {
        "altup.correct_output_scale": [D],
        "altup.correction_coefs.weight": [4, 4],
        "altup.modality_router.weight": [4, D],
        "altup.prediction_coefs.weight": [16, 4],
        "altup.router_norm.weight": [D],
        "input_layernorm.weight": [D],
        "laurel.linear_left.weight": [64, D],
        "laurel.linear_right.weight": [D, 64],
        "laurel.post_laurel_norm.weight": [D],
        "mlp.down_proj.weight": [D, width],
        "mlp.gate_proj.weight": [width, D],
        "mlp.up_proj.weight": [width, D],
        "per_layer_input_gate.weight": [P, D],
        "per_layer_projection.weight": [D, P],
        "post_attention_layernorm.weight": [D],
        "post_feedforward_layernorm.weight": [D],
        "post_per_layer_input_norm.weight": [D],
        "pre_feedforward_layernorm.weight": [D],
        "self_attn.k_norm.weight": [HEAD],
        "self_attn.k_proj.weight": [2 * HEAD, D],
        "self_attn.o_proj.weight": [D, 8 * HEAD],
        "self_attn.q_norm.weight": [HEAD],
        "self_attn.q_proj.weight": [8 * HEAD, D],
        "self_attn.v_proj.weight": [2 * HEAD, D],
    }


UNREAD = ("self_attn.k_norm.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight")


def textShapes(widths, skipped=()):
    """Tensors of a submodel: name -> shape.  A width for each layer that is left."""
    kept = [i for i in range(LAYERS) if i not in skipped]
    shapes = {
        "embed_tokens.weight": [VOCAB, D],
        "embed_tokens_per_layer.weight": [VOCAB_PER_LAYER, len(kept) * P],
        "per_layer_model_projection.weight": [len(kept) * P, D],
        "per_layer_projection_norm.weight": [P],
        "norm.weight": [D],
    }
    for i in range(3):
        shapes[f"altup_projections.{i}.weight"] = [D, D]
        shapes[f"altup_unembed_projections.{i}.weight"] = [D, D]
    for i, width in enumerate(widths):
        for name, shape in layerShapes(width).items():
            shapes[f"layers.{i}.{name}"] = shape
    return shapes


def otherShapes():
    """A few of the tensors of the other modalities."""
    return {
        "model.audio_tower.conformer.0.attention.attn.q_proj.weight": [1536, 1536],
        "model.audio_tower.conformer.0.norm.weight": [1536],
        "model.audio_tower.subsample_conv_projection.conv_0.conv.weight": [128, 1, 3, 3],
        "model.embed_audio.embedding.weight": [128, 1536],
        "model.embed_audio.embedding_projection.weight": [D, 1536],
        "model.embed_vision.embedding.weight": [128, 2048],
        "model.embed_vision.embedding_projection.weight": [D, 2048],
        "model.vision_tower.timm_model.conv_stem.bn.weight": [64],
        "model.vision_tower.timm_model.conv_stem.conv.weight": [64, 3, 3, 3],
    }


def writeShard(path, shapes):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        os.truncate(file.fileno(), 8 + len(text) + offset)


def writeJson(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def writeCheckpoint(directory):
    directory.mkdir(parents=True, exist_ok=True)
    shapes = {TEXT + name: shape for name, shape in textShapes([FFN] * LAYERS).items()}
    shapes |= otherShapes()
    shards, room = [], 0
    for name, shape in sorted(shapes.items()):
        size = 2 * math.prod(shape)
        if size > room:
            shards.append({})
            room = SHARD
        shards[-1][name] = shape
        room -= size
    weightMap = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        writeShard(directory / file, shard)
        weightMap |= {name: file for name in shard}
    total = sum(2 * math.prod(shape) for shape in shapes.values())
    writeJson(directory / "model.safetensors.index.json",
              {"metadata": {"total_size": total}, "weight_map": weightMap})
    writeJson(directory / "config.json", configOf())
    writeJson(
        directory / "nest.json",
        {"format": 1, "family": "gemma3n",
         "axes": {"layers.all.ffn": {"levels": ["1/2", "1"]}},
         "submodels": {"E2B": "layers.all.ffn=1/2,skip=20-24"}},
    )


# --- The tables ---------------------------------------------------------------


def span(first, last):
    return list(range(first, last + 1))


E2B = span(20, 24)  # what its slices skip
# Name, effective parameters in billions and MMLU accuracy of the pretrained model as
# they are published, source layers of full width (the others have half), skipped ones.
SLICES = [
    ("Main model", "3.98", "62.30%", span(0, 34), []),
    ("Config for official E2B Model", "1.91", "50.90%", [], E2B),
    ("Config for E1.96B (layer-level)", "1.96", "53.40%", [4], E2B),
    ("Config for E2.54B (layer-level)", "2.54", "55.40%", [4, *span(20, 24)], []),
    ("Config for E2.69B (layer-level)", "2.69", "57.70%", [4, 9, 14, *span(19, 24)], []),
    ("Config for E2.98B (layer-level)", "2.98", "59.50%", [*span(15, 24), *span(30, 34)], []),
    ("Config for E3.18B (layer-level)", "3.18", "61.80%", [4, *span(9, 24), 29, 34], []),
    ("Config for E3.39B (layer-level)", "3.39", "63.00%", [4, *span(9, 29), 34], []),
    ("Config for E3.59B (layer-level)", "3.59", "63.40%", [*span(4, 29), 34], []),
    ("Config for E3.79B (layer-level)", "3.79", "63.40%", span(4, 34), []),
    ("Config for E2.49B (block-level)", "2.49", "54.50%", span(20, 24), []),
    ("Config for E2.73B (block-level)", "2.73", "57.10%", span(15, 24), []),
    ("Config for E2.98B (block-level)", "2.98", "59.50%", span(10, 24), []),
    ("Config for E3.24B (block-level)", "3.24", "60.70%", span(10, 29), []),
    ("Config for E3.49B (block-level)", "3.49", "61.40%", span(5, 29), []),
    ("Config for E3.79B (block-level)", "3.74", "62.00%", span(5, 34), []),
]
COLUMNS = ["name", "# Layers", "# Effective Params (B)", "MMLU PT accuracy",
           "FFN Hidden Dims", "Layers Skipped"]


def countsOf(widths, skipped):
    """Parameters by name of the count, from the shapes."""
    kept = [i for i in range(LAYERS) if i not in skipped]
    sizes = {n: math.prod(shape) for n, shape in textShapes(widths, skipped).items()}
    consumers = [i for i, old in enumerate(kept) if old >= LAYERS - SHARED]
    unread = sum(sizes[f"layers.{i}.{name}"] for i in consumers for name in UNREAD)
    tables = sizes["embed_tokens.weight"], sizes["embed_tokens_per_layer.weight"]
    stored = sum(sizes.values()) - sum(tables)
    # The same by the formula: what a layer has but for its FFN, and what is not in a layer.
    fixed = 11_821_648 + 524_288
    assert stored == sum(fixed + 3 * D * w for w in widths) + 6 * D * D + P + D
    return {"effective": stored, "effective_read": stored - unread,
            "embed_tokens": tables[0], "embed_tokens_per_layer": tables[1],
            "total_read": stored - unread + sum(tables)}


def writeTables():
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    rows = []
    for name, billions, accuracy, wide, skipped in SLICES:
        kept = [i for i in range(LAYERS) if i not in skipped]
        eighths = [8 if i in wide else 4 for i in kept]
        dims = "[" + ", ".join(f"2_048 * {n}" for n in eighths) + "]"
        table.writerow([name, len(kept), billions, accuracy, dims, skipped or ""])
        counts = countsOf([2048 * n for n in eighths], skipped)
        assert abs(counts["effective"] / 1e9 / float(billions) - 1) < 0.01, name
        rows.append({"name": name, "layers": len(kept), "skip": skipped,
                     "published_billions": float(billions), **counts})
    (HERE / "slices.csv").write_text(text.getvalue(), encoding="utf-8")
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    (HERE / "expected.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=pathlib.Path, nargs="?")
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if not (options.directory or options.tables):
        parser.error("there is no DIR")
    if options.tables:
        writeTables()
    if options.directory:
        writeCheckpoint(options.directory)


if __name__ == "__main__":
    main()
