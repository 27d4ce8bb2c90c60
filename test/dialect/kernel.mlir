// The kernel dialect: every operation, in each form that the syntax has, on
// tensors and on memrefs; as text, as generic text and as bytecode.
// RUN: nest-opt %s | nest-opt | FileCheck %s
// RUN: nest-opt %s --verify-roundtrip -o /dev/null
// RUN: nest-opt %s --mlir-print-op-generic | nest-opt | FileCheck %s
// RUN: nest-opt %s --emit-bytecode | nest-opt | FileCheck %s

// CHECK: #[[$ROPE:.*]] = #nest.rope<head_dim = 4, frequencies = [1.000000e+00, 1.000000e-01]
#rope = #nest.rope<head_dim = 4, frequencies = [1.0, 0.1]>
#mn = affine_map<(m, n) -> (m, n)>
#n = affine_map<(m, n) -> (n)>
#m0 = affine_map<(m, n) -> (m, 0)>
#sn = affine_map<(m, n, s) -> (s, n)>
#rc = affine_map<(r, c, g) -> (r, c)>
#sg = affine_map<(r, c, g, s) -> (s, g)>
#row = affine_map<(r, c, g) -> (1, c)>
#element = affine_map<(r, c, g) -> (1, 0)>

// CHECK-LABEL: func.func @dense(
func.func @dense(%ids: tensor<?x?xi32>, %table: tensor<32x8xbf16>, %x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %b: tensor<8xf32>, %s: tensor<?x?x1xf32>,
                 %t: tensor<?x?x4xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %p: tensor<?x32xi32>, %l: tensor<?x1x8xf32>,
                 %na: tensor<?x?x8xbf16>, %no: tensor<?x?x8xf16>, %nk: tensor<?x2x32x4xbf16>, %hn: tensor<4xf32>) {
  // CHECK: kernel.embed {{.*}} scale 1.000000e+00 unknown 31 outs(
  %known = kernel.embed ins(%ids, %table : tensor<?x?xi32>, tensor<32x8xbf16>) scale 1.0 unknown 31 outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.embed ins(%{{.*}}, %{{.*}} : tensor<?x?xi32>, tensor<32x8xbf16>) scale 2.000000e+00 outs(%{{.*}} : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %0 = kernel.embed ins(%ids, %table : tensor<?x?xi32>, tensor<32x8xbf16>) scale 2.0 outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.matmul ins(%{{.*}} : tensor<?x?x8xf32>) weights(%{{.*}} : tensor<8x8xbf16>) by [] outs(%{{.*}} : tensor<?x?x8xf32>) {
  // CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[OLD:.*]]: f32):
  // CHECK-NEXT: %[[SUM:.*]] = arith.addf %[[OLD]], %[[ACC]] : f32
  // CHECK-NEXT: kernel.yield %[[SUM]] : f32
  // CHECK-NEXT: } -> tensor<?x?x8xf32>
  %1 = kernel.matmul ins(%0 : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    %sum = arith.addf %old, %acc : f32
    kernel.yield %sum : f32
  } -> tensor<?x?x8xf32>
  // Narrow streams.
  // CHECK: kernel.matmul ins(%{{.*}} : tensor<?x?x8xbf16>) weights(%{{.*}} : tensor<8x8xbf16>) by [] outs(%{{.*}} : tensor<?x?x8xf16>) {
  %narrow = kernel.matmul ins(%na : tensor<?x?x8xbf16>) weights(%w : tensor<8x8xbf16>) by [] outs(%no : tensor<?x?x8xf16>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf16>
  // The halves of an RMS norm.
  // CHECK: kernel.matmul ins(%{{.*}} : tensor<?x?x8xf32>) weights(%{{.*}} : tensor<8x8xbf16>) by [] gains(%{{.*}} : tensor<8xf32>) outs(%{{.*}} : tensor<?x?x8xf32>) scaled(%{{.*}} : tensor<?x?x8xbf16>) squares(%{{.*}} : tensor<?x?x1xf32>) {
  // CHECK: } -> tensor<?x?x8xf32>, tensor<?x?x8xbf16>, tensor<?x?x1xf32>
  %half:3 = kernel.matmul ins(%0 : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] gains(%b : tensor<8xf32>)
      outs(%x : tensor<?x?x8xf32>) scaled(%na : tensor<?x?x8xbf16>) squares(%s : tensor<?x?x1xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>, tensor<?x?x8xbf16>, tensor<?x?x1xf32>
  // CHECK: kernel.matmul ins(%{{.*}} : tensor<?x?x8xbf16>) normed(%{{.*}} : tensor<?x?x1xf32>) epsilon 1.000000e+00 weights(%{{.*}} : tensor<8x8xbf16>) by [] outs(%{{.*}} : tensor<?x?x8xf32>) {
  %other = kernel.matmul ins(%half#1 : tensor<?x?x8xbf16>) normed(%half#2 : tensor<?x?x1xf32>) epsilon 1.0 weights(%w : tensor<8x8xbf16>) by [] outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  // Two products, and three operands of the epilogue.
  // CHECK: kernel.matmul {{.*}} weights(%{{.*}}, %{{.*}} : tensor<8x8xbf16>, tensor<8x8xbf16>) epilogue(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?x?x1xf32>) by [#{{.*}}, #{{.*}}, #{{.*}}] outs
  %2 = kernel.matmul ins(%1 : tensor<?x?x8xf32>) weights(%w, %w : tensor<8x8xbf16>, tensor<8x8xbf16>)
      epilogue(%0, %b, %s : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?x?x1xf32>) by [#mn, #n, #m0] outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%gate: f32, %up: f32, %e: f32, %bias: f32, %scale: f32, %old: f32):
    %y = arith.mulf %gate, %up : f32
    kernel.yield %y : f32
  } -> tensor<?x?x8xf32>
  // A round of sums, then the output.
  // CHECK: kernel.rowwise ins(%{{.*}} : tensor<?x?x8xf32> by [#{{.*}}]) group 4 outs(%{{.*}} : tensor<?x?x8xf32>) {
  // CHECK: }, {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32):
  %3 = kernel.rowwise ins(%2 : tensor<?x?x8xf32> by [#rc]) group 4 outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%v: f32):
    %square = arith.mulf %v, %v : f32
    kernel.yield %square : f32
  }, {
  ^bb0(%v: f32, %sum: f32, %old: f32):
    %y = arith.divf %v, %sum : f32
    kernel.yield %y : f32
  } -> tensor<?x?x8xf32>
  // CHECK: kernel.rope_table ins(%{{.*}} : tensor<?x?xi32>) #[[$ROPE]] outs(%{{.*}} : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  %4 = kernel.rope_table ins(%ids : tensor<?x?xi32>) #rope outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  // CHECK: kernel.rope ins(%{{.*}} : tensor<?x?x4xf32>) head_dim 4 outs(%{{.*}} : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %5 = kernel.rope ins(%4 : tensor<?x?x4xf32>) head_dim 4 outs(%3 : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.cache_append ins(%{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?xi32>) outs(%{{.*}} : tensor<?x2x32x4xf32>) -> tensor<?x2x32x4xf32>
  %6 = kernel.cache_append ins(%5, %n : tensor<?x?x8xf32>, tensor<?xi32>) outs(%k : tensor<?x2x32x4xf32>) -> tensor<?x2x32x4xf32>
  // CHECK: kernel.cache_append ins(%{{.*}}, %{{.*}} : tensor<?x?xi32>, tensor<?xi32>) outs(%{{.*}} : tensor<?x32xi32>) -> tensor<?x32xi32>
  %7 = kernel.cache_append ins(%ids, %n : tensor<?x?xi32>, tensor<?xi32>) outs(%p : tensor<?x32xi32>) -> tensor<?x32xi32>
  // CHECK: kernel.project ins(%{{.*}} : tensor<?x?x8xf32>) weights(%{{.*}}, %{{.*}} : tensor<8x8xbf16>, tensor<8x8xbf16>) bias(%{{.*}} : tensor<8xf32>) of [1]
  // CHECK-SAME: norm(%{{.*}} : tensor<4xf32>) of [0] epsilon 9.99999997E-7 rope(%{{.*}} : tensor<?x?x4xf32>) of [0, 1] head_dim 4 lengths(%{{.*}} : tensor<?xi32>)
  // CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>) -> tensor<?x?x8xf32>, tensor<?x2x32x4xf32>
  %project:2 = kernel.project ins(%3 : tensor<?x?x8xf32>) weights(%w, %w : tensor<8x8xbf16>, tensor<8x8xbf16>) bias(%b : tensor<8xf32>) of [1]
      norm(%hn : tensor<4xf32>) of [0] epsilon 1.0e-6 rope(%4 : tensor<?x?x4xf32>) of [0, 1] head_dim 4 lengths(%n : tensor<?xi32>)
      outs(%x, %k : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>) -> tensor<?x?x8xf32>, tensor<?x2x32x4xf32>
  // CHECK: kernel.project ins(%{{.*}} : tensor<?x?x8xbf16>) normed(%{{.*}} : tensor<?x?x1xf32>) epsilon 1.000000e+00 weights(%{{.*}} : tensor<8x8xbf16>) head_dim 4 outs
  %ofnorm = kernel.project ins(%half#1 : tensor<?x?x8xbf16>) normed(%half#2 : tensor<?x?x1xf32>) epsilon 1.0 weights(%w : tensor<8x8xbf16>) head_dim 4 outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.attention ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : {{.*}}) positions(%{{.*}} : tensor<?x32xi32>) scale 5.000000e-01 <causal, window = 8> outs
  %8 = kernel.attention ins(%5, %6, %6, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>)
      positions(%7 : tensor<?x32xi32>) scale 0.5 <causal, window = 8> outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.attention ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : {{.*}}) scale 5.000000e-01 <causal> outs(%{{.*}} : tensor<?x?x8xf16>) -> tensor<?x?x8xf16>
  %narrow8 = kernel.attention ins(%5, %6, %6, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>)
      scale 0.5 <causal> outs(%no : tensor<?x?x8xf16>) -> tensor<?x?x8xf16>
  // CHECK: kernel.attention ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xbf16>, {{.*}}) rounds scale 5.000000e-01 <causal> outs
  %rounded8 = kernel.attention ins(%na, %nk, %nk, %n : tensor<?x?x8xbf16>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>)
      rounds scale 0.5 <causal> outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.last_rows ins(%{{.*}} : tensor<?x?x8xf32>) outs(%{{.*}} : tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  %9 = kernel.last_rows ins(%8 : tensor<?x?x8xf32>) outs(%l : tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  // CHECK: kernel.argmax ins(%{{.*}} : tensor<?x?x8xf32>) outs(%{{.*}} : tensor<?x?xi32>) -> tensor<?x?xi32>
  %best = kernel.argmax ins(%8 : tensor<?x?x8xf32>) outs(%ids : tensor<?x?xi32>) -> tensor<?x?xi32>
  // CHECK: kernel.softmax ins(%{{.*}} : tensor<?x?x8xf32>) outs
  %10 = kernel.softmax ins(%8 : tensor<?x?x8xf32>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.softmax ins(%{{.*}} : tensor<?x?x8xf32>) over_rows outs
  %11 = kernel.softmax ins(%8 : tensor<?x?x8xf32>) over_rows outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: kernel.advance ins(%{{.*}} : tensor<?x?xi32>) outs(%{{.*}} : tensor<?xi32>) -> tensor<?xi32>
  %12 = kernel.advance ins(%ids : tensor<?x?xi32>) outs(%n : tensor<?xi32>) -> tensor<?xi32>
  // CHECK: kernel.rank ins(%{{.*}} : tensor<?xi32>) outs(%{{.*}} : tensor<?x?xi32>) -> tensor<?x?xi32>
  %13 = kernel.rank ins(%n : tensor<?xi32>) outs(%ids : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// A row and an element of matrices, and further outputs; ids of the last rows, and
// lengths in a column.
// CHECK-LABEL: func.func @further(
func.func @further(%x: tensor<?x?x8xf32>, %m: tensor<2x8xf32>, %e: tensor<2x2xf32>, %h: tensor<?x?x8xbf16>, %ids: tensor<?x?xi32>, %l: tensor<?x1xi32>, %q: tensor<?x1x8xf32>, %k: tensor<?x2x32x4xf32>) {
  // CHECK: kernel.rowwise ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<2x8xf32>, tensor<2x2xf32> by [#{{.*}}, #{{.*}}, #{{.*}}]) group 8
  // CHECK-SAME: outs(%{{.*}} : tensor<?x?x8xf32>) further(%{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<?x?x8xbf16>) {
  // CHECK-NEXT: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32):
  // CHECK: kernel.yield %{{.*}}, %{{.*}}, %{{.*}} : f32, f32, f32
  // CHECK-NEXT: } -> tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xbf16>
  %0:3 = kernel.rowwise ins(%x, %m, %e : tensor<?x?x8xf32>, tensor<2x8xf32>, tensor<2x2xf32> by [#rc, #row, #element]) group 8
      outs(%x : tensor<?x?x8xf32>) further(%x, %h : tensor<?x?x8xf32>, tensor<?x?x8xbf16>) {
  ^bb0(%v: f32, %row: f32, %element: f32, %old: f32):
    %a = arith.mulf %v, %row : f32
    %b = arith.mulf %v, %element : f32
    kernel.yield %v, %a, %b : f32, f32, f32
  } -> tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xbf16>
  // CHECK: %[[L:.*]] = kernel.last_rows ins(%{{.*}} : tensor<?x?xi32>) outs(%{{.*}} : tensor<?x1xi32>) -> tensor<?x1xi32>
  %1 = kernel.last_rows ins(%ids : tensor<?x?xi32>) outs(%l : tensor<?x1xi32>) -> tensor<?x1xi32>
  // CHECK: kernel.attention ins(%{{.*}}, %{{.*}}, %{{.*}}, %[[L]] : {{.*}}, tensor<?x1xi32>) scale 5.000000e-01 <causal> outs
  %2 = kernel.attention ins(%q, %k, %k, %1 : tensor<?x1x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?x1xi32>) scale 0.5 <causal> outs(%q : tensor<?x1x8xf32>) -> tensor<?x1x8xf32>
  return
}

// CHECK-LABEL: func.func @sources(
func.func @sources(%s: tensor<?x?x1xf32>, %l: tensor<?x?x2xf32>, %ids: tensor<?x?xi32>, %i: tensor<?x?xi32>, %one: tensor<2xi32>, %two: tensor<3xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // CHECK: %[[F:.*]]:4 = kernel.select ins(%{{.*}} : tensor<?x?x1xf32>) top <1/8> outs(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  %f:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1/8> outs(%i, %one, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  // CHECK: kernel.select ins(%{{.*}} : tensor<?x?x1xf32>) within(%[[F]]#1, %[[F]]#2, %[[F]]#3 : tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 1] above 5.000000e-01 outs
  %g:4 = kernel.select ins(%s : tensor<?x?x1xf32>) within(%f#1, %f#2, %f#3 : tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 1] above 0.5
      outs(%i, %one, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  // CHECK: kernel.partition ins(%{{.*}} : tensor<?x?xi32>) sets [0, 1, -1] outs
  %h:4 = kernel.partition ins(%ids : tensor<?x?xi32>) sets [0, 1, -1] outs(%i, %two, %o, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  // CHECK: kernel.assign ins(%{{.*}} : tensor<?x?x2xf32>) choice 1 outs
  %j:4 = kernel.assign ins(%l : tensor<?x?x2xf32>) choice 1 outs(%i, %two, %o, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  // CHECK: kernel.assign ins(%{{.*}} : tensor<?x?x2xf32>) within(%[[F]]#1, %[[F]]#2, %[[F]]#3 : {{.*}}) sets [0, 1] choice 0 outs
  %k:4 = kernel.assign ins(%l : tensor<?x?x2xf32>) within(%f#1, %f#2, %f#3 : tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 1] choice 0
      outs(%i, %two, %o, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// CHECK-LABEL: func.func @packed(
func.func @packed(%x: memref<?x?x8xf32>, %w: memref<8x8xf32, strided<[16, 1]>>, %b: memref<8xf32>, %i: memref<?x?xi32>, %f: memref<3xi32>, %o: memref<?x?xi32>, %c: memref<?xi32>,
                  %t: memref<?x?x4xf32>, %k: memref<?x2x32x4xf32>, %n: memref<?xi32>, %l: memref<?x1x8xf32>, %s: memref<?x?x2xf32>, %v: memref<?x?x1xf32>, %p: memref<?x32xi32>) {
  // CHECK: kernel.matmul ins(%{{.*}}) weights(%{{.*}}, %{{.*}} : {{.*}}) epilogue(%{{.*}}, %{{.*}} : memref<8xf32>, memref<8xf32>) by [#{{.*}}] rows(%{{.*}}, %{{.*}} : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers scatters outs(%{{.*}} : memref<?x?x8xf32>) attributes {groups = 2 : i64} {
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w, %w : memref<8x8xf32, strided<[16, 1]>>, memref<8x8xf32, strided<[16, 1]>>)
      epilogue(%b, %b : memref<8xf32>, memref<8xf32>) by [#sn] rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers scatters
      outs(%x : memref<?x?x8xf32>) attributes {groups = 2 : i64} {
  ^bb0(%acc: f32, %bias: f32, %old: f32):
    %y = arith.addf %acc, %bias : f32
    kernel.yield %y : f32
  }
  // CHECK: kernel.matmul ins(%{{.*}}) weights(%{{.*}}) epilogue(%{{.*}} : memref<?x?x8xf32>) by [#{{.*}}] rows(%{{.*}}, %{{.*}} : {{.*}}) sets [0, 2] indexed [0] outs
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xf32, strided<[16, 1]>>) epilogue(%x : memref<?x?x8xf32>) by [#mn]
      rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 2] indexed [0] outs(%x : memref<?x?x8xf32>) {
  ^bb0(%acc: f32, %more: f32, %old: f32):
    %y = arith.addf %acc, %more : f32
    kernel.yield %y : f32
  }
  // CHECK: kernel.matmul ins(%{{.*}}) weights(%{{.*}}) by [] rows(%{{.*}} : memref<3xi32>) sets [1, 2] outs
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xf32, strided<[16, 1]>>) by [] rows(%f : memref<3xi32>) sets [1, 2] outs(%x : memref<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  }
  // CHECK: kernel.project ins(%{{.*}}) weights(%{{.*}}, %{{.*}} : {{.*}}) head_dim 4 rows(%{{.*}}, %{{.*}} : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers outs(%{{.*}} : memref<?x?x8xf32>) {groups = 2 : i64}
  kernel.project ins(%x : memref<?x?x8xf32>) weights(%w, %w : memref<8x8xf32, strided<[16, 1]>>, memref<8x8xf32, strided<[16, 1]>>) head_dim 4
      rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers outs(%x : memref<?x?x8xf32>) {groups = 2 : i64}
  // CHECK: kernel.project ins(%{{.*}}) weights(%{{.*}}) rope(%{{.*}}) of [0] head_dim 4 rows(%{{.*}}, %{{.*}} : {{.*}}) sets [0, 1] table_gathers outs
  kernel.project ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xf32, strided<[16, 1]>>) rope(%t : memref<?x?x4xf32>) of [0] head_dim 4
      rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 1] table_gathers outs(%x : memref<?x?x8xf32>)
  // CHECK: kernel.project ins(%{{.*}}) weights(%{{.*}} : {{.*}}) head_dim 4 lengths(%{{.*}} : memref<?xi32>) rows(%{{.*}}, %{{.*}} : memref<?x?xi32> : memref<3xi32>) sets [0, 1] order(%{{.*}}, %{{.*}} : memref<?x?xi32>, memref<?xi32>) outs(%{{.*}} : memref<?x2x32x4xf32>)
  kernel.project ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xf32, strided<[16, 1]>>) head_dim 4 lengths(%n : memref<?xi32>)
      rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 1] order(%o, %c : memref<?x?xi32>, memref<?xi32>) outs(%k : memref<?x2x32x4xf32>)
  // CHECK: kernel.rowwise ins(%{{.*}}, %{{.*}}, %{{.*}} : memref<?x?x8xf32>, memref<8xf32>, memref<8xf32> by [#{{.*}}, #{{.*}}]) group 8 rows(%{{.*}}, %{{.*}} : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers outs(%{{.*}} : memref<?x?x8xf32>) attributes {groups = 2 : i64} {
  kernel.rowwise ins(%x, %b, %b : memref<?x?x8xf32>, memref<8xf32>, memref<8xf32> by [#rc, #sg]) group 8 rows(%f, %i : memref<?x?xi32> : memref<3xi32>) sets [0, 2] gathers
      outs(%x : memref<?x?x8xf32>) attributes {groups = 2 : i64} {
  ^bb0(%a: f32, %weight: f32, %old: f32):
    %y = arith.mulf %a, %weight : f32
    kernel.yield %y : f32
  }
  // CHECK: kernel.rope_table ins(%{{.*}}) #[[$ROPE]] rows(%{{.*}} : memref<3xi32>) sets [0, 2] outs
  kernel.rope_table ins(%i : memref<?x?xi32>) #rope rows(%f : memref<3xi32>) sets [0, 2] outs(%t : memref<?x?x4xf32>)
  // CHECK: kernel.rope ins(%{{.*}}) head_dim 4 rows(%{{.*}} : memref<3xi32>) sets [0, 2] outs
  kernel.rope ins(%t : memref<?x?x4xf32>) head_dim 4 rows(%f : memref<3xi32>) sets [0, 2] outs(%x : memref<?x?x8xf32>)
  // CHECK: kernel.cache_append ins(%{{.*}}, %{{.*}}) rows(%{{.*}}, %{{.*}}, %{{.*}} : memref<3xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 1] outs
  kernel.cache_append ins(%x, %n : memref<?x?x8xf32>, memref<?xi32>) rows(%f, %o, %c : memref<3xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 1] outs(%k : memref<?x2x32x4xf32>)
  // CHECK: kernel.attention ins({{.*}}) positions(%{{.*}}) rows(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : memref<3xi32>, memref<?x?xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 1] compact scale 1.000000e+00 <causal, window = 4> outs
  kernel.attention ins(%x, %k, %k, %n : memref<?x?x8xf32>, memref<?x2x32x4xf32>, memref<?x2x32x4xf32>, memref<?xi32>) positions(%p : memref<?x32xi32>)
      rows(%f, %i, %o, %c : memref<3xi32>, memref<?x?xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 1] compact scale 1.0 <causal, window = 4> outs(%x : memref<?x?x8xf32>)
  // CHECK: kernel.last_rows ins(%{{.*}}) order(%{{.*}} : memref<?x?xi32>) outs
  kernel.last_rows ins(%x : memref<?x?x8xf32>) order(%o : memref<?x?xi32>) outs(%l : memref<?x1x8xf32>)
  // CHECK: kernel.gather ins(%{{.*}}) rows(%{{.*}}, %{{.*}} : memref<3xi32>, memref<?x?xi32>) sets [0, 2] outs
  kernel.gather ins(%o : memref<?x?xi32>) rows(%f, %i : memref<3xi32>, memref<?x?xi32>) sets [0, 2] outs(%o : memref<?x?xi32>)
  // CHECK: kernel.chosen ins(%{{.*}}) rows(%{{.*}}, %{{.*}} : memref<3xi32>, memref<?x?xi32>) sets [1, 2] outs
  kernel.chosen ins(%s : memref<?x?x2xf32>) rows(%f, %i : memref<3xi32>, memref<?x?xi32>) sets [1, 2] outs(%v : memref<?x?x1xf32>)
  // CHECK: kernel.softmax ins(%{{.*}}) rows(%{{.*}}, %{{.*}}, %{{.*}} : memref<?x?xi32>, memref<?xi32> : memref<3xi32>) sets [0, 1] over_rows outs
  kernel.softmax ins(%s : memref<?x?x2xf32>) rows(%f, %o, %c : memref<?x?xi32>, memref<?xi32> : memref<3xi32>) sets [0, 1] over_rows outs(%s : memref<?x?x2xf32>)
  // CHECK: kernel.advance ins(%{{.*}}) counts(%{{.*}} : memref<?xi32>) outs
  kernel.advance ins(%i : memref<?x?xi32>) counts(%c : memref<?xi32>) outs(%n : memref<?xi32>)
  // CHECK: kernel.rank ins(%{{.*}}) rows(%{{.*}}, %{{.*}}, %{{.*}} : memref<3xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 2] outs
  kernel.rank ins(%n : memref<?xi32>) rows(%f, %o, %c : memref<3xi32>, memref<?x?xi32>, memref<?xi32>) sets [0, 2] outs(%i : memref<?x?xi32>)
  return
}

// CHECK-LABEL: kernel.def @rope_0(%{{.*}}: memref<?x?x4xf32>, %{{.*}}: memref<?x?x8xf32>) attributes {note = "x"} {
// CHECK-NEXT: kernel.rope ins
kernel.def @rope_0(%t: memref<?x?x4xf32>, %x: memref<?x?x8xf32>) attributes {note = "x"} {
  kernel.rope ins(%t : memref<?x?x4xf32>) head_dim 4 outs(%x : memref<?x?x8xf32>)
}

// CHECK-LABEL: func.func @launch(
func.func @launch(%t: memref<?x1x4xf32>, %x: memref<?x1x8xf32>) {
  // CHECK: kernel.launch @rope_0(%{{.*}}, %{{.*}}) : memref<?x1x4xf32>, memref<?x1x8xf32>
  kernel.launch @rope_0(%t, %x) : memref<?x1x4xf32>, memref<?x1x8xf32>
  return
}

// CHECK-LABEL: func.func @workspace
func.func @workspace(%q: memref<?x1x8xf32>, %k: memref<?x2x32x4xbf16>, %n: memref<?xi32>, %x: memref<?x?x8xf32>, %w: memref<8x8xbf16>, %s: memref<2x16x16xf32>, %t: memref<1xi32>) {
  // CHECK: kernel.matmul ins(%{{.*}}) weights(%{{.*}}, %{{.*}}) by [] workspace(%{{.*}}, %{{.*}} : memref<2x16x16xf32>, memref<1xi32>) outs(%{{.*}} : memref<?x?x8xf32>) {
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w, %w : memref<8x8xbf16>, memref<8x8xbf16>) by []
      workspace(%s, %t : memref<2x16x16xf32>, memref<1xi32>) outs(%x : memref<?x?x8xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    kernel.yield %a : f32
  }
  // CHECK: kernel.attention ins({{.*}}) rounds workspace(%{{.*}}, %{{.*}} : memref<2x16x16xf32>, memref<1xi32>) scale
  kernel.attention ins(%q, %k, %k, %n : memref<?x1x8xf32>, memref<?x2x32x4xbf16>, memref<?x2x32x4xbf16>, memref<?xi32>)
      rounds workspace(%s, %t : memref<2x16x16xf32>, memref<1xi32>) scale 1.0 <causal> outs(%q : memref<?x1x8xf32>)
  return
}

// CHECK-LABEL: func.func @bounds(
func.func @bounds(%x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %n: tensor<1xi32>) {
  // CHECK: kernel.matmul ins(%{{.*}}) weights(%{{.*}}) by [] columns(%{{.*}} : tensor<1xi32>) depth(%{{.*}} : tensor<1xi32>) outs(%{{.*}} : tensor<?x?x8xf32>) {
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] columns(%n : tensor<1xi32>) depth(%n : tensor<1xi32>) outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  return
}
