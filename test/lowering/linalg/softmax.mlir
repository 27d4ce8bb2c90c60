// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @columns
// CHECK: math.exp
// CHECK-NOT: nest.

func.func @columns(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %0 = nest.softmax %x : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @over_rows(%x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %0 = nest.softmax %x over_rows : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @of_set(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.softmax %x over_rows by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

// OUT: {{^}}[0.3775{{[0-9]*}}, 0.6224{{[0-9]*}}, 0.02931{{[0-9]*}}, 0.9706{{[0-9]*}}, 0.5, 0.5, 0.8175{{[0-9]*}}, 0.1824{{[0-9]*}}, 0.9820{{[0-9]*}}, 0.01798{{[0-9]*}}, 0.3775{{[0-9]*}}, 0.6224{{[0-9]*}}]{{$}}
// OUT: {{^}}[0.7053{{[0-9]*}}, 0.4498{{[0-9]*}}, 0.03511{{[0-9]*}}, 0.4498{{[0-9]*}}, 0.2594{{[0-9]*}}, 0.1003{{[0-9]*}}, 0.1752{{[0-9]*}}, 0.3314{{[0-9]*}}, 0.7855{{[0-9]*}}, 0.1219{{[0-9]*}}, 0.03911{{[0-9]*}}, 0.5465{{[0-9]*}}]{{$}}
// Rows 0 and 1 are of the first sequence, 2 of the second.
// OUT: {{^}}[0.9525{{[0-9]*}}, 0.5, 0.04742{{[0-9]*}}, 0.5, 1, 1, 0, 0, 0, 0, 0, 0]{{$}}
// A sequence without rows.
// OUT: {{^}}[0.9525{{[0-9]*}}, 0.5, 0.04742{{[0-9]*}}, 0.5, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0, 1.5], [-2.0, 1.5], [0.0, 0.0]], [[0.5, -1.0], [2.0, -2.0], [-1.0, -0.5]]]> : tensor<2x3x2xf32>
  %v1 = tensor.cast %c1 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r2 = call @columns(%v1) : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f2 = tensor.collapse_shape %r2 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u2 = tensor.cast %f2 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  %r3 = call @over_rows(%v1) : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f3 = tensor.collapse_shape %r3 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u3 = tensor.cast %f3 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  %c4 = arith.constant dense<[[[1.0], [-1.0], [1.0]], [[-1.0], [1.0], [-1.0]]]> : tensor<2x3x1xf32>
  %v4 = tensor.cast %c4 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c5 = arith.constant dense<[[[1.0, 1.5], [-2.0, 1.5], [0.0, 0.0]], [[0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000]]]> : tensor<2x3x2xf32>
  %v5 = tensor.cast %c5 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r6 = call @of_set(%v4, %v5) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f6 = tensor.collapse_shape %r6 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u6 = tensor.cast %f6 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u6) : (tensor<*xf32>) -> ()
  %c7 = arith.constant dense<[[[-1.0], [-1.0], [-1.0]], [[-1.0], [1.0], [1.0]]]> : tensor<2x3x1xf32>
  %v7 = tensor.cast %c7 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %r8 = call @of_set(%v7, %v5) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %f8 = tensor.collapse_shape %r8 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u8 = tensor.cast %f8 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u8) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
