//===- ModelTest.cpp - defects of ours, and their reproducer ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Model.h"

#include "lowering/runtime/Files.h"
#include "passes/Passes.h"
#include "tools/import/Import.h"

#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

#include <cstdlib>
#include <unistd.h>

using namespace mlir;
using namespace nestc;

/// What the importer below makes.
static std::string imported;

OwningOpRef<ModuleOp> nestc::importCheckpoint(MLIRContext &context, StringRef,
                                              ImportSink) {
  return parseSourceString<ModuleOp>(
      imported, ParserConfig(&context, /*verifyAfterParse=*/false));
}

namespace {

class ModelTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nestc-model-XXXXXX";
    directory = ::mkdtemp(pattern.data());
    ASSERT_EQ(::chdir(directory.c_str()), 0);
  }
  void TearDown() override {
    ASSERT_EQ(::chdir("/"), 0);
    ASSERT_TRUE(rt::removeTree(directory).ok());
  }
  std::string reproducer() {
    auto text = rt::readFile("nestc-reproducer.mlir");
    return text ? *text : "none";
  }

  std::string directory;
  Reporter reporter;
};

TEST_F(ModelTest, ImportedModuleIsInvalid) {
  imported = "func.func @f() attributes {nest.entry = \"\"} { return }";
  Model model(reporter);
  testing::internal::CaptureStderr();
  EXPECT_EQ(model.load("."), ExitDefect);
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("error: nestc: the imported module is not valid: "), 0u);
  EXPECT_NE(text.find("C18"), std::string::npos) << text;
  EXPECT_NE(text.find("; a defect of nestc: please report it with "
                      "nestc-reproducer.mlir\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
  EXPECT_NE(reproducer().find("nest.entry = \"\""), std::string::npos);
}

TEST_F(ModelTest, PassFailsOnImportedModule) {
  imported = "func.func @f() attributes {nest.entry = \"f\"} { return }";
  Model model(reporter);
  ASSERT_EQ(model.load("."), ExitDone);
  auto fail = [](OpPassManager &manager) {
    manager.addPass(createNestSpecialize({/*submodel=*/"skip=3", {}}));
  };
  testing::internal::CaptureStderr();
  EXPECT_EQ(model.run(fail), ExitDefect);
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("error: nestc: a pass failed: "), 0u) << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
  EXPECT_EQ(reproducer().find(
                "// nest-opt --pass-pipeline='builtin.module(nest-specialize{"),
            0u)
      << reproducer();
  EXPECT_NE(reproducer().find("func.func @f()"), std::string::npos);
}

/// The same module from a file is the file's fault.
TEST_F(ModelTest, PassFailsOnAFile) {
  ASSERT_TRUE(rt::writeFile("f.mlir", "func.func @f() attributes {nest.entry = "
                                      "\"f\"} { return }")
                  .ok());
  Model model(reporter);
  ASSERT_EQ(model.load("f.mlir"), ExitDone);
  testing::internal::CaptureStderr();
  EXPECT_EQ(model.run([](OpPassManager &manager) {
    manager.addPass(createNestSpecialize({/*submodel=*/"skip=3", {}}));
  }),
            ExitInput);
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(reproducer(), "none");
}

} // namespace
