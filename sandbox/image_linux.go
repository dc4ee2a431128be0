package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ownImage is the program's own binary, as the zygote executes it: by a handle that stays good when the file is replaced or deleted, that cannot be
// written through, and that nobody can execute once the zygote runs.
//
// The last is for the jobs: until its execve the process that becomes a job is a clone of the zygote, so that a program that
// is a link to /proc/self/exe, or a script with that for an interpreter, names the zygote's binary, which is the host program's (CVE-2019-5736).
type ownImage struct {
	fd    int
	close func()
	shut  func() error // afterwards nobody can execute or read it; what runs is not affected
}

// openImage takes a private mount of the binary, which can be made noexec, or where that is not allowed a copy in memory, whose
// mode can be taken away.
func openImage() (*ownImage, error) {
	const path = "/proc/self/exe"
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return copyImage(path)
	}
	return &ownImage{
		fd:    fd,
		close: func() { _ = unix.Close(fd) },
		shut: func() error {
			attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY}
			return os.NewSyscallError("mount_setattr", unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr))
		},
	}, nil
}

func copyImage(path string) (*ownImage, error) {
	src, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	fd, err := unix.MemfdCreate("belljar-zygote", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // MFD_EXEC is of Linux 6.3
		fd, err = unix.MemfdCreate("belljar-zygote", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	dst := os.NewFile(uintptr(fd), "copy of "+path)
	defer dst.Close() // execve refuses what is open for writing
	if _, err := io.Copy(dst, src); err != nil {
		return nil, err
	}
	if err := unix.Fchmod(fd, 0o500); err != nil {
		return nil, os.NewSyscallError("fchmod", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, err
	}
	return &ownImage{
		fd:    int(ro.Fd()),
		close: func() { _ = ro.Close() },
		shut:  func() error { return ro.Chmod(0) },
	}, nil
}

// retryBusy repeats what fails while another thread's fork has not yet reached its exec: the child holds every descriptor until then, also the one by which
// the image was written.
func retryBusy(f func() error) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := f()
		if !errors.Is(err, unix.ETXTBSY) || wait > time.Second {
			return err
		}
		time.Sleep(wait)
	}
}
