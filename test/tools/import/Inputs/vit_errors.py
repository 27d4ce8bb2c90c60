# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vit_errors.py CKPT DIR: configs of a vision transformer that do not fit are
errors of one line, exit 1, that say what is legal."""

import json
import pathlib
import shutil
import subprocess
import sys

source, work = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
ABSENT = object()
CASES = [
    ({"image_size": 8}, "config.json asks for [1, 5, 32]"),
    ({"image_size": [12, 20, 3]}, "has 3 elements; one size, or a list of height and width"),
    ({"image_size": 3}, "patch_size: is larger than image_size"),
    ({"patch_size": 0}, "patch_size: "),
    ({"num_channels": 1}, "projection.weight"),
    ({"num_attention_heads": 5}, "no multiple of num_attention_heads (5)"),
    ({"hidden_act": "quick"}, 'the activation "quick" is not supported'),
    ({"id2label": ABSENT}, "config.json asks for [2, 32], that is [number of labels, hidden_size]"),
    ({"qkv_bias": False}, "is not part of the model"),
    ({"intermediate_size": [64, 64]}, "one for each of the 3 layers"),
    ({"quantization_config": {}}, "quantised checkpoints are not supported"),
    ({"num_hidden_layers": 4}, "vit.encoder.layer.3.layernorm_before.weight is missing"),
]
failed = False
for changes, message in CASES:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work)
    config = json.loads((work / "config.json").read_text())
    config.update(changes)
    (work / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ABSENT}))
    done = subprocess.run(["nestc", "info", work], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    if done.returncode != 1 or len(lines) != 1 or message not in lines[0]:
        print(f"{list(changes)}: exit {done.returncode}, not '{message}': {done.stderr}")
        failed = True
sys.exit(failed)
