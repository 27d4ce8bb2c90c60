// Row sets: every operation, attribute and type, in each form that the syntax
// has; as text, as generic text and as bytecode.
// RUN: nest-opt %s | nest-opt | FileCheck %s
// RUN: nest-opt %s --verify-roundtrip -o /dev/null
// RUN: nest-opt %s --mlir-print-op-generic | nest-opt | FileCheck %s
// RUN: nest-opt %s --emit-bytecode | nest-opt | FileCheck %s
// RUN: nest-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC

// CHECK-LABEL: func.func private @capacities(
// CHECK-SAME: {note = [#nest.capacity<256>, #nest.capacity<1/8>, #nest.capacity<1/8, ceil>, #nest.capacity<1/8, nearest_even, min 4>, #nest.capacity<7/10, double_floor>, #nest.capacity<0/1, min 1>, #nest.capacity<8, min 16>]}
func.func private @capacities() attributes {note = [
  #nest.capacity<256>, #nest.capacity<1/8, floor>, #nest.capacity<1/8, ceil>, #nest.capacity<1/8, min 4, nearest_even>,
  #nest.capacity<7/10, double_floor, min 0>, #nest.capacity<0/1, min 1>, #nest.capacity<8, min 16>]}

// CHECK-LABEL: func.func private @types(!nest.rows<1>, !nest.rows<1, cover>, !nest.rows<1, #nest.capacity<1/8>>, !nest.rows<65535, cover>)
func.func private @types(!nest.rows<1>, !nest.rows<1, cover>, !nest.rows<1, #nest.capacity<1/8>>, !nest.rows<65535, cover>)

// CHECK-LABEL: func.func @sources(
func.func @sources(%s: tensor<?x?x1xf32>, %l: tensor<?x?x4xf32>, %m: tensor<?x?xi32>) {
  // CHECK: %[[TOP:.*]] = nest.select %{{.*}} top <1/8, ceil> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil>>
  // GENERIC: "nest.select"({{.*}}) <{capacity = #nest.capacity<1/8, ceil>}> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil>>
  %top = nest.select %s top <1/8, ceil> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil>>
  // CHECK: nest.select %{{.*}} above 5.000000e-01 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  // GENERIC: "nest.select"({{.*}}) <{threshold = 5.000000e-01 : f32}> : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %above = nest.select %s above 0.5 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  // CHECK: nest.select %{{.*}} within %[[TOP]] top <2> : (tensor<?x?x1xf32>, !nest.rows<1, #nest.capacity<1/8, ceil>>) -> !nest.rows<1, #nest.capacity<2>>
  %within = nest.select %s within %top top <2> : (tensor<?x?x1xf32>, !nest.rows<1, #nest.capacity<1/8, ceil>>) -> !nest.rows<1, #nest.capacity<2>>
  // CHECK: %[[TOWERS:.*]] = nest.partition %{{.*}} sets [0, 1, -1, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  // GENERIC: "nest.partition"({{.*}}) <{sets = array<i64: 0, 1, -1, 1>}>
  %towers = nest.partition %m sets [0, 1, -1, 1] : (tensor<?x?xi32>) -> !nest.rows<2, cover>
  // CHECK: %[[SLOTS:.*]] = nest.assign %{{.*}} choice 1 : (tensor<?x?x4xf32>) -> !nest.rows<4, cover>
  %slots = nest.assign %l choice 1 : (tensor<?x?x4xf32>) -> !nest.rows<4, cover>
  // CHECK: nest.assign %{{.*}} within %[[TOP]] choice 0 : (tensor<?x?x4xf32>, !nest.rows<1, #nest.capacity<1/8, ceil>>) -> !nest.rows<4, cover>
  %slots1 = nest.assign %l within %top choice 0 : (tensor<?x?x4xf32>, !nest.rows<1, #nest.capacity<1/8, ceil>>) -> !nest.rows<4, cover>
  // CHECK: nest.pick %[[SLOTS]] from 1 count 2 : (!nest.rows<4, cover>) -> !nest.rows<2>
  %some = nest.pick %slots from 1 count 2 : (!nest.rows<4, cover>) -> !nest.rows<2>
  // CHECK: nest.pick %[[TOWERS]] from 0 count 2 : (!nest.rows<2, cover>) -> !nest.rows<2, cover>
  %same = nest.pick %towers from 0 count 2 : (!nest.rows<2, cover>) -> !nest.rows<2, cover>
  return
}

// CHECK-LABEL: func.func @on(
func.func @on(%r: !nest.rows<1>, %f: !nest.rows<2, cover>, %x: tensor<?x?x8xf32>, %at: tensor<?x?xi32>, %k: tensor<?x1x32x4xf32>) {
  // CHECK: nest.on %{{.*}} gather(%{{.*}}, %{{.*}}) into(%{{.*}}) carry(%{{.*}}) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<?x1x32x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>) {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: tensor<?x?x8xf32>, %{{.*}}: tensor<?x?xi32>):
  // CHECK-NEXT: %[[Y:.*]] = nest.act relu %[[X]]
  // CHECK-NEXT: nest.yield %[[Y]], %{{.*}} : tensor<?x?x8xf32>, tensor<?x1x32x4xf32>
  // GENERIC: "nest.on"({{.*}}) <{operandSegmentSizes = array<i32: 1, 2, 1, 1>}> ({
  %0:2 = nest.on %r gather(%x, %at) into(%x) carry(%k) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<?x1x32x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>) {
  ^bb0(%g: tensor<?x?x8xf32>, %p: tensor<?x?xi32>):
    %y = nest.act relu %g : tensor<?x?x8xf32>
    nest.yield %y, %k : tensor<?x?x8xf32>, tensor<?x1x32x4xf32>
  }
  // A family that covers: a body for each set, and no base.
  // CHECK: nest.on %{{.*}} gather(%{{.*}}) : (!nest.rows<2, cover>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  // CHECK: }, {
  %1 = nest.on %f gather(%x) : (!nest.rows<2, cover>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%g: tensor<?x?x8xf32>):
    nest.yield %g : tensor<?x?x8xf32>
  }, {
  ^bb0(%g: tensor<?x?x8xf32>):
    %y = nest.act silu %g : tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  // Fewer bodies than sets.
  // CHECK: nest.on %{{.*}} gather(%{{.*}}) into(%{{.*}}) : (!nest.rows<2, cover>,
  %2 = nest.on %f gather(%1) into(%x) : (!nest.rows<2, cover>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%g: tensor<?x?x8xf32>):
    nest.yield %g : tensor<?x?x8xf32>
  }
  return
}

// CHECK-LABEL: func.func @packed(
func.func @packed(%r: !nest.rows<1>, %f: !nest.rows<2, cover>, %x: tensor<?x?x8xf32>, %s: tensor<?x?x2xf32>, %at: tensor<?x?xi32>,
                  %a: tensor<8x8xbf16>, %b: tensor<8xf32>, %n: tensor<?xi32>) {
  // CHECK: %[[G:.*]] = nest.gather %{{.*}} by %{{.*}} : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x?x8xf32>
  %g = nest.gather %x by %f : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x?x8xf32>
  // CHECK: nest.gather %{{.*}} by %{{.*}} : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  %p = nest.gather %at by %r : (tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  // CHECK: %[[W:.*]] = nest.per_set %{{.*}}(%{{.*}}, %{{.*}}) : (!nest.rows<2, cover>, tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  %w = nest.per_set %f (%a, %a) : (!nest.rows<2, cover>, tensor<8x8xbf16>, tensor<8x8xbf16>) -> tensor<8x8xbf16>
  // CHECK: %[[B:.*]] = nest.per_set %{{.*}}(%{{.*}}, %{{.*}}) : (!nest.rows<2, cover>, tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %v = nest.per_set %f (%b, %b) : (!nest.rows<2, cover>, tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  // CHECK: nest.linear %[[G]], %[[W]] bias(%[[B]])
  %y = nest.linear %g, %w bias(%v) : (tensor<?x?x8xf32>, tensor<8x8xbf16>, tensor<8xf32>) -> tensor<?x?x8xf32>
  // CHECK: nest.norm layer %{{.*}} weight(%[[B]]) bias(%[[B]])
  %z = nest.norm layer %y weight(%v) bias(%v) epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  // CHECK: %[[C:.*]] = nest.chosen %{{.*}} by %{{.*}} : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x1xf32>
  %c = nest.chosen %s by %f : (tensor<?x?x2xf32>, !nest.rows<2, cover>) -> tensor<?x?x1xf32>
  // CHECK: nest.scale %{{.*}} by %[[C]] : (tensor<?x?x8xf32>, tensor<?x?x1xf32>) -> tensor<?x?x8xf32>
  %t = nest.scale %z by %c : (tensor<?x?x8xf32>, tensor<?x?x1xf32>) -> tensor<?x?x8xf32>
  // CHECK: nest.spread %{{.*}} by %{{.*}} : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x?x8xf32>
  %u = nest.spread %t by %f : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x?x8xf32>
  // CHECK: nest.spread %{{.*}} by %{{.*}} into %{{.*}} : (tensor<?x?x8xf32>, !nest.rows<1>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %o = nest.spread %u by %r into %x : (tensor<?x?x8xf32>, !nest.rows<1>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: nest.softmax %{{.*}} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %m0 = nest.softmax %s : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  // CHECK: nest.softmax %{{.*}} over_rows : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  %m1 = nest.softmax %s over_rows : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
  // CHECK: nest.softmax %{{.*}} over_rows by %{{.*}} : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  // GENERIC: "nest.softmax"({{.*}}) <{over_rows}> : (tensor<?x?x2xf32>, !nest.rows<1>)
  %m2 = nest.softmax %s over_rows by %r : (tensor<?x?x2xf32>, !nest.rows<1>) -> tensor<?x?x2xf32>
  // CHECK: nest.advance %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  %l0 = nest.advance %n, %at : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  // CHECK: nest.advance %{{.*}}, %{{.*}} by %{{.*}} : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?xi32>
  %l1 = nest.advance %n, %at by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?xi32>
  // CHECK: nest.rank %{{.*}}, %{{.*}} : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  %k0 = nest.rank %n, %at : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?xi32>
  // CHECK: nest.rank %{{.*}}, %{{.*}} by %{{.*}} : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  %k1 = nest.rank %n, %at by %r : (tensor<?xi32>, tensor<?x?xi32>, !nest.rows<1>) -> tensor<?x?xi32>
  return
}

// CHECK-LABEL: func.func @sequences(
// CHECK-SAME: tensor<?x32xi32> {nest.cache = "layers.0.positions"}
// CHECK-SAME: tensor<?xi32> {nest.cache = "layers.0.length"}
func.func @sequences(%r: !nest.rows<1>, %f: !nest.rows<2, cover>, %x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>,
                     %p: tensor<?x32xi32> {nest.cache = "layers.0.positions"}, %at: tensor<?x?xi32>, %len: tensor<?xi32> {nest.cache = "layers.0.length"}) {
  // CHECK: nest.last %{{.*}} by %{{.*}} : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x1x8xf32>
  %l = nest.last %x by %f : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x1x8xf32>
  // CHECK: nest.argmax %{{.*}} : (tensor<?x1x8xf32>) -> tensor<?x1xi32>
  %best = nest.argmax %l : (tensor<?x1x8xf32>) -> tensor<?x1xi32>
  // CHECK: nest.cache_append %{{.*}}, %{{.*}}, %{{.*}} by %{{.*}} : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x2x32x4xf32>
  %c = nest.cache_append %k, %x, %n by %r : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x2x32x4xf32>
  // CHECK: %[[P:.*]] = nest.cache_append %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x32xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xi32>
  %q = nest.cache_append %p, %at, %n : (tensor<?x32xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x32xi32>
  // CHECK: nest.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} by %{{.*}} scale 5.000000e-01 <causal> :
  // GENERIC: "nest.attention"({{.*}}) <{mask = #nest.mask<causal>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 1>, scale = 5.000000e-01 : f32}>
  %a = nest.attention %x, %c, %c, %n by %r scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, !nest.rows<1>) -> tensor<?x?x8xf32>
  // CHECK: nest.attention %{{.*}} positions %{{.*}} scale 5.000000e-01 <causal, alibi = 5.000000e-01> :
  %biased = nest.attention %x, %c, %c, %n positions %q scale 0.5 <causal, alibi = 0.5> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, tensor<?x32xi32>) -> tensor<?x?x8xf32>
  // CHECK: nest.attention %{{.*}} positions %[[P]] by %{{.*}} compact scale 5.000000e-01 <causal, window = 8> :
  // GENERIC: "nest.attention"({{.*}}) <{compact, mask = {{.*}}, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1>, scale = 5.000000e-01 : f32}>
  %b = nest.attention %x, %c, %c, %n positions %q by %r compact scale 0.5 <causal, window = 8> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, tensor<?x32xi32>, !nest.rows<1>) -> tensor<?x?x8xf32>
  return
}
