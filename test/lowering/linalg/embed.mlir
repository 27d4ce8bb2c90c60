// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// A gather by tensor.extract; the table's rows are extended to f32.
// CHECK-LABEL: func @bf16
// CHECK: linalg.generic {{.*}} ins(%{{.*}} : tensor<?x?xi32>) outs(%{{.*}} : tensor<?x?x3xf32>)
// CHECK: %[[X:.*]] = tensor.extract %{{.*}} : tensor<4x3xbf16>
// CHECK-NEXT: arith.extf %[[X]] : bf16 to f32
// CHECK-NOT: mulf
func.func @bf16(%ids: tensor<?x?xi32>, %table: tensor<4x3xbf16>) -> tensor<?x?x3xf32> {
  %0 = nest.embed %ids, %table : (tensor<?x?xi32>, tensor<4x3xbf16>) -> tensor<?x?x3xf32>
  return %0 : tensor<?x?x3xf32>
}

// CHECK-LABEL: func @scaled
// CHECK: arith.mulf
func.func @scaled(%ids: tensor<?x?xi32>, %table: tensor<4x3xf32>) -> tensor<?x?x3xf32> {
  %0 = nest.embed %ids, %table {scale = 2.0 : f32} : (tensor<?x?xi32>, tensor<4x3xf32>) -> tensor<?x?x3xf32>
  return %0 : tensor<?x?x3xf32>
}

// OUT:      {{.*}}[14, 16, 18]
// OUT-NEXT: {{.*}}[2, 4, 6]
// OUT-NEXT: {{.*}}[-2, 1, 4]
// OUT-NEXT: {{.*}}[-2, 1, 4]
// 1.01 in bf16 is 1.0078125.
// OUT:      {{.*}}[7, 8, 9]
// OUT-NEXT: {{.*}}[1.00781, 2, 3]
// OUT-NEXT: {{.*}}[-1, 0.5, 2]
// OUT-NEXT: {{.*}}[-1, 0.5, 2]
func.func @main() {
  %ids = arith.constant dense<[[3, 0], [2, 2]]> : tensor<2x2xi32>
  %dynamic = tensor.cast %ids : tensor<2x2xi32> to tensor<?x?xi32>
  %f32 = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [-1.0, 0.5, 2.0], [7.0, 8.0, 9.0]]> : tensor<4x3xf32>
  %bf16 = arith.constant dense<[[1.01, 2.0, 3.0], [4.0, 5.0, 6.0], [-1.0, 0.5, 2.0], [7.0, 8.0, 9.0]]> : tensor<4x3xbf16>
  %0 = call @scaled(%dynamic, %f32) : (tensor<?x?xi32>, tensor<4x3xf32>) -> tensor<?x?x3xf32>
  %1 = call @bf16(%dynamic, %bf16) : (tensor<?x?xi32>, tensor<4x3xbf16>) -> tensor<?x?x3xf32>
  %u0 = tensor.cast %0 : tensor<?x?x3xf32> to tensor<*xf32>
  %u1 = tensor.cast %1 : tensor<?x?x3xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
