// Package handler does what the header x-action asks for (test/conformance/ACTIONS.md).
package handler

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"treadle.dev/treadle"
)

func Main(ctx treadle.Context) treadle.Response {
	req, res := ctx.Req, ctx.Res
	switch req.Headers["x-action"] {
	case "plainText":
		return res.Text("Hello World 👋")
	case "json":
		return res.Json(map[string]any{"json": true, "message": "Developers are awesome."})
	case "charset":
		return res.Text("ok", res.WithHeader("content-type", "text/plain; charset=iso-8859-1"))
	case "upperCaseType":
		return res.Text("ok", res.WithHeader("content-type", "TEXT/HTML"))
	case "multipart":
		return res.Text("--x--", res.WithHeader("content-type", "multipart/form-data; boundary=12345"))
	case "redirect":
		return res.Redirect("https://example.com/there")
	case "empty":
		return res.Empty()
	case "binary":
		return res.Binary([]byte{0, 10, 255})
	case "noResponse":
		return treadle.Response{}
	case "double":
		res.Text("This should be ignored.")
		return res.Text("This should be returned.")
	case "headers":
		return res.Text("OK", res.WithStatusCode(200), res.WithHeaders(map[string]string{
			"first-header":                      "first-value",
			"second-header":                     orMissing(req.Headers["x-open-runtimes-custom-in-header"]),
			"third-header":                      orMissing(req.Headers["cookie"]),
			"x-open-runtimes-custom-out-header": "third-value",
		}))
	case "setCookie":
		return res.Text("OK", res.WithHeader("set-cookie", "a=1; Path=/"), res.WithHeader("set-cookie", "b=2; HttpOnly"))
	case "status":
		return res.Text("status", res.WithStatusCode(number(req, "x-status")))
	case "method":
		return res.Text(req.Method)
	case "url":
		return res.Json(map[string]any{
			"url": req.Url, "port": req.Port, "path": req.Path, "query": req.Query,
			"queryString": req.QueryString, "scheme": req.Scheme, "host": req.Host,
		})
	case "requestHeaders":
		return res.Json(req.Headers)
	case "bodyText":
		return res.Text(req.BodyText())
	case "bodyJson":
		var value any
		if err := req.BodyJson(&value); err != nil {
			panic(err)
		}
		return res.Json(value)
	case "body":
		body := req.Body()
		kind := "object"
		if _, isText := body.(string); isText {
			kind = "text"
		}
		return res.Json(map[string]any{"kind": kind, "body": body})
	case "bodyBinary":
		return res.Binary(req.BodyBinary())
	case "environment":
		return res.Json(map[string]any{
			"given": variable("CUSTOM_ENV_VAR"), "missing": variable("NOT_DEFINED_VAR"), "secret": variable("OPEN_RUNTIMES_SECRET"),
		})
	case "log":
		ctx.Log("Debug Log")
		ctx.Error("Error Log")
		ctx.Log("A", 42, true)
		ctx.Log(map[string]any{"object": true})
		fmt.Println("Native Log")
		return res.Text("")
	case "longLog":
		ctx.Log(strings.Repeat("a", 9000))
		return res.Text("")
	case "structuredLog":
		ctx.Logger.Warn("structured", treadle.Fields{"key": "value"})
		return res.Text("")
	case "exception":
		ctx.Log("before")
		panic(errors.New("Custom error message"))
	case "sleep":
		time.Sleep(time.Duration(number(req, "x-ms")) * time.Millisecond)
		return res.Text("slept")
	case "concurrentLog":
		id := req.Headers["x-id"]
		for i := 0; i < 3; i++ {
			ctx.Log(id)
			if i == 1 {
				fmt.Println("native " + id)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return res.Text(id)
	case "stream":
		return res.Stream(func(w io.Writer) error {
			for i, text := range []string{"one\n", "two\n", "three\n"} {
				if i > 0 {
					time.Sleep(200 * time.Millisecond)
				}
				if _, err := io.WriteString(w, text); err != nil {
					return err
				}
			}
			return nil
		}, res.WithStatusCode(201), res.WithHeader("x-streamed", "yes"))
	case "streamLarge":
		size := number(req, "x-size")
		return res.Stream(func(w io.Writer) error {
			piece := []byte(strings.Repeat("a", 64*1024))
			for left := size; left > 0; left -= len(piece) {
				if left < len(piece) {
					piece = piece[:left]
				}
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		})
	case "streamError":
		return res.Stream(func(w io.Writer) error {
			if _, err := io.WriteString(w, "one\n"); err != nil {
				return err
			}
			return errors.New("the source failed")
		})
	case "echoStream":
		return res.StreamFrom(req.BodyStream())
	case "large":
		return res.Binary([]byte(strings.Repeat("a", number(req, "x-size"))))
	case "file":
		content, err := os.ReadFile("data.txt")
		if err != nil {
			panic(err)
		}
		return res.Text(string(content))
	}
	return res.Text("Unknown action", res.WithStatusCode(404))
}

func orMissing(value string) string {
	if value == "" {
		return "missing"
	}
	return value
}

func variable(name string) any {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return nil
}

func number(req treadle.Request, header string) int {
	value, err := strconv.Atoi(req.Headers[header])
	if err != nil {
		panic(err)
	}
	return value
}
