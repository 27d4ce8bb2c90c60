// RUN: nest-opt %s --nest-specialize="submodel=layers.all.ffn=1/4 entry=draft" | FileCheck %s

// One entry of two is bound: weights stay universal, the other entry as it is.
module attributes {nest.model = {num_layers = 1 : i64}} {
  // CHECK: nest.axis @layers.0.ffn size 16
  nest.axis @layers.0.ffn size 16 levels [4, 16]
  // CHECK: nest.weight @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  nest.weight @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  nest.weight @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
  // CHECK-LABEL: func.func @draft
  // CHECK-SAME: nest.specialized = "layers.all.ffn=1/4"
  // CHECK: nest.get @gate : tensor<4x8xf32>
  func.func @draft(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "draft"} {
    %g = nest.get @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
    %d = nest.get @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
    %h = nest.linear %x, %g : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %y = nest.linear %h, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x8xf32>
    return %y : tensor<?x?x8xf32>
  }
  // CHECK-LABEL: func.func @verify
  // CHECK-NOT: nest.specialized
  // CHECK: nest.get @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  func.func @verify(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "verify"} {
    %g = nest.get @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
    %d = nest.get @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
    %h = nest.linear %x, %g : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %y = nest.linear %h, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x8xf32>
    return %y : tensor<?x?x8xf32>
  }
}
