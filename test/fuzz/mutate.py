#!/usr/bin/env python3
# ===- mutate.py - broken files for the nestc command ----------------------=== #
#
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===-----------------------------------------------------------------------=== #
"""usage: mutate.py CHECKPOINT DIR [--seed N] [--count N | --seconds N] [--only KIND]

Breaks one file at a time, by seeded chance, and runs nestc on it: the exit code
must be 0, 1 or 2, with one line of error where it is not 0. A signal, 70, a hang
or a sanitizer's report is a failure; its files are kept in DIR/failure-N.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("checkpoint", type=Path)
parser.add_argument("directory", type=Path)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--count", type=int, default=100)
parser.add_argument("--seconds", type=float)
parser.add_argument("--only")
options = parser.parse_args()
root = options.directory.resolve()
shutil.rmtree(root, ignore_errors=True)
root.mkdir(parents=True)
rng = random.Random(options.seed)

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, 1e308]
VALUES = NUMBERS + [None, True, False, "", "x", "1/4", [], {}, [0], [[1]], {"a": 1}, "\u0000", "../x", "a" * 300]


def nestc(*words, cwd=root):
    return subprocess.run(["nestc", *map(str, words)], capture_output=True, cwd=cwd, timeout=30)


def places(value, found=None):
    """Every (container, key) of a JSON value."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        found.append((value, key))
        places(inner, found)
    return found


