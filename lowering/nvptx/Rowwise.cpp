//===- Rowwise.cpp - sums over groups of columns, then elementwise code ---===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"

#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

namespace {
/// Where a thread finds what it reads and writes of an operand.
struct Place {
  Type stored;
  /// Of the thread's first vector, or of the one value of a row.
  Value pointer;
  bool isScalar;
  /// The column in the group matters, and groups begin anywhere in an item.
  bool wraps = false;
};

/// Code of one kernel.
class Rowwise {
public:
  Rowwise(Kernel::Inside &in, kernel::RowwiseOp op,
          ArrayRef<RegionInput> inputs, const Cut &cut, const Team &team)
      : in(in), code(in.code), op(op), inputs(inputs), cut(cut),
        group(op.getGroup()), team(team), columns(in.code, team) {}

  void run();

private:
  void findRows();
  Place place(const RegionInput &input);
  Value pointerOf(const RegionInput &input);
  SmallVector<Value> load(Value column, ArrayRef<Place> places);
  /// Arguments of a region: the inputs at a vector, then the sums.
  SmallVector<Value> withSums(ValueRange loaded);
  void accumulate(Block &block, ValueRange arguments, Value valid,
                  SmallVectorImpl<Value> &sums);
  void store(ValueRange loaded, Value old, Value column);
  Place placeOf(Value out);
  void bodyInRegisters();
  void bodyInLoops();

  Kernel::Inside &in;
  Device &code;
  kernel::RowwiseOp op;
  ArrayRef<RegionInput> inputs;
  const Cut &cut;
  const int64_t group;
  const Team &team;
  Columns columns;

  Rows rows;
  Part part;        ///< the item
  Value from, into; ///< rows of the inputs and of the output
  Value set;        ///< of the row, i64
  SmallVector<Place> places;
  SmallVector<Place> outs;
  SmallVector<Value> sums;
};
} // namespace

void Rowwise::run() {
  rows = rows32(in, op.getOffsets(), op.getSets(), op.getOut());
  auto body = [&] {
    findRows();
    if (team.inRegisters)
      bodyInRegisters();
    else
      bodyInLoops();
  };
  // Without sets blocks of one item are just as many as there are.
  if (!rows.low && team.perBlock() == 1)
    return body();
  Value count =
      cut.perRow == 1 ? rows.count : code.mul(rows.count, code.i32(cut.perRow));
  // Of threads that leave here, no shuffle needs anything: teams leave whole.
  code.when(code.less(columns.item(), count), body);
}

void Rowwise::findRows() {
  part = cut.partOf(code, columns);
  from = into = part.row;
  Value packed = rows.low ? code.add(rows.low, part.row) : part.row;
  if (op.getIndices()) {
    Value index = entry32(code, in[op.getIndices()], packed);
    from = op.getGathers() ? index : from;
    into = op.getScatters() ? index : into;
  }
  if (llvm::any_of(inputs, [](const RegionInput &i) { return i.perSet; }))
    set = setOf(code, in[op.getOffsets()], *op.getSets(), code.widen(packed));
  for (const RegionInput &input : inputs)
    places.push_back(place(input));
  for (Value out : op.getDpsInits())
    outs.push_back(placeOf(out));
}

Place Rowwise::placeOf(Value out) {
  Type stored = in[out].element();
  int64_t bytes = stored.getIntOrFloatBitWidth() / 8;
  Value to = code.atRow(in[out].pointer, into, cut.columns * bytes);
  return {stored, code.atByte(to, code.mul(part.column, code.i32(bytes))),
          false};
}

Value Rowwise::pointerOf(const RegionInput &input) {
  Value pointer = in[input.operands.front()].pointer;
  if (input.perSet)
    for (auto [i, operand] : llvm::enumerate(input.operands.drop_front()))
      pointer =
          code.select(code.equal(set, i + 1), in[operand].pointer, pointer);
  return pointer;
}

