# frozen_string_literal: true

module Treadle
  # User code could not be loaded; the message is for the error log.
  class LoadFailure < StandardError; end

  # Levels and structured fields.
  class Logger
    def initialize(log) = @log = log

    %w[debug info warn error].each do |level|
      define_method(level) { |message, fields = nil| Logs.append(@log, level, Logs.message([message]), fields) }
    end
  end

  # What a handler function gets.
  class Context
    attr_reader :req, :res, :logger

    def initialize(req, res, log)
      @req = req
      @res = res
      @log = log
      @logger = Logger.new(log)
    end

    def log(*values) = Logs.append(@log, "info", Logs.message(values))
    def error(*values) = Logs.append(@log, "error", Logs.message(values))
  end

  # The user's function, and how its contract calls it.
  class UserFunction
    JSON_TYPE = { "content-type" => "application/json" }.freeze

    # @raise LoadFailure
    def initialize(settings)
      folder = File.realpath(settings.code)
      file = File.realpath(settings.entrypoint, folder)
      raise LoadFailure, "The entry file #{settings.entrypoint} is outside of the function's folder." unless file.start_with?("#{folder}/")

      Dir.chdir(folder)
      $LOAD_PATH.unshift(folder) unless $LOAD_PATH.include?(folder)
      name = settings.script ? :handle : :main
      load(file)
      receiver = TOPLEVEL_BINDING.receiver
      raise LoadFailure, "#{settings.entrypoint} has no function #{name}. Use def #{name}(#{settings.script ? "data" : "context"})." unless receiver.respond_to?(name, true)

      @target = receiver.method(name)
    rescue LoadFailure
      raise
    rescue Errno::ENOENT
      raise LoadFailure, "The entry file #{settings.entrypoint} does not exist."
    rescue Exception => e # rubocop:disable Lint/RescueException -- SyntaxError and SystemExit, too, are the user's
      raise LoadFailure, Logs.describe(e)
    end

    # The `handler` contract: what the function returned, or, in the older form, sent.
    def handle(request, log)
      response = Response.new
      if @target.arity == 2
        returned = @target.call(request, response)
        answer = response.sent || returned
      else
        answer = @target.call(Context.new(request, response, log))
      end
      raise "Return statement missing. return context.res.empty() if no response is expected." if answer.nil?
      raise TypeError, "The function must return a response, such as context.res.json({ ... })." unless answer.is_a?(Answer)

      answer
    end

    # The `script` contract; a throw of the script is an answer too.
    def script(body, log)
      Answer.new(200, JSON_TYPE, body: JSON.generate(run_script(parse(body), log)))
    rescue StandardError, ScriptError, SystemExit => e
      Logs.append(log, "error", Logs.describe(e))
      Answer.new(500, JSON_TYPE, body: JSON.generate({ error: { name: e.class.name, message: e.message, stack: Logs.describe(e) } }))
    end

    # What the script makes of its data, with what it leaves out as it was given.
    def run_script(given, log)
      raise ArgumentError, "The request's body must be a JSON object." unless given.is_a?(Hash)

      data = { "payload" => nil, "variables" => {}, "meta" => {}, **given }
      data["flow"] = { "variables" => {}, **(given["flow"] || {}) }
      returned = @target.call(data)
      returned = data if returned.nil?
      raise TypeError, "handle must return a Hash, or nil." unless returned.is_a?(Hash)

      answer_of(data, returned.transform_keys(&:to_s), log)
    end

    private

    def parse(body)
      JSON.parse(body)
    rescue JSON::ParserError => e
      raise ArgumentError, "The request body is not valid JSON: #{e.message}"
    end

    def answer_of(data, returned, log)
      answer = %w[payload variables meta flow].to_h { |part| [part, returned.fetch(part, data[part])] }
      raise TypeError, "The payload that handle returns must be a String or nil." unless answer["payload"].nil? || answer["payload"].is_a?(String)

      if (code = returned["response_code"])
        raise RangeError, "response_code must be 0, 1, 2, 3 or 4." unless [0, 1, 2, 3, 4].include?(code)

        answer["response_code"] = code
      end
      if returned["logs"].is_a?(Array)
        answer["logs"] = returned["logs"].map { |line| Logs.message([line]) }
        answer["logs"].each { |line| Logs.append(log, "info", line) }
      end
      answer
    end
  end
end
