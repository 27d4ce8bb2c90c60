# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""command_line.py GOLDENS MATLM DIR: words that are legal and words that are
not: usage is exit 2, an input at fault exit 1."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from cases import Cases, nestc

goldens, matlm, cases = Path(sys.argv[1]), Path(sys.argv[2]), Cases(sys.argv[3])
root, qwen = cases.root, goldens / "qwen3"
expect = cases.expect


def check(what, name):
    if not what:
        cases.failures.append(name)


# Everywhere.
for command in ("import", "info", "plan", "compile", "run", "export", "bench"):
    done = expect(0, "usage: nestc " + command, command, "--help")
    lines = done.stdout.decode().splitlines()
    check(len(lines) <= 24 and max(map(len, lines)) < 80, f"the help of {command} is larger than a screen")
    expect(0, "nestc 0.", command, "--version")
    expect(2, "there is no ", command)
    expect(2, "unknown option --nothing", command, "x", "--nothing")
expect(0, "commands:", "--help")
expect(2, "no command given", "-q")
expect(2, "--error-format is text or json", "info", "x", "--error-format=xml")
for words in (("--error-format=json", "info", "no"), ("info", "--error-format=json", "no"), ("info", "no", "--error-format=json"), ("info", "no", "--error-format", "json")):
    done = nestc(*words)
    lines = done.stderr.decode().splitlines()
    check(done.returncode == 1 and len(lines) == 1 and set(json.loads(lines[0])) == {"severity", "place", "message", "legal"}, f"{words}: {lines}")
expect(2, "is one word too many", "info", "a", "b")
expect(2, "did you mean --generate?", "run", "x", "--gen", "3")
check(b"--draft" not in nestc("run", "x", "--nothing").stderr, "an option that is not there yet is offered")
expect(2, "is given twice", "compile", qwen, "-o", "a", "-o", "b")
expect(2, "has no value", "compile", qwen, "-o")
expect(2, "-o: is empty", "import", qwen, "-o", "")
expect(2, "takes no value", "info", qwen, "--json=yes")
expect(1, "there is no such file", "info", "--", "--json")

# compile.
for option, value in (("--dtype", ""), ("--dtype", "F32"), ("--cpu", "z80"), ("--target", "nvptx"), ("--weights", "int3"), ("--emit", "code"), ("--emit", "cubin"), ("--submodel", ""), ("--submodel", "a:"),
                      ("--max-length", "0"), ("--max-length", "-8"), ("--max-length", "8.5"), ("--max-length", "x")):
    expect(2, option + ": ", "compile", qwen, option, value, "-o", "out")
for target in ("sm_", "sm_banana", "sm_90x", "sm_75", "sm_80a", "sm_90f"):
    expect(2, "unknown target", "compile", qwen, "--target", target, "-o", "out")
expect(1, "no/out", "compile", qwen, "--dump-phases", "phases", "-o", "no/out")
expect(1, "no.mlir", "compile", "no.mlir", "--dump-phases", "phases", "-o", "out")
expect(1, "not supported yet", "compile", qwen, "--weights", "int4", "-o", "out")
for value in ("1073741825", "99999999999999999999"):
    expect(1, "--max-length: ", "compile", qwen, "--max-length", value, "-o", "out")
