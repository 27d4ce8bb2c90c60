//===- Matmul.cpp - matmul kernels ----------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"
#include "lowering/nvptx/Sources.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

LogicalResult nvptx::checkProducts(Operation *op, Matmul &matmul) {
  auto aType = cast<MemRefType>(matmul.a.getType());
  matmul.columns = 0;
  for (Segment &segment : matmul.segments) {
    if (segment.weights.empty())
      return op->emitOpError("has no weight");
    auto first = cast<MemRefType>(segment.weights.front().getType());
    Type stored = first.getElementType();
    if (!matmul.stored)
      matmul.stored = stored;
    for (Value weight : segment.weights) {
      auto type = cast<MemRefType>(weight.getType());
      if (type.getRank() != 2 || !type.hasStaticShape() ||
          type.getShape() != first.getShape() ||
          type.getElementType() != matmul.stored || !isFloatType(stored))
        return op->emitOpError("has the weight ")
               << type << "; weights must be matrices of one static shape and "
               << "one type of f32, bf16, f16";
    }
    segment.columns = first.getDimSize(0);
    matmul.columns += segment.columns;
    matmul.depth = first.getDimSize(1);
    matmul.streamed = aType.getElementType();
    if ((!matmul.streamed.isF32() && matmul.streamed != stored) ||
        aType.getShape().back() != matmul.depth)
      return op->emitOpError("multiplies rows of ")
             << aType << " with weights of depth " << matmul.depth
             << "; rows must be of that width, in f32 or the weights' type";
    if (segment.columns < 1 || matmul.depth < 1 || matmul.columns > (1 << 24) ||
        matmul.depth > (1 << 24))
      return op->emitOpError("has a weight of ")
             << segment.columns << " x " << matmul.depth
             << "; the generator counts in i32";
  }
  if (!aType.getLayout().isIdentity())
    return op->emitOpError("multiplies strided rows: ") << aType;
  if (Attribute capacity = op->getAttr(kernel::kCapacityAttr)) {
    matmul.capacity = dyn_cast<nest::CapacityAttr>(capacity);
    auto rows = cast<MemRefType>(matmul.rows.getType());
    if (!matmul.capacity || !matmul.offsets || rows.getRank() != 3)
      return op->emitOpError("has the capacity ")
             << capacity << " for " << rows
             << "; legal is a #nest.capacity of sets of rows [B, T]";
  }
  return checkI32(op, {matmul.offsets, matmul.indices, matmul.columnBound,
                       matmul.depthBound});
}

Value Matmul::mostRows(Code &host, const Buffer &stream) const {
  if (!capacity)
    return stream.rows(host);
  return host.mul(stream.sizes[0],
                  code::capacityOf(host, capacity, stream.sizes[1]));
}

static FailureOr<Matmul> checked(kernel::MatmulOp op) {
  Matmul matmul;
  matmul.op = op;
  matmul.a = op.getA();
  matmul.rows = op.getOut();
  matmul.offsets = op.getOffsets();
  matmul.indices = op.getIndices();
  matmul.sets = op.getSets();
  matmul.gathers = op.getGathers();
  matmul.workspace = op.getWorkspace();
  matmul.tickets = op.getTickets();
  matmul.columnBound = op.getColumnBound();
  matmul.depthBound = op.getDepthBound();
  matmul.products = op.getNumProducts();
  matmul.groups = static_cast<int64_t>(op.getGroups());
  matmul.segments.push_back({SmallVector<Value>(op.getWeights()), 0});
  auto outType = cast<MemRefType>(op.getOut().getType());
  if (failed(checkProducts(op, matmul)))
    return failure();
  if (!isFloatType(outType.getElementType()) ||
      outType.getShape().back() != matmul.columns)
    return op.emitOpError("writes ")
           << outType << "; it must be floating point and " << matmul.columns
           << " wide";
  // 16 bytes of the output.
  matmul.wideColumns = outType.getElementType().isF32() ? 4 : 8;
  matmul.segments.front().grain =
      matmul.columns % matmul.wideColumns == 0 ? matmul.wideColumns : 1;
  auto inputs = regionInputs(op, op.getEpilogue(), op.getMaps(),
                             /*perSetDims=*/3, matmul.groups);
  if (failed(inputs) || failed(checkVectorizable(op.getRegion().front())))
    return failure();
  for (const RegionInput &input : *inputs)
    for (Value operand : input.operands)
      if (!cast<MemRefType>(operand.getType()).getLayout().isIdentity())
        return op.emitOpError("reads a strided operand: ") << operand.getType();
  matmul.inputs = std::move(*inputs);
  matmul.normed = op.getNormed();
  if (matmul.normed)
    matmul.epsilon = op.getEpsilon()->convertToFloat();
  return matmul;
}

