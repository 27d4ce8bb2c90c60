// Products of few rows get a workspace where columns alone do not fill a GPU.
// RUN: nest-opt %s --kernel-split --split-input-file | FileCheck %s
// RUN: nest-opt %s --kernel-split --kernel-plan-memory --kernel-outline --split-input-file | FileCheck %s --check-prefix=PLAN

// 32 tiles of 128 columns: 8 blocks of 512 each share one. Two products of 64
// columns are a tile as well.
// CHECK-LABEL: func.func @splits
// CHECK: %[[ROOM:.*]] = memref.alloc() : memref<8x16x4096xf32>
// CHECK: %[[TICKETS:.*]] = memref.alloc() {kernel.tickets} : memref<32xi32>
// CHECK: kernel.matmul {{.*}} workspace(%[[ROOM]], %[[TICKETS]] : memref<8x16x4096xf32>, memref<32xi32>) outs
// CHECK: memref.alloc() : memref<4x16x1024xf32>
// CHECK: memref.alloc() {kernel.tickets} : memref<8xi32>
// CHECK: kernel.matmul {{.*}} workspace
// Of all entries one region, at the start of the arena, 128 bytes: buffers are
// behind it.
// PLAN-LABEL: kernel.def @matmul_0
// PLAN-SAME: memref<8x16x4096xf32>, %{{.*}}: memref<32xi32>, %{{.*}}: memref<?x?x4096xf32>
// PLAN: func.func @splits
// PLAN-SAME: kernel.arena = {fixed = 2097152 : i64, per_row = 0 : i64, per_sequence = 0 : i64, tickets = 128 : i64}
// PLAN-DAG: %[[ZERO:.*]] = arith.constant 0 : index
// PLAN-DAG: %[[BEHIND:.*]] = arith.constant 128 : index
// PLAN-DAG: %[[ROOM:.*]] = memref.view %[[ARENA:.*]][%[[BEHIND]]][] : memref<?xi8> to memref<8x16x4096xf32>
// PLAN-DAG: %[[SMALL:.*]] = memref.view %[[ARENA]][%[[BEHIND]]][] : memref<?xi8> to memref<4x16x1024xf32>
// PLAN-DAG: %[[TICKETS:.*]] = memref.view %[[ARENA]][%[[ZERO]]][] : memref<?xi8> to memref<32xi32>
// PLAN-DAG: %[[FEWER:.*]] = memref.view %[[ARENA]][%[[ZERO]]][] : memref<?xi8> to memref<8xi32>
// PLAN: kernel.launch @matmul_0({{.*}}, %[[ROOM]], %[[TICKETS]], %
// PLAN: kernel.launch @matmul_1({{.*}}, %[[SMALL]], %[[FEWER]], %
func.func @splits(%x: memref<?x?x4096xbf16>, %w: memref<4096x4096xbf16>, %v: memref<512x1024xbf16>,
                  %z: memref<?x?x1024xbf16>, %y: memref<?x?x4096xf32>, %u: memref<?x?x512xf32>) attributes {nest.entry = "f"} {
  kernel.matmul ins(%x : memref<?x?x4096xbf16>) weights(%w : memref<4096x4096xbf16>) by [] outs(%y : memref<?x?x4096xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  kernel.matmul ins(%z : memref<?x?x1024xbf16>) weights(%v, %v : memref<512x1024xbf16>, memref<512x1024xbf16>) by [] outs(%u : memref<?x?x512xf32>) {
  ^bb0(%a: f32, %b: f32, %old: f32):
    kernel.yield %a : f32
  }
  return
}

// An entry without such kernels leaves the region to the others.
// PLAN: func.func @other
// PLAN-SAME: kernel.arena = {fixed = 0 : i64, per_row = 0 : i64, per_sequence = 64 : i64, tickets = 128 : i64}
// PLAN: memref.view %{{.*}}[%c128]
func.func @other(%ids: memref<?x1xi32>, %table: memref<4x8xf32>, %w: memref<8x8xf32>, %out: memref<?x1x8xf32>) attributes {nest.entry = "g"} {
  %c0 = arith.constant 0 : index
  %b = memref.dim %ids, %c0 : memref<?x1xi32>
  %x = memref.alloc(%b) : memref<?x1x8xf32>
  kernel.embed ins(%ids, %table : memref<?x1xi32>, memref<4x8xf32>) scale 1.0 outs(%x : memref<?x1x8xf32>)
  kernel.matmul ins(%x : memref<?x1x8xf32>) weights(%w : memref<8x8xf32>) by [] outs(%out : memref<?x1x8xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  return
}

// -----

// Segments have tiles of their own, of whole heads where heads are turned: 24 heads
// of 96 columns are 24 tiles, one head a tile, the values' 192 columns are 2.
// CHECK-LABEL: func.func @project
// CHECK: %[[ROOM:.*]] = memref.alloc() : memref<8x16x3584xf32>
// CHECK: %[[TICKETS:.*]] = memref.alloc() {kernel.tickets} : memref<28xi32>
// CHECK: kernel.project {{.*}} workspace(%[[ROOM]], %[[TICKETS]] : memref<8x16x3584xf32>, memref<28xi32>) outs
// Wide heads are cut into pairs; f32 has no such tile.
// CHECK: kernel.project
// CHECK-NOT: workspace
// CHECK: kernel.project
// CHECK-NOT: workspace
// CHECK: return
func.func @project(%x: memref<?x?x4096xbf16>, %q: memref<2304x4096xbf16>, %k: memref<192x4096xbf16>, %table: memref<?x?x96xf32>,
                   %n: memref<?xi32>, %kc: memref<?x2x64x96xbf16>, %out: memref<?x?x2304xbf16>,
                   %w: memref<512x4096xbf16>, %wide: memref<?x?x512xf32>, %t: memref<?x?x256xf32>,
                   %z: memref<?x?x4096xf32>, %f: memref<512x4096xf32>) {
  kernel.project ins(%x : memref<?x?x4096xbf16>) weights(%q, %k, %k : memref<2304x4096xbf16>, memref<192x4096xbf16>, memref<192x4096xbf16>)
      rope(%table : memref<?x?x96xf32>) of [0, 1] head_dim 96 lengths(%n : memref<?xi32>)
      outs(%out, %kc, %kc : memref<?x?x2304xbf16>, memref<?x2x64x96xbf16>, memref<?x2x64x96xbf16>)
  kernel.project ins(%x : memref<?x?x4096xbf16>) weights(%w : memref<512x4096xbf16>)
      rope(%t : memref<?x?x256xf32>) of [0] head_dim 256 outs(%wide : memref<?x?x512xf32>)
  kernel.project ins(%z : memref<?x?x4096xf32>) weights(%f : memref<512x4096xf32>)
      rope(%t : memref<?x?x256xf32>) of [0] head_dim 256 outs(%wide : memref<?x?x512xf32>)
  return
}

// -----

// Each set with rows has tiles of its own.
// CHECK-LABEL: func.func @sets
// CHECK: memref.alloc() {kernel.tickets} : memref<24xi32>
// CHECK: kernel.matmul {{.*}} scatters workspace(
func.func @sets(%x: memref<?x?x1024xbf16>, %w: memref<1024x1024xbf16>, %f: memref<4xi32>, %i: memref<?x?xi32>, %y: memref<?x?x1024xf32>) {
  kernel.matmul ins(%x : memref<?x?x1024xbf16>) weights(%w, %w, %w : memref<1024x1024xbf16>, memref<1024x1024xbf16>, memref<1024x1024xbf16>)
      by [] rows(%f, %i : memref<?x?xi32> : memref<4xi32>) sets [0, 3] gathers scatters outs(%y : memref<?x?x1024xf32>) attributes {groups = 3 : i64} {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  return
}

// -----

// Attention of few rows over long caches: parts of all heads together.
// CHECK-LABEL: func.func @attention
// CHECK: %[[ROOM:.*]] = memref.alloc() : memref<216x16x72xf32>
// CHECK: %[[TICKETS:.*]] = memref.alloc() {kernel.tickets} : memref<216xi32>
// CHECK: kernel.attention {{.*}} workspace(%[[ROOM]], %[[TICKETS]] : memref<216x16x72xf32>, memref<216xi32>) scale
func.func @attention(%q: memref<?x?x512xf32>, %k: memref<?x2x512x64xbf16>, %n: memref<?xi32>) {
  kernel.attention ins(%q, %k, %k, %n : memref<?x?x512xf32>, memref<?x2x512x64xbf16>, memref<?x2x512x64xbf16>, memref<?xi32>)
      scale 1.0 <causal> outs(%q : memref<?x?x512xf32>)
  return
}

// Short caches, many rows, f32, heads that are no multiple of 8, many heads.
// CHECK-LABEL: func.func @no_change_attention
// CHECK-NOT: workspace
// CHECK: return
func.func @no_change_attention(%q: memref<?x?x512xf32>, %short: memref<?x2x511x64xbf16>, %n: memref<?xi32>,
                               %q1: memref<?x9x512xf32>, %k1: memref<?x2x512x64xbf16>, %k2: memref<?x2x512x64xf32>,
                               %q3: memref<?x?x120xf32>, %k3: memref<?x2x512x60xbf16>, %q4: memref<?x?x6976xf32>, %k4: memref<?x109x512x64xbf16>) {
  kernel.attention ins(%q, %short, %short, %n : memref<?x?x512xf32>, memref<?x2x511x64xbf16>, memref<?x2x511x64xbf16>, memref<?xi32>)
      scale 1.0 <causal> outs(%q : memref<?x?x512xf32>)
  kernel.attention ins(%q1, %k1, %k1, %n : memref<?x9x512xf32>, memref<?x2x512x64xbf16>, memref<?x2x512x64xbf16>, memref<?xi32>)
      scale 1.0 <causal> outs(%q1 : memref<?x9x512xf32>)
  kernel.attention ins(%q, %k2, %k2, %n : memref<?x?x512xf32>, memref<?x2x512x64xf32>, memref<?x2x512x64xf32>, memref<?xi32>)
      scale 1.0 <causal> outs(%q : memref<?x?x512xf32>)
  kernel.attention ins(%q3, %k3, %k3, %n : memref<?x?x120xf32>, memref<?x2x512x60xbf16>, memref<?x2x512x60xbf16>, memref<?xi32>)
      scale 1.0 <causal> outs(%q3 : memref<?x?x120xf32>)
  kernel.attention ins(%q4, %k4, %k4, %n : memref<?x?x6976xf32>, memref<?x109x512x64xbf16>, memref<?x109x512x64xbf16>, memref<?xi32>)
      scale 1.0 <causal> outs(%q4 : memref<?x?x6976xf32>)
  return
}

// -----

// Nothing changes: many rows, f32, tiles for the whole device, a depth that is
// too short, columns that are not loaded by 16 bytes.
// CHECK-LABEL: func.func @no_change
// CHECK-NOT: workspace
// CHECK-NOT: memref.alloc
// CHECK: return
func.func @no_change(%x: memref<2x9x1024xbf16>, %w: memref<1024x1024xbf16>, %y: memref<2x9x1024xf32>,
                     %x1: memref<?x?x1024xf32>, %w1: memref<1024x1024xf32>, %y1: memref<?x?x1024xf32>,
                     %w2: memref<27648x1024xbf16>, %y2: memref<?x?x27648xf32>,
                     %x3: memref<?x?x504xf32>, %w3: memref<1024x504xbf16>,
                     %w4: memref<1028x1024xbf16>, %y4: memref<?x?x1028xf32>) {
  kernel.matmul ins(%x : memref<2x9x1024xbf16>) weights(%w : memref<1024x1024xbf16>) by [] outs(%y : memref<2x9x1024xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  kernel.matmul ins(%x1 : memref<?x?x1024xf32>) weights(%w1 : memref<1024x1024xf32>) by [] outs(%y1 : memref<?x?x1024xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  kernel.matmul ins(%x1 : memref<?x?x1024xf32>) weights(%w2 : memref<27648x1024xbf16>) by [] outs(%y2 : memref<?x?x27648xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  kernel.matmul ins(%x3 : memref<?x?x504xf32>) weights(%w3 : memref<1024x504xbf16>) by [] outs(%y1 : memref<?x?x1024xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  kernel.matmul ins(%x1 : memref<?x?x1024xf32>) weights(%w4 : memref<1028x1024xbf16>) by [] outs(%y4 : memref<?x?x1028xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
  return
}

// -----

// Long rows of which the largest number is wanted are shared by blocks, short
// ones are not.
// CHECK-LABEL: func.func @argmax
// CHECK: %[[ROOM:.*]] = memref.alloc() : memref<3x16x2xf32>
// CHECK: %[[TICKETS:.*]] = memref.alloc() {kernel.tickets} : memref<16xi32>
// CHECK: kernel.argmax {{.*}} workspace(%[[ROOM]], %[[TICKETS]] : memref<3x16x2xf32>, memref<16xi32>) outs
// CHECK: kernel.argmax ins(%{{.*}} : memref<?x1x4096xf32>) outs
func.func @argmax(%x: memref<?x1x9000xf32>, %y: memref<?x1x4096xf32>, %t: memref<?x1xi32>, %u: memref<?x1xi32>) attributes {nest.entry = "h"} {
  kernel.argmax ins(%x : memref<?x1x9000xf32>) outs(%t : memref<?x1xi32>)
  kernel.argmax ins(%y : memref<?x1x4096xf32>) outs(%u : memref<?x1xi32>)
  return
}

// -----

// Nor does a kernel that is outlined, which takes what its launches give it.
// CHECK-LABEL: kernel.def @no_change
// CHECK-NOT: workspace
// CHECK-NOT: memref.alloc
// PLAN-LABEL: kernel.def @no_change
// PLAN-NOT: workspace
kernel.def @no_change(%x: memref<?x?x4096xbf16>, %w: memref<4096x4096xbf16>, %y: memref<?x?x4096xf32>) {
  kernel.matmul ins(%x : memref<?x?x4096xbf16>) weights(%w : memref<4096x4096xbf16>) by [] outs(%y : memref<?x?x4096xf32>) {
  ^bb0(%a: f32, %old: f32):
    kernel.yield %a : f32
  }
}
