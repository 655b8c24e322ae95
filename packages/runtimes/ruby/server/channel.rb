# frozen_string_literal: true

module Treadle
  # Frames on file descriptor 3 (CHANNEL.md).
  class Channel
    FD = 3
    HEAD_BYTES = 9
    MAX_FRAME = 64 * 1024 * 1024

    def initialize
      @socket = UNIXSocket.for_fd(FD)
      @buffer = String.new(encoding: Encoding::BINARY)
      @at = 0
      @lock = Mutex.new
    end

    # Whether a frame can be read without waiting longer than so many seconds.
    def wait(seconds) = complete? || !@socket.wait_readable(seconds).nil?

    # The next frame: [kind, id, payload]; nil when the host is gone.
    def read
      fill until complete?
      length = @buffer.unpack1("V", offset: @at)
      kind, id = @buffer.unpack("CV", offset: @at + 4)
      payload = @buffer.byteslice(@at + HEAD_BYTES, length - 5)
      @at += 4 + length
      [kind, id, payload]
    rescue EOFError, SystemCallError
      nil
    end

    # Sends a frame, whole and at once, whatever happens to the thread that sends it.
    def send(kind, id, payload)
      frame = [payload.bytesize + 5, kind, id].pack("VCV") << payload.b
      Thread.handle_interrupt(Object => :never) { @lock.synchronize { write(frame) } }
    rescue SystemCallError, IOError
      nil # The host is gone; the reader hears of it.
    end

    private

    # Most often there is room, and no other thread gets its turn meanwhile.
    def write(frame)
      written = @socket.write_nonblock(frame, exception: false)
      written = 0 if written == :wait_writable
      @socket.write(frame.byteslice(written..)) if written < frame.bytesize
    end

    def complete?
      have = @buffer.bytesize - @at
      return false if have < HEAD_BYTES

      length = @buffer.unpack1("V", offset: @at)
      exit!(1) if length < 5 || length > MAX_FRAME
      have >= 4 + length
    end

    def fill
      if @at == @buffer.bytesize
        @at = 0
        @socket.readpartial(65_536, @buffer)
      else
        @buffer = @buffer.byteslice(@at..) if @at.positive?
        @at = 0
        @buffer << @socket.readpartial(65_536)
      end
    end
  end
end
