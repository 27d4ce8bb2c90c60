// Row sets: a negative test for each message of the constraints C72 to C100 of
// docs/Spec.md, in its order. // Cn: names the constraint.
// RUN: nest-opt %s -verify-diagnostics -split-input-file

// C72: a part is at most all.
// expected-error @below {{[C72] a capacity is a part of the rows from 0/n to n/n or a count, with a minimum, all of them 0 to 2147483647; got 9/8 and 0}}
func.func private @c72() attributes {x = #nest.capacity<9/8>}

// -----

// C72: numbers are small.
// expected-error @below {{[C72] a capacity is a part of the rows from 0/n to n/n or a count, with a minimum, all of them 0 to 2147483647; got 2147483648 and 0}}
func.func private @c72_count() attributes {x = #nest.capacity<2147483648>}

// -----

// C72: and not negative.
// expected-error @below {{[C72] a capacity is a part of the rows from 0/n to n/n or a count, with a minimum, all of them 0 to 2147483647; got 1/8 and -1}}
func.func private @c72_minimum() attributes {x = #nest.capacity<1/8, min -1>}

// -----

// C73: a family has sets.
// expected-error @below {{[C73] a family has 1 to 65535 sets; got 0}}
func.func private @c73(!nest.rows<0>)

// -----

// C73: a capacity is of one set.
// expected-error @below {{[C73] a capacity counts the rows of a single set that does not cover}}
func.func private @c73_capacity(!nest.rows<2, #nest.capacity<1/8>>)

// -----

// C74: scores have one column.
func.func @c74(%l: tensor<?x?x3xf32>) {
  // expected-error @below {{[C74] takes scores [batch, rows, 1] on no axis; got 'tensor<?x?x3xf32>'}}
  %0 = nest.select %l top <1> : (tensor<?x?x3xf32>) -> !nest.rows<1, #nest.capacity<1>>
  return
}

// -----

// C74: within one set.
func.func @c74_1(%s: tensor<?x?x1xf32>, %g: !nest.rows<2>) {
  // expected-error @below {{[C74] is within '!nest.rows<2>'; legal is a single set}}
  %0 = nest.select %s within %g above 0.0 : (tensor<?x?x1xf32>, !nest.rows<2>) -> !nest.rows<1>
  return
}

// -----

// C75: by one rule.
func.func @c75(%s: tensor<?x?x1xf32>) {
  // expected-error @below {{[C75] selects either the top of a capacity or what is above a threshold that is a number}}
  %0 = nest.select %s top <1> above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1, #nest.capacity<1>>
  return
}

// -----

// C75: a threshold is a number.
func.func @c75_1(%s: tensor<?x?x1xf32>) {
  // expected-error @below {{[C75] selects either}}
  %0 = nest.select %s above 0x7FC00000 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  return
}

// -----

// C76: ids are of rows.
func.func @c76(%n: tensor<?xi32>) {
  // expected-error @below {{[C76] takes ids [batch, rows]; got 'tensor<?xi32>'}}
  %0 = nest.partition %n sets [0] : (tensor<?xi32>) -> !nest.rows<1, cover>
  return
}

// -----

// C76: every set has a value.
func.func @c76_1(%m: tensor<?x?xi32>) {
  // expected-error @below {{[C76] the sets of the values are 0 to n - 1, each of them at least once, or -1 for none}}
  %0 = nest.partition %m sets [0, 2] : (tensor<?x?xi32>) -> !nest.rows<3, cover>
  return
}

// -----

// C76: there is a set.
func.func @c76_2(%m: tensor<?x?xi32>) {
  // expected-error @below {{[C76] the sets of the values are 0 to n - 1}}
  %0 = nest.partition %m sets [-1] : (tensor<?x?xi32>) -> !nest.rows<1, cover>
  return
}

// -----

// C76: no integer is too large to be refused.
func.func @c76_3(%m: tensor<?x?xi32>) {
  // expected-error @below {{[C76] the sets of the values are 0 to n - 1}}
  %0 = nest.partition %m sets [0, 9223372036854775807] : (tensor<?x?xi32>) -> !nest.rows<1, cover>
  return
}

// -----

// C77: scores have slots.
func.func @c77(%p: tensor<?x8xf32>) {
  // expected-error @below {{[C77] takes scores [batch, rows, slots] on no axis; got 'tensor<?x8xf32>'}}
  %0 = nest.assign %p choice 0 : (tensor<?x8xf32>) -> !nest.rows<8, cover>
  return
}

// -----

// C77: a choice is one of them.
func.func @c77_1(%l: tensor<?x?x3xf32>) {
  // expected-error @below {{[C77] the choice is 0 to 2, one for each slot; got 3}}
  %0 = nest.assign %l choice 3 : (tensor<?x?x3xf32>) -> !nest.rows<3, cover>
  return
}

// -----

// C78: a source says what it makes.
func.func @c78(%l: tensor<?x?x3xf32>) {
  // expected-error @below {{[C78] makes '!nest.rows<3, cover>'; got '!nest.rows<3>'}}
  %0 = nest.assign %l choice 0 : (tensor<?x?x3xf32>) -> !nest.rows<3>
  return
}

// -----

// C78: with its capacity.
func.func @c78_1(%s: tensor<?x?x1xf32>) {
  // expected-error @below {{[C78] makes '!nest.rows<1, #nest.capacity<1/8>>'; got '!nest.rows<1>'}}
  %0 = nest.select %s top <1/8> : (tensor<?x?x1xf32>) -> !nest.rows<1>
  return
}

// -----

// C79: what is picked is there.
func.func @c79(%f: !nest.rows<2, cover>) {
  // expected-error @below {{[C79] picks 2 sets from 1 on of '!nest.rows<2, cover>'; they are 1 or more of its sets}}
  %0 = nest.pick %f from 1 count 2 : (!nest.rows<2, cover>) -> !nest.rows<2>
  return
}

// -----

// C80: bodies are as many as sets.
func.func @c80(%f: !nest.rows<2, cover>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C80] has 1 bodies for '!nest.rows<2, cover>'; legal is one for each set, or fewer with `into`}}
  %0 = nest.on %f gather(%x) : (!nest.rows<2, cover>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C80: or fewer.
func.func @c80_1(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C80] has 2 bodies for '!nest.rows<1>'}}
  %0 = nest.on %r gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y : tensor<?x?x8xf32>
  }, {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C81: rows are those of one stream.
func.func @c81(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>, %t: tensor<4x3x8xf32>) {
  // expected-error @below {{[C81] gathers or returns into 'tensor<4x3x8xf32>'; legal are [batch, rows] and [batch, rows, width] of one batch and rows, on no axis}}
  %0 = nest.on %r gather(%x, %t) into(%x) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<4x3x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%y: tensor<?x?x8xf32>, %u: tensor<4x3x8xf32>):
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C82: one set carries.
func.func @c82(%f: !nest.rows<2, cover>, %x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>) {
  // expected-error @below {{[C82] carries values through '!nest.rows<2, cover>'; only the body of a single set carries}}
  %0:2 = nest.on %f gather(%x) into(%x) carry(%k) : (!nest.rows<2, cover>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x32x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>) {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y, %k : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>
  }, {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y, %k : tensor<?x?x8xf32>, tensor<?x2x32x4xf32>
  }
  return
}

// -----

// C83: what is carried returns.
func.func @c83(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>) {
  // expected-error @below {{[C83] the last results are what is carried, of its types}}
  %0:2 = nest.on %r gather(%x) into(%x) carry(%k) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x2x32x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y, %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
  return
}

// -----

// C83: only a family that covers needs no base.
func.func @c83_1(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C83] assembles results of '!nest.rows<1>', which does not cover; give it `into`}}
  %0 = nest.on %r gather(%x) : (!nest.rows<1>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y : tensor<?x?x8xf32>
  }
  return
}

