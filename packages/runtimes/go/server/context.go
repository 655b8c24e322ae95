// Package treadle is what a function in Go is written with, and the server that runs it.
//
//	func Main(ctx treadle.Context) treadle.Response {
//		return ctx.Res.Json(map[string]any{"hello": "world"})
//	}
package treadle

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Handler is the signature of a function: Main in the package of the entry file.
type Handler func(ctx Context) Response

// Context is one execution. It is a context.Context too: done when the caller has given up or the time is over.
type Context struct {
	context.Context
	Req    Request
	Res    Responder
	Logger Logger
}

// Log writes a line to the execution's log: the arguments joined by one space, values that are no scalars as JSON.
func (c Context) Log(args ...any) { c.Logger.execution.log("info", joined(args), nil) }

// Error writes a line to the execution's error log.
func (c Context) Error(args ...any) { c.Logger.execution.log("error", joined(args), nil) }

// Logger writes lines with a level and fields.
type Logger struct{ execution *execution }

// Fields of a structured log line.
type Fields = map[string]any

func (l Logger) Debug(message string, fields ...Fields) { l.write("debug", message, fields) }
func (l Logger) Info(message string, fields ...Fields)  { l.write("info", message, fields) }
func (l Logger) Warn(message string, fields ...Fields)  { l.write("warn", message, fields) }
func (l Logger) Error(message string, fields ...Fields) { l.write("error", message, fields) }

func (l Logger) write(level, message string, fields []Fields) {
	var all Fields
	for _, each := range fields {
		if all == nil {
			all = Fields{}
		}
		for name, value := range each {
			all[name] = value
		}
	}
	l.execution.log(level, message, all)
}

func joined(args []any) string {
	if len(args) == 1 {
		return argumentText(args[0])
	}
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = argumentText(arg)
	}
	return strings.Join(texts, " ")
}

func argumentText(arg any) string {
	switch value := arg.(type) {
	case string:
		return value
	case []byte:
		return string(value)
	case error:
		return value.Error()
	case fmt.Stringer:
		return value.String()
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128:
		return fmt.Sprint(value)
	}
	if text, err := compactJson(arg); err == nil {
		return string(text)
	}
	return fmt.Sprint(arg)
}

// compactJson is JSON as other languages write it: `<`, `>` and `&` are left as they are.
func compactJson(value any) ([]byte, error) {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(text.String(), "\n")), nil
}
