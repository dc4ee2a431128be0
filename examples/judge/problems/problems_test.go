package problems

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every reference solution is held against a second one, so plain that it is right by inspection.
var brute = map[string]func(input []byte) []byte{
	"circle": bruteCircle,
	"edits":  bruteEdits,
	"ranges": bruteRanges,
	"roads":  bruteRoads,
}

func TestReferenceSolutionsAgreeWithBruteForce(t *testing.T) {
	for name, g := range Generators {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				for i := range 14 + seed/3 { // a few larger ones, up to a hundred
					c := g.Case(seed, int(i))
					want := brute[name](c.Input)
					agree(t, name, c, want)
				}
			}
		})
	}
}

func agree(t *testing.T, name string, c Case, want []byte) {
	t.Helper()
	switch name {
	case "circle":
		got, err := strconv.ParseFloat(string(bytes.TrimSpace(c.Answer)), 64)
		require.NoError(t, err)
		wanted, err := strconv.ParseFloat(string(want), 64)
		require.NoError(t, err)
		require.InDelta(t, wanted, got, 1e-6, "%s", c.Input)
	case "roads":
		require.Equal(t, string(want), string(bytes.Fields(c.Answer)[0]), "%s", c.Input)
		require.Empty(t, checkPath(c.Input, c.Answer, c.Answer), "%s", c.Input)
	default:
		require.Equal(t, string(want), string(c.Answer), "%s", c.Input)
	}
}

// bruteRoads is the recurrence of Floyd and Warshall.
func bruteRoads(input []byte) []byte {
	m := parseRoads(input)
	const far = math.MaxInt / 4
	d := make([][]int, m.towns+1)
	for i := range d {
		d[i] = make([]int, m.towns+1)
		for j := range d[i] {
			if i != j {
				d[i][j] = far
			}
		}
	}
	for _, e := range m.roads {
		d[e.a][e.b] = min(d[e.a][e.b], e.length)
		d[e.b][e.a] = min(d[e.b][e.a], e.length)
	}
	for k := range d {
		for i := range d {
			for j := range d {
				d[i][j] = min(d[i][j], d[i][k]+d[k][j])
			}
		}
	}
	if d[m.from][m.to] == far {
		return []byte("-1")
	}
	return strconv.AppendInt(nil, int64(d[m.from][m.to]), 10)
}

// bruteRanges does to every element what a query says.
func bruteRanges(input []byte) []byte {
	in := read(input)
	a := make([]int, in.int())
	q := in.int()
	for i := range a {
		a[i] = in.int()
	}
	var b bytes.Buffer
	for range q {
		kind, part := string(in.word()), a[in.int()-1:]
		part = part[:in.int()-(len(a)-len(part))]
		sum, x := 0, 0
		if kind != "sum" {
			x = in.int()
		}
		for i := range part {
			switch kind {
			case "add":
				part[i] = (part[i] + x) % rangesModulus
			case "mul":
				part[i] = part[i] * x % rangesModulus
			}
			sum = (sum + part[i]) % rangesModulus
		}
		if kind == "sum" {
			fmt.Fprintln(&b, sum)
		}
	}
	return b.Bytes()
}

// bruteEdits is the definition: the last letters match, or one of three edits is made, with a memory for the results.
func bruteEdits(input []byte) []byte {
	words := bytes.Fields(input)
	known := map[[2]int]int{}
	var distance func(i, j int) int
	distance = func(i, j int) int {
		if i == 0 || j == 0 {
			return i + j
		}
		if d, ok := known[[2]int{i, j}]; ok {
			return d
		}
		var d int
		if words[0][i-1] == words[1][j-1] {
			d = distance(i-1, j-1)
		} else {
			d = 1 + min(distance(i-1, j-1), distance(i-1, j), distance(i, j-1))
		}
		known[[2]int{i, j}] = d
		return d
	}
	return fmt.Appendln(nil, distance(len(words[0]), len(words[1])))
}

