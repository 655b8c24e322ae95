package treadle

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// cancelGrace is how long code whose call was given up has to return before it counts as running on.
const cancelGrace = 100 * time.Millisecond

// framesServer answers the host as CHANNEL.md says.
type framesServer struct {
	channel  *channel
	main     Handler
	capture  *capture
	settings settings
	limits   frameLimits
	loaded   bool
	// With the channel's mutex.
	open map[uint32]*framesCall
}

type frameLimits struct {
	ResultBytes        int `json:"resultBytes"`
	LogBytes           int `json:"logBytes"`
	LogEntryCharacters int `json:"logEntryCharacters"`
}

// framesCall is an execution as the channel knows it.
type framesCall struct {
	execution
	number uint32
	cancel context.CancelFunc
	body   *followingBody
	done   chan struct{}
	// With the channel's mutex.
	isOver     bool
	logBytes   int
	credit     int
	creditNews chan struct{}
}

func serveFrames(main Handler) {
	capture, _, err := startCapture()
	if err != nil {
		fail(err)
	}
	channel, err := openChannel()
	if err != nil {
		fail(err)
	}
	s := &framesServer{channel: channel, main: main, capture: capture, open: map[uint32]*framesCall{}}
	s.limits = frameLimits{ResultBytes: maxFrameBytes, LogBytes: math.MaxInt, LogEntryCharacters: maxEntryCharacters}
	capture.journal = s
	go capture.follow()
	ready, _ := json.Marshal(map[string]string{"runtime": "go", "version": strings.TrimPrefix(runtime.Version(), "go")})
	channel.send(frameReady, 0, ready)
	if err := channel.read(s.take); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		fail(err)
	}
}

// take works on one frame. An error breaks the rules of the channel.
func (s *framesServer) take(kind byte, id uint32, payload []byte) error {
	switch kind {
	case frameCall:
		return s.call(id, payload)
	case frameCancel:
		s.cancel(id)
	case framePing:
		s.channel.send(framePong, id, nil)
	case frameBody, frameBodyEnd:
		if call := s.find(id); call != nil && call.body != nil {
			call.body.add(payload, kind == frameBodyEnd)
		}
	case frameCredit:
		return s.grant(id, payload)
	case frameLoad:
		return s.load(id, payload)
	default:
		return fmt.Errorf("there is no frame of the kind %d", kind)
	}
	return nil
}

func (s *framesServer) load(id uint32, payload []byte) error {
	var request struct {
		Contract    string            `json:"contract"`
		Directory   string            `json:"directory"`
		Environment map[string]string `json:"environment"`
		Limits      frameLimits       `json:"limits"`
	}
	if err := json.Unmarshal(payload, &request); err != nil {
		return err
	}
	for name, value := range request.Environment {
		os.Setenv(name, value)
	}
	s.limits = request.Limits
	err := s.prepare(request.Contract, request.Directory)
	report := map[string]any{"errors": map[string]any{}, "imports": map[string]any{}}
	if err != nil {
		report["errors"] = map[string]any{"": map[string]string{"code": "LOAD_FAILED", "message": err.Error()}}
	}
	s.loaded = err == nil
	text, _ := json.Marshal(report)
	s.channel.send(frameLoaded, id, text)
	return nil
}

func (s *framesServer) prepare(contract, directory string) (err error) {
	if contract != "handler" {
		return fmt.Errorf("a function in Go has the contract handler, not %s", contract)
	}
	if isFolder(directory) {
		if err := os.Chdir(directory); err != nil {
			return err
		}
	}
	s.settings, err = readSettings()
	return err
}

func (s *framesServer) find(id uint32) *framesCall {
	s.channel.mutex.Lock()
	defer s.channel.mutex.Unlock()
	return s.open[id]
}

