# frozen_string_literal: true

# The runtime server for Ruby: `main.rb frames` on file descriptor 3; else HTTP, with a thread for each connection. See ../README.md.

require "socket"
require "json"
%w[settings logs connection request response contracts server].each { |part| require_relative part }

if ARGV.first == "frames"
  require_relative "frames"
  ARGV.clear
  Treadle::Frames.new.serve
else
  Treadle::Server.new(Treadle::Settings.new(ENV)).serve
end
