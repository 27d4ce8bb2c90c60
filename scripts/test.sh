#!/usr/bin/env bash
# All tests: formatting, clang-tidy (of what changed), unit tests, the lit suite.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

echo "== clang-format"
git ls-files '*.h' '*.cpp' '*.c' | xargs clang-format-22 --dry-run --Werror
echo "== clang-tidy"
scripts/tidy.py
echo "== unit tests"
ctest --test-dir build --output-on-failure -j2
echo "== lit"
cmake --build build --target check-lit
