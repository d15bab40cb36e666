// Package e2e holds the end-to-end tests: bin/weir up with its own PostgreSQL
// and Kubernetes node, and the example shop as real pods. One mesh serves all
// tests; they run one after another, wait for events and assert no durations.
//
// They need root, what `make build` makes, and the system packages that
// tools/dev/deps.sh installs; `make e2e` sees to all of it.
package e2e
