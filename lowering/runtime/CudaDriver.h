//===- CudaDriver.h - the driver of a GPU, or its emulation -----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// The one way to a GPU: a table of functions of the CUDA driver API, found in
// libcuda when a package for a GPU is loaded, or in libnest-ptx, which has the
// same functions over the PTX emulator. Nothing is linked to either.
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_CUDADRIVER_H
#define NESTC_LOWERING_RUNTIME_CUDADRIVER_H

#include "lowering/runtime/Cuda.h"
#include "lowering/runtime/Error.h"

#include <cstdint>
#include <memory>
#include <string>

namespace nestc {
namespace rt {

/// What the runtime calls; all are in drivers of CUDA 11.4.
#define NEST_CUDA_FUNCTIONS(X)                                                 \
  X(cuInit)                                                                    \
  X(cuGetErrorName)                                                            \
  X(cuGetErrorString)                                                          \
  X(cuDeviceGetCount)                                                          \
  X(cuDeviceGet)                                                               \
  X(cuDeviceGetName)                                                           \
  X(cuDeviceGetAttribute)                                                      \
  X(cuDevicePrimaryCtxRetain)                                                  \
  X(cuDevicePrimaryCtxRelease_v2)                                              \
  X(cuCtxSetCurrent)                                                           \
  X(cuCtxGetCurrent)                                                           \
  X(cuModuleLoadDataEx)                                                        \
  X(cuModuleUnload)                                                            \
  X(cuModuleGetFunction)                                                       \
  X(cuFuncGetAttribute)                                                        \
  X(cuFuncSetAttribute)                                                        \
  X(cuMemAlloc_v2)                                                             \
  X(cuMemFree_v2)                                                              \
  X(cuMemGetInfo_v2)                                                           \
  X(cuMemcpyHtoD_v2)                                                           \
  X(cuMemcpyHtoDAsync_v2)                                                      \
  X(cuMemcpyDtoHAsync_v2)                                                      \
  X(cuMemcpyDtoDAsync_v2)                                                      \
  X(cuMemsetD8Async)                                                           \
  X(cuStreamCreate)                                                            \
  X(cuStreamDestroy_v2)                                                        \
  X(cuStreamSynchronize)                                                       \
  X(cuLaunchKernel)                                                            \
  X(cuStreamBeginCapture_v2)                                                   \
  X(cuStreamEndCapture)                                                        \
  X(cuGraphInstantiateWithFlags)                                               \
  X(cuGraphLaunch)                                                             \
  X(cuGraphExecDestroy)                                                        \
  X(cuGraphDestroy)

/// The table, by the names of the driver API.
// NOLINTBEGIN(readability-identifier-naming)
struct CudaFunctions {
#define NEST_CUDA_MEMBER(name) decltype(&::name) name = nullptr;
  NEST_CUDA_FUNCTIONS(NEST_CUDA_MEMBER)
#undef NEST_CUDA_MEMBER
  /// Null where the driver is no emulation.
  decltype(&::nestPtxMessage) nestPtxMessage = nullptr;
};
// NOLINTEND(readability-identifier-naming)

class CudaDriver {
public:
  /// Loads libcuda, or with `emulate` libnest-ptx: NEST_PTX_DRIVER, else the
  /// one beside this library. An error says what to do. The library stays
  /// loaded.
  static Expected<std::shared_ptr<const CudaDriver>> open(bool emulate);
  /// A driver that is there already.
  explicit CudaDriver(const CudaFunctions &functions) : functions(functions) {}

  const CudaFunctions *operator->() const { return &functions; }
  bool emulated() const { return functions.nestPtxMessage != nullptr; }

  /// "CUDA_ERROR_NAME (text)", and what the emulator has to say. Directly after
  /// the call that failed.
  std::string text(CUresult result) const;
  /// An error of that text unless all is well.
  Status check(CUresult result, const std::string &place,
               const std::string &what) const;

private:
  CudaFunctions functions;
};

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_CUDADRIVER_H
