//===- KernelOps.cpp - kernel operations and verifiers ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialect/Kernel.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nestc::kernel;

#define GET_OP_CLASSES
#include "dialect/KernelOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Memory effects: operands that are memrefs are read, the output is written,
// and read as well when its old value is used. On tensors there are none.
//===----------------------------------------------------------------------===//

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

static void addEffects(DestinationStyleOpInterface op, bool readsOutput,
                       Effects &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    bool isOut = op.isDpsInit(&operand);
    // What kernel.matmul writes beside its output is not read, but rows stay
    // that are not scattered to.
    auto matmul = dyn_cast<MatmulOp>(*op);
    bool isSecond =
        matmul && !matmul.getScatters() && &operand != op.getDpsInitOperand(0);
    if (!isOut || (readsOutput && !isSecond))
      effects.emplace_back(MemoryEffects::Read::get(), &operand, 0,
                           /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
    if (isOut)
      effects.emplace_back(MemoryEffects::Write::get(), &operand, 0,
                           /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
  }
}

static void addWorkspace(Operation *op, Value workspace, Value tickets,
                         Effects &effects) {
  if (!workspace)
    return;
  for (OpOperand &operand : op->getOpOperands())
    if (operand.get() == workspace || operand.get() == tickets)
      effects.emplace_back(MemoryEffects::Write::get(), &operand, 0,
                           /*effectOnFullRegion=*/true,
                           SideEffects::DefaultResource::get());
}

void EmbedOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void MatmulOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
  addWorkspace(*this, getWorkspace(), getTickets(), effects);
}
void ProjectOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
  addWorkspace(*this, getWorkspace(), getTickets(), effects);
}
void RowwiseOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
}
void RopeTableOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void RopeOp::getEffects(Effects &effects) { addEffects(*this, true, effects); }
// Rows of the cache that are not written keep their value.
void CacheAppendOp::getEffects(Effects &effects) {
  addEffects(*this, true, effects);
}
void AttentionOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
  addWorkspace(*this, getWorkspace(), getTickets(), effects);
}
void LastRowsOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void ArgmaxOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
  addWorkspace(*this, getWorkspace(), getTickets(), effects);
}
void RemapOp::getEffects(Effects &effects) {
  addEffects(*this, readsOutput(), effects);
}
void SelectOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void PartitionOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void AssignOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void GatherOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void ChosenOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void SoftmaxOp::getEffects(Effects &effects) {
  addEffects(*this, false, effects);
}
void AdvanceOp::getEffects(Effects &effects) {
  addEffects(*this, true, effects);
}
void RankOp::getEffects(Effects &effects) { addEffects(*this, false, effects); }

//===----------------------------------------------------------------------===//
// Verifiers. Numbers in brackets are the constraints of docs/Kernels.md.
//===----------------------------------------------------------------------===//

namespace {

using Shape = ArrayRef<int64_t>;

Shape shapeOf(Value value) {
  return cast<ShapedType>(value.getType()).getShape();
}
Type elementOf(Value value) {
  return cast<ShapedType>(value.getType()).getElementType();
}
unsigned rankOf(Value value) { return shapeOf(value).size(); }
int64_t columnsOf(Value value) { return shapeOf(value).back(); }

bool isMatrixElement(Type type) {
  return type.isF32() || type.isBF16() || type.isF16();
}

/// Whether two sizes can be the same.
bool mayEqual(int64_t x, int64_t y) {
  return x == y || ShapedType::isDynamic(x) || ShapedType::isDynamic(y);
}
bool mayEqual(Shape x, Shape y) {
  return x.size() == y.size() && llvm::all_of(llvm::zip(x, y), [](auto pair) {
           return mayEqual(std::get<0>(pair), std::get<1>(pair));
         });
}

/// Checks one operation; every method emits at most one diagnostic.
class Checker {
public:
  explicit Checker(DestinationStyleOpInterface op) : op(op) {}

  InFlightDiagnostic refuse(unsigned number) {
    return op->emitOpError("[K") << number << "] ";
  }

  /// [K1]-[K3]: what holds for the operands of every kernel.
  LogicalResult operands(ValueRange weights = {}) {
    bool tensors = isa<TensorType>(op->getOperand(0).getType());
    for (OpOperand &operand : op->getOpOperands()) {
      Type type = operand.get().getType();
      unsigned number = operand.getOperandNumber();
      if (isa<TensorType>(type) != tensors)
        return refuse(1) << "mixes tensors and memrefs: operand " << number
                         << " is " << type
                         << "; operands are all tensors or all memrefs";
      if (auto tensor = dyn_cast<RankedTensorType>(type)) {
        if (tensor.getEncoding())
          return refuse(2) << "operand " << number
                           << " has an encoding: " << type
                           << "; run nest-drop-axes first";
        continue;
      }
      auto memref = cast<MemRefType>(type);
      if (memref.getLayout().isIdentity())
        continue;
      bool isWeight = llvm::is_contained(weights, operand.get());
      SmallVector<int64_t> strides;
      int64_t offset;
      bool legal = isWeight && memref.getRank() == 2 &&
                   succeeded(memref.getStridesAndOffset(strides, offset)) &&
                   offset == 0 && strides[1] == 1 &&
                   (ShapedType::isDynamic(strides[0]) ||
                    strides[0] >= memref.getDimSize(1));
      if (!legal)
        return refuse(3) << "operand " << number << " of type " << type
                         << " is not contiguous; only a weight's rows may lie "
                            "further apart than they are long: strided<[N, 1]>";
    }
    return success();
  }

  /// [K4] A stream: f32, or of one of the types `narrow`, two dimensions or
  /// more, columns known.
  LogicalResult stream(StringRef name, Value value,
                       ArrayRef<Type> narrow = {}) {
    Type element = elementOf(value);
    if (rankOf(value) >= 2 &&
        (element.isF32() || llvm::is_contained(narrow, element)) &&
        !ShapedType::isDynamic(columnsOf(value)) && columnsOf(value) > 0)
      return success();
    InFlightDiagnostic diag = refuse(4);
    diag << name << " is " << value.getType() << "; a stream is f32";
    for (Type type : narrow)
      if (!type.isF32())
        diag << " or " << type;
    return diag << ", of rank 2 or more, with a static last dimension";
  }

  /// [K5] Tokens, positions, lengths.
  LogicalResult integers(StringRef name, Value value, unsigned rank) {
    if (elementOf(value).isSignlessInteger(32) && rankOf(value) == rank)
      return success();
    return refuse(5) << name << " is " << value.getType()
                     << "; legal is i32 of rank " << rank;
  }

