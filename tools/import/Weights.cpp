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

Status WeightTable::declare(ArrayRef<TensorRule> rules, unsigned features,
                            const SizeTable &sizes, StringRef prefix,
                            const TensorUse &use) {
  for (const TensorRule &rule : rules)
    if ((rule.when & ~features) == 0)
      NEST_RT_TRY(declare((prefix + rule.name).str(), rule.shape, sizes, use));
  return Status::success();
}

Status WeightTable::declare(StringRef name, StringRef letters,
                            const SizeTable &sizes, const TensorUse &use) {
  std::vector<int64_t> shape;
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> inner;
  std::string meaning;
  unsigned cut = use.columns ? 1 : 0; // the dimension with the part
  for (char letter : letters) {
    const SizeTable::Size &size = sizes[letter];
    shape.push_back(size.value);
    axes.push_back(builder.getStringAttr(size.axis));
    inner.push_back(size.inner);
    bool isPart = use.rows && shape.size() == cut + 1;
    meaning +=
        (meaning.empty() ? "" : ", ") + (isPart ? use.meaning : size.meaning);
  }
  std::vector<int64_t> box = shape;
  SmallVector<int64_t> offsets(shape.size(), 0);
  if (use.rows) {
    offsets[cut] = use.first;
    shape[cut] = use.rows;
  }

  const TensorInfo *tensor = checkpoint.find(name.str());
  if (!tensor) {
    Error missing = checkpoint.get(name.str()).takeError();
    return Error(checkpoint.directory(),
                 "the tensor " + name.str() + " is missing",
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

  bool isPart = shape != box;
  if (use.joined) {
    for (int64_t size : ArrayRef(box).drop_front(2))
      box[1] *= size;
    box.resize(2);
    axes.resize(2);
    inner.resize(2);
  }
  bool isMatrix = shape.size() > 1;
  if (isMatrix && !use.exact && !elementType)
    elementType = stored;
  Type element =
      isMatrix && !use.exact ? elementType : Type(builder.getF32Type());
  auto type = RankedTensorType::get(
      box, element, nest::OnAttr::getOrNull(builder.getContext(), axes, inner));
  std::string symbol = (name + use.suffix).str();
  TypeAttr storedAttr;
  if (stored != element || isPart || use.joined)
    storedAttr = TypeAttr::get(RankedTensorType::get(shape, stored));
  nest::WeightOp::create(
      builder, NameLoc::get(builder.getStringAttr(symbol)),
      builder.getStringAttr(symbol), TypeAttr::get(type),
      symbol == name ? StringAttr() : builder.getStringAttr(name), storedAttr,
      isPart ? builder.getDenseI64ArrayAttr(offsets) : DenseI64ArrayAttr(),
      isPart ? builder.getDenseI64ArrayAttr(box) : DenseI64ArrayAttr(),
      use.exact && isMatrix ? builder.getUnitAttr() : UnitAttr());
  types[symbol] = type;
  read.insert(name);
  return Status::success();
}

Status WeightTable::checkNothingElse(
    llvm::function_ref<bool(StringRef)> isHarmless) const {
  const TensorInfo *first = nullptr;
  unsigned more = 0;
  for (const TensorInfo *tensor : checkpoint.tensors()) {
    if (read.contains(tensor->name) || isHarmless(tensor->name))
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
               "legal are the " + std::to_string(read.size()) +
                   " tensors that config.json asks for");
}
