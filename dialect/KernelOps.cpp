//===- KernelOps.cpp - kernel operations and verifiers ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace nestc::kernel;

#define GET_OP_CLASSES
#include "dialect/KernelOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Memory effects: operands that are memrefs are read, the output is written,
// and read as well when its old value is used. On tensors there are none.
//===----------------------------------------------------------------------===//

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

static void addEffects(DestinationStyleOpInterface op, bool readsOutput,
                       Effects &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isOut = op.isDpsInit(&operand);
    if (!isOut || readsOutput)
      effects.emplace_back(MemoryEffects::Read::get(), &operand, 0,
                           /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
    if (isOut)
      effects.emplace_back(MemoryEffects::Write::get(), &operand, 0,
                           /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
  }
}

void EmbedOp::getEffects(Effects &effects) { addEffects(*this, false, effects); }
void MatmulOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
}
void RowwiseOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
}
void RopeTableOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void RopeOp::getEffects(Effects &effects) { addEffects(*this, true, effects); }
// Rows of the cache that are not written keep their value.
void CacheAppendOp::getEffects(Effects &effects) {
  addEffects(*this, true, effects);
}
void AttentionOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void LastRowsOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}

LogicalResult EmbedOp::verify() { return success(); }
LogicalResult MatmulOp::verify() { return success(); }
LogicalResult RowwiseOp::verify() { return success(); }
LogicalResult RopeTableOp::verify() { return success(); }
LogicalResult RopeOp::verify() { return success(); }
LogicalResult CacheAppendOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }
LogicalResult LastRowsOp::verify() { return success(); }

//===----------------------------------------------------------------------===//
// def and launch
//===----------------------------------------------------------------------===//

// kernel.def @name(%a: memref<...>, ...) attributes {...} { one operation }
ParseResult DefOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(),
                             result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren,
                               /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void DefOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer, [&](BlockArgument a) {
    printer.printRegionArgument(a);
  });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {SymbolTable::getSymbolAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult DefOp::verify() { return success(); }

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto def = symbols.lookupNearestSymbolFrom<DefOp>(*this, getKernelAttr());
  if (!def)
    return emitOpError() << "names no kernel.def: " << getKernelAttr();
  return success();
}
