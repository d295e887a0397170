// Package report shows result values to people: in the terminal, as Markdown,
// as CSV and as one self-contained HTML page. It computes nothing that another
// reader of the value could not: what is ranked, tied or warned about is in the
// value already.
//
//	result.Comparison → Text      for a terminal, 80 columns and up
//	                  → Markdown  report.md
//	                  → CSV       results.csv, upstream's 19 columns first
//	                  → HTML      report.html, with the plan and the run's facts
//
// Every text from outside (commands, reasons, names) is escaped for the format
// that it goes into. The terminal's tables are those of go-pretty: it aligns and
// wraps cells with the width that a terminal gives them, and knows nothing of
// the terminal itself. The charts are drawn with the SVG painter of
// go-analyze/charts; its ready-made charts have no numeric x axis.
package report
