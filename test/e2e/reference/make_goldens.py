#!/usr/bin/env python3
# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_goldens.py [CASE...]: writes the routed goldens, ../routed/CASE and ../routed/cases.json.

Every case is a tiny random checkpoint, run by model.py in float64.  Seeds are
searched, from one of the name, until no score is near its cut-off.  Needs NumPy.
What is in CASES is in checkpoints.py; cases.json lists every comparison:

  case, family, submodel    what to compile
  mode                      "prefill select", "prefill decode", "stepwise", "stepwise=N"
  dtype, tolerance          relative to the largest absolute logit of a row
  tokens, modality, logits  files; modality is null where there is none
  compared                  rows that may be compared (bool [B, T]), null for all
"""

import argparse
import json
import pathlib
import shutil

import numpy as np

import checkpoints
import files
import model

ROUTED = pathlib.Path(__file__).resolve().parent.parent / "routed"
TOLERANCE = {"f32": 1e-4, "bf16": 3e-2}
NEAR = {"f32": 1e-5, "bf16": 3e-2}
ROUNDED = {"f32": np.float32, "bf16": files.roundBf16}
APART = {"f32": 1e-4, "bf16": 0.1}  # what a seed has to keep between scores and cut-offs


def difference(a, b):
    return float((np.abs(a - b).max(-1) / np.abs(b).max(-1)).max())


class Unlucky(Exception):
    """Another seed, please."""


def varied(route, mode):
    """Whether the rows of this route should not all go one way."""
    kind = route.select if mode == "prefill select" else route.decodeRule
    constant = route.rank_on == "weight" and route.weight == "one"
    return kind in ("threshold", "predictor") and not route.dense and not constant and "=" not in mode


def calibrate(directory, tensors, case, inputs):
    """Scales every router, the first layer's first, so that its scores spread."""
    dtype = "BF16" if case["bf16"] else "F32"
    reference = model.load(directory)
    for n in reference.layers:
        if n not in reference.routes or n in case["fixed"]:
            continue
        router = reference.routerNames(n)[0]
        scores = []
        for row in inputs[0][0]:
            reference.sequence(row)
            scores.append(reference.seen[n])
        scores = np.concatenate(scores)
        factor = 1.6 / scores.std() if len(scores) > 1 else 1.0
        tensors[router + ".weight"] = tensors[router + ".weight"] * factor
        if router + ".bias" in tensors:
            tensors[router + ".bias"] = np.array([0.3 - factor * (scores.mean() - tensors[router + ".bias"][0])])
        files.writeTensors(directory / "model.safetensors", tensors, dtype)
        reference = model.load(directory)


