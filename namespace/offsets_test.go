package namespace_test

import (
	"fmt"
	"io/fs"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/namespace"
)

func TestOffsetsText(t *testing.T) {
	for _, c := range []struct {
		offset time.Duration
		want   string
	}{
		{0, "0 0"},
		{time.Second, "1 0"},
		{1500 * time.Millisecond, "1 500000000"},
		{-1500 * time.Millisecond, "-2 500000000"},
		{-1, "-1 999999999"},
		{-time.Second, "-1 0"},
		{math.MinInt64, "-9223372037 145224192"},
	} {
		o := namespace.Offsets{Monotonic: c.offset, Boottime: time.Hour}
		assert.Equal(t, "monotonic "+c.want+"\nboottime 3600 0\n", o.Text())
	}
}

func TestOffsetsValidate(t *testing.T) {
	const limit = 4611686018 * time.Second
	for _, c := range []struct {
		o     namespace.Offsets
		clock string
	}{
		{namespace.Offsets{}, ""},
		{namespace.Offsets{Monotonic: limit, Boottime: -limit}, ""},
		{namespace.Offsets{Monotonic: limit + 1}, "monotonic"},
		{namespace.Offsets{Boottime: -limit - 1}, "boottime"},
		{namespace.Offsets{Boottime: math.MinInt64}, "boottime"},
	} {
		err := c.o.Validate()
		if c.clock == "" {
			assert.NoError(t, err)
			continue
		}
		var e *namespace.OffsetError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, c.clock, e.Clock)
		assert.ErrorIs(t, err, fs.ErrInvalid)
	}
}

func TestOffsetsValidateAt(t *testing.T) {
	const limit = 4611686018 * time.Second
	at := func(o namespace.Offsets) error { return o.ValidateAt(time.Hour, 2*time.Hour) }
	assert.NoError(t, at(namespace.Offsets{Monotonic: -time.Hour, Boottime: -2 * time.Hour}), "clocks may start at zero")
	assert.ErrorContains(t, at(namespace.Offsets{Monotonic: -time.Hour - 1}), "monotonic")
	assert.ErrorContains(t, at(namespace.Offsets{Boottime: -2*time.Hour - 1}), "boottime")
	assert.ErrorContains(t, at(namespace.Offsets{Boottime: limit - time.Hour}), "146 years")
	assert.ErrorContains(t, at(namespace.Offsets{Boottime: limit + 1}), "146 years")
	assert.NoError(t, at(namespace.Offsets{Monotonic: limit - time.Hour}))
}

func ExampleIDMaps_Text() {
	uids := namespace.IDMaps{{Inside: 0, Outside: 100000, Count: 65536}}
	fmt.Print(uids.Text())
	host, _ := uids.MapToHost(1000)
	fmt.Println(host)
	// Output:
	// 0 100000 65536
	// 101000
}
