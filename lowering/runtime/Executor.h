//===- Executor.h - memory and threads of a call ----------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_EXECUTOR_H
#define NESTC_LOWERING_RUNTIME_EXECUTOR_H

#include "lowering/runtime/Error.h"
#include "lowering/runtime/Package.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace nestc {
namespace rt {

/// Zeroed anonymous pages; they take memory when they are first touched.
class Memory {
public:
  Memory() = default;
  Memory(Memory &&other) noexcept { *this = std::move(other); }
  Memory &operator=(Memory &&other) noexcept {
    std::swap(base, other.base);
    std::swap(bytes, other.bytes);
    return *this;
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  ~Memory();

  /// `hugePages` asks for them: for memory that is used as a whole.
  static Expected<Memory> allocate(uint64_t bytes, bool hugePages,
                                   const std::string &what);
  void *data() const { return base; }
  uint64_t size() const { return bytes; }

private:
  void *base = nullptr;
  uint64_t bytes = 0;
};

/// Bytes this process can still take: what the system calls available, within
/// the limits of its control groups.
uint64_t availableMemory();

/// "1.5 GiB".
std::string bytesText(uint64_t bytes);

/// An error with both figures when `bytes` are more than what is available.
Status checkMemory(uint64_t bytes, const std::string &what);

/// Threads, scratch and arena for calling entry points; not for two calls at a
/// time. Both grow when a call needs more.
class Executor {
public:
  /// 0: OpenMP's default.
  explicit Executor(int threads);

  int threads() const { return workers; }

  /// Calls an entry point. `inputs` and `outputs` in the order of the manifest;
  /// weights are added.
  Status call(const Package &package, size_t entry,
              const std::vector<void *> &inputs,
              const std::vector<void *> &outputs,
              const std::vector<int64_t> &dims);

private:
  static void parallelFor(void *runtime, nest_task task, void *context,
                          int64_t count);

  int workers;
  Memory arena, scratch;
  std::vector<void *> buffers;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_EXECUTOR_H