// -----

// C83: results have the types of the bases.
func.func @c83_2(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C83] the first results are those of `into`, of its types}}
  %0:2 = nest.on %r gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield %y, %y : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
  return
}

// -----

// C83: results are streams.
func.func @c83_3(%f: !nest.rows<2, cover>, %m: tensor<?x?xi32>) {
  // expected-error @below {{[C83] returns 'tensor<?x?xi32>'; legal are streams of the rows gathered}}
  %0 = nest.on %f gather(%m) : (!nest.rows<2, cover>, tensor<?x?xi32>) -> tensor<?x?xi32> {
  ^bb0(%y: tensor<?x?xi32>):
    nest.yield %y : tensor<?x?xi32>
  }, {
  ^bb0(%y: tensor<?x?xi32>):
    nest.yield %y : tensor<?x?xi32>
  }
  return
}

// -----

// C84: a body takes what is gathered.
func.func @c84(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C84] a body takes what is gathered and ends in a nest.yield of the results' types}}
  %0 = nest.on %r gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
    nest.yield %x : tensor<?x?x8xf32>
  }
  return
}

// -----

// C84: and yields the results.
func.func @c84_1(%r: !nest.rows<1>, %x: tensor<?x?x8xf32>) {
  // expected-error @below {{[C84] a body takes what is gathered}}
  %0 = nest.on %r gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  ^bb0(%y: tensor<?x?x8xf32>):
    nest.yield
  }
  return
}

