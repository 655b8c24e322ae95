# frozen_string_literal: true

# The runtime server for Ruby: a thread for each connection. See ../README.md.

require "socket"
require "json"
%w[settings logs connection request response contracts server].each { |part| require_relative part }

Treadle::Server.new(Treadle::Settings.new(ENV)).serve
