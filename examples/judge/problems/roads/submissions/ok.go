//go:build ignore

package main

import (
	"bufio"
	"container/heap"
	"fmt"
	"os"
)

type edge struct{ to, length int }

type entry struct{ dist, town int }

type queue []entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].dist < q[j].dist }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	e := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return e
}

func main() {
	in := bufio.NewReader(os.Stdin)
	number := func() int {
		n := 0
		for c, err := in.ReadByte(); err == nil; c, err = in.ReadByte() {
			if c >= '0' && c <= '9' {
				n = n*10 + int(c-'0')
			} else if n > 0 || c == '\n' {
				break
			}
		}
		return n
	}
	n, m, s, t := number(), number(), number(), number()
	roads := make([][]edge, n+1)
	for range m {
		a, b, w := number(), number(), number()
		roads[a] = append(roads[a], edge{b, w})
		roads[b] = append(roads[b], edge{a, w})
	}
	dist, next := make([]int, n+1), make([]int, n+1)
	for i := range dist {
		dist[i] = -1
	}
	dist[t] = 0
	q := &queue{{0, t}}
	for q.Len() > 0 {
		e := heap.Pop(q).(entry)
		if e.dist > dist[e.town] {
			continue
		}
		for _, r := range roads[e.town] {
			if d := e.dist + r.length; dist[r.to] < 0 || d < dist[r.to] {
				dist[r.to], next[r.to] = d, e.town
				heap.Push(q, entry{d, r.to})
			}
		}
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintln(out, dist[s])
	if dist[s] < 0 {
		return
	}
	for v := s; v != t; v = next[v] {
		fmt.Fprint(out, v, " ")
	}
	fmt.Fprintln(out, t)
}
