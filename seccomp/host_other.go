//go:build !linux

package seccomp

import "syscall"

func kernelVersion() (major, minor uint64) { return 0, 0 }

func errnoByName(string) (syscall.Errno, bool) { return 0, false }
