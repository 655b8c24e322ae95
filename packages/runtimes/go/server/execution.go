package treadle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// journal takes log entries; those of no execution come with nil.
type journal interface {
	write(e *execution, level, text string, fields Fields)
}

// execution is one call of the user's function.
type execution struct {
	// Its log id.
	id       string
	silent   bool
	journal  journal
	capture  *capture
	hasEnded atomic.Bool
	// Over frames: what the channel knows of it.
	call *framesCall
}

// log writes an entry. What comes after the end belongs to no execution any more.
func (e *execution) log(level, text string, fields Fields) {
	if e.silent {
		return
	}
	e.capture.settle()
	if e.hasEnded.Load() {
		e.journal.write(nil, level, text, fields)
		return
	}
	e.journal.write(e, level, text, fields)
}

// print is log without looking for printed lines, since it is called with one.
func (e *execution) print(text string) {
	if !e.silent {
		e.journal.write(e, "info", text, nil)
	}
}

// outcome of user code: a response, or why there is none.
type outcome struct {
	response Response
	headers  []headerLine
	failure  *failure
	tooLarge bool
	// The caller is gone: there is nobody to answer.
	broken bool
}

// failure is what user code threw, or did wrong.
type failure struct{ name, message, stack string }

func wrong(message string) *failure { return &failure{name: "Error", message: message} }

func thrownFailure(thrown any) *failure {
	return &failure{name: "panic", message: fmt.Sprint(thrown), stack: string(debug.Stack())}
}

// Error is the text for the error log.
func (f *failure) Error() string {
	if f.stack == "" {
		return f.message
	}
	return f.name + ": " + f.message + "\n\n" + f.stack
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
			result = outcome{failure: wrong(nothingReturned)}
		case bodyTooLarge:
			result = outcome{tooLarge: true}
		case bodyBroken:
			result = outcome{broken: true, failure: wrong(fmt.Sprintf("The request body broke off: %v", thrown.error))}
		default:
			result = outcome{failure: thrownFailure(thrown)}
		}
	}()
	response := main(ctx)
	headers, err := response.finished()
	returned = true
	if err != nil {
		return outcome{failure: wrong(err.Error())}
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

var timedOut = wrong("Execution timed out.")
