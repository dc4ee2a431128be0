// Package pause makes the program that is PID 1 of a sandbox.
//
// Like the pause container of Kubernetes it does two jobs: it holds the namespaces and it reaps. The second needs no
// code, because it is started with SIGCHLD ignored and the kernel then reaps its children (sigaction(2), SA_NOCLDWAIT). It blocks reading the
// lifeline on descriptor 0; at end of file it exits, and the kernel kills everything in its PID namespace
// (pid_namespaces(7)). It makes itself non-dumpable first, so that a job with the same uid can open none of /proc/1/{exe,mem,environ,fd}
// (CVE-2016-9962).
//
// The image is a static ELF file of one page, put together here from the instructions listed in code_*.go, so there is
// no binary to review but this source.
package pause

import "encoding/binary"

const (
	loadAddress = 0x400000
	headerSize  = 64
	segmentSize = 56
	pageSize    = 0x1000
)

// Image returns the program as an ELF file for the architecture this was built for; nil where there is none.
func Image() []byte { return image(machine, code) }

// ELF returns the instructions given as a program; nil where Image is nil.
func ELF(code []byte) []byte { return image(machine, code) }

func image(machine uint16, code []byte) []byte {
	if len(code) == 0 {
		return nil
	}
	le := binary.LittleEndian
	size := uint64(headerSize + 2*segmentSize + len(code))
	b := make([]byte, 0, size)

	b = append(b, 0x7f, 'E', 'L', 'F', 2 /* 64-bit */, 1 /* little endian */, 1 /* version */, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, loadAddress+headerSize+2*segmentSize) // entry
	b = le.AppendUint64(b, headerSize)                           // program headers
	b = le.AppendUint64(b, 0)                                    // no sections
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{headerSize, segmentSize, 2, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}

	b = segment(b, 1 /* PT_LOAD */, 5 /* R+X */, loadAddress, size, 16*pageSize)
	b = segment(b, 0x6474e551 /* PT_GNU_STACK */, 6 /* R+W */, 0, 0, 16)
	return append(b, code...)
}

func segment(b []byte, kind, flags uint32, addr, size, alignment uint64) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, kind)
	b = le.AppendUint32(b, flags)
	for _, v := range []uint64{0, addr, addr, size, size, alignment} {
		b = le.AppendUint64(b, v)
	}
	return b
}
