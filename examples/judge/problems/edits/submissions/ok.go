//go:build ignore

package main

import "fmt"

func main() {
	var a, b string
	fmt.Scan(&a, &b)
	row := make([]int32, len(b)+1)
	for j := range row {
		row[j] = int32(j)
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = int32(i) + 1
		for j := range len(b) {
			best := diagonal
			if a[i] != b[j] {
				best++
			}
			diagonal = row[j+1]
			row[j+1] = min(best, diagonal+1, row[j]+1)
		}
	}
	fmt.Println(row[len(b)])
}
