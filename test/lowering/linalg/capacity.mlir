// RUN: nest-opt %s --convert-nest-to-linalg | FileCheck %s
// RUN: nest-opt %s --convert-nest-to-linalg | %run_with_stock_tools | FileCheck %s --check-prefix=OUT

// How many rows a capacity is: counted by nest.advance, from 0.
// CHECK-LABEL: func @floor
// CHECK: arith.divui
// CHECK-LABEL: func @double_floor
// CHECK: arith.mulf %{{.*}} : f64

func.func @floor(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <1/8> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/8>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @double_floor(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <7/10, double_floor> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<7/10, double_floor>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<7/10, double_floor>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @ceil(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <1/8, ceil> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/8, ceil>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @nearest_even(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <1/8, nearest_even> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, nearest_even>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/8, nearest_even>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @min1(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <1/8, min 1> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, min 1>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/8, min 1>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @exact_floor(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <7/10> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<7/10>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<7/10>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @two(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<2>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<2>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

func.func @min4(%s: tensor<?x?x1xf32>, %ids: tensor<?x?xi32>) -> tensor<?xi32> {
  %zero = arith.constant 0 : i32
  %c0 = arith.constant 0 : index
  %b = tensor.dim %ids, %c0 : tensor<?x?xi32>
  %lengths = tensor.splat %zero[%b] : tensor<?xi32>
  %r = nest.select %s top <1/8, ceil, min 4> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil, min 4>>
  %0 = nest.advance %lengths, %ids by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1, #nest.capacity<1/8, ceil, min 4>>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

// Of 1 rows.
// OUT: {{^}}[0]{{$}}
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[0]{{$}}
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[1]{{$}}
// Of 7 rows.
// OUT: {{^}}[0]{{$}}
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[1]{{$}}
// Of 12 rows.
// OUT: {{^}}[1]{{$}}
// OUT: {{^}}[2]{{$}}
// OUT: {{^}}[2]{{$}}
// OUT: {{^}}[1]{{$}}
// Of 20 rows.
// OUT: {{^}}[2]{{$}}
// OUT: {{^}}[3]{{$}}
// OUT: {{^}}[2]{{$}}
// OUT: {{^}}[2]{{$}}
// Of 28 rows.
// OUT: {{^}}[3]{{$}}
// OUT: {{^}}[4]{{$}}
// OUT: {{^}}[4]{{$}}
// OUT: {{^}}[3]{{$}}
// OUT: {{^}}[2]{{$}}
// OUT: {{^}}[4]{{$}}
// The product in float64 may lie below the integer.
// OUT: {{^}}[14]{{$}}
// OUT: {{^}}[14]{{$}}
// OUT: {{^}}[63]{{$}}
// OUT: {{^}}[62]{{$}}
// OUT: {{^}}[119]{{$}}
// OUT: {{^}}[118]{{$}}
func.func @main() {
  %c1 = arith.constant dense<0.0> : tensor<1x1x1xf32>
  %v1 = tensor.cast %c1 : tensor<1x1x1xf32> to tensor<?x?x1xf32>
  %c2 = arith.constant dense<0> : tensor<1x1xi32>
  %v2 = tensor.cast %c2 : tensor<1x1xi32> to tensor<?x?xi32>
  %r3 = call @floor(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u3 = tensor.cast %r3 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u3) : (tensor<*xi32>) -> ()
  %r4 = call @ceil(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u4 = tensor.cast %r4 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u4) : (tensor<*xi32>) -> ()
  %r5 = call @nearest_even(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u5 = tensor.cast %r5 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u5) : (tensor<*xi32>) -> ()
  %r6 = call @min1(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u6 = tensor.cast %r6 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u6) : (tensor<*xi32>) -> ()
  %r7 = call @two(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u7 = tensor.cast %r7 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u7) : (tensor<*xi32>) -> ()
  %r8 = call @min4(%v1, %v2) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u8 = tensor.cast %r8 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u8) : (tensor<*xi32>) -> ()
  %c9 = arith.constant dense<0.0> : tensor<1x7x1xf32>
  %v9 = tensor.cast %c9 : tensor<1x7x1xf32> to tensor<?x?x1xf32>
  %c10 = arith.constant dense<0> : tensor<1x7xi32>
  %v10 = tensor.cast %c10 : tensor<1x7xi32> to tensor<?x?xi32>
  %r11 = call @floor(%v9, %v10) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u11 = tensor.cast %r11 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u11) : (tensor<*xi32>) -> ()
  %r12 = call @ceil(%v9, %v10) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u12 = tensor.cast %r12 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u12) : (tensor<*xi32>) -> ()
  %r13 = call @nearest_even(%v9, %v10) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u13 = tensor.cast %r13 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u13) : (tensor<*xi32>) -> ()
  %r14 = call @min1(%v9, %v10) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u14 = tensor.cast %r14 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u14) : (tensor<*xi32>) -> ()
  %c15 = arith.constant dense<0.0> : tensor<1x12x1xf32>
  %v15 = tensor.cast %c15 : tensor<1x12x1xf32> to tensor<?x?x1xf32>
  %c16 = arith.constant dense<0> : tensor<1x12xi32>
  %v16 = tensor.cast %c16 : tensor<1x12xi32> to tensor<?x?xi32>
  %r17 = call @floor(%v15, %v16) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u17 = tensor.cast %r17 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u17) : (tensor<*xi32>) -> ()
  %r18 = call @ceil(%v15, %v16) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u18 = tensor.cast %r18 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u18) : (tensor<*xi32>) -> ()
  %r19 = call @nearest_even(%v15, %v16) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u19 = tensor.cast %r19 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u19) : (tensor<*xi32>) -> ()
  %r20 = call @min1(%v15, %v16) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u20 = tensor.cast %r20 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u20) : (tensor<*xi32>) -> ()
  %c21 = arith.constant dense<0.0> : tensor<1x20x1xf32>
  %v21 = tensor.cast %c21 : tensor<1x20x1xf32> to tensor<?x?x1xf32>
  %c22 = arith.constant dense<0> : tensor<1x20xi32>
  %v22 = tensor.cast %c22 : tensor<1x20xi32> to tensor<?x?xi32>
  %r23 = call @floor(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u23 = tensor.cast %r23 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u23) : (tensor<*xi32>) -> ()
  %r24 = call @ceil(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u24 = tensor.cast %r24 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u24) : (tensor<*xi32>) -> ()
  %r25 = call @nearest_even(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u25 = tensor.cast %r25 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u25) : (tensor<*xi32>) -> ()
  %r26 = call @min1(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u26 = tensor.cast %r26 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u26) : (tensor<*xi32>) -> ()
  %c27 = arith.constant dense<0.0> : tensor<1x28x1xf32>
  %v27 = tensor.cast %c27 : tensor<1x28x1xf32> to tensor<?x?x1xf32>
  %c28 = arith.constant dense<0> : tensor<1x28xi32>
  %v28 = tensor.cast %c28 : tensor<1x28xi32> to tensor<?x?xi32>
  %r29 = call @floor(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u29 = tensor.cast %r29 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u29) : (tensor<*xi32>) -> ()
  %r30 = call @ceil(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u30 = tensor.cast %r30 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u30) : (tensor<*xi32>) -> ()
  %r31 = call @nearest_even(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u31 = tensor.cast %r31 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u31) : (tensor<*xi32>) -> ()
  %r32 = call @min1(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u32 = tensor.cast %r32 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u32) : (tensor<*xi32>) -> ()
  %r33 = call @two(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u33 = tensor.cast %r33 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u33) : (tensor<*xi32>) -> ()
  %r34 = call @min4(%v27, %v28) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u34 = tensor.cast %r34 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u34) : (tensor<*xi32>) -> ()
  %r35 = call @exact_floor(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u35 = tensor.cast %r35 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u35) : (tensor<*xi32>) -> ()
  %r36 = call @double_floor(%v21, %v22) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u36 = tensor.cast %r36 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u36) : (tensor<*xi32>) -> ()
  %c37 = arith.constant dense<0.0> : tensor<1x90x1xf32>
  %v37 = tensor.cast %c37 : tensor<1x90x1xf32> to tensor<?x?x1xf32>
  %c38 = arith.constant dense<0> : tensor<1x90xi32>
  %v38 = tensor.cast %c38 : tensor<1x90xi32> to tensor<?x?xi32>
  %r39 = call @exact_floor(%v37, %v38) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u39 = tensor.cast %r39 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u39) : (tensor<*xi32>) -> ()
  %r40 = call @double_floor(%v37, %v38) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u40 = tensor.cast %r40 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u40) : (tensor<*xi32>) -> ()
  %c41 = arith.constant dense<0.0> : tensor<1x170x1xf32>
  %v41 = tensor.cast %c41 : tensor<1x170x1xf32> to tensor<?x?x1xf32>
  %c42 = arith.constant dense<0> : tensor<1x170xi32>
  %v42 = tensor.cast %c42 : tensor<1x170xi32> to tensor<?x?xi32>
  %r43 = call @exact_floor(%v41, %v42) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u43 = tensor.cast %r43 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u43) : (tensor<*xi32>) -> ()
  %r44 = call @double_floor(%v41, %v42) : (tensor<?x?x1xf32>, tensor<?x?xi32>) -> tensor<?xi32>
  %u44 = tensor.cast %r44 : tensor<?xi32> to tensor<*xi32>
  call @printMemrefI32(%u44) : (tensor<*xi32>) -> ()
  return
}
func.func private @printMemrefI32(tensor<*xi32>)
