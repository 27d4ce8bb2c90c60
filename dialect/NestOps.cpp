//===- NestOps.cpp - graph operations and their verifiers-*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Nest.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <functional>
#include <limits>

using namespace mlir;
using namespace nestc::nest;

#define GET_OP_CLASSES
#include "dialect/NestOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

namespace {
/// A dimension: its size, and what it lies on.
struct Dim {
  int64_t size = 1;
  StringRef axis;
  int64_t inner = 1;

  bool sameAxis(const Dim &other) const {
    return axis == other.axis && inner == other.inner;
  }
  bool operator==(const Dim &other) const {
    return size == other.size && sameAxis(other);
  }
  bool operator!=(const Dim &other) const { return !(*this == other); }
  bool isDynamic() const { return ShapedType::isDynamic(size); }
  std::string sizeText() const {
    return isDynamic() ? "?" : llvm::itostr(size);
  }
  /// `'layers.0.ffn' * 64`, or `no axis`.
  std::string axisText() const {
    if (axis.empty())
      return "no axis";
    return ("'" + axis + "'" + (inner == 1 ? "" : " * " + Twine(inner))).str();
  }
};

/// The shape of a tensor with its axes.
SmallVector<Dim> getDims(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  OnAttr on = getOn(tensor);
  SmallVector<Dim> dims;
  for (int64_t dim = 0; dim < tensor.getRank(); ++dim)
    dims.push_back({tensor.getDimSize(dim),
                    on ? on.getAxes()[dim].getValue() : StringRef(),
                    on ? on.getInner()[dim] : 1});
  return dims;
}
SmallVector<Dim> getDims(Value value) { return getDims(value.getType()); }

/// The tensor type with these dimensions.
RankedTensorType getTensor(ArrayRef<Dim> dims, Type elementType) {
  SmallVector<int64_t> shape, inner;
  SmallVector<StringAttr> axes;
  MLIRContext *context = elementType.getContext();
  for (const Dim &dim : dims) {
    shape.push_back(dim.size);
    axes.push_back(StringAttr::get(context, dim.axis));
    inner.push_back(dim.inner);
  }
  return RankedTensorType::get(shape, elementType,
                               OnAttr::getOrNull(context, axes, inner));
}
RankedTensorType getStream(ArrayRef<Dim> dims, MLIRContext *context) {
  return getTensor(dims, Float32Type::get(context));
}

/// Whether all dimensions are known and positive and the elements, of 4 bytes
/// or fewer, can be counted in bytes; `count` is their number.
bool countElements(ArrayRef<int64_t> shape, int64_t &count) {
  count = 1;
  for (int64_t size : shape)
    if (size < 1 || llvm::MulOverflow(count, size, count))
      return false;
  return count <= std::numeric_limits<int64_t>::max() / 4;
}

/// Whether a dimension is whole groups of `size` elements, whatever its width.
bool isWhole(const Dim &dim, int64_t size) {
  if (!dim.axis.empty() && dim.inner % size != 0)
    return false;
  return dim.isDynamic() || (dim.size > 0 && dim.size % size == 0);
}

/// [C57] The type of a cache.
LogicalResult verifyCache(Operation *op, Value cache) {
  SmallVector<Dim> dims = getDims(cache);
  bool legal = dims.size() == 4;
  if (legal)
    for (const Dim &dim : {dims[2], dims[3]})
      legal &= dim.size > 0 && dim.axis.empty();
  if (!legal)
    return op->emitOpError("[C57] a cache is [batch, KV heads, capacity, head "
                           "width], the last two static, positive and on no "
                           "axis; got ")
           << cache.getType();
  return success();
}
} // namespace

//===----------------------------------------------------------------------===//
// Axes and weights
//===----------------------------------------------------------------------===//

int64_t AxisOp::getGroup() {
  auto group = (*this)->getAttrOfType<IntegerAttr>(kGroupAttr);
  return group ? group.getInt() : 1;
}

