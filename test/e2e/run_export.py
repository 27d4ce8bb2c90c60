#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_export.py FAMILY WORKDIR [CASE | --all]: submodels as checkpoints of their own.

For submodels that goldens/ (FAMILY llama) or routed/ has logits for (without
--all a choice of them, at least one of every checkpoint): export them, then
- its tensors are the slices that NumPy cuts of the source's, bit for bit, under
  the names of the layers and towers that are left, in the types stored,
- compiled as the full model it is, its logits agree with the reference as those
  of run_case.py and run_routed.py do,
- and are those of the submodel's package, bit for bit.
Prints a line for each family; exit 1 when something failed.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np

E2E = pathlib.Path(__file__).parent
TYPES = {"F32": np.uint32, "BF16": np.uint16, "F16": np.uint16}
MODES = {"prefill select": [], "prefill decode": ["--prefill", "decode"], "stepwise": ["--stepwise"]}


def nestc(*words):
    done = subprocess.run(["nestc", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nestc {' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def read_file(path):
    """Tensors of a safetensors file as the bits of their elements."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, info in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            first, last = (8 + size + at for at in info["data_offsets"])
            tensors[name] = info["dtype"], np.frombuffer(data[first:last], TYPES[info["dtype"]]).reshape(info["shape"])
    return tensors


def read_tensors(directory):
    """Tensors of a checkpoint."""
    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors.update(read_file(path))
    return tensors


def layers_of(selector, count):
    """Layers that a selector means."""
    every = {"all": range(count), "odd": range(1, count, 2), "even": range(0, count, 2)}
    if selector in every:
        return list(every[selector])
    layers = []
    for part in selector.split("+"):
        first, _, last = part.partition("-")
        layers += range(int(first), int(last or first) + 1)
    return layers


def read_spec(spec, sizes):
    """Widths of all layers, and those that are skipped."""
    widths, skipped = list(sizes), []
    for entry in filter(None, spec.split(",")):
        key, value = entry.split("=")
        if key == "skip":
            skipped = layers_of(value, len(sizes))
        elif match := re.fullmatch(r"layers\.(.*)\.ffn", key):
            for layer in layers_of(match[1], len(sizes)):
                widths[layer] = sizes[layer] if value == "full" else int(Fraction(value) * (sizes[layer] if "/" in value else 1))
    return widths, skipped


def cut(tensors, family, widths, skipped, towers):
    """What an export of `tensors` has to hold."""
    prefix = {"mod-gpt": "transformer.h.", "mot": "layers."}.get(family, "model.layers.")
    kept = [layer for layer in range(len(widths)) if layer not in skipped]
    wanted = {}
    for name, (kind, bits) in tensors.items():
        if "inv_freq" in name:
            continue
        if match := re.fullmatch(re.escape(prefix) + r"(\d+)(\..*)", name):
            layer = int(match[1])
            if layer in skipped:
                continue
            if re.search(r"\.(gate_proj|up_proj|c_fc|w1|w3)\.", name):
                bits = bits[: widths[layer]]
            elif re.search(r"\.(down_proj|w2)\.weight|mlp\.c_proj\.weight", name):
                bits = bits[:, : widths[layer]]
            name = f"{prefix}{kept.index(layer)}{match[2]}"
        tower = re.fullmatch(r"(norm\.|.*\.local_experts(?:_\w+)?\.)(\d+)(\..*)", name) if family == "mot" else None
        if tower:
            if int(tower[2]) not in towers:
                continue
            name = f"{tower[1]}{towers.index(int(tower[2]))}{tower[3]}"
        wanted[name] = kind, bits
    return wanted


def compare_tensors(actual, wanted):
    problems = [f"{name} is missing" for name in wanted.keys() - actual.keys()] + [f"{name} is there" for name in actual.keys() - wanted.keys()]
    for name in wanted.keys() & actual.keys():
        if actual[name][0] != wanted[name][0] or not np.array_equal(actual[name][1], wanted[name][1]):
            problems.append(f"{name} has other elements")
    return problems


def check(source, family, submodel, entries, work):
    """Exports one submodel; gives what is wrong and the largest difference."""
    config = json.loads((source / "config.json").read_text())
    nest = json.loads((source / "nest.json").read_text()) if (source / "nest.json").exists() else {}
    spec = nest.get("submodels", {}).get(submodel, submodel)
    depth = {"mod-gpt": "n_layer", "mot": "n_layers"}.get(family, "num_hidden_layers")
    width = {"mod-gpt": "n_inner", "mot": "hidden_dim"}.get(family, "intermediate_size")
    sizes = [config.get(width) or 4 * config["n_embd"]] * config[depth]
    widths, skipped = read_spec(spec, sizes)

    exported = work / "exported"
    shutil.rmtree(exported, ignore_errors=True)
    try:
        nestc("export", source, "--submodel", submodel, "-q", "-o", exported)
    except RuntimeError as error:
        # A GPT without routed layers is no checkpoint that anything reads.
        if family == "mod-gpt" and "no routed layer would be left" in str(error):
            return [], 0.0
        raise
    modalities = nest.get("modalities", {}).get("names", [])
    chosen = re.search(r"modalities=([^,]*)", spec)
    left = chosen[1].split("+") if chosen else modalities
    towers = sorted({nest["modalities"]["tower"][name] for name in left}) if modalities else []
    problems = compare_tensors(read_tensors(exported), cut(read_tensors(source), family, widths, skipped, towers))
    new = json.loads((exported / "config.json").read_text())
    kept = [layer for layer in range(len(widths)) if layer not in skipped]
    if new[depth] != len(kept):
        problems.append(f"{depth} is {new[depth]}")
    one = len({widths[layer] for layer in kept}) == 1
    if new.get(width) != (widths[kept[0]] if one else [widths[layer] for layer in kept]) and (width in config or widths != sizes):
        problems.append(f"{width} is {new.get(width)}")
    changed = {key for key in config.keys() | new.keys() if config.get(key) != new.get(key)}
    if unexpected := changed - {depth, width, "layer_types", "max_window_layers", "moe_layers"}:
        problems.append(f"config.json differs in {unexpected}")

    worst = 0.0
    dtype = entries[0]["dtype"]
    nestc("compile", exported, "--dtype", dtype, "-q", "-o", work / "whole")
    nestc("compile", source, "--submodel", submodel, "--dtype", dtype, "-q", "-o", work / "sliced")
    for entry in entries:
        root = E2E / ("goldens" if family == "llama" else "routed")
        options = MODES.get(entry.get("mode", "prefill select"), ["--" + entry.get("mode", "")])
        logits = {}
        for package in ("whole", "sliced"):
            modality = []
            if entry.get("modality"):
                values = np.load(root / entry["modality"])
                if package == "whole":
                    values = np.array([left.index(name) if name in left else -1 for name in modalities], np.int32)[values]
                np.save(work / "modality.npy", values)
                modality = ["--in", f"modality={work / 'modality.npy'}"]
            nestc("run", work / package, "--tokens", root / entry["tokens"], *modality, "--logits", work / "logits.npy", *options)
            logits[package] = np.load(work / "logits.npy")
        if not np.array_equal(logits["whole"], logits["sliced"]):
            problems.append(f"{entry.get('mode', '')}: the export differs from the submodel's package by {np.abs(logits['whole'] - logits['sliced']).max():.2e}")
        actual = logits["whole"].astype(np.float64)
        reference = np.load(root / entry["logits"]).astype(np.float64).reshape(actual.shape)
        error = np.abs(actual - reference).max(-1) / np.abs(reference).max(-1)
        if entry.get("compared"):
            error = error[np.load(root / entry["compared"]).reshape(error.shape)]
        worst = max(worst, float(error.max()) / entry["tolerance"])
        if not error.max() <= entry["tolerance"]:
            problems.append(f"{entry.get('mode', '')}: {error.max():.2e} from the reference")
    return problems, worst


def main():
    family, work = sys.argv[1], pathlib.Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    root = E2E / ("goldens" if family == "llama" else "routed")
    groups = {}
    for entry in json.loads((root / "cases.json").read_text())["logits"]:
        if entry["submodel"] and entry.get("family", "llama") == family and sys.argv[3:] in ([], ["--all"], [entry["case"]]):
            groups.setdefault((entry["case"], entry["submodel"]), []).append(entry)
    if not sys.argv[3:]:
        # A llama has the same three submodels in every checkpoint, and others one
        # for each layer that is left alone: a different one of each checkpoint.
        alike = {}
        for case, submodel in groups:
            if family == "llama" or re.fullmatch(r"skip=[\d+]+", submodel):
                alike.setdefault(case, []).append(submodel)
        for number, (case, submodels) in enumerate(alike.items()):
            for submodel in submodels:
                if submodel != submodels[number % len(submodels)]:
                    del groups[case, submodel]
    failed, worst = 0, 0.0
    for (case, submodel), entries in groups.items():
        problems, error = check(root / case, family, submodel, entries, work)
        worst = max(worst, error)
        for problem in problems[:5]:
            print(f"{case} {submodel}: {problem}")
        failed += bool(problems)
    print(f"{family}: {len(groups)} submodels, {failed} failed, largest difference {worst:.1%} of what is allowed")
    sys.exit(1 if failed or not groups else 0)


if __name__ == "__main__":
    main()
