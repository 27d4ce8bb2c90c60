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

  /// The same as i32, which hot code counts in.
  Value thread32();
  Value block32(unsigned dimension = 0);
  Value i32(int64_t value);

  /// for (index = thread; index < count; index += threads): the block's share.
  void share(Value count, llvm::function_ref<void(Value index)> body);
  /// What `then` gives where the condition holds, else `otherwise`.
  llvm::SmallVector<Value>
  choose(Value condition, ValueRange otherwise,
         llvm::function_ref<llvm::SmallVector<Value>()> then);

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
  /// The same over the block; `shared` is room for a value of each warp in
  /// shared memory, which is free again after the next barrier.
  Value reduceBlock(Value value, Value shared,
                    llvm::function_ref<Value(Value, Value)> combine);
  Value sumBlock(Value value, Value shared);
  Value maxBlock(Value value, Value shared);

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
  // Memory in wide accesses. On a GPU every buffer starts at a multiple of 64
  // bytes: an allocation of its own, or an offset of the memory plan.
  //===--------------------------------------------------------------------===//

  /// The pointer, as many bytes on as an i32, not below 0, and a constant say.
  Value atByte(Value pointer, Value bytes, int64_t more = 0);
  /// &pointer[row] of rows of `bytes`, of an i32 not below 0.
  Value atRow(Value pointer, Value row, int64_t bytes);
  /// As Code::loadVector and storeVector, aligned to what is moved: at most 16
  /// bytes in one access.
  Value loadWide(Type stored, Value pointer, int64_t width);
  void storeWide(Type stored, Value vector, Value pointer);
  void storeVector(Type stored, Value vector, Value pointer) override;

  //===--------------------------------------------------------------------===//
  // f32 vectors
  //===--------------------------------------------------------------------===//

  /// Of numbers, in one instruction.
  Value maxNumber(Value a, Value b);
  /// At most 2 units in the last place off (div.full, or times 1 / b).
  Value divide(Value a, Value b) override;
  Value rsqrt(Value x) override;
  /// By ex2.approx.
  Value exp(Value x) override;
  /// Intrinsic of LLVM from f32 to f32, for every element.
  Value eachElement(llvm::StringRef intrinsic, ValueRange vectors);
};

} // namespace nestc::nvptx

#endif // NESTC_LOWERING_NVPTX_DEVICE_H
