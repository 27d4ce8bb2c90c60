// The kernel dialect: a negative test for each message of the constraints of
// docs/Kernels.md, in its order. // Kn: names the constraint.
// RUN: nest-opt %s -verify-diagnostics -split-input-file

// K1: tensors or memrefs.
func.func @k1(%x: tensor<?x?x8xf32>, %m: memref<?x?x8xf32>) {
  // expected-error @below {{[K1] mixes tensors and memrefs: operand 1 is 'memref<?x?x8xf32>'; operands are all tensors or all memrefs}}
  kernel.softmax ins(%x : tensor<?x?x8xf32>) outs(%m : memref<?x?x8xf32>)
  return
}

// -----

// K2: no axes.
nest.axis @ffn size 8 levels [8]
func.func @k2(%e: tensor<?x?x8xf32, #nest.on<_, _, ffn>>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K2] operand 0 has an encoding: 'tensor<?x?x8xf32, #nest.on<_, _, ffn>>'; run nest-drop-axes first}}
  %0 = kernel.softmax ins(%e : tensor<?x?x8xf32, #nest.on<_, _, ffn>>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K3: buffers are contiguous.
func.func @k3(%v: memref<?x?x8xf32, strided<[?, 16, 1]>>, %m: memref<?x?x8xf32>) {
  // expected-error @below {{[K3] operand 0 of type 'memref<?x?x8xf32, strided<[?, 16, 1]>>' is not contiguous; only a weight's rows may lie further apart than they are long: strided<[N, 1]>}}
  kernel.softmax ins(%v : memref<?x?x8xf32, strided<[?, 16, 1]>>) outs(%m : memref<?x?x8xf32>)
  return
}

// -----

// K4: a stream has rows.
func.func @k4(%b: tensor<8xf32>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K4] x is 'tensor<8xf32>'; a stream is f32, of rank 2 or more, with a static last dimension}}
  %0 = kernel.softmax ins(%b : tensor<8xf32>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K4: and known columns.
func.func @k4_1(%z: tensor<?x?x?xf32>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K4] x is 'tensor<?x?x?xf32>'; a stream is f32}}
  %0 = kernel.softmax ins(%z : tensor<?x?x?xf32>) outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K4: a matmul reads f32 or what its weights are.
func.func @k4_2(%z: tensor<?x?x8xf16>, %w: tensor<8x8xbf16>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K4] a is 'tensor<?x?x8xf16>'; a stream is f32 or 'bf16', of rank 2 or more}}
  %0 = kernel.matmul ins(%z : tensor<?x?x8xf16>) weights(%w : tensor<8x8xbf16>) by [] outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K4: and writes no integers.
func.func @k4_3(%x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %z: tensor<?x?x8xi32>) {
  // expected-error @below {{[K4] the output is 'tensor<?x?x8xi32>'; a stream is f32 or 'bf16' or 'f16', of rank 2 or more}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by [] outs(%z : tensor<?x?x8xi32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xi32>
  return
}

// -----

// K5: ids are i32.
func.func @k5(%I: tensor<?x?xi64>, %a: tensor<32x8xbf16>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K5] ids is 'tensor<?x?xi64>'; legal is i32 of rank 2}}
  %0 = kernel.embed ins(%I, %a : tensor<?x?xi64>, tensor<32x8xbf16>) scale 1.0 outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K6: a has the rows of the output.
