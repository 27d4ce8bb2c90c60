//===- Frontier.cpp - submodels by the rule of Mix'n'Match ------*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Frontier.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>

using namespace nestc;
using llvm::formatv;

//===----------------------------------------------------------------------===//
// The rule
//===----------------------------------------------------------------------===//

namespace {
/// A level as a part of its layer.
struct Part {
  int64_t level, size;
  // Sizes are below 2^31.
  friend bool operator<(Part a, Part b) {
    return a.level * b.size < b.level * a.size;
  }
};
} // namespace

std::vector<std::vector<int64_t>> nestc::mixAndMatch(const AxisTable &table) {
  std::vector<const AxisTable::Axis *> layers;
  std::vector<Part> parts;
  for (int64_t layer = 0; layer < table.numLayers; ++layer) {
    auto axis = table.axes.find(AxisTable::name(layer, kFfnAxis));
    if (axis == table.axes.end() || axis->second.levels.empty())
      return {};
    layers.push_back(&axis->second);
    if (axis->second.levels.size() > 1)
      for (int64_t level : axis->second.levels)
        parts.push_back({level, axis->second.size});
  }
  std::sort(parts.begin(), parts.end());
  auto isSame = [](Part a, Part b) { return !(a < b); };
  parts.erase(std::unique(parts.begin(), parts.end(), isSame), parts.end());

  auto widthAt = [&](size_t layer, Part part) {
    int64_t size = layers[layer]->size;
    const auto &levels = layers[layer]->levels;
    const auto *above =
        std::find_if(levels.begin(), levels.end(),
                     [&](int64_t level) { return part < Part{level, size}; });
    return above == levels.begin() ? levels.front() : *std::prev(above);
  };
  std::vector<std::vector<int64_t>> frontier;
  for (Part part : parts) {
    if (frontier.empty()) {
      frontier.emplace_back();
      for (size_t layer = 0; layer < layers.size(); ++layer)
        frontier.back().push_back(widthAt(layer, part));
      continue;
    }
    // Deeper layers are the first to be raised.
    for (size_t layer = layers.size(); layer-- > 0;) {
      std::vector<int64_t> raised = frontier.back();
      raised[layer] = widthAt(layer, part);
      if (raised != frontier.back())
        frontier.push_back(std::move(raised));
    }
  }
  return frontier;
}

std::string nestc::describeWidths(const std::vector<int64_t> &widths) {
  auto numLayers = static_cast<int64_t>(widths.size());
  std::string text;
  llvm::SmallVector<int64_t> skipped;
  for (int64_t first = 0, next = 0; first < numLayers; first = next) {
    llvm::SmallVector<int64_t> layers;
    for (next = first; next < numLayers && widths[next] == widths[first];)
      layers.push_back(next++);
    if (widths[first] == 0)
      skipped.append(layers);
    else
      text += (text.empty() ? "layers." : ",layers.") +
              LayerSelector::text(layers, numLayers) +
              ".ffn=" + std::to_string(widths[first]);
  }
  if (!skipped.empty())
    text += (text.empty() ? "skip=" : ",skip=") +
            LayerSelector::text(skipped, numLayers);
  return text;
}

//===----------------------------------------------------------------------===//
// The picture
//===----------------------------------------------------------------------===//

static std::string escaped(const std::string &text) {
  std::string safe;
  for (char c : text)
    switch (c) {
    case '<':
      safe += "&lt;";
      break;
    case '>':
      safe += "&gt;";
      break;
    case '&':
      safe += "&amp;";
      break;
    default:
      // What XML cannot hold is left out.
      if (static_cast<unsigned char>(c) >= 0x20)
        safe += c;
    }
  return safe;
}

std::string nestc::drawFrontier(const FrontierPicture &picture) {
  constexpr int kTop = 56, kRow = 14, kBars = 110, kBarWidth = 300, kGap = 20;
  int64_t numLayers = static_cast<int64_t>(picture.sizes.size());
  int cell = numLayers <= 40 ? 12 : numLayers <= 100 ? 6 : 2;
  int64_t cellsAt = kBars + kBarWidth + kGap;
  int64_t width = cellsAt + std::max<int64_t>(cell * numLayers, 160) + kGap;
  auto numPoints = static_cast<int64_t>(picture.points.size());
  int64_t bottom = kTop + kRow * numPoints;
  // The budget may lie beyond the largest submodel: then its line is left out.
  double most = static_cast<double>(picture.figures.back());
  auto across = [&](int64_t figure) {
    return kBars + kBarWidth * (static_cast<double>(figure) / most);
  };

  std::string svg = formatv(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" "
      "height=\"{1}\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
      "font-size=\"10\">\n<title>{2}</title>\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n"
      "<text x=\"10\" y=\"20\" font-size=\"14\">{2}</text>\n"
      "<text x=\"{3}\" y=\"{4}\" text-anchor=\"end\">{5}</text>\n"
      "<text x=\"{6}\" y=\"{4}\">FFN widths by layer, dark is full</text>\n",
      width, bottom + 34, escaped(picture.title), kBars - 6, kTop - 8,
      escaped(picture.unit), cellsAt);
  for (int64_t row = 0; row < numPoints; ++row) {
    // The largest stands on top.
    size_t index = numPoints - 1 - row;
    int64_t y = kTop + kRow * row;
    bool isChosen = index == picture.chosen;
    const char *color = isChosen                                  ? "#d55e00"
                        : picture.figures[index] > picture.budget ? "#c8c8c8"
                                                                  : "#0072b2";
    svg += formatv("<text x=\"{0}\" y=\"{1}\" text-anchor=\"end\"{2}>{3}"
                   "</text>\n<rect x=\"{4}\" y=\"{5}\" width=\"{6:f2}\" "
                   "height=\"{7}\" fill=\"{8}\"/>\n",
                   kBars - 6, y + 10, isChosen ? " font-weight=\"bold\"" : "",
                   picture.figures[index], kBars, y + 2,
                   across(picture.figures[index]) - kBars, kRow - 3, color);
    for (int64_t layer = 0; layer < numLayers; ++layer)
      svg += formatv(
          "<rect x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" "
          "fill=\"{4}\" fill-opacity=\"{5:f3}\"/>\n",
          cellsAt + cell * layer, y + 2, cell > 2 ? cell - 1 : cell, kRow - 3,
          color,
          0.1 + 0.9 * static_cast<double>(picture.points[index].widths[layer]) /
                    static_cast<double>(picture.sizes[layer]));
  }
  if (static_cast<double>(picture.budget) <= most)
    svg += formatv("<line x1=\"{0:f2}\" y1=\"{1}\" x2=\"{0:f2}\" y2=\"{2}\" "
                   "stroke=\"#000000\" stroke-dasharray=\"4 3\"/>\n<text "
                   "x=\"{0:f2}\" y=\"{3}\" text-anchor=\"middle\">budget "
                   "{4}</text>\n",
                   across(picture.budget), kTop - 2, bottom + 4, bottom + 18,
                   picture.budget);
  return svg + "</svg>\n";
}
