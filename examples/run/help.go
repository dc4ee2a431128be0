package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

const usage = `usage: run [FLAG…] [--] PROGRAM [ARG…]

Runs a program in a sandbox: without network, without a capability, with nothing of this machine but the programs in /usr,
read-only. Nothing of it outlives run.

`

const examples = `
examples:
  run -it -- /bin/sh
  run -m 50m --cpus 0.5 --pids 20 --stats -- python3 -c 'print(sum(range(10**7)))'
  run -v ./src:/src:ro -v ./out:/out -w /src -- make O=/out
  run --rootfs DIR --hostname glass -it -- /bin/sh
  run -i --time-limit 2s --output 1m -- sort <numbers
  run --plan -m 50m

exit status: the program's own; 128+N if signal N ended it; 125 if run could not do it, 126 if PROGRAM cannot be executed, 127 if
it is not found. Beyond a limit, which is said in a line: 124 time, 137 memory, 152 CPU time, 153 output, 159 a system call
that --seccomp kills for.
`

func printHelp(w io.Writer) {
	fmt.Fprint(w, usage)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range flags {
		fmt.Fprintf(t, "  %s\t%s\n", f.names(), f.help)
	}
	_ = t.Flush()
	fmt.Fprint(w, examples)
}

// names are a flag's, as in the help: "-m, --memory SIZE".
func (f flag) names() string {
	text := "    --" + f.long
	if f.short != "" {
		text = "-" + f.short + ", --" + f.long
	}
	if f.also != "" {
		text += ", --" + f.also
	}
	return strings.TrimRight(text+" "+f.value, " ")
}
