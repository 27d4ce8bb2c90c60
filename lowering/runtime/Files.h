//===- Files.h - mapped and atomically written files ------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_LOWERING_RUNTIME_FILES_H
#define NESTC_LOWERING_RUNTIME_FILES_H

#include "lowering/runtime/Error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace nestc {
namespace rt {

/// A regular file mapped read-only. Move-only. Truncating the file while it is
/// mapped ends the process (SIGBUS), as with every mapped file.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept { *this = std::move(other); }
  MappedFile &operator=(MappedFile &&other) noexcept;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile() { close(); }

  static Expected<MappedFile> open(const std::string &path);

  const char *data() const { return static_cast<const char *>(base); }
  uint64_t size() const { return bytes; }
  const std::string &path() const { return name; }
  std::string_view text() const { return {data(), static_cast<size_t>(bytes)}; }

private:
  void close();

  void *base = nullptr; // null for an empty file
  uint64_t bytes = 0;
  std::string name;
};

/// Says that a part of a mapped file is not needed soon: it need not stay in
/// memory, and is read again where it is.
void releaseMapped(const void *data, uint64_t bytes);

/// Reads a small file at once; an error above `maxBytes`.
Expected<std::string> readFile(const std::string &path,
                               uint64_t maxBytes = uint64_t(1) << 28);

/// Whether something is there (following links).
bool fileExists(const std::string &path);
bool isDirectory(const std::string &path);

/// `directory` + "/" + `name`.
std::string joinPath(const std::string &directory, const std::string &name);

/// Whether `name` is a plain file name: not empty, not "." or "..", no slash,
/// no NUL. Names found in indices and manifests must be plain.
bool isPlainFileName(std::string_view name);

/// Names (not paths) in a directory, sorted, without "." and "..".
Expected<std::vector<std::string>> listDirectory(const std::string &path);

/// Removes a file or a directory with everything in it; links are not
/// followed. Nothing there is no error.
Status removeTree(const std::string &path);

/// A file that appears under its name only when it is complete: written under
/// a hidden name beside the target, synced, renamed. Not committed = removed.
/// A target that is a link is followed; a device or FIFO (/dev/null,
/// /dev/stdout) is written directly. Opening also removes what killed
/// processes left in that directory.
class AtomicFile {
public:
  AtomicFile(AtomicFile &&) noexcept;
  AtomicFile &operator=(AtomicFile &&) noexcept;
  ~AtomicFile();

  static Expected<AtomicFile> create(const std::string &path);

  /// Buffered. After an error every further call fails with it.
  Status write(const void *data, size_t size);
  Status write(std::string_view text) {
    return write(text.data(), text.size());
  }
  /// Bytes written so far.
  uint64_t position() const;
  /// The temporary name, for a program that has to write it itself (a linker);
  /// such a program may replace the file, commit() takes what has that name.
  const std::string &tempPath() const;
  /// Flush, sync, rename. Once.
  Status commit();

private:
  struct Impl;
  explicit AtomicFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// AtomicFile::create, write, commit.
Status writeFile(const std::string &path, std::string_view text);

/// Whether `path` is a directory that nestc made as a package: its
/// manifest.json has "format", "abi" and a "producer" beginning with "nestc".
bool isNestcPackage(const std::string &path);

/// Directories that an output may replace.
struct Replaceable {
  bool (*test)(const std::string &path) = isNestcPackage;
  const char *legal = "a new path, a file, or a nestc package";
};

/// A directory (a package) that appears when it is complete. Fill tempPath()
/// with files, then commit(). An existing target is exchanged atomically when
/// it is a file or what `replaceable` says; any other directory is refused,
/// both at create() and at commit(). A directory on the way is not created.
class AtomicDirectory {
public:
  AtomicDirectory(AtomicDirectory &&) noexcept;
  AtomicDirectory &operator=(AtomicDirectory &&) noexcept;
  ~AtomicDirectory();

  static Expected<AtomicDirectory> create(const std::string &path,
                                          Replaceable replaceable = {});

  const std::string &tempPath() const;
  /// Syncs every file, moves the directory into place, removes the old one.
  Status commit();

private:
  struct Impl;
  explicit AtomicDirectory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// A plain output file inside an AtomicDirectory (no rename of its own).
class OutputFile {
public:
  OutputFile(OutputFile &&) noexcept;
  OutputFile &operator=(OutputFile &&) noexcept;
  ~OutputFile();

  /// Creates or truncates.
  static Expected<OutputFile> create(const std::string &path);
  Status write(const void *data, size_t size);
  Status write(std::string_view text) {
    return write(text.data(), text.size());
  }
  uint64_t position() const;
  /// Flushes and closes; reports what writing late reports.
  Status close();

private:
  struct Impl;
  explicit OutputFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

/// Installs handlers for SIGINT, SIGTERM and SIGHUP that remove every live
/// temporary and end the process by the same signal; SIGXFSZ and SIGPIPE are
/// ignored, so that a full quota or a closed pipe is a write error. For main()
/// of tools; the library never calls it.
void installCleanupSignalHandlers();

/// Removes every live temporary now (for a tool about to exit abnormally).
/// Async-signal-safe.
void removeLiveTemporaries();

} // namespace rt
} // namespace nestc

#endif // NESTC_LOWERING_RUNTIME_FILES_H
