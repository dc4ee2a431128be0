package seccomp_test

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/belljar-go/belljar/seccomp"
)

func ExampleDefault() {
	program, err := seccomp.Default().Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	// What seccomp(SECCOMP_SET_MODE_FILTER) takes: Len structures sock_filter of 8 bytes.
	fmt.Println(len(program.Bytes()) == 8*program.Len())
	// Output: true
}

func ExamplePolicy() {
	// A filter for number crunching: read, write, memory, and no more.
	policy := seccomp.Policy{
		Default: seccomp.KillProcess,
		Rules: []seccomp.Rule{
			{Names: []string{"read", "write", "brk", "munmap", "exit_group"}, Action: seccomp.Allow},
			// Memory that can be executed is refused: PROT_EXEC is 4.
			{Names: []string{"mmap", "mprotect"}, Action: seccomp.Errno(syscall.EACCES), Args: []seccomp.Arg{
				{Index: 2, Op: seccomp.MaskedEqual, Value: 4, ValueTwo: 4},
			}},
			{Names: []string{"mmap", "mprotect"}, Action: seccomp.Allow},
		},
	}
	fmt.Println(policy.Validate())
	fmt.Print(policy)
	// Output:
	// <nil>
	// default: kill process
	// unknown: errno 38
	// allow read write brk munmap exit_group
	// errno 13 mmap mprotect if arg2 & 0x4 == 0x4
	// allow mmap mprotect
}

func ExamplePolicy_With() {
	// A debugger needs ptrace, and turns the randomising of addresses off.
	policy := seccomp.Default().Allow("ptrace").With(seccomp.Rule{
		Names: []string{"personality"}, Action: seccomp.Allow,
		Args: []seccomp.Arg{seccomp.Low32(0, 0x0040000)}, // ADDR_NO_RANDOMIZE
	})
	fmt.Println(policy.Validate())
	// Output: <nil>
}

func ExamplePolicy_WithDenied() {
	// A judge wants to see the call that was denied: the program dies of it.
	policy := seccomp.Default().WithDenied(seccomp.KillProcess)
	fmt.Println(policy.Default, "/", policy.Unknown)
	// Output: kill process / errno 38
}

func ExamplePolicy_Validate() {
	policy := seccomp.Default().Allow("opne")
	err := policy.Validate()
	fmt.Println(errors.Is(err, seccomp.ErrUnknownCall))
	var e *seccomp.PolicyError
	if errors.As(err, &e) {
		fmt.Printf("%q\n", e.Call)
	}
	// Output:
	// true
	// "opne"
}
