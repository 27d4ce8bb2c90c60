//===- Matmul.cpp - products with weights, and what follows them -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Two ways, chosen by the number of rows at run time. Few rows: rows of W are
// streamed once, as dot products. Many rows: a task packs some panels of W and
// runs all its rows through register tiles. Either way the sums land in scratch
// and the epilogue, the only code that differs between kernels, takes them from
// there to the output. Sets of rows with weights of their own run one after the
// other.
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Tiles.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

namespace {
// What a task knows, as a table of 8-byte values.
enum Slot : int64_t {
  slotA,           // first row, or the one that an index of 0 names
  slotRows,        // M
  slotColumns,     // N
  slotDepth,       // K
  slotStride,      // from one row of A to the next
  slotWeights,     // how many
  slotEpilogue,    // function
  slotTaskColumns, // columns of one task
  slotTaskRows,    // rows of one task (many rows)
  slotColumnTasks, // tasks side by side (many rows)
  slotPacked,      // packed row of the first row (with offsets)
  slotIndices,     // indices of the rows (with indices)
  slotFirstWeight, // pointer and row stride of each, then the epilogue's
};

// Up to this many rows are computed as dot products.
constexpr int64_t fewRows = 12;
// Columns of a step of the few-rows task.
constexpr int64_t stepColumns = 64;
// Rows of a many-rows task at most.
constexpr int64_t taskRows = 280;
// Panels that a many-rows task packs, unless there are more weights.
constexpr int64_t taskPanels = 4;
} // namespace

static int64_t panelsOf(int64_t weights) {
  return std::max(taskPanels, weights);
}

// Calls the epilogue: (table, sums, row stride of the sums, distance from one
// weight's sums to the next, first row, rows, first column, columns).
static void callEpilogue(Code &code, Value table, Value sums, Value stride,
                         Value distance, Value row, Value rows, Value column,
                         Value columns) {
  Type pointer = code.ptrType(), integer = code.i64Type();
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(code.getContext()),
      {pointer, pointer, integer, integer, integer, integer, integer, integer});
  Value epilogue = code.slot(table, slotEpilogue, pointer);
  LLVM::CallOp::create(code, type,
                       ValueRange{epilogue, table, sums, stride, distance, row,
                                  rows, column, columns});
}

namespace {
// What makes the tasks of two kernels different functions.
struct Variant {
  Type stored;
  bool gathers;
  std::string name(StringRef what) const {
    std::string name;
    llvm::raw_string_ostream(name)
        << "nest_" << what << "_" << stored << (gathers ? "_gathered" : "");
    return name;
  }
  // Whether few rows are read from scratch.
  bool copiesFew() const { return gathers || !stored.isF32(); }
};
} // namespace

// The task for few rows. Scratch: the rows rounded to the weights' type, then
// sums [fewRows][weights][stepColumns].
static LLVMFuncOp fewRowsTask(Generator &generator, Code &outer,
                              const Variant &variant) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  return generator.routine(
      variant.name("few_rows"), {pointer, integer, pointer},
      [&](Code &code, ValueRange args) {
        Type stored = variant.stored;
        Value table = args[0], scratch = args[2];
        auto get = [&](int64_t slot) {
          return code.slot(table, slot, integer);
        };
        Value a = code.slot(table, slotA, pointer);
        Value rows = get(slotRows), depth = get(slotDepth);
        Value weights = get(slotWeights);
        Value sums = scratch, stride = get(slotStride);
        if (variant.copiesFew()) {
          Value indices;
          if (variant.gathers)
            indices = code.slot(table, slotIndices, pointer);
          copyRows(generator, code, stored, a, stride, rows, depth, scratch,
                   depth, indices);
          a = scratch;
          stride = depth;
          sums = code.atF32(scratch,
                            code.roundUp(code.mul(depth, fewRows), lineFloats));
        }
        Value first = code.mul(args[1], get(slotTaskColumns));
        Value end =
            code.min(code.add(first, get(slotTaskColumns)), get(slotColumns));
        Value sumStride = code.mul(weights, stepColumns);
        code.loop(first, end, stepColumns, [&](Value column) {
          Value columns = code.min(code.sub(end, column), stepColumns);
          code.loop(weights, [&](Value i) {
            Value entry = code.at(table, integer,
                                  code.add(code.mul(i, 2), slotFirstWeight));
            Value w = code.slot(entry, 0, pointer);
            Value weightStride = code.slot(entry, 1, integer);
            multiplyDots(generator, code, stored,
                         code.at(w, stored, code.mul(column, weightStride)),
                         weightStride, columns, a, stride, rows,
                         code.atF32(sums, code.mul(i, stepColumns)), sumStride,
                         depth);
          });
          callEpilogue(code, table, sums, sumStride, code.i64(stepColumns),
                       code.i64(0), rows, column, columns);
        });
      });
}

