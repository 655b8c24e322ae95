package treadle

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const maxTimeoutSeconds = 2_147_483
const timingsFile = "/mnt/telemetry/timings.txt"

// server answers HTTP as HTTP.md says.
type server struct {
	settings     settings
	secretDigest [32]byte
	main         Handler
	journal      journal
	capture      *capture
}

// Serve runs the server until it is told to stop. Called by the program that the build makes, not by functions.
func Serve(main Handler) {
	if readOptions() {
		serveFrames(main)
		return
	}
	settings, settingsError := readSettings()
	if isFolder(settings.code) {
		if err := os.Chdir(settings.code); err != nil {
			fail(err)
		}
	}
	capture, stdout, err := startCapture()
	if err != nil {
		fail(err)
	}
	s := &server{settings: settings, main: main, capture: capture, journal: &lineJournal{stdout: stdout, folder: settings.logFolder}}
	s.secretDigest = sha256.Sum256([]byte(settings.secret))
	capture.journal = s.journal
	go capture.follow()
	if settingsError != nil {
		s.journal.write(nil, "error", settingsError.Error(), nil)
	}
	listener, err := listen(settings)
	if err != nil {
		fail(err)
	}
	httpServer := &http.Server{Handler: s, ErrorLog: log.New(serverErrors{s.journal}, "", 0)}
	stopped := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		signal.Stop(signals)
		httpServer.Shutdown(context.Background())
		close(stopped)
	}()
	stdout.WriteString("HTTP server successfully started!\n")
	if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fail(err)
	}
	<-stopped
}

// readOptions takes the server's options off the command line: the bound of the heap, near which the collector works harder, and whether frames are spoken.
func readOptions() (frames bool) {
	for len(os.Args) > 1 {
		if text, ok := strings.CutPrefix(os.Args[1], "--heap-bytes="); ok {
			if heapBytes, err := strconv.ParseInt(text, 10, 64); err == nil && heapBytes > 0 {
				debug.SetMemoryLimit(heapBytes)
			}
		} else if os.Args[1] == "--frames" {
			frames = true
		} else {
			return frames
		}
		os.Args = append(os.Args[:1], os.Args[2:]...)
	}
	return frames
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "The server could not start:", err)
	os.Exit(1)
}

func listen(s settings) (net.Listener, error) {
	if s.socket == "" {
		return net.Listen("tcp", "0.0.0.0:"+s.port)
	}
	if info, err := os.Lstat(s.socket); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(s.socket)
	}
	return net.Listen("unix", s.socket)
}

// serverErrors takes what net/http has to say.
type serverErrors struct{ journal journal }

func (e serverErrors) Write(text []byte) (int, error) {
	e.journal.write(nil, "error", string(bytes.TrimSpace(text)), nil)
	return len(text), nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.RequestURI {
	case "/__opr/health":
		answerText(w, 200, "OK")
		return
	case "/__opr/timings":
		timings, _ := os.ReadFile(timingsFile)
		if len(timings) > 0 && timings[len(timings)-1] != '\n' {
			timings = append(timings, '\n')
		}
		answerText(w, 200, string(timings)+"load=0.000\n")
		return
	}
	control, refusal := s.readControl(r.Header)
	if refusal != "" {
		answerText(w, 500, refusal)
		return
	}
	// Code that is compiled in has loaded.
	if r.RequestURI == "/__opr/load" {
		answerText(w, 200, "OK")
		return
	}
	s.execute(w, r, control)
}

// control is what the caller's own headers say.
type control struct {
	id             string
	timeoutSeconds int
	logging        bool
}

func (s *server) readControl(headers http.Header) (control, string) {
	c := control{logging: true}
	if s.settings.secret != "" {
		given := sha256.Sum256([]byte(headers.Get("X-Open-Runtimes-Secret")))
		if subtle.ConstantTimeCompare(given[:], s.secretDigest[:]) != 1 {
			return c, `Unauthorized. Provide correct "x-open-runtimes-secret" header.`
		}
	}
	if text := headers.Get("X-Open-Runtimes-Timeout"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil || seconds < 1 || seconds > maxTimeoutSeconds {
			return c, `Header "x-open-runtimes-timeout" must be an integer greater than 0.`
		}
		c.timeoutSeconds = int(seconds)
	}
	switch headers.Get("X-Open-Runtimes-Logging") {
	case "", "enabled":
	case "disabled":
		c.logging = false
	default:
		return c, `Header "x-open-runtimes-logging" must be either "enabled" or "disabled".`
	}
	c.id = headers.Get("X-Open-Runtimes-Log-Id")
	if !isLogId(c.id) {
		c.id = newLogId()
		if s.settings.development {
			c.id = "dev"
		}
	}
	return c, ""
}

