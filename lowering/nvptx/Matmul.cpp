//===- Matmul.cpp - matmul kernels ----------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Matmul.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

static FailureOr<Matmul> checked(kernel::MatmulOp op) {
  if (op.getWeights().empty())
    return op.emitOpError("has no weight");
  auto first = cast<MemRefType>(op.getWeights().front().getType());
  auto outType = cast<MemRefType>(op.getOut().getType());
  auto aType = cast<MemRefType>(op.getA().getType());
  Type stored = first.getElementType();
  for (Value weight : op.getWeights()) {
    auto type = cast<MemRefType>(weight.getType());
    if (type.getRank() != 2 || !type.hasStaticShape() ||
        type.getShape() != first.getShape() ||
        type.getElementType() != stored || !isFloatType(stored) ||
        type.getLayout() != first.getLayout())
      return op.emitOpError("has the weight ")
             << type << "; weights must be matrices of one static shape, one "
             << "layout and one type of f32, bf16, f16";
  }
  int64_t columns = first.getDimSize(0), depth = first.getDimSize(1);
  Type streamed = aType.getElementType();
  if ((!streamed.isF32() && streamed != stored) ||
      aType.getShape().back() != depth)
    return op.emitOpError("multiplies rows of ")
           << aType << " with weights of depth " << depth
           << "; rows must be of that width, in f32 or the weights' type";
  if (!isFloatType(outType.getElementType()) ||
      outType.getShape().back() != columns)
    return op.emitOpError("writes ")
           << outType << "; it must be floating point and " << columns
           << " wide";
  if (!aType.getLayout().isIdentity())
    return op.emitOpError("multiplies strided rows: ") << aType;
  if (columns < 1 || depth < 1 || columns > (1 << 24) || depth > (1 << 24))
    return op.emitOpError("has a weight of ")
           << columns << " x " << depth << "; the generator counts in i32";
  Matmul matmul{op,
                {},
                stored,
                streamed,
                columns,
                depth,
                op.getNumProducts(),
                static_cast<int64_t>(op.getGroups())};
  auto inputs = regionInputs(op, op.getEpilogue(), op.getMaps(),
                             /*perSetDims=*/3, matmul.groups);
  if (failed(inputs) ||
      failed(checkI32(op, {op.getOffsets(), op.getIndices()})) ||
      failed(checkVectorizable(op.getRegion().front())))
    return failure();
  for (const RegionInput &input : *inputs)
    for (Value operand : input.operands)
      if (!cast<MemRefType>(operand.getType()).getLayout().isIdentity())
        return op.emitOpError("reads a strided operand: ") << operand.getType();
  matmul.inputs = std::move(*inputs);
  return matmul;
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::MatmulOp op) {
  FailureOr<Matmul> checked = ::checked(op);
  if (failed(checked))
    return failure();
  const Matmul matmul = std::move(*checked);
  unsigned out = kernel.indexOf(op.getOut());
  constexpr int64_t fewRows = 16;
  // The grid of a tile, where `wanted` of the number of rows.
  auto grid = [matmul, out](Tile tile, bool few) {
    return [matmul, out, tile, few](Code &host, ArrayRef<Buffer> buffers) {
      Value rows = buffers[out].rows(host);
      Value tiles =
          host.mul(tile.rowTiles(host, matmul, rows), tile.columnTiles(matmul));
      Value isFew = host.less(rows, fewRows + 1);
      return Grid{few ? host.select(isFew, tiles, host.i64(0))
                      : host.select(isFew, host.i64(0), tiles),
                  {},
                  {}};
    };
  };
  for (bool few : {true, false}) {
    if (matmul.stored.isF32()) {
      FmaTile tile{{few ? 16 : 64, 64 / matmul.products, 128},
                   few ? 2 : 8,
                   4,
                   /*wide=*/false};
      kernel.stage(
          tile.threads, tile.sharedBytes(matmul), grid(tile, few),
          [&](Kernel::Inside &in) { multiplyByFma(in, matmul, tile); });
      continue;
    }
    TensorTile tile{{few ? 16 : 64, (few ? 128 : 64) / matmul.products, 128},
                    few ? 1 : 2,
                    few ? 4 : 2,
                    /*stages=*/2,
                    /*wide=*/false};
    kernel.stage(
        tile.threads, tile.sharedBytes(matmul), grid(tile, few),
        [&](Kernel::Inside &in) { multiplyByTensorCores(in, matmul, tile); });
  }
  return success();
}
