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
// A kernel writes over a stream (residual addition, rotation, elementwise code)
// only if no kernel reads that stream afterwards; liveness is known exactly
// because a function is one block. So bufferisation finds every destination
// free, and needs no copy.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

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

/// An arith or math operation that means the same on scalars.
bool isElementwise(Operation *op) {
  return isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) &&
         OpTrait::hasElementwiseMappableTraits(op) && op->getNumResults() == 1;
}

bool isFusable(Operation *op) {
  return isa<ActOp, GluOp>(op) || isElementwise(op);
}

/// The number that every element of a constant tensor has.
std::optional<FloatAttr> getSplat(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto dense = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue())
                        : DenseFPElementsAttr();
  if (!dense || !dense.isSplat() || !dense.getElementType().isF32())
    return std::nullopt;
  return FloatAttr::get(dense.getElementType(),
                        dense.getSplatValue<llvm::APFloat>());
}

//===----------------------------------------------------------------------===//
// Scalar code
//===----------------------------------------------------------------------===//

/// Builds the f32 code of a kernel's region.
class Scalar {
public:
  Scalar(OpBuilder &b, Location loc) : b(b), loc(loc) {}

  Value constant(double value) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  }
  Value constant(FloatAttr value) {
    return arith::ConstantOp::create(b, loc, value);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value rsqrt(Value x) { return math::RsqrtOp::create(b, loc, x); }

  Value activate(Activation kind, Value x) {
    switch (kind) {
    case Activation::silu: { // x / (1 + e^-x)
      Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
      return div(x, add(constant(1.0), e));
    }
    case Activation::gelu: { // x / 2 * (1 + erf(x / sqrt 2))
      Value e =
          math::ErfOp::create(b, loc, mul(x, constant(0.70710678118654752)));
      return mul(mul(x, constant(0.5)), add(e, constant(1.0)));
    }
    case Activation::gelu_tanh: {
      // x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
      Value cube = mul(mul(x, x), mul(x, constant(0.044715)));
      Value t = math::TanhOp::create(
          b, loc, mul(constant(0.79788456080286536), add(x, cube)));
      return mul(mul(x, constant(0.5)), add(t, constant(1.0)));
    }
    case Activation::relu: // a NaN stays one
      return arith::MaximumFOp::create(b, loc, x, constant(0.0));
    case Activation::relu2: {
      Value r = arith::MaximumFOp::create(b, loc, x, constant(0.0));
      return mul(r, r);
    }
    case Activation::tanh:
      return math::TanhOp::create(b, loc, x);
    case Activation::sigmoid: { // 1 / (1 + e^-x)
      Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x));
      return div(constant(1.0), add(constant(1.0), e));
    }
    }
    llvm_unreachable("the enum has no other value");
  }

  void yield(ValueRange values) { kernel::YieldOp::create(b, loc, values); }

  OpBuilder &b;
  Location loc;
};

//===----------------------------------------------------------------------===//
// One function
//===----------------------------------------------------------------------===//

/// Operations that become one kernel.
struct Group {
  /// Elementwise operations, then, in the order of the function.
  SmallVector<Operation *> code;
  SmallVector<LinearOp> linears;
  NormOp norm;
  /// Values read element by element, in order of first use.
  llvm::SmallSetVector<Value, 4> streams;
  /// The stream that the result is written over, or null.
  Value old;
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
  LogicalResult addArguments();
  LogicalResult planDestinations();

  // Planning.
  void plan(Operation *op);
  void planFused(Operation *root);
  Group collect(Operation *root, bool fuseCode, bool fuseLinears) const;
  bool isFree(Value value, Operation *root) const;
  bool isReadLater(Value value, Operation *root) const;
  void claim(Operation *root, Group group);

