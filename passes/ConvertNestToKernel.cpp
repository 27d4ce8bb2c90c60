//===- ConvertNestToKernel.cpp - graph operations to kernels -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Forms destination-style kernels. A function is handled in two steps:
//
// 1. Planning, from the last operation to the first: every operation becomes
//    the root of a kernel or is absorbed by one. Elementwise code goes into
//    the epilogue of the matmul or of the norm that feeds it, as long as every
//    value in between has no other use.
// 2. Building, from the first to the last, each kernel where its root stood.
//
// A stream that is packed by a family of row sets makes kernels that run over
// the family's rows; a spread is where its kernel stores them, and a gather is
// where the only kernel that wants it loads them.
//
// A kernel writes over a stream (residual addition, rotation, elementwise code)
// only if no kernel reads that stream afterwards; liveness is known exactly
// because a function is one block. So bufferisation finds every destination
// free, and needs no copy.
//
//===----------------------------------------------------------------------===//

#include "passes/FusedRows.h"
#include "passes/OpenWidths.h"
#include "passes/Passes.h"
#include "passes/RowCode.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nest;
namespace kernel = nestc::kernel;

namespace nestc {
#define GEN_PASS_DEF_CONVERTNESTTOKERNEL
#include "passes/Passes.h.inc"
} // namespace nestc

namespace {

/// Elementwise operations in one kernel. Far above what models have; it keeps
/// planning linear for a chain of any length.
constexpr unsigned kMaxFused = 32;
/// Products that one matmul computes.
constexpr unsigned kMaxProducts = 2;

RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

/// One value for each set of a family, or the value.
ValueRange perSet(Value &value) {
  if (auto sets = value.getDefiningOp<PerSetOp>())
    return sets.getValues();
  return value;
}
bool isPerSet(Value value) {
  return value && static_cast<bool>(value.getDefiningOp<PerSetOp>());
}

//===----------------------------------------------------------------------===//
// One function
//===----------------------------------------------------------------------===//

/// Operations that become one kernel.
struct Group {
  /// Elementwise operations, then, in the order of the function.
  SmallVector<Operation *> code;
  SmallVector<LinearOp> linears;
  /// A norm or another statistic of rows, or null.
  Operation *norm = nullptr;
  /// Values read element by element, in order of first use.
  llvm::SmallSetVector<Value, 4> streams;
  /// Columns of values of which one number is read for a row.
  llvm::SmallSetVector<std::pair<Value, int64_t>, 4> factors;
  /// Vectors of columns, which gains read.
  llvm::SmallSetVector<Value, 2> gains;
  /// The stream that the result is written over, or null.
  Value old;
  /// Where the result is stored by rows, or null, and what of its streams is
  /// the old value there.
  SpreadOp spread;
  Value oldRows;
  /// What the linears or the norm read by rows, or null.
  GatherOp gather;
};

/// The scalars that a region has for values, and for columns of values.
struct Scalars {
  IRMapping values;
  DenseMap<std::pair<Value, int64_t>, Value> factors;

  Value operator()(Value value) const { return values.lookup(value); }
};

/// A family of row sets, as tables; see kernel-operations.
struct Family {
  Value indices, offsets, order, counts;
  int64_t first = 0, last = 0;
};

class Converter {
public:
  explicit Converter(func::FuncOp function)
      : function(function), block(function.getBody().front()),
        b(function.getContext()) {}

  LogicalResult run();

private:
  LogicalResult check();
  void removeDead();
  LogicalResult findPacked();
  LogicalResult addArguments();
  LogicalResult planDestinations();

  // Planning.
  void plan(Operation *op);
  void planFused(Operation *root);
  bool planGather(GatherOp op);
  Group collect(Operation *root, bool fuseCode, bool fuseLinears) const;
  bool isFree(Value value, Operation *root) const;
  bool isReadLater(Value value, Operation *root) const;
  void claim(Operation *root, Group group);

  // Building.
  LogicalResult build(Operation *op);
  LogicalResult buildMatmul(Operation *root, Group &group);
  LogicalResult buildRowwise(Operation *root, Group &group);
  LogicalResult buildFused(FusedOp op);
  LogicalResult buildRope(RopeOp op);
  LogicalResult buildRemap(RemapOp op);
  LogicalResult buildCacheAppend(CacheAppendOp op);
  LogicalResult buildAdvance(AdvanceOp op);
  LogicalResult buildSource(Operation *op);
  Operation *buildOther(Operation *op, Value out);
  Family familyOf(Operation *op) const;
  DenseI64ArrayAttr setsOf(const Family &family);
  FailureOr<Value> destination(Operation *root);
  FailureOr<Value> empty(Operation *op, RankedTensorType type);
  FailureOr<Value> size(Operation *op, unsigned dim);
  FailureOr<Value> copy(Operation *op, Value from, Value to,
                        const Family &family = {}, bool gathers = false);
  FailureOr<Value> written(Operation *root, Group &group);
  void update(Group &group);
  void finish(Group &group, Block *body, Scalars &scalars, Value result,
              Scalar &s);
  void done(Operation *op, Value result);

