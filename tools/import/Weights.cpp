//===- Weights.cpp - the tensors of a family, checked and declared -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/import/Weights.h"

#include "mlir/IR/Location.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::rt;

std::string nestc::typeName(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// Null for a type that nothing is multiplied in.
static Type elementTypeOf(Builder &builder, DType type) {
  switch (type) {
  case DType::F32:
    return builder.getF32Type();
  case DType::BF16:
    return builder.getBF16Type();
  case DType::F16:
    return builder.getF16Type();
  default:
    return {};
  }
}

static std::string nameInLayer(StringRef pattern, int64_t layer) {
  auto [before, after] = pattern.split("{}");
  if (before.size() == pattern.size())
    return pattern.str();
  return (before + Twine(layer) + after).str();
}

Status WeightTable::declare(ArrayRef<TensorRule> rules, unsigned features,
                            const SizeTable &sizes, int64_t layer) {
  for (const TensorRule &rule : rules)
    if ((rule.when & ~features) == 0)
      NEST_RT_TRY(declare(rule, sizes, layer));
  return Status::success();
}

Status WeightTable::declare(const TensorRule &rule, const SizeTable &sizes,
                            int64_t layer) {
  std::string name = nameInLayer(rule.name, layer);
  StringRef letters = rule.shape;
  std::vector<int64_t> shape;
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> inner(letters.size(), 1);
  std::string meaning;
  for (char letter : letters) {
    const SizeTable::Size &size = sizes[letter];
    shape.push_back(size.value);
    axes.push_back(builder.getStringAttr(size.axis));
    meaning += (meaning.empty() ? "" : ", ") + size.meaning;
  }

  const TensorInfo *tensor = checkpoint.find(name);
  if (!tensor) {
    Error missing = checkpoint.get(name).takeError();
    return Error(checkpoint.directory(), "the tensor " + name + " is missing",
                 missing.legal.empty()
                     ? "legal is " + shapeString(shape) + " of " + meaning
                     : missing.legal);
  }
  if (tensor->shape != shape)
    return Error(checkpoint.placeOf(*tensor),
                 "has shape " + shapeString(tensor->shape),
                 "config.json asks for " + shapeString(shape) + ", that is [" +
                     meaning + "]");
  Type stored = elementTypeOf(builder, tensor->dtype);
  if (!stored)
    return Error(checkpoint.placeOf(*tensor),
                 std::string("has element type ") +
                     safetensorsName(tensor->dtype),
                 "F32, BF16 or F16");

  bool isMatrix = shape.size() > 1;
  if (isMatrix && !elementType)
    elementType = stored;
  Type element = isMatrix ? elementType : builder.getF32Type();
  auto type = RankedTensorType::get(
      shape, element,
      nest::OnAttr::getOrNull(builder.getContext(), axes, inner));
  TypeAttr storedAttr;
  if (stored != element)
    storedAttr = TypeAttr::get(RankedTensorType::get(shape, stored));
  nest::WeightOp::create(builder, NameLoc::get(builder.getStringAttr(name)),
                         builder.getStringAttr(name), TypeAttr::get(type),
                         /*key=*/StringAttr(), storedAttr,
                         /*offsets=*/DenseI64ArrayAttr(),
                         /*sizes=*/DenseI64ArrayAttr(), /*exact=*/UnitAttr());
  types[name] = type;
  return Status::success();
}

Status WeightTable::checkNothingElse(
    llvm::function_ref<bool(StringRef)> isHarmless) const {
  const TensorInfo *first = nullptr;
  unsigned more = 0;
  for (const TensorInfo *tensor : checkpoint.tensors()) {
    if (types.count(tensor->name) || isHarmless(tensor->name))
      continue;
    if (first)
      ++more;
    else
      first = tensor;
  }
  if (!first)
    return Status::success();
  std::string message = "this tensor is not part of the model";
  if (more == 1)
    message += ", nor is another one";
  else if (more)
    message += ", nor are " + std::to_string(more) + " others";
  return Error(checkpoint.placeOf(*first), message,
               "legal are the " + std::to_string(types.size()) +
                   " tensors that config.json asks for");
}
