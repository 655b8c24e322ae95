package treadle

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Request is what the function is asked: `req` of Open Runtimes v5.
type Request struct {
	Method string
	// Scheme, host, port unless it is the scheme's own, path and query.
	Url         string
	Scheme      string
	Host        string
	Port        int
	Path        string
	QueryString string
	// Undecoded: `a=b&c==d&k` is {a: "b", c: "=d", k: ""}.
	Query map[string]string
	// Names in lower case; several of one name are joined with ", ".
	Headers map[string]string
	body    *requestBody
}

// BodyBinary is the whole body.
func (r Request) BodyBinary() []byte { return r.body.whole() }

// BodyText is the whole body as text.
func (r Request) BodyText() string { return string(r.body.whole()) }

// BodyRaw is an older name of BodyText.
func (r Request) BodyRaw() string { return r.BodyText() }

// BodyJson reads the body, whatever its content type says, into v as json.Unmarshal does.
func (r Request) BodyJson(v any) error {
	if err := json.Unmarshal(r.body.whole(), v); err != nil {
		return fmt.Errorf("the request body is not valid JSON: %w", err)
	}
	return nil
}

// Body is what JSON holds when the content type is application/json (an empty map for an empty body), else text.
// It panics when such a body is no JSON.
func (r Request) Body() any {
	if !strings.HasPrefix(strings.ToLower(r.Headers["content-type"]), "application/json") {
		return r.BodyText()
	}
	if len(r.body.whole()) == 0 {
		return map[string]any{}
	}
	var value any
	if err := r.BodyJson(&value); err != nil {
		panic(err)
	}
	return value
}

// BodyStream is the body as it comes, of any length. Use it before, and instead of, the other forms of the body.
func (r Request) BodyStream() io.Reader { return r.body.stream() }

// newRequest describes what came in. Path and query stay undecoded.
func newRequest(r *http.Request, enforced map[string]string, body *requestBody) Request {
	headers := make(map[string]string, len(r.Header)+len(enforced)+1)
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, controlPrefix) {
			continue
		}
		headers[lower] = strings.Join(values, ", ")
	}
	headers["host"] = r.Host
	return describeRequest(r.Method, r.RequestURI, headers, enforced, body)
}

func describeRequest(method, target string, headers, enforced map[string]string, body *requestBody) Request {
	for name, value := range enforced {
		headers[name] = value
	}
	request := Request{Method: method, Headers: headers, body: body}
	request.setTarget(target, headers)
	return request
}

// setTarget takes apart a path with a query, or a whole address.
func (r *Request) setTarget(target string, headers map[string]string) {
	scheme, authority := headers["x-forwarded-proto"], headers["host"]
	if scheme == "" {
		scheme = "http"
	}
	if authority == "" {
		authority = "localhost"
	}
	if before, rest, ok := strings.Cut(target, "://"); ok && before != "" && !strings.ContainsAny(before, "/?#") {
		scheme = strings.ToLower(before)
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority, target = rest[:end], rest[end:]
	}
	target, _, _ = strings.Cut(target, "#")
	r.Path, r.QueryString, _ = strings.Cut(target, "?")
	if r.Path == "" {
		r.Path = "/"
	}
	r.Scheme, r.Host, r.Port = scheme, authority, 0
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		r.Host = authority[:colon]
		r.Port, _ = strconv.Atoi(authority[colon+1:])
	}
	usual := 80
	if scheme == "https" {
		usual = 443
	}
	if r.Port == 0 {
		r.Port = usual
	}
	var url strings.Builder
	url.Grow(len(scheme) + len(authority) + len(target) + 3)
	url.WriteString(scheme)
	url.WriteString("://")
	url.WriteString(r.Host)
	if r.Port != usual {
		url.WriteByte(':')
		url.WriteString(strconv.Itoa(r.Port))
	}
	url.WriteString(r.Path)
	if r.QueryString != "" {
		url.WriteByte('?')
		url.WriteString(r.QueryString)
	}
	r.Url = url.String()
	r.Query = parseQuery(r.QueryString)
}

func parseQuery(text string) map[string]string {
	query := map[string]string{}
	for text != "" {
		var part string
		part, text, _ = strings.Cut(text, "&")
		if key, value, _ := strings.Cut(part, "="); key != "" {
			query[key] = value
		}
	}
	return query
}
