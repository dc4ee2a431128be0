package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	playWorker() // this binary, too, is the host program of others
	playFirst()
	os.Exit(m.Run())
}

// small is a run of everything that takes no time, so that nothing of it can rot. It asserts no duration.
func small(t *testing.T) *config {
	t.Helper()
	return &config{
		n: 3, out: t.TempDir(), peers: "none", only: "latency,kernel,first,stages,jobs,throughput,heap,busy,live,life", source: ".",
		heaps: "0,8", callers: "1,2", live: "0,3", busy: 5, each: time.Millisecond, tolerance: 0.5, rest: time.Microsecond, life: 3,
	}
}

func TestBench(t *testing.T) {
	c := small(t)
	var out bytes.Buffer
	require.NoError(t, c.run(t.Context(), &out), out.String())
	r, err := load(filepath.Join(c.out, "bench.json"))
	require.NoError(t, err)
	for _, name := range []string{"fork+exec", "belljar warm", "belljar judged", "belljar pool", "belljar fresh", "belljar cold"} {
		row := r.row(name)
		require.NotNil(t, row, name)
		assert.Equal(t, 3, row.N)
		assert.Positive(t, row.Median)
		assert.GreaterOrEqual(t, row.P99, row.Median)
		assert.GreaterOrEqual(t, row.Median, row.P10)
		assert.Positive(t, row.P10)
		assert.Positive(t, row.CPU)
		assert.Empty(t, row.Lacks, "%s, seen from inside", name)
		for _, lines := range [][]Line{r.Heap, r.Throughput, r.Live} {
			assert.True(t, has(lines, name), name)
		}
		assert.Contains(t, out.String(), name)
	}
	assert.Len(t, r.Busy, 6)
	assert.Len(t, r.BackToBack, 6)
	require.Len(t, r.HeapPairs, 6)
	assert.Equal(t, "belljar cold", r.HeapPairs[5].Name)
	assert.Positive(t, r.HeapPairs[5].Ratio)
	require.Len(t, r.Life, 3)
	assert.Equal(t, 3, r.Life[2].Sandboxes)
	assert.Positive(t, r.Life[2].Files)
	if os.Geteuid() == 0 {
		require.Len(t, r.Kernel, 10)
		for i, row := range r.Kernel {
			assert.Equal(t, 3, row.N, row.Name)
			assert.Equal(t, i < 5, row.CPU > 0, "%s: what is done ahead of time is not counted", row.Name)
		}
		require.NotNil(t, r.Idle)
		assert.Equal(t, 3, r.Idle.Count)
		assert.Positive(t, r.Idle.Inside)
	}
	require.Len(t, r.First, 3)
	for _, row := range r.First {
		assert.Equal(t, 1, row.N, row.Name)
		assert.Positive(t, row.Median, row.Name)
	}
	stages := map[string][]string{}
	for _, b := range r.Stages {
		assert.Positive(t, b.Total, b.Name)
		for _, s := range b.Stages {
			stages[b.Name] = append(stages[b.Name], s.Name)
		}
	}
	for _, name := range []string{"warm: Run", "fresh: Run", "cold: Run"} {
		assert.Subset(t, stages[name], []string{"messages", "run"}, name)
	}
	for _, name := range []string{"fresh: Clone", "cold: New"} {
		assert.Subset(t, stages[name], []string{"compile", "create"}, name)
	}
	assert.Contains(t, stages["cold: Close"], "close")
	require.Len(t, r.Jobs, 3)
	for _, j := range r.Jobs {
		assert.Positive(t, j.Ratio, j.Name)
	}
	for _, f := range []string{"latency", "heap", "throughput", "live", "life"} {
		for _, ext := range []string{".svg", ".png"} {
			i, err := os.Stat(filepath.Join(c.out, f+ext))
			require.NoError(t, err)
			assert.Positive(t, i.Size())
		}
	}
	assert.Contains(t, out.String(), "big: not asked for", "what is left out is said")
}

// The groups that are measured are made beside a sandbox's, as deep as a command's, and are gone afterwards.
func TestTreesOf(t *testing.T) {
	host := cgroup.ParseHost(strings.Join([]string{
		"30 20 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
		"31 20 0:27 /slice /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
		"32 20 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer",
		"33 20 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
	}, "\n"), "3:cpuacct,cpu:/slice\n2:freezer:/\n1:pids:/\n0::/\n", "hugetlb")
	trees := treesOf(host, "3:cpuacct,cpu:/slice/a/belljar-1-2/s/job-1\n2:freezer:/belljar-1-2/s\n1:pids:/elsewhere\n0::/belljar-1-2/s/job-1\n")
	assert.Equal(t, []tree{
		{group: "/sys/fs/cgroup/cpu,cpuacct/a/belljar-1-2/bench", leaf: "/sys/fs/cgroup/cpu,cpuacct/a/belljar-1-2/bench/leaf"},
		{group: "/sys/fs/cgroup/freezer/belljar-1-2/bench"},
		{group: "/sys/fs/cgroup/unified/belljar-1-2/bench", leaf: "/sys/fs/cgroup/unified/belljar-1-2/bench/leaf"},
	}, trees)
	assert.Empty(t, treesOf(host, "1:pids:/\n"))
}

