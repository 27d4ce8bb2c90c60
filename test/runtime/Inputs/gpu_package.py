"""gpu_package.py OUT CC: a package for sm_80 of test/unit/runtime/FakeGpu.{c,ptx}, with no compiler of ours."""

import hashlib
import json
import pathlib
import struct
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[3]
FAKE = SOURCE / "test/unit/runtime"
V, C = 16, 32

out, cc = pathlib.Path(sys.argv[1]), sys.argv[2]
out.mkdir(parents=True)
subprocess.run([*cc.split(), "-shared", "-fPIC", f"-I{SOURCE}/lowering/runtime/include", FAKE / "FakeGpu.c",
                "-o", out / "code.so"], check=True)
(out / "code.ptx").write_bytes((FAKE / "FakeGpu.ptx").read_bytes())

bias = [v / 64 for v in range(V)]
table = [x for v in range(V) for x in (-v / 64, 100.0)]  # column 1 lies between the rows
header = json.dumps({"bias": {"dtype": "F32", "shape": [V], "data_offsets": [0, 4 * V]},
                     "table": {"dtype": "F32", "shape": [V, 2], "data_offsets": [4 * V, 12 * V]}}).encode()
header += b" " * (-len(header) % 64 + 56)
data = struct.pack("<Q", len(header)) + header + struct.pack(f"<{3 * V}f", *bias, *table)
(out / "weights.safetensors").write_bytes(data)


def sha256(name):
    return hashlib.sha256((out / name).read_bytes()).hexdigest()


def buffer(name, dtype, shape, **more):
    return {"name": name, "dtype": dtype, "shape": shape, **more}


def entry(name, rows, out_rows):
    return {
        "name": name, "symbol": f"nest_entry_{name}", "dims": ["B"] + (["T"] if rows == "T" else []),
        "inputs": [buffer("tokens", "i32", ["B", rows]), buffer("positions", "i32", ["B", rows]),
                   buffer("lengths", "i32", ["B"]), buffer("layers.0.k", "f32", ["B", 2, C, 4], cache=True),
                   buffer("layers.0.length", "i32", ["B"], cache=True)],
        "outputs": [buffer("logits", "f32", ["B", out_rows, V])],
        "weights": [0, 1], "arena": {"per_row": 64, "per_sequence": 8, "fixed": 16}, "scratch": 0,
    }


start = 8 + len(header)
manifest = {
    "format": 1, "abi": 2, "producer": "nestc test", "target": "sm_80", "cpu": {"level": "x86-64", "features": []},
    "model": {"family": "fake", "model_type": "fake", "vocab_size": V, "max_length": C, "eos_token_ids": [],
              "dtype": "f32", "num_layers": 1},
    "submodel": {"name": "default", "spec": ""}, "parameters": {"total": 3 * V, "effective": 3 * V},
    "weight_bytes": 12 * V, "macs_per_token": 1,
    "code": {"file": "code.so", "sha256": sha256("code.so")},
    "device": {"ptx": {"file": "code.ptx", "sha256": sha256("code.ptx")},
               "kernels": ["count", "append", "logits", "wide", "fault"]},
    "files": [{"path": "weights.safetensors", "bytes": len(data)}],
    "weights": [{"name": "bias", "file": 0, "offset": start, "dtype": "f32", "shape": [V]},
                {"name": "table", "file": 0, "offset": start + 4 * V, "dtype": "f32", "shape": [V, 1],
                 "row_stride": 2}],
    "entries": [entry("prefill", "T", 1), entry("verify", "T", "T"), entry("decode", 1, 1),
                entry("fault", "T", 1)],
}
(out / "manifest.json").write_text(json.dumps(manifest))
