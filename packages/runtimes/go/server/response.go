package treadle

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// Response is what a function returns, made by one of the methods of Context.Res. The zero Response is none.
type Response struct {
	Body       []byte
	StatusCode int
	// Header lines in the order they were given.
	headers []headerLine
	stream  func(io.Writer) error
	made    bool
	err     error
}

type headerLine struct{ name, value string }

// Option changes a response while it is made.
type Option func(*Response)

// Responder makes responses. The returned one is sent.
type Responder struct{}

func (Responder) WithStatusCode(statusCode int) Option {
	return func(r *Response) { r.StatusCode = statusCode }
}

func (Responder) WithHeaders(headers map[string]string) Option {
	return func(r *Response) {
		names := make([]string, 0, len(headers))
		for name := range headers {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			r.headers = append(r.headers, headerLine{name, headers[name]})
		}
	}
}

// WithHeader adds one header; the same name may be given several times (Set-Cookie).
func (Responder) WithHeader(name, value string) Option {
	return func(r *Response) { r.headers = append(r.headers, headerLine{name, value}) }
}

func (Responder) Text(body string, options ...Option) Response {
	return made(Response{Body: []byte(body), StatusCode: 200}, options)
}

func (Responder) Binary(body []byte, options ...Option) Response {
	return made(Response{Body: body, StatusCode: 200}, options).withType("application/octet-stream")
}

// Json writes value as compact JSON. One that cannot be written makes the execution fail.
func (Responder) Json(value any, options ...Option) Response {
	text, err := compactJson(value)
	response := made(Response{Body: text, StatusCode: 200}, options).withType("application/json")
	response.err = err
	return response
}

func (Responder) Redirect(url string, options ...Option) Response {
	response := made(Response{StatusCode: 301}, options)
	response.headers = append(response.headers, headerLine{"location", url})
	return response
}

func (Responder) Empty() Response { return made(Response{StatusCode: 204}, nil) }

// Send is an older name of Text.
func (r Responder) Send(body string, options ...Option) Response { return r.Text(body, options...) }

// Stream sends the head at once, then each piece as it is written. An error breaks the connection, so that nobody takes
// the part for the whole. Write blocks while the caller does not read.
func (Responder) Stream(write func(w io.Writer) error, options ...Option) Response {
	return made(Response{stream: write, StatusCode: 200}, options)
}

// StreamFrom streams what a reader gives; it is closed at the end when it can be.
func (r Responder) StreamFrom(reader io.Reader, options ...Option) Response {
	return r.Stream(func(w io.Writer) error {
		if closer, ok := reader.(io.Closer); ok {
			defer closer.Close()
		}
		buffer := make([]byte, 64*1024)
		for {
			n, err := reader.Read(buffer)
			if n > 0 {
				if _, err := w.Write(buffer[:n]); err != nil {
					return err
				}
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}, options...)
}

func made(response Response, options []Option) Response {
	response.made = true
	for _, option := range options {
		option(&response)
	}
	return response
}

func (r Response) withType(contentType string) Response {
	for _, header := range r.headers {
		if strings.EqualFold(header.name, "content-type") {
			return r
		}
	}
	r.headers = append(r.headers, headerLine{"content-type", contentType})
	return r
}

const nothingReturned = "Return statement missing. return context.res.empty() if no response is expected."

// finished checks what user code returned, and gives the header lines to send.
func (r Response) finished() ([]headerLine, error) {
	if !r.made && r.StatusCode == 0 && r.Body == nil {
		return nil, fmt.Errorf("%s", nothingReturned)
	}
	if r.err != nil {
		return nil, fmt.Errorf("the response cannot be written as JSON: %w", r.err)
	}
	if r.StatusCode < 200 || r.StatusCode > 599 {
		return nil, fmt.Errorf("the status code must be a whole number from 200 to 599, got %d", r.StatusCode)
	}
	headers := make([]headerLine, 0, len(r.headers)+1)
	contentType := "text/plain"
	for _, header := range r.headers {
		name := strings.ToLower(header.name)
		if strings.HasPrefix(name, controlPrefix) || isConnectionHeader(name) {
			continue
		}
		if !isToken(name) {
			return nil, fmt.Errorf("%q cannot be the name of a header", header.name)
		}
		if !isHeaderValue(header.value) {
			return nil, fmt.Errorf("the header %q has a value with characters that headers cannot have", header.name)
		}
		if name == "content-type" {
			contentType = header.value
		} else {
			headers = append(headers, headerLine{name, header.value})
		}
	}
	return append(headers, headerLine{"content-type", completeType(contentType)}), nil
}

// completeType is in lower case but for multipart, whose boundary is a matter of case, and has a character set.
func completeType(contentType string) string {
	lower := strings.ToLower(contentType)
	switch {
	case strings.HasPrefix(lower, "multipart/"):
		return contentType
	case strings.Contains(lower, "charset="):
		return lower
	}
	return lower + "; charset=utf-8"
}

// isConnectionHeader names what the server decides: it counts the bytes and holds the connection.
func isConnectionHeader(name string) bool {
	switch name {
	case "connection", "content-length", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

func isToken(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

func isHeaderValue(value string) bool {
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
