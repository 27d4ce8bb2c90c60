// RUN: nest-opt %s --convert-nest-to-kernel --split-input-file | FileCheck %s

nest.weight @router : tensor<2x8xf32>
nest.weight @mix : tensor<2x2xf32>

// A router: the norm's sum of squares is a round, the two products with its rows
// the next, which reads rows of the matrix; the small product of these has no
// sum, and reads elements. The last round has both sums of a rescale. Results are
// the output and a further one.
// CHECK-DAG: #[[$RC:.+]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-DAG: #[[$R0:.+]] = affine_map<(d0, d1, d2) -> (0, d1)>
// CHECK-DAG: #[[$R1:.+]] = affine_map<(d0, d1, d2) -> (1, d1)>
// CHECK-DAG: #[[$E00:.+]] = affine_map<(d0, d1, d2) -> (0, 0)>
// CHECK-DAG: #[[$E01:.+]] = affine_map<(d0, d1, d2) -> (0, 1)>
// CHECK-DAG: #[[$E10:.+]] = affine_map<(d0, d1, d2) -> (1, 0)>
// CHECK-DAG: #[[$E11:.+]] = affine_map<(d0, d1, d2) -> (1, 1)>
// CHECK-LABEL: func.func @routed
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?x?x8xf32> {{{[^}]*}}"x"}, %[[R:[a-z0-9]+]]: tensor<?x?x8xf32> {{{[^}]*}}"r"}
// CHECK-SAME: %[[W:[a-z0-9]+]]: tensor<2x8xf32> {{{[^}]*}}nest.weight = "router"}, %[[M:[a-z0-9]+]]: tensor<2x2xf32> {{{[^}]*}}nest.weight = "mix"}
// CHECK: %[[O:.+]]:2 = kernel.rowwise ins(%[[X]], %[[W]], %[[W]], %[[M]], %[[M]], %[[M]], %[[M]], %[[R]] :
// CHECK-SAME: by [#[[$RC]], #[[$R0]], #[[$R1]], #[[$E00]], #[[$E01]], #[[$E10]], #[[$E11]], #[[$RC]]]) group 8
// CHECK-SAME: outs(%{{.+}} : tensor<?x?x8xf32>) further(%{{.+}} : tensor<?x?x8xf32>) {
// The square of x.
// CHECK-NEXT: ^bb0(%[[X0:[a-z0-9]+]]: f32,
// CHECK-NEXT: %[[SQUARE:.+]] = arith.mulf %[[X0]], %[[X0]]
// CHECK-NEXT: kernel.yield %[[SQUARE]] : f32
// CHECK-NEXT: }, {
// The normalised element, times both rows of the matrix.
// CHECK-NEXT: ^bb0(%[[X1:[a-z0-9]+]]: f32, %[[W0:[a-z0-9]+]]: f32, %[[W1:[a-z0-9]+]]: f32, {{.*}}, %[[SUM:[a-z0-9]+]]: f32):
// CHECK: arith.divf %[[SUM]]
// CHECK: %[[NORM:.+]] = arith.mulf %[[X1]]
// CHECK-NEXT: %[[L0:.+]] = arith.mulf %[[NORM]], %[[W0]]
// CHECK-NEXT: %[[L1:.+]] = arith.mulf %[[NORM]], %[[W1]]
// CHECK-NEXT: kernel.yield %[[L0]], %[[L1]] : f32, f32
// CHECK-NEXT: }, {
// The second number of the small product scales x.
// CHECK-NEXT: ^bb0(%[[X2:[a-z0-9]+]]: f32, %{{[a-z0-9]+}}: f32, %{{[a-z0-9]+}}: f32, %{{[a-z0-9]+}}: f32, %{{[a-z0-9]+}}: f32, %[[M10:[a-z0-9]+]]: f32, %[[M11:[a-z0-9]+]]: f32, %[[R2:[a-z0-9]+]]: f32, %{{[a-z0-9]+}}: f32, %[[S0:[a-z0-9]+]]: f32, %[[S1:[a-z0-9]+]]: f32):
// CHECK-NEXT: %[[P0:.+]] = arith.mulf %[[S0]], %[[M10]]
// CHECK-NEXT: %[[P1:.+]] = arith.mulf %[[S1]], %[[M11]]
// CHECK-NEXT: %[[C:.+]] = arith.addf %[[P0]], %[[P1]]
// CHECK-NEXT: %[[Y:.+]] = arith.mulf %[[X2]], %[[C]]
// CHECK-NEXT: %[[YY:.+]] = arith.mulf %[[Y]], %[[Y]]
// CHECK-NEXT: %[[RR:.+]] = arith.mulf %[[R2]], %[[R2]]
// CHECK-NEXT: kernel.yield %[[YY]], %[[RR]] : f32, f32
// CHECK-NEXT: }, {
// CHECK-NEXT: ^bb0(%[[X3:[a-z0-9]+]]: f32,
// CHECK: %[[C3:.+]] = arith.addf
// CHECK-NEXT: %[[OUT:.+]] = arith.mulf %[[X3]], %[[C3]]
// CHECK: math.sqrt
// CHECK: math.rsqrt
// CHECK: %[[FURTHER:.+]] = arith.mulf %[[OUT]],
// CHECK-NEXT: kernel.yield %[[OUT]], %[[FURTHER]] : f32, f32
// CHECK-NEXT: } -> tensor<?x?x8xf32>, tensor<?x?x8xf32>
func.func @routed(%x: tensor<?x?x8xf32> {nest.name = "x"}, %r: tensor<?x?x8xf32> {nest.name = "r"})
    -> (tensor<?x?x8xf32> {nest.name = "y"}, tensor<?x?x8xf32> {nest.name = "z"}) attributes {nest.entry = "f"} {
  %w = nest.get @router : tensor<2x8xf32>
  %m = nest.get @mix : tensor<2x2xf32>
  %f:2 = nest.fused(%x, %r, %w, %m) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<2x8xf32>, tensor<2x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  ^bb0(%fx: tensor<?x?x8xf32>, %fr: tensor<?x?x8xf32>, %fw: tensor<2x8xf32>, %fm: tensor<2x2xf32>):
    %n = nest.norm rms %fx epsilon 1.0e-5 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %l = nest.linear %n, %fw : (tensor<?x?x8xf32>, tensor<2x8xf32>) -> tensor<?x?x2xf32>
    %c = nest.linear %l, %fm : (tensor<?x?x2xf32>, tensor<2x2xf32>) -> tensor<?x?x2xf32>
    %y = nest.scale %fx by %c column 1 : (tensor<?x?x8xf32>, tensor<?x?x2xf32>) -> tensor<?x?x8xf32>
    %z = nest.rescale %y like %fr epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    nest.yield %y, %z : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
  return %f#0, %f#1 : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// -----

// Numbers of a row from elsewhere are read in their column; a layer norm has two
// rounds.
// CHECK: #[[$RC:.+]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK: #[[$R3:.+]] = affine_map<(d0, d1, d2) -> (d0, 3)>
// CHECK-LABEL: func.func @numbers
// CHECK: kernel.rowwise ins(%{{.+}}, %{{.+}} : tensor<?x?x8xf32>, tensor<?x?x4xf32> by [#[[$RC]], #[[$R3]]]) group 8
// CHECK-NEXT: ^bb0(%[[X:[a-z0-9]+]]: f32, %{{[a-z0-9]+}}: f32):
// CHECK-NEXT: kernel.yield %[[X]] : f32
// CHECK-NEXT: }, {
// CHECK: arith.subf
// CHECK: kernel.yield %{{.+}} : f32
// CHECK-NEXT: }, {
// CHECK-NEXT: ^bb0(%{{[a-z0-9]+}}: f32, %[[C:[a-z0-9]+]]: f32, {{.*}}):
// CHECK: %[[Y:.+]] = arith.mulf %{{.+}}, %[[C]] : f32
// CHECK-NEXT: kernel.yield %[[Y]] : f32
func.func @numbers(%x: tensor<?x?x8xf32> {nest.name = "x"}, %c: tensor<?x?x4xf32> {nest.name = "c"}) -> (tensor<?x?x8xf32> {nest.name = "y"}) attributes {nest.entry = "f"} {
  %f = nest.fused(%x, %c) : (tensor<?x?x8xf32>, tensor<?x?x4xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%fx: tensor<?x?x8xf32>, %fc: tensor<?x?x4xf32>):
    %n = nest.norm layer %fx epsilon 1.0e-5 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %y = nest.scale %n by %fc column 3 : (tensor<?x?x8xf32>, tensor<?x?x4xf32>) -> tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  return %f : tensor<?x?x8xf32>
}
