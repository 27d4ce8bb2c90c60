//===- SafetensorsTest.cpp - reader and writer ------------------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/runtime/Safetensors.h"
#include "Support.h"

#include <cstring>

using namespace nestc::rt;

/// A file of a header and data; the length of the header may be forged.
static std::string fileText(const std::string &header, size_t data,
                            uint64_t length = UINT64_MAX) {
  if (length == UINT64_MAX)
    length = header.size();
  std::string text(8, '\0');
  for (int i = 0; i < 8; ++i)
    text[i] = static_cast<char>(length >> 8 * i);
  return text + header + std::string(data, '\1');
}

static Status openText(const std::string &text) {
  static ScratchDirectory dir;
  // Not writeFile, whose syncing takes its time over thousands of files.
  NEST_RT_ASSIGN(OutputFile out, OutputFile::create(dir / "t.safetensors"));
  NEST_RT_TRY(out.write(text));
  NEST_RT_TRY(out.close());
  NEST_RT_ASSIGN(SafetensorsFile file,
                 SafetensorsFile::open(dir / "t.safetensors"));
  // Every byte that is said to be there can be read.
  volatile char sink = 0;
  for (const TensorInfo &info : file.tensors())
    for (uint64_t i = 0; i < info.bytes; ++i)
      sink = sink + static_cast<const char *>(info.data)[i];
  return Status::success();
}

static Status openHeader(const std::string &header, size_t data) {
  return openText(fileText(header, data));
}

static const char *good =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"F32","shape":[2,2],"data_offsets":[4,20]},)"
    R"("a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
    R"("s":{"dtype":"I64","shape":[],"data_offsets":[20,28]},)"
    R"("e":{"dtype":"U8","shape":[0,5],"data_offsets":[4,4]}}  )";

TEST(Safetensors, Reads) {
  ScratchDirectory dir;
  ASSERT_OK(writeFile(dir / "f", fileText(good, 28)));
  Expected<SafetensorsFile> file = SafetensorsFile::open(dir / "f");
  ASSERT_OK(file);
  ASSERT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->tensors()[0].name, "a");
  const TensorInfo *b = file->find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->dtype, DType::F32);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(b->offset, 8 + std::strlen(good) + 4);
  EXPECT_EQ(b->bytes, 16u);
  EXPECT_EQ(file->find("c"), nullptr);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  EXPECT_EQ(file->headerText().size(), 8 + std::strlen(good));
  EXPECT_OK(openHeader("{}", 0));
}

TEST(Safetensors, EveryTruncationIsAnError) {
  std::string text = fileText(good, 28);
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_TRUE(openText(text.substr(0, size)).failed()) << size;
  EXPECT_TRUE(openText(text + "x").failed());
  EXPECT_OK(openText(text));
}

TEST(Safetensors, EveryFlippedByteIsSafe) {
  std::string text = fileText(good, 28);
  for (size_t i = 0; i < text.size() - 28; ++i)
    for (int bit = 0; bit < 8; bit += 3) {
      std::string bad = text;
      bad[i] = static_cast<char>(bad[i] ^ 1 << bit);
      (void)openText(bad).failed(); // an error or not, never a crash
    }
}

TEST(Safetensors, BadFiles) {
  auto tensor = [](const std::string &text) { return "{\"a\":" + text + "}"; };
  expectError(openText(fileText("{}", 0, uint64_t(1) << 40)),
              "the header has 1099511627776 bytes; at most 100000000");
  expectError(openText(fileText("{}", 0, 50)), "it may be truncated");
  expectError(openHeader("[]", 0), "does not begin with {");
  expectError(openHeader("{\"a\"", 0), "not JSON");
  expectError(openHeader(R"({"a":{},"a":{}})", 0), "stands twice");
  expectError(openHeader(tensor("1"), 0), "a: is an integer; an object");
  expectError(openHeader(tensor(R"({"dtype":"F32","shape":[1]})"), 4),
              "data_offsets: is missing");
  expectError(
      openHeader(tensor(R"({"dtype":"Q4","shape":[1],"data_offsets":[0,4]})"),
                 4),
      "a: unknown dtype \"Q4\"");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"),
                 4),
      "a.shape[0]: is -1");
  expectError(
      openHeader(
          tensor(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"), 4),
      "a.shape[0]: is 1.5");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[4611686018427387904,)"
                        R"(4],"data_offsets":[0,4]})"),
                 4),
      "is too large");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"),
                 4),
      "has 4 bytes, but shape [2] of F32 needs 8");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"),
                 4),
      "begin <= end");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
                 3),
      "ends at 4, but there are 3 bytes");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"),
                 8),
      "begins at 4, but what lies before it ends at 0");
  expectError(openHeader(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)"
                         R"([0,4]},"b":{"dtype":"U8","shape":[4],)"
                         R"("data_offsets":[3,7]}})",
                         7),
              "b.data_offsets: overlaps a");
  expectError(
      openHeader(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
                 5),
      "has 5 bytes of data, but its tensors cover 4");
  expectError(openHeader(R"({"__metadata__":{"a":1}})", 0),
              "__metadata__.a: is an integer");
}

static ByteProducer bytes(std::string text) {
  return
      [text](const ByteSink &sink) { return sink(text.data(), text.size()); };
}

/// Writes a file with one F32 vector per name.
static void writeShard(const std::string &path,
                       const std::vector<std::string> &tensorNames) {
  SafetensorsWriter writer;
  for (const std::string &name : tensorNames)
    ASSERT_OK(writer.add(name, DType::F32, {2}, bytes("12345678")));
  Expected<AtomicFile> file = AtomicFile::create(path);
  ASSERT_OK(file);
  ASSERT_OK(writer.write(*file, path));
  ASSERT_OK(file->commit());
}

