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
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_NESTSPECIALIZE
#include "passes/Passes.h.inc"

namespace {

/// `type` with the dimensions on bound axes at their width, `?` where it stays
/// open; an axis that is bound is no longer named.
RankedTensorType bindType(RankedTensorType type, const Binding &binding) {
  OnAttr on = getOn(type);
  SmallVector<int64_t> shape(type.getShape());
  SmallVector<StringAttr> axes(on.getAxes());
  SmallVector<int64_t> inner(on.getInner());
  for (size_t dim = 0; dim < axes.size(); ++dim) {
    auto width = binding.widths.find(axes[dim].getValue());
    if (axes[dim].empty() || width == binding.widths.end())
      continue;
    shape[dim] = binding.open.count(axes[dim].str())
                     ? ShapedType::kDynamic
                     : width->second * inner[dim];
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

/// Whether rows of an entry are chosen by the rule of a decode.
bool decodes(func::FuncOp function) {
  auto entry = function->getAttrOfType<StringAttr>(kEntryAttr);
  return entry && (entry == "decode" || entry.getValue().ends_with("_causal"));
}

/// Gives the selects of routed layers the capacities of the submodel.
void bindRoutes(func::FuncOp entry, const Binding &binding,
                const AxisTable &table) {
  MLIRContext *context = entry.getContext();
  auto part = [&](int64_t numerator) {
    return CapacityAttr::get(context, numerator, 1, Rounding::floor, 0);
  };
  entry.walk([&](SelectOp select) {
    auto layer = select->getParentOfType<LayerOp>();
    auto bound =
        layer ? binding.routes.find(layer.getIndex()) : binding.routes.end();
    if (bound == binding.routes.end())
      return;
    CapacityAttr capacity = bound->second;
    if (!capacity) {
      capacity = part(1);
    } else {
      auto route = table.routes.find(bound->first);
      bool ranks = route != table.routes.end() &&
                   (decodes(entry) ? route->second.ranksInDecode
                                   : route->second.ranksInSelect);
      if (!ranks)
        return;
      // Of many rows a decode ranks each by itself.
      if (decodes(entry) && select.getScores().getType().isDynamicDim(1))
        capacity = part(capacity.of(1));
    }
    select.removeThresholdAttr();
    select.setCapacityAttr(capacity);
    select.getResult().setType(RowsType::get(context, 1, false, capacity));
  });
}

/// The sets of values that are left, numbered from 0 on; -1 for the others.
/// `renumbered` gets the new number of every old set, or -1.
SmallVector<int64_t> keepSets(ArrayRef<int64_t> sets,
                              const std::vector<bool> &kept,
                              SmallVectorImpl<int64_t> &renumbered) {
  SmallVector<int64_t> left(sets);
  for (auto [value, set] : llvm::enumerate(left))
    if (value >= kept.size() || !kept[value])
      set = -1;
  renumbered.assign(1 + *llvm::max_element(sets), -1);
  int64_t next = 0;
  for (auto [old, number] : llvm::enumerate(renumbered))
    if (llvm::is_contained(left, static_cast<int64_t>(old)))
      number = next++;
  for (int64_t &set : left)
    set = set < 0 ? -1 : renumbered[set];
  return left;
}

/// `on` without the bodies of sets that are gone.
void removeBodies(OnOp on, ArrayRef<int64_t> renumbered) {
  SmallVector<Region *> left;
  for (auto [set, body] : llvm::enumerate(on.getBodies()))
    if (renumbered[set] >= 0)
      left.push_back(&body);
  if (left.size() == on.getBodies().size() || left.empty())
    return;
  OpBuilder builder(on);
  auto next = OnOp::create(builder, on.getLoc(), on.getResultTypes(),
                           on.getRows(), on.getGathered(), on.getBases(),
                           on.getCarried(), left.size());
  for (auto [region, body] : llvm::zip(next.getBodies(), left))
    region.takeBody(*body);
  on->replaceAllUsesWith(next);
  on.erase();
}

/// The only body of `on` gets every row: it moves to where `on` stands.
void inlineBody(OnOp on) {
  Block &body = on.getBodies().front().front();
  Operation *yield = body.getTerminator();
  for (auto [argument, value] :
       llvm::zip(body.getArguments(), on.getGathered()))
    argument.replaceAllUsesWith(value);
  on->getBlock()->getOperations().splice(on->getIterator(),
                                         body.getOperations(), body.begin(),
                                         yield->getIterator());
  on->replaceAllUsesWith(yield->getOperands());
  on.erase();
}

/// Removes what only removed modalities need. With one set left nothing is
/// partitioned; with one modality left the entry does not take it.
void bindModalities(func::FuncOp entry, const Binding &binding,
                    const AxisTable &table) {
  if (table.modalities.empty())
    return;
  std::vector<bool> kept = binding.modalities;
  if (kept.empty())
    kept.assign(table.modalities.size(), true);
  BlockArgument modality;
  for (BlockArgument argument : entry.getArguments())
    if (entry.getArgAttr(argument.getArgNumber(), kNameAttr) ==
        StringAttr::get(entry.getContext(), "modality"))
      modality = argument;
  if (!modality)
    return;
  SmallVector<PartitionOp> partitions;
  for (Operation *user : modality.getUsers())
    if (auto partition = dyn_cast<PartitionOp>(user))
      partitions.push_back(partition);
  for (PartitionOp partition : partitions) {
    SmallVector<int64_t> renumbered;
    SmallVector<int64_t> sets = keepSets(partition.getSets(), kept, renumbered);
    int64_t count = 1 + *llvm::max_element(sets);
    if (count == 0)
      continue; // no value of this partition is left: not one of modalities
    partition.setSets(sets);
    partition.getResult().setType(
        RowsType::get(entry.getContext(), count, true, CapacityAttr()));
    for (Operation *user :
         llvm::make_early_inc_range(partition.getResult().getUsers())) {
      auto on = dyn_cast<OnOp>(user);
      if (!on || on.getRows() != partition)
        continue;
      removeBodies(on, renumbered);
    }
    if (count != 1)
      continue;
    for (Operation *user :
         llvm::make_early_inc_range(partition.getResult().getUsers()))
      if (auto on = dyn_cast<OnOp>(user); on && on.getBodies().size() == 1)
        inlineBody(on);
    if (partition.getResult().use_empty())
      partition.erase();
  }
  if (llvm::count(kept, true) == 1 && modality.use_empty())
    (void)entry.eraseArgument(modality.getArgNumber());
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

/// The open axis that a dimension of a weight lies on; an empty one where none
/// does. All open dimensions of a weight lie on one axis.
StringAttr openAxis(RankedTensorType type, const Binding &binding) {
  if (OnAttr on = getOn(type))
    for (StringAttr axis : on.getAxes())
      if (binding.open.count(axis.str()))
        return axis;
  return {};
}

/// Gives `entry` an index argument {nest.axis} for every axis that stays open
/// and that it reads, and the extents of the weights that lie on one.
void openWidths(func::FuncOp entry,
                ArrayRef<std::pair<GetOp, StringAttr>> gets) {
  llvm::MapVector<StringAttr, Value> widths;
  for (auto [get, axis] : gets)
    widths.insert({axis, Value()});
  MLIRContext *context = entry.getContext();
  for (auto &[axis, width] : widths) {
    unsigned number = entry.getNumArguments();
    (void)entry.insertArgument(number, IndexType::get(context),
                               DictionaryAttr(), entry.getLoc());
    entry.setArgAttr(number, kAxisAttr, axis);
    width = entry.getArgument(number);
  }
  for (auto [get, axis] : gets) {
    auto open = llvm::count(get.getType().getShape(), ShapedType::kDynamic);
    get.getExtentsMutable().assign(SmallVector<Value>(open, widths[axis]));
  }
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
  RankedTensorType stored = weight.getStoredType();
  // A box of a reshaped tensor is not formed: such a weight keeps its size and
  // loses its axis only. Of a box it is the first part.
  bool plain = weight.getSizes().value_or(stored.getShape()) == type.getShape();
  if (plain && used.getShape() != type.getShape()) {
    weight.setStoredAttr(TypeAttr::get(stored));
    if (!weight.getOffsets())
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
      bindRoutes(entry, *binding, table);
      bindModalities(entry, *binding, table);
      eraseDeadOperations(entry);
      eraseUnusedCaches(entry);
      SmallVector<std::pair<GetOp, StringAttr>> open;
      entry.walk([&](GetOp get) {
        if (StringAttr axis = openAxis(get.getType(), *binding))
          open.push_back({get, axis});
      });
      replacer.recursivelyReplaceElementsIn(entry, /*replaceAttrs=*/true,
                                            /*replaceLocs=*/false,
                                            /*replaceTypes=*/true);
      openWidths(entry, open);
      if (entry->hasAttr(kEntryAttr))
        entry->setAttr(kSpecializedAttr, StringAttr::get(&getContext(), *text));
    }
    prune(module, *binding);
    recordModalities(module, *binding);
    recordRoutes(module, *binding);
    recordUnread(module, *binding);
  }

  /// A modality that is gone has the set -1 in `nest.model`.
  void recordModalities(ModuleOp module, const Binding &binding) {
    auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
    auto sets = model ? model.getAs<DenseI64ArrayAttr>("modality_sets")
                      : DenseI64ArrayAttr();
    if (!sets || binding.modalities.empty())
      return;
    SmallVector<int64_t> renumbered;
    NamedAttrList attributes(model);
    attributes.set(
        "modality_sets",
        DenseI64ArrayAttr::get(&getContext(),
                               keepSets(sets, binding.modalities, renumbered)));
    module->setAttr(kModelAttr, attributes.getDictionary(&getContext()));
  }

  /// `nest.model` has what nothing reads in the layers that are left.
  void recordUnread(ModuleOp module, const Binding &binding) {
    auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
    auto unread =
        model ? model.getAs<DictionaryAttr>("unread") : DictionaryAttr();
    if (!unread)
      return;
    NamedAttrList left, attributes(model);
    for (NamedAttribute entry : unread) {
      uint64_t layer;
      if (entry.getName().strref().getAsInteger(10, layer) ||
          layer >= binding.skipped.size() || !binding.skipped[layer])
        left.push_back(entry);
    }
    attributes.set("unread", left.getDictionary(&getContext()));
    module->setAttr(kModelAttr, attributes.getDictionary(&getContext()));
  }

  /// `nest.model` has the routes that are left, with their capacities.
  void recordRoutes(ModuleOp module, const Binding &binding) {
    auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
    auto routes =
        model ? model.getAs<DictionaryAttr>("routes") : DictionaryAttr();
    if (!routes)
      return;
    NamedAttrList left;
    for (NamedAttribute entry : routes) {
      uint64_t layer;
      auto route = dyn_cast<DictionaryAttr>(entry.getValue());
      if (!entry.getName().strref().getAsInteger(10, layer)) {
        if (layer < binding.skipped.size() && binding.skipped[layer])
          continue;
        auto bound = binding.routes.find(static_cast<int64_t>(layer));
        if (route && bound != binding.routes.end()) {
          if (!bound->second)
            continue; // dense
          NamedAttrList changed(route);
          changed.set("capacity", bound->second);
          entry.setValue(changed.getDictionary(&getContext()));
        }
      }
      left.push_back(entry);
    }
    NamedAttrList attributes(model);
    if (left.empty())
      attributes.erase("routes");
    else
      attributes.set("routes", left.getDictionary(&getContext()));
    module->setAttr(kModelAttr, attributes.getDictionary(&getContext()));
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
  void prune(ModuleOp module, const Binding &binding) {
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
        // Of a width that stays open, all that a call may ask for.
        Binding most = binding;
        most.open.clear();
        narrowWeight(weight, bindType(weight.getTensorType(), most));
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
