package rootfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/fs.h, linux/quota.h and linux/dqblk_xfs.h.
const (
	fsIocGetXattr    = 0x801c581f // FS_IOC_FSGETXATTR
	fsIocSetXattr    = 0x401c5820 // FS_IOC_FSSETXATTR
	xflagProjInherit = 0x200      // FS_XFLAG_PROJINHERIT
	projectQuota     = 2          // PRJQUOTA
	getQuota         = 0x800007   // Q_GETQUOTA
	setQuota         = 0x800008   // Q_SETQUOTA
	getQuotaState    = 'X'<<8 + 8 // Q_XGETQSTATV
	enforced         = 1 << 5     // FS_QUOTA_PDQ_ENFD
	quotaLimits      = 1 | 4      // QIF_BLIMITS|QIF_ILIMITS
)

// fsXattr is struct fsxattr.
type fsXattr struct {
	Xflags, Extsize, Nextents, Projid, Cowextsize uint32
	_                                             [8]byte
}

// diskQuota is struct if_dqblk.
type diskQuota struct {
	BlockHard, BlockSoft, Space uint64 // limits in 1024 bytes, space in bytes
	FileHard, FileSoft, Files   uint64
	BlockTime, FileTime         uint64
	Valid                       uint32
	_                           uint32
}

// quotaState is struct fs_quota_statv.
type quotaState struct {
	Version int8
	_       uint8
	Flags   uint16
	_       [156]byte
}

func ioctlXattr(fd int, request uintptr, x *fsXattr) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(x))); errno != 0 {
		return errno
	}
	return nil
}

func quotactl(fd int, command, id uint32, data unsafe.Pointer) error {
	if _, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), uintptr(command<<8|projectQuota), uintptr(id), uintptr(data), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// setBound bounds a directory, open for reading, and everything in it. It returns the project that counts it, which stays the directory's; the bound
// ends with unbound. The file system's own record says which projects are taken: those with limits or files.
func setBound(dir *os.File, b Bound) (project uint32, err error) {
	fd := int(dir.Fd())
	state := quotaState{Version: 1}
	if err := quotactl(fd, getQuotaState, 0, unsafe.Pointer(&state)); err != nil || state.Flags&enforced == 0 {
		return 0, errNoQuota
	}
	var x fsXattr
	if err := ioctlXattr(fd, fsIocGetXattr, &x); err != nil {
		return 0, errNoQuota
	}
	if ourProject(x.Projid) && x.Xflags&xflagProjInherit != 0 {
		return x.Projid, limitProject(fd, x.Projid, b)
	}
	if x.Projid != 0 {
		return 0, fmt.Errorf("it counts for project %d, whose quota is not ours to change: %w", x.Projid, unix.EBUSY)
	}
	project, release, err := claimProject(fd)
	if err != nil {
		return 0, err
	}
	defer release()
	if err := limitProject(fd, project, b); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = limitProject(fd, project, Bound{})
		}
	}()
	// What is in it first: a directory that is marked is one that has been done.
	err = Delta{At: dir}.run(&marker{project: project})
	if err == nil {
		err = mark(fd, project, true)
	}
	return project, err
}

// mark makes a file count for a project; a directory has what is made in it count too.
func mark(fd int, project uint32, dir bool) error {
	var x fsXattr
	if err := ioctlXattr(fd, fsIocGetXattr, &x); err != nil {
		return err
	}
	x.Projid = project
	if dir {
		x.Xflags |= xflagProjInherit
	}
	return ioctlXattr(fd, fsIocSetXattr, &x)
}

// unbound takes the bound off a directory that has one of ours, and returns its project; 0 for none.
func unbound(dir *os.File) uint32 {
	var x fsXattr
	fd := int(dir.Fd())
	if ioctlXattr(fd, fsIocGetXattr, &x) != nil || !ourProject(x.Projid) {
		return 0
	}
	_ = limitProject(fd, x.Projid, Bound{})
	return x.Projid
}

