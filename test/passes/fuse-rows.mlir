// RUN: nest-opt %s --nest-fuse-rows | FileCheck %s
// RUN: nest-opt %s --nest-fuse-rows --nest-fuse-rows | FileCheck %s

!t = tensor<?x?x8xf32>

// Two streams that have norms and are mixed: one kernel, with a result for each
// value that something else reads. The product with the matrix is no part of it.
// CHECK-LABEL: func.func @streams
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>, %[[R:[a-z0-9]+]]: tensor<?x?x8xf32>, %[[G:[a-z0-9]+]]: tensor<8xf32>, %[[W:[a-z0-9]+]]: tensor<32x8xbf16>
// CHECK-NEXT: %[[F:.*]]:2 = nest.fused(%[[X]], %[[G]], %[[R]]) : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
// CHECK-NEXT: ^bb0(%[[FX:.*]]: tensor<?x?x8xf32>, %[[FG:.*]]: tensor<8xf32>, %[[FR:.*]]: tensor<?x?x8xf32>):
// CHECK-NEXT: %[[N:.*]] = nest.norm rms %[[FX]] weight(%[[FG]])
// CHECK-NEXT: %[[S:.*]] = arith.addf %[[FR]], %[[N]]
// CHECK-NEXT: %[[M:.*]] = nest.norm rms %[[S]]
// CHECK-NEXT: nest.yield %[[S]], %[[M]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[P:.*]] = nest.linear %[[F]]#1, %[[W]]
// CHECK-NEXT: return %[[F]]#0, %[[P]]
func.func @streams(%x: !t, %r: !t, %g: tensor<8xf32>, %w: tensor<32x8xbf16>) -> (!t, tensor<?x?x32xf32>) {
  %n = nest.norm rms %x weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
  %s = arith.addf %r, %n : !t
  %m = nest.norm rms %s epsilon 1.0e-5 : (!t) -> !t
  %p = nest.linear %m, %w : (!t, tensor<32x8xbf16>) -> tensor<?x?x32xf32>
  return %s, %p : !t, tensor<?x?x32xf32>
}

// A norm whose group is the whole row.
// CHECK-LABEL: func.func @whole_group
// CHECK-NEXT: nest.fused(
// CHECK: nest.norm rms {{.*}} group 8
// CHECK: return
func.func @whole_group(%x: !t, %r: !t) -> !t {
  %n = nest.norm rms %x epsilon 1.0e-5 group 8 : (!t) -> !t
  %s = arith.addf %r, %n : !t
  %m = nest.rescale %s like %r epsilon 1.0e-5 : (!t, !t) -> !t
  return %m : !t
}

// Constants are no inputs: the body has its own.
// CHECK-LABEL: func.func @constants
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x2x8xf32>
// CHECK-NEXT: %[[F:.*]] = nest.fused(%[[X]]) : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
// CHECK-NEXT: ^bb0(%[[FX:.*]]: tensor<1x2x8xf32>):
// CHECK-NEXT: %[[N:.*]] = nest.norm layer %[[FX]]
// CHECK-NEXT: %[[C:.*]] = arith.constant dense<5.000000e-01>
// CHECK-NEXT: %[[H:.*]] = arith.mulf %[[N]], %[[C]]
// CHECK-NEXT: %[[M:.*]] = nest.cutoff %[[H]]
// CHECK-NEXT: nest.yield %[[M]]
// CHECK-NEXT: }
// CHECK-NEXT: return %[[F]]
func.func @constants(%x: tensor<1x2x8xf32>) -> tensor<1x2x8xf32> {
  %half = arith.constant dense<0.5> : tensor<1x2x8xf32>
  %n = nest.norm layer %x epsilon 1.0e-5 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  %h = arith.mulf %n, %half : tensor<1x2x8xf32>
  %m = nest.cutoff %h factor 1.5 : (tensor<1x2x8xf32>) -> tensor<1x2x8xf32>
  return %m : tensor<1x2x8xf32>
}

