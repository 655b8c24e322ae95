package treadle

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"
)

// Characters of one entry that are kept.
const maxEntryCharacters = 8000
const cutNote = "... Log truncated due to size limit (8000 characters)"

// lineJournal writes log entries as lines of JSON to the real stdout, or as text to files in a folder.
type lineJournal struct {
	mutex  sync.Mutex
	stdout *os.File
	folder string
	line   []byte
}

// write puts one entry out, in one write.
func (j *lineJournal) write(e *execution, level, text string, fields Fields) {
	id := ""
	if e != nil {
		id = e.id
	}
	if short, isCut := cut(text, maxEntryCharacters); isCut {
		text = short + cutNote
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if j.folder != "" && id != "" {
		j.append(id, level, text, fields)
		return
	}
	line := append(j.line[:0], `{"id":`...)
	if id == "" {
		line = append(line, "null"...)
	} else {
		line = appendJsonText(line, id)
	}
	line = append(line, `,"level":"`...)
	line = append(line, level...)
	line = append(line, `","text":`...)
	line = appendJsonText(line, text)
	if len(fields) > 0 {
		if encoded, err := compactJson(fields); err == nil {
			line = append(line, `,"fields":`...)
			line = append(line, encoded...)
		}
	}
	line = append(line, "}\n"...)
	j.stdout.Write(line)
	if cap(line) <= 64*1024 {
		j.line = line
	}
}

func (j *lineJournal) append(id, level, text string, fields Fields) {
	kind := "_logs.log"
	if level == "error" {
		kind = "_errors.log"
	}
	if len(fields) > 0 {
		if encoded, err := compactJson(fields); err == nil {
			text += " " + string(encoded)
		}
	}
	file, err := os.OpenFile(filepath.Join(j.folder, id+kind), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	file.WriteString(text + "\n")
}

// cut shortens an entry that has more than so many characters.
func cut(text string, characters int) (string, bool) {
	if len(text) <= characters {
		return text, false
	}
	count := 0
	for i := range text {
		if count == characters {
			return text[:i], true
		}
		count++
	}
	return text, false
}

// appendJsonText appends text as a JSON string; what is no UTF-8 becomes the replacement character.
func appendJsonText(line []byte, text string) []byte {
	const hex = "0123456789abcdef"
	line = append(line, '"')
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			line = utf8.AppendRune(line, r)
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			line = append(line, '\\', c)
		case c == '\n':
			line = append(line, '\\', 'n')
		case c < 0x20 || c == 0x7f:
			line = append(line, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			line = append(line, c)
		}
		i++
	}
	return append(line, '"')
}

// lines gathers printed bytes into lines.
type lines struct {
	rest strings.Builder
}

// add calls emit with each line that is whole.
func (l *lines) add(bytes []byte, emit func(string)) {
	for len(bytes) > 0 {
		end := -1
		for i, c := range bytes {
			if c == '\n' {
				end = i
				break
			}
		}
		part := bytes
		if end >= 0 {
			part = bytes[:end]
		}
		if room := 4*maxEntryCharacters + 8 - l.rest.Len(); room < len(part) {
			// An entry keeps less than that of it.
			part = part[:max(room, 0)]
		}
		l.rest.Write(part)
		if end < 0 {
			return
		}
		l.flush(true, emit)
		bytes = bytes[end+1:]
	}
}

// flush emits what has no end of line yet.
func (l *lines) flush(evenEmpty bool, emit func(string)) {
	if l.rest.Len() > 0 || evenEmpty {
		emit(strings.TrimSuffix(l.rest.String(), "\r"))
	}
	l.rest.Reset()
}
