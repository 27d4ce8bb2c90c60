// RUN: nest-opt %s --convert-nest-to-linalg --split-input-file --verify-diagnostics

nest.axis @ffn size 8 levels [4, 8]
nest.weight @up : tensor<8x4xf32, #nest.on<ffn, _>>
nest.weight @down : tensor<4x8xf32, #nest.on<_, ffn>>
func.func @axis_left(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  // expected-error@+1 {{has a value on the axis ffn; bind axes with nest-specialize and drop them with nest-drop-axes before convert-nest-to-linalg}}
  %up = nest.get @up : tensor<8x4xf32, #nest.on<ffn, _>>
  %y = nest.linear %x, %up : (tensor<?x?x4xf32>, tensor<8x4xf32, #nest.on<ffn, _>>) -> tensor<?x?x8xf32, #nest.on<_, _, ffn>>
  %down = nest.get @down : tensor<4x8xf32, #nest.on<_, ffn>>
  %z = nest.linear %y, %down : (tensor<?x?x8xf32, #nest.on<_, _, ffn>>, tensor<4x8xf32, #nest.on<_, ffn>>) -> tensor<?x?x4xf32>
  return %z : tensor<?x?x4xf32>
}

// -----

nest.weight @w : tensor<4xf32>
// expected-error@+1 {{reads weights, which become arguments, and is called; run --inline before convert-nest-to-linalg}}
func.func private @helper(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  %w = nest.get @w : tensor<4xf32>
  %y = nest.norm rms %x weight(%w) epsilon 1.0e-5 : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}
func.func @entry(%x: tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  // expected-note@+1 {{called here}}
  %y = call @helper(%x) : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// -----

func.func @on_left(%x: tensor<?x?x4xf32>, %s: tensor<?x?x1xf32>) -> tensor<?x?x4xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  // expected-error@+1 {{cannot be lowered; expand it with nest-expand-rows before convert-nest-to-linalg}}
  %y = nest.on %r gather(%x) into(%x) : (!nest.rows<1>, tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32> {
  ^bb0(%g: tensor<?x?x4xf32>):
    %z = nest.act relu %g : tensor<?x?x4xf32>
    nest.yield %z : tensor<?x?x4xf32>
  }
  return %y : tensor<?x?x4xf32>
}

// -----

// expected-error@+1 {{passes a family of row sets on; convert-nest-to-linalg takes families where they are made}}
func.func @family_argument(%x: tensor<?x?x4xf32>, %r: !nest.rows<1>) -> tensor<?x?x4xf32> {
  %y = nest.gather %x by %r : (tensor<?x?x4xf32>, !nest.rows<1>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// -----

func.func @family_result(%s: tensor<?x?x1xf32>) -> !nest.rows<1> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  // expected-error@+1 {{passes a family of row sets on}}
  return %r : !nest.rows<1>
}

// -----

func.func @two_families(%s: tensor<?x?x1xf32>, %x: tensor<?x?x4xf32>, %w: tensor<4x4xf32>, %b: tensor<4xf32>) -> tensor<?x?x4xf32> {
  %r = nest.select %s above 0.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %q = nest.select %s above 1.0 : (tensor<?x?x1xf32>) -> !nest.rows<1>
  %ws = nest.per_set %r (%w) : (!nest.rows<1>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %bs = nest.per_set %q (%b) : (!nest.rows<1>, tensor<4xf32>) -> tensor<4xf32>
  // expected-error@+1 {{cannot be lowered: weight and bias are per_set of two families or x is no stream}}
  %y = nest.linear %x, %ws bias(%bs) : (tensor<?x?x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}
