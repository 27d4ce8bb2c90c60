//===- MatmulTensor.cpp - products of bf16 and f16 on tensor cores --------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A stage of shared memory holds 64 of k: the tile's rows of a, then its rows
// of the weights, product after product, 128 bytes each. Chunk c of 16 bytes
// of row r stands at place c ^ (r % 8) of its row: neither copies nor ldmatrix
// have bank conflicts. What is stored as the tensor cores take it goes there by
// cp.async, `stages` - 1 steps ahead; all else through registers, one step
// ahead. There is one barrier a step: it makes the next stage visible and
// frees the one that is filled.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

// Elements of k of a step, of a chunk of 16 bytes, of an mma.
static constexpr int64_t stepDepth = 64, chunkDepth = 8, mmaDepth = 16;
static constexpr int64_t rowBytes = 128, chunks = stepDepth / chunkDepth;

int64_t TensorTile::sharedBytes(const Matmul &matmul) const {
  return std::max(stages * (rows + tileColumns(matmul)) * rowBytes,
                  Sums(matmul, *this, wide).bytes + epilogueBytes(matmul));
}

namespace {
/// How much of a step's chunk is there.
struct Extent {
  enum Kind { full, nothing, partial } kind;
  Value left; ///< i32: elements of k from the chunk's first on
};

/// Chunks of 16 bytes in shared memory that a thread fills: one column, rows
/// `rowStep` apart.
struct Source {
  SmallVector<Value> from; ///< global, at the first step
  int64_t to;              ///< bytes from the stage's start
  int64_t rows;            ///< of the tile
  Type type;               ///< in memory
  bool async;
};

class TensorKernel {
public:
  TensorKernel(Kernel::Inside &in, const Matmul &matmul, const TensorTile &tile,
               const Place &place)
      : in(in), code(in.code), matmul(matmul), tile(tile), place(place),
        rowStep(tile.threads / chunks),
        stageBytes((tile.rows + tile.tileColumns(matmul)) * rowBytes) {}
  void run();

private:
  /// An offset that is a constant and, not unrolled, a value.
  struct Offset {
    int64_t constant = 0;
    Value value = nullptr;
  };
  using Chunks = SmallVector<SmallVector<Value>>; ///< of a source: 4 i32 each

  void findSources();
  void findFragments();
  Value pointer(Value from, const Source &source, int64_t steps) {
    return code.byteAt(from, steps * stepDepth * matmul.bytesOf(source.type));
  }
  void copy(ArrayRef<Value> pointers, int64_t steps, Offset stage,
            const Extent &extent);
  Chunks load(ArrayRef<Value> pointers, int64_t steps, const Extent &extent);
  void store(const Chunks &values, Offset stage);
  void multiply(Offset stage, SmallVectorImpl<Value> &sums);
  void storeSums(const Sums &area, ArrayRef<Value> sums);

  SmallVector<Value> pointersOf() {
    SmallVector<Value> all;
    for (const Source &source : sources)
      llvm::append_range(all, source.from);
    return all;
  }
  SmallVector<Value> loopDynamic(SmallVector<Value> sums);
  SmallVector<Value> loopUnrolled(SmallVector<Value> sums);
  SmallVector<Value> advance(ArrayRef<Value> pointers, int64_t steps);

  Kernel::Inside &in;
  Device &code;
  const Matmul &matmul;
  const TensorTile &tile;
  const Place &place;
  const int64_t rowStep, stageBytes;
  SmallVector<Source> sources;
  Value copyBase, chunk, copyRow;
  // For each k16 of a step, of the warp's first rows.
  SmallVector<Value> aBases, wBases;
  int64_t warpRows, warpColumns; ///< of a product
};
} // namespace

