//go:build ignore

// Welzl, in its iterative form.
package main

import (
	"bufio"
	"fmt"
	"math"
	"math/rand"
	"os"
)

type vec struct{ x, y float64 }

type circle struct {
	c vec
	r float64
}

func (c circle) holds(p vec) bool { return math.Hypot(p.x-c.c.x, p.y-c.c.y) <= c.r*(1+1e-12)+1e-9 }

func two(a, b vec) circle {
	return circle{vec{(a.x + b.x) / 2, (a.y + b.y) / 2}, math.Hypot(a.x-b.x, a.y-b.y) / 2}
}

func three(a, b, c vec) circle {
	bx, by, cx, cy := b.x-a.x, b.y-a.y, c.x-a.x, c.y-a.y
	det := 2 * (bx*cy - by*cx)
	if det == 0 {
		best := two(a, b)
		for _, o := range []circle{two(a, c), two(b, c)} {
			if o.r > best.r {
				best = o
			}
		}
		return best
	}
	bb, cc := bx*bx+by*by, cx*cx+cy*cy
	x, y := (cy*bb-by*cc)/det, (bx*cc-cx*bb)/det
	return circle{vec{a.x + x, a.y + y}, math.Hypot(x, y)}
}

func main() {
	in := bufio.NewReader(os.Stdin)
	var n int
	fmt.Fscan(in, &n)
	p := make([]vec, n)
	for i := range p {
		fmt.Fscan(in, &p[i].x, &p[i].y)
	}
	rand.Shuffle(n, func(i, j int) { p[i], p[j] = p[j], p[i] })
	best := circle{p[0], 0}
	for i := range p {
		if best.holds(p[i]) {
			continue
		}
		best = circle{p[i], 0}
		for j := range i {
			if best.holds(p[j]) {
				continue
			}
			best = two(p[i], p[j])
			for k := range j {
				if !best.holds(p[k]) {
					best = three(p[i], p[j], p[k])
				}
			}
		}
	}
	fmt.Printf("%.9f\n", best.r)
}
