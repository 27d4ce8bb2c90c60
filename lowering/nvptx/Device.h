//===- Device.h - a builder for code of a GPU -------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The builder of lowering/code, with what threads of a block do together. Code
// of a kernel is written for one thread. Loops and conditions are scf; a block
// must come to a barrier as a whole.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_NVPTX_DEVICE_H
#define NESTC_LOWERING_NVPTX_DEVICE_H

#include "lowering/code/Code.h"

namespace nestc::nvptx {

using code::Code;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;

inline constexpr int64_t warpSize = 32;

/// Address spaces of LLVM's NVPTX target.
inline constexpr unsigned globalSpace = 1, sharedSpace = 3;

class Device : public Code {
public:
  /// `threads` are those of a block, a multiple of 32.
  Device(mlir::Location location, mlir::OpBuilder at, int64_t threads)
      : Code(location, at, /*lanes=*/1), threads(threads) {}

  const int64_t threads;

  //===--------------------------------------------------------------------===//
  // Where a thread is, as i64
  //===--------------------------------------------------------------------===//

  Value thread();
  Value block(unsigned dimension = 0);
  Value lane() { return rem(thread(), warpSize); }
  Value warp() { return div(thread(), warpSize); }

  /// for (index = thread; index < count; index += threads): the block's share.
  void share(Value count, llvm::function_ref<void(Value index)> body);

  //===--------------------------------------------------------------------===//
  // What threads do together
  //===--------------------------------------------------------------------===//

  /// bar.sync 0: all threads of the block.
  void barrier();
  /// The value of another lane: lane ^ mask, or lane - delta (of lanes below
  /// delta, their own). f32 or i32, in all lanes of the warp.
  Value shuffleXor(Value value, int64_t mask);
  Value shuffleUp(Value value, int64_t delta);
  /// The value of lane `from`, an i64.
  Value shuffleFrom(Value value, Value from);
  /// Combined over the lanes of the warp, the same in all of them.
  Value reduceWarp(Value value,
                   llvm::function_ref<Value(Value, Value)> combine);
  /// bar.warp.sync: all threads of the warp.
  void syncWarp();
  /// bar.sync of `count` threads that name the same barrier, 1 to 15, an i32.
  void barrierOf(Value name, int64_t count);

  //===--------------------------------------------------------------------===//
  // Shared memory
  //===--------------------------------------------------------------------===//

  /// The dynamic shared memory of the block from `byte` on, which the stage's
  /// Geometry::shared has room for. Aligned to 1024 at 0.
  Value shared(int64_t byte = 0);
  /// As Code::at, in shared memory.
  Value atShared(Value pointer, Type type, Value index);

  /// An f32 as i32 and back.
  Value asInt(Value value);
  Value asFloat(Value value);
  /// An i64 as i32 and back, of values that fit.
  Value narrow(Value value);
  Value widen(Value value);

  //===--------------------------------------------------------------------===//
  // Hot loops: i32 arithmetic, addresses of shared memory as i32
  //===--------------------------------------------------------------------===//

  Value i32(int64_t value);
  Value thread32();
  Value block32(unsigned dimension = 0);
  /// As `value`, but LLVM does not see through it: a base to which constants
  /// are added stays one register, the constants become immediates.
  Value opaque(Value value);
  /// The same, and LLVM does not see that two of them are equal either: what is
  /// made of the one is made again of the other.
  Value unlike(Value value);
  /// The same for a pointer to global memory.
  Value opaquePointer(Value pointer);
  /// The address of shared(byte) in the window of shared memory.
  Value sharedAddress(int64_t byte = 0);
  /// A pointer to `address` + `offset` (null for 0) + `byte`.
  Value sharedAt(Value address, Value offset, int64_t byte);
  /// A generic pointer as one to global memory.
  Value global(Value pointer);
  /// &pointer[byte], of any address space.
  Value byteAt(Value pointer, Value byte);
  Value byteAt(Value pointer, int64_t byte);
  /// &pointer[byte] of an i32 that is not negative, and &pointer[row] of rows
  /// of `bytes`.
  Value atByte(Value pointer, Value byte);
  Value atRow(Value pointer, Value row, int64_t bytes);
  /// `width` values as vector<width x f32> and back, aligned to the
  /// size of the access, at most 16. `stored` is f32, bf16 or f16; rounds to
  /// nearest, ties to even.
  Value loadWide(Type stored, Value pointer, int64_t width);
  void storeWide(Type stored, Value vector, Value pointer);
  /// Two f32 as bf16 or f16 in an i32, `low` in the low half.
  Value packPair(Type stored, Value low, Value high);
  /// condition ? then() : otherwise; `then` runs only where the condition
  /// holds.
  Value valueIf(Value condition, llvm::function_ref<Value()> then,
                Value otherwise);
  /// Bit l of the result: the condition in lane l.
  Value ballot(Value condition);
  /// Neither LLVM nor ptxas unrolls the loop that gave `result`.
  void keepRolled(Value result);

