// RUN: nest-opt %s --kernel-share-weights --split-input-file | FileCheck %s

// Two submodels read prefixes of one stored matrix: its rows are 16 apart, those
// of a prefix of rows are where they are.
nest.weight @down stored tensor<8x64xf32> box [0, 0] [8, 16] : tensor<8x16xf32>
nest.weight @"down:small" key "down" stored tensor<8x64xf32> box [0, 0] [8, 4] : tensor<8x4xf32>
nest.weight @up stored tensor<64x8xf32> box [0, 0] [16, 8] : tensor<16x8xf32>
nest.weight @"up:small" key "up" stored tensor<64x8xf32> box [0, 0] [4, 8] : tensor<4x8xf32>

// CHECK-LABEL: func.func @wide
// CHECK-SAME: memref<8x16xf32> {nest.weight = "down"}, %{{.*}}: memref<16x8xf32> {nest.weight = "up"}
func.func @wide(%down: memref<8x16xf32> {nest.weight = "down"}, %up: memref<16x8xf32> {nest.weight = "up"}) {
  return
}
// CHECK-LABEL: func.func @small
// CHECK-SAME: memref<?x?x4xf32>, %[[Y:.*]]: memref<?x?x8xf32>, %[[W:.*]]: memref<8x4xf32, strided<[16, 1]>> {nest.weight = "down:small"}, %{{.*}}: memref<4x8xf32> {nest.weight = "up:small"}
// CHECK: kernel.matmul {{.*}}weights(%[[W]] : memref<8x4xf32, strided<[16, 1]>>)
func.func @small(%x: memref<?x?x4xf32>, %y: memref<?x?x8xf32>,
    %down: memref<8x4xf32> {nest.weight = "down:small"}, %up: memref<4x8xf32> {nest.weight = "up:small"}) {
  kernel.matmul ins(%x : memref<?x?x4xf32>) weights(%down : memref<8x4xf32>) by [] outs(%y : memref<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  }
  return
}

// -----

// CHECK-LABEL: module @no_change
// Boxes that begin elsewhere, other types, and reshaped ones share nothing.
module @no_change {
nest.weight @q key "qkv" stored tensor<32x8xf32> box [0, 0] [16, 8] : tensor<16x8xf32>
nest.weight @k key "qkv" stored tensor<32x8xf32> box [16, 0] [16, 4] : tensor<16x4xf32>
nest.weight @narrow key "qkv" stored tensor<32x8xf32> box [0, 0] [16, 4] : tensor<16x4xbf16>
nest.weight @flat key "qkv" stored tensor<32x8xf32> box [0, 0] [2, 4] : tensor<4x2xf32>
// CHECK: func.func @f
// CHECK-NOT: strided
func.func @f(%k: memref<16x4xf32> {nest.weight = "k"}, %n: memref<16x4xbf16> {nest.weight = "narrow"}, %flat: memref<4x2xf32> {nest.weight = "flat"}) {
  return
}
}
