// RUN: nest-opt %s --nest-mask-to-slice --split-input-file | FileCheck %s
// Twice is once.
// RUN: nest-opt %s --nest-mask-to-slice --nest-mask-to-slice --split-input-file | FileCheck %s

// MatViT: the mask stands behind the bias and before gelu, 2 of 4 columns are
// left. Weights that are arguments are sliced, the bias of the second product
// is not on the axis.
// CHECK-LABEL: func.func @matvit
// CHECK-SAME: %[[X:.+]]: tensor<3x8xf32>, %[[W1:.+]]: tensor<8x4xf32>, %[[B1:.+]]: tensor<4xf32>, %[[W2:.+]]: tensor<4x8xf32>, %[[B2:.+]]: tensor<8xf32>
// CHECK-NOT: mulf {{.*}} : tensor
func.func @matvit(%x: tensor<3x8xf32>, %w1: tensor<8x4xf32>, %b1: tensor<4xf32>, %w2: tensor<4x8xf32>, %b2: tensor<8xf32>) -> tensor<3x8xf32> {
  %mask = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xf32>
  %zero = arith.constant 0.0 : f32
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %r = arith.constant 0.707106769 : f32
  %e = tensor.empty() : tensor<3x4xf32>
  // CHECK-DAG: %[[S1:.+]] = tensor.extract_slice %[[W1]][0, 0] [8, 2] [1, 1]
  // CHECK-DAG: %[[F1:.+]] = linalg.fill {{.*}} -> tensor<3x2xf32>
  // CHECK: %[[P:.+]] = linalg.matmul ins(%[[X]], %[[S1]] : {{.*}}) outs(%[[F1]] : tensor<3x2xf32>)
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<3x4xf32>) -> tensor<3x4xf32>
  %p = linalg.matmul ins(%x, %w1 : tensor<3x8xf32>, tensor<8x4xf32>) outs(%f : tensor<3x4xf32>) -> tensor<3x4xf32>
  // CHECK: %[[SB:.+]] = tensor.extract_slice %[[B1]][0] [2] [1]
  // CHECK: %[[BB:.+]] = linalg.broadcast ins(%[[SB]] : tensor<2xf32>)
  // CHECK: %[[H:.+]] = linalg.add ins(%[[P]], %[[BB]]
  %bb = linalg.broadcast ins(%b1 : tensor<4xf32>) outs(%e : tensor<3x4xf32>) dimensions = [0]
  %h = linalg.add ins(%p, %bb : tensor<3x4xf32>, tensor<3x4xf32>) outs(%e : tensor<3x4xf32>) -> tensor<3x4xf32>
  %mb = linalg.broadcast ins(%mask : tensor<4xf32>) outs(%e : tensor<3x4xf32>) dimensions = [0]
  %m = linalg.mul ins(%h, %mb : tensor<3x4xf32>, tensor<3x4xf32>) outs(%e : tensor<3x4xf32>) -> tensor<3x4xf32>
  // CHECK: %[[A:.+]] = linalg.generic {{.*}} ins(%[[H]] : tensor<3x2xf32>)
  %a = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%m : tensor<3x4xf32>) outs(%e : tensor<3x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.mulf %in, %r : f32
    %1 = math.erf %0 : f32
    %2 = arith.addf %1, %one : f32
    %3 = arith.mulf %in, %half : f32
    %4 = arith.mulf %3, %2 : f32
    linalg.yield %4 : f32
  } -> tensor<3x4xf32>
  // CHECK: %[[S2:.+]] = tensor.extract_slice %[[W2]][0, 0] [2, 8] [1, 1]
  // CHECK: %[[Y:.+]] = linalg.matmul ins(%[[A]], %[[S2]] : tensor<3x2xf32>, tensor<2x8xf32>)
  // CHECK-SAME: -> tensor<3x8xf32>
  %e8 = tensor.empty() : tensor<3x8xf32>
  %b2b = linalg.broadcast ins(%b2 : tensor<8xf32>) outs(%e8 : tensor<3x8xf32>) dimensions = [0]
  %y = linalg.matmul ins(%a, %w2 : tensor<3x4xf32>, tensor<4x8xf32>) outs(%b2b : tensor<3x8xf32>) -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// -----

