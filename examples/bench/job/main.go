// Command job is what the bench runs inside and outside of sandboxes when a program that does nothing is not enough: it looks
// around, or it works. It is built without cgo, into one static file, and uses the standard library alone.
//
//	job probe NAMESPACE...   print what isolates it, as JSON; the arguments are the namespaces of the outside, as "pid:[4026531836]"
//	job cpu|calls|files [DIR]  work for a while, and print how many nanoseconds it took
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Facts are what a process sees of its isolation. The names are those of the bench's table.
type Facts struct {
	Shared   []string // namespaces that it has in common with the outside
	Unseen   []string // those of which /proc says nothing
	Writable bool     // its root
	Visible  int      // processes in its /proc
	Privs    bool     // it may still gain privileges by exec
	Filter   bool     // a seccomp filter holds for it
	Caps     string   // effective capabilities, in hexadecimal
	Root     bool     // it is uid 0 inside
	Links    int      // network interfaces beside the loopback
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	switch os.Args[1] {
	case "probe":
		_ = json.NewEncoder(os.Stdout).Encode(probe(os.Args[2:]))
	case "cpu":
		timed(cpu)
	case "calls":
		timed(calls)
	case "files":
		timed(files)
	default:
		os.Exit(2)
	}
}

func probe(outside []string) Facts {
	var f Facts
	for _, o := range outside {
		kind, _, _ := strings.Cut(o, ":")
		switch here, err := os.Readlink("/proc/self/ns/" + kind); {
		case err != nil:
			f.Unseen = append(f.Unseen, kind)
		case here == o:
			f.Shared = append(f.Shared, kind)
		}
	}
	if w, err := os.Create("/.belljar-bench-probe"); err == nil {
		f.Writable = true
		_ = w.Close()
		_ = os.Remove(w.Name())
	}
	pids, _ := filepath.Glob("/proc/[0-9]*")
	f.Visible = len(pids)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "NoNewPrivs":
			f.Privs = value != "1"
		case "Seccomp":
			f.Filter = value == "2"
		case "CapEff":
			f.Caps = strings.TrimLeft(value, "0")
		}
	}
	f.Root = os.Getuid() == 0
	links, _ := os.ReadFile("/proc/net/dev")
	for line := range strings.Lines(string(links)) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && name != "lo" {
			f.Links++
		}
	}
	return f
}

func timed(work func() error) {
	begin := time.Now()
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(time.Since(begin).Nanoseconds())
	runtime.KeepAlive(sink)
}

var sink int

// cpu sorts and multiplies, within the caches.
func cpu() error {
	values := make([]int, 1<<14)
	for round := range 60 {
		x := uint32(round + 1)
		for i := range values {
			x = x*1664525 + 1013904223
			values[i] = int(x >> 1)
		}
		slices.Sort(values)
		sink += values[round]
	}
	return nil
}

// calls asks the kernel for something that costs it nothing.
func calls() error {
	for range 300_000 {
		sink += syscall.Getppid()
	}
	return nil
}

// files makes, writes, reads and removes small files in /tmp, or in the folder that is named.
func files() error {
	where := "/tmp"
	if len(os.Args) > 2 {
		where = os.Args[2]
	}
	dir, err := os.MkdirTemp(where, "job")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := make([]byte, 4096)
	for i := range 2000 {
		name := fmt.Sprintf("%s/%d", dir, i%100)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return err
		}
		if _, err := os.ReadFile(name); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