LogicalResult AxisOp::verify() {
  int64_t size = getSize();
  if (size < 1)
    return emitOpError("[C8] an axis has 1 or more elements; got ") << size;
  int64_t previous = 0;
  bool legal = !getLevels().empty();
  for (int64_t level : getLevels()) {
    legal &= level > previous && level <= size;
    previous = level;
  }
  if (!legal)
    return emitOpError(
               "[C9] levels are one or more ascending widths from 1 to ")
           << size;
  return success();
}

// The first axis of a symbol table looks at everything in it, once.
LogicalResult AxisOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *previous = (*this)->getPrevNode();
  while (previous && !isa<AxisOp>(previous))
    previous = previous->getPrevNode();
  return previous ? success() : verifyAxisUses((*this)->getParentOp(), symbols);
}

RankedTensorType WeightOp::getStoredType() {
  if (std::optional<Type> stored = getStored())
    return cast<RankedTensorType>(*stored);
  return dropAxes(getTensorType());
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getTensorType(), stored = getStoredType();
  if (getKeyOrName().empty())
    return emitOpError(
        "[C27] the key of a weight is a string that is not empty");
  int64_t count = 0, storedCount = 0;
  for (auto [tensor, into] :
       {std::make_pair(type, &count), std::make_pair(stored, &storedCount)})
    if (!countElements(tensor.getShape(), *into))
      return emitOpError("[C28] ")
             << tensor
             << " cannot be stored; dimensions are static and positive and the "
                "bytes fit 64 bits";
  if (stored.getEncoding())
    return emitOpError("[C29] the stored type ")
           << stored << " has an encoding; axes belong to the weight's type";
  if (getOffsets().has_value() != getSizes().has_value() ||
      (getOffsets() &&
       (static_cast<int64_t>(getOffsets()->size()) != stored.getRank() ||
        static_cast<int64_t>(getSizes()->size()) != stored.getRank())))
    return emitOpError(
               "[C30] a box has one offset and one size for each of the ")
           << stored.getRank() << " dimensions of " << stored;
  if (getOffsets()) {
    storedCount = 1;
    for (auto [dim, offset, size] :
         llvm::enumerate(*getOffsets(), *getSizes())) {
      int64_t full = stored.getDimSize(dim);
      if (offset < 0 || size < 1 || size > full || offset > full - size)
        return emitOpError("[C31] the box takes ")
               << size << " elements from " << offset << " on in dimension "
               << dim << "; there are " << full
               << ", and a box has 1 or more of them";
      storedCount *= size;
    }
  }
  if (count != storedCount)
    return emitOpError("[C32] ")
           << storedCount << " stored elements cannot be reshaped to " << type
           << ", which has " << count;
  return success();
}

LogicalResult WeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyAxesOf(*this, symbols);
}

LogicalResult GetOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(verifyAxesOf(*this, symbols)))
    return failure();
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("[C33] ")
           << getWeightAttr() << " names no nest.weight of this module";
  RankedTensorType universal = weight.getTensorType();
  auto refuse = [&](const Twine &what) {
    InFlightDiagnostic diag = emitOpError(what);
    diag.attachNote(weight.getLoc()) << "the weight is " << universal;
    return diag;
  };
  RankedTensorType type = getResult().getType();
  if (type.getElementType() != universal.getElementType() ||
      type.getRank() != universal.getRank())
    return refuse(
               "[C34] the result has the weight's element type and rank; got ")
           << type;
  SmallVector<Dim> dims = getDims(type), full = getDims(universal);
  unsigned dynamic = 0;
  for (size_t dim = 0; dim < dims.size(); ++dim) {
    const Dim &to = dims[dim], &from = full[dim];
    if (from.axis.empty()) {
      // The axis of a width that a call binds may have been dropped.
      if (to.isDynamic() && to.axis.empty()) {
        ++dynamic;
        continue;
      }
      if (to != from)
        return refuse("[C35] dimension ")
               << dim << " lies on no axis, so it has the weight's size, "
               << from.size << ", and stays on none";
      continue;
    }
    if (!to.axis.empty() && !to.sameAxis(from))
      return refuse("[C36] dimension ")
             << dim << " lies on " << to.axisText() << "; the weight's lies on "
             << from.axisText();
    if (to.isDynamic()) {
      ++dynamic;
      continue;
    }
    // One on the axis has its full size, by the type itself.
    if (to.size < 1 || to.size > from.size || to.size % from.inner != 0)
      return refuse("[C37] dimension ")
             << dim << " takes " << to.size << " of axis " << from.axisText()
             << "; legal is a positive multiple of " << from.inner << " up to "
             << from.size;
  }
  if (getExtents().size() != dynamic)
    return emitOpError("[C38] has ")
           << getExtents().size() << " extents for " << dynamic
           << " dimensions of unknown size; each has one";
  return success();
}

