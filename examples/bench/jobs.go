package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Job is a program that works, inside against outside, by its own clock: what starting it costs does not count.
type Job struct {
	Name    string  `json:"name"`
	Outside int64   `json:"outside_ns"`
	Inside  int64   `json:"inside_ns"`
	Ratio   float64 `json:"ratio"`
	N       int     `json:"n"`
}

// works lets each job run inside and outside by turns. /tmp is in memory inside, so it is outside as well where the machine has
// /dev/shm: the file system must not make the difference.
func (l *lab) works(n int) ([]Job, error) {
	sb, err := sandbox.New(append(l.opts[:len(l.opts):len(l.opts)], sandbox.WithTmpfs("/tmp", "32m"))...)
	if err != nil {
		return nil, err
	}
	defer sb.Close()
	var all []Job
	for _, name := range []string{"cpu", "calls", "files"} {
		var in, out []time.Duration
		for range n {
			for _, side := range []struct {
				took *[]time.Duration
				run  func() (string, error)
			}{
				{&out, func() (string, error) { return output(l.root.path("job"), name, memoryDir()) }},
				{&in, func() (string, error) { return l.lookIn(sb, []string{name}) }},
			} {
				text, err := side.run()
				if err != nil {
					return nil, fmt.Errorf("job %s: %w", name, err)
				}
				ns, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
				if err != nil {
					return nil, fmt.Errorf("job %s: %w", name, err)
				}
				*side.took = append(*side.took, time.Duration(ns))
			}
		}
		slices.Sort(in)
		slices.Sort(out)
		j := Job{Name: name, N: n, Inside: quantile(in, 0.5).Nanoseconds(), Outside: quantile(out, 0.5).Nanoseconds()}
		j.Ratio = float64(j.Inside) / float64(j.Outside)
		all = append(all, j)
	}
	return all, nil
}

// memoryDir is a folder in memory, if there is one.
func memoryDir() string {
	if i, err := os.Stat("/dev/shm"); err == nil && i.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

// Stage is a part of a sandbox's set-up, by sandbox.Report.
type Stage struct {
	Name   string `json:"name"`
	Median int64  `json:"median_ns"`
}

// stages are the medians over n sandboxes, in order.
func (l *lab) stages(n int) ([]Stage, []string, error) {
	var names []string
	var lost []string
	took := map[string][]time.Duration{}
	for range n {
		sb, err := sandbox.New(l.opts...)
		if err != nil {
			return nil, nil, err
		}
		r := sb.Report()
		if err := sb.Close(); err != nil {
			return nil, nil, err
		}
		for _, s := range r.Stages {
			if took[s.Name] == nil {
				names = append(names, s.Name)
			}
			took[s.Name] = append(took[s.Name], s.Duration)
		}
		lost = lost[:0]
		for _, g := range r.GivenUp {
			lost = append(lost, g.Option+": "+g.Reason)
		}
	}
	var all []Stage
	for _, name := range names {
		slices.Sort(took[name])
		all = append(all, Stage{name, quantile(took[name], 0.5).Nanoseconds()})
	}
	return all, lost, nil
}
