//===- Argmax.cpp - the column of each row's largest number ---------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows are cut into pieces, of which a team takes every so manieth. With a
// workspace, several blocks share a row of few: each leaves its best there, and
// the one with the last ticket chooses among them.
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Team.h"
#include "passes/SplitKernels.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace nestc;
using namespace nestc::nvptx;

namespace {
/// A number and its column, an i32; NaN and `nowhere` where there is none.
struct Best {
  Value number, column;

  SmallVector<Value> values() const { return {number, column}; }
};
} // namespace

/// Behind all columns.
static constexpr int64_t nowhere = std::numeric_limits<int32_t>::max();

static Best noBest(Device &code) {
  return {code.f32(std::numeric_limits<float>::quiet_NaN()), code.i32(nowhere)};
}

/// `best`, or a number of a later column that is larger.
static Best better(Device &code, const Best &best, Value number, Value column) {
  auto compare = [&](arith::CmpFPredicate predicate, Value other) {
    return arith::CmpFOp::create(code, predicate, number, other);
  };
  // Above NaN is every number.
  Value isAbove = arith::AndIOp::create(
      code, compare(arith::CmpFPredicate::UGT, best.number),
      compare(arith::CmpFPredicate::ORD, number));
  return {code.select(isAbove, number, best.number),
          code.select(isAbove, column, best.column)};
}

/// The best of the team's threads, the same in all of them.
static Best reduce(Device &code, Columns &columns, const Best &own) {
  Value top = columns.reduce(
      own.number, [&](Value a, Value b) { return code.maxNumber(a, b); })[0];
  // Columns as f32, which is what teams exchange: bits are not touched.
  Value isTop =
      arith::CmpFOp::create(code, arith::CmpFPredicate::OEQ, own.number, top);
  Value column = code.select(isTop, own.column, code.i32(nowhere));
  column = columns.reduce(code.asFloat(column), [&](Value a, Value b) {
    return code.asFloat(code.min(code.asInt(a), code.asInt(b)));
  })[0];
  return {top, code.asInt(column)};
}

/// The best of the thread's columns of the piece from `start` on, and `best`,
/// which is of columns before. `from` is the row.
static Best bestOfPiece(Device &code, const Team &team, const Columns &columns,
                        const Cut &cut, Value from, Value start, Best best) {
  Type f32 = code.getF32Type();
  Value limit;
  if (cut.perRow > 1 && cut.columns % cut.piece)
    limit =
        code.min(code.sub(code.i32(cut.columns), start), code.i32(cut.piece));
  Value first = code.add(start, columns.first());
  Value none = code.splat(std::numeric_limits<float>::quiet_NaN(), team.width);
  SmallVector<Value> loaded;
  columns.unrolled(
      [&](unsigned j, Value valid) {
        auto load = [&] {
          Value column = code.add(first, code.i32(j * team.step()));
          Value at = code.atByte(from, code.mul(column, code.i32(4)));
          return SmallVector<Value>{code.loadWide(f32, at, team.width)};
        };
        loaded.push_back(valid ? code.choose(valid, none, load)[0] : load()[0]);
      },
      limit);
  for (auto [j, vector] : llvm::enumerate(loaded))
    for (int64_t k = 0; k < team.width; ++k)
      best = better(code, best, vector::ExtractOp::create(code, vector, k),
                    code.add(first, code.i32(j * team.step() + k)));
  return best;
}

namespace {
/// What blocks that share rows have.
struct Workspace {
  int64_t splits = 1; ///< blocks of a row, at most
  int64_t rows = 0;   ///< where there are so many rows, at most

  /// How many blocks each of `count` rows has, an i64.
  Value blocksOf(Code &code, Value count) const {
    if (splits == 1)
      return code.i64(1);
    return code.select(code.less(count, rows + 1), code.i64(splits),
                       code.i64(1));
  }
};
} // namespace

