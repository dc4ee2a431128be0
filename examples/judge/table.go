package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// printTable prints a line per submission; if verbose, a line per case under it.
func printTable(w io.Writer, p *Problem, reports []Report, verbose bool) error {
	fmt.Fprintf(w, "%s: %d cases, %v CPU, %v wall, %s memory\n\n", p.Title, len(p.Cases),
		p.Limits.CPU, p.Limits.Wall, formatSize(p.Limits.Memory))
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SUBMISSION\tLANGUAGE\tVERDICT\tCASE\tCPU\tWALL\tMEMORY\t")
	for _, r := range reports {
		row(table, filepath.Base(r.File), r)
		if !verbose {
			continue
		}
		for _, c := range r.Cases {
			fmt.Fprintf(table, "\t\t%s\t%s\t%s\t%s\n", c.Verdict, c.Name, figures(c), c.Detail)
			for line := range strings.Lines(c.Stderr) {
				fmt.Fprintf(table, "\t\t\t\t\t\t\t  | %s\n", strings.TrimSuffix(line, "\n"))
			}
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range bytes.Lines(text.Bytes()) {
		// The last column is empty for most; its padding would wrap on a narrow terminal.
		fmt.Fprintf(w, "%s\n", bytes.TrimRight(line, " \n"))
	}
	return printMessages(w, reports)
}

func row(w io.Writer, name string, r Report) {
	where, what := r.Case, figures(r.shown())
	if r.Verdict == AC {
		where = fmt.Sprintf("%d/%d", r.passed(), r.Total)
	}
	if len(r.Cases) == 0 {
		where, what = "-", "-\t-\t-"
	}
	language := r.Language
	if language == "" {
		language = "-"
	}
	detail, _, _ := strings.Cut(r.Detail, "\n")
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", plain([]byte(name)), language, r.Verdict, where, what, detail)
}

// printMessages prints in full what did not fit the table.
func printMessages(w io.Writer, reports []Report) error {
	for _, r := range reports {
		if !strings.Contains(r.Detail, "\n") {
			continue
		}
		text := "  " + strings.ReplaceAll(r.Detail, "\n", "\n  ")
		if _, err := fmt.Fprintf(w, "\n%s:\n%s\n", plain([]byte(filepath.Base(r.File))), text); err != nil {
			return err
		}
	}
	return nil
}

func figures(c CaseReport) string {
	return fmt.Sprintf("%s\t%s\t%s", formatTime(c.CPU), formatTime(c.Wall), formatSize(c.Memory))
}

func formatTime(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

func formatSize(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%dM", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1fM", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%dk", n>>10)
	}
}
