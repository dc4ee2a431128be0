package sandbox

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkLandlock is what a command of /bin/true takes with Landlock and without.
func BenchmarkLandlock(b *testing.B) {
	for name, opt := range map[string]Option{"with": WithLandlock(), "without": WithoutLandlock()} {
		b.Run(name, func(b *testing.B) {
			sb, err := New(opt)
			require.NoError(b, err)
			defer sb.Close()
			for b.Loop() {
				res, err := sb.Command("/bin/true").Run(context.Background())
				require.NoError(b, err)
				require.Equal(b, OK, res.Verdict)
			}
		})
	}
}