func isLogId(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for i := 0; i < len(id); i++ {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func newLogId() string {
	const alphabet = "0123456789abcdefghijklmnopqrstuv"
	var bytes [20]byte
	rand.Read(bytes[:])
	for i := range bytes {
		bytes[i] = alphabet[bytes[i]&31]
	}
	return string(bytes[:])
}

func (s *server) execute(w http.ResponseWriter, r *http.Request, c control) {
	e := &execution{id: c.id, silent: !c.logging, journal: s.journal, capture: s.capture}
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if c.timeoutSeconds > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.timeoutSeconds)*time.Second)
	}
	defer cancel()
	s.capture.begin(e)
	defer func() {
		s.capture.end(e)
		e.hasEnded.Store(true)
	}()
	body := &requestBody{source: r.Body, length: r.ContentLength}
	if r.ContentLength < 0 || r.ContentLength > 0 {
		// What comes of the body may be answered before all of it is there.
		http.NewResponseController(w).EnableFullDuplex()
	}
	call := Context{Context: ctx, Req: newRequest(r, s.settings.enforced, body), Logger: Logger{e}}
	var result outcome
	if c.timeoutSeconds > 0 {
		result = e.runInTime(s.main, call)
	} else {
		result = e.run(s.main, call)
	}
	if result.failure == timedOut {
		e.log("error", timedOut.message, nil)
		s.answerFailure(w, c)
		return
	}
	if result.broken {
		e.log("error", result.failure.Error(), nil)
		panic(http.ErrAbortHandler)
	}
	if result.tooLarge || body.isTooLarge() {
		answerText(w, 413, "The request body is larger than 20 MiB.")
		return
	}
	if result.failure != nil {
		e.log("error", result.failure.Error(), nil)
		s.answerFailure(w, c)
		return
	}
	s.answer(w, ctx, c, e, result)
}

func (s *server) answerFailure(w http.ResponseWriter, c control) {
	s.writeHead(w, c, 500, []headerLine{{"content-type", "text/plain; charset=utf-8"}}, 0)
}

func (s *server) answer(w http.ResponseWriter, ctx context.Context, c control, e *execution, result outcome) {
	response := result.response
	if response.stream == nil {
		// Printed lines and the rest of the log come before the answer, so that its reader finds them.
		s.writeHead(w, c, response.StatusCode, result.headers, len(response.Body))
		w.Write(response.Body)
		return
	}
	s.writeHead(w, c, response.StatusCode, result.headers, -1)
	pieces := &pieceWriter{writer: w, controller: http.NewResponseController(w), ctx: ctx}
	if pieces.controller.Flush() != nil {
		return
	}
	if err := writeStream(response.stream, pieces); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = timedOut
		}
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.log("error", err.Error(), nil)
		}
		panic(http.ErrAbortHandler)
	}
}

func writeStream(stream func(io.Writer) error, pieces io.Writer) (err error) {
	defer func() {
		if thrown := recover(); thrown != nil {
			err = thrownFailure(thrown)
		}
	}()
	return stream(pieces)
}

// pieceWriter sends each piece at once.
type pieceWriter struct {
	writer     io.Writer
	controller *http.ResponseController
	ctx        context.Context
}

func (p *pieceWriter) Write(piece []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.writer.Write(piece)
	if err == nil {
		err = p.controller.Flush()
	}
	return n, err
}

// writeHead sets names as they are given, in lower case. length: bytes of the body, or -1 for one that comes in pieces.
func (s *server) writeHead(w http.ResponseWriter, c control, statusCode int, headers []headerLine, length int) {
	target := w.Header()
	for _, header := range headers {
		target[header.name] = append(target[header.name], header.value)
	}
	// Not a second one, guessed.
	target["Content-Type"] = nil
	id := c.id
	if !c.logging {
		id = ""
	}
	target["x-open-runtimes-log-id"] = []string{id}
	if length >= 0 && statusCode != 204 && statusCode != 304 {
		target["Content-Length"] = []string{strconv.Itoa(length)}
	}
	w.WriteHeader(statusCode)
}

func answerText(w http.ResponseWriter, statusCode int, text string) {
	target := w.Header()
	target["content-type"] = []string{"text/plain; charset=utf-8"}
	target["Content-Type"] = nil
	target["Content-Length"] = []string{strconv.Itoa(len(text))}
	w.WriteHeader(statusCode)
	io.WriteString(w, text)
}
