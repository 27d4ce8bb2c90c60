// Weights and graph operations: a negative test for each constraint of
// docs/Spec.md, in its order. // Cn: names the constraint.
// RUN: nest-opt %s -verify-diagnostics -split-input-file

// C27: a weight has a key.
// expected-error @below {{[C27] the key of a weight is a string that is not empty}}
nest.weight @c27 key "" : tensor<8xf32>

// -----

// C28: what is stored has a size.
// expected-error @below {{[C28] 'tensor<?xf32>' cannot be stored; dimensions are static and positive and the bytes fit 64 bits}}
nest.weight @c28 : tensor<?xf32>

// -----

// C28: that is positive.
// expected-error @below {{[C28] 'tensor<4x0xf32>' cannot be stored}}
nest.weight @c28_zero : tensor<4x0xf32>

// -----

// C28: and can be counted.
// expected-error @below {{[C28] 'tensor<4294967296x4294967296xf32>' cannot be stored}}
nest.weight @c28_overflow stored tensor<4294967296x4294967296xf32> box [0, 0] [2, 2] : tensor<4xf32>

// -----

// C29: files know no axes.
// expected-error @below {{[C29] the stored type 'tensor<8xf32, #nest.on<ffn>>' has an encoding; axes belong to the weight's type}}
nest.weight @c29 stored tensor<8xf32, #nest.on<ffn>> : tensor<8xf32>

// -----

// C30: a box has an entry for each dimension.
// expected-error @below {{[C30] a box has one offset and one size for each of the 2 dimensions of 'tensor<8x4xf32>'}}
nest.weight @c30 stored tensor<8x4xf32> box [0] [8] : tensor<8xf32>

// -----

// C30: offsets and sizes.
// expected-error @below {{[C30] a box has one offset and one size for each of the 1 dimensions of 'tensor<8xf32>'}}
"nest.weight"() <{sym_name = "c30", type = tensor<8xf32>, offsets = array<i64: 0>}> : () -> ()

// -----

// C31: a box lies within what is stored.
// expected-error @below {{[C31] the box takes 4 elements from 6 on in dimension 0; there are 8, and a box has 1 or more of them}}
nest.weight @c31 stored tensor<8x4xf32> box [6, 0] [4, 4] : tensor<4x4xf32>

// -----

// C31: from 0 on.
// expected-error @below {{[C31] the box takes 4 elements from -1 on in dimension 1}}
nest.weight @c31_below stored tensor<8x4xf32> box [0, -1] [8, 4] : tensor<8x4xf32>

// -----

// C31: no sum overflows.
// expected-error @below {{[C31] the box takes 4 elements from 9223372036854775807 on in dimension 0}}
nest.weight @c31_overflow stored tensor<8xf32> box [9223372036854775807] [4] : tensor<4xf32>

// -----

// C32: a reshape keeps the number of elements.
// expected-error @below {{[C32] 32 stored elements cannot be reshaped to 'tensor<3x4xf32>', which has 12}}
nest.weight @c32 stored tensor<8x4xf32> : tensor<3x4xf32>

// -----

// C32: that of the box, if there is one.
// expected-error @below {{[C32] 8 stored elements cannot be reshaped to 'tensor<32xf32>', which has 32}}
nest.weight @c32_box stored tensor<8x4xf32> box [0, 0] [2, 4] : tensor<32xf32>

// -----

// C33: get names a weight.
nest.axis @a size 4 levels [4]
func.func @c33() {
  // expected-error @below {{[C33] @a names no nest.weight of this module}}
  %0 = nest.get @a : tensor<4xf32>
  return
}

// -----

// C34: of the same element type.
// expected-note @below {{the weight is 'tensor<4xf32>'}}
nest.weight @w : tensor<4xf32>
func.func @c34() {
  // expected-error @below {{[C34] the result has the weight's element type and rank; got 'tensor<4xbf16>'}}
  %0 = nest.get @w : tensor<4xbf16>
  return
}

// -----

// C34: and rank.
// expected-note @below {{the weight is 'tensor<4xf32>'}}
nest.weight @w : tensor<4xf32>
func.func @c34_rank() {
  // expected-error @below {{[C34] the result has the weight's element type and rank; got 'tensor<4x1xf32>'}}
  %0 = nest.get @w : tensor<4x1xf32>
  return
}

// -----