func has(lines []Line, name string) bool {
	for _, l := range lines {
		if l.Name == name {
			return len(l.X) == 2 && len(l.Y) == 2 && l.Y[0] > 0 && l.Y[1] > 0
		}
	}
	return false
}

// The probe finds what a program without a sandbox lacks: the control of every empty cell in the table.
func TestProbeFindsWhatIsLacking(t *testing.T) {
	l, err := newLab(t.Context(), t.TempDir())
	require.NoError(t, err)
	lack, err := l.floor().lacks(namespacesHere())
	require.NoError(t, err)
	for _, k := range kinds {
		assert.Contains(t, lack, k+" namespace")
	}
	assert.Contains(t, lack, "own /proc")
	if os.Geteuid() == 0 {
		assert.Subset(t, lack, []string{"read-only root", "unprivileged uid"})
	}
}

// A peer that is not there, or cannot run, is named with the reason, and costs nothing else.
func TestPeersThatCannotRun(t *testing.T) {
	l, err := newLab(t.Context(), t.TempDir())
	require.NoError(t, err)
	gone := l.peer(peer{"gone", "belljar-no-such-program", nil})
	assert.Equal(t, "not on this machine", gone.absent)
	broken := l.peer(peer{"broken", "false", func(*lab, string) (*peerRun, error) { return &peerRun{argv: fixed("false")}, nil }})
	_, err = broken.lacks(nil)
	require.Error(t, err)
	rows, err := measure([]*subject{l.floor(), gone, broken}, 2, 0)
	require.NoError(t, err)
	assert.Equal(t, 2, rows[0].N)
	assert.Zero(t, rows[1].N)
	assert.Contains(t, rows[2].Absent, "wait status")
}

// What stands ready executes the program, with its arguments and environment, when it is told to, and not before.
func TestReadyProgram(t *testing.T) {
	l := &lab{dir: t.TempDir()}
	require.NoError(t, l.makeReady())
	cmd := exec.Command(l.readyProgram(), "/bin/sh", "-c", `echo "$0 $A"; exit 7`, "it runs")
	cmd.Env = []string{"A=with all"}
	var out bytes.Buffer
	cmd.Stdout = &out
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	is, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	require.NoError(t, err)
	assert.Equal(t, "ready", filepath.Base(is))
	_, err = stdin.Write([]byte{'\n'})
	require.NoError(t, err)
	var e *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &e)
	assert.Equal(t, 7, e.ExitCode())
	assert.Equal(t, "it runs with all\n", out.String())
}

func TestStaticTrue(t *testing.T) {
	elf, err := trueCode.elf()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "true")
	require.NoError(t, os.WriteFile(file, elf, 0o755))
	require.NoError(t, exec.Command(file).Run())
	require.NoError(t, spawn(file, nil, "true"))
	assert.Less(t, len(elf), 200)
	no, err := exec.LookPath("false")
	require.NoError(t, err)
	require.Error(t, spawn(no, nil, "false"), "an exit status is not overlooked")
	require.ErrorIs(t, spawn(file+"x", nil, "true"), os.ErrNotExist)
}

func TestCheck(t *testing.T) {
	run := func(warm, cold, cpu float64) *Results {
		return &Results{
			Latency: []Row{
				{Name: "fork+exec", N: 9, Ratio: 1, RatioP10: 1, RatioCPU: 1},
				{Name: "belljar warm", N: 9, Ratio: warm, RatioP10: warm, RatioCPU: warm},
				{Name: "belljar cold", N: 9, Ratio: cold, RatioP10: cold, RatioCPU: cold},
				{Name: "bwrap", N: 9, Ratio: 5, RatioP10: 5, RatioCPU: 5},
			},
			Jobs: []Job{{Name: "cpu", Ratio: cpu}},
		}
	}
	base := run(1.2, 3, 1)
	assert.Empty(t, run(1.2, 3, 1).check(base, 0.5))
	assert.Empty(t, run(1.7, 4, 0.9).check(base, 0.5), "within the tolerance")
	assert.Equal(t, []string{"belljar warm, CPU: 1.90, was 1.20, which allows 1.80", "belljar warm, p10: 1.90, was 1.20, which allows 1.80"}, run(1.9, 3, 1).check(base, 0.5))
	assert.Len(t, run(5, 9, 4).check(base, 0.5), 7)
	seldom := run(1.2, 3, 1)
	seldom.Latency[1].Ratio = 2.5
	assert.Equal(t, []string{"belljar warm, median: 2.50, was 1.20, which allows 2.40"}, seldom.check(base, 0.5), "what is slow only every other time is seen too")
	gone := run(1, 1, 1)
	gone.Latency[1].N = 0
	assert.Equal(t, []string{
		"belljar warm, CPU: was 1.20, is not measured any more", "belljar warm, median: was 1.20, is not measured any more",
		"belljar warm, p10: was 1.20, is not measured any more",
	}, gone.check(base, 0.5))
	peer := run(1.2, 3, 1)
	peer.Latency[3].Ratio, peer.Latency[3].RatioP10 = 50, 50
	assert.Empty(t, peer.check(base, 0.5), "peers are no business of ours")
}

