// Attention over caches of bf16 and f16 may round, and no other.
// RUN: nest-opt %s --kernel-round-attention | FileCheck %s

// CHECK-LABEL: func.func @rounds
// CHECK: kernel.attention {{.*}} rounds scale
// CHECK: kernel.attention {{.*}} rounds scale
func.func @rounds(%q: tensor<?x2x8xf32>, %k: tensor<?x2x32x4xbf16>, %h: tensor<?x2x32x4xf16>, %n: tensor<?xi32>,
                  %y: tensor<?x2x8xf32>, %z: tensor<?x2x8xf32>) -> (tensor<?x2x8xf32>, tensor<?x2x8xf32>) {
  %0 = kernel.attention ins(%q, %k, %k, %n : tensor<?x2x8xf32>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>)
      scale 0.5 <causal> outs(%y : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  %1 = kernel.attention ins(%q, %h, %h, %n : tensor<?x2x8xf32>, tensor<?x2x32x4xf16>, tensor<?x2x32x4xf16>, tensor<?xi32>)
      scale 0.5 <causal> outs(%z : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  return %0, %1 : tensor<?x2x8xf32>, tensor<?x2x8xf32>
}

// CHECK-LABEL: func.func @no_change
// CHECK-NOT: rounds
// CHECK: return
func.func @no_change(%q: tensor<?x2x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>,
                     %y: tensor<?x2x8xf32>) -> tensor<?x2x8xf32> {
  %0 = kernel.attention ins(%q, %k, %k, %n : tensor<?x2x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>)
      scale 0.5 <causal> outs(%y : tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  return %0 : tensor<?x2x8xf32>
}
