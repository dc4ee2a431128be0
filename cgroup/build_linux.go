package cgroup

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// builder carries out a plan and can take it back.
type builder struct {
	dirs  []Dir
	fds   []int // of dirs; nil: go by path
	trace func(Op) error
	made  []step // directories, for the undo
	group []int  // per directory: the new group's descriptor or -1
	tasks []int  // per directory: its tasks file or -1
	notes []string
}

func newBuilder(dirs []Dir, fds []int, trace func(Op) error) *builder {
	both := make([]int, 2*len(dirs))
	for i := range both {
		both[i] = -1
	}
	return &builder{dirs: dirs, fds: fds, trace: trace, group: both[:len(dirs):len(dirs)], tasks: both[len(dirs):]}
}

// run does all steps or none.
func (b *builder) run(steps []step) error {
	for i := range steps {
		if err := b.step(&steps[i]); err != nil {
			b.undo()
			return err
		}
	}
	return nil
}

func (b *builder) step(s *step) error {
	if b.trace != nil {
		op := s.op(b.dirs)
		if err := b.trace(op); err != nil {
			var whole *Error
			if errors.As(err, &whole) {
				return err
			}
			return &Error{op.Call, op.Path, op.Data, err}
		}
	}
	err := b.do(s)
	switch {
	case err == nil, err == unix.ENOENT && s.optional:
		return nil
	case err == unix.ENOENT && s.orElse != nil:
		if s.orElse.rel == "" {
			return b.without(s)
		}
		b.note(s)
		return b.step(s.orElse)
	case err == unix.EOPNOTSUPP && s.elsewhere:
		if other := b.step(s.orElse); !errors.Is(other, unix.ENOENT) {
			return other
		}
	}
	op := s.op(b.dirs)
	return &Error{op.Call, op.Path, op.Data, err}
}

func (b *builder) note(s *step) {
	if s.note != "" {
		b.notes = append(b.notes, s.note)
	}
}

// without goes on without swap accounting, which is sound only where there is
// no swap.
func (b *builder) without(s *step) error {
	if s.data != "max" && s.data != "-1" && swapInUse() {
		op := s.op(b.dirs)
		return &UnsupportedError{
			Feature: "swap limit", Reason: op.Path + " does not exist, and this machine swaps",
			Remedy: "boot without swapaccount=0, or turn swap off", Err: unix.ENOENT,
		}
	}
	b.note(s)
	return nil
}

// swapInUse reports whether /proc/swaps has more than its heading. Unknown
// counts as yes.
func swapInUse() bool {
	s, err := readString(unix.AT_FDCWD, "/proc/swaps")
	return err != nil && err != unix.ENOENT || strings.Count(s, "\n") > 1
}

// at is where a step works: a descriptor and a path relative to it.
func (b *builder) at(s *step) (int, string) {
	if b.fds != nil {
		return b.fds[s.at], s.rel
	}
	return unix.AT_FDCWD, b.dirs[s.at].Path + "/" + s.rel
}

// source is what a copy reads, relative to the same descriptor as at.
func (b *builder) source(s *step) string {
	if b.fds != nil {
		return s.data
	}
	return b.dirs[s.at].Path + "/" + s.data
}

func (b *builder) do(s *step) (err error) {
	fd, name := b.at(s)
	switch s.do {
	case opMkdir:
		if err = retry(func() error { return unix.Mkdirat(fd, name, 0o755) }); err == nil {
			b.made = append(b.made, *s)
		}
	case opWrite:
		err = writeAt(fd, name, s.data)
	case opCopy:
		var data string
		if data, err = readString(fd, b.source(s)); err == nil {
			err = writeAt(fd, name, data)
		}
	case opOpenDir:
		b.group[s.at], err = openDirAt(fd, name)
	case opOpenTasks:
		b.tasks[s.at], err = openAt(fd, name, unix.O_WRONLY)
	}
	return err
}

// undo removes in reverse order what was made. Controllers which were enabled
// in a group above stay enabled: a neighbour may rely on them by now.
func (b *builder) undo() {
	closeAll(b.group)
	closeAll(b.tasks)
	for i := len(b.made) - 1; i >= 0; i-- {
		fd, name := b.at(&b.made[i])
		_ = removeTree(fd, name, newBackoff(soon()))
	}
	b.made = nil
}

func closeAll(fds []int) {
	for i, fd := range fds {
		if fd >= 0 {
			unix.Close(fd)
			fds[i] = -1
		}
	}
}
