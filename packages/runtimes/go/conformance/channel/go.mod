module handler

go 1.22

require treadle.dev/treadle v1.0.0
