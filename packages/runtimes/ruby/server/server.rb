# frozen_string_literal: true

module Treadle
  # Takes connections and answers their requests, each connection in a thread of its own.
  class Server
    PLAIN = [["content-type", "text/plain; charset=utf-8"]].freeze

    def initialize(settings)
      @settings = settings
      @loading = Mutex.new
      @load_seconds = 0.0
    end

    # Returns when a signal ends the server.
    def serve
      listener = listen
      %w[TERM INT].each { |signal| trap(signal) { exit!(0) } }
      $stdout = Printed.new("info", 1)
      $stderr = Printed.new("error", 2)
      Thread.report_on_exception = false
      Logs::OUT.write("HTTP server successfully started!\n")
      Thread.new { load_function rescue nil }
      loop { start(listener.accept) }
    end

    private

    def listen
      path = @settings.socket
      if path.nil?
        TCPServer.new("0.0.0.0", @settings.port).tap { |listener| listener.listen(512) }
      else
        File.unlink(path) if File.exist?(path)
        UNIXServer.new(path).tap { |listener| listener.listen(512) }
      end
    end

    def start(socket)
      socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1) if @settings.socket.nil?
      Thread.new do
        connection = Connection.new(socket)
        loop { break unless serve_one(connection) && connection.keep_alive }
      rescue Disconnected
        nil
      ensure
        socket.close
      end
    end

    # Answers one request; nil when there is no more.
    def serve_one(connection)
      method, target, headers = connection.read_head
      return nil if method.nil?

      case target
      when "/__opr/health" then plain(connection, 200, "OK")
      when "/__opr/timings" then plain(connection, 200, timings)
      else
        control = @settings.control(headers)
        return tell_load(connection) if target == "/__opr/load"
        raise BodyTooLarge, "The request body is larger than 20 MiB." if connection.too_large?

        execute(connection, method, target, headers, control)
      end
      true
    rescue Refused => e
      plain(connection, 500, e.message)
    rescue BodyTooLarge => e
      plain(connection, 413, e.message)
    rescue BadRequest => e
      connection.keep_alive = false
      connection.answer(400, PLAIN, e.message)
    end

    # An answer of the runtime's own.
    def plain(connection, status, text, more = [])
      connection.drain
      connection.answer(status, PLAIN + more, text)
      true
    end

    # Tells what the last attempt to load came to, once it has ended.
    def tell_load(connection)
      @loading.synchronize { attempt_load rescue nil if @function.nil? && @failure.nil? }
      return plain(connection, 200, "OK") if @function

      plain(connection, 503, @failure.message, [%w[x-open-runtimes-load failed]])
    end

    def timings
      lines = File.exist?(@settings.timings) ? File.read(@settings.timings) : ""
      format("%sload=%.3f\n", lines, @load_seconds)
    end

    # Loads user code; a failure is tried again by the next request. @raise LoadFailure
    def load_function
      @function || @loading.synchronize { @function || attempt_load }
    end

    def attempt_load
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @function = UserFunction.new(@settings)
    rescue LoadFailure => e
      @failure = e
      raise
    ensure
      @load_seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
    end

    def execute(connection, method, target, headers, control)
      log = Log.new(control.id, !control.logging, @settings.log_folder)
      own = [["x-open-runtimes-log-id", control.logging ? control.id : ""]]
      begun = false
      respond = lambda do
        Thread.current.thread_variable_set(Logs::KEY, log)
        answer, pairs = result(connection, method, target, headers, log)
        next [answer, pairs] unless answer.source

        begun = true
        connection.begin_stream(answer.status, pairs + own)
        send_stream(connection, answer.source, log)
        nil
      ensure
        Logs.end_line(log)
        Thread.current.thread_variable_set(Logs::KEY, nil)
      end
      answer, pairs = within(control.seconds, respond) do
        Logs.append(log, "error", "Execution timed out.")
        raise Disconnected if begun

        [Answer.new(500, {}), PLAIN]
      end
      return if answer.nil?

      # What the function did not read of the body has to be gone before the next request, and may be too much.
      raise BodyTooLarge, "The request body is larger than 20 MiB." unless connection.drain

      connection.answer(answer.status, pairs + own, answer.body)
    end

    # Runs work for so many seconds at most (0: as long as it takes); then ends it and gives what the block does.
    def within(seconds, work)
      return work.call if seconds.zero?

      thread = Thread.new(&work)
      return thread.value if thread.join(seconds)

      thread.kill
      yield
    end

    # What user code makes of a request: an answer and its headers.
    def result(connection, method, target, headers, log)
      function = load_function
      visible = headers.reject { |name, _| name.start_with?("x-open-runtimes-") }.merge!(@settings.enforced_headers)
      request = Request.new(connection, method, target, visible)
      answer = @settings.script ? function.script(request.body_text, log) : function.handle(request, log)
      [answer, answer.wire_headers]
    rescue LoadFailure => e
      Logs.append(log, "error", e.message)
      [Answer.new(503, {}), PLAIN]
    rescue BodyTooLarge, BadRequest, Disconnected
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- exit, too, ends the execution and not the server
      Logs.append(log, "error", Logs.describe(e))
      [Answer.new(500, {}), PLAIN]
    end

    # Sends the pieces of a source; an error of it breaks the connection.
    def send_stream(connection, source, log)
      source.each { |piece| connection.send_piece(piece.to_s) }
      connection.drain
      connection.end_stream
    rescue Disconnected
      raise
    rescue StandardError, ScriptError, SystemExit => e
      Logs.append(log, "error", Logs.describe(e))
      raise Disconnected
    end
  end
end
