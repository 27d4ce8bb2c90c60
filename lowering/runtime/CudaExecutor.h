//===- CudaExecutor.h - packages and calls on a GPU -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A package's device side (context, module, weights) is made once, when the
// package is loaded, and shared by its sessions. An executor has a stream: it
// brings what the host gives, runs the entry point, which launches kernels,
// fetches what the host wants, and then waits, once. Nothing is fetched
// between.
//
// The launches of an entry point depend on its dims and on the addresses of its
// buffers alone (nest/code_abi.h). So a call that repeats both is captured the
// second time, and is one launch of a graph from then on: every decode is.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_CUDAEXECUTOR_H
#define NESTC_LOWERING_RUNTIME_CUDAEXECUTOR_H

#include "lowering/runtime/CudaDriver.h"
#include "lowering/runtime/Executor.h"

#include <mutex>

namespace nestc {
namespace rt {

/// The device code of a package as it was read from its files.
struct DeviceCode {
  std::string ptx, cubin; ///< cubin may be empty
};

/// A package on the GPU. Shared by its sessions, from any thread.
class CudaPackage {
public:
  /// Takes the first device that the driver shows. Errors: no device, one of
  /// another compute capability than the package's target, code it refuses.
  static Expected<std::shared_ptr<CudaPackage>>
  load(std::shared_ptr<const CudaDriver> driver, const Manifest &manifest,
       const std::string &path, const DeviceCode &code);
  CudaPackage(const CudaPackage &) = delete;
  CudaPackage &operator=(const CudaPackage &) = delete;
  ~CudaPackage();

  /// Makes the context current while it lives.
  class Scope {
  public:
    explicit Scope(const CudaPackage &package);
    Scope(const Scope &) = delete;
    Scope &operator=(const Scope &) = delete;
    ~Scope();

  private:
    const CudaDriver &cuda;
    CUcontext before = nullptr;
  };

  const CudaDriver &driver() const { return *cuda; }
  size_t kernelCount() const { return kernels.size(); }
  CUfunction kernel(size_t index) const { return kernels[index].function; }
  const std::string &kernelName(size_t index) const {
    return kernels[index].name;
  }
  /// Lets a kernel have `bytes` of dynamic shared memory.
  CUresult allowShared(size_t index, int64_t bytes);
  /// Addresses of all weights of the manifest, brought there at the first call.
  Expected<const std::vector<void *> *> weights(const Package &package);
  /// Memory that holds anything. An error has the figure, and what is free.
  Expected<CUdeviceptr> allocate(uint64_t bytes, const std::string &what) const;

private:
  struct Kernel {
    std::string name;
    CUfunction function = nullptr;
    int64_t allowed = 0; ///< bytes of dynamic shared memory
  };
  explicit CudaPackage(std::shared_ptr<const CudaDriver> driver)
      : cuda(std::move(driver)) {}
  Status findDevice(const Manifest &manifest);
  Status loadModule(const Manifest &manifest, const std::string &path,
                    const DeviceCode &code);
  /// What the device is and what the package was made for.
  Error otherTarget(const std::string &target) const;

  std::shared_ptr<const CudaDriver> cuda;
  std::string place;
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUmodule module = nullptr;
  std::vector<Kernel> kernels;
  std::mutex lock; ///< of what follows, and of Kernel::allowed
  std::vector<void *> weightAddresses;
  std::vector<CUdeviceptr> weightMemory;
};

class CudaExecutor : public Executor {
public:
  static Expected<std::unique_ptr<Executor>> create(const Package &package);
  ~CudaExecutor() override;

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
  /// Device memory that stands for a buffer of the host.
  struct Staging {
    Resident memory;
    uint64_t bytes = 0;
  };
  /// A call that was made before.
  struct Replay {
    std::vector<uint64_t> key; ///< entry, dims, addresses
    CUgraphExec graph = nullptr;
    uint64_t lastUse = 0;
  };

  explicit CudaExecutor(const Package &package);
  /// Memory that is freed with its last owner and holds anything.
  Expected<Resident> allocateRaw(uint64_t bytes, const std::string &what);
  Status check(CUresult result, const char *what) const;
  /// Appends the addresses of arguments to `buffers`, with staging for those of
  /// the host.
  Status stage(size_t entry, size_t first, const std::vector<Argument> &all,
               bool bring);
  /// Runs the host code, and so launches the kernels.
  Status runCode(size_t entry, const std::vector<int64_t> &dims);
  /// The same by a graph where the call is known.
  Status runOrReplay(size_t entry, const std::vector<int64_t> &dims);
  Status capture(size_t entry, const std::vector<int64_t> &dims,
                 CUgraphExec &graph);
  static int32_t launch(void *runtime, int64_t kernel, const int64_t *geometry,
                        const int64_t *arguments, int64_t count);
  /// Keeps the first error of a launch, for runCode() to give.
  int32_t launchFailed(std::string message, std::string legal = {},
                       int32_t result = -1);

  const Package &package;
  std::shared_ptr<CudaPackage> device;
  CUstream stream = nullptr;
  Staging arena;
  std::vector<std::vector<Staging>> staging; ///< by entry and argument
  std::vector<void *> buffers;
  std::vector<Replay> replays;
  uint64_t calls = 0;
  std::string place; ///< of the call that runs, for messages
  std::optional<Error> launchError;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_CUDAEXECUTOR_H
