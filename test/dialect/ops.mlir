// Every operation and attribute, in each form that the syntax has: read, verify,
// print, read again; as text, as generic text and as bytecode.
// RUN: nest-opt %s | nest-opt | FileCheck %s
// RUN: nest-opt %s --verify-roundtrip -o /dev/null
// RUN: nest-opt %s --mlir-print-op-generic | nest-opt | FileCheck %s
// RUN: nest-opt %s --emit-bytecode | nest-opt | FileCheck %s
// RUN: nest-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// A compiler that drops what nothing uses keeps axes: types name them.
// RUN: nest-opt %s --symbol-privatize --symbol-dce | FileCheck %s --check-prefix=DCE

// CHECK: #[[$ROPE:.*]] = #nest.rope<head_dim = 8, frequencies = [1.000000e+00, 1.000000e-01, 0.00999999977], magnitude = 1.250000e+00>
#rope = #nest.rope<head_dim = 8, frequencies = [1.0, 0.1, 0.01], magnitude = 1.25>

// CHECK: module attributes {
// CHECK-SAME: nest.model = {dtype = "bf16"
// CHECK-SAME: nest.source = "dir"
// CHECK-SAME: nest.submodels = {small = "layers.all.ffn=1/4"}
module attributes {
  nest.model = {family = "llama", model_type = "llama", num_layers = 1 : i64, vocab_size = 12 : i64,
                hidden_size = 16 : i64, max_length = 32 : i64, dtype = "bf16", eos_token_ids = array<i64: 0>, own = 1.0},
  nest.source = "dir", nest.submodels = {small = "layers.all.ffn=1/4"}
} {
  // CHECK: nest.axis @layers.0.ffn size 16 levels [4, 8]
  // DCE: nest.axis @layers.0.ffn
  // GENERIC: "nest.axis"() <{levels = array<i64: 4, 8>, size = 16 : i64, sym_name = "layers.0.ffn"}>
  nest.axis @layers.0.ffn size 16 levels [4, 8]
  // CHECK: nest.axis @layers.0.heads size 2 levels [1, 2]
  nest.axis @layers.0.heads size 2 levels [1, 2]
  // CHECK: nest.axis @"an odd \22name\22" size 3 levels [3]
  nest.axis @"an odd \22name\22" size 3 levels [3]
  // CHECK: nest.axis @_ size 3 levels [3]
  nest.axis @_ size 3 levels [3]

  // CHECK: nest.weight @table : tensor<12x16xbf16>
  nest.weight @table : tensor<12x16xbf16>
  // CHECK: nest.weight @up : tensor<16x16xbf16, #nest.on<layers.0.ffn, _>>
  nest.weight @up : tensor<16x16xbf16, #nest.on<layers.0.ffn, _>>
  // CHECK: nest.weight @down key "fused" stored tensor<32x16xf32> box [16, 0] [16, 16] : tensor<16x16xbf16, #nest.on<_, layers.0.ffn>>
  nest.weight @down key "fused" stored tensor<32x16xf32> box [16, 0] [16, 16] : tensor<16x16xbf16, #nest.on<_, layers.0.ffn>>
  // CHECK: nest.weight @q stored tensor<32x1x16xbf16> : tensor<32x16xbf16, #nest.on<layers.0.heads * 16, _>>
  nest.weight @q stored tensor<32x1x16xbf16> : tensor<32x16xbf16, #nest.on<layers.0.heads * 16, _>>
  // CHECK: nest.weight @bias : tensor<16xf32, #nest.on<layers.0.ffn>>
  nest.weight @bias : tensor<16xf32, #nest.on<layers.0.ffn>>
  // CHECK: nest.weight @odd : tensor<3x3xf32, #nest.on<"an odd \22name\22", "_">>
  nest.weight @odd : tensor<3x3xf32, #nest.on<"an odd \22name\22", "_">>
  // CHECK: nest.weight @norm : tensor<16xf32>
  nest.weight @norm : tensor<16xf32>
  // CHECK: nest.weight @head_norm : tensor<8xf32>
  nest.weight @head_norm : tensor<8xf32>
  // CHECK: nest.weight @router key "r" exact : tensor<1x16xbf16>
  nest.weight @router key "r" exact : tensor<1x16xbf16>

  // CHECK-LABEL: func.func @rows(
  // CHECK-SAME: nest.entry = "prefill"
  // GENERIC: "func.func"
  func.func @rows(%tokens: tensor<?x?xi32> {nest.name = "tokens"}, %positions: tensor<?x?xi32> {nest.name = "positions"})
      -> (tensor<?x1x16xf32> {nest.name = "logits"}) attributes {nest.entry = "prefill"} {
    // CHECK: %[[TABLE:.*]] = nest.get @table : tensor<12x16xbf16>
    // GENERIC: "nest.get"() <{weight = @table}> : () -> tensor<12x16xbf16>
    %table = nest.get @table : tensor<12x16xbf16>
    // CHECK: %[[X:.*]] = nest.embed %{{.*}}, %[[TABLE]] {scale = 4.000000e+00 : f32} : (tensor<?x?xi32>, tensor<12x16xbf16>) -> tensor<?x?x16xf32>
    %x = nest.embed %tokens, %table {scale = 4.0 : f32} : (tensor<?x?xi32>, tensor<12x16xbf16>) -> tensor<?x?x16xf32>
    %w = nest.get @norm : tensor<16xf32>
    // CHECK: %[[N:.*]] = nest.norm rms %[[X]] weight(%{{.*}}) epsilon 9.99999974E-6 : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
    // GENERIC: "nest.norm"({{.*}}) <{epsilon = {{.*}} : f32, kind = #nest<norm_kind rms>, operandSegmentSizes = array<i32: 1, 1, 0>}>
    %n = nest.norm rms %x weight(%w) epsilon 1.0e-5 : (tensor<?x?x16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
    // CHECK: nest.norm layer %[[N]] weight(%{{.*}}) bias(%{{.*}}) epsilon
    %n1 = nest.norm layer %n weight(%w) bias(%w) epsilon 1.0e-5 : (tensor<?x?x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<?x?x16xf32>
    %w8 = nest.get @head_norm : tensor<8xf32>
    // CHECK: nest.norm rms %{{.*}} weight(%{{.*}}) epsilon 9.99999974E-6 group 8 : (tensor<?x?x16xf32>, tensor<8xf32>) -> tensor<?x?x16xf32>
    %n2 = nest.norm rms %n1 weight(%w8) epsilon 1.0e-5 group 8 : (tensor<?x?x16xf32>, tensor<8xf32>) -> tensor<?x?x16xf32>
    // CHECK: nest.rope %{{.*}}, %{{.*}} by #[[$ROPE]] : (tensor<?x?x16xf32>, tensor<?x?xi32>) -> tensor<?x?x16xf32>
    %r = nest.rope %n2, %positions by #rope : (tensor<?x?x16xf32>, tensor<?x?xi32>) -> tensor<?x?x16xf32>
    // CHECK: nest.last %{{.*}} : (tensor<?x?x16xf32>) -> tensor<?x1x16xf32>
    %l = nest.last %r : (tensor<?x?x16xf32>) -> tensor<?x1x16xf32>
    return %l : tensor<?x1x16xf32>
  }

  // CHECK-LABEL: func.func @ffn(
  func.func @ffn(%x: tensor<?x?x16xf32>) -> tensor<?x?x16xf32> {
    %up = nest.get @up : tensor<16x16xbf16, #nest.on<layers.0.ffn, _>>
    %down = nest.get @down : tensor<16x16xbf16, #nest.on<_, layers.0.ffn>>
    %b = nest.get @bias : tensor<16xf32, #nest.on<layers.0.ffn>>
    // CHECK: %[[U:.*]] = nest.linear %{{.*}}, %{{.*}} bias(%{{.*}}) : (tensor<?x?x16xf32>, tensor<16x16xbf16, #nest.on<layers.0.ffn, _>>, tensor<16xf32, #nest.on<layers.0.ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %u = nest.linear %x, %up bias(%b) : (tensor<?x?x16xf32>, tensor<16x16xbf16, #nest.on<layers.0.ffn, _>>, tensor<16xf32, #nest.on<layers.0.ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    // CHECK: nest.act gelu_tanh %[[U]] : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %a = nest.act gelu_tanh %u : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    // CHECK: nest.glu silu %{{.*}}, %[[U]] : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %g = nest.glu silu %a, %u : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    // A norm over an axis runs over the width that is bound.
    // CHECK: nest.norm rms %{{.*}} weight(%{{.*}}) epsilon {{.*}} : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<16xf32, #nest.on<layers.0.ffn>>)
    %n = nest.norm rms %g weight(%b) epsilon 1.0e-6 : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<16xf32, #nest.on<layers.0.ffn>>) -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    // Elementwise stock operations may touch values on an axis, and scf may pass them on.
    // CHECK: arith.mulf
    %m = arith.mulf %n, %g : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %e = math.exp %m : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    %true = arith.constant true
    %s = scf.if %true -> tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>> {
      scf.yield %e : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    } else {
      scf.yield %m : tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>
    }
    // CHECK: nest.linear
    %y = nest.linear %s, %down : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<16x16xbf16, #nest.on<_, layers.0.ffn>>) -> tensor<?x?x16xf32>
    return %y : tensor<?x?x16xf32>
  }

  // A binding that is static, and one that enters at run time.
  // CHECK-LABEL: func.func @bound(
  func.func @bound(%x: tensor<4x16xf32>, %n: index {nest.axis = "layers.0.ffn"}) -> tensor<4x16xf32> {
    // CHECK: nest.get @up : tensor<4x16xbf16>
    %up = nest.get @up : tensor<4x16xbf16>
    %down = nest.get @down : tensor<16x4xbf16>
    %u = nest.linear %x, %up : (tensor<4x16xf32>, tensor<4x16xbf16>) -> tensor<4x4xf32>
    %y = nest.linear %u, %down : (tensor<4x4xf32>, tensor<16x4xbf16>) -> tensor<4x16xf32>
    // CHECK: nest.get @up[%{{.*}}] : tensor<?x16xbf16, #nest.on<layers.0.ffn, _>>
    %up1 = nest.get @up[%n] : tensor<?x16xbf16, #nest.on<layers.0.ffn, _>>
    // CHECK: nest.get @down[%{{.*}}] : tensor<16x?xbf16, #nest.on<_, layers.0.ffn>>
    %down1 = nest.get @down[%n] : tensor<16x?xbf16, #nest.on<_, layers.0.ffn>>
    %u1 = nest.linear %y, %up1 : (tensor<4x16xf32>, tensor<?x16xbf16, #nest.on<layers.0.ffn, _>>) -> tensor<4x?xf32, #nest.on<_, layers.0.ffn>>
    %y1 = nest.linear %u1, %down1 : (tensor<4x?xf32, #nest.on<_, layers.0.ffn>>, tensor<16x?xbf16, #nest.on<_, layers.0.ffn>>) -> tensor<4x16xf32>
    // CHECK: nest.get @q : tensor<16x16xbf16>
    %q = nest.get @q : tensor<16x16xbf16>
    return %y1 : tensor<4x16xf32>
  }

  // CHECK-LABEL: func.func @attend(
  func.func @attend(%q: tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>, %rows: tensor<?x1x16xf32, #nest.on<_, _, layers.0.heads * 8>>,
                    %lengths: tensor<?xi32> {nest.name = "lengths"}, %positions: tensor<?x1xi32>,
                    %k: tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>> {nest.cache = "layers.0.k"}, %x: tensor<?x1x16xf32>)
      -> (tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>> {nest.cache = "layers.0.k"}, tensor<?x1x16xf32>) attributes {nest.entry = "decode"} {
    %qr = nest.rope %q, %positions by #rope : (tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>, tensor<?x1xi32>) -> tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>
    // CHECK: %[[L:.*]]:2 = nest.layer 0 (%[[IN:.*]]) carry (%[[K:.*]]) : (tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>) -> (tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>) {
    // GENERIC: "nest.layer"({{.*}}) <{index = 0 : i64, operandSegmentSizes = array<i32: 1, 1>}> ({
    %y, %k1 = nest.layer 0 (%x) carry (%k) : (tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>) -> (tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>) {
      // CHECK: nest.cache_append %[[K]], %{{.*}}, %{{.*}} : (tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?x1x16xf32, #nest.on<_, _, layers.0.heads * 8>>, tensor<?xi32>) -> tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>
      %c = nest.cache_append %k, %rows, %lengths : (tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?x1x16xf32, #nest.on<_, _, layers.0.heads * 8>>, tensor<?xi32>) -> tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>
      // CHECK: nest.attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} scale 5.000000e-01 <causal, window = 512> :
      // GENERIC: "nest.attention"({{.*}}) <{mask = #nest.mask<causal, window = 512>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>, scale = 5.000000e-01 : f32}>
      %a = nest.attention %qr, %c, %c, %lengths scale 0.5 <causal, window = 512> : (tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?xi32>) -> tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>
      // CHECK: nest.attention %{{.*}} scale 1.000000e+00 <> :
      %b = nest.attention %a, %c, %c, %lengths scale 1.0 <> : (tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?xi32>) -> tensor<?x1x32xf32, #nest.on<_, _, layers.0.heads * 16>>
      // CHECK: nest.yield %[[IN]], %{{.*}} : tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>
      nest.yield %x, %c : tensor<?x1x16xf32>, tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>
    }
    // A layer without caches, with an attribute of its own.
    // CHECK: nest.layer 1 (%[[L]]#0) attributes {note = "x"} : (tensor<?x1x16xf32>) -> tensor<?x1x16xf32> {
    %z = nest.layer 1 (%y) attributes {note = "x"} : (tensor<?x1x16xf32>) -> tensor<?x1x16xf32> {
      nest.yield %y : tensor<?x1x16xf32>
    }
    // Empty, legal and of no use.
    // CHECK: nest.layer 2 () : () -> () {
    // CHECK-NEXT: nest.yield
    nest.layer 2 () : () -> () {
      nest.yield
    }
    return %k1, %z : tensor<?x2x32x8xf16, #nest.on<_, layers.0.heads, _, _>>, tensor<?x1x16xf32>
  }

  // CHECK-LABEL: func.func @specialized(
  // CHECK-SAME: nest.specialized = "layers.all.ffn=1/4"
  func.func @specialized(%x: tensor<4xf32>) -> tensor<4xf32> attributes {nest.entry = "verify", nest.specialized = "layers.all.ffn=1/4"} {
    // CHECK: nest.act silu
    %0 = nest.act silu %x : tensor<4xf32>
    // CHECK: nest.act gelu %
    %1 = nest.act gelu %0 : tensor<4xf32>
    // CHECK: nest.act relu %
    %2 = nest.act relu %1 : tensor<4xf32>
    // CHECK: nest.act relu2 %
    %3 = nest.act relu2 %2 : tensor<4xf32>
    // CHECK: nest.act tanh %
    // GENERIC: "nest.act"({{.*}}) <{kind = #nest<activation tanh>}>
    %4 = nest.act tanh %3 : tensor<4xf32>
    // CHECK: nest.act sigmoid %
    %5 = nest.act sigmoid %4 : tensor<4xf32>
    return %5 : tensor<4xf32>
  }
}
