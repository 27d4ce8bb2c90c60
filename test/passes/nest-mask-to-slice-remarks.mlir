// RUN: nest-opt %s --nest-mask-to-slice --split-input-file --verify-diagnostics | FileCheck %s

// A sigmoid makes 1/2 of a masked 0: nothing changes.
// CHECK-LABEL: func.func @no_change_sigmoid
// CHECK: arith.mulf %{{.*}} : tensor<2x4xf32>
// CHECK: linalg.matmul ins(%{{.*}} : tensor<2x4xf32>, tensor<4x3xf32>)
func.func @no_change_sigmoid(%x: tensor<2x4xf32>, %w: tensor<4x3xf32>, %i: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %one = arith.constant dense<1.0> : tensor<2x4xf32>
  %m = arith.mulf %x, %mask : tensor<2x4xf32>
  %n = arith.negf %m : tensor<2x4xf32>
  // expected-remark @below {{the mask stays: this makes another number than 0 of a 0 of the mask, which cuts 4 columns to 2}}
  %e = math.exp %n : tensor<2x4xf32>
  %d = arith.addf %e, %one : tensor<2x4xf32>
  %s = arith.divf %one, %d : tensor<2x4xf32>
  %y = linalg.matmul ins(%s, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// So does a bias that is added behind the mask.
// CHECK-LABEL: func.func @no_change_bias
// CHECK: linalg.matmul ins(%{{.*}} : tensor<2x4xf32>, tensor<4x3xf32>)
func.func @no_change_bias(%x: tensor<2x4xf32>, %b: tensor<2x4xf32>, %w: tensor<4x3xf32>, %i: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %m = arith.mulf %x, %mask : tensor<2x4xf32>
  // expected-remark @below {{the mask stays: this may give another number than 0 where a mask, which cuts 4 columns to 2, has put 0}}
  %a = arith.addf %m, %b : tensor<2x4xf32>
  %y = linalg.matmul ins(%a, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// 0 / 0 is no 0.
// CHECK-LABEL: func.func @no_change_division
// CHECK: linalg.matmul ins(%{{.*}} : tensor<2x4xf32>, tensor<4x3xf32>)
func.func @no_change_division(%x: tensor<2x4xf32>, %b: tensor<2x4xf32>, %w: tensor<4x3xf32>, %i: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %m = arith.mulf %x, %mask : tensor<2x4xf32>
  // expected-remark @below {{this may give another number than 0}}
  %a = arith.divf %m, %b : tensor<2x4xf32>
  %y = linalg.matmul ins(%a, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// What is returned is read in full; a maximum over columns sees the zeros.
// CHECK-LABEL: func.func @no_change_readers
// CHECK: linalg.reduce {{.*}} ins(%{{.*}} : tensor<2x4xf32>)
func.func @no_change_readers(%x: tensor<2x4xf32>, %y: tensor<2x4xf32>, %i: tensor<2xf32>) -> (tensor<2x4xf32>, tensor<2xf32>) {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %m = arith.mulf %x, %mask : tensor<2x4xf32>
  %n = arith.mulf %y, %mask : tensor<2x4xf32>
  // expected-remark @below {{the mask stays: this reduces all 4 columns of what a mask cuts to 2, and is no sum to which they add 0}}
  %s = linalg.reduce { arith.maximumf } ins(%n : tensor<2x4xf32>) outs(%i : tensor<2xf32>) dimensions = [1]
  // expected-remark @below {{the mask stays: this reads all 4 columns of what a mask cuts to 2}}
  return %m, %s : tensor<2x4xf32>, tensor<2xf32>
}

// -----

// CHECK-LABEL: func.func @no_change_masks
// CHECK-COUNT-4: arith.mulf
func.func @no_change_masks(%x: tensor<4xf32>, %c: tensor<4xi1>, %i: tensor<f32>) -> tensor<f32> {
  %gaps = arith.constant dense<[1.0, 0.0, 1.0, 0.0]> : tensor<4xf32>
  %numbers = arith.constant dense<[1.0, 0.5, 0.0, 0.0]> : tensor<4xf32>
  %zeros = arith.constant dense<0.0> : tensor<4xf32>
  %computed = arith.uitofp %c : tensor<4xi1> to tensor<4xf32>
  // expected-remark @below {{the mask stays: it is no prefix, 1s and then 0s along one dimension}}
  %0 = arith.mulf %x, %gaps : tensor<4xf32>
  // expected-remark @below {{the mask stays: it has other numbers than 0 and 1}}
  %1 = arith.mulf %x, %numbers : tensor<4xf32>
  // expected-remark @below {{the mask stays: it leaves no column, and no width is 0}}
  %2 = arith.mulf %x, %zeros : tensor<4xf32>
  // expected-remark @below {{the mask stays: it is not a constant}}
  %3 = arith.mulf %x, %computed : tensor<4xf32>
  %4 = arith.addf %0, %1 : tensor<4xf32>
  %5 = arith.addf %2, %3 : tensor<4xf32>
  %y = linalg.dot ins(%4, %5 : tensor<4xf32>, tensor<4xf32>) outs(%i : tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

// The mean of all columns is taken before the mask: it stays, and what it reads
// is computed in full and sliced. The columns behind are narrow.
// CHECK-LABEL: func.func @mean_before_the_mask
// CHECK: %[[H:.+]] = linalg.matmul {{.*}} -> tensor<2x4xf32>
// CHECK: linalg.reduce {{.*}} ins(%[[H]] : tensor<2x4xf32>)
// CHECK: linalg.broadcast {{.*}} outs(%{{.*}} : tensor<2x2xf32>)
// CHECK: %[[S:.+]] = tensor.extract_slice %[[H]][0, 0] [2, 2] [1, 1]
// CHECK: %[[D:.+]] = arith.subf %[[S]], %{{.*}} : tensor<2x2xf32>
// CHECK: linalg.matmul ins(%[[D]], %{{.*}} : tensor<2x2xf32>, tensor<2x3xf32>)
func.func @mean_before_the_mask(%x: tensor<2x5xf32>, %w1: tensor<5x4xf32>, %w2: tensor<4x3xf32>, %i: tensor<2x4xf32>, %j: tensor<2x3xf32>, %k: tensor<2xf32>) -> tensor<2x3xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %h = linalg.matmul ins(%x, %w1 : tensor<2x5xf32>, tensor<5x4xf32>) outs(%i : tensor<2x4xf32>) -> tensor<2x4xf32>
  // expected-remark @below {{this reads all 4 columns, of which a mask leaves 2: it is computed in full and sliced}}
  %s = linalg.reduce { arith.addf } ins(%h : tensor<2x4xf32>) outs(%k : tensor<2xf32>) dimensions = [1]
  %b = linalg.broadcast ins(%s : tensor<2xf32>) outs(%i : tensor<2x4xf32>) dimensions = [1]
  %d = arith.subf %h, %b : tensor<2x4xf32>
  %m = arith.mulf %d, %mask : tensor<2x4xf32>
  %y = linalg.matmul ins(%m, %w2 : tensor<2x4xf32>, tensor<4x3xf32>) outs(%j : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// A product may do with the columns of the mask where another reader may not.
// CHECK-LABEL: func.func @one_of_two_readers
// CHECK: %[[M:.+]] = arith.mulf %{{.*}} : tensor<2x4xf32>
// CHECK: %[[S:.+]] = tensor.extract_slice %[[M]][0, 0] [2, 2] [1, 1]
// CHECK: linalg.matmul ins(%[[S]], %{{.*}} : tensor<2x2xf32>, tensor<2x3xf32>)
// CHECK: math.cos %[[M]] : tensor<2x4xf32>
func.func @one_of_two_readers(%x: tensor<2x4xf32>, %w: tensor<4x3xf32>, %i: tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x4xf32>) {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %m = arith.mulf %x, %mask : tensor<2x4xf32>
  %y = linalg.matmul ins(%m, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  // expected-remark @below {{this makes another number than 0 of a 0 of the mask}}
  %c = math.cos %m : tensor<2x4xf32>
  return %y, %c : tensor<2x3xf32>, tensor<2x4xf32>
}

// -----

// Two masks one behind the other: the second is behind a sum of the whole
// result of the first, which takes fewer columns all the same.
// CHECK-LABEL: func.func @chain
// CHECK: %[[H:.+]] = linalg.matmul ins(%{{.*}}, %{{.*}} : tensor<2x3xf32>, tensor<3x4xf32>)
// CHECK: linalg.reduce {{.*}} ins(%[[H]] : tensor<2x4xf32>)
// CHECK: %[[S:.+]] = tensor.extract_slice %[[H]][0, 0] [2, 1] [1, 1]
// CHECK: linalg.matmul ins(%[[S]], %{{.*}} : tensor<2x1xf32>, tensor<1x4xf32>)
func.func @chain(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %i: tensor<2x4xf32>, %k: tensor<2xf32>) -> (tensor<2x4xf32>, tensor<2xf32>) {
  %three = arith.constant dense<[[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]> : tensor<2x4xf32>
  %one = arith.constant dense<[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %m = arith.mulf %x, %three : tensor<2x4xf32>
  %h = linalg.matmul ins(%m, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%i : tensor<2x4xf32>) -> tensor<2x4xf32>
  // expected-remark @below {{this reads all 4 columns, of which a mask leaves 1: it is computed in full and sliced}}
  %s = linalg.reduce { arith.addf } ins(%h : tensor<2x4xf32>) outs(%k : tensor<2xf32>) dimensions = [1]
  %n = arith.mulf %h, %one : tensor<2x4xf32>
  %y = linalg.matmul ins(%n, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%i : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y, %s : tensor<2x4xf32>, tensor<2xf32>
}

// -----

// The rows of a window cannot be fewer.
// CHECK-LABEL: func.func @no_change_window
// CHECK: linalg.conv_1d ins(%{{.*}}, %{{.*}} : tensor<8xf32>, tensor<4xf32>)
func.func @no_change_window(%x: tensor<8xf32>, %w: tensor<4xf32>, %i: tensor<5xf32>) -> tensor<5xf32> {
  %mask = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xf32>
  %m = arith.mulf %w, %mask : tensor<4xf32>
  // expected-remark @below {{the mask stays: this cannot run over a part of its dimension}}
  %y = linalg.conv_1d ins(%x, %m : tensor<8xf32>, tensor<4xf32>) outs(%i : tensor<5xf32>) -> tensor<5xf32>
  return %y : tensor<5xf32>
}
