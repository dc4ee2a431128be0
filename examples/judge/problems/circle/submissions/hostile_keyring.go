//go:build ignore

// Asks for the kernel's keyrings. Those of a user outlive his processes, and so would carry a message from run to run.
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
	const processKeyring = ^uintptr(1) // KEY_SPEC_PROCESS_KEYRING, -2
	_, _, errno := syscall.Syscall6(number, uintptr(unsafe.Pointer(&kind[0])), uintptr(unsafe.Pointer(&name[0])),
		uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), processKeyring, 0)
	if errno == 0 {
		fmt.Println("DONE add_key")
	}
}
