// Package interop holds what the gateway's Dubbo client does against real
// providers: dubbo-go's, in processes of their own, and those of the example
// shop. It has tests only. They stand apart from the tests of gateway/dubbo since
// dubbo-go, which they run, leaks goroutines and races with itself.
package interop
