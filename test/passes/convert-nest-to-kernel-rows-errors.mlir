// RUN: nest-opt %s --split-input-file --convert-nest-to-kernel --verify-diagnostics

!t = tensor<?x?x8xf32>
!c = tensor<?x2x32x4xf32>
!half = !nest.rows<1, #nest.capacity<1/2>>
func.func @not_compact_in_a_nested_set(%x: !t, %s: tensor<?x?x1xf32>, %k: !c, %l: tensor<?xi32>) -> !t {
  %a = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !half
  %sa = nest.gather %s by %a : (tensor<?x?x1xf32>, !half) -> tensor<?x?x1xf32>
  %xa = nest.gather %x by %a : (!t, !half) -> !t
  %b = nest.select %sa within %a top <1/2> : (tensor<?x?x1xf32>, !half) -> !half
  %xb = nest.gather %xa by %b : (!t, !half) -> !t
  // expected-error@+1 {{has no kernel for a family within another unless it is compact}}
  %y = nest.attention %xb, %k, %k, %l by %b scale 0.5 <causal> : (!t, !c, !c, tensor<?xi32>, !half) -> !t
  %ya = nest.spread %y by %b into %xa : (!t, !half, !t) -> !t
  %z = nest.spread %ya by %a into %x : (!t, !half, !t) -> !t
  return %z : !t
}

// -----

!t = tensor<?x?x8xf32>
!c = tensor<?x2x32x4xf32>
func.func @counted_along_picked_sets(%x: !t, %m: tensor<?x?xi32>, %k: !c, %l: tensor<?xi32>) -> !t {
  %f = nest.partition %m sets [0, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  %p = nest.pick %f from 1 count 1 : (!nest.rows<2, cover>) -> !nest.rows<1>
  %xp = nest.gather %x by %p : (!t, !nest.rows<1>) -> !t
  // expected-error@+1 {{counts rows along the sequences of some sets of a family}}
  %y = nest.attention %xp, %k, %k, %l by %p compact scale 0.5 <causal> : (!t, !c, !c, tensor<?xi32>, !nest.rows<1>) -> !t
  %z = nest.spread %y by %p into %x : (!t, !nest.rows<1>, !t) -> !t
  return %z : !t
}
