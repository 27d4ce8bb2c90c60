//===- NestAttrs.td - axes, masks, rope -*- tablegen -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NEST_ATTRS_TD
#define NEST_ATTRS_TD

include "dialect/NestBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/TensorEncoding.td"
include "mlir/IR/EnumAttr.td"

class Nest_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Nest_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
  let genVerifyDecl = 1;
}

def Nest_OnAttr : Nest_Attr<"On", "on", [
    DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "Names the axis that each dimension of a tensor lies on";
  let description = [{
    `#nest.on<layers.3.ffn, _>` as a tensor's encoding: dimension 0 lies on the
    axis `layers.3.ffn`, dimension 1 on none. `heads * 64` is a dimension of 64
    consecutive elements for each element of `heads`.
  }];
  // An empty name stands for `_`.
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$axes,
                        ArrayRefParameter<"int64_t">:$inner);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// Whether dimension `dim` lies on an axis.
    bool isOn(unsigned dim) const { return !getAxes()[dim].empty(); }
    /// An encoding for these axes, or null when no dimension lies on one.
    static OnAttr getOrNull(::mlir::MLIRContext *context,
                            ::llvm::ArrayRef<::mlir::StringAttr> axes,
                            ::llvm::ArrayRef<int64_t> inner);
  }];
}

def Nest_MaskAttr : Nest_Attr<"Mask", "mask"> {
  let summary = "Which keys a query sees, and what their distance takes off";
  let description = [{
    `#nest.mask<causal>`: keys at or before the query's own cache index.
    `#nest.mask<causal, window = 512>`: of these the last 512, the query's own
    included. `window` 0 means no window. `alibi = a`: query head h, from 0,
    takes 2^(-a (h + 1)) times the distance off the scores.
  }];
  let parameters = (ins "bool":$causal, DefaultValuedParameter<"int64_t", "0">:$window,
                        OptionalParameter<"::mlir::FloatAttr">:$alibi);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// a of `alibi = a`; 0 where there is none.
    float getAlibiF32() const;
    /// Whether positions of the cache's rows make a difference.
    bool readsPositions() const { return getWindow() != 0 || getAlibi(); }
  }];
}

def Nest_RopeAttr : Nest_Attr<"Rope", "rope"> {
  let summary = "A rotary embedding, its frequencies given one by one";
  let description = [{
    Pair i of a head is its elements i and i + n, n being the number of
    frequencies; it is turned by position * frequencies[i], and cosine and sine
    are multiplied by `magnitude`. Elements from 2n on pass unchanged. Every
    published scaling rule that does not depend on the length becomes such a
    list when a checkpoint is imported.
  }];
  let parameters = (ins "int64_t":$headDim,
                        "::mlir::DenseF32ArrayAttr":$frequencies,
                        "::mlir::FloatAttr":$magnitude);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    static RopeAttr get(::mlir::MLIRContext *context, int64_t headDim,
                        ::llvm::ArrayRef<float> frequencies, float magnitude = 1.0f);
    /// Elements of a head that are turned: twice the number of frequencies.
    int64_t getRotaryDim() const { return 2 * getFrequencies().size(); }
    float getMagnitudeF32() const;
  }];
}

def Nest_Activation : I32EnumAttr<"Activation", "elementwise activation", [
    I32EnumAttrCase<"silu", 0>, I32EnumAttrCase<"gelu", 1>,
    I32EnumAttrCase<"gelu_tanh", 2>, I32EnumAttrCase<"relu", 3>,
    I32EnumAttrCase<"relu2", 4>, I32EnumAttrCase<"tanh", 5>,
    I32EnumAttrCase<"sigmoid", 6>]> {
  let cppNamespace = "::nestc::nest";
  let genSpecializedAttr = 0;
}
def Nest_ActivationAttr : EnumAttr<Nest_Dialect, Nest_Activation, "activation"> {
  let assemblyFormat = "$value";
}

def Nest_NormKind : I32EnumAttr<"NormKind", "normalisation", [
    I32EnumAttrCase<"rms", 0>, I32EnumAttrCase<"layer", 1>]> {
  let cppNamespace = "::nestc::nest";
  let genSpecializedAttr = 0;
}
def Nest_NormKindAttr : EnumAttr<Nest_Dialect, Nest_NormKind, "norm_kind"> {
  let assemblyFormat = "$value";
}

//===----------------------------------------------------------------------===//
// Row sets
//===----------------------------------------------------------------------===//

def Nest_Rounding : I32EnumAttr<"Rounding", "rounding of a capacity", [
    I32EnumAttrCase<"floor", 0>, I32EnumAttrCase<"ceil", 1>,
    I32EnumAttrCase<"nearest_even", 2>, I32EnumAttrCase<"double_floor", 3>]> {
  let cppNamespace = "::nestc::nest";
  let genSpecializedAttr = 0;
}

def Nest_CapacityAttr : Nest_Attr<"Capacity", "capacity"> {
  let summary = "How many rows of a sequence are selected";
  let description = [{
    `#nest.capacity<1/8>`: that part of the rows of a call, per sequence, rounded
    by `floor` (default), `ceil`, `nearest_even` or `double_floor` (the product
    in float64, rounded down); then at least `min` (default 0), then at most all.
    `#nest.capacity<256>` is a count.
  }];
  // A count has the denominator 0.
  let parameters = (ins "int64_t":$numerator, "int64_t":$denominator,
                        DefaultValuedParameter<"::nestc::nest::Rounding",
                                               "Rounding::floor">:$rounding,
                        DefaultValuedParameter<"int64_t", "0">:$minimum);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    bool isCount() const { return getDenominator() == 0; }
    /// Whether every row is selected, whatever their number.
    bool isAll() const {
      return !isCount() && getNumerator() == getDenominator();
    }
    /// Whether no row ever is.
    bool isNone() const { return getNumerator() == 0 && getMinimum() == 0; }
    /// The rows selected of `rows`.
    int64_t of(int64_t rows) const;
  }];
}

class Nest_Type<string name, string typeMnemonic> : TypeDef<Nest_Dialect, name> {
  let mnemonic = typeMnemonic;
  let genVerifyDecl = 1;
}

def Nest_RowsType : Nest_Type<"Rows", "rows"> {
  let summary = "Disjoint sets of rows";
  let description = [{
    `!nest.rows<3>`: a family of three disjoint sets of rows. Only the operations
    that make a family decide its members, so rows are distinct and ascending
    within a sequence by construction. `cover`: every row is in one of the sets.
    A capacity says how many rows of each sequence a single set holds; otherwise
    only the device knows, and the bound is all of them.
  }];
  let parameters = (ins "int64_t":$sets, "bool":$cover,
                        OptionalParameter<"::nestc::nest::CapacityAttr">:$capacity);
  let hasCustomAssemblyFormat = 1;
}

#endif // NEST_ATTRS_TD
