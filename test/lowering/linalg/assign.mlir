// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @first
// CHECK: arith.cmpf ogt
// CHECK-NOT: nest.

func.func @first(%s: tensor<?x?x3xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.assign %s choice 0 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<3, cover>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @third(%s: tensor<?x?x3xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.assign %s choice 2 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<3, cover>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// The largest; of equal ones the lowest slot, a NaN last.
// OUT: {{^}}[101, 102, 200, 201, 103, 202, 100, 203]{{$}}
// OUT: {{^}}[100, 202, 200, 203, 101, 102, 103, 201]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [0.0, -0.0, -1.0], [0x7FC00000, -5.0, 0x7FC00000]], [[3.0, 1.0, 3.0], [0x7FC00000, 0x7FC00000, 0x7FC00000], [1.0, 2.0, 2.0], [0xFF800000, 0x7FC00000, 0.0]]]> : tensor<2x4x3xf32>
  %v1 = tensor.cast %c1 : tensor<2x4x3xf32> to tensor<?x?x3xf32>
  %c2 = arith.constant dense<[[100, 101, 102, 103], [200, 201, 202, 203]]> : tensor<2x4xi32>
  %v2 = tensor.cast %c2 : tensor<2x4xi32> to tensor<?x?xi32>
  %r3 = call @first(%v1, %v2) : (tensor<?x?x3xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f3 = tensor.collapse_shape %r3 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u3 = tensor.cast %f3 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u3) : (tensor<*xi32>) -> ()
  %r4 = call @third(%v1, %v2) : (tensor<?x?x3xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f4 = tensor.collapse_shape %r4 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u4 = tensor.cast %f4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
