package main

import (
	"fmt"
	"slices"
	"strings"
)

// figure is a ratio, and how much more of it than another one may grow until it counts as worse.
type figure struct{ value, slack float64 }

// ratios are what can be compared between machines: every figure that has its measure in the same run. The tenth percentile says what the thing itself costs, and CPU time
// nearly so; a median has what else the machine does in it, so it may vary by twice as much.
func (r *Results) ratios() map[string]figure {
	all := map[string]figure{}
	for _, row := range r.Latency {
		if row.N > 0 && strings.HasPrefix(row.Name, "belljar ") {
			all[row.Name+", p10"] = figure{row.RatioP10, 1}
			all[row.Name+", median"] = figure{row.Ratio, 2}
			all[row.Name+", CPU"] = figure{row.RatioCPU, 1}
		}
	}
	for _, j := range r.Jobs {
		all["job "+j.Name] = figure{j.Ratio, 1}
	}
	return all
}

// check compares with a stored run and names each ratio that has grown by more than the tolerance, 0.5 being half. One that is no
// longer measured is named as well: a benchmark that rots must not pass.
func (r *Results) check(base *Results, tolerance float64) []string {
	now, then := r.ratios(), base.ratios()
	var worse []string
	for name, was := range then {
		is, ok := now[name]
		most := was.value * (1 + was.slack*tolerance)
		switch {
		case !ok || is.value <= 0:
			worse = append(worse, fmt.Sprintf("%s: was %.2f, is not measured any more", name, was.value))
		case is.value > most:
			worse = append(worse, fmt.Sprintf("%s: %.2f, was %.2f, which allows %.2f", name, is.value, was.value, most))
		}
	}
	slices.Sort(worse)
	return worse
}
