# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""plan.py GOLDENS ROUTED MATLM DIR: submodels that fit a budget."""

import json
import os
import sys
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

from cases import Cases, edit_json, nestc

goldens, routed, matlm, cases = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), Cases(sys.argv[4])
root, expect = cases.root, cases.expect
qwen = cases.copy(goldens / "qwen3")
FIGURES = {"params": lambda point: point["parameters"]["total"], "bytes": lambda point: point["weight_bytes"], "macs": lambda point: point["macs_per_token"]}


def check(what, name):
    if not what:
        cases.failures.append(name)


def plan(source, budget, *words):
    return json.loads(expect(0, "{", "plan", source, "--budget", budget, "--json", "-o", "spec.json", *words).stdout)


def info(source, spec):
    return json.loads(nestc("info", source, "--submodel", spec, "--json", cwd=root).stdout)


# Words.
for words, text in (
    ((qwen, "-o", "s.json"), "there is no budget"), ((qwen, "--budget", "params=1M"), "there is no output"), (("--budget", "params=1M", "-o", "s.json"), "there is no CKPT"),
    ((qwen, "--budget", "params=1M", "-o", "s"), "does not end in .json"), ((qwen, "--budget", "params=1M", "-o", "s.json", "--svg", "s.json"), "is the same file as -o"),
    ((qwen, "--budget", "params=1M", "--budget", "macs=1M", "-o", "s.json"), "is given twice"), ((qwen, "--bugdet", "params=1M", "-o", "s.json"), "did you mean --budget?"),
):
    expect(2, text, "plan", *words)
for value, text in (
    ("params", "is no budget"), ("param=1M", "did you mean params?"), ("=1M", "is no budget"), ("weights=1M", "legal are params=2.5B"), ("params=", "is no amount"), ("params=-1", "is no amount"), ("params=x", "is no amount"),
    ("params=1.M", "is no amount"), ("params=.5M", "is no amount"), ("params=1.5.5M", "is no amount"), ("params=1m", "is no amount"), ("params=1G", "is no amount"), ("params=1Gi", "a unit of K, M, B, or none"), ("macs=1Mi", "is no amount"),
    ("bytes=1T", "K, M, B, Ki, Mi, Gi, or none"), ("params=1 M", "is no amount"), ("params=1e6", "is no amount"),
):
    expect(2, text, "plan", qwen, "--budget", value, "-o", "s.json")
for value in ("params=99999999999999999999", "params=9999999999B", "bytes=9223372036854775807.9Gi"):
    expect(1, "is too large", "plan", qwen, "--budget", value, "-o", "s.json")

# A slicing table: its rows are what there is to choose from, and presets of every command.
(root / "t.csv").write_text('name,# Layers,FFN Hidden Dims,Layers Skipped\nMain model,4,"[104, 104, 104, 104]",\n"Narrow, no first",3,"[13 * 2, 5_2, 26]",[0]\nDeep,4,"[13, 13, 13, 104]",\n')
for name, widths, skip, spec in (("Narrow, no first", [104, 26, 52, 26], [0], "layers.1+3.ffn=26,layers.2.ffn=52,skip=0"), ("Deep", [13, 13, 13, 104], None, "layers.0-2.ffn=13,layers.3.ffn=full"), ("Main model", [104] * 4, None, "layers.all.ffn=104")):
    row = json.loads(expect(0, "{", "info", qwen, "--submodel", f"preset={name}", "--slices", "t.csv", "--json").stdout)
    same = info(qwen, spec)
    check(all(row[key] == same[key] for key in ("parameters", "weight_bytes", "macs_per_token")), f"figures of the slice {name}")
    found = json.loads(expect(0, "{", "plan", qwen, "--budget", f"macs={same['macs_per_token']}", "--slices", "t.csv", "--json", "--svg", "s.svg", "-o", "spec.json").stdout)
    check(found["chosen"]["preset"] == name and found["chosen"]["macs_per_token"] == same["macs_per_token"] and len(found["frontier"]) == 3, f"the slice that fits {found}")
    check(json.loads((root / "spec.json").read_text()) == {"widths": widths, **({"skip": skip} if skip else {})}, f"the file of the slice {name}")
    check(info(qwen, "spec.json")["macs_per_token"] == same["macs_per_token"], f"figures of the file of {name}")
    ElementTree.parse(root / "s.svg")