expect(2, "two submodels are named default; give each a name of its own", "compile", qwen, "--submodel", "skip=0", "--submodel", "skip=1", "-o", "out")
expect(2, "two submodels are named a;", "compile", qwen, "--submodel", "a:skip=0", "--submodel", "b:skip=1", "--submodel", "a:skip=2", "-o", "out")
expect(1, "the submodel b has another cache layers.0.k than those before", "compile", qwen, "--submodel", "a:skip=3", "--submodel", "b:layers.0.heads=2", "-o", "out", "-q")
expect(0, "", "compile", qwen, "--submodel", "a:skip=0", "--submodel", "b-1:skip=1,layers.0.ffn=1/8", "--max-length", "16", "-o", "several")
expect(0, "submodels.b-1: skip=1,layers.0.ffn=1/8", "info", "several")
expect(1, "the package holds no submodel 'b'; did you mean a? legal: a, b-1", "info", "several", "--submodel", "b")
expect(1, "the package holds no submodel 'c'; did you mean a? legal: a, b-1", "run", "several", "--submodel", "c", "--tokens", "1")
expect(1, "the package holds no submodel 'c'", "bench", "several", "--submodel", "c")
expect(0, "", "compile", qwen, "--submodel", "layers.0-1.ffn=1/8..1/2,layers.2.ffn=1/8", "--max-length", "16", "-o", "open")
expect(0, "submodel.widths.layers.1.ffn: 13..52", "info", "open")
run = ("run", "open", "--tokens", "1,2", "--generate", "1", "--bind")
expect(0, "", *run, "layers.all.ffn=1/4")
expect(0, "", *run, "layers.0.ffn=13", "--bind", "layers.1.ffn=1/2")
expect(1, "the package does not leave layers.2.ffn open; open are layers.0.ffn, layers.1.ffn", *run, "layers.2.ffn=13")
expect(1, "--bind layers.1.ffn=12: cannot be bound to 12; legal are 13 to 52", *run, "layers.0.ffn=13,layers.1.ffn=12")
expect(1, "cannot be bound to 104; legal are 13 to 52", *run, "layers.0.ffn=full")
expect(1, "the width 105 is not there", *run, "layers.0.ffn=105")
expect(1, "there is no layer 4", *run, "layers.4.ffn=13")
expect(2, "binds no width; legal is layers.SEL.ffn=VALUE", *run, "skip=1")
expect(2, "binds no width", *run, "layers.0.ffn=13..52")
expect(2, "unknown key", *run, "layers.0.fn=13")
expect(1, "all widths were fixed when it was compiled", "run", "several", "--tokens", "1", "--bind", "layers.0.ffn=13")
expect(1, "leaves widths open, and a checkpoint has none", "export", qwen, "--submodel", "layers.0.ffn=1/8..1/2", "-o", "exported")
expect(0, "", "bench", "several", "--submodel", "b-1", "--prefill", "2", "--decode", "1")
expect(0, "", "compile", qwen, "--submodel", "a:skip=0", "--submodel", "b:skip=1", "--emit", "specialized", "-o", "several.mlir")
expect(1, "holds the entry b:prefill of another submodel; give the universal module, and every --submodel", "compile", "several.mlir", "-o", "out")
for code, spec, text in (
    (2, "skip=", "names no layers"), (2, "skip=1,", "an entry is empty"), (2, "skip=0,1", "'1' is no KEY=VALUE"), (2, "skp=1", "did you mean skip?"), (2, "skip=-1", "names no layers"),
    (2, "layers.all.ffn=", "is no number"), (2, "layers.all.ffn=-8", "is no number"), (2, "layers.all.ffn=1.5", "is no number"), (2, "layers.all.ffn=1/0", "divides by zero"),
    (2, "layers.3-1.ffn=1/2", "runs backwards"), (2, "layers.odd.fnn=1/2", "did you mean layers.all.ffn?"), (2, "a b:skip=1", "unknown key"),
    (1, "layers.all.ffn=0", "legal are 1 to 104"), (1, "layers.all.ffn=105", "legal are 1 to 104"), (1, "layers.all.ffn=1/3", "no whole number"), (1, "layers.all.ffn=3/2", "at most 1"),
    (1, "layers.all.ffn=99999999999999999999", "too large"), (1, "layers.4.ffn=1/2", "layers 0-3"), (1, "skip=4", "layers 0-3"), (1, "skip=all", "no layer would be left"),
    (1, "skip=0-99999999999999999999", "too large"), (1, "layers.all.ffn=1/1..1/8", "the range runs backwards"), (1, "layers.all.heads=1/2..1/1", "heads cannot stay open"), (2, "layers.all.ffn=1/8..1/4..1/1", "is no width"), (1, "layers.all.heads=1", "splits a group of heads; legal are multiples of 2"), (1, "layers.0.heads=5", "legal are 2 to 4"),
    (1, "modalities=text", "has no modalities"), (1, "routes.all=dense", "has no routes"), (1, "routes.all.capacity=1/2", "has no routes"),
    (2, "modalities=", "a name is empty"), (2, "routes.all=open", "says nothing of a route"), (2, "routes.all.capacity=0.5", "is no number"), (1, "preset=a, b", "give the table with --slices FILE.csv"),
    (1, "quater", "did you mean quarter?"), (1, "x:quater", "did you mean quarter?"), (1, "no.json", "no.json: "),
):
    expect(code, text, "compile", qwen, "--submodel", spec, "-o", "out")
    expect(code, text, "info", qwen, "--submodel", spec)

