// Command hostprog is a host program as small as can be, which tests build in every way that programs are built.
//
//	hostprog [-delete] [-replace FILE] [-soft]
//
// It runs a command in a sandbox, prints what that says and how many options were given up.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/belljar-go/belljar/sandbox"
	"github.com/belljar-go/belljar/seccomp"
)

func main() {
	remove := flag.Bool("delete", false, "remove the program's own file first")
	replace := flag.String("replace", "", "put this file in place of the program's own first")
	soft := flag.Bool("soft", false, "do without a filter if there is none")
	flag.Parse()
	if err := run(*remove, *replace, *soft); err != nil {
		fmt.Println("error:", err)
		if errors.Is(err, sandbox.ErrUnsupported) {
			fmt.Println("unsupported")
		}
		os.Exit(1)
	}
}

func run(remove bool, replace string, soft bool) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if remove {
		if err := os.Remove(exe); err != nil {
			return err
		}
	}
	if replace != "" {
		if err := os.Rename(replace, exe); err != nil {
			return err
		}
	}
	var opts []sandbox.Option
	if soft {
		opts = append(opts, sandbox.BestEffort(sandbox.WithSeccomp(seccomp.Default())))
	}
	sb, err := sandbox.New(opts...)
	if err != nil {
		return err
	}
	defer sb.Close()
	out, err := sb.Command("/bin/sh", "-c", "echo pid $$ of $(id -u)").Output(context.Background())
	if err != nil {
		return err
	}
	fmt.Print(string(out))
	fmt.Println("given up:", len(sb.Report().GivenUp))
	return sb.Close()
}
