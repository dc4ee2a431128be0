package seccomp

import (
	"fmt"
	"maps"
	"slices"
)

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
	l := &linker{blocks: map[label][]insn{foreignLabel: p.foreignBlock(arch)}, labels: map[uint32]label{}}
	actions, blocks := p.decide(arch)
	// The commonest action is the one the search falls through to, so that libseccomp has fewer numbers to search: of an
	// allow-list like Default those that are denied, a quarter of the code to load.
	common := commonest(actions, p.Default)
	l.blocks[defaultLabel] = defaultBlock(arch, common, p.unknown())
	shared := map[string]label{} // calls under the same rules share a block
	for _, number := range slices.Sorted(maps.Keys(blocks)) {
		if a, ok := actions[number]; ok && a == common {
			continue
		}
		block := blocks[number]
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

// decide gives the block of every call of the architecture, and the action of those whose arguments do not matter.
func (p Policy) decide(arch Arch) (actions map[uint32]Action, blocks map[uint32][]insn) {
	calls := arch.calls()
	actions, blocks = make(map[uint32]Action, len(calls)), make(map[uint32][]insn, len(calls))
	for _, number := range calls {
		actions[number], blocks[number] = p.Default, []insn{ret(p.Default)}
	}
	for name, indices := range p.byCall(arch) {
		number, ok := arch.Number(name)
		if !ok {
			continue
		}
		block := rulesBlock(p.pick(indices), p.Default)
		blocks[number] = block
		delete(actions, number)
		if len(block) == 1 {
			actions[number] = Action(block[0].k)
		}
	}
	return actions, blocks
}

// commonest is the action most calls have; of equals the greatest number, so that a policy always gives one program.
func commonest(actions map[uint32]Action, none Action) Action {
	count := map[Action]int{}
	for _, a := range actions {
		count[a]++
	}
	best := none
	for a, n := range count {
		if n > count[best] || n == count[best] && a > best {
			best = a
		}
	}
	return best
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
			return nil, fmt.Errorf("libseccomp returns %#x at instruction %d", i.k, pc)
		}
		if len(block) == 1 {
			code[pc] = block[0]
			continue
		}
		code[pc] = insn{op: opJump, k: uint32(places[at] - pc - 1)}
	}
	return code, nil
}

// Labels travel through libseccomp as SECCOMP_RET_TRACE, an action no policy has, with the label as its data.
const markAction = 0x7ff00000

func unmark(value uint32) (at label, ok bool) {
	return label(value & 0xffff), value&0xffff0000 == markAction
}
