//===- replay.cpp - runs a fuzz target without libFuzzer ----*- C++ -*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// usage: replay LAST COUNT SEED...
//
// Runs the target on every file as it is, and on COUNT broken copies of each,
// always the same ones. The file LAST holds what was run last: what crashed.
//
//===----------------------------------------------------------------------===//

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

// NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace {
/// Breaks texts. Distributions differ between C++ libraries; a remainder does
/// not.
class Breaker {
public:
  Breaker(uint32_t seed, const std::vector<std::string> &texts)
      : random(seed), texts(texts) {}

  std::string operator()(std::string text) {
    for (size_t edits = 1 + below(3); edits > 0; --edits)
      edit(text);
    return text;
  }

private:
  size_t below(size_t bound) { return random() % bound; }

  /// A word of a text, or all between two blanks.
  std::pair<size_t, size_t> word(const std::string &text) {
    size_t at = below(text.size() + 1);
    size_t start = text.find_last_of(" \n", at);
    start = start == std::string::npos ? 0 : start + 1;
    size_t end = text.find_first_of(" \n", start);
    return {start, (end == std::string::npos ? text.size() : end) - start};
  }

  void edit(std::string &text) {
    static const char *const pieces[] = {
        "0", "-1", "?", "9223372036854775807", "1x", "\"", "{}", "[]",
        "<", ">",  "_", "tensor<*xf32>"};
    size_t at = below(text.size() + 1);
    switch (below(7)) {
    case 0: // a bit
      if (at < text.size())
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      return;
    case 1: // the end
      text.resize(at);
      return;
    case 2:
      text.erase(at, below(40));
      return;
    case 3:
      text.insert(at, text.substr(at, below(200)));
      return;
    case 4:
      text.insert(at, pieces[below(std::size(pieces))]);
      return;
    case 5: { // a number
      size_t digit = text.find_first_of("0123456789", at);
      if (digit != std::string::npos)
        text.replace(digit, 1, pieces[below(4)]);
      return;
    }
    default: { // a word of another text
      const std::string &other = texts[below(texts.size())];
      auto [from, length] = word(other);
      auto [start, size] = word(text);
      text.replace(start, size, other.substr(from, length));
      return;
    }
    }
  }

  std::mt19937 random;
  const std::vector<std::string> &texts;
};
} // namespace

int main(int argc, char **argv) {
  if (argc < 4) {
    std::cerr << "usage: " << argv[0] << " LAST COUNT SEED...\n";
    return 2;
  }
  std::vector<std::string> texts;
  for (int i = 3; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(file),
                       std::istreambuf_iterator<char>());
  }
  auto run = [&](const std::string &text) {
    std::ofstream(argv[1], std::ios::binary) << text;
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(text.data()),
                           text.size());
  };
  unsigned long count = std::strtoul(argv[2], nullptr, 10);
  for (size_t seed = 0; seed < texts.size(); ++seed) {
    run(texts[seed]);
    Breaker breaker(static_cast<uint32_t>(seed), texts);
    for (unsigned long i = 0; i < count; ++i)
      run(breaker(texts[seed]));
  }
  std::cout << texts.size() * (count + 1) << " inputs\n";
  return 0;
}
