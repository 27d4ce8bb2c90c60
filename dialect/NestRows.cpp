//===- NestRows.cpp - row sets and their verifiers --------*- C++ -*-===//
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
#include <limits>

using namespace mlir;
using namespace nestc::nest;

#define GET_TYPEDEF_CLASSES
#include "dialect/NestTypes.cpp.inc"

void NestDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialect/NestTypes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// capacity
//===----------------------------------------------------------------------===//

namespace {
/// Products of two such numbers fit an i64.
constexpr int64_t kMaxCapacity = std::numeric_limits<int32_t>::max();
/// Sets of a family at most.
constexpr int64_t kMaxSets = 65535;
} // namespace

int64_t CapacityAttr::of(int64_t rows) const {
  int64_t count = getNumerator();
  if (!isCount()) {
    int64_t product = getNumerator() * rows;
    count = product / getDenominator();
    int64_t twice = 2 * (product % getDenominator());
    switch (getRounding()) {
    case Rounding::floor:
      break;
    case Rounding::ceil:
      count += twice > 0;
      break;
    case Rounding::nearest_even:
      count += twice > getDenominator() ||
               (twice == getDenominator() && count % 2 == 1);
      break;
    case Rounding::double_floor:
      count = static_cast<int64_t>(static_cast<double>(getNumerator()) /
                                   static_cast<double>(getDenominator()) *
                                   static_cast<double>(rows));
      break;
    }
  }
  return std::min(std::max(count, getMinimum()), rows);
}

// <1/8, ceil, min 1>, <256>
Attribute CapacityAttr::parse(AsmParser &parser, Type) {
  SMLoc loc = parser.getCurrentLocation();
  int64_t numerator = 0, denominator = 0, minimum = 0;
  Rounding rounding = Rounding::floor;
  if (parser.parseLess() || parser.parseInteger(numerator))
    return {};
  if (succeeded(parser.parseOptionalSlash()) &&
      parser.parseInteger(denominator))
    return {};
  while (succeeded(parser.parseOptionalComma())) {
    StringRef word;
    SMLoc at = parser.getCurrentLocation();
    if (parser.parseKeyword(&word))
      return {};
    if (word == "min") {
      if (parser.parseInteger(minimum))
        return {};
      continue;
    }
    std::optional<Rounding> found = symbolizeRounding(word);
    if (!found) {
      parser.emitError(at, "unknown word '")
          << word
          << "'; legal are floor, ceil, nearest_even, double_floor and min N";
      return {};
    }
    rounding = *found;
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<CapacityAttr>(loc, parser.getContext(), numerator,
                                         denominator, rounding, minimum);
}

void CapacityAttr::print(AsmPrinter &printer) const {
  printer << '<' << getNumerator();
  if (!isCount())
    printer << '/' << getDenominator();
  if (getRounding() != Rounding::floor)
    printer << ", " << stringifyRounding(getRounding());
  if (getMinimum())
    printer << ", min " << getMinimum();
  printer << '>';
}

LogicalResult CapacityAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t numerator, int64_t denominator,
                                   Rounding rounding, int64_t minimum) {
  bool small = llvm::all_of(
      ArrayRef({numerator, denominator, minimum}),
      [](int64_t value) { return value >= 0 && value <= kMaxCapacity; });
  if (!small || (denominator && numerator > denominator))
    return emitError() << "[C72] a capacity is a part of the rows from 0/n to "
                          "n/n or a count, with a minimum, all of them 0 to "
                       << kMaxCapacity << "; got " << numerator
                       << (denominator ? "/" + Twine(denominator) : Twine())
                       << " and " << minimum;
  return success();
}

//===----------------------------------------------------------------------===//
// rows
//===----------------------------------------------------------------------===//