  func::FuncOp function;
  Block &block;
  OpBuilder b;
  /// Streams with columns that a call binds.
  OpenWidths widths;
  /// Position in the function, of operations that were there at the start.
  DenseMap<Operation *, unsigned> order;
  /// Kernels by root, and the root that each operation went to.
  DenseMap<Operation *, Group> groups;
  DenseMap<Operation *, Operation *> rootOf;
  /// Ropes and remaps that write over their input's own buffer.
  DenseSet<Operation *> inPlace;
  /// What has replaced the results of operations built so far: plans were made
  /// with the values before.
  DenseMap<Value, Value> current;
  /// Result index -> argument to write to; roots that write to an argument.
  DenseMap<unsigned, Value> outputs;
  DenseMap<Operation *, Value> outputOf;
  DenseMap<std::pair<Attribute, Value>, Value> tables;
  /// Of operations on packed streams: the family. And its tables.
  DenseMap<Operation *, Value> rowsOf;
  DenseMap<Value, Family> families;
  Value sizes[2];
  /// The first operation that was there at the start.
  Operation *first = nullptr;
};

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// Whether the pass knows what to do with `op`; a diagnostic if not.
LogicalResult checkOperation(Operation &op) {
  if (isa<LayerOp>(op))
    return op.emitOpError("is not inlined; run nest-specialize, then "
                          "nest-drop-axes, first");
  auto checkType = [&](Type type) -> LogicalResult {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (getOn(type))
      return op.emitOpError("lies on an axis: ")
             << type << "; run nest-specialize, then nest-drop-axes, first";
    if (!tensor)
      return success();
    if (tensor.getEncoding())
      return op.emitOpError("has a tensor with an encoding: ")
             << type << "; kernels take plain tensors";
    for (auto [dim, extent] : llvm::enumerate(tensor.getShape()))
      if (ShapedType::isDynamic(extent) && dim > 1)
        return op.emitOpError("has a dynamic dimension ")
               << dim << " in " << type
               << "; only batch and rows (dimensions 0 and 1) may be dynamic";
    return success();
  };
  for (Type type : op.getOperandTypes())
    if (failed(checkType(type)))
      return failure();
  for (Type type : op.getResultTypes())
    if (failed(checkType(type)))
      return failure();

  if (auto get = dyn_cast<GetOp>(op)) {
    if (!get.getExtents().empty() || !tensorType(get).hasStaticShape())
      return op.emitOpError("has a width that is known at run time only; bind "
                            "it with nest-specialize");
    return success();
  }
  if (isa<OnOp>(op))
    return op.emitOpError("is not expanded; run nest-expand-rows first");
  if (isa<EmbedOp, LinearOp, NormOp, ActOp, GluOp, RopeOp, LastOp, ArgmaxOp,
          CacheAppendOp, AttentionOp, SelectOp, PartitionOp, AssignOp, PickOp,
          GatherOp, SpreadOp, PerSetOp, ScaleOp, ChosenOp, SoftmaxOp, AdvanceOp,
          RankOp, RemapOp, TimesOp, GainOp, RescaleOp, CutoffOp, FusedOp>(op))
    return success();
  if (isa<func::ReturnOp>(op))
    return success();
  if (isa<arith::ConstantOp>(op)) {
    for (Operation *user : op.getUsers())
      if (!isElementwise(user) || !getSplat(op.getResult(0)))
        return op.emitOpError("cannot become part of a kernel; only f32 "
                              "constants of one value, used by elementwise "
                              "operations, can");
    return success();
  }
  if (isElementwise(&op)) {
    auto type = dyn_cast<RankedTensorType>(op.getResult(0).getType());
    bool same = type && type.getElementType().isF32() && type.getRank() >= 2 &&
                llvm::all_of(op.getOperandTypes(),
                             [&](Type t) { return t == Type(type); });
    if (!same)
      return op.emitOpError("cannot become part of a kernel; elementwise code "
                            "works on f32 tensors of one type and of rank 2 or "
                            "more");
    return success();
  }
  return op.emitOpError("has no kernel; legal are nest operations, elementwise "
                        "arith and math operations and func.return");
}

LogicalResult Converter::check() {
  if (!llvm::hasSingleElement(function.getBody()))
    return function.emitOpError(
        "has control flow; kernels are formed in functions of one block");
  if (!isa<func::ReturnOp>(block.getTerminator()))
    return block.getTerminator()->emitOpError(
        "ends a function that becomes kernels; only func.return may");
  for (Type type : block.getArgumentTypes())
    if (getOn(type))
      return function.emitOpError("has an argument on an axis: ")
             << type << "; run nest-specialize, then nest-drop-axes, first";
  for (Operation &op : block)
    if (failed(checkOperation(op)))
      return failure();
  return success();
}

/// Unused operations would count as uses.
void Converter::removeDead() {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
    if (isOpTriviallyDead(&op)) {
      op.erase();
      continue;
    }
    // The last row of one row.
    if (auto last = dyn_cast<LastOp>(op))
      if (!last.getRows() && last.getX().getType() == last.getType()) {
        last.replaceAllUsesWith(last.getX());
        last.erase();
      }
  }
}

//===----------------------------------------------------------------------===//
// Packed streams
//===----------------------------------------------------------------------===//

/// The family inside which the rows of a family were chosen; null if none.
static Value outerFamily(Value rows) {
  while (auto pick = rows.getDefiningOp<PickOp>())
    rows = pick.getFamily();
  if (auto select = rows.getDefiningOp<SelectOp>())
    return select.getWithin();
  if (auto assign = rows.getDefiningOp<AssignOp>())
    return assign.getWithin();
  return {};
}

/// Finds the family that every operation works on.
LogicalResult Converter::findPacked() {
  // Lengths grow at the end: until then everybody reads the old ones.
  for (auto advance : llvm::to_vector(block.getOps<AdvanceOp>()))
    if (llvm::all_of(advance->getUsers(), [&](Operation *user) {
          return user == block.getTerminator();
        }))
      advance->moveBefore(block.getTerminator());

  DenseMap<Value, Value> packed; // stream to family
  for (Operation &op : block) {
    // `order` and `counts` number the rows of a whole family, and `indices` of
    // a nested one are rows of the outer set.
    auto attends = dyn_cast<AttentionOp>(op);
    if (isa<AttentionOp, CacheAppendOp, SoftmaxOp, RankOp, AdvanceOp>(op))
      for (Value operand : op.getOperands()) {
        if (!isa<RowsType>(operand.getType()))
          continue;
        if (operand.getDefiningOp<PickOp>())
          return op.emitOpError(
              "counts rows along the sequences of some sets of "
              "a family, which no kernel does; use the whole "
              "family or a set of its own");
        if (attends && !attends.getCompact() && outerFamily(operand))
          return op.emitOpError("has no kernel for a family within another "
                                "unless it is compact; attend outside of the "
                                "inner set, or over caches of its rows");
      }
    Value rows; // of the result
    if (isa<SelectOp, PartitionOp, AssignOp, PickOp, PerSetOp, LastOp,
            AdvanceOp, func::ReturnOp>(op))
      continue;
    if (auto gather = dyn_cast<GatherOp>(op)) {
      rows = gather.getRows();
    } else if (auto chosen = dyn_cast<ChosenOp>(op)) {
      rows = chosen.getRows();
    } else if (auto rank = dyn_cast<RankOp>(op)) {
      rows = rank.getRows();
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      rows = attention.getRows();
    } else if (isa<RemapOp, ArgmaxOp>(op)) {
      if (llvm::any_of(op.getOperands(),
                       [&](Value operand) { return packed.lookup(operand); }))
        return op.emitOpError(
            "works on rows that are packed, whose places only "
            "the device knows; spread them first");
      continue;
    } else if (auto append = dyn_cast<CacheAppendOp>(op)) {
      rowsOf[&op] = append.getFamily();
      continue;
    } else if (auto spread = dyn_cast<SpreadOp>(op)) {
      rowsOf[&op] = spread.getRows();
      if (Value outer = outerFamily(spread.getRows()))
        packed[spread] = outer;
      continue;
    } else {
      bool some = false, plain = false;
      for (Value operand : op.getOperands()) {
        auto type = dyn_cast<RankedTensorType>(operand.getType());
        if (!type || operand.getDefiningOp<arith::ConstantOp>() ||
            (isa<LinearOp, NormOp, GainOp>(op) &&
             operand != op.getOperand(0)) ||
            (isa<EmbedOp>(op) && operand != op.getOperand(0)))
          continue;
        Value family = packed.lookup(operand);
        some |= static_cast<bool>(family);
        plain |= !family || (rows && rows != family);
        rows = family;
      }
      if (some && plain)
        return op.emitOpError("works on packed rows and on others together; "
                              "gather the others by the same family");
    }
    if (!rows)
      continue;
    rowsOf[&op] = rows;
    for (Value result : op.getResults())
      packed[result] = rows;
  }
  return success();
}

