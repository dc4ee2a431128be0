// Package problems holds what a problem folder cannot say in JSON: generators of test cases, reference solutions that
// answer them, and checkers for problems with more than one right answer.
//
// Each problem is a Go file here and a folder of the same name with its problem.json, sample cases and submissions.
package problems

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// Case is one test case: what the submission reads and what the reference solution answers.
type Case struct {
	Name   string
	Input  []byte
	Answer []byte
}

// Generator makes a problem's test cases. Case number i depends on seed and i alone, so a problem always has the same
// cases and a longer list begins with the shorter one.
type Generator struct {
	input func(r *rand.Rand, i int) []byte
	solve func(input []byte) []byte
}

// Checker judges an output that may differ from the reference answer. It returns "" for a right output, otherwise one
// line that says what is wrong. The output is hostile: a Checker may be given any bytes.
type Checker func(input, answer, output []byte) string

// Generators by the name used in problem.json.
var Generators = map[string]Generator{
	"circle": {circleInput, circleAnswer},
	"edits":  {editsInput, editsAnswer},
	"ranges": {rangesInput, rangesAnswer},
	"roads":  {roadsInput, roadsAnswer},
}

// Checkers by the name used in problem.json.
var Checkers = map[string]Checker{
	"path": checkPath,
}

// Case makes case i, counted from 0.
func (g Generator) Case(seed uint64, i int) Case {
	// PCG's stream is part of its documented contract, so cases stay the same from one Go release to the next.
	in := g.input(rand.New(rand.NewPCG(seed, uint64(i))), i)
	return Case{Name: fmt.Sprintf("gen-%02d", i+1), Input: in, Answer: g.solve(in)}
}

// Cases makes the first n cases.
func (g Generator) Cases(seed uint64, n int) []Case {
	cases := make([]Case, n)
	for i := range cases {
		cases[i] = g.Case(seed, i)
	}
	return cases
}

// Answer is the reference solution's answer to an input of the problem's format.
func (g Generator) Answer(input []byte) []byte { return g.solve(input) }

// reader takes numbers and words off a trusted input.
type reader struct{ buf *bytes.Buffer }

func read(input []byte) *reader { return &reader{bytes.NewBuffer(input)} }

func (r *reader) word() []byte {
	b := bytes.TrimLeft(r.buf.Bytes(), " \n")
	end := bytes.IndexAny(b, " \n")
	if end < 0 {
		end = len(b)
	}
	r.buf = bytes.NewBuffer(b[end:])
	return b[:end]
}

func (r *reader) int() int {
	n, sign := 0, 1
	for _, c := range r.word() {
		if c == '-' {
			sign = -1
			continue
		}
		n = n*10 + int(c-'0')
	}
	return n * sign
}

// size grows a case from tiny to its full size: the first cases are small enough to check by eye, the last are maximal.
func size(i, full int) int {
	switch {
	case i < 10:
		return min(2+i, full)
	case i < 20:
		return min(20+(i-10)*(i-10), full)
	case i < 24:
		return max(full/10, 2)
	default:
		return full
	}
}

// between returns a number in [lo, hi].
func between(r *rand.Rand, lo, hi int) int { return lo + r.IntN(hi-lo+1) }
