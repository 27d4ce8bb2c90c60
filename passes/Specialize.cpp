//===- Specialize.cpp - bind axes to one submodel --------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"
#include "passes/Submodel.h"

#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Iterators.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTSPECIALIZE
#include "passes/Passes.h.inc"

namespace {

/// `type` with the dimensions on bound axes at their width; an axis that is
/// bound is no longer named.
RankedTensorType bindType(RankedTensorType type, const Binding &binding) {
  OnAttr on = getOn(type);
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<StringAttr> axes(on.getAxes());
  SmallVector<int64_t> inner(on.getInner());
  for (size_t dim = 0; dim < axes.size(); ++dim) {
    auto width = binding.widths.find(axes[dim].getValue());
    if (axes[dim].empty() || width == binding.widths.end())
      continue;
    shape[dim] = width->second * inner[dim];
    axes[dim] = StringAttr::get(type.getContext());
    inner[dim] = 1;
  }
  return RankedTensorType::get(
      shape, type.getElementType(),
      OnAttr::getOrNull(type.getContext(), axes, inner));
}

/// A skipped layer is the identity on its streams and what it carries.
void removeSkippedLayers(func::FuncOp entry, const Binding &binding) {
  SmallVector<LayerOp> skipped;
  entry.walk([&](LayerOp layer) {
    if (layer.getIndex() < binding.skipped.size() &&
        binding.skipped[layer.getIndex()])
      skipped.push_back(layer);
  });
  for (LayerOp layer : skipped) {
    layer.replaceAllUsesWith(layer.getOperands());
    layer.erase();
  }
}

/// Erases operations without effects and without uses, innermost last first.
void eraseDeadOperations(func::FuncOp entry) {
  entry.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
    if (isOpTriviallyDead(op))
      op->erase();
  });
}

/// A cache that is returned as it came and that nothing reads belonged to a
/// skipped layer.
void eraseUnusedCaches(func::FuncOp entry) {
  auto ret = dyn_cast<func::ReturnOp>(entry.getBody().front().getTerminator());
  if (!ret)
    return; // control flow of a function that is no entry
  BitVector deadArguments(entry.getNumArguments());
  BitVector deadResults(entry.getNumResults());
  for (unsigned result = 0; result < entry.getNumResults(); ++result) {
    auto argument = dyn_cast<BlockArgument>(ret->getOperand(result));
    Attribute cache = entry.getResultAttr(result, kCacheAttr);
    if (!argument || !cache || !argument.hasOneUse() ||
        entry.getArgAttr(argument.getArgNumber(), kCacheAttr) != cache)
      continue;
    deadArguments.set(argument.getArgNumber());
    deadResults.set(result);
  }
  if (deadResults.none())
    return;
  ret->eraseOperands(deadResults);
  (void)entry.eraseResults(deadResults);
  (void)entry.eraseArguments(deadArguments);
}

/// Whether any type in `function` names an axis.
bool mentionsAxis(func::FuncOp function) {
  auto onAxis = [](Type type) { return static_cast<bool>(getOn(type)); };
  if (llvm::any_of(function.getArgumentTypes(), onAxis))
    return true;
  return function
      .walk([&](Operation *op) {
        return llvm::any_of(op->getResultTypes(), onAxis)
                   ? WalkResult::interrupt()
                   : WalkResult::advance();
      })
      .wasInterrupted();
}

/// Narrows a weight to what all its uses take, and records the box of the
/// stored tensor that this is.
void narrowWeight(WeightOp weight, RankedTensorType used) {
  RankedTensorType type = weight.getTensorType();
  // A box of a box, or of a reshaped tensor, is not formed: such a weight keeps
  // its size and loses its axis only.
  bool plain = weight.getStoredType().getShape() == type.getShape() &&
               !weight.getOffsets();
  if (plain && used.getShape() != type.getShape()) {
    Builder builder(weight.getContext());
    RankedTensorType stored = weight.getStoredType();
    weight.setStoredAttr(TypeAttr::get(stored));
    weight.setOffsets(SmallVector<int64_t>(stored.getRank(), 0));
    weight.setSizes(used.getShape());
    weight.setType(used);
    return;
  }
  weight.setType(dropAxes(type));
}

