package image

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// User resolves what [Config] has as User in the image's own /etc/passwd and /etc/group: files of the topmost layers that have them, found
// without leaving the image whatever links lead there. An image without these files knows numbers alone. "" is the zero User.
func (u *Unpacked) User(text string) (User, error) {
	if text == "" {
		return User{}, nil
	}
	var stack tree.Stack
	defer func() {
		for _, fd := range stack {
			_ = unix.Close(fd)
		}
	}()
	for _, dir := range u.Dirs {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return User{}, &Error{Op: "open", Name: dir, Err: err}
		}
		stack = append(stack, fd)
	}
	users, err := accounts(stack, "etc/passwd", true)
	if err != nil {
		return User{}, err
	}
	groups, err := accounts(stack, "etc/group", false)
	if err != nil {
		return User{}, err
	}
	found, err := findUser(text, users, groups)
	if err != nil {
		return User{}, &Error{Op: "resolve", Name: text, Err: err}
	}
	return found, nil
}

func accounts(s tree.Stack, name string, users bool) ([]account, error) {
	f, err := s.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Op: "open", Name: name, Err: malformed("%v", bare(err))}
	}
	defer f.Close()
	return readAccounts(f, users), nil
}
