// Entries whose logits are one row of every sequence give a token besides.
// RUN: nest-opt %s --nest-choose-tokens | FileCheck %s
// RUN: nest-opt %s --nest-choose-tokens --nest-choose-tokens | FileCheck %s
// RUN: nest-opt %s --nest-choose-tokens --nest-to-kernels | FileCheck %s --check-prefix=KERNELS

// CHECK-LABEL: func.func @decode
// CHECK-SAME: -> (tensor<?x1x8xf32> {nest.name = "logits"}, tensor<?xi32> {nest.cache = "n"}, tensor<?x1xi32> {nest.name = "token"})
// CHECK: %[[Y:.*]] = nest.linear
// CHECK: %[[N:.*]] = nest.advance
// CHECK: %[[T:.*]] = nest.argmax %[[Y]] : (tensor<?x1x8xf32>) -> tensor<?x1xi32>
// CHECK-NEXT: return %[[Y]], %[[N]], %[[T]]
// The product writes the logits where they belong, and nothing is copied.
// KERNELS-LABEL: func.func @decode
// KERNELS-SAME: %[[LOGITS:[a-z0-9]+]]: memref<?x1x8xf32> {nest.name = "logits", nest.output}
// KERNELS-SAME: %[[TOKEN:[a-z0-9]+]]: memref<?x1xi32> {nest.name = "token", nest.output}
// KERNELS: kernel.launch @matmul_0({{.*}}, %[[LOGITS]])
// KERNELS: kernel.launch @argmax_0(%[[LOGITS]], %[[TOKEN]])
// KERNELS-NOT: rowwise
// KERNELS: return
nest.weight @w : tensor<8x4xf32>
func.func @decode(%x: tensor<?x1x4xf32> {nest.name = "x"}, %i: tensor<?x1xi32> {nest.name = "tokens"}, %n: tensor<?xi32> {nest.cache = "n"})
    -> (tensor<?x1x8xf32> {nest.name = "logits"}, tensor<?xi32> {nest.cache = "n"}) attributes {nest.entry = "decode"} {
  %w = nest.get @w : tensor<8x4xf32>
  %y = nest.linear %x, %w : (tensor<?x1x4xf32>, tensor<8x4xf32>) -> tensor<?x1x8xf32>
  %m = nest.advance %n, %i : (tensor<?xi32>, tensor<?x1xi32>) -> tensor<?xi32>
  return %y, %m : tensor<?x1x8xf32>, tensor<?xi32>
}

// Logits of all rows, other results, and functions that are no entries stay.
// CHECK-LABEL: func.func @verify
// CHECK-SAME: -> (tensor<?x?x4xf32> {nest.name = "logits"})
// CHECK-LABEL: func.func @encode
// CHECK-SAME: -> (tensor<?x1x4xf32> {nest.name = "y"})
// CHECK-LABEL: func.func @other
// CHECK-NOT: nest.argmax
func.func @verify(%x: tensor<?x?x4xf32> {nest.name = "x"}) -> (tensor<?x?x4xf32> {nest.name = "logits"}) attributes {nest.entry = "verify"} {
  return %x : tensor<?x?x4xf32>
}
func.func @encode(%x: tensor<?x1x4xf32> {nest.name = "x"}) -> (tensor<?x1x4xf32> {nest.name = "y"}) attributes {nest.entry = "encode"} {
  return %x : tensor<?x1x4xf32>
}
func.func @other(%x: tensor<?x1x4xf32>) -> (tensor<?x1x4xf32> {nest.name = "logits"}) {
  return %x : tensor<?x1x4xf32>
}
