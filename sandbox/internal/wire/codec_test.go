package wire

import (
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bodies are all structs that travel.
var bodies = []any{
	Hello{}, CreateRequest{}, StartRequest{}, DoRequest{}, BoxRequest{}, SignalRequest{}, FreezeRequest{}, WatchRequest{}, MemoryRequest{}, Happening{}, Answer{}, Exit{}, Ended{},
}

// fill puts something else than zero into every field, so that one which is not sent is missed.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("text " + time.Duration(*n).String())
	case reflect.Float64:
		v.SetFloat(float64(*n) / 3)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(time.Unix(1700000000, *n)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	default:
		if v.CanInt() {
			v.SetInt(-(*n % 100))
		} else {
			v.SetUint(uint64(*n % 100))
		}
	}
}

func TestEveryFieldTravels(t *testing.T) {
	for _, zero := range bodies {
		typ := reflect.TypeOf(zero)
		for _, filled := range []bool{false, true} {
			v := reflect.New(typ)
			if n := int64(0); filled {
				fill(v.Elem(), &n)
			}
			b, err := encode(nil, v.Elem().Interface())
			require.NoError(t, err, typ)
			again, err := encode(nil, v.Interface())
			require.NoError(t, err, typ)
			assert.Equal(t, b, again, "by value and by pointer")
			got := reflect.New(typ)
			require.NoError(t, decode(b, got.Interface()), typ)
			assert.Equal(t, v.Interface(), got.Interface(), typ)
		}
	}
}

func TestExtremes(t *testing.T) {
	for _, want := range []Exit{
		{Status: 1<<32 - 1, Wall: 1<<63 - 1, User: -1 << 63, MaxRSS: -1},
		{Stats: cgroup.Stats{Memory: cgroup.Memory{OOMKills: 1<<64 - 1}}},
	} {
		b, err := encode(nil, want)
		require.NoError(t, err)
		var got Exit
		require.NoError(t, decode(b, &got))
		assert.Equal(t, want, got)
	}
}

// No body can be taken for another struct, cut short or be longer than it should.
func TestDecodeRefusesOtherBodies(t *testing.T) {
	prints := map[uint32]reflect.Type{}
	for _, zero := range bodies {
		v := reflect.New(reflect.TypeOf(zero))
		n := int64(0)
		fill(v.Elem(), &n)
		b, err := encode(nil, v.Interface())
		require.NoError(t, err)
		print := binary.LittleEndian.Uint32(b)
		assert.Nil(t, prints[print], "the fingerprint of %T is taken", zero)
		prints[print] = v.Type()
		for _, other := range bodies {
			if typ := reflect.TypeOf(other); typ != v.Type().Elem() {
				assert.ErrorIs(t, decode(b, reflect.New(typ).Interface()), ErrProtocol, "%T as %v", zero, typ)
			}
		}
		for cut := range b {
			got := reflect.New(v.Type().Elem())
			assert.ErrorIs(t, decode(b[:cut], got.Interface()), ErrProtocol, "%T cut at %d", zero, cut)
			assert.True(t, got.Elem().IsZero(), "nothing half read is left")
		}
		assert.ErrorIs(t, decode(append(b, 0), reflect.New(v.Type().Elem()).Interface()), ErrProtocol)
	}
}

// forge is a body of that struct with other content.
func forge(v any, content ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, layoutOf(reflect.TypeOf(v)).print), content...)
}

func TestDecodeRefusesForgedContent(t *testing.T) {
	type small struct {
		B bool
		I int8
		U uint16
		S []string
		P *bool
	}
	good := []byte{1, 1, 1, 1, 1, 'x', 0}
	var v small
	require.NoError(t, decode(forge(small{}, good...), &v), "the control")
	require.Equal(t, small{true, -1, 1, []string{"x"}, nil}, v)
	for name, b := range map[string][]byte{
		"bool of 2":           {2, 1, 1, 1, 1, 'x', 0},
		"int8 of 200":         {1, 0x90, 0x03, 1, 1, 1, 'x', 0},
		"uint16 of 65536":     {1, 1, 0x80, 0x80, 4, 1, 1, 'x', 0},
		"endless varint":      {1, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		"varint over 64 bits": {1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"string too long":     {1, 1, 1, 1, 200, 'x', 0},
		"slice too long":      {1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 'x', 0},
		"slice of 2^63":       {1, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1},
		"pointer flag of 7":   {1, 1, 1, 1, 1, 'x', 7},
		"pointer to nothing":  {1, 1, 1, 1, 1, 'x', 1},
	} {
		assert.ErrorIs(t, decode(forge(small{}, b...), &v), ErrProtocol, name)
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	type recursive struct{ Next *recursive }
	for _, v := range []any{struct{ m int }{}, struct{ M map[int]int }{}, struct{ F func() }{}, struct{ A any }{}, recursive{}, struct{ S []struct{} }{}} {
		_, err := encode(nil, v)
		assert.Error(t, err, "%T", v)
		assert.NotErrorIs(t, err, ErrProtocol)
	}
}

func FuzzDecode(f *testing.F) {
	for _, zero := range bodies {
		v := reflect.New(reflect.TypeOf(zero))
		n := int64(0)
		fill(v.Elem(), &n)
		b, err := encode(nil, v.Interface())
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, zero := range bodies {
			v := reflect.New(reflect.TypeOf(zero))
			if decode(b, v.Interface()) != nil {
				continue
			}
			again, err := encode(nil, v.Interface())
			require.NoError(t, err)
			w := reflect.New(v.Type().Elem())
			require.NoError(t, decode(again, w.Interface()), "what was read can be sent and read")
			// Floats that are no numbers are not equal to themselves.
			third, err := encode(nil, w.Interface())
			require.NoError(t, err)
			require.Equal(t, again, third)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	b.Run("exit", func(b *testing.B) { benchCodec(b, &Exit{}) })
	b.Run("start", func(b *testing.B) { benchCodec(b, &StartRequest{}) })
}

func benchCodec[T any](b *testing.B, v *T) {
	n := int64(0)
	fill(reflect.ValueOf(v).Elem(), &n)
	var buf []byte
	for b.Loop() {
		buf, _ = encode(buf[:0], v)
		var got T
		if err := decode(buf, &got); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func TestParts(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"a", ""}, {"", "b"}, {"abc", "de"}} {
		a, b, err := SplitParts(JoinParts([]byte(c[0]), []byte(c[1])))
		require.NoError(t, err)
		assert.Equal(t, c, [2]string{string(a), string(b)})
	}
	for _, raw := range []string{"", "abc", "\x01\x00\x00\x00", "\xff\xff\xff\xffabcdef"} {
		_, _, err := SplitParts([]byte(raw))
		assert.ErrorIs(t, err, ErrProtocol, "%q", raw)
	}
}