// The task for many rows. Scratch: a tile's rows of A, the packed panels, sums
// [taskRows + 1][panels][columns of a panel].
static LLVMFuncOp manyRowsTask(Generator &generator, Code &outer,
                               const Variant &variant) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  return generator.routine(
      variant.name("many_rows"), {pointer, integer, pointer},
      [&](Code &code, ValueRange args) {
        Type stored = variant.stored;
        Tiling tiling(code.lanes);
        Value table = args[0], left = args[2];
        auto get = [&](int64_t slot) {
          return code.slot(table, slot, integer);
        };
        Value a = code.slot(table, slotA, pointer);
        Value depth = get(slotDepth), weights = get(slotWeights);
        Value column = code.mul(code.rem(args[1], get(slotColumnTasks)),
                                get(slotTaskColumns));
        Value columns =
            code.min(get(slotTaskColumns), code.sub(get(slotColumns), column));
        Value row = code.mul(code.div(args[1], get(slotColumnTasks)),
                             get(slotTaskRows));
        Value rows = code.min(get(slotTaskRows), code.sub(get(slotRows), row));

        Value panelsEach = code.ceilDiv(columns, tiling.columns);
        Value panelCount = code.mul(panelsEach, weights);
        Value sumStride =
            code.mul(code.max(weights, taskPanels), tiling.columns);
        Value panels = code.atF32(left, tiling.leftFloats());
        Value sums = code.atF32(panels, code.mul(code.max(weights, taskPanels),
                                                 tiling.panelFloats()));
        // Tiles of equal height, an even number of rows.
        Value tiles = code.ceilDiv(rows, tiling.rows);
        Value tileRows = code.roundUp(code.ceilDiv(rows, tiles), 2);
        tiles = code.ceilDiv(rows, tileRows);

        code.loop(code.i64(0), depth, Tiling::depth, [&](Value k) {
          Value part = code.min(code.sub(depth, k), Tiling::depth);
          Value accumulate = code.less(code.i64(0), k);
          code.loop(weights, [&](Value i) {
            Value entry = code.at(table, integer,
                                  code.add(code.mul(i, 2), slotFirstWeight));
            Value w = code.slot(entry, 0, pointer);
            Value stride = code.slot(entry, 1, integer);
            code.loop(panelsEach, [&](Value p) {
              Value n = code.add(column, code.mul(p, tiling.columns));
              Value from = code.at(w, stored, code.add(code.mul(n, stride), k));
              Value valid =
                  code.min(code.sub(get(slotColumns), n), tiling.columns);
              Value index = code.add(code.mul(i, panelsEach), p);
              packPanel(
                  generator, code, stored, from, stride, valid, part,
                  code.atF32(panels, code.mul(index, tiling.panelFloats())));
            });
          });
          code.loop(tiles, [&](Value t) {
            Value first = code.mul(t, tileRows);
            Value height = code.min(tileRows, code.sub(rows, first));
            Value start = code.add(row, first), indices;
            if (variant.gathers) {
              indices = code.at(code.slot(table, slotIndices, pointer),
                                code.getI32Type(), start);
              start = code.i64(0);
            }
            Value from =
                code.atF32(a, code.add(code.mul(start, get(slotStride)), k));
            copyRows(generator, code, stored, from, get(slotStride), height,
                     part, left, code.i64(Tiling::stride), indices);
            Value c = code.atF32(sums, code.mul(first, sumStride));
            code.loop(panelCount, [&](Value p) {
              multiplyTile(
                  generator, code, height, left,
                  code.atF32(panels, code.mul(p, tiling.panelFloats())),
                  code.atF32(c, code.mul(p, tiling.columns)), sumStride, part,
                  accumulate);
            });
          });
        });
        callEpilogue(code, table, sums, sumStride,
                     code.mul(panelsEach, tiling.columns), row, rows, column,
                     columns);
      });
}

