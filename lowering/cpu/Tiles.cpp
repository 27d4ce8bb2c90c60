//===- Tiles.cpp - the inner loops that kernels share -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/cpu/Tiles.h"

using namespace mlir;
using namespace nestc;
using namespace nestc::cpu;

static std::string nameOf(const Twine &what, Type stored) {
  std::string name = ("nest_" + what + "_").str();
  llvm::raw_string_ostream(name) << stored;
  return name;
}

//===----------------------------------------------------------------------===//
// Register tiles
//===----------------------------------------------------------------------===//

// (left, panel, c, c's stride, depth, accumulate) for a fixed number of rows.
static LLVMFuncOp tileOf(Generator &generator, Code &outer, int64_t rows) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  return generator.routine(
      ("nest_tile_" + Twine(rows)).str(),
      {pointer, pointer, pointer, integer, integer, outer.getI1Type()},
      [&](Code &code, ValueRange args) {
        Tiling tiling(code.lanes);
        Value left = args[0], panel = args[1], c = args[2], stride = args[3];
        SmallVector<Value> zeros(2 * rows, code.splat(0, code.lanes));
        SmallVector<Value> sums = code.loop(
            code.i64(0), args[4], 1, zeros, [&](Value k, ValueRange carried) {
              SmallVector<Value> next(carried);
              Value from = code.atF32(panel, code.mul(k, tiling.columns));
              Value b0 = code.load(code.f32Vector(code.lanes), from);
              Value b1 = code.load(code.f32Vector(code.lanes),
                                   code.atF32(from, code.lanes));
              Value column = code.atF32(left, k);
              for (int64_t r = 0; r < rows; ++r) {
                Value a = code.load(code.getF32Type(),
                                    code.atF32(column, r * Tiling::stride));
                a = code.broadcast(a, code.lanes);
                next[2 * r] = code.fma(a, b0, next[2 * r]);
                next[2 * r + 1] = code.fma(a, b1, next[2 * r + 1]);
              }
              return next;
            });
        auto write = [&](bool accumulate) {
          for (int64_t i = 0; i < 2 * rows; ++i) {
            Value to = code.atF32(
                c, code.add(code.mul(stride, i / 2), (i % 2) * code.lanes));
            Value sum = sums[i];
            if (accumulate)
              sum = code.fadd(code.load(sum.getType(), to), sum);
            code.store(sum, to);
          }
        };
        code.when(args[5], [&] { write(true); }, [&] { write(false); });
      });
}

void cpu::multiplyTile(Generator &generator, Code &outer, Value rows,
                       Value left, Value panel, Value c, Value cStride,
                       Value depth, Value accumulate) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  Type bit = outer.getI1Type();
  LLVMFuncOp any = generator.routine(
      "nest_tile", {integer, pointer, pointer, pointer, integer, integer, bit},
      [&](Code &code, ValueRange args) {
        int64_t most = Tiling(code.lanes).rows;
        SmallVector<int64_t> cases;
        for (int64_t rows = 2; rows < most; rows += 2)
          cases.push_back(rows / 2);
        Value half = arith::IndexCastOp::create(
            code, code.getIndexType(), code.div(code.add(args[0], 1), 2));
        auto choice = scf::IndexSwitchOp::create(code, TypeRange(), half, cases,
                                                 cases.size());
        OpBuilder::InsertionGuard guard(code);
        auto emit = [&](Region &region, int64_t rows) {
          code.setInsertionPointToStart(&region.emplaceBlock());
          LLVM::CallOp::create(code, tileOf(generator, code, rows),
                               args.drop_front());
          scf::YieldOp::create(code);
        };
        for (auto [i, value] : llvm::enumerate(cases))
          emit(choice.getCaseRegions()[i], 2 * value);
        emit(choice.getDefaultRegion(), most);
      });
  LLVM::CallOp::create(
      outer, any, ValueRange{rows, left, panel, c, cStride, depth, accumulate});
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

// Transposes a square of vectors by exchanging halves at growing distances.
static void transpose(Code &code, SmallVectorImpl<Value> &rows) {
  int64_t size = rows.size();
  for (int64_t d = 1; d < size; d *= 2) {
    SmallVector<int64_t> even, odd;
    for (int64_t j = 0; j < size; ++j) {
      even.push_back(j & d ? size + j - d : j);
      odd.push_back(j & d ? size + j : j + d);
    }
    for (int64_t i = 0; i < size; ++i) {
      if (i & d)
        continue;
      Value a = rows[i], b = rows[i + d];
      rows[i] = vector::ShuffleOp::create(code, a, b, even);
      rows[i + d] = vector::ShuffleOp::create(code, a, b, odd);
    }
  }
}

