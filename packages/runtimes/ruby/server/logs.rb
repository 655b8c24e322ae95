# frozen_string_literal: true

module Treadle
  # Where the entries of one execution go.
  class Log
    attr_reader :id, :folder
    # Its line that was begun and not ended; whether it is nobody's any more; what it holds already (bytes).
    attr_accessor :line, :ended, :bytes

    def initialize(id, silent, folder)
      @id = id
      @silent = silent
      @folder = folder
      @line = +""
      @ended = false
      @bytes = 0
    end

    def silent? = @silent
  end

  # What user code logs and prints, as one JSON line on stdout each, written at once.
  module Logs
    MAX_CHARACTERS = 8000
    CUT_NOTE = "... Log truncated due to size limit (8000 characters)"
    KEY = :treadle_log
    OUT = $stdout.dup.tap { |out| out.sync = true }
    LOCK = Mutex.new
    OWNERLESS = Log.new(nil, false, nil)

    class << self
      # Takes entries (log, level, text, fields) where they do not go to stdout or files.
      attr_accessor :sink
    end

    module_function

    # The log of the execution that the running thread belongs to.
    def current = Thread.current.thread_variable_get(KEY) || OWNERLESS

    def append(log, level, text, fields = nil)
      return if log.silent?

      text = text.encode("UTF-8", invalid: :replace, undef: :replace).scrub
      return Logs.sink.call(log, level, text, fields) if Logs.sink

      text = text[0, MAX_CHARACTERS] + CUT_NOTE if text.length > MAX_CHARACTERS
      if log.folder && log.id
        File.write("#{log.folder}/#{log.id}_#{level == "error" ? "errors" : "logs"}.log", "#{text}\n", mode: "a")
        return
      end
      entry = { id: log.id, level: level, text: text }
      entry[:fields] = fields if fields
      line = "#{JSON.generate(entry)}\n"
      LOCK.synchronize { OUT.write(line) }
    rescue SystemCallError
      nil # A closed stdout must not end the server.
    end

    # Takes what was printed, a line at a time.
    def print(level, text)
      log = current
      *lines, rest = (log.line + text.to_s).split("\n", -1)
      log.line = rest.nil? ? +"" : +rest
      lines.each { |line| append(log, level, line.delete_suffix("\r")) }
      end_line(log) if log.line.length > 4 * MAX_CHARACTERS
    end

    def end_line(log)
      return if log.line.empty?

      append(log, "info", log.line)
      log.line = +""
    end

    # Arguments of context.log as one line of text.
    def message(values)
      values.map do |value|
        case value
        when String then value
        when Exception then describe(value)
        when Hash, Array, NilClass then begin JSON.generate(value) rescue value.inspect end
        else value.to_s
        end
      end.join(" ")
    end

    def describe(error) = error.full_message(highlight: false, order: :top)
  end

  # Stands for $stdout and $stderr while user code runs.
  class Printed < IO
    def initialize(level, descriptor)
      super(descriptor, "w", autoclose: false)
      @level = level
    end

    def write(*texts)
      texts.each { |text| Logs.print(@level, text) }
      texts.sum { |text| text.to_s.bytesize }
    end

    def <<(text)
      write(text)
      self
    end

    def print(*values)
      write(*values)
      nil
    end

    def puts(*values)
      write("\n") if values.empty?
      values.flatten.each { |value| write(value.to_s.end_with?("\n") ? value.to_s : "#{value}\n") }
      nil
    end

    def printf(*values)
      write(format(*values))
      nil
    end

    def putc(value)
      write(value.is_a?(Integer) ? (value & 255).chr : value.to_s[0])
      value
    end

    def flush = self
    def syswrite(text) = write(text)
    def write_nonblock(text, **) = write(text)
    def close = nil
  end
end
