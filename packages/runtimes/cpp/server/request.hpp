#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "treadle.hpp"

namespace treadle {

/// Bodies that are wanted as a whole are at most this long; streams may be longer.
inline constexpr std::size_t MAX_BODY_BYTES = 20 * 1024 * 1024;

/// Thrown through user code that asks for the whole of a body that is too large; answered with 413.
struct BodyTooLarge {};
/// Thrown through user code when the caller went away in the middle of the body.
struct CallerGone : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A body that is read when it is asked for, since only then it is known in which form.
struct RuntimeRequest::Body {
  /// Null: all of it is in `content`.
  std::unique_ptr<RequestBody> coming;
  std::string content;
  bool wasRead = false, wasStreamed = false, tooLarge = false;

  void readWhole();
  const std::string &whole();
  RequestBody &stream();
  /// Reads what nobody asked for, so that a function that wants no body does not get around its limit.
  bool isTooLarge();
};

/// Sets what follows from the target (a path with a query, or a whole address) and the headers.
void describeTarget(RuntimeRequest &request, std::string_view target);

/// What a response sends, checked. `problem` is for the error log when it cannot be sent.
struct Finished {
  RuntimeHeaders headers;
  std::string problem;
};
Finished finish(const RuntimeResponse &response);

}  // namespace treadle