//===----------------------------------------------------------------------===//
// Rows to rows
//===----------------------------------------------------------------------===//

LogicalResult EmbedOp::verify() {
  SmallVector<Dim> dims = getDims(getIds()), table = getDims(getTable());
  if (dims.empty() || table.size() != 2)
    return emitOpError("[C39] takes ids of rank 1 or more and a table [rows, "
                       "width]; got ")
           << getIds().getType() << " and " << getTable().getType();
  dims.push_back(table[1]);
  RankedTensorType expected = getStream(dims, getContext());
  if (getType() != expected)
    return emitOpError(
               "[C40] the result is the ids' shape and the table's width, ")
           << expected << "; got " << getType();
  if (!getScale().isFinite())
    return emitOpError("[C41] the scale is a finite number");
  IntegerAttr unknown = getUnknownAttr();
  if (unknown && (unknown.getInt() < 0 || unknown.getInt() >= table[0].size))
    return emitOpError("[C101] ids outside of the table read row ")
           << unknown.getInt() << " of " << getTable().getType()
           << "; it has no such row";
  return success();
}

LogicalResult LinearOp::verify() {
  SmallVector<Dim> dims = getDims(getX()), w = getDims(getW());
  if (dims.empty() || w.size() != 2)
    return emitOpError(
               "[C42] takes x of rank 1 or more and a weight [out, in]; "
               "got ")
           << getX().getType() << " and " << getW().getType();
  const Dim &in = dims.back();
  if (!in.sameAxis(w[1]))
    return emitOpError("[C43] contracted dimensions lie on different axes: x's "
                       "last on ")
           << in.axisText() << ", the weight's second on " << w[1].axisText();
  if (in.size != w[1].size)
    return emitOpError("[C44] contracted sizes differ: ")
           << in.sizeText() << " in " << getX().getType() << ", "
           << w[1].sizeText() << " in " << getW().getType();
  dims.back() = w[0];
  RankedTensorType expected = getStream(dims, getContext());
  if (getType() != expected)
    return emitOpError("[C45] the result has x's rows and the weight's first "
                       "dimension with its axis, ")
           << expected << "; got " << getType();
  if (getBias()) {
    RankedTensorType bias = getStream({w[0]}, getContext());
    if (getBias().getType() != bias)
      return emitOpError("[C46] the bias lies along the weight's first "
                         "dimension, ")
             << bias << "; got " << getBias().getType();
  }
  return success();
}

LogicalResult NormOp::verify() {
  SmallVector<Dim> dims = getDims(getX());
  if (dims.empty() || dims.back().size == 0 || getType() != getX().getType())
    return emitOpError("[C47] takes x with a last dimension that is not empty "
                       "and gives the same type; got ")
           << getX().getType() << " and " << getType();
  Dim group = dims.back();
  if (getGroup()) {
    int64_t size = *getGroup();
    if (size < 1 || !isWhole(group, size))
      return emitOpError("[C48] groups of ")
             << size << " do not divide the last dimension of "
             << getX().getType()
             << "; a group divides it, and on an axis it divides the inner "
                "size";
    group = Dim{size, "", 1};
  }
  RankedTensorType expected = getStream({group}, getContext());
  for (Value operand : {getW(), getBias()})
    if (operand && operand.getType() != expected)
      return emitOpError("[C49] weight and bias lie along a group, ")
             << expected << "; got " << operand.getType();
  if (!getEpsilon().isFinite() || getEpsilon().isNegative() ||
      getEpsilon().isZero())
    return emitOpError("[C50] epsilon is a positive finite number");
  return success();
}