func.func @k6(%q: tensor<4x3x8xf32>, %w: tensor<8x8xf32>, %r: tensor<4x5x8xf32>) {
  // expected-error @below {{[K6] a is 'tensor<4x3x8xf32>'; its rows have to be those of the output, 'tensor<4x5x8xf32>'}}
  %0 = kernel.matmul ins(%q : tensor<4x3x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%r : tensor<4x5x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<4x5x8xf32>
  return
}

// -----

// K6: ids are the rows of the output.
func.func @k6_1(%h: tensor<4x5xi32>, %a: tensor<32x8xbf16>, %q: tensor<4x3x8xf32>) {
  // expected-error @below {{[K6] ids are 'tensor<4x5xi32>'; they have to be the rows of the output, 'tensor<4x3x8xf32>'}}
  %0 = kernel.embed ins(%h, %a : tensor<4x5xi32>, tensor<32x8xbf16>) scale 1.0 outs(%q : tensor<4x3x8xf32>) -> tensor<4x3x8xf32>
  return
}

// -----

// K6: streams have the rows of the output.
func.func @k6_2(%r: tensor<4x5x8xf32>, %q: tensor<4x3x8xf32>) {
  // expected-error @below {{[K6] a stream has other rows than the output, 'tensor<4x3x8xf32>'}}
  %0 = kernel.rowwise ins(%r : tensor<4x5x8xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 8 outs(%q : tensor<4x3x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<4x3x8xf32>
  return
}

// -----

// K6: a further output is like the output.
func.func @k6_further(%q: tensor<4x3x8xf32>, %r: tensor<4x3x4xf32>) {
  // expected-error @below {{[K6] a further output is 'tensor<4x3x4xf32>'; legal is one like the output, 'tensor<4x3x8xf32>', of a kernel that does not scatter}}
  %0:2 = kernel.rowwise ins(%q : tensor<4x3x8xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 8 outs(%q : tensor<4x3x8xf32>) further(%r : tensor<4x3x4xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0, %a0 : f32, f32
  } -> tensor<4x3x8xf32>, tensor<4x3x4xf32>
  return
}

// -----

// K6: positions are the rows of the table.
func.func @k6_3(%B: tensor<4xi32>, %R: tensor<3x4xf32>) {
  // expected-error @below {{[K6] positions are 'tensor<4xi32>'; they have to be the rows of the output, 'tensor<3x4xf32>'}}
  %0 = kernel.rope_table ins(%B : tensor<4xi32>) <head_dim = 4, frequencies = [1.0, 0.1]> outs(%R : tensor<3x4xf32>) -> tensor<3x4xf32>
  return
}

// -----

// K7: one product or two.
func.func @k7(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K7] has 3 weights; legal are 1 and 2 for each group}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w, %w, %w : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32, %a2: f32, %a3: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K7: a weight fits.
func.func @k7_1(%x: tensor<?x?x8xf32>, %a: tensor<32x8xbf16>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K7] a weight is 'tensor<32x8xbf16>'; legal is [8, 8], columns of the output and of a, in one of f32, bf16 and f16 for all weights}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%a : tensor<32x8xbf16>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K8: maps are of a few kinds.
func.func @k8(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K8] operand 'tensor<8xf32>' is read through affine_map<(d0, d1) -> (d0)>; legal on f32 are}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) epilogue(%b : tensor<8xf32>) by [affine_map<(m, n) -> (m)>] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32, %a2: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K8: every operand has one.
func.func @k8_1(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K8] has 1 operands with maps, and maps for 0; every one has its own}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) epilogue(%b : tensor<8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32, %a2: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K8: inputs as well.
func.func @k8_2(%l: tensor<?x?x2xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K8] operand 'tensor<?x?x2xf32>' is read through}}
  %0 = kernel.rowwise ins(%l : tensor<?x?x2xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 8 outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K8: a row of a matrix has the output's columns.
func.func @k8_row(%m: tensor<2x4xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K8] operand 'tensor<2x4xf32>' is read through affine_map<(d0, d1, d2) -> (1, d1)>; legal on f32 are streams like the output by (r, c, g) -> (r, c), a column k of theirs by (r, k), a row or an element of a matrix by (k, c) or (k, j), vectors of its columns by (c), of a group by (g), one a set by (r, c, g, s) -> (s, c) or (s, g)}}
  %0 = kernel.rowwise ins(%m : tensor<2x4xf32> by [affine_map<(r, c, g) -> (1, c)>]) group 8 outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K8: an element is one that the matrix has.
func.func @k8_element(%m: tensor<2x4xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K8] operand 'tensor<2x4xf32>' is read through affine_map<(d0, d1, d2) -> (2, 0)>}}
  %0 = kernel.rowwise ins(%m : tensor<2x4xf32> by [affine_map<(r, c, g) -> (2, 0)>]) group 8 outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K9: a region has its arguments.
func.func @k9(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K9] the epilogue has 1 arguments; it takes 2 f32}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K9: sums are arguments.
func.func @k9_1(%x: tensor<?x?x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K9] the last region has 2 arguments; it takes 3 f32}}
  %0 = kernel.rowwise ins(%x : tensor<?x?x8xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 8 outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a: f32):
    kernel.yield %a : f32
  }, {
  ^bb0(%a: f32, %o: f32):
    kernel.yield %a : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K10: regions are elementwise.
func.func @k10(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K10] the epilogue holds 'arith.constant'; legal are elementwise arith and math operations on f32, and constants}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    %c = arith.constant 0 : index
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K10: of what is inside.
func.func @k10_1(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %F: f32, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K10] the epilogue uses a value from outside; legal are its arguments and what it computes}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    %c = arith.addf %a0, %F : f32
    kernel.yield %c : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K10: and yield it.
func.func @k10_2(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %F: f32, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K10] the epilogue yields a value from outside}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %F : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K11: an epilogue yields one value.
func.func @k11(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K11] the epilogue ends with 'kernel.yield' of 2 values; legal is kernel.yield of 1}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0, %a0 : f32, f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K12: groups divide the columns.
func.func @k12(%x: tensor<?x?x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K12] cuts 8 columns into groups of 3; legal are divisors of 8}}
  %0 = kernel.rowwise ins(%x : tensor<?x?x8xf32> by [affine_map<(r, c, g) -> (r, c)>]) group 3 outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K12: a region computes the output.
func.func @k12_1(%x: tensor<?x?x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K12] has no region; the last one computes the output}}
  %0 = "kernel.rowwise"(%x, %y) <{maps = [affine_map<(r, c, g) -> (r, c)>], group = 8 : i64, groups = 1 : i64, operandSegmentSizes = array<i32: 1, 0, 0, 1, 0>}> : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K13: a table has the columns of the output.
