// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// The largest number, the first column that has it, and 0 where there is none.
// CHECK-LABEL: func @argmax
// CHECK: linalg.generic
// CHECK: arith.maxnumf
// CHECK: linalg.generic
// CHECK: arith.cmpf oeq
// CHECK: arith.minsi
// CHECK: linalg.generic
// CHECK: arith.select
func.func @argmax(%x: tensor<?x?x4xf32>) -> tensor<?x?xi32> {
  %0 = nest.argmax %x : (tensor<?x?x4xf32>) -> tensor<?x?xi32>
  return %0 : tensor<?x?xi32>
}

// Equal ones; zeros of both signs; NaN beside numbers and alone; -infinity.
// OUT:      sizes = [1, 5]
// OUT-NEXT: {{.*}}[1, 0, 2, 0, 1]
func.func @main() {
  %s = arith.constant dense<[[[1.0, 3.0, 2.0, 3.0], [-0.0, 0.0, -1.0, -2.0],
    [0x7FC00000, 1.0, 2.0, 0x7FC00000], [0x7FC00000, 0x7FC00000, 0x7FC00000, 0x7FC00000],
    [0x7FC00000, 0xFF800000, 0xFF800000, 0xFF800000]]]> : tensor<1x5x4xf32>
  %x = tensor.cast %s : tensor<1x5x4xf32> to tensor<?x?x4xf32>
  %0 = call @argmax(%x) : (tensor<?x?x4xf32>) -> tensor<?x?xi32>
  %u0 = tensor.cast %0 : tensor<?x?xi32> to tensor<*xi32>
  call @printMemrefI32(%u0) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
