package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What stays to be done of a command and of a sandbox when all that can be is done ahead of time, by processes that do nothing else: the kernel's share of warm and of fresh. The process
// that stands ready is a shell's, which waits for a line and becomes the program; the shell that has started it, as somebody has to whom its end is told, says so.

// prepared measures from the line that has the process become the program to when its end is known, and with groups its accounts; with namespaces to when they and the groups are gone.
func (l *lab) prepared(name string, namespaces uintptr, trees []tree, rest time.Duration) *subject {
	return &subject{name: name, remote: func() (took time.Duration, err error) {
		if err := grow(trees); err != nil {
			return 0, err
		}
		standing := trees
		defer func() { err = errors.Join(err, fell(standing)) }()
		s, err := l.ready(namespaces, trees)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, s.end()) }()
		time.Sleep(rest)
		begin := time.Now()
		if _, err := syscall.Write(s.line, []byte{'\n'}); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.hear("over"); err != nil {
			return 0, err
		}
		for _, f := range s.accounts {
			if _, err := os.ReadFile(f); err != nil {
				return 0, err
			}
		}
		if namespaces != 0 {
			standing = nil
			if err := errors.Join(s.end(), fell(trees)); err != nil {
				return 0, err
			}
		}
		return time.Since(begin), nil
	}}
}

// shell is one whose child is about to become the program.
type shell struct {
	pid, line int
	accounts  []string
}

// ready starts one; it ends when its line does.
func (l *lab) ready(namespaces uintptr, trees []tree) (_ *shell, err error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(ends[1])
	s := &shell{line: ends[0]}
	enter := ""
	for _, t := range trees {
		if t.leaf == "" {
			continue
		}
		enter += fmt.Sprintf("echo 0 >'%s/cgroup.procs' && ", t.leaf)
		for _, f := range []string{"memory.max_usage_in_bytes", "memory.peak", "cpuacct.usage", "cpu.stat"} {
			if f = filepath.Join(t.leaf, f); exists(f) {
				s.accounts = append(s.accounts, f)
			}
		}
	}
	script := "(" + enter + "echo ready && read x && exec '" + l.root.path("true") + "') && echo over"
	s.pid, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Sys:   &syscall.SysProcAttr{Cloneflags: namespaces},
		Files: []uintptr{uintptr(ends[1]), uintptr(ends[1]), os.Stderr.Fd()},
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
	})
	if err != nil {
		return nil, errors.Join(err, syscall.Close(s.line))
	}
	if err := s.hear("ready"); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hear waits for a word of the shell's.
func (s *shell) hear(word string) error {
	var heard []byte
	for !bytes.HasSuffix(heard, []byte{'\n'}) {
		var b [16]byte
		n, err := syscall.Read(s.line, b[:])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("a shell that stands ready has ended: %w", errors.Join(err, syscall.ECHILD))
		}
		heard = append(heard, b[:n]...)
	}
	if got := strings.TrimSpace(string(heard)); got != word {
		return fmt.Errorf("a shell said %q for %q", got, word)
	}
	return nil
}

// end ends the shell, and with a namespace of processes all that is in it.
func (s *shell) end() error {
	if s.pid == 0 {
		return nil
	}
	err := errors.Join(syscall.Kill(s.pid, syscall.SIGKILL), syscall.Close(s.line))
	_, werr := reap(s.pid)
	s.pid = 0
	return errors.Join(err, werr)
}