// C35: a dimension on no axis is taken whole.
// expected-note @below {{the weight is}}
nest.weight @w : tensor<8x4xf32>
func.func @c35() {
  // expected-error @below {{[C35] dimension 0 lies on no axis, so it has the weight's size, 8, and stays on none}}
  %0 = nest.get @w : tensor<4x4xf32>
  return
}

// -----

// C35: also when the other one is on an axis.
nest.axis @ffn size 8 levels [8]
// expected-note @below {{the weight is}}
nest.weight @w : tensor<8x8xf32, #nest.on<ffn, _>>
func.func @c35_other() {
  // expected-error @below {{[C35] dimension 1 lies on no axis, so it has the weight's size, 8, and stays on none}}
  %0 = nest.get @w : tensor<8x8xf32, #nest.on<_, ffn>>
  return
}

// -----

// C36: a weight of another layer is refused, though the sizes agree.
nest.axis @layers.0.ffn size 8 levels [8]
nest.axis @layers.1.ffn size 8 levels [8]
// expected-note @below {{the weight is}}
nest.weight @w : tensor<8xf32, #nest.on<layers.0.ffn>>
func.func @c36() {
  // expected-error @below {{[C36] dimension 0 lies on 'layers.1.ffn'; the weight's lies on 'layers.0.ffn'}}
  %0 = nest.get @w : tensor<8xf32, #nest.on<layers.1.ffn>>
  return
}

// -----

// C37: a prefix is whole elements of the axis.
nest.axis @heads size 4 levels [2, 4]
// expected-note @below {{the weight is}}
nest.weight @w : tensor<64xf32, #nest.on<heads * 16>>
func.func @c37() {
  // expected-error @below {{[C37] dimension 0 takes 24 of axis 'heads' * 16; legal is a positive multiple of 16 up to 64}}
  %0 = nest.get @w : tensor<24xf32>
  return
}

// -----

// C37: no more than there are.
nest.axis @ffn size 8 levels [8]
// expected-note @below {{the weight is}}
nest.weight @w : tensor<8xf32, #nest.on<ffn>>
func.func @c37_above() {
  // expected-error @below {{[C37] dimension 0 takes 16 of axis 'ffn'; legal is a positive multiple of 1 up to 8}}
  %0 = nest.get @w : tensor<16xf32>
  return
}

// -----

// C37: and some.
nest.axis @ffn size 8 levels [8]
// expected-note @below {{the weight is}}
nest.weight @w : tensor<8xf32, #nest.on<ffn>>
func.func @c37_zero() {
  // expected-error @below {{[C37] dimension 0 takes 0 of axis 'ffn'}}
  %0 = nest.get @w : tensor<0xf32>
  return
}

// -----

// C38: a width bound at run time has an operand.
nest.axis @ffn size 8 levels [8]
nest.weight @w : tensor<8xf32, #nest.on<ffn>>
func.func @c38() {
  // expected-error @below {{[C38] has 0 extents for 1 dimensions of unknown size; each has one}}
  %0 = nest.get @w : tensor<?xf32, #nest.on<ffn>>
  return
}

// -----

// C38: and no other has.
nest.weight @w : tensor<8xf32>
func.func @c38_more(%n: index) {
  // expected-error @below {{[C38] has 1 extents for 0 dimensions of unknown size; each has one}}
  %0 = nest.get @w[%n] : tensor<8xf32>
  return
}

// -----

// C39: a table has rows.
func.func @c39(%ids: tensor<?x?xi32>, %table: tensor<12xf32>) {
  // expected-error @below {{[C39] takes ids of rank 1 or more and a table [rows, width]; got 'tensor<?x?xi32>' and 'tensor<12xf32>'}}
  %0 = nest.embed %ids, %table : (tensor<?x?xi32>, tensor<12xf32>) -> tensor<?x?x12xf32>
  return
}

// -----

