//===- MaskToSlice.cpp - columns that a mask makes 0 are gone -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Forward: along which dimensions is a value 0 from some column on, and where
// does a sum over columns therefore end? Backward: how many columns does anyone
// read? Every operation then runs over the columns that are read. A mask that
// is in nobody's way is all ones on these, and goes.
//
// Narrowed operations stand beside those that they replace, which go when
// nothing reads them: what is not proved stays as it is.
//
//===----------------------------------------------------------------------===//

#include "passes/LoopView.h"
#include "passes/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/Iterators.h"
#include "mlir/IR/Matchers.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

#include <set>

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_NESTMASKTOSLICE
#include "passes/Passes.h.inc"

namespace {

/// What a constant is as a mask.
enum class MaskKind {
  None,     ///< nothing like a mask
  Prefix,   ///< 1s, then 0s, along one dimension
  Ones,     ///< all ones
  Zeros,    ///< all zeros
  Gaps,     ///< of 0s and 1s, but no prefix of one dimension
  Numbers,  ///< a prefix that is not all ones, then 0s
  Computed, ///< of booleans that are no constant
};

struct Mask {
  MaskKind kind = MaskKind::None;
  unsigned dim = 0;
  int64_t width = 0;
};

/// 0, 1, or 2 for any other number.
int digit(const APFloat &number) {
  return number.isZero() ? 0 : number.isExactlyValue(1.0) ? 1 : 2;
}
int digit(const APInt &number) {
  return number.isZero() ? 0 : number.isOne() ? 1 : 2;
}

/// Where `digits`, of this shape, are 0 from a column on along `dim`: that
/// column, provided that those before are alike in all rows; else the size.
template <typename Range>
int64_t widthAlong(Range digits, ArrayRef<int64_t> shape, unsigned dim) {
  int64_t inner = 1, size = shape[dim];
  for (int64_t after : shape.drop_front(dim + 1))
    inner *= after;
  SmallVector<int> column(size, -1);
  for (auto [index, number] : llvm::enumerate(digits)) {
    int &seen = column[(static_cast<int64_t>(index) / inner) % size];
    int here = digit(number);
    if (seen >= 0 && seen != here)
      return size;
    seen = here;
  }
  int64_t width = size;
  while (width > 0 && column[width - 1] == 0)
    --width;
  return llvm::is_contained(ArrayRef(column).take_front(width), 0) ? size
                                                                   : width;
}

template <typename Range>
Mask classify(Range digits, ArrayRef<int64_t> shape) {
  bool zeros = false, binary = true;
  bool last = digit(*std::prev(digits.end())) == 0;
  for (const auto &number : digits) {
    int here = digit(number);
    zeros |= here == 0;
    binary &= here != 2;
    // A matrix of weights is left at its first number.
    if (!binary && !last)
      return {};
  }
  if (!zeros)
    return {};
  for (unsigned dim = 0; dim < shape.size(); ++dim)
    if (int64_t width = widthAlong(digits, shape, dim); width < shape[dim])
      return {binary ? MaskKind::Prefix : MaskKind::Numbers, dim, width};
  return {binary ? MaskKind::Gaps : MaskKind::None};
}

Mask classify(Attribute constant) {
  auto elements = dyn_cast_or_null<DenseElementsAttr>(constant);
  if (!elements || elements.empty() || elements.getType().getRank() == 0)
    return {};
  if (elements.isSplat()) {
    auto number = elements.getSplatValue<Attribute>();
    return {isOne(number)    ? MaskKind::Ones
            : isZero(number) ? MaskKind::Zeros
                             : MaskKind::None};
  }
  ArrayRef<int64_t> shape = elements.getType().getShape();
  if (isa<FloatType>(elements.getElementType()))
    return classify(elements.getValues<APFloat>(), shape);
  if (elements.getElementType().isIntOrIndex())
    return classify(elements.getValues<APInt>(), shape);
  return {};
}

/// The first elements of `elements` along every dimension.
DenseElementsAttr takePrefix(DenseElementsAttr elements,
                             RankedTensorType type) {
  if (elements.isSplat())
    return elements.resizeSplat(type);
  size_t bytes = elements.getElementType().isIntOrFloat()
                     ? elements.getElementType().getIntOrFloatBitWidth() / 8
                     : 0;
  ArrayRef<int64_t> full = elements.getType().getShape();
  ArrayRef<int64_t> shape = type.getShape();
  ArrayRef<char> raw = elements.getRawData();
  bool isRaw = bytes != 0 && bytes * elements.getNumElements() == raw.size();
  auto values = elements.getValues<Attribute>();
  std::vector<char> taken;
  std::vector<Attribute> takenValues;
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    int64_t at = 0;
    for (auto [i, size] : llvm::zip(index, full))
      at = at * size + i;
    if (isRaw)
      taken.insert(taken.end(), raw.begin() + at * bytes,
                   raw.begin() + (at + 1) * bytes);
    else
      takenValues.push_back(values[at]);
    for (unsigned dim = shape.size(); dim-- > 0;) {
      if (++index[dim] < shape[dim])
        break;
      index[dim] = 0;
    }
  }
  return isRaw ? DenseElementsAttr::getFromRawBuffer(type, taken)
               : DenseElementsAttr::get(type, takenValues);
}

