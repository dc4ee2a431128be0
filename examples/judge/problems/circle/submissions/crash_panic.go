//go:build ignore

// Ends by a panic: exit status 2.
package main

import "fmt"

func main() {
	var points []int
	fmt.Println(points[len(points)])
}
