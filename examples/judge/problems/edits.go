package problems

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

const editsLength = 5000

func editsInput(r *rand.Rand, i int) []byte {
	n := size(i, editsLength)
	letters := []int{1, 2, 4, 26}[i%4]
	a := make([]byte, n)
	for k := range a {
		a[k] = byte('a' + r.IntN(letters))
	}
	b := mutate(r, a, letters)
	if i%3 == 0 { // nothing in common but chance
		for k := range b {
			b[k] = byte('a' + r.IntN(letters))
		}
	}
	return fmt.Appendf(nil, "%s\n%s\n", a, b)
}

// mutate edits about a tenth of a word, and keeps it non-empty and no longer than the limit.
func mutate(r *rand.Rand, word []byte, letters int) []byte {
	var b []byte
	for _, c := range word {
		switch r.IntN(30) {
		case 0:
		case 1:
			b = append(b, byte('a'+r.IntN(letters)))
		case 2:
			b = append(b, c, byte('a'+r.IntN(letters)))
		default:
			b = append(b, c)
		}
	}
	if len(b) == 0 {
		return []byte{'a'}
	}
	return b[:min(len(b), editsLength)]
}

// editsAnswer fills the table of Wagner and Fischer, two rows at a time.
func editsAnswer(input []byte) []byte {
	words := bytes.Fields(input)
	a, b := words[0], words[1]
	row, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j]+cost, above[j+1]+1, row[j]+1)
		}
		row, above = above, row
	}
	return fmt.Appendln(nil, above[len(b)])
}
