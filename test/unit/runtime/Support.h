//===- Support.h - what the runtime's tests share ---------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TEST_UNIT_RUNTIME_SUPPORT_H
#define NESTC_TEST_UNIT_RUNTIME_SUPPORT_H

#include "lowering/runtime/Error.h"
#include "lowering/runtime/Files.h"
#include "lowering/runtime/Manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

/// A new directory, removed at the end.
class ScratchDirectory {
public:
  ScratchDirectory() {
    std::string pattern = testing::TempDir() + "/nestrt-XXXXXX";
    name = ::mkdtemp(&pattern[0]);
  }
  ~ScratchDirectory() { (void)nestc::rt::removeTree(name); }
  std::string operator/(const std::string &file) const {
    return nestc::rt::joinPath(name, file);
  }
  const std::string &path() const { return name; }

private:
  std::string name;
};

/// Fails unless `result` is an error whose text has `part`.
template <typename Result>
void expectError(const Result &result, const std::string &part) {
  ASSERT_TRUE(result.failed()) << "no error; expected: " << part;
  EXPECT_NE(result.error().str().find(part), std::string::npos)
      << result.error().str() << "\nlacks: " << part;
}

#define EXPECT_OK(expr)                                                        \
  do {                                                                         \
    auto &&okResult = (expr);                                                  \
    EXPECT_FALSE(okResult.failed())                                            \
        << (okResult.failed() ? okResult.error().str() : "");                  \
  } while (false)
#define ASSERT_OK(expr)                                                        \
  do {                                                                         \
    auto &&okResult = (expr);                                                  \
    ASSERT_FALSE(okResult.failed())                                            \
        << (okResult.failed() ? okResult.error().str() : "");                  \
  } while (false)

/// Writes the package of FakeModel.c to `path` and returns its manifest;
/// `change` may edit it before it is written (unchecked).
nestc::rt::Manifest
makeFakePackage(const std::string &path,
                const std::function<void(nestc::rt::Manifest &)> &change = {});

/// Makes of fakeManifest() that of the routed model in FakeModel.c, which
/// accepts text and speech, and not image.
void makeRouted(nestc::rt::Manifest &manifest);

/// A manifest with every key, as of a real package; consistent.
nestc::rt::Manifest fakeManifest();

#endif // NESTC_TEST_UNIT_RUNTIME_SUPPORT_H