// (call, table): fills the table's last slots and runs the tasks.
static LLVMFuncOp runRoutine(Generator &generator, Code &outer,
                             const Variant &variant) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  return generator.routine(
      variant.name("matmul"), {pointer, pointer},
      [&](Code &code, ValueRange args) {
        Tiling tiling(code.lanes);
        Value call = args[0], table = args[1];
        auto get = [&](int64_t slot) {
          return code.slot(table, slot, integer);
        };
        Value rows = get(slotRows), columns = get(slotColumns);
        Value weights = get(slotWeights);
        auto few = [&] {
          // Columns that make a task worth its start.
          Value each = code.mul(code.mul(get(slotDepth), rows), weights);
          Value task =
              code.roundUp(grainFor(code, each, 96 * 1024), stepColumns);
          code.setSlot(table, slotTaskColumns, task);
          callParallelFor(code, call, fewRowsTask(generator, code, variant),
                          table, code.ceilDiv(columns, task));
        };
        auto many = [&] {
          Value rowTasks = code.ceilDiv(rows, taskRows);
          Value perTask = code.roundUp(code.ceilDiv(rows, rowTasks), 2);
          // Fewer panels a task while there are too few tasks to share out.
          Value panels = code.max(code.div(code.i64(taskPanels), weights), 1);
          for (int i = 0; i < 2; ++i) {
            Value tasks = code.mul(
                rowTasks,
                code.ceilDiv(columns, code.mul(panels, tiling.columns)));
            panels = code.select(code.less(tasks, 12),
                                 code.max(code.div(panels, 2), 1), panels);
          }
          Value taskColumns = code.mul(panels, tiling.columns);
          Value columnTasks = code.ceilDiv(columns, taskColumns);
          code.setSlot(table, slotTaskColumns, taskColumns);
          code.setSlot(table, slotTaskRows, perTask);
          code.setSlot(table, slotColumnTasks, columnTasks);
          callParallelFor(code, call, manyRowsTask(generator, code, variant),
                          table,
                          code.mul(columnTasks, code.ceilDiv(rows, perTask)));
        };
        code.when(
            code.less(rows, 1), [] {},
            [&] { code.when(code.less(rows, fewRows + 1), few, many); });
      });
}

