package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/belljar-go/belljar/examples/judge/problems"
)

// find returns the named checker: one of the three below, or one that came with a problem's generator.
func (f checkerFile) find() (problems.Checker, error) {
	if f.Eps != 0 && f.Name != "float" {
		return nil, fmt.Errorf("checker: eps is for float, not for %q", f.Name)
	}
	switch f.Name {
	case "exact":
		return checkExact, nil
	case "tokens":
		return checkTokens, nil
	case "float":
		if !(f.Eps > 0 && f.Eps < 1) {
			return nil, fmt.Errorf("checker: eps %v: want between 0 and 1", f.Eps)
		}
		return checkFloat(f.Eps), nil
	}
	if c, ok := problems.Checkers[f.Name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("checker: unknown name %q", f.Name)
}

// checkExact compares line by line. Only blanks at the end of a line and empty lines at the end of the output are free.
func checkExact(_, answer, output []byte) string {
	want, got := lines(answer), lines(output)
	for i := range min(len(want), len(got)) {
		if !bytes.Equal(want[i], got[i]) {
			return fmt.Sprintf("line %d: %s, want %s", i+1, excerpt(got[i]), excerpt(want[i]))
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d lines, want %d", len(got), len(want))
	}
	return ""
}

func lines(b []byte) [][]byte {
	b = bytes.TrimRight(b, " \t\r\n")
	if len(b) == 0 {
		return nil
	}
	all := bytes.Split(b, []byte("\n"))
	for i := range all {
		all[i] = bytes.TrimRight(all[i], " \t\r")
	}
	return all
}

// checkTokens compares word by word; blanks and line breaks are free.
func checkTokens(_, answer, output []byte) string {
	return compareWords(answer, output, bytes.Equal)
}

// checkFloat compares word by word; numbers may be off by eps, absolute or relative, whichever allows more.
func checkFloat(eps float64) problems.Checker {
	return func(_, answer, output []byte) string {
		return compareWords(answer, output, func(want, got []byte) bool {
			w, err := strconv.ParseFloat(string(want), 64)
			if err != nil {
				return bytes.Equal(want, got)
			}
			g, err := strconv.ParseFloat(string(got), 64)
			// NaN and infinities compare as never near, whatever the answer says.
			return err == nil && math.Abs(w-g) <= eps*max(1, math.Abs(w))
		})
	}
}

func compareWords(answer, output []byte, same func(want, got []byte) bool) string {
	want, got := bytes.Fields(answer), bytes.Fields(output)
	for i := range min(len(want), len(got)) {
		if !same(want[i], got[i]) {
			return fmt.Sprintf("word %d: %s, want %s", i+1, excerpt(got[i]), excerpt(want[i]))
		}
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%d words, want %d", len(got), len(want))
	}
	return ""
}