// <3, cover>, <1, #nest.capacity<1/8>>
Type RowsType::parse(AsmParser &parser) {
  SMLoc loc = parser.getCurrentLocation();
  int64_t sets = 0;
  bool cover = false;
  CapacityAttr capacity;
  if (parser.parseLess() || parser.parseInteger(sets))
    return {};
  if (succeeded(parser.parseOptionalComma())) {
    if (succeeded(parser.parseOptionalKeyword("cover")))
      cover = true;
    else if (parser.parseAttribute(capacity))
      return {};
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<RowsType>(loc, parser.getContext(), sets, cover,
                                     capacity);
}

void RowsType::print(AsmPrinter &printer) const {
  printer << '<' << getSets();
  if (getCover())
    printer << ", cover";
  if (getCapacity())
    printer << ", " << getCapacity();
  printer << '>';
}

LogicalResult RowsType::verify(function_ref<InFlightDiagnostic()> emitError,
                               int64_t sets, bool cover,
                               CapacityAttr capacity) {
  if (sets < 1 || sets > kMaxSets)
    return emitError() << "[C73] a family has 1 to " << kMaxSets
                       << " sets; got " << sets;
  if (capacity && (cover || sets != 1))
    return emitError() << "[C73] a capacity counts the rows of a single set "
                          "that does not cover";
  return success();
}

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

namespace {
ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

/// Whether `value` has rows: [batch, rows] or [batch, rows, width], the first
/// two on no axis.
bool hasRows(Value value) {
  Type type = value.getType();
  auto rank = static_cast<unsigned>(shapeOf(value).size());
  return (rank == 2 || rank == 3) && getAxis(type, 0).empty() &&
         getAxis(type, 1).empty();
}

/// Whether `value` is a stream of `width` columns (0: any) on no axis.
bool isStream(Value value, int64_t width = 0) {
  ArrayRef<int64_t> shape = shapeOf(value);
  return shape.size() == 3 && !getOn(value.getType()) &&
         (width == 0 || shape[2] == width);
}

bool sameRows(Value a, Value b) {
  return shapeOf(a).take_front(2) == shapeOf(b).take_front(2);
}

/// [C74] `within` is one set.
LogicalResult verifyWithin(Operation *op, Value within) {
  if (within && cast<RowsType>(within.getType()).getSets() != 1)
    return op->emitOpError("[C74] is within ")
           << within.getType() << "; legal is a single set";
  return success();
}

LogicalResult verifySource(Operation *op, Type expected) {
  Type type = op->getResult(0).getType();
  if (type == expected)
    return success();
  return op->emitOpError("[C78] makes ") << expected << "; got " << type;
}
} // namespace

LogicalResult SelectOp::verify() {
  if (!isStream(getScores(), 1))
    return emitOpError("[C74] takes scores [batch, rows, 1] on no axis; got ")
           << getScores().getType();
  if (failed(verifyWithin(*this, getWithin())))
    return failure();
  if (getCapacity().has_value() == getThreshold().has_value() ||
      (getThreshold() && getThreshold()->isNaN()))
    return emitOpError("[C75] selects either the top of a capacity or what is "
                       "above a threshold that is a number");
  return verifySource(*this, RowsType::get(getContext(), 1, false,
                                           getCapacity().value_or(nullptr)));
}

LogicalResult PartitionOp::verify() {
  if (shapeOf(getIds()).size() != 2)
    return emitOpError("[C76] takes ids [batch, rows]; got ")
           << getIds().getType();
  int64_t most = -1;
  llvm::SmallDenseSet<int64_t> seen;
  bool legal = true;
  for (int64_t set : getSets()) {
    bool inRange = set >= -1 && set < kMaxSets;
    legal &= inRange;
    most = std::max(most, set);
    // Some integers are keys that the set keeps for itself.
    if (inRange && set >= 0)
      seen.insert(set);
  }
  if (!legal || most < 0 || static_cast<int64_t>(seen.size()) != most + 1)
    return emitOpError("[C76] the sets of the values are 0 to n - 1, each of "
                       "them at least once, or -1 for none");
  return verifySource(*this, RowsType::get(getContext(), most + 1, true, {}));
}

LogicalResult AssignOp::verify() {
  ArrayRef<int64_t> shape = shapeOf(getScores());
  int64_t choice = getChoice();
  if (!isStream(getScores()) || shape[2] < 1 || shape[2] > kMaxSets)
    return emitOpError("[C77] takes scores [batch, rows, slots] on no axis; "
                       "got ")
           << getScores().getType();
  if (choice < 0 || choice >= shape[2])
    return emitOpError("[C77] the choice is 0 to ")
           << shape[2] - 1 << ", one for each slot; got " << choice;
  if (failed(verifyWithin(*this, getWithin())))
    return failure();
  return verifySource(*this, RowsType::get(getContext(), shape[2], true, {}));
}

LogicalResult PickOp::verify() {
  RowsType family = getFamily().getType();
  int64_t first = getFirst(), count = getCount(), sets = family.getSets();
  if (first < 0 || count < 1 || first > sets - count)
    return emitOpError("[C79] picks ")
           << count << " sets from " << first << " on of " << family
           << "; they are 1 or more of its sets";
  if (count == sets)
    return verifySource(*this, family);
  return verifySource(*this, RowsType::get(getContext(), count, false, {}));
}

//===----------------------------------------------------------------------===//
// on
//===----------------------------------------------------------------------===//

LogicalResult OnOp::verify() {
  RowsType rows = getRows().getType();
  auto sets = static_cast<size_t>(rows.getSets());
  size_t bodies = getBodies().size();
  if (bodies == 0 || bodies > sets || (bodies < sets && getBases().empty()))
    return emitOpError("[C80] has ")
           << bodies << " bodies for " << rows
           << "; legal is one for each set, or fewer with `into`";
  Value first;
  for (Value operand : llvm::concat<Value>(SmallVector<Value>(getGathered()),
                                           SmallVector<Value>(getBases()))) {
    if (!first)
      first = operand;
    if (!hasRows(operand) || !sameRows(first, operand))
      return emitOpError("[C81] gathers or returns into ")
             << operand.getType()
             << "; legal are [batch, rows] and [batch, rows, width] of one "
                "batch and rows, on no axis";
  }
  if (!getCarried().empty() && (sets != 1 || bodies != 1))
    return emitOpError("[C82] carries values through ")
           << rows << "; only the body of a single set carries";
  size_t returned = getResults().size() - getCarried().size();
  if (getResults().size() < getCarried().size() ||
      TypeRange(getResults().take_back(getCarried().size())) !=
          TypeRange(getCarried()))
    return emitOpError("[C83] the last results are what is carried, of its "
                       "types");
  if (getBases().empty() && !rows.getCover() && returned != 0)
    return emitOpError("[C83] assembles results of ")
           << rows << ", which does not cover; give it `into`";
  if (!getBases().empty() &&
      TypeRange(getResults().take_front(returned)) != TypeRange(getBases()))
    return emitOpError("[C83] the first results are those of `into`, of its "
                       "types");
  for (Value result : getResults().take_front(returned))
    if (shapeOf(result).size() != 3 || !hasRows(result) ||
        (first && !sameRows(first, result)))
      return emitOpError("[C83] returns ")
             << result.getType() << "; legal are streams of the rows gathered";
  return success();
}

LogicalResult OnOp::verifyRegions() {
  for (Region &body : getBodies()) {
    Block &block = body.front();
    auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
    if (block.getArgumentTypes() != getGathered().getTypes() || !yield ||
        yield.getOperandTypes() != getResultTypes())
      return emitOpError("[C84] a body takes what is gathered and ends in a "
                         "nest.yield of the results' types");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Packed streams
//===----------------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  if (!hasRows(getX()) || getType() != getX().getType())
    return emitOpError("[C85] takes [batch, rows] or [batch, rows, width] and "
                       "gives the same type; got ")
           << getX().getType() << " and " << getType();
  return success();
}

LogicalResult SpreadOp::verify() {
  if (shapeOf(getX()).size() != 3 || getType() != getX().getType() ||
      (getBase() && getBase().getType() != getType()))
    return emitOpError("[C86] takes streams of one type, which is the "
                       "result's; got ")
           << getX().getType();
  if (!getBase() && !getRows().getType().getCover())
    return emitOpError("[C86] spreads rows of ")
           << getRows().getType()
           << ", which does not cover, over nothing; give it `into`";
  return success();
}

LogicalResult PerSetOp::verify() {
  if (static_cast<int64_t>(getValues().size()) != getRows().getType().getSets())
    return emitOpError("[C87] has ")
           << getValues().size() << " values for " << getRows().getType()
           << "; each set has one";
  for (Value value : getValues())
    if (value.getType() != getType())
      return emitOpError("[C87] has a value of ")
             << value.getType() << "; all have the result's type, "
             << getType();
  for (OpOperand &use : getResult().getUses()) {
    bool legal =
        llvm::TypeSwitch<Operation *, bool>(use.getOwner())
            .Case<LinearOp, NormOp>([&](auto op) {
              return use.get() == op.getW() || use.get() == op.getBias();
            })
            .Case([&](GainOp op) { return use.get() == op.getW(); })
            .Default(false);
    if (!legal || use.getOperandNumber() == 0)
      return emitOpError("[C88] is used by '")
             << use.getOwner()->getName()
             << "'; legal as weight or bias of nest.linear, nest.norm and "
                "nest.gain";
  }
  return success();
}

LogicalResult ScaleOp::verify() {
  if (shapeOf(getX()).size() != 3 || getType() != getX().getType() ||
      !isStream(getWeights()) || !sameRows(getX(), getWeights()))
    return emitOpError("[C89] takes a stream and weights [batch, rows, n] of "
                       "its rows, and gives the stream's type; got ")
           << getX().getType() << " and " << getWeights().getType();
  int64_t column = getColumnAttr().getInt();
  if (column < 0 || column >= shapeOf(getWeights())[2])
    return emitOpError("[C89] takes column ")
           << column << " of weights with " << shapeOf(getWeights())[2];
  return success();
}

LogicalResult ChosenOp::verify() {
  ArrayRef<int64_t> shape = shapeOf(getScores());
  if (!isStream(getScores()) || shape[2] < getRows().getType().getSets() ||
      !isStream(getResult(), 1) || !sameRows(getScores(), getResult()))
    return emitOpError(
               "[C90] takes scores [batch, rows, slots] with a slot for "
               "each set and gives [batch, rows, 1]; got ")
           << getScores().getType() << " and " << getType();
  return success();
}

LogicalResult SoftmaxOp::verify() {
  if (!isStream(getX()) || getType() != getX().getType())
    return emitOpError("[C91] takes a stream on no axis and gives its type; "
                       "got ")
           << getX().getType() << " and " << getType();
  if (getRows() && (!getOverRows() || getRows().getType().getSets() != 1))
    return emitOpError("[C91] is by rows; that needs over_rows and a single "
                       "set");
  return success();
}

//===----------------------------------------------------------------------===//
// Rows counted along a sequence
//===----------------------------------------------------------------------===//

static LogicalResult verifyCounted(Operation *op, Value lengths, Value ids,
                                   Type expected) {
  if (shapeOf(lengths).size() != 1 || shapeOf(ids).size() != 2 ||
      shapeOf(lengths)[0] != shapeOf(ids)[0] ||
      op->getResult(0).getType() != expected)
    return op->emitOpError("[C92] takes lengths [batch] and ids [batch, rows] "
                           "and gives ")
           << expected << "; got " << lengths.getType() << " and "
           << ids.getType();
  return success();
}

LogicalResult AdvanceOp::verify() {
  return verifyCounted(*this, getLengths(), getIds(), getLengths().getType());
}
LogicalResult RankOp::verify() {
  return verifyCounted(*this, getLengths(), getIds(), getIds().getType());
}