  /// [K6] The leading dimensions of `value` are rows.
  LogicalResult rows(StringRef name, Value value, Shape rows) {
    if (mayEqual(shapeOf(value).drop_back(), rows))
      return success();
    InFlightDiagnostic diag = refuse(6);
    diag << name << " is " << value.getType()
         << "; its rows have to be those of ";
    return diag << "the output, " << op.getDpsInits()[0].getType();
  }

  /// [K8] One map for each operand, one of `legal`; a map of `perSet`
  /// dimensions stands for one operand a group. `slots` counts the maps.
  LogicalResult maps(ValueRange operands, ArrayAttr maps,
                     function_ref<bool(AffineMap, Value)> fits, StringRef legal,
                     unsigned perSet, int64_t groups, unsigned *slots) {
    *slots = maps.size();
    size_t next = 0;
    for (AffineMap map : maps.getAsValueRange<AffineMapAttr>()) {
      size_t many = map.getNumDims() == perSet ? groups : 1;
      for (size_t i = 0; i < many; ++i, ++next) {
        if (next >= operands.size())
          break;
        Value operand = operands[next];
        if (!fits(map, operand) || !elementOf(operand).isF32())
          return refuse(8) << "operand " << operand.getType()
                           << " is read through " << AffineMapAttr::get(map)
                           << "; legal on f32 are " << legal;
      }
    }
    if (operands.size() != next)
      return refuse(8) << "has " << operands.size()
                       << " operands with maps, and maps for " << next
                       << "; every one has its own";
    return success();
  }

  /// [K21] A table of i32 of a family: offsets, indices, order or counts.
  LogicalResult table(StringRef name, Value value, unsigned rank) {
    if (!value)
      return success();
    bool isOffsets = name == "offsets";
    if (elementOf(value).isSignlessInteger(32) && rankOf(value) == rank &&
        (!isOffsets || shapeOf(value)[0] >= 2))
      return success();
    return refuse(21) << "the table " << name << " is " << value.getType()
                      << "; legal is i32 "
                      << (isOffsets   ? "[sets + 1]"
                          : rank == 2 ? "[B, T]"
                                      : "[B]");
  }

  /// [K21], [K22] The tables that a kernel takes, and the sets it works on.
  LogicalResult family(Value offsets, Value indices, Value order, Value counts,
                       std::optional<ArrayRef<int64_t>> sets) {
    if (failed(table("offsets", offsets, 1)) ||
        failed(table("indices", indices, 2)) ||
        failed(table("order", order, 2)) || failed(table("counts", counts, 1)))
      return failure();
    bool legal = offsets ? sets && sets->size() == 2 && (*sets)[0] >= 0 &&
                               (*sets)[0] < (*sets)[1] &&
                               (*sets)[1] < shapeOf(offsets)[0]
                         : !sets && !indices && !order && !counts;
    if (!legal)
      return refuse(22) << "works on sets that its family has not; legal is "
                           "[first, last) with first < last, of the offsets' "
                           "sets, and no tables without offsets";
    return success();
  }

  /// [K21], [K22], [K24] The tables of the set whose rows a source takes.
  LogicalResult within(Value offsets, Value order, Value counts,
                       std::optional<ArrayRef<int64_t>> sets) {
    if (failed(family(offsets, {}, order, counts, sets)))
      return failure();
    if (sets && (*sets)[1] - (*sets)[0] != 1)
      return refuse(24) << "is within " << (*sets)[1] - (*sets)[0]
                        << " sets; legal is a single one";
    return success();
  }

  /// [K22], [K23] What kernels with groups have.
  LogicalResult groups(int64_t groups, Value offsets, Value indices,
                       std::optional<ArrayRef<int64_t>> sets, bool gathers,
                       bool scatters) {
    if (failed(family(offsets, indices, {}, {}, sets)))
      return failure();
    if (groups < 1 ||
        (groups > 1 && (!sets || (*sets)[1] - (*sets)[0] != groups)))
      return refuse(23) << "has " << groups
                        << " groups; legal are 1 and the number of its sets";
    if ((gathers || scatters) != static_cast<bool>(indices))
      return refuse(23) << "gathers or scatters if and only if it has indices";
    return success();
  }

  /// [K26] Room for the sums of parts, and counters of parts.
  LogicalResult workspace(Value workspace, Value tickets) {
    if (!workspace && !tickets)
      return success();
    bool legal = workspace && tickets && isa<MemRefType>(workspace.getType()) &&
                 elementOf(workspace).isF32() && rankOf(workspace) == 3 &&
                 elementOf(tickets).isSignlessInteger(32) &&
                 rankOf(tickets) == 1;
    for (Value value : {workspace, tickets})
      legal = legal && llvm::all_of(shapeOf(value), [](int64_t extent) {
                return !ShapedType::isDynamic(extent) && extent > 0;
              });
    if (legal)
      return success();
    InFlightDiagnostic diag = refuse(26);
    diag << "has the workspace ";
    if (workspace)
      diag << workspace.getType();
    diag << " and the tickets ";
    if (tickets)
      diag << tickets.getType();
    return diag << "; legal are memrefs, f32 [parts, rows, columns] and i32 "
                   "[n], static";
  }

  /// [K9]-[K11] A region of `arguments` scalars that yields `results`, at least
  /// one if that is zero.
  LogicalResult region(Region &region, unsigned arguments, unsigned results,
                       const Twine &what) {
    Block &block = region.front();
    if (block.getNumArguments() != arguments ||
        !llvm::all_of(block.getArgumentTypes(),
                      [](Type type) { return type.isF32(); }))
      return refuse(9) << what << " has " << block.getNumArguments()
                       << " arguments; it takes " << arguments << " f32";
    for (Operation &inner : block.without_terminator()) {
      bool elementwise = inner.getName().getDialectNamespace() == "arith" ||
                         inner.getName().getDialectNamespace() == "math";
      elementwise &= inner.hasTrait<OpTrait::ConstantLike>() ||
                     OpTrait::hasElementwiseMappableTraits(&inner);
      elementwise &= llvm::all_of(inner.getResultTypes(),
                                  [](Type type) { return type.isF32(); }) &&
                     inner.getNumRegions() == 0;
      if (!elementwise)
        return refuse(10) << what << " holds '" << inner.getName()
                          << "'; legal are elementwise arith and math "
                             "operations on f32, and constants";
      for (Value operand : inner.getOperands())
        if (operand.getParentRegion() != &region)
          return refuse(10) << what
                            << " uses a value from outside; legal are its "
                               "arguments and what it computes";
    }
    auto yield = dyn_cast<YieldOp>(block.getTerminator());
    unsigned count = yield ? yield.getValues().size() : 0;
    if (!yield || (results ? count != results : count == 0))
      return refuse(11) << what << " ends with '"
                        << block.getTerminator()->getName() << "' of " << count
                        << " values; legal is kernel.yield of "
                        << (results ? Twine(results) : Twine("one or more"));
    for (Value value : yield.getValues())
      if (value.getParentRegion() != &region)
        return refuse(10) << what << " yields a value from outside";
    return success();
  }

private:
  DestinationStyleOpInterface op;
};

} // namespace

