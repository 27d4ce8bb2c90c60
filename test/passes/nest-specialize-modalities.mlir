// RUN: nest-opt %s --nest-specialize | FileCheck %s --check-prefix=SAME
// RUN: nest-opt %s --nest-specialize="submodel=modalities=text+speech" | FileCheck %s --check-prefix=TWO
// RUN: nest-opt %s --nest-specialize="submodel=modalities=image+sketch" | FileCheck %s --check-prefix=TOWER
// RUN: nest-opt %s --nest-specialize="submodel=modalities=speech" | FileCheck %s --check-prefix=ONE
// RUN: not nest-opt %s --nest-specialize="submodel=modalities=txt" 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: submodel entry 'modalities=txt': there is no modality 'txt' (did you mean text?); modalities are text, image, sketch, speech

// SAME: modality_sets = array<i64: 0, 1, 1, 2>
// TWO: modality_sets = array<i64: 0, -1, -1, 1>
// TOWER: modality_sets = array<i64: -1, 0, 0, -1>
// ONE: modality_sets = array<i64: -1, -1, -1, 0>
module attributes {nest.model = {num_layers = 1 : i64,
    modalities = ["text", "image", "sketch", "speech"], modality_sets = array<i64: 0, 1, 1, 2>}} {
  nest.weight @w0 : tensor<4x4xf32>
  nest.weight @w1 : tensor<4x4xf32>
  nest.weight @w2 : tensor<4x4xf32>

  // SAME-LABEL: func.func @forward(
  // SAME: nest.partition %{{.*}} sets [0, 1, 1, 2] : {{.*}} -> !nest.rows<3, cover>
  // SAME-COUNT-3: nest.get

  // A tower that nobody needs goes, the others are numbered anew.
  // TWO-NOT: @w1
  // TWO: func.func @forward(
  // TWO: %[[T:.*]] = nest.partition %{{.*}} sets [0, -1, -1, 1] : {{.*}} -> !nest.rows<2, cover>
  // TWO: nest.on %[[T]]
  // TWO: nest.get @w0
  // TWO: nest.get @w2

  // With one tower left nothing is partitioned; two modalities are still told.
  // TOWER: func.func @forward(%[[X:[a-z0-9]+]]: tensor<?x?x4xf32> {nest.name = "x"}, %{{.*}}: tensor<?x?xi32> {nest.name = "modality"})
  // TOWER-NEXT: %[[W:.*]] = nest.get @w1
  // TOWER-NEXT: %[[Y:.*]] = nest.linear %[[X]], %[[W]]
  // TOWER-NEXT: return %[[Y]]

  // ONE: func.func @forward(%[[X:[a-z0-9]+]]: tensor<?x?x4xf32> {nest.name = "x"}) ->
  // ONE-NEXT: %[[W:.*]] = nest.get @w2
  // ONE-NEXT: %[[Y:.*]] = nest.linear %[[X]], %[[W]]
  // ONE-NEXT: return %[[Y]]
  func.func @forward(%x: tensor<?x?x4xf32> {nest.name = "x"}, %m: tensor<?x?xi32> {nest.name = "modality"})
      -> tensor<?x?x4xf32> attributes {nest.entry = "forward"} {
    %t = nest.partition %m sets [0, 1, 1, 2] : (tensor<?x?xi32>) -> !nest.rows<3, cover>
    %y = nest.on %t gather(%x) : (!nest.rows<3, cover>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
    ^bb0(%xs: tensor<?x?x4xf32>):
      %w = nest.get @w0 : tensor<4x4xf32>
      %a = nest.linear %xs, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
      nest.yield %a : tensor<?x?x4xf32>
    }, {
    ^bb0(%xs: tensor<?x?x4xf32>):
      %w = nest.get @w1 : tensor<4x4xf32>
      %a = nest.linear %xs, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
      nest.yield %a : tensor<?x?x4xf32>
    }, {
    ^bb0(%xs: tensor<?x?x4xf32>):
      %w = nest.get @w2 : tensor<4x4xf32>
      %a = nest.linear %xs, %w : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
      nest.yield %a : tensor<?x?x4xf32>
    }
    return %y : tensor<?x?x4xf32>
  }
}
