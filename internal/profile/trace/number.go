package trace

import (
	"errors"
	"math"
	"strconv"
)

var (
	errNumber = errors.New("is not a number")
	errRange  = errors.New("is out of range")
)

// parseNS reads microseconds as decimal text ("4909914214922.949", "1.5e3",
// "-2") into whole nanoseconds, rounded half away from zero. Floating point is no
// way to do it: beyond 2^52 ns half of all times come out wrong.
func parseNS(b []byte) (int64, error) {
	if ns, ok := plainNS(b); ok {
		return ns, nil
	}
	return decimal(b, 3)
}

// plainNS is parseNS for what profilers write: up to 15 digits and up to three decimals.
func plainNS(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var v int64
	i := 0
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		v = v*10 + int64(c)
	}
	if i == 0 || i > 15 {
		return 0, false
	}
	if i == len(b) {
		return v * 1000, true
	}
	if b[i] != '.' || len(b)-i < 2 || len(b)-i > 4 {
		return 0, false
	}
	scale := int64(1000)
	for _, c := range b[i+1:] {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		v = v*10 + int64(c)
		scale /= 10
	}
	return v * scale, true
}

// decimal reads a JSON number times 10^shift into an integer, rounded half away
// from zero. Exponents and any count of digits are read exactly.
func decimal(b []byte, shift int) (int64, error) {
	negative := len(b) > 0 && b[0] == '-'
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	digits := make([]byte, 0, 32)
	point, seen := 0, 0 // digits before the point, digits at all
	dot := false
	i := 0
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case c >= '0' && c <= '9':
			seen++
			if len(digits) > 0 || c != '0' {
				digits = append(digits, c)
				if !dot {
					point++
				}
			} else if dot {
				point--
			}
			continue
		case c == '.' && !dot:
			dot = true
			continue
		}
		break
	}
	if seen == 0 {
		return 0, errNumber
	}
	exp := 0
	if i < len(b) {
		if b[i] != 'e' && b[i] != 'E' {
			return 0, errNumber
		}
		e, err := strconv.Atoi(string(b[i+1:]))
		if errors.Is(err, strconv.ErrRange) {
			e = math.MaxInt32
			if b[i+1] == '-' {
				e = -math.MaxInt32
			}
		} else if err != nil {
			return 0, errNumber
		}
		exp = e
	}
	return round(digits, point+shift+exp, negative)
}

// round is 0.digits × 10^point as an integer.
func round(digits []byte, point int, negative bool) (int64, error) {
	if len(digits) == 0 || point < 0 {
		return 0, nil
	}
	if point > 19 {
		return 0, errRange
	}
	var v uint64
	for i := range point {
		var c byte = '0'
		if i < len(digits) {
			c = digits[i]
		}
		if v > (math.MaxInt64-uint64(c-'0'))/10 {
			return 0, errRange
		}
		v = v*10 + uint64(c-'0')
	}
	if point < len(digits) && digits[point] >= '5' {
		v++
	}
	if v > math.MaxInt64 {
		return 0, errRange
	}
	if negative {
		return -int64(v), nil
	}
	return int64(v), nil
}

// parseInt reads an integer as it stands in args: plain, quoted, as a hex string
// ("0x0", HIP's streams) or as a float without a fraction.
func parseInt(b []byte) (int64, bool) {
	if n := len(b); n > 1 && b[0] == '"' && b[n-1] == '"' {
		b = b[1 : n-1]
	}
	if len(b) == 0 {
		return 0, false
	}
	if len(b) < 19 {
		var v int64
		i := 0
		if b[0] == '-' && len(b) > 1 {
			i = 1
		}
		for ; i < len(b); i++ {
			c := b[i] - '0'
			if c > 9 {
				break
			}
			v = v*10 + int64(c)
		}
		if i == len(b) {
			if b[0] == '-' {
				v = -v
			}
			return v, true
		}
	}
	if len(b) > 2 && b[0] == '0' && (b[1] == 'x' || b[1] == 'X') {
		v, err := strconv.ParseUint(string(b[2:]), 16, 64)
		return int64(v), err == nil
	}
	if v, err := decimal(b, 0); err == nil {
		thousands, err := decimal(b, 3)
		return v, err != nil || thousands == v*1000 // beyond 9.2e15 there is no room for a fraction
	}
	return 0, false
}
