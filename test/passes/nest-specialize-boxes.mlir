// RUN: nest-opt %s --nest-specialize="submodel=layers.0.ffn=1/4" | FileCheck %s
// RUN: nest-opt %s --nest-specialize | FileCheck %s --check-prefix=FULL

// Two halves of one stored tensor lie on the axis: a width is the first part of
// each.
module attributes {nest.model = {num_layers = 1 : i64}, nest.submodels = {}} {
  nest.axis @layers.0.ffn size 16 levels [4, 16]
  // CHECK: nest.weight @x key "proj" stored tensor<32x8xf32> box [0, 0] [4, 8] : tensor<4x8xf32>
  // FULL: nest.weight @x key "proj" stored tensor<32x8xf32> box [0, 0] [16, 8] : tensor<16x8xf32>
  nest.weight @x key "proj" stored tensor<32x8xf32> box [0, 0] [16, 8] : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  // CHECK: nest.weight @gate key "proj" stored tensor<32x8xf32> box [16, 0] [4, 8] : tensor<4x8xf32>
  // FULL: nest.weight @gate key "proj" stored tensor<32x8xf32> box [16, 0] [16, 8] : tensor<16x8xf32>
  nest.weight @gate key "proj" stored tensor<32x8xf32> box [16, 0] [16, 8] : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  // CHECK: nest.weight @down stored tensor<8x16xf32> box [0, 0] [8, 4] : tensor<8x4xf32>
  nest.weight @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
  func.func @forward(%x: tensor<?x?x8xf32> {nest.name = "x"})
      -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "forward"} {
    %u = nest.get @x : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
    %g = nest.get @gate : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
    %d = nest.get @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
    // CHECK: nest.linear {{.*}} -> tensor<?x?x4xf32>
    %0 = nest.linear %x, %u : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %1 = nest.linear %x, %g : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %2 = nest.glu silu %1, %0 : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %3 = nest.linear %2, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x8xf32>
    return %3 : tensor<?x?x8xf32>
  }
}
