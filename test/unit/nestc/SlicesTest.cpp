//===- SlicesTest.cpp - slicing tables --------------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Slices.h"

#include "gtest/gtest.h"

using namespace nestc;

namespace {

const std::string kHead = "name,# Layers,FFN Hidden Dims,Layers Skipped\n";

std::string errorOf(const std::string &text) {
  auto table = SlicingTable::parse(text, "t.csv");
  return table ? "" : table.error().str();
}

TEST(Slices, TableAsPublished) {
  auto table = SlicingTable::parse(
      "\xef\xbb\xbf" + kHead +
          "Main model,4,\"[2_048 * 8, 16_384,16384, 2*2*4_096]\",\r\n"
          "\"Small, \"\"layer-level\"\"\",2,\"[8192,\n 2_048 * 4,]\",\"[2, "
          "1]\"\n\n"
          "none left out,1,[7],[]\n",
      "t.csv");
  ASSERT_TRUE(table) << table.error().str();
  ASSERT_EQ(table->slices().size(), 3u);
  const Slice &small = table->slices()[1];
  EXPECT_EQ(table->slices()[0].widths,
            (std::vector<int64_t>{16384, 16384, 16384, 16384}));
  EXPECT_EQ(small.name, "Small, \"layer-level\"");
  EXPECT_EQ(small.widths, (std::vector<int64_t>{8192, 8192}));
  EXPECT_EQ(small.skipped, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(small.place, "t.csv: line 3");
  EXPECT_EQ(table->slices()[2].place, "t.csv: line 6");
  EXPECT_EQ(*widthsOf(small, 4), (std::vector<int64_t>{8192, 0, 0, 8192}));
  EXPECT_EQ(widthsOf(small, 5).error().str(),
            "t.csv: line 3: has 2 widths; one for each of the 3 layers that "
            "are left of 5");
  EXPECT_EQ(widthsOf(small, 2).error().str(),
            "t.csv: line 3: skips layer 2; the model has layers 0-1");
  EXPECT_EQ(*table->find("Main model"), table->slices().data());
  EXPECT_EQ(table->find("Main modle").error().str(),
            "t.csv: there is no slice 'Main modle' (did you mean Main model?); "
            "named are Main model, Small, \"layer-level\", none left out");
}

TEST(Slices, Refused) {
  EXPECT_EQ(errorOf(""),
            "t.csv: is empty; a table with a line of column names");
  EXPECT_EQ(errorOf(kHead), "t.csv: has no rows; a row for every submodel");
  EXPECT_EQ(errorOf("name,widths\n"),
            "t.csv: line 1: there is no column 'FFN Hidden Dims'; a slicing "
            "table has name, FFN Hidden Dims and Layers Skipped");
  EXPECT_EQ(errorOf(kHead + "a,1,[8]\n"),
            "t.csv: line 2: has 3 cells; one for each of the 4 columns");
  EXPECT_EQ(errorOf(kHead + ",1,[8],\n"),
            "t.csv: line 2: has no name; a name for every row");
  EXPECT_EQ(errorOf(kHead + "a,1,[8],\na,1,[9],\n"),
            "t.csv: line 3: 'a' is named twice; a name of its own for every "
            "row");
  EXPECT_EQ(errorOf(kHead + "a,1,\"[8\n"),
            "t.csv: line 2: a quote is not closed; \"...\", with quotes inside "
            "written twice");
  EXPECT_EQ(errorOf(kHead + "\"a\"b,1,[8],\n"),
            "t.csv: line 2: text follows a closed quote; a comma or the end of "
            "the line");
  const std::string legal =
      "; a list of whole numbers or products from 1 on: [2_048 * 4, 16384]";
  auto widths = [&](const std::string &list) {
    return errorOf(kHead + "a,1,\"" + list + "\",\n");
  };
  const std::string place = "t.csv: line 2: FFN Hidden Dims has '";
  EXPECT_EQ(widths("8192"), place + "8192'" + legal);
  EXPECT_EQ(widths("[8192, 1.5]"), place + "1.5'" + legal);
  EXPECT_EQ(widths("[8192, ,1]"), place + "'" + legal);
  EXPECT_EQ(widths("[0]"), place + "0'" + legal);
  EXPECT_EQ(widths("[-1]"), place + "-1'" + legal);
  EXPECT_EQ(widths("[2 **4]"), place + "2 **4'" + legal);
  EXPECT_EQ(widths("[65536*65536]"), place + "65536*65536'" + legal);
  EXPECT_EQ(widths("[99999999999999999999]"),
            place + "99999999999999999999'" + legal);
  EXPECT_EQ(errorOf(kHead + "a,1,[8],\"[1, 1]\"\n"),
            "t.csv: line 2: skips a layer twice; every layer once");
}

TEST(Slices, PresetsInText) {
  EXPECT_EQ(*expandPreset("layers.all.ffn=1/2", "", 4), "layers.all.ffn=1/2");
  EXPECT_EQ(expandPreset("preset=a, b", "", 4).error().str(),
            "submodel 'preset=a, b': 'preset' names a slice; give the table "
            "with --slices FILE.csv");
}

} // namespace
