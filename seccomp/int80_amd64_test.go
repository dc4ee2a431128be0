//go:build linux

package seccomp

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	tries["int80"] = func() syscall.Errno {
		pid, e := int80(20)
		if e == 0 && pid != unix.Getpid() {
			return syscall.EINVAL
		}
		return e
	}
	tries["int80-mount"] = int80Errno(21)
	tries["int80-unknown"] = int80Errno(9999)
}

func int80Errno(number uint32) func() syscall.Errno {
	return func() syscall.Errno {
		_, e := int80(number)
		return e
	}
}

// int80 makes a call as i386 code would, without arguments. The instructions stand in a page of their own, since an assembly file would be
// part of the package, not of its test.
func int80(number uint32) (int, syscall.Errno) {
	code := binary.LittleEndian.AppendUint32([]byte{
		0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xf6, 0x31, 0xff, // xor ebx, ecx, edx, esi, edi
		0xb8, // mov eax, number
	}, number)
	code = append(code,
		0xcd, 0x80, // int 0x80
		0xc3, // ret
	)
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return -1, err.(syscall.Errno)
	}
	copy(page, code)
	if err := unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return -1, err.(syscall.Errno)
	}
	// A func value points to a word that holds the code's address; the result is in rax, as in Go's own convention.
	entry := &page[0]
	word := &entry
	result := (*(*func() int)(unsafe.Pointer(&word)))()
	if result < 0 {
		return -1, syscall.Errno(-result)
	}
	return result, 0
}
