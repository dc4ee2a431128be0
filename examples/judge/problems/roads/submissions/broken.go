//go:build ignore

package main

import "fmt"

func main() {
	var towns int = "five"
	fmt.Println(towns + undefined)
}
