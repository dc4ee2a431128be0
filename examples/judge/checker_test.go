package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckers(t *testing.T) {
	float := checkFloat(1e-6)
	for _, c := range []struct {
		name           string
		check          func(in, answer, output []byte) string
		answer, output string
		want           string
	}{
		{"exact same", checkExact, "1\n2\n", "1\n2\n", ""},
		{"exact no newline at the end", checkExact, "1\n2\n", "1\n2", ""},
		{"exact blanks at line ends", checkExact, "1\n2\n", "1 \r\n2\t\n\n", ""},
		{"exact blank in front", checkExact, "1\n", " 1\n", `line 1: " 1", want "1"`},
		{"exact empty line inside", checkExact, "1\n2\n", "1\n\n2\n", `line 2: "", want "2"`},
		{"exact one line", checkExact, "1\n2\n", "1 2\n", `line 1: "1 2", want "1"`},
		{"exact too few", checkExact, "1\n2\n", "1\n", "1 lines, want 2"},
		{"exact too many", checkExact, "1\n", "1\n2\n", "2 lines, want 1"},
		{"exact nothing", checkExact, "1\n", "", "0 lines, want 1"},
		{"exact nothing wanted", checkExact, "", "\n", ""},
		{"exact escapes", checkExact, "1", "\x1b[2J", `line 1: "\x1b[2J", want "1"`},
		{"tokens blanks", checkTokens, "1 2\n3\n", "\n1\n2   3", ""},
		{"tokens differ", checkTokens, "1 2", "1 3", `word 2: "3", want "2"`},
		{"tokens joined", checkTokens, "1 2", "12", `word 1: "12", want "1"`},
		{"tokens more", checkTokens, "1", "1 1", "2 words, want 1"},
		{"tokens leading zero", checkTokens, "1", "01", `word 1: "01", want "1"`},
		{"float absolute", float, "0.5", "0.5000009", ""},
		{"float absolute off", float, "0.5", "0.5000021", `word 1: "0.5000021", want "0.5"`},
		{"float relative", float, "1e9", "1000000900", ""},
		{"float relative off", float, "1e9", "1000002000", `word 1: "1000002000", want "1e9"`},
		{"float nan", float, "1", "nan", `word 1: "nan", want "1"`},
		{"float inf", float, "1", "inf", `word 1: "inf", want "1"`},
		{"float nan wanted", float, "nan", "1", `word 1: "1", want "nan"`},
		{"float word", float, "YES 1", "YES 1.0", ""},
		{"float other word", float, "YES 1", "NO 1.0", `word 1: "NO", want "YES"`},
		{"float no number", float, "1", "one", `word 1: "one", want "1"`},
		{"float none", float, "1", "", "0 words, want 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, c.check(nil, []byte(c.answer), []byte(c.output)))
		})
	}
}

func TestFindChecker(t *testing.T) {
	for _, f := range []checkerFile{{Name: "exact"}, {Name: "tokens"}, {Name: "float", Eps: 1e-6}, {Name: "path"}} {
		c, err := f.find()
		require.NoError(t, err)
		assert.NotNil(t, c)
	}
	for f, want := range map[checkerFile]string{
		{}:                         `checker: unknown name ""`,
		{Name: "near"}:             `checker: unknown name "near"`,
		{Name: "float"}:            "checker: eps 0: want between 0 and 1",
		{Name: "float", Eps: 2}:    "checker: eps 2: want between 0 and 1",
		{Name: "exact", Eps: 1e-6}: `checker: eps is for float, not for "exact"`,
	} {
		_, err := f.find()
		assert.EqualError(t, err, want)
	}
}

func FuzzCheckers(f *testing.F) {
	f.Add([]byte("1 2\n3\n"), []byte("1 2 3"))
	f.Add([]byte("nan"), []byte("inf 1e999 0x1p-2 \xff\x00"))
	f.Fuzz(func(t *testing.T, answer, output []byte) {
		for _, check := range []func(in, answer, output []byte) string{checkExact, checkTokens} {
			assert.Empty(t, check(nil, answer, answer))
			why := check(nil, answer, output)
			assert.Equal(t, why, plain([]byte(why)), "a message is printable")
		}
		checkFloat(1e-6)(nil, answer, output)
	})
}
