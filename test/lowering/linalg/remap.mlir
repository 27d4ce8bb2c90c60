// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Nothing outside of x is read.
// CHECK-LABEL: func @shift
// CHECK: linalg.generic
// CHECK: arith.cmpi sge
// CHECK: arith.cmpi slt
// CHECK: arith.select
// CHECK: tensor.extract
// CHECK: arith.select
func.func @shift(%x: tensor<?x2x2xf32>, %base: tensor<?x3x2xf32>) -> tensor<?x3x2xf32> {
  %0 = nest.remap %x by affine_map<(b, t, c) -> (b, t - 1, c)> into %base : (tensor<?x2x2xf32>, tensor<?x3x2xf32>) -> tensor<?x3x2xf32>
  return %0 : tensor<?x3x2xf32>
}

func.func @patches(%x: tensor<?x1x4x4xf32>) -> tensor<?x4x4xf32> {
  %0 = nest.remap %x by affine_map<(b, n, k) -> (b, k floordiv 4, n floordiv 2 * 2 + k mod 4 floordiv 2, n mod 2 * 2 + k mod 2)> : (tensor<?x1x4x4xf32>) -> tensor<?x4x4xf32>
  return %0 : tensor<?x4x4xf32>
}

// Without lengths every query sees every key, also those in front.
// CHECK-LABEL: func @attention
// CHECK-NOT: cmpi
// CHECK: return
func.func @attention(%q: tensor<?x2x2xf32>, %k: tensor<?x1x2x2xf32>) -> tensor<?x2x2xf32> {
  %0 = nest.attention %q, %k, %k scale 1.0 <> : (tensor<?x2x2xf32>, tensor<?x1x2x2xf32>, tensor<?x1x2x2xf32>) -> tensor<?x2x2xf32>
  return %0 : tensor<?x2x2xf32>
}

// OUT:      sizes = [1, 3, 2]
// OUT-NEXT: {{.*}}[10, 20]
// OUT-NEXT: {{.*}}[31, 42]
// OUT-NEXT: {{.*}}[53, 64]
// OUT:      sizes = [1, 4, 4]
// OUT-NEXT: {{.*}}[0, 1, 4, 5]
// OUT-NEXT: {{.*}}[2, 3, 6, 7]
// OUT-NEXT: {{.*}}[8, 9, 12, 13]
// OUT-NEXT: {{.*}}[10, 11, 14, 15]
// Of equal scores, and of ln 3 and 0.
// OUT:      sizes = [1, 2, 2]
// OUT-NEXT: {{.*}}[0.549{{[0-9]*}}, 0.5]
// OUT-NEXT: {{.*}}[0.823{{[0-9]*}}, 0.25]
func.func @main() {
  %s = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0]]]> : tensor<1x2x2xf32>
  %bs = arith.constant dense<[[[10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]]> : tensor<1x3x2xf32>
  %x = tensor.cast %s : tensor<1x2x2xf32> to tensor<?x2x2xf32>
  %b = tensor.cast %bs : tensor<1x3x2xf32> to tensor<?x3x2xf32>
  %0 = call @shift(%x, %b) : (tensor<?x2x2xf32>, tensor<?x3x2xf32>) -> tensor<?x3x2xf32>
  %u0 = tensor.cast %0 : tensor<?x3x2xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %is = arith.constant dense<[[[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0], [12.0, 13.0, 14.0, 15.0]]]]> : tensor<1x1x4x4xf32>
  %i = tensor.cast %is : tensor<1x1x4x4xf32> to tensor<?x1x4x4xf32>
  %1 = call @patches(%i) : (tensor<?x1x4x4xf32>) -> tensor<?x4x4xf32>
  %u1 = tensor.cast %1 : tensor<?x4x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %qs = arith.constant dense<[[[0.0, 0.0], [1.0, 0.0]]]> : tensor<1x2x2xf32>
  %ks = arith.constant dense<[[[[1.09861229, 0.0], [0.0, 1.0]]]]> : tensor<1x1x2x2xf32>
  %q = tensor.cast %qs : tensor<1x2x2xf32> to tensor<?x2x2xf32>
  %k = tensor.cast %ks : tensor<1x1x2x2xf32> to tensor<?x1x2x2xf32>
  %2 = call @attention(%q, %k) : (tensor<?x2x2xf32>, tensor<?x1x2x2xf32>) -> tensor<?x2x2xf32>
  %u2 = tensor.cast %2 : tensor<?x2x2xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
