package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProgressDrawsInPlace(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, total: 4}
	p.name("ok\x1b.c")
	p.step()
	assert.Equal(t, "\r[.............................."+`] 0/4 ok\x1b.c`+"\x1b[K\r[#######......................."+`] 1/4 ok\x1b.c`+"\x1b[K", b.String())
	b.Reset()
	p.reach(4)
	p.step()
	assert.Contains(t, b.String(), "[##############################] 4/4")
	assert.NotContains(t, b.String(), "\n")
	b.Reset()
	p.clear()
	assert.Equal(t, "\r\x1b[K", b.String())
}

func TestNoProgressWithoutTerminal(t *testing.T) {
	assert.Nil(t, newProgress(&bytes.Buffer{}, 3))
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	assert.Nil(t, newProgress(file, 3))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	assert.Nil(t, newProgress(null, 3))

	var p *progress // what a judge without a terminal calls
	p.name("x")
	p.step()
	p.reach(1)
	p.clear()
}

func TestProgressOnTerminal(t *testing.T) {
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		skip(t, "no pseudo-terminal: "+err.Error())
	}
	defer pty.Close()
	t.Setenv("TERM", "xterm")
	assert.NotNil(t, newProgress(pty, 3))
	t.Setenv("TERM", "dumb")
	assert.Nil(t, newProgress(pty, 3))
}
