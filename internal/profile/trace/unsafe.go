package trace

import "unsafe"

// stringOf is b as a string without a copy; b must not change afterwards.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
