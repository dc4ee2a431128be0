//go:build linux

package zygote

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfInsn is an instruction (struct bpf_insn).
type bpfInsn struct {
	code uint8
	regs uint8 // the destination, and the source in the upper half
	off  int16
	imm  int32
}

// markProgram is what the kernel runs for a socket. r1 is the context that the helper wants; the answer 1 lets the call go on.
//
//	u64 cookie = bpf_get_netns_cookie(ctx);
//	u64 *mark = bpf_map_lookup_elem(table, &cookie);
//	if (mark)
//		*mark = 1;
//	return 1;
func markProgram(table int) []bpfInsn {
	const (
		call    = 0x85
		move    = 0xbf
		moveImm = 0xb7
		addImm  = 0x07
		store   = 0x7b // *(u64 *)(dst + off) = src
		set     = 0x7a // *(u64 *)(dst + off) = imm
		wideImm = 0x18 // two instructions long
		jumpEq  = 0x15
		exit    = 0x95
		r10     = 10 // the frame

		mapFD  = unix.BPF_PSEUDO_MAP_FD << 4
		lookup = 1 // bpf_map_lookup_elem
	)
	return []bpfInsn{
		{code: call, imm: bpfGetNetnsCookie},
		{code: store, regs: r10, off: -8},
		{code: wideImm, regs: 1 | mapFD, imm: int32(table)},
		{},
		{code: move, regs: 2 | r10<<4},
		{code: addImm, regs: 2, imm: -8},
		{code: call, imm: lookup},
		{code: jumpEq, off: 1},
		{code: set, imm: 1},
		{code: moveImm, imm: 1},
		{code: exit},
	}
}

// bpf is bpf(2). attr points to a part of union bpf_attr, which ends there; what it points to in turn are pointers, of which the garbage collector knows.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return -1, os.NewSyscallError("bpf", errno)
	}
	return int(r), nil
}

// bpfCreateTable makes a table of 64-bit marks by 64-bit cookies. Descriptors of bpf(2) are close-on-exec.
func bpfCreateTable(room uint32) (int, error) {
	attr := struct{ kind, key, value, most, flags uint32 }{unix.BPF_MAP_TYPE_HASH, 8, 8, room, unix.BPF_F_NO_PREALLOC}
	return bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

func bpfLoad(kind, at uint32, insns []bpfInsn) (int, error) {
	license := []byte("Apache-2.0\x00") // it calls nothing that is for the GPL alone
	attr := struct {
		kind, count           uint32
		insns, license        unsafe.Pointer
		logLevel, logSize     uint32
		log                   unsafe.Pointer
		version, flags        uint32
		name                  [unix.BPF_OBJ_NAME_LEN]byte
		ifindex, expectedKind uint32
	}{kind: kind, count: uint32(len(insns)), insns: unsafe.Pointer(&insns[0]), license: unsafe.Pointer(&license[0]), expectedKind: at}
	copy(attr.name[:], "belljar_net")
	return bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// bpfLink attaches a program to a group, beside whatever else is attached there, for as long as the descriptor is open.
func bpfLink(prog, group int, at uint32) (int, error) {
	attr := struct{ prog, target, kind, flags uint32 }{uint32(prog), uint32(group), at, 0}
	return bpf(unix.BPF_LINK_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// bpfElem names an element of a table.
type bpfElem struct {
	table, _   uint32
	key, value unsafe.Pointer
	flags      uint64
}

func bpfPut(table int, key uint64) error {
	var mark uint64
	attr := bpfElem{table: uint32(table), key: unsafe.Pointer(&key), value: unsafe.Pointer(&mark), flags: unix.BPF_NOEXIST}
	_, err := bpf(unix.BPF_MAP_UPDATE_ELEM, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

func bpfGet(table int, key uint64) (mark uint64, err error) {
	attr := bpfElem{table: uint32(table), key: unsafe.Pointer(&key), value: unsafe.Pointer(&mark)}
	_, err = bpf(unix.BPF_MAP_LOOKUP_ELEM, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return mark, err
}

func bpfDelete(table int, key uint64) error {
	attr := bpfElem{table: uint32(table), key: unsafe.Pointer(&key)}
	_, err := bpf(unix.BPF_MAP_DELETE_ELEM, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}
