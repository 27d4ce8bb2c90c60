//===- NestAttrs.cpp - axes, masks, rope -----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace nestc::nest;

#include "dialect/NestEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialect/NestAttrs.cpp.inc"

void NestDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialect/NestAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// on
//===----------------------------------------------------------------------===//

OnAttr OnAttr::getOrNull(MLIRContext *context, ArrayRef<StringAttr> axes,
                         ArrayRef<int64_t> inner) {
  if (llvm::all_of(axes, [](StringAttr axis) { return axis.empty(); }))
    return {};
  return get(context, axes, inner);
}

Attribute OnAttr::parse(AsmParser &parser, Type) {
  SmallVector<StringAttr> axes;
  SmallVector<int64_t> inner;
  auto parseDim = [&]() -> ParseResult {
    std::string name;
    StringRef keyword;
    if (succeeded(parser.parseOptionalKeyword(&keyword)))
      name = keyword == "_" ? "" : keyword.str();
    else if (parser.parseString(&name))
      return failure();
    int64_t size = 1;
    if (succeeded(parser.parseOptionalStar()) && parser.parseInteger(size))
      return failure();
    axes.push_back(StringAttr::get(parser.getContext(), name));
    inner.push_back(size);
    return success();
  };
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     parseDim))
    return {};
  return parser.getChecked<OnAttr>(loc, parser.getContext(), axes, inner);
}

void OnAttr::print(AsmPrinter &printer) const {
  printer << '<';
  llvm::interleaveComma(llvm::zip(getAxes(), getInner()), printer.getStream(),
                        [&](auto dim) {
                          auto [axis, inner] = dim;
                          if (axis.empty())
                            printer << '_';
                          else if (axis == "_") // an axis that has this name
                            printer << "\"_\"";
                          else
                            printer.printKeywordOrString(axis.getValue());
                          if (inner != 1)
                            printer << " * " << inner;
                        });
  printer << '>';
}

LogicalResult OnAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                             ArrayRef<StringAttr> axes,
                             ArrayRef<int64_t> inner) {
  if (axes.size() != inner.size()) // no text says this
    return emitError() << "#nest.on has " << axes.size() << " axes but "
                       << inner.size() << " inner sizes";
  bool any = false;
  for (auto [axis, size] : llvm::zip_equal(axes, inner)) {
    if (size < 1 || (axis.empty() && size != 1))
      return emitError() << "[C3] an inner size is a positive number behind an "
                            "axis's name; got "
                         << size << " behind '"
                         << (axis.empty() ? "_" : axis.getValue()) << "'";
    any |= !axis.empty();
  }
  if (!any)
    return emitError() << "[C1] #nest.on names no axis; leave the encoding out";
  return success();
}

LogicalResult
OnAttr::verifyEncoding(ArrayRef<int64_t> shape, Type elementType,
                       function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.size() != getAxes().size())
    return emitError() << "[C2] #nest.on names " << getAxes().size()
                       << " dimensions; the tensor has " << shape.size()
                       << ", and each has an axis or _";
  return success();
}

//===----------------------------------------------------------------------===//
// mask
//===----------------------------------------------------------------------===//

float MaskAttr::getAlibiF32() const {
  return getAlibi() ? getAlibi().getValue().convertToFloat() : 0;
}

Attribute MaskAttr::parse(AsmParser &parser, Type) {
  SMLoc loc = parser.getCurrentLocation();
  bool causal = false, hasWindow = false;
  int64_t window = 0;
  FloatAttr alibi;
  auto parseItem = [&]() -> ParseResult {
    StringRef word;
    SMLoc at = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return failure();
    if (word == "causal" && !causal) {
      causal = true;
      return success();
    }
    if (word == "window" && !hasWindow) {
      hasWindow = true;
      return failure(parser.parseEqual() || parser.parseInteger(window));
    }
    if (word == "alibi" && !alibi) {
      APFloat value(0.0f);
      if (parser.parseEqual() ||
          parser.parseFloat(APFloat::IEEEsingle(), value))
        return failure();
      alibi = parser.getBuilder().getF32FloatAttr(value.convertToFloat());
      return success();
    }
    if (word == "causal" || word == "window" || word == "alibi")
      return parser.emitError(at, "mask item '") << word << "' is given twice";
    return parser.emitError(at, "unknown mask item '")
           << word << "'; legal are causal, window = N, alibi = X";
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     parseItem))
    return {};
  return parser.getChecked<MaskAttr>(loc, parser.getContext(), causal, window,
                                     alibi);
}

void MaskAttr::print(AsmPrinter &printer) const {
  printer << '<';
  llvm::ListSeparator comma;
  if (getCausal())
    printer << StringRef(comma) << "causal";
  if (getWindow())
    printer << StringRef(comma) << "window = " << getWindow();
  if (getAlibi()) {
    printer << StringRef(comma) << "alibi = ";
    printer.printFloat(getAlibi().getValue());
  }
  printer << '>';
}

