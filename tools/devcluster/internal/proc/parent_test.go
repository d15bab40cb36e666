package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const role = "PROC_TEST_ROLE"

// TestMain also plays the processes of TestWithParent: a parent that starts a
// child and is killed, and the child that tells what it saw.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "parent":
		c := exec.Command("/proc/self/exe")
		c.Env = append(os.Environ(), role+"=child")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case "child":
		ctx, cancel, err := WithParent(context.Background())
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("watching")
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		cancel()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestWithParent(t *testing.T) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), role+"=parent")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer r.Close()
	first := make([]byte, len("watching\n"))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != "watching\n" {
		t.Fatalf("the child said %q, %v", first, err)
	}
	c.Process.Kill()
	c.Wait()
	// The pipe ends when the child, its last holder, has ended.
	rest, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(rest), errParentEnded.Error()) {
		t.Errorf("the child said %q, %v", rest, err)
	}
}

func TestWithParentEndsWithItsContext(t *testing.T) {
	ctx, cancel, err := WithParent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if <-ctx.Done(); !errors.Is(context.Cause(ctx), context.Canceled) {
		t.Errorf("ended for %v", context.Cause(ctx))
	}
}
