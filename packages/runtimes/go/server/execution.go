package treadle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// execution is one call of the user's function.
type execution struct {
	id       string
	silent   bool
	server   *server
	hasEnded atomic.Bool
}

// log writes an entry. What comes after the end belongs to no execution any more.
func (e *execution) log(level, text string, fields Fields) {
	if e.silent {
		return
	}
	e.server.capture.settle()
	id := e.id
	if e.hasEnded.Load() {
		id = ""
	}
	e.server.journal.write(id, level, text, fields)
}

// print is log without looking for printed lines, since it is called with one.
func (e *execution) print(text string) {
	if !e.silent {
		e.server.journal.write(e.id, "info", text, nil)
	}
}

// outcome of user code: a response, or why there is none.
type outcome struct {
	response Response
	headers  []headerLine
	// Text for the error log.
	failure  string
	tooLarge bool
	// The caller is gone: there is nobody to answer.
	broken bool
}

// run calls user code and catches what it throws.
func (e *execution) run(main Handler, ctx Context) (result outcome) {
	returned := false
	defer func() {
		if returned {
			return
		}
		switch thrown := recover().(type) {
		case nil:
			// runtime.Goexit
			result = outcome{failure: nothingReturned}
		case bodyTooLarge:
			result = outcome{tooLarge: true}
		case bodyBroken:
			result = outcome{broken: true, failure: fmt.Sprintf("The request body broke off: %v", thrown.error)}
		default:
			result = outcome{failure: fmt.Sprintf("panic: %v\n\n%s", thrown, debug.Stack())}
		}
	}()
	response := main(ctx)
	headers, err := response.finished()
	returned = true
	if err != nil {
		return outcome{failure: err.Error()}
	}
	return outcome{response: response, headers: headers}
}

// runInTime calls user code, and gives up when its time is over; it goes on by itself then, told by its context.
func (e *execution) runInTime(main Handler, ctx Context) outcome {
	done := make(chan outcome, 1)
	go func() { done <- e.run(main, ctx) }()
	select {
	case result := <-done:
		return result
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return outcome{failure: timedOut}
		}
		// The caller went away: user code has been told, and is waited for.
		return <-done
	}
}

const timedOut = "Execution timed out."