# Files of submodels: whatever is wrong in them is the input's fault.
spec = root / "spec.json"
for content, text in (
    ('{"submodel": "layers.all.ffn=1/4"}', None), ('{"widths": [13, 26, 52, 104]}', None), ('{"widths": [13, 26, 52, 104], "skip": [1, 2]}', None), ('{"widths": [13, 26, 52, 104], "skip": []}', None),
    ("", "spec.json"), ("{", "spec.json"), ("[]", "spec.json"), ("{}", "widths"), ('{"submodel": "x"}', "spec.json: submodel"), ('{"widths": [13, 26, 52, 105], "skip": []}', "spec.json: submodel"), ('{"submodel": 3}', "submodel"), ('{"submodel": "x=1"}', "unknown key"), ('{"submodel": "skip=1,"}', "an entry is empty"),
    ('{"submodel": "skip=1", "skip": [1]}', "both"), ('{"widths": [13]}', "widths: has 1"), ('{"widths": [13, 26, 52, 105]}', "legal are 1 to 104"), ('{"widths": [13, 26, 52, 0]}', "widths[3]"),
    ('{"widths": [13, 26, 52, 1.5]}', "widths[3]"), ('{"widths": [13, 26, 52, "1/2"]}', "widths[3]"), ('{"widths": 13}', "widths"), ('{"widths": [13, 26, 52, 104], "skip": [4]}', "layers 0-3"),
    ('{"widths": [13, 26, 52, 104], "skip": [-1]}', "skip[0]"), ('{"widths": [13, 26, 52, 104], "skip": 1}', "skip"), ('{"widths": [13, 26, 52, 104], "skp": [1]}', "did you mean skip?"),
):
    spec.write_text(content)
    expect(1 if text else 0, text or '"parameters"', "info", qwen, "--submodel", spec, "--json", name=f"info {content}")
expect(0, "", "compile", qwen, "--submodel", "mine:layers.all.ffn=1/4", "--max-length", "16", "-o", "mine")
check(b"no trained level" in nestc("info", qwen, "--submodel", "layers.all.ffn=30").stderr, "no warning of a width that is no level")
check(not nestc("info", qwen, "--submodel", "layers.all.ffn=30", "-q").stderr, "-q does not silence a warning")
check(b"longer texts" in nestc("compile", qwen, "--max-length", "65", "-o", root / "mine2").stderr, "no warning of a length above the config's")
check(b"phase kernels" in nestc("compile", qwen, "-v", "-o", root / "mine2").stderr, "-v does not say the phases")

# info.
info = json.loads(expect(0, "{", "info", "mine", "--json").stdout)
check({"target", "submodel", "parameters", "weight_bytes", "macs_per_token", "entries"} <= set(info), "keys of a package")
check(info["submodel"] == {"name": "mine", "spec": "layers.all.ffn=1/4"}, "the submodel of a package")
check([entry["name"] for entry in info["entries"]] == ["prefill", "decode", "verify"], "the entries of a package")
check(info["entries"][0]["inputs"][0] == {"name": "tokens", "dtype": "i32", "shape": ["B", "T"]}, "the inputs of an entry")
check(info["entries"][0]["outputs"] == [{"name": "logits", "dtype": "f32", "shape": ["B", 1, 101]}], "the outputs of an entry")
expect(0, "", "import", qwen, "-o", "model.mlir")
for source in (qwen, "model.mlir"):
    same = json.loads(expect(0, "{", "info", source, "--submodel", "quarter", "--json").stdout)
    check(same["parameters"] == info["parameters"], f"the parameters of {source}")
expect(0, "\nentries[0].inputs[0]: tokens i32 [B, T]\n", "info", "mine", "--submodel", "mine")
expect(0, "\naxes[6]: layers.3.ffn size 104 [13, 26, 52, 104]\n", "info", qwen)
expect(1, "is a package", "compile", "mine", "-o", "out")
expect(1, "legal: mine", "info", "mine", "--submodel", "other")