DenseI64ArrayAttr Converter::setsOf(const Family &family) {
  if (!family.offsets)
    return {};
  return b.getDenseI64ArrayAttr({family.first, family.last});
}

/// The tables of the family that `op` works on; nothing where it has none.
Family Converter::familyOf(Operation *op) const {
  Value rows = rowsOf.lookup(op);
  return rows ? families.lookup(rows) : Family();
}

//===----------------------------------------------------------------------===//
// Arguments: inputs and caches, outputs, weights
//===----------------------------------------------------------------------===//

LogicalResult Converter::addArguments() {
  MLIRContext *context = function.getContext();
  NamedAttribute readOnly =
      b.getNamedAttr(bufferization::BufferizationDialect::kWritableAttrName,
                     b.getBoolAttr(false));

  // All at once: a function copies its attributes at every insertion.
  SmallVector<DictionaryAttr> attrs;
  SmallVector<Type> types;
  SmallVector<Location> locs;
  for (BlockArgument argument : block.getArguments()) {
    NamedAttrList list(function.getArgAttrDict(argument.getArgNumber()));
    if (isa<TensorType>(argument.getType()) && !list.get(kCacheAttr))
      list.append(readOnly);
    attrs.push_back(list.getDictionary(context));
  }
  unsigned inputs = attrs.size();
  auto append = [&](Type type, ArrayRef<NamedAttribute> list, Location loc) {
    types.push_back(type);
    attrs.push_back(DictionaryAttr::get(context, list));
    locs.push_back(loc);
    return attrs.size() - 1;
  };

  Operation *end = block.getTerminator();
  SmallVector<std::pair<unsigned, unsigned>> results; // result -> argument
  for (OpOperand &result : end->getOpOperands()) {
    unsigned index = result.getOperandNumber();
    if (function.getResultAttr(index, kCacheAttr))
      continue;
    auto type = dyn_cast<RankedTensorType>(result.get().getType());
    bool isStream =
        type && type.getElementType().isF32() && type.getRank() >= 2;
    if (!isStream && !result.get().getDefiningOp<ArgmaxOp>())
      return end->emitOpError("gives result ")
             << index << " of type " << result.get().getType()
             << "; an entry's results are f32 streams, what nest.argmax gives, "
                "and caches";
    SmallVector<NamedAttribute> list{
        b.getNamedAttr(kOutputAttr, b.getUnitAttr())};
    if (Attribute name = function.getResultAttr(index, kNameAttr))
      list.push_back(b.getNamedAttr(kNameAttr, name));
    results.push_back({index, append(type, list, end->getLoc())});
  }

  // A weight may be read at two widths, never twice at one.
  DenseMap<std::pair<Attribute, Type>, unsigned> weights;
  SmallVector<std::pair<GetOp, unsigned>> gets; // to argument
  for (auto get : block.getOps<GetOp>()) {
    auto [found, isNew] =
        weights.try_emplace({get.getWeightAttr(), get.getType()});
    if (isNew)
      found->second =
          append(get.getType(),
                 {readOnly,
                  b.getNamedAttr(kWeightAttr, get.getWeightAttr().getAttr())},
                 get.getLoc());
    gets.push_back({get, found->second});
  }

  SmallVector<unsigned> places(types.size(), inputs);
  if (failed(function.insertArguments(
          places, types, ArrayRef(attrs).drop_front(inputs), locs)))
    return failure();
  function.setAllArgAttrs(attrs);
  for (auto [result, argument] : results)
    outputs[result] = block.getArgument(argument);
  for (auto [get, argument] : gets) {
    get.getResult().replaceAllUsesWith(block.getArgument(argument));
    get.erase();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Planning
//===----------------------------------------------------------------------===//

/// Whether a kernel behind `root` reads `value`, as far as planned; everything
/// behind `root` is planned.
bool Converter::isReadLater(Value value, Operation *root) const {
  unsigned position = order.lookup(root);
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    auto found = rootOf.find(user);
    Operation *reader = found == rootOf.end() ? user : found->second;
    return order.lookup(reader) > position;
  });
}

/// Whether `root` may write over `value`: it is a buffer of ours, and nobody
/// reads it afterwards.
bool Converter::isFree(Value value, Operation *root) const {
  Operation *definition = value.getDefiningOp();
  return definition &&
         !isa<arith::ConstantOp, CacheAppendOp, AdvanceOp>(definition) &&
         !isReadLater(value, root);
}