/// The best of the `parts` blocks that share a row, of which this one has
/// `part` and found `own`; calls `last` with it in the last of them to come.
static void bestOfBlocks(Kernel::Inside &in, kernel::ArgmaxOp op,
                         const Workspace &workspace, Columns &columns,
                         Value row, Value part, Value parts, Best own,
                         function_ref<void(const Best &)> last) {
  Device &code = in.code;
  Type f32 = code.getF32Type();
  const Buffer &room = in[op.getWorkspace()];
  auto placeOf = [&](Value part) {
    Value line = code.add(code.mul(part, code.i32(workspace.rows)), row);
    return code.atRow(code.global(room.pointer), line,
                      4 * room.type.getDimSize(2));
  };
  code.when(code.equal(code.thread(), 0), [&] {
    // Both at once, columns as f32 too.
    Value both = code.splat(0, 2);
    both = vector::InsertOp::create(code, own.number, both, 0);
    both = vector::InsertOp::create(code, code.asFloat(own.column), both, 1);
    code.storeWide(f32, both, placeOf(part));
  });
  Value ticket = code.atRow(code.global(in[op.getTickets()].pointer), row, 4);
  Value isLast = code.isLastBlock(ticket, code.sub(parts, code.i32(1)));
  code.when(isLast, [&] {
    // A part a thread.
    Value thread = code.thread32();
    SmallVector<Value> best =
        code.choose(code.less(thread, parts), noBest(code).values(), [&] {
          Value both = code.loadWide(f32, placeOf(thread), 2);
          Value column = vector::ExtractOp::create(code, both, 1);
          return SmallVector<Value>{vector::ExtractOp::create(code, both, 0),
                                    code.asInt(column)};
        });
    last(reduce(code, columns, {best[0], best[1]}));
  });
}

LogicalResult nvptx::generate(Kernel &kernel, kernel::ArgmaxOp op) {
  if (failed(checkI32(op, {op.getOut()})))
    return failure();
  int64_t width = cast<MemRefType>(op.getX().getType()).getShape().back();
  Cut cut(width, std::min(width, argmaxColumns));
  Team team = Team::of(cut.piece, std::gcd(width, cut.piece), 1);
  Workspace workspace;
  if (op.getWorkspace()) {
    auto type = cast<MemRefType>(op.getWorkspace().getType());
    workspace = {std::min(type.getDimSize(0), cut.perRow), type.getDimSize(1)};
    if (team.perBlock() != 1 || workspace.splits > team.threads ||
        type.getDimSize(2) % 2)
      return op.emitOpError("has a workspace for ")
             << type.getDimSize(0) << " parts of " << width
             << " columns: " << type << "; legal are [parts, rows, 2], at most "
             << team.threads
             << " parts, and none for rows that a part of a block takes";
  }
  unsigned place = kernel.indexOf(op.getX());
  kernel.stageOver(
      team.threads, team.sharedOf(4), team.perBlock(),
      [place, workspace](Code &host, ArrayRef<Buffer> buffers) {
        Value rows = buffers[place].rows(host);
        return host.mul(rows, workspace.blocksOf(host, rows));
      },
      [&](Kernel::Inside &in, Value) {
        Device &code = in.code;
        Columns columns(code, team);
        Value rows = in[op.getX()].rows(code);
        Value parts = code.narrow(workspace.blocksOf(code, rows));
        Value row = columns.item(), part = code.i32(0);
        if (workspace.splits > 1) {
          part = code.rem(row, parts);
          row = code.div(row, parts);
        }
        auto work = [&] {
          Value from = code.atRow(in[op.getX()].pointer, row, 4 * width);
          auto ofPiece = [&](Value start, const Best &best) {
            return bestOfPiece(code, team, columns, cut, from, start, best);
          };
          Best own = noBest(code);
          if (cut.perRow == 1) {
            own = ofPiece(code.i32(0), own);
          } else {
            auto pieces = scf::ForOp::create(code, part, code.i32(cut.perRow),
                                             parts, own.values());
            OpBuilder::InsertionGuard guard(code);
            code.setInsertionPointToStart(pieces.getBody());
            ValueRange carried = pieces.getRegionIterArgs();
            own =
                ofPiece(code.mul(pieces.getInductionVar(), code.i32(cut.piece)),
                        {carried[0], carried[1]});
            scf::YieldOp::create(code, own.values());
            own = {pieces.getResult(0), pieces.getResult(1)};
          }
          own = reduce(code, columns, own);
          auto store = [&](const Best &best) {
            code.when(code.equal(code.widen(columns.first()), 0), [&] {
              // A row without a number.
              Value isNone = code.compare(arith::CmpIPredicate::eq, best.column,
                                          code.i32(nowhere));
              code.store(code.select(isNone, code.i32(0), best.column),
                         code.atRow(in[op.getOut()].pointer, row, 4));
            });
          };
          if (workspace.splits == 1)
            return store(own);
          Value isAlone =
              code.compare(arith::CmpIPredicate::eq, parts, code.i32(1));
          code.when(
              isAlone, [&] { store(own); },
              [&] {
                bestOfBlocks(in, op, workspace, columns, row, part, parts, own,
                             store);
              });
        };
        if (team.perBlock() == 1)
          return work();
        // Teams leave as a whole.
        code.when(code.less(row, code.narrow(rows)), work);
      });
  return success();
}
