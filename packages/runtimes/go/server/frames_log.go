package treadle

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Longest JSON of fields that the host takes.
const maxFieldsBytes = 16 * 1024

// What stands between the text of an entry and its fields.
const fieldsSeparator = "\x1e"

const flagCut, flagFields = 1, 2

var logLevels = map[string]byte{"debug": 0, "info": 1, "warn": 2, "error": 3}

// write sends a log entry at once: the code that runs next may be killed for what it does.
func (s *framesServer) write(e *execution, level, text string, fields Fields) {
	flags := byte(0)
	if short, isCut := cut(text, s.limits.LogEntryCharacters); isCut {
		text, flags = short, flagCut
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(fields) > 0 {
		if encoded, err := compactJson(fields); err == nil && len(encoded) < maxFieldsBytes {
			text, flags = text+fieldsSeparator+string(encoded), flags|flagFields
		}
	}
	c := s.channel
	c.lock()
	defer c.mutex.Unlock()
	id := uint32(0)
	number := logLevels[level]
	if e != nil && e.call != nil && !e.call.isOver {
		call := e.call
		id = call.number
		wasWithin := call.logBytes <= s.limits.LogBytes
		call.logBytes += len(text) + 1
		if call.logBytes > s.limits.LogBytes {
			if !wasWithin {
				return
			}
			text, flags, number = "[log truncated]", flagCut, logLevels["warn"]
		}
	}
	c.begin(frameLog, id, 10+len(text))
	c.queued = append(c.queued, number, flags)
	c.queued = binary.LittleEndian.AppendUint64(c.queued, math.Float64bits(float64(time.Now().UnixMicro())/1000))
	c.queued = append(c.queued, text...)
	c.flush()
}
