// RUN: nest-opt %s --nest-expand-rows --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --nest-expand-rows --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT
// RUN: nest-opt %s --nest-expand-rows --nest-keep-grouped --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// nest.on, expanded: what a row gets is what the dense computation gives it.
// CHECK-LABEL: func @depth
// CHECK-NOT: nest.

func.func @depth(%s: tensor<2x4x1xf32>, %x: tensor<2x4x2xf32>, %w: tensor<2x2xbf16>) -> tensor<2x4x2xf32> {
  %r = nest.select %s top <1/2> : (tensor<2x4x1xf32>) -> !nest.rows<1, #nest.capacity<1/2>>
  %0 = nest.on %r gather(%x, %s) into(%x) : (!nest.rows<1, #nest.capacity<1/2>>, tensor<2x4x2xf32>, tensor<2x4x1xf32>, tensor<2x4x2xf32>) -> tensor<2x4x2xf32> {
  ^bb0(%g: tensor<2x4x2xf32>, %gs: tensor<2x4x1xf32>):
    %d = nest.linear %g, %w : (tensor<2x4x2xf32>, tensor<2x2xbf16>) -> tensor<2x4x2xf32>
    %p = nest.scale %d by %gs : (tensor<2x4x2xf32>, tensor<2x4x1xf32>) -> tensor<2x4x2xf32>
    %y = arith.addf %g, %p : tensor<2x4x2xf32>
    nest.yield %y : tensor<2x4x2xf32>
  }
  return %0 : tensor<2x4x2xf32>
}

func.func @towers(%m: tensor<?x?xi32>, %x: tensor<?x?x2xf32>, %w0: tensor<2x2xf32>, %w1: tensor<2x2xf32>) -> tensor<?x?x2xf32> {
  %r = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %0 = nest.on %r gather(%x) : (!nest.rows<2, cover>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  ^bb0(%g: tensor<?x?x2xf32>):
    %y = nest.linear %g, %w0 : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
    nest.yield %y : tensor<?x?x2xf32>
  }, {
  ^bb0(%g: tensor<?x?x2xf32>):
    %y = nest.linear %g, %w1 : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
    nest.yield %y : tensor<?x?x2xf32>
  }
  return %0 : tensor<?x?x2xf32>
}

func.func @experts(%s: tensor<?x?x3xf32>, %x: tensor<?x?x2xf32>, %w0: tensor<2x2xf32>, %w1: tensor<2x2xf32>) -> tensor<?x?x2xf32> {
  %p = nest.softmax %s : (tensor<?x?x3xf32>) -> tensor<?x?x3xf32>
  %a = nest.assign %p choice 0 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %c = nest.chosen %p by %a : (tensor<?x?x3xf32>, !nest.rows<3, cover>) -> tensor<?x?x1xf32>
  %cs = nest.spread %c by %a : (tensor<?x?x1xf32>, !nest.rows<3, cover>) -> tensor<?x?x1xf32>
  %0 = nest.on %a gather(%x, %cs) into(%x) : (!nest.rows<3, cover>, tensor<?x?x2xf32>, tensor<?x?x1xf32>, tensor<?x?x2xf32>) -> tensor<?x?x2xf32> {
  ^bb0(%g: tensor<?x?x2xf32>, %gs: tensor<?x?x1xf32>):
    %y = nest.linear %g, %w0 : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
    %z = nest.scale %y by %gs : (tensor<?x?x2xf32>, tensor<?x?x1xf32>) -> tensor<?x?x2xf32>
    nest.yield %z : tensor<?x?x2xf32>
  }, {
  ^bb0(%g: tensor<?x?x2xf32>, %gs: tensor<?x?x1xf32>):
    %y = nest.linear %g, %w1 : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
    %z = nest.scale %y by %gs : (tensor<?x?x2xf32>, tensor<?x?x1xf32>) -> tensor<?x?x2xf32>
    nest.yield %z : tensor<?x?x2xf32>
  }
  return %0 : tensor<?x?x2xf32>
}

func.func @nested(%s: tensor<?x?x1xf32>, %s2: tensor<?x?x1xf32>, %q: tensor<?x?x2xf32>, %c: tensor<?x1x4x2xf32>, %n: tensor<?xi32>) -> tensor<?x?x2xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %g = nest.gather %q by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %g2 = nest.gather %s2 by %r : (tensor<?x?x1xf32>, !nest.rows<1>) -> tensor<?x?x1xf32>
  %i = nest.select %g2 within %r above 0.0 : (tensor<?x?x1xf32>, !nest.rows<1>) -> !nest.rows<1>
  %h = nest.gather %g by %i : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  %a = nest.attention %h, %c, %c, %n by %i scale 1.0 <causal> : (tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  return %a : tensor<?x?x2xf32>
}

