package seccomp

import (
	"fmt"
	"maps"
	"slices"
)

// maxInsns is the kernel's bound on a filter (linux/filter.h, BPF_MAXINSNS).
const maxInsns = 4096

// Compile makes the program for the architecture this host program runs on. It validates the policy first; see
// [Policy.Validate] for those errors. A policy that was compiled before comes from a cache, so callers need keep no
// program. Compile may be called from many goroutines. Without cgo, and on architectures other than amd64 and arm64, the
// error is [ErrUnsupported].
func (p Policy) Compile() (Program, error) {
	return programs.get(p)
}

// compile does it without the cache.
func (p Policy) compile() (Program, error) {
	if err := p.Validate(); err != nil {
		return Program{}, err
	}
	arch := NativeArch()
	if arch == 0 {
		return Program{}, fmt.Errorf("compile policy: %w on this architecture", ErrUnsupported)
	}
	l := newLinker(arch, p)
	raw, err := dispatch(l.labels)
	if err != nil {
		return Program{}, fmt.Errorf("compile policy: %w", err)
	}
	code, err := l.link(decode(raw))
	if err != nil {
		return Program{}, err
	}
	return Program{arch: arch, code: string(encode(code))}, nil
}

// label stands for a block in the code that searches a call's number, until the block's place is known.
type label uint16

const (
	foreignLabel label = iota // calls of another architecture
	defaultLabel              // numbers without a rule
	firstLabel
)

// linker joins the number search to the blocks that decide.
type linker struct {
	blocks map[label][]insn
	labels map[uint32]label // call number to block
}

func newLinker(arch Arch, p Policy) *linker {
	l := &linker{
		blocks: map[label][]insn{
			foreignLabel: foreignBlock(arch),
			defaultLabel: defaultBlock(arch, p.Default, p.unknown()),
		},
		labels: map[uint32]label{},
	}
	shared := map[string]label{} // calls under the same rules share a block
	for name, indices := range p.byCall() {
		number, ok := arch.Number(name)
		if !ok {
			continue
		}
		rules := p.pick(indices)
		if len(rules[0].Args) == 0 && rules[0].Action == p.Default {
			continue
		}
		block := rulesBlock(rules, p.Default)
		key := string(encode(block))
		at, ok := shared[key]
		if !ok {
			at = firstLabel + label(len(shared))
			shared[key], l.blocks[at] = at, block
		}
		l.labels[number] = at
	}
	return l
}

func (p Policy) pick(indices []int) []Rule {
	rules := make([]Rule, len(indices))
	for n, i := range indices {
		rules[n] = p.Rules[i]
	}
	return rules
}

// link replaces every marked return of the number search: by the action where the block is but that, else by a jump to
// the block, behind the search. Jumps forward by 32 bits are all BPF needs for it.
func (l *linker) link(code []insn) ([]insn, error) {
	search := len(code)
	places := map[label]int{}
	for _, at := range slices.Sorted(maps.Keys(l.blocks)) {
		if block := l.blocks[at]; len(block) > 1 {
			places[at] = len(code)
			code = append(code, block...)
		}
	}
	for pc, i := range code[:search] {
		if i.op != opReturn {
			continue
		}
		at, ok := unmark(i.k)
		block := l.blocks[at]
		if !ok || len(block) == 0 {
			return nil, fmt.Errorf("compile policy: libseccomp returns %#x at instruction %d", i.k, pc)
		}
		if len(block) == 1 {
			code[pc] = block[0]
			continue
		}
		code[pc] = insn{op: opJump, k: uint32(places[at] - pc - 1)}
	}
	if len(code) > maxInsns {
		return nil, &PolicyError{Rule: -1, Reason: fmt.Sprintf("%d instructions, at most %d", len(code), maxInsns), Err: ErrTooLarge}
	}
	return code, nil
}

// Labels travel through libseccomp as SECCOMP_RET_TRACE, an action no policy has, with the label as its data.
const markAction = 0x7ff00000

func unmark(value uint32) (at label, ok bool) {
	return label(value & 0xffff), value&0xffff0000 == markAction
}
