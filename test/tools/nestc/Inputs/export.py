# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""export.py GOLDENS ROUTED MATLM DIR: checkpoints of submodels. test/e2e compares
their tensors and logits."""

import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cases import Cases, edit_json, nestc, write_tensors

goldens, routed, matlm, cases = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Cases(sys.argv[4])
root, expect = cases.root, cases.expect
qwen = cases.copy(goldens / "qwen3")
half = ("--submodel", "layers.all.ffn=1/2")


def check(what, name):
    if not what:
        cases.failures.append(name)


def export(source, spec, name="out", code=0, text=""):
    """Exports over what was exported before; the two JSON files."""
    expect(code, text, "export", source, "--submodel", spec, "-o", name)
    nest = root / name / "nest.json"
    return json.loads((root / name / "config.json").read_text()), json.loads(nest.read_text()) if nest.exists() else None


# Words.
expect(2, "there is no output; give it with -o", "export", qwen, *half)
expect(2, "there is no submodel; give it with --submodel", "export", qwen, "-o", "out")
expect(2, "there is no CKPT", "export")
expect(2, "is given twice", "export", qwen, *half, *half, "-o", "out")
expect(2, "did you mean --submodel?", "export", qwen, "--submodl", "x", "-o", "out")
expect(1, "give the table with --slices FILE.csv", "export", qwen, "--submodel", "preset=a, b", "-o", "out")
for code, spec, text in ((2, "layers.all.ffn=1/0", "divides by zero"), (2, "skp=1", "did you mean skip?"), (1, "skip=4", "layers 0-3"), (1, "skip=all", "no layer would be left"), (1, "layers.all.ffn=105", "legal are 1 to 104"), (1, "quater", "did you mean quarter?"), (1, "no.json", "no.json: ")):
    expect(code, text, "export", qwen, "--submodel", spec, "-o", "out")
expect(1, "is not there", "export", "nothing", *half, "-o", "out")
expect(0, "", "import", qwen, "-o", "model.mlir")
expect(1, "is no directory; a checkpoint is a directory", "export", "model.mlir", *half, "-o", "out")
expect(0, "", "compile", qwen, "--max-length", "16", "-o", "package")
expect(1, "is a package, which is compiled already", "export", "package", *half, "-o", "out")

# config.json: what does not change stays as it is.
before = json.loads((qwen / "config.json").read_text())
edit_json(qwen / "config.json", lambda c: c.update(rms_norm_eps=1e-6, theta=1e4, note={"x": [1, 2.5, "é"]}, eos_token_id=[3, 4, 5, 6]))
before = json.loads((qwen / "config.json").read_text())
config, nest = export(qwen, "layers.all.ffn=1/2")
check(config == {**before, "intermediate_size": 52}, "config.json of one width")
check((root / "out" / "config.json").read_text().find("1e-06") > 0 and (root / "out" / "config.json").read_text().find("10000.0") > 0, "numbers are spelled otherwise")
check(list(config) == list(before), "the order of keys")
config, nest = export(qwen, "layers.0.ffn=1/2,layers.3.ffn=13,skip=1", text="is a list, one width for each layer")
check(config == {**before, "num_hidden_layers": 3, "intermediate_size": [52, 104, 13], "layer_types": ["full_attention"] * 3, "max_window_layers": 4}, "config.json of several widths")
check(not nestc("export", qwen, "--submodel", "layers.0.ffn=1/2", "-q", "-o", root / "quiet").stderr, "-q does not silence a warning")
config, nest = export(qwen, "layers.all.ffn=full")
check(config == before, "config.json of all")

# Layers that slide keep doing so.
window = goldens / "qwen2-window"
old = json.loads((window / "config.json").read_text())
config, _ = export(window, "skip=0")
check(config["max_window_layers"] == old["max_window_layers"] - 1 and config["num_hidden_layers"] == 3, "max_window_layers of a skipped first layer")
config, _ = export(window, "skip=3")
check(config["max_window_layers"] == old["max_window_layers"], "max_window_layers of a skipped last layer")
slides = cases.copy(window, "slides")
edit_json(slides / "config.json", lambda c: c.update(layer_types=["full_attention", "sliding_attention"] * 2))
config, _ = export(slides, "skip=0+3")
check(config["layer_types"] == ["sliding_attention", "full_attention"], "layer_types are filtered")

# A checkpoint with one width a layer can be exported again; equal widths are a number.
export(qwen, "layers.0.ffn=1/2,layers.1.ffn=1/4", "mixed")
config, nest = export("mixed", "skip=2+3", "again")
check(config["intermediate_size"] == [52, 26], "widths of a checkpoint of several")
config, nest = export("mixed", "layers.0.ffn=26,skip=2+3", "again")
check(config["intermediate_size"] == 26, "widths that agree")

# nest.json: levels of the new size, submodels that are left, in new terms.
config, nest = export(qwen, "layers.all.ffn=1/2")
check(nest["axes"] == {"layers.all.ffn": {"levels": ["1/4", "1/2", "1"]}}, f"levels {nest}")
check(nest["submodels"] == {"quarter": "layers.all.ffn=1/2", "skip": "layers.0+3.ffn=1/2,skip=1"}, f"submodels {nest}")
config, nest = export(qwen, "skip=1")
check(nest["axes"] == {"layers.all.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}}, f"levels of skipped layers {nest}")
check(nest["submodels"] == {"skip": "layers.0+2.ffn=1/4,layers.1.ffn=1/2"}, f"submodels of skipped layers {nest}")
config, nest = export(qwen, "layers.0.ffn=1/8,layers.1.ffn=30,layers.3.ffn=1/2")
check(nest["axes"] == {"layers.1.ffn": {"levels": ["13/30", "13/15"]}, "layers.2.ffn": {"levels": ["1/8", "1/4", "1/2", "1"]}, "layers.3.ffn": {"levels": ["1/4", "1/2", "1"]}}, f"levels of several widths {nest}")
check("submodels" not in nest, f"submodels that are too wide {nest}")
config, nest = export(qwen, "layers.all.ffn=1/8")
check(nest is None, f"nothing nested is left of {nest}")
wide = cases.copy(matlm, "wide")
edit_json(wide / "nest.json", lambda n: n.update(axes={"layers.all.ffn": {"levels": [5, 64, "1"]}}, submodels={}))
config, nest = export(wide, "layers.all.ffn=full", "matlm")
size = json.loads((matlm / "config.json").read_text())["intermediate_size"]
check(nest["axes"]["layers.all.ffn"]["levels"] == [5, "1/" + str(size // 64), "1"], f"levels with odd parts {nest}")

# Heads: 6 query heads on 2 KV heads, of which one config can say one number.
heads = cases.copy(goldens / "llama-gqa", "heads")
edit_json(heads / "nest.json", lambda n: n.update(axes={"layers.all.heads": {"levels": ["1/2", "1"]}}, submodels={"few": "layers.all.heads=3", "mix": "layers.0.heads=1/2,layers.1.ffn=9"}))
config, nest = export(heads, "layers.all.ffn=full", "fewer")
check(nest["axes"] == {"layers.all.heads": {"levels": ["1/2", "1"]}} and nest["submodels"] == {"few": "layers.all.heads=1/2", "mix": "layers.1.ffn=1/8,layers.0.heads=1/2"} and "head_dim" not in config, f"levels of heads {nest}")
config, nest = export(heads, "few", "fewer")
check((config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (3, 1, 8), f"heads in {config}")
check(nest is None or "axes" not in nest, f"levels of one head {nest}")
expect(1, "layers would have different numbers of heads, which no config.json of this family can say", "export", heads, "--submodel", "layers.0.heads=1/2", "-o", "fewer")

check((root / "matlm" / "tokenizer.json").read_bytes() == (matlm / "tokenizer.json").read_bytes(), "tokenizer.json is a copy")
check(not (root / "matlm" / "heldout.npy").exists(), "what belongs to no checkpoint is copied")
export(matlm, "layers.all.ffn=1/4", "matlm")
sliced, whole = (json.loads(nestc("info", *words, "--json").stdout) for words in ((matlm, "--submodel", "layers.all.ffn=1/4"), (root / "matlm",)))
check(all(sliced[key] == whole[key] for key in ("parameters", "weight_bytes", "macs_per_token")), "figures of an export are those of the submodel")

# As a cache of downloads has it: links to files elsewhere.
(root / "cache").mkdir()
for path in matlm.iterdir():
    os.symlink(path, root / "cache" / path.name)
export("cache", "layers.all.ffn=1/4", "linked")
for name in ("config.json", "nest.json", "model.safetensors", "tokenizer.json"):
    check((root / "linked" / name).read_bytes() == (root / "matlm" / name).read_bytes() and not (root / "linked" / name).is_symlink(), f"{name} behind a link")

# Routes, experts, towers.
source = routed / "mod-widths"
config, nest = export(source, "layers.all.ffn=1/2,routes.1.capacity=1/4,skip=0")
check(nest["routes"] == {"layers.0": {"capacity": "1/4", "decode": "threshold:0"}, "layers.1": {"capacity": "1/2", "decode": "threshold:0"}}, f"routes {nest}")
check(nest["family"] == "mod", "the family of a model with routes")
config, nest = export(source, "routes.2=dense")
check(nest["routes"]["layers.2"] == {"capacity": "1", "decode": "always", "select": "topk"}, f"a route of all rows {nest}")
check(nest["submodels"] == {"dense": "layers.all.ffn=1/2,routes.1=dense"}, f"submodels of other routes {nest}")
config, nest = export(source, "routes.1.capacity=7")
check(nest["routes"]["layers.1"]["capacity"] == 7, f"a capacity that is a count {nest}")
config, nest = export(source, "skip=1+2")
check("family" not in nest and "routes" not in nest, f"a model without routes {nest}")
expect(0, '"family": "llama"', "info", "out", "--json")
config, nest = export(routed / "mode-staged", "skip=0")
check(config["moe_layers"] == [0] and nest["routes"] == {"layers.all": {"capacity": "1/2", "decode": "threshold:0"}}, f"what is left of experts {nest}")
source = routed / "mot-three"
config, nest = export(source, "modalities=text+speech")
check(nest["modalities"]["names"] == ["text", "speech"] and nest["modalities"]["tower"] == {"text": 0, "speech": 1}, f"modalities {nest}")
config, nest = export(routed / "mot-widths", "layers.0.ffn=1/2")
check(config["hidden_dim"][0] * 2 == config["hidden_dim"][1] and len(config["hidden_dim"]) == config["n_layers"], "widths of towers")
source = routed / "gpt-bias"
expect(1, "no routed layer would be left, and without one nothing reads tensors of this layout; keep one of the layers 0", "export", source, "--submodel", "skip=0", "-o", "gpt")
config, nest = export(source, "layers.0.ffn=1/2", "gpt")
check(config["n_inner"][0] * 2 == config["n_inner"][1], "widths of a GPT")
check(nest["submodels"] == {"small": "layers.0.ffn=1/2,layers.1.ffn=1/4", "half": "routes.0.capacity=1/2"}, f"submodels of a GPT {nest}")

# Where it may go.
(root / "mine").mkdir()
(root / "mine" / "precious").write_text("x")
expect(1, "mine: is a directory that nestc did not make; a new path, a file, a nestc package or an earlier export", "export", qwen, *half, "-o", "mine")
expect(1, "does not exist", "export", qwen, *half, "-o", "no/out")
expect(1, "is no file or directory", "export", qwen, *half, "-o", "/dev/null")
os.symlink("ckpt", root / "link")
os.symlink("out", root / "ckpt" / "outside")
os.symlink("ckpt/deep", root / "inside")
(root / "ckpt" / "deep").mkdir()
for place in ("ckpt", "ckpt/", "link", "ckpt/new", "link/new", "ckpt/deep", "ckpt/deep/new", "inside", "inside/new", "ckpt/config.json", ".", "./ckpt/../ckpt"):
    expect(1, "is part of the input", "export", "ckpt", *half, "-o", place)
    expect(1, "is part of the input", "export", "link", *half, "-o", place)
done = subprocess.run(["nestc", "export", ".", *half, "-o", "new"], cwd=root / "ckpt", capture_output=True)
check(done.returncode == 1 and b"is part of the input" in done.stderr, f"an output below the working directory: {done}")
shutil.rmtree(root / "ckpt" / "deep")
(root / "file").write_text("x")
export(qwen, "quarter", "file")
check((root / "file" / "config.json").is_file(), "a file is exchanged")
export(qwen, "quarter", "package")
check(not (root / "package" / "manifest.json").exists(), "a package is exchanged")
inode = (root / "package").stat().st_ino
export(qwen, "layers.all.ffn=1/8", "package")
check((root / "package").stat().st_ino != inode and not (root / "package" / "nest.json").exists(), "an export is exchanged")
expect(1, "is a directory that nestc did not make", "compile", qwen, "-o", "package")
(root / "package" / "notes.txt").write_text("x")
expect(1, "is a directory that nestc did not make", "export", qwen, *half, "-o", "package", name="an export with files of the user")
(root / "package" / "notes.txt").unlink()
shutil.copy(qwen / "model.safetensors", root / "package" / "model.safetensors")
expect(1, "is a directory that nestc did not make", "export", qwen, *half, "-o", "package", name="an export that was saved anew")

# No room, signals: the old one stays, nothing half-written remains.
export(matlm, "layers.all.ffn=1/8", "old")
before = {path.name: path.read_bytes() for path in (root / "old").iterdir()}
for size in (0, 4096, 1 << 20):
    expect(1, "old", "export", matlm, *half, "-o", "old", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)), name=f"{size} bytes a file")
for sign in (signal.SIGINT, signal.SIGTERM):
    process = subprocess.Popen(["nestc", "export", matlm, *half, "-o", root / "old"], stderr=subprocess.PIPE)
    while process.poll() is None and not any(root.glob(".old.*")):
        time.sleep(0.0005)
    process.send_signal(sign)
    ended = process.wait()
    check(ended in (-sign, 0), f"{sign} ends with {ended}")
    check(not any(root.glob(".*")), f"{sign} leaves {list(root.glob('.*'))}")
    if ended:
        check(before == {path.name: path.read_bytes() for path in (root / "old").iterdir()}, f"{sign} changed the old export")
    export(matlm, "layers.all.ffn=1/8", "old")

# Weights are streamed: of 200 MB no more than a tensor (32 MB) is in memory.
shapes = {"model.embed_tokens.weight": [8, 256], "lm_head.weight": [8, 256], "model.norm.weight": [256]}
for layer in range(2):
    names = {"input_layernorm": [256], "post_attention_layernorm": [256], **{f"self_attn.{name}_proj": [256, 256] for name in "qkvo"}, "mlp.gate_proj": [32768, 256], "mlp.up_proj": [32768, 256], "mlp.down_proj": [256, 32768]}
    shapes.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in names.items()})
header, at = {}, 0
for tensor, shape in shapes.items():
    header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * math.prod(shape)]}
    at = header[tensor]["data_offsets"][1]
(root / "large").mkdir()
write_tensors(root / "large" / "model.safetensors", header, b"")
os.truncate(root / "large" / "model.safetensors", (root / "large" / "model.safetensors").stat().st_size + at)
(root / "large" / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 8, "hidden_size": 256, "intermediate_size": 32768, "num_hidden_layers": 2, "num_attention_heads": 4, "eos_token_id": None}))
PEAK = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
alone, peak = (int(subprocess.run([sys.executable, "-c", PEAK, "nestc", *words], cwd=root, check=True, capture_output=True).stdout) for words in (("info", "large"), ("export", "large", "--submodel", "layers.all.ffn=full", "-o", "whole")))
check(peak < alone + 64 or os.environ.get("ASAN_OPTIONS"), f"{peak} MiB are used, {alone} without weights")
shutil.rmtree(root / "whole")

# A pipe sees no progress; a terminal does.
check(not nestc("export", matlm, *half, "-o", root / "old").stderr, "progress in a pipe")
main, other = os.openpty()
done = subprocess.run(["nestc", "export", matlm, *half, "-o", root / "old"], stderr=other)
os.close(other)
try:
    seen = os.read(main, 4096)
except OSError:
    seen = b""
check(b"writing weights" in seen, f"progress on a terminal: {seen}")

# Tensors that changed since; files that are no files.
broken = cases.copy(goldens / "qwen3", "broken")
(broken / "tokenizer.json").mkdir()
expect(1, "tokenizer.json: is a directory", "export", broken, *half, "-o", "new")
cases.finish(85)
