//go:build ignore

// Never ends.
package main

func main() {
	for {
	}
}
