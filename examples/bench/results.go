package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// Results is all that a run of the bench came to.
type Results struct {
	Date       string   `json:"date"`
	Machine    string   `json:"machine"`
	N          int      `json:"n"`
	Latency    []Row    `json:"latency"`
	Stages     []Stage  `json:"stages"`
	GivenUp    []string `json:"given_up,omitempty"`   // limits that this host cannot enforce
	Heap       []Line   `json:"heap,omitempty"`       // x: MiB, y: ms
	Busy       []Row    `json:"busy,omitempty"`       // beside goroutines that work
	Big        []Row    `json:"big,omitempty"`        // from a big binary
	Throughput []Line   `json:"throughput,omitempty"` // x: callers, y: runs a second
	Live       []Line   `json:"live,omitempty"`       // x: sandboxes, y: ms
	IdlePSS    float64  `json:"idle_pss_bytes,omitempty"`
	Jobs       []Job    `json:"jobs,omitempty"`
	Left       []string `json:"left_out,omitempty"` // what was not measured, and why
}

func newResults(n int) *Results {
	return &Results{Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), N: n}
}

func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s/%s, %d CPUs, Linux %s, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version())
}

// row finds a subject's.
func (r *Results) row(name string) *Row {
	for i := range r.Latency {
		if r.Latency[i].Name == name {
			return &r.Latency[i]
		}
	}
	return nil
}

func (r *Results) save(file string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

func load(file string) (*Results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// print writes the tables for people.
func (r *Results) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %s\n", r.Date, r.Machine)
	for _, g := range r.GivenUp {
		fmt.Fprintf(w, "not enforced here: %s\n", g)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nfrom spawn to end\tmedian ms\tp99 ms\tx\tn\tlacks, seen from inside")
	printRows(t, r.Latency)
	if len(r.Busy) > 0 {
		fmt.Fprintf(t, "\nwith busy goroutines\tmedian ms\tp99 ms\tx\tn\t\n")
		printRows(t, r.Busy)
	}
	if len(r.Big) > 0 {
		fmt.Fprintf(t, "\nfrom a big binary\tmedian ms\tp99 ms\tx\tn\t\n")
		printRows(t, r.Big)
	}
	printLines(t, "heap of the host, MiB", "ms", r.Heap, "%.2f")
	printLines(t, "callers", "runs/s", r.Throughput, "%.0f")
	printLines(t, "sandboxes that stand", "ms", r.Live, "%.2f")
	if r.IdlePSS > 0 {
		fmt.Fprintf(t, "\nan idle sandbox\t%.1f KiB PSS\n", r.IdlePSS/1024)
	}
	if len(r.Jobs) > 0 {
		fmt.Fprintln(t, "\na job, by its own clock\toutside ms\tinside ms\tx\tn")
		for _, j := range r.Jobs {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t%d\n", j.Name, float64(j.Outside)/1e6, float64(j.Inside)/1e6, j.Ratio, j.N)
		}
	}
	if len(r.Stages) > 0 {
		fmt.Fprintln(t, "\na cold set-up, by stages\tmedian µs")
		for _, s := range r.Stages {
			fmt.Fprintf(t, "%s\t%.0f\n", s.Name, float64(s.Median)/1e3)
		}
	}
	_ = t.Flush()
	if len(r.Left) > 0 {
		fmt.Fprintln(w, "\nleft out:")
	}
	for _, s := range r.Left {
		fmt.Fprintln(w, "  "+s)
	}
}

func printRows(t io.Writer, rows []Row) {
	for _, r := range rows {
		if r.N > 0 {
			fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.2f\t%d\t%s\n", r.Name, float64(r.Median)/1e6, float64(r.P99)/1e6, r.Ratio, r.N, strings.Join(r.Lacks, ", "))
		}
	}
}

func printLines(t io.Writer, x, y string, lines []Line, format string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s (%s)", x, y)
	for _, v := range lines[0].X {
		fmt.Fprintf(t, "\t%g", v)
	}
	fmt.Fprintln(t)
	for _, l := range lines {
		fmt.Fprint(t, l.Name)
		for _, v := range l.Y {
			fmt.Fprintf(t, "\t"+format, v)
		}
		fmt.Fprintln(t)
	}
}
