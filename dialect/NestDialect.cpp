//===- NestDialect.cpp - the nest dialect -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"

#include "mlir/Bytecode/BytecodeImplementation.h"
#include "mlir/Transforms/InliningUtils.h"

using namespace mlir;
using namespace nestc::nest;

#include "dialect/NestDialect.cpp.inc"

namespace {
/// Graph operations hold no control flow: all of them may be inlined.
struct NestInliner : DialectInlinerInterface {
  using DialectInlinerInterface::DialectInlinerInterface;
  bool isLegalToInline(Operation *, Region *, bool, IRMapping &) const final {
    return true;
  }
  bool isLegalToInline(Region *, Region *, bool, IRMapping &) const final {
    return true;
  }
};

/// Rope frequencies are long and shared: print them once, at the top.
struct NestAsm : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;
  AliasResult getAlias(Attribute attr, raw_ostream &os) const final {
    if (isa<RopeAttr>(attr)) {
      os << "rope";
      return AliasResult::FinalAlias;
    }
    return AliasResult::NoAlias;
  }
};
} // namespace

void NestDialect::initialize() {
  registerAttributes();
  addOperations<
#define GET_OP_LIST
#include "dialect/NestOps.cpp.inc"
      >();
  addInterfaces<NestInliner, NestAsm>();
}

LogicalResult NestDialect::verifyOperationAttribute(Operation *op,
                                                    NamedAttribute attr) {
  return success();
}

LogicalResult NestDialect::verifyRegionArgAttribute(Operation *op,
                                                    unsigned region,
                                                    unsigned arg,
                                                    NamedAttribute attr) {
  return success();
}
