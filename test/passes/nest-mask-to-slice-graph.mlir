// RUN: nest-opt %s --nest-mask-to-slice --split-input-file --verify-diagnostics | FileCheck %s

// A feed-forward block of `nest` that is masked: weights are smaller boxes of
// what is stored, under their names. The bias of the second product is whole.
// CHECK: nest.weight @gate stored tensor<4x3xbf16> box [0, 0] [2, 3] : tensor<2x3xbf16>
// CHECK: nest.weight @up key "x.up" stored tensor<9x3xbf16> box [4, 0] [2, 3] : tensor<2x3xbf16>
// CHECK: nest.weight @up_bias stored tensor<4xf32> box [0] [2] : tensor<2xf32>
// CHECK: nest.weight @down stored tensor<3x4xbf16> box [0, 0] [3, 2] : tensor<3x2xbf16>
// CHECK: nest.weight @down_bias : tensor<3xf32>
nest.weight @gate : tensor<4x3xbf16>
nest.weight @up key "x.up" stored tensor<9x3xbf16> box [4, 0] [4, 3] : tensor<4x3xbf16>
nest.weight @up_bias : tensor<4xf32>
nest.weight @down : tensor<3x4xbf16>
nest.weight @down_bias : tensor<3xf32>
// CHECK-LABEL: func.func @glu
// CHECK-SAME: %[[X:.+]]: tensor<?x?x3xf32>
func.func @glu(%x: tensor<?x?x3xf32>) -> tensor<?x?x3xf32> {
  // CHECK-DAG: %[[G:.+]] = nest.get @gate : tensor<2x3xbf16>
  // CHECK-DAG: %[[U:.+]] = nest.get @up : tensor<2x3xbf16>
  // CHECK-DAG: %[[UB:.+]] = nest.get @up_bias : tensor<2xf32>
  // CHECK-DAG: %[[D:.+]] = nest.get @down : tensor<3x2xbf16>
  // CHECK-DAG: %[[DB:.+]] = nest.get @down_bias : tensor<3xf32>
  %mask = arith.constant dense<[1.0, 1.0, 0.0, 0.0]> : tensor<4xf32>
  %g = nest.get @gate : tensor<4x3xbf16>
  %u = nest.get @up : tensor<4x3xbf16>
  %ub = nest.get @up_bias : tensor<4xf32>
  %d = nest.get @down : tensor<3x4xbf16>
  %db = nest.get @down_bias : tensor<3xf32>
  %0 = nest.layer 0 (%x) : (tensor<?x?x3xf32>) -> (tensor<?x?x3xf32>) {
    // CHECK-DAG: %[[P:.+]] = nest.linear %[[X]], %[[G]] : (tensor<?x?x3xf32>, tensor<2x3xbf16>) -> tensor<?x?x2xf32>
    // CHECK-DAG: %[[Q:.+]] = nest.linear %[[X]], %[[U]] bias(%[[UB]])
    // CHECK-NOT: linalg.generic
    // CHECK: %[[H:.+]] = nest.glu silu %[[P]], %[[Q]] : tensor<?x?x2xf32>
    // CHECK: nest.linear %[[H]], %[[D]] bias(%[[DB]]) : (tensor<?x?x2xf32>, tensor<3x2xbf16>, tensor<3xf32>) -> tensor<?x?x3xf32>
    %p = nest.linear %x, %g : (tensor<?x?x3xf32>, tensor<4x3xbf16>) -> tensor<?x?x4xf32>
    %q = nest.linear %x, %u bias(%ub) : (tensor<?x?x3xf32>, tensor<4x3xbf16>, tensor<4xf32>) -> tensor<?x?x4xf32>
    %m = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]}
        ins(%p, %mask : tensor<?x?x4xf32>, tensor<4xf32>) outs(%p : tensor<?x?x4xf32>) {
    ^bb0(%in: f32, %keep: f32, %out: f32):
      %t = arith.mulf %in, %keep : f32
      linalg.yield %t : f32
    } -> tensor<?x?x4xf32>
    %h = nest.glu silu %m, %q : tensor<?x?x4xf32>
    %y = nest.linear %h, %d bias(%db) : (tensor<?x?x4xf32>, tensor<3x4xbf16>, tensor<3xf32>) -> tensor<?x?x3xf32>
    nest.yield %y : tensor<?x?x3xf32>
  }
  return %0 : tensor<?x?x3xf32>
}

// -----

