package sandbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRestraint(t *testing.T) {
	t.Parallel()
	var r restraint
	assert.True(t, r.over(), "nothing has been in vain yet")
	var pauses []time.Duration
	for range 8 {
		begin := time.Now()
		r.failed()
		pauses = append(pauses, r.pause)
		assert.False(t, r.until.Before(begin.Add(r.pause)))
	}
	assert.False(t, r.over())
	assert.IsIncreasing(t, pauses[:6])
	assert.Equal(t, restraintLeast, pauses[0])
	assert.Equal(t, restraintMost, pauses[7])
	r.worked()
	r.failed()
	assert.Equal(t, restraintLeast, r.pause, "it was of use meanwhile")
	r.until = time.Now()
	assert.True(t, r.over())
}
