//===- WeightFile.cpp - boxes of stored tensors, streamed -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lowering/package/WeightFile.h"

#include "lowering/runtime/Files.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

namespace nestc {

/// Calls `visit(first element, count)` for the contiguous runs of the box, in
/// row-major order.
static rt::Status
forEachRun(const PackagedWeight &weight,
           llvm::function_ref<rt::Status(int64_t, int64_t)> visit) {
  if (!weight.pieces.empty()) {
    int64_t rows = weight.storedShape[0], columns = weight.storedShape[1];
    int64_t times = weight.cut == 0 ? 1 : rows;
    int64_t step = weight.cut == 0 ? columns : 1;
    for (int64_t row = 0; row < times; ++row)
      for (auto [first, count] : weight.pieces)
        NEST_RT_TRY(visit(row * columns + first * step, count * step));
    return rt::Status::success();
  }
  // Trailing dimensions that are taken whole join one run.
  size_t rank = weight.storedShape.size();
  size_t split = rank;
  int64_t run = 1;
  while (split > 0) {
    --split;
    run *= weight.sizes[split];
    if (weight.sizes[split] != weight.storedShape[split])
      break;
  }
  if (llvm::is_contained(weight.sizes, 0))
    return rt::Status::success();
  std::vector<int64_t> strides(rank, 1);
  for (size_t dim = rank; dim-- > 1;)
    strides[dim - 1] = strides[dim] * weight.storedShape[dim];
  std::vector<int64_t> position(split, 0);
  while (true) {
    int64_t first = 0;
    for (size_t dim = 0; dim < rank; ++dim)
      first += (weight.offsets[dim] + (dim < split ? position[dim] : 0)) *
               strides[dim];
    NEST_RT_TRY(visit(first, run));
    size_t dim = split;
    while (dim > 0 && ++position[dim - 1] == weight.sizes[dim - 1])
      position[--dim] = 0;
    if (dim == 0)
      return rt::Status::success();
  }
}

/// Streams the box of a stored tensor in the type of the package.
static rt::Status produceWeight(const PackagedWeight &weight,
                                const rt::TensorInfo &tensor,
                                const std::string &place,
                                const rt::ByteSink &sink) {
  constexpr int64_t kChunk = 1 << 16; // elements
  unsigned from = rt::byteSize(weight.storedType);
  unsigned to = rt::byteSize(weight.type);
  const char *data = static_cast<const char *>(tensor.data);
  std::vector<char> buffer;
  return forEachRun(weight, [&](int64_t first, int64_t count) -> rt::Status {
    if (weight.storedType == weight.type)
      return sink(data + first * from, count * from);
    for (int64_t done = 0; done < count; done += kChunk) {
      int64_t step = std::min(kChunk, count - done);
      buffer.resize(step * to);
      if (!rt::convertElements(weight.storedType, data + (first + done) * from,
                               weight.type, buffer.data(), step))
        return rt::Error(place,
                         std::string("cannot be converted from ") +
                             rt::name(weight.storedType) + " to " +
                             rt::name(weight.type),
                         "f32, bf16 and f16 convert into each other");
      NEST_RT_TRY(sink(buffer.data(), buffer.size()));
    }
    return rt::Status::success();
  });
}

rt::Expected<const rt::TensorInfo *>
findStored(const rt::Checkpoint &checkpoint, const PackagedWeight &weight) {
  NEST_RT_ASSIGN(const rt::TensorInfo *tensor, checkpoint.get(weight.key));
  if (tensor->dtype != weight.storedType || tensor->shape != weight.storedShape)
    return rt::Error(checkpoint.placeOf(*tensor),
                     std::string("is ") + rt::name(tensor->dtype) + " " +
                         rt::shapeString(tensor->shape),
                     std::string("the module was made for ") +
                         rt::name(weight.storedType) + " " +
                         rt::shapeString(weight.storedShape) +
                         "; import the checkpoint again");
  return tensor;
}

rt::Status addWeight(rt::SafetensorsWriter &writer,
                     const rt::Checkpoint &checkpoint,
                     const PackagedWeight &weight) {
  NEST_RT_ASSIGN(const rt::TensorInfo *tensor, findStored(checkpoint, weight));
  std::string place = checkpoint.placeOf(*tensor);
  NEST_RT_ASSIGN([[maybe_unused]] size_t index,
                 writer.add(weight.name, weight.type, weight.shape,
                            [&weight, tensor, place](const auto &sink) {
                              rt::Status status =
                                  produceWeight(weight, *tensor, place, sink);
                              rt::releaseMapped(tensor->data, tensor->bytes);
                              return status;
                            }));
  return rt::Status::success();
}

rt::Status writeTensors(rt::SafetensorsWriter &writer, const std::string &path,
                        const std::function<void(uint64_t)> &progress) {
  NEST_RT_ASSIGN(rt::OutputFile file, rt::OutputFile::create(path));
  NEST_RT_TRY(writer.write(
      [&](const void *data, size_t size) { return file.write(data, size); },
      path, progress));
  return file.close();
}

rt::Status writePlainFile(const std::string &path, std::string_view text) {
  NEST_RT_ASSIGN(rt::OutputFile file, rt::OutputFile::create(path));
  NEST_RT_TRY(file.write(text));
  return file.close();
}

rt::Status copyFile(const std::string &from, const std::string &to) {
  NEST_RT_ASSIGN(rt::MappedFile source, rt::MappedFile::open(from));
  return writePlainFile(to, source.text());
}

rt::Error inOutput(rt::Error error, const std::string &temporary,
                   const std::string &output) {
  for (std::string *text : {&error.place, &error.message})
    for (size_t at = 0; (at = text->find(temporary, at)) != std::string::npos;
         at += output.size())
      text->replace(at, temporary.size(), output);
  return error;
}

} // namespace nestc