/// Follows operands upwards from `root`.
Group Converter::collect(Operation *root, bool fuseCode,
                         bool fuseLinears) const {
  Group group;
  SmallVector<Value> worklist;
  auto expand = [&](Operation *op) {
    group.code.push_back(op);
    worklist.push_back(op->getOperand(0));
    // What computes one number a row is not computed for every column.
    if (auto scale = dyn_cast<ScaleOp>(op))
      group.factors.insert({scale.getWeights(), scale.getColumn()});
    else if (auto gain = dyn_cast<GainOp>(op))
      group.gains.insert(gain.getW());
    else
      worklist.append(op->operand_begin() + 1, op->operand_end());
  };
  auto absorb = [&](Operation *op) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      bool fits =
          fuseLinears && !group.norm && group.linears.size() < kMaxProducts;
      if (fits && !group.linears.empty()) {
        LinearOp first = group.linears.front();
        fits = first.getX() == linear.getX() &&
               first.getW().getType() == linear.getW().getType() &&
               isPerSet(first.getW()) == isPerSet(linear.getW());
      }
      if (fits)
        group.linears.push_back(linear);
      return fits;
    }
    if (isStatistic(op)) {
      bool fits = !group.norm && group.linears.empty();
      if (fits)
        group.norm = op;
      return fits;
    }
    if (!isRowCode(op) || (op != root && !fuseCode) ||
        group.code.size() == kMaxFused)
      return false;
    expand(op);
    return true;
  };

  if (auto spread = dyn_cast<SpreadOp>(root)) {
    group.spread = spread;
    worklist.push_back(spread.getX());
  } else {
    absorb(root);
  }
  for (unsigned i = 0; i < worklist.size(); ++i) {
    Value value = worklist[i];
    if (getSplat(value))
      continue;
    Operation *op = value.getDefiningOp();
    if (!op || !value.hasOneUse() || !absorb(op))
      group.streams.insert(value);
  }
  llvm::sort(group.code, [&](Operation *x, Operation *y) {
    return order.lookup(x) < order.lookup(y);
  });
  return group;
}

void Converter::claim(Operation *root, Group group) {
  for (Operation *op : group.code)
    rootOf[op] = root;
  for (LinearOp op : group.linears)
    rootOf[op] = root;
  if (group.norm)
    rootOf[group.norm] = root;
  rootOf[root] = root;
  groups[root] = std::move(group);
}

void Converter::planFused(Operation *root) {
  // All in one; without the elementwise code in front; without products.
  for (auto [fuseCode, fuseLinears] :
       {std::pair(true, true), std::pair(false, true),
        std::pair(true, false)}) {
    Group group = collect(root, fuseCode, fuseLinears);
    if (SpreadOp spread = group.spread) {
      Value base = spread.getBase();
      if (base && isFree(base, root))
        group.old = base;
      // The rows that are replaced are the old values of what replaces them.
      for (Value stream : group.streams)
        if (auto gather = stream.getDefiningOp<GatherOp>();
            gather && base && gather.getX() == base &&
            gather.getRows() == spread.getRows())
          group.oldRows = stream;
      if (group.oldRows &&
          !(group.streams.size() == 1 && group.code.empty() &&
            group.factors.empty() && group.linears.empty() && !group.norm))
        group.streams.remove(group.oldRows);
      else
        group.oldRows = {};
      return claim(root, std::move(group));
    }
    if (group.linears.empty()) {
      for (Value stream : group.streams)
        if (stream.getType() == root->getResult(0).getType() &&
            isFree(stream, root) &&
            (!group.norm ||
             !llvm::is_contained(group.norm->getOperands(), stream))) {
          group.old = stream;
          break;
        }
      return claim(root, std::move(group));
    }
    // One stream beside the products is the output's old value.
    for (Value stream : group.streams)
      if (stream.getType() == root->getResult(0).getType() &&
          isFree(stream, root) && stream != group.linears.front().getX()) {
        group.old = stream;
        break;
      }
    // Without one a product and what follows it are two kernels, unless rows
    // are packed: their streams are short.
    if (!(group.streams.empty() && group.factors.empty()) && !group.old &&
        !rowsOf.lookup(root))
      continue;
    return claim(root, std::move(group));
  }
}

/// Whether the one kernel that wants packed rows reads them where they are;
/// everything behind `op` is planned.
bool Converter::planGather(GatherOp op) {
  Operation *root = nullptr;
  for (OpOperand &use : op.getResult().getUses()) {
    Operation *reader = rootOf.lookup(use.getOwner());
    auto found = groups.find(reader);
    if (found == groups.end() || (root && root != reader) ||
        use.getOperandNumber() != 0)
      return false;
    root = reader;
    Group &group = found->second;
    bool isInput =
        (isa<NormOp>(use.getOwner()) && group.norm == use.getOwner()) ||
        llvm::is_contained(group.linears, use.getOwner());
    if (!isInput || group.gather || group.old == op.getX() ||
        (group.norm && !(group.streams.empty() && group.factors.empty())) ||
        group.streams.contains(op.getResult()) ||
        llvm::any_of(group.factors, [&](const auto &factor) {
          return factor.first == op.getResult();
        }))
      return false;
  }
  if (!root || rowsOf.lookup(root) != op.getRows())
    return false;
  // Nobody may write over the stream before it is read.
  for (Operation *user : op.getX().getUsers()) {
    Operation *writer = rootOf.lookup(user);
    auto found = groups.find(writer);
    bool writes = inPlace.contains(writer) ||
                  (found != groups.end() && found->second.old == op.getX());
    if (writes && order.lookup(writer) < order.lookup(root))
      return false;
  }
  groups[root].gather = op;
  rootOf[op] = root;
  return true;
}

/// What `op`, no group, writes over if nobody needs it any more; or null.
Value writtenInPlace(Operation *op) {
  if (auto rope = dyn_cast<RopeOp>(op))
    return rope.getX();
  auto remap = dyn_cast<RemapOp>(op);
  return remap ? remap.getBase() : Value();
}

void Converter::plan(Operation *op) {
  if (rootOf.count(op))
    return;
  if (isRowCode(op) || isStatistic(op) || isa<LinearOp, SpreadOp>(op))
    return planFused(op);
  if (auto gather = dyn_cast<GatherOp>(op); gather && planGather(gather))
    return;
  rootOf[op] = op;
  Value written = writtenInPlace(op);
  if (written && isFree(written, op))
    inPlace.insert(op);
}

