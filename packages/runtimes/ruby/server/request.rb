# frozen_string_literal: true

module Treadle
  # What a handler function sees of a request: `context.req` of Open Runtimes v5. The body is read when it is first asked for.
  class Request
    attr_reader :method, :headers, :url, :scheme, :host, :port, :path, :query_string

    def initialize(connection, method, target, headers)
      @connection = connection
      @method = method
      @headers = headers
      @scheme = headers["x-forwarded-proto"] || "http"
      authority = headers["host"] || "localhost"
      if (absolute = %r{\A([a-z][a-z0-9+.-]*)://([^/?#]*)(.*)\z}mi.match(target))
        @scheme, authority, target = absolute[1].downcase, absolute[2], absolute[3]
      end
      @path, _, @query_string = target.split("#", 2).first.to_s.partition("?")
      @path = "/" if @path.empty?
      default = @scheme == "https" ? 443 : 80
      parts = /\A(.*):(\d*)\z/.match(authority)
      @host = parts ? parts[1] : authority
      @port = parts && parts[2].to_i.positive? ? parts[2].to_i : default
      @url = "#{@scheme}://#{@host}#{":#{@port}" unless @port == default}#{@path}#{"?#{@query_string}" unless @query_string.empty?}"
    end

    def body_binary
      @body_binary ||= begin
        raise "The body was asked for as a stream." if @streaming

        bytes = String.new(encoding: Encoding::BINARY)
        while (piece = @connection.read_piece)
          bytes << piece
        end
        bytes
      end
    end

    def body_text = body_binary.dup.force_encoding(Encoding::UTF_8)
    alias body_raw body_text
    alias payload body_text

    def body_json
      JSON.parse(body_text)
    rescue JSON::ParserError => e
      raise JSON::ParserError, "The request body is not valid JSON: #{e.message}"
    end

    def body
      return body_text unless headers["content-type"].to_s.downcase.start_with?("application/json")

      body_binary.empty? ? {} : body_json
    end

    # The body in pieces, as they come.
    def body_stream
      return [@body_binary].each if @body_binary

      @streaming = true
      connection = @connection
      # No Enumerator, whose `next` would run in a fiber.
      pieces = Object.new.extend(Enumerable)
      pieces.define_singleton_method(:each) do |&block|
        while (piece = connection.read_piece)
          block.call(piece)
        end
      end
      pieces
    end

    def query
      @query ||= query_string.split("&").each_with_object({}) do |part, query|
        key, _, value = part.partition("=")
        query[key] = value unless key.empty?
      end
    end

    def env = ENV.to_h
    alias variables env
  end
end
