//===- OutlineKernels.cpp - definitions and launches ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels that differ only in their buffers and in batch and rows are one
// definition, whatever layer or entry they come from: machine code does not
// grow with the number of layers.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/IR/OperationSupport.h"

using namespace mlir;
using namespace nestc;
namespace kernel = nestc::kernel;

namespace nestc {
#define GEN_PASS_DEF_KERNELOUTLINE
#include "passes/Passes.h.inc"
} // namespace nestc

namespace {

constexpr OperationEquivalence::Flags kFlags =
    OperationEquivalence::IgnoreLocations;

/// A kernel, seen as what is generated for it.
struct Key {
  Operation *op = nullptr;
  /// Of the operands, batch and rows dynamic.
  SmallVector<Type> types;
  llvm::hash_code hash = 0;
};

/// Attributes, inherent and other.
DictionaryAttr getAttributes(Operation *op) { return op->getAttrDictionary(); }

llvm::hash_code hashRegions(Operation *op) {
  llvm::hash_code hash = 0;
  for (Region &region : op->getRegions()) {
    hash = llvm::hash_combine(hash, region.getNumArguments());
    for (Operation &inner : region.getOps())
      hash = llvm::hash_combine(hash, inner.getName().getAsOpaquePointer(),
                                getAttributes(&inner), inner.getNumOperands());
  }
  return hash;
}

Key getKey(DestinationStyleOpInterface op) {
  Key key;
  key.op = op;
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = cast<MemRefType>(operand.get().getType());
    SmallVector<int64_t> shape(type.getShape());
    unsigned rows = kernel::getNumRowDims(operand);
    for (unsigned dim = 0; dim < rows; ++dim)
      shape[dim] = ShapedType::kDynamic;
    key.types.push_back(rows ? MemRefType::Builder(type).setShape(shape)
                             : MemRefType::Builder(type));
  }
  key.hash =
      llvm::hash_combine(op->getName().getAsOpaquePointer(), getAttributes(op),
                         llvm::hash_combine_range(key.types), hashRegions(op));
  return key;
}

struct KeyInfo {
  static Key getEmptyKey() { return Key(); }
  static Key getTombstoneKey() {
    Key key;
    key.op = DenseMapInfo<Operation *>::getTombstoneKey();
    return key;
  }
  static unsigned getHashValue(const Key &key) {
    return static_cast<unsigned>(static_cast<size_t>(key.hash));
  }
  static bool isSpecial(const Key &key) {
    return !key.op || key.op == DenseMapInfo<Operation *>::getTombstoneKey();
  }
  static bool isEqual(const Key &x, const Key &y) {
    if (isSpecial(x) || isSpecial(y) || x.op == y.op)
      return x.op == y.op;
    if (x.hash != y.hash || x.op->getName() != y.op->getName() ||
        x.types != y.types || getAttributes(x.op) != getAttributes(y.op) ||
        x.op->getNumRegions() != y.op->getNumRegions())
      return false;
    for (auto [a, b] : llvm::zip(x.op->getRegions(), y.op->getRegions()))
      if (!OperationEquivalence::isRegionEquivalentTo(&a, &b, kFlags))
        return false;
    return true;
  }
};

struct KernelOutline : nestc::impl::KernelOutlineBase<KernelOutline> {
  using KernelOutlineBase::KernelOutlineBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    llvm::DenseMap<Key, kernel::DefOp, KeyInfo> definitions;
    llvm::StringMap<unsigned> numbers;
    // Definitions go in front of the first entry.
    Operation *before = nullptr;

    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      for (Block &block : function.getBody())
        for (Operation &op : llvm::make_early_inc_range(block)) {
          auto kernelOp = dyn_cast<DestinationStyleOpInterface>(op);
          if (!kernelOp || !isa<kernel::KernelDialect>(op.getDialect()))
            continue;
          if (!kernelOp.hasPureBufferSemantics()) {
            op.emitOpError("works on tensors; run kernel-bufferize and "
                           "kernel-plan-memory first");
            return signalPassFailure();
          }
          if (!before)
            before = function;
          Key key = getKey(kernelOp);
          auto found = definitions.find(key);
          OpBuilder b(&op);
          SmallVector<Value> buffers(op.getOperands());
          if (found != definitions.end()) {
            kernel::LaunchOp::create(b, op.getLoc(), found->second.getSymName(),
                                     buffers);
            op.erase();
            continue;
          }
          // The first of its kind moves into its definition.
          std::string name;
          StringRef stem = op.getName().stripDialect();
          do
            name = (stem + "_" + Twine(numbers[stem]++)).str();
          while (symbols.lookup(name));
          kernel::LaunchOp::create(b, op.getLoc(), name, buffers);
          b.setInsertionPoint(before);
          auto def = kernel::DefOp::create(b, op.getLoc(), name);
          symbols.insert(def);
          Block *body = b.createBlock(
              &def.getBody(), def.getBody().end(), key.types,
              SmallVector<Location>(key.types.size(), op.getLoc()));
          op.moveBefore(body, body->end());
          op.setOperands(body->getArguments());
          definitions[key] = def;
        }
    }
  }
};

} // namespace
