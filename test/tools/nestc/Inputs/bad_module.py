# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""bad_module.py GOLDENS DIR: .mlir files with one fault each."""

import re
import subprocess
import sys
from pathlib import Path

from cases import Cases, edit_tensors, nestc

goldens, cases = Path(sys.argv[1]), Cases(sys.argv[2])
ckpt = cases.copy(goldens / "qwen3")
model = cases.root / "model.mlir"
assert nestc("import", ckpt, "-o", model).returncode == 0
text = model.read_text()


def module(name, message, old, new, count=1):
    assert old in text, old
    (cases.root / "bad.mlir").write_text(text.replace(old, new, count))
    cases.expect(1, message, "compile", "bad.mlir", "-o", "out", name=name)


def whole(name, message, content):
    (cases.root / "bad.mlir").write_bytes(content.encode() if isinstance(content, str) else content)
    cases.expect(1, message, "compile", "bad.mlir", "-o", "out", name=name)
    cases.expect(1, message, "info", "bad.mlir", name=name + " (info)")


cases.expect(0, "", "compile", model, "-o", "good", name="good text")
subprocess.run(["nest-opt", "--emit-bytecode", model, "-o", cases.root / "model.mlirbc"], check=True)
cases.expect(0, "", "compile", "model.mlirbc", "-o", "good", name="good bytecode")
bytecode = (cases.root / "model.mlirbc").read_bytes()

whole("empty", "bad.mlir", "")
whole("blanks", "bad.mlir", "\n\n")
whole("no MLIR", "bad.mlir:1:", "hello")
whole("zeros", "bad.mlir", b"\0" * 100)
whole("not UTF-8", "bad.mlir", b"\xff\xfe\xfd")
whole("half a text", "bad.mlir", text[: len(text) // 2])
whole("magic only", "bad.mlir", bytecode[:4])
whole("half a bytecode", "bad.mlir", bytecode[: len(bytecode) // 2])
whole("bytecode without its end", "bad.mlir", bytecode[:-3])
whole("newer bytecode", "bad.mlir", bytecode[:4] + b"\x7f" + bytecode[5:])
whole("a module of nothing", "bad.mlir", "module {}")
whole("no entry", "bad.mlir", "module { func.func @f() { return } }")
whole("unregistered dialect", "bad.mlir:1:", 'module { "foo.bar"() : () -> () }')
whole("regions nested deeply", "is nested too deeply", "module {" * 100000 + "}" * 100000)
whole("attributes nested deeply", "is nested too deeply", "module attributes {a.a = " + "[" * 100000 + "]" * 100000 + "} {}")
whole("signs nested deeply", "is nested too deeply", "module attributes {a.a = affine_map<(d0) -> (" + "- " * 100000 + "d0)>} {}")
whole("unknown operation", "bad.mlir", "module { nest.nothing }")
(cases.root / "bad.mlir").unlink()
cases.expect(1, "is no directory", "import", model, "-o", "out", name="import of a module")

# A module of a later phase. Of a specialised one the submodel is known.
for phase in ("linalg", "kernels"):
    cases.expect(0, "", "compile", model, "--emit", phase, "-o", "later.mlir")
    cases.expect(1, "is lowered already", "compile", "later.mlir", "-o", "out")
    cases.expect(1, "is lowered already", "info", "later.mlir")
cases.expect(0, "", "compile", model, "--submodel", "quarter", "--emit", "specialized", "-o", "later.mlir")
cases.expect(1, "is specialised already, to 'layers.all.ffn=1/4'", "compile", "later.mlir", "--submodel", "skip=1", "-o", "out")
cases.expect(0, "submodel.spec: layers.all.ffn=1/4", "info", "later.mlir")
cases.expect(0, "", "compile", "later.mlir", "-o", "good")
cases.expect(0, "submodel.spec: layers.all.ffn=1/4", "info", "good")

module("weight of another type", "the weight's size, 41", "@model.layers.0.self_attn.q_proj.weight : tensor<64x40xf32, #nest.on<layers.0.heads * 32, _>>", "@model.layers.0.self_attn.q_proj.weight : tensor<64x41xf32, #nest.on<layers.0.heads * 32, _>>")
module("weight of integers", "", "@model.norm.weight : tensor<40xf32>", "@model.norm.weight : tensor<40xi8>")
module("no such weight", "@model.norm.weight names no", "nest.weight @model.norm.weight", "nest.weight @model.normal.weight")
module("weight that is not stored", "", "nest.weight @model.norm.weight :", "nest.weight @model.norm.weight stored")
module("axis is smaller than its weight", "layers.0.ffn", "nest.axis @layers.0.ffn size 104 levels [13, 26, 52, 104]", "nest.axis @layers.0.ffn size 100 levels [100]")
module("levels fall", "", "levels [13, 26, 52, 104]", "levels [104, 13]")
module("level above the size", "", "levels [13, 26, 52, 104]", "levels [13, 105]")
module("no axis", "layers.0.ffn", "nest.axis @layers.0.ffn size 104 levels [13, 26, 52, 104]", "")
module("max_length is text", "max_length", "max_length = 64 : i64", 'max_length = "x"')
module("max_length is another", "max_length", "max_length = 64 : i64", "max_length = 32 : i64")
module("max_length is negative", "max_length", "max_length = 64 : i64", "max_length = -64 : i64")
module("fewer tokens than rows", "vocab_size", "vocab_size = 101 : i64", "vocab_size = 50 : i64")
module("vocabulary is another", "vocab_size", "vocab_size = 101 : i64", "vocab_size = 9999 : i64")
module("index of a layer", "the index of a layer is 0 to 65535", "nest.layer 3", "nest.layer 99999999999")
module("number of layers", "layers is out of range", "num_layers = 4 : i64", "num_layers = 99999999999 : i64")
module("checkpoint is gone", "/nowhere", str(ckpt), "/nowhere/at/all")
module("checkpoint is empty text", "", str(ckpt), "")
module("entry of another name", "", 'nest.entry = "prefill"', 'nest.entry = "a b"')
module("two entries of one name", "prefill", 'nest.entry = "decode"', 'nest.entry = "prefill"')
module("no name of an input", "", 'nest.name = "tokens"', 'nest.nome = "tokens"')
module("name of an input twice", "positions", 'nest.name = "tokens"', 'nest.name = "positions"')

# What cannot be lowered.
logits = re.search(r"return (%[a-z0-9_]+),.* : (tensor<[^>]*>)", text)
filled = f"%zc = arith.constant 0.0 : f32\n    %zz = linalg.fill ins(%zc : f32) outs({logits[1]} : {logits[2]}) -> {logits[2]}\n    "
module("an operation that no kernel is for", "cannot become part of a kernel", logits[0], filled + logits[0].replace(logits[1], "%zz", 1))
module("a branch", "", "return", "cf.br ^bb9\n  ^bb9:\n    return")

# The module was made for another checkpoint.
edit_tensors(ckpt / "model.safetensors", lambda h: h["model.norm.weight"].update(dtype="I32"))
cases.expect(1, "import the checkpoint again", "compile", model, "-o", "out", name="other tensors")
(ckpt / "model.safetensors").unlink()
cases.expect(1, "safetensors", "compile", model, "-o", "out", name="no tensors")
cases.expect(1, "model.mlir", "compile", model, "--emit", "nest", "-o", model, name="output is the input")
cases.finish(74)
