// Operations of layers with several streams, executed; the numbers are NumPy's.
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

func.func @rescale(%x: tensor<?x?x4xf32>, %r: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.rescale %x like %r epsilon 1.0e-5 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}
func.func @cutoff(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.cutoff %x factor 0.5 : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}
func.func @mix(%x: tensor<?x?x4xf32>, %w: tensor<?x?x2xf32>, %g: tensor<4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.scale %x by %w column 1 : (tensor<?x?x4xf32>, tensor<?x?x2xf32>) -> tensor<?x?x4xf32>
  %1 = nest.gain %0, %g : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %2 = nest.times %1 by 0.5 : tensor<?x?x4xf32>
  return %2 : tensor<?x?x4xf32>
}
func.func @embed(%ids: tensor<?x?xi32>, %t: tensor<3x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.embed %ids, %t unknown 1 : (tensor<?x?xi32>, tensor<3x4xf32>) -> tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}
func.func @last(%ids: tensor<?x?xi32>) -> tensor<?x1xi32> {
  %0 = nest.last %ids : (tensor<?x?xi32>) -> tensor<?x1xi32>
  return %0 : tensor<?x1xi32>
}

// A row of zeros stays one.
// OUT:      sizes = [1, 2, 4]
// OUT:      [0.730297,   1.46059,   -2.19089,   2.92119],
// OUT-NEXT: [0,   0,   0,   0]
// OUT:      sizes = [1, 2, 4]
// OUT:      [0,   0,   0,   1.725
// OUT-NEXT: [0,   0,   0,   0]
// OUT:      sizes = [1, 2, 4]
// OUT:      [5,   10,   -15,   40],
// OUT-NEXT: [0,   0,   0,   0]
// An id below 0 and one behind the table read row 1.
// OUT:      sizes = [1, 4, 4]
// OUT:      [8,   9,   10,   11],
// OUT-NEXT: [4,   5,   6,   7],
// OUT-NEXT: [4,   5,   6,   7],
// OUT-NEXT: [0,   1,   2,   3]
// OUT:      sizes = [1, 1]
// OUT-NEXT: {{.*}}[0]
func.func @main() {
  %sx = arith.constant dense<[[[1.0, 2.0, -3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]]> : tensor<1x2x4xf32>
  %sr = arith.constant dense<[[[2.0, 2.0, 2.0, 2.0], [1.0, -1.0, 1.0, -1.0]]]> : tensor<1x2x4xf32>
  %sw = arith.constant dense<[[[7.0, 10.0], [7.0, 3.0]]]> : tensor<1x2x2xf32>
  %g = arith.constant dense<[1.0, 1.0, 1.0, 2.0]> : tensor<4xf32>
  %si = arith.constant dense<[[2, -1, 3, 0]]> : tensor<1x4xi32>
  %t = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0]]> : tensor<3x4xf32>
  %x = tensor.cast %sx : tensor<1x2x4xf32> to tensor<?x?x4xf32>
  %r = tensor.cast %sr : tensor<1x2x4xf32> to tensor<?x?x4xf32>
  %w = tensor.cast %sw : tensor<1x2x2xf32> to tensor<?x?x2xf32>
  %i = tensor.cast %si : tensor<1x4xi32> to tensor<?x?xi32>
  %0 = call @rescale(%x, %r) : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %1 = call @cutoff(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %2 = call @mix(%x, %w, %g) : (tensor<?x?x4xf32>, tensor<?x?x2xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  %3 = call @embed(%i, %t) : (tensor<?x?xi32>, tensor<3x4xf32>) -> tensor<?x?x4xf32>
  %4 = call @last(%i) : (tensor<?x?xi32>) -> tensor<?x1xi32>
  %u0 = tensor.cast %0 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %u1 = tensor.cast %1 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %u2 = tensor.cast %2 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  %u3 = tensor.cast %3 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  %u4 = tensor.cast %4 : tensor<?x1xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
func.func private @printMemrefI32(tensor<*xi32>)
