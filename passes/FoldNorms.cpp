//===- FoldNorms.cpp - RMS norms inside of the products around them -------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A product is linear: of an RMS norm it takes x * gain, and its sums times one
// number a row are what it would have made of the normalised stream. The kernel
// that makes x has it in registers, multiplies by the gain and sums squares;
// those that multiply the stream take the number from these sums. The norm as a
// kernel of its own, which reads and writes the stream once more, goes.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nestc {
#define GEN_PASS_DEF_KERNELFOLDNORMS
#include "passes/Passes.h.inc"

namespace {
using namespace kernel;

/// x / sqrt(mean of the squares of x's row + epsilon) * gain.
struct Norm {
  Value x;
  OperandRange gains; ///< none, one, or one a set
  FloatAttr epsilon;
};

std::optional<double> numberOf(Value value) {
  FloatAttr number;
  if (!matchPattern(value, m_Constant(&number)))
    return std::nullopt;
  return number.getValueAsDouble();
}

/// 1 / sqrt(sum / columns + epsilon): the epsilon, or null.
FloatAttr matchScale(Value value, Value sum, int64_t columns) {
  auto rsqrt = value.getDefiningOp<math::RsqrtOp>();
  auto add = rsqrt ? rsqrt.getOperand().getDefiningOp<arith::AddFOp>()
                   : arith::AddFOp();
  auto mean =
      add ? add.getLhs().getDefiningOp<arith::DivFOp>() : arith::DivFOp();
  FloatAttr epsilon;
  if (!mean || mean.getLhs() != sum ||
      numberOf(mean.getRhs()) != static_cast<double>(columns) ||
      !matchPattern(add.getRhs(), m_Constant(&epsilon)))
    return {};
  return epsilon;
}

/// What a kernel computes, if it is an RMS norm of whole rows: no more than a
/// product of the three.
std::optional<Norm> matchNorm(RowwiseOp op) {
  int64_t columns =
      cast<RankedTensorType>(op.getOut().getType()).getShape().back();
  auto maps = llvm::to_vector(op.getMaps().getAsValueRange<AffineMapAttr>());
  if (op.readsOutput() || !op.getFurther().empty() ||
      op.getBodies().size() != 2 ||
      static_cast<int64_t>(op.getGroup()) != columns || maps.empty() ||
      maps.size() > 2)
    return std::nullopt;
  auto isStream = [](AffineMap map) { return map.isFunctionOfDim(0); };
  if (maps[0] != AffineMap::getMultiDimIdentityMap(3, op.getContext())
                     .getMajorSubMap(2) ||
      (maps.size() == 2 && isStream(maps[1])))
    return std::nullopt;
  Block &round = op.getBodies()[0].front(), &last = op.getBodies()[1].front();
  OperandRange squares = round.getTerminator()->getOperands();
  auto square = squares.front().getDefiningOp<arith::MulFOp>();
  if (squares.size() != 1 || !square ||
      square.getLhs() != round.getArgument(0) ||
      square.getRhs() != round.getArgument(0))
    return std::nullopt;
  // The factors of the result.
  SmallVector<Value> factors(last.getTerminator()->getOperands());
  for (unsigned i = 0; i < factors.size();)
    if (auto product = factors[i].getDefiningOp<arith::MulFOp>()) {
      factors[i] = product.getLhs();
      factors.push_back(product.getRhs());
    } else {
      ++i;
    }
  FloatAttr epsilon;
  SmallVector<unsigned> seen(maps.size(), 0);
  for (Value factor : factors) {
    auto argument = dyn_cast<BlockArgument>(factor);
    if (argument && argument.getArgNumber() < maps.size()) {
      ++seen[argument.getArgNumber()];
      continue;
    }
    FloatAttr found =
        matchScale(factor, last.getArgument(maps.size()), columns);
    if (!found || epsilon)
      return std::nullopt;
    epsilon = found;
  }
  if (!epsilon || llvm::any_of(seen, [](unsigned n) { return n != 1; }))
    return std::nullopt;
  return Norm{op.getInputs().front(), op.getInputs().drop_front(), epsilon};
}

// What kernel.matmul and kernel.project have of a norm.
Value squaresOf(MatmulOp op) { return op.getNormed(); }
Value squaresOf(ProjectOp op) { return op.getSquares(); }
void setSquares(MatmulOp op, Value squares, FloatAttr epsilon) {
  op.getNormedMutable().assign(squares);
  op.setEpsilonAttr(epsilon);
}
void setSquares(ProjectOp op, Value squares, FloatAttr epsilon) {
  op.getSquaresMutable().assign(squares);
  op.setRowEpsilonAttr(epsilon);
}

/// The type of a product's weights, if `use` is what they multiply and all that
/// it takes of a stream, and not normalised yet; else null.
template <typename ProductOp>
Type typeOf(ProductOp product, OpOperand &use) {
  if (squaresOf(product) || &use != &product.getAMutable() ||
      llvm::count(product->getOperands(), use.get()) != 1)
    return {};
  return getElementTypeOrSelf(product.getWeights().front().getType());
}

/// The kernels that alone read a stream, all of them as what they multiply, and
/// the type of their weights; none if there are others, or types differ.
SmallVector<Operation *> productsOf(Value stream, Type &type) {
  SmallVector<Operation *> products;
  for (OpOperand &use : stream.getUses()) {
    Type element = llvm::TypeSwitch<Operation *, Type>(use.getOwner())
                       .Case<MatmulOp, ProjectOp>(
                           [&](auto product) { return typeOf(product, use); })
                       .Default(Type());
    if (!element || (type && type != element))
      return {};
    type = element;
    products.push_back(use.getOwner());
  }
  return products;
}

/// Norms that a product writes for: more are more streams, of which each takes
/// as long to write as a norm of its own.
constexpr size_t mostScaled = 2;

/// Whether `op` can write what the products of its output's norm take, beside
/// what it writes already.
bool canWrite(MatmulOp op, size_t gains, Type type) {
  size_t many = op.getScaled().size();
  return op.getNumProducts() == 1 && many < mostScaled &&
         getElementTypeOrSelf(op.getOut().getType()).isF32() &&
         (gains <= 1 || gains == static_cast<size_t>(op.getGroups())) &&
         op.getGains().size() == many * gains &&
         (!many ||
          getElementTypeOrSelf(op.getScaled().front().getType()) == type);
}

/// The products that make `x`, over the rows of `sets`: the one that writes all
/// of them, behind one, if there is such, that scatters rows over what it
/// wrote. None if something else makes it.
SmallVector<MatmulOp> producersOf(Value x, Value offsets,
                                  std::optional<ArrayRef<int64_t>> sets) {
  SmallVector<MatmulOp> producers;
  for (auto op = x.getDefiningOp<MatmulOp>(); op;
       op = op.getOut().getDefiningOp<MatmulOp>()) {
    producers.push_back(op);
    if (!op.getScatters()) {
      bool isSame = op.getOffsets() == offsets && op.getSets() == sets;
      return isSame ? producers : SmallVector<MatmulOp>();
    }
    // Over all rows of the output of another one.
    Value below = op.getOut();
    auto before = below.getDefiningOp<MatmulOp>();
    if (offsets || producers.size() > 1 || !before ||
        below != before.getResult(0))
      break;
  }
  return {};
}

/// Whether squares that `first` writes already would be read, also by
/// `products`, behind the product that scatters over them: one that does now,
/// or `last`, if it is another than `first`.
bool isOverwritten(MatmulOp first, ArrayRef<Operation *> products,
                   MatmulOp last) {
  Operation *scatters = last == first ? nullptr : last.getOperation();
  SmallVector<Operation *> readers;
  if (!scatters)
    llvm::append_range(readers, products);
  for (OpOperand &use : first.getResults().back().getUses()) {
    auto user = dyn_cast<MatmulOp>(use.getOwner());
    if (user && user.isDpsInit(&use)) {
      if (scatters)
        return true;
      scatters = user;
    } else {
      readers.push_back(use.getOwner());
    }
  }
  return scatters && llvm::any_of(readers, [&](Operation *reader) {
           return !reader->isBeforeInBlock(scatters);
         });
}

/// The kernel that makes a stream, if it does nothing but gather rows.
RowwiseOp gatherOf(Value stream) {
  auto op = stream.getDefiningOp<RowwiseOp>();
  if (!op || !op.getGathers() || op.readsOutput() ||
      op.getInputs().size() != 1 || op.getBodies().size() != 1)
    return {};
  Block &body = op.getBodies().front().front();
  return body.getTerminator()->getOperand(0) == body.getArgument(0)
             ? op
             : RowwiseOp();
}

/// Whether a product can gather its rows itself.
template <typename ProductOp>
bool canGather(ProductOp product, RowwiseOp gather) {
  return !product.getGathers() && product.getOffsets() == gather.getOffsets() &&
         product.getSets() == gather.getSets() &&
         (!product.getIndices() || product.getIndices() == gather.getIndices());
}

/// Erases a kernel that nothing uses, and the tensor made for it.
void drop(RowwiseOp op) {
  auto empty = op.getOut().getDefiningOp<tensor::EmptyOp>();
  op.erase();
  if (empty && empty->use_empty())
    empty.erase();
}

/// The same product that writes `scaled` by `gains` too, and `squares` if it
/// writes none yet; replaces it.
MatmulOp addScaled(MatmulOp op, ValueRange gains, Value scaled, Value squares) {
  OpBuilder b(op);
  SmallVector<Value> allScaled(op.getScaled()), allGains(op.getGains());
  allScaled.push_back(scaled);
  llvm::append_range(allGains, gains);
  if (op.getSquares())
    squares = op.getSquares();
  SmallVector<Type> types{op.getOut().getType()};
  llvm::append_range(types, TypeRange(ValueRange(allScaled)));
  types.push_back(squares.getType());
  auto written = MatmulOp::create(
      b, op.getLoc(), types, op.getA(), op.getNormed(), op.getWeights(),
      op.getEpilogue(), op.getOffsets(), op.getIndices(), op.getWorkspace(),
      op.getTickets(), op.getColumnBound(), op.getDepthBound(), allGains,
      op.getOut(), allScaled, squares, op.getMapsAttr(), op.getSetsAttr(),
      op.getGroupsAttr(), op.getGathersAttr(), op.getScattersAttr(),
      op.getIndexedAttr(), op.getEpsilonAttr());
  written.getRegion().takeBody(op.getRegion());
  unsigned before = op.getScaled().size();
  for (unsigned i = 0; i <= before; ++i)
    op.getResult(i).replaceAllUsesWith(written.getResult(i));
  if (before)
    op.getResults().back().replaceAllUsesWith(written.getResults().back());
  op.erase();
  return written;
}

void fold(RowwiseOp rowwise) {
  std::optional<Norm> norm = matchNorm(rowwise);
  auto empty = rowwise.getOut().getDefiningOp<tensor::EmptyOp>();
  if (!norm || !empty)
    return;
  Type type;
  SmallVector<Operation *> products = productsOf(rowwise.getResult(0), type);
  // x * gain may be beyond what f16 has where the norm is not.
  if (products.empty() || type.isF16())
    return;
  // The norm of gathered rows is a gather of the norm of all.
  RowwiseOp gather = rowwise.getGathers() ? rowwise : gatherOf(norm->x);
  auto gathers = [&](Operation *product) {
    return llvm::TypeSwitch<Operation *, bool>(product)
        .Case<MatmulOp, ProjectOp>(
            [&](auto product) { return canGather(product, gather); })
        .Default(false);
  };
  if (gather && (gather.getOffsets() != rowwise.getOffsets() ||
                 gather.getSets() != rowwise.getSets() ||
                 !llvm::all_of(products, gathers)))
    return;
  Value x = gather ? gather.getInputs().front() : norm->x;
  SmallVector<MatmulOp> producers =
      producersOf(x, gather ? Value() : rowwise.getOffsets(),
                  gather ? std::nullopt : rowwise.getSets());
  if (producers.empty() || !llvm::all_of(producers, [&](MatmulOp producer) {
        return canWrite(producer, norm->gains.size(), type);
      }))
    return;
  MatmulOp first = producers.back();
  auto isLate = [&](Value value) {
    Operation *definition = value.getDefiningOp();
    return definition && !definition->isBeforeInBlock(first);
  };
  if (llvm::any_of(empty.getDynamicSizes(), isLate))
    return;

  if (first.getSquares() && isOverwritten(first, products, producers.front()))
    return;

  OpBuilder b(first);
  auto stream = cast<RankedTensorType>(x.getType());
  SmallVector<int64_t> shape(stream.getShape());
  Value scaled = tensor::EmptyOp::create(b, first.getLoc(), shape, type,
                                         empty.getDynamicSizes());
  shape.back() = numNormSlices(shape.back());
  // Squares are the same for all norms of a stream.
  Value squares = first.getSquares();
  if (!squares)
    squares = tensor::EmptyOp::create(b, first.getLoc(), shape, b.getF32Type(),
                                      empty.getDynamicSizes());
  for (MatmulOp producer : llvm::reverse(producers)) {
    MatmulOp written = addScaled(producer, norm->gains, scaled, squares);
    scaled = written.getResult(written.getScaled().size());
    squares = written.getResults().back();
  }
  auto take = [&](auto product) {
    product.getAMutable().set(scaled);
    setSquares(product, squares, norm->epsilon);
    if (!gather)
      return;
    product.getIndicesMutable().assign(gather.getIndices());
    product.setGathers(true);
  };
  for (Operation *product : products)
    llvm::TypeSwitch<Operation *>(product).Case<MatmulOp, ProjectOp>(take);
  bool isOwn = gather == rowwise;
  drop(rowwise);
  if (gather && !isOwn && gather->use_empty())
    drop(gather);
}

struct KernelFoldNorms : impl::KernelFoldNormsBase<KernelFoldNorms> {
  using KernelFoldNormsBase::KernelFoldNormsBase;

  void runOnOperation() override {
    SmallVector<RowwiseOp> norms;
    getOperation().walk([&](RowwiseOp op) {
      if (isa<RankedTensorType>(op.getOut().getType()))
        norms.push_back(op);
    });
    for (RowwiseOp norm : norms)
      fold(norm);
  }
};
} // namespace
} // namespace nestc
