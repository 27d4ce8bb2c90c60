//===- FuseProjections.cpp - products, rotation and appends in one kernel -===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Queries, keys and values are products of one stream. What happens to their
// rows before attention (bias, norm of a head, rotation, append) needs a head
// at most, which a tile of the product holds: one kernel.project does it all.
//
// A chain is a product and what alone reads its result, as far as a segment of
// kernel.project can do it. Chains of one stream and one set of rows become one
// kernel in front of the first user of their results. That is where all they
// read is there, and where nothing has been written over: a kernel that writes
// over an operand counts as a user.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELFUSEPROJECTIONS
#include "passes/Passes.h.inc"

namespace {
using namespace kernel;

/// A product and the kernels behind it.
struct Chain {
  MatmulOp matmul;
  bool isBiased = false;
  RowwiseOp norm;
  FloatAttr epsilon;
  RopeOp rope;
  CacheAppendOp append;

  explicit Chain(MatmulOp matmul) : matmul(matmul) {}

  SmallVector<Operation *> kernels() {
    SmallVector<Operation *> all{matmul};
    for (Operation *op :
         {norm.getOperation(), rope.getOperation(), append.getOperation()})
      if (op)
        all.push_back(op);
    return all;
  }
  Value result() { return kernels().back()->getResult(0); }
  /// What the result is written to.
  Value out() {
    if (append)
      return append.getOut();
    return norm ? norm.getOut() : matmul.getOut();
  }
  int64_t headDim() {
    if (norm)
      return norm.getGroup();
    if (rope)
      return rope.getHeadDim();
    return append ? cast<RankedTensorType>(append.getType(0)).getDimSize(3) : 0;
  }
};

bool isConstant(Value value, double wanted) {
  FloatAttr number;
  return matchPattern(value, m_Constant(&number)) &&
         number.getValueAsDouble() == wanted;
}

/// Whether `value` is op(a, b) or op(b, a), b being `other`; gives a.
template <typename Op>
Value otherOperand(Value value, Value other) {
  auto op = value.getDefiningOp<Op>();
  if (!op)
    return {};
  if (op.getRhs() == other)
    return op.getLhs();
  return op.getLhs() == other ? op.getRhs() : Value();
}

/// The indices that belong to offsets of a family; null if it is not known.
Value indicesOf(Value offsets) {
  Operation *source = offsets ? offsets.getDefiningOp() : nullptr;
  if (isa_and_nonnull<SelectOp, PartitionOp, AssignOp>(source))
    return source->getResult(0);
  return {};
}

/// Whether indices of a family say to which sequence a row belongs: of one
/// within another family they are packed rows.
bool knowsSequences(Value offsets) {
  Operation *source = offsets.getDefiningOp();
  if (auto select = dyn_cast_if_present<SelectOp>(source))
    return !select.getOuterOffsets();
  if (auto assign = dyn_cast_if_present<AssignOp>(source))
    return !assign.getOuterOffsets();
  return isa_and_present<PartitionOp>(source);
}

/// Whether the epilogue is the sum, or the sum and a vector.
bool isPlain(MatmulOp matmul, bool &isBiased) {
  Block &body = matmul.getRegion().front();
  Value value = body.getTerminator()->getOperand(0);
  Value sum = body.getArgument(0);
  isBiased = !matmul.getEpilogue().empty();
  if (!isBiased)
    return value == sum;
  if (matmul.getMaps().size() != 1)
    return false;
  auto map = cast<AffineMapAttr>(matmul.getMaps()[0]).getValue();
  bool isVector = map.getNumResults() == 1 || map.getNumDims() == 3;
  return isVector &&
         otherOperand<arith::AddFOp>(value, body.getArgument(1)) == sum;
}

/// The epsilon of x / sqrt(mean of squares + epsilon) * w over each group, if
/// that is what a kernel of two inputs computes.
FloatAttr epsilonOf(RowwiseOp norm) {
  if (norm.getBodies().size() != 2 || norm.getMaps().size() != 2 ||
      norm.readsOutput() || norm.getGathers())
    return {};
  auto mapOf = [&](unsigned i) {
    return cast<AffineMapAttr>(norm.getMaps()[i]).getValue();
  };
  // A stream, and a vector of a group's columns.
  AffineMap weight = mapOf(1);
  bool fits = mapOf(0).isMinorIdentity() || mapOf(0).getNumResults() == 2;
  fits &= mapOf(0).getResult(mapOf(0).getNumResults() - 1) ==
          getAffineDimExpr(1, norm.getContext());
  fits &= weight.getResult(weight.getNumResults() - 1) ==
          getAffineDimExpr(2, norm.getContext());
  if (!fits)
    return {};
  Block &round = norm.getBodies()[0].front(),
        &body = norm.getBodies()[1].front();
  Operation *yield = round.getTerminator();
  auto square = yield->getNumOperands() == 1
                    ? yield->getOperand(0).getDefiningOp<arith::MulFOp>()
                    : arith::MulFOp();
  if (!square || square.getLhs() != round.getArgument(0) ||
      square.getRhs() != round.getArgument(0))
    return {};
  // x * rsqrt(squares / size + epsilon) * w
  Value result = body.getTerminator()->getOperand(0);
  Value scaled = otherOperand<arith::MulFOp>(result, body.getArgument(1));
  Value root = scaled ? otherOperand<arith::MulFOp>(scaled, body.getArgument(0))
                      : Value();
  auto rsqrt = root ? root.getDefiningOp<math::RsqrtOp>() : math::RsqrtOp();
  auto sum = rsqrt ? rsqrt.getOperand().getDefiningOp<arith::AddFOp>()
                   : arith::AddFOp();
  auto mean =
      sum ? sum.getLhs().getDefiningOp<arith::DivFOp>() : arith::DivFOp();
  FloatAttr epsilon;
  if (!mean || mean.getLhs() != body.getArgument(2) ||
      !isConstant(mean.getRhs(), static_cast<double>(norm.getGroup())) ||
      !matchPattern(sum.getRhs(), m_Constant(&epsilon)))
    return {};
  return epsilon;
}

/// Whether a kernel works on the rows that the product writes.
template <typename KernelOp>
bool hasRowsOf(KernelOp op, MatmulOp matmul) {
  return op.getOffsets() == matmul.getOffsets() &&
         op.getSetsAttr() == matmul.getSetsAttr();
}

/// The only use of a value, by a KernelOp; null if there are others.
template <typename KernelOp>
KernelOp onlyUser(Value value) {
  return value.hasOneUse() ? dyn_cast<KernelOp>(*value.user_begin())
                           : KernelOp();
}

std::optional<Chain> chainOf(MatmulOp matmul) {
  Chain chain(matmul);
  if (matmul.getNumResults() != 1 || matmul.getNumProducts() != 1 ||
      matmul.readsOutput() || !isPlain(matmul, chain.isBiased))
    return std::nullopt;
  Value value = matmul.getResult(0);
  auto norm = onlyUser<RowwiseOp>(value);
  if (norm && norm.getInputs().front() == value && hasRowsOf(norm, matmul) &&
      (norm.getGroups() == 1 || norm.getGroups() == matmul.getGroups()) &&
      norm.getGroup() <= ProjectOp::mostHeadDim)
    chain.epsilon = epsilonOf(norm);
  if (chain.epsilon) {
    chain.norm = norm;
    value = norm.getResult(0);
  }
  int64_t head = chain.headDim();
  auto rope = onlyUser<RopeOp>(value);
  if (rope && rope.getOut() == value && hasRowsOf(rope, matmul) &&
      ProjectOp::fitsTiles(
          rope.getHeadDim(),
          cast<RankedTensorType>(rope.getTable().getType()).getShape().back(),
          /*isNormed=*/false)) {
    // A norm of something else than heads, such as of whole rows.
    if (head && head != static_cast<int64_t>(rope.getHeadDim())) {
      chain.norm = {};
      return chain;
    }
    chain.rope = rope;
    head = rope.getHeadDim();
    value = rope.getResult(0);
  }
  auto append = onlyUser<CacheAppendOp>(value);
  if (append && append.getRows() == value && hasRowsOf(append, matmul) &&
      (!matmul.getOffsets() || knowsSequences(matmul.getOffsets()))) {
    int64_t columns = cast<RankedTensorType>(append.getType(0)).getDimSize(3);
    if (!head || head == columns)
      chain.append = append;
    else if (!chain.rope)
      chain.norm = {};
  }
  return chain;
}

/// Of a table for the rows of a family: the one for the rows that the family
/// was made of, if that is there before `user`.
Value wholeTable(Value table, Value offsets, Value indices, Operation *user) {
  auto packed = table ? table.getDefiningOp<RopeTableOp>() : RopeTableOp();
  auto gather =
      packed ? packed.getPositions().getDefiningOp<GatherOp>() : GatherOp();
  if (!gather || gather.getOffsets() != offsets ||
      gather.getIndices() != indices || packed.getOffsets() != offsets ||
      packed.getSetsAttr() != gather.getSetsAttr())
    return {};
  for (Operation *other : gather.getX().getUsers()) {
    auto whole = dyn_cast<RopeTableOp>(other);
    if (whole && !whole.getOffsets() && whole.getRope() == packed.getRope() &&
        whole->getNumResults() == 1 && whole->isBeforeInBlock(user))
      return whole.getResult(0);
  }
  return {};
}

/// Erases the kernel that gives `value`, and what it alone reads, if nothing
/// does.
void eraseUnused(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || !isa<RopeTableOp, GatherOp, tensor::EmptyOp>(op) ||
      !op->use_empty())
    return;
  SmallVector<Value> operands(op->getOperands());
  op->erase();
  for (Value operand : operands)
    eraseUnused(operand);
}