// The epilogue of one kernel.
static LLVMFuncOp epilogueOf(Kernel &kernel, kernel::MatmulOp op,
                             ArrayRef<RegionInput> inputs) {
  Type pointer = kernel.code.ptrType(), integer = kernel.code.i64Type();
  int64_t weights = op.getNumProducts();
  return kernel.generator.routine(
      ("nest_epilogue_" + kernel.def.getSymName()).str(),
      {pointer, pointer, integer, integer, integer, integer, integer, integer},
      [&](Code &code, ValueRange args) {
        code.setLoc(op.getLoc());
        Value table = args[0], sums = args[1], stride = args[2];
        Value distance = args[3], firstRow = args[4], rows = args[5];
        Value firstColumn = args[6], columns = args[7];
        // Operands, then the output; their types say all but the pointer.
        int64_t next = slotFirstWeight + 2 * weights;
        auto buffer = [&](Value operand) {
          auto type = cast<MemRefType>(operand.getType());
          SmallVector<Value> parts(numDynamicParts(type));
          Value from = code.slot(table, next++, pointer);
          for (Value &part : parts)
            part = code.slot(table, next++, integer);
          return makeBuffer(code, type, from, parts);
        };
        SmallVector<Buffer> operands;
        for (const RegionInput &input : inputs)
          operands.push_back(buffer(input.operands.front()));
        Buffer out = buffer(op.getOut());
        Value packed, indices;
        if (op.getOffsets())
          packed = code.add(firstRow, code.slot(table, slotPacked, integer));
        if (op.getScatters())
          indices = code.slot(table, slotIndices, pointer);
        // Whole tasks are whole vectors unless the width itself is ragged.
        int64_t width =
            cast<MemRefType>(op.getOut().getType()).getShape().back();
        bool ragged = width % code.lanes != 0 || op.getColumnBound();
        auto at = [&](Value r, Value j, int64_t lanes) {
          Value row = code.add(packed ? packed : firstRow, r);
          Value column = code.add(firstColumn, j);
          SmallVector<Value> arguments;
          Value sum = code.atF32(sums, code.add(code.mul(r, stride), j));
          for (int64_t i = 0; i < weights; ++i)
            arguments.push_back(code.load(
                code.f32Vector(lanes), code.atF32(sum, code.mul(distance, i))));
          for (auto [operand, input] : llvm::zip(operands, inputs))
            arguments.push_back(
                loadOperand(code, operand, input.map, {row, column}, lanes));
          if (indices)
            row = code.loadI32(
                code.at(indices, code.getI32Type(), code.add(firstRow, r)));
          Value to = code.at(out.row(code, row), out.element(), column);
          arguments.push_back(op.readsOutput()
                                  ? code.loadVector(out.element(), to, lanes)
                                  : Value(code.splat(0, lanes)));
          SmallVector<Value> result =
              cloneOnVectors(code, op.getRegion().front(), arguments, lanes);
          code.storeVector(out.element(), result[0], to);
        };
        code.loop(rows, [&](Value r) {
          if (ragged)
            code.columns(columns,
                         [&](Value j, int64_t lanes) { at(r, j, lanes); });
          else
            code.loop(code.i64(0), columns, code.lanes,
                      [&](Value j) { at(r, j, code.lanes); });
        });
      });
}

