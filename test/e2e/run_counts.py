#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_counts.py WORKDIR [--driver FILE.so] WHAT...: what the trained models do on a GPU, counted by the emulator.

launches  kernels that a call launches, for a layer and around layers: LAUNCHES
widths    a quarter of the FFN's width reads a quarter of its weights
rows      a block of an eighth of the rows multiplies, reads and writes an eighth
towers    a model cut to one modality reads one tower, as its dense twin has it
copies    nothing but tokens comes to the host, with a temperature logits; the driver is made of Inputs/copies.c

Prints what was counted; exit 1 where it is more than allowed.
"""

import argparse
import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

MODELS = pathlib.Path(__file__).parents[1] / "models"

# Of an entry: kernels a layer, and those around the layers. Of `mod` a layer is two,
# a dense one and a routed one. The goals: 6 a layer in a prefill and 5 in a decode; a
# layer of mot as many as its dense twin's; a routed layer of mod 2 more than a dense
# one. One around chooses the token. To be made smaller, never larger.
LAUNCHES = {
    "matlm": {"prefill": (5, 7), "decode": (5, 5)},
    "mod-dense": {"prefill": (5, 7), "decode": (5, 5)},
    "mod": {"prefill": (12, 10), "decode": (12, 8)},
    "mot-dense": {"prefill": (5, 7), "decode": (5, 5)},
    "mot": {"prefill": (5, 10), "decode": (5, 8)},
}
LAYERS = {"matlm": 6, "mod-dense": 4, "mod": 3, "mot-dense": 4, "mot": 4}

# Of a layer of `mod` that takes an eighth of the rows: bytes stored and loaded, over
# those of a dense layer, by class of kernels. Weights are loaded in full, tables of
# rows besides, and products whose rows come from all of them load the factors of norms.
# Tiles of few rows have few columns, and each loads its rows.
ROWS = {
    "matmul": (0.125, 0.185),
    "project": (0.125, 0.15),
    "attention": (0.125, 0.125),
    "rowwise": (0.125, 0.125),
}
# And of what tensor cores multiply, in whole tiles.
FLOPS = {"matmul": 0.125, "project": 0.125}
# What three towers load of which one has rows, over one tower.
MIXED = 1.05

failures = []


def check(good, text):
    print(text)
    if not good:
        failures.append(text)


def nestc(*words, **environment):
    done = subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True, env=os.environ | environment)
    if done.returncode:
        sys.exit(f"nestc {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


@functools.cache
def compile_model(work, model, submodel=""):
    """The package, and the text of its kernels."""
    where = work / re.sub(r"\W", "-", f"{model} {submodel}")
    where.mkdir(parents=True, exist_ok=True)
    spec = ["--submodel", submodel] if submodel else []
    nestc("compile", MODELS / model, *spec, "--dtype", "bf16", "--target", "sm_80", "-q", "--dump-phases", where / "phases", "-o", where / "package")
    return where / "package", next((where / "phases").glob("*-kernels.mlir")).read_text()


def call(work, package, entry, tokens, modality=None, widths=None):
    """Runs an entry on new caches: what each launch counted."""
    inputs = {"tokens": np.arange(tokens)[None] * 7 % 113, "positions": np.arange(tokens)[None], "lengths": np.zeros(1)}
    if modality is not None:
        inputs["modality"] = np.broadcast_to(modality, (1, tokens))
    words = []
    for name, value in (widths or {}).items():
        inputs[name] = np.array([value])
    for name, values in inputs.items():
        np.save(work / f"{name}.npy", values.astype(np.int32))
        words += ["--in", f"{name}={work / name}.npy"]
    profile = work / "profile"
    profile.unlink(missing_ok=True)
    nestc("run", package, "--emulate", "--entry", entry, *words, "--out", f"logits={work / 'logits.npy'}", NEST_PTX_PROFILE=str(profile))
    return [json.loads(line) for line in profile.read_text().splitlines()]


def texts(kernels):
    """Definitions by the names of their launches."""
    return dict(re.findall(r"kernel\.def @(\w+)(\(.*?\n  \})", kernels, re.S))


def text_of(definitions, launch):
    name = launch["kernel"].removeprefix("nest_")
    # Stages behind the first have a number more.
    return definitions.get(name) or definitions[name.rpartition("_")[0]]


def periods(launches, definitions):
    """The launches from each attention to the next."""
    at = [i for i, launch in enumerate(launches) if "kernel.attention " in text_of(definitions, launch)]
    return [launches[first:last] for first, last in zip(at, at[1:])]


def loads(launches):
    """Bytes, as sectors that a request of a warp touches."""
    return 32 * sum(launch["loads"]["global_sectors"] for launch in launches)


def stores(launches):
    return 32 * sum(launch["stores"]["global_sectors"] for launch in launches)


def flops(launches):
    return sum(launch["mma_flops"] for launch in launches)


def count_launches(work):
    got = {}
    for model, entries in LAUNCHES.items():
        package, kernels = compile_model(work, model)
        for entry, (most, most_around) in entries.items():
            modality = np.arange(24) % 3 if model == "mot" else None
            tokens = 24 if entry == "prefill" else 1
            launches = call(work, package, entry, tokens, modality[:tokens] if modality is not None else None)
            each = [len(period) for period in periods(launches, texts(kernels))]
            if model == "mod":
                each = [sum(each[i : i + 2]) for i in range(0, len(each) - 1, 2)]
            layer, around = max(each), len(launches) - LAYERS[model] * max(each)
            got[model, entry] = layer
            check(layer <= most and around <= most_around, f"{model} {entry}: {layer} kernels a layer (allowed {most}), {around} around (allowed {most_around})")
    for entry in ("prefill", "decode"):
        check(got["mot", entry] <= got["mot-dense", entry], f"{entry}: a layer of mot has no more kernels than its dense twin's")


def ffn_kernels(kernels, launches):
    """The launches of the product of two weights and of the one behind it."""
    definitions = texts(kernels)
    at = [i for i, launch in enumerate(launches) if re.search(r"weights\(%\w+, %\w+ :", text_of(definitions, launch))]
    return [launches[i] for i in at], [launches[i + 1] for i in at]


def weight_bytes(kernels, launches):
    """Of the matrices that the products among these launches have."""
    definitions, total = texts(kernels), 0
    for launch in launches:
        weights = re.search(r"weights\(.*? : (.*?)\)", text_of(definitions, launch))
        for n, k in re.findall(r"memref<(\d+)x(\d+)xbf16", weights[1] if weights else ""):
            total += int(n) * int(k) * 2
    return total


def count_widths(work):
    for entry, tokens in (("prefill", 16), ("decode", 1)):
        read = {}
        for width in ("1/1", "1/4"):
            package, kernels = compile_model(work, "matlm", f"layers.all.ffn={width}")
            launches = call(work, package, entry, tokens)
            for what, part in zip(("up", "down"), ffn_kernels(kernels, launches)):
                if len(part) != LAYERS["matlm"]:
                    sys.exit(f"{len(part)} products of the FFN")
                read[what, width] = loads(part), weight_bytes(kernels, part)
        for what in ("up", "down"):
            (full, full_weights), (quarter, weights) = read[what, "1/1"], read[what, "1/4"]
            check(4 * weights == full_weights and weights <= quarter <= 1.05 * full / 4,
                  f"{entry} {what}: a quarter of the width reads {quarter / full:.4f} of the bytes, {quarter} for {weights} of weights")


def count_open(work):
    """A width that the call binds reads what a fixed one does, but for half a
    kernel: the last part of a tile of columns."""
    package, kernels = compile_model(work, "matlm", "layers.all.ffn=1/8..1/1")
    size = json.loads((MODELS / "matlm" / "config.json").read_text())["intermediate_size"]
    for entry, tokens in (("prefill", 16), ("decode", 1)):
        read = {}
        for part in (1, 4):
            widths = {f"layers.{layer}.ffn": size // part for layer in range(LAYERS["matlm"])}
            bound = ffn_kernels(kernels, call(work, package, entry, tokens, widths=widths))
            fixed_package, fixed_kernels = compile_model(work, "matlm", f"layers.all.ffn=1/{part}")
            fixed = ffn_kernels(fixed_kernels, call(work, fixed_package, entry, tokens))
            for what, launches, twin in zip(("up", "down"), bound, fixed):
                read[what, part] = loads(launches), sum(sum(launch["instructions"].values()) for launch in launches), loads(twin)
        for what in ("up", "down"):
            (full, all_work, _), (quarter, work_of, twin) = read[what, 1], read[what, 4]
            check(quarter <= 0.28 * full and work_of <= 0.5 * all_work and quarter <= 1.25 * twin,
                  f"{entry} {what}: a quarter that the call binds reads {quarter / full:.4f} of the bytes (allowed 0.28), {quarter / twin:.3f} of a fixed quarter's (1.25), by {work_of / all_work:.3f} of the instructions (0.5)")


def count_rows(work):
    package, kernels = compile_model(work, "mod")
    definitions = texts(kernels)
    # Layers 1 to 4, of which 1 and 3 take 64 of the 512 rows.
    inside = sum(periods(call(work, package, "prefill", 512), definitions)[:4], [])
    kinds = {}
    for launch in inside:
        text = text_of(definitions, launch)
        kind, packed = re.search(r"kernel\.(\w+) ins", text)[1], "rows(" in text
        # What chooses the rows sees all of them.
        if kind in ("select", "gather", "rope_table") or (not packed and re.search(r"outs\(%\w+ : memref<\?x\?x1xf32>\)", text)):
            continue
        kinds.setdefault(kind, ([], []))[packed].append(launch)
    if not kinds.keys() >= {"matmul", "attention"}:
        sys.exit(f"only {', '.join(kinds)} in layers")
    for kind, (dense, packed) in kinds.items():
        most_stored, most_loaded = ROWS.get(kind, (0.125, 0.2))
        stored, loaded = stores(packed) / stores(dense), loads(packed) / loads(dense)
        check(stored <= most_stored and loaded <= most_loaded,
              f"{kind}: an eighth of the rows stores {stored:.4f} (allowed {most_stored}) and loads {loaded:.4f} (allowed {most_loaded}) of a dense layer's")
        if kind in FLOPS:
            multiplied = flops(packed) / flops(dense)
            check(multiplied <= FLOPS[kind], f"{kind}: an eighth of the rows multiplies {multiplied:.4f} (allowed {FLOPS[kind]}) of a dense layer's")


def count_towers(work):
    def layers(model, submodel="", modality=None):
        package, kernels = compile_model(work, model, submodel)
        launches = call(work, package, "prefill", 64, modality)
        return loads(sum(periods(launches, texts(kernels)), [])), weight_bytes(kernels, launches)

    dense, weights = layers("mot-dense")
    for modality in ("text", "image"):
        alone, tower = layers("mot", f"modalities={modality}")
        check(tower == weights and alone == dense, f"{modality} alone: layers read {alone} bytes, of {tower} of matrices in all; the dense twin's {dense}, {weights}")
    # Towers without rows are not read, but which rows there are.
    mixed, towers = layers("mot", modality=0)
    check(mixed <= MIXED * dense and towers > 2 * weights, f"three towers, of which one has rows: layers read {mixed} bytes, {mixed / dense:.3f} (allowed {MIXED}) of the dense twin's")


def count_copies(work, driver):
    log = work / "copies"
    for model in ("matlm", "mod", "mode", "mot"):
        package, _ = compile_model(work, model)
        vocabulary = json.loads((MODELS / model / "config.json").read_text())["vocab_size"]
        modality = []
        if model == "mot":
            np.save(work / "modality.npy", np.array([0, 1, 2, 0], np.int32))
            modality = ["--in", f"modality={work / 'modality.npy'}"]
        for options, copied in (([], 4), (["--temperature", "0.5"], 4 * vocabulary)):
            log.unlink(missing_ok=True)
            nestc("run", package, "--emulate", "--tokens", "3,5,7,9", *modality, "--generate", 4, *options, NEST_PTX_DRIVER=str(driver), NEST_TEST_COPIES=str(log))
            lines = log.read_text().split("\n")[:-1]
            # A prefill and three decodes, from the second on as a graph.
            check([line for line in lines if line != "graph 0"] == [f"host {copied}"] * 4 and "graph 0" in lines,
                  f"{model} {' '.join(options) or 'greedy'}: {', '.join(lines)}")


def main():
    counts = {"launches": count_launches, "widths": count_widths, "open": count_open, "rows": count_rows, "towers": count_towers, "copies": count_copies}
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("what", nargs="+", choices=counts)
    parser.add_argument("--driver")
    arguments = parser.parse_args()
    for what in arguments.what:
        counts[what](arguments.work, *([arguments.driver] if what == "copies" else []))
    if failures:
        sys.exit("\n".join(["more than allowed:", *failures]))


if __name__ == "__main__":
    main()
