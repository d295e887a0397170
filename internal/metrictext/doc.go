// Package metrictext reads pages of metrics as servers expose them: the
// Prometheus text format, OpenMetrics, and length-delimited protocol buffers with
// classic and native histograms.
//
//	page → samples, by family → histograms → counts, averages, percentiles
//	two pages → what happened in between
//
// The reading of names, labels, escapes and numbers is that of
// prometheus/common, a line at a time: a line that it refuses is counted, named
// and skipped, and the rest of the page stands. Exemplars and the timestamps of
// OpenMetrics, which its text parser does not know, are cut off before.
package metrictext
