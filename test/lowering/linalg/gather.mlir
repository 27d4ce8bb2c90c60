// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @rows
// CHECK: scf.for
// CHECK: linalg.generic
// CHECK-NOT: nest.

func.func @rows(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s top <2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<2>>
  %0 = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1, #nest.capacity<2>>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @static(%s: tensor<2x3x1xf32>, %x: tensor<2x3x2xf32>) -> tensor<2x3x2xf32> {
  %r = nest.select %s top <2> : (tensor<2x3x1xf32>) -> !nest.rows<1, #nest.capacity<2>>
  %0 = nest.gather %x by %r : (tensor<2x3x2xf32>, !nest.rows<1, #nest.capacity<2>>) -> tensor<2x3x2xf32>
  return %0 : tensor<2x3x2xf32>
}

// OUT: {{^}}[3, 4, 5, 6, 7, 8, 11, 12, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[3, 4, 5, 6, 7, 8, 11, 12, 0, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0], [3.0], [2.0]], [[5.0], [0.0], [4.0]]]> : tensor<2x3x1xf32>
  %v1 = tensor.cast %c1 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %v2 = tensor.cast %c2 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r3 = call @rows(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f3 = tensor.collapse_shape %r3 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u3 = tensor.cast %f3 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  %c4 = arith.constant dense<[[[1.0], [3.0], [2.0]], [[5.0], [0.0], [4.0]]]> : tensor<2x3x1xf32>
  %c5 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %r6 = call @static(%c4, %c5) : (tensor<2x3x1xf32>, tensor<2x3x2xf32>) -> tensor<2x3x2xf32>
  %f6 = tensor.collapse_shape %r6 [[0, 1, 2]] : tensor<2x3x2xf32> into tensor<12xf32>
  %u6 = tensor.cast %f6 : tensor<12xf32> to tensor<*xf32>
  call @printMemrefF32(%u6) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
