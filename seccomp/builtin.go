package seccomp

import "math"

// builtin compiles a policy without any library. The numbers fall into spans that are decided alike, and the program
// finds a number's span in a binary search tree. The kernel runs a new filter once for each number it has
// (seccomp_cache_prepare, since 5.11), so both the program's length and the steps for a number count.
func builtin(arch Arch, p Policy) ([]insn, error) {
	var a assembler
	subs := a.besides(p, arch)
	native := a.search(p.spans(arch))
	a.branch(opEqual, uint32(arch), native, a.foreign(subs))
	a.load(offArch)
	return a.program(), nil
}

// subSearch is where the search among a sub-architecture's calls begins.
type subSearch struct {
	arch Arch
	at   int
}

// besides writes the searches of the sub-architectures that a policy lets in.
func (a *assembler) besides(p Policy, arch Arch) (subs []subSearch) {
	for _, sub := range p.beside(arch) {
		subs = append(subs, subSearch{sub, a.search(p.spans(sub))})
	}
	return subs
}

// search writes the search for a number that is not loaded yet.
func (a *assembler) search(spans []span) int {
	root := a.tree(spans)
	if skip := len(a.code) - 1 - root; skip > 0 { // all numbers are decided alike, by a block that stands somewhere already
		a.code = append(a.code, insn{op: opJump, k: uint32(skip)})
	}
	return a.load(offNumber)
}

// foreign writes what is done with the calls of other architectures, whose name is in the accumulator, and gives its position.
func (a *assembler) foreign(subs []subSearch) int {
	at := a.block([]insn{ret(KillProcess)})
	for _, s := range subs {
		at = a.branch(opEqual, uint32(s.arch), s.at, at)
	}
	return at
}

// span is a range of numbers, up to the next span's first, that one block decides.
type span struct {
	first  uint32
	weight int // how many numbers the kernel has in it, at least 1
	block  []insn
}

// spans divides all numbers.
func (p Policy) spans(arch Arch) []span {
	_, blocks := p.decide(arch)
	unknown := []insn{ret(p.unknown())}
	var s divider
	next := uint32(0)
	for _, of := range arch.spans() {
		if of[0] > next {
			s.add(next, int(of[0]-next), unknown)
		}
		for n := of[0]; n <= of[1]; n++ {
			s.add(n, 1, blocks[n])
		}
		next = of[1] + 1
	}
	s.add(next, 1, unknown)
	if arch == AMD64 { // x32 must not be let in by a policy that lets unknown numbers through
		s.add(x32Bit, 1, []insn{ret(noSuchCall)})
	}
	return s.spans
}

// divider collects spans in ascending order and joins what is decided alike.
type divider struct {
	spans []span
	last  string
}

func (d *divider) add(first uint32, weight int, block []insn) {
	key := string(encode(block))
	if end := len(d.spans) - 1; end >= 0 && d.last == key {
		d.spans[end].weight += weight
		return
	}
	d.spans, d.last = append(d.spans, span{first, weight, block}), key
}

// tree writes the search among spans and gives the position of its first instruction. The number is in the accumulator.
func (a *assembler) tree(spans []span) int {
	if len(spans) == 1 {
		return a.block(spans[0].block)
	}
	if single(spans) { // one number among others: a comparison saved
		other, only := a.block(spans[0].block), a.block(spans[1].block)
		return a.branch(opEqual, spans[1].first, only, other)
	}
	middle := halve(spans)
	above := a.tree(spans[middle:])
	below := a.tree(spans[:middle])
	return a.branch(opAtLeast, spans[middle].first, above, below)
}

// single tells whether the spans are one number and what is on both its sides.
func single(spans []span) bool {
	return len(spans) == 3 && spans[2].first == spans[1].first+1 &&
		string(encode(spans[0].block)) == string(encode(spans[2].block))
}

// halve gives the span at which to divide, so that both sides have as many of the kernel's numbers as can be.
func halve(spans []span) int {
	total := 0
	for _, s := range spans {
		total += s.weight
	}
	best, least, below := 1, math.MaxInt, 0
	for i, s := range spans[:len(spans)-1] {
		below += s.weight
		if apart := max(total-2*below, 2*below-total); apart < least {
			best, least = i+1, apart
		}
	}
	return best
}
