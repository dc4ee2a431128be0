package sandbox

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimitsValidate(t *testing.T) {
	for _, l := range []Limits{
		{},
		{CPUTime: time.Millisecond, WallTime: maxTime, Memory: minMemory, Output: 1, Pids: 1},
		{Pids: maxPids, Memory: math.MaxInt64, Output: math.MaxInt64},
	} {
		assert.NoError(t, l.validate(), "%+v", l)
	}
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{CPUTime: -1}, `options: Limits.CPUTime "-1ns": is not positive`},
		{Limits{CPUTime: 5}, `options: Limits.CPUTime "5ns": is less than a millisecond: a bare number counts nanoseconds`},
		{Limits{WallTime: math.MinInt64}, "Limits.WallTime"},
		{Limits{WallTime: math.MaxInt64}, "more than 100 years"},
		{Limits{Memory: -1}, `options: Limits.Memory "-1": is not positive`},
		{Limits{Memory: minMemory - 1}, "less than the 512k"},
		{Limits{Output: -1}, "Limits.Output"},
		{Limits{Pids: -1}, "Limits.Pids"},
		{Limits{Pids: maxPids + 1}, "4194304"},
	} {
		err := c.limits.validate()
		require.ErrorIs(t, err, ErrInvalid, "%+v", c.limits)
		assert.ErrorContains(t, err, c.want)
	}
}

func TestLimitsWithin(t *testing.T) {
	own := Limits{CPUTime: time.Second, WallTime: time.Minute, Memory: 64 << 20, Output: NoLimit, Pids: 10}
	assert.Equal(t, Limits{CPUTime: time.Second, WallTime: time.Minute, Memory: 64 << 20, Pids: 10}, Limits{}.within(own), "zero is the sandbox's own")
	tight := Limits{CPUTime: time.Millisecond, WallTime: time.Second, Memory: 1 << 20, Output: 5, Pids: 1}
	assert.Equal(t, tight, tight.within(own))
	assert.Equal(t, tight, tight.within(Limits{}))
	loose := Limits{CPUTime: time.Hour, WallTime: time.Hour, Memory: 1 << 40, Output: 5, Pids: 1000}
	assert.Equal(t, Limits{CPUTime: time.Second, WallTime: time.Minute, Memory: 64 << 20, Output: 5, Pids: 10}, loose.within(own), "a command cannot loosen them")
}
