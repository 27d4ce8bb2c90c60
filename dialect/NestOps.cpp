//===- NestOps.cpp - graph operations and their verifiers-*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace nestc::nest;

#define GET_OP_CLASSES
#include "dialect/NestOps.cpp.inc"

LogicalResult AxisOp::verify() { return success(); }

RankedTensorType WeightOp::getStoredType() {
  if (std::optional<Type> stored = getStored())
    return cast<RankedTensorType>(*stored);
  return dropAxes(getTensorType());
}
LogicalResult WeightOp::verify() { return success(); }

LogicalResult GetOp::verify() { return success(); }
LogicalResult GetOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return success();
}
LogicalResult EmbedOp::verify() { return success(); }
LogicalResult LinearOp::verify() { return success(); }
LogicalResult NormOp::verify() { return success(); }
LogicalResult ActOp::verify() { return success(); }
LogicalResult GluOp::verify() { return success(); }
LogicalResult RopeOp::verify() { return success(); }
LogicalResult LastOp::verify() { return success(); }
LogicalResult CacheAppendOp::verify() { return success(); }
LogicalResult AttentionOp::verify() { return success(); }

//===----------------------------------------------------------------------===//
// layer
//===----------------------------------------------------------------------===//

// nest.layer 3 (%x) carry (%k, %v) : (types) -> (types) { body }
ParseResult LayerOp::parse(OpAsmParser &parser, OperationState &result) {
  IntegerAttr index;
  SmallVector<OpAsmParser::UnresolvedOperand> streams, carried;
  FunctionType type;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseAttribute(index, parser.getBuilder().getI64Type(), "index",
                            result.attributes) ||
      parser.parseOperandList(streams, OpAsmParser::Delimiter::Paren))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("carry")) &&
      parser.parseOperandList(carried, OpAsmParser::Delimiter::Paren))
    return failure();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseColonType(type))
    return failure();
  Region *body = result.addRegion();
  SmallVector<OpAsmParser::UnresolvedOperand> operands(streams);
  operands.append(carried);
  if (parser.resolveOperands(operands, type.getInputs(), loc,
                             result.operands) ||
      parser.parseRegion(*body))
    return failure();
  result.addTypes(type.getResults());
  result.getOrAddProperties<Properties>().operandSegmentSizes = {
      static_cast<int32_t>(streams.size()),
      static_cast<int32_t>(carried.size())};
  return success();
}

void LayerOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getIndex() << " (";
  printer.printOperands(getStreams());
  printer << ')';
  if (!getCarried().empty()) {
    printer << " carry (";
    printer.printOperands(getCarried());
    printer << ')';
  }
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(), {"index", "operandSegmentSizes"});
  printer << " : ";
  printer.printFunctionalType(*this);
  printer << ' ';
  printer.printRegion(getBody());
}

LogicalResult LayerOp::verify() { return success(); }
