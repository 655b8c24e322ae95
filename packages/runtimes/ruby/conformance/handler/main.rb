# frozen_string_literal: true

# The conformance function: does what the header x-action says (test/conformance/ACTIONS.md).

def parts
  Enumerator.new do |pieces|
    %W[one\n two\n three\n].each_with_index do |part, at|
      sleep 0.2 if at.positive?
      pieces << part
    end
  end
end

def repeated(size)
  piece = "a" * 65_536
  Enumerator.new do |pieces|
    left = size
    while left.positive?
      pieces << (left >= piece.size ? piece : piece[0, left])
      left -= piece.size
    end
  end
end

def failing
  Enumerator.new do |pieces|
    pieces << "one\n"
    sleep 0.02
    raise "The source failed"
  end
end

def main(context)
  req = context.req
  res = context.res
  case req.headers["x-action"]
  when "plainText" then res.text("Hello World 👋")
  when "json" then res.json({ json: true, message: "Developers are awesome." })
  when "charset" then res.text("ok", 200, { "content-type" => "text/plain; charset=iso-8859-1" })
  when "upperCaseType" then res.text("ok", 200, { "content-type" => "TEXT/HTML" })
  when "multipart" then res.text("--x--", 200, { "content-type" => "multipart/form-data; boundary=12345" })
  when "redirect" then res.redirect("https://example.com/there")
  when "empty" then res.empty
  when "binary" then res.binary([0, 10, 255].pack("C*"))
  when "noResponse" then nil
  when "double"
    res.text("This should be ignored.")
    res.text("This should be returned.")
  when "headers"
    res.text("OK", 200, {
      "first-header" => "first-value",
      "second-header" => req.headers.fetch("x-open-runtimes-custom-in-header", "missing"),
      "third-header" => req.headers.fetch("cookie", "missing"),
      "x-open-runtimes-custom-out-header" => "third-value",
    })
  when "setCookie" then res.text("OK", 200, { "set-cookie" => ["a=1; Path=/", "b=2; HttpOnly"] })
  when "status" then res.text("status", req.headers["x-status"].to_i)
  when "method" then res.text(req.method)
  when "url"
    res.json({
      url: req.url, port: req.port, path: req.path, query: req.query, queryString: req.query_string, scheme: req.scheme, host: req.host,
    })
  when "requestHeaders" then res.json(req.headers)
  when "bodyText" then res.text(req.body_text)
  when "bodyJson" then res.json(req.body_json)
  when "body" then res.json({ kind: req.body.is_a?(String) ? "text" : "object", body: req.body })
  when "bodyBinary" then res.binary(req.body_binary)
  when "environment"
    res.json({ given: ENV["CUSTOM_ENV_VAR"], missing: ENV["NOT_DEFINED_VAR"], secret: ENV["OPEN_RUNTIMES_SECRET"] })
  when "log"
    context.log("Debug Log")
    context.error("Error Log")
    context.log("A", 42, true)
    context.log({ object: true })
    puts "Native Log"
    res.text("")
  when "longLog"
    context.log("a" * 9000)
    res.text("")
  when "structuredLog"
    context.logger.warn("structured", { key: "value" })
    res.text("")
  when "exception"
    context.log("before")
    raise "Custom error message"
  when "sleep"
    sleep req.headers["x-ms"].to_i / 1000.0
    res.text("slept")
  when "concurrentLog"
    id = req.headers["x-id"]
    3.times do
      context.log(id)
      puts "native #{id}"
      sleep 0.02
    end
    res.text(id)
  when "stream" then res.stream(parts, 201, { "x-streamed" => "yes" })
  when "streamLarge" then res.stream(repeated(req.headers["x-size"].to_i))
  when "streamError" then res.stream(failing)
  when "echoStream" then res.stream(req.body_stream)
  when "large" then res.binary("a" * req.headers["x-size"].to_i)
  when "file" then res.text(File.read(File.join(__dir__, "data.txt")))
  else res.text("Unknown action", 404)
  end
end