/// Chains that can be one kernel.
class Fusion {
public:
  bool take(Chain chain);
  /// Builds the kernel. Gives the chains for which it had no place.
  Fusion build();

  bool isEmpty() const { return chains.empty(); }

private:
  struct Span {
    Operation *begin = nullptr, *end = nullptr;
  };
  /// The kernel has to stand behind `begin`, which may be null, and before
  /// `end`.
  Span spanOf(ArrayRef<Chain> chains) const;
  SmallVector<Value> readBy(Chain chain) const;

  SmallVector<Chain> chains;
};

bool Fusion::take(Chain chain) {
  for (Chain &other : chains) {
    MatmulOp x = chain.matmul, y = other.matmul;
    auto elementOf = [](MatmulOp op) {
      return getElementTypeOrSelf(op.getWeights().front().getType());
    };
    bool fits = x.getA() == y.getA() && x.getOffsets() == y.getOffsets() &&
                x.getIndices() == y.getIndices() &&
                x.getSetsAttr() == y.getSetsAttr() &&
                x.getGathers() == y.getGathers() &&
                x.getGroups() == y.getGroups() && elementOf(x) == elementOf(y);
    fits &= !chain.headDim() || !other.headDim() ||
            chain.headDim() == other.headDim();
    fits &= !chain.norm || !other.norm || chain.epsilon == other.epsilon;
    if (chain.rope && other.rope)
      fits &= chain.rope.getTable() == other.rope.getTable();
    if (chain.append && other.append) {
      CacheAppendOp a = chain.append, b = other.append;
      fits &= a.getLengths() == b.getLengths() &&
              a.getOrder() == b.getOrder() && a.getCounts() == b.getCounts();
    }
    if (!fits)
      return false;
  }
  chains.push_back(chain);
  return true;
}