LogicalResult MaskAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               bool causal, int64_t window, FloatAttr alibi) {
  if (window < 0)
    return emitError() << "[C4] a window is a positive number of keys, or 0 "
                          "for none; got "
                       << window;
  if (window > 0 && !causal)
    return emitError() << "[C5] a window counts back from the query; legal is "
                          "<causal, window = "
                       << window << ">";
  if (alibi && (!alibi.getType().isF32() || !alibi.getValue().isFinite() ||
                !(alibi.getValueAsDouble() > 0)))
    return emitError() << "[C97] alibi is a finite f32 above 0; got " << alibi;
  return success();
}

//===----------------------------------------------------------------------===//
// rope
//===----------------------------------------------------------------------===//

RopeAttr RopeAttr::get(MLIRContext *context, int64_t headDim,
                       ArrayRef<float> frequencies, float magnitude) {
  Builder builder(context);
  return get(context, headDim, builder.getDenseF32ArrayAttr(frequencies),
             builder.getF32FloatAttr(magnitude));
}

float RopeAttr::getMagnitudeF32() const {
  return getMagnitude().getValue().convertToFloat();
}

Attribute RopeAttr::parse(AsmParser &parser, Type) {
  SMLoc loc = parser.getCurrentLocation();
  int64_t headDim = 0;
  float magnitude = 1.0f;
  SmallVector<float> frequencies;
  auto parseFloat = [&](float &result) -> ParseResult {
    APFloat value(0.0f);
    if (parser.parseFloat(APFloat::IEEEsingle(), value))
      return failure();
    result = value.convertToFloat();
    return success();
  };
  auto parseFrequency = [&]() -> ParseResult {
    return parseFloat(frequencies.emplace_back());
  };
  if (parser.parseLess() || parser.parseKeyword("head_dim") ||
      parser.parseEqual() || parser.parseInteger(headDim) ||
      parser.parseComma() || parser.parseKeyword("frequencies") ||
      parser.parseEqual() ||
      parser.parseCommaSeparatedList(AsmParser::Delimiter::Square,
                                     parseFrequency))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("magnitude") || parser.parseEqual() ||
       parseFloat(magnitude)))
    return {};
  if (parser.parseGreater())
    return {};
  Builder builder(parser.getContext());
  return parser.getChecked<RopeAttr>(loc, parser.getContext(), headDim,
                                     builder.getDenseF32ArrayAttr(frequencies),
                                     builder.getF32FloatAttr(magnitude));
}

void RopeAttr::print(AsmPrinter &printer) const {
  // APFloat prints the shortest text that reads back as the same f32.
  auto printFloat = [&](float value) { printer.printFloat(APFloat(value)); };
  printer << "<head_dim = " << getHeadDim() << ", frequencies = [";
  llvm::interleaveComma(getFrequencies().asArrayRef(), printer.getStream(),
                        printFloat);
  printer << ']';
  if (getMagnitudeF32() != 1.0f) {
    printer << ", magnitude = ";
    printFloat(getMagnitudeF32());
  }
  printer << '>';
}

LogicalResult RopeAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t headDim, DenseF32ArrayAttr frequencies,
                               FloatAttr magnitude) {
  if (!frequencies || !magnitude || !magnitude.getType().isF32()) // not in text
    return emitError() << "#nest.rope needs frequencies and an f32 magnitude";
  if (headDim <= 0 || frequencies.empty() ||
      static_cast<int64_t>(frequencies.size()) > headDim / 2)
    return emitError() << "[C6] rope needs 1 to head_dim / 2 frequencies; got "
                       << frequencies.size() << " for head_dim " << headDim;
  auto isFinite = [](float value) { return std::isfinite(value); };
  if (!llvm::all_of(frequencies.asArrayRef(), isFinite) ||
      !magnitude.getValue().isFinite())
    return emitError() << "[C7] frequencies and magnitude of rope are finite "
                          "f32 numbers";
  return success();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

OnAttr nestc::nest::getOn(Type type) {
  auto tensor = dyn_cast_or_null<RankedTensorType>(type);
  auto on = tensor ? dyn_cast_or_null<OnAttr>(tensor.getEncoding()) : OnAttr();
  // Bytecode builds types without asking their encoding ([C2]).
  if (on && static_cast<int64_t>(on.getAxes().size()) != tensor.getRank())
    return {};
  return on;
}

StringRef nestc::nest::getAxis(Type type, unsigned dim) {
  OnAttr on = getOn(type);
  return on ? on.getAxes()[dim].getValue() : StringRef();
}

bool nestc::nest::isOfPositions(EmbedOp embed) {
  auto argument = dyn_cast<BlockArgument>(embed.getIds());
  auto entry = argument
                   ? dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp())
                   : func::FuncOp();
  if (!entry)
    return false;
  auto name =
      entry.getArgAttrOfType<StringAttr>(argument.getArgNumber(), kNameAttr);
  return name && name.getValue() == "positions";
}

RankedTensorType nestc::nest::dropAxes(RankedTensorType type) {
  return RankedTensorType::get(type.getShape(), type.getElementType());
}
