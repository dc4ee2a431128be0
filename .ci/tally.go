// Command tally counts what the tests of one stage did, from the raw output that .ci/tests-run left, and judges skips.
//
//	tally -env NAME -skips FILE -results DIR -list FILE -sum FILE
//
// It prints the output of every test that failed and every test that was skipped with its reason, ends with a line of
// figures, and appends them to the file of sums. It fails if a test failed, if a package ended without saying PASS, if
// nothing ran at all, and if a test was skipped that the list of skips does not allow in this environment.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// event is one line of test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds, without those spent waiting for other tests
}

// skipRule allows one kind of skip: in this environment, for tests with such names, with this text in the reason.
type skipRule struct {
	env, test, reason string
	used              bool
}

// tally is what a stage came to.
type tally struct {
	env                     string
	rules                   []*skipRule
	passed, failed, skipped int
	wrong                   int // skips that no rule allows
	slow                    []slowTest
}

// slowTest is one that took more than a second, with all below it.
type slowTest struct {
	name    string
	seconds float64
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("tally: ")
	env := flag.String("env", "", "the environment's name in the list of skips")
	skips := flag.String("skips", "", "the list of allowed skips")
	results := flag.String("results", "", "the folder with NAME.raw and NAME.rc")
	list := flag.String("list", "", "the bundle's list of packages")
	sum := flag.String("sum", "", "the file the figures are appended to")
	flag.Parse()

	rules, err := readSkips(*skips)
	if err != nil {
		log.Fatal(err)
	}
	t := &tally{env: *env, rules: rules}
	lines, err := os.ReadFile(*list)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		f := strings.Fields(line)
		if err := t.addPackage(*results, f[0], f[1]); err != nil {
			log.Fatal(err)
		}
	}
	ok := t.report()
	if err := appendLine(*sum, fmt.Sprintf("%s %d %d %d", *env, t.passed, t.failed, t.skipped)); err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// readSkips reads lines of the form "environment test-pattern reason…"; # starts a comment.
func readSkips(name string) ([]*skipRule, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var rules []*skipRule
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 3 {
			return nil, fmt.Errorf("%s: %q has no reason", name, strings.TrimSpace(line))
		}
		rules = append(rules, &skipRule{env: f[0], test: f[1], reason: strings.Join(f[2:], " ")})
	}
	return rules, nil
}

// addPackage counts one package's tests.
func (t *tally) addPackage(dir, name, pkg string) error {
	raw, err := os.Open(filepath.Join(dir, name+".raw"))
	if err != nil {
		fmt.Printf("--- %s did not run: %v\n", pkg, err)
		t.failed++
		return nil
	}
	defer raw.Close()
	rc, _ := os.ReadFile(filepath.Join(dir, name+".rc"))
	status := strings.TrimSpace(string(rc))

	convert := exec.Command("go", "tool", "test2json", "-t", "-p", pkg) // -t for the times
	convert.Stdin, convert.Stderr = raw, os.Stderr
	out, err := convert.StdoutPipe()
	if err != nil {
		return err
	}
	if err := convert.Start(); err != nil {
		return err
	}
	if err := t.read(bufio.NewReader(out), pkg, status); err != nil {
		return err
	}
	return convert.Wait()
}

