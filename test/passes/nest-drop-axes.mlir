// RUN: nest-opt %s --nest-drop-axes | FileCheck %s

// Encodings go and layers are inlined; sizes stay.
// CHECK-NOT: #nest.on
// CHECK-NOT: nest.axis
nest.axis @a size 16 levels [16]
// CHECK: nest.weight @w : tensor<16x8xf32>
nest.weight @w : tensor<16x8xf32, #nest.on<a, _>>
// CHECK-LABEL: func.func @f
// CHECK-NOT: nest.layer
func.func @f(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  // CHECK: %[[Y:.+]] = nest.act silu
  // CHECK: return %[[Y]]
  %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    %y = nest.act silu %x : tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  return %0 : tensor<?x?x8xf32>
}
