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
  // A router is exact.
  // CHECK: nest.weight @r exact : tensor<1x8xf32>
  nest.weight @r exact : tensor<1x8xf32>
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

  // Without a cache, the rows of keys and values have its type.
  // CHECK-LABEL: func.func @encode
  // CHECK: %[[K:.+]] = nest.remap %{{.+}} : (tensor<?x4x8xf32>) -> tensor<?x2x4x4xbf16>
  // CHECK: nest.attention %{{.+}}, %[[K]], %[[K]] scale
  // CHECK: nest.remap %{{.+}} : (tensor<?x4x8xf32>) -> tensor<?x8xf32>
  func.func @encode(%x: tensor<?x4x8xf32> {nest.name = "x"}) -> (tensor<?x8xf32> {nest.name = "y"}) attributes {nest.entry = "encode"} {
    %k = nest.remap %x by affine_map<(b, h, t, c) -> (b, t, h * 4 + c)> : (tensor<?x4x8xf32>) -> tensor<?x2x4x4xf32>
    %a = nest.attention %x, %k, %k scale 0.5 <> : (tensor<?x4x8xf32>, tensor<?x2x4x4xf32>, tensor<?x2x4x4xf32>) -> tensor<?x4x8xf32>
    %y = nest.remap %a by affine_map<(b, c) -> (b, 0, c)> : (tensor<?x4x8xf32>) -> tensor<?x8xf32>
    return %y : tensor<?x8xf32>
  }

  // Caches through what carries them: keys and positions grow, of i32 is what
  // counts, and lengths have no rows.
  // CHECK-LABEL: func.func @routed
  // CHECK-SAME: tensor<?x2x64x4xbf16> {nest.cache = "layers.0.k"}, %{{.+}}: tensor<?xi32> {nest.cache = "layers.0.length"}, %{{.+}}: tensor<?x64xi32> {nest.cache = "layers.0.positions"}
  func.func @routed(%x: tensor<?x?x8xf32> {nest.name = "x"}, %p: tensor<?x?xi32> {nest.name = "positions"},
      %k: tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"}, %n: tensor<?xi32> {nest.cache = "layers.0.length"}, %at: tensor<?x16xi32> {nest.cache = "layers.0.positions"})
      -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x2x16x4xf32> {nest.cache = "layers.0.k"}, tensor<?xi32> {nest.cache = "layers.0.length"}, tensor<?x16xi32> {nest.cache = "layers.0.positions"}) attributes {nest.entry = "routed"} {
    // CHECK: %[[LAYER:.+]]:4 = nest.layer 0
    // CHECK-SAME: (tensor<?x?x8xf32>, tensor<?x2x64x4xbf16>, tensor<?xi32>, tensor<?x64xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x64x4xbf16>, tensor<?xi32>, tensor<?x64xi32>)
    %l:4 = nest.layer 0 (%x) carry (%k, %n, %at) : (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>) {
      // CHECK: %[[R:.+]] = nest.get @r : tensor<1x8xf32>
      %r = nest.get @r : tensor<1x8xf32>
      %s = nest.linear %x, %r : (tensor<?x?x8xf32>, tensor<1x8xf32>) -> tensor<?x?x1xf32>
      %rows = nest.select %s top <1/2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/2>>
      // CHECK: nest.on
      // CHECK-SAME: tensor<?x2x64x4xbf16>, tensor<?xi32>, tensor<?x64xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x64x4xbf16>, tensor<?xi32>, tensor<?x64xi32>)
      %o:4 = nest.on %rows gather(%x, %p) into(%x) carry(%k, %n, %at) : (!nest.rows<1, #nest.capacity<1/2>>, tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>) -> (tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>) {
      ^bb0(%xs: tensor<?x?x8xf32>, %ps: tensor<?x?xi32>):
        // CHECK: nest.cache_append %{{.+}} -> tensor<?x2x64x4xbf16>
        %k1 = nest.cache_append %k, %xs, %n by %rows : (tensor<?x2x16x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !nest.rows<1, #nest.capacity<1/2>>) -> tensor<?x2x16x4xf32>
        // CHECK: nest.cache_append %{{.+}} -> tensor<?x64xi32>
        %at1 = nest.cache_append %at, %ps, %n by %rows : (tensor<?x16xi32>, tensor<?x?xi32>, tensor<?xi32>, !nest.rows<1, #nest.capacity<1/2>>) -> tensor<?x16xi32>
        // CHECK: nest.advance %{{.+}} -> tensor<?xi32>
        %n1 = nest.advance %n, %p by %rows : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/2>>) -> tensor<?xi32>
        nest.yield %xs, %k1, %n1, %at1 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>
      }
      nest.yield %o#0, %o#1, %o#2, %o#3 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>
    }
    return %l#0, %l#1, %l#2, %l#3 : tensor<?x?x8xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>, tensor<?x16xi32>
  }
}
