package collect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"llmdyno/internal/incident/bundle"
)

// classOf names what ended an exchange: status is that of the reply, 0 without
// one; an error that only repeats the status has the status's class. ctx is the
// probe's.
func classOf(ctx context.Context, status int, err error) string {
	var (
		dns  *net.DNSError
		op   *net.OpError
		cert *tls.CertificateVerificationError
		rec  tls.RecordHeaderError
		alrt tls.AlertError
		auth x509.UnknownAuthorityError
		host x509.HostnameError
		ne   net.Error
	)
	switch {
	case err == nil:
		return bundle.ClassOfStatus(status)
	case errors.Is(err, context.Canceled), errors.Is(context.Cause(ctx), errDeadline):
		return bundle.ClassCancelled
	case errors.As(err, &dns) && !dns.IsTimeout:
		return bundle.ClassDNS
	case errors.As(err, &cert), errors.As(err, &rec), errors.As(err, &alrt), errors.As(err, &auth), errors.As(err, &host):
		return bundle.ClassTLS
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return bundle.ClassRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return bundle.ClassTimeout
	case status != 0 && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF)):
		return bundle.ClassTruncated
	case status != 0 && bundle.ClassOfStatus(status) != "":
		return bundle.ClassOfStatus(status)
	case status != 0:
		return bundle.ClassTruncated
	case errors.As(err, &op) && op.Op == "dial":
		return bundle.ClassRefused
	}
	return bundle.ClassBroken
}
