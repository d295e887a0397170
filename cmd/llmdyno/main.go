// Command llmdyno measures, explains and tunes LLM serving engines. It is
// wiring only: everything it does lies below internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"llmdyno/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := cli.Main(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
