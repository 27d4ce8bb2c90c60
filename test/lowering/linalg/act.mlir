// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @silu(
// CHECK: math.exp
// CHECK: arith.divf
func.func @silu(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act silu %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @gelu(
// CHECK: math.erf
func.func @gelu(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act gelu %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @gelu_tanh(
// CHECK: math.tanh
func.func @gelu_tanh(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act gelu_tanh %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @relu(
// CHECK: arith.maximumf
func.func @relu(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act relu %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @relu2(
// CHECK: arith.maximumf
// CHECK: arith.mulf
func.func @relu2(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act relu2 %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @tanh(
// CHECK: math.tanh
func.func @tanh(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act tanh %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @sigmoid(
// CHECK: math.exp
// CHECK: arith.divf
func.func @sigmoid(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.act sigmoid %x : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// CHECK-LABEL: func @glu(
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x?x4xf32>, tensor<?x?x4xf32>)
func.func @glu(%x: tensor<?x?x4xf32>, %up: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %0 = nest.glu silu %x, %up : tensor<?x?x4xf32>
  return %0 : tensor<?x?x4xf32>
}

// x / (1 + exp(-x))
// OUT: {{.*}}[-0.14227{{[0-9]*}}, -0.23226{{[0-9]*}}, 0.17233{{[0-9]*}}, 1.6527{{[0-9]*}}]
// x / 2 * (1 + erf(x / sqrt(2)))
// OUT: {{.*}}[-0.00404{{[0-9]*}}, -0.16937{{[0-9]*}}, 0.18537{{[0-9]*}}, 1.8454{{[0-9]*}}]
// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
// OUT: {{.*}}[-0.00363{{[0-9]*}}, -0.1694{{[0-9]*}}, 0.18537{{[0-9]*}}, 1.8454{{[0-9]*}}]
// max(x, 0)
// OUT: {{.*}}[0, 0, 0.3, 1.9]
// max(x, 0)^2
// OUT: {{.*}}[0, 0, 0.09, 3.61]
// tanh(x)
// OUT: {{.*}}[-0.99505{{[0-9]*}}, -0.60436{{[0-9]*}}, 0.29131{{[0-9]*}}, 0.95623{{[0-9]*}}]
// 1 / (1 + exp(-x))
// OUT: {{.*}}[0.04742{{[0-9]*}}, 0.33181{{[0-9]*}}, 0.57444{{[0-9]*}}, 0.86989{{[0-9]*}}]
// silu(x) * [2, 3, -1, 5]
// OUT: {{.*}}[-0.28455{{[0-9]*}}, -0.6968{{[0-9]*}}, -0.17233{{[0-9]*}}, 8.2639{{[0-9]*}}]
func.func @main() {
  %s = arith.constant dense<[[[-3.0, -0.7, 0.3, 1.9]]]> : tensor<1x1x4xf32>
  %t = arith.constant dense<[[[2.0, 3.0, -1.0, 5.0]]]> : tensor<1x1x4xf32>
  %x = tensor.cast %s : tensor<1x1x4xf32> to tensor<?x?x4xf32>
  %up = tensor.cast %t : tensor<1x1x4xf32> to tensor<?x?x4xf32>
  %0 = call @silu(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u0 = tensor.cast %0 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %1 = call @gelu(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u1 = tensor.cast %1 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %2 = call @gelu_tanh(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u2 = tensor.cast %2 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  %3 = call @relu(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u3 = tensor.cast %3 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  %4 = call @relu2(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u4 = tensor.cast %4 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u4) : (tensor<*xf32>) -> ()
  %5 = call @tanh(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u5 = tensor.cast %5 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u5) : (tensor<*xf32>) -> ()
  %7 = call @sigmoid(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u7 = tensor.cast %7 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u7) : (tensor<*xf32>) -> ()
  %6 = call @glu(%x, %up) : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %u6 = tensor.cast %6 : tensor<?x?x4xf32> to tensor<*xf32>
  call @printMemrefF32(%u6) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
