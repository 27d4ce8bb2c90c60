// Stock mlir-opt, given the plugin, takes a module that mixes nest, linalg and
// func to linalg; stock passes and mlir-runner, without the plugin, do the rest.
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(nest-specialize{submodel=skip=1},nest-drop-axes,convert-nest-to-linalg)' -o %t.linalg.mlir
// RUN: FileCheck %s --check-prefix=LINALG < %t.linalg.mlir
// RUN: mlir-opt %t.linalg.mlir --pass-pipeline='builtin.module(func.func(convert-elementwise-to-linalg),one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},func.func(convert-linalg-to-loops),expand-strided-metadata,lower-affine,convert-scf-to-cf,convert-math-to-llvm,convert-arith-to-llvm,convert-cf-to-llvm,finalize-memref-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts)' \
// RUN:   | mlir-runner -e main -entry-point-result=void -shared-libs=%shlibdir/libmlir_runner_utils.so,%shlibdir/libmlir_c_runner_utils.so | FileCheck %s

// Without the plugin the dialect is unknown, and the message says so.
// RUN: not mlir-opt %s 2>&1 | FileCheck %s --check-prefix=NOPLUGIN
// NOPLUGIN: Dialect `nest' not found for custom op 'nest.linear'

// LINALG-NOT: nest.{{linear|act|layer}}
// LINALG: linalg.add

// x = [1, 2]; w x = [3, -1.5, 2]; relu: a = [3, 0, 2]; layer 0: a * a =
// [9, 0, 4]; layer 1, which would double it, is skipped; plus a: [12, 0, 6].
// CHECK: [12, 0, 6]
module attributes {nest.model = {num_layers = 2 : i64}} {
  func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
  func.func @forward(%x: tensor<1x1x2xf32>) -> tensor<1x1x3xf32> {
    %w = arith.constant dense<[[1.0, 1.0], [0.5, -1.0], [2.0, 0.0]]> : tensor<3x2xf32>
    %h = nest.linear %x, %w : (tensor<1x1x2xf32>, tensor<3x2xf32>) -> tensor<1x1x3xf32>
    %a = nest.act relu %h : tensor<1x1x3xf32>
    %0 = nest.layer 0 (%a) : (tensor<1x1x3xf32>) -> (tensor<1x1x3xf32>) {
      %s = arith.mulf %a, %a : tensor<1x1x3xf32>
      nest.yield %s : tensor<1x1x3xf32>
    }
    %1 = nest.layer 1 (%0) : (tensor<1x1x3xf32>) -> (tensor<1x1x3xf32>) {
      %s = arith.addf %0, %0 : tensor<1x1x3xf32>
      nest.yield %s : tensor<1x1x3xf32>
    }
    %init = tensor.empty() : tensor<1x1x3xf32>
    %y = linalg.add ins(%1, %a : tensor<1x1x3xf32>, tensor<1x1x3xf32>) outs(%init : tensor<1x1x3xf32>) -> tensor<1x1x3xf32>
    return %y : tensor<1x1x3xf32>
  }
  func.func @main() {
    %x = arith.constant dense<[[[1.0, 2.0]]]> : tensor<1x1x2xf32>
    %y = call @forward(%x) : (tensor<1x1x2xf32>) -> tensor<1x1x3xf32>
    %u = tensor.cast %y : tensor<1x1x3xf32> to tensor<*xf32>
    call @printMemrefF32(%u) : (tensor<*xf32>) -> ()
    return
  }
}
