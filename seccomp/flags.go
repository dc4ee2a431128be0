package seccomp

import "strings"

// Flags ask the kernel for more than the program when a filter is loaded. The values are those of linux/seccomp.h,
// SECCOMP_FILTER_FLAG_*; the one that makes a listener is for whoever loads the filter and no part of a policy.
type Flags uint32

const (
	// FlagTSync gives the filter to all threads of the process that loads it.
	FlagTSync Flags = 1 << 0
	// FlagLog has every action but Allow written to the audit log, where the administrator lets that be (Linux 4.14).
	FlagLog Flags = 1 << 1
	// FlagSpecAllow leaves the mitigation of Speculative Store Bypass off, which kernels before 5.16 put on for every
	// program with a filter: quicker, and a side channel (Linux 4.17).
	FlagSpecAllow Flags = 1 << 2
	// FlagWaitKillableRecv has a program that waits for a supervisor's answer woken by nothing but a deadly signal (Linux
	// 5.19). It needs [Ask].
	FlagWaitKillableRecv Flags = 1 << 5
)

// flagNames are the flags as profiles write them, without SECCOMP_FILTER_FLAG_.
var flagNames = []flagName{
	{FlagTSync, "TSYNC"},
	{FlagLog, "LOG"},
	{FlagSpecAllow, "SPEC_ALLOW"},
	{FlagWaitKillableRecv, "WAIT_KILLABLE_RECV"},
}

type flagName struct {
	flag Flags
	name string
}

const flagPrefix = "SECCOMP_FILTER_FLAG_"

// String lists the flags by the kernel's names: "TSYNC LOG".
func (f Flags) String() string {
	var words []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			words = append(words, n.name)
			f &^= n.flag
		}
	}
	if f != 0 {
		words = append(words, hex(uint64(f)))
	}
	return strings.Join(words, " ")
}

// check gives the reason flags make no sense in a policy, or "".
func (f Flags) check(p Policy) string {
	known := Flags(0)
	for _, n := range flagNames {
		known |= n.flag
	}
	switch {
	case f&^known != 0:
		return "unknown flags " + hex(uint64(f&^known))
	case f&FlagWaitKillableRecv != 0 && !p.takes(Ask):
		return "flag WAIT_KILLABLE_RECV without the action notify"
	}
	return ""
}
