// Command generate writes the pages of docs/reference; make generate runs it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/weirmesh/weir/cmd/weir/internal/reference"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate ROOT")
		os.Exit(2)
	}
	if err := reference.Write(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
