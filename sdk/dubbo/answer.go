package dubbo

import (
	"encoding/json"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// decodeInto reads a policy's value into a pointer to a reply.
func decodeInto(value []byte, reply any) error {
	if m, ok := reply.(proto.Message); ok {
		return protojson.Unmarshal(value, m)
	}
	return json.Unmarshal(value, reply)
}

// newReply returns a pointer that a value of a reply type can be read into, and
// what makes the method's answer of it once it was. Replies that are pointers are
// never nil: callers of Triple need a message.
func newReply(t reflect.Type) (pointer any, answer func() any) {
	if t.Kind() == reflect.Pointer {
		v := reflect.New(t.Elem())
		return v.Interface(), v.Interface
	}
	v := reflect.New(t)
	return v.Interface(), func() any { return v.Elem().Interface() }
}

// decode makes a method's answer of a policy's value; nil makes the empty answer.
func decode(value []byte, t reflect.Type) (any, error) {
	if t == nil {
		if value == nil {
			return nil, nil //nolint:nilnil // a method without an answer answers nothing
		}
		return nil, fmt.Errorf("the method answers nothing, the policy's fallback %.100s", value)
	}
	pointer, answer := newReply(t)
	if value != nil {
		if err := decodeInto(value, pointer); err != nil {
			return nil, fmt.Errorf("the policy's fallback is no %s: %w", t, err)
		}
	}
	return answer(), nil
}

// key stands for the arguments of a call. It is false when they cannot be written
// down.
func key(args []any) (string, bool) {
	var b []byte
	for _, a := range args {
		var (
			one []byte
			err error
		)
		if m, ok := a.(proto.Message); ok {
			one, err = proto.MarshalOptions{Deterministic: true}.Marshal(m)
		} else {
			one, err = json.Marshal(a)
		}
		if err != nil {
			return "", false
		}
		b = fmt.Appendf(b, "%d:", len(one))
		b = append(b, one...)
	}
	return string(b), true
}

// copyOf returns a copy of what a reply points to, to be kept. It is one level
// deep, except for messages of protobuf: what lies below is shared with the
// program, which must not change answers that it was given.
func copyOf(reply any) any {
	if m, ok := reply.(proto.Message); ok {
		return proto.Clone(m)
	}
	v := reflect.ValueOf(reply)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil
	}
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	return c.Interface()
}

// fill makes what a reply points to what a copy holds; nil makes it empty.
func fill(reply, kept any) error {
	if m, ok := reply.(proto.Message); ok {
		proto.Reset(m)
		if k, ok := kept.(proto.Message); ok {
			proto.Merge(m, k)
		}
		return nil
	}
	v := reflect.ValueOf(reply)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil // the program wants no answer
	}
	if kept == nil {
		v.Elem().SetZero()
		return nil
	}
	k := reflect.ValueOf(kept)
	if k.Type() != v.Type() {
		return fmt.Errorf("a %s was kept where a %s is answered", k.Type(), v.Type())
	}
	v.Elem().Set(k.Elem())
	return nil
}
