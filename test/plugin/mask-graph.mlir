// A masked block of `nest`, MatViT's form, gives the same numbers with slices
// as with the mask, through the stock passes.
// DEFINE: %{run} = mlir-opt --pass-pipeline='builtin.module(canonicalize,cse,func.func(convert-elementwise-to-linalg),one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},func.func(convert-linalg-to-loops),expand-strided-metadata,lower-affine,convert-scf-to-cf,convert-math-to-llvm,convert-math-to-libm,convert-arith-to-llvm,convert-cf-to-llvm,finalize-memref-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts)' \
// DEFINE:   | mlir-runner -e main -entry-point-result=void -shared-libs=%shlibdir/libmlir_runner_utils.so,%shlibdir/libmlir_c_runner_utils.so
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(convert-nest-to-linalg)' | %{run} | FileCheck %s
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(nest-mask-to-slice)' -o %t.sliced.mlir
// RUN: FileCheck %s --check-prefix=SLICED < %t.sliced.mlir
// RUN: mlir-opt %t.sliced.mlir --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(convert-nest-to-linalg)' | %{run} | FileCheck %s

// SLICED: nest.linear %{{.*}} : (tensor<1x2x3xf32>, tensor<2x3xf32>, tensor<2xf32>) -> tensor<1x2x2xf32>
// SLICED: nest.act relu2 %{{.*}} : tensor<1x2x2xf32>
// SLICED: nest.linear %{{.*}} : (tensor<1x2x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>

// relu2 of [1, 3.5] and [-1, 0] is [1, 12.25] and [0, 0]; times w2, plus b2.
// CHECK: {{\[\[\[}}2, 25.5, 14.25],
// CHECK-NEXT: [1, 1, 1]{{\]\]}}
module {
  func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
  func.func @ffn(%x: tensor<1x2x3xf32>, %w1: tensor<4x3xf32>, %b1: tensor<4xf32>, %w2: tensor<3x4xf32>, %b2: tensor<3xf32>) -> tensor<1x2x3xf32> {
    %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]> : tensor<1x2x4xf32>
    %h = nest.linear %x, %w1 bias(%b1) : (tensor<1x2x3xf32>, tensor<4x3xf32>, tensor<4xf32>) -> tensor<1x2x4xf32>
    %m = arith.mulf %h, %mask : tensor<1x2x4xf32>
    %a = nest.act relu2 %m : tensor<1x2x4xf32>
    %y = nest.linear %a, %w2 bias(%b2) : (tensor<1x2x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>
    return %y : tensor<1x2x3xf32>
  }
  func.func @main() {
    %x = arith.constant dense<[[[1.0, 2.0, 0.5], [0.0, -1.0, 0.5]]]> : tensor<1x2x3xf32>
    %w1 = arith.constant dense<[[0.5, 0.5, -1.0], [0.5, 1.0, 1.0], [7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]> : tensor<4x3xf32>
    %b1 = arith.constant dense<[0.0, 0.5, 9.0, 9.0]> : tensor<4xf32>
    %w2 = arith.constant dense<[[1.0, 0.0, 8.0, 8.0], [0.0, 2.0, 8.0, 8.0], [1.0, 1.0, 8.0, 8.0]]> : tensor<3x4xf32>
    %b2 = arith.constant dense<1.0> : tensor<3xf32>
    %y = call @ffn(%x, %w1, %b1, %w2, %b2) : (tensor<1x2x3xf32>, tensor<4x3xf32>, tensor<4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>
    %u = tensor.cast %y : tensor<1x2x3xf32> to tensor<*xf32>
    call @printMemrefF32(%u) : (tensor<*xf32>) -> ()
    return
  }
}
