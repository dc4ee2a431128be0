//go:build ignore

package main

import (
	"bufio"
	"fmt"
	"os"
)

const mod = 1000000007

type node struct{ sum, mul, add int }

type tree []node

func (t tree) apply(i, width, mul, add int) {
	n := &t[i]
	n.sum = (n.sum*mul + width*add) % mod
	n.mul = n.mul * mul % mod
	n.add = (n.add*mul + add) % mod
}

func (t tree) visit(i, lo, hi, l, r int, whole func(i, width int)) {
	if r < lo || hi < l {
		return
	}
	if l <= lo && hi <= r {
		whole(i, hi-lo+1)
		return
	}
	mid := (lo + hi) / 2
	t.apply(2*i, mid-lo+1, t[i].mul, t[i].add)
	t.apply(2*i+1, hi-mid, t[i].mul, t[i].add)
	t[i].mul, t[i].add = 1, 0
	t.visit(2*i, lo, mid, l, r, whole)
	t.visit(2*i+1, mid+1, hi, l, r, whole)
	t[i].sum = (t[2*i].sum + t[2*i+1].sum) % mod
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Split(bufio.ScanWords)
	number := func() int {
		in.Scan()
		n := 0
		for _, c := range in.Bytes() {
			n = n*10 + int(c-'0')
		}
		return n
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()

	n, q := number(), number()
	t := make(tree, 4*n)
	for i := range t {
		t[i].mul = 1
	}
	for k := 1; k <= n; k++ {
		v := number()
		t.visit(1, 1, n, k, k, func(i, _ int) { t[i].sum = v })
	}
	for range q {
		in.Scan()
		kind := in.Text()
		l, r := number(), number()
		switch kind {
		case "sum":
			sum := 0
			t.visit(1, 1, n, l, r, func(i, _ int) { sum += t[i].sum })
			fmt.Fprintln(out, sum%mod)
		case "add":
			x := number()
			t.visit(1, 1, n, l, r, func(i, width int) { t.apply(i, width, 1, x) })
		default:
			x := number()
			t.visit(1, 1, n, l, r, func(i, width int) { t.apply(i, width, x, 0) })
		}
	}
}
