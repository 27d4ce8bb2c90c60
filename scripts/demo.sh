#!/usr/bin/env bash
# The main job on real input: two submodels of the trained model in
# test/models/matlm become packages and write text.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

model=test/models/matlm
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for submodel in layers.all.ffn=1/4 layers.all.ffn=1/1; do
  package="$out/package"
  echo
  echo "== nestc compile $model --submodel $submodel"
  build/bin/nestc compile "$model" --submodel "$submodel" -o "$package"
  build/bin/nestc info "$package" | grep -E '^(submodel.spec|parameters|weight_bytes|macs)'
  build/bin/nestc bench "$package" --prefill 128 --decode 64
  echo "-- nestc run PKG --prompt 'The history of the computer' --generate 60 --temperature 0.7 --seed 2"
  build/bin/nestc run "$package" --prompt "The history of the computer" --generate 60 --temperature 0.7 --seed 2
done
