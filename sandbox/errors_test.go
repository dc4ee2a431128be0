package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  Error
		want string
	}{
		{Error{"root", "mount", "/proc", fs.ErrPermission}, "root: mount /proc: permission denied"},
		{Error{"root", "mount", "/a b", fs.ErrPermission}, `root: mount "/a b": permission denied`},
		{Error{"root", "mount", "/a\nroot: all is well\x1b[2J", fs.ErrPermission}, `root: mount "/a\nroot: all is well\x1b[2J": permission denied`},
		{Error{"root", "mount", "/\xff", fs.ErrPermission}, `root: mount "/\xff": permission denied`},
		{Error{"root", "mount", "/héllo", fs.ErrPermission}, "root: mount /héllo: permission denied"},
		{Error{"root", "mount", "/\u202efdp.exe", fs.ErrPermission}, `root: mount "/\u202efdp.exe": permission denied`},
		{Error{"cgroup", "", "", errors.New("x\x00\ty \"z\"")}, `cgroup: x\x00\ty "z"`},
		{Error{"", "write", "/f", nil}, "write /f"},
		{Error{"options", "WithMemory", "50q", errors.New("is no size")}, `options: WithMemory "50q": is no size`},
		{Error{"options", "WithMemory", "", errors.New("is empty")}, "options: WithMemory: is empty"},
	} {
		assert.Equal(t, c.want, c.err.Error())
	}
}

func TestErrorIs(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   []error
		isnt []error
	}{
		{syscall.EPERM, []error{ErrPermission, syscall.EPERM}, []error{ErrUnsupported, ErrInvalid, syscall.EACCES}},
		{syscall.EACCES, []error{ErrPermission}, []error{ErrUnsupported}},
		{syscall.ENOSYS, []error{ErrUnsupported, syscall.ENOSYS}, []error{ErrPermission}},
		{syscall.EOPNOTSUPP, []error{ErrUnsupported}, nil},
		{syscall.EINVAL, nil, []error{ErrInvalid, ErrUnsupported}},
		{syscall.ENOENT, []error{fs.ErrNotExist}, []error{ErrInvalid}},
	} {
		err := fmt.Errorf("new: %w", &Error{"stage", "call", "/x", c.err})
		for _, is := range c.is {
			assert.ErrorIs(t, err, is)
		}
		for _, isnt := range c.isnt {
			assert.NotErrorIs(t, err, isnt)
		}
		var e *Error
		assert.ErrorAs(t, err, &e)
		assert.Equal(t, "/x", e.Path)
	}
	err := mistaken("WithBind", "x", syscall.ENOENT)
	assert.ErrorIs(t, err, ErrInvalid)
	assert.ErrorIs(t, err, syscall.ENOENT)
}

func FuzzErrorText(f *testing.F) {
	f.Add("root", "mount", "/\x1b[2J", "a\nb")
	f.Add("options", "", "\xff\u2028", "\u0085")
	f.Fuzz(func(t *testing.T, stage, op, path, why string) {
		s := (&Error{stage, op, path, errors.New(why)}).Error()
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
			t.Fatalf("control bytes in %q", s)
		}
		if strings.ToValidUTF8(s, "") != s {
			t.Fatalf("%q is no UTF-8", s)
		}
	})
}
