// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @two
// CHECK: arith.constant dense<[0, 1, 0, -1]> : tensor<4xi32>
// CHECK-NOT: nest.

func.func @two(%m: tensor<?x?xi32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.partition %m sets [0, 1, 0, -1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<2, cover>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @second(%m: tensor<?x?xi32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.partition %m sets [0, 1, 0, -1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %p = nest.pick %r from 1 count 1 : (!nest.rows<2, cover>) -> !nest.rows<1>
  %0 = nest.gather %ids by %p : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @last_two(%m: tensor<?x?xi32>, %ids: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?x?xi32> {
  %r = nest.partition %m sets [0, 1, 2] : (tensor<?x?xi32>) -> !nest.rows<3, cover>
  %p = nest.pick %r from 1 count 2 : (!nest.rows<3, cover>) -> !nest.rows<2>
  %0 = nest.rank %lengths, %ids by %p : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<2>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// Set after set, in each one sequence after the other.
// OUT: {{^}}[100, 103, 104, 201, 202, 203, 101, 102, 200, 204]{{$}}
// OUT: {{^}}[101, 102, 200, 204, 0, 0, 0, 0, 0, 0]{{$}}
// A value that is not accepted is in no set.
// OUT: {{^}}[100, 201, 202, 203, 102, 200, 204, 0, 0, 0]{{$}}
// Numbers of rows in two of three sets.
// OUT: {{^}}[10, 11, 20, 23, 12, 21, 22, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[0, 1, 1, 2, 0], [1, 0, 2, 2, 1]]> : tensor<2x5xi32>
  %v1 = tensor.cast %c1 : tensor<2x5xi32> to tensor<?x?xi32>
  %c2 = arith.constant dense<[[100, 101, 102, 103, 104], [200, 201, 202, 203, 204]]> : tensor<2x5xi32>
  %v2 = tensor.cast %c2 : tensor<2x5xi32> to tensor<?x?xi32>
  %r3 = call @two(%v1, %v2) : (tensor<?x?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f3 = tensor.collapse_shape %r3 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u3 = tensor.cast %f3 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u3) : (tensor<*xi32>) -> ()
  %r4 = call @second(%v1, %v2) : (tensor<?x?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f4 = tensor.collapse_shape %r4 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u4 = tensor.cast %f4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  %c5 = arith.constant dense<[[0, 3, 1, 9, -1], [1, 0, 2, 2, 1]]> : tensor<2x5xi32>
  %v5 = tensor.cast %c5 : tensor<2x5xi32> to tensor<?x?xi32>
  %r6 = call @two(%v5, %v2) : (tensor<?x?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f6 = tensor.collapse_shape %r6 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u6 = tensor.cast %f6 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u6) : (tensor<*xi32>) -> ()
  %c7 = arith.constant dense<[10, 20]> : tensor<2xi32>
  %v7 = tensor.cast %c7 : tensor<2xi32> to tensor<?xi32>
  %r8 = call @last_two(%v1, %v2, %v7) : (tensor<?x?xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>
  %f8 = tensor.collapse_shape %r8 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u8 = tensor.cast %f8 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u8) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
