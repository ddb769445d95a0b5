// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Rota authors
//
// Result: a value, or why there is none. Control-plane functions that can be asked for something
// wrong return one; they change nothing when they return an Error.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace rota {

// As an operator's program must tell them apart; the same names as gRPC's status codes.
enum class ErrorCode {
  invalid_argument,     // the text itself is wrong
  not_found,            // it names what is not there
  already_exists,       // it names what is there already
  failed_precondition,  // right in itself, but not as things stand
  internal,             // not the caller's fault: disk, database
};

struct Error {
  ErrorCode code;
  std::string message;  // for the operator: where, what was expected, what came
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : outcome_(std::move(value)) {}
  Result(Error error) : outcome_(std::move(error)) {}

  bool ok() const { return std::holds_alternative<T>(outcome_); }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok()
  T& value() & { return std::get<T>(outcome_); }
  const T& value() const& { return std::get<T>(outcome_); }
  T&& value() && { return std::get<T>(std::move(outcome_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok()
  const Error& error() const { return std::get<Error>(outcome_); }

 private:
  std::variant<T, Error> outcome_;
};

// The value of what is done for its effect.
struct Done {};

}  // namespace rota
