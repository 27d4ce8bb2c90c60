//===- NestToLinalg.cpp - the reference lowering -----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The pass: what it asks of a module, weights as arguments, layers, and which
// operation goes where. What an operation computes is in LowerRows.cpp,
// LowerAttention.cpp and LowerSets.cpp.
//
//===----------------------------------------------------------------------===//

#include "lowering/Passes.h"
#include "lowering/linalg/Lower.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc::nest;
using nestc::linalg_lowering::Emitter;
using nestc::linalg_lowering::Families;
using nestc::linalg_lowering::Rows;

namespace nestc {
#define GEN_PASS_DEF_CONVERTNESTTOLINALG
#include "lowering/Passes.h.inc"

namespace {

/// The first axis that a value of `func` lies on, with an operation that shows
/// it; an empty name when there is none.
std::pair<Operation *, StringRef> findAxis(func::FuncOp func) {
  auto axisOf = [](Type type) -> StringRef {
    if (OnAttr on = getOn(type))
      for (StringAttr axis : on.getAxes())
        if (!axis.empty())
          return axis.getValue();
    return {};
  };
  std::pair<Operation *, StringRef> found(func, StringRef());
  auto search = [&](TypeRange types) {
    for (Type type : types)
      if (found.second.empty())
        found.second = axisOf(type);
  };
  search(func.getArgumentTypes());
  search(func.getResultTypes());
  if (!found.second.empty())
    return found;
  func.walk([&](Operation *op) {
    search(op->getResultTypes());
    for (Region &region : op->getRegions())
      for (Block &block : region)
        search(block.getArgumentTypes());
    found.first = op;
    return found.second.empty() ? WalkResult::advance()
                                : WalkResult::interrupt();
  });
  return found;
}

void inlineLayer(LayerOp layer, RewriterBase &rewriter) {
  auto yield = cast<YieldOp>(layer.getBlock().getTerminator());
  SmallVector<Value> values(yield.getValues());
  rewriter.eraseOp(yield);
  rewriter.inlineBlockBefore(&layer.getBlock(), layer);
  rewriter.replaceOp(layer, values);
}

/// Gives `func` one trailing argument for each weight that it reads, in the
/// order of first use, and replaces its `nest.get`s.
LogicalResult weightsToArguments(func::FuncOp func, ModuleOp module,
                                 RewriterBase &rewriter) {
  llvm::MapVector<StringAttr, SmallVector<GetOp>> reads;
  func.walk(
      [&](GetOp get) { reads[get.getWeightAttr().getAttr()].push_back(get); });
  if (reads.empty())
    return success();
  std::optional<SymbolTable::UseRange> uses =
      SymbolTable::getSymbolUses(func, module);
  if (uses && !uses->empty()) {
    InFlightDiagnostic diag =
        func.emitOpError()
        << "reads weights, which become arguments, and is called; run --inline "
           "before convert-nest-to-linalg so that only entries read weights";
    diag.attachNote(uses->begin()->getUser()->getLoc()) << "called here";
    return diag;
  }

  auto flag = NamedAttribute(
      rewriter.getStringAttr(
          bufferization::BufferizationDialect::kWritableAttrName),
      rewriter.getBoolAttr(false));
  // By default a function writes into its arguments; only caches may be.
  for (unsigned i = 0, n = func.getNumArguments(); i < n; ++i)
    if (isa<TensorType>(func.getArgumentTypes()[i]) &&
        !func.getArgAttr(i, kCacheAttr) && !func.getArgAttr(i, flag.getName()))
      func.setArgAttr(i, flag.getName(), flag.getValue());

  for (auto &[name, gets] : reads) {
    auto weight =
        SymbolTable::lookupNearestSymbolFrom<WeightOp>(gets.front(), name);
    if (!weight)
      return gets.front().emitOpError()
             << "reads @" << name.getValue()
             << ", but the module has no such nest.weight";
    // The widest of all reads; all that is stored where a read is dynamic.
    RankedTensorType stored = weight.getTensorType();
    SmallVector<int64_t> shape(stored.getRank(), 0);
    Type element;
    for (GetOp get : gets) {
      auto type = cast<RankedTensorType>(get.getType());
      if (type.getRank() != stored.getRank() ||
          (element && type.getElementType() != element))
        return get.emitOpError()
               << "reads @" << name.getValue() << " as " << type
               << ", which fits neither the weight " << stored
               << " nor its other reads in this function";
      element = type.getElementType();
      for (auto [dim, size] : llvm::enumerate(type.getShape()))
        shape[dim] = std::max(shape[dim], ShapedType::isDynamic(size)
                                              ? stored.getDimSize(dim)
                                              : size);
    }
    auto type = RankedTensorType::get(shape, element);
    auto attrs = rewriter.getDictionaryAttr(
        {NamedAttribute(rewriter.getStringAttr(kWeightAttr), name), flag});
    unsigned index = func.getNumArguments();
    if (failed(func.insertArgument(index, type, attrs, weight.getLoc())))
      return failure();
    Value argument = func.getArgument(index);
    for (GetOp get : gets) {
      Value value = argument;
      if (get.getType() != type) {
        Emitter e(get, rewriter);
        Emitter::Sizes sizes, zeros(shape.size(), e.b.getIndexAttr(0)),
            ones(shape.size(), e.b.getIndexAttr(1));
        auto extents = get.getExtents().begin();
        for (int64_t size : cast<RankedTensorType>(get.getType()).getShape())
          sizes.push_back(ShapedType::isDynamic(size)
                              ? OpFoldResult(*extents++)
                              : OpFoldResult(e.b.getIndexAttr(size)));
        value =
            tensor::ExtractSliceOp::create(e.b, argument, zeros, sizes, ones);
      }
      rewriter.replaceOp(get, value);
    }
  }
  return success();
}

/// Families of row sets become tensors between the operations of the dialect
/// only, and nest.on is gone.
LogicalResult verifyFamilies(ModuleOp module) {
  bool failed = false;
  auto isRows = [](Type type) { return isa<RowsType>(type); };
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<OnOp>(op)) {
      failed = true;
      op->emitOpError("cannot be lowered; expand it with nest-expand-rows "
                      "before convert-nest-to-linalg");
      return WalkResult::skip();
    }
    bool passes = !isa_and_nonnull<NestDialect>(op->getDialect()) &&
                  (llvm::any_of(op->getOperandTypes(), isRows) ||
                   llvm::any_of(op->getResultTypes(), isRows));
    for (Region &region : op->getRegions())
      for (Block &block : region)
        passes |= llvm::any_of(block.getArgumentTypes(), isRows);
    if (passes) {
      failed = true;
      op->emitOpError("passes a family of row sets on; convert-nest-to-linalg "
                      "takes families where they are made: inline functions, "
                      "and make a family in each branch that needs it");
    }
    return WalkResult::advance();
  });
  return failure(failed);
}