// The trait lets `?` pass for a size; the text of the operation has one type.
static LogicalResult verifySameType(Operation *op) {
  Type type = op->getResult(0).getType();
  for (Type operand : op->getOperandTypes())
    if (operand != type)
      return op->emitOpError("[C51] takes ")
             << operand << " and gives " << type << "; the types are equal";
  return success();
}

LogicalResult ActOp::verify() { return verifySameType(*this); }
LogicalResult GluOp::verify() { return verifySameType(*this); }

LogicalResult TimesOp::verify() {
  if (failed(verifySameType(*this)))
    return failure();
  if (!getFactor().isFinite())
    return emitOpError("[C102] the factor is a finite number");
  return success();
}

LogicalResult GainOp::verify() {
  SmallVector<Dim> dims = getDims(getX());
  if (dims.empty() || getType() != getX().getType() ||
      getW().getType() != getStream({dims.back()}, getContext()))
    return emitOpError("[C103] takes x and a weight along its last dimension, "
                       "and gives x's type; got ")
           << getX().getType() << " and " << getW().getType();
  return success();
}

LogicalResult RescaleOp::verify() {
  SmallVector<Dim> dims = getDims(getX()), like = getDims(getLike());
  auto rows = [](ArrayRef<Dim> all) { return all.drop_back(); };
  if (dims.empty() || dims.back().size == 0 || like.empty() ||
      like.back().size == 0 || rows(dims) != rows(like) ||
      getType() != getX().getType())
    return emitOpError("[C104] takes two streams of the same rows, with a last "
                       "dimension that is not empty, and gives the type of the "
                       "first; got ")
           << getX().getType() << " and " << getLike().getType();
  if (!getEpsilon().isFinite() || getEpsilon().isNegative() ||
      getEpsilon().isZero())
    return emitOpError("[C105] epsilon is a positive finite number");
  return success();
}

LogicalResult CutoffOp::verify() {
  SmallVector<Dim> dims = getDims(getX());
  if (dims.empty() || dims.back().size == 0 || getType() != getX().getType())
    return emitOpError("[C106] takes x with a last dimension that is not empty "
                       "and gives the same type; got ")
           << getX().getType() << " and " << getType();
  if (!getFactor().isFinite())
    return emitOpError("[C107] the factor is a finite number");
  return success();
}

LogicalResult RopeOp::verify() {
  SmallVector<Dim> dims = getDims(getX()), at = getDims(getPositions());
  if (dims.size() != 3 || at.size() != 2 || dims[0] != at[0] ||
      dims[1] != at[1])
    return emitOpError("[C52] takes x [batch, rows, width] and positions "
                       "[batch, rows]; got ")
           << getX().getType() << " and " << getPositions().getType();
  int64_t head = getRope().getHeadDim();
  if (!isWhole(dims[2], head))
    return emitOpError("[C53] ")
           << getX().getType() << " is not whole heads of " << head
           << "; the width is a multiple of head_dim, and on an axis the inner "
              "size is";
  if (getType() != getX().getType())
    return emitOpError("[C54] the result has x's type, ")
           << getX().getType() << "; got " << getType();
  return success();
}

LogicalResult LastOp::verify() {
  if (getRows() && !getRows().getType().getCover())
    return emitOpError("[C93] takes rows packed by ")
           << getRows().getType() << "; legal is a family that covers";
  SmallVector<Dim> dims = getDims(getX());
  bool areIds = getX().getType().getElementType().isInteger(32);
  if (dims.size() != (areIds ? 2 : 3) || dims[1].size == 0 ||
      !dims[1].axis.empty() ||
      (areIds && (getRows() || getOn(getX().getType()))))
    return emitOpError(
               "[C55] takes x [batch, rows, width] with 1 or more rows, on no "
               "axis, or ids [batch, rows] that are not packed; got ")
           << getX().getType();
  dims[1] = Dim();
  RankedTensorType expected =
      areIds ? RankedTensorType::get({dims[0].size, 1},
                                     getX().getType().getElementType())
             : getStream(dims, getContext());
  if (getType() != expected)
    return emitOpError("[C56] the result is one row of every sequence, ")
           << expected << "; got " << getType();
  return success();
}