// read consumes the events of one package. A test that began and never ended died with its process.
func (t *tally) read(r *bufio.Reader, pkg, status string) error {
	output := map[string]*strings.Builder{} // of each test, and of the package under ""
	running := map[string]bool{}
	failedBefore := t.failed
	dec := json.NewDecoder(r)
	for dec.More() {
		var e event
		if err := dec.Decode(&e); err != nil {
			return fmt.Errorf("%s: %w", pkg, err)
		}
		if output[e.Test] == nil {
			output[e.Test] = &strings.Builder{}
		}
		if e.Elapsed > 1 && e.Test != "" && !strings.Contains(e.Test, "/") {
			t.slow = append(t.slow, slowTest{path.Base(pkg) + "." + e.Test, e.Elapsed})
		}
		switch {
		case e.Action == "output":
			output[e.Test].WriteString(e.Output)
		case e.Test == "":
			// The package as a whole is judged by its exit status below.
		case e.Action == "run":
			running[e.Test] = true
		case e.Action == "pass":
			delete(running, e.Test)
			t.passed++
		case e.Action == "fail":
			delete(running, e.Test)
			t.failed++
			fmt.Printf("--- FAIL %s %s %s\n%s", t.env, pkg, e.Test, output[e.Test])
		case e.Action == "skip":
			delete(running, e.Test)
			t.addSkip(pkg, e.Test, output[e.Test].String())
		}
	}
	t.addUnended(pkg, running, output)
	if status != "0" {
		if t.failed == failedBefore {
			t.failed++ // a leak found after the last test, a crash in TestMain, a signal
		}
		fmt.Printf("--- FAIL %s %s: exit status %q\n", t.env, pkg, status)
		if output[""] != nil {
			fmt.Print(output[""])
		}
	}
	return nil
}

// addUnended counts the tests that a package's end has cut off. Those that only waited for their turn have nothing to say.
func (t *tally) addUnended(pkg string, running map[string]bool, output map[string]*strings.Builder) {
	waiting := 0
	for test := range running {
		t.failed++
		said := output[test].String()
		if strings.Contains(said, "=== PAUSE") && !strings.Contains(said, "=== CONT") {
			waiting++
			continue
		}
		fmt.Printf("--- FAIL %s %s %s: never ended\n%s", t.env, pkg, test, said)
	}
	if waiting > 0 {
		fmt.Printf("--- FAIL %s %s: %d more tests never got their turn\n", t.env, pkg, waiting)
	}
}

// addSkip counts a skip and says whether it may be.
func (t *tally) addSkip(pkg, test, output string) {
	t.skipped++
	var reason []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			reason = append(reason, line)
		}
	}
	why := strings.Join(reason, " ")
	name := path.Base(pkg) + "." + test
	for _, r := range t.rules {
		if r.env == t.env && matches(r.test, name) && strings.Contains(why, r.reason) {
			r.used = true
			fmt.Printf("skip  %s %s: %s\n", t.env, name, why)
			return
		}
	}
	t.wrong++
	fmt.Printf("--- SKIP not allowed: %s %s: %s\n", t.env, name, why)
}

// matches holds a name against a pattern in which * stands for any text, slashes too.
func matches(pattern, name string) bool {
	pattern = strings.ReplaceAll(pattern, "/", "\x00")
	ok, err := path.Match(pattern, strings.ReplaceAll(name, "/", "\x00"))
	return err == nil && ok
}

// report prints the stage's figures and says whether it is good.
func (t *tally) report() bool {
	for _, r := range t.rules {
		if r.env == t.env && !r.used {
			fmt.Printf("note: no test was skipped under the rule %q %q: remove it\n", r.test, r.reason)
		}
	}
	t.reportSlow()
	fmt.Printf("%s: %d passed, %d failed, %d skipped", t.env, t.passed, t.failed, t.skipped)
	if t.wrong > 0 {
		fmt.Printf(" (%d of them not allowed)", t.wrong)
	}
	if t.passed+t.failed == 0 {
		fmt.Print(": nothing ran")
	}
	fmt.Println()
	return t.failed == 0 && t.passed > 0 && (t.wrong == 0 || os.Getenv("BELLJAR_MUST_WORK") != "1")
}

// reportSlow names the tests that the stage's time went to.
func (t *tally) reportSlow() {
	slices.SortFunc(t.slow, func(a, b slowTest) int { return cmp.Compare(b.seconds, a.seconds) })
	var said []string
	for _, s := range t.slow[:min(len(t.slow), 12)] {
		said = append(said, fmt.Sprintf("%s %.0f s", s.name, s.seconds))
	}
	if len(said) > 0 {
		fmt.Println("slowest:", strings.Join(said, ", "))
	}
}

func appendLine(name, line string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
