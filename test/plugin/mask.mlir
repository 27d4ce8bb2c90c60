// The example of docs/Plugin.md: stock mlir-opt slices what a mask cuts, and
// stock passes run both graphs; the numbers are the same.
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --pass-pipeline='builtin.module(nest-mask-to-slice)' -o %t.sliced.mlir
// RUN: FileCheck %s --check-prefix=SLICED < %t.sliced.mlir
// DEFINE: %{run} = mlir-opt --pass-pipeline='builtin.module(canonicalize,cse,func.func(convert-elementwise-to-linalg),one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},func.func(convert-linalg-to-loops),expand-strided-metadata,lower-affine,convert-scf-to-cf,convert-math-to-llvm,convert-math-to-libm,convert-arith-to-llvm,convert-cf-to-llvm,finalize-memref-to-llvm,convert-func-to-llvm,reconcile-unrealized-casts)' \
// DEFINE:   | mlir-runner -e main -entry-point-result=void -shared-libs=%shlibdir/libmlir_runner_utils.so,%shlibdir/libmlir_c_runner_utils.so
// RUN: cat %s | %{run} | FileCheck %s
// RUN: cat %t.sliced.mlir | %{run} | FileCheck %s

// SLICED-LABEL: func.func @ffn
// SLICED: tensor.extract_slice %{{.*}}[0, 0] [3, 2] [1, 1] : tensor<3x4xf32> to tensor<3x2xf32>
// SLICED: linalg.matmul {{.*}} -> tensor<2x2xf32>
// SLICED: math.tanh %{{.*}} : tensor<2x2xf32>
// SLICED: linalg.matmul ins(%{{.*}}, %{{.*}} : tensor<2x2xf32>, tensor<2x3xf32>)

// Two columns of x w1 + b1 are [1, 3.5] and [-1, 0]; each times its tanh is
// [0.761594, 3.49363] and [0.761594, 0].
// CHECK: {{\[\[}}0.761594, 6.98725, 4.25522],
// CHECK-NEXT: [0.761594, 0, 0.761594]{{\]}}
module {
  func.func private @printMemrefF32(tensor<*xf32>) attributes {llvm.emit_c_interface}
  func.func @ffn(%x: tensor<2x3xf32>, %w1: tensor<3x4xf32>, %b1: tensor<4xf32>, %w2: tensor<4x3xf32>) -> tensor<2x3xf32> {
    %mask = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xf32>
    %zero = arith.constant 0.0 : f32
    %e4 = tensor.empty() : tensor<2x4xf32>
    %e3 = tensor.empty() : tensor<2x3xf32>
    %b = linalg.broadcast ins(%b1 : tensor<4xf32>) outs(%e4 : tensor<2x4xf32>) dimensions = [0]
    %h = linalg.matmul ins(%x, %w1 : tensor<2x3xf32>, tensor<3x4xf32>) outs(%b : tensor<2x4xf32>) -> tensor<2x4xf32>
    %m = linalg.broadcast ins(%mask : tensor<4xf32>) outs(%e4 : tensor<2x4xf32>) dimensions = [0]
    %masked = arith.mulf %h, %m : tensor<2x4xf32>
    %t = math.tanh %masked : tensor<2x4xf32>
    %a = arith.mulf %masked, %t : tensor<2x4xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e3 : tensor<2x3xf32>) -> tensor<2x3xf32>
    %y = linalg.matmul ins(%a, %w2 : tensor<2x4xf32>, tensor<4x3xf32>) outs(%f : tensor<2x3xf32>) -> tensor<2x3xf32>
    return %y : tensor<2x3xf32>
  }
  func.func @main() {
    %x = arith.constant dense<[[1.0, 2.0, 0.5], [0.0, -1.0, 0.5]]> : tensor<2x3xf32>
    %w1 = arith.constant dense<[[0.5, 0.5, 7.0, 7.0], [0.5, 1.0, 7.0, 7.0], [-1.0, 1.0, 7.0, 7.0]]> : tensor<3x4xf32>
    %b1 = arith.constant dense<[0.0, 0.5, 9.0, 9.0]> : tensor<4xf32>
    %w2 = arith.constant dense<[[1.0, 0.0, 1.0], [0.0, 2.0, 1.0], [8.0, 8.0, 8.0], [8.0, 8.0, 8.0]]> : tensor<4x3xf32>
    %y = call @ffn(%x, %w1, %b1, %w2) : (tensor<2x3xf32>, tensor<3x4xf32>, tensor<4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
    %u = tensor.cast %y : tensor<2x3xf32> to tensor<*xf32>
    call @printMemrefF32(%u) : (tensor<*xf32>) -> ()
    return
  }
}