/// Whether these are ids of one row for every sequence.
static bool isColumnOfIds(Value ids) {
  return elementOf(ids).isSignlessInteger(32) && rankOf(ids) == 2 &&
         shapeOf(ids)[1] == 1;
}

/// Whether a map reads one column of a stream's rows.
static bool isColumnOf(AffineMap map, Value stream) {
  if (map.getNumResults() != 2 ||
      map.getResult(0) != getAffineDimExpr(0, map.getContext()))
    return false;
  auto column = dyn_cast<AffineConstantExpr>(map.getResult(1));
  return column && column.getValue() >= 0 &&
         column.getValue() < columnsOf(stream);
}

LogicalResult EmbedOp::verify() {
  Checker check(*this);
  Value table = getTable();
  if (failed(check.operands(table)) ||
      failed(check.stream("the output", getOut())) ||
      failed(check.integers("ids", getIds(), rankOf(getOut()) - 1)))
    return failure();
  if (!mayEqual(shapeOf(getIds()), shapeOf(getOut()).drop_back()))
    return check.refuse(6) << "ids are " << getIds().getType()
                           << "; they have to be the rows of the output, "
                           << getOut().getType();
  if (rankOf(table) != 2 || !isMatrixElement(elementOf(table)) ||
      llvm::any_of(shapeOf(table), ShapedType::isDynamic) ||
      columnsOf(table) != columnsOf(getOut()))
    return check.refuse(13) << "the table is " << table.getType()
                            << "; legal is [V, " << columnsOf(getOut())
                            << "], the output's columns, in f32, bf16 or f16";
  IntegerAttr unknown = getUnknownAttr();
  if (unknown &&
      (unknown.getInt() < 0 || unknown.getInt() >= shapeOf(table)[0]))
    return check.refuse(13)
           << "other ids read row " << unknown.getInt() << " of "
           << table.getType() << ", which it has not";
  return success();
}

/// Whether these are sums of squares of a stream's rows.
static bool isSquares(Value squares, Value stream) {
  return elementOf(squares).isF32() &&
         mayEqual(shapeOf(squares).drop_back(), shapeOf(stream).drop_back()) &&
         columnsOf(squares) == numNormSlices(columnsOf(stream));
}

/// [K29] What a product of a normalised stream takes.
static LogicalResult verifySquares(Checker &check, Value a, Value squares,
                                   FloatAttr epsilon) {
  if (static_cast<bool>(squares) != static_cast<bool>(epsilon))
    return check.refuse(29) << "has only one of squares and an epsilon";
  if (!squares)
    return success();
  if (!isSquares(squares, a))
    return check.refuse(29)
           << "takes the squares " << squares.getType() << " of " << a.getType()
           << "; legal is f32 of its rows with a column for every " << normSlice
           << " of it";
  llvm::APFloat number = epsilon.getValue();
  if (number.isNegative() || !number.isFinite())
    return check.refuse(29) << "has the epsilon " << epsilon
                            << "; legal is a number of 0 or more";
  return success();
}

/// [K28], [K29] The halves of an RMS norm: what is written for the products of
/// the normalised stream, and what a product of one takes.
static LogicalResult verifyNorms(Checker &check, MatmulOp op) {
  Value out = op.getOut(), squares = op.getSquares();
  if (op.getScaled().empty() != !squares ||
      (!squares && !op.getGains().empty()))
    return check.refuse(28)
           << "writes only one of scaled and squares, or has gains for neither";
  if (squares) {
    if (op.getNumProducts() != 1 || !elementOf(out).isF32())
      return check.refuse(28) << "writes squares beside " << out.getType()
                              << " of " << op.getNumProducts()
                              << " products; legal is an output in f32 of one";
    for (Value scaled : op.getScaled()) {
      Type element = elementOf(scaled);
      if ((!element.isF32() && !element.isBF16()) ||
          !mayEqual(shapeOf(scaled), shapeOf(out)) || !isSquares(squares, out))
        return check.refuse(28)
               << "writes scaled " << scaled.getType() << " and squares "
               << squares.getType() << " beside " << out.getType()
               << "; legal is its shape in f32 or bf16, and f32 with a column "
                  "for every "
               << normSlice << " of it";
    }
    size_t gains = op.getGains().size(), many = op.getScaled().size();
    bool isVector = llvm::all_of(op.getGains(), [&](Value gain) {
      return elementOf(gain).isF32() &&
             shapeOf(gain) == Shape({columnsOf(out)});
    });
    if (!isVector || (gains && gains != many &&
                      gains != many * static_cast<size_t>(op.getGroups())))
      return check.refuse(28)
             << "has " << gains << " gains for " << many
             << " scaled; legal are none, one and one for each group of each, "
             << "f32 of the output's columns";
  }
  return verifySquares(check, op.getA(), op.getNormed(), op.getEpsilonAttr());
}

