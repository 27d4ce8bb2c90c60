// A kernel whose blocks need more shared memory than the target gives.
// RUN: nest-opt %s --convert-kernel-to-nvptx -o /dev/null
// RUN: nest-opt %s --convert-kernel-to-nvptx=shared-bytes=232448 -o /dev/null
// RUN: not nest-opt %s --convert-kernel-to-nvptx=shared-bytes=4096 -o /dev/null 2>&1 | FileCheck %s
// CHECK: shared.mlir:[[#@LINE+3]]:{{.*}}error: 'kernel.matmul' op needs {{[0-9]+}} bytes of shared memory for nest_k{{[_0-9]*}}, a block of the target has at most 4096; compile for another --target

kernel.def @k(%a: memref<?x?x64xbf16>, %w: memref<32x64xbf16>, %out: memref<?x?x32xf32>) {
  kernel.matmul ins(%a : memref<?x?x64xbf16>) weights(%w : memref<32x64xbf16>) by [] outs(%out : memref<?x?x32xf32>) {
  ^bb0(%x: f32, %old: f32):
    kernel.yield %x : f32
  }
}
func.func @e(%a: memref<?x?x64xbf16>, %w: memref<32x64xbf16>, %out: memref<?x?x32xf32>) attributes {nest.entry = "e"} {
  kernel.launch @k(%a, %w, %out) : memref<?x?x64xbf16>, memref<32x64xbf16>, memref<?x?x32xf32>
  return
}
