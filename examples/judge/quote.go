package main

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a submission or a compiler printed may hold anything, escape sequences for the reader's terminal among them.

// excerpt quotes the beginning of a line.
func excerpt(b []byte) string {
	const most = 32
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "…"
	}
	return strconv.Quote(string(b))
}

// plain makes text safe to print: what is not a printable character becomes an escape.
func plain(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			s.WriteString(`\x` + strconv.FormatUint(uint64(b[0])|0x100, 16)[1:])
		case r == '\t' || strconv.IsPrint(r):
			s.WriteRune(r)
		default:
			s.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		b = b[n:]
	}
	return s.String()
}

// firstLines makes the first lines of a message safe to print, each cut to a readable width.
func firstLines(b []byte, count int) string {
	const width = 200
	var kept []string
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(kept) == count {
			kept = append(kept, "…")
			break
		}
		if len(line) > width {
			line = append(line[:width:width], "…"...)
		}
		kept = append(kept, plain(line))
	}
	return strings.Join(kept, "\n")
}

// capped keeps the first bytes written to it and drops the rest.
type capped struct {
	buf  bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.buf.Write(p[:n])
	c.left -= n
	return len(p), nil
}
