// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-DAG: #[[$X:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
// CHECK-DAG: #[[$W:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d3)>
// CHECK-DAG: #[[$Y:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>

// CHECK-LABEL: func @f32
// CHECK: linalg.contract indexing_maps = [#[[$X]], #[[$W]], #[[$Y]]] ins(%{{.*}}, %{{.*}} : tensor<?x?x4xf32>, tensor<3x4xf32>) outs(%{{.*}} : tensor<?x?x3xf32>)
// CHECK: arith.addf
func.func @f32(%x: tensor<?x?x4xf32>, %w: tensor<3x4xf32>, %bias: tensor<3xf32>) -> tensor<?x?x3xf32> {
  %0 = nest.linear %x, %w bias(%bias) : (tensor<?x?x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
  return %0 : tensor<?x?x3xf32>
}

// CHECK-LABEL: func @bf16
// CHECK: arith.truncf %{{.*}} : f32 to bf16
// CHECK: linalg.contract indexing_maps = [#[[$X]], #[[$W]], #[[$Y]]] ins(%{{.*}}, %{{.*}} : tensor<?x?x4xbf16>, tensor<1x4xbf16>) outs(%{{.*}} : tensor<?x?x1xf32>)
func.func @bf16(%x: tensor<?x?x4xf32>, %w: tensor<1x4xbf16>) -> tensor<?x?x1xf32> {
  %0 = nest.linear %x, %w : (tensor<?x?x4xf32>, tensor<1x4xbf16>) -> tensor<?x?x1xf32>
  return %0 : tensor<?x?x1xf32>
}

// CHECK-LABEL: func @f16
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK: linalg.contract {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x?x4xf16>, tensor<1x4xf16>) outs(%{{.*}} : tensor<?x?x1xf32>)
func.func @f16(%x: tensor<?x?x4xf32>, %w: tensor<1x4xf16>) -> tensor<?x?x1xf32> {
  %0 = nest.linear %x, %w : (tensor<?x?x4xf32>, tensor<1x4xf16>) -> tensor<?x?x1xf32>
  return %0 : tensor<?x?x1xf32>
}

// x w^T + bias
// OUT:      {{.*}}[11.5, -2.5, 30]
// OUT-NEXT: {{.*}}[1.5, -3, 13]
//
// x is rounded: 1 + 2^-9 to 1 (a tie), 1 + 3 * 2^-8 to 1 + 2^-6. Products and
// sums are f32, for 2^-10 is added to numbers above 1.
// bf16: 1 * 1 + 1.015625 * 1 + 0.0009765625 * 1 + 0
// OUT:      {{.*}}[2.0166]
// f16 holds both: 1.001953125 + 1.01171875 + 0.0009765625
// OUT:      {{.*}}[2.01465]
func.func @main() {
  %x = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0], [-1.0, 0.5, 0.0, 2.0]]]> : tensor<1x2x4xf32>
  %w = arith.constant dense<[[1.0, 0.0, 2.0, 1.0], [0.5, 1.0, 0.0, -1.0], [2.0, 2.0, 2.0, 2.0]]> : tensor<3x4xf32>
  %bias = arith.constant dense<[0.5, -1.0, 10.0]> : tensor<3xf32>
  %dx = tensor.cast %x : tensor<1x2x4xf32> to tensor<?x?x4xf32>
  %0 = call @f32(%dx, %w, %bias) : (tensor<?x?x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<?x?x3xf32>
  %u0 = tensor.cast %0 : tensor<?x?x3xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()

  %r = arith.constant dense<[[[1.001953125, 1.01171875, 0.0009765625, 0.0]]]> : tensor<1x1x4xf32>
  %dr = tensor.cast %r : tensor<1x1x4xf32> to tensor<?x?x4xf32>
  %wb = arith.constant dense<1.0> : tensor<1x4xbf16>
  %1 = call @bf16(%dr, %wb) : (tensor<?x?x4xf32>, tensor<1x4xbf16>) -> tensor<?x?x1xf32>
  %u1 = tensor.cast %1 : tensor<?x?x1xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %wh = arith.constant dense<1.0> : tensor<1x4xf16>
  %2 = call @f16(%dr, %wh) : (tensor<?x?x4xf32>, tensor<1x4xf16>) -> tensor<?x?x1xf32>
  %u2 = tensor.cast %2 : tensor<?x?x1xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
