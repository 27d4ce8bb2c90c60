// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Operations of whole sequences on packed rows: the last row, caches, attention.
// CHECK-LABEL: func @last
// CHECK-NOT: nest.

func.func @last(%m: tensor<?x?xi32>, %x: tensor<?x?x2xf32>) -> tensor<?x1x2xf32> {
  %r = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %g = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x2xf32>
  %0 = nest.last %g by %r : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x1x2xf32>
  return %0 : tensor<?x1x2xf32>
}

func.func @append(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x1x4x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %g = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %0 = nest.cache_append %c, %g, %lengths by %r : (tensor<?x1x4x2xf32>, tensor<?x?x2xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x1x4x2xf32>
  return %0 : tensor<?x1x4x2xf32>
}

func.func @positions(%c: tensor<?x4xi32>, %p: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?x4xi32> {
  %0 = nest.cache_append %c, %p, %lengths : (tensor<?x4xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x4xi32>
  return %0 : tensor<?x4xi32>
}

func.func @positions_by(%s: tensor<?x?x1xf32>, %c: tensor<?x4xi32>, %p: tensor<?x?xi32>, %lengths: tensor<?xi32>) -> tensor<?x4xi32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %g = nest.gather %p by %r : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  %0 = nest.cache_append %c, %g, %lengths by %r : (tensor<?x4xi32>, tensor<?x?xi32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x4xi32>
  return %0 : tensor<?x4xi32>
}

func.func @all_kept(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %q = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %0 = nest.attention %q, %c, %c, %lengths by %r scale 1.0 <causal> : (tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @compact(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %q = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %0 = nest.attention %q, %c, %c, %lengths by %r compact scale 1.0 <causal> : (tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @compact_all(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %q = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %0 = nest.attention %q, %c, %c, %lengths by %r compact scale 1.0 <> : (tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

func.func @window(%s: tensor<?x?x1xf32>, %x: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %lengths: tensor<?xi32>, %p: tensor<?x4xi32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %q = nest.gather %x by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %0 = nest.attention %q, %c, %c, %lengths positions %p by %r compact scale 1.0 <causal, window = 2> : (tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, tensor<?x4xi32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %0 : tensor<?x?x2xf32>
}

// OUT: {{^}}[5, 6, 11, 12]{{$}}
// Rows 0 and 2 at 0 and 1, row 2 at 2.
// OUT: {{^}}[1, 2, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, 11, 12, -1, -1]{{$}}
// OUT: {{^}}[5, 6, 7, -1, -1, 8, 9, 10]{{$}}
// OUT: {{^}}[5, 7, -1, -1, -1, -1, 10, -1]{{$}}
// Caches that hold every row: a query has the index of its row.
// OUT: {{^}}[1, 0.25, 0.6894{{[0-9]*}}, 0.4930{{[0-9]*}}, 0.4362{{[0-9]*}}, -0.3616{{[0-9]*}}, 0, 0, 0, 0, 0, 0]{{$}}
// Caches that hold the rows of the set: its number among them.
// OUT: {{^}}[1, 0.25, 0.8395{{[0-9]*}}, 0.4906{{[0-9]*}}, -0.6887{{[0-9]*}}, 0.2780{{[0-9]*}}, 0, 0, 0, 0, 0, 0]{{$}}
// OUT: {{^}}[0.6407{{[0-9]*}}, 0.7889{{[0-9]*}}, 0.8395{{[0-9]*}}, 0.4906{{[0-9]*}}, -0.6887{{[0-9]*}}, 0.2780{{[0-9]*}}, 0, 0, 0, 0, 0, 0]{{$}}
// A window counts positions, of which caches skip some.
// OUT: {{^}}[1, 0.25, 0.5, 1, -0.6887{{[0-9]*}}, 0.2780{{[0-9]*}}, 0, 0, 0, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[1, 0, 1], [0, 1, 1]]> : tensor<2x3xi32>
  %v1 = tensor.cast %c1 : tensor<2x3xi32> to tensor<?x?xi32>
  %c2 = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %v2 = tensor.cast %c2 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %r3 = call @last(%v1, %v2) : (tensor<?x?xi32>, tensor<?x?x2xf32>) -> tensor<?x1x2xf32>
  %f3 = tensor.collapse_shape %r3 [[0, 1, 2]] : tensor<?x1x2xf32> into tensor<?xf32>
  %u3 = tensor.cast %f3 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  %c4 = arith.constant dense<[[[1.0], [-1.0], [1.0]], [[-1.0], [-1.0], [1.0]]]> : tensor<2x3x1xf32>
  %v4 = tensor.cast %c4 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c5 = arith.constant dense<[[[[-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]]], [[[-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]]]]> : tensor<2x1x4x2xf32>
  %v5 = tensor.cast %c5 : tensor<2x1x4x2xf32> to tensor<?x1x4x2xf32>
  %c6 = arith.constant dense<[0, 2]> : tensor<2xi32>
  %v6 = tensor.cast %c6 : tensor<2xi32> to tensor<?xi32>
  %r7 = call @append(%v4, %v2, %v5, %v6) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>) -> tensor<?x1x4x2xf32>
  %f7 = tensor.collapse_shape %r7 [[0, 1, 2, 3]] : tensor<?x1x4x2xf32> into tensor<?xf32>
  %u7 = tensor.cast %f7 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u7) : (tensor<*xf32>) -> ()
  %c8 = arith.constant dense<[[-1, -1, -1, -1], [-1, -1, -1, -1]]> : tensor<2x4xi32>
  %v8 = tensor.cast %c8 : tensor<2x4xi32> to tensor<?x4xi32>
  %c9 = arith.constant dense<[[5, 6, 7], [8, 9, 10]]> : tensor<2x3xi32>
  %v9 = tensor.cast %c9 : tensor<2x3xi32> to tensor<?x?xi32>
  %c10 = arith.constant dense<[0, 1]> : tensor<2xi32>
  %v10 = tensor.cast %c10 : tensor<2xi32> to tensor<?xi32>
  %r11 = call @positions(%v8, %v9, %v10) : (tensor<?x4xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x4xi32>
  %f11 = tensor.collapse_shape %r11 [[0, 1]] : tensor<?x4xi32> into tensor<?xi32>
  %u11 = tensor.cast %f11 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u11) : (tensor<*xi32>) -> ()
  %r12 = call @positions_by(%v4, %v8, %v9, %v6) : (tensor<?x?x1xf32>, tensor<?x4xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x4xi32>
  %f12 = tensor.collapse_shape %r12 [[0, 1]] : tensor<?x4xi32> into tensor<?xi32>
  %u12 = tensor.cast %f12 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u12) : (tensor<*xi32>) -> ()
  %c13 = arith.constant dense<[[[-0.75, 0.75], [-0.75, 0.0], [0.75, -0.5]], [[-0.25, -0.5], [0.5, -0.5], [1.0, 0.0]]]> : tensor<2x3x2xf32>
  %v13 = tensor.cast %c13 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %c14 = arith.constant dense<[[[[1.0, 0.25], [0.5, 1.0], [0.25, 0.5], [0x7FC00000, 0x7FC00000]]], [[[-1.0, -0.5], [-0.5, 0.75], [1.0, -1.0], [0.0, 0.75]]]]> : tensor<2x1x4x2xf32>
  %v14 = tensor.cast %c14 : tensor<2x1x4x2xf32> to tensor<?x1x4x2xf32>
  %r15 = call @all_kept(%v4, %v13, %v14, %v10) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>) -> tensor<?x?x2xf32>
  %f15 = tensor.collapse_shape %r15 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u15 = tensor.cast %f15 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u15) : (tensor<*xf32>) -> ()
  %c16 = arith.constant dense<[[[[1.0, 0.25], [0.5, 1.0], [0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000]]], [[[-1.0, -0.5], [-0.5, 0.75], [0x7FC00000, 0x7FC00000], [0x7FC00000, 0x7FC00000]]]]> : tensor<2x1x4x2xf32>
  %v16 = tensor.cast %c16 : tensor<2x1x4x2xf32> to tensor<?x1x4x2xf32>
  %r17 = call @compact(%v4, %v13, %v16, %v10) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>) -> tensor<?x?x2xf32>
  %f17 = tensor.collapse_shape %r17 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u17 = tensor.cast %f17 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u17) : (tensor<*xf32>) -> ()
  %r18 = call @compact_all(%v4, %v13, %v16, %v10) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>) -> tensor<?x?x2xf32>
  %f18 = tensor.collapse_shape %r18 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u18 = tensor.cast %f18 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u18) : (tensor<*xf32>) -> ()
  %c19 = arith.constant dense<[[3, 5, -9, -9], [1, 2, -9, -9]]> : tensor<2x4xi32>
  %v19 = tensor.cast %c19 : tensor<2x4xi32> to tensor<?x4xi32>
  %r20 = call @window(%v4, %v13, %v16, %v10, %v19) : (tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, tensor<?x4xi32>) -> tensor<?x?x2xf32>
  %f20 = tensor.collapse_shape %r20 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u20 = tensor.cast %f20 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u20) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
func.func private @printMemrefI32(tensor<*xi32>)
