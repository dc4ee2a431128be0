package problems

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
)

const (
	circlePoints = 2000
	circleReach  = 10000
)

type point struct{ x, y float64 }

type disc struct {
	centre point
	radius float64
}

func circleInput(r *rand.Rand, i int) []byte {
	n := size(i, circlePoints)
	var b bytes.Buffer
	fmt.Fprintln(&b, n)
	for k := range n {
		x, y := between(r, -circleReach, circleReach), between(r, -circleReach, circleReach)
		switch i % 5 {
		case 1: // on one line
			y = 2*x/3*3 + 1
		case 2: // nearly on a circle
			angle := 2 * math.Pi * float64(k) / float64(n)
			x, y = int(circleReach*math.Cos(angle)), int(circleReach*math.Sin(angle))
		case 3: // few places, many twins
			x, y = x%3, y%3
		}
		fmt.Fprintln(&b, x, y)
	}
	return b.Bytes()
}

// circleAnswer is Welzl's algorithm in its iterative form.
func circleAnswer(input []byte) []byte {
	in := read(input)
	points := make([]point, in.int())
	for i := range points {
		points[i] = point{float64(in.int()), float64(in.int())}
	}
	return fmt.Appendf(nil, "%.9f\n", enclose(points).radius)
}

func enclose(points []point) disc {
	// A fixed shuffle: the expected time is linear for any order of the input, and the answer is the same every time.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	d := disc{points[0], 0}
	for i, p := range points {
		if d.holds(p) {
			continue
		}
		d = disc{p, 0}
		for j, q := range points[:i] {
			if d.holds(q) {
				continue
			}
			d = between2(p, q)
			for _, r := range points[:j] {
				if !d.holds(r) {
					d = between3(p, q, r)
				}
			}
		}
	}
	return d
}

func (d disc) holds(p point) bool {
	return math.Hypot(p.x-d.centre.x, p.y-d.centre.y) <= d.radius*(1+1e-12)+1e-9
}

func between2(a, b point) disc {
	return disc{point{(a.x + b.x) / 2, (a.y + b.y) / 2}, math.Hypot(a.x-b.x, a.y-b.y) / 2}
}

// between3 is the circle through three points, or the widest of their pairs if they stand on a line.
func between3(a, b, c point) disc {
	bx, by, cx, cy := b.x-a.x, b.y-a.y, c.x-a.x, c.y-a.y
	det := 2 * (bx*cy - by*cx)
	if det == 0 {
		best := between2(a, b)
		for _, d := range []disc{between2(a, c), between2(b, c)} {
			if d.radius > best.radius {
				best = d
			}
		}
		return best
	}
	b2, c2 := bx*bx+by*by, cx*cx+cy*cy
	x, y := (cy*b2-by*c2)/det, (bx*c2-cx*b2)/det
	return disc{point{a.x + x, a.y + y}, math.Hypot(x, y)}
}
