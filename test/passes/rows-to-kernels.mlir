// RUN: nest-opt %s --nest-drop-axes --nest-expand-rows --nest-keep-grouped --convert-nest-to-kernel | FileCheck %s
// RUN: nest-opt %s --nest-drop-axes --nest-to-kernels | FileCheck %s --check-prefix=KERNELS

// A routed block: one gather of the stream, everything on packed rows, and one
// store through indices, in the epilogue of the last product: the old rows of
// the stream are the residual. No allocation and no copy is left, no sort, and
// nobody reads a count but the kernels.
// CHECK-LABEL: func.func @verify
// CHECK: %[[X:.*]] = kernel.embed
// CHECK: %[[S:.*]] = kernel.matmul ins(%[[X]]
// CHECK: %[[F:.*]]:4 = kernel.select ins(%[[S]] {{.*}} top <1/2, min 1>
// CHECK: %[[XS:.*]] = kernel.rowwise ins(%[[X]] {{.*}} rows(%[[F]]#1, %[[F]]#0 {{.*}} gathers
// CHECK: kernel.matmul {{.*}} rows(%[[F]]#1 : tensor<2xi32>) sets [0, 1] outs
// CHECK: kernel.cache_append {{.*}} rows(%[[F]]#1, %[[F]]#2, %[[F]]#3
// CHECK: kernel.attention {{.*}} rows(%[[F]]#1, %[[F]]#0, %[[F]]#2, %[[F]]#3 {{.*}} compact
// CHECK: %[[H:.*]] = kernel.matmul {{.*}} epilogue(%[[XS]] {{.*}} rows(%[[F]]#1
// CHECK: %[[R:.*]] = kernel.rowwise ins( by []) group 1 rows(%[[F]]#1
// CHECK: %[[Y:.*]] = kernel.matmul {{.*}} epilogue(%[[R]], %[[H]] {{.*}} rows(%[[F]]#1, %[[F]]#0 {{.*}} scatters outs(%[[X]] :
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[W:.*]]: f32, %[[B:.*]]: f32, %[[OLD:.*]]: f32):
// CHECK-NEXT: %[[BLOCK:.*]] = arith.addf %[[B]], %[[ACC]]
// CHECK-NEXT: %[[D:.*]] = arith.subf %[[BLOCK]], %[[OLD]]
// CHECK-NEXT: %[[RD:.*]] = arith.mulf %[[D]], %[[W]]
// CHECK-NEXT: %[[Z:.*]] = arith.addf %[[OLD]], %[[RD]]
// CHECK-NEXT: kernel.yield %[[Z]]
// CHECK: kernel.matmul ins(%[[Y]]
// CHECK: kernel.advance

// KERNELS-LABEL: func.func @verify
// KERNELS-NOT: memref.alloc
// KERNELS-NOT: memref.copy
// KERNELS-NOT: memref.load
// KERNELS: kernel.launch @select_0
// KERNELS-NOT: memref.load
// KERNELS: kernel.launch @advance_0
!rows = !nest.rows<1, #nest.capacity<1/2, min 1>>
module {
  nest.weight @r exact : tensor<1x8xf32>
  nest.weight @g : tensor<8xf32>
  nest.weight @q : tensor<8x8xf32>
  nest.weight @o : tensor<8x8xf32>
  nest.weight @gate : tensor<16x8xf32>
  nest.weight @up : tensor<16x8xf32>
  nest.weight @down : tensor<8x16xf32>
  nest.weight @emb : tensor<16x8xf32>
  func.func @verify(%tokens: tensor<?x?xi32> {nest.name = "tokens"}, %positions: tensor<?x?xi32> {nest.name="positions"}, %lengths: tensor<?xi32> {nest.name="lengths"}, %k: tensor<?x2x32x4xf32> {nest.cache="layers.0.k"}, %v: tensor<?x2x32x4xf32> {nest.cache="layers.0.v"}, %len: tensor<?xi32> {nest.cache="layers.0.length"}) -> (tensor<?x?x16xf32> {nest.name="logits"}, tensor<?x2x32x4xf32> {nest.cache="layers.0.k"}, tensor<?x2x32x4xf32> {nest.cache="layers.0.v"}, tensor<?xi32> {nest.cache="layers.0.length"}) attributes {nest.entry="verify"} {
    %emb = nest.get @emb : tensor<16x8xf32>
    %x = nest.embed %tokens, %emb : (tensor<?x?xi32>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
    %x1, %k1, %v1, %len1 = nest.layer 0 (%x) carry (%k, %v, %len) : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) {
    %rw = nest.get @r : tensor<1x8xf32>
    %s = nest.linear %x, %rw : (tensor<?x?x8xf32>, tensor<1x8xf32>) -> tensor<?x?x1xf32>
    %t = nest.select %s top <1/2, min 1> : (tensor<?x?x1xf32>) -> !rows
    %y, %ka, %va, %lena = nest.on %t gather(%x, %positions, %s) into(%x) carry(%k, %v, %len) : (!rows, tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<?x?x1xf32>, tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) {
    ^bb0(%xs: tensor<?x?x8xf32>, %ps: tensor<?x?xi32>, %ss: tensor<?x?x1xf32>):
      %g = nest.get @g : tensor<8xf32>
      %w = nest.get @q : tensor<8x8xf32>
      %wo = nest.get @o : tensor<8x8xf32>
      %wg = nest.get @gate : tensor<16x8xf32>
      %wu = nest.get @up : tensor<16x8xf32>
      %wd = nest.get @down : tensor<8x16xf32>
      %n = nest.norm rms %xs weight(%g) epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
      %a = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %b = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %c = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %qr = nest.rope %a, %ps by <head_dim = 4, frequencies = [1.0, 0.01]> : (tensor<?x?x8xf32>, tensor<?x?xi32>) -> tensor<?x?x8xf32>
      %kb = nest.cache_append %k, %b, %len by %t : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !rows) -> tensor<?x2x32x4xf32>
      %vb = nest.cache_append %v, %c, %len by %t : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !rows) -> tensor<?x2x32x4xf32>
      %at = nest.attention %qr, %kb, %vb, %len by %t compact scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, !rows) -> tensor<?x?x8xf32>
      %len2 = nest.advance %len, %tokens by %t : (tensor<?xi32>, tensor<?x?xi32>, !rows) -> tensor<?xi32>
      %oo = nest.linear %at, %wo : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %h = arith.addf %xs, %oo : tensor<?x?x8xf32>
      %n2 = nest.norm rms %h weight(%g) epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
      %ga = nest.linear %n2, %wg : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
      %ua = nest.linear %n2, %wu : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
      %gl = nest.glu silu %ga, %ua : tensor<?x?x16xf32>
      %d = nest.linear %gl, %wd : (tensor<?x?x16xf32>, tensor<8x16xf32>) -> tensor<?x?x8xf32>
      %B = arith.addf %h, %d : tensor<?x?x8xf32>
      %D = arith.subf %B, %xs : tensor<?x?x8xf32>
      %r = nest.act sigmoid %ss : tensor<?x?x1xf32>
      %rD = nest.scale %D by %r : (tensor<?x?x8xf32>, tensor<?x?x1xf32>) -> tensor<?x?x8xf32>
      %z = arith.addf %xs, %rD : tensor<?x?x8xf32>
      nest.yield %z, %kb, %vb, %len2 : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>
    }
    nest.yield %y, %ka, %va, %lena : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>
    }
    %lo = nest.linear %x1, %emb : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
    return %lo, %k1, %v1, %len1 : tensor<?x?x16xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>
  }
}
