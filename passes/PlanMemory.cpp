//===- PlanMemory.cpp - one arena for all buffers ---------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sizes are known up to the batch B and the rows T of a call, so a buffer's
// place is a number of bytes times B*T (streams), times B (one row of each
// sequence), or neither. Each of the three classes is laid out by itself:
// buffers are taken in program order, a place becomes free behind the last
// kernel that uses it, and the smallest free place that is large enough is
// taken. Free places are kept by offset, to be joined, and by size, to be
// found: n log n.
//
// Tickets (kernel.tickets) are zero before and after every kernel, in whatever
// entry: they are one region at the start of the arena, of one size in all
// entries, which the runtime clears when it makes the arena.
//
//===----------------------------------------------------------------------===//

#include "passes/Passes.h"

#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/MathExtras.h"

#include <map>
#include <set>

using namespace mlir;
using namespace nestc;
namespace kernel = nestc::kernel;

namespace nestc {
#define GEN_PASS_DEF_KERNELPLANMEMORY
#include "passes/Passes.h.inc"
} // namespace nestc

namespace {

/// Every buffer starts at a multiple of this.
constexpr int64_t kAlignment = 64;
constexpr StringLiteral kArena = "kernel.arena";

/// What a buffer's size is multiplied with.
enum Scale { PerRow, PerSequence, Fixed };

/// Places of one class.
class Pool {
public:
  /// The place of `bytes` bytes.
  int64_t take(int64_t bytes) {
    auto found = bySize.lower_bound({bytes, 0});
    if (found != bySize.end()) {
      auto [size, offset] = *found;
      remove(offset, size);
      if (size > bytes)
        insert(offset + bytes, size - bytes);
      return offset;
    }
    // At the end, over a free place that is there.
    int64_t offset = total;
    if (!byOffset.empty()) {
      auto [last, size] = *byOffset.rbegin();
      if (last + size == total) {
        offset = last;
        remove(last, size);
      }
    }
    total = offset + bytes;
    return offset;
  }

  void give(int64_t offset, int64_t bytes) {
    auto next = byOffset.lower_bound(offset);
    if (next != byOffset.end() && next->first == offset + bytes) {
      bytes += next->second;
      remove(next->first, next->second);
    }
    auto previous = byOffset.lower_bound(offset);
    if (previous != byOffset.begin()) {
      --previous;
      if (previous->first + previous->second == offset) {
        auto [start, size] = *previous;
        remove(start, size);
        offset = start;
        bytes += size;
      }
    }
    insert(offset, bytes);
  }

  int64_t size() const { return total; }

private:
  void insert(int64_t offset, int64_t size) {
    byOffset[offset] = size;
    bySize.insert({size, offset});
  }
  void remove(int64_t offset, int64_t size) {
    byOffset.erase(offset);
    bySize.erase({size, offset});
  }

  int64_t total = 0;
  std::map<int64_t, int64_t> byOffset;
  std::set<std::pair<int64_t, int64_t>> bySize;
};

struct Buffer {
  memref::AllocOp op;
  Scale scale;
  int64_t bytes;
  int64_t offset = 0;
};

/// Plans one function.
class Planner {
public:
  explicit Planner(func::FuncOp function)
      : function(function), block(function.getBody().front()),
        b(function.getContext()) {}

  LogicalResult run(int64_t ticketBytes);

private:
  LogicalResult dropResults();
  LogicalResult classify(memref::AllocOp op);
  Operation *lastUse(Value value);
  void place();
  void rewrite(int64_t ticketBytes);
  LogicalResult prove();

  Value constant(int64_t value);
  Value size(unsigned dim);
  Value multiply(Value x, int64_t y);

