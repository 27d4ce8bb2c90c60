# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One run of the emulator, and how its results are compared with a reference."""

import dataclasses
import json
import pathlib
import random
import subprocess

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
SCHEDULES = ("round-robin", "reverse", "random:1", "random:2")


@dataclasses.dataclass
class In:
    """A buffer that the kernel reads."""

    data: np.ndarray


@dataclasses.dataclass
class Out:
    """A buffer that is compared after the run.

    expected: what it holds, bit for bit; or a function of the buffer that returns
    what is wrong or None.  free: it may differ between schedules (the function still
    holds for each)."""

    data: np.ndarray
    expected: object
    free: bool = False


@dataclasses.dataclass
class Tensor:
    """A tensor map over an array whose first dimension is outermost, as cuTensorMapEncodeTiled
    makes it: a parameter by value.  box, steps: innermost first.  of: the number of
    the argument whose memory it is, instead of memory of its own.  dims, strides: when they
    are not those of the array.  expected: as of Out; without it the kernel only reads."""

    data: np.ndarray
    type: str
    box: tuple
    expected: object = None
    swizzle: str = "none"
    oob: str = "zero"
    steps: tuple = ()
    interleave: str = "none"
    of: object = None
    dims: tuple = ()
    strides: tuple = ()
    free: bool = False

    def describe(self, entry):
        """The launch file's words; entry: those of the memory."""
        dims = self.dims or self.data.shape[::-1]
        strides = self.strides or self.data.strides[::-1][1:]
        entry |= {"type": self.type, "dims": list(dims), "strides": list(strides), "box": list(self.box)}
        # What is not said is the default: both ways are tested.
        if self.steps:
            entry["elementStrides"] = list(self.steps)
        for key in ("swizzle", "oob", "interleave"):
            if getattr(self, key) not in ("none", "zero"):
                entry[key] = getattr(self, key)
        return {"tensormap": entry}


@dataclasses.dataclass
class Scalar:
    kind: str
    value: object


def i32(value):
    return Scalar("i32", int(value))


def i64(value):
    return Scalar("i64", int(value))


def f32(value):
    return Scalar("f32", float(value))


def struct(data):
    """A parameter that is a structure, or a scalar of another type: its bytes."""
    return Scalar("bytes", list(bytes(data)))


@dataclasses.dataclass
class Case:
    kernel: str
    arguments: list
    grid: tuple = (1, 1, 1)
    block: tuple = (32, 1, 1)
    shared: int = 0
    ptx: tuple = ()
    name: str = ""


def is_output(argument):
    return isinstance(argument, Out) or isinstance(argument, Tensor) and argument.expected is not None


def launch(case, work):
    """Writes the buffers and the launch file; returns the launch as a dictionary."""
    work.mkdir(parents=True, exist_ok=True)
    args = []
    for number, argument in enumerate(case.arguments):
        if isinstance(argument, Scalar):
            args.append({argument.kind: argument.value})
            continue
        if isinstance(argument, Tensor) and argument.of is not None:
            args.append(argument.describe({"of": argument.of}))
            continue
        np.save(work / f"{number}.npy", np.ascontiguousarray(argument.data))
        entry = {"buffer": f"{number}.npy"}
        if is_output(argument):
            entry["out"] = f"{number}.out.npy"
        args.append(argument.describe(entry) if isinstance(argument, Tensor) else entry)
    pad = lambda size: [*size, *[1] * (3 - len(size))]
    return {
        "kernel": case.kernel,
        "grid": pad(case.grid),
        "block": pad(case.block),
        "shared": case.shared,
        "args": args,
    }


