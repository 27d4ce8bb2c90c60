# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""olmo-errors.py DIR: imports DIR/ckpt with one change after the other to
DIR/config.json. Prints the errors."""

import json
import pathlib
import subprocess
import sys

work = pathlib.Path(sys.argv[1])
config = json.loads((work / "config.json").read_text())
for change in [
    {"block_type": "parallel"},
    {"block_group_size": 2},
    {"layer_norm_type": "amd_compatible"},
    {"layer_norm_type": "rms"},
    {"activation_type": "geglu"},
    {"clip_qkv": 8.0},
    {"scale_logits": True},
    {"rope_full_precision": False},
    {"rope": True},
    {"alibi_bias_max": -1},
    {"n_heads": 7},
    {"n_kv_heads": 2},
    {"embedding_size": 50},
    {"mlp_hidden_size": 97, "activation_type": "swiglu"},
    {"embedding_size": 120},
    {"multi_query_attention": False},
    {"weight_tying": False},
]:
    (work / "ckpt" / "config.json").write_text(json.dumps({**config, **change}))
    done = subprocess.run(["nestc", "import", work / "ckpt", "-o", work / "no.mlir"], capture_output=True, text=True)
    if done.returncode != 1 or (work / "no.mlir").exists():
        sys.exit(f"{change}: exit {done.returncode}")
    print(done.stderr, end="")
