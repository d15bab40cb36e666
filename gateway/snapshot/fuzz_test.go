package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/gatewaytest"
)

// sealed puts a right head before a body.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append([]byte(magic+format+" sha256:"+hex.EncodeToString(sum[:])+"\n"), body...)
}

// FuzzDecode: whatever a file holds, it is refused or it is a table that can be
// written and read again. Half of the work is behind the checksum, so that the
// input is tried with a right one too.
func FuzzDecode(f *testing.F) {
	v := gateway.Version{Route: gatewaytest.Route("n", "a", "1"), Revision: 3, Created: time.UnixMicro(1).UTC(), Actor: "user:x", Reason: "y"}
	good, err := encode(content{Revision: 3, Checksum: gateway.Checksum([]gateway.Version{v}), Routes: []gateway.Version{v}})
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(good, []byte("\n"))
	f.Add(good)
	f.Add(body)
	f.Add([]byte(`{"revision":1,"checksum":"` + gateway.Checksum(nil) + `","routes":null}`))
	f.Add([]byte(`{"routes":[{"route":{"namespace":"n"},"revision":1},{"route":null}]}`))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range [][]byte{data, sealed(data)} {
			c, err := decode(file)
			if err != nil {
				continue
			}
			again, err := encode(c)
			if err != nil {
				t.Fatal(err)
			}
			twice, err := decode(again)
			if err != nil || twice.Checksum != c.Checksum || len(twice.Routes) != len(c.Routes) {
				t.Fatalf("written and read again: %+v, %v", twice, err)
			}
		}
	})
}
