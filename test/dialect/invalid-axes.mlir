// Axes, modules and entries: a negative test for each constraint of
// docs/Spec.md, in its order. // Cn: names the constraint.
// RUN: nest-opt %s -verify-diagnostics -split-input-file

// C1: an encoding names an axis.
// expected-error @below {{[C1] #nest.on names no axis; leave the encoding out}}
func.func private @c1(tensor<4x4xf32, #nest.on<_, _>>)

// -----

// C2: an encoding is as long as the shape.
// expected-error @below {{[C2] #nest.on names 1 dimensions; the tensor has 2}}
func.func private @c2(tensor<4x4xf32, #nest.on<ffn>>)

// -----

// C3: inner sizes are positive.
// expected-error @below {{[C3] an inner size is a positive number behind an axis's name; got 0 behind 'heads'}}
func.func private @c3(tensor<4xf32, #nest.on<heads * 0>>)

// -----

// C3: and stand behind a name.
// expected-error @below {{[C3] an inner size is a positive number behind an axis's name; got 2 behind '_'}}
func.func private @c3_no_axis(tensor<4x4xf32, #nest.on<ffn, _ * 2>>)

// -----

// C4: a window is no negative number.
// expected-error @below {{[C4] a window is a positive number of keys, or 0 for none; got -1}}
func.func private @c4() attributes {mask = #nest.mask<causal, window = -1>}

// -----

// C5: a window needs causal.
// expected-error @below {{[C5] a window counts back from the query; legal is <causal, window = 4>}}
func.func private @c5() attributes {mask = #nest.mask<window = 4>}

// -----

// C6: frequencies fit the head.
// expected-error @below {{[C6] rope needs 1 to head_dim / 2 frequencies; got 2 for head_dim 3}}
func.func private @c6() attributes {rope = #nest.rope<head_dim = 3, frequencies = [1.0, 2.0]>}

// -----

// C6: there is one.
// expected-error @below {{[C6] rope needs 1 to head_dim / 2 frequencies; got 0 for head_dim 4}}
func.func private @c6_none() attributes {rope = #nest.rope<head_dim = 4, frequencies = []>}

// -----

// C7: frequencies are finite in f32.
// expected-error @below {{[C7] frequencies and magnitude of rope are finite f32 numbers}}
func.func private @c7() attributes {rope = #nest.rope<head_dim = 4, frequencies = [1.0e300]>}

// -----

// C7: and so is the magnitude.
// expected-error @below {{[C7] frequencies and magnitude of rope are finite f32 numbers}}
func.func private @c7_magnitude() attributes {rope = #nest.rope<head_dim = 4, frequencies = [1.0], magnitude = 0x7FC00000>}

// -----

// C8: an axis has elements.
// expected-error @below {{[C8] an axis has 1 or more elements; got 0}}
nest.axis @c8 size 0 levels [1]

// -----

// C8: and so has what one stands for.
// expected-error @below {{[C8] nest.group is an i64 of 1 or more on a nest.axis, and times the size it fits in 64 bits; got 0 : i64}}
nest.axis @c8_group size 8 levels [8] {nest.group = 0 : i64}

// -----

// C8: what users count is a number.
// expected-error @below {{[C8] nest.group is an i64 of 1 or more on a nest.axis, and times the size it fits in 64 bits; got 4611686018427387904 : i64}}
nest.axis @c8_overflow size 8 levels [8] {nest.group = 4611686018427387904 : i64}

// -----

// C9: levels ascend.
// expected-error @below {{[C9] levels are one or more ascending widths from 1 to 8}}
nest.axis @c9 size 8 levels [4, 4, 8]

// -----

// C9: up to the size.
// expected-error @below {{[C9] levels are one or more ascending widths from 1 to 8}}
nest.axis @c9_above size 8 levels [4, 16]

// -----

// C9: from 1 on.
// expected-error @below {{[C9] levels are one or more ascending widths from 1 to 8}}
nest.axis @c9_below size 8 levels [0, 8]

// -----

// C9: and there are some.
// expected-error @below {{[C9] levels are one or more ascending widths from 1 to 8}}
nest.axis @c9_none size 8 levels []

// -----

// C10: an axis is declared; a weight names it.
// expected-error @below {{[C10] there is no axis 'layers.0.ffn'; declare it beside the function with nest.axis}}
nest.weight @c10 : tensor<8x4xf32, #nest.on<layers.0.ffn, _>>

// -----

// C10: a graph operation names it.
func.func @c10_op(%x: tensor<8xf32, #nest.on<ffn>>) {
  // expected-error @below {{[C10] there is no axis 'ffn'}}
  %0 = nest.act relu %x : tensor<8xf32, #nest.on<ffn>>
  return
}

// -----

// C10: any operation does, in a module with axes.
nest.axis @ffn size 8 levels [8]
// expected-error @below {{[C10] there is no axis 'fnf'}}
func.func private @c10_signature(tensor<8xf32, #nest.on<fnf>>)

// -----

// C10: the symbol is an axis.
nest.axis @ffn size 8 levels [8]
nest.weight @w : tensor<8xf32>
// expected-error @below {{[C10] there is no axis 'w'}}
func.func private @c10_weight(tensor<8xf32, #nest.on<w>>)

// -----

// C11: a dimension has the size of its axis.
// expected-note @below {{the axis is declared here}}
nest.axis @ffn size 8 levels [4, 8]
// expected-error @below {{[C11] dimension 0 of 'tensor<4xf32, #nest.on<ffn>>' has size 4; on axis 'ffn' it is 8 * 1, or ? for a width bound at run time}}
nest.weight @c11 : tensor<4xf32, #nest.on<ffn>>

// -----

// C11: times the inner size.
// expected-note @below {{the axis is declared here}}
nest.axis @heads size 8 levels [8]
// expected-error @below {{[C11] dimension 1 of 'tensor<2x8xf32, #nest.on<_, heads * 16>>' has size 8; on axis 'heads' it is 8 * 16}}
func.func private @c11_inner(tensor<2x8xf32, #nest.on<_, heads * 16>>)

// -----

// C11: no product of sizes overflows.
// expected-note @below {{the axis is declared here}}
nest.axis @heads size 9223372036854775807 levels [8]
// expected-error @below {{[C11] dimension 0 of}}
func.func private @c11_overflow(tensor<0xf32, #nest.on<heads * 2>>)

// -----

// C12: an axis is a tensor's own encoding.
nest.axis @ffn size 8 levels [8]
// expected-error @below {{[C12] an axis inside 'tuple<tensor<8xf32, #nest.on<ffn>>>'; #nest.on is legal as a tensor's own encoding only}}
func.func private @c12(tuple<tensor<8xf32, #nest.on<ffn>>>)

// -----

// C12: no memory space.
nest.axis @ffn size 8 levels [8]
// expected-error @below {{[C12] an axis inside 'memref<8xf32, #nest.on<ffn>>'}}
func.func private @c12_memref(memref<8xf32, #nest.on<ffn>>)

// -----

// C13: graph operations know no other encoding.
func.func @c13(%x: tensor<8xf32, "sparse">) {
  // expected-error @below {{[C13] the encoding "sparse" has no meaning here; legal are #nest.on and none}}
  %0 = nest.act relu %x : tensor<8xf32, "sparse">
  return
}

// -----

// C14: only the white list touches a value on an axis.
nest.axis @ffn size 8 levels [8]
func.func @c14(%x: tensor<4x8xf32, #nest.on<_, ffn>>, %y: tensor<4x4xf32>) {
  // expected-error @below {{'linalg.matmul' op [C14] may not touch a value on axis 'ffn'; legal are nest, func and scf operations and elementwise arith and math operations}}
  %0 = linalg.matmul ins(%y, %x : tensor<4x4xf32>, tensor<4x8xf32, #nest.on<_, ffn>>) outs(%x : tensor<4x8xf32, #nest.on<_, ffn>>) -> tensor<4x8xf32, #nest.on<_, ffn>>
  return
}

// -----

// C14: a slice still says that it lies on the axis.
nest.axis @ffn size 8 levels [8]
func.func @c14_slice(%x: tensor<8xf32, #nest.on<ffn>>) {
  // expected-error @below {{'tensor.extract_slice' op [C14] may not touch a value on axis 'ffn'}}
  %0 = tensor.extract_slice %x[0] [4] [1] : tensor<8xf32, #nest.on<ffn>> to tensor<4xf32>
  return
}

// -----

// C14: a cast loses or changes it.
nest.axis @ffn size 8 levels [8]
func.func @c14_cast(%x: tensor<8xf32, #nest.on<ffn>>) {
  // expected-error @below {{'tensor.cast' op [C14] may not touch a value on axis 'ffn'}}
  %0 = tensor.cast %x : tensor<8xf32, #nest.on<ffn>> to tensor<8xf32>
  return
}

// -----

// C14: the elements of a constant cannot be narrowed.
nest.axis @ffn size 8 levels [8]
func.func @c14_constant() {
  // expected-error @below {{'arith.constant' op [C14] may not touch a value on axis 'ffn'}}
  %0 = arith.constant dense<0.0> : tensor<8xf32, #nest.on<ffn>>
  return
}

// -----

// C14: inside structured control flow as well.
nest.axis @ffn size 8 levels [8]
func.func @c14_scf(%x: tensor<8xf32, #nest.on<ffn>>, %c: i1) -> tensor<8xf32, #nest.on<ffn>> {
  %0 = scf.if %c -> tensor<8xf32, #nest.on<ffn>> {
    // expected-error @below {{'tensor.empty' op [C14] may not touch a value on axis 'ffn'}}
    %1 = tensor.empty() : tensor<8xf32, #nest.on<ffn>>
    scf.yield %1 : tensor<8xf32, #nest.on<ffn>>
  } else {
    scf.yield %x : tensor<8xf32, #nest.on<ffn>>
  }
  return %0 : tensor<8xf32, #nest.on<ffn>>
}

// -----

// C15: an elementwise operation keeps every axis.
nest.axis @a size 8 levels [8]
func.func @c15(%x: tensor<8xf32, #nest.on<a>>, %n: tensor<8xi32>) {
  // expected-error @below {{'math.fpowi' op [C15] takes and gives tensors on different axes; an elementwise operation keeps every axis}}
  %0 = math.fpowi %x, %n : tensor<8xf32, #nest.on<a>>, tensor<8xi32>
  return
}

// -----

// C16: what is known of the model has its kind.
// expected-error @below {{[C16] nest.model has an illegal value of 'vocab_size'; legal are family, model_type = "..."; dtype = "f32", "bf16" or "f16"; num_layers (0 or more), vocab_size, hidden_size, max_length (1 or more) as i64; eos_token_ids = array<i64: ...> (0 or more); other keys are free}}
module attributes {nest.model = {family = "llama", vocab_size = 0 : i64, x = 1.0}} {}

// -----

// C16: a number has 64 bits.
// expected-error @below {{[C16] nest.model has an illegal value of 'num_layers'}}
module attributes {nest.model = {num_layers = 18446744073709551616 : i128}} {}

// -----

// C16: the type is one of three.
// expected-error @below {{[C16] nest.model has an illegal value of 'dtype'}}
module attributes {nest.model = {dtype = "f64"}} {}

// -----

// C16: ids are not negative.
// expected-error @below {{[C16] nest.model has an illegal value of 'eos_token_ids'}}
module attributes {nest.model = {eos_token_ids = array<i64: 1, -1>}} {}

// -----

// C16: the whole is a dictionary.
// expected-error @below {{[C16] nest.model is no dictionary}}
module attributes {nest.model = "llama"} {}

// -----

// C17: the source is a directory's name.
// expected-error @below {{[C17] nest.source = 3 : i64; legal are nest.source = "a directory" and nest.submodels = {name = "a submodel"}}}
module attributes {nest.source = 3} {}

// -----

// C17: submodels are texts.
// expected-error @below {{[C17] nest.submodels = {small = 4 : i64}; legal are}}
module attributes {nest.submodels = {small = 4}} {}

// -----

// C18: an entry has a name.
// expected-error @below {{[C18] nest.entry is an entry's name, a string that is not empty, on a function}}
func.func private @c18() attributes {nest.entry = ""}

// -----

// C18: and is a function.
// expected-error @below {{[C18] nest.entry is an entry's name}}
module attributes {nest.entry = "prefill"} {}

// -----

// C19: entries have distinct names.
func.func private @c19() attributes {nest.entry = "prefill"}
// expected-error @below {{[C19] is a second entry "prefill"; entries of a module have distinct names}}
func.func private @c19_again() attributes {nest.entry = "prefill"}

// -----

// C20: a name is a text.
// expected-error @below {{[C20] argument 0 of type 'tensor<4xi32>' has nest.name = 1 : i64; legal is a string that is not empty, on a ranked tensor or memref}}
func.func private @c20(tensor<4xi32> {nest.name = 1})

// -----

// C20: a cache has four dimensions.
// expected-error @below {{[C20] argument 0 of type 'tensor<4x4x4xf32>' has nest.cache = "k"; legal is a string that is not empty, on a tensor or memref of rank 4 and type f32, bf16 or f16}}
func.func private @c20_cache(tensor<4x4x4xf32> {nest.cache = "k"})

// -----

// C20: so has a result.
// expected-error @below {{[C20] result 0 of type 'tensor<4x4x4x4xi8>' has nest.cache = "k"}}
func.func private @c20_result() -> (tensor<4x4x4x4xi8> {nest.cache = "k"})

// -----

// C20: a width is an index.
// expected-error @below {{[C20] argument 0 of type 'i64' has nest.axis = "ffn"; legal is an axis's name, on an index}}
func.func private @c20_axis(i64 {nest.axis = "ffn"})

// -----

// C20: a weight has a name.
// expected-error @below {{[C20] argument 0 of type 'f32' has nest.weight = "w"; legal is a weight's symbol name, on a ranked tensor or memref}}
func.func private @c20_weight(f32 {nest.weight = "w"})

// -----

// C20: an output is marked.
// expected-error @below {{[C20] argument 0 of type 'memref<4xf32>' has nest.output = true; legal is a unit attribute, on a ranked tensor or memref}}
func.func private @c20_output(memref<4xf32> {nest.output = true})

// -----

// C21: names tell arguments apart.
// expected-error @below {{[C21] has two arguments of the name "x"; nest.name and nest.cache are distinct among them}}
func.func private @c21(tensor<4xf32> {nest.name = "x"}, tensor<4xf32> {nest.name = "x"}) attributes {nest.entry = "e"}

// -----

// C21: and results.
// expected-error @below {{[C21] has two results of the name "x"}}
func.func private @c21_results() -> (tensor<4xf32> {nest.name = "x"}, tensor<4xf32> {nest.name = "x"}) attributes {nest.entry = "e"}

// -----

// C22: a cache goes out again.
// expected-error @below {{[C22] takes the cache "k" as 'tensor<1x1x4x4xf32>' and has no result {nest.cache = "k"} of this type; a cache comes in and goes out}}
func.func private @c22(tensor<1x1x4x4xf32> {nest.cache = "k"}) -> (tensor<1x1x4x4xf32> {nest.cache = "v"}) attributes {nest.entry = "e"}

// -----

// C22: with its type.
// expected-error @below {{[C22] takes the cache "k" as 'tensor<1x1x4x4xf32>' and has no result}}
func.func private @c22_type(tensor<1x1x4x4xf32> {nest.cache = "k"}) -> (tensor<1x1x4x4xbf16> {nest.cache = "k"}) attributes {nest.entry = "e"}

// -----

// C23: what a function was specialised to.
// expected-error @below {{[C23] nest.specialized is the submodel's text, or a unit attribute, on a function}}
func.func private @c23() attributes {nest.specialized = 1}

// -----

// C24: no axis is left after specialisation.
nest.axis @ffn size 8 levels [8]
// expected-error @below {{[C24] has 'tensor<8xf32, #nest.on<ffn>>' in a function that is nest.specialized; no axis is left there}}
func.func private @c24(tensor<8xf32, #nest.on<ffn>>) attributes {nest.specialized = "layers.all.ffn=1/4"}

// -----

// C24: nor inside.
nest.axis @ffn size 8 levels [8]
nest.weight @w : tensor<8xf32, #nest.on<ffn>>
func.func @c24_body() attributes {nest.specialized} {
  // expected-error @below {{'nest.get' op [C24] has 'tensor<8xf32, #nest.on<ffn>>' in a function}}
  %0 = nest.get @w : tensor<8xf32, #nest.on<ffn>>
  return
}

// -----

// C25: attributes of arguments are known.
// expected-error @below {{[C25] unknown attribute 'nest.nam' on argument 0; legal are nest.name, nest.cache, nest.weight, nest.output and nest.axis}}
func.func private @c25(tensor<4xf32> {nest.nam = "x"})

// -----

// C26: and those of operations.
// expected-error @below {{[C26] has no attribute 'nest.modell'; legal are nest.model, nest.source and nest.submodels on a module, nest.entry and nest.specialized on a function}}
module attributes {nest.modell = {}} {}
