package main

import (
	"fmt"
	"slices"
)

// ratios are what can be compared between machines: every figure that has its measure in the same run.
func (r *Results) ratios() map[string]float64 {
	all := map[string]float64{}
	for _, row := range r.Latency {
		if row.N > 0 && len(row.Name) > 8 && row.Name[:8] == "belljar " {
			all[row.Name] = row.Ratio
		}
	}
	for _, j := range r.Jobs {
		all["job "+j.Name] = j.Ratio
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
		switch {
		case !ok:
			worse = append(worse, fmt.Sprintf("%s: was %.2f, is not measured any more", name, was))
		case is > was*(1+tolerance):
			worse = append(worse, fmt.Sprintf("%s: %.2f, was %.2f, which allows %.2f", name, is, was, was*(1+tolerance)))
		}
	}
	slices.Sort(worse)
	return worse
}
