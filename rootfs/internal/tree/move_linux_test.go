package tree_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// Somebody who moves directories of a tree while it is being removed does not lead the removal elsewhere: what is beside a directory that was moved stays.
func TestRemoveWhileMoved(t *testing.T) {
	top := t.TempDir()
	d, err := os.Open(top)
	require.NoError(t, err)
	defer d.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Rename(top+"/x/a", top+"/elsewhere/a")
				_ = unix.Rename(top+"/elsewhere/a", top+"/x/a")
			}
		}
	}()
	refused := 0
	for range 30 {
		require.NoError(t, os.MkdirAll(top+"/elsewhere", 0o700))
		require.NoError(t, os.WriteFile(top+"/elsewhere/precious", nil, 0o600))
		require.NoError(t, os.MkdirAll(top+"/x", 0o700))
		_ = os.Mkdir(top+"/x/a", 0o700) // the other may have it, and bring it back meanwhile
		for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
			_ = os.MkdirAll(top+"/x/a/"+n+"/in/deep", 0o700) // wherever it is now
		}
		if tree.Remove(int(d.Fd()), "x") != nil {
			refused++
		}
		assert.FileExists(t, top+"/elsewhere/precious")
	}
	close(stop)
	<-done
	t.Logf("%d of 30 were given up", refused)
}
