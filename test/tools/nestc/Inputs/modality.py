# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""modality.py DIR: a model whose logits are one row of weights for the token
and one for its modality, under the causal rule the latter twice."""

import json
import struct
import sys

import numpy as np

from cases import Cases, nestc

V = 16
cases = Cases(sys.argv[1])
root, expect = cases.root, cases.expect
random = np.random.default_rng(0)
tables = {name: random.standard_normal((V, V)).astype(np.float32) for name in ("tokens", "modalities")}


def check(what, name):
    if not what:
        cases.failures.append(name)


def entry(name, rows, last, causal):
    ids, logits = f"tensor<?x{rows}xi32>", f"tensor<?x{1 if last else rows}x{V}xf32>"
    stream, scale = f"tensor<?x{rows}x{V}xf32>", "{scale = 2.0 : f32} " if causal else ""
    text = f"""
  func.func @{name}(%t: {ids} {{nest.name = "tokens"}}, %p: {ids} {{nest.name = "positions"}}, %n: tensor<?xi32> {{nest.name = "lengths"}},
      %m: {ids} {{nest.name = "modality"}}) -> ({logits} {{nest.name = "logits"}}) attributes {{nest.entry = "{name}"}} {{
    %tokens = nest.get @tokens : tensor<{V}x{V}xf32>
    %modalities = nest.get @modalities : tensor<{V}x{V}xf32>
    %a = nest.embed %t, %tokens : ({ids}, tensor<{V}x{V}xf32>) -> {stream}
    %b = nest.embed %m, %modalities {scale}: ({ids}, tensor<{V}x{V}xf32>) -> {stream}
    %y = arith.addf %a, %b : {stream}
"""
    if last and rows == "?":
        text += f"    %z = nest.last %y : ({stream}) -> {logits}\n    return %z : {logits}\n  }}"
    else:
        text += f"    return %y : {logits}\n  }}"
    return text


def module(accepted):
    names = ("prefill", "?", True, False), ("decode", "1", True, True), ("verify", "?", False, False)
    causal = ("prefill_causal", "?", True, True), ("verify_causal", "?", False, True)
    weights = "".join(f"\n  nest.weight @{name} : tensor<{V}x{V}xf32>" for name in tables)
    return f"""module attributes {{nest.source = "{root}", nest.model = {{family = "test", model_type = "test", dtype = "f32", num_layers = 0 : i64,
    vocab_size = {V} : i64, max_length = 8 : i64, eos_token_ids = array<i64>, modalities = ["text", "image", "speech"],
    accepted_modalities = array<i64: {accepted}>}}}} {{{weights}{''.join(entry(*one) for one in names + causal)}
}}
"""


def expected(ids, modality, scale):
    return tables["tokens"][ids] + scale * tables["modalities"][modality]


header = {name: {"dtype": "F32", "shape": [V, V], "data_offsets": [i * V * V * 4, (i + 1) * V * V * 4]} for i, name in enumerate(tables)}
text = json.dumps(header).encode()
(root / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(table.tobytes() for table in tables.values()))
(root / "config.json").write_text("{}")
for name, accepted in (("two", "0, 2"), ("one", "2")):
    (root / f"{name}.mlir").write_text(module(accepted))
    expect(0, "", "compile", f"{name}.mlir", "-o", name)

info = json.loads(expect(0, "{", "info", "two", "--json").stdout)
check(info["model"]["modalities"] == {"names": ["text", "image", "speech"], "accepted": [0, 2]}, "modalities of a package")
expect(0, "prefill", "bench", "two", "--prefill", "4", "--decode", "2")

# Logits by both rules.
ids = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
modality = np.array([[0, 2, 2], [2, 0, 0]], np.int32)
for name, array in (("ids", ids), ("row", ids[0]), ("m", modality), ("mrow", modality[0]), ("wide", modality.astype(np.int64)), ("removed", np.array([0, 1, 0], np.int32)), ("none", np.array([0, 3, 0], np.int32))):
    np.save(root / f"{name}.npy", array)
for words, scales in (((), (1, 1, 1)), (("--prefill", "select"), (1, 1, 1)), (("--prefill", "decode"), (2, 2, 2)), (("--stepwise",), (2, 2, 2)), (("--stepwise=2",), (1, 1, 2)), (("--stepwise=2", "--prefill", "decode"), (2, 2, 2))):
    expect(0, "", "run", "two", "--tokens", "ids.npy", "--in", "modality=m.npy", "--logits", "l.npy", *words)
    check(np.array_equal(np.load(root / "l.npy"), expected(ids, modality, np.array(scales, np.float32)[:, None])), f"logits of {words}")
expect(0, "", "run", "two", "--tokens", "1,2,3", "--in", "modality=mrow.npy", "--logits", "l.npy")
check(np.array_equal(np.load(root / "l.npy"), expected(ids[0], modality[0], np.float32(1))), "logits of a list")

# New tokens: the modality of the last row, or of --modality.
for words, scale, kind in (((), 1, 2), (("--modality", "text"), 1, 0), (("--prefill", "decode"), 2, 2)):
    new = [int(expected(3, 2, np.float32(scale)).argmax())]
    for _ in range(3):
        new.append(int(expected(new[-1], kind, np.float32(2)).argmax()))
    expect(0, " ".join(map(str, new)) + "\n", "run", "two", "--tokens", "row.npy", "--in", "modality=mrow.npy", "--generate", "4", *words)

# What is refused.
two = ("run", "two", "--tokens", "row.npy")
file = ("--in", "modality=mrow.npy")
for code, text, words in (
    (1, "none is given", ()), (1, "of the tokens' shape [3]", ("--in", "modality=m.npy")),
    (1, "removed.npy[1]: is 1 (image), no modality that is accepted; 0 (text), 2 (speech)", ("--in", "modality=removed.npy")),
    (1, "none.npy[1]: is 3", ("--in", "modality=none.npy")), (1, "given twice", (*file, *file)), (1, "no.npy: ", ("--in", "modality=no.npy")), (2, "no NAME=FILE", ("--in", "modality=")),
    (1, "did you mean speech?", (*file, "--modality", "speach")), (1, "'image' is not accepted", (*file, "--modality", "image")), (2, "goes with --generate", (*file, "--logits", "l2.npy", "--modality", "text")),
):
    expect(code, text, *two, *words)
expect(1, "of the tokens' shape [2, 3]", "run", "two", "--tokens", "ids.npy", *file)
expect(1, "wide.npy: is i64", "run", "two", "--tokens", "ids.npy", "--in", "modality=wide.npy")
parts = ("--entry", "verify", *(word for name in ("tokens", "positions") for word in ("--in", f"{name}=ids.npy")), "--in", "lengths=zero.npy")
np.save(root / "zero.npy", np.zeros(2, np.int32))
np.save(root / "image.npy", np.ones((2, 3), np.int32))
expect(0, "", "run", "two", *parts, "--in", "modality=m.npy", "--out", "logits=l.npy")
expect(1, "modality[0]: is 1 (image)", "run", "two", *parts, "--in", "modality=image.npy", "--out", "logits=l.npy")
expect(2, "goes with tokens", "run", "two", *parts, "--in", "modality=m.npy", "--modality", "text")

# The only one that is left needs no file.
expect(0, "", "run", "one", "--tokens", "row.npy", "--logits", "l.npy")
check(np.array_equal(np.load(root / "l.npy"), expected(ids[0], 2, np.float32(1))), "logits of one modality")
expect(1, "is 0 (text)", "run", "one", "--tokens", "row.npy", *file)
cases.finish(31)
