// Streams that only products read are stored in the type of the weights.
// RUN: nest-opt %s --kernel-narrow-streams | FileCheck %s

#row = affine_map<(d0, d1, d2) -> (d0, d1)>

// CHECK-LABEL: func.func @narrow
// CHECK: %[[EMPTY:.*]] = tensor.empty({{.*}}) : tensor<?x2x8xbf16>
// CHECK: %[[NORM:.*]] = kernel.rowwise {{.*}} outs(%[[EMPTY]] : tensor<?x2x8xbf16>)
// CHECK: kernel.matmul ins(%[[NORM]] : tensor<?x2x8xbf16>)
// CHECK: kernel.matmul ins(%[[NORM]] : tensor<?x2x8xbf16>)
func.func @narrow(%n: index, %x: tensor<?x2x8xf32>, %w: tensor<4x8xbf16>,
                  %y: tensor<?x2x4xf32>, %z: tensor<?x2x4xf32>) -> (tensor<?x2x4xf32>, tensor<?x2x4xf32>) {
  %empty = tensor.empty(%n) : tensor<?x2x8xf32>
  %0 = kernel.rowwise ins(%x : tensor<?x2x8xf32> by [#row]) group 8 outs(%empty : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %1 = kernel.matmul ins(%0 : tensor<?x2x8xf32>) weights(%w : tensor<4x8xbf16>) by [] outs(%y : tensor<?x2x4xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x4xf32>
  %2 = kernel.matmul ins(%0 : tensor<?x2x8xf32>) weights(%w : tensor<4x8xbf16>) by [] outs(%z : tensor<?x2x4xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x4xf32>
  return %1, %2 : tensor<?x2x4xf32>, tensor<?x2x4xf32>
}

// What a projection reads, and a stream that it makes.
// CHECK-LABEL: func.func @projections
// CHECK: %[[NORM:.*]] = kernel.rowwise {{.*}} outs({{.*}} : tensor<?x2x8xbf16>)
// CHECK: %[[P:.*]]:2 = kernel.project ins(%[[NORM]] : tensor<?x2x8xbf16>) {{.*}} outs(%{{.*}}, %{{.*}} : tensor<?x2x8xbf16>, tensor<?x2x8xf32>)
// CHECK: kernel.matmul ins(%[[P]]#0 : tensor<?x2x8xbf16>)
func.func @projections(%n: index, %x: tensor<?x2x8xf32>, %w: tensor<8x8xbf16>, %y: tensor<?x2x8xf32>) -> (tensor<?x2x8xf32>, tensor<?x2x8xf32>) {
  %0 = tensor.empty(%n) : tensor<?x2x8xf32>
  %1 = kernel.rowwise ins(%x : tensor<?x2x8xf32> by [#row]) group 8 outs(%0 : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %2 = tensor.empty(%n) : tensor<?x2x8xf32>
  %3 = tensor.empty(%n) : tensor<?x2x8xf32>
  %4:2 = kernel.project ins(%1 : tensor<?x2x8xf32>) weights(%w, %w : tensor<8x8xbf16>, tensor<8x8xbf16>) head_dim 4 outs(%2, %3 : tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> tensor<?x2x8xf32>, tensor<?x2x8xf32>
  %5 = kernel.matmul ins(%4#0 : tensor<?x2x8xf32>) weights(%w : tensor<8x8xbf16>) by [] outs(%y : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  return %5, %4#1 : tensor<?x2x8xf32>, tensor<?x2x8xf32>
}

// A stream that is returned, one of f32 products, and one that is read by
// others as well.
// CHECK-LABEL: func.func @no_change
// CHECK-NOT: xbf16>) ->
// CHECK: kernel.rowwise {{.*}} outs({{.*}} : tensor<?x2x8xf32>)
// CHECK: kernel.matmul ins({{.*}} : tensor<?x2x8xf32>)
// CHECK: kernel.rowwise {{.*}} outs({{.*}} : tensor<?x2x8xf32>)
// CHECK: kernel.matmul ins({{.*}} : tensor<?x2x8xf32>)
func.func @no_change(%n: index, %x: tensor<?x2x8xf32>, %w: tensor<4x8xbf16>, %v: tensor<4x8xf32>,
                     %y: tensor<?x2x4xf32>, %z: tensor<?x2x4xf32>) -> (tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x8xf32>) {
  %empty = tensor.empty(%n) : tensor<?x2x8xf32>
  %0 = kernel.rowwise ins(%x : tensor<?x2x8xf32> by [#row]) group 8 outs(%empty : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %1 = kernel.matmul ins(%0 : tensor<?x2x8xf32>) weights(%w : tensor<4x8xbf16>) by [] outs(%y : tensor<?x2x4xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x4xf32>
  %other = tensor.empty(%n) : tensor<?x2x8xf32>
  %2 = kernel.rowwise ins(%x : tensor<?x2x8xf32> by [#row]) group 8 outs(%other : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %3 = kernel.matmul ins(%2 : tensor<?x2x8xf32>) weights(%v : tensor<4x8xf32>) by [] outs(%z : tensor<?x2x4xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x4xf32>
  return %1, %3, %0 : tensor<?x2x4xf32>, tensor<?x2x4xf32>, tensor<?x2x8xf32>
}

// Queries of attention that rounds, and what else reads them as such.
// CHECK-LABEL: func.func @queries
// CHECK: %[[EMPTY:.*]] = tensor.empty({{.*}}) : tensor<?x2x8xbf16>
// CHECK: %[[Q:.*]] = kernel.matmul {{.*}} outs(%[[EMPTY]] : tensor<?x2x8xbf16>)
// CHECK: kernel.attention ins(%[[Q]], {{.*}} : tensor<?x2x8xbf16>, {{.*}}) rounds
func.func @queries(%n: index, %x: tensor<?x2x4xf32>, %w: tensor<8x4xbf16>, %k: tensor<?x2x32x4xbf16>,
                   %lengths: tensor<?xi32>, %y: tensor<?x2x8xf32>) -> tensor<?x2x8xf32> {
  %empty = tensor.empty(%n) : tensor<?x2x8xf32>
  %q = kernel.matmul ins(%x : tensor<?x2x4xf32>) weights(%w : tensor<8x4xbf16>) by [] outs(%empty : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %0 = kernel.attention ins(%q, %k, %k, %lengths : tensor<?x2x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>)
      rounds scale 0.5 <causal> outs(%y : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  return %0 : tensor<?x2x8xf32>
}

// Attention that does not round, and queries that are turned in place.
// CHECK-LABEL: func.func @no_change_of_queries
// CHECK-NOT: x8xbf16>
// CHECK: return
func.func @no_change_of_queries(%n: index, %x: tensor<?x2x4xf32>, %w: tensor<8x4xbf16>, %k: tensor<?x2x32x4xbf16>,
                                %t: tensor<?x2x4xf32>, %lengths: tensor<?xi32>, %y: tensor<?x2x8xf32>,
                                %z: tensor<?x2x8xf32>) -> (tensor<?x2x8xf32>, tensor<?x2x8xf32>) {
  %empty = tensor.empty(%n) : tensor<?x2x8xf32>
  %q = kernel.matmul ins(%x : tensor<?x2x4xf32>) weights(%w : tensor<8x4xbf16>) by [] outs(%empty : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %0 = kernel.attention ins(%q, %k, %k, %lengths : tensor<?x2x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>)
      scale 0.5 <causal> outs(%y : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  %other = tensor.empty(%n) : tensor<?x2x8xf32>
  %p = kernel.matmul ins(%x : tensor<?x2x4xf32>) weights(%w : tensor<8x4xbf16>) by [] outs(%other : tensor<?x2x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x2x8xf32>
  %turned = kernel.rope ins(%t : tensor<?x2x4xf32>) head_dim 4 outs(%p : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  %1 = kernel.attention ins(%turned, %k, %k, %lengths : tensor<?x2x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>)
      rounds scale 0.5 <causal> outs(%z : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  return %0, %1 : tensor<?x2x8xf32>, tensor<?x2x8xf32>
}
