// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// CHECK-LABEL: func @rms(
// CHECK: linalg.generic {{.*}}"parallel", "parallel", "reduction"
// CHECK: math.rsqrt
// CHECK-NOT: expand_shape
func.func @rms(%x: tensor<?x?x6xf32>, %w: tensor<6xf32>) -> tensor<?x?x6xf32> {
  %0 = nest.norm rms %x weight(%w) epsilon 1.0e-5 : (tensor<?x?x6xf32>, tensor<6xf32>) -> tensor<?x?x6xf32>
  return %0 : tensor<?x?x6xf32>
}

// CHECK-LABEL: func @rms_groups
// CHECK: tensor.expand_shape %{{.*}} {{\[}}[0], [1], [2, 3]] output_shape [%{{.*}}, %{{.*}}, 2, 3]
// CHECK: tensor.collapse_shape
func.func @rms_groups(%x: tensor<?x?x6xf32>, %w: tensor<3xf32>) -> tensor<?x?x6xf32> {
  %0 = nest.norm rms %x weight(%w) epsilon 1.0e-5 group 3 : (tensor<?x?x6xf32>, tensor<3xf32>) -> tensor<?x?x6xf32>
  return %0 : tensor<?x?x6xf32>
}

// CHECK-LABEL: func @layer(
// CHECK: arith.subf
func.func @layer(%x: tensor<?x?x6xf32>, %w: tensor<6xf32>, %b: tensor<6xf32>) -> tensor<?x?x6xf32> {
  %0 = nest.norm layer %x weight(%w) bias(%b) epsilon 1.0e-5 : (tensor<?x?x6xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<?x?x6xf32>
  return %0 : tensor<?x?x6xf32>
}

func.func @layer_groups(%x: tensor<?x?x6xf32>) -> tensor<?x?x6xf32> {
  %0 = nest.norm layer %x epsilon 1.0e-5 group 3 : (tensor<?x?x6xf32>) -> tensor<?x?x6xf32>
  return %0 : tensor<?x?x6xf32>
}

// x / sqrt(mean(x^2) + eps) * w
// OUT:      {{.*}}[0.25677{{[0-9]*}}, 1.0271{{[0-9]*}}, 0.38516{{[0-9]*}}, 1.0271{{[0-9]*}}, 1.9258{{[0-9]*}}, 4.6219{{[0-9]*}}]
// OUT-NEXT: {{.*}}[-0.82254{{[0-9]*}}, 0.54836{{[0-9]*}}, 0.068545{{[0-9]*}}, 0.54836{{[0-9]*}}, 3.2901{{[0-9]*}}, 1.0281{{[0-9]*}}]
// The same over three columns at a time, w being [1, 2, 0.5].
// OUT:      {{.*}}[0.4629{{[0-9]*}}, 1.8516{{[0-9]*}}, 0.69436{{[0-9]*}}, 0.78954{{[0-9]*}}, 1.9738{{[0-9]*}}, 0.59215{{[0-9]*}}]
// OUT-NEXT: {{.*}}[-1.623{{[0-9]*}}, 1.08{{[0-9]*}}, 0.13525{{[0-9]*}}, 0.41533{{[0-9]*}}, 3.3227{{[0-9]*}}, 0.12979{{[0-9]*}}]
// c / sqrt(mean(c^2) + eps) * w + b with c = x - mean(x)
// OUT:      {{.*}}[-1.3638{{[0-9]*}}, -1.5566{{[0-9]*}}, 0.15361{{[0-9]*}}, 0.6927{{[0-9]*}}, 1.8174{{[0-9]*}}, 4.9915{{[0-9]*}}]
// OUT-NEXT: {{.*}}[-1.3164{{[0-9]*}}, -0.18282{{[0-9]*}}, 0.12772{{[0-9]*}}, 0.51484{{[0-9]*}}, 3.4286{{[0-9]*}}, 0.25545{{[0-9]*}}]
// OUT:      {{.*}}[-1.2247{{[0-9]*}}, 0, 1.2247{{[0-9]*}}, -1.2247{{[0-9]*}}, 0, 1.2247{{[0-9]*}}]
// OUT-NEXT: {{.*}}[-1.4048{{[0-9]*}}, 0.84292{{[0-9]*}}, 0.56195{{[0-9]*}}, -0.57932{{[0-9]*}}, 1.4069{{[0-9]*}}, -0.8276{{[0-9]*}}]
func.func @main() {
  %s = arith.constant dense<[[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [-3.0, 1.0, 0.5, 2.0, 8.0, 1.25]]]> : tensor<1x2x6xf32>
  %w = arith.constant dense<[1.0, 2.0, 0.5, 1.0, 1.5, 3.0]> : tensor<6xf32>
  %w3 = arith.constant dense<[1.0, 2.0, 0.5]> : tensor<3xf32>
  %b = arith.constant dense<[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]> : tensor<6xf32>
  %x = tensor.cast %s : tensor<1x2x6xf32> to tensor<?x?x6xf32>
  %0 = call @rms(%x, %w) : (tensor<?x?x6xf32>, tensor<6xf32>) -> tensor<?x?x6xf32>
  %1 = call @rms_groups(%x, %w3) : (tensor<?x?x6xf32>, tensor<3xf32>) -> tensor<?x?x6xf32>
  %2 = call @layer(%x, %w, %b) : (tensor<?x?x6xf32>, tensor<6xf32>, tensor<6xf32>) -> tensor<?x?x6xf32>
  %3 = call @layer_groups(%x) : (tensor<?x?x6xf32>) -> tensor<?x?x6xf32>
  %u0 = tensor.cast %0 : tensor<?x?x6xf32> to tensor<*xf32>
  %u1 = tensor.cast %1 : tensor<?x?x6xf32> to tensor<*xf32>
  %u2 = tensor.cast %2 : tensor<?x?x6xf32> to tensor<*xf32>
  %u3 = tensor.cast %3 : tensor<?x?x6xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  call @printMemrefF32(%u3) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