bool nestc::nest::isRemap(AffineMap map, unsigned dims, unsigned results) {
  if (map.getNumDims() != dims || map.getNumSymbols() != 0 ||
      map.getNumResults() != results)
    return false;
  // Division rounds down, and so do processors, of what is not negative.
  std::function<bool(AffineExpr)> isNatural = [&](AffineExpr expr) {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return constant.getValue() >= 0;
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    return !binary ||
           (isNatural(binary.getLHS()) && isNatural(binary.getRHS()));
  };
  for (AffineExpr result : map.getResults()) {
    bool legal = result.isPureAffine();
    result.walk([&](AffineExpr expr) {
      if (llvm::is_contained({AffineExprKind::Mod, AffineExprKind::FloorDiv,
                              AffineExprKind::CeilDiv},
                             expr.getKind()))
        legal &= expr.getKind() != AffineExprKind::CeilDiv && isNatural(expr);
    });
    if (!legal)
      return false;
  }
  return true;
}

LogicalResult RemapOp::verify() {
  RankedTensorType x = getX().getType(), result = getType();
  auto isStatic = [](RankedTensorType type) {
    return type.getRank() > 0 && !type.getEncoding() &&
           llvm::none_of(type.getShape().drop_front(), ShapedType::isDynamic);
  };
  if (!isStatic(x) || !isStatic(result) ||
      !isRemap(getMap(), result.getRank(), x.getRank()))
    return emitOpError("[C98] maps ")
           << result << " to " << x << " by " << getMapAttr()
           << "; legal are tensors on no axis, static but for the batch, and "
              "an "
              "expression of the result's dimensions for each one of x, whose "
              "mod and floordiv are of what is not negative";
  bool isKnown = getBase() ? getBase().getType() == result
                           : !result.isDynamicDim(0) || x.isDynamicDim(0);
  if (!isKnown)
    return emitOpError("[C99] gives ")
           << result
           << "; legal is the base's type or, without one, the batch of x";
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// [C94] Positions [batch, rows] behind those of a cache [batch, capacity].
static LogicalResult verifyPositionsAppend(CacheAppendOp op) {
  SmallVector<Dim> cache = getDims(op.getCache()), rows = getDims(op.getRows()),
                   lengths = getDims(op.getLengths());
  bool legal = op.getRows().getType().getElementType().isInteger(32) &&
               cache.size() == 2 && rows.size() == 2 && lengths.size() == 1 &&
               !cache[1].isDynamic() && rows[0] == cache[0] &&
               lengths[0] == cache[0] &&
               op.getType() == op.getCache().getType();
  if (!legal)
    return op.emitOpError("[C94] appends ")
           << op.getRows().getType() << " to " << op.getCache().getType()
           << "; legal is i32 [batch, rows] to i32 [batch, capacity], which is "
              "the result's type";
  return success();
}

LogicalResult CacheAppendOp::verify() {
  bool ints = getCache().getType().getElementType().isInteger(32);
  if (ints || getRows().getType().getElementType().isInteger(32))
    return verifyPositionsAppend(*this);
  if (failed(verifyCache(*this, getCache())))
    return failure();
  SmallVector<Dim> cache = getDims(getCache()), rows = getDims(getRows()),
                   lengths = getDims(getLengths());
  if (rows.size() != 3 || lengths.size() != 1 || rows[0] != cache[0] ||
      lengths[0] != cache[0] ||
      (!rows[1].isDynamic() && rows[1].size > cache[2].size))
    return emitOpError(
               "[C58] takes rows [batch, rows, width], no more than the "
               "capacity, and lengths [batch] with the cache's batch; "
               "got ")
           << getRows().getType() << " and " << getLengths().getType()
           << " for " << getCache().getType();
  // The width of H heads of D: a size that is H * D, an axis with D more
  // inside.
  Dim width = cache[1];
  bool overflow = llvm::MulOverflow(width.inner, cache[3].size, width.inner);
  if (width.axis.empty())
    width.inner = 1;
  if (!width.isDynamic())
    overflow |= llvm::MulOverflow(width.size, cache[3].size, width.size);
  if (overflow || rows[2] != width)
    return emitOpError("[C59] rows of ")
           << getRows().getType() << " do not fit the cache "
           << getCache().getType()
           << "; their width is KV heads * head width, on the heads' axis";
  if (getType() != getCache().getType())
    return emitOpError("[C60] the result has the cache's type, ")
           << getCache().getType() << "; got " << getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyCache(*this, getK())))
    return failure();
  if (getV().getType() != getK().getType())
    return emitOpError("[C61] keys and values have one type; got ")
           << getK().getType() << " and " << getV().getType();
  SmallVector<Dim> q = getDims(getQ()), k = getDims(getK());
  bool isBatched = q.size() == 3 && q[0] == k[0];
  if (getLengths()) {
    SmallVector<Dim> lengths = getDims(getLengths());
    bool isColumn = lengths.size() == 2 && lengths[1] == Dim();
    isBatched &= (lengths.size() == 1 || isColumn) && lengths[0] == k[0];
  }
  if (!isBatched) {
    InFlightDiagnostic diag =
        emitOpError("[C62] takes queries [batch, rows, width] and lengths "
                    "[batch] or [batch, 1] with the cache's batch; got ");
    diag << getQ().getType();
    if (getLengths())
      diag << " and " << getLengths().getType();
    return diag << " for " << getK().getType();
  }
  if (!getLengths() && (getRows() || getPositions() || getMask().getCausal() ||
                        getMask().getAlibi() || q[1] != k[2]))
    return emitOpError(
               "[C100] has no lengths, so that keys are the rows of the "
               "call, which all see: legal are as many queries as "
               "keys, no positions, no family and the mask <>; got ")
           << getQ().getType() << " and " << getK().getType();
  int64_t head = k[3].size;
  const Dim &width = q[2], &heads = k[1];
  if (!isWhole(width, head))
    return emitOpError("[C63] ")
           << getQ().getType() << " is not whole heads of " << head
           << ", the head width of " << getK().getType();
  // A prefix of the axis keeps every query head at its KV head.
  bool sameGroups = width.axis == heads.axis;
  if (sameGroups && !width.axis.empty())
    sameGroups = (width.inner / head) % heads.inner == 0;
  if (sameGroups && !width.isDynamic() && !heads.isDynamic())
    sameGroups = heads.size > 0 && (width.size / head) % heads.size == 0;
  if (!sameGroups)
    return emitOpError("[C64] query heads of ")
           << getQ().getType() << " do not form groups over the KV heads of "
           << getK().getType()
           << "; their number is a multiple, and both lie on one axis or none";
  if (getCompact() && !getRows())
    return emitOpError("[C95] is compact; that needs the family whose rows the "
                       "caches hold: by");
  if (getPositions()) {
    SmallVector<Dim> at = getDims(getPositions());
    if (at.size() != 2 || at[0] != k[0] || at[1] != k[2] ||
        !getMask().readsPositions())
      return emitOpError(
                 "[C96] positions are those of the cache's rows, [batch, "
                 "capacity], for a window or alibi; got ")
             << getPositions().getType();
  }
  if (!getScale().isFinite())
    return emitOpError("[C65] the scale is a finite number");
  if (getType() != getQ().getType())
    return emitOpError("[C66] the result has the queries' type, ")
           << getQ().getType() << "; got " << getType();
  return success();
}

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
  NamedAttrList attributes;
  SMLoc attributesLoc = parser.getCurrentLocation();
  if (parser.parseOptionalAttrDictWithKeyword(attributes))
    return failure();
  for (StringRef name : {"index", "operandSegmentSizes"})
    if (attributes.get(name))
      return parser.emitError(attributesLoc, "'")
             << name << "' is part of the syntax, not of the attributes";
  result.attributes.append(attributes);
  if (parser.parseColonType(type))
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
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {"index", "operandSegmentSizes"});
  printer << " : ";
  printer.printFunctionalType(*this);
  printer << ' ';
  printer.printRegion(getBody());
}

