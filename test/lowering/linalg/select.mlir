// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Top k by counting who comes before, then one pass that packs: no sort.
// CHECK-LABEL: func @top3
// CHECK: scf.for
// CHECK: arith.cmpf ogt
// CHECK: scf.if
// CHECK-NOT: nest.
// CHECK-LABEL: func @above
// CHECK: arith.constant 5.000000e-01 : f32
// CHECK: arith.cmpf ogt

func.func @top3(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <3> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<3>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<3>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @top2(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<2>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<2>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @none(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <0/8> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<0/8>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<0/8>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @one(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <1> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @seven(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <7/8> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<7/8>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<7/8>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @all(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <1/1> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/1>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/1>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @many(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s top <100> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<100>>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1, #nest.capacity<100>>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

func.func @above(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?x?xi32> {
  %r = nest.select %s above 0.5 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %0 = nest.gather %ids by %r : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// Of equal scores the lowest rows, ascending.
// OUT: {{^}}[101, 103, 105, 202, 203, 205, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[101, 103, 202, 205, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// -0 equals 0; a NaN comes last.
// OUT: {{^}}[100, 101, 201, 202, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[100, 201, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[100, 101, 102, 103, 104, 105, 106, 200, 201, 202, 203, 205, 206, 207, 0, 0]{{$}}
// No row, and all of them.
// OUT: {{^}}[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[100, 101, 102, 103, 104, 105, 106, 107, 200, 201, 202, 203, 204, 205, 206, 207]{{$}}
// OUT: {{^}}[100, 101, 102, 103, 104, 105, 106, 107, 200, 201, 202, 203, 204, 205, 206, 207]{{$}}
// Above 0.5; a NaN is above nothing.
// OUT: {{^}}[100, 101, 102, 103, 105, 106, 107, 202, 203, 204, 205, 207, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[101, 103, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[1.0], [3.0], [2.0], [3.0], [0.0], [3.0], [1.0], [2.0]], [[0.0], [-1.0], [4.0], [4.0], [4.0], [7.0], [-2.0], [4.0]]]> : tensor<2x8x1xf32>
  %v1 = tensor.cast %c1 : tensor<2x8x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<[[100, 101, 102, 103, 104, 105, 106, 107], [200, 201, 202, 203, 204, 205, 206, 207]]> : tensor<2x8xi32>
  %v2 = tensor.cast %c2 : tensor<2x8xi32> to tensor<?x?xi32>
  %r3 = call @top3(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f3 = tensor.collapse_shape %r3 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u3 = tensor.cast %f3 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u3) : (tensor<*xi32>) -> ()
  %r4 = call @top2(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f4 = tensor.collapse_shape %r4 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u4 = tensor.cast %f4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  %c5 = arith.constant dense<[[[5.0], [5.0], [5.0], [5.0], [5.0], [5.0], [5.0], [5.0]], [[0x7FC00000], [-0.0], [0.0], [-1.0], [0x7FC00000], [0xFF800000], [-2.0], [-3.0]]]> : tensor<2x8x1xf32>
  %v5 = tensor.cast %c5 : tensor<2x8x1xf32> to tensor<?x?x1xf32>
  %r6 = call @top2(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f6 = tensor.collapse_shape %r6 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u6 = tensor.cast %f6 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u6) : (tensor<*xi32>) -> ()
  %r7 = call @one(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f7 = tensor.collapse_shape %r7 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u7 = tensor.cast %f7 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u7) : (tensor<*xi32>) -> ()
  %r8 = call @seven(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f8 = tensor.collapse_shape %r8 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u8 = tensor.cast %f8 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u8) : (tensor<*xi32>) -> ()
  %r9 = call @none(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f9 = tensor.collapse_shape %r9 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u9 = tensor.cast %f9 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u9) : (tensor<*xi32>) -> ()
  %r10 = call @all(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f10 = tensor.collapse_shape %r10 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u10 = tensor.cast %f10 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u10) : (tensor<*xi32>) -> ()
  %r11 = call @many(%v5, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f11 = tensor.collapse_shape %r11 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u11 = tensor.cast %f11 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u11) : (tensor<*xi32>) -> ()
  %r12 = call @above(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f12 = tensor.collapse_shape %r12 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u12 = tensor.cast %f12 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u12) : (tensor<*xi32>) -> ()
  %c13 = arith.constant dense<[[[0.5], [0.5000100135803223], [0x7FC00000], [0x7F800000], [0xFF800000]]]> : tensor<1x5x1xf32>
  %v13 = tensor.cast %c13 : tensor<1x5x1xf32> to tensor<?x?x1xf32>
  %c14 = arith.constant dense<[[100, 101, 102, 103, 104]]> : tensor<1x5xi32>
  %v14 = tensor.cast %c14 : tensor<1x5xi32> to tensor<?x?xi32>
  %r15 = call @above(%v13, %v14) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %f15 = tensor.collapse_shape %r15 [[0, 1]] : tensor<?x?xi32> into tensor<?xi32>
  %u15 = tensor.cast %f15 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u15) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