// bruteCircle tries the circles of all pairs and triples, and takes the smallest that holds every point.
func bruteCircle(input []byte) []byte {
	in := read(input)
	points := make([]point, in.int())
	for i := range points {
		points[i] = point{float64(in.int()), float64(in.int())}
	}
	best := math.Inf(1)
	try := func(d disc) {
		if d.radius >= best {
			return
		}
		for _, p := range points {
			if math.Hypot(p.x-d.centre.x, p.y-d.centre.y) > d.radius+1e-7 {
				return
			}
		}
		best = d.radius
	}
	for i, a := range points {
		try(disc{a, 0})
		for j, b := range points[:i] {
			try(between2(a, b))
			for _, c := range points[:j] {
				try(between3(a, b, c))
			}
		}
	}
	return strconv.AppendFloat(nil, best, 'f', 9, 64)
}

// The cases a problem is judged by must not change by accident.
func TestCasesStayTheSame(t *testing.T) {
	want := map[string]string{
		"circle": "4ac1e5214a726fd7",
		"edits":  "574b368e012d2b86",
		"ranges": "dc7ad026f6789994",
		"roads":  "64de556223554b38",
	}
	for name, g := range Generators {
		h := sha256.New()
		for _, c := range g.Cases(1, 12) {
			h.Write(c.Input)
		}
		assert.Equal(t, want[name], hex.EncodeToString(h.Sum(nil))[:16], name)
	}
}

func TestCasesAreTheirOwn(t *testing.T) {
	for name, g := range Generators {
		long, short := g.Cases(7, 6), g.Cases(7, 3)
		assert.Equal(t, short, long[:3], name)
		assert.NotEqual(t, g.Case(7, 5).Input, g.Case(8, 5).Input, name)
	}
}

func TestCheckPath(t *testing.T) {
	input := []byte("4 5 1 4\n1 2 1\n2 4 1\n1 3 1\n3 4 1\n1 4 5\n")
	answer := []byte("2\n1 2 4\n")
	for output, want := range map[string]string{
		"2\n1 2 4\n":         "",
		"2\n1 3 4":           "",
		"":                   "no output",
		"3\n1 2 4":           `length "3", want 2`,
		"2\n1 4":             "the path is 5 long, not 2",
		"2\n2 4":             "the path does not lead from 1 to 4",
		"2":                  "the path does not lead from 1 to 4",
		"2\n1 2 3 4":         "no road from 2 to 3",
		"2\n1 \x1b[31m 4":    `town "\x1b[31m" is no number`,
		"2\n1 99999999999 4": "no road from 1 to 99999999999",
		"2\n1 2 1 2 4":       "the path is 4 long, not 2",
		"-1":                 `length "-1", want 2`,
		"2\n1 -9 4":          "no road from 1 to -9",
		"2\n1 1e99 4":        `town "1e99" is no number`,
	} {
		assert.Equal(t, want, checkPath(input, answer, []byte(output)), output)
	}
	assert.Empty(t, checkPath([]byte("2 0 1 2\n"), []byte("-1\n"), []byte("-1")))
	assert.NotEmpty(t, checkPath([]byte("2 0 1 2\n"), []byte("-1\n"), []byte("-1 1 2")))
}

func FuzzCheckPath(f *testing.F) {
	input := []byte("4 5 1 4\n1 2 1\n2 4 1\n1 3 1\n3 4 1\n1 4 5\n")
	f.Add([]byte("2\n1 2 4\n"))
	f.Add([]byte("2\n1 99999999999999999999 4\n"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, output []byte) {
		if checkPath(input, []byte("2\n1 2 4\n"), output) == "" {
			require.Equal(t, "2", string(bytes.Fields(output)[0]))
		}
	})
}

func TestMutateKeepsTheLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		got := mutate(r, bytes.Repeat([]byte("a"), editsLength), 26)
		assert.LessOrEqual(t, len(got), editsLength)
		assert.NotEmpty(t, mutate(r, []byte("a"), 26))
	}
}
