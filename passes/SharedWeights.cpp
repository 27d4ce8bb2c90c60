//===- SharedWeights.cpp - weights of several submodels ---------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/SharedWeights.h"
#include "passes/Passes.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;

namespace nestc {
#define GEN_PASS_DEF_KERNELSHAREWEIGHTS
#include "passes/Passes.h.inc"
} // namespace nestc

/// The box of what is stored that a weight is.
static std::pair<SmallVector<int64_t>, SmallVector<int64_t>>
boxOf(WeightOp weight) {
  SmallVector<int64_t> offsets, sizes(weight.getStoredType().getShape());
  offsets.assign(sizes.size(), 0);
  if (std::optional<ArrayRef<int64_t>> given = weight.getOffsets())
    offsets.assign(given->begin(), given->end());
  if (std::optional<ArrayRef<int64_t>> given = weight.getSizes())
    sizes.assign(given->begin(), given->end());
  return {offsets, sizes};
}

llvm::DenseMap<Operation *, SharedBox> nestc::sharedBoxes(ModuleOp module) {
  llvm::DenseMap<Operation *, SharedBox> boxes;
  llvm::MapVector<Attribute, SmallVector<WeightOp>> groups;
  Builder builder(module.getContext());
  for (auto weight : module.getOps<WeightOp>()) {
    auto [offsets, sizes] = boxOf(weight);
    RankedTensorType type = weight.getTensorType();
    boxes[weight] = {weight, SmallVector<int64_t>(type.getShape())};
    // A reshaped box has no prefixes; a memref's rows alone may be strided.
    if (type.getShape() != ArrayRef(sizes) || type.getRank() > 2)
      continue;
    Attribute key =
        builder.getArrayAttr({builder.getStringAttr(weight.getKeyOrName()),
                              TypeAttr::get(weight.getStoredType()),
                              TypeAttr::get(type.getElementType()),
                              builder.getDenseI64ArrayAttr(offsets)});
    groups[key].push_back(weight);
  }
  for (auto &[key, weights] : groups) {
    SmallVector<int64_t> sizes;
    for (WeightOp weight : weights)
      for (auto [dim, size] :
           llvm::enumerate(weight.getTensorType().getShape()))
        if (dim == sizes.size())
          sizes.push_back(size);
        else
          sizes[dim] = std::max(sizes[dim], size);
    for (WeightOp weight : weights)
      boxes[weight] = {weights.front(), sizes};
  }
  return boxes;
}

void nestc::mergeSubmodel(ModuleOp into, ModuleOp from, StringRef name) {
  SymbolTable table(into);
  MLIRContext *context = into.getContext();
  for (auto weight : llvm::make_early_inc_range(from.getOps<WeightOp>())) {
    auto known = table.lookup<WeightOp>(weight.getSymName());
    if (known && known->getAttrDictionary() == weight->getAttrDictionary() &&
        known.getProperties() == weight.getProperties())
      continue;
    if (known) {
      StringAttr key = StringAttr::get(context, weight.getKeyOrName());
      StringAttr fresh =
          StringAttr::get(context, weight.getSymName() + ":" + name);
      from.walk([&](GetOp get) {
        if (get.getWeight() == weight.getSymName())
          get.setWeightAttr(FlatSymbolRefAttr::get(fresh));
      });
      weight.setKeyAttr(key);
      weight.setSymNameAttr(fresh);
    }
    weight->remove();
    table.insert(weight);
  }
  for (auto function :
       llvm::make_early_inc_range(from.getOps<func::FuncOp>())) {
    if (auto entry = function->getAttrOfType<StringAttr>(kEntryAttr))
      function->setAttr(
          kEntryAttr, StringAttr::get(context, name + ":" + entry.getValue()));
    function.setSymNameAttr(
        StringAttr::get(context, name + ":" + function.getSymName()));
    function->remove();
    table.insert(function);
  }
}

namespace {

struct KernelShareWeights
    : nestc::impl::KernelShareWeightsBase<KernelShareWeights> {
  using KernelShareWeightsBase::KernelShareWeightsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringMap<int64_t> rowStrides;
    for (auto &[op, box] : sharedBoxes(module)) {
      auto weight = cast<WeightOp>(op);
      RankedTensorType type = weight.getTensorType();
      if (type.getRank() == 2 && box.sizes.back() > type.getDimSize(1))
        rowStrides[weight.getSymName()] = box.sizes.back();
    }
    if (rowStrides.empty())
      return;
    for (auto function : module.getOps<func::FuncOp>()) {
      for (BlockArgument argument : function.getArguments()) {
        auto name = function.getArgAttrOfType<StringAttr>(
            argument.getArgNumber(), kWeightAttr);
        auto type = dyn_cast<MemRefType>(argument.getType());
        auto stride =
            name ? rowStrides.find(name.getValue()) : rowStrides.end();
        if (!type || stride == rowStrides.end())
          continue;
        auto layout =
            StridedLayoutAttr::get(&getContext(), 0, {stride->second, 1});
        argument.setType(MemRefType::get(type.getShape(), type.getElementType(),
                                         layout, type.getMemorySpace()));
      }
      function.setType(FunctionType::get(
          &getContext(),
          function.isExternal()
              ? function.getFunctionType().getInputs()
              : TypeRange(function.getBody().front().getArgumentTypes()),
          function.getFunctionType().getResults()));
    }
  }
};

} // namespace
