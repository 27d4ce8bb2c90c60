# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""outputs.py GOLDENS DIR: where outputs may go, and what a failure or a signal
leaves behind."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from cases import Cases, nestc

goldens, cases = Path(sys.argv[1]), Cases(sys.argv[2])
root = cases.root
ckpt = cases.copy(goldens / "qwen3")
short = ("--max-length", "16")


def check(what, name):
    if not what:
        cases.failures.append(name)


# A package or a file is exchanged, anything else refused before long work.
(root / "mine").mkdir()
(root / "mine" / "precious").write_text("x")
(root / "file").write_text("x")
cases.expect(1, "mine: is a directory that nestc did not make", "compile", ckpt, "-o", "mine")
cases.expect(1, "mine: is a directory", "import", ckpt, "-o", "mine")
cases.expect(1, "does not exist", "compile", ckpt, "-o", "no/out")
cases.expect(1, "does not exist", "import", ckpt, "-o", "no/out.mlir")
cases.expect(1, "does not exist", "compile", ckpt, "--emit", "llvm", "-o", "no/out.mlir")
cases.expect(1, ".: ", "compile", ckpt, "-o", ".")
cases.expect(1, "is no file or directory", "compile", ckpt, "-o", "/dev/null")
cases.expect(0, "", "compile", ckpt, *short, "-o", "file")
check((root / "file" / "manifest.json").is_file(), "a file is exchanged")
inode = (root / "file").stat().st_ino
cases.expect(0, "", "compile", ckpt, "--submodel", "quarter", *short, "-o", "file/")
check((root / "file").stat().st_ino != inode, "a package is exchanged")
cases.expect(0, '"name": "quarter"', "info", "file", "--json")
os.symlink("file", root / "link")
cases.expect(0, "", "compile", ckpt, *short, "-o", "link")
check((root / "link").is_symlink(), "a link stays one")
check((root / "mine" / "precious").read_text() == "x", "a directory of the user")

# The input is never an output.
before = {path: path.read_bytes() for path in ckpt.iterdir()}
for path in sorted(before):
    if path.suffix != ".npy":
        cases.expect(1, "is part of the input", "import", ckpt, "-o", path)
        cases.expect(1, "is part of the input", "compile", ckpt, "-o", path)
cases.expect(1, "is part of the input", "compile", ckpt, "-o", ckpt)
cases.expect(1, "is part of the input", "import", ckpt, "-o", "ckpt/../ckpt/config.json")
cases.expect(1, "is part of the input", "compile", ckpt, "-o", root)
check(before == {path: path.read_bytes() for path in ckpt.iterdir()}, "the checkpoint is unchanged")
cases.expect(0, "", "import", ckpt, "-o", "ckpt/model.mlir")
cases.expect(0, "", "import", ckpt, "-o", "ckpt/model.mlir")

# No room: a full device, and files that may not grow.
cases.expect(1, "/dev/full: cannot be written", "import", ckpt, "-o", "/dev/full")
cases.expect(1, "/dev/full: cannot be written", "run", "file", "--tokens", "1", "--logits", "/dev/full")


def limit(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


cases.expect(1, "free space on the disk", "import", ckpt, "-o", "x.mlir", preexec_fn=limit(4096))
for size in (0, 4096, 65536):  # code, code, weights
    cases.expect(1, "new", "compile", ckpt, *short, "-o", "new", preexec_fn=limit(size), name=f"package, {size} bytes a file")
cases.expect(1, "free space on the disk", "run", "file", "--tokens", "1,2,3", "--logits", "x.npy", preexec_fn=limit(1100))
cases.expect(1, "file", "compile", ckpt, *short, "-o", "file", preexec_fn=limit(65536), name="over a package")
cases.expect(0, "", "run", "file", "--tokens", "1", "--generate", "1", name="the old package runs")
with open("/dev/full", "w") as full:
    done = subprocess.run(["nestc", "info", root / "file"], stdout=full, stderr=subprocess.PIPE)
    check(done.returncode == 1 and b"error: " in done.stderr, f"info into a full device: {done}")
    done = subprocess.run(["nestc", "run", root / "file", "--tokens", "1", "--generate", "2"], stdout=full, stderr=subprocess.PIPE)
    check(done.returncode == 1 and b"error: " in done.stderr, f"text into a full device: {done}")


# Descriptors that are closed are not taken by files.
def close(*fds):
    return lambda: [os.close(fd) for fd in fds]


for fds in ((2,), (1, 2), (0, 1, 2)):
    done = subprocess.run(["nestc", "compile", ckpt, "--max-length", "99", "-o", root / "closed"], preexec_fn=close(*fds))
    check(done.returncode == 0, f"compile without descriptors {fds}")
    cases.expect(0, "", "run", "closed", "--tokens", "1", "--generate", "1")
done = subprocess.run(["nestc", "info", root / "file"], stderr=subprocess.DEVNULL, preexec_fn=close(1))
check(done.returncode == 1, f"info without stdout: {done}")

# A directory that cannot be written; root may write anywhere.
if os.geteuid() != 0:
    locked = root / "locked"
    locked.mkdir(mode=0o555)
    cases.expect(1, "a path with permission", "compile", ckpt, "-o", "locked/out")
    cases.expect(1, "a path with permission", "import", ckpt, "-o", "locked/out.mlir")


def isThere(pattern):
    try:
        return any(root.glob(pattern))
    except FileNotFoundError:  # moved into place while it was listed
        return False


def start(when, sign):
    """Compiles; the signal comes as soon as a temporary `when` is there."""
    process = subprocess.Popen(["nestc", "compile", ckpt, *short, "-o", root / "signal"], stderr=subprocess.DEVNULL, cwd=root)
    until = time.time() + 20
    while time.time() < until and process.poll() is None and not isThere(when):
        time.sleep(0.0005)
    process.send_signal(sign)
    return process.wait()


def leftovers():
    return [path.name for path in root.iterdir() if path.name.startswith(".")]


# A signal is the end, a crash is reported as the defect that it is. It may come
# too late: then the package is whole.
for sign, code in (*((sign, -sign) for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), (signal.SIGSEGV, 70), (signal.SIGABRT, 70)):
    for when in (".signal.*", ".signal.*/*", ".signal.*/weights*"):
        ended = start(when, sign)
        check(ended in (code, 0), f"{sign} ends with {ended}")
        check(not leftovers(), f"{sign} leaves {leftovers()}")
        if (root / "signal").exists():
            cases.expect(0, "", "run", "signal", "--tokens", "1", "--generate", "1", name=f"the package after {sign}")
            subprocess.run(["rm", "-r", root / "signal"])
for _ in range(20):
    if start(".signal.*/*", signal.SIGKILL) == -signal.SIGKILL and leftovers():
        break
check(leftovers(), "SIGKILL left nothing, so nothing was tested")
cases.expect(0, "", "compile", ckpt, *short, "-o", "signal")
check(not leftovers(), f"after SIGKILL the next run leaves {leftovers()}")
cases.finish(31)