func.func @k13(%i: tensor<?x?xi32>, %w: tensor<8x8xf32>, %t: tensor<?x?x4xf32>) {
  // expected-error @below {{[K13] the table is 'tensor<8x8xf32>'; legal is [V, 4], the output's columns, in f32, bf16 or f16}}
  %0 = kernel.embed ins(%i, %w : tensor<?x?xi32>, tensor<8x8xf32>) scale 1.0 outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// K13: and a row for other ids.
func.func @k13_unknown(%i: tensor<?x?xi32>, %w: tensor<8x4xf32>, %t: tensor<?x?x4xf32>) {
  // expected-error @below {{[K13] other ids read row 8 of 'tensor<8x4xf32>', which it has not}}
  %0 = kernel.embed ins(%i, %w : tensor<?x?xi32>, tensor<8x4xf32>) scale 1.0 unknown 8 outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// K14: a table has a cosine and a sine.
func.func @k14(%i: tensor<?x?xi32>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K14] the output has 8 columns; the rope has 2 frequencies, a cosine and a sine each}}
  %0 = kernel.rope_table ins(%i : tensor<?x?xi32>) <head_dim = 4, frequencies = [1.0, 0.1]> outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K15: heads are whole.
func.func @k15(%t: tensor<?x?x4xf32>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[K15] turns heads of 3 in 8 columns by a table of 4; columns are whole heads, the table is even and no wider than a head}}
  %0 = kernel.rope ins(%t : tensor<?x?x4xf32>) head_dim 3 outs(%x : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K16: a cache of positions has a capacity.
func.func @k16(%i: tensor<?x?xi32>, %n: tensor<?xi32>, %o: tensor<?x?xi32>) {
  // expected-error @below {{[K16] appends positions to 'tensor<?x?xi32>'; legal is i32 [B, capacity]}}
  %0 = kernel.cache_append ins(%i, %n : tensor<?x?xi32>, tensor<?xi32>) outs(%o : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// -----

// K16: rows fit the cache.
func.func @k16_1(%t: tensor<?x?x4xf32>, %n: tensor<?xi32>, %k: tensor<?x2x32x4xf32>) {
  // expected-error @below {{[K16] appends rows 'tensor<?x?x4xf32>' to a cache 'tensor<?x2x32x4xf32>'; legal are [B, T, H * D] and [B, H, capacity, D], the latter f32, bf16 or f16}}
  %0 = kernel.cache_append ins(%t, %n : tensor<?x?x4xf32>, tensor<?xi32>) outs(%k : tensor<?x2x32x4xf32>) -> tensor<?x2x32x4xf32>
  return
}

// -----

// K16: of one batch.
func.func @k16_2(%q: tensor<4x3x8xf32>, %n: tensor<?xi32>, %K: tensor<3x2x32x4xf32>) {
  // expected-error @below {{[K16] rows, lengths and cache differ in the batch}}
  %0 = kernel.cache_append ins(%q, %n : tensor<4x3x8xf32>, tensor<?xi32>) outs(%K : tensor<3x2x32x4xf32>) -> tensor<3x2x32x4xf32>
  return
}

// -----

// K17: keys and values have one type.
func.func @k17(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %V: tensor<?x2x16x4xf32>, %n: tensor<?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K17] k and v are 'tensor<?x2x32x4xf32>' and 'tensor<?x2x16x4xf32>'; both are [B, H, capacity, D] of one type, f32, bf16 or f16}}
  %0 = kernel.attention ins(%x, %k, %V, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x16x4xf32>, tensor<?xi32>) scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K17: heads form groups.
func.func @k17_1(%t: tensor<?x?x4xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K17] q is 'tensor<?x?x4xf32>'; legal is [B, T, n * 2 * 4], whole groups of query heads for each KV head}}
  %0 = kernel.attention ins(%t, %k, %k, %n : tensor<?x?x4xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K17: a position for each row of the caches.
func.func @k17_4(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %p: tensor<?x16xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K17] positions are 'tensor<?x16xi32>'; legal is i32 [B, 32], one for each row of the caches}}
  %0 = kernel.attention ins(%x, %k, %k, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) positions(%p : tensor<?x16xi32>) scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K17: the output is like q.
func.func @k17_2(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %t: tensor<?x?x4xf32>) {
  // expected-error @below {{[K17] q is 'tensor<?x?x8xf32>' and the output 'tensor<?x?x4xf32>'; they have one shape, and the batch of caches and lengths}}
  %0 = kernel.attention ins(%x, %k, %k, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) scale 1.0 <causal> outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// K17: and of the batch.
func.func @k17_3(%q: tensor<4x3x8xf32>, %K: tensor<3x2x32x4xf32>, %n: tensor<?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K17] q is 'tensor<4x3x8xf32>' and the output 'tensor<?x?x8xf32>'}}
  %0 = kernel.attention ins(%q, %K, %K, %n : tensor<4x3x8xf32>, tensor<3x2x32x4xf32>, tensor<3x2x32x4xf32>, tensor<?xi32>) scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K17: and lengths are.