LogicalResult LayerOp::verify() {
  if (!isa_and_nonnull<func::FuncOp>((*this)->getParentOp()))
    return emitOpError(
        "[C67] a layer stands in the body of a func.func, not in "
        "another operation");
  // Tables have a row for every layer up to the last: keep them small.
  constexpr int64_t kMaxLayerIndex = 65535;
  int64_t index = getIndexAttr().getInt();
  if (index < 0 || index > kMaxLayerIndex)
    return emitOpError("[C68] the index of a layer is 0 to ")
           << kMaxLayerIndex << "; got " << index;
  // The first layer of a block looks at all of them, once.
  Operation *previous = (*this)->getPrevNode();
  while (previous && !isa<LayerOp>(previous))
    previous = previous->getPrevNode();
  if (!previous) {
    llvm::DenseMap<Attribute, Operation *> seen;
    for (Operation *op = *this; op; op = op->getNextNode()) {
      auto layer = dyn_cast<LayerOp>(op);
      IntegerAttr number = layer ? layer.getIndexAttr() : IntegerAttr();
      if (!number) // the operation's own verifier says so
        continue;
      auto [first, isNew] = seen.try_emplace(number, op);
      if (isNew)
        continue;
      std::string text;
      llvm::raw_string_ostream(text) << number.getValue();
      InFlightDiagnostic diag = op->emitOpError("[C69] a second layer ");
      diag << text << "; layers of a function have distinct indices";
      diag.attachNote(first->second->getLoc()) << "the first is here";
      return diag;
    }
  }
  if (getOperandTypes() != getResultTypes())
    return emitOpError("[C70] the results are the streams and what is carried, "
                       "of the operands' types in their order");
  return success();
}

