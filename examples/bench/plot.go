package main

import (
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// draw writes the plots into a folder, as SVG and as PNG.
func (r *Results) draw(dir string) error {
	for _, p := range []struct {
		file, title, x, y string
		logX, logY        bool
		lines             []Line
	}{
		{"latency", "From spawn to end, part of the runs that were done by then", "ms", "part", true, false, r.distributions()},
		{"heap", "Median by the heap of the host program", "MiB", "ms", false, true, r.Heap},
		{"throughput", "Runs a second by the number of callers", "callers", "runs/s", true, true, r.Throughput},
		{"live", "Median by the number of sandboxes that stand", "sandboxes", "ms", false, true, r.Live},
		{"life", "Latency by the number of sandboxes that the program has made", "sandboxes", "ms", false, true, r.lives()},
	} {
		if len(p.lines) == 0 {
			continue
		}
		c := plot.New()
		c.Title.Text, c.X.Label.Text, c.Y.Label.Text = p.title, p.x, p.y
		c.BackgroundColor = color.White
		if p.logX {
			c.X.Scale, c.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		if p.logY {
			c.Y.Scale, c.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		c.Add(plotter.NewGrid())
		if err := addLines(c, p.lines, len(p.lines[0].X) < 20); err != nil {
			return err
		}
		for _, ext := range []string{".svg", ".png"} {
			if err := c.Save(22*vg.Centimeter, 13*vg.Centimeter, filepath.Join(dir, p.file+ext)); err != nil {
				return err
			}
		}
	}
	return nil
}

func addLines(c *plot.Plot, lines []Line, points bool) error {
	for i, l := range lines {
		xys := make(plotter.XYs, len(l.X))
		for j := range xys {
			xys[j].X, xys[j].Y = l.X[j], l.Y[j]
		}
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return err
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		line.Dashes = plotutil.Dashes(i / 7) // as many colours as there are
		dots.Color, dots.Shape = line.Color, plotutil.Shape(i)
		c.Add(line)
		if points {
			c.Add(dots)
		}
		c.Legend.Add(l.Name, line)
	}
	c.Legend.Top, c.Legend.Left = true, true
	return nil
}

// distributions are the samples of each subject as a curve: how many runs took no longer than that.
func (r *Results) distributions() []Line {
	var all []Line
	for _, row := range r.Latency {
		if row.N == 0 {
			continue
		}
		l := Line{Name: row.Name}
		for i, d := range row.samples {
			l.X = append(l.X, float64(d)/1e6)
			l.Y = append(l.Y, float64(i+1)/float64(row.N))
		}
		if len(l.X) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// lives are the latencies over the program's life.
func (r *Results) lives() []Line {
	var out lines
	for _, a := range r.Life {
		x := float64(a.Sandboxes)
		out.add("10th percentile", x, float64(a.P10)/1e6)
		out.add("median", x, float64(a.Median)/1e6)
		out.add("99th percentile", x, float64(a.P99)/1e6)
	}
	return out.all
}