  // Building.
  LogicalResult build(Operation *op);
  LogicalResult buildMatmul(Operation *root, Group &group);
  LogicalResult buildRowwise(Operation *root, Group &group);
  LogicalResult buildRope(RopeOp op);
  LogicalResult buildCacheAppend(CacheAppendOp op);
  FailureOr<Value> destination(Operation *root);
  FailureOr<Value> empty(Operation *op, RankedTensorType type);
  FailureOr<Value> size(Operation *op, unsigned dim);
  FailureOr<Value> copy(Operation *op, Value from, Value to);
  Value scalarOf(Operation *op, IRMapping &scalars, Scalar &s);
  void update(Group &group);
  void finish(Group &group, Block *body, IRMapping &scalars, Value result,
              Scalar &s);
  void done(Operation *op, Value result);

  func::FuncOp function;
  Block &block;
  OpBuilder b;
  /// Position in the function, of operations that were there at the start.
  DenseMap<Operation *, unsigned> order;
  /// Kernels by root, and the root that each operation went to.
  DenseMap<Operation *, Group> groups;
  DenseMap<Operation *, Operation *> rootOf;
  /// Ropes that turn their input in its own buffer.
  DenseSet<Operation *> inPlace;
  /// What has replaced the results of operations built so far: plans were made
  /// with the values before.
  DenseMap<Value, Value> current;
  /// Result index -> argument to write to; roots that write to an argument.
  DenseMap<unsigned, Value> outputs;
  DenseMap<Operation *, Value> outputOf;
  DenseMap<std::pair<Attribute, Value>, Value> tables;
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
  if (isa<EmbedOp, LinearOp, NormOp, ActOp, GluOp, RopeOp, LastOp,
          CacheAppendOp, AttentionOp>(op))
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
      if (last.getX().getType() == last.getType()) {
        last.replaceAllUsesWith(last.getX());
        last.erase();
      }
  }
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
    if (!type || !type.getElementType().isF32() || type.getRank() < 2)
      return end->emitOpError("gives result ")
             << index << " of type " << result.get().getType()
             << "; an entry's results are f32 streams and caches";
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
  return definition && !isa<arith::ConstantOp, CacheAppendOp>(definition) &&
         !isReadLater(value, root);
}

/// Follows operands upwards from `root`.
Group Converter::collect(Operation *root, bool fuseCode,
                         bool fuseLinears) const {
  Group group;
  SmallVector<Value> worklist;
  auto expand = [&](Operation *op) {
    group.code.push_back(op);
    worklist.append(op->operand_begin(), op->operand_end());
  };
  auto absorb = [&](Operation *op) {
    if (auto linear = dyn_cast<LinearOp>(op)) {
      bool fits =
          fuseLinears && !group.norm && group.linears.size() < kMaxProducts;
      if (fits && !group.linears.empty()) {
        LinearOp first = group.linears.front();
        fits = first.getX() == linear.getX() &&
               first.getW().getType() == linear.getW().getType();
      }
      if (fits)
        group.linears.push_back(linear);
      return fits;
    }
    if (auto norm = dyn_cast<NormOp>(op)) {
      bool fits = !group.norm && group.linears.empty();
      if (fits)
        group.norm = norm;
      return fits;
    }
    if (!isFusable(op) || (op != root && !fuseCode) ||
        group.code.size() == kMaxFused)
      return false;
    expand(op);
    return true;
  };

  absorb(root);
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
  groups[root] = std::move(group);
}

void Converter::planFused(Operation *root) {
  // All in one; without the elementwise code in front; without products.
  for (auto [fuseCode, fuseLinears] :
       {std::pair(true, true), std::pair(false, true),
        std::pair(true, false)}) {
    Group group = collect(root, fuseCode, fuseLinears);
    if (group.linears.empty()) {
      for (Value stream : group.streams)
        if (stream.getType() == root->getResult(0).getType() &&
            isFree(stream, root) &&
            (!group.norm || group.norm.getX() != stream)) {
          group.old = stream;
          break;
        }
      return claim(root, std::move(group));
    }
    // The only stream beside the products is the output's old value.
    if (group.streams.size() > 1)
      continue;
    if (!group.streams.empty()) {
      Value stream = group.streams.front();
      if (stream.getType() != root->getResult(0).getType() ||
          !isFree(stream, root) || stream == group.linears.front().getX())
        continue;
      group.old = stream;
    }
    return claim(root, std::move(group));
  }
}

