//===- FilesTest.cpp - mapped and atomically written files ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "lowering/runtime/Json.h"

#include <csignal>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace nestc::rt;

static std::vector<std::string> names(const std::string &path) {
  Expected<std::vector<std::string>> list = listDirectory(path);
  EXPECT_FALSE(list.failed());
  return list ? *list : std::vector<std::string>();
}

static std::string contents(const std::string &path) {
  Expected<std::string> text = readFile(path);
  return text ? *text : "error: " + text.error().str();
}

using Names = std::vector<std::string>;

TEST(Files, Mapped) {
  ScratchDirectory dir;
  ASSERT_OK(writeFile(dir / "a", "hello"));
  ASSERT_OK(writeFile(dir / "empty", ""));
  Expected<MappedFile> file = MappedFile::open(dir / "a");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->text(), "hello");
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.text(), "hello");
  EXPECT_EQ(MappedFile::open(dir / "empty")->text(), "");
  expectError(MappedFile::open(dir / "none"), "No such file");
  expectError(MappedFile::open(dir.path()), "is a directory; a file");
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  expectError(MappedFile::open(dir / "fifo"), "is no regular file");
  expectError(readFile(dir / "a", 4), "has 5 bytes; at most 4");
}

TEST(Files, PlainNames) {
  for (const char *name : {"a", "model-00001-of-00002.safetensors", "..a"})
    EXPECT_TRUE(isPlainFileName(name)) << name;
  for (const char *name : {"", ".", "..", "a/b", "/a", "../a"})
    EXPECT_FALSE(isPlainFileName(name)) << name;
  EXPECT_FALSE(isPlainFileName(std::string("a\0b", 3)));
  EXPECT_FALSE(isPlainFileName(std::string(256, 'a')));
}

TEST(AtomicFile, AppearsOnCommit) {
  ScratchDirectory dir;
  {
    Expected<AtomicFile> file = AtomicFile::create(dir / "out");
    ASSERT_TRUE(file);
    EXPECT_OK(file->write("abc"));
    EXPECT_EQ(file->position(), 3u);
    EXPECT_FALSE(fileExists(dir / "out"));
    EXPECT_TRUE(fileExists(file->tempPath()));
    EXPECT_OK(file->commit());
    EXPECT_EQ(contents(dir / "out"), "abc");
  }
  { // not committed
    Expected<AtomicFile> file = AtomicFile::create(dir / "out");
    EXPECT_OK(file->write("xyz"));
  }
  EXPECT_EQ(contents(dir / "out"), "abc");
  EXPECT_EQ(names(dir.path()), Names({"out"}));
  // Larger than the buffer, in pieces around its size.
  std::string big(3000000, 'q');
  Expected<AtomicFile> file = AtomicFile::create(dir / "out");
  EXPECT_OK(file->write(big.substr(0, 1)));
  EXPECT_OK(file->write(big.substr(0, 2000000)));
  EXPECT_OK(file->write(big.substr(0, 999999)));
  EXPECT_OK(file->commit());
  EXPECT_EQ(contents(dir / "out"), big);
}

TEST(AtomicFile, RefusesDirectoriesAndMissingParents) {
  ScratchDirectory dir;
  ASSERT_EQ(::mkdir((dir / "d").c_str(), 0700), 0);
  expectError(AtomicFile::create(dir / "d"), "is a directory");
  expectError(AtomicFile::create(dir / "x/y"), "does not exist");
  expectError(AtomicFile::create(""), "is no path");
  EXPECT_EQ(names(dir.path()), Names({"d"}));
}

