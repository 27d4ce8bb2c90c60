//===- Chat.h - what a model was taught a conversation looks like -*- C++
//-*-===//
//
// Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for details.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NESTC_TOOLS_NESTC_CHAT_H
#define NESTC_TOOLS_NESTC_CHAT_H

#include "lowering/runtime/Error.h"

#include <functional>
#include <string>

namespace nestc {

/// The text that a model of `family` is given for what a user says in a new
/// conversation, up to where it answers; what it is given before every text is
/// the tokenizer's. `isToken` says whether a text is one token of the package's
/// tokenizer: a model that was not taught the marks of turns does not have
/// them.
rt::Expected<std::string>
chatPrompt(const std::string &family, const std::string &said,
           const std::function<bool(const std::string &)> &isToken);

} // namespace nestc

#endif // NESTC_TOOLS_NESTC_CHAT_H
