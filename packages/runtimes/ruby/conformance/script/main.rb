# frozen_string_literal: true

# The conformance script: does what data.variables.action says (test/conformance/ACTIONS.md).
def handle(data)
  case data["variables"]["action"]
  when "change"
    variables = data["flow"]["variables"]
    variables["count"] = variables.fetch("count", 0) + 1
    data.merge("payload" => "#{data["payload"]}!", "meta" => data["meta"].merge("seen" => true), "logs" => ["changed"])
  when "code" then data.merge("response_code" => 2)
  when "throw" then raise "Script failed"
  when "log"
    puts "printed"
    data
  when "nothing" then nil
  else data
  end
end
