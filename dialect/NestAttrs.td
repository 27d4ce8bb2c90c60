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
  let summary = "Which keys a query sees";
  let description = [{
    `#nest.mask<causal>`: keys at or before the query's own cache index.
    `#nest.mask<causal, window = 512>`: of these the last 512, the query's own
    included. `window` 0 means no window.
  }];
  let parameters = (ins "bool":$causal, DefaultValuedParameter<"int64_t", "0">:$window);
  let hasCustomAssemblyFormat = 1;
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
    I32EnumAttrCase<"relu2", 4>, I32EnumAttrCase<"tanh", 5>]> {
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

#endif // NEST_ATTRS_TD