void Converter::plan(Operation *op) {
  if (rootOf.count(op))
    return;
  if (isFusable(op) || isa<LinearOp, NormOp>(op))
    return planFused(op);
  rootOf[op] = op;
  if (auto rope = dyn_cast<RopeOp>(op))
    if (isFree(rope.getX(), op))
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
      while (auto append = value.getDefiningOp<CacheAppendOp>())
        value = append.getCache();
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
        value = cast<RopeOp>(start).getX();
      else if (auto found = groups.find(start);
               found != groups.end() && found->second.old)
        value = found->second.old;
      else
        break;
      start = nullptr;
    }
    if (start && !isa<arith::ConstantOp>(start))
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
  op->getResult(0).replaceAllUsesWith(result);
}

/// The scalar that `op`, elementwise, computes.
Value Converter::scalarOf(Operation *op, IRMapping &scalars, Scalar &s) {
  auto operand = [&](unsigned i) {
    Value value = op->getOperand(i);
    if (std::optional<FloatAttr> splat = getSplat(value))
      return s.constant(*splat);
    return scalars.lookup(value);
  };
  if (auto act = dyn_cast<ActOp>(op))
    return s.activate(act.getKind(), operand(0));
  if (auto glu = dyn_cast<GluOp>(op)) {
    Value gate = s.activate(glu.getKind(), operand(0));
    return s.mul(gate, operand(1));
  }
  SmallVector<Value> operands;
  for (unsigned i = 0; i < op->getNumOperands(); ++i)
    operands.push_back(operand(i));
  OperationState state(s.loc, op->getName(), operands, s.b.getF32Type(),
                       op->getAttrs());
  return s.b.create(state)->getResult(0);
}

/// A block of f32 arguments.
Block *addBlock(Region &region, unsigned count, Location loc, OpBuilder &b) {
  return b.createBlock(&region, region.end(),
                       SmallVector<Type>(count, b.getF32Type()),
                       SmallVector<Location>(count, loc));
}

