package treadle

import (
	"os"
	"sync"
	"syscall"
)

// capture takes what user code prints: file descriptor 1 becomes a pipe, and its lines become log entries of the one execution
// in flight, or of none when there are several.
type capture struct {
	mutex   sync.Mutex
	journal journal
	reader  int
	buffer  []byte
	lines   lines
	active  map[*execution]struct{}
}

// startCapture redirects file descriptor 1, and returns the real stdout too.
func startCapture() (*capture, *os.File, error) {
	real, err := syscall.Dup(1)
	if err != nil {
		return nil, nil, err
	}
	syscall.CloseOnExec(real)
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	if err := syscall.Dup3(pipe[1], 1, 0); err != nil {
		return nil, nil, err
	}
	syscall.Close(pipe[1])
	if err := syscall.SetNonblock(pipe[0], true); err != nil {
		return nil, nil, err
	}
	c := &capture{reader: pipe[0], buffer: make([]byte, 16*1024), active: map[*execution]struct{}{}}
	return c, os.NewFile(uintptr(real), "stdout"), nil
}

// follow takes what is printed as it comes.
func (c *capture) follow() {
	connection, err := os.NewFile(uintptr(c.reader), "printed").SyscallConn()
	if err != nil {
		return
	}
	connection.Read(func(uintptr) bool {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		c.drain()
		return false
	})
}

// settle takes what was printed before now, so that it stands before a log entry that is about to be written.
func (c *capture) settle() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.drain()
}

func (c *capture) begin(e *execution) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.active) == 1 {
		c.drain()
	}
	c.active[e] = struct{}{}
}

func (c *capture) end(e *execution) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.drain()
	if len(c.active) == 1 {
		c.lines.flush(false, c.emit)
	}
	delete(c.active, e)
}

func (c *capture) drain() {
	for {
		n, err := syscall.Read(c.reader, c.buffer)
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		c.lines.add(c.buffer[:n], c.emit)
	}
}

func (c *capture) emit(line string) {
	if len(c.active) == 1 {
		for e := range c.active {
			e.print(line)
		}
		return
	}
	c.journal.write(nil, "info", line, nil)
}
