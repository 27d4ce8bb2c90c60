// RUN: nest-opt %s --convert-nest-to-kernel | FileCheck %s

// Lengths of several layers move to the end, each once.
// CHECK-LABEL: func.func @verify
// CHECK-COUNT-2: kernel.advance
// CHECK-NOT: kernel.advance
// CHECK: return
func.func @verify(%t: tensor<?x?xi32> {nest.name = "tokens"}, %a: tensor<?xi32> {nest.cache = "layers.0.length"}, %b: tensor<?xi32> {nest.cache = "layers.1.length"})
    -> (tensor<?xi32> {nest.cache = "layers.0.length"}, tensor<?xi32> {nest.cache = "layers.1.length"}) attributes {nest.entry = "verify"} {
  %a1 = nest.advance %a, %t : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  %b1 = nest.advance %b, %t : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  return %a1, %b1 : tensor<?xi32>, tensor<?xi32>
}
