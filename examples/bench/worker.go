package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A worker is another host program like this one but for its heap or its binary. It runs a subject when it is told to, and says how long that took: so the two take turns,
// and what the machine does meanwhile hits both.

// workerEnv makes a worker of the program: the MiB of its heap, and the folder with the root.
const workerEnv = "BELLJAR_BENCH_WORKER"

// playWorker serves and does not return, in a program that is a worker.
func playWorker() {
	size, root, ok := strings.Cut(os.Getenv(workerEnv), " ")
	if !ok {
		return
	}
	if err := serve(size, root, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve runs the subjects that are named on in, line by line.
func serve(size, dir string, in io.Reader, out io.Writer) (err error) {
	mib, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	heap := make([]byte, mib<<20)
	for i := 0; i < len(heap); i += os.Getpagesize() {
		heap[i] = 1
	}
	l := labIn(context.Background(), dir, &root{dir})
	all, err := l.ours()
	defer func() { err = errors.Join(err, stopAll(all)) }()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		for _, s := range all {
			if s.name != lines.Text() {
				continue
			}
			took, err := s.turn(0)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if _, err := fmt.Fprintln(out, took.Nanoseconds()); err != nil {
				return err
			}
		}
	}
	if heap != nil && mib > 0 && heap[0] != 1 { // it is there to the end
		return io.ErrUnexpectedEOF
	}
	return nil
}

type worker struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// startWorker starts the program as a worker.
func (l *lab) startWorker(name, program string, mib int) (*worker, error) {
	w := &worker{name: name, cmd: exec.CommandContext(l.ctx, program)}
	w.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", workerEnv, mib, l.root.dir))
	w.cmd.Stderr = os.Stderr
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if !w.out.Scan() {
		return nil, fmt.Errorf("worker %s: does not begin: %w", name, w.stop())
	}
	return w, nil
}

// stop ends the worker.
func (w *worker) stop() error {
	return errors.Join(w.in.Close(), w.cmd.Wait())
}

// subject is one of the worker's own.
func (w *worker) subject(name string) *subject {
	return &subject{name: name + ", " + w.name, remote: func() (time.Duration, error) {
		if _, err := fmt.Fprintln(w.in, name); err != nil {
			return 0, err
		}
		if !w.out.Scan() {
			return 0, errors.New("the worker " + w.name + " has ended")
		}
		ns, err := strconv.ParseInt(w.out.Text(), 10, 64)
		return time.Duration(ns), err
	}}
}

// Pair sets a subject in one host program beside the same in another.
type Pair struct {
	Name     string  `json:"name"`
	Small    Row     `json:"small"`
	Large    Row     `json:"large"`
	RatioP10 float64 `json:"ratio_p10"` // of the two
	Ratio    float64 `json:"ratio"`     // of the medians
}

// together measures the subjects of workers by turns, n times each. It returns the rows, a slice for each worker.
func together(workers []*worker, names []string, n int, rest time.Duration) ([][]Row, error) {
	var all []*subject
	for _, w := range workers {
		for _, name := range names {
			all = append(all, w.subject(name))
		}
	}
	rows, err := measure(all, n, rest)
	if err != nil {
		return nil, err
	}
	out := make([][]Row, len(workers))
	for i := range workers {
		out[i] = rows[i*len(names) : (i+1)*len(names)]
		for j := range out[i] {
			if out[i][j].Absent != "" {
				return nil, errors.New(out[i][j].Name + ": " + out[i][j].Absent)
			}
			out[i][j].Name = names[j]
			out[i][j].sum(&out[i][0]) // its own floor
		}
	}
	return out, nil
}

// pairs sets rows of one worker beside those of another.
func pairs(small, large []Row) []Pair {
	all := make([]Pair, len(small))
	for i := range all {
		all[i] = Pair{Name: small[i].Name, Small: small[i], Large: large[i], RatioP10: ratio(large[i].P10, small[i].P10), Ratio: ratio(large[i].Median, small[i].Median)}
	}
	return all
}

// names are those of the subjects.
func names(all []*subject) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = s.name
	}
	return out
}