void TensorKernel::findSources() {
  Value thread = code.thread32();
  chunk = code.rem(thread, code.i32(chunks));
  copyRow = code.div(thread, code.i32(chunks));
  Value swizzled =
      arith::XOrIOp::create(code, chunk, code.rem(copyRow, code.i32(chunks)));
  copyBase = code.opaque(code.add(
      code.sharedAddress(), code.add(code.mul(copyRow, code.i32(rowBytes)),
                                     code.mul(swizzled, code.i32(16)))));

  Source a{{}, 0, tile.rows, matmul.streamed, false};
  a.async = tile.wide && a.type == matmul.stored;
  Value base = code.global(in[matmul.a].pointer);
  int64_t bytes = matmul.bytesOf(a.type);
  Value inRow = code.mul(code.widen(chunk), chunkDepth * bytes);
  Value last = code.sub(place.rows, code.i32(1));
  for (int64_t r = 0; r < tile.rows; r += rowStep) {
    // Rows behind the last are copies of it, whose sums are not stored.
    Value row = code.min(code.add(copyRow, code.i32(r)), last);
    row =
        streamRow(in, matmul, place, code.add(place.row, row), matmul.gathers);
    a.from.push_back(code.byteAt(
        base, code.add(code.mul(row, matmul.depth * bytes), inRow)));
  }
  sources.push_back(std::move(a));

  bytes = matmul.bytesOf(matmul.stored);
  inRow = code.mul(code.widen(chunk), chunkDepth * bytes);
  for (int64_t p = 0; p < matmul.products; ++p) {
    Source w{{},
             (tile.rows + p * tile.columns) * rowBytes,
             tile.columns,
             matmul.stored,
             tile.wide};
    Matrix matrix = matrixOf(in, matmul, place, p);
    for (int64_t r = 0; r < tile.columns; r += rowStep) {
      Value row = code.widen(
          matrixRow(code, matmul, place, code.add(copyRow, code.i32(r))));
      Value index = code.mul(row, matrix.stride);
      w.from.push_back(
          code.byteAt(matrix.pointer, code.add(code.mul(index, bytes), inRow)));
    }
    sources.push_back(std::move(w));
  }
}

void TensorKernel::findFragments() {
  Value warp = code.div(code.thread32(), code.i32(warpSize));
  Value lane = code.rem(code.thread32(), code.i32(warpSize));
  Value down = code.div(warp, code.i32(tile.warpsAcross));
  Value across = code.rem(warp, code.i32(tile.warpsAcross));
  warpRows = tile.rows / tile.warpsDown;
  warpColumns = tile.columns / tile.warpsAcross;
  Value inEight = code.rem(lane, code.i32(8));
  // Matrices of a: rows 0-7, 8-15 of k 0-7, then of k 8-15; of the weights: k
  // 0-7, 8-15 of rows 0-7, then of rows 8-15.
  Value aRow = code.add(code.mul(down, code.i32(warpRows)),
                        code.rem(lane, code.i32(16)));
  Value wRow = code.add(
      code.mul(across, code.i32(warpColumns)),
      code.add(code.mul(code.div(lane, code.i32(16)), code.i32(8)), inEight));
  Value aChunk = code.div(lane, code.i32(16));
  Value wChunk = code.rem(code.div(lane, code.i32(8)), code.i32(2));
  auto bases = [&](Value row, Value chunk, int64_t byte) {
    SmallVector<Value> result;
    for (int64_t k = 0; k < stepDepth / mmaDepth; ++k) {
      Value at = arith::XOrIOp::create(code, code.add(chunk, code.i32(2 * k)),
                                       inEight);
      Value address = code.add(code.mul(row, code.i32(rowBytes)),
                               code.mul(at, code.i32(16)));
      result.push_back(
          code.opaque(code.add(code.sharedAddress(byte), address)));
    }
    return result;
  };
  aBases = bases(aRow, aChunk, 0);
  wBases = bases(wRow, wChunk, tile.rows * rowBytes);
}