void cpu::packPanel(Generator &generator, Code &outer, Type stored, Value w,
                    Value stride, Value valid, Value depth, Value panel) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  LLVMFuncOp routine = generator.routine(
      nameOf("pack", stored), {pointer, integer, integer, integer, pointer},
      [&](Code &code, ValueRange args) {
        Tiling tiling(code.lanes);
        Value w = args[0], stride = args[1], last = code.sub(args[2], 1);
        Value depth = args[3], panel = args[4];
        Value whole = code.mul(code.div(depth, code.lanes), code.lanes);
        // One vector of columns after the other.
        code.loop(code.i64(0), code.i64(2), 1, [&](Value half) {
          Value first = code.mul(half, code.lanes);
          SmallVector<Value> starts;
          for (int64_t i = 0; i < code.lanes; ++i) {
            Value row = code.min(code.add(first, i), last);
            starts.push_back(code.at(w, stored, code.mul(row, stride)));
          }
          Value to = code.atF32(panel, first);
          code.loop(code.i64(0), whole, code.lanes, [&](Value k) {
            SmallVector<Value> square;
            for (Value start : starts)
              square.push_back(code.loadVector(
                  stored, code.at(start, stored, k), code.lanes));
            transpose(code, square);
            Value rows = code.atF32(to, code.mul(k, tiling.columns));
            for (auto [i, row] : llvm::enumerate(square))
              code.store(row, code.atF32(rows, i * tiling.columns));
          });
          code.loop(whole, depth, 1, [&](Value k) {
            Value rows = code.atF32(to, code.mul(k, tiling.columns));
            code.loop(code.i64(code.lanes), [&](Value i) {
              Value row = code.min(code.add(first, i), last);
              Value from =
                  code.at(w, stored, code.add(code.mul(row, stride), k));
              code.store(code.loadVector(stored, from, 1), code.atF32(rows, i));
            });
          });
        });
      });
  LLVM::CallOp::create(outer, routine,
                       ValueRange{w, stride, valid, depth, panel});
}

void cpu::copyRows(Generator &generator, Code &outer, Type stored, Value from,
                   Value fromStride, Value rows, Value depth, Value to,
                   Value toStride, Value indices) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  SmallVector<Type> types{pointer, integer, integer, integer, pointer, integer};
  SmallVector<Value> arguments{from, fromStride, rows, depth, to, toStride};
  if (indices) {
    types.push_back(pointer);
    arguments.push_back(indices);
  }
  LLVMFuncOp routine = generator.routine(
      nameOf(indices ? "gather" : "copy", stored), types,
      [&](Code &code, ValueRange args) {
        code.loop(args[2], [&](Value r) {
          Value row = r;
          if (args.size() > 6)
            row = code.loadI32(code.at(args[6], code.getI32Type(), r));
          Value source = code.atF32(args[0], code.mul(row, args[1]));
          Value target = code.atF32(args[4], code.mul(r, args[5]));
          code.columns(args[3], [&](Value k, int64_t width) {
            Value v = code.load(code.f32Vector(width), code.atF32(source, k));
            code.store(code.roundTo(stored, v), code.atF32(target, k));
          });
        });
      });
  LLVM::CallOp::create(outer, routine, arguments);
}

//===----------------------------------------------------------------------===//
// Dot products
//===----------------------------------------------------------------------===//