SmallVector<Value> Fusion::readBy(Chain chain) const {
  MatmulOp matmul = chain.matmul;
  SmallVector<Value> values;
  // Not what is passed from one kernel of the chain to the next, nor where it
  // was stored.
  SmallVector<Operation *> parts = chain.kernels();
  for (Operation *op : parts)
    for (Value operand : op->getOperands())
      if (!llvm::is_contained(parts, operand.getDefiningOp()) &&
          !operand.getDefiningOp<tensor::EmptyOp>())
        values.push_back(operand);
  if (chain.append && matmul.getOffsets() && !matmul.getIndices())
    values.push_back(indicesOf(matmul.getOffsets()));
  return values;
}

Fusion::Span Fusion::spanOf(ArrayRef<Chain> chains) const {
  Span span;
  auto behind = [&](Operation *op) {
    if (op && (!span.begin || span.begin->isBeforeInBlock(op)))
      span.begin = op;
  };
  auto before = [&](Operation *op) {
    if (!span.end || op->isBeforeInBlock(span.end))
      span.end = op;
  };
  DenseSet<Operation *> parts;
  for (Chain chain : chains)
    for (Operation *op : chain.kernels())
      parts.insert(op);
  for (Chain chain : chains) {
    for (Value value : readBy(chain)) {
      behind(value.getDefiningOp());
      bool isWritten = value == chain.out();
      for (OpOperand &use : value.getUses()) {
        auto user = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
        if (parts.contains(use.getOwner()))
          continue;
        if (isWritten)
          behind(use.getOwner());
        else if (user && user.isDpsInit(&use))
          before(user);
      }
    }
    behind(chain.out().getDefiningOp());
    for (Operation *user : chain.result().getUsers())
      before(user);
  }
  return span;
}