expect(0, "", "compile", qwen, "--submodel", "few:preset=Narrow, no first", "--slices", "t.csv", "-o", "few")
expect(0, "submodel.name: few", "info", "few")
expect(0, "", "export", qwen, "--submodel", "preset=Narrow, no first", "--slices", "t.csv", "-o", "sliced")
check(json.loads((root / "sliced" / "config.json").read_text())["intermediate_size"] == [26, 52, 26], "widths of an exported slice")
expect(1, "t.csv: there is no slice 'Depe' (did you mean Deep?)", "info", qwen, "--submodel", "preset=Depe", "--slices", "t.csv")
expect(1, "x.csv: ", "plan", qwen, "--budget", "params=1M", "--slices", "x.csv", "-o", "s.json")
(root / "wide.csv").write_text('name,FFN Hidden Dims,Layers Skipped\nwide,"[104, 105, 104, 104]",\n')
expect(1, "wide.csv: ", "info", qwen, "--submodel", "preset=wide", "--slices", "wide.csv")
expect(1, "wide.csv: line 2: ", "plan", qwen, "--budget", "params=1M", "--slices", "wide.csv", "-o", "s.json")
expect(1, "a budget of at least that", "plan", qwen, "--budget", "params=1", "--slices", "t.csv", "-o", "s.json")
expect(1, "is not there", "plan", "nothing", "--budget", "params=1M", "-o", "s.json")
expect(1, "is part of the input", "plan", qwen, "--budget", "params=1M", "-o", qwen / "nest.json")
expect(1, "is part of the input", "plan", qwen, "--budget", "params=1M", "-o", "s.json", "--svg", qwen / "config.json")
expect(1, "does not exist", "plan", qwen, "--budget", "params=1M", "-o", "no/s.json")
expect(1, "does not exist", "plan", qwen, "--budget", "params=1M", "-o", "s.json", "--svg", "no/s.svg")

# What cannot fit says what would; a checkpoint without levels what to write.
smallest = info(qwen, "layers.all.ffn=1/8")
for key, figure in FIGURES.items():
    expect(1, f"has {figure(smallest)} ", "plan", qwen, "--budget", f"{key}={figure(smallest) - 1}", "-o", "s.json")
    expect(1, "a budget of at least that", "plan", qwen, "--budget", f"{key}=0", "-o", "s.json")
    check(plan(qwen, f"{key}={figure(smallest)}")["chosen"]["widths"] == [13] * 4, f"the smallest by {key}")
plain = cases.copy(goldens / "qwen3", "plain")
edit_json(plain / "nest.json", lambda n: n.pop("axes") and None)
expect(1, 'no layer has two trained levels to choose from; name those that the model was trained at in nest.json: {"format": 1', "plan", plain, "--budget", "params=1M", "-o", "s.json")
(plain / "nest.json").unlink()
expect(1, "no layer has two trained levels", "plan", plain, "--budget", "params=1M", "-o", "s.json")


def frontier_of(levels, layers):
    """All that rise with depth by two neighbouring levels at most, by size."""
    rising = [choice for choice in product(range(len(levels)), repeat=layers) if list(choice) == sorted(choice) and choice[-1] - choice[0] <= 1]
    return sorted([[levels[level] for level in choice] for choice in rising], key=sum)


# The frontier is the rule's; each figure is that of info; the largest that fits is chosen.
result = plan(qwen, "params=1M")
check([point["widths"] for point in result["frontier"]] == frontier_of([13, 26, 52, 104], 4), "the frontier")
check(result["budget"] == {"params": 1000000} and result["chosen"]["widths"] == [104] * 4, "a budget that all fits")
full = info(qwen, "layers.all.ffn=full")
for point in [*result["frontier"][::3], result["chosen"], {**result["full"], "submodel": "layers.all.ffn=full"}]:
    same = info(qwen, point["submodel"])
    check(all(point[key] == same[key] for key in ("parameters", "weight_bytes", "macs_per_token")), f"figures of {point['submodel']}")
for key, figure in FIGURES.items():
    for index in (0, 1, 5, 11, 12):
        limit = figure(result["frontier"][index])
        for extra in (0, 1):
            chosen = plan(qwen, f"{key}={limit + extra}")
            check(chosen["chosen"]["widths"] == result["frontier"][index]["widths"], f"{key}={limit + extra} chooses {chosen['chosen']['widths']}")
            check([point["fits"] for point in chosen["frontier"]] == [figure(point) <= limit + extra for point in chosen["frontier"]], f"what fits {key}={limit + extra}")
            check(json.loads((root / "spec.json").read_text()) == {"widths": chosen["chosen"]["widths"]}, "spec.json")
    same = info(qwen, "spec.json")
    check(figure(same) == limit, f"spec.json means another submodel: {figure(same)}, not {limit}")
