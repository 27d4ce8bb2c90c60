# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpoint directories in NumPy: safetensors, JSON, the text of a submodel."""

import json
import math
import pathlib
import struct

import numpy as np

TYPES = {"F32": np.float32, "F64": np.float64}


def roundBf16(x):
    """To the nearest bfloat16, ties to even; finite values only."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return (bits << 16).astype(np.uint32).view(np.float32)


def writeTensors(path, tensors, dtype="F32"):
    header, parts, end = {}, [], 0
    for name, value in sorted(tensors.items()):
        value = np.ascontiguousarray(value, dtype=np.float32)
        if dtype == "BF16":
            value16 = (roundBf16(value).view(np.uint32) >> 16).astype(np.uint16)
            data = value16.tobytes()
        else:
            data = value.tobytes()
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [end, end + len(data)]}
        parts.append(data)
        end += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def readTensors(path):
    """All tensors in float64."""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        raw = body[slice(*info["data_offsets"])]
        if info["dtype"] == "BF16":
            value = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            value = np.frombuffer(raw, TYPES[info["dtype"]])
        tensors[name] = value.reshape(info["shape"]).astype(np.float64)
    return tensors


def readJson(path):
    path = pathlib.Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def writeJson(path, value):
    pathlib.Path(path).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def layersOf(selector, count):
    """The layers that `all`, `odd`, `3`, `0-2` or `0+2-3` names."""
    if selector in ("all", "*"):
        return set(range(count))
    if selector in ("odd", "even"):
        return set(range(selector == "odd", count, 2))
    layers = set()
    for part in selector.split("+"):
        first, _, last = part.partition("-")
        layers |= set(range(int(first), int(last or first) + 1))
    return layers


def rowsOf(text):
    """A capacity in a submodel's text: with a slash a rational, else a count."""
    return text if "/" in text else "1" if text == "full" else int(text)


def widthOf(text, full):
    if text == "full":
        return full
    if "/" not in text:
        return int(text)
    top, bottom = map(int, text.split("/"))
    assert full * top % bottom == 0, f"{text} of {full}"
    return math.floor(full * top / bottom)
