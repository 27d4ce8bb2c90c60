// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @scale
// CHECK: arith.mulf

func.func @scale(%x: tensor<?x?x2xf32>, %w: tensor<?x?x1xf32>) -> tensor<?x?x2xf32> {
  %0 = nest.scale %x by %w : (tensor<?x?x2xf32>, tensor<?x?x1xf32>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

// OUT: {{^}}[2, 4, -3, -4, 0, 0, 3.5, 4, 9, 10, 33, 36]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %v1 = tensor.cast %c1 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %c2 = arith.constant dense<[[[2.0], [-1.0], [0.0]], [[0.5], [1.0], [3.0]]]> : tensor<2x3x1xf32>
  %v2 = tensor.cast %c2 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %r3 = call @scale(%v1, %v2) : (tensor<?x?x2xf32>, tensor<?x?x1xf32>) -> tensor<?x?x2xf32>
  %f3 = tensor.collapse_shape %r3 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u3 = tensor.cast %f3 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
