// Operations of inputs of a fixed size, in each form that the syntax has.
// RUN: nest-opt %s | nest-opt | FileCheck %s
// RUN: nest-opt %s --verify-roundtrip -o /dev/null
// RUN: nest-opt %s --emit-bytecode | nest-opt | FileCheck %s

// CHECK: #[[$SHIFT:.+]] = affine_map<(d0, d1, d2) -> (d0, d1 - 1, d2)>
// CHECK-LABEL: func.func @graph
func.func @graph(%x: tensor<?x4x8xf32>, %b: tensor<?x5x8xf32>, %k: tensor<?x2x4x4xbf16>) -> tensor<?x5x8xf32> {
  // CHECK: nest.attention %{{.+}}, %{{.+}}, %{{.+}} scale 5.000000e-01 <> : (tensor<?x4x8xf32>, tensor<?x2x4x4xbf16>, tensor<?x2x4x4xbf16>) -> tensor<?x4x8xf32>
  %a = nest.attention %x, %k, %k scale 0.5 <> : (tensor<?x4x8xf32>, tensor<?x2x4x4xbf16>, tensor<?x2x4x4xbf16>) -> tensor<?x4x8xf32>
  // CHECK: nest.remap %{{.+}} by #[[$SHIFT]] : (tensor<?x4x8xf32>) -> tensor<?x5x8xbf16>
  %0 = nest.remap %a by affine_map<(b, t, c) -> (b, t - 1, c)> : (tensor<?x4x8xf32>) -> tensor<?x5x8xbf16>
  // CHECK: nest.remap %{{.+}} by #{{.+}} into %{{.+}} : (tensor<?x5x8xbf16>, tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
  %1 = nest.remap %0 by affine_map<(b, t, c) -> (b, t, c)> into %b : (tensor<?x5x8xbf16>, tensor<?x5x8xf32>) -> tensor<?x5x8xf32>
  return %1 : tensor<?x5x8xf32>
}

// CHECK-LABEL: func.func @kernels
func.func @kernels(%x: memref<?x4x8xf32>, %y: memref<?x5x8xf32>, %k: memref<?x2x4x4xbf16>) {
  // CHECK: kernel.attention ins(%{{.+}}, %{{.+}}, %{{.+}} : memref<?x4x8xf32>, memref<?x2x4x4xbf16>, memref<?x2x4x4xbf16>) scale 5.000000e-01 <> outs
  kernel.attention ins(%x, %k, %k : memref<?x4x8xf32>, memref<?x2x4x4xbf16>, memref<?x2x4x4xbf16>) scale 0.5 <> outs(%x : memref<?x4x8xf32>)
  // CHECK: kernel.remap ins(%{{.+}} : memref<?x4x8xf32>) by #[[$SHIFT]] outs(%{{.+}} : memref<?x5x8xf32>)
  kernel.remap ins(%x : memref<?x4x8xf32>) by affine_map<(b, t, c) -> (b, t - 1, c)> outs(%y : memref<?x5x8xf32>)
  // CHECK: kernel.remap ins(%{{.+}} : memref<?x4x8xf32>) by #[[$SHIFT]] adds outs(%{{.+}} : memref<?x5x8xf32>)
  kernel.remap ins(%x : memref<?x4x8xf32>) by affine_map<(b, t, c) -> (b, t - 1, c)> adds outs(%y : memref<?x5x8xf32>)
  return
}
