package sandbox

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
)

// BenchmarkPaused has commands in a standing sandbox, each with a leaf made, entered, read and removed, against plain fork+exec: in a hot loop, and
// with 25 ms between. What waits for an RCU grace period shows only in the latter: it takes up to 10 ms of a quiet kernel.
// The medians in microseconds are to be compared.
func BenchmarkPaused(b *testing.B) {
	sb, err := New(WithMemory("64m"), WithPids(20), WithCPUs(1))
	if err != nil {
		b.Fatal(err)
	}
	defer sb.Close()
	for _, what := range []struct {
		name string
		run  func() error
	}{
		{"forkexec", func() error {
			p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
			if err == nil {
				_, err = p.Wait()
			}
			return err
		}},
		{"command", func() error {
			res, err := sb.Command("/bin/true").Run(context.Background())
			if err == nil {
				err = res.Err()
			}
			return err
		}},
	} {
		for _, pause := range []time.Duration{0, 25 * time.Millisecond} {
			b.Run(what.name+"/"+pause.String(), func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					if pause > 0 {
						b.StopTimer()
						time.Sleep(pause)
						b.StartTimer()
					}
					begin := time.Now()
					if err := what.run(); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(begin))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-us")
				b.ReportMetric(float64(took[len(took)/10].Microseconds()), "p10-us") // of a machine that is busy with other things
			})
		}
	}
}
