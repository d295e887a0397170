package result

import (
	"fmt"
	"testing"
)

// BenchmarkCompare ranks 10,000 rows: of one class, and each of its own.
func BenchmarkCompare(b *testing.B) {
	for name, classes := range map[string]int{"one class": 1, "all classes": 10_000} {
		rows := make([]Row, 10_000)
		for i := range rows {
			rows[i] = Row{
				Framework: "e", CandidateID: fmt.Sprint("c", i%50), ServerCommand: fmt.Sprint("serve ", i), Status: StatusOK, SLA: SLA{Passed: ptr(true)},
				Workload: Workload{Scenario: "chat", RequestRate: ptr(float64(1 + i%classes))}, Metrics: Metrics{RequestThroughput: ptr(float64(i))},
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Compare(rows, Options{})
			}
		})
	}
}
