package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"llmdyno/internal/load/sample"
)

// Error is a failed exchange with a server: one line without secrets.
type Error struct {
	Class   sample.Class
	Message string
	Err     error // what it came from; may be nil
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of a failed Call or Probe; ClassOK for nil, and for an
// error of another origin the class of its cause.
func ClassOf(err error) sample.Class {
	if err == nil {
		return sample.ClassOK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	class, _ := classify(err)
	return class
}

// LocalLimit stands in the error of a request that failed because the client's
// own machine had no file or port left for its connection.
const LocalLimit = "limit of the client's machine: "

// classify names the class of a transport error and says in words what it was.
func classify(err error) (sample.Class, string) {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
		auth x509.UnknownAuthorityError
		host x509.HostnameError
		ne   net.Error
	)
	switch {
	case errors.As(err, new(ended)): // whatever its words are made of
		return sample.ClassCancelled, err.Error()
	case errors.As(err, &dns):
		return sample.ClassConnect, "host name not found: " + dns.Error()
	case errors.As(err, &cert), errors.As(err, &rec), errors.As(err, &auth), errors.As(err, &host):
		return sample.ClassConnect, "TLS: " + err.Error()
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.ENOBUFS):
		return sample.ClassConnect, LocalLimit + err.Error()
	case errors.As(err, &op) && op.Op == "dial": // its own timeout too, which passes for a deadline
		return sample.ClassConnect, "no connection: " + err.Error()
	case errors.Is(err, context.Canceled):
		return sample.ClassCancelled, "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return sample.ClassTimeout, "no complete reply within the time allowed"
	case errors.As(err, &ne) && ne.Timeout():
		return sample.ClassTimeout, err.Error()
	case errors.Is(err, errEventTooLong):
		return sample.ClassMalformed, err.Error()
	}
	return sample.ClassReset, "connection lost: " + err.Error()
}

// maxErrorText bounds the text of an error in a record.
const maxErrorText = 300

// oneLine makes text fit for a record: one line, bounded, printable, the API key
// hidden.
func (c *Client) oneLine(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	if c.key != "" {
		s = strings.ReplaceAll(s, c.key, "[redacted]")
	}
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxErrorText {
		s = s[:maxErrorText] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
