// Command judge is the inside of an online judge: it compiles submissions in a sandbox, runs each against every test
// case of a problem, each time in a fresh sandbox under the problem's limits, and prints a table of verdicts.
//
//	judge -problem DIR [flags] SUBMISSION…
//	judge -problem DIR -generate OUT
//	judge -languages
//
// Exit status: 0 when every submission was judged, whatever its verdict; 1 when judging itself failed; 2 for a usage error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	exitJudged = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options is a parsed command line.
type options struct {
	problem   string
	generate  string
	languages bool
	json      bool
	verbose   bool
	all       bool
	lang      string
	jobs      int
	factor    float64
	files     []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("judge", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: judge -problem DIR [flags] SUBMISSION…")
		f.PrintDefaults()
	}
	f.StringVar(&o.problem, "problem", "", "the problem's `folder`")
	f.StringVar(&o.generate, "generate", "", "write the problem's test cases to `folder` and exit")
	f.BoolVar(&o.languages, "languages", false, "list the languages and the toolchains missing on this host, and exit")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.BoolVar(&o.verbose, "v", false, "show every case, not only the first that fails")
	f.BoolVar(&o.all, "all", false, "run all cases, even after one has failed")
	f.StringVar(&o.lang, "lang", "", "the submissions' `language`; default: by file name")
	f.IntVar(&o.jobs, "j", 2, "test cases to run at a time")
	f.Float64Var(&o.factor, "time-factor", 1, "multiply all time limits, for slow machines; default: $JUDGE_TIME_FACTOR or 1")
	if text := os.Getenv("JUDGE_TIME_FACTOR"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return o, fmt.Errorf("JUDGE_TIME_FACTOR: %w", err)
		}
		o.factor = n
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.files = f.Args()
	return o, o.validate()
}

func (o options) validate() error {
	switch {
	case o.languages:
		return nil
	case o.problem == "":
		return errors.New("-problem is missing")
	case o.jobs < 1:
		return fmt.Errorf("-j %d: want at least 1", o.jobs)
	case !(o.factor >= 0.01 && o.factor <= 1000): // written so that NaN is refused too
		return fmt.Errorf("-time-factor %v: want 0.01 to 1000", o.factor)
	case o.generate == "" && len(o.files) == 0:
		return errors.New("no submission named")
	}
	return nil
}

// command is main without the process: what it does to its exit status, stdout and stderr can be tested.
func command(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitJudged
	}
	if err != nil {
		fmt.Fprintln(stderr, "judge:", err)
		return exitUsage
	}
	set, err := newToolset()
	if err != nil {
		fmt.Fprintln(stderr, "judge:", err)
		return exitFailed
	}
	defer set.close()
	if o.languages {
		printLanguages(stdout, set)
		return exitJudged
	}
	p, err := loadProblem(o.problem)
	if err == nil && o.generate != "" {
		err = writeCases(o.generate, p.Cases)
	}
	if err != nil {
		fmt.Fprintln(stderr, "judge:", err)
		return exitFailed
	}
	if o.generate != "" {
		return exitJudged
	}
	return judgeAll(ctx, o, p, set, stdout, stderr)
}

func judgeAll(ctx context.Context, o options, p *Problem, set *toolset, stdout, stderr io.Writer) int {
	j := newJudge(p, set, sandboxRunner{}, o.jobs)
	j.factor, j.all, j.language = o.factor, o.all, o.lang
	j.progress = newProgress(stderr, len(o.files)*len(p.Cases))
	var reports []Report
	for i, file := range o.files {
		reports = append(reports, j.judge(ctx, file))
		j.progress.reach((i + 1) * len(p.Cases))
	}
	j.progress.clear()

	var err error
	if o.json {
		err = printJSON(stdout, p, reports)
	} else {
		err = printTable(stdout, p, reports, o.verbose)
	}
	if err != nil {
		fmt.Fprintln(stderr, "judge:", err)
		return exitFailed
	}
	code := exitJudged
	for _, r := range reports {
		if r.Verdict == JE {
			fmt.Fprintf(stderr, "judge: %s: %s\n", filepath.Base(r.File), r.Detail)
			code = exitFailed
		}
	}
	return code
}
