// Command bigdump writes an invented crash dump of a wanted size, for measuring the
// reader of dumps:
//
//	go run ./scripts/bigdump -mib 200 -out big.pkl
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"

	"llmdyno/internal/engine/sglang/dumptest"
)

func main() {
	mib := flag.Int64("mib", 200, "size in MiB")
	protocol := flag.Int("protocol", 4, "pickle protocol, 2 to 5")
	out := flag.String("out", "big.pkl", "file to write")
	flag.Parse()
	if err := write(*out, *protocol, *mib<<20); err != nil {
		fmt.Fprintln(os.Stderr, "bigdump:", err)
		os.Exit(1)
	}
}

func write(name string, protocol int, bytes int64) error {
	if protocol < 2 || protocol > 5 || bytes <= 0 {
		return fmt.Errorf("protocol %d, %d bytes: expected 2 to 5, and a size above 0", protocol, bytes)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<20)
	n, err := dumptest.Write(b, protocol, 0, bytes)
	if err == nil {
		err = b.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		fmt.Printf("%s: %d records\n", name, n)
	}
	return err
}