// C40: a row for every id.
func.func @c40(%ids: tensor<?x?xi32>, %table: tensor<12x8xf32>) {
  // expected-error @below {{[C40] the result is the ids' shape and the table's width, 'tensor<?x?x8xf32>'; got 'tensor<?x?x4xf32>'}}
  %0 = nest.embed %ids, %table : (tensor<?x?xi32>, tensor<12x8xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C41: the scale is finite.
func.func @c41(%ids: tensor<?x?xi32>, %table: tensor<12x8xf32>) {
  // expected-error @below {{[C41] the scale is a finite number}}
  %0 = nest.embed %ids, %table {scale = 0x7F800000 : f32} : (tensor<?x?xi32>, tensor<12x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C42: a weight is a matrix.
func.func @c42(%x: tensor<?x?x8xf32>, %w: tensor<2x4x8xf32>) {
  // expected-error @below {{[C42] takes x of rank 1 or more and a weight [out, in]; got 'tensor<?x?x8xf32>' and 'tensor<2x4x8xf32>'}}
  %0 = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<2x4x8xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C43: layer 0's activation does not meet layer 1's weight.
nest.axis @layers.0.ffn size 16 levels [16]
nest.axis @layers.1.ffn size 16 levels [16]
func.func @c43(%x: tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, %w: tensor<8x16xf32, #nest.on<_, layers.1.ffn>>) {
  // expected-error @below {{[C43] contracted dimensions lie on different axes: x's last on 'layers.0.ffn', the weight's second on 'layers.1.ffn'}}
  %0 = nest.linear %x, %w : (tensor<?x?x16xf32, #nest.on<_, _, layers.0.ffn>>, tensor<8x16xf32, #nest.on<_, layers.1.ffn>>) -> tensor<?x?x8xf32>
  return
}

// -----

// C43: nor one on no axis.
nest.axis @heads size 4 levels [4]
func.func @c43_none(%x: tensor<?x?x16xf32>, %w: tensor<8x16xf32, #nest.on<_, heads * 4>>) {
  // expected-error @below {{[C43] contracted dimensions lie on different axes: x's last on no axis, the weight's second on 'heads' * 4}}
  %0 = nest.linear %x, %w : (tensor<?x?x16xf32>, tensor<8x16xf32, #nest.on<_, heads * 4>>) -> tensor<?x?x8xf32>
  return
}

// -----

// C44: what is contracted has one size.
func.func @c44(%x: tensor<?x?x8xf32>, %w: tensor<4x6xf32>) {
  // expected-error @below {{[C44] contracted sizes differ: 8 in 'tensor<?x?x8xf32>', 6 in 'tensor<4x6xf32>'}}
  %0 = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<4x6xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C44: known or not.
func.func @c44_dynamic(%x: tensor<?x?x?xf32>, %w: tensor<4x6xf32>) {
  // expected-error @below {{[C44] contracted sizes differ: ? in 'tensor<?x?x?xf32>', 6 in 'tensor<4x6xf32>'}}
  %0 = nest.linear %x, %w : (tensor<?x?x?xf32>, tensor<4x6xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C45: the result has the weight's first dimension.
func.func @c45(%x: tensor<?x?x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @below {{[C45] the result has x's rows and the weight's first dimension with its axis, 'tensor<?x?x4xf32>'; got 'tensor<?x?x8xf32>'}}
  %0 = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<4x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C45: with its axis.
nest.axis @ffn size 4 levels [4]
func.func @c45_axis(%x: tensor<?x?x8xf32>, %w: tensor<4x8xf32, #nest.on<ffn, _>>) {
  // expected-error @below {{[C45] the result has x's rows and the weight's first dimension with its axis, 'tensor<?x?x4xf32, #nest.on<_, _, ffn>>'; got 'tensor<?x?x4xf32>'}}
  %0 = nest.linear %x, %w : (tensor<?x?x8xf32>, tensor<4x8xf32, #nest.on<ffn, _>>) -> tensor<?x?x4xf32>
  return
}

// -----

// C46: so has the bias.
func.func @c46(%x: tensor<?x?x8xf32>, %w: tensor<4x8xf32>, %b: tensor<8xf32>) {
  // expected-error @below {{[C46] the bias lies along the weight's first dimension, 'tensor<4xf32>'; got 'tensor<8xf32>'}}
  %0 = nest.linear %x, %w bias(%b) : (tensor<?x?x8xf32>, tensor<4x8xf32>, tensor<8xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C47: a norm keeps the type.
func.func @c47(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C47] takes x with a last dimension that is not empty and gives the same type; got 'tensor<?x?x8xf32>' and 'tensor<?x?x4xf32>'}}
  %0 = nest.norm rms %x epsilon 1.0e-5 : (tensor<?x?x8xf32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C47: and needs something to norm.
func.func @c47_empty(%x: tensor<?x?x0xf32>) {
  // expected-error @below {{[C47] takes x with a last dimension that is not empty and gives the same type}}
  %0 = nest.norm rms %x epsilon 1.0e-5 : (tensor<?x?x0xf32>) -> tensor<?x?x0xf32>
  return
}

// -----

// C48: groups divide the width.
func.func @c48(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C48] groups of 3 do not divide the last dimension of 'tensor<?x?x8xf32>'; a group divides it, and on an axis it divides the inner size}}
  %0 = nest.norm rms %x epsilon 1.0e-5 group 3 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C48: and every width of an axis.
nest.axis @ffn size 8 levels [8]
func.func @c48_axis(%x: tensor<?x?x8xf32, #nest.on<_, _, ffn>>) {
  // expected-error @below {{[C48] groups of 4 do not divide}}
  %0 = nest.norm rms %x epsilon 1.0e-5 group 4 : (tensor<?x?x8xf32, #nest.on<_, _, ffn>>) -> tensor<?x?x8xf32, #nest.on<_, _, ffn>>
  return
}

// -----

// C48: a group has elements.
func.func @c48_zero(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C48] groups of 0 do not divide}}
  %0 = nest.norm rms %x epsilon 1.0e-5 group 0 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C49: the weight lies along a group.
func.func @c49(%x: tensor<?x?x8xf32>, %w: tensor<8xf32>) {
  // expected-error @below {{[C49] weight and bias lie along a group, 'tensor<4xf32>'; got 'tensor<8xf32>'}}
  %0 = nest.norm rms %x weight(%w) epsilon 1.0e-5 group 4 : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C49: so does the bias, with its axis.
nest.axis @ffn size 8 levels [8]
func.func @c49_bias(%x: tensor<?x?x8xf32, #nest.on<_, _, ffn>>, %b: tensor<8xf32>) {
  // expected-error @below {{[C49] weight and bias lie along a group, 'tensor<8xf32, #nest.on<ffn>>'; got 'tensor<8xf32>'}}
  %0 = nest.norm layer %x bias(%b) epsilon 1.0e-5 : (tensor<?x?x8xf32, #nest.on<_, _, ffn>>, tensor<8xf32>) -> tensor<?x?x8xf32, #nest.on<_, _, ffn>>
  return
}

// -----

// C50: epsilon keeps the quotient finite.
func.func @c50(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C50] epsilon is a positive finite number}}
  %0 = nest.norm rms %x epsilon 0.0 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C50: a NaN is none.
func.func @c50_nan(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C50] epsilon is a positive finite number}}
  %0 = nest.norm rms %x epsilon 0x7FC00000 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C51: elementwise operations have one type, `?` and a size being two.
func.func @c51(%x: tensor<?x8xf32>) {
  // expected-error @below {{[C51] takes 'tensor<?x8xf32>' and gives 'tensor<4x8xf32>'; the types are equal}}
  %0 = "nest.act"(%x) <{kind = #nest<activation silu>}> : (tensor<?x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

// C51: so has glu.
func.func @c51_glu(%x: tensor<?x8xf32>, %y: tensor<4x8xf32>) {
  // expected-error @below {{[C51] takes 'tensor<?x8xf32>' and gives 'tensor<4x8xf32>'; the types are equal}}
  %0 = "nest.glu"(%x, %y) <{kind = #nest<activation silu>}> : (tensor<?x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32>
  return
}

// -----

// C52: a position for every row.
#rope = #nest.rope<head_dim = 4, frequencies = [1.0]>
func.func @c52(%x: tensor<?x?x8xf32>, %p: tensor<?xi32>) {
  // expected-error @below {{[C52] takes x [batch, rows, width] and positions [batch, rows]; got 'tensor<?x?x8xf32>' and 'tensor<?xi32>'}}
  %0 = nest.rope %x, %p by #rope : (tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C53: the width is heads.
#rope = #nest.rope<head_dim = 6, frequencies = [1.0]>
func.func @c53(%x: tensor<?x?x8xf32>, %p: tensor<?x?xi32>) {
  // expected-error @below {{[C53] 'tensor<?x?x8xf32>' is not whole heads of 6; the width is a multiple of head_dim, and on an axis the inner size is}}
  %0 = nest.rope %x, %p by #rope : (tensor<?x?x8xf32>, tensor<?x?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C53: at every width of an axis.
#rope = #nest.rope<head_dim = 4, frequencies = [1.0]>
nest.axis @heads size 4 levels [4]
func.func @c53_axis(%x: tensor<?x?x8xf32, #nest.on<_, _, heads * 2>>, %p: tensor<?x?xi32>) {
  // expected-error @below {{[C53] 'tensor<?x?x8xf32, #nest.on<_, _, heads * 2>>' is not whole heads of 4}}
  %0 = nest.rope %x, %p by #rope : (tensor<?x?x8xf32, #nest.on<_, _, heads * 2>>, tensor<?x?xi32>) -> tensor<?x?x8xf32, #nest.on<_, _, heads * 2>>
  return
}

// -----

// C54: a rotation keeps the type.
#rope = #nest.rope<head_dim = 4, frequencies = [1.0]>
func.func @c54(%x: tensor<?x?x8xf32>, %p: tensor<?x?xi32>) {
  // expected-error @below {{[C54] the result has x's type, 'tensor<?x?x8xf32>'; got 'tensor<?x1x8xf32>'}}
  %0 = nest.rope %x, %p by #rope : (tensor<?x?x8xf32>, tensor<?x?xi32>) -> tensor<?x1x8xf32>
  return
}

// -----

// C55: a last row needs rows.
func.func @c55(%x: tensor<?x0x8xf32>) {
  // expected-error @below {{[C55] takes x [batch, rows, width] with 1 or more rows, on no axis, or ids [batch, rows] that are not packed; got 'tensor<?x0x8xf32>'}}
  %0 = nest.last %x : (tensor<?x0x8xf32>) -> tensor<?x1x8xf32>
  return
}

// -----

// C55: ids have no width.
func.func @c55_ids(%ids: tensor<?x?x8xi32>) {
  // expected-error @below {{[C55] takes x [batch, rows, width] with 1 or more rows, on no axis, or ids [batch, rows] that are not packed; got 'tensor<?x?x8xi32>'}}
  %0 = nest.last %ids : (tensor<?x?x8xi32>) -> tensor<?x1x8xi32>
  return
}

// -----

// C56: of ids as well.
func.func @c56_ids(%ids: tensor<?x?xi32>) {
  // expected-error @below {{[C56] the result is one row of every sequence, 'tensor<?x1xi32>'; got 'tensor<?x2xi32>'}}
  %0 = nest.last %ids : (tensor<?x?xi32>) -> tensor<?x2xi32>
  return
}

// -----

// C56: it is one.
func.func @c56(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C56] the result is one row of every sequence, 'tensor<?x1x8xf32>'; got 'tensor<?x8xf32>'}}
  %0 = nest.last %x : (tensor<?x?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

// C56: an argmax is one for each row.
func.func @c56_1(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C56] the result is a column of every row, 'tensor<?x?xi32>'; got 'tensor<?xi32>'}}
  %0 = nest.argmax %x : (tensor<?x?x8xf32>) -> tensor<?xi32>
  return
}

// -----

// C55: the columns of an argmax are known.
func.func @c55_1(%x: tensor<?x?x?xf32>) {
  // expected-error @below {{[C55] takes x [batch, rows, width] with 1 or more rows of a known width, on no axis; got 'tensor<?x?x?xf32>'}}
  %0 = nest.argmax %x : (tensor<?x?x?xf32>) -> tensor<?x?xi32>
  return
}

// -----

// C57: a cache has a capacity.
func.func @c57(%c: tensor<?x2x?x4xf32>, %x: tensor<?x?x8xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C57] a cache is [batch, KV heads, capacity, head width], the last two static, positive and on no axis; got 'tensor<?x2x?x4xf32>'}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x?x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x?x4xf32>
  return
}

// -----

// C57: attention wants one too.
func.func @c57_attention(%q: tensor<?x?x8xf32>, %k: tensor<?x8x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C57] a cache is [batch, KV heads, capacity, head width], the last two static, positive and on no axis; got 'tensor<?x8x4xf32>'}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x8x4xf32>, tensor<?x8x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C58: a length for each sequence.
func.func @c58(%c: tensor<?x2x32x4xf32>, %x: tensor<?x?x8xf32>, %n: tensor<3xi32>) {
  // expected-error @below {{[C58] takes rows [batch, rows, width], no more than the capacity, and lengths [batch] with the cache's batch; got 'tensor<?x?x8xf32>' and 'tensor<3xi32>' for 'tensor<?x2x32x4xf32>'}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<3xi32>) -> tensor<?x2x32x4xf32>
  return
}

// -----

// C58: no more rows than fit.
func.func @c58_capacity(%c: tensor<?x2x32x4xf32>, %x: tensor<?x33x8xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C58] takes rows [batch, rows, width], no more than the capacity}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x32x4xf32>, tensor<?x33x8xf32>, tensor<?xi32>) -> tensor<?x2x32x4xf32>
  return
}

// -----

// C59: rows are the cache's heads.
func.func @c59(%c: tensor<?x2x32x4xf32>, %x: tensor<?x?x12xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C59] rows of 'tensor<?x?x12xf32>' do not fit the cache 'tensor<?x2x32x4xf32>'; their width is KV heads * head width, on the heads' axis}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x32x4xf32>, tensor<?x?x12xf32>, tensor<?xi32>) -> tensor<?x2x32x4xf32>
  return
}

// -----

// C59: on one axis.
nest.axis @heads size 2 levels [2]
func.func @c59_axis(%c: tensor<?x2x32x4xf32, #nest.on<_, heads, _, _>>, %x: tensor<?x?x8xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C59] rows of 'tensor<?x?x8xf32>' do not fit the cache}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x32x4xf32, #nest.on<_, heads, _, _>>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x32x4xf32, #nest.on<_, heads, _, _>>
  return
}

// -----

// C59: no product overflows.
func.func @c59_overflow(%c: tensor<?x4611686018427387904x32x4xf32>, %x: tensor<?x?x0xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C59] rows of 'tensor<?x?x0xf32>' do not fit the cache}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x4611686018427387904x32x4xf32>, tensor<?x?x0xf32>, tensor<?xi32>) -> tensor<?x4611686018427387904x32x4xf32>
  return
}

