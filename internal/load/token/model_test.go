package token

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

const twiceRounded = "-1.6123709293488147" // nearest: -0x1.9cc4575a93046p+0

func TestScoresAreReadAsTheReferenceReadsThem(t *testing.T) {
	for _, c := range []struct {
		text string
		want float64
	}{
		{"0", 0}, {"-1", -1}, {"-2.5", -2.5}, {"-1e3", -1000}, {"-12.5e-1", -1.25}, {"3E2", 300}, {"1e400", math.Inf(1)},
		{"-123456789012345678901234567890.5", -123456789012345678901234567890.5},
		{twiceRounded, -0x1.9cc4575a93047p+0},
	} {
		got, err := serdeFloat(c.text)
		if err != nil || math.Abs(got-c.want) > math.Abs(c.want)*1e-15 {
			t.Errorf("%s: %v, %v; expected %v", c.text, got, err, c.want)
		}
	}
	// All its digits are rounded to 53 bits before they are divided by 1e16.
	right, _ := strconv.ParseFloat(twiceRounded, 64)
	if got, _ := serdeFloat(twiceRounded); got == right {
		t.Errorf("%s: %v, the nearest number; expected its neighbour", twiceRounded, got)
	}
	for _, bad := range []string{"x", "1.2.3", "1e", "--1", "1e99999999999999999999"} {
		if _, err := serdeFloat(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-50, 0).Draw(t, "x")
		got, err := serdeFloat(strconv.FormatFloat(x, 'g', -1, 64))
		if err != nil || math.Abs(got-x) > 2*(math.Nextafter(math.Abs(x), 100)-math.Abs(x)) {
			t.Fatalf("%v became %v, %v", x, got, err)
		}
	})
}
