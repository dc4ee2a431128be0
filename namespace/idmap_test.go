package namespace_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/namespace"
)

func many(n int, each func(i uint32) namespace.IDMap) namespace.IDMaps {
	var m namespace.IDMaps
	for i := range n {
		m = append(m, each(uint32(i)))
	}
	return m
}

func TestIDMapsValidate(t *testing.T) {
	short := func(i uint32) namespace.IDMap { return namespace.IDMap{Inside: i, Outside: 1000 + i, Count: 1} }
	long := func(i uint32) namespace.IDMap {
		return namespace.IDMap{Inside: 1<<31 + 2*i, Outside: 1<<31 + 2*i, Count: 1}
	}
	for _, c := range []struct {
		name  string
		maps  namespace.IDMaps
		index int
		why   string // "" if the map is good
	}{
		{name: "single", maps: namespace.IDMaps{{1000, 1000, 1}}},
		{name: "adjacent", maps: namespace.IDMaps{{0, 100000, 1000}, {1000, 1000, 1}, {1001, 101000, 64535}}},
		{name: "last id", maps: namespace.IDMaps{{1<<32 - 2, 1<<32 - 2, 1}}},
		{name: "all ids", maps: namespace.IDMaps{{0, 0, 1<<32 - 1}}},
		{name: "as many lines as the kernel takes", maps: many(namespace.MaxExtents, short)},
		{name: "empty", maps: nil, index: -1, why: "empty"},
		{name: "too many", maps: many(namespace.MaxExtents+1, short), index: -1, why: "341 lines"},
		{name: "too long for a page", maps: many(namespace.MaxExtents, long), index: -1, why: "bytes of text"},
		{name: "no ids", maps: namespace.IDMaps{{0, 0, 0}}, why: "count is 0"},
		{name: "-1 inside", maps: namespace.IDMaps{{1<<32 - 1, 0, 1}}, why: "-1"},
		{name: "-1 outside", maps: namespace.IDMaps{{5, 5, 1}, {0, 1<<32 - 1, 1}}, index: 1, why: "-1"},
		{name: "-1 at the end", maps: namespace.IDMaps{{1<<32 - 2, 0, 2}}, why: "inside run past"},
		{name: "-1 at the end outside", maps: namespace.IDMaps{{0, 1<<32 - 2, 2}}, why: "outside run past"},
		{name: "overflow inside", maps: namespace.IDMaps{{1 << 31, 0, 1<<32 - 1}}, why: "inside run past"},
		{name: "overflow outside", maps: namespace.IDMaps{{0, 1 << 31, 1<<32 - 1}}, why: "outside run past"},
		{name: "overlap inside", maps: namespace.IDMaps{{0, 1000, 10}, {9, 2000, 1}}, index: 1, why: "ids inside overlap"},
		{name: "overlap outside", maps: namespace.IDMaps{{0, 1000, 10}, {10, 1009, 1}}, index: 1, why: "ids outside overlap"},
		{name: "contained", maps: namespace.IDMaps{{5, 5, 1}, {0, 100, 10}}, index: 1, why: "ids inside overlap those of line 1 (5 5 1)"},
		{name: "twice", maps: namespace.IDMaps{{5, 5, 1}, {5, 5, 1}}, index: 1, why: "overlap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.maps.Validate()
			if c.why == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.ErrorContains(t, err, c.why)
			var e *namespace.MapError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.index, e.Index)
		})
	}
}

func TestIDMapsText(t *testing.T) {
	m := namespace.IDMaps{{Inside: 0, Outside: 100000, Count: 1000}, {Inside: 1000, Outside: 1000, Count: 1}}
	assert.Equal(t, "0 100000 1000\n1000 1000 1\n", m.Text())
	assert.Empty(t, namespace.IDMaps{}.Text())
}

func TestIDMapsLookup(t *testing.T) {
	m := namespace.IDMaps{{0, 100000, 1000}, {1000, 7, 1}, {1<<32 - 2, 1<<32 - 2, 1}}
	for _, c := range []struct {
		inside, outside uint32
	}{{0, 100000}, {999, 100999}, {1000, 7}, {1<<32 - 2, 1<<32 - 2}} {
		got, ok := m.MapToHost(c.inside)
		assert.True(t, ok, c.inside)
		assert.Equal(t, c.outside, got)
		got, ok = m.MapFromHost(c.outside)
		assert.True(t, ok, c.outside)
		assert.Equal(t, c.inside, got)
	}
	for _, id := range []uint32{1001, 65534, 1<<32 - 1, 1<<32 - 3} {
		_, ok := m.MapToHost(id)
		assert.False(t, ok, id)
	}
	for _, id := range []uint32{0, 6, 8, 99999, 101000, 1<<32 - 1} {
		_, ok := m.MapFromHost(id)
		assert.False(t, ok, id)
	}
}

func FuzzIDMaps(f *testing.F) {
	f.Add(uint32(0), uint32(100000), uint32(65536), uint32(70000), uint32(0), uint32(1), uint32(5))
	f.Add(uint32(1<<32-1), uint32(0), uint32(1), uint32(0), uint32(1<<32-1), uint32(1<<32-1), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, i1, o1, n1, i2, o2, n2, id uint32) {
		m := namespace.IDMaps{{i1, o1, n1}, {i2, o2, n2}}
		if m.Validate() != nil {
			return
		}
		// In a good map every id stands for one other and back.
		if out, ok := m.MapToHost(id); ok {
			back, ok := m.MapFromHost(out)
			if !ok || back != id {
				t.Fatalf("%v: %d is %d outside, and that is %d (%v) inside", m, id, out, back, ok)
			}
		}
		if _, ok := m.MapToHost(1<<32 - 1); ok {
			t.Fatalf("%v maps -1", m)
		}
		if strings.Count(m.Text(), "\n") != 2 {
			t.Fatalf("%q", m.Text())
		}
	})
}