// What somebody reads in full stays, beside a symbol of the same key; entries
// of one width share it. MatViT's form, the mask behind the bias.
// CHECK: nest.weight @w1 : tensor<4x3xf32>
// CHECK-NEXT: nest.weight @w1.prefix key "w1" stored tensor<4x3xf32> box [0, 0] [2, 3] : tensor<2x3xf32>
// CHECK-NEXT: nest.weight @w2 stored tensor<3x4xf32> box [0, 0] [3, 2] : tensor<3x2xf32>
nest.weight @w1 : tensor<4x3xf32>
nest.weight @w2 : tensor<3x4xf32>
// CHECK-LABEL: func.func @masked
// CHECK: nest.get @w1.prefix : tensor<2x3xf32>
// CHECK: nest.act gelu %{{.*}} : tensor<1x2x2xf32>
func.func @masked(%x: tensor<1x2x3xf32>, %b: tensor<4xf32>) -> tensor<1x2x3xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]> : tensor<1x2x4xf32>
  %w1 = nest.get @w1 : tensor<4x3xf32>
  %w2 = nest.get @w2 : tensor<3x4xf32>
  %h = nest.linear %x, %w1 bias(%b) : (tensor<1x2x3xf32>, tensor<4x3xf32>, tensor<4xf32>) -> tensor<1x2x4xf32>
  %m = arith.mulf %h, %mask : tensor<1x2x4xf32>
  %a = nest.act gelu %m : tensor<1x2x4xf32>
  %y = nest.linear %a, %w2 : (tensor<1x2x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}
// CHECK-LABEL: func.func @again
// CHECK: nest.get @w1.prefix : tensor<2x3xf32>
func.func @again(%x: tensor<1x1x3xf32>, %s: tensor<1x1x1xf32>) -> tensor<1x1x3xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0]]]> : tensor<1x1x4xf32>
  %w1 = nest.get @w1 : tensor<4x3xf32>
  %w2 = nest.get @w2 : tensor<3x4xf32>
  %h = nest.linear %x, %w1 : (tensor<1x1x3xf32>, tensor<4x3xf32>) -> tensor<1x1x4xf32>
  %m = arith.mulf %h, %mask : tensor<1x1x4xf32>
  // CHECK: nest.scale %{{.*}} : (tensor<1x1x2xf32>, tensor<1x1x1xf32>) -> tensor<1x1x2xf32>
  %a = nest.scale %m by %s : (tensor<1x1x4xf32>, tensor<1x1x1xf32>) -> tensor<1x1x4xf32>
  %y = nest.linear %a, %w2 : (tensor<1x1x4xf32>, tensor<3x4xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}
// CHECK-LABEL: func.func @full
// CHECK: nest.get @w1 : tensor<4x3xf32>
func.func @full(%x: tensor<1x1x3xf32>) -> tensor<1x1x4xf32> {
  %w1 = nest.get @w1 : tensor<4x3xf32>
  %h = nest.linear %x, %w1 : (tensor<1x1x3xf32>, tensor<4x3xf32>) -> tensor<1x1x4xf32>
  return %h : tensor<1x1x4xf32>
}

// -----

// A norm before the mask sees all columns, one behind it keeps the mask.
// CHECK-LABEL: func.func @norms
// CHECK: %[[N:.+]] = nest.norm rms %{{.*}} : (tensor<1x1x4xf32>)
// CHECK: %[[S:.+]] = tensor.extract_slice %[[N]][0, 0, 0] [1, 1, 2]
// CHECK: nest.linear %[[S]]
// CHECK: %[[M:.+]] = arith.mulf %{{.*}} : tensor<1x1x4xf32>
// CHECK: nest.norm rms %[[M]]
func.func @norms(%x: tensor<1x1x4xf32>, %z: tensor<1x1x4xf32>, %w: tensor<3x4xf32>) -> (tensor<1x1x3xf32>, tensor<1x1x3xf32>) {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0]]]> : tensor<1x1x4xf32>
  // expected-remark @below {{this needs all 4 columns, of which a mask leaves 2: it is computed in full and sliced}}
  %n = nest.norm rms %x epsilon 1.0e-6 : (tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %m = arith.mulf %n, %mask : tensor<1x1x4xf32>
  %y = nest.linear %m, %w : (tensor<1x1x4xf32>, tensor<3x4xf32>) -> tensor<1x1x3xf32>
  %o = arith.mulf %z, %mask : tensor<1x1x4xf32>
  // expected-remark @below {{the mask stays: this reads all 4 columns of what a mask cuts to 2}}
  %p = nest.norm rms %o epsilon 1.0e-6 : (tensor<1x1x4xf32>) -> tensor<1x1x4xf32>
  %q = nest.linear %p, %w : (tensor<1x1x4xf32>, tensor<3x4xf32>) -> tensor<1x1x3xf32>
  return %y, %q : tensor<1x1x3xf32>, tensor<1x1x3xf32>
}