// -----

// C60: a cache keeps its type.
func.func @c60(%c: tensor<?x2x32x4xf32>, %x: tensor<?x?x8xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C60] the result has the cache's type, 'tensor<?x2x32x4xf32>'; got 'tensor<?x2x32x4xbf16>'}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x2x32x4xf32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x2x32x4xbf16>
  return
}

// -----

// C61: keys and values have one type.
func.func @c61(%q: tensor<?x?x8xf32>, %k: tensor<?x1x32x4xf32>, %v: tensor<?x1x32x4xf16>, %n: tensor<?xi32>) {
  // expected-error @below {{[C61] keys and values have one type; got 'tensor<?x1x32x4xf32>' and 'tensor<?x1x32x4xf16>'}}
  %0 = nest.attention %q, %k, %v, %n scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf16>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C62: one batch for all.
func.func @c62(%q: tensor<2x?x8xf32>, %k: tensor<?x1x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C62] takes queries [batch, rows, width] and lengths [batch] or [batch, 1] with the cache's batch; got 'tensor<2x?x8xf32>' and 'tensor<?xi32>' for 'tensor<?x1x32x4xf32>'}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<2x?x8xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf32>, tensor<?xi32>) -> tensor<2x?x8xf32>
  return
}

// -----

// C62: one length for each sequence.
func.func @c62_column(%q: tensor<?x?x8xf32>, %k: tensor<?x1x32x4xf32>, %n: tensor<?x2xi32>) {
  // expected-error @below {{[C62] takes queries [batch, rows, width] and lengths [batch] or [batch, 1] with the cache's batch; got 'tensor<?x?x8xf32>' and 'tensor<?x2xi32>' for 'tensor<?x1x32x4xf32>'}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf32>, tensor<?x2xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C63: queries are heads.
func.func @c63(%q: tensor<?x?x10xf32>, %k: tensor<?x1x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C63] 'tensor<?x?x10xf32>' is not whole heads of 4, the head width of 'tensor<?x1x32x4xf32>'}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x10xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf32>, tensor<?xi32>) -> tensor<?x?x10xf32>
  return
}

