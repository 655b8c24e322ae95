package treadle

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// controlPrefix starts the names of the headers between caller and server, which user code neither sees nor sets.
const controlPrefix = "x-open-runtimes-"

// settings of the process (HTTP.md), read once and before user code.
type settings struct {
	socket, port, code, secret string
	development                bool
	// Folder for log files; empty: logs go to stdout.
	logFolder string
	// Headers that every request has.
	enforced map[string]string
}

func readSettings() (settings, error) {
	s := settings{
		socket:      os.Getenv("TREADLE_SOCKET"),
		port:        environment("PORT", "3000"),
		code:        environment("TREADLE_CODE", "/usr/local/server/src/function"),
		secret:      os.Getenv("OPEN_RUNTIMES_SECRET"),
		development: os.Getenv("OPEN_RUNTIMES_ENV") == "development",
		enforced:    map[string]string{},
	}
	// The secret is the caller's, not user code's.
	os.Unsetenv("OPEN_RUNTIMES_SECRET")
	if folder := environment("TREADLE_LOGS", "/mnt/logs"); isFolder(folder) {
		s.logFolder = folder
	}
	if text := os.Getenv("OPEN_RUNTIMES_HEADERS"); text != "" {
		var given map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &given); err != nil {
			return s, fmt.Errorf("OPEN_RUNTIMES_HEADERS is not a JSON object: %w", err)
		}
		for name, value := range given {
			var plain string
			if json.Unmarshal(value, &plain) != nil {
				plain = string(value)
			}
			s.enforced[strings.ToLower(name)] = plain
		}
	}
	return s, nil
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