// SwiGLU in arith and math on tensors, the mask on the gate: what it makes 0
// is 0 after silu and after the product. Constants are cut.
// CHECK-LABEL: func.func @swiglu
// CHECK-SAME: %[[X:.+]]: tensor<3x2xf32>, %[[G:.+]]: tensor<2x4xf32>, %[[U:.+]]: tensor<2x4xf32>
// CHECK-DAG: %[[D:.+]] = arith.constant dense<{{\[\[}}1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00], [5.000000e+00, 6.000000e+00]]> : tensor<3x2xf32>
// CHECK-DAG: linalg.matmul {{.*}} -> tensor<3x3xf32>
// CHECK-DAG: linalg.matmul {{.*}} -> tensor<3x3xf32>
// CHECK-NOT: tensor<3x4xf32>
// CHECK: math.exp %{{.*}} : tensor<3x3xf32>
// CHECK: linalg.matmul ins(%{{.*}}, %[[D]] : tensor<3x3xf32>, tensor<3x2xf32>)
func.func @swiglu(%x: tensor<3x2xf32>, %g: tensor<2x4xf32>, %u: tensor<2x4xf32>) -> tensor<3x2xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]]> : tensor<3x4xf32>
  %down = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]> : tensor<4x2xf32>
  %ones = arith.constant dense<1.0> : tensor<3x4xf32>
  %zero4 = arith.constant dense<0.0> : tensor<3x4xf32>
  %zero2 = arith.constant dense<0.0> : tensor<3x2xf32>
  %gate = linalg.matmul ins(%x, %g : tensor<3x2xf32>, tensor<2x4xf32>) outs(%zero4 : tensor<3x4xf32>) -> tensor<3x4xf32>
  %up = linalg.matmul ins(%x, %u : tensor<3x2xf32>, tensor<2x4xf32>) outs(%zero4 : tensor<3x4xf32>) -> tensor<3x4xf32>
  %m = arith.mulf %mask, %gate : tensor<3x4xf32>
  %n = arith.negf %m : tensor<3x4xf32>
  %exp = math.exp %n : tensor<3x4xf32>
  %den = arith.addf %exp, %ones : tensor<3x4xf32>
  %silu = arith.divf %m, %den : tensor<3x4xf32>
  %h = arith.mulf %silu, %up : tensor<3x4xf32>
  %y = linalg.matmul ins(%h, %down : tensor<3x4xf32>, tensor<4x2xf32>) outs(%zero2 : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// Directly before the contraction any function may stand before the mask.
// Batches of unknown size stay; the mask is a select by booleans.
// CHECK-LABEL: func.func @sigmoid_before_the_mask
// CHECK-NOT: arith.select
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0] [%{{.*}}, 2, 1] [1, 1, 1] : tensor<?x2x4xf32> to tensor<?x2x1xf32>
// CHECK: linalg.batch_matmul {{.*}} -> tensor<?x3x1xf32>
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<?x3x1xf32>)
// CHECK: linalg.batch_matmul ins(%{{.*}}, %{{.*}} : tensor<?x3x1xf32>, tensor<?x1x2xf32>)
func.func @sigmoid_before_the_mask(%x: tensor<?x3x2xf32>, %w1: tensor<?x2x4xf32>, %w2: tensor<?x4x2xf32>, %i4: tensor<?x3x4xf32>, %i2: tensor<?x3x2xf32>) -> tensor<?x3x2xf32> {
  %mask = arith.constant dense<[true, false, false, false]> : tensor<4xi1>
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %h = linalg.batch_matmul ins(%x, %w1 : tensor<?x3x2xf32>, tensor<?x2x4xf32>) outs(%i4 : tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %mask : tensor<?x3x4xf32>, tensor<4xi1>) outs(%i4 : tensor<?x3x4xf32>) {
  ^bb0(%in: f32, %keep: i1, %out: f32):
    %0 = arith.negf %in : f32
    %1 = math.exp %0 : f32
    %2 = arith.addf %1, %one : f32
    %3 = arith.divf %one, %2 : f32
    %4 = arith.select %keep, %3, %zero : f32
    linalg.yield %4 : f32
  } -> tensor<?x3x4xf32>
  %y = linalg.batch_matmul ins(%s, %w2 : tensor<?x3x4xf32>, tensor<?x4x2xf32>) outs(%i2 : tensor<?x3x2xf32>) -> tensor<?x3x2xf32>
  return %y : tensor<?x3x2xf32>
}

// -----

