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
	Date       string      `json:"date"`
	Machine    string      `json:"machine"`
	N          int         `json:"n"`
	Rest       int64       `json:"rest_ns"` // before each turn
	Latency    []Row       `json:"latency"`
	BackToBack []Row       `json:"back_to_back"`     // the same without a rest
	Kernel     []Row       `json:"kernel,omitempty"` // what the kernel takes for parts of a sandbox by itself
	First      []Row       `json:"first,omitempty"`  // programs that are started for one sandbox
	Stages     []Breakdown `json:"stages"`
	GivenUp    []string    `json:"given_up,omitempty"`   // limits that this host cannot enforce
	Heap       []Line      `json:"heap,omitempty"`       // x: MiB, y: ms
	HeapPairs  []Pair      `json:"heap_pairs,omitempty"` // the smallest heap and the largest
	Busy       []Row       `json:"busy,omitempty"`       // beside goroutines that work
	Big        []Pair      `json:"big,omitempty"`        // this binary and a big one
	Throughput []Line      `json:"throughput,omitempty"` // x: callers, y: runs a second
	Live       []Line      `json:"live,omitempty"`       // x: sandboxes, y: ms
	Idle       *Idle       `json:"idle,omitempty"`
	Life       []Age       `json:"life,omitempty"`
	Jobs       []Job       `json:"jobs,omitempty"`
	Left       []string    `json:"left_out,omitempty"` // what was not measured, and why
}

func newResults(n int, rest time.Duration) *Results {
	return &Results{Date: time.Now().UTC().Format("2006-01-02"), Machine: machine(), N: n, Rest: rest.Nanoseconds()}
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
	if len(r.Latency) > 0 {
		fmt.Fprintf(t, "\nfrom spawn to end, a rest of %v before\tp10 ms\tmedian\tp99\tx p10\tx median\tCPU ms\tx CPU\tn\tlacks, seen from inside\n", time.Duration(r.Rest))
		printRows(t, r.Latency)
	}
	if len(r.BackToBack) > 0 {
		fmt.Fprintf(t, "\nwithout a rest\tp10 ms\tmedian\tp99\tx p10\tx median\t\t\tn\t\n")
		printRows(t, r.BackToBack)
	}
	if len(r.Kernel) > 0 {
		fmt.Fprintf(t, "\nwhat the kernel takes by itself\tp10 ms\tmedian\tp99\tx p10\tx median\tCPU ms\tx CPU\tn\t\n")
		printRows(t, r.Kernel)
	}
	if len(r.First) > 0 {
		fmt.Fprintf(t, "\nfrom a program's start to its end\tp10 ms\tmedian\tp99\tx p10\tx median\t\t\tn\t\n")
		printRows(t, r.First)
	}
	if len(r.Busy) > 0 {
		fmt.Fprintf(t, "\nwith busy goroutines\tp10 ms\tmedian\tp99\tx p10\tx median\t\t\tn\t\n")
		printRows(t, r.Busy)
	}
	printPairs(t, "from a big binary", r.Big)
	printLines(t, "heap of the host, MiB", "median ms", r.Heap, "%.2f")
	printPairs(t, "with the largest heap", r.HeapPairs)
	printLines(t, "callers", "runs/s", r.Throughput, "%.0f")
	printLines(t, "sandboxes that stand", "median ms", r.Live, "%.2f")
	if i := r.Idle; i != nil {
		fmt.Fprintf(t, "\nan idle sandbox, of %d\tinside\tzygote\thost program\n", i.Count)
		fmt.Fprintf(t, "KiB PSS\t%.1f\t%.1f\t%.1f\n", i.Inside/1024, i.Zygote/1024, i.Host/1024)
		fmt.Fprintf(t, "descriptors\t%.1f\n", i.Files)
	}
	printLife(t, r.Life)
	if len(r.Jobs) > 0 {
		fmt.Fprintln(t, "\na job, by its own clock\toutside ms\tinside ms\tx\tn")
		for _, j := range r.Jobs {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t%d\n", j.Name, float64(j.Outside)/1e6, float64(j.Inside)/1e6, j.Ratio, j.N)
		}
	}
	_ = t.Flush()
	if len(r.Stages) > 0 {
		fmt.Fprintln(w, "\nwhere the time goes, medians in µs")
	}
	for _, b := range r.Stages {
		fmt.Fprintf(w, "  %s %.0f:", b.Name, float64(b.Total)/1e3)
		for i, s := range b.Stages {
			fmt.Fprintf(w, "%s %s %.0f", map[bool]string{true: ","}[i > 0], s.Name, float64(s.Median)/1e3)
		}
		fmt.Fprintln(w)
	}
	if len(r.Left) > 0 {
		fmt.Fprintln(w, "\nleft out:")
	}
	for _, s := range r.Left {
		fmt.Fprintln(w, "  "+s)
	}
}

func printRows(t io.Writer, rows []Row) {
	for _, r := range rows {
		if r.N == 0 {
			continue
		}
		cpu := "\t"
		if r.CPU > 0 {
			cpu = fmt.Sprintf("%.3f\t%.2f", float64(r.CPU)/1e6, r.RatioCPU)
		}
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\t%s\t%d\t%s\n", r.Name, float64(r.P10)/1e6, float64(r.Median)/1e6, float64(r.P99)/1e6,
			r.RatioP10, r.Ratio, cpu, r.N, strings.Join(r.Lacks, ", "))
	}
}

func printPairs(t io.Writer, what string, pairs []Pair) {
	if len(pairs) == 0 {
		return
	}
	fmt.Fprintf(t, "\n%s\tp10 ms\tmedian\tp99\tagainst a small one: p10\tmedian\n", what)
	for _, p := range pairs {
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.2f\t%.2f\n", p.Name, float64(p.Large.P10)/1e6, float64(p.Large.Median)/1e6, float64(p.Large.P99)/1e6, p.RatioP10, p.Ratio)
	}
}

func printLife(t io.Writer, life []Age) {
	if len(life) == 0 {
		return
	}
	fmt.Fprintln(t, "\nsandboxes so far\tp10 ms\tmedian\tp99\thost PSS KiB\tzygote\tdescriptors\tgoroutines\tprocesses")
	for _, a := range life {
		fmt.Fprintf(t, "%d\t%.3f\t%.3f\t%.3f\t%d\t%d\t%d\t%d\t%d\n", a.Sandboxes, float64(a.P10)/1e6, float64(a.Median)/1e6, float64(a.P99)/1e6,
			a.Host>>10, a.Zygote>>10, a.Files, a.Goroutines, a.Descendants)
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
