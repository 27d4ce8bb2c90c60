// RUN: nest-opt %s --nest-mask-to-slice --nest-drop-axes --nest-to-kernels | FileCheck %s

// A block that is written with a mask becomes two kernels on weights of half
// the size: no mask and no slice is left.
// CHECK-DAG: nest.weight @gate stored tensor<4x3xbf16> box [0, 0] [2, 3] : tensor<2x3xbf16>
// CHECK-DAG: nest.weight @up stored tensor<4x3xbf16> box [0, 0] [2, 3] : tensor<2x3xbf16>
// CHECK-DAG: nest.weight @down stored tensor<3x4xbf16> box [0, 0] [3, 2] : tensor<3x2xbf16>
// CHECK-NOT: tensor.extract_slice
// CHECK-LABEL: func.func @glu
// CHECK-SAME: memref<2x3xbf16> {nest.weight = "gate"}
// CHECK-SAME: memref<2x3xbf16> {nest.weight = "up"}
// CHECK-SAME: memref<3x2xbf16> {nest.weight = "down"}
// CHECK-COUNT-2: kernel.launch
// CHECK-NOT: kernel.launch
nest.weight @gate : tensor<4x3xbf16>
nest.weight @up : tensor<4x3xbf16>
nest.weight @down : tensor<3x4xbf16>
func.func @glu(%x: tensor<1x5x3xf32> {nest.name = "x"}) -> (tensor<1x5x3xf32> {nest.name = "y"}) attributes {nest.entry = "prefill"} {
  %mask = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xf32>
  %g = nest.get @gate : tensor<4x3xbf16>
  %u = nest.get @up : tensor<4x3xbf16>
  %d = nest.get @down : tensor<3x4xbf16>
  %0 = nest.layer 0 (%x) : (tensor<1x5x3xf32>) -> (tensor<1x5x3xf32>) {
    %p = nest.linear %x, %g : (tensor<1x5x3xf32>, tensor<4x3xbf16>) -> tensor<1x5x4xf32>
    %q = nest.linear %x, %u : (tensor<1x5x3xf32>, tensor<4x3xbf16>) -> tensor<1x5x4xf32>
    %e = tensor.empty() : tensor<1x5x4xf32>
    %mb = linalg.broadcast ins(%mask : tensor<4xf32>) outs(%e : tensor<1x5x4xf32>) dimensions = [0, 1]
    %m = arith.mulf %p, %mb : tensor<1x5x4xf32>
    %h = nest.glu silu %m, %q : tensor<1x5x4xf32>
    %y = nest.linear %h, %d : (tensor<1x5x4xf32>, tensor<3x4xbf16>) -> tensor<1x5x3xf32>
    nest.yield %y : tensor<1x5x3xf32>
  }
  return %0 : tensor<1x5x3xf32>
}
