package seccomp

import (
	"fmt"
	"strings"
)

// class is the part of a call's arguments that says what it does, as a condition and in words.
type class struct {
	text string
	args []Arg
}

func (c class) and(text string, args ...Arg) class {
	if c.text != "" && text != "" {
		text = c.text + ", " + text
	} else if text == "" {
		text = c.text
	}
	return class{text, append(c.args[:len(c.args):len(c.args)], args...)}
}

// classify says what a call is, beyond its name. Calls that it has nothing to say of are allowed or not, whatever their arguments.
func classify(name string, c Call) class {
	low := func(i int) uint32 { return uint32(c.Args[i]) }
	number := func(i int, names map[uint32]string) class {
		text, ok := names[low(i)]
		if !ok {
			text = hex(uint64(low(i)))
		}
		return class{text, []Arg{Low32(i, low(i))}}
	}
	switch name {
	case "socket", "socketpair":
		return socketClass(c)
	case "clone", "unshare":
		return bitsClass(c, 0, cloneNamespaces, cloneBits, "no namespaces")
	case "setns":
		return bitsClass(c, 1, 0xffffffff, cloneBits, "any")
	case "mmap", "mprotect", "pkey_mprotect":
		return bitsClass(c, 2, protWrite|protExec, protBits, "neither written nor executed")
	case "open":
		return openClass(c, 1)
	case "openat", "open_by_handle_at":
		return openClass(c, 2)
	case "ioctl":
		return number(1, ioctlNames)
	case "fcntl":
		return number(1, fcntlNames)
	case "prctl":
		return number(0, prctlNames)
	case "arch_prctl", "personality", "keyctl", "bpf", "seccomp":
		return number(0, nil)
	case "ptrace":
		return number(0, nil)
	case "prlimit64":
		if c.Args[2] == 0 {
			return class{"asking", []Arg{{Index: 2, Op: Equal, Value: 0}}}
		}
		return class{"setting", []Arg{{Index: 2, Op: NotEqual, Value: 0}}}
	}
	return class{}
}

const protWrite, protExec = 2, 4 // asm-generic/mman-common.h

func socketClass(c Call) class {
	const netlink, packet, raw = 16, 17, 3
	family, kind := uint32(c.Args[0]), uint32(c.Args[1])&0xf
	of := class{}.and(argText("family", uint64(family)), Low32(0, family))
	of = of.and(argText("socket", uint64(kind)), Arg{Index: 1, Op: MaskedEqual, Value: 0xf, ValueTwo: uint64(kind)})
	if family == netlink || family == packet || kind == raw { // what it reaches is in the protocol
		of = of.and(fmt.Sprintf("protocol %d", int32(c.Args[2])), Low32(2, uint32(c.Args[2])))
	}
	return of
}

func bitsClass(c Call, index int, mask uint64, names []bitName, none string) class {
	v := c.Args[index] & mask
	text := strings.TrimPrefix(bitText(v, names, "|"), "|")
	if text == "" {
		text = none
	}
	return class{text, []Arg{{Index: index, Op: MaskedEqual, Value: mask, ValueTwo: v}}}
}

func openClass(c Call, index int) class {
	if c.Args[index]&openWrites == 0 {
		return class{"to read", []Arg{{Index: index, Op: MaskedEqual, Value: openWrites}}}
	}
	return class{toWrite, nil}
}

// toWrite is the class of opening a file for more than reading.
const toWrite = "to write"

// Names of asm-generic/fcntl.h, asm-generic/ioctls.h and linux/prctl.h that programs use; others are numbers.
var (
	fcntlNames = map[uint32]string{
		0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK", 6: "F_SETLK", 7: "F_SETLKW", 8: "F_SETOWN", 9: "F_GETOWN",
		36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW", 1024: "F_SETLEASE", 1030: "F_DUPFD_CLOEXEC", 1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ",
		1033: "F_ADD_SEALS", 1034: "F_GET_SEALS",
	}
	ioctlNames = map[uint32]string{
		0x5401: "TCGETS", 0x5402: "TCSETS", 0x5403: "TCSETSW", 0x5404: "TCSETSF", 0x540f: "TIOCGPGRP", 0x5410: "TIOCSPGRP", tiocsti: "TIOCSTI", 0x5413: "TIOCGWINSZ",
		0x5414: "TIOCSWINSZ", tioclinux: "TIOCLINUX", 0x541b: "FIONREAD", 0x5421: "FIONBIO", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX", 0x5452: "FIOASYNC",
		0x5429: "TIOCGSID", 0x802c542a: "TCGETS2", 0x40049409: "FICLONE", 0x4020940d: "FICLONERANGE", 0x80045430: "TIOCGPTN",
	}
	prctlNames = map[uint32]string{
		1: "PR_SET_PDEATHSIG", 2: "PR_GET_PDEATHSIG", 3: "PR_GET_DUMPABLE", 4: "PR_SET_DUMPABLE", 7: "PR_GET_KEEPCAPS", 8: "PR_SET_KEEPCAPS", 15: "PR_SET_NAME",
		16: "PR_GET_NAME", 21: "PR_GET_SECCOMP", 22: "PR_SET_SECCOMP", 23: "PR_CAPBSET_READ", 24: "PR_CAPBSET_DROP", 36: "PR_SET_CHILD_SUBREAPER", 38: "PR_SET_NO_NEW_PRIVS",
		39: "PR_GET_NO_NEW_PRIVS", 47: "PR_CAP_AMBIENT", 0x53564d41: "PR_SET_VMA", 0x59616d61: "PR_SET_PTRACER",
	}
)
