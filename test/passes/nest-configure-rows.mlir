// RUN: nest-opt %s --nest-configure="type=bf16 max-length=64" | FileCheck %s

// What is exact stays f32; lengths have no capacity, positions have one, and both
// stay integers. A cache that a region carries has one type throughout.
// CHECK: nest.weight @router exact : tensor<1x8xf32>
// CHECK: nest.weight @w stored tensor<8x8xf32> : tensor<8x8xbf16>
nest.weight @router exact : tensor<1x8xf32>
nest.weight @w : tensor<8x8xf32>

// CHECK-LABEL: func.func @entry
// CHECK-SAME: tensor<?x2x64x4xbf16> {nest.cache = "k"}, %{{.*}}: tensor<?xi32> {nest.cache = "length"}, %{{.*}}: tensor<?x64xi32> {nest.cache = "positions"}
// CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?x2x64x4xbf16> {nest.cache = "k"}, tensor<?xi32> {nest.cache = "length"}, tensor<?x64xi32> {nest.cache = "positions"})
// CHECK: nest.get @router : tensor<1x8xf32>
// CHECK: nest.on {{.*}} -> (tensor<?x?x8xf32>, tensor<?x2x64x4xbf16>, tensor<?x64xi32>)
// CHECK: nest.get @w : tensor<8x8xbf16>
// CHECK: nest.cache_append {{.*}} -> tensor<?x2x64x4xbf16>
// CHECK: nest.cache_append {{.*}} -> tensor<?x64xi32>
func.func @entry(%x: tensor<?x?x8xf32>, %ids: tensor<?x?xi32>, %k: tensor<?x2x16x4xf32> {nest.cache = "k"},
    %n: tensor<?xi32> {nest.cache = "length"}, %p: tensor<?x16xi32> {nest.cache = "positions"})
    -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32> {nest.cache = "k"}, tensor<?xi32> {nest.cache = "length"},
        tensor<?x16xi32> {nest.cache = "positions"}) {
  %router = nest.get @router : tensor<1x8xf32>
  %s = nest.linear %x, %router : (tensor<?x?x8xf32>, tensor<1x8xf32>) -> tensor<?x?x1xf32>
  %rows = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %y:3 = nest.on %rows gather(%x, %ids) into(%x) carry(%k, %p) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?x16xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?x16xi32>) {
  ^bb0(%xs: tensor<?x?x8xf32>, %ps: tensor<?x?xi32>):
    %w = nest.get @w : tensor<8x8xf32>
    %h = nest.linear %xs, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
    %k1 = nest.cache_append %k, %h, %n by %rows : (tensor<?x2x16x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x2x16x4xf32>
    %p1 = nest.cache_append %p, %ps, %n by %rows : (tensor<?x16xi32>, tensor<?x?xi32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x16xi32>
    nest.yield %h, %k1, %p1 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?x16xi32>
  }
  %n1 = nest.advance %n, %ids by %rows : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?xi32>
  return %y#0, %y#1, %n1, %y#2 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>
}