// (w, w's stride, columns, a, a's stride, c, c's stride, depth) for a fixed
// number of rows of a. `group` rows of w go together; `unroll` vectors of each
// keep the units busy when there are few sums.
static LLVMFuncOp dotsOf(Generator &generator, Code &outer, Type stored,
                         int64_t rows) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  return generator.routine(
      nameOf("dots_" + Twine(rows), stored),
      {pointer, integer, integer, pointer, integer, pointer, integer, integer},
      [&](Code &code, ValueRange args) {
        int64_t group = rows == 1 || (rows == 8 && code.lanes < 16) ? 1 : 2;
        int64_t unroll = rows == 1 ? 4 : rows == 2 ? 2 : 1;
        int64_t lanes = code.lanes, sums = rows * group;
        Value w = args[0], wStride = args[1], columns = args[2];
        Value a = args[3], aStride = args[4], c = args[5], cStride = args[6];
        Value depth = args[7];
        SmallVector<Value> aRows;
        for (int64_t m = 0; m < rows; ++m)
          aRows.push_back(code.atF32(a, code.mul(aStride, m)));
        Value many = code.mul(code.div(depth, lanes * unroll), lanes * unroll);
        Value whole = code.mul(code.div(depth, lanes), lanes);
        Value last = code.sub(columns, 1);

        code.loop(code.i64(0), columns, group, [&](Value n) {
          SmallVector<Value> wRows;
          for (int64_t i = 0; i < group; ++i)
            wRows.push_back(code.at(
                w, stored, code.mul(code.min(code.add(n, i), last), wStride)));
          // One step of `width` elements of k; sums [unroll][group][rows].
          auto step = [&](Value k, int64_t u, int64_t width,
                          MutableArrayRef<Value> sum) {
            k = code.add(k, u * width);
            SmallVector<Value> left;
            for (Value row : aRows)
              left.push_back(
                  code.load(code.f32Vector(width), code.atF32(row, k)));
            for (int64_t i = 0; i < group; ++i) {
              Value right =
                  code.loadVector(stored, code.at(wRows[i], stored, k), width);
              for (int64_t m = 0; m < rows; ++m) {
                Value &s = sum[(u * group + i) * rows + m];
                s = code.fma(left[m], right, s);
              }
            }
          };
          SmallVector<Value> sum(unroll * sums, code.splat(0, lanes));
          sum = code.loop(code.i64(0), many, lanes * unroll, sum,
                          [&](Value k, ValueRange carried) {
                            SmallVector<Value> next(carried);
                            for (int64_t u = 0; u < unroll; ++u)
                              step(k, u, lanes, next);
                            return next;
                          });
          for (int64_t u = unroll - 1; u > 0; --u)
            for (int64_t i = 0; i < sums; ++i)
              sum[i] = code.fadd(sum[i], sum[u * sums + i]);
          sum.truncate(sums);
          auto rest = [&](Value low, Value high, int64_t width) {
            sum = code.loop(low, high, width, sum,
                            [&](Value k, ValueRange carried) {
                              SmallVector<Value> next(carried);
                              step(k, 0, width, next);
                              return next;
                            });
          };
          if (unroll > 1)
            rest(many, whole, lanes);
          for (Value &s : sum)
            s = code.broadcast(code.sum(s), 1);
          rest(whole, depth, 1);
          for (int64_t i = 0; i < group; ++i)
            for (int64_t m = 0; m < rows; ++m)
              code.store(sum[i * rows + m],
                         code.atF32(c, code.add(code.add(n, i),
                                                code.mul(cStride, m))));
        });
      });
}

void cpu::multiplyDots(Generator &generator, Code &outer, Type stored, Value w,
                       Value wStride, Value columns, Value a, Value aStride,
                       Value rows, Value c, Value cStride, Value depth) {
  Type pointer = outer.ptrType(), integer = outer.i64Type();
  LLVMFuncOp routine = generator.routine(
      nameOf("dots", stored),
      {pointer, integer, integer, pointer, integer, integer, pointer, integer,
       integer},
      [&](Code &code, ValueRange args) {
        auto some = [&](Value row, int64_t rows) {
          Value a = code.atF32(args[3], code.mul(row, args[4]));
          Value c = code.atF32(args[6], code.mul(row, args[7]));
          LLVM::CallOp::create(code, dotsOf(generator, code, stored, rows),
                               ValueRange{args[0], args[1], args[2], a, args[4],
                                          c, args[7], args[8]});
        };
        // Eights, then what is left as 4 + 2 + 1.
        Value rows = args[5];
        Value done = code.mul(code.div(rows, 8), 8);
        code.loop(code.i64(0), done, 8, [&](Value row) { some(row, 8); });
        for (int64_t part : {4, 2, 1}) {
          Value end = code.mul(code.div(rows, part), part);
          Value start = done;
          code.when(code.less(start, end), [&] { some(start, part); });
          done = end;
        }
      });
  LLVM::CallOp::create(
      outer, routine,
      ValueRange{w, wStride, columns, a, aStride, rows, c, cStride, depth});
}
