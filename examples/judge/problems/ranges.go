package problems

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

const (
	rangesModulus = 1_000_000_007
	rangesLength  = 50000
	rangesQueries = 30000
)

func rangesInput(r *rand.Rand, i int) []byte {
	n := size(i, rangesLength)
	q := min(3*n, rangesQueries)
	var b bytes.Buffer
	fmt.Fprintln(&b, n, q)
	for range n {
		fmt.Fprint(&b, r.IntN(rangesModulus), " ")
	}
	b.WriteByte('\n')
	for range q {
		left, right := between(r, 1, n), between(r, 1, n)
		if i%2 == 0 { // wide ranges: what a loop over the elements cannot afford
			left, right = between(r, 1, max(1, n/10)), between(r, max(1, n-n/10), n)
		}
		left, right = min(left, right), max(left, right)
		switch r.IntN(3) {
		case 0:
			fmt.Fprintln(&b, "add", left, right, r.IntN(rangesModulus))
		case 1:
			fmt.Fprintln(&b, "mul", left, right, r.IntN(rangesModulus))
		default:
			fmt.Fprintln(&b, "sum", left, right)
		}
	}
	fmt.Fprintln(&b, "sum", 1, n) // so that every case has an answer
	return bytes.Replace(b.Bytes(), fmt.Appendln(nil, n, q), fmt.Appendln(nil, n, q+1), 1)
}

// segments is a segment tree over x -> mul*x + add, with the modulus taken at every step.
type segments struct{ sum, mul, add []int }

func (s *segments) build(node, lo, hi int, in *reader) {
	s.mul[node] = 1
	if lo == hi {
		s.sum[node] = in.int() % rangesModulus
		return
	}
	mid := (lo + hi) / 2
	s.build(2*node, lo, mid, in)
	s.build(2*node+1, mid+1, hi, in)
	s.sum[node] = (s.sum[2*node] + s.sum[2*node+1]) % rangesModulus
}

func (s *segments) apply(node, width, mul, add int) {
	s.sum[node] = (s.sum[node]*mul + width%rangesModulus*add) % rangesModulus
	s.mul[node] = s.mul[node] * mul % rangesModulus
	s.add[node] = (s.add[node]*mul + add) % rangesModulus
}

func (s *segments) push(node, lo, mid, hi int) {
	s.apply(2*node, mid-lo+1, s.mul[node], s.add[node])
	s.apply(2*node+1, hi-mid, s.mul[node], s.add[node])
	s.mul[node], s.add[node] = 1, 0
}

func (s *segments) update(node, lo, hi, left, right, mul, add int) {
	if right < lo || hi < left {
		return
	}
	if left <= lo && hi <= right {
		s.apply(node, hi-lo+1, mul, add)
		return
	}
	mid := (lo + hi) / 2
	s.push(node, lo, mid, hi)
	s.update(2*node, lo, mid, left, right, mul, add)
	s.update(2*node+1, mid+1, hi, left, right, mul, add)
	s.sum[node] = (s.sum[2*node] + s.sum[2*node+1]) % rangesModulus
}

func (s *segments) query(node, lo, hi, left, right int) int {
	if right < lo || hi < left {
		return 0
	}
	if left <= lo && hi <= right {
		return s.sum[node]
	}
	mid := (lo + hi) / 2
	s.push(node, lo, mid, hi)
	return (s.query(2*node, lo, mid, left, right) + s.query(2*node+1, mid+1, hi, left, right)) % rangesModulus
}

func rangesAnswer(input []byte) []byte {
	in := read(input)
	n, q := in.int(), in.int()
	s := &segments{make([]int, 4*n), make([]int, 4*n), make([]int, 4*n)}
	s.build(1, 1, n, in)
	var b bytes.Buffer
	for range q {
		kind, left, right := string(in.word()), in.int(), in.int()
		switch kind {
		case "add":
			s.update(1, 1, n, left, right, 1, in.int())
		case "mul":
			s.update(1, 1, n, left, right, in.int(), 0)
		default:
			fmt.Fprintln(&b, s.query(1, 1, n, left, right))
		}
	}
	return b.Bytes()
}
