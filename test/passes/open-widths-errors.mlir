// RUN: nest-opt %s --convert-nest-to-kernel --verify-diagnostics --split-input-file

// Only products, and elementwise code fused with them, take a width that a call binds.
nest.weight @up : tensor<16x8xf32>
func.func @norm(%x: tensor<?x?x8xf32> {nest.name = "x"}, %n: index {nest.axis = "ffn"}) -> (tensor<?x?x?xf32> {nest.name = "y"}) attributes {nest.entry = "f"} {
  %u = nest.get @up[%n] : tensor<?x8xf32>
  %h = nest.linear %x, %u : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x?xf32>
  // expected-error @below {{works on columns that a call binds, and is not fused with the product that makes them; only products take such a width}}
  %y = nest.norm rms %h epsilon 1.0e-5 : (tensor<?x?x?xf32>) -> tensor<?x?x?xf32>
  return %y : tensor<?x?x?xf32>
}

// -----

// A width is an argument, nothing that is computed.
nest.weight @up : tensor<16x8xf32>
func.func @computed(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x?xf32> {nest.name = "y"}) attributes {nest.entry = "f"} {
  %n = arith.constant 4 : index
  // expected-error @below {{has a width that is not one index argument {nest.axis}; only such a width can stay open}}
  %u = nest.get @up[%n] : tensor<?x8xf32>
  %y = nest.linear %x, %u : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x?xf32>
  return %y : tensor<?x?x?xf32>
}
