package sandbox

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// NoLimit is what ParseSize makes of "max".
const NoLimit int64 = -1

// units are the letters of docker's sizes, each 1024 times the one before.
const units = "bkmgtp"

// ParseSize reads a size in docker's manner and returns it in bytes: a decimal number,
// whole or with a fraction, and an optional unit b, k, m, g, t or p, also written kb or
// kib, in either case. The units are powers of 1024. A fraction of a byte is dropped.
// "max" is NoLimit. Anything else, and what is 8 EiB or more, is an ErrInvalid.
func ParseSize(text string) (int64, error) {
	n, why := parseSize(text)
	if why != "" {
		return 0, fmt.Errorf("size %q %w", text, &mistake{why: why, err: ErrInvalid})
	}
	return n, nil
}

// parseSize returns the size, or why there is none.
func parseSize(text string) (int64, string) {
	switch {
	case text == "":
		return 0, "is empty"
	case len(text) > 64:
		return 0, "is too long to be a size"
	case strings.EqualFold(text, "max"):
		return NoLimit, ""
	case text[0] == '-':
		return 0, "is negative"
	}
	number := strings.TrimRight(text, "bBkKmMgGtTpPiI")
	unit, ok := unitShift(text[len(number):])
	if !ok {
		return 0, "has an unknown unit: b, k, m, g, t or p"
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	if !digits(whole) || dotted && !digits(fraction) {
		return 0, "is no size such as 512k, 50m or 1.5g"
	}
	n, _ := new(big.Int).SetString(whole+fraction, 10)
	n.Lsh(n, unit)
	n.Quo(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil))
	if !n.IsInt64() {
		return 0, fmt.Sprintf("is more than %d bytes", int64(math.MaxInt64))
	}
	return n.Int64(), ""
}

// unitShift returns the power of two of a unit: "", "k", "kb" and "kib" in either case.
func unitShift(unit string) (uint, bool) {
	unit = strings.ToLower(unit)
	if unit == "" {
		return 0, true
	}
	i := strings.IndexByte(units, unit[0])
	switch rest := unit[1:]; {
	case i < 0, i == 0 && rest != "":
		return 0, false
	case rest == "", rest == "b", rest == "ib":
		return uint(10 * i), true
	}
	return 0, false
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// FormatSize returns a number of bytes as ParseSize reads it, in the largest unit that
// needs no fraction: "50m", "1536k". NoLimit and everything below it is "max".
func FormatSize(n int64) string {
	if n < 0 {
		return "max"
	}
	unit := 0
	for n != 0 && n%1024 == 0 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10) + units[unit:unit+1]
}
