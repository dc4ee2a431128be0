// Command bench measures what a sandbox costs: the same program through plain fork+exec, through belljar, and through every other
// sandbox that is found on the machine, by turns, with what isolates the program looked at from inside. README.md says how to read it.
//
//	go run . [-n 300] [-out FOLDER] [-peers auto|none|NAME,…] [-only latency,heap,…] [-check baseline.json]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// config is what is measured.
type config struct {
	n         int
	out       string
	json      string
	peers     string
	only      string
	source    string
	heaps     string
	callers   string
	live      string
	busy      int
	big       int
	each      time.Duration
	rest      time.Duration
	life      int
	baseline  string
	tolerance float64
}

// sections are the parts of a run, in order.
var sections = []string{"latency", "kernel", "first", "stages", "jobs", "throughput", "heap", "busy", "live", "life", "big"}

func main() {
	playWorker()
	playFirst()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var c config
	flag.IntVar(&c.n, "n", 300, "runs of each subject")
	flag.StringVar(&c.out, "out", "bench-out", "`folder` for bench.json and the plots")
	flag.StringVar(&c.json, "json", "", "`file` for the figures, instead of bench.json in the folder")
	flag.StringVar(&c.peers, "peers", "auto", "other sandboxes: auto, none, or their `names`")
	flag.StringVar(&c.only, "only", strings.Join(sections, ","), "`sections` to measure")
	flag.StringVar(&c.source, "source", ".", "`folder` of the bench's source, to build a big one from")
	flag.StringVar(&c.heaps, "heaps", "0,64,256,1024", "`sizes` of the host program's heap in MiB")
	flag.StringVar(&c.callers, "callers", "1,2,4,16,64", "`numbers` of callers")
	flag.StringVar(&c.live, "live", "0,10,100,500,1000", "`numbers` of sandboxes that stand")
	flag.IntVar(&c.busy, "busy", 500, "goroutines that work")
	flag.IntVar(&c.big, "big", 60, "`MiB` that the big binary has more")
	flag.IntVar(&c.life, "life", 10_000, "sandboxes, one after the other, in the life of this program")
	flag.DurationVar(&c.rest, "rest", 2*time.Millisecond, "pause before every turn of every subject; latency is measured without, too")
	flag.DurationVar(&c.each, "each", time.Second, "time for each figure of throughput")
	flag.StringVar(&c.baseline, "check", "", "`file` of an earlier run to compare ratios with; status 1 if one is worse")
	flag.Float64Var(&c.tolerance, "tolerance", 0.5, "by how much a ratio may have grown: 0.5 is half; medians by twice that")
	flag.Parse()
	err := c.run(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if s := sandbox.Explain(err); s != "" {
			fmt.Fprintln(os.Stderr, s)
		}
		os.Exit(1)
	}
}

// run measures, prints, and stores.
func (c *config) run(ctx context.Context, w io.Writer) error {
	if runtime.GOOS != "linux" {
		return sandbox.ErrUnsupported
	}
	r, err := c.measure(ctx)
	if err != nil {
		return err
	}
	r.print(w)
	if err := os.MkdirAll(c.out, 0o755); err != nil {
		return err
	}
	if c.json == "" {
		c.json = filepath.Join(c.out, "bench.json")
	}
	if err := errors.Join(r.save(c.json), r.draw(c.out)); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nfigures: %s, plots: %s\n", c.json, c.out)
	if c.baseline == "" {
		return nil
	}
	base, err := load(c.baseline)
	if err != nil {
		return err
	}
	worse := r.check(base, c.tolerance)
	if len(worse) > 0 {
		return fmt.Errorf("slower than %s (%s, %s):\n  %s", c.baseline, base.Date, base.Machine, strings.Join(worse, "\n  "))
	}
	fmt.Fprintf(w, "no ratio is more than %.0f%% above that of %s\n", 100*c.tolerance, c.baseline)
	return nil
}

func (c *config) wants(section string) bool {
	return slices.Contains(strings.Split(c.only, ","), section)
}

