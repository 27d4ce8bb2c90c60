// RUN: nest-opt %s --nest-specialize="submodel=layers.all.ffn=1/4" | FileCheck %s --check-prefixes=CHECK,QUARTER
// RUN: nest-opt %s --nest-specialize="submodel=layers.0.ffn=8,layers.1.ffn=full" | FileCheck %s --check-prefixes=CHECK,MIX
// RUN: nest-opt %s --nest-specialize="submodel=small" | FileCheck %s --check-prefixes=CHECK,QUARTER
// RUN: nest-opt %s --nest-specialize="submodel=layers.all.ffn=1/2,skip=0" | FileCheck %s --check-prefix=SKIP
// RUN: nest-opt %s --nest-specialize="submodel=layers.all.ffn=1/4" --nest-specialize | FileCheck %s --check-prefixes=CHECK,QUARTER

// Gate rows, up rows, down columns and the activation between move together,
// and no axis is left.
module attributes {
  nest.model = {num_layers = 2 : i64},
  nest.submodels = {small = "layers.all.ffn=1/4"}
} {
  // CHECK-NOT: nest.axis
  // SKIP-NOT: nest.axis
  nest.axis @layers.0.ffn size 16 levels [4, 8, 16]
  nest.axis @layers.1.ffn size 16 levels [4, 8, 16]
  // QUARTER: nest.weight @gate0 stored tensor<16x8xf32> box [0, 0] [4, 8] : tensor<4x8xf32>
  // QUARTER: nest.weight @down0 stored tensor<8x16xf32> box [0, 0] [8, 4] : tensor<8x4xf32>
  // QUARTER: nest.weight @gate1 stored tensor<16x8xf32> box [0, 0] [4, 8] : tensor<4x8xf32>
  // MIX: nest.weight @gate0 stored tensor<16x8xf32> box [0, 0] [8, 8] : tensor<8x8xf32>
  // MIX: nest.weight @down0 stored tensor<8x16xf32> box [0, 0] [8, 8] : tensor<8x8xf32>
  // MIX: nest.weight @gate1 : tensor<16x8xf32>
  // SKIP-NOT: @gate0
  // SKIP: nest.weight @gate1 stored tensor<16x8xf32> box [0, 0] [8, 8] : tensor<8x8xf32>
  nest.weight @gate0 : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  nest.weight @down0 : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
  nest.weight @gate1 : tensor<16x8xf32, #nest.on<layers.1.ffn, _>>
  nest.weight @down1 : tensor<8x16xf32, #nest.on<_, layers.1.ffn>>
  // CHECK-NOT: @unused
  nest.weight @unused : tensor<8x8xf32>

  // CHECK-LABEL: func.func @forward
  // CHECK-NOT: #nest.on
  // SKIP-LABEL: func.func @forward
  // SKIP-SAME: %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>
  func.func @forward(%x: tensor<?x?x8xf32> {nest.name = "x"})
      -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "forward"} {
    // CHECK: nest.layer 0
    // QUARTER: %[[G:.+]] = nest.get @gate0 : tensor<4x8xf32>
    // QUARTER: nest.linear %{{.+}}, %[[G]] : (tensor<?x?x8xf32>, tensor<4x8xf32>) -> tensor<?x?x4xf32>
    // QUARTER: nest.act silu %{{.+}} : tensor<?x?x4xf32>
    // QUARTER: nest.linear %{{.+}} : (tensor<?x?x4xf32>, tensor<8x4xf32>) -> tensor<?x?x8xf32>
    // MIX: nest.act silu %{{.+}} : tensor<?x?x8xf32>
    %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
      %g = nest.get @gate0 : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
      %d = nest.get @down0 : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
      %h = nest.linear %x, %g : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
      %a = nest.act silu %h : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
      %y = nest.linear %a, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x8xf32>
      nest.yield %y : tensor<?x?x8xf32>
    }
    // CHECK: nest.layer 1
    // MIX: nest.act silu %{{.+}} : tensor<?x?x16xf32>
    // SKIP-NOT: nest.layer 0
    // SKIP: nest.layer 1 (%[[X]])
    // SKIP: nest.act silu %{{.+}} : tensor<?x?x8xf32>
    %1 = nest.layer 1 (%0) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
      %g = nest.get @gate1 : tensor<16x8xf32, #nest.on<layers.1.ffn, _>>
      %d = nest.get @down1 : tensor<8x16xf32, #nest.on<_, layers.1.ffn>>
      %h = nest.linear %0, %g : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.1.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.1.ffn>>
      %a = nest.act silu %h : tensor<?x?x16xf32, #nest.on<_, _, layers.1.ffn>>
      %y = nest.linear %a, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.1.ffn>>, tensor<8x16xf32, #nest.on<_, layers.1.ffn>>) -> tensor<?x?x8xf32>
      nest.yield %y : tensor<?x?x8xf32>
    }
    return %1 : tensor<?x?x8xf32>
  }
}