# run: tokens.
full = ("run", "mine", "--generate", "2")
for code, ids, text in ((2, "", "is empty"), (2, ",", "no token"), (2, "1,", "no token"), (2, "1,,2", "no token"), (2, "1 2", "no token"), (2, "1.5", "no token"), (2, "+1", "no token"), (2, "0x1", "no token"),
                        (1, "-1", "out of range"), (1, "4294967297", "out of range"), (1, "99999999999999999999", "out of range"), (1, "101", "outside the vocabulary"), (1, ",".join(["1"] * 17), "room for 16")):
    expect(code, text, *full, "--tokens", ids)
for name, array, text in (("i32", np.array([1, 2, 3], np.int32), None), ("i64", np.array([1, 2, 3], np.int64), None), ("batch", np.array([[1, 2, 3], [4, 5, 6]], np.int64), None),
                          ("float", np.array([1.0, 2.0]), "tokens are i32 or i64"), ("rank", np.zeros((1, 1, 3), np.int32), "[T] or [B,T]"), ("scalar", np.int32(3), "[T] or [B,T]"), ("none", np.zeros(0, np.int32), "no token"),
                          ("norows", np.zeros((2, 0), np.int32), "no token"), ("nobatch", np.zeros((0, 3), np.int32), "no token"), ("negative", np.array([1, -1], np.int32), "out of range"),
                          ("wide", np.array([2**40], np.int64), "out of range"), ("outside", np.array([101], np.int64), "outside the vocabulary"), ("long", np.ones(17, np.int32), "room for 16"), ("big", np.array([1], ">i4"), "big.npy")):
    np.save(root / f"{name}.npy", array)
    expect(1 if text else 0, text or "", *full, "--tokens", f"{name}.npy")
np.save(root / "fortran.npy", np.asfortranarray(np.load(root / "batch.npy")))
outputs = [expect(0, "", *full, "--tokens", f"{name}.npy").stdout for name in ("batch", "fortran")]
check(outputs[0] == outputs[1], "tokens in Fortran order")
expect(1, "no.npy: ", *full, "--tokens", "no.npy")

# run: logits, stepwise.
logits = {}
for name, words in (("once", ()), ("steps", ("--stepwise",)), ("mixed", ("--stepwise=2",)), ("more", ("--stepwise=99",))):
    for source, shape in (("i32", (3, 101)), ("batch", (2, 3, 101))):
        expect(0, "", "run", "mine", "--tokens", f"{source}.npy", "--logits", "l.npy", *words)
        logits[name, source] = np.load(root / "l.npy")
        check(logits[name, source].shape == shape and logits[name, source].dtype == np.float32, f"logits of {name} {source}")
        check(np.allclose(logits[name, source], logits["once", source], atol=1e-5), f"{name} differs from one prefill")
# Without routes both rules of a prefill are one.
for rule in ("select", "decode"):
    expect(0, "", "run", "mine", "--tokens", "i32.npy", "--logits", "l.npy", "--prefill", rule)
    check(np.array_equal(np.load(root / "l.npy"), logits["once", "i32"]), f"--prefill {rule} differs")
tokens = ("run", "mine", "--tokens", "1,2")
for words, text in ((("--stepwise",), "goes with --logits"), (("--logits", "l.npy", "--stepwise=x"), "is no number"), (("--logits", "l.npy", "--stepwise=-1"), "out of range"), (("--logits", "l.npy", "--stepwise="), "is empty"),
                    (("--logits", ""), "is empty"), (("--generate", "-1"), "out of range"), (("--generate", "x"), "is no number"), (("--temperature", "-1"), "no temperature"), (("--temperature", "nan"), "no temperature"), (("--temperature", "0x1p0"), "no temperature"), (("--temperature", " 1"), "no temperature"), (("--temperature", "1e"), "no temperature"),
                    (("--temperature", "1x"), "no temperature"), (("--seed", "-1"), "out of range"), (("--threads", "0"), "out of range"), (("--threads", "x"), "is no number"), (("--prompt", "x"), "both given"), (("--prefill", "x"), "legal are select and decode"), (("--in", "x"), "is no NAME=FILE"), (("--logits", "l.npy", "--modality", "x"), "goes with --generate"), (("--out", "a=b"), "goes with --entry"), (("--profile",), "goes with --emulate")):
    expect(2, text, *tokens, *words)
