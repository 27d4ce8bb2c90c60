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
#include <memory>
#include <string>
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

/// Memory of an executor, freed with the last owner.
using Resident = std::shared_ptr<void>;

/// A buffer of a call.
struct Argument {
  /// Null: an output that the host does not want.
  void *data = nullptr;
  uint64_t bytes = 0;    ///< only of the host's memory
  bool resident = false; ///< an address in a Resident; else of the host

  static Argument of(void *address) { return {address, 0, true}; }
  static Argument onHost(void *data, uint64_t bytes) {
    return {data, bytes, false};
  }
};

/// Where a session's buffers live and its calls run. Not for two calls at a
/// time. Addresses of Residents are for arithmetic only: on a GPU they are not
/// of the host.
class Executor {
public:
  virtual ~Executor() = default;
  /// For the target of the package. `threads`: 0 for OpenMP's default.
  static Expected<std::unique_ptr<Executor>> create(const Package &package,
                                                    int threads);

  /// An early error when `bytes`, which will be used in what allocate() gives,
  /// are not there; where allocate() takes them at once it says so itself.
  virtual Status checkRoom(uint64_t bytes, const std::string &what) = 0;
  /// Zeroed memory, aligned to 256 bytes at least. `what` is for messages.
  virtual Expected<Resident> allocate(uint64_t bytes,
                                      const std::string &what) = 0;
  virtual Status zero(void *to, uint64_t bytes) = 0;
  virtual Status upload(void *to, const void *from, uint64_t bytes) = 0;
  virtual Status download(void *to, const void *from, uint64_t bytes) = 0;
  /// From one Resident to another.
  virtual Status copy(void *to, const void *from, uint64_t bytes) = 0;

  /// Calls an entry point. `inputs` and `outputs` in the order of the manifest;
  /// weights are added. Arguments of the host are brought and fetched where
  /// that is needed.
  virtual Status call(size_t entry, const std::vector<Argument> &inputs,
                      const std::vector<Argument> &outputs,
                      const std::vector<int64_t> &dims) = 0;
};

/// Threads, scratch and arena of the host, which grow when a call needs more.
class CpuExecutor : public Executor {
public:
  CpuExecutor(const Package &package, int threads);

  Status checkRoom(uint64_t bytes, const std::string &what) override;
  Expected<Resident> allocate(uint64_t bytes, const std::string &what) override;
  Status zero(void *to, uint64_t bytes) override;
  Status upload(void *to, const void *from, uint64_t bytes) override;
  Status download(void *to, const void *from, uint64_t bytes) override;
  Status copy(void *to, const void *from, uint64_t bytes) override;
  Status call(size_t entry, const std::vector<Argument> &inputs,
              const std::vector<Argument> &outputs,
              const std::vector<int64_t> &dims) override;

private:
  static void parallelFor(void *runtime, nest_task task, void *context,
                          int64_t count);

  const Package &package;
  int workers;
  Memory arena, scratch;
  /// By output, where unwanted ones go.
  std::vector<Memory> unwanted;
  std::vector<void *> buffers;
};

/// What an entry point that does not return 0 is told as.
Error codeFailed(const std::string &place, int32_t result);
/// What arenaBytes() that cannot be counted are told as.
Error arenaTooLarge(const std::string &place);

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_EXECUTOR_H
