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

/// What bytecode of this dialect says first: a number, and who wrote it. This
/// layout stays as it is for ever, so that any reader can name any writer.
struct NestVersion : DialectVersion {
  explicit NestVersion(uint64_t number) : number(number) {}
  uint64_t number;
};

/// Attributes and properties go as MLIR's bytecode writes them by itself. The
/// number grows when a reader of the number before would misread a module.
struct NestBytecode : BytecodeDialectInterface {
  explicit NestBytecode(Dialect *dialect) : BytecodeDialectInterface(dialect) {}
  static constexpr uint64_t kCurrent = 2;
  static constexpr llvm::StringLiteral kProducer = "nestc " NESTC_VERSION;

  void writeVersion(DialectBytecodeWriter &writer) const final {
    writer.writeVarInt(kCurrent);
    writer.writeOwnedString(kProducer);
  }
  std::unique_ptr<DialectVersion>
  readVersion(DialectBytecodeReader &reader) const final {
    uint64_t number = 0;
    StringRef producer;
    if (failed(reader.readVarInt(number)) ||
        failed(reader.readString(producer)))
      return nullptr;
    if (number == 0 || number > kCurrent) {
      reader.emitError() << "bytecode of dialect 'nest' has version " << number
                         << ", written by '" << producer << "'; " << kProducer
                         << " reads versions 1 to " << kCurrent
                         << ": read it with a newer nestc, or let the writer "
                            "write text";
      return nullptr;
    }
    return std::make_unique<NestVersion>(number);
  }
};

/// Whether the module that is read was written with this version or later.
bool isSince(DialectBytecodeReader &reader, uint64_t number) {
  FailureOr<const DialectVersion *> version =
      reader.getDialectVersion<NestDialect>();
  return succeeded(version) &&
         static_cast<const NestVersion *>(*version)->number >= number;
}
} // namespace

// Properties that version 1 did not have.

LogicalResult EmbedOp::readProperties(DialectBytecodeReader &reader,
                                      OperationState &state) {
  auto &properties = state.getOrAddProperties<Properties>();
  if (failed(reader.readOptionalAttribute(properties.scale)))
    return failure();
  return isSince(reader, 2) ? reader.readOptionalAttribute(properties.unknown)
                            : success();
}

void EmbedOp::writeProperties(DialectBytecodeWriter &writer) {
  writer.writeOptionalAttribute(getProperties().scale);
  writer.writeOptionalAttribute(getProperties().unknown);
}

LogicalResult ScaleOp::readProperties(DialectBytecodeReader &reader,
                                      OperationState &state) {
  auto &properties = state.getOrAddProperties<Properties>();
  return isSince(reader, 2) ? reader.readOptionalAttribute(properties.column)
                            : success();
}

void ScaleOp::writeProperties(DialectBytecodeWriter &writer) {
  writer.writeOptionalAttribute(getProperties().column);
}

void NestDialect::initialize() {
  registerAttributes();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialect/NestOps.cpp.inc"
      >();
  addInterfaces<NestInliner, NestAsm, NestBytecode>();
}
