package sandbox

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// hangingFS is a FUSE file system (fuse(4), <linux/fuse.h>) with one program in it, which can be looked up and never be opened:
// whoever executes it waits in the kernel for an answer that does not come, and cannot be killed. There is a file of data as well, which can be opened and never be read, or anything else from then
// on: nobody takes requests any more, and whoever waits can be killed.
type hangingFS struct {
	dir    string
	fd     int
	opened chan struct{} // receives when somebody waits
	served sync.WaitGroup
	over   chan struct{} // closed by abort
	once   sync.Once
}

const (
	fuseLookup  = 1
	fuseGetattr = 3
	fuseOpen    = 14
	fuseInit    = 26
	fuseRoot    = 1
	fuseProgram = 2
	fuseData    = 3
)

func mountHanging(t *testing.T) *hangingFS {
	t.Helper()
	needRoot(t)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		skip(t, "needs /dev/fuse: "+err.Error())
	}
	f := &hangingFS{dir: t.TempDir(), fd: fd, opened: make(chan struct{}, 100), over: make(chan struct{})}
	options := fmt.Sprintf("fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("hang", f.dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		_ = unix.Close(fd)
		skip(t, "needs a kernel with FUSE: "+err.Error())
	}
	f.served.Add(1)
	go f.serve()
	t.Cleanup(func() {
		f.abort(t)
		require.NoError(t, unix.Unmount(f.dir, unix.MNT_DETACH))
		f.served.Wait()
		require.NoError(t, unix.Close(fd))
	})
	return f
}

// fuseControl is held by who may mount the file system of that name for a moment, and take it away from who has found it there.
var fuseControl sync.Mutex

// abort ends the connection: whoever waits gets an error, and is woken.
func (f *hangingFS) abort(t *testing.T) {
	fuseControl.Lock()
	defer fuseControl.Unlock()
	f.once.Do(func() { close(f.over) })
	var st unix.Stat_t
	if err := unix.Stat(f.dir, &st); err != nil {
		return // it has been aborted before
	}
	control := fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", unix.Minor(st.Dev))
	if _, err := os.Stat(control); err != nil {
		require.NoError(t, unix.Mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, ""))
		defer func() { _ = unix.Unmount("/sys/fs/fuse/connections", unix.MNT_DETACH) }()
	}
	require.NoError(t, os.WriteFile(control, []byte("1"), 0))
}

// serve answers until the connection ends.
func (f *hangingFS) serve() {
	defer f.served.Done()
	buf := make([]byte, 1<<20)
	for {
		p := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil {
			continue
		}
		n, err := unix.Read(f.fd, buf)
		if err == unix.ENODEV {
			return
		}
		if err != nil || n < 40 {
			continue
		}
		f.answer(buf[:n])
	}
}

// asked tells whether somebody waits for who takes requests.
func (f *hangingFS) asked() bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}}, 0)
	return n > 0
}

func (f *hangingFS) answer(req []byte) {
	le := binary.NativeEndian
	unique, node := le.Uint64(req[8:]), le.Uint64(req[16:])
	switch le.Uint32(req[4:]) {
	case fuseInit:
		out := make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 4096) // max_write
		f.reply(unique, 0, out)
	case fuseGetattr:
		f.reply(unique, 0, append(make([]byte, 16), attributes(node)...))
	case fuseLookup:
		at := map[string]uint64{"program": fuseProgram, "data": fuseData}[strings.TrimRight(string(req[40:]), "\x00")]
		if at == 0 {
			f.reply(unique, unix.ENOENT, nil)
			return
		}
		out := make([]byte, 40)
		le.PutUint64(out, at)
		f.reply(unique, 0, append(out, attributes(at)...))
	case fuseOpen:
		if node == fuseData {
			out := make([]byte, 16)
			le.PutUint32(out[8:], 1<<5) // FOPEN_NOFLUSH, or who is killed could not close it
			f.reply(unique, 0, out)
			f.opened <- struct{}{}
			<-f.over
			return
		}
		select {
		case f.opened <- struct{}{}:
		default:
		}
	case 2, 36, 42: // FORGET, INTERRUPT, BATCH_FORGET want no answer; being interrupted does not help
	default:
		f.reply(unique, unix.ENOSYS, nil)
	}
}

// attributes is a struct fuse_attr.
func attributes(node uint64) []byte {
	le := binary.NativeEndian
	b := make([]byte, 88)
	le.PutUint64(b, node)
	mode := uint32(unix.S_IFDIR | 0o755)
	if node != fuseRoot {
		mode = unix.S_IFREG | 0o755
		le.PutUint64(b[8:], 4096)
	}
	le.PutUint32(b[60:], mode)
	le.PutUint32(b[64:], 1)
	return b
}

func (f *hangingFS) reply(unique uint64, errno unix.Errno, body []byte) {
	le := binary.NativeEndian
	head := make([]byte, 16)
	le.PutUint32(head, uint32(16+len(body)))
	le.PutUint32(head[4:], uint32(-int32(errno)))
	le.PutUint64(head[8:], unique)
	_, _ = unix.Write(f.fd, append(head, body...))
}

func (f *hangingFS) program() string { return filepath.Join(f.dir, "program") }
