// RUN: nest-opt %s --convert-nest-to-kernel --split-input-file --verify-diagnostics | FileCheck %s

nest.weight @t : tensor<1x5x8xf32>

// A base that nobody needs any more is written over, in turn into the result.
// CHECK-LABEL: func.func @over
// CHECK-SAME: %[[OUT:[a-z0-9]+]]: tensor<?x5x8xf32> {{{.*}}nest.name = "y", nest.output
// CHECK: %[[X:.+]] = kernel.remap ins(%{{.+}} : tensor<?x4x8xf32>) by #{{.+}} outs(%[[OUT]] : tensor<?x5x8xf32>)
// CHECK-NEXT: %[[Y:.+]] = kernel.remap ins(%{{.+}} : tensor<1x5x8xf32>) by #{{.+}} adds outs(%[[X]] : tensor<?x5x8xf32>)
// CHECK-NEXT: return %[[Y]]
func.func @over(%x: tensor<?x4x8xf32> {nest.name = "x"}) -> (tensor<?x5x8xf32> {nest.name = "y"}) attributes {nest.entry = "encode"} {
  %t = nest.get @t : tensor<1x5x8xf32>
  %0 = nest.remap %x by affine_map<(b, t, c) -> (b, t - 1, c)> : (tensor<?x4x8xf32>) -> tensor<?x5x8xf32>
  %1 = nest.remap %t by affine_map<(b, t, c) -> (0, t, c)> into %0 : (tensor<1x5x8xf32>, tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
  return %1 : tensor<?x5x8xf32>
}

// -----

nest.weight @t : tensor<1x5x8xf32>

// An input and a base that is read later are copied.
// CHECK-LABEL: func.func @copied
// CHECK: %[[COPY:.+]] = kernel.rowwise
// CHECK: kernel.remap {{.*}} adds outs(%[[COPY]] : tensor<?x5x8xf32>)
// CHECK: %[[COPY2:.+]] = kernel.rowwise
// CHECK: kernel.remap {{.*}} adds outs(%[[COPY2]] : tensor<?x5x8xf32>)
func.func @copied(%x: tensor<?x5x8xf32> {nest.name = "x"}) -> (tensor<?x5x8xf32> {nest.name = "y"}, tensor<?x5x8xf32> {nest.name = "z"}) attributes {nest.entry = "encode"} {
  %t = nest.get @t : tensor<1x5x8xf32>
  %0 = nest.remap %t by affine_map<(b, t, c) -> (0, t, c)> into %x : (tensor<1x5x8xf32>, tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
  %1 = nest.remap %t by affine_map<(b, t, c) -> (0, 4 - t, c)> into %0 : (tensor<1x5x8xf32>, tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
  return %0, %1 : tensor<?x5x8xf32>, tensor<?x5x8xf32>
}

// -----

// Without a cache there is no kernel that appends.
// CHECK-LABEL: func.func @attention
// CHECK: %[[K:.+]] = kernel.remap ins(%{{.+}} : tensor<?x4x8xf32>) by #{{.+}} outs(%{{.+}} : tensor<?x2x4x4xbf16>)
// CHECK: kernel.attention ins(%{{.+}}, %[[K]], %[[K]] : tensor<?x4x8xf32>, tensor<?x2x4x4xbf16>, tensor<?x2x4x4xbf16>) scale 5.000000e-01 <> outs
func.func @attention(%x: tensor<?x4x8xf32> {nest.name = "x"}) -> (tensor<?x4x8xf32> {nest.name = "y"}) attributes {nest.entry = "encode"} {
  %k = nest.remap %x by affine_map<(b, h, t, c) -> (b, t, h * 4 + c)> : (tensor<?x4x8xf32>) -> tensor<?x2x4x4xbf16>
  %0 = nest.attention %x, %k, %k scale 0.5 <> : (tensor<?x4x8xf32>, tensor<?x2x4x4xbf16>, tensor<?x2x4x4xbf16>) -> tensor<?x4x8xf32>
  return %0 : tensor<?x4x8xf32>
}

// -----

func.func @packed(%x: tensor<?x4x8xf32>, %m: tensor<?x4xi32>) -> tensor<?x4x8xf32> {
  %f = nest.partition %m sets [0, -1] : (tensor<?x4xi32>) -> !nest.rows<1, cover>
  %g = nest.gather %x by %f : (tensor<?x4x8xf32>, !nest.rows<1, cover>) -> tensor<?x4x8xf32>
  // expected-error@+1 {{works on rows that are packed, whose places only the device knows; spread them first}}
  %0 = nest.remap %g by affine_map<(b, t, c) -> (b, t, c)> : (tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  return %0 : tensor<?x4x8xf32>
}

// -----

func.func @argmax(%x: tensor<?x4x8xf32>, %m: tensor<?x4xi32>) -> tensor<?x4xi32> {
  %f = nest.partition %m sets [0, -1] : (tensor<?x4xi32>) -> !nest.rows<1, cover>
  %g = nest.gather %x by %f : (tensor<?x4x8xf32>, !nest.rows<1, cover>) -> tensor<?x4x8xf32>
  // expected-error@+1 {{works on rows that are packed}}
  %0 = nest.argmax %g : (tensor<?x4x8xf32>) -> tensor<?x4xi32>
  return %0 : tensor<?x4xi32>
}