LogicalResult MatmulOp::verify() {
  Checker check(*this);
  if (failed(check.operands(getWeights())))
    return failure();
  SmallVector<Type> weightType;
  if (!getWeights().empty() && isMatrixElement(elementOf(getWeights().front())))
    weightType.push_back(elementOf(getWeights().front()));
  Builder builder(getContext());
  if (failed(check.stream("a", getA(), weightType)) ||
      failed(check.stream("the output", getOut(),
                          {builder.getBF16Type(), builder.getF16Type()})) ||
      failed(check.rows("a", getA(), shapeOf(getOut()).drop_back())))
    return failure();
  int64_t n = columnsOf(getOut()), k = columnsOf(getA());
  int64_t groups = getGroups();
  if (failed(check.groups(groups, getOffsets(), getIndices(), getSets(),
                          getGathers() || !getIndexed().empty(),
                          getScatters())))
    return failure();
  auto count = static_cast<int64_t>(getWeights().size());
  if (count != groups && count != 2 * groups)
    return check.refuse(7) << "has " << count
                           << " weights; legal are 1 and 2 for each group";
  for (Value weight : getWeights())
    if (!isMatrixElement(elementOf(weight)) ||
        shapeOf(weight) != Shape({n, k}) ||
        elementOf(weight) != elementOf(getWeights().front()))
      return check.refuse(7)
             << "a weight is " << weight.getType() << "; legal is [" << n
             << ", " << k
             << "], columns of the output and of a, in one of f32, bf16 "
             << "and f16 for all weights";
  if (failed(check.workspace(getWorkspace(), getTickets())))
    return failure();
  MLIRContext *context = getContext();
  AffineExpr row = getAffineDimExpr(0, context);
  AffineExpr column = getAffineDimExpr(1, context);
  AffineExpr set = getAffineDimExpr(2, context);
  auto fits = [&](AffineMap map, Value operand) {
    ArrayRef<AffineExpr> results = map.getResults();
    if (map.getNumSymbols() != 0)
      return false;
    bool isStream =
        rankOf(operand) == rankOf(getOut()) &&
        mayEqual(shapeOf(operand).drop_back(), shapeOf(getOut()).drop_back());
    if (results == ArrayRef({row, column}))
      return map.getNumDims() == 2 && isStream && columnsOf(operand) == n;
    if (isColumnOf(map, operand))
      return map.getNumDims() == 2 && isStream;
    bool isVector = shapeOf(operand) == Shape({n});
    return isVector &&
           ((map.getNumDims() == 2 && results == ArrayRef({column})) ||
            (map.getNumDims() == 3 && results == ArrayRef({set, column})));
  };
  unsigned slots = 0;
  if (failed(check.maps(getEpilogue(), getMaps(), fits,
                        "vectors of the output's columns by (m, n) -> (n) or, "
                        "one a group, (m, n, s) -> (s, n), streams like the "
                        "output by (m, n) -> (m, n), of one column by (m, n) "
                        "-> (m, 0)",
                        /*perSet=*/3, groups, &slots)))
    return failure();
  int64_t before = -1;
  for (int64_t slot : getIndexed()) {
    bool isLegal =
        slot > before && slot < static_cast<int64_t>(slots) &&
        cast<AffineMapAttr>(getMaps()[slot]).getValue().getNumResults() == 2 &&
        cast<AffineMapAttr>(getMaps()[slot]).getValue().getNumDims() == 2;
    if (!isLegal)
      return check.refuse(27) << "reads operand " << slot
                              << " by indices; legal are, in ascending order, "
                                 "maps of (m, n) -> (m, n) and (m, 0)";
    before = slot;
  }
  if (failed(verifyNorms(check, *this)))
    return failure();
  for (Value bound : {getColumnBound(), getDepthBound()})
    if (bound &&
        (!elementOf(bound).isInteger(32) || shapeOf(bound) != Shape({1})))
      return check.refuse(33) << "is bounded by " << bound.getType()
                              << "; a number of columns is i32 [1]";
  if (getColumnBound() && (getSquares() || readsOutput()))
    return check.refuse(33)
           << "has a bound of its columns beside "
           << (getSquares() ? "parts of a norm" : "an output that it reads")
           << "; what stands behind the bound has no meaning";
  unsigned arguments = getNumProducts() + slots + 1;
  return check.region(getRegion(), arguments, 1, "the epilogue");
}

/// The operands of `segment` among those that the segments of `list` have.
static OperandRange operandsOf(OperandRange operands, ArrayRef<int64_t> list,
                               unsigned segment, int64_t groups) {
  const auto *found = llvm::find(list, static_cast<int64_t>(segment));
  if (found == list.end())
    return operands.take_front(0);
  return operands.slice((found - list.begin()) * groups, groups);
}

OperandRange ProjectOp::getBiasesOf(unsigned segment) {
  return operandsOf(getBiases(), getBiased(), segment, getGroups());
}
OperandRange ProjectOp::getNormsOf(unsigned segment) {
  return operandsOf(getNorms(), getNormed(), segment, getGroups());
}

bool ProjectOp::readsOutput() {
  return llvm::any_of(llvm::seq<unsigned>(0, getOut().size()),
                      [&](unsigned segment) { return isCache(segment); });
}

