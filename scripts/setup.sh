#!/usr/bin/env bash
# Everything that building and testing nestc needs on Debian 12: system packages,
# a private Python environment in .venv, and a release build in build/.
# Runs again at no cost. Usage: scripts/setup.sh [--no-build]
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  ca-certificates git cmake ninja-build ccache
  clang-22 lld-22 libclang-rt-22-dev clang-format-22 clang-tidy-22
  llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools
  libomp-22-dev libstdc++-12-dev zlib1g-dev
  nlohmann-json3-dev libgtest-dev
  python3 python3-venv
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' ||
    missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
      echo "error: not root and no sudo; as root run: apt-get install ${missing[*]}" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  unknown=()
  for package in "${missing[@]}"; do
    apt-cache show "$package" >/dev/null 2>&1 || unknown+=("$package")
  done
  if [ "${#unknown[@]}" -gt 0 ]; then
    # Debian 12 has LLVM 22 in its security archive, which a minimal system lacks.
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$' || echo MIRROR/debian)
    {
      echo "error: apt: has no ${unknown[*]}; LLVM 22 for Debian 12 is in the suite bookworm-security."
      echo "Add this line to /etc/apt/sources.list (or the archive that your system should use), and run again:"
      echo "deb ${archive%/}-security bookworm-security main"
    } >&2
    exit 1
  fi
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
fi

# Tests need NumPy and nothing else of Python.
if ! .venv/bin/python3 -c 'import numpy' 2>/dev/null; then
  /usr/bin/python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check 'numpy>=1.24,<3'
fi

# Tests that count the instructions of GPU code need ptxas of this release, which
# decides what they count, and nvdisasm, of any release that reads its output.
release=13.0
has() { # PROGRAM RELEASE: where tests look, which is where findPtxas() looks
  local program
  for program in "${CUDA_HOME:-}/bin/$1" "${CUDA_PATH:-}/bin/$1" "$(command -v "$1" || true)" \
    "${VIRTUAL_ENV:-}"/lib/python3*/site-packages/nvidia/*/bin/"$1" \
    .venv/lib/python3*/site-packages/nvidia/*/bin/"$1"; do
    if [ -x "$program" ] && "$program" --version | grep -q "release $2"; then
      return 0
    fi
  done
  return 1
}
if ! { has ptxas "$release" && has nvdisasm 13; }; then
  # There is no nvdisasm of 13.0 as a package.
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps "nvidia-cuda-nvcc==$release.*" \
    "nvidia-nvvm==$release.*" "nvidia-cuda-crt==$release.*" 'nvidia-cuda-nvdisasm==13.2.*' ||
    echo "note: pip has no ptxas $release and nvdisasm; tests that count instructions of GPU code will be skipped" >&2
fi

[ "${1:-}" = "--no-build" ] && exit 0
[ -f build/build.ninja ] || cmake --preset release >/dev/null
cmake --build build