// Starts the copies of the step that is `steps` after the pointers' one.
void TensorKernel::copy(ArrayRef<Value> pointers, int64_t steps, Offset stage,
                        const Extent &extent) {
  size_t next = 0;
  Value bytes;
  if (extent.kind == Extent::partial)
    bytes = code.select(code.less(code.i32(0), extent.left), code.i32(16),
                        code.i32(0));
  for (const Source &source : sources) {
    for (size_t i = 0; i < source.from.size(); ++i, ++next) {
      if (!source.async || extent.kind == Extent::nothing)
        continue;
      Value to =
          code.sharedAt(copyBase, stage.value,
                        stage.constant + source.to +
                            static_cast<int64_t>(i) * rowStep * rowBytes);
      auto start = [&] {
        code.copyAsync(to, pointer(pointers[next], source, steps), bytes);
      };
      if (source.rows < rowStep)
        code.when(code.less(copyRow, code.i32(source.rows)), start);
      else
        start();
    }
  }
}

TensorKernel::Chunks TensorKernel::load(ArrayRef<Value> pointers, int64_t steps,
                                        const Extent &extent) {
  Chunks result;
  size_t next = 0;
  for (const Source &source : sources)
    for (size_t i = 0; i < source.from.size(); ++i, ++next) {
      if (source.async)
        continue;
      SmallVector<Value> elements;
      Value from = pointer(pointers[next], source, steps);
      int64_t bytes = matmul.bytesOf(source.type);
      // Elements that memory holds as pairs or wider are loaded in one.
      int64_t width = tile.wide ? 16 / bytes : 1;
      for (int64_t e = 0; e < chunkDepth; e += width) {
        auto get = [&] {
          return code.loadWide(source.type, code.byteAt(from, e * bytes),
                               width);
        };
        Value zero = code.splat(0, width);
        Value vector = extent.kind == Extent::full      ? get()
                       : extent.kind == Extent::nothing ? zero
                                                        : Value();
        if (!vector)
          vector = code.valueIf(code.less(code.i32(e), extent.left), get, zero);
        for (int64_t j = 0; j < width; ++j)
          elements.push_back(vector::ExtractOp::create(code, vector, j));
      }
      result.push_back(std::move(elements));
    }
  return result;
}

void TensorKernel::store(const Chunks &values, Offset stage) {
  size_t next = 0;
  for (const Source &source : sources)
    for (size_t i = 0; i < source.from.size(); ++i) {
      if (source.async)
        continue;
      ArrayRef<Value> elements = values[next++];
      auto put = [&] {
        Value vector = code.splat(0, chunkDepth);
        for (auto [e, element] : llvm::enumerate(elements))
          vector = vector::InsertOp::create(code, element, vector, e);
        code.storeWide(
            matmul.stored, vector,
            code.sharedAt(copyBase, stage.value,
                          stage.constant + source.to +
                              static_cast<int64_t>(i) * rowStep * rowBytes));
      };
      if (source.rows < rowStep)
        code.when(code.less(copyRow, code.i32(source.rows)), put);
      else
        put();
    }
}

void TensorKernel::multiply(Offset stage, SmallVectorImpl<Value> &sums) {
  int64_t down = warpRows / 16, pairs = warpColumns / 16;
  int64_t across = matmul.products * pairs * 2; ///< mma tiles of 8 columns
  for (int64_t k = 0; k < stepDepth / mmaDepth; ++k) {
    SmallVector<SmallVector<Value>> a, w;
    for (int64_t i = 0; i < down; ++i)
      a.push_back(code.loadMatrices(code.sharedAt(
          aBases[k], stage.value, stage.constant + i * 16 * rowBytes)));
    for (int64_t p = 0; p < matmul.products; ++p)
      for (int64_t j = 0; j < pairs; ++j)
        w.push_back(code.loadMatrices(code.sharedAt(
            wBases[k], stage.value,
            stage.constant + (p * tile.columns + j * 16) * rowBytes)));
    for (int64_t i = 0; i < down; ++i)
      for (int64_t j = 0; j < across; ++j) {
        MutableArrayRef<Value> sum =
            MutableArrayRef<Value>(sums).slice(4 * (i * across + j), 4);
        ValueRange part = ArrayRef<Value>(w[j / 2]).slice(2 * (j % 2), 2);
        SmallVector<Value> next =
            code.multiply(matmul.stored, a[i], part, SmallVector<Value>(sum));
        llvm::copy(next, sum.begin());
      }
  }
}

