# frozen_string_literal: true

module Treadle
  # What a function returns: made by the methods of Response.
  class Answer
    OWN = %w[connection content-length keep-alive transfer-encoding upgrade].freeze

    attr_reader :status, :headers, :body, :source

    def initialize(status, headers, body: "", source: nil)
      @status = status
      @headers = headers
      @body = body
      @source = source
    end

    # Headers as they go out: names and values.
    def wire_headers
      raise RangeError, "The status code must be a whole number from 200 to 599, got #{status.inspect}." unless status.is_a?(Integer) && status.between?(200, 599)

      type = "text/plain"
      pairs = []
      headers.each do |key, given|
        name = key.to_s.downcase
        next if name.start_with?("x-open-runtimes-") || OWN.include?(name)
        raise ArgumentError, "#{key.inspect} cannot be the name of a header." unless name.match?(/\A[!#$%&'*+\-.^_`|~0-9a-z]+\z/)

        Array(given).each do |value|
          value = value.to_s
          raise ArgumentError, "The header #{key.inspect} has a value with characters that headers cannot have." if value.match?(/[\r\n\0]/)

          name == "content-type" ? type = value : pairs << [name, value]
        end
      end
      pairs << ["content-type", content_type(type)]
    end

    private

    # Lower case, as Open Runtimes has it, but for multipart, whose boundary is a matter of case; with a character set.
    def content_type(value)
      lower = value.downcase
      return value if lower.start_with?("multipart/")

      lower.include?("charset=") ? lower : "#{lower}; charset=utf-8"
    end
  end

  # `context.res`: makes answers. In the older form, `(req, res)`, the first one made is also the one that is sent.
  class Response
    attr_reader :sent

    def text(body, status = 200, headers = {}) = make(status, headers, body: body.to_s)
    def binary(bytes, status = 200, headers = {}) = make(status, typed(headers, "application/octet-stream"), body: bytes.to_s)
    def json(value, status = 200, headers = {}) = make(status, typed(headers, "application/json"), body: JSON.generate(value))
    def redirect(url, status = 301, headers = {}) = make(status, { **headers, "location" => url })
    def empty = make(204, {})

    # Sends each piece of text or bytes as the source yields it to `each`.
    def stream(source, status = 200, headers = {}) = make(status, headers, source: source)

    # Deprecated: use text.
    def send(body, status = 200, headers = {}) = make(status, headers, body: body.to_s)

    private

    def make(status, headers, **parts)
      answer = Answer.new(status, headers, **parts)
      @sent ||= answer
      answer
    end

    def typed(headers, type)
      headers.any? { |name, _| name.to_s.downcase == "content-type" } ? headers : { **headers, "content-type" => type }
    end
  end
end
