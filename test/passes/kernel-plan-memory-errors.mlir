// RUN: nest-opt %s --kernel-plan-memory --split-input-file --verify-diagnostics

// On tensors there is nothing to plan.
// expected-error@+1 {{works on tensors; run kernel-bufferize first}}
func.func @tensors(%ids: tensor<?x?xi32>, %table: tensor<4x8xf32>, %out: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> attributes {nest.entry = "f"} {
  %0 = kernel.embed ins(%ids, %table : tensor<?x?xi32>, tensor<4x8xf32>) scale 1.0 outs(%out : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// -----

// The proof: a copy that is left is named.
func.func @copy(%a: memref<?x?x8xf32>, %b: memref<?x?x8xf32>) attributes {nest.entry = "f"} {
  // expected-error@+1 {{is left in entry 'copy'}}
  memref.copy %a, %b : memref<?x?x8xf32> to memref<?x?x8xf32>
  return
}