func (s *framesServer) call(id uint32, payload []byte) error {
	head, body, err := readCall(payload)
	if err != nil {
		return err
	}
	if !s.loaded {
		s.channel.send(frameError, id, errorText("LOAD_FAILED", &failure{message: "Nothing is loaded yet."}))
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	call := &framesCall{number: id, cancel: cancel, done: make(chan struct{})}
	call.execution = execution{silent: !head.Logging, journal: s, capture: s.capture, call: call}
	content := &requestBody{content: body, wasRead: true}
	if head.BodyFollows {
		call.body = newFollowingBody(ctx, func() { s.creditBody(call) })
		content = &requestBody{source: call.body, length: -1}
	}
	s.channel.mutex.Lock()
	s.open[id] = call
	s.channel.mutex.Unlock()
	go s.execute(call, ctx, head, content)
	return nil
}

type requestHead struct {
	Method      string            `json:"method"`
	Url         string            `json:"url"`
	Headers     map[string]string `json:"headers"`
	Logging     bool              `json:"logging"`
	BodyFollows bool              `json:"bodyFollows"`
}

// readCall takes apart name, head and body.
func readCall(payload []byte) (head requestHead, body []byte, err error) {
	malformed := fmt.Errorf("a call is malformed")
	if len(payload) < 2 {
		return head, nil, malformed
	}
	rest := payload[2:]
	name := int(binary.LittleEndian.Uint16(payload))
	if len(rest) < name+4 {
		return head, nil, malformed
	}
	rest = rest[name:]
	length := uint64(binary.LittleEndian.Uint32(rest))
	if rest = rest[4:]; uint64(len(rest)) < length {
		return head, nil, malformed
	}
	head.Logging = true
	return head, rest[length:], json.Unmarshal(rest[:length], &head)
}

func (s *framesServer) execute(call *framesCall, ctx context.Context, head requestHead, body *requestBody) {
	defer close(call.done)
	defer call.cancel()
	s.capture.begin(&call.execution)
	headers := make(map[string]string, len(head.Headers)+len(s.settings.enforced))
	for name, value := range head.Headers {
		if lower := strings.ToLower(name); !strings.HasPrefix(lower, controlPrefix) {
			headers[lower] = value
		}
	}
	request := describeRequest(head.Method, head.Url, headers, s.settings.enforced, body)
	result := call.run(s.main, Context{Context: ctx, Req: request, Logger: Logger{&call.execution}})
	if result.failure == nil && result.response.stream != nil {
		result.failure = s.stream(call, ctx, result)
		if result.failure == nil {
			s.end(call, frameResult, nil, nil)
			return
		}
	}
	switch {
	case result.tooLarge:
		text := "The request body is larger than 20 MiB."
		head := headText(413, []headerLine{{"content-type", "text/plain; charset=utf-8"}})
		s.end(call, frameResult, head, []byte(text))
	case result.failure != nil:
		call.log("error", result.failure.Error(), nil)
		s.end(call, frameError, nil, errorText("THREW", result.failure))
	case len(result.response.Body) > s.limits.ResultBytes:
		message := fmt.Sprintf("The response body is %d bytes; the limit is %d.", len(result.response.Body), s.limits.ResultBytes)
		s.end(call, frameError, nil, errorText("RESULT_TOO_LARGE", &failure{message: message}))
	default:
		s.end(call, frameResult, headText(result.response.StatusCode, result.headers), result.response.Body)
	}
}

// end sends the frame that ends an execution. A head is sent with its length before it.
func (s *framesServer) end(call *framesCall, kind byte, head, body []byte) {
	s.capture.end(&call.execution)
	call.hasEnded.Store(true)
	c := s.channel
	c.lock()
	defer c.mutex.Unlock()
	if call.isOver {
		return
	}
	call.isOver = true
	delete(s.open, call.number)
	if head == nil {
		c.begin(kind, call.number, len(body))
	} else {
		c.begin(kind, call.number, 4+len(head)+len(body))
		c.queued = binary.LittleEndian.AppendUint32(c.queued, uint32(len(head)))
		c.queued = append(c.queued, head...)
	}
	c.queued = append(c.queued, body...)
	c.soon()
}

func (s *framesServer) creditBody(call *framesCall) {
	s.channel.lock()
	defer s.channel.mutex.Unlock()
	if call.isOver {
		return
	}
	s.channel.begin(frameBodyCredit, call.number, 4)
	s.channel.queued = binary.LittleEndian.AppendUint32(s.channel.queued, 1)
	s.channel.soon()
}

// cancel tells user code, and the host whether that was of use.
func (s *framesServer) cancel(id uint32) {
	s.channel.mutex.Lock()
	call := s.open[id]
	if call != nil {
		call.isOver = true
		delete(s.open, id)
	}
	s.channel.mutex.Unlock()
	if call == nil {
		s.channel.send(frameCancelled, id, []byte(`{"running":false}`))
		return
	}
	call.hasEnded.Store(true)
	call.cancel()
	go func() {
		running := false
		select {
		case <-call.done:
		case <-time.After(cancelGrace):
			running = true
		}
		s.channel.send(frameCancelled, id, []byte(`{"running":`+strconv.FormatBool(running)+`}`))
	}()
}

// headText is a HandlerResponseHead.
func headText(statusCode int, headers []headerLine) []byte {
	text := append(make([]byte, 0, 128), `{"statusCode":`...)
	text = strconv.AppendInt(text, int64(statusCode), 10)
	text = append(text, `,"headers":[`...)
	for i, header := range headers {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendJsonText(append(text, '['), header.name)
		text = appendJsonText(append(text, ','), header.value)
		text = append(text, ']')
	}
	return append(text, "]}"...)
}

// Longest stack that the host takes.
const maxStackBytes = 16 * 1024

// errorText is a RuntimeError.
func errorText(code string, f *failure) []byte {
	fields := map[string]string{"code": code, "message": f.message}
	if f.name != "" {
		fields["name"] = f.name
	}
	if f.stack != "" {
		fields["stack"] = f.stack[:min(len(f.stack), maxStackBytes)]
	}
	text, _ := compactJson(fields)
	return text
}
