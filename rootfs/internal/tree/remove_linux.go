package tree

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Remove removes what parent has under a name, with all that is in it. It follows no link, needs two
// descriptors however deep the tree is, and gives the owner access where folders deny it. It is
// no error if there is nothing. If somebody moves folders of the tree meanwhile, it ends with ESTALE: it goes up
// only to where it came from, so it cannot be led out.
func Remove(parent int, name string) error {
	err := unlink(parent, name)
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	dir, err := enter(parent, name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	var path []place // from the tree's top to dir
	for {
		deeper, err := clear(dir)
		if err != nil {
			return err
		}
		var next *os.File
		switch {
		case deeper != "":
			at, serr := placeOf(dir, deeper)
			if serr != nil {
				return serr
			}
			path = append(path, at)
			next, err = enter(int(dir.Fd()), deeper)
		case len(path) == 0:
			return unlink(parent, name)
		default:
			at := path[len(path)-1]
			if next, err = at.back(dir); err == nil {
				err = unlink(int(next.Fd()), at.name)
				path = path[:len(path)-1]
			}
		}
		if next != nil {
			_ = dir.Close()
			dir = next
		}
		if err != nil {
			return err
		}
	}
}

// place is a folder that was left for one in it of that name.
type place struct {
	name     string
	dev, ino uint64
}

func placeOf(dir *os.File, name string) (place, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return place{}, &os.PathError{Op: "fstat", Path: name, Err: err}
	}
	return place{name, st.Dev, st.Ino}, nil
}

// back opens the folder again, from the one in it.
func (p place) back(dir *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: p.name + "/..", Err: err}
	}
	up := os.NewFile(uintptr(fd), "..")
	if is, err := placeOf(up, p.name); err != nil || is != p {
		_ = up.Close()
		return nil, &os.PathError{Op: "openat", Path: p.name + "/..", Err: unix.ESTALE}
	}
	return up, nil
}

// unlink removes a file or an empty directory.
func unlink(parent int, name string) error {
	err := unix.Unlinkat(parent, name, 0)
	if err == unix.EISDIR {
		err = unix.Unlinkat(parent, name, unix.AT_REMOVEDIR)
	}
	if err == unix.ENOENT {
		return nil
	}
	if err == unix.EEXIST { // what some file systems say instead
		err = unix.ENOTEMPTY
	}
	if err != nil {
		return &os.PathError{Op: "unlinkat", Path: name, Err: err}
	}
	return nil
}

// clear removes what is in a directory, up to the first directory that is not empty, and returns its name.
func clear(dir *os.File) (string, error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	for {
		names, err := dir.Readdirnames(256)
		for _, n := range names {
			if err := unlink(int(dir.Fd()), n); errors.Is(err, unix.ENOTEMPTY) {
				return n, nil
			} else if err != nil {
				return "", err
			}
		}
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
	}
}

// enter opens a directory to remove what is in it.
func enter(parent int, name string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, name, flags, 0)
	if err == unix.EACCES {
		if err = unix.Fchmodat(parent, name, 0o700, 0); err == nil {
			fd, err = unix.Openat(parent, name, flags, 0)
		}
	}
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: name, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Mode&0o700 != 0o700 {
		_ = unix.Fchmod(fd, st.Mode&0o7777|0o700) // unlinkat tells if that did not help
	}
	return os.NewFile(uintptr(fd), name), nil
}
