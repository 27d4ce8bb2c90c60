// RUN: nest-opt %s "--nest-specialize=submodel=layers.0.heads=4" | FileCheck %s
// RUN: nest-opt %s "--nest-specialize=submodel=layers.0.heads=full" | FileCheck %s --check-prefix=FULL
// RUN: not nest-opt %s "--nest-specialize=submodel=layers.0.heads=3" 2>&1 | FileCheck %s --check-prefix=SPLIT

// Query heads, KV heads, caches and the output's columns shrink together: of 8
// query heads on 4 KV heads, 4 on 2.

// CHECK-NOT: nest.axis
// CHECK: nest.weight @q stored tensor<64x16xf32> box [0, 0] [32, 16] : tensor<32x16xf32>
// CHECK: nest.weight @k stored tensor<32x16xf32> box [0, 0] [16, 16] : tensor<16x16xf32>
// CHECK: nest.weight @o stored tensor<16x64xf32> box [0, 0] [16, 32] : tensor<16x32xf32>
// CHECK-LABEL: func.func @attend
// CHECK-SAME: tensor<?x2x32x8xf32>
// CHECK: nest.attention {{.*}} : (tensor<?x?x32xf32>, tensor<?x2x32x8xf32>
// FULL: nest.weight @q : tensor<64x16xf32>
// FULL-LABEL: func.func @attend
// FULL-SAME: tensor<?x4x32x8xf32>
// FULL: nest.attention {{.*}} : (tensor<?x?x64xf32>
// SPLIT: error: submodel entry 'layers.0.heads=3': the width 3 splits a group of heads; legal are multiples of 2, the query heads of a KV head, up to 8

!x = tensor<?x?x16xf32>
!q = tensor<?x?x64xf32, #nest.on<_, _, layers.0.heads * 16>>
!k = tensor<?x?x32xf32, #nest.on<_, _, layers.0.heads * 8>>
!cache = tensor<?x4x32x8xf32, #nest.on<_, layers.0.heads, _, _>>

module attributes {nest.model = {num_layers = 1 : i64}} {
nest.axis @layers.0.heads size 4 levels [2, 4] {nest.group = 2 : i64}
nest.weight @q : tensor<64x16xf32, #nest.on<layers.0.heads * 16, _>>
nest.weight @k : tensor<32x16xf32, #nest.on<layers.0.heads * 8, _>>
nest.weight @o : tensor<16x64xf32, #nest.on<_, layers.0.heads * 16>>

func.func @attend(%x: !x, %n: tensor<?xi32>, %cache: !cache) -> (!x, !cache) {
  %wq = nest.get @q : tensor<64x16xf32, #nest.on<layers.0.heads * 16, _>>
  %wk = nest.get @k : tensor<32x16xf32, #nest.on<layers.0.heads * 8, _>>
  %wo = nest.get @o : tensor<16x64xf32, #nest.on<_, layers.0.heads * 16>>
  %q = nest.linear %x, %wq : (!x, tensor<64x16xf32, #nest.on<layers.0.heads * 16, _>>) -> !q
  %k = nest.linear %x, %wk : (!x, tensor<32x16xf32, #nest.on<layers.0.heads * 8, _>>) -> !k
  %kept = nest.cache_append %cache, %k, %n : (!cache, !k, tensor<?xi32>) -> !cache
  %a = nest.attention %q, %kept, %kept, %n scale 0.5 <causal> : (!q, !cache, !cache, tensor<?xi32>) -> !q
  %y = nest.linear %a, %wo : (!q, tensor<16x64xf32, #nest.on<_, layers.0.heads * 16>>) -> !x
  return %y, %kept : !x, !cache
}
}
