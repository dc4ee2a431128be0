package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/pause"
	"github.com/stretchr/testify/require"
)

// BenchmarkRatio is what a sandbox costs in units of fork+exec of the same static program, which takes turns with it: only the ratios travel.
// The figures are medians. A judged command is a warm one with input, captured output and limits on time.
func BenchmarkRatio(b *testing.B) {
	program := staticTrue(b)
	opts := []Option{WithMemory("64m"), WithPids(20), WithBind(program, "/true", ReadOnly)}
	ctx := context.Background()
	sb, err := New(opts...)
	require.NoError(b, err)
	defer sb.Close()
	run := func(sb *Sandbox) {
		res, err := sb.Run(ctx, "/true")
		require.NoError(b, err)
		require.NoError(b, res.Err())
	}
	cases := []struct {
		name string
		work func()
	}{
		{"floor", func() { forkExec(b, program) }},
		{"warm", func() { run(sb) }},
		{"judged", func() {
			c := sb.Command("/true")
			c.Stdin, c.Limits = strings.NewReader("input\n"), Limits{WallTime: time.Minute, CPUTime: 30 * time.Second}
			_, err := c.Output(ctx)
			require.NoError(b, err)
		}},
		{"cold", func() {
			sb, err := New(opts...)
			require.NoError(b, err)
			run(sb)
			require.NoError(b, sb.Close())
		}},
		{"fresh", func() {
			clone, err := sb.Clone()
			require.NoError(b, err)
			run(clone)
			require.NoError(b, clone.Close())
		}},
	}
	took := make([][]time.Duration, len(cases))
	for b.Loop() {
		for i, c := range cases {
			begin := time.Now()
			c.work()
			took[i] = append(took[i], time.Since(begin))
		}
	}
	var floor float64
	for i, c := range cases {
		slices.Sort(took[i])
		median := float64(took[i][len(took[i])/2].Nanoseconds())
		if i == 0 {
			floor = median
			b.ReportMetric(floor/1e3, "floor-µs")
			continue
		}
		b.ReportMetric(median/floor, c.name+"-x")
	}
	b.ReportMetric(0, "ns/op")
}

// forkExec is what a program costs without any sandbox. There is no user namespace in it, so Go's own spawn uses vfork.
func forkExec(tb testing.TB, program string) {
	pid, err := syscall.ForkExec(program, []string{"true"}, &syscall.ProcAttr{})
	require.NoError(tb, err)
	var ws syscall.WaitStatus
	_, err = syscall.Wait4(pid, &ws, 0, nil)
	require.NoError(tb, err)
	require.Zero(tb, ws.ExitStatus())
}

// staticTrue writes a static program that exits with 0 and returns its path. It lies in a page or two: there is no cheaper one, which makes it the hardest measure.
func staticTrue(tb testing.TB) string {
	code := map[string][]byte{
		"amd64": {0x31, 0xff, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05},                                        // xor edi,edi; mov eax,60; syscall
		"arm64": {0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4, 0, 0, 0, 0}, // mov x0,0; mov x8,93; svc 0
	}[runtime.GOARCH]
	if code == nil {
		tb.Skip("no program for this architecture")
	}
	file := filepath.Join(tb.TempDir(), "true")
	require.NoError(tb, os.WriteFile(file, pause.ELF(code), 0o755))
	require.NoError(tb, os.Chmod(filepath.Dir(file), 0o755))
	return file
}
