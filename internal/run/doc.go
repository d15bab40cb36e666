// Package run gives a process its life: parts that start when what they need is
// there and stop before what they need goes away (Group), a graceful HTTP
// server, an admin listener with /livez, /readyz and /metrics, and supervised
// child processes. It traps no signal unless a main function asks for it with
// Signals, never exits the process, and logs nothing: what went wrong is
// returned to whoever called.
package run
