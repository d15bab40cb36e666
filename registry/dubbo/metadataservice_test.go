package dubbo

import (
	"context"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/metadata/info"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	gohessian "github.com/apache/dubbo-go-hessian2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Dubbo Java before 3.3 asks for metadata over Triple in Hessian, and reads the
// answer in the message that Triple has for it.
func TestMetadataIsToldToDubboJavaOverTriple(t *testing.T) {
	service := new(MetadataService)
	service.put(&document{info: &info.MetadataInfo{App: "greeter", Revision: "r1", Services: map[string]*info.ServiceInfo{}}})
	ask := func(revision, contentType string) any {
		t.Helper()
		ctx := context.WithValue(t.Context(), constant.AttachmentKey, map[string]any{"content-type": []string{contentType}})
		answer, err := tripleV1Info().Methods[0].MethodFunc(ctx, []any{&revision}, tripleV1{service})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if m, ok := ask("r1", "application/grpc+hessian2").(*info.MetadataInfo); !ok || m.App != "greeter" {
		t.Errorf("who speaks Hessian alone got %+v", m)
	}
	for revision, want := range map[string]string{"r1": "greeter", "r2": ""} {
		response, ok := ask(revision, "application/grpc+proto").(*triple_protocol.Response)
		if !ok {
			t.Fatal("it is not in a response of Triple's")
		}
		message, ok := response.Msg.(proto.Message)
		if !ok {
			t.Fatalf("a %T is no message", response.Msg)
		}
		b, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[protowire.Number]string{}
		for len(b) > 0 {
			n, _, size := protowire.ConsumeTag(b)
			value, more := protowire.ConsumeString(b[size:])
			fields[n], b = value, b[size+more:]
		}
		if fields[1] != "hessian4" {
			t.Errorf("it is said to be in %q", fields[1])
		}
		answer, err := gohessian.NewDecoder([]byte(fields[2])).Decode()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if m, ok := answer.(*info.MetadataInfo); ok {
			got = m.App
		}
		if got != want {
			t.Errorf("of %s came %+v", revision, answer)
		}
	}
}
