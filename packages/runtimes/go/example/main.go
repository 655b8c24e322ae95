package handler

import "treadle.dev/treadle"

// Main answers every request.
func Main(ctx treadle.Context) treadle.Response {
	name := ctx.Req.Query["name"]
	if name == "" {
		name = "world"
	}
	ctx.Log("Greeting", name)
	return ctx.Res.Json(map[string]any{"language": "go", "message": "Hello, " + name + "!"})
}
