//===- Configure.cpp - multiply type and cache length ------------*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTCONFIGURE
#include "passes/Passes.h.inc"

namespace {

RankedTensorType withElement(Type type, Type element) {
  return cast<RankedTensorType>(type).clone(element);
}

/// Dimension of a cache that counts its rows: of keys and values, or of their
/// positions. A length has none.
std::optional<unsigned> capacityDim(RankedTensorType cache) {
  if (cache.getRank() == 4)
    return 2;
  if (cache.getRank() == 2)
    return 1;
  return std::nullopt;
}

/// Gives `value` and every later version of the same cache a type.
void retypeCache(Value value, RankedTensorType type) {
  SmallVector<Value> worklist{value};
  while (!worklist.empty()) {
    Value cache = worklist.pop_back_val();
    cache.setType(type);
    for (OpOperand &use : cache.getUses()) {
      Operation *user = use.getOwner();
      unsigned number = use.getOperandNumber();
      if (auto append = dyn_cast<CacheAppendOp>(user); append && number == 0)
        worklist.push_back(append.getResult());
      else if (auto layer = dyn_cast<LayerOp>(user))
        worklist.push_back(layer.getResult(number));
      else if (auto on = dyn_cast<OnOp>(user);
               on && number >= on.getCarried().getBeginOperandIndex())
        worklist.push_back(
            on.getResult(number + on.getNumResults() - on.getNumOperands()));
    }
  }
}

struct NestConfigure : impl::NestConfigureBase<NestConfigure> {
  using NestConfigureBase::NestConfigureBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    MLIRContext *context = &getContext();
    Type element;
    if (!type.empty()) {
      element = llvm::StringSwitch<Type>(type)
                    .Case("f32", Float32Type::get(context))
                    .Case("bf16", BFloat16Type::get(context))
                    .Case("f16", Float16Type::get(context))
                    .Default(Type());
      if (!element) {
        module.emitError() << "unknown type '" << type
                           << "'; legal are f32, bf16, f16";
        return signalPassFailure();
      }
      retypeWeights(module, element);
    }
    if (maxLength < 0) {
      module.emitError() << "max-length is a positive number of rows, or 0 to "
                            "keep the cache's; got "
                         << maxLength;
      return signalPassFailure();
    }
    // Learned positions are as many as the table holds.
    int64_t positions = maxLength;
    module.walk([&](EmbedOp embed) {
      if (isOfPositions(embed))
        positions =
            std::min(positions, embed.getTable().getType().getDimSize(0));
    });
    if (positions < maxLength) {
      module.emitError() << "max-length is " << maxLength
                         << ", but the model has learned " << positions
                         << " positions; legal is 1 to " << positions;
      return signalPassFailure();
    }
    // Without a cache, keys and values have the type that it would have.
    module.walk([&](AttentionOp attention) {
      if (element && !attention.getLengths())
        for (Value rows : {attention.getK(), attention.getV()})
          if (auto heads = rows.getDefiningOp<RemapOp>())
            heads.getResult().setType(withElement(heads.getType(), element));
    });
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isExternal())
        configureCaches(function, element);

    auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
    if (!model)
      return;
    Builder builder(context);
    NamedAttrList attributes(model);
    if (element)
      attributes.set("dtype", builder.getStringAttr(type));
    if (maxLength)
      attributes.set("max_length", builder.getI64IntegerAttr(maxLength));
    module->setAttr(kModelAttr, attributes.getDictionary(context));
  }

  /// A vector (norm weight, bias) is no operand of a product and stays f32, as
  /// what must be exact.
  void retypeWeights(ModuleOp module, Type element) {
    llvm::StringSet<> matrices;
    for (auto weight : module.getOps<WeightOp>()) {
      RankedTensorType old = weight.getTensorType();
      if (old.getRank() < 2 || weight.getExact())
        continue;
      matrices.insert(weight.getSymName());
      if (old.getElementType() == element)
        continue;
      RankedTensorType stored = weight.getStoredType();
      weight.setType(withElement(old, element));
      if (stored == dropAxes(weight.getTensorType()))
        weight.removeStoredAttr();
      else
        weight.setStoredAttr(TypeAttr::get(stored));
    }
    module.walk([&](GetOp get) {
      if (matrices.contains(get.getWeight()))
        get.getResult().setType(withElement(get.getType(), element));
    });
  }

  void configureCaches(func::FuncOp function, Type element) {
    for (BlockArgument argument : function.getArguments()) {
      if (!function.getArgAttr(argument.getArgNumber(), kCacheAttr))
        continue;
      auto old = cast<RankedTensorType>(argument.getType());
      SmallVector<int64_t> shape(old.getShape());
      std::optional<unsigned> dim = capacityDim(old);
      if (maxLength && dim)
        shape[*dim] = maxLength;
      bool counts = old.getElementType().isInteger(32);
      retypeCache(argument, RankedTensorType::get(shape,
                                                  element && !counts
                                                      ? element
                                                      : old.getElementType(),
                                                  old.getEncoding()));
    }
    Block &body = function.getBody().front();
    function.setType(
        FunctionType::get(&getContext(), body.getArgumentTypes(),
                          body.getTerminator()->getOperandTypes()));
  }
};

} // namespace
} // namespace nestc
