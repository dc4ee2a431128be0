package seccomp_test

import (
	"errors"
	"fmt"
	"strings"
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

func ExamplePolicy_Merge() {
	// A debugger's policy beside one's own: what either lets through passes.
	debugger := seccomp.Policy{Default: seccomp.KillProcess, Rules: []seccomp.Rule{
		{Names: []string{"ptrace", "process_vm_readv"}, Action: seccomp.Allow},
	}}
	own := seccomp.Policy{Default: seccomp.Errno(syscall.EPERM), Rules: []seccomp.Rule{
		{Names: []string{"read", "write"}, Action: seccomp.Allow},
	}}
	fmt.Print(own.Merge(debugger))
	// Output:
	// default: errno 1
	// unknown: errno 38
	// allow read write ptrace process_vm_readv
}

func ExamplePolicy_Restrict() {
	// A job may ask for a policy of its own, and gets no more than the house allows.
	house := seccomp.Policy{Default: seccomp.Errno(syscall.EPERM), Rules: []seccomp.Rule{
		{Names: []string{"read", "write"}, Action: seccomp.Allow},
		{Names: []string{"socket"}, Action: seccomp.Allow, Args: []seccomp.Arg{seccomp.Low32(0, syscall.AF_UNIX)}},
	}}
	asked := seccomp.Policy{Default: seccomp.Allow, Unknown: seccomp.Allow, Rules: []seccomp.Rule{
		{Names: []string{"write"}, Action: seccomp.Log},
	}}
	fmt.Print(house.Restrict(asked))
	// Output:
	// default: errno 1
	// unknown: errno 38
	// allow read
	// log write
	// allow socket if arg0 & 0xffffffff == 0x1
}

func ExampleParseFor() {
	// A profile in Docker's form, for a program that will have a capability.
	profile := strings.NewReader(`{
		"defaultAction": "SCMP_ACT_ERRNO",
		"syscalls": [
			{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
			{"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
			{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}}
		]
	}`)
	policy, err := seccomp.ParseFor(profile, seccomp.Target{Capabilities: []string{"CAP_SYS_CHROOT"}, Kernel: "4.4"})
	fmt.Print(err, "\n", policy)
	// Output:
	// <nil>
	// default: errno 1
	// unknown: errno 38
	// allow read write
	// allow chroot
}

func ExampleParse_mistake() {
	_, err := seccomp.Parse(strings.NewReader(`{
  "defaultAction": "SCMP_ACT_ERRNO",
  "syscalls": [
    {"names": ["read", "opne"], "action": "SCMP_ACT_ALLOW"}
  ]
}`))
	fmt.Println(err)
	var place *seccomp.ParseError
	fmt.Println(errors.As(err, &place), place.Line, place.Column, place.Path)
	// Output:
	// line 4, column 24: syscalls[0].names[1]: seccomp: rule 0, "opne": unknown system call
	// true 4 24 syscalls[0].names[1]
}

func ExamplePolicy_Marshal() {
	policy := seccomp.Policy{Default: seccomp.Errno(syscall.EPERM), Rules: []seccomp.Rule{
		{Names: []string{"read"}, Action: seccomp.Allow},
	}}
	text, err := policy.Marshal()
	fmt.Print(string(text), err, "\n", policy.Portable())
	// Output:
	// {
	// 	"defaultAction": "SCMP_ACT_ERRNO",
	// 	"defaultErrnoRet": 1,
	// 	"syscalls": [
	// 		{
	// 			"names": [
	// 				"read"
	// 			],
	// 			"action": "SCMP_ACT_ALLOW"
	// 		}
	// 	]
	// }
	// <nil>
	// <nil>
}

func ExamplePreset() {
	policy, err := seccomp.Preset("strict-v2") // what it does never changes
	fmt.Println(len(policy.Rules) > 0, err)
	// Output: true <nil>
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