LogicalResult FusedOp::verify() {
  Type type = getNumResults() ? getResult(0).getType() : Type();
  auto stream = dyn_cast_or_null<RankedTensorType>(type);
  if (!stream || stream.getRank() != 3 || getOn(stream) ||
      !llvm::all_equal(getResultTypes()))
    return emitOpError("[C108] gives streams of one type, [batch, rows, width] "
                       "on no axis");
  return success();
}

LogicalResult FusedOp::verifyRegions() {
  Block &body = getBlock();
  auto yield = body.empty() ? YieldOp() : dyn_cast<YieldOp>(body.back());
  if (body.getArgumentTypes() != getInputs().getTypes() || !yield ||
      yield.getOperandTypes() != getResultTypes())
    return emitOpError("[C108] the body takes the inputs and ends in a "
                       "nest.yield of the results' types");
  for (Operation &op : body.without_terminator()) {
    auto norm = dyn_cast<NormOp>(op);
    auto linear = dyn_cast<LinearOp>(op);
    bool legal =
        isa<ActOp, GluOp, ScaleOp, GainOp, TimesOp, RescaleOp, CutoffOp,
            arith::ConstantOp>(op) ||
        (norm &&
         (!norm.getGroup() || static_cast<int64_t>(*norm.getGroup()) ==
                                  norm.getX().getType().getShape().back())) ||
        (linear && !linear.getBias() &&
         linear.getW().getType().hasStaticShape() &&
         linear.getW().getType().getDimSize(0) <= mostRows &&
         linear.getW().getType().getElementType().isF32()) ||
        (op.getNumRegions() == 0 && OpTrait::hasElementwiseMappableTraits(&op));
    if (!legal)
      return emitOpError("[C109] the body holds '")
             << op.getName()
             << "', which is no code of a row; legal are elementwise "
                "operations, norms of whole rows, nest.rescale, nest.cutoff "
                "and products with at most "
             << mostRows << " rows of an f32 matrix";
  }
  return success();
}

LogicalResult LayerOp::verifyRegions() {
  Block &body = getBlock();
  auto yield = body.empty() ? YieldOp() : dyn_cast<YieldOp>(body.back());
  if (body.getNumArguments() != 0 || !yield ||
      yield.getOperandTypes() != getResultTypes())
    return emitOpError("[C71] the body has no arguments and ends in a "
                       "nest.yield of the results' types");
  return success();
}
