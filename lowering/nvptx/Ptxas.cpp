//===- Ptxas.cpp - PTX to machine code ------------------------------------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Ptxas.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

using namespace llvm;

const char *const nestc::ptxasPlaces =
    "set CUDA_HOME, put ptxas into the PATH, or pip install nvidia-cuda-nvcc "
    "into the Python environment";

static Error fault(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// In lib/python3.*/site-packages/nvidia/*/bin of a Python environment.
static std::optional<std::string> findInEnvironment(StringRef root) {
  std::error_code code;
  SmallString<128> lib(root);
  sys::path::append(lib, "lib");
  for (sys::fs::directory_iterator it(lib, code), end; it != end && !code;
       it.increment(code)) {
    if (!sys::path::filename(it->path()).starts_with("python3"))
      continue;
    SmallString<128> nvidia(it->path());
    sys::path::append(nvidia, "site-packages", "nvidia");
    std::error_code inner;
    for (sys::fs::directory_iterator each(nvidia, inner); each != end && !inner;
         each.increment(inner)) {
      SmallString<128> path(each->path());
      sys::path::append(path, "bin", "ptxas");
      if (sys::fs::can_execute(path))
        return std::string(path);
    }
  }
  return std::nullopt;
}

std::optional<std::string> nestc::findPtxas() {
  auto variable = [](const char *name) -> StringRef {
    const char *value = std::getenv(name);
    return value ? value : "";
  };
  if (StringRef given = variable("NEST_PTXAS"); !given.empty())
    return given.str();
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"}) {
    SmallString<128> path(variable(name));
    if (path.empty())
      continue;
    sys::path::append(path, "bin", "ptxas");
    if (sys::fs::can_execute(path))
      return std::string(path);
  }
  if (ErrorOr<std::string> path = sys::findProgramByName("ptxas"))
    return *path;
  for (StringRef root : {variable("VIRTUAL_ENV"), StringRef(NEST_PYTHON_ENV)})
    if (!root.empty())
      if (std::optional<std::string> path = findInEnvironment(root))
        return path;
  return std::nullopt;
}

Expected<std::string> nestc::assemblePtx(const std::string &ptxas,
                                         const std::string &ptx,
                                         const NvptxTarget &target) {
  SmallString<128> input, output, log;
  scope_exit cleanUp([&] {
    for (StringRef file : {input, output, log})
      if (!file.empty())
        (void)sys::fs::remove(file);
  });
  int descriptor;
  if (sys::fs::createTemporaryFile("nest", "ptx", descriptor, input) ||
      sys::fs::createTemporaryFile("nest", "cubin", output) ||
      sys::fs::createTemporaryFile("nest", "log", log))
    return fault("no temporary file can be made");
  {
    raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    stream << ptx;
    stream.close();
    if (stream.has_error()) {
      stream.clear_error();
      return fault("cannot write " + input);
    }
  }
  std::string arch = "-arch=" + target.name;
  SmallVector<StringRef> arguments{ptxas, arch, "-O3", input, "-o", output};
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                          StringRef(log)};
  std::string message;
  int status =
      sys::ExecuteAndWait(ptxas, arguments, std::nullopt, redirects,
                          /*SecondsToWait=*/0, /*MemoryLimit=*/0, &message);
  if (status != 0) {
    if (auto text = MemoryBuffer::getFile(log))
      if (message.empty())
        message = (*text)->getBuffer().trim().split('\n').first.str();
    return fault(ptxas + " failed: " + message);
  }
  auto cubin = MemoryBuffer::getFile(output);
  if (!cubin)
    return fault(ptxas + " wrote no cubin");
  return (*cubin)->getBuffer().str();
}
