package treadle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
)

// Kinds of frames, of CHANNEL.md.
const (
	frameLoad    = 0x01
	frameCall    = 0x02
	frameCancel  = 0x03
	framePing    = 0x04
	frameBody    = 0x06
	frameBodyEnd = 0x07
	frameCredit  = 0x08

	frameReady      = 0x81
	frameLoaded     = 0x82
	frameResult     = 0x83
	frameError      = 0x84
	frameLog        = 0x85
	framePong       = 0x86
	frameCancelled  = 0x87
	frameHead       = 0x89
	framePiece      = 0x8a
	frameBodyCredit = 0x8b
)

const channelDescriptor = 3
const frameHeadBytes = 9
const maxFrameBytes = 64 * 1024 * 1024

// A host that reads slower than user code logs makes user code wait, from this many bytes on.
const maxQueuedBytes = 8 * 1024 * 1024

// Longer buffers are not kept for the next frames.
const maxKeptBytes = 1024 * 1024

// channel is the socket to the host. Frames are gathered, and written by one goroutine at a time while others go on gathering.
type channel struct {
	connection net.Conn
	mutex      sync.Mutex
	queued     []byte
	spare      []byte
	writing    bool
	hasRoom    sync.Cond
	news       chan struct{}
}

func openChannel() (*channel, error) {
	file := os.NewFile(channelDescriptor, "channel")
	connection, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	// The connection has a descriptor of its own, which child processes do not inherit.
	file.Close()
	c := &channel{connection: connection, news: make(chan struct{}, 1)}
	c.hasRoom.L = &c.mutex
	go c.write()
	return c, nil
}

// lock takes the mutex once there is room for a frame.
func (c *channel) lock() {
	c.mutex.Lock()
	for len(c.queued) > maxQueuedBytes && c.writing {
		c.hasRoom.Wait()
	}
}

// begin appends the head of a frame, whose payload has so many bytes. With the mutex held.
func (c *channel) begin(kind byte, id uint32, payloadBytes int) {
	c.queued = binary.LittleEndian.AppendUint32(c.queued, uint32(payloadBytes+5))
	c.queued = append(c.queued, kind)
	c.queued = binary.LittleEndian.AppendUint32(c.queued, id)
}

// soon has what is queued written once the goroutines that can run now have added theirs. With the mutex held.
func (c *channel) soon() {
	if c.writing {
		return
	}
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// write is the goroutine that soon leaves the writing to.
func (c *channel) write() {
	for range c.news {
		runtime.Gosched()
		c.mutex.Lock()
		c.flush()
		c.mutex.Unlock()
	}
}

// flush writes what is queued, unless somebody is at it, who will. With the mutex held, which it gives up meanwhile.
func (c *channel) flush() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.queued) > 0 {
		batch := c.queued
		c.queued = c.spare[:0]
		c.mutex.Unlock()
		if _, err := c.connection.Write(batch); err != nil {
			// The host is gone: the order to exit.
			os.Exit(0)
		}
		c.mutex.Lock()
		if c.spare = batch; cap(batch) > maxKeptBytes {
			c.spare = nil
		}
		c.hasRoom.Broadcast()
	}
	c.writing = false
}

// send queues a frame that belongs to no execution.
func (c *channel) send(kind byte, id uint32, payload []byte) {
	c.lock()
	defer c.mutex.Unlock()
	c.begin(kind, id, len(payload))
	c.queued = append(c.queued, payload...)
	c.soon()
}

// read hands out frames until the host closes the socket. The payload belongs to who gets it.
func (c *channel) read(take func(kind byte, id uint32, payload []byte) error) error {
	reader := bufio.NewReaderSize(c.connection, 64*1024)
	var head [frameHeadBytes]byte
	for {
		if _, err := io.ReadFull(reader, head[:]); err != nil {
			return err
		}
		length := binary.LittleEndian.Uint32(head[:])
		if length < 5 || length > maxFrameBytes {
			return errors.New("a frame has an impossible length")
		}
		payload := make([]byte, length-5)
		if _, err := io.ReadFull(reader, payload); err != nil {
			return err
		}
		if err := take(head[4], binary.LittleEndian.Uint32(head[5:]), payload); err != nil {
			return err
		}
	}
}
