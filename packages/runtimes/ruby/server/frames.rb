# frozen_string_literal: true

require_relative "channel"

module Treadle
  # The body of a CALL, read like that of a connection.
  class WholeBody
    def initialize(bytes) = @bytes = bytes

    def read_piece
      bytes = @bytes
      @bytes = nil
      bytes unless bytes.nil? || bytes.empty?
    end
  end

  # A body that comes in BODY frames, credited as it is read.
  class FollowingBody
    def initialize(&taken)
      @pieces = Queue.new
      @taken = taken
    end

    def <<(piece) = @pieces << piece
    def end = @pieces.close

    def read_piece
      piece = @pieces.pop
      @taken.call if piece
      piece
    end
  end

  # The server of CHANNEL.md: one thread reads frames, others run what they ask for.
  class Frames
    LOAD, CALL, CANCEL, PING, FILE_ANSWER, BODY, BODY_END, CREDIT = *0x01..0x08
    READY, LOADED, RESULT, ERROR, LOG, PONG, CANCELLED = *0x81..0x87
    HEAD, PIECE, BODY_CREDIT = *0x89..0x8b
    LEVELS = { "debug" => 0, "info" => 1, "warn" => 2, "error" => 3 }.freeze
    CUT = 1
    FIELDS = 2
    FIELDS_SEPARATOR = "\u001e"
    MAX_FIELDS = 16 * 1024
    # Pieces of a response that may be sent before the host gives credit, and how long they are at most.
    WINDOW = 4
    MAX_PIECE_BYTES = 256 * 1024
    # Calls that wait this long (seconds) get a new thread though another one runs; less is over before it has started.
    PATIENCE = 0.05
    TICK = 0.002
    # How long a thread that is ended may take for it.
    LAST_WORDS = 0.25

    # One call on its way through user code.
    Execution = Struct.new(:id, :log, :head, :body, :credit, :thread, :since)

    def initialize
      @channel = Channel.new
      @running = {}
      @waiting = Queue.new
      @threads = []
      # Held while an execution comes to a thread or leaves it, so that none is ended for one that it is done with.
      @changing = Mutex.new
      @limits = { "resultBytes" => 8 * 1024 * 1024, "logBytes" => 1024 * 1024, "logEntryCharacters" => 8000 }
      @failure = { code: "LOAD_FAILED", message: "Nothing is loaded yet." }
    end

    # Returns when the host is gone.
    def serve
      Logs.sink = method(:send_log)
      $stdout = Printed.new("info", 1)
      $stderr = Printed.new("error", 2)
      Thread.report_on_exception = false
      @channel.send(READY, 0, JSON.generate({ runtime: "ruby", version: RUBY_VERSION }))
      loop do
        add_threads until @waiting.empty? || @channel.wait(TICK)
        frame = @channel.read or exit!(0)
        take(*frame)
      end
    end

    private

    def take(kind, id, payload)
      case kind
      when CALL then call(id, payload)
      when PING then @channel.send(PONG, id, "")
      when CANCEL then cancel(id)
      when BODY then @running[id]&.body&.<<(payload)
      when BODY_END then @running[id]&.body&.end
      when CREDIT then payload.unpack1("V").times { @running[id]&.credit&.<< true }
      when LOAD then Thread.new { load_function(id, payload) }
      when FILE_ANSWER then nil
      else exit!(1)
      end
    end

    def call(id, payload)
      return @channel.send(ERROR, id, JSON.generate(@failure)) if @function.nil?

      at = 2 + payload.unpack1("v")
      execution = Execution.new(id, Log.new(id, false, nil))
      execution.since = now
      if @settings.script
        execution.body = payload.byteslice(at..)
      else
        head_bytes = payload.unpack1("V", offset: at)
        execution.head = JSON.parse(utf8(payload.byteslice(at + 4, head_bytes)))
        execution.log = Log.new(id, true, nil) if execution.head["logging"] == false
        follows = execution.head["bodyFollows"]
        execution.body = follows ? FollowingBody.new { credit_body(id) } : WholeBody.new(payload.byteslice((at + 4 + head_bytes)..))
      end
      @running[id] = execution
      @waiting << execution
      start_thread if @threads.empty?
    end

    def credit_body(id) = @channel.send(BODY_CREDIT, id, [1].pack("V"))

    # More threads, when those there are wait for something, or run for long.
    def add_threads
      @threads.select!(&:alive?)
      return if @waiting.num_waiting.positive?

      start_thread if @threads.none? { |thread| thread.status == "run" } || (@oldest && now - @oldest > PATIENCE)
      @oldest ||= now
    end

    def start_thread
      @oldest = nil
      @threads << Thread.new { loop { run(@waiting.pop) } }
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    def run(execution)
      @oldest = nil
      @changing.synchronize { execution.thread = Thread.current if @running.key?(execution.id) }
      return if execution.thread.nil?

      Thread.current.thread_variable_set(Logs::KEY, execution.log)
      @settings.script ? run_script(execution) : run_handler(execution)
    rescue Exception => e # rubocop:disable Lint/RescueException -- exit, too, ends the execution and not the server
      Logs.append(execution.log, "error", Logs.describe(e)) unless @settings.script
      finish(execution, ERROR, JSON.generate(error_of(e)))
    ensure
      @changing.synchronize { execution.thread = nil }
      Thread.current.thread_variable_set(Logs::KEY, nil)
    end

    # Ends an execution with its last frame, unless it was given up.
    def finish(execution, kind, payload)
      Logs.end_line(execution.log)
      return unless @running.delete(execution.id)

      execution.log.ended = true
      @channel.send(kind, execution.id, payload)
    end

    def run_script(execution)
      given = JSON.parse(utf8(execution.body))["data"]
      result = JSON.generate(@function.run_script(given, execution.log))
      fits?(execution, result.bytesize) && finish(execution, RESULT, result)
    end

    def run_handler(execution)
      head = execution.head
      visible = head["headers"].to_h { |name, value| [name.downcase, value] }
      visible.reject! { |name, _| name.start_with?("x-open-runtimes-") }
      visible.merge!(@settings.enforced_headers)
      answer = @function.handle(Request.new(execution.body, head["method"], head["url"], visible), execution.log)
      response = JSON.generate({ statusCode: answer.status, headers: answer.wire_headers })
      return send_stream(execution, response, answer.source) if answer.source

      body = answer.body.b
      fits?(execution, body.bytesize) && finish(execution, RESULT, [response.bytesize].pack("V") << response.b << body)
    end

    def fits?(execution, bytes)
      limit = @limits["resultBytes"]
      return true if bytes <= limit

      error = { code: "RESULT_TOO_LARGE", message: "The result is #{bytes} bytes; the limit is #{limit}." }
      finish(execution, ERROR, JSON.generate(error))
      false
    end

    # HEAD, a PIECE for each credit, and an empty RESULT.
    def send_stream(execution, head, source)
      execution.credit = Queue.new.tap { |credit| WINDOW.times { credit << true } }
      @channel.send(HEAD, execution.id, head)
      source.each do |given|
        piece = given.to_s.b
        0.step(piece.bytesize - 1, MAX_PIECE_BYTES) do |at|
          execution.credit.pop
          @channel.send(PIECE, execution.id, piece.byteslice(at, MAX_PIECE_BYTES)) if @running.key?(execution.id)
        end
      end
      finish(execution, RESULT, "")
    end

    # The host has given up on an execution: its thread is ended, and what it says on its way out is nobody's.
    def cancel(id)
      execution = @running.delete(id)
      execution.log.ended = true if execution
      thread = execution && @changing.synchronize { execution.thread&.kill }
      return @channel.send(CANCELLED, id, '{"running":false}') if thread.nil?

      Thread.new do
        thread.join(LAST_WORDS)
        @channel.send(CANCELLED, id, JSON.generate({ running: thread.alive? }))
      end
    end

    def load_function(id, payload)
      request = JSON.parse(utf8(payload))
      @limits = request["limits"]
      request["environment"].each { |name, value| ENV[name] = value }
      @settings = Settings.new(
        ENV.to_h.merge(
          "TREADLE_CODE" => request["directory"], "OPEN_RUNTIMES_ENTRYPOINT" => request["entrypoint"], "TREADLE_CONTRACT" => request["contract"]
        ),
      )
      @function = UserFunction.new(@settings)
      @channel.send(LOADED, id, '{"errors":{},"imports":{}}')
    rescue Exception => e # rubocop:disable Lint/RescueException
      @failure = load_error_of(e)
      @channel.send(LOADED, id, JSON.generate({ errors: { "" => @failure }, imports: {} }))
    end

    def load_error_of(failure)
      cause = failure.cause
      case cause
      when SyntaxError
        { code: "SYNTAX_ERROR", message: cause.message, line: cause.message[/:(\d+):/, 1]&.to_i }.compact
      when LoadError then { **error_of(cause), code: "MODULE_NOT_FOUND", module: cause.path }.compact
      when nil, Errno::ENOENT then { code: "LOAD_FAILED", message: failure.message }
      else { **error_of(cause), code: "LOAD_FAILED" }
      end
    end

    def error_of(error)
      place = error.backtrace_locations&.find { |each| each.absolute_path&.start_with?("#{@settings.code}/") }
      { code: "THREW", message: utf8(error.message), name: error.class.name, stack: utf8(Logs.describe(error)), line: place&.lineno }.compact
    end

    def utf8(text) = text.dup.force_encoding(Encoding::UTF_8).scrub

    def send_log(log, level, text, fields)
      flags = 0
      if text.length > @limits["logEntryCharacters"]
        text = text[0, @limits["logEntryCharacters"]]
        flags |= CUT
      end
      json = fields.nil? ? nil : JSON.generate(fields)
      if json&.start_with?("{") && json.length < MAX_FIELDS
        text = "#{text}#{FIELDS_SEPARATOR}#{json}"
        flags |= FIELDS
      end
      id = log.ended ? 0 : log.id.to_i
      if id.positive?
        return if log.bytes > @limits["logBytes"]

        log.bytes += text.bytesize + 1
        level, flags, text = "warn", CUT, "[log truncated]" if log.bytes > @limits["logBytes"]
      end
      @channel.send(LOG, id, [LEVELS.fetch(level), flags, Time.now.to_f * 1000].pack("CCE") << text.b)
    end
  end
end
