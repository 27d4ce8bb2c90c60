# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""bad_checkpoint.py GOLDENS DIR: checkpoints with one fault each."""

import sys
from pathlib import Path

from cases import Cases, edit_json, edit_tensors, patch, read_tensors, write_tensors

goldens, cases = Path(sys.argv[1]), Cases(sys.argv[2])
Q = "model.layers.0.self_attn.q_proj.weight"
NORM = "model.norm.weight"


def case(name, text, change, source="qwen3"):
    ckpt = cases.copy(goldens / source)
    change(ckpt)
    cases.expect(1, text, "compile", ckpt, "-o", "out", name=name)


def tensors(name, text, change):
    case(name, text, lambda ckpt: edit_tensors(ckpt / "model.safetensors", change))


def config(name, text, source="qwen3", **keys):
    case(name, text, lambda ckpt: edit_json(ckpt / "config.json", lambda c: c.update(keys)), source)


def nest(name, text, change):
    case(name, text, lambda ckpt: edit_json(ckpt / "nest.json", change))


# Files.
case("no config", "config.json: ", lambda c: (c / "config.json").unlink())
case("no tensors", "safetensors", lambda c: (c / "model.safetensors").unlink())
case("config is a directory", "config.json: is a directory", lambda c: ((c / "config.json").unlink(), (c / "config.json").mkdir()))
case("config is no JSON", "config.json:1:", lambda c: (c / "config.json").write_text("{"))
case("config is a list", "config.json: ", lambda c: (c / "config.json").write_text("[]"))
case("config is empty", "config.json", lambda c: (c / "config.json").write_text(""))
case("config is no UTF-8", "config.json", lambda c: (c / "config.json").write_bytes(b'{"a": "\xff"}'))
case("config is nested deeply", "config.json", lambda c: (c / "config.json").write_text("[" * 100000))
case("two values of a key", "config.json", lambda c: (c / "config.json").write_text('{"model_type": "llama", "model_type": "qwen3"}'))

# The container.
weights = "model.safetensors"
case("empty", weights, lambda c: (c / weights).write_bytes(b""))
case("short", weights, lambda c: (c / weights).write_bytes(b"\1\0\0"))
case("truncated header", weights, lambda c: (c / weights).write_bytes((c / weights).read_bytes()[:200]))
case("truncated data", weights, lambda c: (c / weights).write_bytes((c / weights).read_bytes()[:-4]))
case("data behind the last tensor", weights, lambda c: (c / weights).write_bytes((c / weights).read_bytes() + b"1234"))
case("huge header", weights, lambda c: patch(c / weights, 0, b"\xff" * 8))
case("header is no JSON", weights, lambda c: patch(c / weights, 8, b"!"))
case("header is a list", weights, lambda c: write_tensors(c / weights, b"[]", b""))
case("no tensor at all", "has only 0 tensors", lambda c: write_tensors(c / weights, b"{}", b""))
tensors("overlap", "overlap", lambda h: h[NORM].update(data_offsets=h["model.layers.0.self_attn.q_norm.weight"]["data_offsets"]) or h[NORM].update(shape=[16]))
tensors("offsets run backwards", Q, lambda h: h[Q].update(data_offsets=h[Q]["data_offsets"][::-1]))
tensors("offsets beyond the file", Q, lambda h: h[Q].update(data_offsets=[10**15, 10**15 + 10240]))
tensors("negative offset", Q, lambda h: h[Q].update(data_offsets=[-8, 10232]))
tensors("offsets of three", Q, lambda h: h[Q].update(data_offsets=[0, 1, 2]))
tensors("offset is text", Q, lambda h: h[Q].update(data_offsets=["0", "1"]))
tensors("size is not the shape's", Q, lambda h: h[Q].update(shape=[64, 41]))
tensors("negative size", Q, lambda h: h[Q].update(shape=[-64, -40]))
tensors("size overflows", Q, lambda h: h[Q].update(shape=[2**62, 2**62]))
tensors("size is no integer", Q, lambda h: h[Q].update(shape=[64.5, 40]))
tensors("unknown type", Q, lambda h: h[Q].update(dtype="F31"))
tensors("no type", Q, lambda h: h[Q].pop("dtype") and None)
tensors("tensor is a number", Q, lambda h: h.update({Q: 3}))
tensors("type that nothing multiplies", "I32", lambda h: h[Q].update(dtype="I32"))
tensors("other shape of the same size", "config.json asks for [64, 40]", lambda h: h[Q].update(shape=[40, 64]))
tensors("other rank", "config.json asks for [64, 40]", lambda h: h[Q].update(shape=[64, 40, 1]))
tensors("missing tensor", f"the tensor {Q} is missing", lambda h: h.update({"other": h.pop(Q)}))
tensors("unexpected tensor", "zzz: this tensor is not part of the model", lambda h: h.update(zzz={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}))

# Shards.
index = "model.safetensors.index.json"
gqa = "llama-gqa"
case("shard is missing", "model-00002-of-00003.safetensors", lambda c: (c / "model-00002-of-00003.safetensors").unlink(), gqa)
case("index is no JSON", index, lambda c: (c / index).write_text("x"), gqa)
case("index without a map", index, lambda c: (c / index).write_text("{}"), gqa)
for bad in ("../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", 3):
    case(f"shard named {bad!r}", index, lambda c: edit_json(c / index, lambda i: i["weight_map"].update({NORM: bad})), gqa)
