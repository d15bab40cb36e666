// Package faults holds tests of faults that take their time, such as ten minutes
// without an API server. They are built by the tag faults and are no part of make
// test; make faults runs them.
package faults
