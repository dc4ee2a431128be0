package main

import (
	"encoding/json"
	"io"
)

// printJSON prints one object: durations in nanoseconds, sizes in bytes.
func printJSON(w io.Writer, p *Problem, reports []Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Problem     string   `json:"problem"`
		Title       string   `json:"title"`
		Submissions []Report `json:"submissions"`
	}{p.Name, p.Title, reports})
}