void TensorKernel::storeSums(const Sums &area, ArrayRef<Value> sums) {
  Value thread = code.opaque(code.thread32());
  Value warp = code.div(thread, code.i32(warpSize));
  Value lane = code.rem(thread, code.i32(warpSize));
  Value row = code.add(
      code.mul(code.div(warp, code.i32(tile.warpsAcross)), code.i32(warpRows)),
      code.div(lane, code.i32(4)));
  Value column = code.add(code.mul(code.rem(warp, code.i32(tile.warpsAcross)),
                                   code.i32(warpColumns)),
                          code.mul(code.rem(lane, code.i32(4)), code.i32(2)));
  Value base = code.opaque(
      code.add(code.sharedAddress(),
               code.mul(code.add(code.mul(row, code.i32(area.pitch)),
                                 area.offset(code, column)),
                        code.i32(4))));
  int64_t eights = warpColumns / 8;
  size_t next = 0;
  for (int64_t i = 0; i < warpRows / 16; ++i)
    for (int64_t p = 0; p < matmul.products; ++p)
      for (int64_t j = 0; j < eights; ++j)
        for (int64_t half = 0; half < 2; ++half) {
          Value pair = code.splat(0, 2);
          for (int64_t e = 0; e < 2; ++e)
            pair = vector::InsertOp::create(code, sums[next++], pair, e);
          int64_t r = p * tile.rows + i * 16 + half * 8;
          code.storeWide(
              code.getF32Type(), pair,
              code.sharedAt(base, Value(),
                            (r * area.pitch + area.eight(j * 8)) * 4));
        }
}

SmallVector<Value> TensorKernel::advance(ArrayRef<Value> pointers,
                                         int64_t steps) {
  SmallVector<Value> result;
  for (const Source &source : sources)
    for (size_t i = 0; i < source.from.size(); ++i)
      result.push_back(pointer(pointers[result.size()], source, steps));
  return result;
}

// One step a pass, at any stage: the least code.
SmallVector<Value> TensorKernel::loopDynamic(SmallVector<Value> sums) {
  Value depth = depthOf(in, matmul);
  Value steps = code.i64(llvm::divideCeil(matmul.depth, stepDepth));
  if (matmul.depthBound)
    steps = code.ceilDiv(code.widen(depth), stepDepth);
  SmallVector<Value> carried = pointersOf();
  size_t pointers = carried.size();
  int64_t ahead = tile.stages - 1;
  Value mine = code.sub(depth, code.mul(chunk, code.i32(chunkDepth)));
  auto leftAt = [&](Value step, int64_t more) {
    Value k = code.mul(code.add(step, code.i32(more)), code.i32(stepDepth));
    return Extent{Extent::partial, code.sub(mine, k)};
  };
  Value zero = code.i32(0);
  for (int64_t s = 0; s < ahead; ++s) {
    copy(carried, s, {s * stageBytes}, leftAt(zero, s));
    code.commitCopies();
  }
  store(load(carried, 0, leftAt(zero, 0)), {});
  writeFactors(in, matmul, tile, place, tile.wide);
  llvm::append_range(carried, sums);
  carried = code.loop(
      code.i64(0), steps, 1, carried, [&](Value index, ValueRange values) {
        Value step = code.narrow(index);
        auto stageOf = [&](int64_t more) {
          Value number =
              code.rem(code.add(step, code.i32(more)), code.i32(tile.stages));
          return Offset{0, code.mul(number, code.i32(stageBytes))};
        };
        SmallVector<Value> at(values.take_front(pointers));
        SmallVector<Value> sums(values.drop_front(pointers));
        code.waitCopies(ahead - 1);
        code.barrier();
        copy(at, ahead, stageOf(ahead), leftAt(step, ahead));
        code.commitCopies();
        Chunks next = load(at, 1, leftAt(step, 1));
        multiply(stageOf(0), sums);
        store(next, stageOf(1));
        SmallVector<Value> result = advance(at, 1);
        result.append(sums);
        return result;
      });
  code.keepRolled(carried.front());
  return SmallVector<Value>(ArrayRef(carried).drop_front(pointers));
}

