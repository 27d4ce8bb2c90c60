// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// One product for each set, on its rows.
// CHECK-LABEL: func @linear
// CHECK-COUNT-2: linalg.contract
// CHECK-NOT: linalg.contract
// CHECK-LABEL: func @norm

func.func @linear(%m: tensor<?x?xi32>, %x: tensor<?x?x2xf32>, %w0: tensor<2x2xf32>, %w1: tensor<2x2xf32>, %b0: tensor<2xf32>, %b1: tensor<2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %g = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x2xf32>
  %w = nest.per_set %r (%w0, %w1) : (!nest.rows<2, cover>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %b = nest.per_set %r (%b0, %b1) : (!nest.rows<2, cover>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %y = nest.linear %g, %w bias(%b) : (tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %0 = nest.spread %y by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @norm(%m: tensor<?x?xi32>, %x: tensor<?x?x2xf32>, %w0: tensor<2xf32>, %w1: tensor<2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.partition %m sets [0, 1, 2] : (tensor<?x?xi32>) -> !nest.rows<3, cover>
  %p = nest.pick %r from 1 count 2 : (!nest.rows<3, cover>) -> !nest.rows<2>
  %g = nest.gather %x by %p : (tensor<?x?x2xf32>, !nest.rows<2>) -> tensor<?x?x2xf32>
  %w = nest.per_set %p (%w0, %w1) : (!nest.rows<2>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  %y = nest.norm rms %g weight(%w) epsilon 1.0e-6 : (tensor<?x?x2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %0 = nest.spread %y by %p into %x : (tensor<?x?x2xf32>, !nest.rows<2>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

// OUT: {{^}}[-1.5, -3, 11.5, 25.25, -5.5, -11, 23.5, 53.25, -9.5, -19, 35.5, 81.25]{{$}}
// A set without rows.
// OUT: {{^}}[-1.5, -3, -3.5, -7, -5.5, -11, -7.5, -15, -9.5, -19, -11.5, -23]{{$}}
// OUT: {{^}}[1.264{{[0-9]*}}, 3.794{{[0-9]*}}, 3, 4, -0.9053{{[0-9]*}}, 1.086{{[0-9]*}}, 7, 8, 1.892{{[0-9]*}}, 3.153{{[0-9]*}}, -0.9556{{[0-9]*}}, 1.042{{[0-9]*}}]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[1, 0, 1], [0, 1, 0]]> : tensor<2x3xi32>
  %v1 = tensor.cast %c1 : tensor<2x3xi32> to tensor<?x?xi32>
  %c2 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %v2 = tensor.cast %c2 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %c3 = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %c4 = arith.constant dense<[[-1.0, 0.0], [0.0, -2.0]]> : tensor<2x2xf32>
  %c5 = arith.constant dense<[0.5, 0.25]> : tensor<2xf32>
  %c6 = arith.constant dense<[-0.5, 1.0]> : tensor<2xf32>
  %r7 = call @linear(%v1, %v2, %c3, %c4, %c5, %c6) : (tensor<?x?xi32>, tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %f7 = tensor.collapse_shape %r7 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u7 = tensor.cast %f7 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u7) : (tensor<*xf32>) -> ()
  %c8 = arith.constant dense<[[1, 1, 1], [1, 1, 1]]> : tensor<2x3xi32>
  %v8 = tensor.cast %c8 : tensor<2x3xi32> to tensor<?x?xi32>
  %r9 = call @linear(%v8, %v2, %c3, %c4, %c5, %c6) : (tensor<?x?xi32>, tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %f9 = tensor.collapse_shape %r9 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u9 = tensor.cast %f9 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u9) : (tensor<*xf32>) -> ()
  %c10 = arith.constant dense<[[1, 0, 2], [0, 1, 2]]> : tensor<2x3xi32>
  %v10 = tensor.cast %c10 : tensor<2x3xi32> to tensor<?x?xi32>
  %c11 = arith.constant dense<[2.0, 3.0]> : tensor<2xf32>
  %c12 = arith.constant dense<[-1.0, 1.0]> : tensor<2xf32>
  %r13 = call @norm(%v10, %v2, %c11, %c12) : (tensor<?x?xi32>, tensor<?x?x2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<?x?x2xf32>
  %f13 = tensor.collapse_shape %r13 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u13 = tensor.cast %f13 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u13) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