// -----

// A sigmoid of `nest` keeps the mask as well.
// CHECK-LABEL: func.func @no_change_sigmoid
// CHECK: arith.mulf
func.func @no_change_sigmoid(%x: tensor<1x1x4xf32>, %w: tensor<3x4xf32>) -> tensor<1x1x3xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0]]]> : tensor<1x1x4xf32>
  %m = arith.mulf %x, %mask : tensor<1x1x4xf32>
  // expected-remark @below {{this may give another number than 0}}
  %a = nest.act sigmoid %m : tensor<1x1x4xf32>
  %y = nest.linear %a, %w : (tensor<1x1x4xf32>, tensor<3x4xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}

// -----

// The dimension lies on a nested axis: nest-specialize chooses its width.
// CHECK: nest.weight @down : tensor<3x4xf32, #nest.on<_, ffn>>
nest.axis @ffn size 4 levels [2, 4]
nest.weight @down : tensor<3x4xf32, #nest.on<_, ffn>>
// CHECK-LABEL: func.func @no_change_axis
// CHECK: arith.mulf
// CHECK: nest.linear %{{.*}} : (tensor<1x1x4xf32>, tensor<3x4xf32>)
func.func @no_change_axis(%x: tensor<1x1x4xf32>) -> tensor<1x1x3xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0]]]> : tensor<1x1x4xf32>
  %w = nest.get @down : tensor<3x4xf32>
  %m = arith.mulf %x, %mask : tensor<1x1x4xf32>
  // expected-remark @below {{the mask stays: its dimension lies on a nested axis here, whose width a submodel chooses}}
  %y = nest.linear %m, %w : (tensor<1x1x4xf32>, tensor<3x4xf32>) -> tensor<1x1x3xf32>
  return %y : tensor<1x1x3xf32>
}

// -----

// Every expert has its own weights; a weight that is reshaped from what is
// stored is no box of it, and is sliced.
// CHECK: nest.weight @a stored tensor<4x3xf32> box [0, 0] [2, 3] : tensor<2x3xf32>
// CHECK: nest.weight @b stored tensor<4x3xf32> box [0, 0] [2, 3] : tensor<2x3xf32>
// CHECK: nest.weight @down stored tensor<12xf32> : tensor<3x4xf32>
nest.weight @a : tensor<4x3xf32>
nest.weight @b : tensor<4x3xf32>
nest.weight @down stored tensor<12xf32> : tensor<3x4xf32>
// CHECK-LABEL: func.func @experts
// CHECK: %[[W:.+]] = nest.per_set %{{.*}} : (!nest.rows<2, cover>, tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
// CHECK: nest.linear %{{.*}}, %[[W]] : (tensor<1x2x3xf32>, tensor<2x3xf32>) -> tensor<1x2x2xf32>
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [3, 2] [1, 1] : tensor<3x4xf32> to tensor<3x2xf32>
func.func @experts(%x: tensor<1x2x3xf32>, %s: tensor<1x2x2xf32>) -> tensor<1x2x3xf32> {
  %mask = arith.constant dense<[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]> : tensor<1x2x4xf32>
  %a = nest.get @a : tensor<4x3xf32>
  %b = nest.get @b : tensor<4x3xf32>
  // expected-remark @below {{this weight is reshaped from what is stored, of which its first 2 columns are no box: it is read in full and sliced}}
  %d = nest.get @down : tensor<3x4xf32>
  %f = nest.assign %s choice 0 : (tensor<1x2x2xf32>) -> !nest.rows<2, cover>
  %p = nest.gather %x by %f : (tensor<1x2x3xf32>, !nest.rows<2, cover>) -> tensor<1x2x3xf32>
  %w = nest.per_set %f(%a, %b) : (!nest.rows<2, cover>, tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
  %h = nest.linear %p, %w : (tensor<1x2x3xf32>, tensor<4x3xf32>) -> tensor<1x2x4xf32>
  %m = arith.mulf %h, %mask : tensor<1x2x4xf32>
  %r = nest.act relu %m : tensor<1x2x4xf32>
  %y = nest.linear %r, %d : (tensor<1x2x4xf32>, tensor<3x4xf32>) -> tensor<1x2x3xf32>
  return %y : tensor<1x2x3xf32>
}
