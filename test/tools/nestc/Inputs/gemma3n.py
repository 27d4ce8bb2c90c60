# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""gemma3n.py MODELS GEMMA3N DIR: the published slices at full size, and what no slice may be."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from cases import Cases, edit_json, nestc

models, goldens, cases = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), Cases(sys.argv[3])
root, expect = cases.root, cases.expect
full = root / "e4b"
subprocess.run([sys.executable, models / "gemma3n-e4b" / "make_sparse.py", full], check=True)
table = models / "gemma3n-e4b" / "slices.csv"


def check(what, name):
    if not what:
        cases.failures.append(name)


# Every published row has the published size: exactly, and within 1 % of the rounded figure.
rows = json.loads((models / "gemma3n-e4b" / "expected.json").read_text())
for row in rows:
    # The name of two rows differs from their figure; it is no key.
    info = json.loads(nestc("info", full, "--slices", table, "--submodel", f"preset={row['name']}", "--json").stdout)
    found = info["parameters"]
    check(found["effective"] == row["effective"], f"{row['name']}: {found}")
    check(found["total"] == row["effective"] + row["embed_tokens"] + row["embed_tokens_per_layer"], f"{row['name']}: {found}")
    check(abs(found["effective"] / 1e9 - row["published_billions"]) < 0.01 * row["published_billions"], f"{row['name']}: {row['published_billions']} B")
check(len(rows) == 16, "16 slices")
info = json.loads(nestc("info", full, "--json").stdout)
check("vision and audio" in info["left_out"], "what is left out")

# The largest row that fits; parameters are counted as the table counts them.
plan = json.loads(expect(0, "{", "plan", full, "--budget", "params=2.5B", "--slices", table, "--json", "-o", "spec.json").stdout)
check(plan["chosen"]["preset"] == "Config for E2.49B (block-level)" and len(plan["frontier"]) == 16, f"plan: {plan['chosen']}")

# Linked, the package is code and offsets, whatever the size of the model.
row = "preset=Config for E3.18B (layer-level)"
expect(0, "", "compile", full, "--slices", table, "--submodel", row, "--weights", "link", "--max-length", "2048", "-q", "-o", "linked")
size = sum(file.stat().st_size for file in (root / "linked").iterdir())
check(size < 16 << 20, f"the linked package has {size} bytes")

# Donors are kept as long as a layer attends over their keys.
for skip, text in (
    ("18", "layer 18 is skipped, and layers 20-23+25-28+30-33 attend over its keys and values; keep layer 18, or skip these layers too"),
    ("19", "layer 19 is skipped, and layers 24+29+34 attend over its keys and values"),
    ("19-27", "layer 19 is skipped, and layers 29+34 attend"),
    ("12-15+17-27", "layer 18 is skipped, and layers 28+30-33 attend"),
):
    for words in (("info", full), ("compile", full, "-o", "no"), ("export", full, "-o", "no")):
        expect(1, text, *words, "--submodel", f"skip={skip}")
check(not (root / "no").exists(), "nothing is written")
nestc("info", full, "--submodel", "skip=18-34")

# Sparse layers have a statistic over their neurons.
expect(1, "submodel entry 'layers.all.ffn=1/2..full': a statistic runs over layers.0.ffn, so that no call can bind its width; a fixed width for layer 0", "compile", full, "--submodel", "layers.all.ffn=1/2..full", "-o", "no")

# Rows that are of no such model.
(root / "bad.csv").write_text('name,FFN Hidden Dims,Layers Skipped\nshort,"[' + ", ".join(["8_192"] * 34) + ']",\nwide,"[' + ", ".join(["20000"] * 35) + ']",\n')
expect(1, "bad.csv: line 2", "info", full, "--slices", "bad.csv", "--submodel", "preset=short")
expect(1, "20000", "info", full, "--slices", "bad.csv", "--submodel", "preset=wide")
expect(1, "did you mean Config for E3.18B (layer-level)?", "info", full, "--slices", table, "--submodel", "preset=Config for E3.18B (layerlevel)")

# Configs.
for key, value, text in (
    ("num_kv_shared_layers", 10, "config.json: num_kv_shared_layers: is 10 of 10 layers; fewer than there are layers"),
    ("layer_types", ["sliding_attention"] * 9, "config.json: layer_types: has 9 elements; one for each of num_hidden_layers (10) layers"),
    ("layer_types", ["sliding_attention"] * 9 + ["full_attention"], "config.json: num_kv_shared_layers: lets layer 9 attend over keys of a full_attention layer before layer 6, and there is none; a layer of every type in front of those that share"),
    ("layer_types", ["chunked_attention"] * 10, "legal: full_attention, sliding_attention"),
    ("intermediate_size", [64] * 9, "config.json: intermediate_size: has 9 elements"),
    ("activation_sparsity_pattern", [0.5] * 9, "config.json: activation_sparsity_pattern: has 9 elements"),
    ("activation_sparsity_pattern", [1.0] * 10, "is 1.0; a number from 0 to below 1"),
    ("altup_num_inputs", 17, "config.json: altup_num_inputs: is 17; 1 to 16"),
    ("altup_active_idx", 4, "config.json: altup_active_idx"),
    ("num_key_value_heads", 3, "a divisor of num_attention_heads (4)"),
    ("quantization_config", {"bits": 4}, "quantised checkpoints are not supported"),
    ("hidden_size_per_layer_input", 9, "per_layer_projection_norm.weight"),
    ("laurel_rank", 9, "laurel.linear_left.weight"),
    ("tie_word_embeddings", False, "the tensor lm_head.weight is missing"),
):
    source = cases.copy(goldens / "base")
    edit_json(source / "config.json", lambda config: config.update({key: value}))
    expect(1, text, "info", source)

# A list that names more layers than are left is what slicing tools leave behind.
source = cases.copy(goldens / "base")
edit_json(source / "config.json", lambda config: config.update(layer_types=config["layer_types"] + ["full_attention"] * 5))
done = expect(0, "", "info", source)
check("has 15 elements, of which the first are taken" in done.stderr.decode(), done.stderr)

shutil.rmtree(full)
cases.finish(33)
