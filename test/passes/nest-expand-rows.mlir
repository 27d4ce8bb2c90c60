// RUN: nest-opt %s --split-input-file --nest-expand-rows | FileCheck %s

// Towers that differ in their weights are one body with a weight for each set.
!t = tensor<?x?x8xf32>
!towers = !nest.rows<2, cover>
nest.weight @a : tensor<4x8xf32>
nest.weight @b : tensor<4x8xf32>
nest.weight @tied : tensor<8xf32>

// CHECK-LABEL: func.func @towers
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[M:.*]]: tensor<?x?xi32>
// CHECK: %[[T:.*]] = nest.partition %[[M]]
// CHECK: %[[P:.*]] = nest.gather %[[X]] by %[[T]]
// CHECK: %[[G:.*]] = nest.get @tied
// CHECK-NOT: nest.get @tied
// CHECK: %[[N:.*]] = nest.norm rms %[[P]] weight(%[[G]])
// CHECK: %[[A:.*]] = nest.get @a
// CHECK: %[[B:.*]] = nest.get @b
// CHECK: %[[W:.*]] = nest.per_set %[[T]](%[[A]], %[[B]])
// CHECK: %[[Y:.*]] = nest.linear %[[N]], %[[W]]
// CHECK: nest.spread %[[Y]] by %[[T]] :
// CHECK-NOT: nest.on
func.func @towers(%x: !t, %m: tensor<?x?xi32>) -> tensor<?x?x4xf32> {
  %t = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !towers
  %y = nest.on %t gather(%x) : (!towers, !t) -> tensor<?x?x4xf32> {
  ^bb0(%xs: !t):
    %g = nest.get @tied : tensor<8xf32>
    %n = nest.norm rms %xs weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
    %w = nest.get @a : tensor<4x8xf32>
    %y = nest.linear %n, %w : (!t, tensor<4x8xf32>) -> tensor<?x?x4xf32>
    nest.yield %y : tensor<?x?x4xf32>
  }, {
  ^bb0(%xs: !t):
    %g = nest.get @tied : tensor<8xf32>
    %n = nest.norm rms %xs weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
    %w = nest.get @b : tensor<4x8xf32>
    %y = nest.linear %n, %w : (!t, tensor<4x8xf32>) -> tensor<?x?x4xf32>
    nest.yield %y : tensor<?x?x4xf32>
  }
  return %y : tensor<?x?x4xf32>
}

// -----

// Bodies that do different things stay apart, each on its own sets; a set
// without a body keeps its rows.
!t = tensor<?x?x8xf32>
// CHECK-LABEL: func.func @different
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[S:.*]]: tensor<?x?x3xf32>
// CHECK: %[[F:.*]] = nest.assign
// CHECK: %[[FIRST:.*]] = nest.pick %[[F]] from 0 count 1
// CHECK: %[[P:.*]] = nest.gather %[[X]] by %[[FIRST]]
// CHECK: %[[A:.*]] = nest.act silu %[[P]]
// CHECK: %[[ONE:.*]] = nest.spread %[[A]] by %[[FIRST]] into %[[X]]
// CHECK: %[[SECOND:.*]] = nest.pick %[[F]] from 1 count 1
// CHECK: %[[Q:.*]] = nest.gather %[[X]] by %[[SECOND]]
// CHECK: %[[B:.*]] = nest.act tanh %[[Q]]
// CHECK: %[[TWO:.*]] = nest.spread %[[B]] by %[[SECOND]] into %[[ONE]]
// CHECK: return %[[TWO]]
func.func @different(%x: !t, %s: tensor<?x?x3xf32>) -> !t {
  %f = nest.assign %s choice 0 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  %y = nest.on %f gather(%x) into(%x) : (!nest.rows<3, cover>, !t, !t) -> !t {
  ^bb0(%xs: !t):
    %y = nest.act silu %xs : !t
    nest.yield %y : !t
  }, {
  ^bb0(%xs: !t):
    %y = nest.act tanh %xs : !t
    nest.yield %y : !t
  }
  return %y : !t
}

// -----

// k = 0 leaves the base, k = S plain streams: no routing is left of either.
!t = tensor<?x?x8xf32>
!none = !nest.rows<1, #nest.capacity<0/1>>
!all = !nest.rows<1, #nest.capacity<1/1>>
// CHECK-LABEL: func.func @none_and_all
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>
// CHECK-NEXT: %[[Y:.*]] = nest.act silu %[[X]]
// CHECK-NEXT: return %[[X]], %[[Y]]
func.func @none_and_all(%x: !t, %s: tensor<?x?x1xf32>) -> (!t, !t) {
  %none = nest.select %s top <0/1> : (tensor<?x?x1xf32>) -> !none
  %a = nest.on %none gather(%x) into(%x) : (!none, !t, !t) -> !t {
  ^bb0(%xs: !t):
    %y = nest.act tanh %xs : !t
    nest.yield %y : !t
  }
  %all = nest.select %s top <1/1> : (tensor<?x?x1xf32>) -> !all
  %b = nest.on %all gather(%x) into(%x) : (!all, !t, !t) -> !t {
  ^bb0(%xs: !t):
    %y = nest.act silu %xs : !t
    nest.yield %y : !t
  }
  return %a, %b : !t, !t
}

// -----

