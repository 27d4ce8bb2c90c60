// RUN: nestc info %s | FileCheck %s
// RUN: nestc info %s --json | FileCheck %s --check-prefix=JSON

// What a module says of its modalities and routes, layers in their order, and
// what a part of the rows costs.
// CHECK: model.modalities.names: text, image, speech
// CHECK-NEXT: model.modalities.accepted: 0, 2
// CHECK-NEXT: model.routes.1: select topk, decode threshold, capacity 1/4, kv all
// CHECK-NEXT: model.routes.9: select topk, decode topk, capacity 3
// CHECK-NEXT: model.routes.10: select threshold, decode threshold
// CHECK-NEXT: model.routes.11: select=topk decode=threshold:0
// CHECK-NEXT: model.routes_note: in layers 1, 11 a prefill ranks
// 8 + 64 + 64/4 + 2 * 64/2 + 64 + 64 + 64/4/2
// CHECK: macs_per_token: 288

// JSON: "modalities": {
// JSON: "accepted": [
// JSON: "routes": {
// JSON-NEXT: "1": "select topk, decode threshold, capacity 1/4, kv all",
// JSON: "routes_note": "in layers 1, 11 a prefill ranks

!t = tensor<?x?x8xf32>
!quarter = !nest.rows<1, #nest.capacity<1/4, min 1>>
!two = !nest.rows<2, cover>
module attributes {nest.model = {
    dtype = "f32", vocab_size = 8 : i64, max_length = 16 : i64,
    modalities = ["text", "image", "speech"], modality_sets = array<i64: 0, -1, 1>,
    routes = {"1" = {capacity = #nest.capacity<1/4, min 1>, decode = "threshold", kv = "all", select = "topk"},
              "10" = "select threshold, decode threshold", "11" = "select=topk decode=threshold:0",
              "9" = {capacity = #nest.capacity<3>, decode = "topk", select = "topk"}}}} {
  nest.weight @r : tensor<1x8xf32>
  nest.weight @w : tensor<8x8xf32>
  func.func @decode(%x: tensor<?x1x8xf32> {nest.name = "x"}) -> (tensor<?x1x8xf32> {nest.name = "y"}) attributes {nest.entry = "decode"} {
    return %x : tensor<?x1x8xf32>
  }
  func.func @verify(%x: !t {nest.name = "x"}, %m: tensor<?x?xi32> {nest.name = "modality"}) -> (!t {nest.name = "y"}) attributes {nest.entry = "verify"} {
    %r = nest.get @r : tensor<1x8xf32>
    %w = nest.get @w : tensor<8x8xf32>
    %s = nest.linear %x, %r : (!t, tensor<1x8xf32>) -> tensor<?x?x1xf32>
    %a = nest.linear %x, %w : (!t, tensor<8x8xf32>) -> !t
    %quarter = nest.select %s top <1/4, min 1> : (tensor<?x?x1xf32>) -> !quarter
    %b = nest.on %quarter gather(%a) into(%a) : (!quarter, !t, !t) -> !t {
    ^bb0(%xs: !t):
      %y = nest.linear %xs, %w : (!t, tensor<8x8xf32>) -> !t
      %ms = nest.partition %m sets [0, -1, 1] : (tensor<?x?xi32>) -> !two
      // A family of two with one body, inside the quarter.
      %z = nest.on %ms gather(%y) into(%y) : (!two, !t, !t) -> !t {
      ^bb0(%xss: !t):
        %z = nest.linear %xss, %w : (!t, tensor<8x8xf32>) -> !t
        nest.yield %z : !t
      }
      nest.yield %z : !t
    }
    %towers = nest.partition %m sets [0, -1, 1] : (tensor<?x?xi32>) -> !two
    %c = nest.on %towers gather(%b) : (!two, !t) -> !t {
    ^bb0(%xs: !t):
      %y = nest.linear %xs, %w : (!t, tensor<8x8xf32>) -> !t
      nest.yield %y : !t
    }, {
    ^bb0(%xs: !t):
      %y = nest.linear %xs, %w : (!t, tensor<8x8xf32>) -> !t
      nest.yield %y : !t
    }
    // How many pass is known to the scores alone, or is a count.
    %above = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
    %d = nest.on %above gather(%c) into(%c) : (!nest.rows<1>, !t, !t) -> !t {
    ^bb0(%xs: !t):
      %y = nest.linear %xs, %w : (!t, tensor<8x8xf32>) -> !t
      nest.yield %y : !t
    }
    %three = nest.select %s top <3> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<3>>
    %e = nest.on %three gather(%d) into(%d) : (!nest.rows<1, #nest.capacity<3>>, !t, !t) -> !t {
    ^bb0(%xs: !t):
      %y = nest.linear %xs, %w : (!t, tensor<8x8xf32>) -> !t
      nest.yield %y : !t
    }
    return %e : !t
  }
}
