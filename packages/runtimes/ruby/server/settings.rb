# frozen_string_literal: true

module Treadle
  # A request that the runtime's own headers spoil; the message is answered with 500.
  class Refused < StandardError; end

  # What a request's own headers ask of the runtime.
  Control = Struct.new(:seconds, :logging, :id)

  # What the server is told by its environment, read once and before user code.
  class Settings
    MAX_BODY_BYTES = 20 * 1024 * 1024
    MAX_TIMEOUT_SECONDS = 2_147_483

    attr_reader :socket, :port, :code, :dependencies, :script, :entrypoint, :enforced_headers, :log_folder, :timings

    # The secret is taken out of the environment: it is the caller's, not user code's.
    def initialize(environment)
      get = ->(name, default) { (value = environment[name]).nil? || value.empty? ? default : value }
      @socket = get.("TREADLE_SOCKET", nil)
      @port = Integer(get.("PORT", "3000"), 10)
      @code = get.("TREADLE_CODE", "/usr/local/server/src/function")
      @dependencies = get.("TREADLE_DEPENDENCIES", nil)
      @script = environment["TREADLE_CONTRACT"] == "script"
      @entrypoint = get.("OPEN_RUNTIMES_ENTRYPOINT", "main.rb")
      @enforced_headers = JSON.parse(get.("OPEN_RUNTIMES_HEADERS", "{}")).to_h { |name, value| [name.downcase, value.to_s] }
      @development = environment["OPEN_RUNTIMES_ENV"] == "development"
      folder = get.("TREADLE_LOGS", "/mnt/logs")
      @log_folder = File.directory?(folder) ? folder : nil
      @timings = get.("TREADLE_TIMINGS", "/mnt/telemetry/timings.txt")
      @secret = environment.delete("OPEN_RUNTIMES_SECRET") || ""
    end

    # @raise Refused
    def control(headers)
      unless @secret.empty? || secret?(headers["x-open-runtimes-secret"] || "")
        raise Refused, 'Unauthorized. Provide correct "x-open-runtimes-secret" header.'
      end

      timeout = headers["x-open-runtimes-timeout"] || ""
      unless timeout.empty? || (timeout.match?(/\A\d{1,9}\z/) && timeout.to_i.between?(1, MAX_TIMEOUT_SECONDS))
        raise Refused, 'Header "x-open-runtimes-timeout" must be an integer greater than 0.'
      end

      logging = headers["x-open-runtimes-logging"].to_s
      unless ["", "enabled", "disabled"].include?(logging)
        raise Refused, 'Header "x-open-runtimes-logging" must be either "enabled" or "disabled".'
      end

      id = headers["x-open-runtimes-log-id"].to_s
      id = @development ? "dev" : Random.bytes(10).unpack1("H*") unless id.match?(/\A[A-Za-z0-9_-]{1,64}\z/)
      Control.new(timeout.to_i, logging != "disabled", id)
    end

    private

    # Equal, in a time that does not tell where they differ.
    def secret?(given)
      expected = @secret.bytes
      difference = given.bytesize ^ expected.size
      given.each_byte.with_index { |byte, at| difference |= byte ^ expected[at % expected.size] }
      difference.zero?
    end
  end
end
