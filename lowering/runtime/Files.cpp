//===- Files.cpp - mapped and atomically written files ----------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Files.h"
#include "lowering/runtime/Json.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace nestc::rt;

static Error systemError(const std::string &path, const char *what,
                         int code = errno) {
  const char *legal = "";
  switch (code) {
  case ENOENT:
    legal = "an existing path";
    break;
  case EACCES:
  case EPERM:
  case EROFS:
    legal = "a path with permission";
    break;
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
    legal = "free space on the disk";
    break;
  default:
    break;
  }
  char buffer[256];
  // The GNU variant returns the text, which need not be in the buffer.
  return Error(
      path, std::string(what) + ": " + strerror_r(code, buffer, sizeof buffer),
      legal);
}

//===----------------------------------------------------------------------===//
// Paths and reading
//===----------------------------------------------------------------------===//

bool nestc::rt::fileExists(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

bool nestc::rt::isDirectory(const std::string &path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string nestc::rt::joinPath(const std::string &directory,
                                const std::string &name) {
  if (directory.empty() || directory.back() == '/')
    return directory + name;
  return directory + "/" + name;
}

bool nestc::rt::isPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() < 256 &&
         name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Expected<std::vector<std::string>>
nestc::rt::listDirectory(const std::string &path) {
  DIR *directory = ::opendir(path.c_str());
  if (!directory)
    return systemError(path, "cannot list the directory");
  std::vector<std::string> names;
  while (const dirent *entry = ::readdir(directory)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..")
      names.push_back(std::move(name));
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

namespace {
/// A file descriptor that closes itself.
struct Descriptor {
  int fd = -1;
  explicit Descriptor(int fd) : fd(fd) {}
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};
} // namespace

/// Opens a regular file for reading and stats it. O_NONBLOCK keeps a FIFO of
/// that name from blocking us.
static Status openRegular(const std::string &path, Descriptor &file,
                          struct stat &info) {
  file.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd < 0)
    return systemError(path, "cannot be opened");
  if (::fstat(file.fd, &info) != 0)
    return systemError(path, "cannot be read");
  if (!S_ISREG(info.st_mode))
    return Error(
        path, S_ISDIR(info.st_mode) ? "is a directory" : "is no regular file",
        "a file");
  return Status::success();
}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  if (this != &other) {
    close();
    base = std::exchange(other.base, nullptr);
    bytes = std::exchange(other.bytes, 0);
    name = std::move(other.name);
  }
  return *this;
}

void MappedFile::close() {
  if (base)
    ::munmap(base, bytes);
  base = nullptr;
  bytes = 0;
}

Expected<MappedFile> MappedFile::open(const std::string &path) {
  Descriptor file(-1);
  struct stat info;
  NEST_RT_TRY(openRegular(path, file, info));
  MappedFile result;
  result.name = path;
  result.bytes = static_cast<uint64_t>(info.st_size);
  if (result.bytes == 0)
    return result;
  void *base = ::mmap(nullptr, result.bytes, PROT_READ, MAP_SHARED, file.fd, 0);
  if (base == MAP_FAILED) {
    result.bytes = 0;
    return systemError(path, "cannot be mapped");
  }
  result.base = base;
  return result;
}

void nestc::rt::releaseMapped(const void *data, uint64_t bytes) {
  auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  uintptr_t first = reinterpret_cast<uintptr_t>(data) / page * page;
  uintptr_t last = reinterpret_cast<uintptr_t>(data) + bytes;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a page begins there
  (void)::madvise(reinterpret_cast<void *>(first), last - first, MADV_DONTNEED);
}

Expected<std::string> nestc::rt::readFile(const std::string &path,
                                          uint64_t maxBytes) {
  Descriptor file(-1);
  struct stat info;
  NEST_RT_TRY(openRegular(path, file, info));
  if (static_cast<uint64_t>(info.st_size) > maxBytes)
    return Error(path, "has " + std::to_string(info.st_size) + " bytes",
                 "at most " + std::to_string(maxBytes));
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < text.size()) {
    ssize_t got = ::read(file.fd, &text[done], text.size() - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return systemError(path, "cannot be read");
    if (got == 0)
      break; // it shrank meanwhile
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

//===----------------------------------------------------------------------===//
// Removal, with async-signal-safe calls only
//===----------------------------------------------------------------------===//

namespace {
/// What getdents64 returns; the C library does not declare it for us.
struct RawEntry {
  uint64_t inode;
  int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[1];
};
} // namespace

/// Removes what is in the directory `fd` (kept open). No allocation, no stdio:
/// a signal handler calls this.
static bool removeContents(int fd, unsigned depth) {
  if (depth > 16)
    return false;
  bool all = true;
  alignas(8) char buffer[2048];
  // Removing moves the position in some file systems: start over until a pass
  // finds nothing to remove.
  for (int pass = 0; pass < 1000; ++pass) {
    ::lseek(fd, 0, SEEK_SET);
    bool removed = false;
    for (;;) {
      long got = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer);
      if (got <= 0)
        break;
      for (long at = 0; at < got;) {
        auto *entry = reinterpret_cast<RawEntry *>(buffer + at);
        const char *name = buffer + at + offsetof(RawEntry, name);
        at += entry->length;
        if (!std::strcmp(name, ".") || !std::strcmp(name, ".."))
          continue;
        if (::unlinkat(fd, name, 0) == 0) {
          removed = true;
          continue;
        }
        int inner =
            ::openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0) {
          removeContents(inner, depth + 1);
          ::close(inner);
          if (::unlinkat(fd, name, AT_REMOVEDIR) == 0) {
            removed = true;
            continue;
          }
        }
        all = false;
      }
    }
    if (!removed)
      return all;
    all = true;
  }
  return false;
}

static bool removeAnything(const char *path) {
  if (::unlink(path) == 0)
    return true;
  int fd = ::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT;
  removeContents(fd, 0);
  ::close(fd);
  return ::rmdir(path) == 0;
}

Status nestc::rt::removeTree(const std::string &path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0)
    return Status::success();
  if (!removeAnything(path.c_str()))
    return systemError(path, "cannot be removed");
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Live temporaries
//===----------------------------------------------------------------------===//

namespace {
/// Fixed slots, so that a signal handler can walk them. A slot's path is
/// written before `used` is set, and `used` is cleared before it is reused.
struct LiveSlot {
  std::atomic<int> used{0}; // 0 free, 1 being filled, 2 live
  char path[PATH_MAX];
};
} // namespace

static constexpr int liveSlots = 64;
static LiveSlot live[liveSlots];

/// Registers a temporary; -1 when the table is full or the path too long, in
/// which case only the destructor (and the next run) removes it.
static int registerLive(const std::string &path) {
  if (path.size() >= PATH_MAX)
    return -1;
  for (int i = 0; i < liveSlots; ++i) {
    int expected = 0;
    if (!live[i].used.compare_exchange_strong(expected, 1))
      continue;
    std::memcpy(live[i].path, path.c_str(), path.size() + 1);
    live[i].used.store(2);
    return i;
  }
  return -1;
}

static void unregisterLive(int slot) {
  if (slot >= 0)
    live[slot].used.store(0);
}

void nestc::rt::removeLiveTemporaries() {
  for (LiveSlot &slot : live)
    if (slot.used.load() == 2)
      removeAnything(slot.path);
}

static void cleanupHandler(int signal) {
  removeLiveTemporaries();
  ::signal(signal, SIG_DFL);
  // It is blocked while its handler runs; it strikes on return.
  ::raise(signal);
}

void nestc::rt::installCleanupSignalHandlers() {
  struct sigaction action = {};
  action.sa_handler = cleanupHandler;
  ::sigfillset(&action.sa_mask);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Who started us with a signal ignored (nohup) wants that kept.
    struct sigaction old = {};
    if (::sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_IGN)
      continue;
    ::sigaction(signal, &action, nullptr);
  }
  ::signal(SIGXFSZ, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
}

//===----------------------------------------------------------------------===//
// Temporary names
//===----------------------------------------------------------------------===//

// .NAME.nestc-PID-START-N.tmp; START is the start time of the process, so that
// a new process with an old one's id is told apart.
static constexpr const char *tempMark = ".nestc-";
static constexpr const char *tempEnd = ".tmp";

/// Field 22 of /proc/PID/stat; 0 when there is no such process.
static unsigned long long startTime(long pid) {
  std::string path = "/proc/" + std::to_string(pid) + "/stat";
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return 0;
  char buffer[2048];
  ssize_t got = ::read(fd, buffer, sizeof buffer - 1);
  ::close(fd);
  if (got <= 0)
    return 0;
  buffer[got] = 0;
  // The name in parentheses may hold anything: count from the last one.
  const char *at = std::strrchr(buffer, ')');
  if (!at)
    return 0;
  for (int field = 2; at && field < 22; ++field)
    at = std::strchr(at + 1, ' ');
  return at ? std::strtoull(at + 1, nullptr, 10) : 0;
}

/// Whether `name` in `directory` is a temporary whose maker has died.
static bool isStale(const std::string &directory, const std::string &name) {
  size_t end = name.size() - std::min(name.size(), std::strlen(tempEnd));
  size_t mark = name.rfind(tempMark);
  if (name.empty() || name[0] != '.' || name.substr(end) != tempEnd ||
      mark == std::string::npos)
    return false;
  long pid;
  unsigned long long start;
  unsigned number;
  int used = 0;
  std::string middle = name.substr(mark + std::strlen(tempMark),
                                   end - mark - std::strlen(tempMark));
  // What is too large is no process.
  // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion)
  if (std::sscanf(middle.c_str(), "%ld-%llu-%u%n", &pid, &start, &number,
                  &used) != 3 ||
      static_cast<size_t>(used) != middle.size() || pid <= 0)
    return false;
  std::string path = joinPath(directory, name);
  if (pid == ::getpid() && start == startTime(pid))
    return false; // ours: its object removes it
  if (start == startTime(pid))
    return false;
  // A process of another container has ids of its own, but holds this lock.
  Descriptor file(
      ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  return file.fd >= 0 && ::flock(file.fd, LOCK_EX | LOCK_NB) == 0;
}

static void removeStale(const std::string &directory) {
  Expected<std::vector<std::string>> names =
      listDirectory(directory.empty() ? "." : directory);
  if (!names)
    return;
  for (const std::string &name : *names)
    if (isStale(directory, name))
      removeAnything(joinPath(directory, name).c_str());
}

static std::string tempName(const std::string &directory,
                            const std::string &base) {
  static std::atomic<unsigned> counter{0};
  long pid = ::getpid();
  // A long name is cut: the temporary must fit into NAME_MAX as well.
  return joinPath(directory, "." + base.substr(0, 180) + tempMark +
                                 std::to_string(pid) + "-" +
                                 std::to_string(startTime(pid)) + "-" +
                                 std::to_string(counter++) + tempEnd);
}

/// Where an output really goes: the directory (may be empty for the current
/// one) and the name. A link is followed, so that it stays one.
static Status splitTarget(const std::string &path, std::string &directory,
                          std::string &base, std::string &target) {
  target = path;
  while (target.size() > 1 && target.back() == '/')
    target.pop_back();
  if (target.empty() || target.find('\0') != std::string::npos)
    return Error(path.empty() ? "output" : path, "is no path",
                 "the path of a file or directory to write");
  struct stat info;
  if (::lstat(target.c_str(), &info) == 0 && S_ISLNK(info.st_mode)) {
    if (char *real = ::realpath(target.c_str(), nullptr)) {
      target = real;
      std::free(real);
    }
  }
  size_t slash = target.rfind('/');
  directory =
      slash == std::string::npos ? std::string() : target.substr(0, slash + 1);
  base = slash == std::string::npos ? target : target.substr(slash + 1);
  if (!isPlainFileName(base))
    return Error(path, "cannot be an output", "a path that ends in a name");
  if (!directory.empty() && !isDirectory(directory))
    return Error(path, "the directory " + directory + " does not exist",
                 "a path in an existing directory");
  return Status::success();
}

static void syncDirectory(const std::string &directory) {
  Descriptor fd(::open(directory.empty() ? "." : directory.c_str(),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.fd >= 0)
    (void)::fsync(fd.fd); // some file systems cannot; the rename stands
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

namespace {
/// A buffer before a descriptor. The first error sticks.
class BufferedWriter {
public:
  int fd = -1;
  uint64_t position = 0;

  Status write(const std::string &path, const void *data, size_t size) {
    position += size;
    if (buffer.size() + size <= capacity) {
      buffer.append(static_cast<const char *>(data), size);
      return stuck(path);
    }
    NEST_RT_TRY(flush(path));
    if (size >= capacity)
      return put(path, static_cast<const char *>(data), size);
    buffer.append(static_cast<const char *>(data), size);
    return Status::success();
  }
  Status flush(const std::string &path) {
    NEST_RT_TRY(stuck(path));
    NEST_RT_TRY(put(path, buffer.data(), buffer.size()));
    buffer.clear();
    return Status::success();
  }

private:
  static constexpr size_t capacity = size_t(1) << 20;

  Status stuck(const std::string &path) const {
    if (failure)
      return systemError(path, "cannot be written", failure);
    return Status::success();
  }
  Status put(const std::string &path, const char *data, size_t size) {
    NEST_RT_TRY(stuck(path));
    while (size) {
      ssize_t done = ::write(fd, data, std::min(size, size_t(1) << 30));
      if (done < 0 && errno == EINTR)
        continue;
      if (done <= 0) {
        failure = done < 0 ? errno : EIO;
        return stuck(path);
      }
      data += done;
      size -= static_cast<size_t>(done);
    }
    return Status::success();
  }

  std::string buffer;
  int failure = 0;
};
} // namespace

struct AtomicFile::Impl {
  std::string path;      // as given, for messages
  std::string target;    // where it goes
  std::string directory; // of target
  std::string temp;      // empty: written directly
  BufferedWriter out;
  int slot = -1;
  bool done = false;

  ~Impl() {
    if (out.fd >= 0)
      ::close(out.fd);
    if (!done && !temp.empty())
      removeAnything(temp.c_str());
    unregisterLive(slot);
  }
};

AtomicFile::AtomicFile(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
AtomicFile::AtomicFile(AtomicFile &&) noexcept = default;
AtomicFile &AtomicFile::operator=(AtomicFile &&) noexcept = default;
AtomicFile::~AtomicFile() = default;

Expected<AtomicFile> AtomicFile::create(const std::string &path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  std::string base;
  NEST_RT_TRY(splitTarget(path, impl->directory, base, impl->target));
  struct stat info;
  bool exists = ::stat(impl->target.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode))
    return Error(path, "is a directory", "the path of a file");
  if (exists && !S_ISREG(info.st_mode)) {
    impl->out.fd = ::open(impl->target.c_str(), O_WRONLY | O_CLOEXEC);
    if (impl->out.fd < 0)
      return systemError(path, "cannot be written");
    impl->done = true;
    return AtomicFile(std::move(impl));
  }
  removeStale(impl->directory);
  impl->temp = tempName(impl->directory, base);
  impl->slot = registerLive(impl->temp);
  impl->out.fd =
      ::open(impl->temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (impl->out.fd < 0) {
    impl->temp.clear(); // not ours to remove
    return systemError(path, "cannot be written");
  }
  (void)::flock(impl->out.fd, LOCK_EX | LOCK_NB);
  if (exists)
    (void)::fchmod(impl->out.fd, info.st_mode & 07777);
  return AtomicFile(std::move(impl));
}

Status AtomicFile::write(const void *data, size_t size) {
  return impl->out.write(impl->path, data, size);
}

uint64_t AtomicFile::position() const { return impl->out.position; }
const std::string &AtomicFile::tempPath() const {
  return impl->temp.empty() ? impl->target : impl->temp;
}

Status AtomicFile::commit() {
  NEST_RT_TRY(impl->out.flush(impl->path));
  if (impl->temp.empty())
    return Status::success();
  if (impl->done)
    return Error(impl->path, "was committed already");
  {
    // Not impl->out.fd: another program may have replaced the file.
    Descriptor file(::open(impl->temp.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0 || ::fsync(file.fd) != 0)
      return systemError(impl->path, "cannot be written");
  }
  if (::rename(impl->temp.c_str(), impl->target.c_str()) != 0)
    return systemError(impl->path, "cannot be moved into place");
  impl->done = true;
  unregisterLive(impl->slot);
  impl->slot = -1;
  syncDirectory(impl->directory);
  return Status::success();
}

Status nestc::rt::writeFile(const std::string &path, std::string_view text) {
  NEST_RT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  NEST_RT_TRY(file.write(text));
  return file.commit();
}

struct OutputFile::Impl {
  std::string path;
  BufferedWriter out;
  ~Impl() {
    if (out.fd >= 0)
      ::close(out.fd);
  }
};

OutputFile::OutputFile(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
OutputFile::OutputFile(OutputFile &&) noexcept = default;
OutputFile &OutputFile::operator=(OutputFile &&) noexcept = default;
OutputFile::~OutputFile() = default;

Expected<OutputFile> OutputFile::create(const std::string &path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->out.fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (impl->out.fd < 0)
    return systemError(path, "cannot be written");
  return OutputFile(std::move(impl));
}

Status OutputFile::write(const void *data, size_t size) {
  return impl->out.write(impl->path, data, size);
}

uint64_t OutputFile::position() const { return impl->out.position; }

Status OutputFile::close() {
  NEST_RT_TRY(impl->out.flush(impl->path));
  int fd = std::exchange(impl->out.fd, -1);
  if (fd >= 0 && ::close(fd) != 0)
    return systemError(impl->path, "cannot be written");
  return Status::success();
}

//===----------------------------------------------------------------------===//
// Directories
//===----------------------------------------------------------------------===//

bool nestc::rt::isNestcPackage(const std::string &path) {
  if (!isDirectory(path))
    return false;
  std::string manifest = joinPath(path, "manifest.json");
  struct stat info;
  if (::stat(manifest.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return false;
  Expected<Json> json = readJsonFile(manifest);
  if (!json)
    return false;
  const Json *producer = json->find("producer");
  return json->find("format") && json->find("abi") && producer &&
         producer->asString().compare(0, 5, "nestc") == 0;
}

struct AtomicDirectory::Impl {
  std::string path, target, directory, temp;
  Replaceable replaceable;
  int lock = -1;
  int slot = -1;
  bool done = false;

  ~Impl() {
    if (!done && !temp.empty())
      removeAnything(temp.c_str());
    if (lock >= 0)
      ::close(lock);
    unregisterLive(slot);
  }

  /// What stands at the target: nothing, something to replace, or an error.
  Expected<bool> replaces() const {
    struct stat info;
    if (::lstat(target.c_str(), &info) != 0)
      return false;
    if (S_ISREG(info.st_mode) || replaceable.test(target))
      return true;
    if (S_ISDIR(info.st_mode))
      return Error(path, "is a directory that nestc did not make",
                   replaceable.legal);
    return Error(path, "is no file or directory", replaceable.legal);
  }
};

AtomicDirectory::AtomicDirectory(std::unique_ptr<Impl> impl)
    : impl(std::move(impl)) {}
AtomicDirectory::AtomicDirectory(AtomicDirectory &&) noexcept = default;
AtomicDirectory &
AtomicDirectory::operator=(AtomicDirectory &&) noexcept = default;
AtomicDirectory::~AtomicDirectory() = default;

Expected<AtomicDirectory> AtomicDirectory::create(const std::string &path,
                                                  Replaceable replaceable) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->replaceable = replaceable;
  std::string base;
  NEST_RT_TRY(splitTarget(path, impl->directory, base, impl->target));
  if (Expected<bool> replaces = impl->replaces(); !replaces)
    return replaces.takeError();
  removeStale(impl->directory);
  impl->temp = tempName(impl->directory, base);
  impl->slot = registerLive(impl->temp);
  if (::mkdir(impl->temp.c_str(), 0777) != 0) {
    impl->temp.clear(); // not ours to remove
    return systemError(path, "cannot be written");
  }
  impl->lock = ::open(impl->temp.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (impl->lock >= 0)
    (void)::flock(impl->lock, LOCK_EX | LOCK_NB);
  return AtomicDirectory(std::move(impl));
}

const std::string &AtomicDirectory::tempPath() const { return impl->temp; }

/// Syncs all files below a directory, then the directory.
static Status syncTree(const std::string &path, const std::string &place) {
  NEST_RT_ASSIGN(std::vector<std::string> names, listDirectory(path));
  for (const std::string &name : names) {
    std::string inner = joinPath(path, name);
    struct stat info;
    if (::lstat(inner.c_str(), &info) != 0)
      return systemError(place, "cannot be written");
    if (S_ISDIR(info.st_mode)) {
      NEST_RT_TRY(syncTree(inner, place));
      continue;
    }
    if (!S_ISREG(info.st_mode))
      continue;
    Descriptor file(::open(inner.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0 || ::fsync(file.fd) != 0)
      return systemError(joinPath(place, name), "cannot be written");
  }
  syncDirectory(path);
  return Status::success();
}

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE (1 << 1)
#endif

static int renameWith(const std::string &from, const std::string &to,
                      unsigned flags) {
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from.c_str(),
                                    AT_FDCWD, to.c_str(), flags));
}

Status AtomicDirectory::commit() {
  if (impl->done)
    return Error(impl->path, "was committed already");
  NEST_RT_TRY(syncTree(impl->temp, impl->path));
  NEST_RT_ASSIGN(bool replaces, impl->replaces());
  const std::string &temp = impl->temp, &target = impl->target;
  bool oldIsAtTemp = false;
  if (!replaces) {
    int failed = renameWith(temp, target, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS))
      failed = ::rename(temp.c_str(), target.c_str());
    if (failed)
      return systemError(impl->path, "cannot be moved into place");
  } else {
    int failed = renameWith(temp, target, RENAME_EXCHANGE);
    oldIsAtTemp = !failed;
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
      // A file system without exchange: the old one steps aside first.
      std::string old = tempName(impl->directory, "old");
      failed = ::rename(target.c_str(), old.c_str());
      if (!failed) {
        failed = ::rename(temp.c_str(), target.c_str());
        if (failed) {
          int code = errno;
          (void)::rename(old.c_str(), target.c_str());
          errno = code;
        } else {
          removeAnything(old.c_str());
        }
      }
    }
    if (failed)
      return systemError(impl->path, "cannot be moved into place");
  }
  // The old package now has the temporary's name: should this process be ended
  // while removing it, the handler or the next run goes on.
  if (oldIsAtTemp)
    removeAnything(temp.c_str());
  impl->done = true;
  unregisterLive(impl->slot);
  impl->slot = -1;
  syncDirectory(impl->directory);
  return Status::success();
}
