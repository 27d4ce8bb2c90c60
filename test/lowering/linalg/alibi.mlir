// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Head h takes 2^(-1.5 (h + 1)) times the distance off. KV heads have two each.
// CHECK-LABEL: func @causal
// CHECK: linalg.contract
// CHECK: math.absf
// CHECK: math.exp2
// CHECK: arith.cmpi sle
func.func @causal(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xf32>, %v: tensor<?x2x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths scale 5.0e-1 <causal, alibi = 1.5> : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// CHECK-LABEL: func @positions
func.func @positions(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xf32>, %v: tensor<?x2x4x2xf32>, %lengths: tensor<?xi32>, %at: tensor<?x4xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths positions %at scale 5.0e-1 <causal, alibi = 1.5> : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>, tensor<?x4xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// CHECK-LABEL: func @all
// CHECK: math.absf
func.func @all(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xf32>, %v: tensor<?x2x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths scale 5.0e-1 <alibi = 1.5> : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// Distances of cache indices, causal.
// OUT:      {{.*}}[1, 2, 1, 2, 5, 6, 5, 6]
// OUT-NEXT: {{.*}}[1.323{{[0-9]*}}, 2.323{{[0-9]*}}, 1.329{{[0-9]*}}, 2.329{{[0-9]*}}, 6.022{{[0-9]*}}, 7.022{{[0-9]*}}, 6.252{{[0-9]*}}, 7.252{{[0-9]*}}]
// OUT-NEXT: {{.*}}[1.103{{[0-9]*}}, 0.298{{[0-9]*}}, -0.264{{[0-9]*}}, 0.754{{[0-9]*}}, 5.491{{[0-9]*}}, 3.090{{[0-9]*}}, 7.099{{[0-9]*}}, 1.750{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.431{{[0-9]*}}, 3.208{{[0-9]*}}, 0.584{{[0-9]*}}, 1.862{{[0-9]*}}, 1.684{{[0-9]*}}, 3.137{{[0-9]*}}, 1.244{{[0-9]*}}, 2.954{{[0-9]*}}]
// By positions.
// OUT:      {{.*}}[1, 2, 1, 2, 5, 6, 5, 6]
// OUT-NEXT: {{.*}}[1.562{{[0-9]*}}, 2.562{{[0-9]*}}, 1.403{{[0-9]*}}, 2.403{{[0-9]*}}, 6.066{{[0-9]*}}, 7.066{{[0-9]*}}, 6.266{{[0-9]*}}, 7.266{{[0-9]*}}]
// OUT-NEXT: {{.*}}[1.103{{[0-9]*}}, 0.298{{[0-9]*}}, -0.264{{[0-9]*}}, 0.754{{[0-9]*}}, 5.491{{[0-9]*}}, 3.090{{[0-9]*}}, 7.099{{[0-9]*}}, 1.750{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.472{{[0-9]*}}, 3.676{{[0-9]*}}, 0.571{{[0-9]*}}, 2.190{{[0-9]*}}, 1.412{{[0-9]*}}, 3.129{{[0-9]*}}, 1.142{{[0-9]*}}, 2.955{{[0-9]*}}]
// Without a mask, on both sides.
// OUT:      {{.*}}[1.707{{[0-9]*}}, 2.707{{[0-9]*}}, 1.296{{[0-9]*}}, 2.296{{[0-9]*}}, 5.520{{[0-9]*}}, 6.520{{[0-9]*}}, 5.992{{[0-9]*}}, 6.992{{[0-9]*}}]
// OUT-NEXT: {{.*}}[1.323{{[0-9]*}}, 2.323{{[0-9]*}}, 1.329{{[0-9]*}}, 2.329{{[0-9]*}}, 6.022{{[0-9]*}}, 7.022{{[0-9]*}}, 6.252{{[0-9]*}}, 7.252{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.833{{[0-9]*}}, 1.957{{[0-9]*}}, 0.064{{[0-9]*}}, 2.150{{[0-9]*}}, 1.598{{[0-9]*}}, 3.048{{[0-9]*}}, -1.285{{[0-9]*}}, 2.787{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.431{{[0-9]*}}, 3.208{{[0-9]*}}, 0.584{{[0-9]*}}, 1.862{{[0-9]*}}, 1.684{{[0-9]*}}, 3.137{{[0-9]*}}, 1.244{{[0-9]*}}, 2.954{{[0-9]*}}]
func.func @main() {
  %qs = arith.constant dense<[[[1.0, 0.0, 0.5, 1.0, -1.0, 2.0, 0.0, 1.0], [2.0, 1.0, 1.0, 1.0, 0.0, -1.0, 0.5, 0.5]], [[0.0, 2.0, 1.0, -1.0, 1.0, 0.5, -2.0, 1.0], [1.0, 1.0, 0.0, 0.25, -1.0, 0.0, 3.0, 1.0]]]> : tensor<2x2x8xf32>
  %kb = arith.constant dense<[[[[1.0, 2.0], [0.5, -1.0], [0x7FC0, 0x7FC0], [0x7FC0, 0x7FC0]], [[0.0, 1.0], [2.0, 1.0], [0x7FC0, 0x7FC0], [0x7FC0, 0x7FC0]]], [[[1.0, 0.0], [-1.0, 0.5], [2.0, 1.0], [0x7FC0, 0x7FC0]], [[0.5, 0.5], [1.0, -2.0], [0.0, 3.0], [0x7FC0, 0x7FC0]]]]> : tensor<2x2x4x2xbf16>
  %vb = arith.constant dense<[[[[1.0, 2.0], [3.0, 4.0], [0x7FC0, 0x7FC0], [0x7FC0, 0x7FC0]], [[5.0, 6.0], [7.0, 8.0], [0x7FC0, 0x7FC0], [0x7FC0, 0x7FC0]]], [[[-1.0, 1.0], [2.0, 0.0], [0.5, 4.0], [0x7FC0, 0x7FC0]], [[8.0, 1.0], [2.0, 6.0], [-3.0, 3.0], [0x7FC0, 0x7FC0]]]]> : tensor<2x2x4x2xbf16>
  %ls = arith.constant dense<[0, 1]> : tensor<2xi32>
  %q = tensor.cast %qs : tensor<2x2x8xf32> to tensor<?x?x8xf32>
  %kd = tensor.cast %kb : tensor<2x2x4x2xbf16> to tensor<?x2x4x2xbf16>
  %vd = tensor.cast %vb : tensor<2x2x4x2xbf16> to tensor<?x2x4x2xbf16>
  %k = arith.extf %kd : tensor<?x2x4x2xbf16> to tensor<?x2x4x2xf32>
  %v = arith.extf %vd : tensor<?x2x4x2xbf16> to tensor<?x2x4x2xf32>
  %lengths = tensor.cast %ls : tensor<2xi32> to tensor<?xi32>
  %ps = arith.constant dense<[[0, 3, 9, 9], [2, 3, 7, 9]]> : tensor<2x4xi32>
  %at = tensor.cast %ps : tensor<2x4xi32> to tensor<?x4xi32>
  %0 = call @causal(%q, %k, %v, %lengths) : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  %u0 = tensor.cast %0 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %1 = call @positions(%q, %k, %v, %lengths, %at) : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>, tensor<?x4xi32>) -> tensor<?x?x8xf32>
  %u1 = tensor.cast %1 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %2 = call @all(%q, %k, %v, %lengths) : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  %u2 = tensor.cast %2 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
