// Products of one stream become one kernel, with what a head needs before
// attention.
// RUN: nest-opt %s --kernel-fuse-projections | FileCheck %s

#n = affine_map<(m, n) -> (n)>
#sn = affine_map<(m, n, s) -> (s, n)>
#rc = affine_map<(r, c, g) -> (r, c)>
#g = affine_map<(r, c, g) -> (g)>
#sg = affine_map<(r, c, g, s) -> (s, g)>

// Seven kernels; nothing is left of where they stored.
// CHECK-LABEL: func.func @llama(
// CHECK-NEXT: %[[Q:.*]] = tensor.empty
// CHECK-NEXT: %[[OUT:.*]] = tensor.empty
// CHECK-NEXT: %[[P:.*]]:3 = kernel.project ins(%arg1 : tensor<?x?x8xf32>) weights(%arg2, %arg3, %arg4 : tensor<8x8xbf16>, tensor<4x8xbf16>, tensor<4x8xbf16>)
// CHECK-SAME: rope(%arg5 : tensor<?x?x4xf32>) of [0, 1] head_dim 4 lengths(%arg6 : tensor<?xi32>) outs(%[[Q]], %arg7, %arg8 :
// CHECK-NEXT: kernel.attention ins(%[[P]]#0, %[[P]]#1, %[[P]]#2, %arg6 :
// CHECK-NOT: kernel.
func.func @llama(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) by [] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<4x8xbf16>) by [] outs(%4 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%3 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %out = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %z = kernel.attention ins(%6, %8, %9, %l : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>, tensor<?xi32>) scale 0.5 <causal> outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %z, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// With biases, of k and v alone here.
// CHECK-LABEL: func.func @biases(
// CHECK: kernel.project {{.*}} bias(%arg9, %arg9 : tensor<4xf32>, tensor<4xf32>) of [1, 2] rope(%arg5 : tensor<?x?x4xf32>) of [0, 1]
// CHECK-NEXT: kernel.attention
func.func @biases(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %bias: tensor<4xf32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) epilogue(%bias : tensor<4xf32>) by [#n] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %b: f32, %old: f32):
    %with = arith.addf %acc, %b : f32
    kernel.yield %with : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<4x8xbf16>) epilogue(%bias : tensor<4xf32>) by [#n] outs(%4 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %b: f32, %old: f32):
    %with = arith.addf %acc, %b : f32
    kernel.yield %with : f32
  } -> tensor<?x?x4xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%3 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %out = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %z = kernel.attention ins(%6, %8, %9, %l : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>, tensor<?xi32>) scale 0.5 <causal> outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %z, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// With norms of heads.
// CHECK-LABEL: func.func @norms(
// CHECK: kernel.project {{.*}} norm(%arg9, %arg9 : tensor<4xf32>, tensor<4xf32>) of [0, 1] epsilon 9.99999997E-7 rope(%arg5 : tensor<?x?x4xf32>) of [0, 1]
// CHECK-NEXT: kernel.attention
func.func @norms(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %h: tensor<4xf32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) by [] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<4x8xbf16>) by [] outs(%4 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %e = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %nq = kernel.rowwise ins(%1, %h : tensor<?x?x8xf32>, tensor<4xf32> by [#rc, #g]) group 4 outs(%e : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 4.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x8xf32>
  %f = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %nk = kernel.rowwise ins(%3, %h : tensor<?x?x4xf32>, tensor<4xf32> by [#rc, #g]) group 4 outs(%f : tensor<?x?x4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 4.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x4xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%nq : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%nk : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %out = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %z = kernel.attention ins(%6, %8, %9, %l : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>, tensor<?xi32>) scale 0.5 <causal> outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %z, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// Norms of whole rows do not fit a tile: they stay, and all behind them. The
// products are still one kernel.
// CHECK-LABEL: func.func @whole_rows(
// CHECK: %[[P:.*]]:3 = kernel.project {{.*}} head_dim 4 lengths(%arg6 : tensor<?xi32>) outs(%{{.*}}, %{{.*}}, %arg8 :
// CHECK-NEXT: %[[NQ:.*]] = kernel.rowwise ins(%[[P]]#0,
// CHECK: %[[NK:.*]] = kernel.rowwise ins(%[[P]]#1,
// CHECK: kernel.rope {{.*}} outs(%[[NQ]] :
// CHECK-NEXT: %[[K:.*]] = kernel.rope {{.*}} outs(%[[NK]] :
// CHECK-NEXT: kernel.cache_append ins(%[[K]],
// CHECK-NOT: kernel.cache_append
func.func @whole_rows(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<8x8xbf16>, %wv: tensor<8x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x2x32x4xbf16>, %v: tensor<?x2x32x4xbf16>, %h: tensor<8xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>) {
  %e0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%e0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %e1 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<8x8xbf16>) by [] outs(%e1 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %e2 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<8x8xbf16>) by [] outs(%e2 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %e = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %nq = kernel.rowwise ins(%1, %h : tensor<?x?x8xf32>, tensor<8xf32> by [#rc, #g]) group 8 outs(%e : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 8.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x8xf32>
  %f = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %nk = kernel.rowwise ins(%3, %h : tensor<?x?x8xf32>, tensor<8xf32> by [#rc, #g]) group 8 outs(%f : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 8.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x8xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%nq : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%nk : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x8xf32>, tensor<?xi32>) outs(%k : tensor<?x2x32x4xbf16>) -> tensor<?x2x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x8xf32>, tensor<?xi32>) outs(%v : tensor<?x2x32x4xbf16>) -> tensor<?x2x32x4xbf16>
  return %6, %8, %9 : tensor<?x?x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>
}

// A layer that attends over the caches of another one has queries alone.
// CHECK-LABEL: func.func @donor(
// CHECK: %[[P:.*]] = kernel.project ins(%arg1 : tensor<?x?x8xf32>) weights(%arg2 : tensor<8x8xbf16>) rope(%arg5 : tensor<?x?x4xf32>) of [0] head_dim 4 outs(
// CHECK-NEXT: kernel.attention ins(%[[P]], %arg7, %arg8, %arg6 :
func.func @donor(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>) -> tensor<?x?x8xf32> {
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %out = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %z = kernel.attention ins(%6, %k, %v, %l : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>, tensor<?xi32>) scale 0.5 <causal> outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %z : tensor<?x?x8xf32>
}

// Weights by set. The family's indices are those of its source; a vector that
// all sets share stands for each of them.
// CHECK-LABEL: func.func @sets(
// CHECK: %[[F:.*]]:4 = kernel.partition
// CHECK: %[[T:.*]] = kernel.rope_table
// CHECK: kernel.project ins(%arg1 : tensor<?x?x8xf32>) weights(%arg2, %arg2, %arg3, %arg3, %arg4, %arg4 : {{.*}}) norm(%arg10, %arg10, %arg9, %arg10 : {{.*}}) of [0, 1] epsilon
// CHECK-SAME: rope(%[[T]] : tensor<?x?x4xf32>) of [0, 1] head_dim 4 lengths(%arg6 : tensor<?xi32>) rows(%[[F]]#1, %[[F]]#0 : tensor<?x?xi32> : tensor<3xi32>) sets [0, 2]
// CHECK-SAME: order(%[[F]]#2, %[[F]]#3 : tensor<?x?xi32>, tensor<?xi32>) outs({{.*}}) {groups = 2 : i64}
// CHECK-NOT: kernel.
func.func @sets(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %h: tensor<4xf32>, %g: tensor<4xf32>, %ids: tensor<?x?xi32>, %i: tensor<?x?xi32>, %o: tensor<3xi32>, %r: tensor<?x?xi32>, %c: tensor<?xi32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %f:4 = kernel.partition ins(%ids : tensor<?x?xi32>) sets [0, 1] outs(%i, %o, %r, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq, %wq : tensor<8x8xbf16>, tensor<8x8xbf16>) by [] rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%0 : tensor<?x?x8xf32>) attributes {groups = 2 : i64} {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk, %wk : tensor<4x8xbf16>, tensor<4x8xbf16>) by [] rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%2 : tensor<?x?x4xf32>) attributes {groups = 2 : i64} {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv, %wv : tensor<4x8xbf16>, tensor<4x8xbf16>) by [] rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%4 : tensor<?x?x4xf32>) attributes {groups = 2 : i64} {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %e = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %nq = kernel.rowwise ins(%1, %g : tensor<?x?x8xf32>, tensor<4xf32> by [#rc, #g]) group 4 rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%e : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 4.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x8xf32>
  %ff = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %nk = kernel.rowwise ins(%3, %h, %g : tensor<?x?x4xf32>, tensor<4xf32>, tensor<4xf32> by [#rc, #sg]) group 4 rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%ff : tensor<?x?x4xf32>) attributes {groups = 2 : i64} {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 4.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x4xf32>
  %table = kernel.rope_table ins(%ids : tensor<?x?xi32>) <head_dim = 4, frequencies = [1.0, 0.1]> rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %6 = kernel.rope ins(%table : tensor<?x?x4xf32>) head_dim 4 rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%nq : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%table : tensor<?x?x4xf32>) head_dim 4 rows(%f#1 : tensor<3xi32>) sets [0, 2] outs(%nk : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) rows(%f#1, %f#2, %f#3 : tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 2] outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) rows(%f#1, %f#2, %f#3 : tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 2] outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  return %6, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// Queries of selected rows, keys and values of all: two kernels.
// CHECK-LABEL: func.func @selected(
// CHECK: %[[F:.*]]:4 = kernel.select
// CHECK: kernel.project {{.*}} rope({{.*}}) of [0] head_dim 4 rows(%[[F]]#1, %[[F]]#0 : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(
// CHECK: kernel.project {{.*}} rope({{.*}}) of [0] head_dim 4 lengths({{.*}}) outs({{.*}}) -> tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
func.func @selected(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %o: tensor<2xi32>, %r: tensor<?x?xi32>, %c: tensor<?xi32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %f:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1/8> outs(%i, %o, %r, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] rows(%f#1, %f#0 : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) by [] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<4x8xbf16>) by [] outs(%4 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %6 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%3 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  return %6, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// A table for selected rows is rows of the table for all of them.
// CHECK-LABEL: func.func @positions(
// CHECK: %[[T:.*]] = kernel.rope_table ins(%arg9 : tensor<?x?xi32>)
// CHECK: %[[F:.*]]:4 = kernel.select
// CHECK-NOT: kernel.gather
// CHECK-NOT: kernel.rope_table
// CHECK: kernel.project {{.*}} rope(%[[T]] : {{.*}} rows(%[[F]]#1, %[[F]]#0 : {{.*}} sets [0, 1] table_gathers outs(
func.func @positions(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %p: tensor<?x?xi32>, %s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %o: tensor<2xi32>, %r: tensor<?x?xi32>, %c: tensor<?xi32>) -> (tensor<?x?x8xf32>, tensor<?x?x4xf32>) {
  %whole = kernel.rope_table ins(%p : tensor<?x?xi32>) <head_dim = 4, frequencies = [1.0, 0.1]> outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %f:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1/8> outs(%i, %o, %r, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %e1 = tensor.empty(%n, %n) : tensor<?x?xi32>
  %g = kernel.gather ins(%p : tensor<?x?xi32>) rows(%f#1, %f#0 : tensor<2xi32>, tensor<?x?xi32>) sets [0, 1] outs(%e1 : tensor<?x?xi32>) -> tensor<?x?xi32>
  %e2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %table = kernel.rope_table ins(%g : tensor<?x?xi32>) <head_dim = 4, frequencies = [1.0, 0.1]> rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%e2 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %6 = kernel.rope ins(%table : tensor<?x?x4xf32>) head_dim 4 rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %6, %whole : tensor<?x?x8xf32>, tensor<?x?x4xf32>
}

// Indices within another family do not say which sequence a row is of.
// CHECK-LABEL: func.func @within(
// CHECK: %[[P:.*]] = kernel.project {{.*}} outs(%{{.*}} : tensor<?x?x4xf32>)
// CHECK: kernel.cache_append ins(%[[P]],
func.func @within(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %o: tensor<2xi32>, %r: tensor<?x?xi32>, %c: tensor<?xi32>) -> tensor<?x1x32x4xbf16> {
  %e:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1/2> outs(%i, %o, %r, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %f:4 = kernel.select ins(%s : tensor<?x?x1xf32>) within(%e#1, %e#2, %e#3 : tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 1] top <1/8> outs(%i, %o, %r, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) by [] rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %7 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 rows(%f#1 : tensor<2xi32>) sets [0, 1] outs(%3 : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%7, %l : tensor<?x?x4xf32>, tensor<?xi32>) rows(%f#1, %f#2, %f#3 : tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 1] outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  return %8 : tensor<?x1x32x4xbf16>
}

// Old rows of a cache are read before it is written: v waits for that, and k,
// whose result is wanted before, goes alone.
// CHECK-LABEL: func.func @order(
// CHECK: %[[K:.*]] = kernel.project {{.*}} weights(%arg3 : {{.*}} outs(%arg7 :
// CHECK-NEXT: kernel.attention ins(%arg1, %[[K]], %arg8,
// CHECK: %[[V:.*]] = kernel.project {{.*}} weights(%arg4 : {{.*}} outs(%arg8 :
func.func @order(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>) {
  %2 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wk : tensor<4x8xbf16>) by [] outs(%2 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %4 = tensor.empty(%n, %n) : tensor<?x?x4xf32>
  %5 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wv : tensor<4x8xbf16>) by [] outs(%4 : tensor<?x?x4xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x4xf32>
  %8 = kernel.cache_append ins(%3, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  %out = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %z = kernel.attention ins(%x, %8, %v, %l : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>, tensor<?xi32>) scale 0.5 <causal> outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %9 = kernel.cache_append ins(%5, %l : tensor<?x?x4xf32>, tensor<?xi32>) outs(%v : tensor<?x1x32x4xbf16>) -> tensor<?x1x32x4xbf16>
  return %z, %8, %9 : tensor<?x?x8xf32>, tensor<?x1x32x4xbf16>, tensor<?x1x32x4xbf16>
}

// Two readers of what stands between two kernels; a product that adds to what
// was there; heads that no tile holds; a product alone.
// CHECK-LABEL: func.func @no_change(
// CHECK-NOT: kernel.project
func.func @no_change(%n: index, %x: tensor<?x?x8xf32>, %wq: tensor<8x8xbf16>, %wk: tensor<4x8xbf16>, %wv: tensor<4x8xbf16>, %t: tensor<?x?x4xf32>, %l: tensor<?xi32>, %k: tensor<?x1x32x4xbf16>, %v: tensor<?x1x32x4xbf16>, %y: tensor<?x?x8xf32>, %wb: tensor<512x8xbf16>, %h: tensor<512xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x512xf32>, tensor<?x?x8xf32>) {
  %0 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %e = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %copy = kernel.softmax ins(%1 : tensor<?x?x8xf32>) outs(%e : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %2 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%1 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %3 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %more = arith.addf %acc, %old : f32
    kernel.yield %more : f32
  } -> tensor<?x?x8xf32>
  %4 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 4 outs(%3 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %5 = tensor.empty(%n, %n) : tensor<?x?x512xf32>
  %6 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%wb : tensor<512x8xbf16>) by [] outs(%5 : tensor<?x?x512xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x512xf32>
  %7 = tensor.empty(%n, %n) : tensor<?x?x512xf32>
  %8 = kernel.rowwise ins(%6, %h : tensor<?x?x512xf32>, tensor<512xf32> by [#rc, #g]) group 512 outs(%7 : tensor<?x?x512xf32>) {
  ^bb0(%a: f32, %b: f32):
    %square = arith.mulf %a, %a : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%a: f32, %b: f32, %sum: f32, %old: f32):
    %size = arith.constant 512.0 : f32
    %mean = arith.divf %sum, %size : f32
    %eps = arith.constant 1.0e-6 : f32
    %shifted = arith.addf %mean, %eps : f32
    %root = math.rsqrt %shifted : f32
    %normal = arith.mulf %a, %root : f32
    %scaled = arith.mulf %normal, %b : f32
    kernel.yield %scaled : f32
  } -> tensor<?x?x512xf32>
  %9 = tensor.empty(%n, %n) : tensor<?x?x8xf32>
  %10 = kernel.matmul ins(%copy : tensor<?x?x8xf32>) weights(%wq : tensor<8x8xbf16>) by [] outs(%9 : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  return %2, %copy, %4, %8, %10 : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x512xf32>, tensor<?x?x8xf32>
}
