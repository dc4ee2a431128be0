package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errIrregular is the answer for devices, FIFOs and sockets: reading them could block, or do something.
var errIrregular = errors.New("neither a regular file nor a directory")

// reason strips an error of stage and path, which the caller adds in its own way.
func reason(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func (e *engine) readFile(name string) (fs.File, error) {
	f, err := e.open(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, reason(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return nil, err
	}
	info := fileInfo{name: path.Base(name), st: st}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if !e.noteOpened(int(f.Fd())) {
			_ = f.Close()
			return nil, ErrClosed
		}
		return &regularFile{File: f, info: info}, nil
	case unix.S_IFDIR:
		return &directory{file: f, info: info}, nil
	}
	_ = f.Close()
	return nil, errIrregular
}

func (e *engine) writeFile(name string, data []byte, perm fs.FileMode) error {
	fail := func(err error) error {
		return &Error{Stage: "files", Op: "write", Path: name, Err: reason(err)}
	}
	f, err := e.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, uint32(perm))
	if err != nil {
		return fail(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = f.Close()
		if err == nil {
			err = errIrregular
		}
		return fail(err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// regularFile is an open file. The embedded file gives ReadAt and Seek.
type regularFile struct {
	*os.File
	info fileInfo
}

// Stat is the kernel's answer at the time of opening.
func (f *regularFile) Stat() (fs.FileInfo, error) {
	if err := unix.Fstat(int(f.Fd()), &f.info.st); err != nil {
		return nil, err
	}
	return f.info, nil
}

// directory lists through its descriptor: os.File would look names up on the host.
type directory struct {
	file *os.File
	info fileInfo
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return d.file.Close() }
func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: unix.EISDIR}
}

// ReadDir lists the directory. It follows no link.
func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	for n <= 0 || len(list) < n {
		want := -1
		if n > 0 {
			want = n - len(list)
		}
		got, err := d.file.Readdirnames(want)
		for _, name := range got {
			info := fileInfo{name: name}
			serr := unix.Fstatat(int(d.file.Fd()), name, &info.st, unix.AT_SYMLINK_NOFOLLOW)
			switch serr {
			case nil:
				list = append(list, fs.FileInfoToDirEntry(info))
			case unix.ENOENT: // removed meanwhile
			default:
				return list, &fs.PathError{Op: "stat", Path: path.Join(d.info.name, name), Err: serr}
			}
		}
		if err == io.EOF && n > 0 && len(list) > 0 {
			return list, nil
		}
		if err != nil || n <= 0 {
			return list, err
		}
	}
	return list, nil
}

// fileInfo is the result of stat(2).
type fileInfo struct {
	name string
	st   unix.Stat_t
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.st.Size }
func (i fileInfo) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i fileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i fileInfo) Sys() any           { st := i.st; return &st }

func (i fileInfo) Mode() fs.FileMode {
	m := fs.FileMode(i.st.Mode & 0o777)
	switch i.st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	for bit, mode := range map[uint32]fs.FileMode{syscall.S_ISUID: fs.ModeSetuid, syscall.S_ISGID: fs.ModeSetgid, syscall.S_ISVTX: fs.ModeSticky} {
		if i.st.Mode&bit != 0 {
			m |= mode
		}
	}
	return m
}

// resize sets a terminal's size.
func resize(tty *os.File, w WindowSize) error {
	raw, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	var ierr error
	err = raw.Control(func(fd uintptr) {
		ierr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: w.Rows, Col: w.Cols, Xpixel: w.X, Ypixel: w.Y})
	})
	return errors.Join(err, ierr)
}
