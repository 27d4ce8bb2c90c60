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

// Statistics run over the width that is bound.
// CHECK-LABEL: func.func @sparse(
func.func @sparse(%x: tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>> {
  // CHECK: nest.cutoff %{{.*}} factor 1.500000e+00 : (tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>>
  %y = nest.cutoff %x factor 1.5 : (tensor<?x?x16xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, ffn>>
  return %y : tensor<?x?x16xf32, #nest.on<_, _, ffn>>
}
