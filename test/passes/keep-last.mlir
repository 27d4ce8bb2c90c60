// RUN: nest-opt %s --nest-keep-last | FileCheck %s
// RUN: nest-opt %s --nest-keep-last --nest-keep-last | FileCheck %s

!t = tensor<?x?x8xf32>
!ids = tensor<?x?xi32>
!n = tensor<?xi32>
!cache = tensor<?x2x32x4xf32>

// The first layer writes keys and values, the second reads these only: of all
// that comes behind the first one's attention, the last row is computed. Its
// position, and the number of rows before it, are those of the last row; ids of
// a second embedding are too.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: tensor<?x?xi32>, %[[POS:[a-z0-9]+]]: tensor<?x?xi32>, %[[N:[a-z0-9]+]]: tensor<?xi32>, %[[C:[a-z0-9]+]]: tensor<?x2x32x4xf32>, %[[T:[a-z0-9]+]]: tensor<12x8xf32>, %[[W:[a-z0-9]+]]: tensor<8x8xf32>, %[[G:[a-z0-9]+]]: tensor<8xf32>
// CHECK-DAG: %[[LASTIDS:.*]] = nest.last %[[IDS]] : (tensor<?x?xi32>) -> tensor<?x1xi32>
// CHECK-DAG: %[[LASTPOS:.*]] = nest.last %[[POS]] : (tensor<?x?xi32>) -> tensor<?x1xi32>
// CHECK-DAG: %[[RANK:.*]] = nest.rank %[[N]], %[[IDS]] : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
// CHECK-DAG: %[[BEFORE:.*]] = nest.last %[[RANK]] : (tensor<?x?xi32>) -> tensor<?x1xi32>
// CHECK: %[[X:.*]] = nest.embed %[[IDS]], %[[T]]
// CHECK-NEXT: %[[LASTX:.*]] = nest.last %[[X]] : (tensor<?x?x8xf32>) -> tensor<?x1x8xf32>
// CHECK-NEXT: %[[K:.*]] = nest.linear %[[X]], %[[W]]
// CHECK-NEXT: %[[KEYS:.*]] = nest.cache_append %[[C]], %[[K]], %[[N]]
// CHECK-NEXT: %[[Q0:.*]] = nest.linear %[[LASTX]], %[[W]] : (tensor<?x1x8xf32>, tensor<8x8xf32>) -> tensor<?x1x8xf32>
// CHECK-NEXT: %[[A0:.*]] = nest.attention %[[Q0]], %[[KEYS]], %[[KEYS]], %[[BEFORE]] scale {{.*}} <causal> : (tensor<?x1x8xf32>, {{.*}}, tensor<?x1xi32>) -> tensor<?x1x8xf32>
// CHECK-NEXT: %[[X1:.*]] = arith.addf %[[LASTX]], %[[A0]] : tensor<?x1x8xf32>
// CHECK-NEXT: %[[NORM:.*]] = nest.norm rms %[[X1]] weight(%[[G]])
// CHECK-NEXT: %[[Q:.*]] = nest.linear %[[NORM]], %[[W]]
// CHECK-NEXT: %[[TURNED:.*]] = nest.rope %[[Q]], %[[LASTPOS]]
// CHECK-NEXT: %[[A:.*]] = nest.attention %[[TURNED]], %[[KEYS]], %[[KEYS]], %[[BEFORE]] scale {{.*}} <causal, window = 8>
// CHECK-NEXT: %[[E:.*]] = nest.embed %[[LASTIDS]], %[[T]] : (tensor<?x1xi32>, tensor<12x8xf32>) -> tensor<?x1x8xf32>
// CHECK-NEXT: %[[Y:.*]] = arith.addf %[[A]], %[[E]] : tensor<?x1x8xf32>
// CHECK-NEXT: return %[[Y]], %[[KEYS]]
func.func @shared(%ids: !ids, %pos: !ids, %n: !n, %c: !cache, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>, %g: tensor<8xf32>) -> (tensor<?x1x8xf32>, !cache) {
  %x = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %k = nest.linear %x, %w : (!t, tensor<8x8xf32>) -> !t
  %keys = nest.cache_append %c, %k, %n : (!cache, !t, !n) -> !cache
  %q0 = nest.linear %x, %w : (!t, tensor<8x8xf32>) -> !t
  %a0 = nest.attention %q0, %keys, %keys, %n scale 0.5 <causal> : (!t, !cache, !cache, !n) -> !t
  %x1 = arith.addf %x, %a0 : !t
  %norm = nest.norm rms %x1 weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
  %q = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %turned = nest.rope %q, %pos by <head_dim = 4, frequencies = [1.0, 0.1]> : (!t, !ids) -> !t
  %a = nest.attention %turned, %keys, %keys, %n scale 0.5 <causal, window = 8> : (!t, !cache, !cache, !n) -> !t
  %e = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %y = arith.addf %a, %e : !t
  %last = nest.last %y : (!t) -> tensor<?x1x8xf32>
  return %last, %keys : tensor<?x1x8xf32>, !cache
}

