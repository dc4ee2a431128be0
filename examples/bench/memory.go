package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// footprint is what a moment of the program's life costs the machine.
type footprint struct {
	host, zygote, inside int64 // bytes: proportional set sizes of this process, of the zygote, and of the sandboxes' own processes
	files, zygoteFiles   int   // descriptors
}

// look takes the footprint. Sizes are 0 if the kernel does not say, as of processes that cannot be dumped to anybody but root.
func look() (f footprint) {
	own := os.Getpid()
	f.host, f.files = pss(own), descriptors(own)
	tree := processes()
	for _, child := range tree[own] {
		f.zygote += pss(child)
		f.zygoteFiles += descriptors(child)
		program := exe(child)
		for _, pid := range below(tree, child) {
			if exe(pid) != program { // or it shares the zygote's memory, as what stands ready for the next command does
				f.inside += pss(pid)
			}
		}
	}
	return f
}

func exe(pid int) string {
	s, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return s
}

func pss(pid int) (n int64) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			n += kib << 10
		}
	}
	return n
}

func descriptors(pid int) int {
	all, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
	return len(all)
}

// processes are the children of each process.
func processes() map[int][]int {
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
	return children
}

func descendants(of int) []int { return below(processes(), of) }

func below(children map[int][]int, of int) []int {
	all := []int{}
	for todo := children[of]; len(todo) > 0; todo = todo[1:] {
		all = append(all, todo[0])
		todo = append(todo, children[todo[0]]...)
	}
	return all
}