/// Ends the last region of a kernel: the group's elementwise operations on
/// `result` and what `scalars` holds, the output's old value among them.
void Converter::finish(Group &group, Block *body, IRMapping &scalars,
                       Value result, Scalar &s) {
  if (group.old)
    scalars.map(group.old, body->getArguments().back());
  for (Operation *op : group.code) {
    result = scalarOf(op, scalars, s);
    scalars.map(op->getResult(0), result);
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
  llvm::SmallSetVector<Value, 4> streams;
  for (Value stream : group.streams)
    streams.insert(now(stream));
  group.streams = std::move(streams);
}

LogicalResult Converter::buildMatmul(Operation *root, Group &group) {
  update(group);
  Location loc = root->getLoc();
  Value out = group.old;
  if (!out) {
    FailureOr<Value> fresh = destination(root);
    if (failed(fresh))
      return failure();
    out = *fresh;
  }
  SmallVector<Value> weights, vectors;
  for (LinearOp linear : group.linears) {
    weights.push_back(linear.getW());
    if (linear.getBias())
      vectors.push_back(linear.getBias());
  }
  AffineMap column = AffineMap::get(2, 0, b.getAffineDimExpr(1));
  SmallVector<AffineMap> maps(vectors.size(), column);
  auto matmul = kernel::MatmulOp::create(
      b, loc, TypeRange{out.getType()}, group.linears.front().getX(), weights,
      vectors, /*offsets=*/Value(), /*indices=*/Value(), out,
      b.getAffineMapArrayAttr(maps), /*sets=*/DenseI64ArrayAttr());

  OpBuilder::InsertionGuard guard(b);
  unsigned count = weights.size() + vectors.size() + 1;
  Block *body = addBlock(matmul.getRegion(), count, loc, b);
  Scalar s(b, loc);
  IRMapping scalars;
  unsigned bias = weights.size();
  Value result;
  for (auto [index, linear] : llvm::enumerate(group.linears)) {
    result = body->getArgument(index);
    if (linear.getBias())
      result = s.add(result, body->getArgument(bias++));
    scalars.map(linear.getResult(), result);
  }
  finish(group, body, scalars, result, s);
  done(root, matmul.getResult(0));
  return success();
}

LogicalResult Converter::buildRowwise(Operation *root, Group &group) {
  update(group);
  Location loc = root->getLoc();
  Value out = group.old;
  if (!out) {
    FailureOr<Value> fresh = destination(root);
    if (failed(fresh))
      return failure();
    out = *fresh;
  }
  int64_t columns = tensorType(root->getResult(0)).getShape().back();
  AffineMap element = AffineMap::getMultiDimIdentityMap(3, b.getContext())
                          .getMajorSubMap(2); // row, column
  AffineMap inGroup = AffineMap::get(3, 0, b.getAffineDimExpr(2));

  llvm::SmallMapVector<Value, AffineMap, 8> inputs;
  NormOp norm = group.norm;
  int64_t size = columns;
  if (norm) {
    inputs.insert({norm.getX(), element});
    size = norm.getGroup().value_or(columns);
  }
  for (Value stream : group.streams)
    if (stream != group.old)
      inputs.insert({stream, element});
  // A vector may be both weight and bias.
  if (norm)
    for (Value vector : {norm.getW(), norm.getBias()})
      if (vector)
        inputs.insert({vector, inGroup});

  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  for (auto &[value, map] : inputs) {
    operands.push_back(value);
    maps.push_back(map);
  }
  bool layer = norm && norm.getKind() == NormKind::layer;
  unsigned rounds = norm ? (layer ? 2 : 1) : 0;
  auto rowwise = kernel::RowwiseOp::create(
      b, loc, TypeRange{out.getType()}, operands, /*offsets=*/Value(),
      /*indices=*/Value(), out, b.getAffineMapArrayAttr(maps), size,
      /*sets=*/DenseI64ArrayAttr(), /*groups=*/1, /*gathers=*/false,
      /*scatters=*/false, rounds + 1);

  OpBuilder::InsertionGuard guard(b);
  Scalar s(b, loc);
  unsigned count = operands.size();
  // Rounds of sums.
  for (unsigned round = 0; round < rounds; ++round) {
    Block *body = addBlock(rowwise.getBodies()[round], count + round, loc, b);
    Value x = body->getArgument(0);
    if (layer && round == 0) {
      s.yield(x);
      continue;
    }
    if (layer) // two passes for the variance: the one-pass formula cancels
      x = s.sub(x, s.div(body->getArgument(count), s.constant(size)));
    s.yield(s.mul(x, x));
  }

  Block *body =
      addBlock(rowwise.getBodies()[rounds], count + rounds + 1, loc, b);
  IRMapping scalars;
  for (auto [argument, value] : llvm::zip(body->getArguments(), operands))
    scalars.map(value, argument);
  Value result;
  if (norm) {
    result = body->getArgument(0);
    if (layer)
      result = s.sub(result, s.div(body->getArgument(count), s.constant(size)));
    Value squares = body->getArgument(count + rounds - 1);
    Value epsilon = s.constant(norm.getEpsilonAttr());
    result = s.mul(result,
                   s.rsqrt(s.add(s.div(squares, s.constant(size)), epsilon)));
    if (norm.getW())
      result = s.mul(result, scalars.lookup(norm.getW()));
    if (norm.getBias())
      result = s.add(result, scalars.lookup(norm.getBias()));
  }
  // Only now: the norm's own input may be a stream as well.
  if (norm)
    scalars.map(norm.getResult(), result);
  finish(group, body, scalars, result, s);
  done(root, rowwise.getResult(0));
  return success();
}

/// `to` with the elements of `from`.
FailureOr<Value> Converter::copy(Operation *op, Value from, Value to) {
  AffineMap element =
      AffineMap::getMultiDimIdentityMap(3, b.getContext()).getMajorSubMap(2);
  int64_t columns = tensorType(from).getShape().back();
  auto rowwise = kernel::RowwiseOp::create(
      b, op->getLoc(), TypeRange{to.getType()}, from, /*offsets=*/Value(),
      /*indices=*/Value(), to, b.getAffineMapArrayAttr(element), columns,
      /*sets=*/DenseI64ArrayAttr(), /*groups=*/1, /*gathers=*/false,
      /*scatters=*/false, 1);
  OpBuilder::InsertionGuard guard(b);
  Block *body = addBlock(rowwise.getBodies()[0], 2, op->getLoc(), b);
  Scalar(b, op->getLoc()).yield(body->getArgument(0));
  return rowwise.getResult(0);
}

LogicalResult Converter::buildRope(RopeOp op) {
  Value &table = tables[{op.getRope(), op.getPositions()}];
  if (!table) {
    // Up front: it lives through all layers, so its place in memory is best
    // taken first. No operation computes positions: they are an argument.
    OpBuilder::InsertionGuard guard(b);
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
                                        /*offsets=*/Value(), *fresh,
                                        /*sets=*/DenseI64ArrayAttr())
                .getResult(0);
  }
  Value x = op.getX();
  if (!inPlace.contains(op)) {
    FailureOr<Value> fresh = destination(op);
    if (failed(fresh))
      return failure();
    x = *copy(op, x, *fresh);
  }
  auto rope =
      kernel::RopeOp::create(b, op.getLoc(), TypeRange{x.getType()}, table,
                             b.getI64IntegerAttr(op.getRope().getHeadDim()),
                             /*offsets=*/Value(), x,
                             /*sets=*/DenseI64ArrayAttr());
  done(op, rope.getResult(0));
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
  auto append = kernel::CacheAppendOp::create(
      b, op.getLoc(), TypeRange{op.getType()}, op.getRows(), op.getLengths(),
      /*offsets=*/Value(), /*order=*/Value(), /*counts=*/Value(), op.getCache(),
      /*sets=*/DenseI64ArrayAttr());
  done(op, append.getResult(0));
  return success();
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
  if (auto rope = dyn_cast<RopeOp>(op))
    return buildRope(rope);
  if (auto append = dyn_cast<CacheAppendOp>(op))
    return buildCacheAppend(append);
  FailureOr<Value> out = destination(op);
  if (failed(out))
    return failure();
  Location loc = op->getLoc();
  Type type = op->getResult(0).getType();
  TypeRange types(type);
  Operation *built =
      llvm::TypeSwitch<Operation *, Operation *>(op)
          .Case([&](EmbedOp embed) {
            return kernel::EmbedOp::create(b, loc, types, embed.getIds(),
                                           embed.getTable(),
                                           embed.getScaleAttr(), *out);
          })
          .Case([&](LastOp last) {
            return kernel::LastRowsOp::create(b, loc, types, last.getX(),
                                              /*order=*/Value(), *out);
          })
          .Case([&](AttentionOp a) {
            return kernel::AttentionOp::create(
                b, loc, types, a.getQ(), a.getK(), a.getV(), a.getLengths(),
                /*positions=*/Value(), /*offsets=*/Value(), /*indices=*/Value(),
                /*order=*/Value(), /*counts=*/Value(), a.getScaleAttr(),
                a.getMask(), *out, /*sets=*/DenseI64ArrayAttr(),
                /*compact=*/UnitAttr());
          });
  done(op, built->getResult(0));
  return success();
}

LogicalResult Converter::run() {
  if (failed(check()))
    return failure();
  removeDead();
  if (failed(addArguments()))
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
