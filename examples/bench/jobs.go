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