case("tensor in another shard", NORM, lambda c: edit_json(c / index, lambda i: i["weight_map"].update({NORM: "model-00001-of-00003.safetensors"})), gqa)

# config.json: what changes the function is an error, the rest is ignored.
config("no such model", "model_type", model_type="gpt_neox")
config("model type is a number", "model_type", model_type=3)
config("activation", "hidden_act", hidden_act="mish")
config("quantised", "quantization_config", quantization_config={"bits": 4})
config("another head", "architectures", architectures=["Qwen3ForSequenceClassification"])
config("rope type", "rope_", rope_parameters={"rope_type": "nope", "rope_theta": 1e4})
config("rope theta", "rope_theta", rope_parameters={"rope_type": "default", "rope_theta": -1})
config("rope factor", "factor", rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": "x"})
config("no whole head", "head_dim", head_dim=15)
config("kv heads", "num_key_value_heads", num_key_value_heads=3)
config("no layers", "num_hidden_layers", num_hidden_layers=0)
config("too many layers", "num_hidden_layers", num_hidden_layers=10**12)
config("more layers than stored", "layers", num_hidden_layers=5)
case("fewer layers than stored", "not part of the model", lambda ckpt: (edit_json(ckpt / "config.json", lambda c: c.update(num_hidden_layers=3, layer_types=None)), (ckpt / "nest.json").unlink()))
config("width", "intermediate_size", intermediate_size=112)
config("widths of other layers", "intermediate_size", intermediate_size=[104, 104])
config("vocabulary is text", "vocab_size", vocab_size="101")
config("hidden size is a fraction", "hidden_size", hidden_size=40.5)
config("hidden size is huge", "hidden_size", hidden_size=10**30)
config("epsilon", "rms_norm_eps", rms_norm_eps=0)
config("epsilon is text", "rms_norm_eps", rms_norm_eps="x")
config("layer types", "layer_types", layer_types=["full_attention"])
config("unknown layer type", "layer_types[3]", layer_types=["full_attention"] * 3 + ["linear_attention"])
config("max length", "max_position_embeddings", max_position_embeddings=-1)
config("tied", "tie_word_embeddings", tie_word_embeddings="yes")
config("eos", "eos_token_id", eos_token_id="x")
config("eos list", "eos_token_id[1]", eos_token_id=[1, "x"])

# nest.json is strict.
nest("unknown key", "nest.json: ", lambda n: n.update(extra=1))
nest("near key", "did you mean axes?", lambda n: n.update(axis={}))
nest("no format", "format", lambda n: n.pop("format") and None)
nest("newer format", "format: is 2", lambda n: n.update(format=2))
nest("format is text", "format", lambda n: n.update(format="1"))
nest("unknown family", "family", lambda n: n.update(family="lama"))
nest("other family", "family", lambda n: n.update(family="vit"))
nest("routes", "has no routers", lambda n: n.update(routes={"layers.odd": {"decode": "always"}}))
nest("route without decode", "routes.layers.odd.decode: is missing", lambda n: n.update(routes={"layers.odd": {"capacity": "1/8"}}))
nest("modalities", "has no towers", lambda n: n.update(modalities={"names": ["text"], "tower": {"text": 0}, "untied": [], "norm": "pre"}))
nest("modalities without towers", "modalities.tower: is missing", lambda n: n.update(modalities={"names": ["text"]}))
nest("axes is a list", "axes", lambda n: n.update(axes=[]))
nest("unknown axis", "axes.layers.all.fnn", lambda n: n.update(axes={"layers.all.fnn": {"levels": [1]}}))
nest("axis of no layer", "layer", lambda n: n.update(axes={"layers.9.ffn": {"levels": [1]}}))
nest("axis of bad layers", "axes.layers.3-1.ffn", lambda n: n.update(axes={"layers.3-1.ffn": {"levels": [1]}}))
nest("unknown key of an axis", "axes.layers.all.ffn", lambda n: n["axes"]["layers.all.ffn"].update(level=[1]))
for levels in ([], ["1/0"], ["0/1"], ["2"], ["3/2"], [0], [-1], [105], [1.5], ["1.5"], ["x"], [None], [True], ["1/3"], ["1", 104], 3, [10**30]):
    nest(f"levels {levels}", "axes.layers.all.ffn", lambda n: n["axes"]["layers.all.ffn"].update(levels=levels))
for spec in ("layers.all.ffn=2/1", "layers.all.ffn=105", "skip=7", "skip=all", "skip=1,", "x", "layers.all.ffn=", 3, "layers.all.ffn=1/0", "skip=3-1"):
    nest(f"submodel {spec!r}", "nest.json: submodels.bad", lambda n: n["submodels"].update(bad=spec))
nest("name of a submodel", "submodels", lambda n: n["submodels"].update({"a b": "skip=1"}))

# A trailing comma is no JSON.
case("trailing comma", "nest.json:", lambda c: (c / "nest.json").write_text('{"format": 1,}'))

# tokenizer.json is read when it is used; see bad_package.py.
# What is unknown in config.json is normal.
ckpt = cases.copy(goldens / "qwen3")
edit_json(ckpt / "config.json", lambda c: c.update(whatever={"x": [1]}, transformers_version="9"))
cases.expect(0, "", "compile", ckpt, "-o", "out")
edit_json(ckpt / "nest.json", lambda n: n["submodels"].update(whole=""))
cases.expect(0, '"name": "whole"', "info", ckpt, "--submodel", "whole", "--json")
cases.finish(118)
