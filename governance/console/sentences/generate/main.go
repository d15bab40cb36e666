// Command generate writes the sentences that the console translates; make generate
// runs it.
package main

import (
	"fmt"
	"os"

	"github.com/weirmesh/weir/governance/console/sentences"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate ROOT")
		os.Exit(2)
	}
	if err := sentences.Write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}