// bf16, relu squared, linalg.map and linalg.elementwise, transposed weights,
// the mask reshaped; f32 sums of bf16 products.
// CHECK-LABEL: func.func @forms
// CHECK: %[[S:.+]] = tensor.extract_slice %{{.*}}[0, 0] [2, 5] [1, 1] : tensor<4x5xbf16> to tensor<2x5xbf16>
// CHECK: linalg.transpose ins(%[[S]] : tensor<2x5xbf16>)
// CHECK: linalg.matmul {{.*}} -> tensor<1x2xbf16>
// CHECK-NOT: linalg.elementwise
// CHECK: linalg.map ins(%{{.*}} : tensor<1x2xbf16>)
// CHECK: linalg.matmul ins(%{{.*}}, %{{.*}} : tensor<1x2xbf16>, tensor<2x3xbf16>) outs(%{{.*}} : tensor<1x3xf32>)
func.func @forms(%x: tensor<1x5xbf16>, %w1: tensor<4x5xbf16>, %w2: tensor<4x3xbf16>, %i: tensor<1x4xbf16>, %j: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %flat = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xbf16>
  %mask = tensor.expand_shape %flat [[0, 1]] output_shape [1, 4] : tensor<4xbf16> into tensor<1x4xbf16>
  %e = tensor.empty() : tensor<5x4xbf16>
  %t = linalg.transpose ins(%w1 : tensor<4x5xbf16>) outs(%e : tensor<5x4xbf16>) permutation = [1, 0]
  %h = linalg.matmul ins(%x, %t : tensor<1x5xbf16>, tensor<5x4xbf16>) outs(%i : tensor<1x4xbf16>) -> tensor<1x4xbf16>
  %m = linalg.elementwise kind=#linalg.elementwise_kind<mul> ins(%h, %mask : tensor<1x4xbf16>, tensor<1x4xbf16>) outs(%i : tensor<1x4xbf16>) -> tensor<1x4xbf16>
  %zero = arith.constant 0.0 : bf16
  %a = linalg.map ins(%m : tensor<1x4xbf16>) outs(%i : tensor<1x4xbf16>)
    (%in: bf16, %out: bf16) {
      %0 = arith.maximumf %in, %zero : bf16
      %1 = arith.mulf %0, %0 : bf16
      %2 = math.tanh %1 : bf16
      linalg.yield %2 : bf16
    }
  %y = linalg.matmul ins(%a, %w2 : tensor<1x4xbf16>, tensor<4x3xbf16>) outs(%j : tensor<1x3xf32>) -> tensor<1x3xf32>
  return %y : tensor<1x3xf32>
}

// -----

