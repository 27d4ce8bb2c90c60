// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @advance
// CHECK: arith.addi
// CHECK-NOT: nest.

func.func @advance(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?xi32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.advance %lengths, %ids : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @rank(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.rank %lengths, %ids : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @advance_by(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?xi32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @rank_by(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.rank %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// OUT: {{^}}[13, 23]{{$}}
// OUT: {{^}}[12, 21]{{$}}
// OUT: {{^}}[10, 11, 12, 20, 21, 22]{{$}}
// OUT: {{^}}[10, 11, 20, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0], [-1.0], [1.0]], [[-1.0], [-1.0], [1.0]]]> : tensor<2x3x1xf32>
  %v1 = tensor.cast %c1 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<[[100, 101, 102], [200, 201, 202]]> : tensor<2x3xi32>
  %v2 = tensor.cast %c2 : tensor<2x3xi32> to tensor<?x?xi32>
  %c3 = arith.constant dense<[10, 20]> : tensor<2xi32>
  %v3 = tensor.cast %c3 : tensor<2xi32> to tensor<?xi32>
  %r4 = call @advance(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?xi32>
  %u4 = tensor.cast %r4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  %r5 = call @advance_by(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?xi32>
  %u5 = tensor.cast %r5 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u5) : (tensor<*xi32>) -> ()
  %r6 = call @rank(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>
  %f6 = tensor.collapse_shape %r6 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u6 = tensor.cast %f6 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u6) : (tensor<*xi32>) -> ()
  %r7 = call @rank_by(%v1, %v2, %v3) : (tensor<?x?x1xf32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>
  %f7 = tensor.collapse_shape %r7 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u7 = tensor.cast %f7 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u7) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
