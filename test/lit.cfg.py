# The lit suite: IR tests with FileCheck, command lines, end-to-end numerics.
import os
import sys

import lit.formats

config.name = "nestc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.nest_build_dir, "test")
config.excludes = ["unit", "models", "bench", "goldens", "Inputs"]

path = [config.nest_tools_dir, config.llvm_tools_dir, os.environ.get("PATH", "")]
config.environment["PATH"] = os.path.pathsep.join(path)
config.environment["FILECHECK_OPTS"] = "-enable-var-scope --dump-input-filter=error"
config.environment["OMP_NUM_THREADS"] = "2"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TMPDIR", "NEST_PTXAS", "CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV"):
    if name in os.environ:
        config.environment[name] = os.environ[name]

# What ptxas makes of kernels is counted where there is one of the right release.
sys.path.insert(0, config.test_source_root)
import toolkit  # noqa: E402

missing = [why for _, why in map(toolkit.find, toolkit.RELEASES) if why]
if missing:
    lit_config.note("tests that need ptxas are skipped: " + "; ".join(missing))
else:
    config.available_features.add("ptxas")

if config.sanitize:
    config.available_features.add("sanitize")
    config.host_cc += " -fsanitize=address,undefined"

config.substitutions.append(("%shlibdir", config.llvm_lib_dir))
config.substitutions.append(("%plugin", config.nest_plugin))
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%cc", config.host_cc))
config.substitutions.append(("%cxx", config.host_cxx))
config.substitutions.append(("%nestlib", config.nest_lib_dir))
config.substitutions.append(("%build", config.nest_build_dir))
config.substitutions.append(("%source", config.nest_source_dir))
config.substitutions.append(("%goldens", os.path.join(config.test_source_root, "e2e", "goldens")))
config.substitutions.append(("%models", os.path.join(config.test_source_root, "models")))
config.substitutions.append(("%e2e", os.path.join(config.test_source_root, "e2e")))