// -----

// C64: in groups.
func.func @c64(%q: tensor<?x?x12xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C64] query heads of 'tensor<?x?x12xf32>' do not form groups over the KV heads of 'tensor<?x2x32x4xf32>'; their number is a multiple, and both lie on one axis or none}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x12xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> tensor<?x?x12xf32>
  return
}

// -----

// C64: a prefix of the queries alone would change the groups.
nest.axis @heads size 2 levels [2]
func.func @c64_axis(%q: tensor<?x?x8xf32, #nest.on<_, _, heads * 4>>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C64] query heads of}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x8xf32, #nest.on<_, _, heads * 4>>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32, #nest.on<_, _, heads * 4>>
  return
}

// -----

// C64: there is a KV head.
func.func @c64_zero(%q: tensor<?x?x8xf32>, %k: tensor<?x0x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C64] query heads of}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x0x32x4xf32>, tensor<?x0x32x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C65: the scale is finite.
func.func @c65(%q: tensor<?x?x8xf32>, %k: tensor<?x1x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C65] the scale is a finite number}}
  %0 = nest.attention %q, %k, %k, %n scale 0xFF800000 <causal> : (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C66: attention keeps the queries' type.
func.func @c66(%q: tensor<?x?x8xf32>, %k: tensor<?x1x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C66] the result has the queries' type, 'tensor<?x?x8xf32>'; got 'tensor<?x?x4xf32>'}}
  %0 = nest.attention %q, %k, %k, %n scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x1x32x4xf32>, tensor<?x1x32x4xf32>, tensor<?xi32>) -> tensor<?x?x4xf32>
  return
}

