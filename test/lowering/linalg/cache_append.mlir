// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @append
// CHECK: arith.truncf %{{.*}} : f32 to bf16
// CHECK: scf.for {{.*}} iter_args(%[[C:.*]] = %{{.*}}) -> (tensor<?x2x4x2xbf16>)
// CHECK: tensor.insert_slice %{{.*}} into %[[C]][%{{.*}}, 0, %{{.*}}, 0] [1, 2, %{{.*}}, 2] [1, 1, 1, 1]
func.func @append(%cache: tensor<?x2x4x2xbf16>, %rows: tensor<?x?x4xf32>, %lengths: tensor<?xi32>) -> tensor<?x2x4x2xbf16> {
  %0 = nest.cache_append %cache, %rows, %lengths : (tensor<?x2x4x2xbf16>, tensor<?x?x4xf32>, tensor<?xi32>) -> tensor<?x2x4x2xbf16>
  return %0 : tensor<?x2x4x2xbf16>
}

// Two sequences with 0 and 2 rows, two new rows each; column 2h + d of a row
// goes to head h, element d.
// OUT:       sizes = [2, 2, 4, 2]
// OUT-NEXT:  {{.*}}[1, 2],
// OUT-NEXT:  {{.*}}[5, 6],
// OUT-NEXT:  {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[0.5, 0.5]],
// OUT-NEXT:  {{.*}}[3, 4],
// OUT-NEXT:  {{.*}}[7, 8],
// OUT-NEXT:  {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[0.5, 0.5]
// OUT:       {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[-1, -2],
// 1.01 in bf16
// OUT-NEXT:  {{.*}}[1.00781, 6]
// OUT-NEXT:  {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[0.5, 0.5],
// OUT-NEXT:  {{.*}}[-3, -4],
// OUT-NEXT:  {{.*}}[7, 8]
func.func @main() {
  %c = arith.constant dense<0.5> : tensor<2x2x4x2xbf16>
  %r = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], [[-1.0, -2.0, -3.0, -4.0], [1.01, 6.0, 7.0, 8.0]]]> : tensor<2x2x4xf32>
  %l = arith.constant dense<[0, 2]> : tensor<2xi32>
  %cache = tensor.cast %c : tensor<2x2x4x2xbf16> to tensor<?x2x4x2xbf16>
  %rows = tensor.cast %r : tensor<2x2x4xf32> to tensor<?x?x4xf32>
  %lengths = tensor.cast %l : tensor<2xi32> to tensor<?xi32>
  %0 = call @append(%cache, %rows, %lengths) : (tensor<?x2x4x2xbf16>, tensor<?x?x4xf32>, tensor<?xi32>) -> tensor<?x2x4x2xbf16>
  %1 = arith.extf %0 : tensor<?x2x4x2xbf16> to tensor<?x2x4x2xf32>
  %u = tensor.cast %1 : tensor<?x2x4x2xf32> to tensor<*xf32>
  call @printMemrefF32(%u) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
