package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addresses for raw system calls of the test binary's parts, where the objects outlive the call.

func ptr(words []uint64) uintptr { return uintptr(unsafe.Pointer(&words[0])) }

func bytePtr(b *byte) uintptr { return uintptr(unsafe.Pointer(b)) }

func ptrOf(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

func progPtr(p *unix.SockFprog) uintptr { return uintptr(unsafe.Pointer(p)) }
