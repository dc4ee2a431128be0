package seccomp

import "slices"

// maxSkip is the most instructions a conditional jump skips: its fields have 8 bits.
const maxSkip = 255

// assembler writes a program from its last instruction to its first, since jumps only go forward: where one leads is
// known when it is written. A position counts instructions from the end and never changes. The zero assembler is empty.
type assembler struct {
	code   []insn
	blocks map[string]int // where a block stands that decides by itself, by its content
	near   map[int]int    // for a position out of reach, the last one written that does the same
}

// program is what was written, in the order of execution.
func (a *assembler) program() []insn {
	code := slices.Clone(a.code)
	slices.Reverse(code)
	return code
}

// block writes instructions that end in a return and whose jumps stay within, unless they stand somewhere already.
func (a *assembler) block(code []insn) int {
	key := string(encode(code))
	if at, ok := a.blocks[key]; ok {
		return at
	}
	for _, i := range slices.Backward(code) {
		a.code = append(a.code, i)
	}
	if a.blocks == nil {
		a.blocks, a.near = map[string]int{}, map[int]int{}
	}
	a.blocks[key] = len(a.code) - 1
	return a.blocks[key]
}

// branch writes a comparison with the places to go on at, and gives its position.
func (a *assembler) branch(op uint16, k uint32, yes, no int) int {
	for { // what brings one place into reach may push the other out of it
		yesAt, noAt := a.reach(yes), a.reach(no)
		if len(a.code)-1-yesAt <= maxSkip {
			at := len(a.code)
			a.code = append(a.code, insn{op: op, jt: uint8(at - 1 - yesAt), jf: uint8(at - 1 - noAt), k: k})
			return at
		}
	}
}

// load writes the loading of a word, going on with what was written last.
func (a *assembler) load(offset uint32) int {
	a.code = append(a.code, insn{op: opLoad, k: offset})
	return len(a.code) - 1
}

// reach gives a position that does the same as the given one and that the next instruction can jump to.
func (a *assembler) reach(place int) int {
	at := place
	if near, ok := a.near[place]; ok {
		at = near
	}
	skip := len(a.code) - 1 - at
	if skip <= maxSkip {
		return at
	}
	if i := a.code[place]; i.op == opReturn {
		a.code = append(a.code, i)
	} else {
		a.code = append(a.code, insn{op: opJump, k: uint32(len(a.code) - 1 - place)})
	}
	a.near[place] = len(a.code) - 1
	return a.near[place]
}
