//go:build linux

package zygote

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// However many commands leave what does not die, the end of another sandbox's is attended to.
func TestTellers(t *testing.T) {
	z := &zygote{armed: map[uint64]*armed{}}
	require.NoError(t, z.tellers())
	waits := func() (bytes int) {
		bytes, err := unix.IoctlGetInt(z.told[0], unix.TIOCINQ)
		require.NoError(t, err)
		return bytes
	}
	tell := func(id uint64) {
		t.Helper()
		_, err := unix.Write(z.told[1], binary.NativeEndian.AppendUint64(nil, id))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return waits() == 0 }, patience, time.Millisecond, "nobody takes it")
	}
	var held []*box
	for id := range uint64(3*tellers + 1) {
		b := &box{}
		b.spare.mu.Lock() // as who takes his time
		held = append(held, b)
		z.mu.Lock()
		z.armed[id] = &armed{command: &command{box: b}, z: z, state: revoked}
		z.mu.Unlock()
		tell(id)
	}
	for _, b := range held {
		b.spare.mu.Unlock()
	}
	z.handlers.Wait()
	require.Eventually(t, func() bool { return z.listening.Load() == tellers }, patience, time.Millisecond, "the others go")
	for range 2 * tellers {
		tell(1)
	}
	assert.NoError(t, unix.Close(z.told[1])) // and with it they go too
	require.Eventually(t, func() bool { return z.listening.Load() == 0 }, patience, time.Millisecond)
	assert.NoError(t, unix.Close(z.told[0]))
}
