// RUN: nest-opt %s --nest-specialize="submodel=layers.0.ffn=4..1/2" -o %t.mlir
// RUN: FileCheck %s --input-file=%t.mlir
// RUN: nest-opt %t.mlir --nest-drop-axes --convert-nest-to-kernel | FileCheck %s --check-prefix=KERNEL
// RUN: nest-opt %s --nest-specialize="submodel=layers.0.ffn=4" | FileCheck %s --check-prefix=FIXED
// RUN: not nest-opt %s --nest-specialize="submodel=layers.0.ffn=1/2..1/4" 2>&1 | FileCheck %s --check-prefix=BACKWARDS

// A width that stays open is an index argument of every entry that reads it, and the extent of its weights, of which
// the package needs what the largest width does.
// CHECK-NOT: nest.axis @
// CHECK: nest.weight @up stored tensor<16x8xf32> box [0, 0] [8, 8] : tensor<8x8xf32>
// CHECK: nest.weight @down stored tensor<8x16xf32> box [0, 0] [8, 8] : tensor<8x8xf32>
// CHECK-LABEL: func.func @f(
// CHECK-SAME: %[[N:[a-z0-9]+]]: index {nest.axis = "layers.0.ffn"})
// CHECK: %[[UP:.*]] = nest.get @up[%[[N]]] : tensor<?x8xf32>
// CHECK: nest.get @down[%[[N]]] : tensor<8x?xf32>
// CHECK: nest.linear %{{.*}}, %[[UP]] : (tensor<?x?x8xf32>, tensor<?x8xf32>) -> tensor<?x?x?xf32>
// CHECK: nest.act silu %{{.*}} : tensor<?x?x?xf32>
// One that reads none of it has no such argument.
// CHECK-LABEL: func.func @g(
// CHECK-NOT: index
// CHECK: return

// Kernels have the largest width, and read the one that is bound where it lies.
// KERNEL-LABEL: func.func @f(
// KERNEL-SAME: %[[N:[a-z0-9]+]]: tensor<1xi32> {bufferization.writable = false, nest.name = "layers.0.ffn"}
// KERNEL: kernel.matmul ins(%{{.*}} : tensor<?x?x8xf32>) weights(%{{.*}} : tensor<8x8xf32>) by [] columns(%[[N]] : tensor<1xi32>) outs
// KERNEL: math.exp
// KERNEL: kernel.matmul ins(%{{.*}} : tensor<?x?x8xf32>) weights(%{{.*}} : tensor<8x8xf32>) by [] depth(%[[N]] : tensor<1xi32>) outs

// FIXED-LABEL: func.func @f(
// FIXED-NOT: index
// FIXED: nest.get @up : tensor<4x8xf32>
// BACKWARDS: error: submodel entry 'layers.0.ffn=1/2..1/4': the range runs backwards; the smaller width first: 1/8..1/1

module attributes {nest.model = {num_layers = 1 : i64}} {
nest.axis @layers.0.ffn size 16 levels [4, 16]
nest.weight @up : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
nest.weight @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>

func.func @f(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "f"} {
  %u = nest.get @up : tensor<16x8xf32, #nest.on<layers.0.ffn, _>>
  %d = nest.get @down : tensor<8x16xf32, #nest.on<_, layers.0.ffn>>
  %h = nest.linear %x, %u : (tensor<?x?x8xf32>, tensor<16x8xf32, #nest.on<layers.0.ffn, _>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
  %a = nest.act silu %h : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
  %y = nest.linear %a, %d : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
func.func @g(%x: tensor<?x?x8xf32> {nest.name = "x"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "g"} {
  %y = nest.act silu %x : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
}
