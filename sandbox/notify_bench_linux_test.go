package sandbox

import (
	"context"
	"slices"
	"strconv"
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

// BenchmarkAsked is what a call costs that a handler answers, beside one that the filter refuses and the plainest call that there is, by medians.
func BenchmarkAsked(b *testing.B) {
	ask := func(seccomp.Call) seccomp.Answer { return seccomp.Refuse(1) }
	read := func(c seccomp.Call) seccomp.Answer {
		if _, err := c.Path(c.Args[1]); err != nil {
			b.Error(err)
		}
		return seccomp.Refuse(1)
	}
	cases := []struct {
		name string
		opt  Option
	}{
		{"handler", WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", ask))},
		{"reading", WithSeccomp(seccomp.Default(), seccomp.Notify("mkdirat", read))}, // a path
		{"filter", WithSeccomp(seccomp.Default().With(seccomp.Rule{Names: []string{"mkdirat"}, Action: seccomp.Errno(1)}))},
	}
	took := map[string][]float64{}
	var boxes []*Sandbox
	for _, c := range cases {
		boxes = append(boxes, newBox(b, c.opt, asVictim(b)))
	}
	for b.Loop() {
		for i, c := range cases {
			v := values(play(b, boxes[i], "timed", "500"))
			for from, to := range map[string]string{"mkdir": c.name, "plain": "plain"} {
				ns, err := strconv.ParseFloat(v[from], 64)
				require.NoError(b, err)
				took[to] = append(took[to], ns)
			}
		}
	}
	median := func(name string) float64 { slices.Sort(took[name]); return took[name][len(took[name])/2] }
	for name := range took {
		b.ReportMetric(median(name), "ns-"+name)
	}
	b.ReportMetric(median("handler")/median("plain"), "ratio")
}