func.func @k17_lengths(%x: tensor<4x3x8xf32>, %k: tensor<4x2x32x4xf32>, %n: tensor<3x1xi32>) {
  // expected-error @below {{[K17] q is 'tensor<4x3x8xf32>' and the output 'tensor<4x3x8xf32>'; they have one shape, and the batch of caches and lengths}}
  %0 = kernel.attention ins(%x, %k, %k, %n : tensor<4x3x8xf32>, tensor<4x2x32x4xf32>, tensor<4x2x32x4xf32>, tensor<3x1xi32>) scale 1.0 <causal> outs(%x : tensor<4x3x8xf32>) -> tensor<4x3x8xf32>
  return
}

// -----

// K25: what is rounded to.
func.func @k25(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K25] rounds to the type of the caches, 'tensor<?x2x32x4xf32>'; legal is bf16 or f16}}
  %0 = kernel.attention ins(%x, %k, %k, %n : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) rounds scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K4: queries are f32 where they must not be rounded.
func.func @k4_q(%x: tensor<?x?x8xbf16>, %k: tensor<?x2x32x4xbf16>, %n: tensor<?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K4] q is 'tensor<?x?x8xbf16>'; a stream is f32, of rank 2 or more}}
  %0 = kernel.attention ins(%x, %k, %k, %n : tensor<?x?x8xbf16>, tensor<?x2x32x4xbf16>, tensor<?x2x32x4xbf16>, tensor<?xi32>) scale 1.0 <causal> outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K18: one row of each sequence.
func.func @k18(%x: tensor<?x?x8xf32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K18] x is 'tensor<?x?x8xf32>' and the output 'tensor<?x?x8xf32>'; legal are [B, T, D] and [B, 1, D]}}
  %0 = kernel.last_rows ins(%x : tensor<?x?x8xf32>) outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K18: of ids as well, of one batch.
func.func @k18_ids(%x: tensor<4x?xi32>, %y: tensor<3x1xi32>) {
  // expected-error @below {{[K18] x is 'tensor<4x?xi32>' and the output 'tensor<3x1xi32>'; ids have no order, and one batch}}
  %0 = kernel.last_rows ins(%x : tensor<4x?xi32>) outs(%y : tensor<3x1xi32>) -> tensor<3x1xi32>
  return
}

// -----

// K18: which are not packed.
func.func @k18_packed(%x: tensor<?x?xi32>, %o: tensor<?x?xi32>, %y: tensor<?x1xi32>) {
  // expected-error @below {{[K18] x is 'tensor<?x?xi32>' and the output 'tensor<?x1xi32>'; ids have no order, and one batch}}
  %0 = kernel.last_rows ins(%x : tensor<?x?xi32>) order(%o : tensor<?x?xi32>) outs(%y : tensor<?x1xi32>) -> tensor<?x1xi32>
  return
}

// -----

// K19: a definition holds a kernel.
// expected-error @below {{[K19] holds something else than exactly one kernel}}
kernel.def @k19(%t: memref<?x4xf32>, %x: memref<?x8xf32>) {
  kernel.rope ins(%t : memref<?x4xf32>) head_dim 4 outs(%x : memref<?x8xf32>)
  kernel.rope ins(%t : memref<?x4xf32>) head_dim 4 outs(%x : memref<?x8xf32>)
}

// -----

// K19: that takes its arguments.
// expected-error @below {{[K19] 'kernel.rope' does not take the definition's arguments in their order; it takes all of them, one after the other}}
kernel.def @k19(%x: memref<?x8xf32>, %t: memref<?x4xf32>) {
  kernel.rope ins(%t : memref<?x4xf32>) head_dim 4 outs(%x : memref<?x8xf32>)
}

// -----

// K19: which are buffers.
// expected-error @below {{[K19] argument 0 is 'tensor<?x4xf32>'; definitions take memrefs}}
kernel.def @k19(%t: tensor<?x4xf32>, %x: tensor<?x8xf32>) {
  kernel.rope ins(%t : tensor<?x4xf32>) head_dim 4 outs(%x : tensor<?x8xf32>) -> tensor<?x8xf32>
}

// -----

// K20: what is launched is defined.
func.func @k20(%t: memref<?x4xf32>) {
  // expected-error @below {{[K20] @k20 is no kernel.def}}
  kernel.launch @k20(%t) : memref<?x4xf32>
  return
}

// -----

// K20: with all buffers.
kernel.def @rope(%t: memref<?x4xf32>, %x: memref<?x8xf32>) {
  kernel.rope ins(%t : memref<?x4xf32>) head_dim 4 outs(%x : memref<?x8xf32>)
}
func.func @k20(%t: memref<?x4xf32>) {
  // expected-error @below {{[K20] gives 1 buffers to @rope, which takes 2}}
  kernel.launch @rope(%t) : memref<?x4xf32>
  return
}

// -----

