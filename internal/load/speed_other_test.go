//go:build !linux

package load

import "errors"

// The harness pins processes and reads /proc; it exists on Linux only.
const speedRoleVar = "LLMDYNO_TEST_SPEED_ROLE"

func runSpeedRole(string) error { return errors.ErrUnsupported }
