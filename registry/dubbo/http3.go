package dubbo

import (
	"io"
	"net/http"
	"reflect"
)

// dual is dubbo-go's transport over HTTP/2 and HTTP/3, which offers no way to close
// either.
type dual struct {
	two interface{ CloseIdleConnections() }
	// three is closed as a whole, its socket included. What it takes for idle cannot be
	// gone by: it forgets a call once the answer has begun.
	three io.Closer
}

// dualOf returns what is behind the transport of a client; nil for one that speaks
// HTTP/2 alone, or that of a version of dubbo-go with other fields. Both are written
// once, as the transport is made.
func dualOf(client *http.Client) *dual {
	v := reflect.ValueOf(client.Transport)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	two, _ := behind(v.Elem().FieldByName("http2Transport")).(interface{ CloseIdleConnections() })
	three, _ := behind(v.Elem().FieldByName("http3Transport")).(io.Closer)
	if two == nil || three == nil {
		return nil
	}
	return &dual{two: two, three: three}
}

// behind returns the pointer that a field holds, whoever may read it; nil for none.
func behind(v reflect.Value) any {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil
	}
	return reflect.NewAt(v.Type().Elem(), v.UnsafePointer()).Interface()
}

// hangUp closes what carries no call. Nobody tells when a stream over HTTP/3 ends, so
// one that may run keeps its connection until the other side closes it.
func (d *dual) hangUp(streamed bool) {
	d.two.CloseIdleConnections()
	if !streamed {
		_ = d.three.Close() // there is nobody to be told
	}
}
