package dubbo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/weirmesh/weir/registry"
)

// metadataService is how providers in Java and in Go tell what they offer, under the
// name of their application as group.
const (
	metadataService        = "org.apache.dubbo.metadata.MetadataService"
	metadataServiceVersion = "1.0.0"
)

// AskOffers has an instance tell what it offers: the document of its revision, JSON, as
// it is stored of others. It calls the instance's MetadataService over the Dubbo
// protocol, on a connection of its own. That service takes no generic calls. Errors
// are written for the instance's owner.
func AskOffers(ctx context.Context, app registry.App, i *registry.Instance) ([]byte, error) {
	at, err := registry.DubboMetadataService(i.Metadata)
	if err != nil {
		return nil, err
	}
	if at.Protocol != protocolDubbo {
		return nil, fmt.Errorf("its metadata service speaks %s, and is asked over %s only", at.Protocol, protocolDubbo)
	}
	c := newClient(net.JoinHostPort(i.Host.Unmap().String(), strconv.Itoa(int(at.Port))), clientConfig{})
	defer c.Close()
	left, _ := timeLeft(ctx)
	resp, err := c.do(ctx, func(id uint64) []byte {
		b := make([]byte, headerSize, 512)
		for _, s := range []string{"2.0.2", metadataService, metadataServiceVersion, "getMetadataInfo", "Ljava/lang/String;", i.Revision} {
			b = appendString(b, s)
		}
		b = append(b, tagMapUntyped)
		for _, kv := range [][2]string{{"path", metadataService}, {"interface", metadataService}, {"version", metadataServiceVersion}, {"group", app.Name}} {
			b = appendAttachment(b, kv[0], kv[1])
		}
		return finishRequest(b, id, left)
	})
	if err != nil {
		return nil, fmt.Errorf("its metadata service cannot be called: %w", err)
	}
	defer resp.release()
	var r reader
	a, p := readAnswer(&r, resp.header, *resp.body, false)
	switch {
	case p != nil:
		return nil, errors.New(p.Detail)
	case len(a.json) == 0 || bytes.Equal(a.json, []byte("null")):
		return nil, fmt.Errorf("it knows no revision %s", i.Revision)
	}
	return a.json, nil
}
