package main

import (
	"fmt"
	"slices"
	"time"
)

// Row is what the measuring of one subject came to. Durations are in nanoseconds.
type Row struct {
	Name    string   `json:"name"`
	N       int      `json:"n"`
	Median  int64    `json:"median_ns"`
	P99     int64    `json:"p99_ns"`
	Ratio   float64  `json:"ratio"` // of the medians, to fork+exec in the same run
	Lacks   []string `json:"lacks,omitempty"`
	Absent  string   `json:"absent,omitempty"` // why there are no figures
	samples []time.Duration
}

// seldom is how slow a peer must be, against the floor, to take its turn only every tenth time: it would take all of the time
// of the bench, and needs no more figures to be told apart.
const seldom = 60

// measure lets the subjects take turns, so that whatever else the machine does hits all of them, n times. The first is the floor.
func measure(all []*subject, n int) ([]Row, error) {
	rows := make([]Row, len(all))
	rare := make([]bool, len(all))
	for i, s := range all {
		rows[i] = Row{Name: s.name, Absent: s.absent}
		if s.absent != "" {
			continue
		}
		// Caches are warm, and what cannot be run is known, before the first turn that counts.
		took, err := turn(s)
		if err == nil {
			took, err = turn(s)
		}
		if err != nil {
			rows[i].Absent = err.Error()
			continue
		}
		rows[i].samples = make([]time.Duration, 0, n)
		floor := took
		if i > 0 {
			floor, err = turn(all[0])
			if err != nil {
				return nil, err
			}
		}
		rare[i] = s.peer && took > seldom*floor
	}
	for round := range n {
		for i, s := range all {
			if rows[i].Absent != "" || rare[i] && round%10 != 0 {
				continue
			}
			took, err := turn(s)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			rows[i].samples = append(rows[i].samples, took)
		}
	}
	for i := range rows {
		rows[i].sum(&rows[0])
	}
	return rows, nil
}

func turn(s *subject) (time.Duration, error) {
	if s.rest != nil {
		s.rest()
	}
	begin := time.Now()
	err := s.run()
	return time.Since(begin), err
}

// sum works out the figures of a row.
func (r *Row) sum(floor *Row) {
	r.N = len(r.samples)
	if r.N == 0 {
		return
	}
	slices.Sort(r.samples)
	r.Median, r.P99 = quantile(r.samples, 0.5).Nanoseconds(), quantile(r.samples, 0.99).Nanoseconds()
	if floor.Median > 0 {
		r.Ratio = float64(r.Median) / float64(floor.Median)
	}
}

// quantile of sorted values, the nearest rank.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q * float64(len(sorted)))
	return sorted[min(i, len(sorted)-1)]
}
