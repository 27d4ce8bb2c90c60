//===- CudaDriver.cpp - the driver of a GPU, or its emulation ---*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/CudaDriver.h"
#include "lowering/runtime/Files.h"
#include "nest/runtime.h"

#include <climits>
#include <cstdlib>
#include <dlfcn.h>
#include <vector>

using namespace nestc::rt;

static std::string directoryOf(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

/// Where libnest-ptx may lie, the likely places first.
static std::vector<std::string> emulatorPaths() {
  if (const char *given = std::getenv("NEST_PTX_DRIVER"); given && *given)
    return {given};
  const std::string name = "libnest-ptx.so";
  std::vector<std::string> directories, paths;
  Dl_info info;
  // This code is in libnestrt, or linked into a program (whose name the loader
  // may know by argv[0] only).
  if (::dladdr(reinterpret_cast<const void *>(&emulatorPaths), &info) &&
      info.dli_fname)
    directories.push_back(directoryOf(info.dli_fname));
  char program[PATH_MAX];
  if (::realpath("/proc/self/exe", program))
    directories.push_back(directoryOf(program));
  for (const std::string &directory : directories)
    for (const std::string &part : {directory, directory + "/../lib"})
      if (!directory.empty() && fileExists(joinPath(part, name)))
        paths.push_back(joinPath(part, name));
  paths.push_back(name);
  return paths;
}

static std::string lastProblem() {
  const char *problem = ::dlerror();
  return problem ? problem : "no reason is known";
}

Expected<std::shared_ptr<const CudaDriver>> CudaDriver::open(bool emulate) {
  std::string path = "libcuda.so.1", problem;
  void *library = nullptr;
  if (emulate) {
    for (const std::string &each : emulatorPaths()) {
      path = each;
      library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library)
        break;
      problem = lastProblem();
    }
    if (!library)
      return Error(path, "the PTX emulator cannot be loaded: " + problem,
                   "libnest-ptx.so beside libnestrt.so, or its path in "
                   "NEST_PTX_DRIVER")
          .withCode(NEST_ERROR_UNSUPPORTED);
  } else {
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library)
      return Error(path, "there is no NVIDIA driver: " + lastProblem(),
                   "a machine with an NVIDIA GPU and its driver; or emulate "
                   "the GPU (nestc run --emulate)")
          .withCode(NEST_ERROR_UNSUPPORTED);
  }
  CudaFunctions functions;
  std::string missing;
  auto find = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(
        ::dlsym(library, name));
    if (!function && missing.empty())
      missing = name;
  };
#define NEST_CUDA_FIND(name) find(functions.name, #name);
  NEST_CUDA_FUNCTIONS(NEST_CUDA_FIND)
#undef NEST_CUDA_FIND
  if (emulate)
    find(functions.nestPtxMessage, "nestPtxMessage");
  if (!missing.empty()) {
    ::dlclose(library);
    return Error(path,
                 emulate ? "is no driver of this version: it lacks " + missing
                         : "the NVIDIA driver is too old: it lacks " + missing,
                 emulate ? "the libnest-ptx.so of this libnestrt"
                         : "a driver for CUDA 11.4 or later")
        .withCode(NEST_ERROR_UNSUPPORTED);
  }
  return std::make_shared<const CudaDriver>(functions);
}

std::string CudaDriver::text(CUresult result) const {
  // Before any other call changes it.
  std::string message =
      functions.nestPtxMessage ? functions.nestPtxMessage() : "";
  const char *name = nullptr, *shown = nullptr;
  if (functions.cuGetErrorName(result, &name) || !name)
    return "CUDA error " + std::to_string(result);
  std::string text = name;
  if (!functions.cuGetErrorString(result, &shown) && shown)
    text += std::string(" (") + shown + ")";
  if (!message.empty())
    text += ": " + message;
  return text;
}

Status CudaDriver::check(CUresult result, const std::string &place,
                         const std::string &what) const {
  if (result == CUDA_SUCCESS)
    return Status::success();
  return Error(place, what + ": " + text(result)).withCode(NEST_ERROR_INTERNAL);
}
