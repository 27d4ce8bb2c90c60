//===- NestOps.td - graph operations -*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NEST_OPS_TD
#define NEST_OPS_TD

include "dialect/NestAttrs.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

// Constraints that the verifier checks carry the numbers of docs/Spec.md.

// Every operation is a symbol user: its types name axes, and this is the hook
// that sees the symbol table.
class Nest_Op<string opMnemonic, list<Trait> traits = []>
    : Op<Nest_Dialect, opMnemonic, !listconcat(traits, [
        DeclareOpInterfaceMethods<SymbolUserOpInterface>])> {
  let hasVerifier = 1;
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::verifySymbolUses(::mlir::SymbolTableCollection &symbols) {
      return ::nestc::nest::verifyAxesOf(getOperation(), symbols);
    }
  }];
}

// A pure function of its operands.
class Nest_GraphOp<string opMnemonic, list<Trait> traits = []>
    : Nest_Op<opMnemonic, !listconcat([Pure], traits)>;

def Nest_MatrixType : RankedTensorOf<[F32, BF16, F16]>;
def Nest_StreamType : RankedTensorOf<[F32]>;
def Nest_IdsType : RankedTensorOf<[I32]>;
/// Streams, ids, positions.
def Nest_AnyRows : RankedTensorOf<[F32, I32]>;
/// What a call keeps for the next one: keys, values, positions, lengths.
def Nest_CacheType : RankedTensorOf<[F32, BF16, F16, I32]>;

//===----------------------------------------------------------------------===//
// Axes and weights
//===----------------------------------------------------------------------===//

def Nest_AxisOp : Nest_Op<"axis", [Symbol]> {
  let summary = "Declares a nested axis";
  let description = [{
    `nest.group`: how many of what users count an element stands for (default
    1). An element of a heads' axis is a KV head, and stands for its query heads.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$size,
                       DenseI64ArrayAttr:$levels);
  let assemblyFormat = "$sym_name `size` $size `levels` $levels attr-dict";
  let extraClassDeclaration = [{
    /// What `nest.group` says.
    int64_t getGroup();
    /// Types name axes, and symbol-dce does not see types.
    bool canDiscardOnUseEmpty() { return false; }
  }];
  let extraClassDefinition = "";
}

def Nest_WeightOp : Nest_Op<"weight", [Symbol]> {
  let summary = "Names a tensor of the checkpoint";
  let description = [{
    Data stays in the file. `key` (default: the symbol's name) is the tensor's
    key, `stored` its type there, `offsets`/`sizes` a box of it (default: all).
    The box is reshaped in row-major order to `type` and converted to its
    element type. `exact`: a matrix that is multiplied in f32, as a router's,
    whatever the others are multiplied in.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Nest_MatrixType>:$type,
                       OptionalAttr<StrAttr>:$key,
                       OptionalAttr<TypeAttrOf<Nest_MatrixType>>:$stored,
                       OptionalAttr<DenseI64ArrayAttr>:$offsets,
                       OptionalAttr<DenseI64ArrayAttr>:$sizes,
                       UnitAttr:$exact);
  let assemblyFormat = [{
    $sym_name (`key` $key^)? (`stored` $stored^)?
    (`box` $offsets^ $sizes)? (`exact` $exact^)? `:` $type attr-dict
  }];
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::mlir::cast<::mlir::RankedTensorType>(getType());
    }
    /// The key in the safetensors file.
    ::llvm::StringRef getKeyOrName() { return getKey().value_or(getSymName()); }
    /// The type in the file: `stored`, or the type without its encoding.
    ::mlir::RankedTensorType getStoredType();
    bool canDiscardOnUseEmpty() { return true; }
  }];
  let extraClassDefinition = "";
}

def Nest_GetOp : Nest_GraphOp<"get"> {
  let summary = "A weight, or a prefix of it: the only place where a width enters";
  let arguments = (ins FlatSymbolRefAttr:$weight, Variadic<Index>:$extents);
  let results = (outs Nest_MatrixType:$result);
  let assemblyFormat = "$weight (`[` $extents^ `]`)? attr-dict `:` type($result)";
  let hasVerifier = 0; // all of it needs the symbol
  let extraClassDefinition = "";
}

//===----------------------------------------------------------------------===//
// Rows to rows. Streams are [batch, rows, width], f32.
//===----------------------------------------------------------------------===//

