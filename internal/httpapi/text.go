package httpapi

import "strings"

// Text is what a client may read of an error that is told within an answer: what
// happened and what to do, and not the words of what lies below, which belong into
// the log.
func Text(err error) string {
	c, ok := codedOf(err)
	if !ok {
		return "something went wrong here that is not your fault: the log has it"
	}
	return strings.TrimSuffix(c.message+"; "+c.fix, "; ")
}
