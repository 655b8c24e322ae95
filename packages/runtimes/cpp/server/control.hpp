#pragma once

#include <boost/beast/http/fields.hpp>
#include <string>

#include "settings.hpp"

namespace treadle {

/// What the caller's own headers say.
struct Control {
  std::string id;
  /// 0: none.
  unsigned timeoutSeconds = 0;
  bool logging = true;
  /// What is wrong with them; empty: nothing.
  std::string refusal;

  static Control read(const boost::beast::http::fields &headers, const Settings &settings);
};

}  // namespace treadle
