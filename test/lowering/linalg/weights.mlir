// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// What comes out is for readers without the dialect, attributes included.
// RUN: nest-opt %s --convert-nest-to-linalg | mlir-opt | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | mlir-opt --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" | FileCheck %s --check-prefix=MEMREF

// CHECK: module attributes
// CHECK-SAME: nest.model = {family = "llama", rope = "#nest.rope<head_dim = 4, frequencies = [1.000000e+00]>"}
// CHECK-NOT: nest.axis
// CHECK-NOT: nest.weight @
module attributes {nest.model = {family = "llama", rope = #nest.rope<head_dim = 4, frequencies = [1.0]>}} {
  nest.axis @ffn size 16 levels [4, 8, 16]
  nest.weight @down : tensor<4x16xf32, #nest.on<_, ffn>>
  nest.weight @up : tensor<16x4xf32, #nest.on<ffn, _>>
  nest.weight @unused : tensor<4xf32>

  // One argument a weight in the order of first use, as wide as the widest read
  // of it; inputs and weights are not to be written.
  // CHECK-LABEL: func @decode
  // CHECK-SAME: (%[[X:.*]]: tensor<?x1x4xf32> {bufferization.writable = false, nest.name = "x"},
  // CHECK-SAME: %{{.*}}: tensor<?x1x8x4xf32> {nest.cache = "layers.0.k"},
  // CHECK-SAME: %[[UP:.*]]: tensor<8x4xf32> {bufferization.writable = false, nest.weight = "up"},
  // CHECK-SAME: %[[DOWN:.*]]: tensor<4x8xf32> {bufferization.writable = false, nest.weight = "down"})
  // CHECK-SAME: attributes {nest.entry = "decode"}
  // CHECK-DAG: linalg.contract {{.*}} %[[UP]] :
  // CHECK-DAG: tensor.extract_slice %[[UP]][0, 0] [4, 4] [1, 1]
  // MEMREF-LABEL: func @decode
  // MEMREF-SAME: memref<?x1x8x4xf32> {nest.cache = "layers.0.k"}
  // MEMREF-SAME: memref<8x4xf32> {nest.weight = "up"}
  // MEMREF-NOT: memref.copy
  func.func @decode(%x: tensor<?x1x4xf32> {nest.name = "x"}, %k: tensor<?x1x8x4xf32> {nest.cache = "layers.0.k"})
      -> (tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x8x4xf32> {nest.cache = "layers.0.k"}) attributes {nest.entry = "decode"} {
    %y, %l = nest.layer 0 (%x) carry (%k) : (tensor<?x1x4xf32>, tensor<?x1x8x4xf32>) -> (tensor<?x1x4xf32>, tensor<?x1x8x4xf32>) {
      %up = nest.get @up : tensor<8x4xf32>
      %a = nest.linear %x, %up : (tensor<?x1x4xf32>, tensor<8x4xf32>) -> tensor<?x1x8xf32>
      %down = nest.get @down : tensor<4x8xf32>
      %b = nest.linear %a, %down : (tensor<?x1x8xf32>, tensor<4x8xf32>) -> tensor<?x1x4xf32>
      nest.yield %b, %k : tensor<?x1x4xf32>, tensor<?x1x8x4xf32>
    }
    %narrow = nest.get @up : tensor<4x4xf32>
    %z = nest.linear %y, %narrow : (tensor<?x1x4xf32>, tensor<4x4xf32>) -> tensor<?x1x4xf32>
    return %y, %z, %l : tensor<?x1x4xf32>, tensor<?x1x4xf32>, tensor<?x1x8x4xf32>
  }

  // A width that is known at run time only.
  // CHECK-LABEL: func @dynamic
  // CHECK-SAME: %[[N:[a-z0-9]+]]: index, %[[UP:[a-z0-9]*]]: tensor<16x4xf32> {{.*}}nest.weight = "up"
  // CHECK: %[[W:.*]] = tensor.extract_slice %[[UP]][0, 0] [%[[N]], 4] [1, 1]
  // CHECK: linalg.contract {{.*}}, %[[W]] : tensor<?x?x4xf32>, tensor<?x4xf32>) outs(%{{.*}} : tensor<?x?x?xf32>)
  func.func @dynamic(%x: tensor<?x?x4xf32>, %n: index) -> tensor<?x?x?xf32> attributes {nest.entry = "dynamic"} {
    %up = nest.get @up[%n] : tensor<?x4xf32>
    %a = nest.linear %x, %up : (tensor<?x?x4xf32>, tensor<?x4xf32>) -> tensor<?x?x?xf32>
    return %a : tensor<?x?x?xf32>
  }
}