LogicalResult ProjectOp::verify() {
  Checker check(*this);
  if (failed(check.operands(getWeights())))
    return failure();
  SmallVector<Type> weightType;
  if (!getWeights().empty() && isMatrixElement(elementOf(getWeights().front())))
    weightType.push_back(elementOf(getWeights().front()));
  Builder builder(getContext());
  int64_t groups = getGroups(), head = getHeadDim();
  if (failed(check.stream("a", getA(), weightType)) ||
      failed(check.groups(groups, getOffsets(), getIndices(), getSets(),
                          /*gathers=*/static_cast<bool>(getIndices()),
                          false)) ||
      failed(check.family(getOffsets(), getIndices(), getOrder(), getCounts(),
                          getSets())))
    return failure();
  if (failed(verifySquares(check, getA(), getSquares(), getRowEpsilonAttr())) ||
      failed(check.workspace(getWorkspace(), getTickets())))
    return failure();
  size_t segments = getOut().size();
  if (segments == 0 || getWeights().size() != segments * groups || head < 1)
    return check.refuse(30)
           << "has " << getWeights().size() << " weights for " << segments
           << " outputs and heads of " << head
           << " columns; legal is one weight for each output and group, and a "
              "head of at least one column";
  Shape rows = shapeOf(getA()).drop_back();
  bool hasCache = false;
  for (unsigned i = 0; i < segments; ++i) {
    Value out = getOut()[i], first = getWeightsOf(i).front();
    bool isCached = isCache(i);
    int64_t columns = rankOf(first) == 2 ? shapeOf(first)[0] : 0;
    hasCache |= isCached;
    for (Value weight : getWeightsOf(i))
      if (!isMatrixElement(elementOf(weight)) || columns < 1 ||
          shapeOf(weight) != Shape({columns, columnsOf(getA())}) ||
          elementOf(weight) != elementOf(getWeights().front()))
        return check.refuse(30)
               << "a weight of segment " << i << " is " << weight.getType()
               << "; legal is [N, " << columnsOf(getA())
               << "], of one N for all groups, static, in one of f32, bf16 "
                  "and f16 for all weights";
    bool hasHeads = isCached || isTurned(i) || !getNormsOf(i).empty();
    if (hasHeads && columns % head != 0)
      return check.refuse(30) << "segment " << i << " has " << columns
                              << " columns; legal are whole heads of " << head;
    if (!isCached) {
      if (failed(check.stream("an output", out,
                              {builder.getBF16Type(), builder.getF16Type()})))
        return failure();
      if (columnsOf(out) != columns ||
          !mayEqual(shapeOf(out).drop_back(), rows))
        return check.refuse(30)
               << "segment " << i << " is written to " << out.getType()
               << "; legal is a stream of " << columns
               << " columns with the rows of a, or a cache";
      continue;
    }
    Shape cache = shapeOf(out);
    if (!isMatrixElement(elementOf(out)) ||
        llvm::any_of(cache.drop_front(), ShapedType::isDynamic) ||
        cache[3] != head || cache[1] * head != columns || rows.size() != 2 ||
        !mayEqual(rows[0], cache[0]))
      return check.refuse(32)
             << "segment " << i << " is appended to " << out.getType()
             << "; legal is a cache [B, " << columns / head << ", capacity, "
             << head << "] of f32, bf16 or f16, for rows [B, T]";
  }
  // A cache of packed rows takes them by all four tables.
  bool isPacked = hasCache && getOffsets();
  if (hasCache != static_cast<bool>(getLengths()) ||
      isPacked != static_cast<bool>(getOrder()) ||
      (isPacked && !getIndices()) ||
      (!isPacked &&
       static_cast<bool>(getIndices()) != (getGathers() || getTableGathers())))
    return check.refuse(32)
           << "has lengths if and only if it appends to a cache, order and "
              "counts if the rows are packed too, and indices for these or to "
              "gather";
  if (getLengths() && failed(check.integers("lengths", getLengths(), 1)))
    return failure();
  auto isList = [&](ArrayRef<int64_t> list) {
    for (size_t i = 0; i < list.size(); ++i)
      if (list[i] < 0 || list[i] >= static_cast<int64_t>(segments) ||
          (i && list[i - 1] >= list[i]))
        return false;
    return true;
  };
  if (!isList(getBiased()) || !isList(getNormed()) || !isList(getTurned()) ||
      getBiases().size() != getBiased().size() * groups ||
      getNorms().size() != getNormed().size() * groups ||
      getTurned().empty() == static_cast<bool>(getTable()) ||
      getNormed().empty() == getEpsilon().has_value())
    return check.refuse(31)
           << "lists segments, ascending, that have a bias, a norm (with an "
              "epsilon) or a rope (with a table), and has one vector for each "
              "of them and group";
  for (unsigned i = 0; i < segments; ++i) {
    auto isVector = [](Value value, int64_t length) {
      return elementOf(value).isF32() && shapeOf(value) == Shape({length});
    };
    for (Value bias : getBiasesOf(i))
      if (!isVector(bias, shapeOf(getWeightsOf(i).front())[0]))
        return check.refuse(31)
               << "a bias of segment " << i << " is " << bias.getType()
               << "; legal is f32, of the segment's columns";
    for (Value norm : getNormsOf(i))
      if (!isVector(norm, head))
        return check.refuse(31)
               << "a norm of segment " << i << " is " << norm.getType()
               << "; legal is f32, of the " << head << " columns of a head";
  }
  if (!getTable())
    return success();
  if (failed(check.stream("the table", getTable())))
    return failure();
  int64_t rotary = columnsOf(getTable());
  if (rotary % 2 != 0 || rotary > head ||
      !mayEqual(shapeOf(getTable()).drop_back(), rows))
    return check.refuse(31)
           << "turns heads of " << head << " by " << getTable().getType()
           << "; the table has the rows of a, and is even and no wider than a "
              "head";
  return success();
}

LogicalResult RowwiseOp::verify() {
  Checker check(*this);
  Builder builder(getContext());
  if (failed(check.operands()) ||
      failed(check.stream("the output", getOut(),
                          {builder.getBF16Type(), builder.getF16Type()})))
    return failure();
  for (Value further : getFurther())
    if (failed(check.stream("a further output", further,
                            {builder.getBF16Type(), builder.getF16Type()})))
      return failure();
  int64_t columns = columnsOf(getOut()), group = getGroup();
  for (Value further : getFurther())
    if (!mayEqual(shapeOf(further), shapeOf(getOut())) || getScatters())
      return check.refuse(6)
             << "a further output is " << further.getType()
             << "; legal is one like the output, " << getOut().getType()
             << ", of a kernel that does not scatter";
  if (group < 1 || columns % group != 0)
    return check.refuse(12) << "cuts " << columns << " columns into groups of "
                            << group << "; legal are divisors of " << columns;
  if (getBodies().empty())
    return check.refuse(12)
           << "has no region; the last one computes the output";
  MLIRContext *context = getContext();
  AffineExpr row = getAffineDimExpr(0, context);
  AffineExpr column = getAffineDimExpr(1, context);
  AffineExpr inGroup = getAffineDimExpr(2, context);
  AffineExpr set = getAffineDimExpr(3, context);
  if (failed(check.groups(getGroups(), getOffsets(), getIndices(), getSets(),
                          getGathers(), getScatters())))
    return failure();
  unsigned inputs = 0;
  bool rowsDiffer = false;
  auto fits = [&](AffineMap map, Value input) {
    ArrayRef<AffineExpr> results = map.getResults();
    if (map.getNumSymbols() != 0)
      return false;
    if (map.getNumDims() == 4)
      return (results == ArrayRef({set, column}) &&
              shapeOf(input) == Shape({columns})) ||
             (results == ArrayRef({set, inGroup}) &&
              shapeOf(input) == Shape({group}));
    if (map.getNumDims() != 3)
      return false;
    // A row or an element of a matrix.
    auto first = results.size() == 2 ? dyn_cast<AffineConstantExpr>(results[0])
                                     : AffineConstantExpr();
    if (first) {
      auto second = dyn_cast<AffineConstantExpr>(results[1]);
      return rankOf(input) == 2 && first.getValue() >= 0 &&
             first.getValue() < shapeOf(input)[0] &&
             (second ? second.getValue() >= 0 &&
                           second.getValue() < columnsOf(input)
                     : results[1] == column && columnsOf(input) == columns);
    }
    if (isColumnOf(map, input)) {
      bool isWeight = rankOf(input) == rankOf(getOut());
      rowsDiffer |= isWeight && !mayEqual(shapeOf(input).drop_back(),
                                          shapeOf(getOut()).drop_back());
      return isWeight;
    }
    if (results == ArrayRef({row, column})) {
      bool isStream =
          rankOf(input) == rankOf(getOut()) && columnsOf(input) == columns;
      rowsDiffer |= isStream && !mayEqual(shapeOf(input), shapeOf(getOut()));
      return isStream;
    }
    return (results == ArrayRef({column}) &&
            shapeOf(input) == Shape({columns})) ||
           (results == ArrayRef({inGroup}) && shapeOf(input) == Shape({group}));
  };
  if (failed(
          check.maps(getInputs(), getMaps(), fits,
                     "streams like the output by (r, c, g) -> (r, c), "
                     "a column k of theirs by (r, k), a row or an element of a "
                     "matrix by (k, c) or (k, j), vectors of its columns by "
                     "(c), of a group by (g), one a set by (r, c, g, s) -> "
                     "(s, c) or (s, g)",
                     /*perSet=*/4, getGroups(), &inputs)))
    return failure();
  if (rowsDiffer)
    return check.refuse(6) << "a stream has other rows than the output, "
                           << getOut().getType();
  unsigned sums = 0;
  unsigned last = getBodies().size() - 1;
  for (auto [index, body] : llvm::enumerate(getBodies())) {
    bool isLast = index == last;
    if (failed(check.region(
            body, inputs + sums + isLast, isLast ? 1 + getFurther().size() : 0,
            isLast ? Twine("the last region") : "round " + Twine(index))))
      return failure();
    sums += body.front().getTerminator()->getNumOperands();
  }
  return success();
}

