// RUN: nest-opt %s --nest-specialize | FileCheck %s --check-prefixes=ALL,SAME
// RUN: nest-opt %s --nest-specialize="submodel=routes.all.capacity=1/3" | FileCheck %s --check-prefixes=ALL,THIRD
// RUN: nest-opt %s --nest-specialize="submodel=routes.1.capacity=2" | FileCheck %s --check-prefixes=ALL,TWO
// RUN: nest-opt %s --nest-specialize="submodel=routes.all=dense" | FileCheck %s --check-prefixes=ALL,DENSE
// RUN: not nest-opt %s --nest-specialize="submodel=routes.2=dense" 2>&1 | FileCheck %s --check-prefix=NONE

// NONE: error: submodel entry 'routes.2=dense': layer 2 has no route; routed are the layers 0+1

// Layer 0 ranks rows in a prefill only, layer 1 in a decode as well. Rounding and
// minimum stay the route's; what no rule of the submodel names stays as it is.
module attributes {nest.model = {num_layers = 3 : i64, routes = {
    "0" = {capacity = #nest.capacity<1/8, ceil, min 1>, select = "topk", decode = "threshold"},
    "1" = {capacity = #nest.capacity<1/8>, select = "topk", decode = "topk"}}}} {
  // ALL-LABEL: func.func @prefill
  // SAME: nest.select %{{.*}} top <1/8, ceil, min 1>
  // SAME: nest.select %{{.*}} top <1/8> : {{.*}} -> !nest.rows<1, #nest.capacity<1/8>>
  // THIRD: nest.select %{{.*}} top <1/3, ceil, min 1>
  // THIRD: nest.select %{{.*}} top <1/3> : {{.*}} -> !nest.rows<1, #nest.capacity<1/3>>
  // TWO: nest.select %{{.*}} top <1/8, ceil, min 1>
  // TWO: nest.select %{{.*}} top <2> : {{.*}} -> !nest.rows<1, #nest.capacity<2>>
  // DENSE: nest.select %{{.*}} top <1/1>
  // DENSE: nest.select %{{.*}} top <1/1>
  // ALL: nest.select %{{.*}} top <1/2>
  func.func @prefill(%x: tensor<?x?x1xf32>) -> tensor<?x?x1xf32> attributes {nest.entry = "prefill"} {
    %0 = nest.layer 0 (%x) : (tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      %rows = nest.select %x top <1/8, ceil, min 1> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8, ceil, min 1>>
      %y = nest.on %rows gather(%x) into(%x) : (!nest.rows<1, #nest.capacity<1/8, ceil, min 1>>, tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      ^bb0(%xs: tensor<?x?x1xf32>):
        %s = nest.act silu %xs : tensor<?x?x1xf32>
        nest.yield %s : tensor<?x?x1xf32>
      }
      nest.yield %y : tensor<?x?x1xf32>
    }
    %1 = nest.layer 1 (%0) : (tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      %rows = nest.select %0 top <1/8> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/8>>
      %y = nest.on %rows gather(%0) into(%0) : (!nest.rows<1, #nest.capacity<1/8>>, tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      ^bb0(%xs: tensor<?x?x1xf32>):
        nest.yield %xs : tensor<?x?x1xf32>
      }
      nest.yield %y : tensor<?x?x1xf32>
    }
    // No layer: no route.
    %rows = nest.select %1 top <1/2> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1/2>>
    %2 = nest.on %rows gather(%1) into(%1) : (!nest.rows<1, #nest.capacity<1/2>>, tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
    ^bb0(%xs: tensor<?x?x1xf32>):
      nest.yield %xs : tensor<?x?x1xf32>
    }
    return %2 : tensor<?x?x1xf32>
  }

  // Of the rows of a call each is ranked by itself here.
  // ALL-LABEL: func.func @prefill_causal
  // SAME: nest.select %{{.*}} above 0.000000e+00
  // SAME: nest.select %{{.*}} top <0/1>
  // THIRD: nest.select %{{.*}} above 0.000000e+00
  // THIRD: nest.select %{{.*}} top <0/1> : {{.*}} -> !nest.rows<1, #nest.capacity<0/1>>
  // TWO: nest.select %{{.*}} above 0.000000e+00
  // TWO: nest.select %{{.*}} top <1/1> : {{.*}} -> !nest.rows<1, #nest.capacity<1/1>>
  // DENSE-NOT: above
  // DENSE: nest.select %{{.*}} top <1/1>
  // DENSE: nest.select %{{.*}} top <1/1>
  func.func @prefill_causal(%x: tensor<?x?x1xf32>) -> tensor<?x?x1xf32> attributes {nest.entry = "prefill_causal"} {
    %0 = nest.layer 0 (%x) : (tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      %rows = nest.select %x above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
      %y = nest.on %rows gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      ^bb0(%xs: tensor<?x?x1xf32>):
        nest.yield %xs : tensor<?x?x1xf32>
      }
      nest.yield %y : tensor<?x?x1xf32>
    }
    %1 = nest.layer 1 (%0) : (tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      %rows = nest.select %0 top <0/1> : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<0/1>>
      %y = nest.on %rows gather(%0) into(%0) : (!nest.rows<1, #nest.capacity<0/1>>, tensor<?x?x1xf32>, tensor<?x?x1xf32>) -> tensor<?x?x1xf32> {
      ^bb0(%xs: tensor<?x?x1xf32>):
        nest.yield %xs : tensor<?x?x1xf32>
      }
      nest.yield %y : tensor<?x?x1xf32>
    }
    return %1 : tensor<?x?x1xf32>
  }

  // ALL-LABEL: func.func @decode
  // SAME: nest.select %{{.*}} top <1/8>
  // THIRD: nest.select %{{.*}} top <1/3>
  // TWO: nest.select %{{.*}} top <2>
  // DENSE: nest.select %{{.*}} top <1/1>
  func.func @decode(%x: tensor<?x1x1xf32>) -> tensor<?x1x1xf32> attributes {nest.entry = "decode"} {
    %0 = nest.layer 1 (%x) : (tensor<?x1x1xf32>) -> tensor<?x1x1xf32> {
      %rows = nest.select %x top <1/8> : (tensor<?x1x1xf32>) -> !nest.rows<1, #nest.capacity<1/8>>
      %y = nest.on %rows gather(%x) into(%x) : (!nest.rows<1, #nest.capacity<1/8>>, tensor<?x1x1xf32>, tensor<?x1x1xf32>) -> tensor<?x1x1xf32> {
      ^bb0(%xs: tensor<?x1x1xf32>):
        nest.yield %xs : tensor<?x1x1xf32>
      }
      nest.yield %y : tensor<?x1x1xf32>
    }
    return %0 : tensor<?x1x1xf32>
  }
}