def Nest_EmbedOp : Nest_GraphOp<"embed"> {
  let summary = "Rows of a table, times a scale";
  let description = [{
    An id that the table has no row for reads row `unknown`; without one it is
    undefined.
  }];
  let arguments = (ins Nest_IdsType:$ids, Nest_MatrixType:$table,
                       DefaultValuedAttr<F32Attr, "1.0f">:$scale,
                       OptionalAttr<I64Attr>:$unknown);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $ids `,` $table (`unknown` $unknown^)? attr-dict `:` functional-type(operands, results)
  }];
  let useCustomPropertiesEncoding = 1; // NestDialect.cpp: what version 1 had
}

def Nest_LinearOp : Nest_GraphOp<"linear"> {
  let summary = "x w^T (+ bias): operands in w's element type, accumulated in f32";
  let arguments = (ins Nest_StreamType:$x, Nest_MatrixType:$w,
                       Optional<Nest_StreamType>:$bias);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $x `,` $w (`bias` `(` $bias^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Nest_NormOp : Nest_GraphOp<"norm", [AttrSizedOperandSegments]> {
  let summary = "Root-mean-square or layer norm over groups of the last dimension";
  let description = [{
    `group` consecutive elements are normalised together (default: all of the
    last dimension); the weight has one element for each element of a group.
  }];
  let arguments = (ins Nest_NormKindAttr:$kind, Nest_StreamType:$x,
                       Optional<Nest_StreamType>:$w, Optional<Nest_StreamType>:$bias,
                       F32Attr:$epsilon, OptionalAttr<I64Attr>:$group);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    `` $kind $x (`weight` `(` $w^ `)`)? (`bias` `(` $bias^ `)`)? `epsilon` $epsilon (`group` $group^)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def Nest_ActOp : Nest_GraphOp<"act", [SameOperandsAndResultType]> {
  let summary = "An activation, element by element";
  let arguments = (ins Nest_ActivationAttr:$kind, Nest_StreamType:$x);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "`` $kind $x attr-dict `:` type($result)";
}

def Nest_GluOp : Nest_GraphOp<"glu", [SameOperandsAndResultType]> {
  let summary = "act(gate) * up, element by element";
  let arguments = (ins Nest_ActivationAttr:$kind, Nest_StreamType:$gate,
                       Nest_StreamType:$up);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "`` $kind $gate `,` $up attr-dict `:` type($result)";
}

def Nest_TimesOp : Nest_GraphOp<"times", [SameOperandsAndResultType]> {
  let summary = "Every element times one number";
  let arguments = (ins Nest_StreamType:$x, F32Attr:$factor);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$x `by` $factor attr-dict `:` type($result)";
}

def Nest_GainOp : Nest_GraphOp<"gain"> {
  let summary = "Every column times its weight";
  let arguments = (ins Nest_StreamType:$x, Nest_StreamType:$w);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$x `,` $w attr-dict `:` functional-type(operands, results)";
}

def Nest_RescaleOp : Nest_GraphOp<"rescale"> {
  let summary = "Rows with the root mean square of other rows";
  let description = [{
    The row's own mean square counts as `epsilon` where it is smaller.
  }];
  let arguments = (ins Nest_StreamType:$x, Nest_StreamType:$like, F32Attr:$epsilon);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$x `like` $like `epsilon` $epsilon attr-dict `:` functional-type(operands, results)";
}

def Nest_CutoffOp : Nest_GraphOp<"cutoff"> {
  let summary = "What of a row lies above its mean plus a factor of its deviation";
  let arguments = (ins Nest_StreamType:$x, F32Attr:$factor);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$x `factor` $factor attr-dict `:` functional-type(operands, results)";
}

def Nest_RopeOp : Nest_GraphOp<"rope"> {
  let summary = "Turns pairs of elements of each head by the row's position";
  let arguments = (ins Nest_StreamType:$x, Nest_IdsType:$positions, Nest_RopeAttr:$rope);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = "$x `,` $positions `by` $rope attr-dict `:` functional-type(operands, results)";
}

def Nest_LastOp : Nest_GraphOp<"last"> {
  let summary = "The last row of every sequence";
  let description = [{
    Of a stream, or of ids. With `by`, x is packed by that family, which covers.
  }];
  let arguments = (ins Nest_AnyRows:$x, Optional<Nest_RowsType>:$rows);
  let results = (outs Nest_AnyRows:$result);
  let assemblyFormat = "$x (`by` $rows^)? attr-dict `:` functional-type(operands, results)";
}

def Nest_ArgmaxOp : Nest_GraphOp<"argmax"> {
  let summary = "Of every row the column of its largest number, the lowest of equal ones";
  let description = [{
    -0 equals +0. A NaN is never the largest; of a row that has no number it is 0.
  }];
  let arguments = (ins Nest_StreamType:$x);
  let results = (outs Nest_IdsType:$result);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
}

def Nest_RemapOp : Nest_GraphOp<"remap"> {
  let summary = "Elements in other places: y[i] = x[map(i)], 0 where x has none";
  let description = [{
    With `into`, the base's element is added. What is outside of x adds nothing.
    Patches of an image, heads of keys, one row of every sequence and a table
    for every sequence are such maps.
  }];
  let arguments = (ins Nest_MatrixType:$x, AffineMapAttr:$map,
                       Optional<Nest_StreamType>:$base);
  let results = (outs Nest_MatrixType:$result);
  let assemblyFormat = [{
    $x `by` $map (`into` $base^)? attr-dict `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// Attention. Caches are values: [batch, KV heads, capacity, head width].
//===----------------------------------------------------------------------===//

def Nest_CacheAppendOp : Nest_GraphOp<"cache_append"> {
  let summary = "The cache with rows of keys or values written behind `lengths`";
  let description = [{
    With `by`, rows are packed by that family: those of a sequence are written
    one behind the other. A cache of i32 [B, C] takes positions [B, T].
  }];
  let arguments = (ins Nest_CacheType:$cache, Nest_AnyRows:$rows, Nest_IdsType:$lengths,
                       Optional<Nest_RowsType>:$family);
  let results = (outs Nest_CacheType:$result);
  let assemblyFormat = [{
    $cache `,` $rows `,` $lengths (`by` $family^)? attr-dict `:` functional-type(operands, results)
  }];
}

def Nest_AttentionOp : Nest_GraphOp<"attention", [AttrSizedOperandSegments]> {
  let summary = "softmax(scale q k^T) v under a mask, query heads in groups";
  let description = [{
    `lengths` are the rows that each cache held before this call's rows were
    appended: query row t of sequence b has cache index lengths[b] + t. With
    `by`, queries are packed by that family; `compact` says that the caches hold
    its rows only, so that the j-th of a sequence has cache index lengths[b] + j.
    `positions` are those of the cache's rows: a window and the distances of
    alibi count them. Without `lengths` there is no cache: k and v are this
    call's rows.
  }];
  let arguments = (ins Nest_StreamType:$q, Nest_MatrixType:$k, Nest_MatrixType:$v,
                       Optional<Nest_IdsType>:$lengths, Optional<Nest_IdsType>:$positions,
                       Optional<Nest_RowsType>:$rows, F32Attr:$scale, Nest_MaskAttr:$mask,
                       UnitAttr:$compact);
  let results = (outs Nest_StreamType:$result);
  let assemblyFormat = [{
    $q `,` $k `,` $v (`,` $lengths^)? (`positions` $positions^)?
    (`by` $rows^)? (`compact` $compact^)? `scale` $scale $mask attr-dict
    `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// Depth
//===----------------------------------------------------------------------===//

def Nest_LayerOp : Nest_Op<"layer", [RecursiveMemoryEffects, SingleBlock, AttrSizedOperandSegments]> {
  let summary = "One layer: what `skip` removes";
  let description = [{
    Results are the streams after the layer, then the carried values (caches).
    A skipped layer is the identity on both. The body captures freely.
  }];
  let arguments = (ins I64Attr:$index, Variadic<Nest_StreamType>:$streams,
                       Variadic<Nest_CacheType>:$carried);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Block &getBlock() { return getBody().front(); }
  }];
}

def Nest_FusedOp : Nest_Op<"fused", [IsolatedFromAbove, SingleBlock, RecursiveMemoryEffects]> {
  let summary = "Operations row by row that become one kernel";
  let description = [{
    What `nest-fuse-rows` forms. The arguments of the body are the inputs:
    streams, weights, and values with a few numbers a row. Results are streams
    of one type.
  }];
  let arguments = (ins Variadic<Nest_MatrixType>:$inputs);
  let results = (outs Variadic<Nest_StreamType>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `(` $inputs `)` attr-dict-with-keyword `:` functional-type($inputs, $results) $body
  }];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::Block &getBlock() { return getBody().front(); }
    /// The rows of a weight that a nest.linear in the body may have.
    static constexpr int64_t mostRows = 16;
  }];
}

def Nest_YieldOp : Op<Nest_Dialect, "yield", [Pure, Terminator, ParentOneOf<["LayerOp", "OnOp", "FusedOp"]>]> {
  let summary = "Ends the body of a layer";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

include "dialect/NestRows.td"

#endif // NEST_OPS_TD