LogicalResult RopeTableOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) ||
      failed(check.family(getOffsets(), {}, {}, {}, getSets())) ||
      failed(check.stream("the output", getOut())) ||
      failed(check.integers("positions", getPositions(), rankOf(getOut()) - 1)))
    return failure();
  if (!mayEqual(shapeOf(getPositions()), shapeOf(getOut()).drop_back()))
    return check.refuse(6) << "positions are " << getPositions().getType()
                           << "; they have to be the rows of the output, "
                           << getOut().getType();
  if (columnsOf(getOut()) != getRope().getRotaryDim())
    return check.refuse(14)
           << "the output has " << columnsOf(getOut())
           << " columns; the rope has " << getRope().getRotaryDim() / 2
           << " frequencies, a cosine and a sine each";
  return success();
}

LogicalResult RopeOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) ||
      failed(check.family(getOffsets(), {}, {}, {}, getSets())) ||
      failed(check.stream("the output", getOut())) ||
      failed(check.stream("the table", getTable())) ||
      failed(
          check.rows("the table", getTable(), shapeOf(getOut()).drop_back())))
    return failure();
  int64_t head = getHeadDim(), rotary = columnsOf(getTable());
  if (head < 1 || columnsOf(getOut()) % head != 0 || rotary % 2 != 0 ||
      rotary > head)
    return check.refuse(15)
           << "turns heads of " << head << " in " << columnsOf(getOut())
           << " columns by a table of " << rotary
           << "; columns are whole heads, the table is even and no wider than "
              "a head";
  return success();
}

LogicalResult CacheAppendOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) ||
      failed(
          check.family(getOffsets(), {}, getOrder(), getCounts(), getSets())) ||
      failed(check.integers("lengths", getLengths(), 1)))
    return failure();
  Value cache = getOut();
  if (elementOf(cache).isSignlessInteger(32)) {
    if (rankOf(cache) != 2 || ShapedType::isDynamic(columnsOf(cache)))
      return check.refuse(16) << "appends positions to " << cache.getType()
                              << "; legal is i32 [B, capacity]";
    return check.integers("rows", getRows(), 2);
  }
  if (failed(check.stream("rows", getRows())))
    return failure();
  Shape rows = shapeOf(getRows()), shape = shapeOf(cache);
  if (shape.size() != 4 || !isMatrixElement(elementOf(cache)) ||
      llvm::any_of(shape.drop_front(), ShapedType::isDynamic) ||
      rows.size() != 3 || rows[2] % shape[1] != 0 ||
      rows[2] / shape[1] != shape[3])
    return check.refuse(16)
           << "appends rows " << getRows().getType() << " to a cache "
           << cache.getType()
           << "; legal are [B, T, H * D] and [B, H, capacity, D], the latter "
              "f32, bf16 or f16";
  if (!mayEqual(rows[0], shape[0]) ||
      !mayEqual(shapeOf(getLengths())[0], shape[0]))
    return check.refuse(16) << "rows, lengths and cache differ in the batch";
  return success();
}

LogicalResult AttentionOp::verify() {
  Checker check(*this);
  Builder builder(getContext());
  if (failed(check.operands()) ||
      failed(check.family(getOffsets(), getIndices(), getOrder(), getCounts(),
                          getSets())) ||
      failed(check.stream("the output", getOut(),
                          {builder.getBF16Type(), builder.getF16Type()})) ||
      (getLengths() && !isColumnOfIds(getLengths()) &&
       failed(check.integers("lengths", getLengths(), 1))))
    return failure();
  Type cached = elementOf(getK());
  if (getRounds() && !cached.isBF16() && !cached.isF16())
    return check.refuse(25) << "rounds to the type of the caches, "
                            << getK().getType() << "; legal is bf16 or f16";
  if (failed(check.stream("q", getQ(),
                          getRounds() ? ArrayRef(cached) : ArrayRef<Type>())))
    return failure();
  Shape q = shapeOf(getQ()), k = shapeOf(getK());
  if (k.size() != 4 || getK().getType() != getV().getType() ||
      !isMatrixElement(elementOf(getK())) ||
      llvm::any_of(k.drop_front(), ShapedType::isDynamic) ||
      llvm::is_contained(k, 0))
    return check.refuse(17)
           << "k and v are " << getK().getType() << " and " << getV().getType()
           << "; both are [B, H, capacity, D] of one type, "
              "f32, bf16 or f16";
  if (q.size() != 3 || q[2] % k[3] != 0 || (q[2] / k[3]) % k[1] != 0)
    return check.refuse(17)
           << "q is " << getQ().getType() << "; legal is [B, T, n * " << k[1]
           << " * " << k[3]
           << "], whole groups of query heads for each KV head";
  if (failed(check.workspace(getWorkspace(), getTickets())))
    return failure();
  if (Value positions = getPositions();
      positions && (!elementOf(positions).isSignlessInteger(32) ||
                    !mayEqual(shapeOf(positions), Shape({k[0], k[2]}))))
    return check.refuse(17)
           << "positions are " << positions.getType() << "; legal is i32 [B, "
           << k[2] << "], one for each row of the caches";
  if (!getLengths() &&
      (getOffsets() || getPositions() || getMask().getCausal() ||
       getMask().getAlibi() || !mayEqual(q[1], k[2])))
    return check.refuse(35)
           << "has no lengths: k and v are the rows of the call, " << q[1]
           << " of q, without sets, positions or a causal mask";
  if (!mayEqual(q, shapeOf(getOut())) || !mayEqual(q[0], k[0]) ||
      (getLengths() && !mayEqual(shapeOf(getLengths())[0], k[0])))
    return check.refuse(17) << "q is " << getQ().getType() << " and the output "
                            << getOut().getType()
                            << "; they have one shape, and the batch of caches "
                               "and lengths";
  return success();
}

