//go:build ignore

// Keeps a message for a later run in a keyring of the kernel, which belongs to the user and not to the process.
package main

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

func main() {
	number := uintptr(248) // add_key
	if runtime.GOARCH == "arm64" {
		number = 217
	}
	kind, name, text := append([]byte("user"), 0), append([]byte("judge"), 0), []byte("message")
	const userKeyring = ^uintptr(3) // KEY_SPEC_USER_KEYRING, -4
	_, _, errno := syscall.Syscall6(number, uintptr(unsafe.Pointer(&kind[0])), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), userKeyring, 0)
	if errno == 0 {
		fmt.Println("DONE add_key")
	}
}
