package cgroup

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// removeWait bounds how long a removal retries. A process which has been
// waited for can still count as a member for a moment while the kernel takes
// its task apart.
const removeWait = time.Second

// removeMore is how much longer a removal may take as long as it gets on, which
// somebody who goes on making groups could otherwise draw out for ever.
const removeMore = 20 * time.Second

func soon() time.Time { return time.Now().Add(removeWait) }

// removeTree removes a group and every group below it, whoever made them. It
// answers EBUSY if there are processes inside until the end of the wait. A
// group which is gone already is removed.
func removeTree(dirfd int, name string, wait *backoff) error {
	for {
		err := retry(func() error { return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR) })
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EBUSY, unix.ENOTEMPTY:
		default:
			return err
		}
		some, failed := removeBelow(dirfd, name, wait)
		if failed != nil {
			return failed
		}
		if some && time.Now().Before(wait.deadline.Add(removeMore)) {
			continue // a deep or wide tree takes its time, without waiting for anybody
		}
		if !wait.wait() {
			return err
		}
	}
}

// removeBelow reports whether there was anything to remove.
func removeBelow(dirfd int, name string, wait *backoff) (bool, error) {
	fd, subs, err := openSubdirs(dirfd, name)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	for _, s := range subs {
		if err := removeTree(fd, s, wait); err != nil {
			return true, err
		}
	}
	return len(subs) > 0, nil
}

// openSubdirs opens a group and lists the groups directly below it. The link
// count of a cgroupfs directory is 2 plus their number, which saves reading
// the directory in most cases.
func openSubdirs(dirfd int, name string) (int, []string, error) {
	fd, err := openDirAt(dirfd, name)
	if err != nil {
		return -1, nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Nlink <= 2 {
		return fd, nil, nil
	}
	subs, err := subdirs(fd)
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, subs, nil
}

func subdirs(fd int) ([]string, error) {
	again, err := openDirAt(fd, ".") // a read position of its own
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), "cgroup")
	defer f.Close()
	entries, err := f.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if len(names) > 0 {
		err = nil
	}
	if pe, ok := err.(*os.PathError); ok {
		err = pe.Err
	}
	return names, err
}