// K20: of its types.
kernel.def @rope(%t: memref<?x4xf32>, %x: memref<?x8xf32>) {
  kernel.rope ins(%t : memref<?x4xf32>) head_dim 4 outs(%x : memref<?x8xf32>)
}
func.func @k20(%t: memref<?x?xf32>, %x: memref<?x8xf32>) {
  // expected-error @below {{[K20] gives 'memref<?x?xf32>' as argument 0 of @rope, which is 'memref<?x4xf32>'; a buffer may be more static than the argument, nothing else}}
  kernel.launch @rope(%t, %x) : memref<?x?xf32>, memref<?x8xf32>
  return
}

// -----

// K21: offsets are of sets.
func.func @k21(%n: tensor<?xi32>, %i: tensor<?x?xi32>, %o: tensor<?x?xi32>) {
  // expected-error @below {{[K21] the table offsets is 'tensor<?xi32>'; legal is i32 [sets + 1]}}
  %0 = kernel.gather ins(%i : tensor<?x?xi32>) rows(%n, %i : tensor<?xi32>, tensor<?x?xi32>) sets [0, 1] outs(%o : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// -----

// K21: indices are of rows.
func.func @k21_1(%f: tensor<3xi32>, %n: tensor<?xi32>, %i: tensor<?x?xi32>, %o: tensor<?x?xi32>) {
  // expected-error @below {{[K21] the table indices is 'tensor<?xi32>'; legal is i32 [B, T]}}
  %0 = kernel.gather ins(%i : tensor<?x?xi32>) rows(%f, %n : tensor<3xi32>, tensor<?xi32>) sets [0, 1] outs(%o : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// -----

// K21: counts are of sequences.
func.func @k21_2(%i: tensor<?x?xi32>, %n: tensor<?xi32>) {
  // expected-error @below {{[K21] the table counts is 'tensor<?x?xi32>'; legal is i32 [B]}}
  %0 = kernel.advance ins(%i : tensor<?x?xi32>) counts(%i : tensor<?x?xi32>) outs(%n : tensor<?xi32>) -> tensor<?xi32>
  return
}

// -----

// K22: the family has the sets.
func.func @k22(%f: tensor<3xi32>, %i: tensor<?x?xi32>, %o: tensor<?x?xi32>) {
  // expected-error @below {{[K22] works on sets that its family has not; legal is [first, last) with first < last, of the offsets' sets, and no tables without offsets}}
  %0 = kernel.gather ins(%i : tensor<?x?xi32>) rows(%f, %i : tensor<3xi32>, tensor<?x?xi32>) sets [1, 3] outs(%o : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// -----

// K22: one at least.
func.func @k22_1(%f: tensor<3xi32>, %i: tensor<?x?xi32>, %o: tensor<?x?xi32>) {
  // expected-error @below {{[K22] works on sets that its family has not}}
  %0 = kernel.gather ins(%i : tensor<?x?xi32>) rows(%f, %i : tensor<3xi32>, tensor<?x?xi32>) sets [1, 1] outs(%o : tensor<?x?xi32>) -> tensor<?x?xi32>
  return
}

// -----

// K23: groups are sets.
func.func @k23(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %f: tensor<3xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K23] has 2 groups; legal are 1 and the number of its sets}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w, %w : tensor<8x8xf32>, tensor<8x8xf32>) by [] rows(%f : tensor<3xi32>) sets [1, 2] outs(%y : tensor<?x?x8xf32>) attributes {groups = 2 : i64} {
  ^bb0(%a0: f32, %a1: f32, %a2: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K23: indices are for gathers and scatters.
func.func @k23_1(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %f: tensor<3xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K23] gathers or scatters if and only if it has indices}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xf32>) by [] rows(%f : tensor<3xi32>) sets [0, 1] gathers outs(%y : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K24: a source writes its sets.
func.func @k24(%s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %f: tensor<3xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] writes the offsets 'tensor<3xi32>' of 1 sets; legal is 2}}
  %0:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1> outs(%i, %f, %o, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: and as many as it has.
func.func @k24_1(%i: tensor<?x?xi32>, %u: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] writes the offsets 'tensor<2xi32>' of 2 sets; legal is 3}}
  %0:4 = kernel.partition ins(%i : tensor<?x?xi32>) sets [0, 1] outs(%i, %u, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: scores are of one column.
func.func @k24_2(%l: tensor<?x?x2xf32>, %i: tensor<?x?xi32>, %u: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] selects by scores of one column, either the top of a capacity or what is above a threshold}}
  %0:4 = kernel.select ins(%l : tensor<?x?x2xf32>) above 0.0 outs(%i, %u, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: by one rule.
func.func @k24_3(%s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %u: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] selects by scores of one column, either the top of a capacity or what is above a threshold}}
  %0:4 = kernel.select ins(%s : tensor<?x?x1xf32>) top <1> above 0.0 outs(%i, %u, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: it is within one set.
func.func @k24_8(%s: tensor<?x?x1xf32>, %i: tensor<?x?xi32>, %f: tensor<3xi32>, %u: tensor<2xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] is within 2 sets; legal is a single one}}
  %0:4 = kernel.select ins(%s : tensor<?x?x1xf32>) within(%f, %o, %c : tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) sets [0, 2] top <1> outs(%i, %u, %o, %c : tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<2xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: a choice is a slot.
func.func @k24_4(%l: tensor<?x?x2xf32>, %i: tensor<?x?xi32>, %f: tensor<3xi32>, %o: tensor<?x?xi32>, %c: tensor<?xi32>) {
  // expected-error @below {{[K24] assigns by choice 2; legal is 0 to 1}}
  %0:4 = kernel.assign ins(%l : tensor<?x?x2xf32>) choice 2 outs(%i, %f, %o, %c : tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>, tensor<3xi32>, tensor<?x?xi32>, tensor<?xi32>
  return
}

// -----

// K24: each set has a score.
func.func @k24_5(%s: tensor<?x?x1xf32>, %f: tensor<3xi32>, %i: tensor<?x?xi32>, %y: tensor<?x?x8xf32>) {
  // expected-error @below {{[K24] takes scores with a column for each set and writes one column}}
  %0 = kernel.chosen ins(%s : tensor<?x?x1xf32>) rows(%f, %i : tensor<3xi32>, tensor<?x?xi32>) sets [1, 2] outs(%s : tensor<?x?x1xf32>) -> tensor<?x?x1xf32>
  return
}

// -----

// K24: a softmax keeps the shape.
func.func @k24_6(%x: tensor<?x?x8xf32>, %t: tensor<?x?x4xf32>) {
  // expected-error @below {{[K24] has x and output of one shape; over packed rows it needs order and counts}}
  %0 = kernel.softmax ins(%x : tensor<?x?x8xf32>) outs(%t : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// K24: over packed rows of known order.
func.func @k24_7(%x: tensor<?x?x8xf32>, %y: tensor<?x?x8xf32>, %f: tensor<3xi32>) {
  // expected-error @below {{[K24] has x and output of one shape; over packed rows it needs order and counts}}
  %0 = kernel.softmax ins(%x : tensor<?x?x8xf32>) rows(%f : tensor<3xi32>) sets [0, 1] over_rows outs(%y : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K26: a workspace is for buffers.
func.func @k26(%x: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %s: tensor<2x16x8xf32>, %t: tensor<1xi32>) {
  // expected-error @below {{[K26] has the workspace 'tensor<2x16x8xf32>' and the tickets 'tensor<1xi32>'; legal are memrefs, f32 [parts, rows, columns] and i32 [n], static}}
  %0 = kernel.matmul ins(%x : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) by []
      workspace(%s, %t : tensor<2x16x8xf32>, tensor<1xi32>) outs(%x : tensor<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K26: it is of three dimensions.
func.func @k26_1(%x: memref<?x?x8xf32>, %w: memref<8x8xbf16>, %s: memref<16x8xf32>, %t: memref<1xi32>) {
  // expected-error @below {{[K26] has the workspace 'memref<16x8xf32>' and the tickets 'memref<1xi32>'; legal are}}
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xbf16>) by []
      workspace(%s, %t : memref<16x8xf32>, memref<1xi32>) outs(%x : memref<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  }
  return
}

// -----

// K26: tickets are i32.
func.func @k26_2(%x: memref<?x?x8xf32>, %w: memref<8x8xbf16>, %s: memref<2x16x8xf32>, %t: memref<1xf32>) {
  // expected-error @below {{[K26] has the workspace 'memref<2x16x8xf32>' and the tickets 'memref<1xf32>'; legal are}}
  kernel.matmul ins(%x : memref<?x?x8xf32>) weights(%w : memref<8x8xbf16>) by []
      workspace(%s, %t : memref<2x16x8xf32>, memref<1xf32>) outs(%x : memref<?x?x8xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  }
  return
}

// -----

// K26: of attention too.
func.func @k26_3(%q: memref<?x1x8xf32>, %k: memref<?x2x32x4xbf16>, %n: memref<?xi32>, %s: memref<2x16x12xf32>, %t: memref<?xi32>) {
  // expected-error @below {{[K26] has the workspace 'memref<2x16x12xf32>' and the tickets 'memref<?xi32>'; legal are}}
  kernel.attention ins(%q, %k, %k, %n : memref<?x1x8xf32>, memref<?x2x32x4xbf16>, memref<?x2x32x4xbf16>, memref<?xi32>)
      workspace(%s, %t : memref<2x16x12xf32>, memref<?xi32>) scale 1.0 <causal> outs(%q : memref<?x1x8xf32>)
  return
}

// -----

// K27: vectors have no rows.
func.func @k27(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %b: tensor<8xf32>, %f: tensor<3xi32>, %i: tensor<?x?xi32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K27] reads operand 0 by indices; legal are, in ascending order, maps of (m, n) -> (m, n) and (m, 0)}}
  %0 = kernel.matmul ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) epilogue(%b : tensor<8xf32>) by [affine_map<(m, n) -> (n)>]
      rows(%f, %i : tensor<?x?xi32> : tensor<3xi32>) sets [0, 2] indexed [0] outs(%q : tensor<?x?x8xf32>) {
  ^bb0(%acc: f32, %bias: f32, %old: f32):
    kernel.yield %acc : f32
  } -> tensor<?x?x8xf32>
  return
}

// -----

// K30: a weight for each output.
func.func @k30(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K30] has 2 weights for 1 outputs and heads of 4 columns; legal is one weight for each output and group, and a head of at least one column}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w, %w : tensor<8x8xbf16>, tensor<8x8xbf16>) head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K30: of the columns of a.
func.func @k30_1(%a: tensor<?x?x8xf32>, %w: tensor<8x4xbf16>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K30] a weight of segment 0 is 'tensor<8x4xbf16>'; legal is [N, 8], of one N for all groups, static, in one of f32, bf16 and f16 for all weights}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x4xbf16>) head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K30: whole heads are turned.
func.func @k30_2(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %t: tensor<?x?x2xf32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K30] segment 0 has 8 columns; legal are whole heads of 3}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) rope(%t : tensor<?x?x2xf32>) of [0] head_dim 3 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K30: a stream has the segment's columns.
func.func @k30_3(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %q: tensor<?x?x4xf32>) {
  // expected-error @below {{[K30] segment 0 is written to 'tensor<?x?x4xf32>'; legal is a stream of 8 columns with the rows of a, or a cache}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) head_dim 4 outs(%q : tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// K31: lists are of segments.
func.func @k31(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %b: tensor<8xf32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K31] lists segments, ascending, that have a bias, a norm (with an epsilon) or a rope (with a table), and has one vector for each of them and group}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) bias(%b : tensor<8xf32>) of [1] head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K31: a bias has the segment's columns.
func.func @k31_1(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %b: tensor<4xf32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K31] a bias of segment 0 is 'tensor<4xf32>'; legal is f32, of the segment's columns}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) bias(%b : tensor<4xf32>) of [0] head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K31: a norm has a head's.
func.func @k31_2(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %b: tensor<8xf32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K31] a norm of segment 0 is 'tensor<8xf32>'; legal is f32, of the 4 columns of a head}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) norm(%b : tensor<8xf32>) of [0] epsilon 1.0e-6 head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K31: a table is no wider than a head.
func.func @k31_3(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %t: tensor<?x?x6xf32>, %q: tensor<?x?x8xf32>) {
  // expected-error @below {{[K31] turns heads of 4 by 'tensor<?x?x6xf32>'; the table has the rows of a, and is even and no wider than a head}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) rope(%t : tensor<?x?x6xf32>) of [0] head_dim 4 outs(%q : tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// K32: caches hold the heads of a segment.
func.func @k32(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %l: tensor<?xi32>, %k: tensor<?x3x32x4xbf16>) {
  // expected-error @below {{[K32] segment 0 is appended to 'tensor<?x3x32x4xbf16>'; legal is a cache [B, 2, capacity, 4] of f32, bf16 or f16, for rows [B, T]}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) head_dim 4 lengths(%l : tensor<?xi32>) outs(%k : tensor<?x3x32x4xbf16>) -> tensor<?x3x32x4xbf16>
  return
}

// -----

// K32: and take packed rows by order and counts.
func.func @k32_1(%a: tensor<?x?x8xf32>, %w: tensor<8x8xbf16>, %l: tensor<?xi32>, %f: tensor<3xi32>, %i: tensor<?x?xi32>, %k: tensor<?x2x32x4xbf16>) {
  // expected-error @below {{[K32] has lengths if and only if it appends to a cache, order and counts if the rows are packed too, and indices for these or to gather}}
  %0 = kernel.project ins(%a : tensor<?x?x8xf32>) weights(%w : tensor<8x8xbf16>) head_dim 4 lengths(%l : tensor<?xi32>)
      rows(%f, %i : tensor<?x?xi32> : tensor<3xi32>) sets [0, 2] outs(%k : tensor<?x2x32x4xbf16>) -> tensor<?x2x32x4xbf16>
  return
}

// -----

// K28: scaled and squares come together.
func.func @k28(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K28] writes only one of scaled and squares, or has gains for neither}}
  %0:2 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) scaled(%s : tensor<?x?x64xbf16>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>, tensor<?x?x64xbf16>
  return
}