// A router (a norm, a product with two rows, an activation) chooses numbers for
// rows on both sides of a product: both kernels compute it.
// CHECK-LABEL: func.func @router
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>, %[[R:[a-z0-9]+]]: tensor<2x8xf32>, %[[W:[a-z0-9]+]]: tensor<8x8xbf16>
// CHECK-NEXT: %[[A:.*]] = nest.fused(%[[X]], %[[R]])
// CHECK-NEXT: ^bb0(%[[AX:.*]]: tensor<?x?x8xf32>, %[[AR:.*]]: tensor<2x8xf32>):
// CHECK-NEXT: %[[AN:.*]] = nest.norm rms %[[AX]]
// CHECK-NEXT: %[[AL:.*]] = nest.linear %[[AN]], %[[AR]]
// CHECK-NEXT: %[[AC:.*]] = nest.act tanh %[[AL]]
// CHECK-NEXT: %[[AY:.*]] = nest.scale %[[AX]] by %[[AC]] :
// CHECK-NEXT: nest.yield %[[AY]]
// CHECK-NEXT: }
// CHECK-NEXT: %[[P:.*]] = nest.linear %[[A]], %[[W]]
// CHECK-NEXT: %[[B:.*]] = nest.fused(%[[P]], %[[X]], %[[R]])
// CHECK-NEXT: ^bb0(%[[BP:.*]]: tensor<?x?x8xf32>, %[[BX:.*]]: tensor<?x?x8xf32>, %[[BR:.*]]: tensor<2x8xf32>):
// CHECK-NEXT: %[[BQ:.*]] = nest.norm rms %[[BP]]
// CHECK-NEXT: %[[BN:.*]] = nest.norm rms %[[BX]]
// CHECK-NEXT: %[[BL:.*]] = nest.linear %[[BN]], %[[BR]]
// CHECK-NEXT: %[[BC:.*]] = nest.act tanh %[[BL]]
// CHECK-NEXT: %[[BY:.*]] = nest.scale %[[BQ]] by %[[BC]] column 1
// CHECK-NEXT: nest.yield %[[BY]]
// CHECK-NEXT: }
// CHECK-NEXT: return %[[B]]
func.func @router(%x: !t, %r: tensor<2x8xf32>, %w: tensor<8x8xbf16>) -> !t {
  %n = nest.norm rms %x epsilon 1.0e-5 : (!t) -> !t
  %l = nest.linear %n, %r : (!t, tensor<2x8xf32>) -> tensor<?x?x2xf32>
  %c = nest.act tanh %l : tensor<?x?x2xf32>
  %a = nest.scale %x by %c : (!t, tensor<?x?x2xf32>) -> !t
  %p = nest.linear %a, %w : (!t, tensor<8x8xbf16>) -> !t
  %q = nest.norm rms %p epsilon 1.0e-5 : (!t) -> !t
  %y = nest.scale %q by %c column 1 : (!t, tensor<?x?x2xf32>) -> !t
  return %y : !t
}

// As in llama: the residual is added where the product is made, and one norm
// between products is a kernel as it is.
// CHECK-LABEL: func.func @no_change_llama
// CHECK-NEXT: nest.linear
// CHECK-NEXT: arith.addf
// CHECK-NEXT: nest.norm
// CHECK-NEXT: nest.linear
// CHECK-NEXT: nest.linear
// CHECK-NEXT: nest.glu
// CHECK-NEXT: nest.linear
// CHECK-NEXT: arith.addf
// CHECK-NEXT: nest.norm
// CHECK-NEXT: return
func.func @no_change_llama(%x: !t, %a: !t, %g: tensor<8xf32>, %w: tensor<8x8xbf16>) -> (!t, !t) {
  %o = nest.linear %a, %w : (!t, tensor<8x8xbf16>) -> !t
  %s = arith.addf %x, %o : !t
  %n = nest.norm rms %s weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
  %gate = nest.linear %n, %w : (!t, tensor<8x8xbf16>) -> !t
  %up = nest.linear %n, %w : (!t, tensor<8x8xbf16>) -> !t
  %h = nest.glu silu %gate, %up : !t
  %d = nest.linear %h, %w : (!t, tensor<8x8xbf16>) -> !t
  %y = arith.addf %s, %d : !t
  %z = nest.norm rms %y weight(%g) epsilon 1.0e-5 : (!t, tensor<8xf32>) -> !t
  return %y, %z : !t, !t
}