// As in llama: keys, values and queries of the last layer read one norm, so that
// all rows are needed up to it.
// CHECK-LABEL: func.func @no_change_llama
// CHECK-NEXT: nest.embed
// CHECK-NEXT: nest.norm
// CHECK-NEXT: nest.linear
// CHECK-NEXT: nest.cache_append
// CHECK-NEXT: nest.linear
// CHECK-NEXT: nest.attention {{.*}} -> tensor<?x?x8xf32>
// CHECK-NEXT: nest.linear
// CHECK-NEXT: arith.addf {{.*}} : tensor<?x?x8xf32>
// CHECK-NEXT: %[[L:.*]] = nest.last
// CHECK-NEXT: nest.norm {{.*}} %[[L]]
// CHECK-NEXT: return
func.func @no_change_llama(%ids: !ids, %n: !n, %c: !cache, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>) -> (tensor<?x1x8xf32>, !cache) {
  %x = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %norm = nest.norm rms %x epsilon 1.0e-5 : (!t) -> !t
  %k = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %keys = nest.cache_append %c, %k, %n : (!cache, !t, !n) -> !cache
  %q = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %a = nest.attention %q, %keys, %keys, %n scale 0.5 <causal> : (!t, !cache, !cache, !n) -> !t
  %o = nest.linear %a, %w : (!t, tensor<8x8xf32>) -> !t
  %y = arith.addf %x, %o : !t
  %last = nest.last %y : (!t) -> tensor<?x1x8xf32>
  %z = nest.norm rms %last epsilon 1.0e-5 : (tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  return %z, %keys : tensor<?x1x8xf32>, !cache
}

// Nobody asks for the last row: all are results.
// CHECK-LABEL: func.func @no_change_all
// CHECK-NOT: nest.last
// CHECK: return
func.func @no_change_all(%ids: !ids, %n: !n, %keys: !cache, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>) -> !t {
  %x = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %norm = nest.norm rms %x epsilon 1.0e-5 : (!t) -> !t
  %q = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %a = nest.attention %q, %keys, %keys, %n scale 0.5 <causal> : (!t, !cache, !cache, !n) -> !t
  return %a : !t
}

// A stream that is a result as well as asked for its last row is computed whole,
// and all that it is made of.
// CHECK-LABEL: func.func @no_change_result
// CHECK-COUNT-1: nest.last
// CHECK-NOT: nest.last
// CHECK: return
func.func @no_change_result(%ids: !ids, %n: !n, %keys: !cache, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>) -> (tensor<?x1x8xf32>, !t) {
  %x = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %norm = nest.norm rms %x epsilon 1.0e-5 : (!t) -> !t
  %q = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %a = nest.attention %q, %keys, %keys, %n scale 0.5 <causal> : (!t, !cache, !cache, !n) -> !t
  %last = nest.last %a : (!t) -> tensor<?x1x8xf32>
  return %last, %a : tensor<?x1x8xf32>, !t
}

// A step of one token has no other row.
// CHECK-LABEL: func.func @no_change_step
// CHECK-NOT: nest.rank
// CHECK: return
func.func @no_change_step(%ids: tensor<?x1xi32>, %n: !n, %keys: !cache, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x1x8xf32> {
  %x = nest.embed %ids, %t : (tensor<?x1xi32>, tensor<12x8xf32>) -> tensor<?x1x8xf32>
  %norm = nest.norm rms %x epsilon 1.0e-5 : (tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  %q = nest.linear %norm, %w : (tensor<?x1x8xf32>, tensor<8x8xf32>) -> tensor<?x1x8xf32>
  %a = nest.attention %q, %keys, %keys, %n scale 0.5 <causal> : (tensor<?x1x8xf32>, !cache, !cache, !n) -> tensor<?x1x8xf32>
  %last = nest.last %a : (tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  return %last : tensor<?x1x8xf32>
}

// Rows of a sequence are packed.
// CHECK-LABEL: func.func @no_change_rows
// CHECK: nest.select
// CHECK: nest.attention {{.*}} -> tensor<?x?x8xf32>
// CHECK-NEXT: nest.last
// CHECK-NEXT: return
func.func @no_change_rows(%ids: !ids, %n: !n, %keys: !cache, %s: tensor<?x?x1xf32>, %t: tensor<12x8xf32>, %w: tensor<8x8xf32>) -> tensor<?x1x8xf32> {
  %half = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/2>>
  %x = nest.embed %ids, %t : (!ids, tensor<12x8xf32>) -> !t
  %p = nest.gather %x by %half : (!t, !nest.rows<1, #nest.capacity<1/2>>) -> !t
  %m = nest.act silu %p : !t
  %z = nest.spread %m by %half into %x : (!t, !nest.rows<1, #nest.capacity<1/2>>, !t) -> !t
  %norm = nest.norm rms %z epsilon 1.0e-5 : (!t) -> !t
  %q = nest.linear %norm, %w : (!t, tensor<8x8xf32>) -> !t
  %a = nest.attention %q, %keys, %keys, %n scale 0.5 <causal> : (!t, !cache, !cache, !n) -> !t
  %last = nest.last %a : (!t) -> tensor<?x1x8xf32>
  return %last : tensor<?x1x8xf32>
}
