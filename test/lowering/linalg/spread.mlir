// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @over
// CHECK: tensor.insert_slice
// CHECK-NOT: nest.

func.func @over(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %base: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 2.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.spread %x by %r into %base : (tensor<?x?x2xf32>, !nest.rows<1>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @nothing(%m: tensor<?x?xi32>, %x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %0 = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x2xf32>
  %1 = nest.act relu %0 : tensor<?x?x2xf32>
  %2 = nest.spread %1 by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x2xf32>
  return %2 : tensor<?x?x2xf32>
}

// What stands behind the last row goes nowhere.
// OUT: {{^}}[-1, -2, 1, 2, -5, -6, 3, 4, -9, -10, 5, 6]{{$}}
// No row: the base.
// OUT: {{^}}[-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12]{{$}}
// All rows.
// OUT: {{^}}[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]{{$}}
// OUT: {{^}}[1, 0, 3, 0, 5, 0, 7, 0, 9, 0, 11, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0], [3.0], [2.0]], [[5.0], [0.0], [4.0]]]> : tensor<2x3x1xf32>
  %v1 = tensor.cast %c1 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000]]]> : tensor<2x3x2xf32>
  %v2 = tensor.cast %c2 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %c3 = arith.constant dense<[[[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]], [[-7.0, -8.0], [-9.0, -10.0], [-11.0, -12.0]]]> : tensor<2x3x2xf32>
  %v3 = tensor.cast %c3 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r4 = call @over(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f4 = tensor.collapse_shape %r4 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u4 = tensor.cast %f4 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u4) : (tensor<*xf32>) -> ()
  %c5 = arith.constant dense<[[[-1.0], [-1.0], [-1.0]], [[-1.0], [-1.0], [-1.0]]]> : tensor<2x3x1xf32>
  %v5 = tensor.cast %c5 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %r6 = call @over(%v5, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f6 = tensor.collapse_shape %r6 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u6 = tensor.cast %f6 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u6) : (tensor<*xf32>) -> ()
  %c7 = arith.constant dense<[[[3.0], [3.0], [3.0]], [[3.0], [3.0], [3.0]]]> : tensor<2x3x1xf32>
  %v7 = tensor.cast %c7 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c8 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %v8 = tensor.cast %c8 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r9 = call @over(%v7, %v8, %v3) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f9 = tensor.collapse_shape %r9 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u9 = tensor.cast %f9 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u9) : (tensor<*xf32>) -> ()
  %c10 = arith.constant dense<[[1, 0, 1], [0, 1, 0]]> : tensor<2x3xi32>
  %v10 = tensor.cast %c10 : tensor<2x3xi32> to tensor<?x?xi32>
  %c11 = arith.constant dense<[[[1.0, -2.0], [3.0, -4.0], [5.0, -6.0]], [[7.0, -8.0], [9.0, -10.0], [11.0, -12.0]]]> : tensor<2x3x2xf32>
  %v11 = tensor.cast %c11 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r12 = call @nothing(%v10, %v11) : (tensor<?x?xi32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f12 = tensor.collapse_shape %r12 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u12 = tensor.cast %f12 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u12) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