/// Finds the kernel whose fresh buffer ends up as a result: it gets the output
/// argument instead.
LogicalResult Converter::planDestinations() {
  Operation *end = block.getTerminator();
  for (OpOperand &result : end->getOpOperands()) {
    unsigned index = result.getOperandNumber();
    Value value = result.get();
    if (auto cache =
            function.getResultAttrOfType<StringAttr>(index, kCacheAttr)) {
      while (Operation *op = value.getDefiningOp()) {
        if (!isa<CacheAppendOp, AdvanceOp>(op))
          break;
        value = op->getOperand(0);
      }
      auto argument = dyn_cast<BlockArgument>(value);
      if (!argument ||
          function.getArgAttr(argument.getArgNumber(), kCacheAttr) != cache)
        return end->emitOpError("gives as cache ")
               << cache
               << " a value that is not the argument of this name with rows "
                  "appended; caches are updated in place";
      continue;
    }
    Operation *start = nullptr;
    while (Operation *definition = value.getDefiningOp()) {
      start = rootOf.lookup(definition);
      if (inPlace.contains(start))
        value = writtenInPlace(start);
      else if (auto found = groups.find(start);
               found != groups.end() && found->second.old)
        value = found->second.old;
      else
        break;
      start = nullptr;
    }
    if (start && !isa<arith::ConstantOp, FusedOp>(start))
      outputOf.try_emplace(start, outputs[index]);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

/// Batch (0) or rows (1) of the call.
FailureOr<Value> Converter::size(Operation *op, unsigned dim) {
  if (sizes[dim])
    return sizes[dim];
  for (BlockArgument argument : block.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type || type.getRank() <= dim || !type.isDynamicDim(dim))
      continue;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&block);
    sizes[dim] = tensor::DimOp::create(b, function.getLoc(), argument, dim);
    return sizes[dim];
  }
  op->emitOpError("has a dynamic dimension ")
      << dim << " that no argument of '" << function.getSymName()
      << "' has; give an argument that dimension";
  return failure();
}

FailureOr<Value> Converter::empty(Operation *op, RankedTensorType type) {
  SmallVector<Value> dynamic;
  for (unsigned dim = 0; dim < type.getRank(); ++dim) {
    if (!type.isDynamicDim(dim))
      continue;
    FailureOr<Value> extent = size(op, dim);
    if (failed(extent))
      return failure();
    dynamic.push_back(*extent);
  }
  return tensor::EmptyOp::create(b, op->getLoc(), type, dynamic).getResult();
}

/// What `root` writes to when it keeps no old value.
FailureOr<Value> Converter::destination(Operation *root) {
  if (Value output = outputOf.lookup(root))
    return output;
  return empty(root, tensorType(root->getResult(0)));
}

void Converter::done(Operation *op, Value result) {
  current[op->getResult(0)] = result;
  if (BlockArgument width = widths.lookup(op->getResult(0)))
    widths[result] = width;
  op->getResult(0).replaceAllUsesWith(result);
}

/// Ends the last region of a kernel: the group's elementwise operations on
/// `result` and what `scalars` holds, the output's old value among them.
void Converter::finish(Group &group, Block *body, Scalars &scalars,
                       Value result, Scalar &s) {
  if (group.old && !group.spread)
    scalars.values.map(group.old, body->getArguments().back());
  if (group.oldRows)
    scalars.values.map(group.oldRows, body->getArguments().back());
  if (!result && group.code.empty())
    result = scalars.values.lookup(group.spread.getX());
  for (Operation *op : group.code) {
    auto scale = dyn_cast<ScaleOp>(op);
    result = s.compute(
        op, scalars,
        scale ? scalars.factors.lookup({scale.getWeights(), scale.getColumn()})
              : Value());
    scalars.values.map(op->getResult(0), result);
  }
  s.yield(result);
}

void Converter::update(Group &group) {
  auto now = [&](Value value) {
    Value found = current.lookup(value);
    return found ? found : value;
  };
  if (group.old)
    group.old = now(group.old);
  if (group.oldRows)
    group.oldRows = now(group.oldRows);
  llvm::SmallSetVector<Value, 4> streams;
  for (Value stream : group.streams)
    streams.insert(now(stream));
  group.streams = std::move(streams);
  llvm::SmallSetVector<std::pair<Value, int64_t>, 4> factors;
  for (auto [value, column] : group.factors)
    factors.insert({now(value), column});
  group.factors = std::move(factors);
}

LogicalResult Converter::buildMatmul(Operation *root, Group &group) {
  update(group);
  Location loc = root->getLoc();
  FailureOr<Value> out = written(root, group);
  if (failed(out))
    return failure();
  Family family = familyOf(root);
  int64_t groups = 1;
  SmallVector<Value> weights, operands;
  SmallVector<AffineMap> maps;
  AffineExpr row = b.getAffineDimExpr(0), column = b.getAffineDimExpr(1);
  AffineExpr set = b.getAffineDimExpr(2);
  for (LinearOp linear : group.linears) {
    Value weight = linear.getW(), bias = linear.getBias();
    if (isPerSet(weight))
      groups = perSet(weight).size();
    llvm::append_range(weights, perSet(weight));
    if (!bias)
      continue;
    maps.push_back(isPerSet(bias)
                       ? AffineMap::get(3, 0, {set, column}, b.getContext())
                       : AffineMap::get(2, 0, column));
    if (isPerSet(bias))
      groups = perSet(bias).size();
    llvm::append_range(operands, perSet(bias));
  }
  unsigned firstGain = maps.size();
  for (Value gain : group.gains) {
    maps.push_back(isPerSet(gain)
                       ? AffineMap::get(3, 0, {set, column}, b.getContext())
                       : AffineMap::get(2, 0, column));
    if (isPerSet(gain))
      groups = perSet(gain).size();
    llvm::append_range(operands, perSet(gain));
  }
  // A vector a set beside one weight: the weight is every set's.
  if (groups > 1 && weights.size() == group.linears.size()) {
    SmallVector<Value> repeated;
    for (Value weight : weights)
      repeated.append(groups, weight);
    weights = repeated;
  }
  unsigned numVectors = maps.size();
  for (auto [value, at] : group.factors) {
    maps.push_back(AffineMap::get(2, 0, {row, b.getAffineConstantExpr(at)},
                                  b.getContext()));
    operands.push_back(value);
  }
  SmallVector<Value> streams;
  for (Value stream : group.streams) {
    if (stream == group.old && !group.spread)
      continue;
    maps.push_back(AffineMap::get(2, 0, {row, column}, b.getContext()));
    operands.push_back(stream);
    streams.push_back(stream);
  }
  Value a = group.gather ? group.gather.getX() : group.linears.front().getX();
  bool indexed = group.gather || group.spread;
  LinearOp first = group.linears.front();
  Value columnBound = widths.lookup(first.getResult());
  Value depthBound = widths.lookup(first.getX());
  auto matmul = kernel::MatmulOp::create(
      b, loc, TypeRange{(*out).getType()}, a, /*normed=*/Value(), weights,
      operands, family.offsets, indexed ? family.indices : Value(),
      /*workspace=*/Value(), /*tickets=*/Value(), columnBound, depthBound,
      /*gains=*/ValueRange(), *out,
      /*scaled=*/ValueRange(), /*squares=*/Value(),
      b.getAffineMapArrayAttr(maps), setsOf(family), groups,
      static_cast<bool>(group.gather), static_cast<bool>(group.spread),
      /*indexed=*/ArrayRef<int64_t>(), /*epsilon=*/FloatAttr());

  OpBuilder::InsertionGuard guard(b);
  unsigned products = group.linears.size();
  Block *body =
      addScalarBlock(matmul.getRegion(), products + maps.size() + 1, loc, b);
  Scalar s(b, loc);
  Scalars scalars;
  for (auto [index, gain] : llvm::enumerate(group.gains))
    scalars.values.map(gain, body->getArgument(products + firstGain + index));
  unsigned next = products + numVectors;
  for (const auto &factor : group.factors)
    scalars.factors[factor] = body->getArgument(next++);
  for (Value stream : streams)
    scalars.values.map(stream, body->getArgument(next++));
  unsigned bias = products;
  Value result;
  for (auto [index, linear] : llvm::enumerate(group.linears)) {
    result = body->getArgument(index);
    if (linear.getBias())
      result = s.add(result, body->getArgument(bias++));
    scalars.values.map(linear.getResult(), result);
  }
  finish(group, body, scalars, result, s);
  done(root, matmul.getResult(0));
  return success();
}

