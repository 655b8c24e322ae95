package treadle

import (
	"context"
	"encoding/binary"
	"fmt"
)

// pieceWindow is how many pieces of a response may be sent before the host gives credit.
const pieceWindow = 4
const maxPieceBytes = 256 * 1024

// stream sends the head, and the pieces as there is credit for them.
func (s *framesServer) stream(call *framesCall, ctx context.Context, result outcome) *failure {
	c := s.channel
	head := headText(result.response.StatusCode, result.headers)
	c.lock()
	call.credit = pieceWindow
	call.creditNews = make(chan struct{}, 1)
	if !call.isOver {
		c.begin(frameHead, call.number, len(head))
		c.queued = append(c.queued, head...)
		c.soon()
	}
	c.mutex.Unlock()
	err := writeStream(result.response.stream, framePieces{s.channel, call, ctx})
	if err == nil {
		return nil
	}
	if thrown, ok := err.(*failure); ok {
		return thrown
	}
	return wrong(err.Error())
}

// framePieces sends what a stream writes.
type framePieces struct {
	channel *channel
	call    *framesCall
	ctx     context.Context
}

func (p framePieces) Write(bytes []byte) (written int, err error) {
	for written < len(bytes) {
		piece := bytes[written:min(len(bytes), written+maxPieceBytes)]
		sent, err := p.send(piece)
		if err != nil {
			return written, err
		}
		if sent {
			written += len(piece)
			continue
		}
		select {
		case <-p.call.creditNews:
		case <-p.ctx.Done():
			return written, p.ctx.Err()
		}
	}
	return written, nil
}

// send is false when there is no credit.
func (p framePieces) send(piece []byte) (bool, error) {
	p.channel.lock()
	defer p.channel.mutex.Unlock()
	if p.call.isOver {
		return false, context.Canceled
	}
	if p.call.credit == 0 {
		return false, nil
	}
	p.call.credit--
	p.channel.begin(framePiece, p.call.number, len(piece))
	p.channel.queued = append(p.channel.queued, piece...)
	p.channel.soon()
	return true, nil
}

func (s *framesServer) grant(id uint32, payload []byte) error {
	if len(payload) != 4 {
		return fmt.Errorf("credit is malformed")
	}
	s.channel.mutex.Lock()
	defer s.channel.mutex.Unlock()
	if call := s.open[id]; call != nil && call.creditNews != nil {
		call.credit += int(binary.LittleEndian.Uint32(payload))
		select {
		case call.creditNews <- struct{}{}:
		default:
		}
	}
	return nil
}