//===----------------------------------------------------------------------===//
// Which tile
//===----------------------------------------------------------------------===//

namespace {
/// One way to compute the kernel, for row counts from `first` to `last`.
struct Way {
  Tile tile;
  int64_t first, last;
  bool wide;          ///< only where buffers are aligned; else, only where not
  int64_t splits = 1; ///< blocks of a tile
};
constexpr int64_t allRows = int64_t(1) << 40;
} // namespace

/// Clocks that `rows` rows take, on a device such as the A100: a multiprocessor
/// does an mma of 16x8x16 in 2 clocks, reads 40 bytes of tiles a clock, and
/// spends 2000 clocks before and after a tile's sums. Rows are taken to be
/// spread evenly over the sets.
static int64_t clocksOf(const Matmul &matmul, const Tile &tile, int64_t rows) {
  constexpr int64_t multiprocessors = 108, mmaClocks = 2, bytesPerClock = 40,
                    aroundClocks = 2000;
  int64_t columns = tile.columns * matmul.products;
  int64_t steps = llvm::divideCeil(matmul.depth, 64);
  int64_t mmas = tile.rows / 16 * (columns / 8) * 4;
  int64_t bytes = (tile.rows + columns) * 128;
  int64_t each =
      steps * std::max(mmas * mmaClocks, bytes / bytesPerClock) + aroundClocks;
  int64_t inSet = llvm::divideCeil(rows, matmul.groups);
  int64_t tiles = std::min(matmul.groups, rows) *
                  llvm::divideCeil(inSet, tile.rows) * tile.columnTiles(matmul);
  return llvm::divideCeil(tiles, multiprocessors) * each;
}

/// The tiles' last row counts, each taken from where the one before ends: the
/// bounds that cost least, relative to the best tile, summed over 16, 32, ...
/// 4096 rows.
static SmallVector<int64_t> boundsOf(const Matmul &matmul,
                                     ArrayRef<TensorTile> tiles) {
  constexpr int64_t grain = 16, most = 4096;
  // loss[t]: the least sum up to the current row count that ends in tile t.
  struct Plan {
    double loss = 0;
    SmallVector<int64_t> bounds;
  };
  SmallVector<Plan> plans(tiles.size());
  for (Plan &plan : plans)
    plan.bounds.resize(tiles.size(), 0);
  for (int64_t rows = grain; rows <= most; rows += grain) {
    SmallVector<int64_t> clocks;
    for (const TensorTile &tile : tiles)
      clocks.push_back(clocksOf(matmul, tile, rows));
    double best = *llvm::min_element(clocks);
    SmallVector<Plan> next(plans);
    for (size_t t = 0; t < tiles.size(); ++t) {
      // The best plan that came as far as a tile up to t.
      for (size_t from = 0; from < t; ++from)
        if (plans[from].loss < next[t].loss)
          next[t] = plans[from];
      next[t].loss += clocks[t] / best;
      for (size_t later = t; later < tiles.size(); ++later)
        next[t].bounds[later] = rows;
    }
    plans = std::move(next);
  }
  const Plan &plan = *llvm::min_element(
      plans, [](const Plan &x, const Plan &y) { return x.loss < y.loss; });
  SmallVector<int64_t> bounds(plan.bounds);
  // The last tile in use takes all that is beyond.
  for (int64_t &bound : bounds)
    if (bound == most)
      bound = allRows;
  return bounds;
}