// -----

// C67: layers do not nest.
func.func @c67(%x: tensor<?x?x8xf32>) {
  %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    // expected-error @below {{[C67] a layer stands in the body of a func.func, not in another operation}}
    %1 = nest.layer 1 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
      nest.yield %x : tensor<?x?x8xf32>
    }
    nest.yield %1 : tensor<?x?x8xf32>
  }
  return
}

// -----

// C68: layers count from 0.
func.func @c68(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C68] the index of a layer is 0 to 65535; got -1}}
  %0 = nest.layer -1 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    nest.yield %x : tensor<?x?x8xf32>
  }
  return
}

// -----

// C68: a model is no deeper than 65536 layers.
func.func @c68_depth(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C68] the index of a layer is 0 to 65535; got 99999999999}}
  %0 = nest.layer 99999999999 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    nest.yield %x : tensor<?x?x8xf32>
  }
  return
}

// -----

// C69: each once.
func.func @c69(%x: tensor<?x?x8xf32>) {
  // expected-note @below {{the first is here}}
  %0 = nest.layer 3 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    nest.yield %x : tensor<?x?x8xf32>
  }
  // expected-error @below {{[C69] a second layer 3; layers of a function have distinct indices}}
  %1 = nest.layer 3 (%0) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    nest.yield %0 : tensor<?x?x8xf32>
  }
  return
}