def attempt(name, case, seed):
    """One checkpoint and its entries, or Unlucky."""
    directory = ROUTED / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    config, nest, tensors = checkpoints.build(case, rng)
    files.writeJson(directory / "config.json", config)
    if nest:
        files.writeJson(directory / "nest.json", nest)
    files.writeTensors(directory / "model.safetensors", tensors, "BF16" if case["bf16"] else "F32")
    inputs = checkpoints.inputs(case, config, rng)
    if case["routes"]:
        calibrate(directory, tensors, case, inputs)

    entries, known, smallest, rounding = [], [], np.inf, 0.0
    for submodel, modes, number in case["runs"]:
        tokens, modality = inputs[number]
        stem = f".{number}" if number else ""
        tokenFile = f"{name}/tokens{stem}.npy"
        np.save(ROUTED / tokenFile, tokens.astype(np.int32))
        modalityFile = None
        if modality is not None:
            modalityFile = f"{name}/modality{stem}.npy"
            np.save(ROUTED / modalityFile, modality.astype(np.int32))
        spec = nest.get("submodels", {}).get(submodel, submodel)
        results = {}
        for mode in modes:
            if mode.startswith("stepwise=") and int(mode[9:]) >= tokens.shape[1]:
                continue
            for dtype in ("f32", "bf16") if case["bf16"] else ("f32",):
                reference = model.load(directory, spec, near=NEAR[dtype])
                logits, compared, margin = reference.batch(tokens, mode, modality)
                if margin < APART[dtype]:
                    raise Unlucky(f"margin {margin:.2g}")
                if compared.mean() < 0.9:
                    raise Unlucky("too few rows")
                for n, (passed, of) in reference.passed.items():
                    if varied(reference.routes[n], mode) and of >= 12 and not 0 < passed < of:
                        raise Unlucky(f"{passed} of {of} rows pass in layer {n}")
                smallest = min(smallest, margin)
                results[mode] = logits
                rounded = model.load(directory, spec, rounded=ROUNDED[dtype]).batch(tokens, mode, modality)[0]
                error = difference(rounded, logits) / TOLERANCE[dtype]
                rounding = max(rounding, error)
                if error > 0.5:
                    raise Unlucky(f"rounding is {error:.2f} of the tolerance")
                # Equal logits are one file: the two ways to run causally, or what never differs.
                stored = next((f for f, v in known if v.shape == logits.shape and difference(v, logits) < 1e-10), None)
                if stored is None:
                    stored = f"{name}/logits.{len(known)}.npy" if known else f"{name}/logits.npy"
                    np.save(ROUTED / stored, logits.astype(np.float32))
                    known.append((stored, logits))
                mask = None
                if not compared.all():
                    mask = f"{name}/compared.{len(entries)}.npy"
                    np.save(ROUTED / mask, compared)
                entries.append({"case": name, "family": case["family"], "submodel": submodel, "mode": mode,
                                "dtype": dtype, "tolerance": TOLERANCE[dtype], "tokens": tokenFile,
                                "modality": modalityFile, "logits": stored, "compared": mask})
        # What equals what, whatever the model is.
        if "prefill decode" in results and "stepwise" in results:
            assert difference(results["prefill decode"], results["stepwise"]) < 1e-10, (name, submodel)
        topk = any(reference.routes[n].select == "topk" for n in reference.layers if n in reference.routes)
        if topk and not submodel and tokens.shape[1] >= 12 and len(results) > 1:
            if difference(results["prefill select"], results["stepwise"]) < 1e-2:
                raise Unlucky("both ways alike")
        for logits in results.values():
            assert np.isfinite(logits).all() and logits.std(-1).min() > 1e-2 * np.abs(logits).max(), name
            if tokens.shape[1] > 1:
                assert difference(logits[:, 1:], logits[:, :-1]) > 0.1, name

    # The case exercises what it is for: under the changed keys the logits are others.
    for change in case["without"]:
        effect = 0.0
        for mode in ("prefill select", "stepwise"):
            runs = []
            for said in ((config, nest), checkpoints.changed(config, nest, change)):
                runs.append(model.load(directory, said=said).batch(inputs[0][0], mode, inputs[0][1])[0])
            effect = max(effect, difference(*runs))
        if effect < 1e-2:
            raise Unlucky(f"no effect of {change}: {effect:.2g}")
    print(f"{name}: seed {seed}, {len(entries)} entries, {len(known)} files, margin {smallest:.2g}, "
          f"rounded operands use {rounding:.3f} of the tolerance", flush=True)
    return entries


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="only these; cases.json keeps the others")
    options = parser.parse_args()
    old = files.readJson(ROUTED / "cases.json").get("logits", [])
    entries = []
    for name, case in checkpoints.CASES.items():
        if options.cases and name not in options.cases:
            entries += [entry for entry in old if entry["case"] == name]
            continue
        start = sum(ord(c) * 31**i for i, c in enumerate(name)) % 2**31
        reasons = []
        for seed in range(start, start + 300):
            try:
                entries += attempt(name, case, seed)
                break
            except Unlucky as reason:
                reasons.append(str(reason))
        else:
            raise SystemExit(f"{name}: no seed; {reasons[-5:]}")
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    (ROUTED / "cases.json").write_text(f'{{"logits": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
