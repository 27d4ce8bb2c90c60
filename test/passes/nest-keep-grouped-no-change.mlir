// RUN: nest-opt %s --nest-keep-grouped | FileCheck %s

// Rows that come back into a base, and families that routing makes anew in every
// layer, are left alone.
!t = tensor<?x?x8xf32>
!half = !nest.rows<1, #nest.capacity<1/2>>
// CHECK-LABEL: func.func @no_change
// CHECK: nest.select
// CHECK-NEXT: nest.gather
// CHECK-NEXT: nest.act
// CHECK-NEXT: nest.spread
// CHECK-NEXT: nest.act
// CHECK-NEXT: return
func.func @no_change(%x: !t, %s: tensor<?x?x1xf32>) -> !t {
  %half = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !half
  %p = nest.gather %x by %half : (!t, !half) -> !t
  %a = nest.act silu %p : !t
  %y = nest.spread %a by %half into %x : (!t, !half, !t) -> !t
  %z = nest.act silu %y : !t
  return %z : !t
}
