package seccomp

import "slices"

// tidy makes a block shorter without changing what it decides: what the accumulator already holds is not loaded again, and returns that say the same
// become one. A filter is translated at each load, instruction by instruction, so each costs something. A block has no jumps but those of comparisons.
func tidy(code []insn) []insn {
	keep := needless(code)
	returns := map[uint32][]int{} // where those stand that say the same
	for pc, i := range code {
		if i.op == opReturn {
			returns[i.k] = append(returns[i.k], pc)
		}
	}
	chosen := map[uint32]int{} // of those, the one that jumps lead to
	// Where a jump from pc really leads. It is asked in the order of pc.
	target := func(pc, to int) int {
		for !keep[to] {
			to++
		}
		if i := code[to]; i.op == opReturn {
			if at, ok := chosen[i.k]; ok && at >= to && at-pc-1 <= maxSkip {
				return at
			}
			same := returns[i.k]
			beyond, _ := slices.BinarySearch(same, pc+maxSkip+2)
			chosen[i.k] = same[beyond-1] // the last in reach; to itself is
			return chosen[i.k]
		}
		return to
	}
	targets := make([][2]int, len(code))
	reached := make([]bool, len(code))
	reached[0] = true
	for pc, i := range code {
		switch {
		case !reached[pc] || i.op == opReturn:
		case i.jumps() && keep[pc]:
			targets[pc] = [2]int{target(pc, pc+1+int(i.jt)), target(pc, pc+1+int(i.jf))}
			reached[targets[pc][0]], reached[targets[pc][1]] = true, true
		default:
			reached[pc+1] = true
		}
	}
	at := make([]int, len(code)) // its place afterwards
	n := 0
	for pc := range code {
		at[pc] = n
		if reached[pc] && keep[pc] {
			n++
		}
	}
	out := make([]insn, 0, n)
	for pc, i := range code {
		if !reached[pc] || !keep[pc] {
			continue
		}
		if i.jumps() {
			i.jt, i.jf = uint8(at[targets[pc][0]]-at[pc]-1), uint8(at[targets[pc][1]]-at[pc]-1)
		}
		out = append(out, i)
	}
	return out
}

// needless marks with false the loads of what the accumulator holds however the instruction is come to.
func needless(code []insn) (keep []bool) {
	const (
		unseen  = -1
		unknown = -2
	)
	holds := make([]int64, len(code)) // the offset whose word the accumulator holds
	for pc := range holds {
		holds[pc] = unseen
	}
	meet := func(pc int, v int64) {
		if holds[pc] == unseen {
			holds[pc] = v
		} else if holds[pc] != v {
			holds[pc] = unknown
		}
	}
	keep = make([]bool, len(code))
	holds[0] = unknown
	for pc, i := range code { // jumps only go forward
		v := holds[pc]
		keep[pc] = i.op != opLoad || v != int64(i.k)
		switch {
		case i.op == opReturn || v == unseen:
			continue
		case i.jumps():
			meet(pc+1+int(i.jt), v)
			meet(pc+1+int(i.jf), v)
			continue
		case i.op == opLoad:
			v = int64(i.k)
		default:
			v = unknown
		}
		meet(pc+1, v)
	}
	return keep
}

// jumps tells whether the instruction is a comparison.
func (i insn) jumps() bool { return i.op == opEqual || i.op == opAbove || i.op == opAtLeast }
