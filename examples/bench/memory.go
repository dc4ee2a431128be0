package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is the sum of the proportional set sizes, in bytes, of the descendants of this process: the zygote and the first
// process of every sandbox. 0 if the kernel does not say, as of processes that cannot be dumped to anybody but root.
func memory() int64 {
	var total int64
	for _, pid := range descendants(os.Getpid()) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				total += kib << 10
			}
		}
	}
	return total
}

func descendants(of int) []int {
	children := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// The name, which may hold anything, ends with the last parenthesis; the parent's pid is two words on.
		_, rest, _ := strings.Cut(string(b)[strings.LastIndexByte(string(b), ')')+1:], " ")
		w := strings.Fields(rest)
		if len(w) < 2 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		parent, _ := strconv.Atoi(w[1])
		children[parent] = append(children[parent], pid)
	}
	all := []int{}
	for todo := children[of]; len(todo) > 0; todo = todo[1:] {
		all = append(all, todo[0])
		todo = append(todo, children[todo[0]]...)
	}
	return all
}