  func::FuncOp function;
  Block &block;
  OpBuilder b;
  SmallVector<Buffer> buffers;
  SmallVector<memref::AllocOp> tickets;
  Pool pools[3];
  std::map<int64_t, Value> constants;
  Value sizes[2];
};

/// Which argument dimension `value` is the size of: 0 for B, 1 for T.
std::optional<int64_t> getArgumentDim(Value value) {
  auto dim = value.getDefiningOp<memref::DimOp>();
  if (!dim || !isa<BlockArgument>(dim.getSource()))
    return std::nullopt;
  std::optional<int64_t> index = dim.getConstantIndex();
  if (!index || *index < 0 || *index > 1)
    return std::nullopt;
  return index;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Results are arguments already: caches, and the outputs that kernels wrote.
LogicalResult Planner::dropResults() {
  auto end = cast<func::ReturnOp>(block.getTerminator());
  for (auto [index, value] : llvm::enumerate(end.getOperands())) {
    while (auto cast = value.getDefiningOp<memref::CastOp>())
      value = cast.getSource();
    auto argument = dyn_cast<BlockArgument>(value);
    if (!argument)
      return end.emitOpError("gives as result ")
             << index
             << " a buffer that is no argument; results are caches updated in "
                "place and buffers of {nest.output}";
    unsigned number = argument.getArgNumber();
    Attribute cache = function.getResultAttr(index, nest::kCacheAttr);
    bool legal = cache ? function.getArgAttr(number, nest::kCacheAttr) == cache
                       : function.getArgAttr(number, nest::kOutputAttr) &&
                             function.getArgAttr(number, nest::kNameAttr) ==
                                 function.getResultAttr(index, nest::kNameAttr);
    if (!legal)
      return end.emitOpError("gives as result ")
             << index << " argument " << number
             << ", which is another cache or no output; the result of a cache "
                "is the argument of its name, any other result an argument "
                "{nest.output}";
  }
  llvm::BitVector all(end.getNumOperands(), true);
  end->setOperands({});
  return function.eraseResults(all);
}

//===----------------------------------------------------------------------===//
// Sizes and lifetimes
//===----------------------------------------------------------------------===//

LogicalResult Planner::classify(memref::AllocOp op) {
  MemRefType type = op.getType();
  if (!type.getLayout().isIdentity() || !type.getElementType().isIntOrFloat())
    return op.emitOpError("has type ")
           << type << "; the arena holds contiguous buffers of numbers";
  unsigned seen = 0;
  for (auto [number, size] : llvm::enumerate(op.getDynamicSizes())) {
    std::optional<int64_t> dim = getArgumentDim(size);
    if (!dim || (seen >> *dim))
      return op.emitOpError("has a dynamic size ")
             << number
             << " that is not the batch (dimension 0 of an argument), then the "
                "rows (dimension 1); other sizes are static";
    seen |= 1u << *dim;
  }
  if (seen == 2)
    return op.emitOpError("grows with the rows but not with the batch; ")
           << "dimension 0 is the batch";
  std::optional<int64_t> bytes =
      llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  for (int64_t extent : type.getShape())
    if (!ShapedType::isDynamic(extent))
      bytes = bytes ? llvm::checkedMul(*bytes, extent) : std::nullopt;
  // Sums of these stay far below 2^63.
  if (!bytes || *bytes > int64_t(1) << 44)
    return op.emitOpError("is larger than any memory: ") << type;
  // Rows are rounded, not buffers, so that every offset stays aligned whatever
  // B and T are.
  Scale scale = seen == 3 ? PerRow : seen == 1 ? PerSequence : Fixed;
  buffers.push_back(
      {op, scale,
       std::max<int64_t>(llvm::alignTo(*bytes, kAlignment), kAlignment)});
  return success();
}

/// The last operation of the block that uses `value` or a view of it.
Operation *Planner::lastUse(Value value) {
  Operation *last = nullptr;
  SmallVector<Value> worklist{value};
  while (!worklist.empty()) {
    for (Operation *user : worklist.pop_back_val().getUsers()) {
      if (isa<ViewLikeOpInterface, memref::CastOp>(user))
        worklist.append(user->result_begin(), user->result_end());
      if (!last || last->isBeforeInBlock(user))
        last = user;
    }
  }
  return last;
}

void Planner::place() {
  // Buffers by the operation behind which they are free.
  DenseMap<Operation *, SmallVector<unsigned, 2>> ends;
  DenseMap<Operation *, unsigned> starts;
  for (auto [index, buffer] : llvm::enumerate(buffers)) {
    ends[lastUse(buffer.op)].push_back(index);
    starts[buffer.op] = index;
  }
  for (Operation &op : block) {
    if (auto start = starts.find(&op); start != starts.end()) {
      Buffer &buffer = buffers[start->second];
      buffer.offset = pools[buffer.scale].take(buffer.bytes);
    }
    auto end = ends.find(&op);
    if (end == ends.end())
      continue;
    for (unsigned index : end->second)
      pools[buffers[index].scale].give(buffers[index].offset,
                                       buffers[index].bytes);
  }
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

Value Planner::constant(int64_t value) {
  Value &found = constants[value];
  if (!found)
    found = arith::ConstantIndexOp::create(b, function.getLoc(), value);
  return found;
}

/// B or T; one when it is static one.
Value Planner::size(unsigned dim) {
  if (sizes[dim])
    return sizes[dim];
  for (BlockArgument argument : block.getArguments()) {
    auto type = dyn_cast<MemRefType>(argument.getType());
    if (type && type.getRank() > dim && type.isDynamicDim(dim))
      return sizes[dim] = memref::DimOp::create(b, function.getLoc(), argument,
                                                constant(dim));
  }
  return sizes[dim] = constant(1);
}

Value Planner::multiply(Value x, int64_t y) {
  return arith::MulIOp::create(b, function.getLoc(), x, constant(y));
}

void Planner::rewrite(int64_t ticketBytes) {
  Location loc = function.getLoc();
  Type arenaType = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  unsigned index = function.getNumArguments();
  // The kernel dialect's attribute marks the argument.
  DictionaryAttr attrs =
      b.getDictionaryAttr(b.getNamedAttr(kArena, b.getUnitAttr()));
  (void)function.insertArgument(index, arenaType, attrs, loc);
  Value arena = function.getArgument(index);
  auto entry = [&](StringRef name, int64_t bytes) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(bytes));
  };
  SmallVector<NamedAttribute> layout{
      entry("per_row", pools[PerRow].size()),
      entry("per_sequence", pools[PerSequence].size()),
      entry("fixed", pools[Fixed].size())};
  if (ticketBytes)
    layout.push_back(entry("tickets", ticketBytes));
  function->setAttr(kArena, b.getDictionaryAttr(layout));

  // Index arithmetic once, at the top; the three classes one behind the other.
  b.setInsertionPointToStart(&block);
  Value unit[2], base[3];
  auto uses = [&](Scale scale) { return pools[scale].size() != 0; };
  if (uses(PerRow))
    unit[PerRow] = arith::MulIOp::create(b, loc, size(0), size(1));
  if (uses(PerSequence))
    unit[PerSequence] = size(0);
  Value next = ticketBytes ? constant(ticketBytes) : Value();
  for (Scale scale : {PerRow, PerSequence, Fixed}) {
    base[scale] = next;
    bool isLast = scale == Fixed || (scale == PerSequence && !uses(Fixed)) ||
                  (!uses(PerSequence) && !uses(Fixed));
    if (!uses(scale) || isLast)
      continue;
    Value bytes = multiply(unit[scale], pools[scale].size());
    next =
        next ? arith::AddIOp::create(b, loc, next, bytes).getResult() : bytes;
  }

  DenseMap<std::pair<unsigned, int64_t>, Value> places;
  for (Buffer &buffer : buffers) {
    Value &place = places[{buffer.scale, buffer.offset}];
    if (!place) {
      place = buffer.scale == Fixed || buffer.offset == 0
                  ? constant(buffer.offset)
                  : multiply(unit[buffer.scale], buffer.offset);
      if (base[buffer.scale] && buffer.offset != 0)
        place = arith::AddIOp::create(b, loc, base[buffer.scale], place);
      else if (base[buffer.scale])
        place = base[buffer.scale];
    }
  }
  // Equal views of equal places are one.
  DenseMap<std::pair<Value, Type>, Value> views;
  for (Buffer &buffer : buffers) {
    Value place = places[{buffer.scale, buffer.offset}];
    Value &view = views[{place, buffer.op.getType()}];
    if (!view) {
      SmallVector<Value> dynamic;
      for (Value extent : buffer.op.getDynamicSizes())
        dynamic.push_back(size(*getArgumentDim(extent)));
      view = memref::ViewOp::create(b, loc, buffer.op.getType(), arena, place,
                                    dynamic);
    }
    buffer.op.replaceAllUsesWith(view);
  }
  for (memref::AllocOp op : tickets) {
    Value start = constant(0);
    Value &view = views[{start, op.getType()}];
    if (!view)
      view = memref::ViewOp::create(b, loc, op.getType(), arena, start,
                                    ValueRange());
    op.replaceAllUsesWith(view);
  }
  // Buffers, their sizes, and constants that only sizes used.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isa<memref::AllocOp, memref::DimOp, arith::ConstantOp>(op) &&
        op.use_empty())
      op.erase();
}