def emulate(ptx, description, work, *flags):
    """Runs the emulator; returns (exit status, stdout, stderr)."""
    (work / "launch.json").write_text(json.dumps(description))
    command = ["ptx-emulator", ptx, "--launch", work / "launch.json", *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def raw(array):
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def mismatch(got, expected):
    if callable(expected):
        return expected(got)
    expected = np.asarray(expected)
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return f"is {got.dtype}{got.shape}, should be {expected.dtype}{expected.shape}"
    wrong = np.argwhere(raw(got) != raw(expected))
    if not len(wrong):
        return None
    at = tuple(wrong[0])
    return f"{len(wrong)} of {got.size} differ, first {list(map(int, at))}: {got[at]!r}, should be {expected[at]!r}"


@dataclasses.dataclass
class Complaint:
    where: str
    what: str
    status: int = 0
    error: str = ""

    def __str__(self):
        return f"{self.where}: {self.what}"


def check(case, ptx, work, schedules=SCHEDULES, *flags):
    """Runs a case under the schedules; returns a list of complaints."""
    description = launch(case, work)
    complaints, first = [], {}
    for schedule in schedules:
        where = f"{ptx.name} {case.kernel} {case.name} {schedule}"
        for number, argument in enumerate(case.arguments):
            (work / f"{number}.out.npy").unlink(missing_ok=True)
        status, _, error = emulate(ptx, description, work, "--schedule", schedule, *flags)
        if status or error:
            complaints.append(Complaint(where, f"exit {status}: {error.strip()}", status, error))
            break
        for number, argument in enumerate(case.arguments):
            if not is_output(argument):
                continue
            got = np.load(work / f"{number}.out.npy")
            wrong = mismatch(got, argument.expected)
            if wrong:
                complaints.append(Complaint(where, f"argument {number}: {wrong}"))
            before = first.setdefault(number, got)
            if not argument.free and raw(before).tobytes() != raw(got).tobytes():
                complaints.append(Complaint(where, f"argument {number} differs from {schedules[0]}"))
        if complaints:
            break
    return complaints


def table(kernel, operations, inputs, dtype, operands=None, **rest):
    """A kernel of PUTs: row j of the result is operation j of the inputs, element by
    element, computed with Python's numbers.  operations: name -> function, which
    returns an integer, which is wrapped to the width of the result, or a function that
    says whether the bits of the result will do.  operands: what the functions see when
    that is not the inputs."""
    count = len(inputs[0])
    names = list(operations)
    mask = (1 << 8 * np.dtype(dtype).itemsize) - 1
    operands = operands or [x.tolist() for x in inputs]
    want = [[f(*row) for row in zip(*operands)] for f in operations.values()]
    unsigned = np.dtype(f"u{np.dtype(dtype).itemsize}")

    def compare(got):
        bits = raw(got).reshape(len(names), count)
        for name, row, wanted in zip(names, bits.tolist(), want):
            for i, (g, w) in enumerate(zip(row, wanted)):
                if not (w(g) if callable(w) else g == w & mask):
                    operand = ", ".join(f"{x.dtype} {raw(x)[i]:#x}" for x in inputs)
                    shown = "is not allowed" if callable(w) else f"should be {w & mask:#x}"
                    return f"{name} of {operand}: {g:#x}, {shown}"
        return None

    out = np.zeros((len(names), count), unsigned).view(dtype)
    block = 64
    return Case(
        kernel,
        [*[In(x) for x in inputs], Out(out, compare), i32(count)],
        grid=(-(-count // block),),
        block=(block,),
        **rest,
    )


def integers(seed, dtype, count):
    """Corner cases among random numbers of all magnitudes."""
    dtype = np.dtype(dtype)
    width = 8 * dtype.itemsize
    draw = random.Random(seed)
    top = 1 << (width - 1)
    corners = [0, 1, 2, 3, 2 * top - 1, 2 * top - 2, top, top - 1, top + 1]
    values = [
        draw.choice(corners) if draw.random() < 0.25 else draw.getrandbits(width) >> draw.randrange(width)
        for _ in range(count)
    ]
    return np.array(values, f"u{dtype.itemsize}").view(dtype)
