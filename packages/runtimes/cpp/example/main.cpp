#include <treadle.hpp>

struct Handler {
  /// Answers every request.
  static RuntimeResponse main(RuntimeContext &context) {
    const auto given = context.req.query.find("name");
    const std::string name = given == context.req.query.end() ? "world" : given->second;
    context.log("Greeting", name);
    return context.res.json({{"language", "cpp"}, {"message", "Hello, " + name + "!"}});
  }
};
