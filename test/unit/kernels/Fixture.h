//===- Fixture.h - tests of kernels, for every level -*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TEST_UNIT_KERNELS_FIXTURE_H
#define NESTC_TEST_UNIT_KERNELS_FIXTURE_H

#include "Harness.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>

namespace nestc::test {

/// Tests with a level as their parameter.
class Cpu : public testing::TestWithParam<std::string> {
protected:
  std::unique_ptr<Compiled> compile(const std::vector<std::string> &arguments,
                                    const std::string &body) {
    auto code =
        std::make_unique<Compiled>(oneKernel(arguments, body), GetParam());
    EXPECT_EQ(code->error, "");
    return code;
  }
};

/// A level in the name of a test: "v3", "v4", "sm80".
inline std::string levelName(const std::string &level) {
  return level.compare(0, 3, "sm_") == 0 ? "sm" + level.substr(3)
                                         : level.substr(level.size() - 2);
}

/// Appends operands of a kernel to `types`: "%a3, %a4 : type, type".
inline std::string addOperands(std::vector<std::string> &types,
                               const std::vector<std::string> &more) {
  std::string names, list;
  for (const std::string &type : more) {
    std::string comma = names.empty() ? "" : ", ";
    names += comma + "%a" + std::to_string(types.size());
    list += comma + type;
    types.push_back(type);
  }
  return names + " : " + list;
}

/// The largest |x - y| / (1 + |y|).
inline double worst(const std::vector<float> &x, const std::vector<double> &y) {
  EXPECT_EQ(x.size(), y.size());
  double result = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    double error = std::fabs(x[i] - y[i]) / (1 + std::fabs(y[i]));
    if (!(error <= result))
      result = error;
    if (std::isnan(error))
      return error;
  }
  return result;
}

/// The largest |x - y| / (1 + |y|) of what |x - y| is above `slack`.
inline double worst(const std::vector<float> &x, std::vector<double> y,
                    const std::vector<double> &slack) {
  for (size_t i = 0; i < y.size(); ++i)
    y[i] =
        x[i] + std::copysign(std::max(std::fabs(y[i] - x[i]) - slack[i], 0.0),
                             y[i] - x[i]);
  return worst(x, y);
}

/// One row of attention, with a scale of 0.3, over the keys `first` to `end` of
/// a head, to `y`. If weights may be `rounded` to bf16 or f16 ("": they may
/// not), `slack` is how far that can move the row. With weights w of sum 1 each
/// is off by a part u of it at most, the roundoff, and of f16 by 2^-25, half of
/// the least number, of weights the largest of which is 1 or more: y by
/// sum_j (u w_j + 2^-25) |v_j - y| / (1 - u).
inline void attend(const float *query, const float *keys, const float *values,
                   int64_t first, int64_t end, int64_t headDim, double *y,
                   const std::string &rounded = "", double *slack = nullptr,
                   const std::function<double(int64_t)> &takenOff = {}) {
  std::vector<double> weights;
  double top = -1e300, sum = 0;
  for (int64_t j = first; j < end; ++j) {
    double s = 0;
    for (int64_t d = 0; d < headDim; ++d)
      s += double(query[d]) * keys[j * headDim + d];
    weights.push_back(s * 0.3f - (takenOff ? takenOff(j) : 0));
    top = std::max(top, weights.back());
  }
  for (double &weight : weights)
    sum += weight = std::exp(weight - top);
  std::fill_n(y, headDim, 0.0);
  for (int64_t j = first; j < end; ++j)
    for (int64_t d = 0; d < headDim; ++d)
      y[d] += weights[j - first] / sum * values[j * headDim + d];
  if (rounded.empty())
    return;
  bool isHalf = rounded == "f16";
  double unit = isHalf ? 0x1p-11 : 0x1p-8, least = isHalf ? 0x1p-25 : 0;
  std::fill_n(slack, headDim, 0.0);
  for (int64_t j = first; j < end; ++j)
    for (int64_t d = 0; d < headDim; ++d)
      slack[d] += (unit * weights[j - first] / sum + least) / (1 - unit) *
                  std::fabs(values[j * headDim + d] - y[d]);
}

/// What tests put where nothing should be written.
constexpr int32_t unwritten = -77;

/// The four tables, as a source writes them.
struct Family {
  Family() = default;
  Family(int64_t batch, int64_t tokens, int64_t sets)
      : batch(batch), tokens(tokens), indices(batch * tokens + 1, unwritten),
        offsets(sets + 2, unwritten), order(batch * tokens + 1, unwritten),
        counts(batch + 1, unwritten) {}
  /// From the set of every row; -1 for none. Of sequence b there are rows[b]
  /// rows in a packed input, or `tokens`.
  Family(int64_t batch, int64_t tokens, int64_t sets,
         const std::vector<std::vector<int>> &setOf)
      : Family(batch, tokens, sets) {
    int32_t packed = 0;
    offsets[0] = 0;
    std::vector<std::vector<std::pair<int, int32_t>>> found(batch);
    for (int64_t s = 0; s < sets; ++s) {
      int32_t row = 0;
      for (int64_t b = 0; b < batch; ++b)
        for (size_t j = 0; j < setOf[b].size(); ++j, ++row)
          if (setOf[b][j] == s) {
            found[b].push_back({static_cast<int>(j), packed});
            indices[packed++] = row;
          }
      offsets[s + 1] = packed;
    }
    for (int64_t b = 0; b < batch; ++b) {
      std::sort(found[b].begin(), found[b].end());
      counts[b] = found[b].size();
      for (size_t j = 0; j < found[b].size(); ++j)
        order[b * tokens + j] = found[b][j].second;
    }
  }

  /// What is defined of another family is this one, and no more was written
  /// than the tables hold.
  void expect(const Family &got) const {
    EXPECT_EQ(got.offsets, offsets);
    EXPECT_EQ(got.counts, counts);
    int32_t total = *std::max_element(offsets.begin(), offsets.end());
    for (int32_t p = 0; p < total; ++p)
      EXPECT_EQ(got.indices[p], indices[p]) << "packed row " << p;
    for (int64_t b = 0; b < batch; ++b)
      for (int32_t j = 0; j < counts[b]; ++j)
        EXPECT_EQ(got.order[b * tokens + j], order[b * tokens + j])
            << "row " << j << " of sequence " << b;
    EXPECT_EQ(got.indices.back(), unwritten);
    EXPECT_EQ(got.order.back(), unwritten);
  }

  int64_t batch = 0, tokens = 0;
  std::vector<int32_t> indices, offsets, order, counts;
};

inline const std::string table2 = "memref<?x?xi32>";
inline const std::string table1 = "memref<?xi32>";
inline std::string offsetsOf(int64_t sets) {
  return "memref<" + std::to_string(sets + 1) + "xi32>";
}

} // namespace nestc::test

#endif // NESTC_TEST_UNIT_KERNELS_FIXTURE_H
