package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Programs like those of the command line, which are started for one sandbox and end: that the program itself starts is in what they take, and whatever only its first sandbox needs, above all
// the zygote.

// firstEnv makes such a program of this one: the folder with the root, or "" for one that ends at once.
const firstEnv = "BELLJAR_BENCH_FIRST"

// playFirst is one, and does not return in it.
func playFirst() {
	dir, ok := os.LookupEnv(firstEnv)
	if !ok {
		return
	}
	if dir != "" {
		l := labIn(context.Background(), dir, &root{dir})
		if err := l.once(func() (*sandbox.Sandbox, error) { return sandbox.New(l.opts...) }, l.runIn); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// first lets programs take turns that have a sandbox, that have none, and the peers that are started so whatever is done.
func (l *lab) first(peers []*subject, n int, rest time.Duration) ([]Row, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	program := func(name, dir string) *subject {
		return &subject{name: name, run: func() error {
			cmd := exec.CommandContext(l.ctx, own)
			cmd.Env, cmd.Stderr = []string{firstEnv + "=" + dir}, os.Stderr
			return cmd.Run()
		}}
	}
	all := []*subject{l.floor(), program("a program with nothing to do", ""), program("a program with one sandbox", l.root.dir)}
	for _, p := range peers {
		often := *p
		often.peer = false // to take its turn as often as the others
		all = append(all, &often)
	}
	rows, err := measure(all, n, rest)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Absent != "" {
			return nil, fmt.Errorf("%s: %s", r.Name, r.Absent)
		}
	}
	return rows, nil
}