TEST(AtomicFile, FollowsLinksAndKeepsModes) {
  ScratchDirectory dir;
  ASSERT_OK(writeFile(dir / "real", "old"));
  ASSERT_EQ(::chmod((dir / "real").c_str(), 0640), 0);
  ASSERT_EQ(::symlink("real", (dir / "link").c_str()), 0);
  ASSERT_OK(writeFile(dir / "link", "new"));
  struct stat info;
  ASSERT_EQ(::lstat((dir / "link").c_str(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
  EXPECT_EQ(contents(dir / "real"), "new");
  ASSERT_EQ(::stat((dir / "real").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
}

TEST(AtomicFile, WritesToDevices) {
  EXPECT_OK(writeFile("/dev/null", "abc"));
  struct stat info;
  ASSERT_EQ(::stat("/dev/null", &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  expectError(writeFile("/dev/full", "abc"),
              "/dev/full: cannot be written: No space left on device; free "
              "space on the disk");
}

TEST(AtomicFile, FullDiskLeavesNothing) {
  ScratchDirectory dir;
  pid_t child = ::fork();
  if (child == 0) { // limits cannot be raised again: in a process of its own
    installCleanupSignalHandlers();
    struct rlimit limit = {1 << 16, 1 << 16};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    Status status = writeFile(dir / "out", std::string(1 << 20, 'x'));
    ::_exit(status.failed() && status.error().legal == "free space on the disk"
                ? 0
                : 1);
  }
  int status;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(names(dir.path()), Names());
}

static void makePackage(const std::string &path, const char *content) {
  Expected<AtomicDirectory> package = AtomicDirectory::create(path);
  ASSERT_OK(package);
  ASSERT_OK(writeFile(joinPath(package->tempPath(), "manifest.json"),
                      "{\"format\":1,\"abi\":1,\"producer\":\"nestc 0\"}"));
  Expected<OutputFile> file =
      OutputFile::create(joinPath(package->tempPath(), "x"));
  ASSERT_OK(file);
  EXPECT_OK(file->write(content));
  EXPECT_OK(file->close());
  EXPECT_OK(package->commit());
}

TEST(AtomicDirectory, AppearsAndIsExchanged) {
  ScratchDirectory dir;
  makePackage(dir / "p", "1");
  EXPECT_EQ(contents(dir / "p/x"), "1");
  EXPECT_TRUE(isNestcPackage(dir / "p"));
  makePackage(dir / "p/", "2");
  EXPECT_EQ(contents(dir / "p/x"), "2");
  ASSERT_OK(writeFile(dir / "f", "a file"));
  makePackage(dir / "f", "3");
  EXPECT_EQ(contents(dir / "f/x"), "3");
  EXPECT_EQ(names(dir.path()), Names({"f", "p"}));
  { // not committed
    Expected<AtomicDirectory> package = AtomicDirectory::create(dir / "p");
    ASSERT_OK(package);
    ASSERT_EQ(::mkdir(joinPath(package->tempPath(), "sub").c_str(), 0700), 0);
    EXPECT_OK(writeFile(joinPath(package->tempPath(), "sub/y"), "y"));
  }
  EXPECT_EQ(contents(dir / "p/x"), "2");
  EXPECT_EQ(names(dir.path()), Names({"f", "p"}));
}

TEST(AtomicDirectory, RefusesOtherDirectories) {
  ScratchDirectory dir;
  ASSERT_EQ(::mkdir((dir / "home").c_str(), 0700), 0);
  expectError(AtomicDirectory::create(dir / "home"),
              "is a directory that nestc did not make");
  ASSERT_OK(writeFile(dir / "home/manifest.json", "{\"format\":1}"));
  expectError(AtomicDirectory::create(dir / "home"),
              "is a directory that nestc did not make");
  expectError(AtomicDirectory::create("/dev/null"), "is no file or directory");
  // One that comes into being meanwhile.
  Expected<AtomicDirectory> late = AtomicDirectory::create(dir / "late");
  ASSERT_OK(late);
  ASSERT_EQ(::mkdir((dir / "late").c_str(), 0700), 0);
  expectError(late->commit(), "is a directory that nestc did not make");
}

/// Runs `body` in a child that is ended by `signal` while temporaries live.
static void endedBy(int signal, const ScratchDirectory &dir) {
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  pid_t child = ::fork();
  if (child == 0) {
    installCleanupSignalHandlers();
    Expected<AtomicFile> file = AtomicFile::create(dir / "file");
    Expected<AtomicDirectory> package = AtomicDirectory::create(dir / "pkg");
    (void)file->write("abc");
    std::string sub = joinPath(package->tempPath(), "sub");
    (void)::mkdir(sub.c_str(), 0700);
    for (int i = 0; i < 100; ++i) {
      Expected<OutputFile> out = OutputFile::create(
          joinPath(sub, "a-rather-long-name-" + std::to_string(i)));
      (void)out->close();
    }
    (void)!::write(pipes[1], "x", 1);
    for (;;)
      ::pause();
  }
  char ready;
  ASSERT_EQ(::read(pipes[0], &ready, 1), 1);
  EXPECT_EQ(names(dir.path()).size(), 2u);
  ::kill(child, signal);
  int status;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), signal);
  ::close(pipes[0]);
  ::close(pipes[1]);
}

TEST(AtomicFile, SignalsCleanUp) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    ScratchDirectory dir;
    endedBy(signal, dir);
    EXPECT_EQ(names(dir.path()), Names());
  }
}

TEST(AtomicFile, TheNextRunRemovesWhatSigkillLeft) {
  ScratchDirectory dir;
  endedBy(SIGKILL, dir);
  EXPECT_EQ(names(dir.path()).size(), 2u);
  // What is alive, and what only looks alike, stays.
  Expected<AtomicFile> other = AtomicFile::create(dir / "other");
  ASSERT_TRUE(other);
  EXPECT_EQ(names(dir.path()).size(), 1u);
  ASSERT_EQ(::mkdir((dir / ".x.nestc-1-2.tmp").c_str(), 0700), 0);
  ASSERT_OK(writeFile(dir / "out", "x"));
  EXPECT_EQ(names(dir.path()).size(), 3u);
  EXPECT_OK(other->commit());
  EXPECT_EQ(names(dir.path()), Names({".x.nestc-1-2.tmp", "other", "out"}));
}
