//go:build ignore

// Wrong: counts the places where the words differ, so one letter inserted at the front spoils all that follow.
package main

import "fmt"

func main() {
	var a, b string
	fmt.Scan(&a, &b)
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	fmt.Println(n)
}