struct NestSpecialize : impl::NestSpecializeBase<NestSpecialize> {
  using NestSpecializeBase::NestSpecializeBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SubmodelError error;
    auto refuse = [&] {
      module.emitError() << error.str();
      signalPassFailure();
    };
    std::optional<std::string> text = lookUpSubmodel(module, submodel, error);
    if (!text)
      return refuse();
    std::optional<SubmodelSpec> spec = SubmodelSpec::parse(*text, error);
    if (!spec)
      return refuse();
    AxisTable table = AxisTable::get(module);
    std::optional<Binding> binding = resolveSubmodel(*spec, table, error);
    if (!binding)
      return refuse();

    SmallVector<func::FuncOp> chosen;
    if (failed(chooseEntries(module, chosen)))
      return signalPassFailure();
    for (const std::string &warning : binding->warnings)
      module.emitWarning() << warning;

    AttrTypeReplacer replacer;
    replacer.addReplacement([&](RankedTensorType type) -> std::optional<Type> {
      if (!getOn(type))
        return std::nullopt;
      return bindType(type, *binding);
    });
    for (func::FuncOp entry : chosen) {
      removeSkippedLayers(entry, *binding);
      eraseDeadOperations(entry);
      eraseUnusedCaches(entry);
      replacer.recursivelyReplaceElementsIn(entry, /*replaceAttrs=*/true,
                                            /*replaceLocs=*/false,
                                            /*replaceTypes=*/true);
      if (entry->hasAttr(kEntryAttr))
        entry->setAttr(kSpecializedAttr, StringAttr::get(&getContext(), *text));
    }
    prune(module);
  }

  /// The functions named by the option `entry`, or all entries; a module
  /// without entries is specialised in all its functions.
  LogicalResult chooseEntries(ModuleOp module,
                              SmallVectorImpl<func::FuncOp> &chosen) {
    SmallVector<func::FuncOp> all, marked;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      all.push_back(function);
      if (function->hasAttr(kEntryAttr))
        marked.push_back(function);
    }
    if (entries.empty()) {
      chosen = all;
      return success();
    }
    for (const std::string &name : entries) {
      auto *found = llvm::find_if(all, [&](func::FuncOp function) {
        auto entry = function->getAttrOfType<StringAttr>(kEntryAttr);
        return function.getSymName() == name ||
               (entry && entry.getValue() == name);
      });
      if (found == all.end()) {
        std::string names;
        for (func::FuncOp function : all)
          names += (names.empty() ? "" : ", ") + function.getSymName().str();
        return module.emitError()
               << "there is no entry '" << name << "'; entries are " << names;
      }
      chosen.push_back(*found);
    }
    return success();
  }

  /// Removes what nothing uses any more. Weights stay universal as long as a
  /// function is left that has an axis open or two take different widths.
  void prune(ModuleOp module) {
    bool open = llvm::any_of(module.getOps<func::FuncOp>(), mentionsAxis);
    llvm::StringMap<SmallVector<RankedTensorType>> uses;
    module.walk([&](GetOp get) {
      auto type = cast<RankedTensorType>(get.getType());
      auto &types = uses[get.getWeight()];
      if (!llvm::is_contained(types, type))
        types.push_back(type);
    });
    llvm::StringSet<> named;
    for (auto weight : llvm::make_early_inc_range(module.getOps<WeightOp>())) {
      auto used = uses.find(weight.getSymName());
      if (used == uses.end()) {
        weight.erase();
        continue;
      }
      OnAttr on = getOn(weight.getTensorType());
      if (!on)
        continue;
      if (!open && used->second.size() == 1) {
        narrowWeight(weight, used->second.front());
        continue;
      }
      for (StringAttr axis : on.getAxes())
        named.insert(axis.getValue());
    }
    for (auto axis : llvm::make_early_inc_range(module.getOps<AxisOp>()))
      if (!open && !named.contains(axis.getSymName()))
        axis.erase();
  }
};

} // namespace
} // namespace nestc
