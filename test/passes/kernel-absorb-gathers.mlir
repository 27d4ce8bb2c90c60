// Selected rows are read where they lie, not copied first.
// RUN: nest-opt %s --kernel-absorb-gathers | FileCheck %s

#mn = affine_map<(m, n) -> (m, n)>
#m0 = affine_map<(m, n) -> (m, 0)>
#n = affine_map<(m, n) -> (n)>
#rc = affine_map<(r, c, g) -> (r, c)>
#g = affine_map<(r, c, g) -> (g)>

// A norm, a residual and a gate of rows, and a product's stream; the rows change
// only then.
// CHECK-LABEL: func.func @routed(
// CHECK-NEXT: %[[E:.*]] = tensor.empty
// CHECK-NEXT: %[[N:.*]] = kernel.rowwise ins(%arg1, %arg2 : {{.*}}) group 8 rows(%arg5, %arg6 : {{.*}}) sets [0, 1] gathers outs(%[[E]] :
// CHECK: kernel.matmul ins(%[[N]] : {{.*}}) {{.*}} epilogue(%arg4, %arg1 : {{.*}}) by [#{{.*}}, #{{.*}}] rows(%arg5, %arg6 : {{.*}}) sets [0, 1] indexed [1] outs(
// CHECK: kernel.matmul ins(%arg1 : {{.*}}) {{.*}} rows(%arg5, %arg6 : {{.*}}) sets [0, 1] gathers outs(
// CHECK: kernel.matmul {{.*}} epilogue(%arg7 : tensor<?x?x1xf32>) by [#{{.*}}] rows(%arg5, %arg6 : {{.*}}) sets [0, 1] scatters indexed [0] outs(%arg1 :
func.func @routed(%size: index, %x: tensor<?x?x8xf32>, %w: tensor<8xf32>, %m: tensor<8x8xbf16>, %b: tensor<8xf32>, %o: tensor<2xi32>, %i: tensor<?x?xi32>,
                  %s: tensor<?x?x1xf32>, %y: tensor<?x?x8xf32>, %z: tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %0 = tensor.empty(%size, %size) : tensor<?x?x8xf32>
  %rows = kernel.rowwise ins(%x : tensor<?x?x8xf32> by [#rc]) group 8 rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x?x8xf32>
  %1 = tensor.empty(%size, %size) : tensor<?x?x1xf32>
  %gate = kernel.rowwise ins(%s : tensor<?x?x1xf32> by [#rc]) group 1 rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%1 : tensor<?x?x1xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x?x1xf32>
  %2 = tensor.empty(%size, %size) : tensor<?x?x8xf32>
  %norm = kernel.rowwise ins(%rows, %w : tensor<?x?x8xf32>, tensor<8xf32> by [#rc, #g]) group 8 rows(%o : tensor<2xi32>) sets [0, 1] outs(%2 : tensor<?x?x8xf32>) {
  ^bb0(%v: f32, %u: f32, %old: f32):
    %p = arith.mulf %v, %u : f32
    kernel.yield %p : f32
  } -> tensor<?x?x8xf32>
  %h = kernel.matmul ins(%norm : tensor<?x?x8xf32>) weights(%m : tensor<8x8xbf16>) epilogue(%b, %rows : tensor<8xf32>, tensor<?x?x8xf32>) by [#n, #mn]
      rows(%o : tensor<2xi32>) sets [0, 1] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %bias: f32, %r: f32, %old: f32):
    %p = arith.addf %acc, %r : f32
    kernel.yield %p : f32
  } -> tensor<?x?x8xf32>
  %a = kernel.matmul ins(%rows : tensor<?x?x8xf32>) weights(%m : tensor<8x8xbf16>) by [] rows(%o : tensor<2xi32>) sets [0, 1] outs(%z : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %out = kernel.matmul ins(%h : tensor<?x?x8xf32>) weights(%m : tensor<8x8xbf16>) epilogue(%gate : tensor<?x?x1xf32>) by [#m0]
      rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] scatters outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %g: f32, %old: f32):
    %p = arith.mulf %acc, %g : f32
    kernel.yield %p : f32
  } -> tensor<?x?x8xf32>
  return %out, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// Rows that change before they are read; rows that another kernel reads; those
// of another family.
// CHECK-LABEL: func.func @no_change(
// CHECK-COUNT-3: gathers outs(
// CHECK-NOT: indexed
func.func @no_change(%size: index, %x: tensor<?x?x8xf32>, %u: tensor<?x?x8xf32>, %m: tensor<8x8xbf16>, %o: tensor<2xi32>, %i: tensor<?x?xi32>, %f: tensor<2xi32>,
                     %y: tensor<?x?x8xf32>, %z: tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  %0 = tensor.empty(%size, %size) : tensor<?x?x8xf32>
  %rows = kernel.rowwise ins(%x : tensor<?x?x8xf32> by [#rc]) group 8 rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%0 : tensor<?x?x8xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x?x8xf32>
  %new = kernel.softmax ins(%u : tensor<?x?x8xf32>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %a = kernel.matmul ins(%rows : tensor<?x?x8xf32>) weights(%m : tensor<8x8xbf16>) by [] rows(%o : tensor<2xi32>) sets [0, 1] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  %1 = tensor.empty(%size, %size) : tensor<?x?x8xf32>
  %read = kernel.rowwise ins(%u : tensor<?x?x8xf32> by [#rc]) group 8 rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%1 : tensor<?x?x8xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x?x8xf32>
  %2 = tensor.empty(%size, %size) : tensor<?x?x8xf32>
  %other = kernel.rowwise ins(%u : tensor<?x?x8xf32> by [#rc]) group 8 rows(%o, %i : tensor<?x?xi32> : tensor<2xi32>) sets [0, 1] gathers outs(%2 : tensor<?x?x8xf32>) {
  ^bb0(%v: f32, %old: f32):
    kernel.yield %v : f32
  } -> tensor<?x?x8xf32>
  %b = kernel.matmul ins(%other : tensor<?x?x8xf32>) weights(%m : tensor<8x8xbf16>) by [] rows(%f : tensor<2xi32>) sets [0, 1] outs(%z : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  return %new, %a, %read, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x8xf32>
}
