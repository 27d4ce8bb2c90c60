// RUN: nest-opt %s --nest-expand-rows --nest-keep-grouped | FileCheck %s
// RUN: nest-opt %s --nest-expand-rows --nest-keep-grouped --nest-keep-grouped | FileCheck %s
// RUN: nest-opt %s --nest-to-kernels | FileCheck %s --check-prefix=KERNELS

// A layer with two towers: tokens and positions are gathered at the entry, and
// nothing else is moved: no stream is gathered, none is spread, since attention
// and caches take packed rows and the last row is found by the order.
// CHECK-LABEL: func.func @prefill
// CHECK: %[[T:.*]] = nest.partition
// CHECK-NOT: nest.partition
// CHECK: %[[IDS:.*]] = nest.gather %{{.*}} by %[[T]] : (tensor<?x?xi32>
// CHECK: %[[X:.*]] = nest.embed %[[IDS]]
// CHECK-NOT: nest.gather
// CHECK-NOT: nest.spread
// CHECK: %[[P:.*]] = nest.gather %{{.*}} by %[[T]] : (tensor<?x?xi32>
// CHECK: nest.rope %{{.*}}, %[[P]]
// CHECK-NOT: nest.gather
// CHECK-NOT: nest.spread
// CHECK: nest.cache_append {{.*}} by %[[T]]
// CHECK: nest.cache_append {{.*}} by %[[T]]
// CHECK: %[[A:.*]] = nest.attention {{.*}} by %[[T]]
// CHECK: nest.linear %[[A]]
// CHECK: %[[Y:.*]] = arith.addf %[[X]]
// CHECK: nest.last %[[Y]] by %[[T]]
// CHECK-NOT: nest.gather
// CHECK-NOT: nest.spread
// CHECK: return

// One launch for both towers, as many as a dense layer has, and two gathers of
// integers.
// KERNELS-LABEL: func.func @prefill
// KERNELS: kernel.launch @partition_0
// KERNELS-NEXT: kernel.launch @gather_0
// KERNELS-NEXT: kernel.launch @embed_0
// KERNELS-NEXT: kernel.launch @rowwise_0
// KERNELS-NEXT: kernel.launch @matmul_0
// KERNELS-NEXT: kernel.launch @matmul_0
// KERNELS-NEXT: kernel.launch @matmul_0
// KERNELS-NEXT: kernel.launch @gather_0
// KERNELS-NEXT: kernel.launch @rope_table_0
// KERNELS-NEXT: kernel.launch @rope_0
// KERNELS-NEXT: kernel.launch @cache_append_0
// KERNELS-NEXT: kernel.launch @cache_append_0
// KERNELS-NEXT: kernel.launch @attention_0
// KERNELS-NEXT: kernel.launch @matmul_1
// KERNELS-NEXT: kernel.launch @last_rows_0
// KERNELS-NEXT: kernel.launch @matmul_2
// KERNELS-NEXT: return
module {
  nest.weight @g0 : tensor<8xf32>
  nest.weight @g1 : tensor<8xf32>
  nest.weight @q0 : tensor<8x8xf32>
  nest.weight @q1 : tensor<8x8xf32>
  nest.weight @o0 : tensor<8x8xf32>
  nest.weight @o1 : tensor<8x8xf32>
  nest.weight @emb : tensor<16x8xf32>
  func.func @prefill(%tokens: tensor<?x?xi32> {nest.name = "tokens"}, %positions: tensor<?x?xi32> {nest.name="positions"}, %lengths: tensor<?xi32> {nest.name="lengths"}, %modality: tensor<?x?xi32> {nest.name="modality"}, %k: tensor<?x2x32x4xf32> {nest.cache="layers.0.k"}, %v: tensor<?x2x32x4xf32> {nest.cache="layers.0.v"}) -> (tensor<?x1x16xf32> {nest.name="logits"}, tensor<?x2x32x4xf32> {nest.cache="layers.0.k"}, tensor<?x2x32x4xf32> {nest.cache="layers.0.v"}) attributes {nest.entry="prefill"} {
    %t = nest.partition %modality sets [0, 1, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
    %emb = nest.get @emb : tensor<16x8xf32>
    %x = nest.embed %tokens, %emb : (tensor<?x?xi32>, tensor<16x8xf32>) -> tensor<?x?x8xf32>
    %q, %kk, %vv = nest.on %t gather(%x) : (!nest.rows<2, cover>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
    ^bb0(%xs: tensor<?x?x8xf32>):
      %g = nest.get @g0 : tensor<8xf32>
      %w = nest.get @q0 : tensor<8x8xf32>
      %n = nest.norm rms %xs weight(%g) epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
      %a = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %b = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %c = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      nest.yield %a, %b, %c : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    }, {
    ^bb0(%xs: tensor<?x?x8xf32>):
      %g = nest.get @g1 : tensor<8xf32>
      %w = nest.get @q1 : tensor<8x8xf32>
      %n = nest.norm rms %xs weight(%g) epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
      %a = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %b = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %c = nest.linear %n, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      nest.yield %a, %b, %c : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
    }
    %qr = nest.rope %q, %positions by <head_dim = 4, frequencies = [1.0, 0.01]> : (tensor<?x?x8xf32>, tensor<?x?xi32>) -> tensor<?x?x8xf32>
    %k1 = nest.cache_append %k, %kk, %lengths : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x32x4xf32>
    %v1 = nest.cache_append %v, %vv, %lengths : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x32x4xf32>
    %at = nest.attention %qr, %k1, %v1, %lengths scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
    %x1 = nest.on %t gather(%at, %x) : (!nest.rows<2, cover>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    ^bb0(%as: tensor<?x?x8xf32>, %xs: tensor<?x?x8xf32>):
      %w = nest.get @o0 : tensor<8x8xf32>
      %o = nest.linear %as, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %r = arith.addf %xs, %o : tensor<?x?x8xf32>
      nest.yield %r : tensor<?x?x8xf32>
    }, {
    ^bb0(%as: tensor<?x?x8xf32>, %xs: tensor<?x?x8xf32>):
      %w = nest.get @o1 : tensor<8x8xf32>
      %o = nest.linear %as, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
      %r = arith.addf %xs, %o : tensor<?x?x8xf32>
      nest.yield %r : tensor<?x?x8xf32>
    }
    %l = nest.last %x1 : (tensor<?x?x8xf32>) -> tensor<?x1x8xf32>
    %lo = nest.linear %l, %emb : (tensor<?x1x8xf32>, tensor<16x8xf32>) -> tensor<?x1x16xf32>
    return %lo, %k1, %v1 : tensor<?x1x16xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>
  }
}
