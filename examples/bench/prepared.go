package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// What stays to be done of a command and of a sandbox when all that can be is done ahead of time, by processes that do nothing else: the kernel's share of warm and of fresh. The process
// that stands ready is a few instructions which wait for a byte and become the program. It is either this program's child, or a shell's, which says so when it has ended, as somebody has to
// whom an end is told that is not his own child's.

// prepared measures from the byte that has the process become the program to when its end is known, and in groups to when its accounts are; with namespaces to when they and the groups are gone.
func (l *lab) prepared(name string, own bool, namespaces uintptr, trees []tree, rest time.Duration) *subject {
	return &subject{name: name, remote: func() (took time.Duration, err error) {
		if err := grow(trees); err != nil {
			return 0, err
		}
		standing := trees
		defer func() { err = errors.Join(err, fell(standing)) }()
		s, err := l.ready(own, namespaces, trees)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, s.end()); s.closeFiles() }()
		time.Sleep(max(rest, readyTime))
		begin := time.Now()
		if _, err := syscall.Write(s.line, []byte{'\n'}); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		if err := s.over(); err != nil {
			return 0, err
		}
		for _, f := range s.accounts {
			var text [512]byte
			if _, err := f.ReadAt(text[:], 0); err != nil && err != io.EOF {
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

// readyTime is more than it takes from when a shell says so until the process waits.
const readyTime = 2 * time.Millisecond

// readyProgram is what it executes until it is ready; makeReady makes that.
func (l *lab) readyProgram() string { return filepath.Join(l.dir, "ready") }

func (l *lab) makeReady() error {
	elf, err := readyCode.elf()
	if err != nil {
		return err
	}
	return os.WriteFile(l.readyProgram(), elf, 0o755)
}

// stand is a process that is about to become the program, or the shell whose child it is.
type stand struct {
	pid, line int
	own       bool
	accounts  []*os.File // of the groups, open since before
}

// ready starts one; it ends when its line does.
func (l *lab) ready(own bool, namespaces uintptr, trees []tree) (_ *stand, err error) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(ends[1])
	s := &stand{line: ends[0], own: own}
	script := ""
	for _, t := range trees {
		if t.leaf == "" {
			continue
		}
		script += fmt.Sprintf("echo 0 >'%s/cgroup.procs' && ", t.leaf)
		for _, f := range []string{"memory.max_usage_in_bytes", "memory.peak", "cpuacct.usage", "cpu.stat"} {
			if f, err := os.Open(filepath.Join(t.leaf, f)); err == nil {
				s.accounts = append(s.accounts, f)
			}
		}
	}
	script += fmt.Sprintf("echo ready && exec '%s' '%s'", l.readyProgram(), l.root.path("true"))
	if !own {
		script = "(" + script + ") && echo over"
	}
	s.pid, err = syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{
		Sys:   &syscall.SysProcAttr{Cloneflags: namespaces},
		Files: []uintptr{uintptr(ends[1]), uintptr(ends[1]), os.Stderr.Fd()},
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
	})
	if err != nil {
		s.closeFiles()
		return nil, errors.Join(err, syscall.Close(s.line))
	}
	if err := s.hear("ready"); err != nil {
		s.closeFiles()
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *stand) closeFiles() {
	for _, f := range s.accounts {
		_ = f.Close()
	}
}

// over waits for the end of the program, which is one with success.
func (s *stand) over() error {
	if !s.own {
		return s.hear("over")
	}
	ws, err := reap(s.pid)
	if err == nil && ws != 0 {
		err = fmt.Errorf("a process that stood ready: wait status %#x", int(ws))
	}
	s.pid = 0
	return errors.Join(err, syscall.Close(s.line))
}

// hear waits for a word of the shell's.
func (s *stand) hear(word string) error {
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

// end ends the process, and with a namespace of processes all that is in it.
func (s *stand) end() error {
	if s.pid == 0 {
		return nil
	}
	err := errors.Join(syscall.Kill(s.pid, syscall.SIGKILL), syscall.Close(s.line))
	_, werr := reap(s.pid)
	s.pid = 0
	return errors.Join(err, werr)
}
