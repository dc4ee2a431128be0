package seccomp

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Call is a system call as the kernel tells of it: its number and what the registers held. Arguments that are pointers
// point into the memory of the program, which may change it at any time.
type Call struct {
	Arch   Arch // AMD64 or ARM64; another for calls that came by another entry, such as int 0x80 on amd64
	Number uint32
	Args   [6]uint64
	IP     uint64 // address of the instruction
	// TID is the calling thread, by its ID where the supervisor is, not inside. 0 if it is not known.
	TID int

	pending *pending // the call waits for an answer
}

// Decide tells what the program does with a call, by running it: what the kernel's answer to the call is. It is how a
// supervisor finds out which rule a call ran into, of which the kernel tells nothing.
func (p Program) Decide(c Call) Action {
	action, _ := p.run(c, 64)
	return action
}

// Allows tells whether the program lets a call of its own architecture pass whatever its arguments are and wherever it is made.
func (p Program) Allows(number uint32) bool {
	action, known := p.run(Call{Arch: p.arch, Number: number}, 8)
	return known && action == Allow
}

// run executes the program over a call of which so many bytes of struct seccomp_data are known. It is false if more had to be.
func (p Program) run(c Call, known uint32) (Action, bool) {
	var a uint32
	for pc := 0; pc < p.Len(); pc++ {
		i := p.insn(pc)
		taken := false
		switch i.op {
		case opLoad:
			if i.k >= known {
				return 0, false
			}
			a = c.word(i.k)
			continue
		case opAnd:
			a &= i.k
			continue
		case opJump:
			pc += int(i.k)
			continue
		case opReturn:
			return Action(i.k), true
		case opEqual:
			taken = a == i.k
		case opAbove:
			taken = a > i.k
		case opAtLeast:
			taken = a >= i.k
		case opAnyBit:
			taken = a&i.k != 0
		default:
			return KillProcess, true // no compiler of ours writes it
		}
		if taken {
			pc += int(i.jt)
		} else {
			pc += int(i.jf)
		}
	}
	return KillProcess, true
}

// opAnyBit is JMP|JSET|K, which only libseccomp might write.
const opAnyBit = 0x45

func (p Program) insn(pc int) insn {
	raw := p.code[pc*insnSize:][:insnSize]
	return insn{
		op: uint16(raw[0]) | uint16(raw[1])<<8, jt: raw[2], jf: raw[3],
		k: uint32(raw[4]) | uint32(raw[5])<<8 | uint32(raw[6])<<16 | uint32(raw[7])<<24,
	}
}

// word is 32 bits of struct seccomp_data at an offset.
func (c Call) word(at uint32) uint32 {
	var whole uint64
	switch n := at &^ 7; {
	case n == 0:
		whole = uint64(c.Arch)<<32 | uint64(c.Number)
	case n == 8:
		whole = c.IP
	case n < 64:
		whole = c.Args[(n-16)/8]
	}
	return uint32(whole >> (at & 4 * 8))
}

// Supervised gives the program with every [KillProcess] replaced by [Ask]. Loaded with a listener it asks before it kills,
// so that a [Supervisor] can tell for which call it was, and end more than one process. The kernel tells nobody of that when
// it kills by itself, save the audit log, which is the host's.
func (p Program) Supervised() Program {
	code := decode([]byte(p.code))
	for n, i := range code {
		if i.op == opReturn && Action(i.k)&actionMask == KillProcess {
			code[n].k = uint32(Ask)
		}
	}
	return Program{arch: p.arch, flags: p.flags, code: string(encode(code))}
}

// ErrGone says that a call no longer waits: its thread was killed or took a signal. What was read of its memory may be
// another's.
var ErrGone = errors.New("seccomp: the call no longer waits for an answer")

// pending is what connects a call to the kernel while it waits for an answer.
type pending struct {
	ctx    context.Context
	valid  func() bool
	memory func() (io.ReaderAt, error)
}

// alone is the call without what connects it to the kernel.
func (c Call) alone() Call {
	c.pending = nil
	return c
}

// Context is done when the supervisor ends: the program has ended, is about to be, or its caller gave up. An answer after that
// is not passed on. For a call that does not wait it is never done.
func (c Call) Context() context.Context {
	if c.pending == nil {
		return context.Background()
	}
	return c.pending.ctx
}

// Waiting tells whether the call still waits for an answer. It does not, once its thread has been killed or has taken a
// signal; a thread that has taken a signal makes the call again.
func (c Call) Waiting() bool { return c.pending != nil && c.pending.valid() }

// Read reads memory of the program at an address, such as that of an argument. The error is [ErrGone] if the call no longer
// waits, for then the bytes may be those of another process. What was read may have been changed by the program before Read
// returns: decide by the bytes read, and act on them, never on the pointer again.
func (c Call) Read(p []byte, addr uint64) error {
	if c.pending == nil {
		return ErrGone
	}
	mem, err := c.pending.memory()
	if err == nil && addr > 1<<63-1 {
		err = fmt.Errorf("read memory of thread %d at %#x: %w", c.TID, addr, errBadAddress)
	}
	if err == nil {
		_, err = mem.ReadAt(p, int64(addr))
	}
	if !c.Waiting() {
		return ErrGone
	}
	if err != nil {
		return fmt.Errorf("read memory of thread %d at %#x: %w", c.TID, addr, err)
	}
	return nil
}

var errBadAddress = errors.New("no address of a program")

// maxPath is the kernel's PATH_MAX, the terminating NUL included.
const maxPath = 4096

// Path reads a string that ends with a NUL, such as a path, of at most 4095 bytes.
func (c Call) Path(addr uint64) (string, error) {
	const page = 4096
	var text []byte
	for len(text) < maxPath {
		// Up to the end of a page: the next may not be there.
		chunk := make([]byte, min(page-addr%page, uint64(maxPath-len(text))))
		if err := c.Read(chunk, addr); err != nil {
			return "", err
		}
		for i, b := range chunk {
			if b == 0 {
				return string(append(text, chunk[:i]...)), nil
			}
		}
		text = append(text, chunk...)
		addr += uint64(len(chunk))
	}
	return "", fmt.Errorf("string of thread %d at %#x: longer than %d bytes", c.TID, addr, maxPath-1)
}