Fusion Fusion::build() {
  Span span;
  Fusion rest;
  for (;;) {
    bool isWanted = false;
    for (Chain &chain : chains)
      isWanted |= chain.kernels().size() > 1;
    if (!isWanted)
      return rest;
    span = spanOf(chains);
    if (span.end && (!span.begin || span.begin->isBeforeInBlock(span.end)))
      break;
    // The chain whose result is wanted first is in the way.
    auto endOf = [&](const Chain &chain) { return spanOf(chain).end; };
    auto *first =
        llvm::min_element(chains, [&](const Chain &x, const Chain &y) {
          Operation *a = endOf(x), *b = endOf(y);
          return a && (!b || a->isBeforeInBlock(b));
        });
    rest.chains.push_back(*first);
    chains.erase(first);
  }

  MatmulOp front = chains.front().matmul;
  OpBuilder b(span.end);
  SmallVector<Location> locations;
  SmallVector<Value> weights, biases, norms, outs;
  SmallVector<int64_t> biased, normed, turned;
  Value table, lengths, order, counts, indices = front.getIndices();
  FloatAttr epsilon;
  int64_t head = 0, groups = front.getGroups();
  auto addVectors = [&](SmallVector<Value> &to, OperandRange vectors) {
    // One that all sets share stands for each of them.
    for (int64_t g = 0; g < groups; ++g)
      to.push_back(vectors[vectors.size() == 1 ? 0 : g]);
  };
  for (auto [i, chain] : llvm::enumerate(chains)) {
    locations.push_back(chain.matmul.getLoc());
    llvm::append_range(weights, chain.matmul.getWeights());
    outs.push_back(chain.out());
    if (chain.isBiased) {
      biased.push_back(i);
      addVectors(biases, chain.matmul.getEpilogue());
    }
    if (chain.norm) {
      normed.push_back(i);
      addVectors(norms, chain.norm.getInputs().drop_front());
      epsilon = chain.epsilon;
    }
    if (chain.rope) {
      turned.push_back(i);
      table = chain.rope.getTable();
    }
    if (chain.append) {
      lengths = chain.append.getLengths();
      order = chain.append.getOrder();
      counts = chain.append.getCounts();
      if (front.getOffsets() && !indices)
        indices = indicesOf(front.getOffsets());
    }
    head = std::max(head, chain.headDim());
  }
  Value packedTable = table;
  Value indexed = indices ? indices : indicesOf(front.getOffsets());
  Value whole = wholeTable(table, front.getOffsets(), indexed, span.end);
  if (whole) {
    table = whole;
    indices = indexed;
  }
  auto project = ProjectOp::create(
      b, b.getFusedLoc(locations), ValueRange(outs).getTypes(), front.getA(),
      /*squares=*/Value(), weights, biases, norms, table, lengths,
      front.getOffsets(), indices, order, counts, outs, head, biased, normed,
      epsilon, /*rowEpsilon=*/FloatAttr(), turned, front.getSetsAttr(), groups,
      front.getGathers(), /*tableGathers=*/static_cast<bool>(whole));
  for (auto [chain, result] : llvm::zip(chains, project.getResults()))
    chain.result().replaceAllUsesWith(result);
  for (Chain &chain : chains) {
    SmallVector<Operation *> kernels = chain.kernels();
    SmallVector<tensor::EmptyOp> stored;
    for (Operation *op : kernels) {
      Value out = cast<DestinationStyleOpInterface>(op).getDpsInits()[0];
      if (auto empty = out.getDefiningOp<tensor::EmptyOp>())
        stored.push_back(empty);
    }
    for (Operation *op : llvm::reverse(kernels))
      op->erase();
    for (tensor::EmptyOp empty : stored)
      if (empty->use_empty())
        empty.erase();
  }
  if (whole)
    eraseUnused(packedTable);
  return rest;
}

struct KernelFuseProjections
    : impl::KernelFuseProjectionsBase<KernelFuseProjections> {
  using KernelFuseProjectionsBase::KernelFuseProjectionsBase;

  void runOnOperation() override {
    getOperation().walk([&](Block *block) {
      SmallVector<Fusion> fusions;
      for (auto matmul : block->getOps<MatmulOp>()) {
        std::optional<Chain> chain = chainOf(matmul);
        if (!chain)
          continue;
        bool isTaken = llvm::any_of(
            fusions, [&](Fusion &fusion) { return fusion.take(*chain); });
        if (!isTaken)
          fusions.emplace_back().take(*chain);
      }
      for (Fusion &fusion : fusions)
        for (Fusion rest = fusion.build(); !rest.isEmpty();)
          rest = rest.build();
    });
  }
};
} // namespace
} // namespace nestc