for text, number in (("90K", 90000), ("0.09M", 90000), ("0.0900019M", 90001), ("90000.99", 90000), ("0.1B", 100000000)):
    check(plan(qwen, "params=" + text)["budget"]["params"] == number, f"params={text}")
for text, number in (("300Ki", 307200), ("0.5Mi", 524288), ("0.001Gi", 1073741), ("1M", 1000000), ("1.00000000000000000009M", 1000000)):
    check(plan(qwen, "bytes=" + text)["budget"]["bytes"] == number, f"bytes={text}")

# Text: budget, before, after.
text = expect(0, "budget: 90000 parameters\n", "plan", qwen, "--budget", "params=90K", "-o", "spec.json").stdout.decode().splitlines()
check(text[1].split() == ["params", "effective", "bytes", "macs", "submodel"] and len(text) == 3 + len(result["frontier"]), "the table")
check(text[2].split()[:4] == [str(full["parameters"]["total"]), str(full["parameters"]["effective"]), str(full["weight_bytes"]), str(full["macs_per_token"])], "the full model's line")
marked = [line for line in text if line.startswith("*")]
check(len(marked) == 1 and marked[0].split()[-1] == plan(qwen, "params=90K")["chosen"]["submodel"], f"the chosen line {marked}")

# Levels that differ from layer to layer; a layer without a choice keeps its width.
mixed = cases.copy(goldens / "qwen3", "mixed")
edit_json(mixed / "nest.json", lambda n: n.update(axes={"layers.0.ffn": {"levels": ["1/2", "1"]}, "layers.1+3.ffn": {"levels": [13, "1/2", "1"]}}, submodels={}))
widths = [point["widths"] for point in plan(mixed, "params=1B")["frontier"]]
check(widths == [[52, 13, 104, 13], [52, 13, 104, 52], [52, 52, 104, 52], [52, 52, 104, 104], [52, 104, 104, 104], [104, 104, 104, 104]], f"uneven levels {widths}")
edit_json(mixed / "nest.json", lambda n: n.update(axes={"layers.all.ffn": {"levels": ["1/8", "1/2"]}}))
check(plan(mixed, "params=1B")["chosen"]["widths"] == [52] * 4, "a full width that was not trained")

# Every family that nests.
for source in (routed / "mod-widths", routed / "mot-widths", routed / "gpt-bias", routed / "mode-zero-top2", matlm):
    result = plan(source, "macs=1B") if (source / "nest.json").exists() and "axes" in json.loads((source / "nest.json").read_text()) else None
    if result is None:
        expect(1, "no layer has two trained levels", "plan", source, "--budget", "macs=1B", "-o", "s.json")
        continue
    for point in (result["frontier"][0], result["frontier"][len(result["frontier"]) // 2]):
        same = info(source, point["submodel"])
        check(all(point[key] == same[key] for key in ("parameters", "weight_bytes", "macs_per_token")), f"figures of {source.name} {point['submodel']}")
    costs = [(point["parameters"]["total"], point["weight_bytes"], point["macs_per_token"]) for point in result["frontier"]]
    check(costs == sorted(costs) and len(set(costs)) == len(costs), f"costs of {source.name} do not rise")

# The picture: a cell for each layer, a bar for each submodel, one of them chosen.
odd = cases.copy(goldens / "qwen3", "a<b & 'c'")
plan(odd, "params=70K", "--svg", "plan.svg")
picture = ElementTree.parse(root / "plan.svg").getroot()
name = "{http://www.w3.org/2000/svg}"
check(picture.tag == name + "svg" and len(picture.findall(name + "rect")) == 1 + 13 * 5 and len(picture.findall(name + "line")) == 1, "what the picture holds")
check(len([bar for bar in picture.findall(name + "rect") if bar.get("fill") == "#d55e00"]) == 5, "the chosen line of the picture")
check("a<b & 'c'" in picture.find(name + "title").text, "the title of the picture")
plan(qwen, "params=1B", "--svg", "all.svg")
check(not ElementTree.parse(root / "all.svg").getroot().findall(name + "line"), "a budget beyond the picture")

# Outputs are exchanged whole; a full device is an error.
(root / "spec.json").write_text("old")
expect(0, "", "plan", qwen, "--budget", "params=1M", "-o", "spec.json")
check(json.loads((root / "spec.json").read_text()) == {"widths": [104] * 4}, "spec.json is replaced")
expect(1, "/dev/full: cannot be written", "plan", qwen, "--budget", "params=1M", "-o", "none.json", "--svg", "/dev/full")
os.symlink("/dev/full", root / "full.json")
expect(1, "full.json: cannot be written", "plan", qwen, "--budget", "params=1M", "-o", "full.json")
cases.finish(99)
