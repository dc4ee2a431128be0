package sandbox

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
	"github.com/stretchr/testify/assert"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // part of the remedy, "" if there is none
	}{
		{nil, ""},
		{errors.New("something else"), ""},
		{&Error{"root", "mount", "/x", syscall.EIO}, ""},
		{invalid("WithMemory", "50q", "is no size"), ""},
		{invalid("WithIDMap", "0 0 1", "maps the host's root"), ""},
		{&Error{"id map", "WithIDMap", "1000 -> 0", ErrUnsupported}, "newuidmap"},
		{&Error{"id map", "write", "uid_map", syscall.EPERM}, "userns"},
		{&Error{"directory", "chdir", "/nowhere", syscall.ENOENT}, "WithDir"},
		{ErrClosed, "with New"},
		{&Error{"launch", "clone3", "", syscall.EPERM}, "apparmor_restrict_unprivileged_userns"},
		{&Error{"launch", "clone3", "", syscall.EPERM}, "seccomp="},
		{&Error{"launch", "clone3", "", syscall.ENOSPC}, "max_user_namespaces"},
		{&Error{"launch", "clone3", "", syscall.ENOSYS}, "5.14"},
		{&Error{"ids", "write", "/proc/123/uid_map", syscall.EPERM}, "userns"},
		{&Error{"ids", "exec", "/usr/bin/newuidmap", syscall.ENOENT}, "uidmap"},
		{&Error{"ids", "newuidmap", "", errors.New("exit status 1")}, "/etc/subuid"},
		{&Error{"cgroup", "mkdir", "/sys/fs/cgroup/x", syscall.EACCES}, "Delegate=yes"},
		{&Error{"cgroup", "write", "/sys/fs/cgroup/cgroup.subtree_control", syscall.EBUSY}, "systemd-run"},
		{&Error{"cgroup", "mkdir", "/sys/fs/cgroup/x", syscall.EROFS}, "read-only"},
		{&Error{"cgroup", "memory", "", ErrUnsupported}, "controller"},
		{&Error{"root", "mount", "/proc", syscall.EPERM}, "systempaths=unconfined"},
		{&Error{"root", "mount", "/proc", syscall.ENOENT}, "no /proc"},
		{&Error{"root", "mount", "/procession", syscall.ENOENT}, ""},
		{&Error{"root", "mount", "/data", syscall.EPERM}, "apparmor=unconfined"},
		{&Error{"root", "mount", overlayObject, syscall.EPERM}, "fuse-overlayfs"},
		{&Error{"root", "mount", overlayObject, syscall.ENODEV}, "modprobe"},
		{&Error{"root", "mount", overlayObject, syscall.EINVAL}, "dmesg"},
		{&Error{"root", "mount_setattr", "/data", syscall.EINVAL}, "id-mapped"},
		{&Error{"root", "pivot_root", ".", syscall.EINVAL}, "ramfs"},
		{&Error{"seccomp", "compile", "", ErrUnsupported}, "amd64 and arm64"},
		{&Error{"exec", "execve", "/x", syscall.ENOEXEC}, "architecture"},
		{&Error{"exec", "execve", "/x", syscall.ENOENT}, "interpreter"},
		{&Error{"exec", "execve", "/x", syscall.EACCES}, "noexec"},
		{&Error{"limits", "prlimit", "nofile", syscall.EPERM}, "hard limit"},
		{&Error{"root", "open", "/x", syscall.EMFILE}, "LimitNOFILE"},
		{&Error{"root", "WithImage open", "/x", rootfs.ErrStoreOpen}, "chmod 700"},
		{&Error{"root", "WithImage", "/x", &image.Error{Op: "unpack", Name: "layer 0", Err: image.ErrLimit}}, "WithLimits"},
		// The place may be an error further in, and it is the errno's own place that counts.
		{fmt.Errorf("new: %w", &Error{"new", "", "", &Error{"cgroup", "mkdir", "/x", syscall.EPERM}}), "Delegate=yes"},
		{&Error{"cgroup", "parent", "/x", hinted{ErrUnsupported}}, "Do this."},
	} {
		got := Explain(c.err)
		if c.want == "" {
			assert.Empty(t, got, "%v", c.err)
		} else {
			assert.Contains(t, got, c.want, "%v", c.err)
		}
	}
}

// hinted is an error with a remedy of its own.
type hinted struct{ error }

func (hinted) Remedy() string  { return "do this" }
func (h hinted) Unwrap() error { return h.error }

// What is true of the host and of its own group is not said of a group that a caller named.
func TestExplainNamedParent(t *testing.T) {
	for _, errno := range []error{ErrUnsupported, syscall.EBUSY} {
		for _, op := range []string{"parent", "memory controller"} {
			assert.Equal(t, "Do this.", Explain(&Error{"cgroup", op, "/sys/fs/cgroup/x", hinted{errno}}))
		}
		assert.Greater(t, len(Explain(&Error{"cgroup", "mkdir", "/sys/fs/cgroup/x", hinted{errno}})), len("Do this. "), "control")
	}
	assert.Contains(t, Explain(&Error{"cgroup", "parent", "/sys/fs/cgroup/x", hinted{syscall.EROFS}}), "Do this. The cgroup file system is mounted read-only", "more is known")
}