// Half of the rows, x + r w x; the others pass.
// OUT: {{^}}[0, -0.75, -0.25, 0.875, 0.7109{{[0-9]*}}, -0.8554{{[0-9]*}}, 0.125, -0.75, 0.3125, 1.3125, 1, 0.25, 1.0625, 0.46875, -0.75, 0]{{$}}
// The weights of each row.
// OUT: {{^}}[0.75, -0.1875, -0.25, 2.75, 0.125, -2.6875, 0.8125, 0.0625, 0.5, 2.75, 1, 0.25, 0.75, -1.125, -0.75, 0.375]{{$}}
// The expert of the largest score, times that; the last slot is none.
// OUT: {{^}}[0, -0.75, -0.2208{{[0-9]*}}, 2.429{{[0-9]*}}, 0.1007{{[0-9]*}}, -2.166{{[0-9]*}}, 0.4415{{[0-9]*}}, 0.03396{{[0-9]*}}, -0.3607{{[0-9]*}}, 0.6012{{[0-9]*}}, 0.4600{{[0-9]*}}, 0.1150{{[0-9]*}}, 0.75, -0.25, -0.4968{{[0-9]*}}, 0.2484{{[0-9]*}}]{{$}}
// A query of a set in a set has the cache index of its row.
// OUT: {{^}}[0.6894{{[0-9]*}}, 0.4930{{[0-9]*}}, 0.4146{{[0-9]*}}, -0.6711{{[0-9]*}}, 0, 0, 0, 0, 0, 0, 0, 0]{{$}}
func.func @main() {
  %c1 = arith.constant dense<[[[-0.75], [-0.75], [0.625], [0.0]], [[0.25], [0.25], [0.5], [-1.0]]]> : tensor<2x4x1xf32>
  %c2 = arith.constant dense<[[[0.0, -0.75], [-0.25, 0.875], [0.125, -0.875], [0.125, -0.75]], [[0.5, 1.0], [1.0, 0.25], [0.75, -0.25], [-0.75, 0.0]]]> : tensor<2x4x2xf32>
  %wb = arith.constant dense<[[0.5, -1.0], [2.0, 0.25]]> : tensor<2x2xbf16>
  %d = call @depth(%c1, %c2, %wb) : (tensor<2x4x1xf32>, tensor<2x4x2xf32>, tensor<2x2xbf16>) -> tensor<2x4x2xf32>
  %df = tensor.collapse_shape %d [[0, 1, 2]] : tensor<2x4x2xf32> into tensor<16xf32>
  %du = tensor.cast %df : tensor<16xf32> to tensor<*xf32>
  call @printMemrefF32(%du) : (tensor<*xf32>) -> ()
  %c3 = arith.constant dense<[[0, 1, 1, 0], [1, 1, 1, 1]]> : tensor<2x4xi32>
  %v3 = tensor.cast %c3 : tensor<2x4xi32> to tensor<?x?xi32>
  %c4 = arith.constant dense<[[[0.0, -0.75], [-0.25, 0.875], [0.125, -0.875], [0.125, -0.75]], [[0.5, 1.0], [1.0, 0.25], [0.75, -0.25], [-0.75, 0.0]]]> : tensor<2x4x2xf32>
  %v4 = tensor.cast %c4 : tensor<2x4x2xf32> to tensor<?x?x2xf32>
  %c5 = arith.constant dense<[[0.5, -1.0], [2.0, 0.25]]> : tensor<2x2xf32>
  %c6 = arith.constant dense<[[1.0, 0.0], [-0.5, 3.0]]> : tensor<2x2xf32>
  %r7 = call @towers(%v3, %v4, %c5, %c6) : (tensor<?x?xi32>, tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
  %f7 = tensor.collapse_shape %r7 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u7 = tensor.cast %f7 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u7) : (tensor<*xf32>) -> ()
  %c8 = arith.constant dense<[[[-0.25, 0.75, 2.0], [-1.0, 1.5, -1.5], [-0.75, 1.25, -1.0], [0.75, -0.25, 0.0]], [[2.0, 1.25, 1.5], [0.25, 2.0, 2.0], [-1.5, -1.25, -0.75], [0.25, 1.5, 0.0]]]> : tensor<2x4x3xf32>
  %v8 = tensor.cast %c8 : tensor<2x4x3xf32> to tensor<?x?x3xf32>
  %r9 = call @experts(%v8, %v4, %c5, %c6) : (tensor<?x?x3xf32>, tensor<?x?x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
  %f9 = tensor.collapse_shape %r9 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u9 = tensor.cast %f9 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u9) : (tensor<*xf32>) -> ()
  %c10 = arith.constant dense<[[[1.0], [-1.0], [1.0]], [[1.0], [1.0], [-1.0]]]> : tensor<2x3x1xf32>
  %v10 = tensor.cast %c10 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c11 = arith.constant dense<[[[-1.0], [9.0], [1.0]], [[-1.0], [1.0], [9.0]]]> : tensor<2x3x1xf32>
  %v11 = tensor.cast %c11 : tensor<2x3x1xf32> to tensor<?x?x1xf32>
  %c12 = arith.constant dense<[[[-0.75, 0.75], [-0.75, 0.0], [0.75, -0.5]], [[-0.25, -0.5], [0.5, -0.5], [1.0, 0.0]]]> : tensor<2x3x2xf32>
  %v12 = tensor.cast %c12 : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %c13 = arith.constant dense<[[[[1.0, 0.25], [0.5, 1.0], [0.25, 0.5], [0x7FC00000, 0x7FC00000]]], [[[-1.0, -0.5], [-0.5, 0.75], [1.0, -1.0], [0.0, 0.75]]]]> : tensor<2x1x4x2xf32>
  %v13 = tensor.cast %c13 : tensor<2x1x4x2xf32> to tensor<?x1x4x2xf32>
  %c14 = arith.constant dense<[0, 1]> : tensor<2xi32>
  %v14 = tensor.cast %c14 : tensor<2xi32> to tensor<?xi32>
  %r15 = call @nested(%v10, %v11, %v12, %v13, %v14) : (tensor<?x?x1xf32>, tensor<?x?x1xf32>, tensor<?x?x2xf32>, tensor<?x1x4x2xf32>, tensor<?xi32>) -> tensor<?x?x2xf32>
  %f15 = tensor.collapse_shape %r15 [[0, 1, 2]] : tensor<?x?x2xf32> into tensor<?xf32>
  %u15 = tensor.cast %f15 : tensor<?xf32> to tensor<*xf32>
  call @printMemrefF32(%u15) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