// -----

// K28: gains are for scaled.
func.func @k28_1(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K28] writes only one of scaled and squares, or has gains for neither}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] gains(%g : tensor<64xf32>) outs(%x : tensor<?x?x64xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K28: the output is exact.
func.func @k28_2(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>, %y: tensor<?x?x64xbf16>) {
  // expected-error @below {{[K28] writes squares beside 'tensor<?x?x64xbf16>' of 1 products; legal is an output in f32 of one}}
  %0:3 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] outs(%y : tensor<?x?x64xbf16>) scaled(%s : tensor<?x?x64xbf16>) squares(%q : tensor<?x?x2xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xbf16>, tensor<?x?x64xbf16>, tensor<?x?x2xf32>
  return
}

// -----

// K28: of one product.
func.func @k28_3(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K28] writes squares beside 'tensor<?x?x64xf32>' of 2 products; legal is an output in f32 of one}}
  %0:3 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w, %w : tensor<64x64xbf16>, tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) scaled(%s : tensor<?x?x64xbf16>) squares(%q : tensor<?x?x2xf32>) {
  ^bb0(%a0: f32, %a1: f32, %a2: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>, tensor<?x?x64xbf16>, tensor<?x?x2xf32>
  return
}

// -----

// K28: scaled is f32 or bf16.
func.func @k28_4(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>, %h: tensor<?x?x64xf16>) {
  // expected-error @below {{[K28] writes scaled 'tensor<?x?x64xf16>' and squares 'tensor<?x?x2xf32>' beside 'tensor<?x?x64xf32>'}}
  %0:3 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) scaled(%h : tensor<?x?x64xf16>) squares(%q : tensor<?x?x2xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>, tensor<?x?x64xf16>, tensor<?x?x2xf32>
  return
}

// -----

// K28: a column of squares for 32.
func.func @k28_5(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>, %h: tensor<?x?x1xf32>) {
  // expected-error @below {{[K28] writes scaled 'tensor<?x?x64xbf16>' and squares 'tensor<?x?x1xf32>' beside 'tensor<?x?x64xf32>'; legal is its shape in f32 or bf16, and f32 with a column for every 32 of it}}
  %0:3 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) scaled(%s : tensor<?x?x64xbf16>) squares(%h : tensor<?x?x1xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>, tensor<?x?x64xbf16>, tensor<?x?x1xf32>
  return
}

// -----

// K28: gains are columns of the output.
func.func @k28_6(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K28] has 2 gains for 1 scaled; legal are none, one and one for each group of each}}
  %0:3 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] gains(%g, %g : tensor<64xf32>, tensor<64xf32>) outs(%x : tensor<?x?x64xf32>) scaled(%s : tensor<?x?x64xbf16>) squares(%q : tensor<?x?x2xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>, tensor<?x?x64xbf16>, tensor<?x?x2xf32>
  return
}

