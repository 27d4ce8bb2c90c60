// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// One table for all heads; elements from twice the number of frequencies on
// are not touched.
// CHECK-LABEL: func @partial
// CHECK: arith.constant dense<[1.000000e+00, 2.500000e-01]> : tensor<2xf32>
// CHECK: math.cos
// CHECK: math.sin
// CHECK: tensor.expand_shape %{{.*}} {{\[}}[0], [1], [2, 3]] output_shape [%{{.*}}, %{{.*}}, 2, 6]
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0, 0] [%{{.*}}, %{{.*}}, 2, 2]
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0, 2] [%{{.*}}, %{{.*}}, 2, 2]
// CHECK: tensor.insert_slice
// CHECK: tensor.insert_slice
// CHECK: tensor.collapse_shape
func.func @partial(%x: tensor<?x?x12xf32>, %positions: tensor<?x?xi32>) -> tensor<?x?x12xf32> {
  %0 = nest.rope %x, %positions by <head_dim = 6, frequencies = [1.0, 0.25], magnitude = 0.5> : (tensor<?x?x12xf32>, tensor<?x?xi32>) -> tensor<?x?x12xf32>
  return %0 : tensor<?x?x12xf32>
}

func.func @full(%x: tensor<?x1x4xf32>, %positions: tensor<?x1xi32>) -> tensor<?x1x4xf32> {
  %0 = nest.rope %x, %positions by <head_dim = 4, frequencies = [1.0, 0.0625]> : (tensor<?x1x4xf32>, tensor<?x1xi32>) -> tensor<?x1x4xf32>
  return %0 : tensor<?x1x4xf32>
}

// Positions 0 and 3. Of each head of 6: y_i = x_i c_i - x_(i+2) s_i and
// y_(i+2) = x_(i+2) c_i + x_i s_i with c_i, s_i = cos, sin(position * f_i) / 2.
// OUT:      {{.*}}[0.5, 1, 1.5, 2, 5, 6, -0.5, -1, 0.25, 1.5, 2, 1]
// OUT-NEXT: {{.*}}[-0.70667{{[0-9]*}}, -0.63158{{[0-9]*}}, -1.4144{{[0-9]*}}, 2.145{{[0-9]*}}, 5, 6, 0.45971{{[0-9]*}}, -1.7541{{[0-9]*}}, -0.31805{{[0-9]*}}, 0.41589{{[0-9]*}}, 2, 1]
// Positions 1 and 40 of two sequences.
// OUT:      {{.*}}[-1.9841{{[0-9]*}}, 1.7462{{[0-9]*}}, 2.4623{{[0-9]*}}, 4.1171{{[0-9]*}}]
// OUT-NEXT: {{.*}}[-2.9022{{[0-9]*}}, -3.9961{{[0-9]*}}, -1.255{{[0-9]*}}, -2.0076{{[0-9]*}}]
func.func @main() {
  %s0 = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, -2.0, 0.5, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, -2.0, 0.5, 3.0, 2.0, 1.0]]]> : tensor<1x2x12xf32>
  %p0 = arith.constant dense<[[0, 3]]> : tensor<1x2xi32>
  %x0 = tensor.cast %s0 : tensor<1x2x12xf32> to tensor<?x?x12xf32>
  %q0 = tensor.cast %p0 : tensor<1x2xi32> to tensor<?x?xi32>
  %0 = call @partial(%x0, %q0) : (tensor<?x?x12xf32>, tensor<?x?xi32>) -> tensor<?x?x12xf32>
  %u0 = tensor.cast %0 : tensor<?x?x12xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %s1 = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0]], [[1.0, 2.0, 3.0, 4.0]]]> : tensor<2x1x4xf32>
  %p1 = arith.constant dense<[[1], [40]]> : tensor<2x1xi32>
  %x1 = tensor.cast %s1 : tensor<2x1x4xf32> to tensor<?x1x4xf32>
  %q1 = tensor.cast %p1 : tensor<2x1xi32> to tensor<?x1xi32>
  %1 = call @full(%x1, %q1) : (tensor<?x1x4xf32>, tensor<?x1xi32>) -> tensor<?x1x4xf32>
  %u1 = tensor.cast %1 : tensor<?x1x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