//===----------------------------------------------------------------------===//
// Proof
//===----------------------------------------------------------------------===//

LogicalResult Planner::prove() {
  for (Operation &op : block) {
    if (isa<func::ReturnOp, arith::ConstantOp, memref::ViewOp, memref::CastOp>(
            op))
      continue;
    if (auto dim = dyn_cast<memref::DimOp>(op);
        dim && isa<BlockArgument>(dim.getSource()))
      continue;
    bool isIndex = isa<arith::ArithDialect>(op.getDialect()) &&
                   llvm::all_of(op.getResultTypes(),
                                [](Type type) { return type.isIndex(); });
    if (isIndex || isa<kernel::KernelDialect>(op.getDialect()))
      continue;
    if (isa<memref::CopyOp>(op))
      return op.emitOpError("is left in entry '")
             << function.getSymName()
             << "': a kernel could not write in place; give its old value no "
                "later use, or a kernel that copies";
    return op.emitOpError("is left in entry '")
           << function.getSymName()
           << "'; legal are kernels, index arithmetic, memref.dim of arguments "
              "and views of the arena";
  }
  return success();
}

LogicalResult Planner::run(int64_t ticketBytes) {
  if (!llvm::hasSingleElement(function.getBody()) ||
      !isa<func::ReturnOp>(block.getTerminator()))
    return function.emitOpError("has control flow; memory is planned for "
                                "functions of one block");
  if (function->hasAttr(kArena))
    return function.emitOpError("is planned already: it has ") << kArena;
  if (failed(dropResults()))
    return failure();
  for (Operation &op : llvm::make_early_inc_range(block)) {
    // Lifetimes are known without it.
    if (isa<memref::DeallocOp>(op)) {
      op.erase();
      continue;
    }
    auto alloc = dyn_cast<memref::AllocOp>(op);
    if (!alloc)
      continue;
    if (alloc.use_empty())
      alloc.erase();
    else if (alloc->hasAttr(kernel::kTicketsAttr))
      tickets.push_back(alloc);
    else if (failed(classify(alloc)))
      return failure();
  }
  place();
  rewrite(ticketBytes);
  return prove();
}

