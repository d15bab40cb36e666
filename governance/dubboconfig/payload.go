package dubboconfig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// payload is what travels either way: a message in JSON, and the name of its type.
type payload struct {
	kind string
	body []byte
}

// Fields of the messages Payload, Metadata and google.protobuf.Any, as far as
// they are read or written.
const (
	fieldMetadata = 2 // of Payload
	fieldBody     = 3
	fieldType     = 3 // of Metadata
	fieldValue    = 2 // of Any
)

const (
	// maxFrame bounds one message. A client that listens to 3,000 names at once,
	// which is the most it does, sends less than half of it.
	maxFrame = 2 << 20
	// maxSmall bounds one that anybody may send at any time. Those of applications
	// that call a hundred others are smaller, and so is all that is said on streams.
	maxSmall = 16 << 10
	// maxKind bounds the name of a type.
	maxKind = 128
	// framePrefix is before each message of gRPC: whether it is compressed, and how
	// long it is.
	framePrefix = 5
)

// Errors of what was sent; the texts travel back.
var (
	errCompressed = errors.New("the message is compressed, and only plain ones are taken")
	errTooLarge   = errors.New("the message is too large")
)

// frameSize reads what is before a message of gRPC: how long that is. It returns
// io.EOF at an orderly end.
func frameSize(r io.Reader) (int, error) {
	var prefix [framePrefix]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return 0, err
	}
	if prefix[0] != 0 {
		return 0, errCompressed
	}
	size := binary.BigEndian.Uint32(prefix[1:])
	if size > maxFrame {
		return 0, tooLarge(maxFrame)
	}
	return int(size), nil
}

func tooLarge(most int) error { return fmt.Errorf("%w: it may have %d bytes", errTooLarge, most) }

// frameBody reads a message of a size. It takes the memory of what has come.
func frameBody(r io.Reader, size int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err == nil && len(data) < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("the message ends early: %w", err)
	}
	return data, nil
}

// read reads one message of most bytes from its frame.
func read(r io.Reader, most int) (payload, error) {
	size, err := frameSize(r)
	if err != nil {
		return payload{}, err
	}
	if size > most {
		return payload{}, tooLarge(most)
	}
	data, err := frameBody(r, size)
	if err != nil {
		return payload{}, err
	}
	return parsePayload(data)
}

// parsePayload reads a message. Fields that are not known are passed over.
func parsePayload(data []byte) (payload, error) {
	var p payload
	err := eachField(data, func(n protowire.Number, value []byte) error {
		switch n {
		case fieldMetadata:
			return eachField(value, func(n protowire.Number, value []byte) error {
				if n == fieldType {
					p.kind = string(value[:min(len(value), maxKind)])
				}
				return nil
			})
		case fieldBody:
			return eachField(value, func(n protowire.Number, value []byte) error {
				if n == fieldValue {
					p.body = value
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return payload{}, err
	}
	if p.kind == "" {
		return payload{}, errors.New("the message does not say of which type it is")
	}
	return p, nil
}

// eachField calls f with the fields of a message that have bytes.
func eachField(data []byte, f func(n protowire.Number, value []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("the message is no protocol buffer: %w", protowire.ParseError(n))
		}
		data = data[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
				return fmt.Errorf("the message is no protocol buffer: %w", protowire.ParseError(n))
			}
			data = data[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return fmt.Errorf("the message is no protocol buffer: %w", protowire.ParseError(n))
		}
		if err := f(number, value); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// frame returns a message as gRPC carries it.
func (p payload) frame() []byte {
	metadata := protowire.AppendString(protowire.AppendTag(nil, fieldType, protowire.BytesType), p.kind)
	body := protowire.AppendBytes(protowire.AppendTag(nil, fieldValue, protowire.BytesType), p.body)
	out := make([]byte, framePrefix, framePrefix+len(metadata)+len(body)+16)
	out = protowire.AppendBytes(protowire.AppendTag(out, fieldMetadata, protowire.BytesType), metadata)
	out = protowire.AppendBytes(protowire.AppendTag(out, fieldBody, protowire.BytesType), body)
	binary.BigEndian.PutUint32(out[1:], uint32(len(out)-framePrefix))
	return out
}
