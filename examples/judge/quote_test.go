package main

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"error: 'x'":           "error: 'x'",
		"größer\t→":            "größer\t→",
		"\x1b[31mred\x07":      `\x1b[31mred\a`,
		"\x00\xff\u0085\u202e": `\x00\xff\u0085\u202e`,
	} {
		assert.Equal(t, want, plain([]byte(in)))
	}
}

func TestFirstLines(t *testing.T) {
	assert.Equal(t, "a\nb\n…", firstLines([]byte("a\r\n\nb\nc\n"), 2))
	assert.Equal(t, "a", firstLines([]byte("a"), 2))
	assert.Empty(t, firstLines(nil, 2))
	long := firstLines([]byte(strings.Repeat("x", 1000)), 1)
	assert.Len(t, long, 200+len("…"))
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("\x1b]0;title\x07\xe2\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, r := range plain(b) {
			assert.True(t, r == '\t' || unicode.IsPrint(r) && r != unicode.ReplacementChar || strings.ContainsRune(string(b), r), "%q", r)
		}
	})
}

func TestCappedKeepsTheBeginning(t *testing.T) {
	c := &capped{left: 5}
	for range 3 {
		n, err := c.Write([]byte("abc"))
		assert.NoError(t, err)
		assert.Equal(t, 3, n)
	}
	assert.Equal(t, "abcab", c.buf.String())
}