// Two products read the masked value, which is the product of two masks along
// one dimension; a sum over columns takes no more of them. A mask of all ones
// goes as well.
// CHECK-LABEL: func.func @two_readers
// CHECK-SAME: %[[X:.+]]: tensor<2x4xf32>
// CHECK-NOT: mulf %{{.*}} : tensor
// CHECK: %[[S:.+]] = tensor.extract_slice %[[X]][0, 0] [2, 1]
// CHECK: linalg.matmul ins(%[[S]], %{{.*}} : tensor<2x1xf32>, tensor<1x3xf32>)
// CHECK: linalg.matmul ins(%[[S]], %{{.*}} : tensor<2x1xf32>, tensor<1x3xf32>)
// CHECK: linalg.reduce { arith.addf } ins(%[[S]] : tensor<2x1xf32>)
func.func @two_readers(%x: tensor<2x4xf32>, %u: tensor<4x3xf32>, %v: tensor<4x3xf32>, %i: tensor<2x3xf32>, %j: tensor<2xf32>) -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32>) {
  %two = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %one = arith.constant dense<[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %all = arith.constant dense<1.0> : tensor<2x4xf32>
  %a = arith.mulf %x, %two : tensor<2x4xf32>
  %b = arith.mulf %all, %a : tensor<2x4xf32>
  %m = arith.mulf %b, %one : tensor<2x4xf32>
  %y = linalg.matmul ins(%m, %u : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  %z = linalg.matmul ins(%m, %v : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  %s = linalg.reduce { arith.addf } ins(%m : tensor<2x4xf32>) outs(%j : tensor<2xf32>) dimensions = [1]
  return %y, %z, %s : tensor<2x3xf32>, tensor<2x3xf32>, tensor<2xf32>
}

// -----

// A graph without masks is left alone.
// CHECK-LABEL: func.func @no_change
// CHECK-NEXT: arith.constant dense<[1.000000e+00, 2.000000e+00]>
// CHECK-NEXT: arith.mulf
// CHECK-NEXT: return
func.func @no_change(%x: tensor<2xf32>) -> tensor<2xf32> {
  %c = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %0 = arith.mulf %x, %c : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// A mask may be computed of constants: column < 3.
// CHECK-LABEL: func.func @computed_mask
// CHECK-SAME: %[[X:.+]]: tensor<2x4xf32>
// CHECK: %[[S:.+]] = tensor.extract_slice %[[X]][0, 0] [2, 3]
// CHECK: linalg.matmul ins(%[[S]], %{{.*}} : tensor<2x3xf32>, tensor<3x3xf32>)
func.func @computed_mask(%x: tensor<2x4xf32>, %w: tensor<4x3xf32>, %i: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %three = arith.constant dense<3> : tensor<4xi64>
  %ei = tensor.empty() : tensor<4xi64>
  %eb = tensor.empty() : tensor<4xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %iota = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%ei : tensor<4xi64>) {
  ^bb0(%out: i64):
    %0 = linalg.index 0 : index
    %1 = arith.index_cast %0 : index to i64
    linalg.yield %1 : i64
  } -> tensor<4xi64>
  %below = arith.cmpi slt, %iota, %three : tensor<4xi64>
  %mask = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%below : tensor<4xi1>) outs(%eb : tensor<4xf32>) {
  ^bb0(%in: i1, %out: f32):
    %0 = arith.uitofp %in : i1 to f32
    linalg.yield %0 : f32
  } -> tensor<4xf32>
  %mb = linalg.broadcast ins(%mask : tensor<4xf32>) outs(%e : tensor<2x4xf32>) dimensions = [0]
  %m = arith.mulf %x, %mb : tensor<2x4xf32>
  %y = linalg.matmul ins(%m, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%i : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// Reshapes of other dimensions stand between mask and product.
// CHECK-LABEL: func.func @reshapes
// CHECK: linalg.batch_matmul {{.*}} -> tensor<?x3x2xf32>
// CHECK: %[[C:.+]] = tensor.collapse_shape %{{.*}} {{\[\[}}0, 1], [2]] : tensor<?x3x2xf32> into tensor<?x2xf32>
// CHECK: %[[E:.+]] = tensor.expand_shape %[[C]] {{\[\[}}0, 1], [2, 3]] output_shape [%{{.*}}, 1, 2, 1] : tensor<?x2xf32> into tensor<?x1x2x1xf32>
// CHECK: tensor.collapse_shape %[[E]] {{\[\[}}0, 1], [2, 3]] : tensor<?x1x2x1xf32> into tensor<?x2xf32>
// CHECK: linalg.matmul ins(%{{.*}}, %{{.*}} : tensor<?x2xf32>, tensor<2x5xf32>)
func.func @reshapes(%x: tensor<?x3x2xf32>, %w1: tensor<?x2x4xf32>, %w2: tensor<4x5xf32>, %i4: tensor<?x3x4xf32>, %i5: tensor<?x5xf32>, %n: index) -> tensor<?x5xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0]]]> : tensor<1x1x4xf32>
  %h = linalg.batch_matmul ins(%x, %w1 : tensor<?x3x2xf32>, tensor<?x2x4xf32>) outs(%i4 : tensor<?x3x4xf32>) -> tensor<?x3x4xf32>
  %flat = tensor.collapse_shape %mask [[0, 1, 2]] : tensor<1x1x4xf32> into tensor<4xf32>
  %m = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%h, %flat : tensor<?x3x4xf32>, tensor<4xf32>) outs(%i4 : tensor<?x3x4xf32>) {
  ^bb0(%in: f32, %keep: f32, %out: f32):
    %0 = arith.mulf %in, %keep : f32
    linalg.yield %0 : f32
  } -> tensor<?x3x4xf32>
  %c = tensor.collapse_shape %m [[0, 1], [2]] : tensor<?x3x4xf32> into tensor<?x4xf32>
  %e = tensor.expand_shape %c [[0, 1], [2, 3]] output_shape [%n, 1, 4, 1] : tensor<?x4xf32> into tensor<?x1x4x1xf32>
  %d = tensor.collapse_shape %e [[0, 1], [2, 3]] : tensor<?x1x4x1xf32> into tensor<?x4xf32>
  %y = linalg.matmul ins(%d, %w2 : tensor<?x4xf32>, tensor<4x5xf32>) outs(%i5 : tensor<?x5xf32>) -> tensor<?x5xf32>
  return %y : tensor<?x5xf32>
}

// -----

// A buffer that others read in full is made again, not sliced.
// CHECK-LABEL: func.func @shared_buffers
// CHECK-SAME: %[[X:.+]]: tensor<2x4xf32>
// CHECK-DAG: %[[F4:.+]] = linalg.fill {{.*}} -> tensor<2x4xf32>
// CHECK-DAG: %[[F2:.+]] = linalg.fill {{.*}} -> tensor<2x2xf32>
// CHECK: linalg.matmul {{.*}} outs(%[[F2]] : tensor<2x2xf32>)
// CHECK: linalg.matmul {{.*}} outs(%[[F4]] : tensor<2x4xf32>)
func.func @shared_buffers(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>) -> tensor<2x4xf32> {
  %mask = arith.constant dense<[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<2x4xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %h = linalg.matmul ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%f : tensor<2x4xf32>) -> tensor<2x4xf32>
  %m = linalg.mul ins(%h, %mask : tensor<2x4xf32>, tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = linalg.matmul ins(%m, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%f : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
