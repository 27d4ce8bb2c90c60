//===- Driver.h - state of the emulated CUDA driver -------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_PTX_DRIVER_DRIVER_H
#define NESTC_TOOLS_PTX_DRIVER_DRIVER_H

#include "lowering/runtime/Cuda.h"
#include "tools/ptx-emulator/Device.h"
#include "tools/ptx-emulator/Launch.h"

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

#define NEST_PTX_EXPORT extern "C" __attribute__((visibility("default")))

/// Owns what handles point to, and knows those that are gone.
template <typename T>
class Registry {
public:
  T *add(std::unique_ptr<T> object) {
    T *handle = object.get();
    objects.emplace(handle, std::move(object));
    return handle;
  }
  bool has(T *handle) const { return objects.count(handle) != 0; }
  /// False when there is no such thing.
  bool remove(T *handle) { return objects.erase(handle) != 0; }
  template <typename Body>
  void each(Body body) {
    for (auto &[handle, object] : objects)
      body(*object);
  }

private:
  std::map<T *, std::unique_ptr<T>> objects;
};

/// Work of a stream: done at once, or kept while the stream is captured.
using Work = std::function<CUresult(CUctx_st &)>;

struct CUmod_st {
  nestc::ptx::LoadedModule loaded;
  std::map<std::string, std::unique_ptr<CUfunc_st>, std::less<>> functions;
};

struct CUfunc_st {
  nestc::ptx::Program program;
  unsigned sm = 0;
  uint64_t dynamicShared = 0; ///< that a launch may ask for
};

struct CUstream_st {
  unsigned flags = 0;
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id capturer;
  std::vector<Work> captured;
};

struct CUevent_st {
  bool recorded = false;
  std::chrono::steady_clock::time_point time;
};

struct CUgraph_st {
  std::vector<Work> work;
};

struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace nestc {
namespace ptx {

/// What the environment says.
struct Settings {
  unsigned sm = 0; ///< NEST_PTX_SM; 0: that of each module
  Schedule schedule;
  std::string profile;
  uint64_t memory = uint64_t(80) << 30; ///< NEST_PTX_MEMORY

  /// An error names the variable and what is legal.
  static rt::Expected<Settings> read();
};

} // namespace ptx
} // namespace nestc

/// The primary context of the one device.
struct CUctx_st {
  explicit CUctx_st(nestc::ptx::Settings given);
  ~CUctx_st();

  /// A fault of a kernel: every later call says it again.
  CUresult sticky = CUDA_SUCCESS;
  std::string stickyMessage;

  nestc::ptx::Settings settings;
  nestc::ptx::Device device;
  unsigned lastSm = 0; ///< of the module loaded last
  uint64_t used = 0;   ///< bytes of `memory`
  uint64_t named = 0;  ///< allocations so far, for their names
  std::map<CUdeviceptr, uint64_t> memory;
  Registry<CUmod_st> modules;
  Registry<CUstream_st> streams;
  Registry<CUevent_st> events;
  Registry<CUgraph_st> graphs;
  Registry<CUgraphExec_st> execs;
  std::FILE *profile = nullptr;

  bool has(CUfunction function);
  /// The sm of the device, for questions about limits.
  unsigned sm() const;
};

namespace nestc {
namespace ptx {

/// Keeps `message` for nestPtxMessage() and gives `result` back.
CUresult fail(CUresult result, std::string message = {});

/// One call at a time: the emulator uses the cores by itself.
std::mutex &driverLock();
bool initialized();
/// The context of this thread, or null.
CUctx_st *currentContext();

/// Runs the body of a function that needs no context.
template <typename Body>
CUresult call(Body body) {
  std::lock_guard<std::mutex> lock(driverLock());
  try {
    if (!initialized())
      return fail(CUDA_ERROR_NOT_INITIALIZED, "cuInit has not been called");
    return body();
  } catch (const std::bad_alloc &) {
    return fail(CUDA_ERROR_OUT_OF_MEMORY);
  }
}

/// Runs `body(context)`, unless a kernel has failed before.
template <typename Body>
CUresult callInContext(Body body) {
  return call([&] {
    CUctx_st *context = currentContext();
    if (!context)
      return fail(CUDA_ERROR_INVALID_CONTEXT,
                  "no context is current in this thread");
    if (context->sticky)
      return fail(context->sticky, context->stickyMessage);
    return body(*context);
  });
}

/// Shared memory that a block may have without being allowed more.
constexpr uint64_t sharedDefault = 48 << 10;

/// Does the work, or records it when the stream is captured.
CUresult submit(CUctx_st &context, CUstream stream, Work work);

/// For calls that wait or use the legacy stream: an error, which spoils the
/// capture, while this thread captures in a mode that is not relaxed.
CUresult refuseInCapture(CUctx_st &context, const char *function);

} // namespace ptx
} // namespace nestc

#endif // NESTC_TOOLS_PTX_DRIVER_DRIVER_H