/// Replaces one operation of the nest dialect; fails with an error at it.
/// Operations that are legal as operands only go to `left`: families, and
/// weights for each set.
LogicalResult lowerOp(Operation *op, RewriterBase &rewriter, Families &families,
                      SmallVectorImpl<Operation *> &left) {
  Emitter e(op, rewriter, &families);
  bool known = true, stays = false;
  Value value =
      TypeSwitch<Operation *, Value>(op)
          .Case<EmbedOp, LinearOp, NormOp, ActOp, GluOp, RopeOp, LastOp,
                ArgmaxOp, RemapOp, CacheAppendOp, AttentionOp, GatherOp,
                SpreadOp, ScaleOp, ChosenOp, SoftmaxOp, AdvanceOp, RankOp,
                TimesOp, GainOp, RescaleOp, CutoffOp>(
              [&](auto typed) { return linalg_lowering::lower(typed, e); })
          .Case<SelectOp, PartitionOp, AssignOp, PickOp>([&](auto typed) {
            Rows rows = linalg_lowering::lowerRows(typed, e);
            families[typed.getResult()] = rows;
            stays = true;
            return Value();
          })
          .Case([&](PerSetOp) {
            stays = true;
            return Value();
          })
          .Default([&](Operation *) {
            known = false;
            return Value();
          });
  if (stays) {
    left.push_back(op);
    return success();
  }
  if (!known)
    return op->emitOpError("cannot be lowered: convert-nest-to-linalg has no "
                           "rule for this operation at this place");
  if (!value)
    return failure();
  rewriter.replaceOp(op, e.conform(value, op->getResult(0).getType()));
  return success();
}

/// Turns attributes of the nest dialect inside other attributes into strings,
/// which a reader without the dialect accepts.
void spellOutAttributes(ModuleOp module) {
  AttrTypeReplacer replacer;
  replacer.addReplacement([](Attribute attr) -> std::optional<Attribute> {
    if (!isa<NestDialect>(attr.getDialect()))
      return std::nullopt;
    std::string text;
    llvm::raw_string_ostream(text) << attr;
    return StringAttr::get(attr.getContext(), text);
  });
  replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/false);
}

struct ConvertNestToLinalg
    : impl::ConvertNestToLinalgBase<ConvertNestToLinalg> {
  using ConvertNestToLinalgBase::ConvertNestToLinalgBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    IRRewriter rewriter(&getContext());
    SmallVector<func::FuncOp> functions;
    module.walk([&](func::FuncOp func) { functions.push_back(func); });

    bool failed = false;
    for (func::FuncOp func : functions) {
      auto [op, axis] = findAxis(func);
      if (axis.empty())
        continue;
      op->emitOpError() << "has a value on the axis " << axis
                        << "; bind axes with nest-specialize and drop them "
                           "with nest-drop-axes before convert-nest-to-linalg";
      failed = true;
    }
    if (failed || mlir::failed(verifyFamilies(module)))
      return failure();

    SmallVector<LayerOp> layers;
    module.walk([&](LayerOp layer) { layers.push_back(layer); });
    for (LayerOp layer : layers)
      inlineLayer(layer, rewriter);
    for (func::FuncOp func : functions)
      failed |= mlir::failed(weightsToArguments(func, module, rewriter));
    if (failed)
      return failure();

    SmallVector<Operation *> operations, symbols;
    module.walk([&](Operation *op) {
      if (isa<AxisOp, WeightOp>(op))
        symbols.push_back(op);
      else if (isa_and_nonnull<NestDialect>(op->getDialect()))
        operations.push_back(op);
    });
    // Every operation that cannot be lowered is named, not only the first.
    Families families;
    SmallVector<Operation *> left;
    for (Operation *op : operations)
      failed |= mlir::failed(lowerOp(op, rewriter, families, left));
    if (failed)
      return failure();
    for (Operation *op : llvm::reverse(left))
      rewriter.eraseOp(op);
    for (Operation *symbol : symbols)
      rewriter.eraseOp(symbol);
    spellOutAttributes(module);
    return success();
  }
};
} // namespace
} // namespace nestc
