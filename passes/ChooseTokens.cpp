//===- ChooseTokens.cpp - the most likely token, beside its logits --------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "dialect/Nest.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_NESTCHOOSETOKENS
#include "passes/Passes.h.inc"

namespace {

/// The result that is the logits of one row of every sequence; none if the
/// entry has none, or says already what is chosen.
std::optional<unsigned> logitsOf(func::FuncOp entry) {
  std::optional<unsigned> found;
  for (unsigned i = 0; i < entry.getNumResults(); ++i) {
    auto name = entry.getResultAttrOfType<StringAttr>(i, nest::kNameAttr);
    auto type = dyn_cast<RankedTensorType>(entry.getResultTypes()[i]);
    if (name && name.getValue() == nest::kTokenOutput)
      return {};
    if (name && name.getValue() == nest::kLogitsOutput && type &&
        type.getRank() == 3 && type.getDimSize(1) == 1 &&
        type.getElementType().isF32() && !type.isDynamicDim(2))
      found = i;
  }
  return found;
}

struct NestChooseTokens : impl::NestChooseTokensBase<NestChooseTokens> {
  using NestChooseTokensBase::NestChooseTokensBase;

  void runOnOperation() override {
    for (auto entry : getOperation().getOps<func::FuncOp>()) {
      if (entry.isExternal() || !entry->hasAttr(nest::kEntryAttr) ||
          !llvm::hasSingleElement(entry.getBody()))
        continue;
      std::optional<unsigned> index = logitsOf(entry);
      if (!index)
        continue;
      Operation *end = entry.getBody().front().getTerminator();
      Value logits = end->getOperand(*index);
      auto type = cast<RankedTensorType>(logits.getType());
      OpBuilder b(end);
      auto tokens =
          RankedTensorType::get(type.getShape().drop_back(), b.getI32Type());
      Value token = nest::ArgmaxOp::create(b, end->getLoc(), tokens, logits);
      end->insertOperands(end->getNumOperands(), token);
      auto name =
          b.getNamedAttr(nest::kNameAttr, b.getStringAttr(nest::kTokenOutput));
      if (failed(entry.insertResult(entry.getNumResults(), tokens,
                                    b.getDictionaryAttr(name))))
        return signalPassFailure();
    }
  }
};

} // namespace
} // namespace nestc
