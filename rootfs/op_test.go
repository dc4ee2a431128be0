package rootfs_test

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/belljar-go/belljar/rootfs"
)

func TestOpString(t *testing.T) {
	for _, c := range []struct {
		op   rootfs.Op
		path string
		want string
	}{
		{rootfs.Base{Dir: "/srv/root"}, "/", "base /srv/root ro"},
		{rootfs.Bind{Source: "/a", Target: "/b", Flags: 0}, "/b", "bind /a on /b rw"},
		{rootfs.Bind{Source: "/a b", Target: "/c\nd", Flags: rootfs.BindReadOnly}, "/c\nd", `bind "/a b" on "/c\nd" ro`},
		{rootfs.Bind{Source: "/a", Target: "/b", Flags: rootfs.BindReadOnly | rootfs.BindNoExec | rootfs.BindOptional}, "/b", "bind /a on /b ro,noexec,optional"},
		{rootfs.Tmpfs{Target: "/t"}, "/t", "tmpfs on /t size=268435456 inodes=65536 mode=0755"},
		{rootfs.Tmpfs{Target: "/t", Size: 4096, Inodes: 9, Mode: fs.ModeSticky | 0o777, JobOwned: true}, "/t", "tmpfs on /t size=4096 inodes=9 mode=1777 job"},
		{rootfs.Proc{Target: "/proc"}, "/proc", "proc on /proc"},
		{rootfs.Dev{Target: "/dev"}, "/dev", "dev on /dev shm=67108864"},
		{rootfs.Tmpfs{Target: "/t", Size: 4096, Inodes: 9, ReadOnly: true}, "/t", "tmpfs on /t size=4096 inodes=9 mode=0755 ro"},
		{rootfs.Proc{Target: "/p", Hide: rootfs.HideContents, PIDsOnly: true}, "/p", "proc on /p hidepid=noaccess subset=pid"},
		{rootfs.Device{Source: "/dev/kvm", Target: "/dev/kvm"}, "/dev/kvm", "device /dev/kvm on /dev/kvm rw"},
		{rootfs.Device{Source: "/d v", Target: "/dev/d", Flags: rootfs.BindReadOnly | rootfs.BindOptional}, "/dev/d", `device "/d v" on /dev/d ro,optional`},
		{rootfs.Substitute{Target: "/proc/stat", Data: []byte("abc")}, "/proc/stat", "substitute /proc/stat 3 bytes ro"},
		{rootfs.Substitute{Target: "/proc/stat", Source: "/x/stat"}, "/proc/stat", "substitute /x/stat on /proc/stat ro"},
		{rootfs.Mask{Target: "/m"}, "/m", "mask /m"},
		{rootfs.ReadOnly{Target: "/r"}, "/r", "read-only /r"},
		{rootfs.File{Target: "/f", Data: []byte("abc")}, "/f", "file /f 3 bytes mode=0644"},
		{rootfs.File{Target: "/f", Mode: 0o600, JobOwned: true}, "/f", "file /f 0 bytes mode=0600 job"},
		{rootfs.Dir{Target: "/d"}, "/d", "dir /d mode=0755"},
		{rootfs.Dir{Target: "/d", Mode: fs.ModeSticky | 0o777, JobOwned: true}, "/d", "dir /d mode=1777 job"},
		{rootfs.Symlink{Target: "/s", Link: "usr/lib"}, "/s", "symlink /s to usr/lib"},
	} {
		assert.Equal(t, c.want, c.op.String())
		assert.Equal(t, c.path, c.op.Path())
	}
	assert.Equal(t, "rw,unknown", rootfs.Flags(1<<7).String())
}
