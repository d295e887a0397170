package attrib

import (
	"fmt"
	"strconv"
)

// Nanos is a time in nanoseconds that JSON shows in microseconds, all digits
// exact. Keys of such fields end in _us.
type Nanos int64

// MarshalJSON writes microseconds with up to three decimals.
func (n Nanos) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, 24)
	v := uint64(n)
	if n < 0 {
		out, v = append(out, '-'), -v
	}
	out = strconv.AppendUint(out, v/1000, 10)
	if r := v % 1000; r != 0 {
		out = append(out, '.', byte('0'+r/100), byte('0'+r/10%10), byte('0'+r%10))
		for out[len(out)-1] == '0' {
			out = out[:len(out)-1]
		}
	}
	return out, nil
}

// UnmarshalJSON reads microseconds.
func (n *Nanos) UnmarshalJSON(text []byte) error {
	us, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("%q is no time in microseconds", text)
	}
	ns := us * 1000
	if ns < 0 {
		ns -= 0.5
	} else {
		ns += 0.5
	}
	*n = Nanos(ns)
	return nil
}

// Micros is the time in microseconds.
func (n Nanos) Micros() float64 { return float64(n) / 1000 }

// share is part of whole in percent; 0 where there is no whole.
func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
