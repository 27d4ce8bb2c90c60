// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @last
// CHECK-SAME: %[[X:.*]]: tensor<?x?x2xf32>
// CHECK: %[[T:.*]] = tensor.dim %[[X]], %c1
// CHECK: %[[AT:.*]] = arith.subi %[[T]], %
// CHECK: tensor.extract_slice %[[X]][0, %[[AT]], 0] [%{{.*}}, 1, 2] [1, 1, 1] : tensor<?x?x2xf32> to tensor<?x1x2xf32>
func.func @last(%x: tensor<?x?x2xf32>) -> tensor<?x1x2xf32> {
  %0 = nest.last %x : (tensor<?x?x2xf32>) -> tensor<?x1x2xf32>
  return %0 : tensor<?x1x2xf32>
}

// OUT:      sizes = [2, 1, 2]
// OUT-NEXT: {{.*}}[5, 6]
// OUT:      {{.*}}[11, 12]
func.func @main() {
  %s = arith.constant dense<[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]> : tensor<2x3x2xf32>
  %x = tensor.cast %s : tensor<2x3x2xf32> to tensor<?x?x2xf32>
  %0 = call @last(%x) : (tensor<?x?x2xf32>) -> tensor<?x1x2xf32>
  %u0 = tensor.cast %0 : tensor<?x1x2xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