/// Of one set or of a family: the tables that a source writes.
static LogicalResult verifySource(Checker &check, Value indices, Value offsets,
                                  Value order, Value counts, int64_t sets) {
  if (failed(check.table("indices", indices, 2)) ||
      failed(check.table("offsets", offsets, 1)) ||
      failed(check.table("order", order, 2)) ||
      failed(check.table("counts", counts, 1)))
    return failure();
  if (shapeOf(offsets)[0] != sets + 1)
    return check.refuse(24) << "writes the offsets " << offsets.getType()
                            << " of " << sets << " sets; legal is " << sets + 1;
  return success();
}

LogicalResult SelectOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.stream("scores", getScores())) ||
      failed(check.within(getOuterOffsets(), getOuterOrder(), getOuterCounts(),
                          getOuterSets())))
    return failure();
  if (columnsOf(getScores()) != 1 ||
      getCapacity().has_value() == getThreshold().has_value())
    return check.refuse(24)
           << "selects by scores of one column, either the top "
              "of a capacity or what is above a threshold";
  return verifySource(check, getIndices(), getOffsets(), getOrder(),
                      getCounts(), 1);
}

LogicalResult PartitionOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.integers("ids", getIds(), 2)))
    return failure();
  int64_t most = -1;
  for (int64_t set : getSets())
    most = std::max(most, set);
  return verifySource(check, getIndices(), getOffsets(), getOrder(),
                      getCounts(), most + 1);
}

LogicalResult AssignOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.stream("scores", getScores())) ||
      failed(check.within(getOuterOffsets(), getOuterOrder(), getOuterCounts(),
                          getOuterSets())))
    return failure();
  int64_t slots = columnsOf(getScores());
  if (static_cast<int64_t>(getChoice()) < 0 ||
      static_cast<int64_t>(getChoice()) >= slots)
    return check.refuse(24) << "assigns by choice " << getChoice()
                            << "; legal is 0 to " << slots - 1;
  return verifySource(check, getIndices(), getOffsets(), getOrder(),
                      getCounts(), slots);
}

LogicalResult GatherOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.integers("x", getX(), 2)) ||
      failed(check.integers("the output", getOut(), 2)))
    return failure();
  return check.family(getOffsets(), getIndices(), {}, {}, getSets());
}

LogicalResult ChosenOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.stream("scores", getScores())) ||
      failed(check.stream("the output", getOut())) ||
      failed(check.family(getOffsets(), getIndices(), {}, {}, getSets())))
    return failure();
  if (columnsOf(getOut()) != 1 || columnsOf(getScores()) < getSets()[1])
    return check.refuse(24) << "takes scores with a column for each set and "
                               "writes one column";
  return success();
}

LogicalResult SoftmaxOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.stream("x", getX())) ||
      failed(check.stream("the output", getOut())) ||
      failed(
          check.family(getOffsets(), {}, getOrder(), getCounts(), getSets())))
    return failure();
  if (!mayEqual(shapeOf(getX()), shapeOf(getOut())) ||
      (getOffsets() && getOverRows() && !getOrder()))
    return check.refuse(24)
           << "has x and output of one shape; over packed rows "
              "it needs order and counts";
  return success();
}

LogicalResult AdvanceOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.integers("ids", getIds(), 2)) ||
      failed(check.integers("the output", getOut(), 1)))
    return failure();
  return check.table("counts", getCounts(), 1);
}

LogicalResult RankOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) ||
      failed(check.integers("lengths", getLengths(), 1)) ||
      failed(check.integers("the output", getOut(), 2)))
    return failure();
  return check.family(getOffsets(), {}, getOrder(), getCounts(), getSets());
}

LogicalResult LastRowsOp::verify() {
  Checker check(*this);
  Value from = getX();
  if (elementOf(from).isSignlessInteger(32) && isColumnOfIds(getOut())) {
    if (failed(check.operands()) || failed(check.integers("x", from, 2)))
      return failure();
    if (getOrder() || !mayEqual(shapeOf(from)[0], shapeOf(getOut())[0]))
      return check.refuse(18)
             << "x is " << from.getType() << " and the output "
             << getOut().getType() << "; ids have no order, and one batch";
    return success();
  }
  if (failed(check.operands()) || failed(check.table("order", getOrder(), 2)) ||
      failed(check.stream("x", getX())) ||
      failed(check.stream("the output", getOut())))
    return failure();
  Shape x = shapeOf(getX()), out = shapeOf(getOut());
  if (x.size() != 3 || out.size() != 3 || out[1] != 1 ||
      !mayEqual(x[0], out[0]) || x[2] != out[2])
    return check.refuse(18)
           << "x is " << getX().getType() << " and the output "
           << getOut().getType() << "; legal are [B, T, D] and [B, 1, D]";
  return success();
}

LogicalResult ArgmaxOp::verify() {
  Checker check(*this);
  if (failed(check.operands()) || failed(check.stream("x", getX())) ||
      failed(check.integers("the output", getOut(), 2)) ||
      failed(check.rows("x", getX(), shapeOf(getOut()))))
    return failure();
  return check.workspace(getWorkspace(), getTickets());
}