// The residual stays with its product also where norms behind it are fused.
// CHECK-LABEL: func.func @claimed
// CHECK-NEXT: %[[O:.*]] = nest.linear
// CHECK-NEXT: %[[S:.*]] = arith.addf %{{.*}}, %[[O]]
// CHECK-NEXT: %[[F:.*]] = nest.fused(%[[S]]) :
// CHECK: return %[[S]], %[[F]]
func.func @claimed(%x: !t, %a: !t, %w: tensor<8x8xbf16>) -> (!t, !t) {
  %o = nest.linear %a, %w : (!t, tensor<8x8xbf16>) -> !t
  %s = arith.addf %x, %o : !t
  %n = nest.norm rms %s epsilon 1.0e-5 : (!t) -> !t
  %m = nest.norm layer %n epsilon 1.0e-5 : (!t) -> !t
  return %s, %m : !t, !t
}

// Norms of heads are no norms of rows, and a product lies between these two.
// CHECK-LABEL: func.func @no_change_apart
// CHECK-NOT: nest.fused
// CHECK: return
func.func @no_change_apart(%x: !t, %w: tensor<8x8xbf16>) -> !t {
  %n = nest.norm rms %x epsilon 1.0e-5 group 4 : (!t) -> !t
  %m = nest.norm rms %n epsilon 1.0e-5 : (!t) -> !t
  %p = nest.linear %m, %w : (!t, tensor<8x8xbf16>) -> !t
  %q = nest.norm rms %p epsilon 1.0e-5 : (!t) -> !t
  return %q : !t
}

// Streams of two widths have no kernel in common.
// CHECK-LABEL: func.func @no_change_widths
// CHECK-NOT: nest.fused
// CHECK: return
func.func @no_change_widths(%x: !t, %v: tensor<?x?x16xf32>) -> (!t, tensor<?x?x16xf32>) {
  %n = nest.norm rms %x epsilon 1.0e-5 : (!t) -> !t
  %m = nest.norm rms %v epsilon 1.0e-5 : (tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  return %n, %m : !t, tensor<?x?x16xf32>
}

// A product with more rows than a kernel sums, or with a matrix in bf16, is no
// router.
// CHECK-LABEL: func.func @no_change_large
// CHECK-NOT: nest.fused
// CHECK: return
func.func @no_change_large(%x: !t, %r: tensor<17x8xf32>, %b: tensor<2x8xbf16>) -> (!t, !t) {
  %l = nest.linear %x, %r : (!t, tensor<17x8xf32>) -> tensor<?x?x17xf32>
  %y = nest.scale %x by %l : (!t, tensor<?x?x17xf32>) -> !t
  %k = nest.linear %x, %b : (!t, tensor<2x8xbf16>) -> tensor<?x?x2xf32>
  %z = nest.scale %x by %k : (!t, tensor<?x?x2xf32>) -> !t
  return %y, %z : !t, !t
}

// Packed rows have kernels of their own.
// CHECK-LABEL: func.func @no_change_rows
// CHECK: nest.select
// CHECK-NOT: nest.fused
// CHECK: return
func.func @no_change_rows(%x: !t, %s: tensor<?x?x1xf32>) -> !t {
  %half = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/2>>
  %p = nest.gather %x by %half : (!t, !nest.rows<1, #nest.capacity<1/2>>) -> !t
  %n = nest.norm rms %p epsilon 1.0e-5 : (!t) -> !t
  %m = nest.norm layer %n epsilon 1.0e-5 : (!t) -> !t
  %y = nest.spread %m by %half into %x : (!t, !nest.rows<1, #nest.capacity<1/2>>, !t) -> !t
  return %y : !t
}
