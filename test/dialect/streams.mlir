// Operations of layers with several streams: read, verify, print, read again; as
// text, as generic text and as bytecode.
// RUN: nest-opt %s | nest-opt | FileCheck %s
// RUN: nest-opt %s --verify-roundtrip -o /dev/null
// RUN: nest-opt %s --mlir-print-op-generic | nest-opt | FileCheck %s
// RUN: nest-opt %s --emit-bytecode | nest-opt | FileCheck %s

nest.axis @ffn size 16 levels [4, 16]

// CHECK-LABEL: func.func @streams(
func.func @streams(%ids: tensor<?x?xi32>, %table: tensor<12x16xbf16>, %w: tensor<16xf32>, %c: tensor<?x?x4xf32>) -> tensor<?x?x16xf32> {
  // CHECK: %[[X:.*]] = nest.embed %{{.*}}, %{{.*}} unknown 3 : (tensor<?x?xi32>, tensor<12x16xbf16>) -> tensor<?x?x16xf32>
  %x = nest.embed %ids, %table unknown 3 : (tensor<?x?xi32>, tensor<12x16xbf16>) -> tensor<?x?x16xf32>
  // CHECK: nest.times %[[X]] by 5.000000e-01 : tensor<?x?x16xf32>
  %half = nest.times %x by 0.5 : tensor<?x?x16xf32>
  // CHECK: nest.gain %{{.*}}, %{{.*}} : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  %gained = nest.gain %half, %w : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
  // CHECK: nest.rescale %{{.*}} like %[[X]] epsilon 9.99999974E-6 : (tensor<?x?x16xf32>, tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  %like = nest.rescale %gained like %x epsilon 1.0e-5 : (tensor<?x?x16xf32>, tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
  // CHECK: nest.scale %{{.*}} by %{{.*}} column 3 : (tensor<?x?x16xf32>, tensor<?x?x4xf32>) -> tensor<?x?x16xf32>
  %mixed = nest.scale %like by %c column 3 : (tensor<?x?x16xf32>, tensor<?x?x4xf32>) -> tensor<?x?x16xf32>
  // CHECK: nest.scale %{{.*}} by %{{.*}} : (tensor<?x?x16xf32>, tensor<?x?x4xf32>) -> tensor<?x?x16xf32>
  %first = nest.scale %mixed by %c : (tensor<?x?x16xf32>, tensor<?x?x4xf32>) -> tensor<?x?x16xf32>
  return %first : tensor<?x?x16xf32>
}

// Of ids the last one, and as lengths; operations row by row with two results.
// CHECK-LABEL: func.func @last(
func.func @last(%n: tensor<?xi32>, %ids: tensor<?x?xi32>, %q: tensor<?x1x8xf32>, %k: tensor<?x2x32x4xf32>) -> tensor<?x1x8xf32> {
  // CHECK: %[[RANK:.*]] = nest.rank
  %rank = nest.rank %n, %ids : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  // CHECK: %[[L:.*]] = nest.last %[[RANK]] : (tensor<?x?xi32>) -> tensor<?x1xi32>
  %l = nest.last %rank : (tensor<?x?xi32>) -> tensor<?x1xi32>
  // CHECK: nest.attention %{{.*}}, %{{.*}}, %{{.*}}, %[[L]] scale 5.000000e-01 <causal> : ({{.*}}, tensor<?x1xi32>) -> tensor<?x1x8xf32>
  %a = nest.attention %q, %k, %k, %l scale 0.5 <causal> : (tensor<?x1x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?x1xi32>) -> tensor<?x1x8xf32>
  return %a : tensor<?x1x8xf32>
}

// CHECK-LABEL: func.func @fused(
func.func @fused(%x: tensor<?x?x16xf32>, %w: tensor<2x16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>) {
  // CHECK: %[[F:.*]]:2 = nest.fused(%{{.*}}, %{{.*}}) : (tensor<?x?x16xf32>, tensor<2x16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>) {
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<?x?x16xf32>, %[[B:.*]]: tensor<2x16xf32>):
  // CHECK-NEXT: nest.norm rms %[[A]] epsilon 9.99999974E-6 group 16
  // CHECK-NEXT: nest.linear %{{.*}}, %[[B]]
  // CHECK-NEXT: nest.scale
  // CHECK-NEXT: nest.cutoff
  // CHECK-NEXT: nest.yield %{{.*}}, %{{.*}} : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  // CHECK-NEXT: }
  %f:2 = nest.fused(%x, %w) : (tensor<?x?x16xf32>, tensor<2x16xf32>) -> (tensor<?x?x16xf32>, tensor<?x?x16xf32>) {
  ^bb0(%a: tensor<?x?x16xf32>, %b: tensor<2x16xf32>):
    %n = nest.norm rms %a epsilon 1.0e-5 group 16 : (tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
    %c = nest.linear %n, %b : (tensor<?x?x16xf32>, tensor<2x16xf32>) -> tensor<?x?x2xf32>
    %s = nest.scale %n by %c column 1 : (tensor<?x?x16xf32>, tensor<?x?x2xf32>) -> tensor<?x?x16xf32>
    %t = nest.cutoff %s factor 1.5 : (tensor<?x?x16xf32>) -> tensor<?x?x16xf32>
    nest.yield %s, %t : tensor<?x?x16xf32>, tensor<?x?x16xf32>
  }
  return %f#0, %f#1 : tensor<?x?x16xf32>, tensor<?x?x16xf32>
}

// Statistics run over the width that is bound.
// CHECK-LABEL: func.func @sparse(
func.func @sparse(%x: tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>> {
  // CHECK: nest.cutoff %{{.*}} factor 1.500000e+00 : (tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>>
  %y = nest.cutoff %x factor 1.5 : (tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>>
  return %y : tensor<?x?x16xf32, #nest.on<_, _, ffn>>
}
