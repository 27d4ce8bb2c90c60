// RUN: nest-opt %s --nest-configure="type=bf16 max-length=64" | FileCheck %s
// RUN: nest-opt %s --nest-configure | FileCheck %s --check-prefix=SAME
// RUN: not nest-opt %s --nest-configure=type=int8 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: error: unknown type 'int8'; legal are f32, bf16, f16
// CHECK: nest.model = {dtype = "bf16", max_length = 64 : i64}
module attributes {nest.model = {dtype = "f32", max_length = 16 : i64}} {
  // Matrices change and remember what is stored; vectors stay.
  // CHECK: nest.weight @w stored tensor<8x8xf32> : tensor<8x8xbf16>
  // CHECK: nest.weight @n : tensor<8xf32>
  // SAME: nest.weight @w : tensor<8x8xf32>
  nest.weight @w : tensor<8x8xf32>
  nest.weight @n : tensor<8xf32>
  // CHECK-LABEL: func.func @forward
  // CHECK-SAME: tensor<?x2x64x4xbf16> {nest.cache = "layers.0.k"}) -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x2x64x4xbf16>
  // SAME: tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"})
  func.func @forward(%x: tensor<?x?x8xf32> {nest.name = "x"}, %n: tensor<?xi32> {nest.name = "lengths"},
      %k: tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"})
      -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"}) attributes {nest.entry = "forward"} {
    // CHECK: nest.get @w : tensor<8x8xbf16>
    %w = nest.get @w : tensor<8x8xf32>
    // CHECK: nest.linear %{{.+}} : (tensor<?x?x8xf32>, tensor<8x8xbf16>) -> tensor<?x?x8xf32>
    %h = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
    // CHECK: nest.cache_append %{{.+}} : (tensor<?x2x64x4xbf16>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x64x4xbf16>
    %c = nest.cache_append %k, %h, %n : (tensor<?x2x16x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x16x4xf32>
    return %h, %c : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>
  }
}