/// Whether the generator can use accesses of 16 bytes if pointers allow it.
static bool mayBeAligned(const Matmul &matmul) {
  int64_t unit = 16 / matmul.bytesOf(matmul.stored);
  for (const Segment &segment : matmul.segments) {
    for (Value operand : segment.weights) {
      auto weight = cast<MemRefType>(operand.getType());
      SmallVector<int64_t> strides;
      int64_t offset;
      if (failed(weight.getStridesAndOffset(strides, offset)) ||
          (!ShapedType::isDynamic(strides[0]) && strides[0] % unit != 0))
        return false;
    }
    if (segment.grain != matmul.wideColumns)
      return false;
  }
  return matmul.depth % unit == 0;
}

/// In host code: whether all that is accessed by 16 bytes is aligned to them.
static Value isAligned(Code &host, const Matmul &matmul,
                       ArrayRef<Buffer> buffers) {
  Value bits = host.i64(0);
  auto merge = [&](Value value) {
    bits = host.createOrFold<arith::OrIOp>(bits, value);
  };
  for (const Buffer &buffer : buffers) {
    if (!isFloatType(buffer.element()))
      continue;
    merge(LLVM::PtrToIntOp::create(host, host.i64Type(), buffer.pointer));
  }
  for (const Segment &segment : matmul.segments)
    for (Value weight : segment.weights) {
      unsigned place = cast<BlockArgument>(weight).getArgNumber();
      merge(host.mul(buffers[place].rowStride(host),
                     matmul.bytesOf(matmul.stored)));
    }
  return host.equal(host.rem(bits, 16), 0);
}

/// That a workspace has room for few rows, and tickets for their tiles.
static LogicalResult checkWorkspace(Operation *op, const Matmul &matmul,
                                    const DecodeTile &tile) {
  if (tile.splits == 1)
    return success();
  auto room = cast<MemRefType>(matmul.workspace.getType());
  auto tickets = cast<MemRefType>(matmul.tickets.getType());
  int64_t columns = tile.columnTiles(matmul) * fewRowsColumns;
  if (room.getDimSize(1) < fewRows || room.getDimSize(2) < columns ||
      room.getDimSize(2) % 4 || tickets.getDimSize(0) < tile.tickets(matmul))
    return op->emitOpError("has the workspace ")
           << room << " and the tickets " << tickets << "; it needs rows and "
           << "columns of " << fewRows << " x " << columns << ", and "
           << tile.tickets(matmul) << " tickets";
  return success();
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::MatmulOp op) {
  FailureOr<Matmul> checked = ::checked(op);
  return failed(checked) ? failure() : addStages(kernel, *checked);
}

