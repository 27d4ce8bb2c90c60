// Products of rows that a capacity chose know how many there are at most.
// RUN: nest-opt %s --kernel-bound-rows | FileCheck %s

// CHECK-LABEL: func.func @chosen
// CHECK: kernel.select
// CHECK: kernel.matmul {{.*}} attributes {kernel.capacity = #nest.capacity<1/8>}
func.func @chosen(%s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %f: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>,
                  %x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %y: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %t:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1/8> outs(%i, %f, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>)
      -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] rows(%t#1, %t#0 : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers
      outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// A threshold bounds nothing, and products of all rows have no sets.
// CHECK-LABEL: func.func @no_change
// CHECK-NOT: kernel.capacity
func.func @no_change(%s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %f: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>,
                     %x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %y: tensor<?x?x8xf32>, %z: tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %t:4 = kernel.select ins(%s : tensor<?x?x1xf32>) above 0.0 outs(%i, %f, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>)
      -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] rows(%t#1, %t#0 : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers
      outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] outs(%z : tensor<?x?x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  } -> tensor<?x?x8xf32>
  return %0, %1 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}