struct KernelPlanMemory : nestc::impl::KernelPlanMemoryBase<KernelPlanMemory> {
  using KernelPlanMemoryBase::KernelPlanMemoryBase;

  void runOnOperation() override {
    int64_t ticketBytes = 0;
    WalkResult known = getOperation().walk([&](memref::AllocOp op) {
      if (!op->hasAttr(kernel::kTicketsAttr))
        return WalkResult::advance();
      MemRefType type = op.getType();
      if (!type.hasStaticShape() || !type.getElementType().isInteger(32) ||
          type.getNumElements() > int64_t(1) << 30) {
        op.emitOpError("has tickets of type ")
            << type << "; legal is i32 of a static shape, below 2^30";
        return WalkResult::interrupt();
      }
      ticketBytes = std::max<int64_t>(
          ticketBytes, llvm::alignTo(4 * type.getNumElements(), kAlignment));
      return WalkResult::advance();
    });
    if (known.wasInterrupted())
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isExternal() || !function->hasAttr(nest::kEntryAttr))
        continue;
      for (Type type : function.getFunctionType().getInputs())
        if (isa<TensorType>(type)) {
          function.emitOpError("works on tensors; run kernel-bufferize first");
          return signalPassFailure();
        }
      if (failed(Planner(function).run(ticketBytes)))
        return signalPassFailure();
    }
  }
};

} // namespace
