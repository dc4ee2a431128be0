package seccomp

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestTables(t *testing.T) {
	for name, want := range map[string]uint32{
		"read": unix.SYS_READ, "clone3": unix.SYS_CLONE3, "newfstatat": unix.SYS_NEWFSTATAT, "ioctl": unix.SYS_IOCTL,
		"seccomp": unix.SYS_SECCOMP, "socketpair": unix.SYS_SOCKETPAIR, "mseal": unix.SYS_MSEAL,
	} {
		assert.Equal(t, want, mustNumber(t, name), name)
	}
	for _, arch := range tabled {
		names := arch.Names()
		assert.Greater(t, len(names), 300)
		inSpans := 0
		for _, s := range arch.spans() {
			inSpans += int(s[1]-s[0]) + 1
		}
		assert.Equal(t, len(names), inSpans, "%s: two names share a number", arch)
		last := -1
		for _, name := range names {
			n, ok := arch.Number(name)
			assert.True(t, ok)
			assert.Greater(t, int(n), last)
			last = int(n)
			back, ok := arch.Name(n)
			assert.True(t, ok)
			assert.Equal(t, name, back)
		}
		_, ok := arch.Name(9999)
		assert.False(t, ok)
	}
	assert.Equal(t, runtime.GOARCH, NativeArch().String())
	for _, c := range []struct {
		arch   Arch
		name   string
		number uint32
	}{{I386, "getpid", 20}, {I386, "socketcall", 102}, {I386, "mkdir", 39}, {ARM, "getpid", 20}, {ARM, "set_tls", 0xf0005}} {
		n, ok := c.arch.Number(c.name)
		assert.True(t, ok)
		assert.Equal(t, c.number, n, "%s on %s", c.name, c.arch)
	}
	assert.Contains(t, Arch(1).String(), "0x1")
	assert.Empty(t, Arch(1).Names())
}
