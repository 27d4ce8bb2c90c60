// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Rows of a set: scores are packed by it, and a capacity is a part of its rows.
// CHECK-LABEL: func @within
// CHECK-NOT: nest.

func.func @within(%s: tensor<?x?x1xf32>, %s2: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> (tensor<?x?xi32>) {
  %outer = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %p = nest.gather %s2 by %outer : (tensor<?x?x1xf32>, !nest.rows<1>) -> tensor<?x?x1xf32>
  %i = nest.gather %ids by %outer : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  %r = nest.select %p within %outer top <1/2, ceil> : (tensor<?x?x1xf32>, !nest.rows<1>) -> !nest.rows<1, #nest.capacity<1/2, ceil>>
  %0 = nest.gather %i by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/2, ceil>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @slots(%s: tensor<?x?x1xf32>, %s2: tensor<?x?x3xf32>, %ids: tensor<?x?xi32>) -> (tensor<?x?xi32>) {
  %outer = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %p = nest.gather %s2 by %outer : (tensor<?x?x3xf32>, !nest.rows<1>) -> tensor<?x?x3xf32>
  %i = nest.gather %ids by %outer : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  %r = nest.assign %p within %outer choice 0 : (tensor<?x?x3xf32>, !nest.rows<1>) -> !nest.rows<3, cover>
  %0 = nest.gather %i by %r : (tensor<?x?xi32>, !nest.rows<3, cover>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// OUT: {{^}}[102, 105, 201, 203, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[100, 102, 203, 204, 103, 105, 201, 0, 0, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0], [-1.0], [1.0], [1.0], [-1.0], [1.0]], [[-1.0], [1.0], [-1.0], [1.0], [1.0], [-1.0]]]> : tensor<2x6x1xf32>
  %v1 = tensor.cast %c1 : tensor<2x6x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<[[[1.0], [9.0], [3.0], [2.0], [9.0], [3.0]], [[9.0], [5.0], [9.0], [7.0], [5.0], [9.0]]]> : tensor<2x6x1xf32>
  %v2 = tensor.cast %c2 : tensor<2x6x1xf32> to tensor<?x?x1xf32>
  %c3 = arith.constant dense<[[100, 101, 102, 103, 104, 105], [200, 201, 202, 203, 204, 205]]> : tensor<2x6xi32>
  %v3 = tensor.cast %c3 : tensor<2x6xi32> to tensor<?x?xi32>
  %r4 = call @within(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f4 = tensor.collapse_shape %r4 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u4 = tensor.cast %f4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  %c5 = arith.constant dense<[[[3.0, 0.0, 0.0], [0.0, 0.0, 3.0], [3.0, 2.0, 0.0], [0.0, 1.0, 1.0], [2.0, 1.0, 1.0], [0.0, 2.0, 2.0]], [[0.0, 0.0, 1.0], [1.0, 3.0, 2.0], [1.0, 1.0, 2.0], [2.0, 0.0, 2.0], [3.0, 3.0, 3.0], [1.0, 1.0, 2.0]]]> : tensor<2x6x3xf32>
  %v5 = tensor.cast %c5 : tensor<2x6x3xf32> to tensor<?x?x3xf32>
  %r6 = call @slots(%v1, %v5, %v3) : (tensor<?x?x1xf32>, tensor<?x?x3xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f6 = tensor.collapse_shape %r6 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u6 = tensor.cast %f6 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u6) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
