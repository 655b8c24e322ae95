package treadle

import (
	"context"
	"io"
	"sync"
)

// followingBody is the body of a request that comes in frames.
type followingBody struct {
	ctx    context.Context
	taken  func()
	mutex  sync.Mutex
	pieces [][]byte
	ended  bool
	news   chan struct{}
}

// newFollowingBody makes a body; taken is called for each piece that has been read.
func newFollowingBody(ctx context.Context, taken func()) *followingBody {
	return &followingBody{ctx: ctx, taken: taken, news: make(chan struct{}, 1)}
}

func (b *followingBody) add(piece []byte, isEnd bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.ended = isEnd; !isEnd && len(piece) > 0 {
		b.pieces = append(b.pieces, piece)
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
}

func (b *followingBody) Read(into []byte) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	for {
		n, isTaken, isEnd := b.next(into)
		if isTaken {
			b.taken()
		}
		if n > 0 {
			return n, nil
		}
		if isEnd {
			return 0, io.EOF
		}
		select {
		case <-b.news:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
}

// next copies what there is; isTaken: that was the last of a piece.
func (b *followingBody) next(into []byte) (n int, isTaken, isEnd bool) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if len(b.pieces) == 0 {
		return 0, false, b.ended
	}
	n = copy(into, b.pieces[0])
	if b.pieces[0] = b.pieces[0][n:]; len(b.pieces[0]) == 0 {
		b.pieces[0] = nil
		b.pieces = b.pieces[1:]
		isTaken = true
	}
	return n, isTaken, false
}