// One row of which the capacity keeps one is all rows: decode under top-k.
!t = tensor<?x1x8xf32>
!some = !nest.rows<1, #nest.capacity<1/8, min 1>>
// CHECK-LABEL: func.func @one_row
// CHECK-NEXT: nest.act
// CHECK-NEXT: return
func.func @one_row(%x: !t, %s: tensor<?x1x1xf32>) -> !t {
  %some = nest.select %s top <1/8, min 1> : (tensor<?x1x1xf32>) -> !some
  %y = nest.on %some gather(%x) into(%x) : (!some, !t, !t) -> !t {
  ^bb0(%xs: !t):
    %y = nest.act silu %xs : !t
    nest.yield %y : !t
  }
  return %y : !t
}

// -----

// A set inside a set.
!t = tensor<?x?x8xf32>
!half = !nest.rows<1, #nest.capacity<1/2>>
// CHECK-LABEL: func.func @nested
// CHECK: %[[HALF:.*]] = nest.select
// CHECK: %[[P:.*]] = nest.gather %{{.*}} by %[[HALF]]
// CHECK: %[[IN:.*]] = nest.assign %{{.*}} within %[[HALF]]
// CHECK: %[[Q:.*]] = nest.gather %[[P]] by
// CHECK: nest.spread %{{.*}} into %[[P]]
// CHECK: nest.spread %{{.*}} by %[[HALF]] into
func.func @nested(%x: !t, %s: tensor<?x?x1xf32>, %p: tensor<?x?x2xf32>) -> !t {
  %half = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !half
  %y = nest.on %half gather(%x, %p) into(%x) : (!half, !t, tensor<?x?x2xf32>, !t) -> !t {
  ^bb0(%xs: !t, %ps: tensor<?x?x2xf32>):
    %f = nest.assign %ps within %half choice 0 : (tensor<?x?x2xf32>, !half) -> !nest.rows<2, cover>
    %z = nest.on %f gather(%xs) into(%xs) : (!nest.rows<2, cover>, !t, !t) -> !t {
    ^bb0(%xss: !t):
      %y = nest.act silu %xss : !t
      nest.yield %y : !t
    }
    nest.yield %z : !t
  }
  return %y : !t
}

// -----

// Routing that does not depend on the layer is computed once, up front.
!t = tensor<?x?x8xf32>
!towers = !nest.rows<2, cover>
// CHECK-LABEL: func.func @hoisted
// CHECK-SAME: %[[X:.*]]: tensor<?x?x8xf32>, %[[M:.*]]: tensor<?x?xi32>
// CHECK-NEXT: %[[T:.*]] = nest.partition %[[M]]
// CHECK-NOT: nest.partition
// CHECK: %[[Y:.*]] = nest.act silu %[[X]]
// CHECK: nest.gather %[[X]] by %[[T]]
// CHECK-NOT: nest.partition
// CHECK: nest.gather %[[Y]] by %[[T]]
func.func @hoisted(%x: !t, %m: tensor<?x?xi32>) -> (!t, !t) {
  %x1 = nest.act silu %x : !t
  %t = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !towers
  %a = nest.gather %x by %t : (!t, !towers) -> !t
  %t1 = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !towers
  %b = nest.gather %x1 by %t1 : (!t, !towers) -> !t
  return %a, %b : !t, !t
}

// -----

// A routed body in one tower: the set that the body names and the set that the
// tower runs on are one.
// CHECK-LABEL: func.func @tower_with_depth
// CHECK: %[[TOWER:.*]] = nest.pick %{{.*}} from 0 count 1
// CHECK-NOT: from 0 count 1
// CHECK: %[[P:.*]] = nest.gather %{{.*}} by %[[TOWER]]
// CHECK: %[[K:.*]] = nest.select %{{.*}} within %[[TOWER]]
// CHECK: nest.gather %[[P]] by %[[K]]
// CHECK: %[[Z:.*]] = nest.spread %{{.*}} by %[[K]] into %[[P]]
// CHECK: arith.addf %[[Z]], %[[P]]
// CHECK: nest.spread %{{.*}} by %[[TOWER]] into
!t = tensor<?x?x8xf32>
!s = tensor<?x?x1xf32>
!towers = !nest.rows<2, cover>
!one = !nest.rows<1>
!half = !nest.rows<1, #nest.capacity<1/2>>
func.func @tower_with_depth(%x: !t, %s: !s, %m: tensor<?x?xi32>) -> !t {
  %f = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !towers
  %first = nest.pick %f from 0 count 1 : (!towers) -> !one
  %y = nest.on %f gather(%x, %s) into(%x) : (!towers, !t, !s, !t) -> !t {
  ^bb0(%xs: !t, %ss: !s):
    %k = nest.select %ss within %first top <1/2> : (!s, !one) -> !half
    %z = nest.on %k gather(%xs) into(%xs) : (!half, !t, !t) -> !t {
    ^bb0(%xk: !t):
      %a = nest.act silu %xk : !t
      nest.yield %a : !t
    }
    %w = arith.addf %z, %xs : !t
    nest.yield %w : !t
  }, {
  ^bb0(%xs: !t, %ss: !s):
    %a = nest.act tanh %xs : !t
    nest.yield %a : !t
  }
  return %y : !t
}

// -----

// Nothing to do.
// CHECK-LABEL: func.func @no_change
// CHECK-NEXT: nest.act
// CHECK-NEXT: return
func.func @no_change(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %y = nest.act silu %x : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