// -----

// C70: a skipped layer is the identity, so types are kept.
func.func @c70(%x: tensor<?x?x8xf32>, %y: tensor<?x?x4xf32>) {
  // expected-error @below {{[C70] the results are the streams and what is carried, of the operands' types in their order}}
  %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x4xf32>) {
    nest.yield %y : tensor<?x?x4xf32>
  }
  return
}

// -----

// C71: the body yields the results.
func.func @c71(%x: tensor<?x?x8xf32>, %y: tensor<?x?x4xf32>) {
  // expected-error @below {{[C71] the body has no arguments and ends in a nest.yield of the results' types}}
  %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
    nest.yield %y : tensor<?x?x4xf32>
  }
  return
}

// -----

// C71: it captures, and has no arguments.
func.func @c71_argument(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C71] the body has no arguments and ends in a nest.yield of the results' types}}
  %0 = nest.layer 0 (%x) : (tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) {
  ^bb0(%z: tensor<?x?x8xf32>):
    nest.yield %z : tensor<?x?x8xf32>
  }
  return
}

// -----

// C101: a token without a row reads one that is there.
func.func @c101(%ids: tensor<?x?xi32>, %t: tensor<12x8xf32>) {
  // expected-error @below {{[C101] ids outside of the table read row 12 of 'tensor<12x8xf32>'; it has no such row}}
  %0 = nest.embed %ids, %t unknown 12 : (tensor<?x?xi32>, tensor<12x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C102: a factor is a number.
func.func @c102(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C102] the factor is a finite number}}
  %0 = nest.times %x by 0x7F800000 : tensor<?x?x8xf32>
  return
}

// -----