  //===--------------------------------------------------------------------===//
  // Asynchronous copies and tensor cores (PTX ISA 9.7.9.25, 9.7.14)
  //===--------------------------------------------------------------------===//

  /// cp.async.cg of 16 bytes; with `bytes`, an i32, the rest of the 16 is zero.
  void copyAsync(Value toShared, Value fromGlobal, Value bytes = nullptr);
  void commitCopies();
  /// Waits until at most `groups` groups of copies of the thread are pending.
  void waitCopies(int64_t groups);
  /// ldmatrix.x4 of b16: four i32.
  llvm::SmallVector<Value> loadMatrices(Value pointer);
  /// mma.m16n8k16 of bf16 or f16: `sums`, four f32, + a (four i32) b (two).
  llvm::SmallVector<Value> multiply(Type stored, ValueRange a, ValueRange b,
                                    ValueRange sums);
  /// ldmatrix.x4.trans of b16.
  llvm::SmallVector<Value> loadMatricesTransposed(Value pointer);

  //===--------------------------------------------------------------------===//
  // Single numbers
  //===--------------------------------------------------------------------===//

  /// Of numbers, in one instruction.
  Value maxNumber(Value a, Value b);
  Value minNumber(Value a, Value b);
  /// 2^x of an f32 in one instruction, 0 for what would be subnormal. Its
  /// relative error is at most 2^-22.
  Value exp2(Value x);
  /// Two bf16 in an i32: the upper halves of two f32.
  Value upperHalves(Value low, Value high);
  /// The same in all lanes: whether the condition holds in one of them.
  Value anyLane(Value condition);
  /// What `then` gives where the condition holds, else `otherwise`.
  llvm::SmallVector<Value>
  choose(Value condition, ValueRange otherwise,
         llvm::function_ref<llvm::SmallVector<Value>()> then);

  //===--------------------------------------------------------------------===//
  // f32 vectors
  //===--------------------------------------------------------------------===//

  void storeVector(Type stored, Value vector, Value pointer) override;
  /// At most 2 units in the last place off (div.full, or times 1 / b).
  Value divide(Value a, Value b) override;
  /// At most 2^-22.9 off (rsqrt.approx).
  Value rsqrt(Value x) override;
  /// By ex2.approx.
  Value exp(Value x) override;
  /// What `body` makes of the elements of vectors, as vectors of one, put
  /// together again. Of wider vectors LLVM makes pairs for sm_100 and later,
  /// with moves around them.
  llvm::SmallVector<Value>
  byElement(ValueRange vectors, unsigned results,
            llvm::function_ref<llvm::SmallVector<Value>(ValueRange)> body);
  /// An intrinsic of LLVM from f32 to f32, for every element.
  Value eachElement(llvm::StringRef intrinsic, ValueRange vectors);

  //===--------------------------------------------------------------------===//
  // Counts and sets of lanes, as i32
  //===--------------------------------------------------------------------===//

  /// 1 where a condition holds, else 0.
  Value count(Value condition);
  Value bitAnd(Value a, Value b);
  Value bitOr(Value a, Value b);
  Value bitXor(Value a, Value b);
  Value shiftLeft(Value value, int64_t bits);
  /// Without a sign, as minUnsigned.
  Value shiftRight(Value value, int64_t bits);
  Value minUnsigned(Value a, Value b);
  Value compare(mlir::arith::CmpIPredicate predicate, Value a, Value b);
  Value countBits(Value value);
  /// The number of the highest bit that is set.
  Value highestBit(Value value);
  /// Over the lanes of a warp, the same in all of them: the sum, and the least
  /// without a sign.
  Value sumLanes(Value value);
  Value minLanes(Value value);
  /// The sum over the own lane and those below.
  Value scanLanes(Value value);
  /// A bit for every lane that has an equal value.
  Value matchLanes(Value value);
  /// A bit for every lane below the own one.
  Value lanesBelow();
  /// words[index] += 1, atomic: words are i32 at `byte` bytes behind an address
  /// of shared memory.
  void countShared(Value address, Value index, int64_t byte);
  /// value + amount or value - amount where a condition holds, else value, in
  /// one instruction. i32 or i64.
  Value addIf(Value condition, Value value, Value amount);
  Value subIf(Value condition, Value value, Value amount);
  /// Stores an i32 to an address of global memory, an i64, where a condition
  /// holds, without a branch.
  void storeIf(Value condition, Value value, Value address);

  //===--------------------------------------------------------------------===//
  // What blocks do together
  //===--------------------------------------------------------------------===//

  /// Whether this block is the last one of `last` + 1, an i32, that come here:
  /// then the block sees what all of them wrote. `counter` is an i32 in global
  /// memory, zero before and after.
  Value isLastBlock(Value counter, Value last);
  /// Blocks of the grid.
  Value grid32(unsigned dimension);
};

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_DEVICE_H
