package problems

import (
	"bytes"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
)

const (
	roadsTowns  = 20000
	roadsLength = 1_000_000_000
)

type road struct{ a, b, length int }

type roadMap struct {
	towns, from, to int
	roads           []road
}

func roadsInput(r *rand.Rand, i int) []byte {
	m := roadMap{towns: size(i, roadsTowns)}
	m.from, m.to = 1, m.towns
	switch i % 4 {
	case 0: // one chain of long roads, listed from its far end: what makes a naive relaxation loop quadratic
		for v := m.towns; v > 1; v-- {
			m.roads = append(m.roads, road{v, v - 1, between(r, roadsLength/2, roadsLength)})
		}
	case 1: // two halves that may never meet
		for range 2 * m.towns {
			half := r.IntN(2) * (m.towns / 2)
			width := max(m.towns/2, 1)
			m.roads = append(m.roads, road{half + between(r, 1, width), half + between(r, 1, width), between(r, 1, 100)})
		}
	case 2: // many equal shortest paths
		for v := 2; v <= m.towns; v++ {
			for range 3 {
				m.roads = append(m.roads, road{between(r, max(1, v-40), v-1), v, between(r, 1, 3)})
			}
		}
	default: // anything, shuffled ends
		for range 3 * m.towns {
			m.roads = append(m.roads, road{between(r, 1, m.towns), between(r, 1, m.towns), between(r, 1, roadsLength)})
		}
		m.from, m.to = between(r, 1, m.towns), between(r, 1, m.towns)
	}
	return m.format()
}

func (m roadMap) format() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, m.towns, len(m.roads), m.from, m.to)
	for _, e := range m.roads {
		fmt.Fprintln(&b, e.a, e.b, e.length)
	}
	return b.Bytes()
}

func parseRoads(input []byte) roadMap {
	in := read(input)
	m := roadMap{towns: in.int()}
	m.roads = make([]road, in.int())
	m.from, m.to = in.int(), in.int()
	for i := range m.roads {
		m.roads[i] = road{in.int(), in.int(), in.int()}
	}
	return m
}

// queue is a heap of towns by distance.
type queue []stop

type stop struct{ dist, town int }

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].dist < q[j].dist }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(stop)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// distances is Dijkstra's algorithm: the distance of every town from m.from, and the town before it on the way.
func (m roadMap) distances() (dist, before []int) {
	next := make([][]road, m.towns+1)
	for _, e := range m.roads {
		next[e.a] = append(next[e.a], e)
		next[e.b] = append(next[e.b], road{e.b, e.a, e.length})
	}
	dist, before = make([]int, m.towns+1), make([]int, m.towns+1)
	for i := range dist {
		dist[i] = math.MaxInt
	}
	dist[m.from] = 0
	q := &queue{{0, m.from}}
	for q.Len() > 0 {
		s := heap.Pop(q).(stop)
		if s.dist > dist[s.town] {
			continue
		}
		for _, e := range next[s.town] {
			if d := s.dist + e.length; d < dist[e.b] {
				dist[e.b], before[e.b] = d, s.town
				heap.Push(q, stop{d, e.b})
			}
		}
	}
	return dist, before
}

func roadsAnswer(input []byte) []byte {
	m := parseRoads(input)
	dist, before := m.distances()
	if dist[m.to] == math.MaxInt {
		return []byte("-1\n")
	}
	path := []int{m.to}
	for v := m.to; v != m.from; v = before[v] {
		path = append(path, before[v])
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, dist[m.to])
	for i := len(path) - 1; i >= 0; i-- {
		fmt.Fprint(&b, path[i], " ")
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// checkPath accepts any shortest path: the length must be the reference's, and the towns must be joined by roads which
// add up to it.
func checkPath(input, answer, output []byte) string {
	want, got := bytes.Fields(answer), bytes.Fields(output)
	if len(got) == 0 {
		return "no output"
	}
	if !bytes.Equal(got[0], want[0]) {
		return fmt.Sprintf("length %.24q, want %s", got[0], want[0])
	}
	if string(want[0]) == "-1" {
		if len(got) > 1 {
			return "a path where there is none"
		}
		return ""
	}
	m := parseRoads(input)
	path := make([]int, 0, len(got)-1)
	for _, word := range got[1:] {
		town, err := strconv.Atoi(string(word))
		if err != nil {
			return fmt.Sprintf("town %.24q is no number", word)
		}
		path = append(path, town)
	}
	if len(path) == 0 || path[0] != m.from || path[len(path)-1] != m.to {
		return fmt.Sprintf("the path does not lead from %d to %d", m.from, m.to)
	}
	return m.checkLength(path, string(want[0]))
}

func (m roadMap) checkLength(path []int, want string) string {
	shortest := make(map[[2]int]int, 2*len(m.roads))
	for _, e := range m.roads {
		for _, k := range [][2]int{{e.a, e.b}, {e.b, e.a}} {
			if old, ok := shortest[k]; !ok || e.length < old {
				shortest[k] = e.length
			}
		}
	}
	sum := 0
	for i := 1; i < len(path); i++ {
		length, ok := shortest[[2]int{path[i-1], path[i]}]
		if !ok {
			return fmt.Sprintf("no road from %d to %d", path[i-1], path[i])
		}
		// A path of n towns cannot overflow: the output limit bounds n, and a road's length is at most 1e9.
		sum += length
	}
	if strconv.Itoa(sum) != want {
		return fmt.Sprintf("the path is %d long, not %s", sum, want)
	}
	return ""
}