TEST(Safetensors, WriterRoundTrip) {
  ScratchDirectory dir;
  SafetensorsWriter writer;
  std::string large(4096, 'l');
  EXPECT_EQ(*writer.add("odd", DType::U8, {3}, bytes("abc")), 0u);
  EXPECT_EQ(*writer.add("scalar", DType::F64, {}, bytes("12345678")), 1u);
  // In pieces.
  EXPECT_EQ(*writer.add("large", DType::BF16, {32, 64},
                        [&](const ByteSink &sink) -> Status {
                          for (int i = 0; i < 4; ++i)
                            NEST_RT_TRY(sink(large.data(), 1024));
                          return Status::success();
                        }),
            2u);
  EXPECT_EQ(*writer.add("empty", DType::I32, {0, 7}, bytes("")), 3u);
  writer.setMetadata("format", "pt");
  expectError(writer.add("odd", DType::U8, {3}, bytes("abc")), "twice");
  writer.layout();
  std::string path = dir / "w.safetensors";
  Expected<AtomicFile> out = AtomicFile::create(path);
  ASSERT_OK(out);
  ASSERT_OK(writer.write(*out, path));
  EXPECT_EQ(out->position(), writer.fileBytes());
  ASSERT_OK(out->commit());

  Expected<SafetensorsFile> file = SafetensorsFile::open(path);
  ASSERT_OK(file);
  EXPECT_EQ(file->headerText(), writer.headerText());
  EXPECT_EQ(file->headerText().size() % 64, 0u);
  EXPECT_EQ(file->metadata().at("format"), "pt");
  const TensorInfo *info = file->find("large");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->offset, writer.offset(2));
  EXPECT_EQ(info->offset % 64, 0u);
  EXPECT_EQ(info->shape, (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(std::memcmp(info->data, large.data(), 4096), 0);
  EXPECT_EQ(file->find("scalar")->offset % 8, 0u);
  EXPECT_EQ(std::memcmp(file->find("odd")->data, "abc", 3), 0);
  EXPECT_EQ(file->find("empty")->bytes, 0u);
}

TEST(Safetensors, WriterChecksProducers) {
  for (const char *text : {"abc", "abcde"}) {
    SafetensorsWriter writer;
    ASSERT_OK(writer.add("t", DType::U8, {4}, bytes(text)));
    std::string got;
    Status status = writer.write(
        [&](const void *data, size_t size) {
          got.append(static_cast<const char *>(data), size);
          return Status::success();
        },
        "f");
    expectError(status, text[3] ? "too many bytes" : "lacks 1 bytes");
  }
  SafetensorsWriter writer;
  expectError(writer.add("t", DType::F32, {int64_t(1) << 62}, bytes("")),
              "too large");
}

TEST(Checkpoint, SingleFiles) {
  ScratchDirectory dir;
  expectError(Checkpoint::open(dir / "none"), "does not exist");
  expectError(Checkpoint::open(dir.path()), "has no *.safetensors");
  writeShard(dir / "any.safetensors", {"x", "y"});
  Expected<Checkpoint> any = Checkpoint::open(dir.path());
  ASSERT_OK(any);
  EXPECT_EQ(any->size(), 2u);
  writeShard(dir / "more.safetensors", {"x"});
  expectError(Checkpoint::open(dir.path()), "has 2 *.safetensors but no");
  writeShard(dir / "model.safetensors", {"z.weight"});
  Expected<Checkpoint> model = Checkpoint::open(dir.path());
  ASSERT_OK(model);
  Checkpoint moved = std::move(*model);
  ASSERT_TRUE(moved.find("z.weight"));
  EXPECT_EQ(moved.placeOf(*moved.find("z.weight")),
            dir / "model.safetensors" + ": z.weight");
  expectError(moved.get("z.weigth"), "the nearest stored name is z.weight");
}

TEST(Checkpoint, Shards) {
  ScratchDirectory dir;
  writeShard(dir / "m-1.safetensors", {"a", "b"});
  writeShard(dir / "m-2.safetensors", {"c"});
  auto index = [&](const std::string &map) {
    EXPECT_OK(writeFile(
        dir / "model.safetensors.index.json",
        "{\"metadata\":{\"total_size\":24},\"weight_map\":" + map + "}"));
    return Checkpoint::open(dir.path());
  };
  Expected<Checkpoint> all =
      index(R"({"a":"m-1.safetensors","b":"m-1.safetensors",)"
            R"("c":"m-2.safetensors"})");
  ASSERT_OK(all);
  EXPECT_EQ(all->size(), 3u);
  EXPECT_EQ(all->find("c")->file, 1u);
  EXPECT_EQ(all->tensors()[2]->name, "c");
  expectError(index(R"({"a":"../m-1.safetensors"})"), "no plain file name");
  expectError(index(R"({"a":"m-9.safetensors"})"), "which is missing");
  expectError(index(R"({"q":"m-1.safetensors"})"), "is not in m-1");
  expectError(index(R"({"a":"m-2.safetensors","c":"m-2.safetensors"})"),
              "a: is not in m-2");
  expectError(index("{}"), "names no shard");
  expectError(index("[]"), "is a list; an object");
  expectError(index(R"({"a":1})"), "weight_map.a: is an integer");
  writeShard(dir / "m-2.safetensors", {"a"});
  expectError(index(R"({"a":"m-1.safetensors","c":"m-2.safetensors"})"),
              "every tensor in one shard");
}
