module treadle.dev/treadle

go 1.22