LogicalResult Converter::buildRowwise(Operation *root, Group &group) {
  Operation *statistic = group.norm;
  if (widths.count(root->getResult(0)) ||
      (statistic && widths.count(statistic->getOperand(0))))
    return root->emitOpError(
        "works on columns that a call binds, and is not fused with the product "
        "that makes them; only products take such a width");
  update(group);
  Location loc = root->getLoc();
  FailureOr<Value> out = written(root, group);
  if (failed(out))
    return failure();
  Family family = familyOf(root);
  int64_t columns = tensorType(root->getResult(0)).getShape().back();
  AffineMap element = AffineMap::getMultiDimIdentityMap(3, b.getContext())
                          .getMajorSubMap(2); // row, column
  AffineMap inGroup = AffineMap::get(3, 0, b.getAffineDimExpr(2));
  AffineMap inSetGroup = AffineMap::get(
      4, 0, {b.getAffineDimExpr(3), b.getAffineDimExpr(2)}, b.getContext());

  llvm::SmallMapVector<Value, AffineMap, 8> inputs;
  auto norm = dyn_cast_or_null<NormOp>(statistic);
  int64_t size = norm ? norm.getGroup().value_or(columns) : columns;
  if (norm)
    inputs.insert({group.gather ? group.gather.getX() : norm.getX(), element});
  else if (statistic)
    for (Value stream : statistic->getOperands())
      inputs.insert({stream, element});
  for (Value stream : group.streams)
    if (stream != group.old || group.spread)
      inputs.insert({stream, element});
  AffineMap ofColumn = AffineMap::get(3, 0, b.getAffineDimExpr(1));
  AffineMap ofSetColumn = AffineMap::get(
      4, 0, {b.getAffineDimExpr(3), b.getAffineDimExpr(1)}, b.getContext());
  for (Value gain : group.gains)
    inputs.insert({gain, isPerSet(gain) ? ofSetColumn : ofColumn});
  // A vector may be both weight and bias.
  if (norm)
    for (Value vector : {norm.getW(), norm.getBias()})
      if (vector)
        inputs.insert({vector, isPerSet(vector) ? inSetGroup : inGroup});

  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  int64_t groups = 1;
  for (auto &[value, map] : inputs) {
    Value input = value;
    if (isPerSet(input))
      groups = perSet(input).size();
    llvm::append_range(operands, perSet(input));
    maps.push_back(map);
  }
  for (auto [value, at] : group.factors) {
    operands.push_back(value);
    maps.push_back(AffineMap::get(
        3, 0, {b.getAffineDimExpr(0), b.getAffineConstantExpr(at)},
        b.getContext()));
  }
  bool indexed = group.gather || group.spread;
  Scalar s(b, loc);
  std::optional<Statistic> sums;
  if (statistic)
    sums.emplace(statistic, size, s);
  unsigned rounds = sums ? sums->rounds() : 0;
  auto rowwise = kernel::RowwiseOp::create(
      b, loc, TypeRange{(*out).getType()}, operands, family.offsets,
      indexed ? family.indices : Value(), *out, /*further=*/ValueRange(),
      b.getAffineMapArrayAttr(maps), size, setsOf(family), groups,
      static_cast<bool>(group.gather), static_cast<bool>(group.spread),
      rounds + 1);

  OpBuilder::InsertionGuard guard(b);
  unsigned count = maps.size();
  auto scalarsOf = [&](Block *body) {
    Scalars scalars;
    auto arguments = body->getArguments();
    unsigned next = 0;
    for (auto &[value, map] : inputs)
      scalars.values.map(value, arguments[next++]);
    for (const auto &factor : group.factors)
      scalars.factors[factor] = arguments[next++];
    // What is normalised is read by its gather.
    if (group.gather)
      scalars.values.map(group.gather.getResult(), arguments.front());
    return scalars;
  };
  unsigned earlier = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    Block *body =
        addScalarBlock(rowwise.getBodies()[round], count + earlier, loc, b);
    Scalars scalars = scalarsOf(body);
    SmallVector<Value> summed =
        sums->round(round, scalars, body->getArguments().slice(count, earlier));
    s.yield(summed);
    earlier += summed.size();
  }

  Block *body =
      addScalarBlock(rowwise.getBodies()[rounds], count + earlier + 1, loc, b);
  Scalars scalars = scalarsOf(body);
  Value result;
  if (sums) {
    result = sums->finish(scalars, body->getArguments().slice(count, earlier));
    // Only now: the norm's own input may be a stream as well.
    scalars.values.map(statistic->getResult(0), result);
  }
  finish(group, body, scalars, result, s);
  done(root, rowwise.getResult(0));
  return success();
}

/// What the kernel of `group` writes to: over the old value where it may.
FailureOr<Value> Converter::written(Operation *root, Group &group) {
  if (group.old)
    return group.old;
  FailureOr<Value> fresh = destination(root);
  if (failed(fresh) || !group.spread || !group.spread.getBase())
    return fresh;
  // In the body of another family, base and result are packed by that.
  Value outer = outerFamily(group.spread.getRows());
  return copy(root, group.spread.getBase(), *fresh,
              outer ? families.lookup(outer) : Family());
}

