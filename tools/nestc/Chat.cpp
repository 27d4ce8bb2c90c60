//===- Chat.cpp - what a model was taught a conversation looks like -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/nestc/Chat.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

#include <vector>

using namespace nestc;

namespace {
/// A family whose models mark turns: the mark of a turn's start and end, and
/// who speaks.
struct ChatTemplate {
  const char *family;
  const char *start, *end;
  const char *user, *model;
};
} // namespace

static const ChatTemplate kTemplates[] = {
    {"gemma3n", "<start_of_turn>", "<end_of_turn>", "user", "model"},
};

rt::Expected<std::string>
nestc::chatPrompt(const std::string &family, const std::string &said,
                  const std::function<bool(const std::string &)> &isToken) {
  std::vector<std::string> names;
  for (const ChatTemplate &form : kTemplates) {
    names.emplace_back(form.family);
    if (family != form.family)
      continue;
    for (const char *mark : {form.start, form.end})
      if (!isToken(mark))
        return rt::Error("--chat",
                         std::string("the tokenizer has no token ") + mark +
                             ", so that the model knows no turns",
                         "a checkpoint that was taught conversations, or "
                         "--prompt by itself");
    return std::string(form.start) + form.user + "\n" +
           llvm::StringRef(said).trim().str() + form.end + "\n" + form.start +
           form.model + "\n";
  }
  return rt::Error("--chat",
                   "how conversations look is not known of models of the "
                   "family " +
                       family,
                   "families: " + llvm::join(names, ", "));
}
