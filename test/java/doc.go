// Package java holds the tests that real Java applications judge Weir by: those
// of examples/java, which hold no code of Weir, as pods beside the example
// shop's Go ones. Those of Dubbo run in each line of it, over Dubbo and over
// Triple, by manifests made of the examples' own; polyglot, a Go program of the
// tests, takes the parts in Go that the shop has no use for. One mesh serves all tests; they run one after another, wait
// for events and assert no durations.
//
// They need root, what `make build-weir build-shop build-java` makes, and the
// system packages that tools/dev/deps.sh installs; `make test-java` sees to all
// of it, and `make test-java-smoke` to the tests whose names begin with TestSmoke.
package java
