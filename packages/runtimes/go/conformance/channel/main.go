// Package handler does what the path asks for (packages/runtimes/test: streams.test.ts, go-frames.test.ts).
package handler

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"treadle.dev/treadle"
)

var stopped, givenUp atomic.Bool

// Read before anything is loaded.
var early = os.Getenv("EARLY")

func Main(ctx treadle.Context) treadle.Response {
	req, res := ctx.Req, ctx.Res
	switch req.Path {
	case "/pieces":
		count, _ := strconv.Atoi(req.Query["n"])
		return res.Stream(func(w io.Writer) error {
			for i := 0; i < count; i++ {
				fmt.Fprintf(w, "piece %d\n", i)
			}
			return nil
		}, res.WithStatusCode(201), res.WithHeader("x-a", "b"))
	case "/endless":
		return res.Stream(func(w io.Writer) error {
			defer stopped.Store(true)
			piece := []byte(strings.Repeat("a", 1000))
			for {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
		})
	case "/stopped":
		return res.Json(stopped.Load())
	case "/large":
		return res.Stream(func(w io.Writer) error {
			_, err := io.WriteString(w, strings.Repeat("x", 600*1024))
			return err
		})
	case "/late":
		return res.Stream(func(w io.Writer) error {
			io.WriteString(w, "one")
			time.Sleep(20 * time.Millisecond)
			return errors.New("source failed")
		})
	case "/upper":
		body := req.BodyStream()
		return res.Stream(func(w io.Writer) error {
			buffer := make([]byte, 4096)
			for {
				n, err := body.Read(buffer)
				if n > 0 {
					w.Write([]byte(strings.ToUpper(string(buffer[:n]))))
				}
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
	case "/log":
		ctx.Logger.Warn("careful", treadle.Fields{"a": map[string]string{"b": "\u001e"}})
		ctx.Logger.Info("plain")
		return res.Empty()
	case "/log-length":
		count, _ := strconv.Atoi(req.Query["n"])
		ctx.Log(strings.Repeat("é", count))
		return res.Empty()
	case "/logs":
		for i := 0; i < 100; i++ {
			ctx.Log("entry", i, strings.Repeat("x", 100))
		}
		return res.Empty()
	case "/print":
		fmt.Println("printed by", req.Query["name"])
		ctx.Error("an error")
		return res.Empty()
	case "/panic":
		ctx.Log("before")
		panic("on purpose")
	case "/nothing":
		return treadle.Response{}
	case "/result":
		return res.Text(strings.Repeat("x", 200_000))
	case "/environment":
		return res.Json(map[string]string{"early": early, "late": os.Getenv("LATE"), "forced": req.Headers["x-forced"], "secret": req.Headers["x-open-runtimes-secret"]})
	case "/wait":
		<-ctx.Done()
		givenUp.Store(true)
		ctx.Log("too late")
		return res.Empty()
	case "/given-up":
		return res.Json(givenUp.Load())
	case "/spin":
		ctx.Log("spinning")
		for {
		}
	case "/exit":
		ctx.Log("last words")
		os.Exit(7)
	case "/request":
		return res.Json(map[string]any{"method": req.Method, "url": req.Url, "query": req.Query, "body": req.Body()})
	}
	return res.Text(req.BodyText())
}
