package sandbox

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/require"
)

// BenchmarkSupervised is what a policy that kills adds to a command: the listener's way to the host program, and somebody who waits at it. The
// program makes no call that is asked about, so nothing else differs. The two take turns, and medians are compared.
func BenchmarkSupervised(b *testing.B) {
	boxes := []*Sandbox{newBox(b), newBox(b, killing())}
	took := make([][]time.Duration, 2)
	for b.Loop() {
		for i, sb := range boxes {
			begin := time.Now()
			res, err := sb.Run(context.Background(), "/bin/true")
			took[i] = append(took[i], time.Since(begin))
			require.NoError(b, err)
			require.Equal(b, OK, res.Verdict)
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2].Nanoseconds()) }
	b.ReportMetric(median(took[0]), "ns-errno")
	b.ReportMetric(median(took[1]), "ns-kill")
	b.ReportMetric(median(took[1])/median(took[0]), "ratio")
}

// BenchmarkAsked is what a call costs that a handler answers, beside one that the filter answers.
func BenchmarkAsked(b *testing.B) {
	ask := func(seccomp.Call) seccomp.Answer { return seccomp.Refuse(1) }
	for name, opts := range map[string][]Option{
		"handler": {WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", ask))},
		"filter":  {WithSeccomp(seccomp.Default().With(seccomp.Rule{Names: []string{"mkdirat"}, Action: seccomp.Errno(1)}))},
	} {
		b.Run(name, func(b *testing.B) {
			const calls = 5000
			sb := newBox(b, append(opts, asVictim(b))...)
			for b.Loop() {
				play(b, sb, "mkdirs", "5000")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
		})
	}
}