func (c *config) measure(ctx context.Context) (r *Results, err error) {
	heaps, err1 := numbers(c.heaps)
	callers, err2 := numbers(c.callers)
	live, err3 := numbers(c.live)
	if err := errors.Join(err1, err2, err3, c.checkSections()); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "belljar-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the jobs of peers that map ids go through it
		return nil, err
	}
	l, err := newLab(ctx, dir)
	if err != nil {
		return nil, err
	}
	ours, err := l.ours()
	defer func() { err = errors.Join(err, stopAll(ours)) }()
	if err != nil {
		return nil, err
	}
	r = newResults(c.n, c.rest)
	for _, s := range sections {
		if !c.wants(s) {
			r.Left = append(r.Left, s+": not asked for")
		}
	}
	steps := []struct {
		section string
		do      func() error
	}{
		{"latency", func() error { return c.latency(l, ours, r) }},
		{"kernel", func() error { return c.kernel(l, r) }},
		{"first", func() (err error) { r.First, err = l.first(c.fast(l), max(c.n/3, 1), c.rest); return err }},
		{"stages", func() (err error) { r.Stages, r.GivenUp, err = l.stages(max(c.n/3, 1), c.rest); return err }},
		{"jobs", func() (err error) { r.Jobs, err = l.works(max(c.n/20, 1)); return err }},
		{"throughput", func() (err error) {
			r.Throughput, err = throughput(slices.Concat(ours, c.fast(l)), callers, c.each)
			return err
		}},
		{"heap", func() (err error) {
			r.Heap, r.HeapPairs, err = l.heaps(names(ours), heaps, max(c.n/3, 1), c.rest)
			return err
		}},
		{"busy", func() (err error) { r.Busy, err = busy(ours, c.busy, max(c.n/2, 1), c.rest); return err }},
		{"live", func() (err error) { r.Live, r.Idle, err = l.live(ours, live, max(c.n/6, 1), c.rest); return err }},
		{"life", func() (err error) { r.Life, err = l.life(find(ours, "belljar cold"), c.life); return err }},
		{"big", func() (err error) {
			r.Big, err = l.big(names(ours), c.source, c.big, max(c.n/2, 1), c.rest)
			return err
		}},
	}
	for _, s := range steps {
		if !c.wants(s.section) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := s.do(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.section, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.1f s\n", s.section, time.Since(begin).Seconds())
	}
	return r, nil
}

func (c *config) checkSections() error {
	for _, s := range strings.Split(c.only, ",") {
		if !slices.Contains(sections, s) {
			return fmt.Errorf("there is no section %q; there are %s", s, strings.Join(sections, ", "))
		}
	}
	return nil
}

func numbers(list string) ([]int, error) {
	var all []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// others are the peers that were asked for.
func (c *config) others(l *lab) []*subject {
	switch c.peers {
	case "none":
		return nil
	case "auto":
		return l.others(nil)
	}
	return l.others(strings.Split(c.peers, ","))
}

// latency measures everybody, having looked at each from inside.
func (c *config) latency(l *lab, ours []*subject, r *Results) (err error) {
	others := c.others(l)
	defer func() { err = errors.Join(err, stopAll(others)) }()
	all := slices.Concat(ours, others)
	lacks := map[string][]string{}
	outside := namespacesHere()
	for i, s := range all {
		if s.absent != "" || i == 0 {
			continue
		}
		lack, err := s.lacks(outside)
		if err != nil && i < len(ours) {
			return err
		}
		if err != nil {
			s.absent = err.Error()
		}
		lacks[s.name] = lack
	}
	if r.Latency, err = measure(all, c.n, c.rest); err != nil {
		return err
	}
	if err := cpuTimes(all, r.Latency, max(c.n/2, 1)); err != nil {
		return err
	}
	if r.BackToBack, err = measure(ours, c.n, 0); err != nil {
		return err
	}
	for i := range r.Latency {
		row := &r.Latency[i]
		row.Lacks = lacks[row.Name]
		if row.Absent == "" {
			continue
		}
		if i < len(ours) {
			return fmt.Errorf("%s: %s", row.Name, row.Absent)
		}
		r.Left = append(r.Left, row.Name+": "+row.Absent)
	}
	return nil
}

// kernel measures what the kernel takes by itself, where that can be had.
func (c *config) kernel(l *lab, r *Results) (err error) {
	if os.Geteuid() != 0 {
		r.Left = append(r.Left, "kernel: namespaces and cgroups without a sandbox need root")
		return nil
	}
	r.Kernel, err = l.kernel(c.n, c.rest)
	return err
}

// find returns the subject of that name, which there is.
func find(all []*subject, name string) *subject {
	return all[slices.IndexFunc(all, func(s *subject) bool { return s.name == name })]
}

// fast is the peer that is used most for single commands, to compare throughput and first sandboxes with; none where it cannot be had.
func (c *config) fast(l *lab) []*subject {
	return slices.DeleteFunc(c.others(l), func(s *subject) bool { return s.name != "bwrap" || s.absent != "" || s.run() != nil })
}
