// RUN: nest-opt %s --nest-specialize="submodel=skip=0" | FileCheck %s

// The caches of a skipped layer leave the signature; the others stay.
module attributes {nest.model = {num_layers = 2 : i64}} {
  // CHECK-LABEL: func.func @forward
  // CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<?x?x8xf32> {nest.name = "x"}, %{{[a-z0-9]+}}: tensor<?xi32> {nest.name = "lengths"}, %[[K:[a-z0-9]+]]: tensor<?x2x16x4xf32> {nest.cache = "layers.1.k"})
  // CHECK-SAME: -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x2x16x4xf32> {nest.cache = "layers.1.k"})
  func.func @forward(%x: tensor<?x?x8xf32> {nest.name = "x"}, %n: tensor<?xi32> {nest.name = "lengths"},
      %k0: tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"}, %k1: tensor<?x2x16x4xf32> {nest.cache = "layers.1.k"})
      -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"}, tensor<?x2x16x4xf32> {nest.cache = "layers.1.k"})
      attributes {nest.entry = "forward"} {
    %0:2 = nest.layer 0 (%x) carry (%k0) : (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>) {
      %c = nest.cache_append %k0, %x, %n : (tensor<?x2x16x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x16x4xf32>
      nest.yield %x, %c : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>
    }
    // CHECK: nest.layer 1 (%[[X]]) carry (%[[K]])
    %1:2 = nest.layer 1 (%0#0) carry (%k1) : (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>) {
      %c = nest.cache_append %k1, %0#0, %n : (tensor<?x2x16x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x16x4xf32>
      nest.yield %0#0, %c : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>
    }
    return %1#0, %0#1, %1#1 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?x2x16x4xf32>
  }
}
