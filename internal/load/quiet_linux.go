package load

import "golang.org/x/sys/unix"

// freeMemory is the memory that nobody uses, in bytes; 0 = unknown.
func freeMemory() int64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return int64(i.Freeram+i.Bufferram) * int64(i.Unit)
}