LogicalResult cpu::generate(Kernel &kernel, kernel::MatmulOp op) {
  if (op.getWeights().empty())
    return op.emitOpError("has no weight");
  if (op.getNormed() || op.getSquares())
    return op.emitOpError("has a part of a norm, which CPU code leaves to "
                          "kernel.rowwise; run no kernel-fold-norms");
  auto first = cast<MemRefType>(op.getWeights().front().getType());
  auto outType = cast<MemRefType>(op.getOut().getType());
  auto aType = cast<MemRefType>(op.getA().getType());
  for (Value weight : op.getWeights()) {
    auto type = cast<MemRefType>(weight.getType());
    if (type.getRank() != 2 || !type.hasStaticShape() ||
        type.getShape() != first.getShape() ||
        type.getElementType() != first.getElementType() ||
        !isFloatType(type.getElementType()))
      return op.emitOpError("has the weight ")
             << type << "; weights must be matrices of one static shape and "
             << "one type of f32, bf16, f16";
  }
  int64_t columns = first.getDimSize(0), depth = first.getDimSize(1);
  if (!aType.getElementType().isF32() || aType.getShape().back() != depth)
    return op.emitOpError("multiplies rows of ")
           << aType << " with weights of depth " << depth
           << "; rows must be f32 and of that width";
  if (!isFloatType(outType.getElementType()) ||
      outType.getShape().back() != columns)
    return op.emitOpError("writes ")
           << outType << "; it must be floating point and " << columns
           << " wide";
  if (!aType.getLayout().isIdentity())
    return op.emitOpError("multiplies strided rows: ") << aType;
  if (!op.getIndexed().empty())
    return op.emitOpError("reads operands by indices, which is for GPUs; leave "
                          "out kernel-absorb-gathers, which asks for it");
  int64_t groups = op.getGroups();
  auto inputs = regionInputs(op, op.getEpilogue(), op.getMaps(),
                             /*perSetDims=*/3, groups);
  if (failed(inputs) ||
      failed(checkI32(op, {op.getOffsets(), op.getIndices(),
                           op.getColumnBound(), op.getDepthBound()})))
    return failure();
  if (failed(checkVectorizable(op.getRegion().front())))
    return failure();

  Code &code = kernel.code;
  Variant variant{first.getElementType(), op.getGathers()};
  int64_t weights = op.getNumProducts();
  const Buffer &a = kernel[op.getA()];
  RowRange all = rowsOf(kernel, op.getOffsets(), op.getSets(), op.getA());
  auto bounded = [&](Value bound, int64_t all) {
    return bound ? code.min(kernel[bound].entry(code, code.i64(0)), all)
                 : Value(code.i64(all));
  };
  Value table;
  for (int64_t g = 0; g < groups; ++g) {
    SmallVector<Value> slots(slotFirstWeight);
    slots[slotA] = a.pointer;
    slots[slotRows] = all.count;
    if (op.getOffsets()) {
      Value start = all.low;
      if (groups > 1) {
        int64_t set = (*op.getSets())[0] + g;
        RowRange rows = rowsOf(kernel, op.getOffsets(),
                               ArrayRef<int64_t>({set, set + 1}), op.getA());
        start = rows.low;
        slots[slotRows] = rows.count;
      }
      slots[slotPacked] = code.sub(start, all.low);
      if (!op.getGathers())
        slots[slotA] = a.row(code, slots[slotPacked]);
      if (op.getIndices())
        slots[slotIndices] =
            code.at(kernel[op.getIndices()].pointer, code.getI32Type(), start);
    }
    slots[slotColumns] = bounded(op.getColumnBound(), columns);
    slots[slotDepth] = bounded(op.getDepthBound(), depth);
    slots[slotStride] = code.i64(depth);
    slots[slotWeights] = code.i64(weights);
    if (g == 0)
      slots[slotEpilogue] = addressOf(code, epilogueOf(kernel, op, *inputs));
    for (int64_t i = 0; i < weights; ++i) {
      const Buffer &weight = kernel[op.getWeights()[i * groups + g]];
      slots.push_back(weight.pointer);
      slots.push_back(weight.rowStride(code));
    }
    auto pass = [&](Value operand) {
      slots.push_back(kernel[operand].pointer);
      llvm::append_range(slots, dynamicParts(kernel[operand]));
    };
    for (const RegionInput &input : *inputs)
      pass(input.operands[input.perSet ? g : 0]);
    pass(op.getOut());
    if (!table)
      table = code.table(slots.size());
    for (auto [i, value] : llvm::enumerate(slots))
      if (value)
        code.setSlot(table, i, value);
    LLVM::CallOp::create(code, runRoutine(kernel.generator, code, variant),
                         ValueRange{kernel.call, table});
  }

  Tiling tiling(code.lanes);
  int64_t few = fewRows * weights * stepColumns;
  if (variant.copiesFew())
    few += llvm::alignTo(fewRows * depth, lineFloats);
  int64_t panels = panelsOf(weights);
  int64_t many = tiling.leftFloats() + panels * tiling.panelFloats() +
                 (taskRows + 2) * panels * tiling.columns;
  kernel.scratch = 4 * std::max(few, many);
  return success();
}