def mutate_json(text):
    if rng.random() < 0.2:
        return mutate_bytes(text)
    value = json.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        # A short way down finds rare keys as often as long lists.
        at, key = value, None
        while isinstance(at, (dict, list)) and at:
            holder, key = at, rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
            at = holder[key]
            if rng.random() < 0.35:
                break
        if key is None:
            break
        choice = rng.random()
        if choice < 0.2:
            del holder[key]
        elif choice < 0.35:
            other, place = rng.choice(places(value) or [(holder, key)])
            holder[key] = json.loads(json.dumps(other[place]))
        elif choice < 0.65 and isinstance(at, (int, float)):
            holder[key] = rng.choice([at + 1, at - 1, at * 2, at // 2, -at, *NUMBERS])
        elif choice < 0.75 and isinstance(holder, dict):
            holder[rng.choice(["extra", key + "x", ""])] = rng.choice(VALUES)
        else:
            holder[key] = rng.choice(VALUES)
    return json.dumps(value).encode()


def mutate_bytes(data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(data) + 1)
        choice = rng.random()
        if choice < 0.4 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif choice < 0.6 and at < len(data):
            data[at] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
        elif choice < 0.75:
            del data[at : at + rng.choice([1, 4, 100])]
        elif choice < 0.9:
            data[at:at] = data[at : at + rng.choice([1, 4, 100])]
        else:
            del data[at:]
    return bytes(data)


def mutate_tensors(data):
    """Mostly the header: its values, its length, its bytes."""
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.15:
        return mutate_bytes(data[: 8 + size]) + data[8 + size :]
    header = mutate_json(data[8 : 8 + size])
    length = len(header) if rng.random() < 0.9 else rng.choice([0, 1, len(header) + 1, 2**63, 2**64 - 1])
    return length.to_bytes(8, "little") + header + data[8 + size :]


def mutate_mlir(data):
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(lines))
        words = lines[at].split(" ")
        choice = rng.random()
        if choice < 0.2:
            del lines[at]
        elif choice < 0.35:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif choice < 0.6:
            # A number within a word: sizes of tensors, layers, attributes.
            digits = [i for i, c in enumerate(lines[at]) if c.isdigit()]
            if digits:
                i = rng.choice(digits)
                lines[at] = lines[at][:i] + rng.choice(["0", "1", "9", "-1", "99999999999", "?", ""]) + lines[at][i + 1 :]
        elif choice < 0.85:
            other = rng.choice(lines).split(" ")
            words[rng.randrange(len(words))] = rng.choice(other)
            lines[at] = " ".join(words)
        else:
            return mutate_bytes("\n".join(lines).encode())
        if not lines:
            break
    return "\n".join(lines).encode()


def prepare():
    """What the mutations start from."""
    shutil.copytree(options.checkpoint, root / "ckpt")
    for path in (root / "ckpt", *(root / "ckpt").iterdir()):
        path.chmod(path.stat().st_mode | 0o200)
    assert nestc("import", "ckpt", "-o", "model.mlir").returncode == 0
    if options.only == "bytecode":
        subprocess.run(["nest-opt", "--emit-bytecode", root / "model.mlir", "-o", root / "model.mlirbc"], check=True)
    assert nestc("compile", "ckpt", "--submodel", "layers.all.ffn=1/4", "--max-length", "16", "-o", "package").returncode == 0
    import numpy as np

    np.save(root / "tokens.npy", np.array([[1, 2, 3], [4, 5, 6]], np.int64))


EXPORT = ("export", "ckpt", "--submodel", "layers.all.ffn=1/4,skip=1", "-o", "out")
RUN = ("run", "package", "--tokens", "1,2,3,4,5,6,7,8,9,10,11,12", "--logits", "out.npy")
KINDS = {
    "config": ("ckpt/config.json", mutate_json, ("compile", "ckpt", "--max-length", "16", "-o", "out")),
    "nest": ("ckpt/nest.json", mutate_json, ("info", "ckpt", "--submodel", "layers.all.ffn=1/4")),
    "tensors": ("ckpt/model.safetensors", mutate_tensors, ("compile", "ckpt", "--max-length", "16", "-o", "out")),
    "export-config": ("ckpt/config.json", mutate_json, EXPORT),
    "export-nest": ("ckpt/nest.json", mutate_json, EXPORT),
    "export-tensors": ("ckpt/model.safetensors", mutate_tensors, EXPORT),
    "plan": ("ckpt/nest.json", mutate_json, ("plan", "ckpt", "--budget", "macs=1M", "-o", "out.json", "--svg", "out.svg")),
    "mlir": ("model.mlir", mutate_mlir, ("compile", "model.mlir", "-o", "out")),
    "manifest": ("package/manifest.json", mutate_json, RUN),
    "weights": ("package/weights.safetensors", mutate_tensors, RUN),
    "bytecode": ("model.mlirbc", mutate_bytes, ("compile", "model.mlirbc", "-o", "out")),
    "npy": ("tokens.npy", mutate_bytes, ("run", "package", "--tokens", "tokens.npy", "--generate", "2")),
    "tokenizer": ("package/tokenizer.json", mutate_json, ("run", "package", "--prompt", "Hello there, 123 hackers!", "--generate", "2")),
}


def run(words):
    """What is wrong with this command's end; empty when nothing is."""
    try:
        done = nestc(*words)
    except subprocess.TimeoutExpired:
        return "hangs"
    err = done.stderr.decode(errors="replace")
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    if any(word in err for word in ("Sanitizer", "runtime error:", "Assertion", "PLEASE submit")):
        return err
    codes[done.returncode] = codes.get(done.returncode, 0) + 1
    if done.returncode not in (0, 1, 2):
        return f"exit {done.returncode}: {err}"
    if done.returncode and len(lines) != 1:
        return f"exit {done.returncode} with {len(lines)} errors: {err}"
    return ""


prepare()
# MLIR's reader of bytecode does not survive broken files: only when asked for.
kinds = [kind for kind in KINDS if (options.only or (kind if kind != "bytecode" else "")) == kind and (root / KINDS[kind][0]).exists()]
counts, codes = {}, {}
failures = 0
start = time.time()
number = 0
while time.time() - start < options.seconds if options.seconds else number < options.count:
    kind = kinds[number % len(kinds)]
    number += 1
    name, mutate, words = KINDS[kind]
    path = root / name
    good = path.read_bytes()
    bad = mutate(good)
    path.write_bytes(bad)
    problem = run(words)
    # What was accepted must run.
    if not problem and kind in ("config", "tensors", "mlir") and (root / "out").exists():
        problem = run(("run", "out", "--tokens", "1,2,3", "--generate", "3"))
    # What was exported is a checkpoint.
    if not problem and kind.startswith("export") and (root / "out").exists():
        done = nestc("info", "out")
        problem = done.stderr.decode(errors="replace") if done.returncode else ""
    path.write_bytes(good)
    shutil.rmtree(root / "out", ignore_errors=True)
    counts[kind] = counts.get(kind, 0) + 1
    if problem:
        failures += 1
        keep = root / f"failure-{failures}"
        keep.mkdir()
        (keep / path.name).write_bytes(bad)
        (keep / "what.txt").write_text(f"{kind} {' '.join(words)}\n{problem}\n")
        print(f"{keep} ({kind}): {problem[:300]}")
print(f"{number} runs in {time.time() - start:.0f} s, {failures} failures: {counts}, exit codes {dict(sorted(codes.items()))}")
sys.exit(1 if failures else 0)
