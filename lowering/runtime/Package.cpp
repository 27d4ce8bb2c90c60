//===- Package.cpp - a loaded package ---------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Package.h"
#include "lowering/runtime/CpuFeatures.h"
#include "lowering/runtime/CudaExecutor.h"
#include "lowering/runtime/Sha256.h"
#include "nest/runtime.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace nestc::rt;

Package::~Package() {
  if (library)
    ::dlclose(library);
  if (codeFile >= 0)
    ::close(codeFile);
}

Expected<std::unique_ptr<Package>>
Package::load(const std::string &path, const PackageOptions &options) {
  std::unique_ptr<Package> package(new Package);
  package->directory = path;
  if (!isDirectory(path))
    return Error(path, fileExists(path) ? "is no directory" : "does not exist",
                 "a package directory made by `nestc compile`");
  std::string manifestPath = joinPath(path, "manifest.json");
  if (!fileExists(manifestPath))
    return Error(path, "has no manifest.json",
                 "a package directory made by `nestc compile`");
  NEST_RT_ASSIGN(std::string text, readFile(manifestPath));
  NEST_RT_ASSIGN(package->description, Manifest::parse(text, manifestPath));
  const Manifest &manifest = package->description;
  if (options.emulate && manifest.target == "cpu")
    return Error(path, "is for the CPU: there is no GPU to emulate",
                 "a package compiled with --target=sm_80 or its like")
        .withCode(NEST_ERROR_UNSUPPORTED);
  if (Status status = checkCpuFeatures(manifest.cpu.features, path);
      status.failed())
    return status.takeError().withCode(NEST_ERROR_UNSUPPORTED);
  NEST_RT_TRY(package->mapFiles());
  NEST_RT_TRY(package->loadCode());
  if (manifest.device)
    NEST_RT_TRY(package->loadDevice(options));

  std::string tokenizerPath = joinPath(path, "tokenizer.json");
  if (!fileExists(tokenizerPath))
    package->noTokenizer =
        Error(path, "has no tokenizer",
              "a checkpoint with tokenizer.json; or token ids")
            .withCode(NEST_ERROR_UNSUPPORTED);
  else if (Expected<Tokenizer> read = Tokenizer::open(tokenizerPath))
    package->bpe = std::move(*read);
  else
    package->noTokenizer = read.takeError().withCode(NEST_ERROR_PACKAGE);

  Json info = Json::object();
  info.set("path", path);
  Json all = manifest.toJson();
  for (const Json::Member &member : all.members()) {
    if (member.first == "weights")
      info.set("num_weights", member.second.size());
    else
      info.set(member.first, member.second);
  }
  info.set("tokenizer", package->bpe.has_value());
  package->info = info.str(1);
  return package;
}

Status Package::mapFiles() {
  for (size_t i = 0; i < description.files.size(); ++i) {
    const Manifest::File &file = description.files[i];
    bool linked = file.path[0] == '/';
    std::string path = linked ? file.path : joinPath(directory, file.path);
    const char *hint = linked ? "the checkpoint the package was linked to; "
                                "compile the package again if it has changed"
                              : "an unchanged package; compile it again";
    NEST_RT_ASSIGN(MappedFile map, MappedFile::open(path));
    if (map.size() != static_cast<uint64_t>(file.bytes))
      return Error(path,
                   "has " + std::to_string(map.size()) +
                       " bytes, the manifest says " +
                       std::to_string(file.bytes),
                   hint);
    if (!file.sha256Header.empty()) {
      uint64_t length = 0;
      if (map.size() >= 8)
        for (int j = 7; j >= 0; --j)
          length = length << 8 | static_cast<unsigned char>(map.data()[j]);
      if (map.size() < 8 || length > map.size() - 8 ||
          sha256(map.text().substr(0, 8 + length)) != file.sha256Header)
        return Error(path, "its header is not the one of the manifest", hint);
    }
    files.push_back(std::move(map));
  }
  return Status::success();
}

Status Package::loadCode() {
  std::string path = joinPath(directory, description.code.file);
  codeFile = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  if (codeFile < 0 || ::fstat(codeFile, &status) != 0 ||
      !S_ISREG(status.st_mode))
    return Error(path, "cannot be opened as a file",
                 "an unchanged package; compile it again");
  Sha256 hash;
  std::vector<char> buffer(size_t(1) << 16);
  for (;;) {
    ssize_t got = ::read(codeFile, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return Error(path, std::string("cannot be read: ") + strerror(errno));
    if (got == 0)
      break;
    hash.update(buffer.data(), static_cast<size_t>(got));
  }
  if (hash.finish() != description.code.sha256)
    return Error(path, "its SHA-256 is not the one of the manifest",
                 "an unchanged package; compile it again");
  // Through the descriptor: it is the file that was hashed, and the loader,
  // which knows libraries by name, does not take it for an older package that
  // stood at the same path.
  std::string byDescriptor = "/proc/self/fd/" + std::to_string(codeFile);
  library = ::dlopen(byDescriptor.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library && ::access("/proc/self/fd", F_OK) != 0)
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *problem = ::dlerror();
    return Error(path,
                 std::string("cannot be loaded: ") + (problem ? problem : ""),
                 "a package compiled for this host");
  }
  for (const Manifest::Entry &entry : description.entries) {
    void *symbol = ::dlsym(library, entry.symbol.c_str());
    if (!symbol)
      return Error(path, "has no symbol " + entry.symbol,
                   "the symbols of the manifest; compile the package again");
    functions.push_back(reinterpret_cast<nest_entry>(symbol));
  }
  return Status::success();
}

Status Package::loadDevice(const PackageOptions &options) {
  auto read = [&](const Manifest::Code &file) -> Expected<std::string> {
    std::string path = joinPath(directory, file.file);
    NEST_RT_ASSIGN(std::string text, readFile(path));
    if (sha256(text) != file.sha256)
      return Error(path, "its SHA-256 is not the one of the manifest",
                   "an unchanged package; compile it again");
    return text;
  };
  DeviceCode code;
  NEST_RT_ASSIGN(code.ptx, read(description.device->ptx));
  if (description.device->cubin) {
    NEST_RT_ASSIGN(code.cubin, read(*description.device->cubin));
  }
  std::shared_ptr<const CudaDriver> driver = options.driver;
  if (!driver) {
    NEST_RT_ASSIGN(driver, CudaDriver::open(options.emulate));
  }
  NEST_RT_ASSIGN(onDevice, CudaPackage::load(std::move(driver), description,
                                             directory, code));
  return Status::success();
}

Expected<size_t> Package::entry(std::string_view name) const {
  std::vector<std::string> names;
  for (size_t i = 0; i < description.entries.size(); ++i) {
    if (description.entries[i].name == name)
      return i;
    names.push_back(description.entries[i].name);
  }
  return Error(directory, "has no entry point \"" + std::string(name) + "\"",
               legalNames(name, names))
      .withCode(NEST_ERROR_UNSUPPORTED);
}