// What is stored names every figure that a check run measures.
func TestBaselineIsWhole(t *testing.T) {
	base, err := load("baseline.json")
	require.NoError(t, err)
	want := []string{"job cpu", "job calls", "job files"}
	for _, name := range []string{"belljar warm", "belljar judged", "belljar pool", "belljar fresh", "belljar cold"} {
		want = append(want, name+", p10", name+", median", name+", CPU")
	}
	for _, name := range want {
		assert.Positive(t, base.ratios()[name].value, name)
	}
	assert.Len(t, base.ratios(), len(want))
}

func TestQuantiles(t *testing.T) {
	d := func(n ...int) (all []time.Duration) {
		for _, n := range n {
			all = append(all, time.Duration(n))
		}
		return all
	}
	assert.Equal(t, time.Duration(0), quantile(nil, 0.5))
	assert.Equal(t, time.Duration(7), quantile(d(7), 0.99))
	assert.Equal(t, time.Duration(3), quantile(d(1, 2, 3, 4, 5), 0.5))
	assert.Equal(t, time.Duration(5), quantile(d(1, 2, 3, 4, 5), 0.99))
	r := Row{samples: d(30, 10, 20)}
	r.sum(&Row{Median: 10, P10: 4})
	assert.Equal(t, Row{N: 3, P10: 10, Median: 20, P99: 30, RatioP10: 2.5, Ratio: 2, samples: d(10, 20, 30)}, r)
}

func TestBadArguments(t *testing.T) {
	for _, change := range []func(*config){
		func(c *config) { c.heaps = "1,x" },
		func(c *config) { c.callers = "-1" },
		func(c *config) { c.only = "latency,nonsense" },
		func(c *config) { c.baseline = "missing.json"; c.only = "stages" },
	} {
		c := small(t)
		change(c)
		err := c.run(t.Context(), &bytes.Buffer{})
		require.Error(t, err)
		assert.True(t, strings.Contains(err.Error(), "numbers") || strings.Contains(err.Error(), "no section") || os.IsNotExist(err), err)
	}
}

// Everybody comes after everybody else equally often, so that nobody always bears what the same other has left behind.
func TestOrder(t *testing.T) {
	for n := 1; n <= 14; n++ {
		after := map[[2]int]int{}
		rounds := 2 * n
		for round := range rounds {
			all := order(n, round)
			seen := map[int]bool{}
			for i, s := range all {
				seen[s] = true
				if i > 0 {
					after[[2]int{all[i-1], s}]++
				}
			}
			assert.Len(t, seen, n)
		}
		assert.Len(t, after, n*(n-1))
		for pair, times := range after {
			assert.Equal(t, 2, times, "%d subjects: %v", n, pair)
		}
	}
}

// CPU time is what the program and all below it have used: a child that computes shows, also as long as it lives, and sleep does not.
func TestCPUTimes(t *testing.T) {
	l, err := newLab(t.Context(), t.TempDir())
	require.NoError(t, err)
	sb, err := sandbox.New(l.opts...)
	require.NoError(t, err)
	defer sb.Close()
	var all []*subject
	for name, run := range map[string]func() error{
		"asleep": func() error { time.Sleep(30 * time.Millisecond); return nil },
		"child":  func() error { _, err := output(l.root.path("job"), "cpu"); return err },
		"inside": func() error { _, err := l.lookIn(sb, []string{"cpu"}); return err },
	} {
		all = append(all, &subject{name: name, run: run})
	}
	// Something else may have to be done just then, or the processor stops and is taken to work; but not always.
	for end := time.Now().Add(time.Minute); ; {
		rows, err := measure(all, 2, 0)
		require.NoError(t, err)
		require.NoError(t, cpuTimes(all, rows, 2))
		took := map[string]int64{}
		for _, r := range rows {
			took[r.Name] = r.CPU
		}
		if took["child"] > 3*took["asleep"] && took["inside"] > 3*took["asleep"] {
			return
		}
		require.True(t, time.Now().Before(end), "%v", took)
	}
}

// A worker that cannot run, or ends, is an error and no figure.
func TestWorkers(t *testing.T) {
	l, err := newLab(t.Context(), t.TempDir())
	require.NoError(t, err)
	_, err = l.startWorker("false", "/bin/false", 0)
	require.ErrorContains(t, err, "worker false: does not begin")
	own, err := os.Executable()
	require.NoError(t, err)
	w, err := l.startWorker("own", own, 1)
	require.NoError(t, err)
	took, err := w.subject("belljar warm").remote()
	require.NoError(t, err)
	assert.Positive(t, took)
	require.NoError(t, w.stop())
	_, err = w.subject("belljar warm").remote()
	require.Error(t, err)
}