// limitProject sets the limits of a project on the file system that fd is on; zero is none.
func limitProject(fd int, project uint32, b Bound) error {
	q := diskQuota{BlockHard: uint64(b.Bytes+1023) / 1024, FileHard: uint64(b.Files), Valid: quotaLimits}
	if err := quotactl(fd, setQuota, project, unsafe.Pointer(&q)); err != nil {
		return fmt.Errorf("set the quota of project %d: %w", project, err)
	}
	return nil
}

// claimProject finds a project that nobody has. Until it has limits the name of an abstract socket keeps it from others in this network namespace; elsewhere
// chance does, of one in a billion.
func claimProject(fd int) (project uint32, release func(), err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, nil, err
	}
	for range 64 {
		id := firstProject + rand.Uint32N(lastProject-firstProject)
		lock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return 0, nil, err
		}
		free := unix.Bind(lock, &unix.SockaddrUnix{Name: fmt.Sprintf("@belljar/project/%d/%d", st.Dev, id)}) == nil
		var q diskQuota
		if free {
			err = quotactl(fd, getQuota, id, unsafe.Pointer(&q))
			free = err == unix.ENOENT || err == nil && q == diskQuota{Valid: q.Valid, BlockTime: q.BlockTime, FileTime: q.FileTime}
		}
		if free {
			return id, func() { _ = unix.Close(lock) }, nil
		}
		_ = unix.Close(lock)
		if err != nil {
			return 0, nil, fmt.Errorf("read the quota of project %d: %w", id, err)
		}
	}
	return 0, nil, errBusyProjects
}

// marker marks what is in a directory already. Links, FIFOs, sockets and devices cannot be marked (Linux before 6.17 has no call for it);
// each is a file of no content.
type marker struct{ project uint32 }

func (m *marker) leave() error                    { return nil }
func (m *marker) gone(string, *unix.Stat_t) error { return nil }
func (m *marker) fault(path string, err error) error {
	return &UpperError{Op: "mark", Path: path, Err: err}
}

func (m *marker) enter(e *upperEntry) (bool, error) {
	fd, err := unix.Openat(e.dir, e.name, dirFlags, 0)
	if err != nil {
		return false, m.fault(e.path, err)
	}
	defer unix.Close(fd)
	if err := mark(fd, m.project, true); err != nil {
		return false, m.fault(e.path, err)
	}
	return true, nil
}

func (m *marker) entry(e *upperEntry) error {
	if e.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	f, err := openRegular(e.dir, e.name)
	if err != nil {
		return m.fault(e.path, err)
	}
	defer f.Close()
	if err := mark(int(f.Fd()), m.project, false); err != nil {
		return m.fault(e.path, err)
	}
	return nil
}

// Bound bounds the layer and its work directory until it is released. The error is [errors.ErrUnsupported] where the file system has no project
// quotas, and EPERM for an ordinary user.
func (h *HeldUpper) Bound(b Bound) error {
	fail := func(err error) error { return &UpperError{Op: "bound", Path: h.Dir, Err: err} }
	project, err := setBound(h.lock, b)
	if err != nil {
		return fail(err)
	}
	h.bound = true
	work, err := unix.Openat(int(h.parent.Fd()), h.Work, dirFlags, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(work)
	// Nothing can be moved between directories of two projects (EXDEV).
	if err := mark(work, project, true); err != nil {
		return fail(err)
	}
	return nil
}

// Unbound ends a bound that a crash has left.
func (h *HeldUpper) Unbound() { unbound(h.lock) }

// markLike makes the work directory count for the project of the layer, whoever gave it one.
func (h *HeldUpper) markLike(work int) error {
	var x fsXattr
	if ioctlXattr(int(h.lock.Fd()), fsIocGetXattr, &x) != nil || x.Projid == 0 {
		return nil
	}
	return mark(work, x.Projid, true)
}