/// `to` with the elements of `from`; with the rows of a family, packed.
FailureOr<Value> Converter::copy(Operation *op, Value from, Value to,
                                 const Family &family, bool gathers) {
  AffineMap element =
      AffineMap::getMultiDimIdentityMap(3, b.getContext()).getMajorSubMap(2);
  int64_t columns = tensorType(from).getShape().back();
  auto rowwise = kernel::RowwiseOp::create(
      b, op->getLoc(), TypeRange{to.getType()}, from, family.offsets,
      gathers ? family.indices : Value(), to, /*further=*/ValueRange(),
      b.getAffineMapArrayAttr(element), columns, setsOf(family), /*groups=*/1,
      gathers, /*scatters=*/false, 1);
  OpBuilder::InsertionGuard guard(b);
  Block *body = addScalarBlock(rowwise.getBodies()[0], 2, op->getLoc(), b);
  Scalar(b, op->getLoc()).yield(body->getArgument(0));
  return rowwise.getResult(0);
}

LogicalResult Converter::buildFused(FusedOp op) {
  SmallVector<Value> outs;
  for (Value result : op.getResults()) {
    FailureOr<Value> fresh = empty(op, tensorType(result));
    if (failed(fresh))
      return failure();
    outs.push_back(*fresh);
  }
  kernel::RowwiseOp rowwise = buildFusedRows(b, op, outs);
  for (auto [result, built] :
       llvm::zip(op.getResults(), rowwise->getResults())) {
    current[result] = built;
    result.replaceAllUsesWith(built);
  }
  return success();
}

LogicalResult Converter::buildRope(RopeOp op) {
  Family family = familyOf(op);
  Value &table = tables[{op.getRope(), op.getPositions()}];
  if (!table) {
    // Up front where positions are an argument: it lives through all layers, so
    // its place in memory is best taken first.
    OpBuilder::InsertionGuard guard(b);
    if (isa<BlockArgument>(op.getPositions()))
      b.setInsertionPoint(first);
    SmallVector<int64_t> shape(tensorType(op.getPositions()).getShape());
    shape.push_back(op.getRope().getRotaryDim());
    FailureOr<Value> fresh =
        empty(op, RankedTensorType::get(shape, b.getF32Type()));
    if (failed(fresh))
      return failure();
    table = kernel::RopeTableOp::create(b, op.getLoc(),
                                        TypeRange{(*fresh).getType()},
                                        op.getPositions(), op.getRope(),
                                        family.offsets, *fresh, setsOf(family))
                .getResult(0);
  }
  Value x = op.getX();
  if (!inPlace.contains(op)) {
    FailureOr<Value> fresh = destination(op);
    if (failed(fresh))
      return failure();
    x = *copy(op, x, *fresh, family);
  }
  auto rope =
      kernel::RopeOp::create(b, op.getLoc(), TypeRange{x.getType()}, table,
                             b.getI64IntegerAttr(op.getRope().getHeadDim()),
                             family.offsets, x, setsOf(family));
  done(op, rope.getResult(0));
  return success();
}

LogicalResult Converter::buildRemap(RemapOp op) {
  Value out = op.getBase();
  if (!inPlace.contains(op)) {
    FailureOr<Value> fresh = destination(op);
    if (failed(fresh))
      return failure();
    out = out ? *copy(op, out, *fresh) : *fresh;
  }
  auto remap = kernel::RemapOp::create(
      b, op.getLoc(), TypeRange{out.getType()}, op.getX(), op.getMapAttr(),
      op.getBase() ? b.getUnitAttr() : UnitAttr(), out);
  done(op, remap.getResult(0));
  return success();
}

LogicalResult Converter::buildCacheAppend(CacheAppendOp op) {
  if (isReadLater(op.getCache(), op))
    return op.emitOpError("updates in place a cache whose old value is used "
                          "later; use its result from here on");
  Value start = op.getCache();
  if (auto argument = dyn_cast<BlockArgument>(start);
      argument && !function.getArgAttr(argument.getArgNumber(), kCacheAttr))
    return op.emitOpError("appends to argument ")
           << argument.getArgNumber()
           << ", which is no cache; give it the attribute nest.cache";
  Family family = familyOf(op);
  auto append = kernel::CacheAppendOp::create(
      b, op.getLoc(), TypeRange{op.getType()}, op.getRows(), op.getLengths(),
      family.offsets, family.order, family.counts, op.getCache(),
      setsOf(family));
  done(op, append.getResult(0));
  return success();
}

LogicalResult Converter::buildAdvance(AdvanceOp op) {
  if (!isa<BlockArgument>(op.getLengths()) || isReadLater(op.getLengths(), op))
    return op.emitOpError("updates in place lengths that are no cache of the "
                          "entry, or that are used later");
  Value counts;
  if (op.getRows())
    counts = families.lookup(op.getRows()).counts;
  auto advance =
      kernel::AdvanceOp::create(b, op.getLoc(), TypeRange{op.getType()},
                                op.getIds(), counts, op.getLengths());
  done(op, advance.getResult(0));
  return success();
}

/// A source of row sets: its tables, and the kernel that writes them.
LogicalResult Converter::buildSource(Operation *op) {
  Location loc = op->getLoc();
  Value rows = op->getResult(0);
  int64_t sets = cast<RowsType>(rows.getType()).getSets();
  if (auto pick = dyn_cast<PickOp>(op)) {
    Family family = families.lookup(pick.getFamily());
    family.first += pick.getFirst();
    family.last = family.first + pick.getCount();
    families[rows] = family;
    return success();
  }
  ArrayRef<int64_t> shape = tensorType(op->getOperand(0)).getShape();
  Type i32 = b.getI32Type();
  SmallVector<Value> outs;
  for (RankedTensorType type :
       {RankedTensorType::get(shape.take_front(2), i32),
        RankedTensorType::get(sets + 1, i32),
        RankedTensorType::get(shape.take_front(2), i32),
        RankedTensorType::get(shape.take_front(1), i32)}) {
    FailureOr<Value> fresh = empty(op, type);
    if (failed(fresh))
      return failure();
    outs.push_back(*fresh);
  }
  TypeRange types = ValueRange(outs).getTypes();
  Value within = isa<PartitionOp>(op) || op->getNumOperands() < 2
                     ? Value()
                     : op->getOperand(1);
  Family outer = within ? families.lookup(within) : Family();
  Operation *built =
      llvm::TypeSwitch<Operation *, Operation *>(op)
          .Case([&](SelectOp select) {
            return kernel::SelectOp::create(
                b, loc, types, select.getScores(), outer.offsets, outer.order,
                outer.counts, outs[0], outs[1], outs[2], outs[3],
                select.getCapacityAttr(), select.getThresholdAttr(),
                setsOf(outer));
          })
          .Case([&](PartitionOp partition) {
            return kernel::PartitionOp::create(
                b, loc, types, partition.getIds(), partition.getSetsAttr(),
                outs[0], outs[1], outs[2], outs[3]);
          })
          .Case([&](AssignOp assign) {
            return kernel::AssignOp::create(
                b, loc, types, assign.getScores(), outer.offsets, outer.order,
                outer.counts, outs[0], outs[1], outs[2], outs[3],
                assign.getChoiceAttr(), setsOf(outer));
          });
  families[rows] = {built->getResult(0),
                    built->getResult(1),
                    built->getResult(2),
                    built->getResult(3),
                    0,
                    sets};
  return success();
}