Place Rowwise::place(const RegionInput &input) {
  const Buffer &buffer = in[input.operands.front()];
  Type stored = buffer.element();
  int64_t bytes = stored.getIntOrFloatBitWidth() / 8;
  Value pointer = pointerOf(input);
  if (input.map.getNumResults() == 2) {
    // Of a matrix one row for all.
    auto row = dyn_cast<AffineConstantExpr>(input.map.getResult(0));
    pointer = code.atRow(pointer, row ? code.i32(row.getValue()) : from,
                         buffer.type.getShape().back() * bytes);
  }
  AffineExpr last = input.map.getResults().back();
  if (auto constant = dyn_cast<AffineConstantExpr>(last))
    return {stored, code.at(pointer, stored, constant.getValue()), true};
  bool inGroup = cast<AffineDimExpr>(last).getPosition() == 2;
  // Items are groups, or rows are: else groups begin anywhere in an item.
  if (inGroup && group != cut.piece && group != cut.columns)
    return {stored, pointer, false, true};
  Value column = inGroup && group == cut.piece ? columns.first() : part.column;
  return {stored, code.atByte(pointer, code.mul(column, code.i32(bytes))),
          false};
}

SmallVector<Value> Rowwise::load(Value column, ArrayRef<Place> places) {
  SmallVector<Value> loaded;
  for (const Place &place : places) {
    int64_t bytes = place.stored.getIntOrFloatBitWidth() / 8;
    if (place.isScalar) {
      Value one = code.loadWide(place.stored, place.pointer, 1);
      loaded.push_back(
          code.broadcast(vector::ExtractOp::create(code, one, 0), team.width));
      continue;
    }
    Value index = column;
    if (place.wraps)
      index = code.rem(code.add(part.column, column), code.i32(group));
    Value pointer =
        code.atByte(place.pointer, code.mul(index, code.i32(bytes)));
    loaded.push_back(code.loadWide(place.stored, pointer, team.width));
  }
  return loaded;
}

SmallVector<Value> Rowwise::withSums(ValueRange loaded) {
  SmallVector<Value> arguments(loaded);
  for (Value sum : sums)
    arguments.push_back(code.broadcast(sum, team.width));
  return arguments;
}

void Rowwise::accumulate(Block &block, ValueRange arguments, Value valid,
                         SmallVectorImpl<Value> &sums) {
  SmallVector<Value> all(sums.begin(), sums.end());
  llvm::append_range(all, arguments);
  SmallVector<Value> next =
      code.byElement(all, sums.size(), [&](ValueRange elements) {
        SmallVector<Value> more =
            cloneOnVectors(code, block, elements.drop_front(sums.size()), 1);
        for (auto [value, sum] : llvm::zip(more, elements)) {
          auto product = value.getDefiningOp<arith::MulFOp>();
          value = product && product->use_empty()
                      ? code.fma(product.getLhs(), product.getRhs(), sum)
                      : code.fadd(sum, value);
        }
        return more;
      });
  for (auto [sum, value] : llvm::zip(sums, next))
    sum = valid ? code.select(valid, value, sum) : value;
}

void Rowwise::store(ValueRange loaded, Value old, Value column) {
  SmallVector<Value> arguments = withSums(loaded);
  arguments.push_back(old);
  Block &block = op.getBodies().back().front();
  SmallVector<Value> results =
      code.byElement(arguments, outs.size(), [&](ValueRange elements) {
        return cloneOnVectors(code, block, elements, 1);
      });
  for (auto [out, result] : llvm::zip(outs, results)) {
    int64_t bytes = out.stored.getIntOrFloatBitWidth() / 8;
    code.storeWide(out.stored, result,
                   code.atByte(out.pointer, code.mul(column, code.i32(bytes))));
  }
}

// Everything is loaded before the first sum is made.
void Rowwise::bodyInRegisters() {
  bool readsOld = !op.getOldValue().use_empty();
  Value zero = code.splat(0, team.width);
  SmallVector<Place> all = places;
  if (readsOld)
    all.push_back(outs[0]);
  SmallVector<SmallVector<Value>> loaded(team.vectors);
  SmallVector<Value> valids(team.vectors);
  auto column = [&](unsigned j) { return code.i32(j * team.step()); };
  columns.unrolled(
      [&](unsigned j, Value valid) {
        valids[j] = valid;
        if (!valid)
          loaded[j] = load(column(j), all);
        else
          loaded[j] = code.choose(valid, SmallVector<Value>(all.size(), zero),
                                  [&] { return load(column(j), all); });
        if (!readsOld)
          loaded[j].push_back(zero);
      },
      part.limit);
  for (Region &body : op.getBodies().drop_back()) {
    Block &block = body.front();
    SmallVector<Value> vectors(block.getTerminator()->getNumOperands(), zero);
    for (int64_t j = 0; j < team.vectors; ++j)
      accumulate(block, withSums(ArrayRef(loaded[j]).drop_back()), valids[j],
                 vectors);
    for (Value &vector : vectors)
      vector = code.sum(vector);
    llvm::append_range(sums, columns.reduce(vectors, [&](Value a, Value b) {
      return code.fadd(a, b);
    }));
  }
  for (int64_t j = 0; j < team.vectors; ++j) {
    auto put = [&] {
      store(ArrayRef(loaded[j]).drop_back(), loaded[j].back(), column(j));
    };
    if (valids[j])
      code.when(valids[j], put);
    else
      put();
  }
}