// C103: a weight lies along the columns.
func.func @c103(%x: tensor<?x?x8xf32>, %w: tensor<4xf32>) {
  // expected-error @below {{[C103] takes x and a weight along its last dimension, and gives x's type; got 'tensor<?x?x8xf32>' and 'tensor<4xf32>'}}
  %0 = nest.gain %x, %w : (tensor<?x?x8xf32>, tensor<4xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C104: magnitudes are those of the same rows.
func.func @c104(%x: tensor<?x?x8xf32>, %r: tensor<?x4x8xf32>) {
  // expected-error @below {{[C104] takes two streams of one type, with a last dimension that is not empty, and gives this type; got 'tensor<?x?x8xf32>' and 'tensor<?x4x8xf32>'}}
  %0 = nest.rescale %x like %r epsilon 1.0e-5 : (tensor<?x?x8xf32>, tensor<?x4x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C105: a row of zeros is divided by a number.
func.func @c105(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C105] epsilon is a positive finite number}}
  %0 = nest.rescale %x like %x epsilon 0.0 : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C106: a row has a mean.
func.func @c106(%x: tensor<?x?x0xf32>) {
  // expected-error @below {{[C106] takes x with a last dimension that is not empty and gives the same type; got 'tensor<?x?x0xf32>'}}
  %0 = nest.cutoff %x factor 1.0 : (tensor<?x?x0xf32>) -> tensor<?x?x0xf32>
  return
}

// -----

// C107: deviations are counted by a number.
func.func @c107(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C107] the factor is a finite number}}
  %0 = nest.cutoff %x factor 0x7FC00000 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C108: results are streams of one type.
func.func @c108(%x: tensor<?x?x8xf32>, %c: tensor<?x?x2xf32>) {
  // expected-error @below {{[C108] gives streams of one type, [batch, rows, width] on no axis}}
  %0:2 = nest.fused(%x, %c) : (tensor<?x?x8xf32>, tensor<?x?x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x2xf32>) {
  ^bb0(%a: tensor<?x?x8xf32>, %b: tensor<?x?x2xf32>):
    nest.yield %a, %b : tensor<?x?x8xf32>, tensor<?x?x2xf32>
  }
  return
}

// -----

// C108: and there are some.
func.func @c108_none(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C108] gives streams of one type, [batch, rows, width] on no axis}}
  nest.fused(%x) : (tensor<?x?x8xf32>) -> () {
  ^bb0(%a: tensor<?x?x8xf32>):
    nest.yield
  }
  return
}

// -----

// C108: the body takes the inputs.
func.func @c108_arguments(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C108] the body takes the inputs and ends in a nest.yield of the results' types}}
  %0 = nest.fused(%x) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>, %b: tensor<?x?x8xf32>):
    nest.yield %a : tensor<?x?x8xf32>
  }
  return
}

// -----

// C108: and gives the results.
func.func @c108_yield(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C108] the body takes the inputs and ends in a nest.yield of the results' types}}
  %0 = nest.fused(%x) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>):
    nest.yield %a, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
  return
}

// -----

// C109: other rows are not seen.
func.func @c109(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C109] the body holds 'nest.last', which is no code of a row; legal are elementwise operations, norms of whole rows, nest.rescale, nest.cutoff and products with at most 16 rows of an f32 matrix}}
  %0 = nest.fused(%x) : (tensor<?x?x8xf32>) -> tensor<?x1x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>):
    %y = nest.last %a : (tensor<?x?x8xf32>) -> tensor<?x1x8xf32>
    nest.yield %y : tensor<?x1x8xf32>
  }
  return
}

// -----

// C109: a norm is that of a row.
func.func @c109_norm(%x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C109] the body holds 'nest.norm'}}
  %0 = nest.fused(%x) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>):
    %y = nest.norm rms %a epsilon 1.0e-5 group 4 : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C109: and a product has a few rows.
func.func @c109_linear(%x: tensor<?x?x8xf32>, %w: tensor<17x8xf32>) {
  // expected-error @below {{[C109] the body holds 'nest.linear'}}
  %0 = nest.fused(%x, %w) : (tensor<?x?x8xf32>, tensor<17x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>, %b: tensor<17x8xf32>):
    %c = nest.linear %a, %b : (tensor<?x?x8xf32>, tensor<17x8xf32>) -> tensor<?x?x17xf32>
    %y = nest.scale %a by %c : (tensor<?x?x8xf32>, tensor<?x?x17xf32>) -> tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C109: of an f32 matrix.
func.func @c109_narrow(%x: tensor<?x?x8xf32>, %w: tensor<2x8xbf16>) {
  // expected-error @below {{[C109] the body holds 'nest.linear'}}
  %0 = nest.fused(%x, %w) : (tensor<?x?x8xf32>, tensor<2x8xbf16>) -> tensor<?x?x8xf32> {
  ^bb0(%a: tensor<?x?x8xf32>, %b: tensor<2x8xbf16>):
    %c = nest.linear %a, %b : (tensor<?x?x8xf32>, tensor<2x8xbf16>) -> tensor<?x?x2xf32>
    %y = nest.scale %a by %c : (tensor<?x?x8xf32>, tensor<?x?x2xf32>) -> tensor<?x?x8xf32>
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}