LogicalResult RemapOp::verify() {
  Checker check(*this);
  if (failed(check.operands()))
    return failure();
  Shape out = shapeOf(getOut());
  bool isBatched =
      !out.empty() && llvm::none_of(out.drop_front(), ShapedType::isDynamic) &&
      !shapeOf(getX()).empty() &&
      llvm::none_of(shapeOf(getX()).drop_front(), ShapedType::isDynamic);
  if (!isBatched || !isMatrixElement(elementOf(getX())) ||
      !isMatrixElement(elementOf(getOut())) ||
      (getAdds() && !elementOf(getOut()).isF32()) ||
      !nest::isRemap(getMap(), out.size(), rankOf(getX())))
    return check.refuse(34)
           << "maps " << getOut().getType() << " to " << getX().getType()
           << " by " << getMapAttr()
           << "; legal are f32, bf16 and f16 (f32 where it adds), static but "
              "for the first dimension, and an expression of the output's "
              "dimensions for each one of x, whose mod and floordiv are of "
              "what is not negative";
  return success();
}

unsigned nestc::kernel::getNumRowDims(OpOperand &operand) {
  Operation *op = operand.getOwner();
  Value value = operand.get();
  unsigned rank = rankOf(value);
  // Tables, ids, lengths. Offsets have a static size.
  if (elementOf(value).isInteger(32)) {
    auto append = dyn_cast<CacheAppendOp>(op);
    auto attention = dyn_cast<AttentionOp>(op);
    if ((append && value == append.getOut()) ||
        (attention && value == attention.getPositions()))
      return 1;
    // One number for each sequence, of the last row.
    auto last = dyn_cast<LastRowsOp>(op);
    if (((last && value == last.getOut()) ||
         (attention && value == attention.getLengths())) &&
        isColumnOfIds(value))
      return 1;
    return rank == 1 && !ShapedType::isDynamic(shapeOf(value)[0]) ? 0 : rank;
  }
  if (isa<RemapOp>(op)) // the batch; the map is of the other sizes
    return 1;
  auto kernel = cast<DestinationStyleOpInterface>(op);
  bool isOut = kernel.isDpsInit(&operand);
  // Caches: the batch. The last rows of sequences are one each.
  if (isOut &&
      (isa<LastRowsOp, CacheAppendOp>(op) || (isa<ProjectOp>(op) && rank == 4)))
    return 1;
  if (isOut)
    return rank - 1;
  return llvm::TypeSwitch<Operation *, unsigned>(op)
      .Case([&](EmbedOp) { return 0; })
      .Case([&](MatmulOp matmul) {
        bool isWeight = llvm::is_contained(matmul.getWeights(), value);
        bool isShared = isWeight || value == matmul.getWorkspace();
        return isShared || rank == 1 ? 0 : rank - 1;
      })
      .Case([&](ProjectOp project) {
        bool isShared = llvm::is_contained(project.getWeights(), value) ||
                        value == project.getWorkspace();
        return isShared || rank == 1 ? 0 : rank - 1;
      })
      .Case([&](RowwiseOp rowwise) {
        // A matrix is no stream.
        unsigned next = rowwise.getInputs().getBeginOperandIndex();
        for (AffineMap map :
             rowwise.getMaps().getAsValueRange<AffineMapAttr>()) {
          if (next == operand.getOperandNumber() && map.getNumResults() == 2 &&
              isa<AffineConstantExpr>(map.getResult(0)))
            return 0U;
          next += map.getNumDims() == 4 ? rowwise.getGroups() : 1;
        }
        return rank == 1 ? 0 : rank - 1;
      })
      .Case([&](ArgmaxOp argmax) {
        return value == argmax.getWorkspace() ? 0U : rank - 1;
      })
      .Case([&](AttentionOp attention) {
        if (value == attention.getWorkspace())
          return 0U;
        return operand.getOperandNumber() == 0 ? rank - 1 : 1;
      })
      .Default([&](Operation *) { return rank - 1; });
}

//===----------------------------------------------------------------------===//
// def and launch
//===----------------------------------------------------------------------===//

// kernel.def @name(%a: memref<...>, ...) attributes {...} { one operation }
ParseResult DefOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(),
                             result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren,
                               /*allowType=*/true) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void DefOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(
      getBody().getArguments(), printer,
      [&](BlockArgument a) { printer.printRegionArgument(a); });
  printer << ')';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {SymbolTable::getSymbolAttrName()});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult DefOp::verify() {
  auto refuse = [&] { return emitOpError("[K19] "); };
  Block &block = getBody().front();
  auto kernel = llvm::hasSingleElement(block)
                    ? dyn_cast<DestinationStyleOpInterface>(block.front())
                    : DestinationStyleOpInterface();
  if (!kernel || !isa<KernelDialect>(kernel->getDialect()))
    return refuse() << "holds something else than exactly one kernel";
  if (!llvm::equal(kernel->getOperands(), block.getArguments()))
    return refuse() << "'" << kernel->getName()
                    << "' does not take the definition's arguments in their "
                       "order; it takes all of them, one after the other";
  for (BlockArgument argument : block.getArguments())
    if (!isa<MemRefType>(argument.getType()))
      return refuse() << "argument " << argument.getArgNumber() << " is "
                      << argument.getType() << "; definitions take memrefs";
  return success();
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto def = symbols.lookupNearestSymbolFrom<DefOp>(*this, getKernelAttr());
  if (!def)
    return emitOpError("[K20] ") << getKernelAttr() << " is no kernel.def";
  Region &body = def.getBody();
  if (getNumOperands() != body.getNumArguments())
    return emitOpError("[K20] gives ")
           << getNumOperands() << " buffers to " << getKernelAttr()
           << ", which takes " << body.getNumArguments();
  for (auto [argument, buffer] : llvm::zip(body.getArguments(), getBuffers())) {
    auto wanted = dyn_cast<MemRefType>(argument.getType());
    auto given = cast<MemRefType>(buffer.getType());
    bool fits = wanted && wanted.getRank() == given.getRank() &&
                wanted.getElementType() == given.getElementType() &&
                wanted.getLayout() == given.getLayout() &&
                wanted.getMemorySpace() == given.getMemorySpace();
    for (int64_t dim = 0; fits && dim < wanted.getRank(); ++dim)
      fits = wanted.isDynamicDim(dim) ||
             wanted.getDimSize(dim) == given.getDimSize(dim);
    if (!fits)
      return emitOpError("[K20] gives ")
             << given << " as argument " << argument.getArgNumber() << " of "
             << getKernelAttr() << ", which is " << argument.getType()
             << "; a buffer may be more static than the argument, nothing else";
  }
  return success();
}