for words, text in ((("--generate", "99999999999"), "out of range"), (("--temperature", "1.1e6"), "from 0 (greedy) to 1e6"), (("--temperature", "1e999"), "from 0 (greedy) to 1e6"), (("--generate", "16"), "room for 15 more"), (("--seed", "99999999999999999999"), "too large"), (("--threads", "1025"), "out of range"), (("--submodel", "x"), "legal: mine"),
                    (("--in", "modality=x.npy"), "the model has no modalities"), (("--in", "positions=x.npy"), "no input beside tokens"), (("--bind", "layers.all.ffn=1/2"), "all widths were fixed"), (("--draft", "x"), "not supported yet"),
                    (("--draft", "x"), "not supported yet"), (("--switch", "3:x"), "not supported yet"), (("--modality", "x"), "the model has no modalities"), (("--emulate",), "is for the CPU: there is no GPU to emulate")):
    expect(1, text, *tokens, *words)
expect(2, "there is no input", "run", "mine")
expect(1, "has no tokenizer", "run", "mine", "--prompt", "hello")


# run: generation.
def generate(*words):
    done = expect(0, "", *tokens, *words)
    return done.stdout.decode().split()


check(len(generate("--generate", "15")) == 15 and generate() == generate("--generate", "15"), "what there is room for")
check(generate("--generate", "0") == [], "no new token")
check(generate("--generate", "5") == generate("--generate", "5", "--temperature", "0", "--seed", "3"), "greedy")
check(generate("--generate", "5", "--threads", "1") == generate("--generate", "5", "--submodel", "mine"), "threads")
check(generate("--generate", "5", "--temperature", "1e6"), "the largest temperature")
samples = {seed: generate("--generate", "9", "--temperature", "1.5", "--seed", seed) for seed in ("1", "2", "3")}
check(samples["1"] == generate("--generate", "9", "--temperature", "1.5", "--seed", "1"), "a seed repeats")
check(len({tuple(sample) for sample in samples.values()}) > 1, "seeds differ")

# An end token ends the text and is not printed.
ids = [int(id) for id in generate("--generate", "9")]
ckpt = cases.copy(qwen)
config = json.loads((ckpt / "config.json").read_text())
for end in (ids[4], [100 if 100 not in ids else 99, ids[4]]):
    (ckpt / "config.json").write_text(json.dumps({**config, "eos_token_id": end}))
    expect(0, "", "compile", ckpt, "--submodel", "mine:layers.all.ffn=1/4", "--max-length", "16", "-o", "ends")
    done = expect(0, "", "run", "ends", "--tokens", "1,2", "--generate", "9")
    check([int(id) for id in done.stdout.split()] == ids[: ids.index(ids[4])], f"the end token {end}")

# run: entries. A cache goes out and in again, of bf16 as well.
for source in ("qwen3", "qwen3-bf16"):
    expect(0, "", "compile", goldens / source, "--max-length", "16", "-o", "entry")
    entry = json.loads(nestc("info", root / "entry", "--json").stdout)["entries"]
    caches = [buffer["name"] for buffer in entry[0]["inputs"] if buffer.get("cache")]
    check(len(caches) == 8, "caches of an entry")
    ins, outs = [], []
    for name in caches:
        ins += ["--in", f"{name}={name}.npy"]
        outs += ["--out", f"{name}={name}.npy"]
    np.save(root / "t.npy", np.array([[1, 2, 3]], np.int32))
    np.save(root / "p.npy", np.array([[0, 1, 2]], np.int32))
    np.save(root / "n.npy", np.array([0], np.int32))
    expect(0, "", "run", "entry", "--entry", "prefill", "--in", "tokens=t.npy", "--in", "positions=p.npy", "--in", "lengths=n.npy", *outs)
    np.save(root / "t.npy", np.array([[4]], np.int32))
    np.save(root / "p.npy", np.array([[3]], np.int32))
    np.save(root / "n.npy", np.array([3], np.int32))
    step = ("run", "entry", "--entry", "decode", "--in", "positions=p.npy", "--in", "lengths=n.npy")
    expect(0, "", *step, "--in", "tokens=t.npy", *ins, "--out", "logits=l.npy")
    expect(0, "", "run", "entry", "--tokens", "1,2,3,4", "--logits", "all.npy")
    check(np.allclose(np.load(root / "l.npy")[0, 0], np.load(root / "all.npy")[3], atol=1e-5 if source == "qwen3" else 2e-2), f"caches of {source}")
