# frozen_string_literal: true

module Treadle
  # The other side broke the connection.
  class Disconnected < StandardError; end
  # The request's body is larger than Settings::MAX_BODY_BYTES.
  class BodyTooLarge < StandardError; end

  # What was sent is no HTTP/1.1.
  class BadRequest < StandardError; end

  # One HTTP/1.1 connection.
  class Connection
    MAX_HEAD_BYTES = 64 * 1024
    REASONS = {
      200 => "OK", 201 => "Created", 202 => "Accepted", 204 => "No Content", 301 => "Moved Permanently", 302 => "Found", 400 => "Bad Request",
      404 => "Not Found", 413 => "Content Too Large", 500 => "Internal Server Error", 503 => "Service Unavailable",
    }.freeze

    attr_accessor :keep_alive
    attr_reader :said_length

    def initialize(socket)
      @socket = socket
      @buffer = String.new(encoding: Encoding::BINARY)
      @ended = true
      @keep_alive = true
    end

    def closed_by_caller? = @buffer.empty? && @socket.eof?

    # Reads the head of a request: [method, target, headers]; nil when no more comes.
    def read_head
      until (at = @buffer.index("\r\n\r\n"))
        raise BadRequest, "The head of the request is too long." if @buffer.bytesize > MAX_HEAD_BYTES
        return nil unless fill(@buffer.empty?)
      end
      first, *lines = @buffer.slice!(0, at + 4).sub(/\A(\r\n)+/, "").chomp("\r\n\r\n").split("\r\n")
      start = %r{\A([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\s\x00-\x1f]+) HTTP/1\.([01])\z}n.match(first.to_s)
      raise BadRequest, "The request line is malformed." unless start

      @http10 = start[3] == "0"
      @method = start[1]
      headers = read_headers(lines)
      read_framing(headers)
      [@method, utf8(start[2]), headers]
    end

    def utf8(text) = text.dup.force_encoding(Encoding::UTF_8).scrub

    # A piece of the body as it comes; nil at its end.
    def read_piece(limited: true)
      return nil if @ended

      if @wants_continue && @buffer.empty?
        @wants_continue = false
        write("HTTP/1.1 100 Continue\r\n\r\n")
      end
      piece = @left ? read_counted : read_chunk
      @body_bytes += piece.bytesize if piece
      raise BodyTooLarge, "The request body is larger than 20 MiB." if limited && @body_bytes > Settings::MAX_BODY_BYTES

      piece
    end

    # Reads what is left of the body, so that the next request can follow; tells whether it was small enough.
    def drain
      read_piece(limited: false) until @ended
      @body_bytes <= Settings::MAX_BODY_BYTES
    end

    def too_large? = !@left.nil? && @left > Settings::MAX_BODY_BYTES

    def answer(status, headers, body)
      head = head_of(status, headers)
      return write("#{head}\r\n") if [204, 304].include?(status)

      head << "content-length: #{body.bytesize}\r\n\r\n"
      write(@method == "HEAD" ? head : head << body.b)
    end

    def begin_stream(status, headers)
      @chunking = !@http10
      @keep_alive = false if @http10
      write("#{head_of(status, headers)}#{"transfer-encoding: chunked\r\n" if @chunking}\r\n")
    end

    def send_piece(piece)
      return if piece.empty? || @method == "HEAD"

      write(@chunking ? "#{piece.bytesize.to_s(16)}\r\n".b << piece.b << "\r\n" : piece)
    end

    def end_stream
      write("0\r\n\r\n") if @chunking && @method != "HEAD"
    end

    private

    def fill(may_end)
      @buffer << @socket.readpartial(65_536)
    rescue EOFError, SystemCallError, IOError
      raise Disconnected unless may_end
    end

    def write(bytes)
      @socket.write(bytes)
    rescue SystemCallError, IOError
      @keep_alive = false
      raise Disconnected
    end

    def read_headers(lines)
      lines.each_with_object({}) do |line, headers|
        name, value = line.split(":", 2)
        raise BadRequest, "A header is malformed." if value.nil? || !name.match?(/\A[!#$%&'*+\-.^_`|~0-9A-Za-z]+\z/n) || line.match?(/[\r\n\0]/n)

        name = utf8(name.downcase)
        value = utf8(value.strip)
        headers[name] = headers.key?(name) ? "#{headers[name]}, #{value}" : value
      end
    end

    def read_framing(headers)
      connection = headers["connection"].to_s.downcase
      @keep_alive = @http10 ? connection == "keep-alive" : !connection.include?("close")
      @wants_continue = headers["expect"].to_s.downcase == "100-continue"
      @body_bytes = 0
      coding = headers["transfer-encoding"].to_s.downcase
      length = headers["content-length"]
      if !coding.empty?
        raise BadRequest, "The request does not say clearly how long its body is." if coding != "chunked" || length || @http10

        @left = nil
      else
        raise BadRequest, "The header content-length is malformed." if length && !length.match?(/\A\d{1,15}\z/)

        @left = length.to_i
      end
      @ended = @left == 0
    end

    def read_counted
      fill(false) if @buffer.empty?
      piece = @buffer.slice!(0, @left)
      @left -= piece.bytesize
      @ended = @left.zero?
      piece
    end

    def read_line
      until (at = @buffer.index("\r\n"))
        raise BadRequest, "A chunk of the body is malformed." if @buffer.bytesize > 8192

        fill(false)
      end
      @buffer.slice!(0, at + 2).chomp("\r\n")
    end

    def read_chunk
      @chunk_left ||= 0
      if @chunk_left.zero?
        line = read_line
        raise BadRequest, "A chunk of the body is malformed." unless line.match?(/\A\h{1,8}[ \t]*(;|\z)/n)

        @chunk_left = line.to_i(16)
        if @chunk_left.zero?
          nil until read_line.empty? # Trailers are nobody's.
          @ended = true
          return nil
        end
      end
      fill(false) if @buffer.empty?
      piece = @buffer.slice!(0, @chunk_left)
      @chunk_left -= piece.bytesize
      raise BadRequest, "A chunk of the body is malformed." if @chunk_left.zero? && !read_line.empty?

      piece
    end

    def head_of(status, headers)
      head = +"HTTP/1.1 #{status} #{REASONS[status] || "Status"}\r\n"
      headers.each { |name, value| head << "#{name}: #{value}\r\n" }
      if !@keep_alive then head << "connection: close\r\n"
      elsif @http10 then head << "connection: keep-alive\r\n"
      end
      head.b
    end
  end
end
