package sandbox

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512": 512, "512b": 512, "512B": 512, "512k": 512 << 10, "512K": 512 << 10, "512kb": 512 << 10, "512KiB": 512 << 10,
		"50m": 50 << 20, "50M": 50 << 20, "50mb": 50 << 20, "50MB": 50 << 20, "50mib": 50 << 20, "50MiB": 50 << 20,
		"1g": 1 << 30, "1.5g": 3 << 29, "0.5k": 512, "2t": 2 << 40, "3p": 3 << 50, "0.000k": 0, "007m": 7 << 20,
		"1.1g":                 1181116006, // 1181116006.4, and no float has come near it
		"0.1k":                 102,
		"1.9":                  1,
		"8191.99999999999999p": 9223372036854775796,
		"9223372036854775807":  math.MaxInt64,
		"max":                  NoLimit, "MAX": NoLimit, "Max": NoLimit,
	} {
		got, err := ParseSize(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestParseSizeNonsense(t *testing.T) {
	for text, why := range map[string]string{
		"":                         "empty",
		"-1":                       "negative",
		"-50m":                     "negative",
		"-max":                     "negative",
		"50q":                      "no size",
		"50mq":                     "no size",
		"1.5.5m":                   "no size",
		"m":                        "no size",
		".5m":                      "no size",
		"5.":                       "no size",
		"5.m":                      "no size",
		"+5m":                      "no size",
		"1e3":                      "no size",
		"0x10":                     "no size",
		"1_000":                    "no size",
		"1,5g":                     "no size",
		" 50m":                     "no size",
		"50 m":                     "no size",
		"50m ":                     "no size",
		"50m\n":                    "no size",
		"50\x00":                   "no size",
		"٥٠m":                      "no size",
		"infinity":                 "no size",
		"NaN":                      "no size",
		"maxi":                     "unknown unit",
		"50mi":                     "unknown unit",
		"50mm":                     "unknown unit",
		"50bk":                     "unknown unit",
		"50bb":                     "unknown unit",
		"50ib":                     "unknown unit",
		"50mbb":                    "unknown unit",
		"9223372036854775808":      "more than",
		"8192p":                    "more than",
		"99999999999999999999999g": "more than",
		strings.Repeat("9", 65):    "too long",
	} {
		_, err := ParseSize(text)
		require.ErrorIs(t, err, ErrInvalid, "%q", text)
		require.ErrorContains(t, err, why, "%q", text)
	}
}

func TestFormatSize(t *testing.T) {
	for want, n := range map[string]int64{
		"0": 0, "1": 1, "1023": 1023, "1k": 1024, "1025": 1025, "512k": 512 << 10, "50m": 50 << 20, "1536m": 3 << 29, "1g": 1 << 30,
		"1p": 1 << 50, "2048p": 1 << 61, "9223372036854775807": math.MaxInt64, "max": NoLimit,
	} {
		assert.Equal(t, want, FormatSize(n))
	}
	assert.Equal(t, "max", FormatSize(math.MinInt64))
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"", "0", "512", "50m", "1.5g", "max", "-1", "1.5.5m", "9223372036854775807", "8192p", "5mib", "0.0000001p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			if n != 0 {
				t.Fatalf("%q: %d and %v", text, n, err)
			}
			return
		}
		if n < NoLimit || n == NoLimit && !strings.EqualFold(text, "max") {
			t.Fatalf("%q is %d", text, n)
		}
		// What is written for a size is read as the same size.
		if again, err := ParseSize(FormatSize(n)); err != nil || again != n {
			t.Fatalf("%q is %d, written as %q, read as %d, %v", text, n, FormatSize(n), again, err)
		}
		if upper, err := ParseSize(strings.ToUpper(text)); err != nil || upper != n {
			t.Fatalf("%q: case matters", text)
		}
	})
}
