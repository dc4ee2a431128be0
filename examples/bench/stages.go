package main

import (
	"errors"
	"slices"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Breakdown says where the time of something goes.
type Breakdown struct {
	Name   string  `json:"name"`
	Total  int64   `json:"total_ns"` // the medians, as the caller sees it
	Stages []Stage `json:"stages"`
}

// Stage is a part of it: parts of a request to the zygote, "zygote: …", are in it twice.
type Stage struct {
	Name   string `json:"name"`
	Median int64  `json:"median_ns"`
}

// breakdown gathers what a Breakdown is made of.
type breakdown struct {
	name   string
	totals []time.Duration
	order  []string
	took   map[string][]time.Duration
}

func (b *breakdown) add(total time.Duration, stages []sandbox.Stage) {
	b.totals = append(b.totals, total)
	if b.took == nil {
		b.took = map[string][]time.Duration{}
	}
	for _, s := range stages {
		if b.took[s.Name] == nil {
			b.order = append(b.order, s.Name)
		}
		b.took[s.Name] = append(b.took[s.Name], s.Duration)
	}
}

func (b *breakdown) sum() Breakdown {
	out := Breakdown{Name: b.name, Total: median(b.totals)}
	for _, name := range b.order {
		out.Stages = append(out.Stages, Stage{name, median(b.took[name])})
	}
	return out
}

func median(of []time.Duration) int64 {
	slices.Sort(of)
	return quantile(of, 0.5).Nanoseconds()
}

// stages takes cold, fresh and warm apart, n times by turns, by what sandbox.Report and sandbox.Result say.
func (l *lab) stages(n int, rest time.Duration) (_ []Breakdown, lost []string, err error) {
	base, err := sandbox.New(l.opts...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	for _, g := range base.Report().GivenUp {
		lost = append(lost, g.Option+": "+g.Reason)
	}
	warm := &breakdown{name: "warm: Run"}
	all := []*breakdown{warm}
	ways := []func() error{func() error { return l.timedRun(base, warm) }}
	for _, w := range []struct {
		name string
		open func() (*sandbox.Sandbox, error)
	}{
		{"fresh: Clone", func() (*sandbox.Sandbox, error) { return base.Clone() }},
		{"cold: New", func() (*sandbox.Sandbox, error) { return sandbox.New(l.opts...) }},
	} {
		kind := w.name[:len("fresh")]
		if w.name[0] == 'c' {
			kind = "cold"
		}
		opened, first, closed := &breakdown{name: w.name}, &breakdown{name: kind + ": Run"}, &breakdown{name: kind + ": Close"}
		all = append(all, opened, first, closed)
		ways = append(ways, func() error { return l.timedLife(w.open, opened, first, closed) })
	}
	for round := range n + 1 {
		for _, i := range order(len(ways), round) {
			time.Sleep(rest)
			if err := ways[i](); err != nil {
				return nil, nil, err
			}
		}
		if round == 0 { // caches were cold
			for _, b := range all {
				*b = breakdown{name: b.name}
			}
		}
	}
	out := make([]Breakdown, len(all))
	for i, b := range all {
		out[i] = b.sum()
	}
	return out, lost, nil
}

func (l *lab) timedRun(sb *sandbox.Sandbox, to *breakdown) error {
	begin := time.Now()
	res, err := sb.Run(l.ctx, "/true")
	took := time.Since(begin)
	if err != nil {
		return err
	}
	to.add(took, res.Stages())
	return res.Err()
}

// timedLife takes a sandbox from its beginning to its end.
func (l *lab) timedLife(open func() (*sandbox.Sandbox, error), opened, first, closed *breakdown) error {
	begin := time.Now()
	sb, err := open()
	took := time.Since(begin)
	if err != nil {
		return err
	}
	made := sb.Report().Stages
	opened.add(took, made)
	err = l.timedRun(sb, first)
	begin = time.Now()
	cerr := sb.Close()
	closed.add(time.Since(begin), sb.Report().Stages[len(made):])
	return errors.Join(err, cerr)
}