// -----

// K29: squares of the rows of a.
func.func @k29(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>, %h: tensor<?x?x1xf32>) {
  // expected-error @below {{[K29] takes the squares 'tensor<?x?x1xf32>' of 'tensor<?x?x64xf32>'; legal is f32 of its rows with a column for every 32 of it}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) normed(%h : tensor<?x?x1xf32>) epsilon 1.0 weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K29: an epsilon is not negative.
func.func @k29_1(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K29] has the epsilon -1.000000e+00 : f32; legal is a number of 0 or more}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) normed(%q : tensor<?x?x2xf32>) epsilon -1.0 weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K29: it is for squares.
func.func @k29_2(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %s: tensor<?x?x64xbf16>, %q: tensor<?x?x2xf32>, %g: tensor<64xf32>) {
  // expected-error @below {{[K29] has only one of squares and an epsilon}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] outs(%x : tensor<?x?x64xf32>) attributes {epsilon = 1.0 : f32} {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K33: a bound is one number.
func.func @k33(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %n: tensor<2xi32>) {
  // expected-error @below {{[K33] is bounded by 'tensor<2xi32>'; a number of columns is i32 [1]}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] depth(%n : tensor<2xi32>) outs(%x : tensor<?x?x64xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    kernel.yield %a0 : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K33: what stands behind a bound of columns is not read.
func.func @k33_1(%x: tensor<?x?x64xf32>, %w: tensor<64x64xbf16>, %n: tensor<1xi32>) {
  // expected-error @below {{[K33] has a bound of its columns beside an output that it reads; what stands behind the bound has no meaning}}
  %0 = kernel.matmul ins(%x : tensor<?x?x64xf32>) weights(%w : tensor<64x64xbf16>) by [] columns(%n : tensor<1xi32>) outs(%x : tensor<?x?x64xf32>) {
  ^bb0(%a0: f32, %a1: f32):
    %s = arith.addf %a0, %a1 : f32
    kernel.yield %s : f32
  } -> tensor<?x?x64xf32>
  return
}

// -----

// K34: what adds keeps f32.
func.func @k34(%x: tensor<?x4x8xf32>, %y: tensor<?x4x8xbf16>) {
  // expected-error @below {{[K34] maps 'tensor<?x4x8xbf16>' to 'tensor<?x4x8xf32>' by affine_map<(d0, d1, d2) -> (d0, d1, d2)>; legal are f32, bf16 and f16}}
  %0 = kernel.remap ins(%x : tensor<?x4x8xf32>) by affine_map<(b, t, c) -> (b, t, c)> adds outs(%y : tensor<?x4x8xbf16>) -> tensor<?x4x8xbf16>
  return
}

// -----

// K35: without lengths there is no mask.
func.func @k35(%q: tensor<?x4x8xf32>, %k: tensor<?x2x4x4xf32>, %y: tensor<?x4x8xf32>) {
  // expected-error @below {{[K35] has no lengths: k and v are the rows of the call, 4 of q, without sets, positions or a causal mask}}
  %0 = kernel.attention ins(%q, %k, %k : tensor<?x4x8xf32>, tensor<?x2x4x4xf32>, tensor<?x2x4x4xf32>) scale 0.5 <causal> outs(%y : tensor<?x4x8xf32>) -> tensor<?x4x8xf32>
  return
}
