package treadle

import (
	"bytes"
	"io"
	"sync"
)

// Bodies that are wanted as a whole are at most this long; streams may be longer.
const maxBodyBytes = 20 * 1024 * 1024

// Thrown through user code that asks for the whole of a body that is too large; answered with 413.
type bodyTooLarge struct{}

// Thrown through user code when the caller went away in the middle of the body.
type bodyBroken struct{ error }

// requestBody is read when it is asked for, since only then it is known in which form.
type requestBody struct {
	mutex  sync.Mutex
	source io.Reader
	// Bytes there will be; -1: nobody knows.
	length   int64
	content  []byte
	tooLarge bool
	broken   error
	// Read as a whole, or handed out as a stream.
	wasRead     bool
	wasStreamed bool
}

func (b *requestBody) whole() []byte {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.wasStreamed {
		panic("The request body was taken as a stream; it cannot be read again.")
	}
	b.read()
	if b.tooLarge {
		panic(bodyTooLarge{})
	}
	if b.broken != nil {
		panic(bodyBroken{b.broken})
	}
	return b.content
}

func (b *requestBody) stream() io.Reader {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.wasRead {
		return bytes.NewReader(b.content)
	}
	b.wasStreamed = true
	return b.source
}

// isTooLarge reads what nobody asked for, so that a function that wants no body does not get around its limit.
func (b *requestBody) isTooLarge() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if !b.wasStreamed {
		b.read()
	}
	return b.tooLarge
}

// read takes the whole body, but keeps nothing of one that is too large.
func (b *requestBody) read() {
	if b.wasRead {
		return
	}
	b.wasRead = true
	if b.length >= 0 && b.length <= maxBodyBytes {
		b.content = make([]byte, b.length)
		_, b.broken = io.ReadFull(b.source, b.content)
		return
	}
	limited := io.LimitedReader{R: b.source, N: maxBodyBytes + 1}
	content, err := io.ReadAll(&limited)
	if len(content) > maxBodyBytes {
		b.tooLarge = true
		_, err = io.Copy(io.Discard, b.source)
		content = nil
	}
	b.content, b.broken = content, err
}
