// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// Query heads 2h and 2h + 1 read KV head h. Keys are extended to f32 by the
// contraction, what is not seen is -inf, and rows that are not seen do not
// touch the sum.
// CHECK-LABEL: func @causal
// CHECK: tensor.expand_shape %{{.*}} {{\[}}[0], [1], [2, 3, 4]] output_shape [%{{.*}}, %{{.*}}, 2, 2, 2]
// CHECK: linalg.contract {{.*}} ins(%{{.*}}, %{{.*}} : tensor<?x?x2x2x2xf32>, tensor<?x2x4x2xbf16>) outs(%{{.*}} : tensor<?x?x2x2x4xf32>)
// CHECK: %[[KEY:.*]] = linalg.index 4
// CHECK: %[[ROW:.*]] = linalg.index 1
// CHECK: %[[SELF:.*]] = arith.addi %{{.*}}, %[[ROW]]
// CHECK: arith.cmpi sle, %[[KEY]], %[[SELF]]
// CHECK: arith.constant 0xFF800000 : f32
// CHECK: arith.maximumf
// CHECK: math.exp
// CHECK: arith.divf
// CHECK: arith.extf %{{.*}} : bf16 to f32
// CHECK: arith.select
// CHECK: tensor.collapse_shape %{{.*}} {{\[}}[0], [1], [2, 3, 4]]
func.func @causal(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xbf16>, %v: tensor<?x2x4x2xbf16>, %lengths: tensor<?xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths scale 5.0e-1 <causal> : (tensor<?x?x8xf32>, tensor<?x2x4x2xbf16>, tensor<?x2x4x2xbf16>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// CHECK-LABEL: func @window
// CHECK: arith.cmpi sle
// CHECK: arith.cmpi slt
// CHECK: arith.andi
func.func @window(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xf32>, %v: tensor<?x2x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths scale 5.0e-1 <causal, window = 2> : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// CHECK-LABEL: func @all
// CHECK-NOT: cmpi sle
// CHECK: return
func.func @all(%q: tensor<?x?x8xf32>, %k: tensor<?x2x4x2xf32>, %v: tensor<?x2x4x2xf32>, %lengths: tensor<?xi32>) -> tensor<?x?x8xf32> {
  %0 = nest.attention %q, %k, %v, %lengths scale 5.0e-1 <> : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

// Two sequences of two rows, 0 and 1 rows in the cache before. Per head:
// softmax over the seen j of (q . k_j / 2), times v_j. Rows behind lengths + 2
// are NaN.
// OUT:      {{.*}}[1, 2, 1, 2, 5, 6, 5, 6]
// OUT-NEXT: {{.*}}[1.238{{[0-9]*}}, 2.238{{[0-9]*}}, 1.296{{[0-9]*}}, 2.296{{[0-9]*}}, 6, 7, 6.2449{{[0-9]*}}, 7.2449{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.86737{{[0-9]*}}, 0.37754{{[0-9]*}}, -0.331{{[0-9]*}}, 0.777{{[0-9]*}}, 5.55{{[0-9]*}}, 3.0366{{[0-9]*}}, 7.1117{{[0-9]*}}, 1.7402{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.31113{{[0-9]*}}, 2.8332{{[0-9]*}}, 0.53025{{[0-9]*}}, 1.7302{{[0-9]*}}, 1.8628{{[0-9]*}}, 3.1098{{[0-9]*}}, 1.3107{{[0-9]*}}, 2.9445{{[0-9]*}}]
// j > lengths[b] + t - 2
// OUT:      {{.*}}[1, 2, 1, 2, 5, 6, 5, 6]
// OUT-NEXT: {{.*}}[1.238{{[0-9]*}}, 2.238{{[0-9]*}}, 1.296{{[0-9]*}}, 2.296{{[0-9]*}}, 6, 7, 6.2449{{[0-9]*}}, 7.2449{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.86737{{[0-9]*}}, 0.37754{{[0-9]*}}, -0.331{{[0-9]*}}, 0.777{{[0-9]*}}, 5.55{{[0-9]*}}, 3.0366{{[0-9]*}}, 7.1117{{[0-9]*}}, 1.7402{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.72207{{[0-9]*}}, 3.4078{{[0-9]*}}, 1.2265{{[0-9]*}}, 2.0624{{[0-9]*}}, -1.112{{[0-9]*}}, 4.1326{{[0-9]*}}, -1.6552{{[0-9]*}}, 3.8068{{[0-9]*}}]
// j < lengths[b] + 2
// OUT:      {{.*}}[1.8756{{[0-9]*}}, 2.8756{{[0-9]*}}, 1.329{{[0-9]*}}, 2.329{{[0-9]*}}, 5.5378{{[0-9]*}}, 6.5378{{[0-9]*}}, 6, 7]
// OUT-NEXT: {{.*}}[1.238{{[0-9]*}}, 2.238{{[0-9]*}}, 1.296{{[0-9]*}}, 2.296{{[0-9]*}}, 6, 7, 6.2449{{[0-9]*}}, 7.2449{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.6813{{[0-9]*}}, 2.2122{{[0-9]*}}, 0.03193{{[0-9]*}}, 2.1867{{[0-9]*}}, 1.5942{{[0-9]*}}, 3.0196{{[0-9]*}}, -1.2869{{[0-9]*}}, 2.7865{{[0-9]*}}]
// OUT-NEXT: {{.*}}[0.31113{{[0-9]*}}, 2.8332{{[0-9]*}}, 0.53025{{[0-9]*}}, 1.7302{{[0-9]*}}, 1.8628{{[0-9]*}}, 3.1098{{[0-9]*}}, 1.3107{{[0-9]*}}, 2.9445{{[0-9]*}}]
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
  %0 = call @causal(%q, %kd, %vd, %lengths) : (tensor<?x?x8xf32>, tensor<?x2x4x2xbf16>, tensor<?x2x4x2xbf16>, tensor<?xi32>) -> tensor<?x?x8xf32>
  %u0 = tensor.cast %0 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u0) : (tensor<*xf32>) -> ()
  %1 = call @window(%q, %k, %v, %lengths) : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  %u1 = tensor.cast %1 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u1) : (tensor<*xf32>) -> ()
  %2 = call @all(%q, %k, %v, %lengths) : (tensor<?x?x8xf32>, tensor<?x2x4x2xf32>, tensor<?x2x4x2xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  %u2 = tensor.cast %2 : tensor<?x?x8xf32> to tensor<*xf32>
  call @printMemrefF32(%u2) : (tensor<*xf32>) -> ()
  return
}
func.func private @printMemrefF32(tensor<*xf32>)
