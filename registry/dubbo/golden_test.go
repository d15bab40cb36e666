package dubbo

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	tripleapi "dubbo.apache.org/dubbo-go/v3/metadata/triple_api/proto"
	gohessian "github.com/apache/dubbo-go-hessian2"
)

var update = flag.Bool("update", false, "write what the code does into the golden files")

// testdata is named before TestMain goes elsewhere, since dubbo-go writes files where it is.
var testdata, errTestdata = filepath.Abs("testdata")

// golden compares with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if errTestdata != nil {
		t.Fatal(errTestdata)
	}
	file := filepath.Join(testdata, name)
	got = append(bytes.TrimRight(got, "\n"), '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got:\n%s\nwant (%s):\n%s", got, file, want)
	}
}

// goldenExport is what a provider of both protocols exports, under a revision that is
// the same whatever dubbo-go hashes.
func goldenExport(t *testing.T) *document {
	t.Helper()
	doc, _, err := describe("inventory", []*common.URL{
		exportedURL("tri", "50051", "org.example.Stock", constant.VersionKey, "1.0.0", "timeout", "800", constant.ReleaseKey, "test"),
		exportedURL("dubbo", "20880", "org.example.Price", constant.GroupKey, "shop", constant.ReleaseKey, "test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	doc.info.Revision = "5f1c0a"
	return doc
}

// What the metadata service answers, and what is stored for a revision, is read by
// Dubbo Java and by instances of other versions: it changes on purpose only.
func TestMetadataIsThatOfTheGoldenFiles(t *testing.T) {
	doc := goldenExport(t)
	service := new(MetadataService)
	service.put(doc)

	stored, err := json.MarshalIndent(doc.info, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "metadata-document.json", stored)

	v2, err := tripleV2{service}.GetMetadataInfo(t.Context(), &tripleapi.MetadataRequest{Revision: "5f1c0a"})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.MarshalIndent(v2, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "metadata-v2.json", plain)

	// Dubbo's own protocol, and Triple before 3.3, carry it in Hessian. Its maps have
	// no order, so what comes back is compared, and the names of the classes.
	v1, err := service.GetMetadataInfo("5f1c0a")
	if err != nil {
		t.Fatal(err)
	}
	encoder := gohessian.NewEncoder()
	if err := encoder.Encode(v1); err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"org.apache.dubbo.metadata.MetadataInfo", "org.apache.dubbo.metadata.MetadataInfo$ServiceInfo"} {
		if !bytes.Contains(encoder.Buffer(), []byte(class)) {
			t.Errorf("the class %s is not named in\n%s", class, hex.Dump(encoder.Buffer()))
		}
	}
	back, err := gohessian.NewDecoder(encoder.Buffer()).Decode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(back, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "metadata-v1.json", again)
}

// The names of parameters are Dubbo's, and are written out for the reference of them.
func TestParametersAreNamedAsDubboDoes(t *testing.T) {
	for ours, theirs := range map[string]string{
		paramProvidedBy: constant.ProvidedBy, paramGroup: constant.GroupKey, paramVersion: constant.VersionKey,
		paramWeight: constant.WeightKey, paramTag: constant.Tagkey, paramEnvironment: constant.EnvironmentKey,
		paramTimestamp: constant.TimestampKey, paramRemoteTimestamp: constant.RemoteTimestampKey,
		paramSerialization: constant.SerializationKey, paramLane: constant.MeshClusterIDKey,
	} {
		if ours != theirs {
			t.Errorf("%q is %q in dubbo-go", ours, theirs)
		}
	}
}
