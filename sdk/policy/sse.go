package policy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// errTooLarge ends a stream that sent more in one event than is held.
var errTooLarge = errors.New("an event of the stream is larger than this SDK holds")

// event is one server-sent event.
type event struct {
	name string
	id   string
	data []byte        // valid until the next call of next
	wait time.Duration // what the server last asked for by "retry"; 0 if nothing
}

// decoder reads server-sent events as the HTML standard describes them, each at
// most max bytes large.
type decoder struct {
	r    *bufio.Reader
	max  int
	ev   event
	buf  bytes.Buffer
	line []byte
	cr   bool // the last line ended with \r, so a \n that follows belongs to it
	bom  bool // the beginning was looked at
}

func newDecoder(r io.Reader, limit int) *decoder {
	return &decoder{r: bufio.NewReaderSize(r, 16<<10), max: limit}
}

// next returns the next event that has data. The error at the end of the stream
// is io.EOF; an event that the end cuts off is dropped, as the standard has it.
func (d *decoder) next() (event, error) {
	d.buf.Reset()
	d.ev.name = ""
	hasData := false
	for size := 0; ; {
		line, err := d.readLine(d.max - size)
		if err != nil {
			return event{}, err
		}
		size += len(line) + 1
		if len(line) == 0 { // dispatch
			if hasData {
				d.ev.data = d.buf.Bytes()
				return d.ev, nil
			}
			d.ev.name, size = "", 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch string(field) {
		case "": // a comment
			size -= len(line) + 1
		case "event":
			d.ev.name = string(value)
		case "data":
			if hasData {
				d.buf.WriteByte('\n')
			}
			d.buf.Write(value)
			hasData = true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				d.ev.id = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 32); err == nil {
				d.ev.wait = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// readLine returns a line without its end: \n, \r or both. What the end of the
// stream cuts off is no line.
func (d *decoder) readLine(limit int) ([]byte, error) {
	d.line = d.line[:0]
	for {
		c, err := d.r.ReadByte()
		if err != nil {
			return nil, err
		}
		switch {
		case c == '\n' && d.cr && len(d.line) == 0:
			d.cr = false // the second half of \r\n
			continue
		case c == '\n', c == '\r':
			d.cr = c == '\r'
			if !d.bom {
				d.bom = true
				d.line = bytes.TrimPrefix(d.line, []byte("\xef\xbb\xbf"))
			}
			return d.line, nil
		}
		d.cr = false
		if len(d.line) >= limit {
			return nil, fmt.Errorf("%w (%d bytes)", errTooLarge, d.max)
		}
		d.line = append(d.line, c)
	}
}