// -----

// C85: a gather keeps the type.
func.func @c85(%x: tensor<?x?x8xf32>, %r: !nest.rows<1>) {
  // expected-error @below {{[C85] takes [batch, rows] or [batch, rows, width] and gives the same type; got 'tensor<?x?x8xf32>' and 'tensor<?x4x8xf32>'}}
  %0 = nest.gather %x by %r : (tensor<?x?x8xf32>, !nest.rows<1>) -> tensor<?x4x8xf32>
  return
}

// -----

// C85: of something with rows.
func.func @c85_1(%n: tensor<?xi32>, %r: !nest.rows<1>) {
  // expected-error @below {{[C85] takes [batch, rows] or [batch, rows, width]}}
  %0 = nest.gather %n by %r : (tensor<?xi32>, !nest.rows<1>) -> tensor<?xi32>
  return
}

// -----

// C86: a spread has one type.
func.func @c86(%x: tensor<?x?x8xf32>, %q: tensor<?x4x8xf32>, %r: !nest.rows<1>) {
  // expected-error @below {{[C86] takes streams of one type, which is the result's; got 'tensor<?x?x8xf32>'}}
  %0 = nest.spread %x by %r into %q : (tensor<?x?x8xf32>, !nest.rows<1>, tensor<?x4x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C86: over a base, or everywhere.
func.func @c86_1(%x: tensor<?x?x8xf32>, %r: !nest.rows<1>) {
  // expected-error @below {{[C86] spreads rows of '!nest.rows<1>', which does not cover, over nothing; give it `into`}}
  %0 = nest.spread %x by %r : (tensor<?x?x8xf32>, !nest.rows<1>) -> tensor<?x?x8xf32>
  return
}

// -----

// C87: each set has a value.
func.func @c87(%f: !nest.rows<2, cover>, %w: tensor<8x8xf32>) {
  // expected-error @below {{[C87] has 1 values for '!nest.rows<2, cover>'; each set has one}}
  %0 = nest.per_set %f (%w) : (!nest.rows<2, cover>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return
}

// -----

// C87: of one type.
func.func @c87_1(%f: !nest.rows<2, cover>, %w: tensor<8x8xf32>, %p: tensor<?x8xf32>) {
  // expected-error @below {{[C87] has a value of 'tensor<?x8xf32>'; all have the result's type, 'tensor<8x8xf32>'}}
  %0 = nest.per_set %f (%w, %p) : (!nest.rows<2, cover>, tensor<8x8xf32>, tensor<?x8xf32>) -> tensor<8x8xf32>
  return
}

// -----

// C88: weights of each set go to products and norms.
func.func @c88(%r: !nest.rows<1>, %w: tensor<8x8xf32>) {
  // expected-error @below {{[C88] is used by 'nest.act'; legal as weight or bias of nest.linear, nest.norm and nest.gain}}
  %0 = nest.per_set %r (%w) : (!nest.rows<1>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nest.act relu %0 : tensor<8x8xf32>
  return
}

// -----

// C88: and are no stream.
func.func @c88_1(%r: !nest.rows<1>, %w: tensor<8x8xf32>) {
  // expected-error @below {{[C88] is used by 'nest.linear'}}
  %0 = nest.per_set %r (%w) : (!nest.rows<1>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = nest.linear %0, %w : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return
}

// -----

// C89: a row has its weights.
func.func @c89(%x: tensor<?x?x8xf32>, %l: tensor<?x3xf32>) {
  // expected-error @below {{[C89] takes a stream and weights [batch, rows, n] of its rows, and gives the stream's type; got 'tensor<?x?x8xf32>' and 'tensor<?x3xf32>'}}
  %0 = nest.scale %x by %l : (tensor<?x?x8xf32>, tensor<?x3xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C89: and takes one of them.
func.func @c89_column(%x: tensor<?x?x8xf32>, %l: tensor<?x?x3xf32>) {
  // expected-error @below {{[C89] takes column 3 of weights with 3}}
  %0 = nest.scale %x by %l column 3 : (tensor<?x?x8xf32>, tensor<?x?x3xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C90: every set has a score.
func.func @c90(%s: tensor<?x?x1xf32>, %f: !nest.rows<2, cover>) {
  // expected-error @below {{[C90] takes scores [batch, rows, slots] with a slot for each set and gives [batch, rows, 1]; got 'tensor<?x?x1xf32>' and 'tensor<?x?x1xf32>'}}
  %0 = nest.chosen %s by %f : (tensor<?x?x1xf32>, !nest.rows<2, cover>) -> tensor<?x?x1xf32>
  return
}

// -----

// C91: a softmax keeps the type.
func.func @c91(%p: tensor<?x8xf32>) {
  // expected-error @below {{[C91] takes a stream on no axis and gives its type; got 'tensor<?x8xf32>' and 'tensor<?x8xf32>'}}
  %0 = nest.softmax %p : (tensor<?x8xf32>) -> tensor<?x8xf32>
  return
}

// -----

// C91: over rows of one set.
func.func @c91_1(%x: tensor<?x?x8xf32>, %f: !nest.rows<2, cover>) {
  // expected-error @below {{[C91] is by rows; that needs over_rows and a single set}}
  %0 = nest.softmax %x over_rows by %f : (tensor<?x?x8xf32>, !nest.rows<2, cover>) -> tensor<?x?x8xf32>
  return
}

// -----

// C91: not over columns.
func.func @c91_2(%x: tensor<?x?x8xf32>, %r: !nest.rows<1>) {
  // expected-error @below {{[C91] is by rows; that needs over_rows and a single set}}
  %0 = nest.softmax %x by %r : (tensor<?x?x8xf32>, !nest.rows<1>) -> tensor<?x?x8xf32>
  return
}

// -----

// C92: lengths count rows.
func.func @c92(%n: tensor<?xi32>) {
  // expected-error @below {{[C92] takes lengths [batch] and ids [batch, rows] and gives 'tensor<?xi32>'; got 'tensor<?xi32>' and 'tensor<?xi32>'}}
  %0 = nest.advance %n, %n : (tensor<?xi32>, tensor<?xi32>) -> tensor<?xi32>
  return
}

// -----

// C92: each row has a number.
func.func @c92_1(%n: tensor<?xi32>, %m: tensor<?x?xi32>) {
  // expected-error @below {{[C92] takes lengths [batch] and ids [batch, rows] and gives 'tensor<?x?xi32>'; got}}
  %0 = nest.rank %n, %m : (tensor<?xi32>, tensor<?x?xi32>) -> tensor<?xi32>
  return
}

// -----

// C93: the last row is in a set.
func.func @c93(%x: tensor<?x?x8xf32>, %g: !nest.rows<2>) {
  // expected-error @below {{[C93] takes rows packed by '!nest.rows<2>'; legal is a family that covers}}
  %0 = nest.last %x by %g : (tensor<?x?x8xf32>, !nest.rows<2>) -> tensor<?x1x8xf32>
  return
}

// -----

// C94: positions go to positions.
func.func @c94(%c: tensor<?x32xi32>, %x: tensor<?x?x8xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C94] appends 'tensor<?x?x8xf32>' to 'tensor<?x32xi32>'; legal is i32 [batch, rows] to i32 [batch, capacity], which is the result's type}}
  %0 = nest.cache_append %c, %x, %n : (tensor<?x32xi32>, tensor<?x?x8xf32>, tensor<?xi32>) -> tensor<?x32xi32>
  return
}

// -----

// C94: and to nothing else.
func.func @c94_1(%k: tensor<?x2x32x4xf32>, %m: tensor<?x?xi32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C94] appends 'tensor<?x?xi32>' to 'tensor<?x2x32x4xf32>'}}
  %0 = nest.cache_append %k, %m, %n : (tensor<?x2x32x4xf32>, tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x2x32x4xf32>
  return
}

// -----

// C95: compact caches have a family.
func.func @c95(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>) {
  // expected-error @below {{[C95] is compact; that needs the family whose rows the caches hold: by}}
  %0 = nest.attention %x, %k, %k, %n compact scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C96: positions are for a window or alibi.
func.func @c96(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %c: tensor<?x32xi32>) {
  // expected-error @below {{[C96] positions are those of the cache's rows, [batch, capacity], for a window or alibi; got 'tensor<?x32xi32>'}}
  %0 = nest.attention %x, %k, %k, %n positions %c scale 0.5 <causal> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, tensor<?x32xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C96: of the cache.
func.func @c96_1(%x: tensor<?x?x8xf32>, %k: tensor<?x2x32x4xf32>, %n: tensor<?xi32>, %m: tensor<?x?xi32>) {
  // expected-error @below {{[C96] positions are those of the cache's rows, [batch, capacity], for a window or alibi; got 'tensor<?x?xi32>'}}
  %0 = nest.attention %x, %k, %k, %n positions %m scale 0.5 <causal, window = 4> : (tensor<?x?x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>, tensor<?xi32>, tensor<?x?xi32>) -> tensor<?x?x8xf32>
  return
}

// -----

// C97: what alibi takes off is above 0.
// expected-error @below {{[C97] alibi is a finite f32 above 0; got 0.000000e+00 : f32}}
func.func private @c97() attributes {mask = #nest.mask<causal, alibi = 0.0>}

// -----

// C97: and finite.
// expected-error @below {{[C97] alibi is a finite f32 above 0; got 0x7F800000 : f32}}
func.func private @c97_1() attributes {mask = #nest.mask<alibi = 0x7F800000>}

// -----

// C98: a quotient is of what is not negative.
func.func @c97(%x: tensor<?x4x8xf32>) {
  // expected-error @below {{[C98] maps 'tensor<?x8x8xf32>' to 'tensor<?x4x8xf32>' by affine_map<(d0, d1, d2) -> (d0, (d1 - 1) floordiv 2, d2)>; legal are tensors on no axis}}
  %0 = nest.remap %x by affine_map<(b, t, c) -> (b, (t - 1) floordiv 2, c)> : (tensor<?x4x8xf32>) -> tensor<?x8x8xf32>
  return
}

// -----

// C99: the batch is that of x.
func.func @c98(%x: tensor<4x8xf32>) {
  // expected-error @below {{[C99] gives 'tensor<?x4x8xf32>'; legal is the base's type or, without one, the batch of x}}
  %0 = nest.remap %x by affine_map<(b, t, c) -> (t, c)> : (tensor<4x8xf32>) -> tensor<?x4x8xf32>
  return
}

// -----

// C100: without lengths keys are the rows of the call.
func.func @c99(%x: tensor<?x4x8xf32>, %k: tensor<?x2x32x4xf32>) {
  // expected-error @below {{[C100] has no lengths, so that keys are the rows of the call, which all see: legal are as many queries as keys, no positions, no family and the mask <>; got 'tensor<?x4x8xf32>' and 'tensor<?x2x32x4xf32>'}}
  %0 = nest.attention %x, %k, %k scale 0.5 <> : (tensor<?x4x8xf32>, tensor<?x2x32x4xf32>, tensor<?x2x32x4xf32>) -> tensor<?x4x8xf32>
  return
}