// Each round, and the result, reads the columns again.
void Rowwise::bodyInLoops() {
  Value zero = code.splat(0, team.width);
  Value end = part.limit ? part.limit : code.i32(team.columns);
  // Columns from the thread's first one.
  Value count = code.widen(code.sub(end, columns.first()));
  auto each = [&](ValueRange carried,
                  function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    return code.loop(code.i64(0), count, team.step(), carried,
                     [&](Value column, ValueRange carried) {
                       return body(code.narrow(column), carried);
                     });
  };
  for (Region &body : op.getBodies().drop_back()) {
    Block &block = body.front();
    SmallVector<Value> vectors(block.getTerminator()->getNumOperands(), zero);
    vectors = each(vectors, [&](Value column, ValueRange carried) {
      SmallVector<Value> next(carried);
      accumulate(block, withSums(load(column, places)), {}, next);
      return next;
    });
    for (Value &vector : vectors)
      vector = code.sum(vector);
    llvm::append_range(sums, columns.reduce(vectors, [&](Value a, Value b) {
      return code.fadd(a, b);
    }));
  }
  each({}, [&](Value column, ValueRange) {
    Value old = zero;
    if (!op.getOldValue().use_empty())
      old = load(column, outs[0])[0];
    store(load(column, places), old, column);
    return SmallVector<Value>();
  });
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::RowwiseOp op) {
  auto outType = cast<MemRefType>(op.getOut().getType());
  int64_t columns = outType.getShape().back();
  int64_t group = op.getGroup();
  if (ShapedType::isDynamic(columns))
    return op.emitOpError("writes rows of dynamic width: ") << outType;
  if (group <= 0 || columns % group != 0)
    return op.emitOpError("cuts ")
           << columns << " columns into groups of " << group;
  for (Value out : op.getDpsInits())
    if (Type element = cast<MemRefType>(out.getType()).getElementType();
        !isFloatType(element))
      return op.emitOpError("writes ") << element;
  auto inputs = regionInputs(op, op.getInputs(), op.getMaps(),
                             /*perSetDims=*/4, op.getGroups());
  if (failed(inputs) ||
      failed(checkI32(op, {op.getOffsets(), op.getIndices()})))
    return failure();
  for (Region &body : op.getBodies())
    if (failed(checkVectorizable(body.front())))
      return failure();

  unsigned sums = 0, streams = 0;
  for (Region &body : op.getBodies().drop_back())
    sums += body.front().getTerminator()->getNumOperands();
  for (const RegionInput &input : *inputs)
    streams += isa<AffineDimExpr>(input.map.getResults().back());
  streams += !op.getOldValue().use_empty();
  Cut cut(columns, op.getBodies().size() > 1 ? group : 0);
  bool usesGroup = llvm::any_of(*inputs, [](const RegionInput &input) {
    return input.map.getResults().back() ==
           getAffineDimExpr(2, input.map.getContext());
  });
  int64_t aligned = std::gcd(columns, cut.piece);
  if (usesGroup)
    aligned = std::gcd(aligned, group);
  Team team = Team::of(cut.piece, aligned, streams);
  unsigned place = kernel.indexOf(op.getOut());
  kernel.stageOver(
      team.threads, team.sharedOf(sums), team.perBlock(),
      [place, perRow = cut.perRow](Code &host, ArrayRef<Buffer> buffers) {
        return host.mul(buffers[place].rows(host), perRow);
      },
      [&](Kernel::Inside &in, Value) {
        Rowwise(in, op, *inputs, cut, team).run();
      });
  return success();
}