expect(1, "no/l2.npy: the directory no/ does not exist", *step, "--in", "tokens=t.npy", "--out", "logits=l2.npy", "--out", "layers.0.k=no/l2.npy")
np.save(root / "n.npy", np.array([16], np.int32))
expect(1, "lengths", *step, "--in", "tokens=t.npy", "--out", "logits=l2.npy")
np.save(root / "n.npy", np.array([3], np.int32))
np.save(root / "t.npy", np.array([[101]], np.int32))
expect(1, "tokens", *step, "--in", "tokens=t.npy", "--out", "logits=l2.npy")
np.save(root / "t.npy", np.array([[4]], np.int32))
for code, words, text in ((1, ("--entry", "decod"), "did you mean decode?"), (1, ("--entry", "encode"), "legal: prefill"), (1, ("--entry", "decode"), "tokens is missing"), (2, ("--entry", "decode", "--in", "tokens"), "is no NAME=FILE"),
                          (2, ("--entry", "decode", "--in", "tokens="), "is no NAME=FILE"), (2, ("--entry", "decode", "--in", "=x"), "is no NAME=FILE"), (1, ("--entry", "decode", "--in", "tokens=no.npy"), "no.npy"),
                          (1, ("--entry", "decode", "--in", "tokns=t.npy"), "did you mean tokens?"), (1, ("--entry", "prefill", "--in", "tokens=i64.npy"), "i32 [B, T]"), (2, ("--entry", "decode", "--generate", "3"), "not --entry"),
                          (2, ("--entry", "decode", "--logits", "x"), "not --entry"), (2, ("--entry", "decode", "--tokens", "1"), "--in"), (1, (*step[2:], "--in", "tokens=t.npy", "--out", "logit=x.npy"), "did you mean logits?" )):
    expect(code, text, "run", "entry", *words)

# Memory is computed first.
expect(0, "", "compile", qwen, "--max-length", "1073741824", "-o", "huge")
expect(1, "TiB of memory, but", "run", "huge", "--tokens", "1")

# A tokenizer, and bench.
expect(0, "", "compile", matlm, "--submodel", "small", "-o", "text")
check(nestc("run", root / "text", "--prompt", "The hacker", "--generate", "8").stdout.strip(), "no text")
expect(1, "has no token", "run", "text", "--prompt", "")
expect(1, "--prompt: is not valid UTF-8", "run", "text", "--prompt", b"\xff".decode(errors="surrogateescape"))
check({"prefill_seconds", "decode_seconds_per_token"} <= set(json.loads(expect(0, "{", "bench", "mine", "--json", "--prefill", "4", "--decode", "2").stdout)), "keys of bench")


# Progress is for a terminal, and gone before anything is printed.
def terminal(*words):
    ours, theirs = os.openpty()
    subprocess.run(["nestc", *map(str, words)], stdout=theirs, stderr=theirs, cwd=root)
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # its end
        pass
    os.close(ours)
    return said.decode()


said = terminal("bench", "mine", "--prefill", "4", "--decode", "2")
check("measuring 100%\r\x1b[Kprefill 4 tokens" in said, f"progress on a terminal: {said!r}")
for quiet in ("-q", "--error-format=json"):
    check("%" not in terminal("compile", qwen, "-o", "mine2", quiet), f"progress with {quiet}")
check(not nestc("bench", root / "mine", "--prefill", "4", "--decode", "2").stderr, "progress in a pipe")
expect(1, "legal are whole numbers from 1 to 16", "bench", "mine", "--prefill", "17")
expect(2, "out of range", "bench", "mine", "--prefill", "0")
cases.finish(230)
