package main

import (
	"fmt"
	"slices"
	"time"
)

// Row is what the measuring of one subject came to. Durations are in nanoseconds, ratios to fork+exec in the same run.
type Row struct {
	Name     string   `json:"name"`
	N        int      `json:"n"`
	P10      int64    `json:"p10_ns"`
	Median   int64    `json:"median_ns"`
	P99      int64    `json:"p99_ns"`
	RatioP10 float64  `json:"ratio_p10"`
	Ratio    float64  `json:"ratio"` // of the medians
	CPU      int64    `json:"cpu_ns,omitempty"`
	RatioCPU float64  `json:"ratio_cpu,omitempty"`
	Lacks    []string `json:"lacks,omitempty"`
	Absent   string   `json:"absent,omitempty"` // why there are no figures
	samples  []time.Duration
}

// seldom is how slow a peer must be, against the floor, to take its turn only every tenth time: it would take all of the time
// of the bench, and needs no more figures to be told apart.
const seldom = 60

// measure lets the subjects take turns, so that whatever else the machine does hits all of them, n times, with a rest before each turn. The first is the
// floor.
func measure(all []*subject, n int, rest time.Duration) ([]Row, error) {
	rows := make([]Row, len(all))
	rare := make([]bool, len(all))
	for i, s := range all {
		rows[i] = Row{Name: s.name, Absent: s.absent}
		if s.absent != "" {
			continue
		}
		// Caches are warm, and what cannot be run is known, before the first turn that counts.
		took, err := s.turn(rest)
		if err == nil {
			took, err = s.turn(rest)
		}
		if err != nil {
			rows[i].Absent = err.Error()
			continue
		}
		rows[i].samples = make([]time.Duration, 0, n)
		floor := took
		if i > 0 {
			floor, err = all[0].turn(rest)
			if err != nil {
				return nil, err
			}
		}
		rare[i] = s.peer && took > seldom*floor
	}
	for round := range n {
		for _, i := range order(len(all), round) {
			if rows[i].Absent != "" || rare[i] && round%10 != 0 {
				continue
			}
			took, err := all[i].turn(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].name, err)
			}
			rows[i].samples = append(rows[i].samples, took)
		}
	}
	for i := range rows {
		rows[i].sum(&rows[0])
	}
	return rows, nil
}

// order is who comes after whom in a round. What one leaves behind, work in the background or in caches, must not always be the same other's to bear: over n rounds, or
// twice as many if n is odd, everybody comes after everybody else equally often (a Williams design).
func order(n, round int) []int {
	all := make([]int, n)
	for i := range all {
		// 0, n-1, 1, n-2, …: all distances between neighbours differ.
		at := i / 2
		if i%2 == 1 {
			at = n - 1 - i/2
		}
		all[i] = (at + round) % n
	}
	if n%2 == 1 && round/n%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// turn rests, lets the subject run once, and then waits for what it left to be done in the background, or the next one would run beside it.
func (s *subject) turn(rest time.Duration) (took time.Duration, err error) {
	if rest > 0 {
		time.Sleep(rest)
	}
	if s.remote != nil {
		took, err = s.remote()
	} else {
		begin := time.Now()
		err = s.run()
		took = time.Since(begin)
	}
	if s.settle != nil {
		s.settle()
	}
	return took, err
}

// sum works out the figures of a row.
func (r *Row) sum(floor *Row) {
	r.N = len(r.samples)
	if r.N == 0 {
		return
	}
	slices.Sort(r.samples)
	r.P10, r.Median, r.P99 = quantile(r.samples, 0.1).Nanoseconds(), quantile(r.samples, 0.5).Nanoseconds(), quantile(r.samples, 0.99).Nanoseconds()
	r.RatioP10, r.Ratio = ratio(r.P10, floor.P10), ratio(r.Median, floor.Median)
}

func ratio(a, b int64) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// quantile of sorted values, the nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q * float64(len(sorted)))
	return sorted[min(i, len(sorted)-1)]
}