LogicalResult nvptx::addStages(Kernel &kernel, const Matmul &matmul) {
  Operation *op = kernel.op;
  unsigned stream = kernel.indexOf(matmul.rows);
  bool aligned = mayBeAligned(matmul);
  // Tests ask for one way alone.
  auto only = op->getAttrOfType<StringAttr>("kernel.tile");
  // Adds the stage of a way if it is wanted, on its rows only.
  auto add = [&](StringRef name, const Way &way, int64_t shared,
                 function_ref<void(Kernel::Inside &)> body) {
    if ((only ? only.getValue() != name : way.first > way.last) ||
        !way.tile.canTake(matmul))
      return;
    bool always = static_cast<bool>(only);
    auto grid = [matmul, stream, way, aligned,
                 always](Code &host, ArrayRef<Buffer> buffers) {
      Value rows = matmul.mostRows(host, buffers[stream]);
      Value tiles = host.mul(way.tile.rowTiles(host, matmul, rows),
                             way.tile.columnTiles(matmul));
      Value none = host.i64(0), splits = host.i64(way.splits);
      if (always)
        return Grid{tiles, splits, {}};
      if (way.first > 1)
        tiles = host.select(host.less(rows, way.first), none, tiles);
      if (way.last < allRows)
        tiles = host.select(host.less(rows, way.last + 1), tiles, none);
      if (aligned) {
        Value fits = isAligned(host, matmul, buffers);
        tiles = way.wide ? host.select(fits, tiles, none)
                         : host.select(fits, none, tiles);
      }
      return Grid{tiles, splits, {}};
    };
    kernel.stage(way.tile.threads, shared + factorBytes(matmul, way.tile), grid,
                 body);
  };

  // What a tile has to hold may need more than 64 columns.
  auto columnsOf = [&](int64_t columns) {
    Tile tile{0, columns / matmul.products, 0};
    return tile.canTake(matmul) ? columns : 2 * columns;
  };
  if (matmul.stored.isF32()) {
    for (bool wide : {true, false}) {
      if (wide && !aligned)
        continue;
      for (bool few : {true, false}) {
        int64_t columns = columnsOf(64);
        FmaTile tile{{few ? 16 : 64, columns / matmul.products, 2 * columns},
                     few ? 2 : 8,
                     4,
                     wide};
        std::string name =
            std::string(wide ? "fma" : "plain") + (few ? "16" : "64");
        Way way{tile, few ? 1 : fewRows + 1, few ? fewRows : allRows, wide};
        add(name, way, tile.sharedBytes(matmul),
            [&](Kernel::Inside &in) { multiplyByFma(in, matmul, tile); });
      }
    }
  } else {
    auto tensor = [&](int64_t rows, int64_t columns, int64_t down,
                      int64_t across, int64_t stages, bool wide) {
      return TensorTile{
          {rows, columns / matmul.products, down * across * warpSize},
          down,
          across,
          stages,
          wide};
    };
    auto addTensor = [&](const TensorTile &tile, int64_t first, int64_t last) {
      std::string name =
          (tile.wide ? "tensor" : "plain") + std::to_string(tile.rows);
      add(name, {tile, first, last, tile.wide}, tile.sharedBytes(matmul),
          [&](Kernel::Inside &in) {
            // Shared memory has room for three blocks at most.
            if (tile.wide && tile.rows == fewRows)
              useAllRegisters(in.code);
            multiplyByTensorCores(in, matmul, tile);
          });
    };
    if (aligned) {
      int64_t first = 1;
      // Its splits are of a depth that is known.
      if (DecodeTile decode = DecodeTile::of(matmul);
          !matmul.depthBound && decode.canTake(matmul)) {
        if (failed(checkWorkspace(op, matmul, decode)))
          return failure();
        first = fewRows + 1;
        add("decode", {decode, 1, fewRows, true, decode.splits},
            decode.sharedBytes(matmul),
            [&](Kernel::Inside &in) { multiplyForDecode(in, matmul, decode); });
      }
      SmallVector<TensorTile> tiles{tensor(16, 128, 1, 4, 4, true),
                                    tensor(64, 64, 2, 2, 4, true),
                                    tensor(128, 128, 2, 4, 3, true)};
      llvm::erase_if(
          tiles, [&](const TensorTile &tile) { return !tile.canTake(matmul); });
      for (auto [tile, last] : llvm::zip(tiles, boundsOf(matmul, tiles))) {
        addTensor(tile, first, last);
        first = std::max(first, last + 1);
      }
    }
    // The rest: one kernel where it is the exception.
    if (!aligned)
      addTensor(tensor(16, 128, 1, 4, 2, false), 1, fewRows);
    addTensor(tensor(64, columnsOf(64), 2, 2, 2, false),
              aligned ? 1 : fewRows + 1, allRows);
  }
  if (kernel.stages.empty())
    return op->emitOpError("asks for the tile ")
           << only << ", which this kernel has not";
  return success();
}
