//go:build linux

package pause

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImageIsValidELF(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(Image()))
	require.NoError(t, err)
	assert.Equal(t, elf.ET_EXEC, f.Type)
	load := f.Progs[0]
	assert.Equal(t, elf.PF_R|elf.PF_X, load.Flags)
	assert.Equal(t, load.Vaddr+uint64(len(Image())-len(code)), f.Entry)
	assert.EqualValues(t, len(Image()), load.Filesz)
}

// TestPauseEndsWithItsLifeline runs the image: it must outlive bytes on the lifeline and exit 0 at its end.
func TestPauseEndsWithItsLifeline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pause")
	require.NoError(t, os.WriteFile(path, Image(), 0o755))
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(path)
	cmd.Stdin = r
	require.NoError(t, cmd.Start())
	_ = r.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_, err = w.Write([]byte("abc"))
	require.NoError(t, err)
	select {
	case err := <-ended:
		t.Fatalf("ended before its lifeline did: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	require.NoError(t, w.Close())
	require.NoError(t, <-ended)
}
