// RUN: nest-opt %s --convert-nest-to-kernel --split-input-file | FileCheck %s

nest.weight @gate : tensor<16x8xf32>
nest.weight @up : tensor<16x8xf32>
nest.weight @down : tensor<8x16xf32>

// A gated FFN with its residual is two matmuls: the gate's and the up's product
// with the activation in one epilogue, and the down product over the old value
// of the stream. Weights become arguments in the order of first use.
// CHECK-LABEL: func.func @ffn
// CHECK-SAME: tensor<16x8xf32> {{{.*}}nest.weight = "gate"}
// CHECK-SAME: tensor<16x8xf32> {{{.*}}nest.weight = "up"}
// CHECK-SAME: tensor<8x16xf32> {{{.*}}nest.weight = "down"}
// CHECK: %[[X:.+]] = kernel.rowwise
// CHECK: %[[H:.+]] = kernel.matmul ins(%[[X]] : {{.*}}) weights(%{{.+}}, %{{.+}} : tensor<16x8xf32>, tensor<16x8xf32>)
// CHECK: ^bb0(%[[G:.+]]: f32, %[[U:.+]]: f32, %{{.+}}: f32):
// CHECK: math.exp
// CHECK: arith.mulf %{{.+}}, %[[U]]
// CHECK: kernel.matmul ins(%[[H]] : {{.*}}) weights(%{{.+}} : tensor<8x16xf32>) by [] outs(%[[X]] :
// CHECK: ^bb0(%[[ACC:.+]]: f32, %[[OLD:.+]]: f32):
// CHECK: arith.addf %[[OLD]], %[[ACC]]
// CHECK-NOT: kernel.rowwise
func.func @ffn(%in: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "ffn"} {
  %x = nest.norm rms %in epsilon 1.0e-5 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %wg = nest.get @gate : tensor<16x8xf32>
  %wu = nest.get @up : tensor<16x8xf32>
  %wd = nest.get @down : tensor<8x16xf32>
  %g = nest.linear %x, %wg : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  %u = nest.linear %x, %wu : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  %h = nest.glu silu %g, %u : tensor<?x?x16xf32>
  %d = nest.linear %h, %wd : (tensor<?x?x16xf32>, tensor<8x16xf32>) -> tensor<?x?x8xf32>
  %y = arith.addf %x, %d : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// -----

nest.weight @gate : tensor<16x8xf32>
nest.weight @up : tensor<16x8xf32>

// The gate is also a result: it is a value of its own, and no epilogue holds it.
// CHECK-LABEL: func.func @no_fusion_of_a_shared_gate
// CHECK: kernel.matmul ins(%{{.+}}) weights(%{{.+}} : tensor<16x8xf32>)
func.func @no_fusion_of_a_shared_gate(%x: tensor<?x?x8xf32> {nest.name = "x"})
    -> (tensor<?x?x16xf32> {nest.name = "gate"}, tensor<?x?x16xf32> {nest.name = "h"}) attributes {nest.entry = "f"} {
  %wg = nest.get @gate : tensor<16x8xf32>
  %wu = nest.get @up : tensor<16x8xf32>
  %g = nest.linear %x, %wg : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  %u = nest.linear %x, %wu : (tensor<?x?x8xf32>, tensor<16x8xf32>) -> tensor<?x?x16xf32>
  %h = nest.glu silu %g, %u : tensor<?x?x16xf32>
  return %g, %h : tensor<?x?x16xf32>, tensor<?x?x16xf32>
}

// -----

nest.weight @w : tensor<8x8xf32>
nest.weight @b : tensor<8xf32>

// A bias is an epilogue operand, one element a column.
// CHECK: #[[$COLUMN:.+]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @bias
// CHECK: kernel.matmul ins(%{{.+}}) weights(%{{.+}}) epilogue(%{{.+}} : tensor<8xf32>) by [#[[$COLUMN]]]
func.func @bias(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "f"} {
  %w = nest.get @w : tensor<8x8xf32>
  %b = nest.get @b : tensor<8xf32>
  %y = nest.linear %x, %w bias(%b) : (tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
