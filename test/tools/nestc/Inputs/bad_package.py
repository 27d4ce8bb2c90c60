# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""bad_package.py GOLDENS MATLM DIR: packages with one fault each."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from cases import Cases, edit_json, nestc, patch

goldens, matlm, cases = Path(sys.argv[1]), Path(sys.argv[2]), Cases(sys.argv[3])
good = cases.root / "good"
cases.expect(0, "", "compile", goldens / "qwen3", "--max-length", "16", "-o", good)
cases.expect(0, "", "compile", matlm, "--max-length", "16", "-o", "text")


def case(name, text, change, source=good, words=("--tokens", "1,2", "--generate", "2")):
    package = cases.copy(source, "pkg")
    change(package)
    cases.expect(1, text, "run", "pkg", *words, name=name)


def manifest(name, text, change, keep=False):
    """`keep`: with the old digest, as what changes by accident has it."""

    def edit(package):
        edit_json(package / "manifest.json", lambda m: (change(m), None if keep else m.pop("sha256", None))[1] and None)

    case(name, text, edit)


for file in ("manifest.json", "code.so", "weights.safetensors"):
    case(f"no {file}", file, lambda p: (p / file).unlink())
    case(f"{file} is a directory", file, lambda p: ((p / file).unlink(), (p / file).mkdir()))
    case(f"{file} is empty", file, lambda p: (p / file).write_bytes(b""))
    case(f"half of {file}", file, lambda p: (p / file).write_bytes((p / file).read_bytes()[: (p / file).stat().st_size // 2]))
    case(f"a byte more in {file}", file, lambda p: (p / file).write_bytes((p / file).read_bytes() + b"x"))
case("a byte of code", "code.so: its SHA-256", lambda p: patch(p / "code.so", 900, b"\xcc"))
case("header of weights", "weights.safetensors: its header", lambda p: patch(p / "weights.safetensors", 20, b"X"))


def no_code(package):
    (package / "code.so").write_bytes(b"no code")
    edit_json(package / "manifest.json", lambda m: m["code"].update(sha256=hashlib.sha256(b"no code").hexdigest()) or m.pop("sha256") and None)


case("code is no shared object", "code.so: cannot be loaded", no_code)
cases.expect(1, "does not exist", "run", "nothing", "--tokens", "1")
cases.expect(1, "is no directory", "run", good / "code.so", "--tokens", "1")
cases.expect(1, "has no manifest.json", "run", goldens, "--tokens", "1")

manifest("not an object", "manifest.json", lambda m: m.clear())
manifest("newer format", "format: is 2, newer", lambda m: m.update(format=2))
manifest("other abi", "abi: is 9", lambda m: m.update(abi=9))
manifest("unknown key", "manifest.json: ", lambda m: m.update(extra=1))
manifest("target", "target", lambda m: m.update(target="sm_90a"))
manifest("processor", "nosuchfeature", lambda m: m["cpu"]["features"].append("nosuchfeature"))
manifest("vocabulary", "vocab_size", lambda m: m["model"].update(vocab_size=102))
manifest("max length", "max_length", lambda m: m["model"].update(max_length=32))
manifest("no entries", "entries", lambda m: m.update(entries=[]))
manifest("weight behind the file", "weights[0].offset", lambda m: m["weights"][0].update(offset=10**12))
manifest("negative offset", "weights[0].offset", lambda m: m["weights"][0].update(offset=-4))
manifest("weight of another file", "weights[0].file", lambda m: m["weights"][0].update(file=1))
manifest("huge weight", "weights[0]", lambda m: m["weights"][0].update(shape=[2**40, 2**40]))
manifest("path out of the package", "files[0].path", lambda m: m["files"][0].update(path="../x"))
manifest("code out of the package", "code.file", lambda m: m["code"].update(file="../code.so"))
manifest("symbol", "no symbol nest_entry_other", lambda m: m["entries"][0].update(symbol="nest_entry_other"))
manifest("index of a weight", "weights", lambda m: m["entries"][0].update(weights=[999]))
manifest("arena", "arena", lambda m: m["entries"][0]["arena"].update(per_row=-1))
manifest("cache", "cache", lambda m: m["entries"][0]["inputs"][3]["shape"].__setitem__(2, 8))
manifest("dims", "dims", lambda m: m["entries"][0].update(dims=["B", "T", "Q"]))
for key in list(json.loads((good / "manifest.json").read_text())):
    if key != "sha256":
        manifest(f"no {key}", key, lambda m: m.pop(key))
manifest("changed by accident", "sha256: is not that of the rest", lambda m: m["weights"][0].update(shape=[100, 40]), keep=True)
manifest("less arena", "sha256: is not that of the rest", lambda m: m["entries"][0]["arena"].update(per_row=64), keep=True)

# The tokenizer of the package.
prompt = ("--prompt", "hello", "--generate", "2")
text = cases.root / "text"
case("tokenizer is no JSON", "tokenizer.json", lambda p: (p / "tokenizer.json").write_text("{"), text, prompt)
case("tokenizer of another kind", "tokenizer.json", lambda p: edit_json(p / "tokenizer.json", lambda t: t["model"].update(type="Unigram")), text, prompt)
case("merge of unknown tokens", "tokenizer.json", lambda p: edit_json(p / "tokenizer.json", lambda t: t["model"]["merges"].insert(0, ["qqqq", "zzzz"])), text, prompt)
case("id out of the vocabulary", "vocabulary", lambda p: edit_json(p / "tokenizer.json", lambda t: t["model"]["vocab"].update(h=10**6)), text, ("--prompt", "h"))
# Token ids need none.
for name, change in (("broken", lambda p: p.write_text("{")), ("of another kind", lambda p: edit_json(p, lambda t: t["model"].update(type="Unigram")))):
    package = cases.copy(text, "pkg")
    change(package / "tokenizer.json")
    done = cases.expect(0, "", "run", "pkg", "--tokens", "1,2", "--generate", "2", name=f"ids with a tokenizer that is {name}")
    assert len([int(id) for id in done.stdout.split()]) == 2
    ckpt = cases.copy(matlm)
    change(ckpt / "tokenizer.json")
    cases.expect(0, "will take token ids only", "compile", ckpt, "--max-length", "16", "-o", "ids", name=f"tokenizer {name} at compile time")
# A token that the tokenizer lacks has no text, and takes no other's away.
words = ("run", "pkg", "--tokens", "batch.npy", "--generate", "6")
np.save(cases.root / "batch.npy", np.array([[5, 6, 7], [8, 9, 10]], np.int32))
package = cases.copy(text, "pkg")
(package / "tokenizer.json").unlink()
ids = [[int(id) for id in line.split()] for line in cases.expect(0, "", *words).stdout.splitlines()]
package = cases.copy(text, "pkg")
vocab = {id: token for token, id in json.loads((package / "tokenizer.json").read_text())["model"]["vocab"].items()}
gone = vocab[ids[0][1]]
edit_json(package / "tokenizer.json", lambda t: (t["model"]["vocab"].pop(gone), t["model"].update(merges=[]))[1])
texts = cases.expect(0, "", *words).stdout
left = ["".join(vocab[id] for id in line if vocab[id] != gone) for line in ids]
assert texts.decode().replace(" ", "Ġ").replace("\n", "Ċ") == "".join(line + "Ċ" for line in left), (texts, left)

case("no tokenizer", "has no tokenizer", lambda p: (p / "tokenizer.json").unlink(), text, prompt)

# Arrays.
np.save(cases.root / "i64.npy", np.array([1, 2], np.int64))
array = (cases.root / "i64.npy").read_bytes()
for name, data in (
    ("empty", b""),
    ("short", array[:5]),
    ("no header", array[:12]),
    ("truncated", array[:-3]),
    ("more", array + b"12345678"),
    ("version", array[:6] + b"\x09" + array[7:]),
    ("magic", b"\x93NUMPX" + array[6:]),
    ("header", array.replace(b"'shape': (2,)", b"'shape': (-2,", 1)),
    ("huge", array.replace(b"(2,)", b"(9999999999999999999,)", 1)),
    ("object", array.replace(b"<i8", b"|O8")),
):
    (cases.root / "bad.npy").write_bytes(data)
    cases.expect(1, "bad.npy", "run", good, "--tokens", "bad.npy", "--generate", "1", name=f"array: {name}")
    cases.expect(1, "bad.npy", "run", good, "--entry", "decode", "--in", "tokens=bad.npy", name=f"input: {name}")
cases.finish(86)