/// The kernel of an operation that is a kernel of its own, written to `out`.
Operation *Converter::buildOther(Operation *op, Value out) {
  Location loc = op->getLoc();
  TypeRange types(op->getResultTypes());
  Family family = familyOf(op);
  DenseI64ArrayAttr sets = setsOf(family);
  return llvm::TypeSwitch<Operation *, Operation *>(op)
      .Case([&](EmbedOp embed) {
        return kernel::EmbedOp::create(b, loc, types, embed.getIds(),
                                       embed.getTable(), embed.getScaleAttr(),
                                       embed.getUnknownAttr(), out);
      })
      .Case([&](LastOp last) {
        Value order =
            last.getRows() ? families.lookup(last.getRows()).order : Value();
        return kernel::LastRowsOp::create(b, loc, types, last.getX(), order,
                                          out);
      })
      .Case([&](ArgmaxOp argmax) {
        return kernel::ArgmaxOp::create(b, loc, types, argmax.getX(),
                                        /*workspace=*/Value(),
                                        /*tickets=*/Value(), out);
      })
      .Case([&](AttentionOp a) {
        return kernel::AttentionOp::create(
            b, loc, types, a.getQ(), a.getK(), a.getV(), a.getLengths(),
            a.getPositions(), family.offsets, family.indices, family.order,
            family.counts, /*workspace=*/Value(), /*tickets=*/Value(),
            a.getScaleAttr(), a.getMask(), out, sets, a.getCompactAttr(),
            /*rounds=*/UnitAttr());
      })
      .Case([&](GatherOp gather) -> Operation * {
        if (gather.getType().getElementType().isF32())
          return copy(op, gather.getX(), out, family, /*gathers=*/true)
              ->getDefiningOp();
        return kernel::GatherOp::create(b, loc, types, gather.getX(),
                                        family.offsets, family.indices, out,
                                        sets);
      })
      .Case([&](ChosenOp chosen) {
        return kernel::ChosenOp::create(b, loc, types, chosen.getScores(),
                                        family.offsets, family.indices, out,
                                        sets);
      })
      .Case([&](SoftmaxOp softmax) {
        bool byRows = softmax.getOverRows();
        return kernel::SoftmaxOp::create(
            b, loc, types, softmax.getX(), family.offsets,
            byRows ? family.order : Value(), byRows ? family.counts : Value(),
            out, sets, softmax.getOverRowsAttr());
      })
      .Case([&](RankOp rank) {
        return kernel::RankOp::create(b, loc, types, rank.getLengths(),
                                      family.offsets, family.order,
                                      family.counts, out, sets);
      });
}

LogicalResult Converter::build(Operation *op) {
  b.setInsertionPoint(op);
  if (auto found = groups.find(op); found != groups.end()) {
    Group &group = found->second;
    return group.linears.empty() ? buildRowwise(op, group)
                                 : buildMatmul(op, group);
  }
  if (rootOf.lookup(op) != op || isa<arith::ConstantOp>(op))
    return success();
  if (auto fused = dyn_cast<FusedOp>(op))
    return buildFused(fused);
  if (auto rope = dyn_cast<RopeOp>(op))
    return buildRope(rope);
  if (auto remap = dyn_cast<RemapOp>(op))
    return buildRemap(remap);
  if (auto append = dyn_cast<CacheAppendOp>(op))
    return buildCacheAppend(append);
  if (auto advance = dyn_cast<AdvanceOp>(op))
    return buildAdvance(advance);
  if (isa<SelectOp, PartitionOp, AssignOp, PickOp>(op))
    return buildSource(op);
  if (isa<PerSetOp>(op))
    return success();
  FailureOr<Value> out = destination(op);
  if (failed(out))
    return failure();
  done(op, buildOther(op, *out)->getResult(0));
  return success();
}

LogicalResult Converter::run() {
  if (!llvm::hasSingleElement(function.getBody()))
    return check(); // says so
  FailureOr<OpenWidths> closed = closeWidths(function);
  if (failed(closed))
    return failure();
  widths = std::move(*closed);
  if (failed(check()))
    return failure();
  removeDead();
  if (failed(findPacked()) || failed(addArguments()))
    return failure();

  SmallVector<Operation *> ops;
  for (Operation &op : block) {
    order[&op] = ops.size();
    ops.push_back(&op);
  }
  first = ops.front();
  Operation *end = ops.pop_back_val();
  rootOf[end] = end;
  for (Operation *op : llvm::reverse(ops))
    plan(op);
  if (failed(planDestinations()))
    return failure();
  for (Operation *op : ops)
    if (failed(build(op)))
      return failure();

  // A result that could not be computed where it belongs.
  b.setInsertionPoint(end);
  for (OpOperand &result : end->getOpOperands()) {
    Value output = outputs.lookup(result.getOperandNumber());
    if (!output)
      continue;
    Value start = result.get();
    while (auto op = start.getDefiningOp<DestinationStyleOpInterface>())
      start = op.getDpsInits()[0];
    if (start != output)
      result.set(*copy(end, result.get(), output));
  }
  for (Operation *op : llvm::reverse(ops))
    op->erase();
  return success();
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

struct ConvertNestToKernel
    : nestc::impl::ConvertNestToKernelBase<ConvertNestToKernel> {
  using ConvertNestToKernelBase::ConvertNestToKernelBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal())
        continue;
      bool ours = function->hasAttr(kEntryAttr);
      if (!ours)
        function.walk([&](Operation *op) {
          ours = isa<NestDialect>(op->getDialect());
          return ours ? WalkResult::interrupt() : WalkResult::advance();
        });
      if (ours && failed(Converter(function).run()))
        return signalPassFailure();
    }
  }
};

} // namespace
