// The pass test of nest-opt, through stock mlir-opt with either flag set.
// RUN: mlir-opt %S/../passes/nest-specialize.mlir --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(nest-specialize{submodel=layers.all.ffn=1/4})' | FileCheck %S/../passes/nest-specialize.mlir --check-prefixes=CHECK,QUARTER
// RUN: mlir-opt %S/../passes/nest-specialize.mlir --load-dialect-plugin=%plugin --load-pass-plugin=%plugin --pass-pipeline='builtin.module(nest-specialize{submodel=layers.all.ffn=1/2,skip=0})' | FileCheck %S/../passes/nest-specialize.mlir --check-prefix=SKIP
