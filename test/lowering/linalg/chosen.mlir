// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @first
// CHECK-NOT: nest.

func.func @first(%s: tensor<?x?x3xf32>) -> tensor<?x?x1xf32> {
  %r = nest.assign %s choice 0 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %0 = nest.chosen %s by %r : (tensor<?x?x3xf32>, !nest.rows<3, cover>) -> tensor<?x?x1xf32>
  return %0 : tensor<?x?x1xf32>
}

func.func @picked(%s: tensor<?x?x3xf32>) -> tensor<?x?x1xf32> {
  %r = nest.assign %s choice 1 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %p = nest.pick %r from 1 count 2 : (!nest.rows<3, cover>) -> !nest.rows<2>
  %0 = nest.chosen %s by %p : (tensor<?x?x3xf32>, !nest.rows<2>) -> tensor<?x?x1xf32>
  return %0 : tensor<?x?x1xf32>
}

// OUT: {{^}}[6, 9, 12, 3]{{$}}
// A set keeps its number when it is picked.
// OUT: {{^}}[2, 5, 8, 11]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0, 2.0, 3.0], [6.0, 5.0, 4.0]], [[7.0, 9.0, 8.0], [10.0, 12.0, 11.0]]]> : tensor<2x2x3xf32>
  %v1 = tensor.cast %c1 : tensor<2x2x3xf32> to tensor<?x?x3xf32>
  %r2 = call @first(%v1) : (tensor<?x?x3xf32>) -> tensor<?x?x1xf32>
  %f2 = tensor.collapse_shape %r2 [[0, 1, 2]] : tensor<?x?x1xf32> into tensor<?xf32>
  %u2 = tensor.cast %f2 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  %r3 = call @picked(%v1) : (tensor<?x?x3xf32>) -> tensor<?x?x1xf32>
  %f3 = tensor.collapse_shape %r3 [[0, 1, 2]] : tensor<?x?x1xf32> into tensor<?xf32>
  %u3 = tensor.cast %f3 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
