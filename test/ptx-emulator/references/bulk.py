# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bulk copies.  A box of a tensor lies in shared memory row after row, its 16-byte
chunks moved within 32, 64 or 128 bytes by address bits from 7 on."""

import itertools

import numpy as np
from exact import BF16, F16, F32, F64, add, decode, encode, flushed, larger, smaller
from harness import Case, In, Out, Tensor, i32, integers

BYTES = {
    "u8": 1, "u16": 2, "u32": 4, "i32": 4, "u64": 8, "i64": 8, "f16": 2, "bf16": 2, "f32": 4, "f64": 8,
    "f32ftz": 4, "tf32": 4, "tf32ftz": 4,
}  # fmt: skip
PATTERN = np.uint32(0x01010101)


def swizzled(address, swizzle):
    """Where a byte of shared memory is."""
    bits = {"none": 0, "32B": 1, "64B": 3, "128B": 7}[swizzle]
    return address ^ (address >> 7 & bits) << 4


def elements(box, steps):
    """Elements of a box: (place in it, steps from its corner), innermost first."""
    counts = [-(-extent // step) for extent, step in zip(box, steps)]
    for place, index in enumerate(itertools.product(*map(range, reversed(counts)))):
        yield place, [i * step for i, step in zip(reversed(index), steps)]


def inside(data, coordinates, steps):
    """The index of an element in a tensor whose first dimension is outermost, or None."""
    at = tuple(c + s for c, s in zip(coordinates, steps))[::-1]
    return at if all(0 <= i < extent for i, extent in zip(at, data.shape)) else None


def box_bytes(kind, box, steps):
    return BYTES[kind] * int(np.prod([-(-extent // step) for extent, step in zip(box, steps)]))


def load(data, kind, box, coordinates, offset=0, swizzle="none", oob="zero", steps=None, pitch=0, name=""):
    """A case: data is the whole tensor; pitch: elements of padding after each row of it."""
    rank, steps = data.ndim, steps or (1,) * data.ndim
    size = BYTES[kind]
    total = box_bytes(kind, box, steps)
    words = (offset + total + 256) // 4
    tile = (np.arange(words, dtype=np.uint32) * PATTERN).view(np.uint8)
    empty = np.zeros(tile.shape, bool)
    for place, step in elements(box, steps):
        at = inside(data, coordinates, step)
        to = swizzled(offset + place * size, swizzle)
        tile[to : to + size] = np.frombuffer(data[at].tobytes(), np.uint8) if at else 0
        empty[to] = not at
    memory = np.zeros((*data.shape[:-1], data.shape[-1] + pitch), data.dtype)
    memory[..., : data.shape[-1]] = data
    memory[..., data.shape[-1] :] = integers(9, f"u{size}", 1).view(data.dtype)[0]
    map = Tensor(memory, kind, box, None, swizzle, oob, steps if max(steps) > 1 else (), dims=data.shape[::-1])
    expected = tile.view(np.uint32)

    def with_nan(got):
        """Every element outside is a NaN, whose bits are open."""
        bytes = got.view(np.uint8).copy()
        form = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64}[kind]
        for at in np.flatnonzero(empty):
            bits = int.from_bytes(bytes[at : at + size].tobytes(), "little")
            if decode(bits, form).kind != "nan":
                return f"byte {at}: {bits:#x} is no NaN"
            bytes[at : at + size] = 0
        wrong = np.flatnonzero(bytes != tile)
        return f"{len(wrong)} bytes differ, first {wrong[0]}" if len(wrong) else None

    out = Out(np.zeros(words, np.uint32), with_nan if oob == "nan" else expected)
    more = [*coordinates, 0, 0, 0, 0][:5]
    arguments = [map, out, i32(offset), i32(words), i32(total), *map_i32(more)]
    return Case(f"load_{rank}d", arguments, block=(64,), shared=4 * words, name=name or f"{kind} {box} {coordinates}")


def map_i32(values):
    return [i32(value) for value in values]


def store(data, kind, box, coordinates, offset=0, swizzle="none", pitch=0, reduce=None, kernel="", name=""):
    """reduce: a function of the bits in memory and those of the box."""
    size, rank, steps = BYTES[kind], data.ndim, (1,) * data.ndim
    total = box_bytes(kind, box, steps)
    words = (offset + total) // 4
    tile = integers(7, np.uint32, words)
    if reduce:
        # Numbers of the kind, not any bits.
        chosen = np.resize(data.reshape(-1)[::-1], total // size)
        tile[offset // 4 :] = np.ascontiguousarray(chosen).view(np.uint32)
    bytes = tile.view(np.uint8)
    memory = np.zeros((*data.shape[:-1], data.shape[-1] + pitch), data.dtype)
    memory[..., : data.shape[-1]] = data
    after = memory.copy()
    for place, step in elements(box, steps):
        at = inside(data, coordinates, step)
        if at:
            origin = swizzled(offset + place * size, swizzle)
            value = bytes[origin : origin + size].view(data.dtype)[0]
            after[at] = reduce(after[at], value) if reduce else value
    map = Tensor(memory, kind, box, after, swizzle, dims=data.shape[::-1])
    if kernel:
        arguments = [map, In(tile), i32(words), *map_i32(coordinates)]
    else:
        more = [*coordinates, 0, 0, 0, 0][:5]
        arguments = [map, In(tile), i32(offset), i32(words), *map_i32(more)]
    kernel = kernel or f"{'reduce' if reduce else 'store'}_{rank}d"
    return Case(kernel, arguments, block=(64,), shared=4 * words, name=name or f"{kind} {box} {coordinates} {swizzle}")


# Reductions: functions of bits.
def wrapped(function, bits, signed):
    def apply(x, y):
        x, y = int(x), int(y)
        return np.array([function(x, y) & (1 << bits) - 1], f"u{bits // 8}").view(f"{'i' if signed else 'u'}{bits // 8}")[0]

    return apply


def floating(function, form):
    def apply(x, y):
        x, y = int(x), int(y)
        if form is F32:
            # Sums of f32 in global memory flush subnormals.
            x, y = flushed(x, form), flushed(y, form)
        bits = encode(function(decode(x, form), decode(y, form)), form)
        bits = flushed(bits, form) if form is F32 else bits
        return np.array([bits], f"u{form.width // 8}")[0]

    return apply


def reductions():
    """(name, type of the bits, function)."""
    whole = {
        "add": lambda x, y: x + y, "min": min, "max": max, "and": lambda x, y: x & y, "or": lambda x, y: x | y,
        "xor": lambda x, y: x ^ y, "inc": lambda x, y: 0 if x >= y else x + 1,
        "dec": lambda x, y: y if x == 0 or x > y else x - 1,
    }  # fmt: skip
    for op, kinds in (
        ("add", "u32 s32 u64"), ("min", "u32 s32 u64 s64"), ("max", "u32 s32 u64 s64"), ("inc", "u32"), ("dec", "u32"),
        ("and", "b32 b64"), ("or", "b32 b64"), ("xor", "b32 b64"),
    ):  # fmt: skip
        for kind in kinds.split():
            bits, signed = int(kind[1:]), kind[0] == "s"
            yield f"{op}_{kind}", f"{'i' if signed else 'u'}{bits // 8}", wrapped(whole[op], bits, signed)
    for op, function in (("add", add), ("min", smaller), ("max", larger)):
        for kind, form in (("f16", F16), ("bf16", BF16), ("f32", F32), ("f64", F64)):
            if op == "add" or form.width == 16:
                yield f"{op}_{kind}", f"u{form.width // 8}", floating(function, form)


FORMS = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64}


def numbers(kind, dtype, count, seed, whole=False):
    """Bits: integers of all sizes; floats near one, or small integers."""
    if kind not in FORMS:
        values = integers(seed, dtype, count)
        return values % np.dtype(dtype).type(9) if whole else values
    draw = np.random.default_rng(seed)
    values = draw.integers(-9, 10, count) if whole else draw.normal(0, 2, count) * 2.0 ** draw.integers(-3, 4, count)
    if kind == "bf16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(f"f{FORMS[kind].width // 8}").view(dtype)


def reduction(name, dtype, function, grid, seed):
    """One block and any numbers; or several, whose order must not matter."""
    kind, words, size = name.split("_")[1], 64, np.dtype(dtype).itemsize
    count = words * 4 // size
    same = name[:3] in ("inc", "dec")
    whole = grid > 1 and kind in FORMS or same
    sources = 1 if same else grid
    a = numbers(kind, dtype, count * sources, seed, whole)
    if same:
        a += 1
    before = numbers(kind, dtype, count, seed + 1, whole)
    if kind in FORMS and grid == 1:
        # Subnormals, and sums that are.
        low = 1 << FORMS[kind].fraction
        a[:4], before[:4] = [1, low - 1, low + 1, low - 1], [low // 2, 1, low | 1 << FORMS[kind].width - 1, 0]
    after = before.copy()
    for block in range(grid):
        row = a[: count] if same else a[block * count : (block + 1) * count]
        after = np.array([function(x, y) for x, y in zip(after, row)], dtype)
    out = Out(before.view(np.uint32), after.view(np.uint32))
    arguments = [In(a.view(np.uint32)), out, i32(words), i32(0 if same else words)]
    return Case(f"reduce_{name}", arguments, grid=(grid,), block=(32,), shared=4 * words, name=f"{grid} blocks")


def pieces_case(kernel, seed):
    """Pieces of many sizes that do not touch each other where they go."""
    draw = np.random.default_rng(seed)
    words, at, pieces = 2048, 0, []
    for size in (16, 32, 48, 16, 256, 1024, 2000, 144, 4096 - 2 * 544):
        at += 16 * int(draw.integers(0, 3))
        pieces.append((at, 16 * int(draw.integers(0, 100)), size))
        at += size
    a = integers(seed, np.uint8, 4 * words)
    expected = (np.arange(words, dtype=np.uint32) * PATTERN).view(np.uint8).copy()
    for to, origin, size in pieces:
        expected[to : to + size] = a[origin : origin + size]
    table = np.array(pieces, np.uint32)
    before = (np.arange(words, dtype=np.uint32) * PATTERN).view(np.uint8)
    expected = expected.view(np.uint32)
    out = Out(np.zeros_like(expected) if kernel == "load" else before.copy(), expected)
    if kernel == "store":
        a, out.expected = a.view(np.uint32), expected.view(np.uint8)
    return Case(kernel, [In(a), out, In(table), i32(len(pieces)), i32(words)], block=(96,), shared=4 * words)


def tensors():
    """Loads and stores of boxes."""
    any = lambda kind, *shape: integers(len(shape), f"u{BYTES[kind]}", int(np.prod(shape))).reshape(shape)
    line = any("u32", 100)
    for x in (0, 13, -5, 90, 200, -64):
        yield load(line, "u32", (64,), (x,), name=f"at {x}")
        yield store(line, "u32", (64,), (x,), name=f"at {x}")
    for kind in BYTES:
        wide = 64 // BYTES[kind]
        data = any(kind, 12, 2 * wide) if kind[0] in "ui" else numbers(
            {"f32ftz": "f32", "tf32": "f32", "tf32ftz": "f32"}.get(kind, kind), f"u{BYTES[kind]}", 24 * wide, 5, True
        ).reshape(12, 2 * wide)
        yield load(data, kind, (wide, 5), (wide // 2, 3))
        yield store(data, kind, (wide, 5), (wide // 2, 3))
    # Over each edge and each corner.
    matrix = any("u16", 20, 40)
    for x, y in itertools.product((-7, 3, 30), (-3, 6, 15)):
        yield load(matrix, "u16", (16, 8), (x, y))
        yield store(matrix, "u16", (16, 8), (x, y))
    yield load(matrix[:, :37], "u16", (48, 24), (-5, -2), pitch=3, name="around the whole, padded rows")
    yield store(matrix[:, :37], "u16", (48, 24), (-5, -2), pitch=3, name="around the whole, padded rows")
    for kind in FORMS:
        wide = 32 // BYTES[kind]
        data = numbers(kind, f"u{BYTES[kind]}", 10 * wide, 3).reshape(5, 2 * wide)
        yield load(data, kind, (wide, 4), (-1, 3), oob="nan", name=f"{kind} NaN outside")
        yield load(data, kind, (wide, 2), (1, 2), oob="nan", name=f"{kind} NaN, nothing outside")
    # Swizzles at every alignment that they allow, over edges too.
    for swizzle, span in (("32B", 32), ("64B", 64), ("128B", 128)):
        data = any("u16", 40, 96)
        for offset in (0, 128, 512, 1024, 1408):
            box, at = (span // 2, 17), (11 - offset // 128, offset // 256 - 2)
            yield load(data, "u16", box, at, offset, swizzle, name=f"{swizzle} at {offset}")
            yield store(data, "u16", box, at, offset, swizzle, name=f"{swizzle} at {offset}")
        bytes = any("u8", 9, 256)
        yield load(bytes, "u8", (span, 9), (32, 0), 0, swizzle, name=f"{swizzle} of bytes")
        yield load(any("u64", 9, 4, 32), "u64", (span // 8, 4, 3), (3, 2, 1), 0, swizzle, name=f"{swizzle} of 3d")
    # Every rank, over edges.
    for rank, shape, box, at in (
        (3, (5, 6, 16), (8, 3, 4), (4, -1, 3)),
        (4, (3, 4, 5, 16), (8, 2, 3, 2), (12, 3, -1, 2)),
        (5, (3, 2, 4, 3, 8), (8, 2, 3, 2, 2), (-2, 1, 2, 1, -1)),
        (5, (2, 3, 2, 5, 24), (16, 2, 2, 3, 1), (3, 2, 0, 0, 1)),
    ):
        yield load(any("u16", *shape), "u16", box, at)
        yield store(any("u16", *shape), "u16", box, at)
        yield load(any("u32", *shape), "u32", box, at)
    # Steps beyond one take every second row.
    yield load(any("u16", 30, 40), "u16", (16, 8), (3, 4), steps=(1, 2), name="every second row")
    yield load(any("u16", 30, 40), "u16", (16, 10), (3, -4), steps=(1, 3), name="every third row, some before")
    yield load(any("u32", 7, 20, 16), "u32", (8, 12, 5), (4, 12, 2), steps=(1, 5, 2), name="steps in two dimensions")
    # Reductions take what is inside.
    for rank, shape, box, at in (
        (1, (70,), (32,), (50,)), (2, (9, 24), (16, 6), (-4, 5)), (3, (3, 5, 8), (8, 3, 2), (4, -1, 2)),
        (4, (2, 3, 4, 8), (4, 2, 2, 2), (6, 3, -1, 0)), (5, (2, 2, 3, 3, 8), (4, 2, 2, 2, 1), (-1, 2, -1, 0, 1)),
    ):  # fmt: skip
        yield store(any("u32", *shape), "u32", box, at, reduce=wrapped(lambda x, y: x + y, 32, False))
    functions = {name: function for name, _, function in reductions()}
    for kind, bits in (("u64", "u64"), ("i32", "s32"), ("f16", "f16"), ("bf16", "bf16"), ("f32", "f32"), ("f64", "f64")):
        dtype = {"i32": "i4"}.get(kind, f"u{BYTES[kind]}")
        data = numbers(kind, dtype, 16 * 16, 6).reshape(16, 16)
        box = (16 // BYTES[kind] * 2, 4)
        yield store(data, kind, box, (-1, 13), reduce=functions[f"add_{bits}"], name=f"add {kind}")
    for op in ("min", "max", "inc", "dec", "and", "or", "xor"):
        for kind in ("u32", "i32", "u64", "f16") if op in ("min", "max") else ("u32",):
            bits = {"i32": "s32"}.get(kind, kind) if op not in ("and", "or", "xor") else "b32"
            dtype = {"i32": "i4"}.get(kind, f"u{BYTES[kind]}")
            data = numbers(kind, dtype, 16 * 16, 8, op in ("inc", "dec")).reshape(16, 16)
            function = functions[f"{op}_{bits}"]
            yield store(data, kind, (8, 5), (9, -2), reduce=function, kernel=f"tensor_{op}", name=f"{op} {kind}")


def cases():
    def case(kernel, inputs, expected, block, *rest):
        return Case(kernel, [*map(In, inputs), Out(np.zeros_like(expected), expected), *rest], block=(block,))

    t, low = np.arange(64), np.uint32
    yield pieces_case("load", 1)
    yield pieces_case("store", 2)
    a = integers(3, np.uint32, 1024)
    row = np.arange(32)
    yield case("rows", [a], np.ascontiguousarray(a.reshape(32, 32)[row ^ 3].T), 64)
    for n in (1, 3, 14):
        a, sum = integers(n, np.uint32, 64 * n), np.zeros(64, np.uint32)
        for piece in a.reshape(n, 64):
            sum = sum * low(3) + piece[::-1]
        yield case("stream", [a], sum, 96, i32(n))
    a = integers(4, np.uint32, 256)
    yield case("stored_before", [a[:64]], a[63 - t] * low(3) + (63 - t).astype(low), 64)
    yield case("groups", [a], np.append(a, [a[0] + a[191], a[255]]), 64)
    yield case("round_trip", [a[:64], a[64:128]], np.tile(a[:32], 2), 64)
    yield case("within", [a[:128]], np.concatenate([a[63 - t], a[t] + a[t + 64]]), 64)
    for seed, (name, dtype, function) in enumerate(reductions()):
        yield reduction(name, dtype, function, 1, 10 * seed)
        yield reduction(name, dtype, function, 3, 10 * seed + 5)
    yield from tensors()
    matrix = integers(5, np.uint32, 44 * 36).reshape(36, 44)
    maps = [Tensor(matrix, "u32", (16, 16)), Tensor(np.zeros((44, 36), np.uint32), "u32", (16, 16), matrix.T.copy())]
    yield Case("transpose", maps, grid=(3, 3), block=(64,))
    matrix = integers(6, np.uint32, 64 * 9).reshape(9, 64)
    maps = [Tensor(matrix, "u32", (64, 1)), Tensor(np.zeros_like(matrix), "u32", (64, 1), matrix[::-1].copy())]
    yield Case("move", [*maps, i32(9)], block=(32,))
    box = matrix[:4, :16].copy()
    arguments = [Tensor(box, "u32", (16, 4)), In(a[:64]), Out(np.zeros(64, low), a[:64] + low(3) * box.reshape(-1)[::-1])]
    yield Case("hints", arguments, block=(64,))
