//go:build linux

package zygote

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever is spared where memory runs out does not have its jobs spared. Only with CAP_SYS_RESOURCE can this process be one of them; what makes it the first to go stays.
func TestMortal(t *testing.T) {
	const file = "/proc/self/oom_score_adj"
	score := func() string {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}
	before := score()
	want := before
	if os.WriteFile(file, []byte("-200"), 0) == nil {
		require.Equal(t, "-200", score())
		want = "0"
	} else if strings.HasPrefix(before, "-") {
		want = "0"
	}
	mortal()
	assert.Equal(t, want, score())
	mortal()
	assert.Equal(t, want, score())
	_ = os.WriteFile(file, []byte(before), 0)
}