// All stages a pass: places in shared memory are constants. The depth is known,
// so that passes copy whole steps only, and the steps that are left, which copy
// the last part of one or nothing, follow in a line.
SmallVector<Value> TensorKernel::loopUnrolled(SmallVector<Value> sums) {
  int64_t stages = tile.stages, ahead = stages - 1;
  int64_t steps = llvm::divideCeil(matmul.depth, stepDepth);
  int64_t whole = matmul.depth / stepDepth;
  int64_t passes = std::max<int64_t>(0, (whole - ahead) / stages);
  auto extentOf = [&](int64_t step) -> Extent {
    if (step < whole)
      return {Extent::full, {}};
    if (step >= steps)
      return {Extent::nothing, {}};
    Value left = code.sub(code.i32(matmul.depth - step * stepDepth),
                          code.mul(chunk, code.i32(chunkDepth)));
    return {Extent::partial, left};
  };
  auto stageOf = [&](int64_t step) {
    return Offset{step % stages * stageBytes};
  };
  // Step `step` of all, the `relative`-th from where the pointers are.
  auto once = [&](ArrayRef<Value> pointers, int64_t relative, int64_t step,
                  SmallVectorImpl<Value> &sums) {
    code.waitCopies(ahead - 1);
    code.barrier();
    copy(pointers, relative + ahead, stageOf(step + ahead),
         extentOf(step + ahead));
    code.commitCopies();
    Chunks next = load(pointers, relative + 1, extentOf(step + 1));
    multiply(stageOf(step), sums);
    if (step + 1 < steps)
      store(next, stageOf(step + 1));
  };
  SmallVector<Value> carried = pointersOf();
  size_t pointers = carried.size();
  for (int64_t s = 0; s < ahead; ++s) {
    copy(carried, s, stageOf(s), extentOf(s));
    code.commitCopies();
  }
  store(load(carried, 0, extentOf(0)), {});
  writeFactors(in, matmul, tile, place, tile.wide);
  llvm::append_range(carried, sums);
  if (passes)
    carried = code.loop(code.i64(0), code.i64(passes), 1, carried,
                        [&](Value, ValueRange values) {
                          SmallVector<Value> at(values.take_front(pointers));
                          SmallVector<Value> sums(values.drop_front(pointers));
                          for (int64_t s = 0; s < stages; ++s)
                            once(at, s, s, sums);
                          SmallVector<Value> result = advance(at, stages);
                          result.append(sums);
                          return result;
                        });
  if (passes)
    code.keepRolled(carried.front());
  // Pointers that LLVM does not take for the last pass' ones and a constant:
  // both would be alive, and copied in every pass.
  SmallVector<Value> at(ArrayRef(carried).take_front(pointers));
  for (Value &pointer : at)
    pointer = passes ? code.opaquePointer(pointer) : pointer;
  sums.assign(carried.begin() + pointers, carried.end());
  for (int64_t s = passes * stages; s < steps; ++s)
    once(at, s - passes * stages, s, sums);
  return sums;
}

void TensorKernel::run() {
  findSources();
  findFragments();
  int64_t count = warpRows * warpColumns * matmul.products / warpSize;
  SmallVector<Value> sums(count, code.f32(0));
  // Only a depth that is known can be unrolled.
  sums = tile.wide && !matmul.depthBound ? loopUnrolled(std::move(sums))
                                         : loopDynamic(std::move(sums));
  code.waitCopies(0);
  code.barrier();
  Sums area(matmul, tile, tile.wide);
  storeSums(area, sums);
  code.barrier();
  epilogue(in, matmul, tile, place, area, tile.wide);
}

void nvptx::multiplyByTensorCores(Kernel::Inside &in, const Matmul &matmul,
                                  const TensorTile &tile) {
  Device &code = in.code;
  Place place = findPlace(in, matmul, tile);
  place.factors = tile.sharedBytes(matmul);
  code.when(code.less(code.i32(0), place.rows),
            [&] { TensorKernel(in, matmul, tile, place).run(); });
}
