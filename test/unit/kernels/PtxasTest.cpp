//===- PtxasTest.cpp - where ptxas is looked for, and what it says --------===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/nvptx/Ptxas.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>

using namespace nestc;
namespace fs = std::filesystem;
using std::string;

namespace {
/// A directory for programs, and an environment that shows none to begin with.
class Ptxas : public testing::Test {
protected:
  void SetUp() override {
    string pattern = (fs::temp_directory_path() / "nest-ptxas-XXXXXX").string();
    root = mkdtemp(pattern.data());
    for (const char *name :
         {"NEST_PTXAS", "CUDA_HOME", "CUDA_PATH", "PATH", "VIRTUAL_ENV"}) {
      const char *value = std::getenv(name);
      before[name] = value ? std::optional<string>(value) : std::nullopt;
      unsetenv(name);
    }
    set("PATH", "nothing");
  }
  void TearDown() override {
    for (auto &[name, value] : before)
      if (value)
        setenv(name.c_str(), value->c_str(), 1);
      else
        unsetenv(name.c_str());
    fs::remove_all(root);
  }

  /// Points a variable to a path below the directory.
  void set(const char *name, const string &path) {
    setenv(name, (root / path).c_str(), 1);
  }
  /// Puts a program there.
  string put(const string &path, const string &script = "exit 0",
             bool executable = true) {
    fs::path file = root / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "#!/bin/sh\n" << script << "\n";
    fs::permissions(file,
                    executable ? fs::perms::owner_all : fs::perms::owner_read);
    return file.string();
  }

  fs::path root;
  std::map<string, std::optional<string>> before;
};
} // namespace

TEST_F(Ptxas, SearchOrder) {
  // Each place that is added comes before those that are there.
  set("VIRTUAL_ENV", "env");
  string found = put("env/lib/python3.11/site-packages/nvidia/cu13/bin/ptxas");
  EXPECT_EQ(findPtxas(), found);
  set("PATH", "path");
  EXPECT_EQ(findPtxas(), found);
  found = put("path/ptxas");
  EXPECT_EQ(findPtxas(), found);
  set("CUDA_PATH", "cuda");
  EXPECT_EQ(findPtxas(), found);
  found = put("cuda/bin/ptxas");
  EXPECT_EQ(findPtxas(), found);
  set("CUDA_HOME", "home");
  found = put("home/bin/ptxas");
  EXPECT_EQ(findPtxas(), found);
  // What is named is taken as it is.
  set("NEST_PTXAS", "named");
  EXPECT_EQ(findPtxas(), (root / "named").string());
  setenv("NEST_PTXAS", "", 1);
  EXPECT_EQ(findPtxas(), found);
}

TEST_F(Ptxas, WhatIsNoProgramIsPassedOver) {
  set("CUDA_HOME", "home");
  set("PATH", "path");
  put("home/bin/ptxas", "exit 0", /*executable=*/false);
  put("path/ptxas/file");
  set("VIRTUAL_ENV", "env");
  // Of another Python than ours, beside packages without one.
  put("env/lib/python3.9/site-packages/nvidia/cu13/bin/ptxas", "exit 0",
      /*executable=*/false);
  put("env/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so");
  put("env/lib/other/site-packages/nvidia/cu13/bin/ptxas");
  string found =
      put("env/lib/python3.12/site-packages/nvidia/cuda_nvcc/bin/ptxas");
  EXPECT_EQ(findPtxas(), found);
}

TEST_F(Ptxas, WhatItSays) {
  NvptxTarget target = llvm::cantFail(NvptxTarget::get("sm_90"));
  string copies =
      put("copies", "/bin/cp \"$3\" \"$5\"; echo \"$1 $2\" >> \"$5\"");
  auto cubin = assemblePtx(copies, "text\n", target);
  ASSERT_TRUE(bool(cubin)) << llvm::toString(cubin.takeError());
  EXPECT_EQ(*cubin, "text\n-arch=sm_90 -O3\n");
  string fails = put("fails", "echo 'line 7; fatal' >&2; echo more; exit 3");
  EXPECT_EQ(llvm::toString(assemblePtx(fails, "text", target).takeError()),
            fails + " failed: line 7; fatal");
  string missing = (root / "missing").string();
  EXPECT_NE(llvm::toString(assemblePtx(missing, "text", target).takeError())
                .find(missing + " failed: "),
            string::npos);
}
