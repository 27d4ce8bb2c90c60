// RMS norms between products become a part of them.
// RUN: nest-opt %s --kernel-fold-norms | FileCheck %s

#rc = affine_map<(d0, d1, d2) -> (d0, d1)>
#g = affine_map<(d0, d1, d2) -> (d2)>
#sg = affine_map<(d0, d1, d2, d3) -> (d3, d2)>

// A residual stream, whose norm two products read; 96 columns are 3 slices.
// CHECK-LABEL: func.func @fold
// CHECK-SAME: %[[N:[a-z0-9]+]]: index, %[[X:[a-z0-9]+]]: tensor<?x2x96xf32>, %[[A:[a-z0-9]+]]: tensor<?x2x96xf32>, %[[W:[a-z0-9]+]]: tensor<96x96xbf16>, %[[G:[a-z0-9]+]]: tensor<96xf32>
// CHECK-NEXT: %[[SCALED:.*]] = tensor.empty(%[[N]]) : tensor<?x2x96xbf16>
// CHECK-NEXT: %[[SQUARES:.*]] = tensor.empty(%[[N]]) : tensor<?x2x3xf32>
// CHECK-NEXT: %[[OUT:.*]]:3 = kernel.matmul ins(%[[A]] : tensor<?x2x96xf32>) weights(%[[W]] : {{.*}}) by [] gains(%[[G]] : tensor<96xf32>)
// CHECK-SAME: outs(%[[X]] : tensor<?x2x96xf32>) scaled(%[[SCALED]] : tensor<?x2x96xbf16>) squares(%[[SQUARES]] : tensor<?x2x3xf32>)
// CHECK: %[[SUM:.*]] = arith.addf
// CHECK-NEXT: kernel.yield %[[SUM]] : f32
// CHECK-NOT: kernel.rowwise
// CHECK-NOT: tensor.empty
// CHECK: kernel.matmul ins(%[[OUT]]#1 : tensor<?x2x96xbf16>) normed(%[[OUT]]#2 : tensor<?x2x3xf32>) epsilon 9.99999974E-6 weights
// CHECK: kernel.matmul ins(%[[OUT]]#1 : tensor<?x2x96xbf16>) normed(%[[OUT]]#2 : tensor<?x2x3xf32>) epsilon 9.99999974E-6 weights
// CHECK: return {{.*}}, {{.*}}, %[[OUT]]#0
func.func @fold(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%z : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2, %3, %0 : tensor<?x2x96xf32>, tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// f32 products, and a chain: what takes one norm makes the stream of the next.
// CHECK-LABEL: func.func @chain
// CHECK: %[[OUT:.*]]:3 = kernel.matmul ins(%{{.*}}) weights({{.*}}) by [] gains({{.*}}) outs({{.*}}) scaled(%{{.*}} : tensor<?x2x96xf32>) squares
// CHECK: %[[NEXT:.*]]:3 = kernel.matmul ins(%[[OUT]]#1 : tensor<?x2x96xf32>) normed(%[[OUT]]#2 {{.*}}) epsilon 9.99999974E-6 weights({{.*}}) by [] gains({{.*}}) outs({{.*}}) scaled
// CHECK: kernel.matmul ins(%[[NEXT]]#1 : tensor<?x2x96xf32>) normed(%[[NEXT]]#2 {{.*}}) epsilon 2.000000e+00
// CHECK-NOT: kernel.rowwise
func.func @chain(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xf32>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xf32>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xf32>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty_0 = tensor.empty(%n) : tensor<?x2x96xf32>
  %3 = kernel.rowwise ins(%2, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty_0 : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 2.0 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %4 = kernel.matmul ins(%3 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xf32>) by [] outs(%0 : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %4, %2 : tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// A gain for each set of packed rows.
// CHECK-LABEL: func.func @sets
// CHECK: %[[OUT:.*]]:3 = kernel.matmul {{.*}} rows(%{{.*}} : tensor<4xi32>) sets [0, 3] gains(%{{.*}}, %{{.*}}, %{{.*}} : tensor<96xf32>, tensor<96xf32>, tensor<96xf32>) outs
// CHECK: kernel.matmul ins(%[[OUT]]#1 : tensor<?x2x96xbf16>) normed(%[[OUT]]#2 : {{.*}} rows(%{{.*}}) sets [0, 3] outs
// CHECK-NOT: kernel.rowwise
func.func @sets(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %f: tensor<4xi32>, %w0: tensor<96x96xbf16>, %g0: tensor<96xf32>, %w1: tensor<96x96xbf16>, %g1: tensor<96xf32>, %w2: tensor<96x96xbf16>, %g2: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w0, %w1, %w2 : tensor<96x96xbf16>, tensor<96x96xbf16>, tensor<96x96xbf16>) by [] rows(%f : tensor<4xi32>) sets [0, 3] outs(%x : tensor<?x2x96xf32>) attributes {groups = 3 : i64} {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g0, %g1, %g2 : tensor<?x2x96xf32>, tensor<96xf32>, tensor<96xf32>, tensor<96xf32> by [#rc, #sg]) group 96 rows(%f : tensor<4xi32>) sets [0, 3] outs(%empty : tensor<?x2x96xf32>) attributes {groups = 3 : i64} {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w0, %w1, %w2 : tensor<96x96xbf16>, tensor<96x96xbf16>, tensor<96x96xbf16>) by [] rows(%f : tensor<4xi32>) sets [0, 3] outs(%y : tensor<?x2x96xf32>) attributes {groups = 3 : i64} {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// Gathered rows: products gather what was written for all of them.
// CHECK-LABEL: func.func @gathered
// CHECK-SAME: %[[F:[a-z0-9]+]]: tensor<2xi32>, %[[I:[a-z0-9]+]]: tensor<?x2xi32>, %[[Y:[a-z0-9]+]]: tensor<?x2x96xf32>, %[[Z:[a-z0-9]+]]: tensor<?x2x96xf32>)
// CHECK: %[[OUT:.*]]:3 = kernel.matmul ins(%{{.*}}) weights({{.*}}) by [] gains
// CHECK: %[[COPY:.*]] = kernel.rowwise ins(%[[OUT]]#0
// CHECK-NOT: kernel.rowwise
// CHECK-NOT: tensor.empty
// CHECK: kernel.matmul ins(%[[OUT]]#1 : tensor<?x2x96xbf16>) normed(%[[OUT]]#2 : {{.*}} rows(%[[F]], %[[I]] : {{.*}}) sets [0, 1] gathers outs(%[[Y]]
// CHECK: kernel.matmul ins(%[[COPY]]
func.func @gathered(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %f: tensor<2xi32>, %i: tensor<?x2xi32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty_0 = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0 : tensor<?x2x96xf32> by [#rc]) group 96 rows(%f, %i : tensor<?x2xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%empty_0 : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %2 = kernel.rowwise ins(%1, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 rows(%f : tensor<2xi32>) sets [0, 1] outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.matmul ins(%2 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f : tensor<2xi32>) sets [0, 1] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %4 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f : tensor<2xi32>) sets [0, 1] outs(%z : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %3, %4 : tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// The same in one kernel.
// CHECK-LABEL: func.func @gathers
// CHECK: %[[OUT:.*]]:3 = kernel.matmul ins(%{{.*}}) weights({{.*}}) by [] gains
// CHECK-NOT: kernel.rowwise
// CHECK: kernel.matmul ins(%[[OUT]]#1 {{.*}} normed(%[[OUT]]#2 {{.*}} gathers outs
// CHECK: return
func.func @gathers(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %f: tensor<2xi32>, %i: tensor<?x2xi32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 rows(%f, %i : tensor<?x2xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f : tensor<2xi32>) sets [0, 1] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// Products of packed rows that are others than those that were gathered.
// CHECK-LABEL: func.func @no_change_gathered
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_gathered(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %f: tensor<2xi32>, %i: tensor<?x2xi32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>, %e: tensor<2xi32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 rows(%f, %i : tensor<?x2xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%e : tensor<2xi32>) sets [0, 1] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// Projections take a norm too.
// CHECK-LABEL: func.func @project
// CHECK: %[[OUT:.*]]:3 = kernel.matmul {{.*}} gains
// CHECK-NOT: kernel.rowwise
// CHECK: kernel.project ins(%[[OUT]]#1 : tensor<?x2x96xbf16>) normed(%[[OUT]]#2 : tensor<?x2x3xf32>) epsilon 9.99999974E-6 weights
func.func @project(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2:2 = kernel.project ins(%1 : tensor<?x2x96xf32>) weights(%w, %w : tensor<96x96xbf16>, tensor<96x96xbf16>) head_dim 96 outs(%y, %z : tensor<?x2x96xf32>, tensor<?x2x96xf32>) -> tensor<?x2x96xf32>, tensor<?x2x96xf32>
  return %2#0, %2#1 : tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// f16: x * gain may be out of range.
// CHECK-LABEL: func.func @no_change_f16
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_f16(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// Something else reads the normalised stream.
// CHECK-LABEL: func.func @no_change_reader
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_reader(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %t: tensor<?x2x8xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.rope ins(%t : tensor<?x2x8xf32>) head_dim 96 outs(%1 : tensor<?x2x96xf32>) -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// Products that take it in two types.
// CHECK-LABEL: func.func @no_change_types
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_types(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %u: tensor<96x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%u : tensor<96x96xf32>) by [] outs(%2 : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %3 : tensor<?x2x96xf32>
}

// A stream that no product makes.
// CHECK-LABEL: func.func @no_change_argument
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_argument(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%x, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// A bias is not linear in the stream.
// CHECK-LABEL: func.func @no_change_bias
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_bias(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    %q = arith.addf %norm, %gain : f32
    kernel.yield %q : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// The norm is of other rows than the product.
// CHECK-LABEL: func.func @no_change_rows
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_rows(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %f: tensor<4xi32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 rows(%f : tensor<4xi32>) sets [0, 2] outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f : tensor<4xi32>) sets [0, 2] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// A block that some rows enter: those that it leaves alone have what the product
// in front of it wrote, which writes for the norm of its own output as well. Both
// have the same squares, over which the block scatters.
// CHECK-LABEL: func.func @scatters
// CHECK-SAME: %[[G:[a-z0-9]+]]: tensor<96xf32>, %[[H:[a-z0-9]+]]: tensor<96xf32>
// CHECK-DAG: %[[SQUARES:.*]] = tensor.empty(%{{.*}}) : tensor<?x2x3xf32>
// CHECK: %[[X:.*]]:4 = kernel.matmul {{.*}} gains(%[[G]], %[[H]] : tensor<96xf32>, tensor<96xf32>) outs(%{{.*}}) scaled(%{{.*}}, %{{.*}} : tensor<?x2x96xbf16>, tensor<?x2x96xbf16>) squares(%[[SQUARES]] : tensor<?x2x3xf32>)
// CHECK: kernel.matmul ins(%[[X]]#1 : tensor<?x2x96xbf16>) normed(%[[X]]#3 : tensor<?x2x3xf32>)
// CHECK: %[[Y:.*]]:3 = kernel.matmul {{.*}} scatters gains(%[[H]] : tensor<96xf32>) outs(%[[X]]#0 : tensor<?x2x96xf32>) scaled(%[[X]]#2 : tensor<?x2x96xbf16>) squares(%[[X]]#3 : tensor<?x2x3xf32>)
// CHECK-NOT: kernel.rowwise
// CHECK: kernel.matmul ins(%[[Y]]#1 : tensor<?x2x96xbf16>) normed(%[[Y]]#2 : tensor<?x2x3xf32>)
// CHECK: return
func.func @scatters(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %h: tensor<96xf32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>, %f: tensor<4xi32>, %i: tensor<?x2xi32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %e0 = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%e0 : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.matmul ins(%2 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f, %i : tensor<?x2xi32> : tensor<4xi32>) sets [0, 3] scatters outs(%0 : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %e1 = tensor.empty(%n) : tensor<?x2x96xf32>
  %4 = kernel.rowwise ins(%3, %h : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%e1 : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %5 = kernel.matmul ins(%4 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%z : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %5, %3 : tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// Rows that something else has made stay as they were, and so do those of two
// blocks, one behind the other.
// CHECK-LABEL: func.func @no_change_scatters(
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
// CHECK-LABEL: func.func @no_change_scatters_twice
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_scatters(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>, %f: tensor<4xi32>, %i: tensor<?x2xi32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f, %i : tensor<?x2xi32> : tensor<4xi32>) sets [0, 3] scatters outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

func.func @no_change_scatters_twice(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %h: tensor<96xf32>, %y: tensor<?x2x96xf32>, %z: tensor<?x2x96xf32>, %f: tensor<4xi32>, %i: tensor<?x2xi32>) -> (tensor<?x2x96xf32>, tensor<?x2x96xf32>) {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %3 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f, %i : tensor<?x2xi32> : tensor<4xi32>) sets [0, 3] scatters outs(%0 : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %4 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] rows(%f, %i : tensor<?x2xi32> : tensor<4xi32>) sets [0, 3] scatters outs(%3 : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %e1 = tensor.empty(%n) : tensor<?x2x96xf32>
  %6 = kernel.rowwise ins(%4, %h : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%e1 : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %gain: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %gain: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %norm = arith.mulf %unit, %gain : f32
    kernel.yield %norm : f32
  } -> tensor<?x2x96xf32>
  %5 = kernel.matmul ins(%6 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%z : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %5, %4 : tensor<?x2x96xf32>, tensor<?x2x96xf32>
}

// A layer norm has a mean.
// CHECK-LABEL: func.func @no_change_layer
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_layer(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %empty = tensor.empty(%n) : tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%empty : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %weight: f32):
    kernel.yield %v : f32
  }, {
  ^bb0(%v: f32, %weight: f32, %sum: f32):
    %size = arith.constant 96.0 : f32
    %mean = arith.divf %sum, %size : f32
    %d = arith.subf %v, %mean : f32
    %square = arith.mulf %d, %d : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %weight: f32, %sum: f32, %squares: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %d = arith.subf %v, %mean : f32
    %variance = arith.divf %squares, %size : f32
    %more = arith.addf %variance, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %d, %scale : f32
    %q = arith.mulf %unit, %weight : f32
    kernel.yield %q : f32
  } -> tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.addf %old, %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}

// A norm behind a product that is added to the stream: olmo2's.
// CHECK-LABEL: func.func @no_change_post
// CHECK-NOT: scaled
// CHECK: kernel.rowwise
// CHECK-NOT: normed
// CHECK: return
func.func @no_change_post(%n: index, %x: tensor<?x2x96xf32>, %a: tensor<?x2x96xf32>, %w: tensor<96x96xbf16>, %g: tensor<96xf32>, %y: tensor<?x2x96xf32>) -> tensor<?x2x96xf32> {
  %0 = kernel.matmul ins(%a : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%x : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.negf %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %1 = kernel.rowwise ins(%0, %g : tensor<?x2x96xf32>, tensor<96xf32> by [#rc, #g]) group 96 outs(%y : tensor<?x2x96xf32>) {
  ^bb0(%v: f32, %weight: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %weight: f32, %sum: f32, %old: f32):
    %size = arith.constant 96.0 : f32
    %eps = arith.constant 1.0e-5 : f32
    %mean = arith.divf %sum, %size : f32
    %more = arith.addf %mean, %eps : f32
    %scale = math.rsqrt %more : f32
    %unit = arith.mulf %v, %scale : f32
    %q = arith.mulf %unit, %weight : f32
    %r = arith.addf %old, %q : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  %e = tensor.empty(%n) : tensor<?x2x96xf32>
  %2 = kernel.matmul ins(%1 : tensor<?x2x96xf32>) weights(%w : tensor<96x96xbf16>) by [] outs(%e : tensor<?x2x96xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %r = arith.negf %acc : f32
    kernel.yield %r : f32
  } -> tensor<?x2x96xf32>
  return %2 : tensor<?x2x96xf32>
}