RankedTensorType withShape(Type type, ArrayRef<int64_t> shape) {
  auto tensor = cast<RankedTensorType>(type);
  return RankedTensorType::get(shape, tensor.getElementType(),
                               tensor.getEncoding());
}

ArrayRef<int64_t> shapeOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? type.getShape() : ArrayRef<int64_t>();
}

class Narrower {
public:
  explicit Narrower(ModuleOp module) : module(module), b(module) {}

  void run() {
    if (!findMasks())
      return;
    eraseDead();
    computed.clear();
    findMasks();
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      ops.insert(op);
      if (std::optional<LoopView> view = LoopView::get(op))
        views[op] = *view;
    });
    for (Operation *op : ops)
      forward(op);
    while (backward()) {
    }
    explainMasks();
    for (Operation *op : ops)
      narrow(op);
    for (auto [from, to] : narrowed)
      if (from.getType() == to.getType())
        from.replaceAllUsesWith(to);
    eraseDead();
    settleWeights();
    dropOnes();
    eraseDead();
  }

private:
  using Place = std::pair<Value, unsigned>;

  LoopView *viewOf(Operation *op) {
    auto found = op ? views.find(op) : views.end();
    return found == views.end() ? nullptr : &found->second;
  }

  void remark(Operation *op, const Twine &text) {
    if (remarked.insert(op).second)
      emitRemark(op->getLoc()) << text;
  }

  /// Erases operations without effects and without uses.
  void eraseDead() {
    module.walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->erase();
    });
  }

  //===--------------------------------------------------------------------===//
  // Forward: zeros
  //===--------------------------------------------------------------------===//

  /// Whether anything could be a mask. Finds vectors that are computed of
  /// constants, as `index < k` is.
  bool findMasks() {
    bool found = false;
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (DenseElementsAttr columns = columnsOf(op))
        computed[op->getResult(0)] = columns;
      found |= isBooleanCast(op) ||
               (op->getNumResults() == 1 &&
                classify(constantOf(op->getResult(0))).kind != MaskKind::None);
    });
    return found;
  }

  Attribute constantOf(Value value) const {
    Attribute constant = computed.lookup(value);
    if (!constant)
      matchPattern(value, m_Constant(&constant));
    return constant;
  }

  /// The elements of the vector that `op` makes of constants, or null.
  DenseElementsAttr columnsOf(Operation *op) {
    constexpr int64_t most = 1 << 16;
    if (op->getNumResults() != 1 || matchPattern(op, m_Constant()))
      return {};
    auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    if (!type || type.getRank() != 1 || type.isDynamicDim(0) ||
        type.getDimSize(0) > most ||
        !type.getElementType().isIntOrIndexOrFloat())
      return {};
    std::optional<LoopView> view = LoopView::get(op);
    if (!view || view->sizes.size() != 1 || view->reduced.any())
      return {};
    // What is one number in all columns needs no vector.
    auto structured = dyn_cast<linalg::LinalgOp>(op);
    bool varies = structured && structured.hasIndexSemantics();
    for (Value operand : op->getOperands())
      if (auto elements =
              dyn_cast_or_null<DenseElementsAttr>(constantOf(operand)))
        varies |= !elements.isSplat();
    if (!varies)
      return {};
    SmallVector<Attribute> columns;
    for (int64_t column = 0; column < type.getDimSize(0); ++column) {
      SmallVector<Attribute> known;
      for (Value operand : op->getOperands()) {
        Attribute constant = constantOf(operand);
        auto elements = dyn_cast_or_null<DenseElementsAttr>(constant);
        known.push_back(elements &&
                                elements.getNumElements() == type.getDimSize(0)
                            ? elements.getValues<Attribute>()[column]
                        : elements ? Attribute()
                                   : constant);
      }
      columns.push_back(evaluate(op, known, column).front().constant);
      if (!columns.back())
        return {};
    }
    return columns.empty() ? DenseElementsAttr()
                           : DenseElementsAttr::get(type, columns);
  }

  /// Whether `op` makes numbers of booleans.
  static bool isBooleanCast(Operation *op) {
    return isa<arith::UIToFPOp, arith::ExtUIOp>(op) &&
           getElementTypeOrSelf(op->getOperand(0).getType()).isInteger(1);
  }

  /// The number that every element of `value` is, or null.
  Attribute splatOf(Value value) {
    auto [entry, added] = splats.try_emplace(value);
    if (!added)
      return entry->second;
    Attribute splat = computeSplat(value);
    return splats[value] = splat;
  }

  Attribute computeSplat(Value value) {
    if (Attribute constant = constantOf(value)) {
      auto elements = dyn_cast<DenseElementsAttr>(constant);
      if (!elements)
        return isa<FloatAttr, IntegerAttr>(constant) ? constant : Attribute();
      return elements.isSplat() ? elements.getSplatValue<Attribute>()
                                : Attribute();
    }
    auto result = dyn_cast<OpResult>(value);
    if (!result || !LoopView::get(result.getOwner()))
      return {};
    SmallVector<Attribute> known = knownOperands(result.getOwner());
    if (llvm::none_of(known, [](Attribute constant) { return !!constant; }))
      return {};
    return numbersOf(result.getOwner(), known)[result.getResultNumber()];
  }

  /// What the elements of the results of `op` are where those of its operands
  /// are these, or null. A sum is known only if it is 0 in every step.
  static SmallVector<Attribute> numbersOf(Operation *op,
                                          ArrayRef<Attribute> known) {
    auto structured = dyn_cast<linalg::LinalgOp>(op);
    bool sums = structured && structured.getNumReductionLoops() > 0;
    SmallVector<Attribute> numbers;
    for (auto [number, scalar] : llvm::enumerate(evaluate(op, known))) {
      bool holds = !sums || (isZero(scalar.constant) &&
                             isZero(known[structured.getDpsInitOperand(number)
                                              ->getOperandNumber()]));
      numbers.push_back(holds ? scalar.constant : Attribute());
    }
    return numbers;
  }

  /// What is known of all elements of the operands of `op`.
  SmallVector<Attribute> knownOperands(Operation *op) {
    SmallVector<Attribute> known;
    for (Value operand : op->getOperands())
      known.push_back(splatOf(operand));
    forgetAccumulators(op, known);
    return known;
  }

  /// An accumulator is a constant in the first step only, unless it stays 0.
  static void forgetAccumulators(Operation *op,
                                 MutableArrayRef<Attribute> known) {
    auto structured = dyn_cast<linalg::LinalgOp>(op);
    if (structured && structured.getNumReductionLoops() > 0)
      for (OpOperand &init : structured.getDpsInitsMutable())
        if (!isZero(known[init.getOperandNumber()]))
          known[init.getOperandNumber()] = {};
  }

  /// One number in all columns from `width` on.
  struct Tail {
    int64_t width;
    Attribute number;
  };

  /// What is known of the last columns of `value` along `dim`; without a number
  /// nothing is.
  Tail tailOf(Value value, unsigned dim) {
    if (Attribute splat = splatOf(value))
      return {0, splat};
    auto found = tails.find({value, dim});
    return found == tails.end() ? Tail{shapeOf(value)[dim], {}} : found->second;
  }

  /// `known`, with what operands are from column `width` of `loop` on.
  SmallVector<Attribute> knownBehind(Operation *op, const LoopView &view,
                                     int loop, int64_t width,
                                     ArrayRef<Attribute> known) {
    SmallVector<Attribute> result(known);
    for (auto [operand, loops, constant] :
         llvm::zip_equal(op->getOperands(), view.operands, result))
      if (int dim = LoopView::dimOf(loops, loop); dim >= 0 && !constant)
        if (Tail tail = tailOf(operand, dim); tail.width <= width)
          constant = tail.number;
    forgetAccumulators(op, result);
    return result;
  }

  static Attribute zeroOf(Value value) {
    return Builder(value.getContext())
        .getZeroAttr(getElementTypeOrSelf(value.getType()));
  }

  void forward(Operation *op) {
    Attribute constant =
        op->getNumResults() == 1 ? constantOf(op->getResult(0)) : Attribute();
    if (constant) {
      Value value = op->getResult(0);
      fixed.insert(value);
      Mask mask = classify(constant);
      masks[value] = mask.kind;
      if (mask.kind == MaskKind::Prefix && mask.width > 0)
        tails[{value, mask.dim}] = {mask.width, zeroOf(value)};
      return;
    }
    const LoopView *view = viewOf(op);
    if (!view || op->getNumOperands() == 0)
      return;
    bool isFixed = llvm::all_of(op->getOperands(), [&](Value operand) {
      return fixed.contains(operand) ||
             operand.getDefiningOp<tensor::EmptyOp>();
    });
    if (isFixed)
      fixed.insert_range(op->getResults());
    followMask(op, isFixed);
    SmallVector<Attribute> known = knownOperands(op);
    for (auto [loop, size] : llvm::enumerate(view->sizes)) {
      if (ShapedType::isDynamic(size))
        continue;
      std::set<int64_t> widths;
      for (auto [operand, loops] :
           llvm::zip_equal(op->getOperands(), view->operands))
        if (int dim = LoopView::dimOf(loops, loop); dim >= 0)
          if (int64_t width = tailOf(operand, dim).width;
              width > 0 && width < size)
            widths.insert(width);
      for (int64_t width : widths)
        tryWidth(op, *view, loop, width,
                 knownBehind(op, *view, loop, width, known), isFixed);
    }
  }

  /// What is one number, or adds nothing, from column `width` of `loop` on.
  void tryWidth(Operation *op, const LoopView &view, int loop, int64_t width,
                ArrayRef<Attribute> known, bool isFixed) {
    if (view.reduced.test(loop)) {
      // The accumulator is whatever the columns before have left.
      SmallVector<Attribute> step(known);
      if (auto structured = dyn_cast<linalg::LinalgOp>(op))
        for (OpOperand &init : structured.getDpsInitsMutable())
          step[init.getOperandNumber()] = {};
      if (contributesNothing(op, step))
        ends.try_emplace({op, loop}, width);
      return;
    }
    for (auto [result, loops, number] : llvm::zip_equal(
             op->getResults(), view.results, numbersOf(op, known))) {
      int dim = LoopView::dimOf(loops, loop);
      if (dim < 0 || !number ||
          !tails.try_emplace({result, dim}, Tail{width, number}).second ||
          isFixed || !isZero(number))
        continue;
      bool masked = llvm::any_of(op->getOperands(), [&](Value operand) {
        return fixed.contains(operand) &&
               isa<RankedTensorType>(operand.getType()) && !splatOf(operand);
      });
      if (masked)
        applied.push_back({op, result, static_cast<unsigned>(dim), width});
    }
  }

  /// Says of a multiplication by what is nearly a mask why it is none.
  void followMask(Operation *op, bool isFixed) {
    const LoopView &view = *viewOf(op);
    if (op->getNumResults() != 1 || view.reduced.any())
      return;
    Value result = op->getResult(0);
    if (!isFixed && isBooleanCast(op)) {
      masks[result] = MaskKind::Computed;
      return;
    }
    SmallVector<Attribute> known(op->getNumOperands());
    for (auto [number, operand] : llvm::enumerate(op->getOperands())) {
      MaskKind kind = masks.lookup(operand);
      if (kind == MaskKind::None)
        continue;
      if (isFixed || op->getNumOperands() == 1 ||
          isa<linalg::BroadcastOp, linalg::TransposeOp, tensor::ExpandShapeOp,
              tensor::CollapseShapeOp>(op)) {
        masks[result] = kind;
        continue;
      }
      StringRef why = reason(kind);
      if (why.empty())
        continue;
      known[number] = zeroOf(operand);
      if (isZero(evaluate(op, known).front().constant))
        remark(op, "the mask stays: " + why);
      known[number] = {};
    }
  }

  static StringRef reason(MaskKind kind) {
    switch (kind) {
    case MaskKind::None:
    case MaskKind::Prefix:
    case MaskKind::Ones:
      return {};
    case MaskKind::Zeros:
      return "it leaves no column, and no width is 0";
    case MaskKind::Gaps:
      return "it is no prefix, 1s and then 0s along one dimension";
    case MaskKind::Numbers:
      return "it has other numbers than 0 and 1";
    case MaskKind::Computed:
      return "it is not a constant";
    }
    llvm_unreachable("all kinds");
  }

  //===--------------------------------------------------------------------===//
  // Backward: what is read
  //===--------------------------------------------------------------------===//

  SmallVector<int64_t> &needOf(Value value) {
    SmallVector<int64_t> &need = needs[value];
    need.resize(shapeOf(value).size(), 0);
    return need;
  }

  /// How far each loop of `op` runs, by what is read of its results now.
  SmallVector<int64_t> extentsOf(Operation *op, const LoopView &view) {
    SmallVector<int64_t> extents(view.sizes.begin(), view.sizes.end());
    for (auto [loop, extent] : llvm::enumerate(extents)) {
      if (view.fixed.test(loop))
        continue;
      if (view.reduced.test(loop)) {
        if (auto end = ends.find({op, static_cast<int>(loop)});
            end != ends.end())
          extent = end->second;
        continue;
      }
      int64_t read = 0;
      bool known = true, any = false;
      for (auto [result, loops] :
           llvm::zip_equal(op->getResults(), view.results)) {
        int dim = LoopView::dimOf(loops, loop);
        if (dim < 0)
          continue;
        any = true;
        known &= !result.use_empty();
        read = std::max(read, needOf(result)[dim]);
      }
      if (any && known)
        extent = read;
    }
    return extents;
  }

  /// How much of each dimension of operand `number` `op` reads.
  SmallVector<int64_t> readsOf(Operation *op, unsigned number) {
    SmallVector<int64_t> reads(shapeOf(op->getOperand(number)));
    if (const LoopView *view = viewOf(op)) {
      SmallVector<int64_t> extents = extentsOf(op, *view);
      for (auto [read, loop] : llvm::zip(reads, view->operands[number]))
        if (loop >= 0)
          read = extents[loop];
    }
    return reads;
  }

  /// One round; whether anything is read that was not before.
  bool backward() {
    bool changed = false;
    for (Operation *op : llvm::reverse(ops.getArrayRef()))
      for (OpOperand &operand : op->getOpOperands()) {
        if (!isa<RankedTensorType>(operand.get().getType()))
          continue;
        SmallVector<int64_t> reads = readsOf(op, operand.getOperandNumber());
        ArrayRef<int64_t> shape = shapeOf(operand.get());
        for (auto [need, read, size] :
             llvm::zip_equal(needOf(operand.get()), reads, shape)) {
          // What nobody counts is read whole.
          int64_t least = ShapedType::isDynamic(size) ? size : read;
          if (ShapedType::isDynamic(size) ? need != size : least > need) {
            need = least;
            changed = true;
          }
        }
      }
    return changed;
  }

  //===--------------------------------------------------------------------===//
  // Remarks
  //===--------------------------------------------------------------------===//

  static constexpr char kOnAxis[] =
      "the mask stays: its dimension lies on a nested axis here, whose width a "
      "submodel chooses";
  static constexpr char kWhole[] =
      "the mask stays: this cannot run over a part of its dimension";

  struct Applied {
    Operation *op;
    Value result;
    unsigned dim;
    int64_t width;
  };

  void explainMasks() {
    for (const Applied &mask : applied)
      if (needOf(mask.result)[mask.dim] > mask.width) {
        std::set<std::pair<void *, unsigned>> seen;
        explain(mask.result, mask.dim, mask.width, nullptr, seen);
      }
  }

  /// Says why columns from `width` on of `value` are read, where they are one
  /// number: at the operation that made another one than 0 of it, or at the
  /// reader.
  void explain(Value value, unsigned dim, int64_t width, Operation *culprit,
               std::set<std::pair<void *, unsigned>> &seen) {
    if (!seen.insert({value.getAsOpaquePointer(), dim}).second)
      return;
    int64_t size = shapeOf(value)[dim];
    std::string cut =
        std::to_string(size) + " columns to " + std::to_string(width);
    std::string columns = " all " + std::to_string(size) +
                          " columns of what a mask cuts to " +
                          std::to_string(width);
    auto blame = [&](Operation *op, const Twine &otherwise) {
      if (culprit)
        remark(culprit, "the mask stays: this makes another number than 0 of "
                        "a 0 of the mask, which cuts " +
                            cut);
      else
        remark(op, "the mask stays: this " + otherwise);
    };
    for (OpOperand &use : value.getUses()) {
      Operation *op = use.getOwner();
      if (readsOf(op, use.getOperandNumber())[dim] <= width)
        continue;
      const LoopView *view = viewOf(op);
      int loop = view ? view->operands[use.getOperandNumber()][dim] : -1;
      if (loop < 0) {
        blame(op, "reads" + columns);
        continue;
      }
      if (view->reduced.test(loop)) {
        if (ends.contains({op, loop}))
          remark(op, view->nested.test(loop) ? kOnAxis : kWhole);
        else
          blame(op,
                "reduces" + columns + ", and is no sum to which they add 0");
        continue;
      }
      for (auto [result, loops] :
           llvm::zip_equal(op->getResults(), view->results)) {
        int at = LoopView::dimOf(loops, loop);
        if (at < 0)
          continue;
        Attribute number = tailOf(result, at).number;
        if (!number)
          blame(op, "may give another number than 0 where a mask, which cuts " +
                        cut + ", has put 0");
        else
          explain(result, at, width,
                  isZero(number) ? nullptr
                  : culprit      ? culprit
                                 : op,
                  seen);
      }
      if (view->fixed.test(loop))
        remark(op, view->nested.test(loop) ? kOnAxis : kWhole);
    }
  }

  /// Says why `value` is computed in full and sliced to `width`.
  void explainSlice(Value value, unsigned dim, int64_t width) {
    auto result = dyn_cast<OpResult>(value);
    if (!result || matchPattern(value, m_Constant()))
      return;
    if (isa<nest::GetOp>(result.getOwner()) && needOf(value)[dim] == width) {
      remark(
          result.getOwner(),
          "this weight is reshaped from what is stored, of which its first " +
              std::to_string(width) +
              " columns are no box: it is read in full and sliced");
      return;
    }
    std::string sliced = " all " + std::to_string(shapeOf(value)[dim]) +
                         " columns, of which a mask leaves " +
                         std::to_string(width) +
                         ": it is computed in full and sliced";
    const LoopView *view = viewOf(result.getOwner());
    int loop = view ? view->results[result.getResultNumber()][dim] : -1;
    if (loop < 0 || view->fixed.test(loop)) {
      remark(result.getOwner(), "this needs" + sliced);
      return;
    }
    for (OpOperand &use : value.getUses())
      if (ops.contains(use.getOwner()) &&
          readsOf(use.getOwner(), use.getOperandNumber())[dim] > width)
        remark(use.getOwner(), "this reads" + sliced);
  }

  //===--------------------------------------------------------------------===//
  // Narrowing
  //===--------------------------------------------------------------------===//

  void narrow(Operation *op) {
    const LoopView *view = viewOf(op);
    if (!view)
      return;
    SmallVector<int64_t> extents = extentsOf(op, *view);
    bool whole = true;
    for (auto [extent, size] : llvm::zip_equal(extents, view->sizes)) {
      whole &= extent == size;
      if (extent == 0) // nobody reads it
        return;
    }
    if (whole)
      return;
    auto shape = [&](Value value, ArrayRef<int> loops) {
      SmallVector<int64_t> narrowed(shapeOf(value));
      for (auto [size, loop] : llvm::zip(narrowed, loops))
        if (loop >= 0 && !view->fixed.test(loop))
          size = extents[loop];
      return narrowed;
    };
    SmallVector<Value> operands;
    for (auto [operand, loops] :
         llvm::zip_equal(op->getOperands(), view->operands))
      operands.push_back(isa<RankedTensorType>(operand.getType())
                             ? take(operand, shape(operand, loops), op)
                             : operand);
    SmallVector<Type> types;
    for (auto [result, loops] :
         llvm::zip_equal(op->getResults(), view->results))
      types.push_back(withShape(result.getType(), shape(result, loops)));
    b.setInsertionPoint(op);
    Operation *next;
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
      SmallVector<OpFoldResult> sizes = expand.getMixedOutputShape();
      for (auto [size, known] :
           llvm::zip_equal(sizes, cast<RankedTensorType>(types[0]).getShape()))
        if (!ShapedType::isDynamic(known))
          size = b.getIndexAttr(known);
      next = tensor::ExpandShapeOp::create(
          b, op->getLoc(), types[0], operands[0],
          expand.getReassociationIndices(), sizes);
    } else {
      next = clone(b, op, types, operands);
    }
    for (auto [from, to] :
         llvm::zip_equal(op->getResults(), next->getResults()))
      narrowed[from] = to;
  }

  /// `value` cut to `shape`, for `user`.
  Value take(Value value, ArrayRef<int64_t> shape, Operation *user) {
    if (shapeOf(value) == shape)
      return value; // settled at the end, where it was narrowed inside only
    RankedTensorType type = withShape(value.getType(), shape);
    OpBuilder::InsertionGuard guard(b);
    if (Attribute constant = constantOf(value))
      if (Value taken = takeConstant(value, constant, type))
        return taken;
    Operation *source = value.getDefiningOp();
    if (isa_and_nonnull<tensor::EmptyOp, linalg::FillOp>(source))
      return makeAgain(source, type);
    if (auto get = dyn_cast_or_null<nest::GetOp>(source))
      takeWeight(get);
    Value from = narrowed.lookup(value);
    if (!from)
      from = value;
    if (from.getType() == type)
      return from;
    for (auto [dim, size] : llvm::enumerate(shapeOf(from)))
      if (size != shape[dim])
        explainSlice(value, dim, shape[dim]);
    b.setInsertionPoint(user);
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(b, user->getLoc(), from);
    for (auto [size, known] : llvm::zip_equal(sizes, shape))
      if (!ShapedType::isDynamic(known))
        size = b.getIndexAttr(known);
    SmallVector<OpFoldResult> offsets(shape.size(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(shape.size(), b.getIndexAttr(1));
    return tensor::ExtractSliceOp::create(b, user->getLoc(), type, from,
                                          offsets, sizes, strides);
  }

  /// What `take` has made of `value` of this type, or null.
  Value takenBefore(Value value, RankedTensorType type) {
    for (Value known : taken[value])
      if (known.getType() == type)
        return known;
    return {};
  }

  /// A buffer without contents, or of one number, of its own: others may read
  /// all of the one that `op` makes.
  Value makeAgain(Operation *op, RankedTensorType type) {
    Value value = op->getResult(0);
    if (Value known = takenBefore(value, type))
      return known;
    SmallVector<Value> operands(op->getOperands());
    if (auto fill = dyn_cast<linalg::FillOp>(op))
      operands.back() = take(fill.output(), type.getShape(), op);
    b.setInsertionPoint(op);
    Value made = clone(b, op, type, operands)->getResult(0);
    taken[value].push_back(made);
    return made;
  }

  Value takeConstant(Value value, Attribute constant, RankedTensorType type) {
    if (Value known = takenBefore(value, type))
      return known;
    auto elements = dyn_cast<DenseElementsAttr>(constant);
    DenseElementsAttr prefix =
        elements ? takePrefix(elements, type) : DenseElementsAttr();
    if (!prefix)
      return {};
    b.setInsertionPointAfter(value.getDefiningOp());
    return taken[value].emplace_back(
        arith::ConstantOp::create(b, value.getLoc(), prefix));
  }

  //===--------------------------------------------------------------------===//
  // Weights
  //===--------------------------------------------------------------------===//

  struct Slice {
    nest::WeightOp weight;
    SmallVector<nest::GetOp> gets;
  };

  /// What is read of the weight of `get`, as a weight of its own.
  void takeWeight(nest::GetOp get) {
    if (narrowed.contains(get.getResult()))
      return;
    SmallVector<int64_t> shape = needOf(get.getResult());
    RankedTensorType type = withShape(get.getType(), shape);
    auto weight = symbols.lookupNearestSymbolFrom<nest::WeightOp>(
        get, get.getWeightAttr());
    if (type == get.getType() || !weight || !get.getExtents().empty())
      return;
    Slice *slice = sliceOf(weight, type);
    if (!slice)
      return;
    b.setInsertionPoint(get);
    auto next = nest::GetOp::create(
        b, get.getLoc(), type,
        FlatSymbolRefAttr::get(slice->weight.getSymNameAttr()), ValueRange());
    slice->gets.push_back(next);
    narrowed[get.getResult()] = next;
  }

  /// The first elements of `weight`; null where these are no box of what is
  /// stored.
  Slice *sliceOf(nest::WeightOp weight, RankedTensorType type) {
    SmallVector<Slice> &known = slices[weight];
    for (Slice &slice : known)
      if (slice.weight.getTensorType() == type)
        return &slice;
    RankedTensorType stored = weight.getStoredType();
    ArrayRef<int64_t> box = weight.getSizes().value_or(stored.getShape());
    if (box != weight.getTensorType().getShape())
      return nullptr;
    SmallVector<int64_t> offsets(
        weight.getOffsets().value_or(SmallVector<int64_t>(box.size(), 0)));
    b.setInsertionPointAfter(weight);
    auto next = cast<nest::WeightOp>(b.clone(*weight));
    next.setKey(weight.getKeyOrName());
    next.setStored(stored);
    next.setOffsets(offsets);
    next.setSizes(type.getShape());
    next.setType(type);
    next.setSymName((weight.getSymName() + ".prefix").str());
    symbols.getSymbolTable(weight->getParentOp()).insert(next);
    return &known.emplace_back(Slice{next, {}});
  }

  /// A weight that nobody reads in full any more gives its name to what is
  /// read of it.
  void settleWeights() {
    llvm::StringSet<> read;
    module.walk([&](nest::GetOp get) { read.insert(get.getWeight()); });
    for (auto &[op, known] : slices) {
      auto weight = cast<nest::WeightOp>(op);
      if (read.contains(weight.getSymName()))
        continue;
      if (known.size() == 1) {
        nest::WeightOp slice = known.front().weight;
        slice.setKeyAttr(weight.getKeyAttr());
        slice.setSymNameAttr(weight.getSymNameAttr());
        for (nest::GetOp get : known.front().gets)
          get.setWeightAttr(FlatSymbolRefAttr::get(weight.getSymNameAttr()));
      }
      weight.erase();
    }
  }

  //===--------------------------------------------------------------------===//
  // Multiplications by ones
  //===--------------------------------------------------------------------===//

  void dropOnes() {
    splats.clear();
    computed.clear();
    SmallVector<Operation *> found, replaced;
    module.walk([&](Operation *op) {
      std::optional<LoopView> view = LoopView::get(op);
      if (view && view->reduced.none() && op->getNumResults() == 1 &&
          llvm::any_of(op->getOperands(), [&](Value operand) {
            return isa<RankedTensorType>(operand.getType()) &&
                   isOne(splatOf(operand));
          }))
        found.push_back(op);
    });
    for (Operation *op : found) {
      LoopView view = *LoopView::get(op);
      Outcome same = evaluate(op, knownOperands(op)).front();
      if (!same.constant && same.operand >= 0 &&
          view.operands[same.operand] == view.results.front() &&
          op->getOperand(same.operand).getType() == op->getResult(0).getType())
        op->getResult(0).replaceAllUsesWith(op->getOperand(same.operand));
      else if (auto generic = dyn_cast<linalg::GenericOp>(op))
        dropOnesIn(generic, replaced);
    }
    // Not before: what is known of values is looked up by their address.
    for (Operation *op : replaced)
      op->erase();
  }

  /// Takes multiplications by ones, and selects, out of a body that does more.
  void dropOnesIn(linalg::GenericOp generic,
                  SmallVectorImpl<Operation *> &replaced) {
    SmallVector<OpOperand *> left;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      BlockArgument argument = generic.getMatchingBlockArgument(input);
      if (isOne(splatOf(input->get())))
        for (Operation *user : llvm::SmallSetVector<Operation *, 4>(
                 argument.user_begin(), argument.user_end())) {
          Value other;
          if (isa<arith::MulFOp, arith::MulIOp>(user))
            other = user->getOperand(user->getOperand(0) == argument ? 1 : 0);
          else if (auto select = dyn_cast<arith::SelectOp>(user);
                   select && select.getCondition() == argument)
            other = select.getTrueValue();
          if (!other)
            continue;
          user->getResult(0).replaceAllUsesWith(other);
          user->erase();
        }
      if (!argument.use_empty() || !isOne(splatOf(input->get())))
        left.push_back(input);
    }
    if (left.size() == generic.getInputs().size())
      return;
    SmallVector<Value> inputs;
    SmallVector<AffineMap> maps;
    for (OpOperand *input : left) {
      inputs.push_back(input->get());
      maps.push_back(generic.getMatchingIndexingMap(input));
    }
    for (OpOperand &init : generic.getDpsInitsMutable())
      maps.push_back(generic.getMatchingIndexingMap(&init));
    b.setInsertionPoint(generic);
    auto next = linalg::GenericOp::create(
        b, generic.getLoc(), generic.getResultTypes(), inputs,
        generic.getOutputs(), maps, generic.getIteratorTypesArray());
    Block &body = *generic.getBlock();
    for (OpOperand *input : llvm::reverse(generic.getDpsInputOperands()))
      if (!llvm::is_contained(left, input))
        body.eraseArgument(input->getOperandNumber());
    next.getRegion().takeBody(generic.getRegion());
    generic.replaceAllUsesWith(next);
    replaced.push_back(generic);
  }

  ModuleOp module;
  OpBuilder b;
  SymbolTableCollection symbols;
  llvm::SetVector<Operation *> ops;
  DenseMap<Operation *, LoopView> views;
  llvm::SmallPtrSet<Operation *, 8> remarked;

  /// Vectors that are computed of constants.
  DenseMap<Value, DenseElementsAttr> computed;
  DenseMap<Value, Attribute> splats;
  /// Values that constants alone make, and what each is as a mask.
  DenseSet<Value> fixed;
  DenseMap<Value, MaskKind> masks;
  SmallVector<Applied> applied;
  /// What the last columns of a value are, and where the sum of a loop ends.
  DenseMap<Place, Tail> tails;
  DenseMap<std::pair<Operation *, int>, int64_t> ends;
  /// How much of each dimension anyone reads.
  DenseMap<Value, SmallVector<int64_t>> needs;

  llvm::MapVector<Value, Value> narrowed;
  DenseMap<Value, SmallVector<Value>> taken;
  llvm::MapVector<Operation *, SmallVector<Slice>> slices;
};

struct NestMaskToSlice : impl::NestMaskToSliceBase<NestMaskToSlice> {
  using NestMaskToSliceBase::NestMaskToSliceBase;

  void runOnOperation() override { Narrower(getOperation()).run(); }
};

} // namespace
} // namespace nestc
